/*
 * What the files of link/ share. Who owns what: the manager owns its peers, pending connections and links; each of these
 * owns its descriptor. A chunk or a plaintext buffer belongs to one link or lies spare with the manager.
 */
#ifndef SG_LINK_INTERNAL_H
#define SG_LINK_INTERNAL_H

#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "link/handshake.h"
#include "link/link.h"
#include "loop/worker.h"

/* ---- link/line.c ---- */

/* What a link runs over: a socket, which link/ secures, or a stream that its carrier has secured. */
struct line {
	int fd;                   /* -1: none */
	struct sg_watch *watch;   /* of fd */
	struct sg_stream *stream; /* NULL: a socket */
};

#define LINE_NONE ((struct line){.fd = -1})

void line_watch(struct line *line, bool read, bool write);
/* Borrows. Bytes taken, fewer than there are when the line is full, or a negative code: it is broken. */
ssize_t line_send(struct line *line, const struct iovec *iov, int n);
void line_close(struct line *line);

/* ---- sending: link/tx.c ---- */

#define FRAME_SLOT (SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG) /* 4,096 bytes */
#define TX_CHUNK   (4 * FRAME_SLOT) /* small: each link with something waiting holds one at least (P40) */
#define TX_SPARE   32               /* chunks kept with the manager: 512 KiB */

/* Frames one behind the other: sent up to head, sealed up to tail; the frame being filled begins at tail. See tx_at. */
struct tx_chunk {
	struct sg_list node;
	size_t head, tail;
	uint8_t b[SG_FRAME_FRONT + TX_CHUNK];
};

struct link_tx {
	struct sg_list chunks;    /* the one at filling, those before it sealed, those behind it empty */
	struct tx_chunk *filling; /* NULL: no chunk at all */
	size_t plain;             /* bytes in the frame being filled */
	size_t sealed;            /* bytes sealed and not sent */
	size_t room;              /* plaintext bytes that all chunks still hold */
	bool blocked;             /* the line takes no more, and says when it does */
	bool refused;             /* somebody was told to wait */
	struct sg_defer flush;
};

/* ---- how much may wait before the line: link/pace.c ---- */

/* What the kernel says of a connection. Rates are in bytes per second. */
struct pace_sample {
	struct sg_mono now;
	uint32_t rtt_us, rttvar_us, min_rtt_us, mss;
	uint32_t delivered;  /* packets, wraps around */
	uint64_t pacing;     /* the rate at which the kernel would send */
	uint32_t unacked;    /* packets under way */
	uint64_t received;   /* bytes since the last sample */
	uint64_t sent_bytes; /* in all, those sent again too; 0: an old kernel, which does not say */
	uint32_t sent_packets, resent;
	bool hold;     /* BBR's, and nothing is tried: an even line may be held at its rate */
	bool starting; /* it looks for the rate, and does not believe one while it could have sent more than it had */
};

struct link_pace {
	struct sg_mono next; /* look at the connection then */
	struct sg_mono at;   /* of the last sample; 0: none */
	uint32_t rtt_us;     /* then */
	uint32_t delivered;
	uint64_t received; /* bytes, then */
	uint64_t sent_bytes;
	uint32_t sent_packets, resent;
	uint64_t rate;         /* what arrives, the most of the last second */
	uint64_t peak;         /* of the last ten */
	uint64_t mean;         /* of the last samples */
	uint64_t line;         /* the most that this was lately: what the line takes while we fill it */
	unsigned whole;        /* samples in a row in which nothing was sent again */
	bool even;             /* round trips vary little, nothing was sent again: such a line is held at its rate */
	bool known;            /* the cap is that of a line that was even when it was set, or later */
	unsigned standing;     /* samples in a row that show a queue of the line */
	unsigned clear;        /* samples in a row that show none */
	unsigned drained;      /* samples in a row that were paced to drain it */
	uint32_t drain_rtt_us; /* before the first of these */
	bool stuck;            /* what stood could not be drained, and no round trip was short since */
	uint64_t cap;          /* the socket is paced at that; 0: not by us */
	uint64_t held, unsent; /* bytes that may wait in user space while the socket is full; in the socket */
	struct sg_mono standing_since, off_until;
	uint64_t off_rate; /* what arrived when off_until was set */
};

/* The decisions of a sample. */
void pace_update(struct link_pace *p, const struct pace_sample *s);
/* Now and then while the link sends: looks, and tells the socket. */
void pace_tick(struct sg_link *l);
/* Bytes that the socket may be given now. */
size_t pace_room(const struct sg_link *l);

/* ---- the carrier's congestion control: link/bbr.c ---- */

/* What BBR says of itself. */
struct bbr_look {
	struct sg_mono now;
	size_t under_way; /* bytes that the other end has not said it has */
	bool starting;    /* it looks for the rate for the first time */
	bool probing;     /* it measures the way, with next to nothing under way */
};

struct link_bbr {
	struct sg_mono since; /* it believes what it knew of the way then; 0: no look yet */
};

/* Whether it is time to choose it anew. The caller does so. */
bool bbr_due(struct link_bbr *b, const struct bbr_look *k);
/* False: the connection is not BBR's. */
bool bbr_look(struct sg_link *l, struct bbr_look *k);
/* Both ask netd where BBR is not for everybody: whether it is there a later look sees (link/trial.c asks again). */
void bbr_use(const struct sg_link *l);
void bbr_renew(const struct sg_link *l);
/* False: not allowed, or there is none of that name. */
bool link_congestion(const struct sg_link *l, const char *name);

/* ---- Reno where BBR fails: link/trial.c ---- */

enum trial_state { TRIAL_WATCH, TRIAL_FRESH, TRIAL_TRY, TRIAL_KEPT, TRIAL_KNOWN, TRIAL_BACK };

/* What a look asks for. FRESH: a BBR that begins anew. */
enum trial_do { TRIAL_DO_NOTHING, TRIAL_DO_FRESH, TRIAL_DO_RENO, TRIAL_DO_BBR };

/* What is known of a connection about once in a round trip. */
struct trial_look {
	struct sg_mono now;
	uint32_t rtt_us, min_us, cwnd, ssthresh;
	uint64_t acked;      /* bytes so far */
	uint32_t sent, lost; /* packets so far, those sent again; they wrap around */
	uint64_t rate;       /* bytes per second that arrive, the most of the last second */
	bool backlog;        /* there was more to send */
	bool stuck;          /* of struct link_pace */
	bool bbr;            /* the connection is its */
	uint32_t usual_us;   /* of a line known to be uneven, with data under way; 0: it is not known to be */
};

struct link_trial {
	enum trial_state state;
	enum trial_state next;    /* after TRIAL_FRESH */
	struct sg_mono since, at; /* of the state; the last look */
	uint64_t acked;           /* at that look */
	struct sg_mono busy_at;   /* the last look with a backlog, of what is kept */
	unsigned looks, busy;     /* of the state or window; those with a backlog */
	uint64_t before;          /* the rate that BBR had */
	uint32_t rtt_us;          /* when the trial began */
	uint32_t floor_us;        /* the shortest since */
	uint32_t usual_us;        /* of struct trial_look */
	struct trial_look window; /* where it began: what was kept is judged window by window */
	unsigned n_windows;       /* before this one; how often BBR was asked for in vain */
	bool lossy;               /* the window before this one was */
	struct sg_mono not_before;
	int64_t again_ns; /* between the last trial that failed and the next */
	const char *why;  /* it is back: a sentence's end */
};

/* The decision of a look. */
enum trial_do trial_look(struct link_trial *t, const struct trial_look *k);
/* What is longer than this is a queue. @min_us: the shortest round trip of all. 0: nobody can say. */
uint32_t trial_floor_us(const struct link_trial *t, uint32_t min_us);
/* Half is to be sent now, to see whether that floor is a queue. */
bool trial_drains(const struct link_trial *t);
/* With every sample of the pace: looks, and tells the socket. True: netd may have set its options anew. */
bool trial_tick(struct sg_link *l, const struct trial_look *k);
/* BBR is chosen anew, and again until it is there. Only while nothing is tried. */
void trial_renew(struct sg_link *l, const struct trial_look *k);

/* ---- lines whose round trips vary by themselves: link/uneven.c ---- */

#define UNEVEN_PINGS 16U
#define UNEVEN_FEW   8U /* of which something can be said */

/* Round trips of pings beside which next to nothing was under way. */
struct link_uneven {
	uint32_t rtt_us[UNEVEN_PINGS]; /* the one at n % UNEVEN_PINGS is the oldest */
	unsigned n;
	bool is;
};

void uneven_add(struct link_uneven *u, uint32_t rtt_us);
/* The round trip that there will be with data under way; 0: the line is even, or it is not known. */
uint32_t uneven_usual_us(const struct link_uneven *u);

/* ---- receiving: link/rx.c ---- */

#define RX_PLAIN_ROOM (SG_LINK_RX_READ + SG_PACKET_HEAD + SG_PACKET_PAYLOAD_MAX)

/* Plaintext in a row, so that a packet is one view: not delivered between head and tail. */
struct rx_plain {
	size_t head, tail;
	uint8_t b[RX_PLAIN_ROOM];
};

struct link_rx {
	struct rx_plain *plain; /* NULL while no part of a packet is held */
	unsigned paused;        /* counted by link_want */
	bool held;              /* whole packets may wait: the next read has no room */
	bool put_back;          /* the packet that was given last is to come again */
	struct sg_defer resume;
	size_t raw_len; /* the part of a frame that arrived */
	uint8_t raw[SG_FRAME_PREFIX_MAX + 2];
};

/* ---- objects ---- */

struct sg_link {
	struct sg_list node;
	struct sg_links *ls; /* back-pointer */
	struct sg_tpid id;
	struct sg_pk remote;
	char carrier[8];
	char address[SG_ADDR_TEXT];
	char name[64]; /* for people: the peer's section, or the short key */
	bool dialled;
	bool own;   /* bears our mark: it said so in its entry, or sent 0xE0 */
	bool newer; /* knows packet types of 7 and above */
	bool hello; /* its LinkHello came: caps are final */
	uint32_t caps;
	bool automatic;           /* nobody asked for it by name */
	struct sg_sig remote_sig; /* it dialled: of the transport's entry */
	struct sg_mono up_at;
	struct line line;
	struct sg_frame_key tx_key, rx_key;
	struct link_tx tx;
	struct link_rx rx;
	struct link_pace pace;
	struct link_bbr bbr;
	struct link_trial trial;
	struct link_uneven uneven;
	/* Liveness: link/alive.c */
	struct sg_timer alive;
	struct sg_mono last_rx, ping_at, tick_due;
	uint8_t ping_token[8];
	bool ping_open;            /* sent at ping_at, not answered */
	bool ping_quiet;           /* nor was much under way before it */
	uint64_t ping_tx, ping_rx; /* bytes so far, then */
	unsigned pings_more;       /* how many of the line's first pings are left */
	int64_t rtt_us;
	uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets, rx_payload, tx_payload;
	struct sg_defer end; /* an error met while sending ends the link from the loop, not below its user's feet */
	char end_why[160];
	unsigned busy; /* calls of ours on the stack that still need the memory */
	bool closed;
	void *user;
};

/* Talk of the link itself. Nobody counts it as carried: else each idle transport were a line of the log and a write a day. */
static inline bool link_is_own_talk(uint8_t type, uint32_t route_id)
{
	return route_id == 0 &&
	       (type == SG_PACKET_TRANSPORT_PING || type == SG_PACKET_TRANSPORT_PONG || type == SG_PACKET_LINK_HELLO);
}

/*
 * A connection in handshake: link/pending.c. While the worker takes a step of its machine, hs is the worker's: what others
 * want to know is in phase and remote.
 */
struct pending {
	struct sg_list node;
	struct sg_links *ls; /* NULL: it ended while the worker had it */
	struct peer *peer;   /* whose dial it is; NULL: somebody called us */
	char carrier[8];
	struct sg_addr addr; /* len 0: the carrier found the other end by its key */
	struct sg_mono since;
	struct line line;
	struct sg_timer timer;
	struct sg_task step;
	bool working, go; /* a step is with the worker; it is link_hs_go */
	enum link_hs_phase phase;
	struct sg_pk remote;
	struct link_hs hs;
};

struct peer_addr {
	char carrier[8];
	char *host; /* owned; NULL: the carrier finds it by its key */
	uint16_t port;
};

/* One resolution under way. It outlives its peer, for it cannot be called off. */
struct resolving {
	struct peer *peer; /* NULL: nobody waits any more */
};

#define PEER_RESOLVED_MAX 8

/* Somebody who waits for a link: link/want.c */
struct want {
	struct sg_list node; /* of a peer */
	links_wanted_fn *fn;
	void *arg;
};

/* The host's view of a dial; stays in its peer. */
struct sg_dial {
	struct peer *peer;
	bool active;
	bool secured; /* by its carrier: what the other end accepts it expects to be settled, so there is no way back */
};

/* Whom to be linked with: link/peer.c */
struct peer {
	struct sg_list node;
	struct sg_links *ls;
	char *name; /* owned */
	struct sg_pk pk;
	struct peer_addr *addrs; /* owned */
	size_t n_addrs, at;      /* at: the one being tried */
	struct sg_addr resolved[PEER_RESOLVED_MAX];
	size_t n_resolved, at_resolved;
	struct sg_timer timer; /* until the next attempt, or the next look */
	bool planned;          /* an attempt */
	struct resolving *resolving;
	struct sg_dial dial;
	struct pending *pending; /* our dial in handshake */
	struct sg_mono linked_at;
	uint32_t attempts;
	bool foreign;    /* it is no visor of ours: it called without our mark, or never sent a hello */
	bool exact;      /* only links by its own carriers count */
	bool automatic;  /* nobody asked for it by name */
	bool once, over; /* one round over its addresses, for those in wants; that is over */
	struct sg_list wants;
	char why[160];
};

#define CLOSED_KEPT 16

struct sg_links {
	struct sg_links_conf conf;
	const struct sg_links_user *user;
	void *user_arg;
	struct sg_list links, pendings, peers;
	size_t n_links, n_pendings;
	struct sg_mono quiet_until;
	/* Visors of 2024 whose links ended last, also of peers that were let go and may be added again at once. */
	struct closed {
		struct sg_pk pk;
		struct sg_mono quiet_until;
	} closed[CLOSED_KEPT];
	size_t closed_at; /* the next to be overwritten */
	uint16_t next_port;
	struct sg_list spare_chunks;
	size_t n_spare_chunks, n_chunks; /* all, with those of links */
	struct rx_plain *spare_plain;
	uint8_t *scratch; /* SG_LINK_RX_READ bytes: one read, the rest of the one before in front */
	bool stopping;
	struct sg_link_counters count;
	struct sg_log_limit rl_drop[LINK_DROPS], rl_failed, rl_up, rl_down;
};

/* ---- link/manager.c ---- */
void links_drop(struct sg_links *ls, enum link_drop reason, const char *who);
/* The answer to an entry of @p, whose caller is proven. */
enum sg_settle_answer links_decide(struct sg_links *ls, struct pending *p);
/* A link has ended: unless its other end is one of ours, that must not be called for SG_LINK_QUIET_MS. */
void links_closed(struct sg_links *ls, const struct sg_link *l);
/* Milliseconds for which a key must not be called, or 0. */
int64_t links_quiet_ms(const struct sg_links *ls, const struct sg_pk *pk);
/* Whether a dial to @peer may pass its point of no return: 0 now, >0 milliseconds to wait, <0 call it off. */
int64_t links_may_go(struct sg_links *ls, const struct peer *peer, const char *carrier);
/* A settled connection becomes a link. Takes what it runs over in any case, and frees @p. */
void links_settled(struct sg_links *ls, struct pending *p, struct line line);
/* @rl for what a stranger does, who may come and go as fast as keys are made; NULL for those that we know. */
struct sg_log_limit *links_log_limit(const struct sg_link *l, struct sg_log_limit *rl);
void links_person(const struct sg_links *ls, const struct sg_pk *pk, char *buf, size_t cap);

/* ---- link/pending.c ---- */
/*
 * Takes @line in any case; @caller: who called over a secured stream. A dial that failed at once was reported to its
 * peer when this returns.
 */
void pending_start(struct sg_links *ls, struct peer *peer, const char *carrier, struct line line,
	const struct sg_addr *addr, const struct sg_pk *caller);
/* Where its other end is, for people: an address, hidden when that is wished, or the short key. */
const char *pending_from_text(const struct pending *p, char buf[SG_ADDR_TEXT]);
/* Closes without a word, tells nobody. */
void pending_cancel(struct pending *p);
void pending_free(struct pending *p);

/* ---- link/peer.c ---- */
void peer_free(struct peer *p);
/* Whether @conf describes it as it is. */
bool peer_is(const struct peer *p, const struct sg_peer_conf *conf);
/* Whether a link is what it wants; the link that is. */
bool peer_serves(const struct peer *p, const struct sg_link *l);
struct sg_link *peer_link(const struct peer *p);
void peer_failed(struct peer *p, const char *fmt, ...) SG_PRINTF(2, 3);
/* Somebody else's doing made the attempt pointless: try again soon, without blame. */
void peer_retry(struct peer *p, int64_t ms);
void peer_dial_cancel(struct peer *p);
/* A link came up, ended, showed what its other end is: for all peers of its key. */
void peers_linked(struct sg_links *ls, const struct sg_link *l);
void peers_unlinked(struct sg_links *ls, const struct sg_link *l, const char *why);
void peers_kind(struct sg_links *ls, const struct sg_link *l);
/* For link/want.c, which keeps peers that are dialled once. NULL when memory is out; free with peer_free. */
struct peer *peer_new(struct sg_links *ls, const struct sg_peer_conf *conf);

/* ---- link/peers.c ---- */
struct peer *peer_find(const struct sg_links *ls, const struct sg_pk *pk);
/* Closes the links of a peer that left, but those that another one wants; strangers' links stay. */
void peers_close_departed(struct sg_links *ls, const struct peer *gone);

/* ---- link/want.c ---- */
/* The only round of a peer that is dialled once is over: 0, or a code and a sentence. Frees it. */
void want_ended(struct peer *p, int err, const char *why);

/* ---- link/life.c ---- */
/* Takes @line and the keys of @hs unless it returns NULL. */
struct sg_link *link_new(struct sg_links *ls, const struct pending *p, struct line line, struct link_hs_result *hs);
void link_free(struct sg_link *l);
void link_watch_update(struct sg_link *l);
/* The line takes more again. */
void link_writable(struct sg_link *l);
void link_end_later(struct sg_link *l, const char *why);
void link_get_info(const struct sg_link *l, struct sg_link_info *out);
/* Link business, or the user's: one packet as it arrived. */
void link_packet(struct sg_link *l, const struct sg_packet *p);

/* ---- link/alive.c ---- */
void alive_start(struct sg_link *l);
void alive_stop(struct sg_link *l);
void alive_on_ping(struct sg_link *l, struct sg_view payload);
void alive_on_pong(struct sg_link *l, struct sg_view payload);
/* The other end showed what it is: its rules apply from now on. */
void alive_kind_changed(struct sg_link *l);

/* ---- link/tx.c and rx.c ---- */
void tx_init(struct sg_link *l);
void tx_fini(struct sg_link *l);
size_t tx_waiting(const struct sg_link *l);
/* Seals what is there and gives the line what it takes. */
void tx_push(struct sg_link *l);
/* The same, then tells the user when there is room again. */
void tx_flush(struct sg_link *l);
void tx_on_writable(struct sg_link *l);
void rx_init(struct sg_link *l);
void rx_fini(struct sg_link *l);
void rx_on_readable(struct sg_link *l);
/* Bytes of a secured stream, and the end of those that came together. */
void rx_on_stream(struct sg_link *l, struct sg_view in);
void rx_on_stream_batch(struct sg_link *l);
/* What came in the same read as the end of the handshake. */
void rx_first(struct sg_link *l, struct sg_view plain, struct sg_view raw);

#endif
