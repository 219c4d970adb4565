/*
 * Links: live, encrypted connections to neighbours. Carriers (plugins) bring raw connections;
 *everything after that is here: stream handshake, Noise, settlement, frames, packets, liveness, one
 *link per neighbour and carrier, and the configured peers that are kept connected.
 *
 *	carrier → links_accepted / dial_done → handshake (link/handshake.h) → link: packets in,
 *packets out → route/
 *
 * A carrier that secures its connections itself (dmsg) brings streams instead of descriptors; for those the handshake is
 * the settlement alone, and packets go as they are.
 *
 * One manager per daemon; it and all its links belong to the loop it was made with.
 */
#ifndef SG_LINK_LINK_H
#define SG_LINK_LINK_H

#include "base/list.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "loop/loop.h"
#include "wire/packet.h"
#include <skygate/plugin.h>

struct sg_links;
struct sg_link;
struct iovec;

/* ---- the manager
 * ---------------------------------------------------------------------------------------------- */

struct sg_link_info {
	struct sg_tpid id;
	struct sg_pk remote;
	char peer[64]; /* section name of the configured peer, "" for others */
	char carrier[8];
	char address[SG_ADDR_TEXT];  /* "" when its carrier found it by its key */
	bool dialled;                /* by us */
	const char *label;           /* "user" or "automatic"; static */
	struct sg_sig remote_sig;    /* it dialled: its signature of the transport's entry; else zeros */
	const char *kind;            /* "own", "2026" or "2024": what the other end showed it knows; static */
	int64_t up_ms;               /* since it is up */
	int64_t rtt_us;              /* of the last transport ping; -1: none answered yet */
	uint64_t rx_bytes, tx_bytes; /* on the wire, without TCP */
	uint64_t rx_packets, tx_packets;
	uint64_t rx_payload, tx_payload; /* bytes behind the heads of packets, the link's own left out: for the log */
	size_t tx_waiting;               /* bytes in user space */
};

/* What the manager asks of its owner (core). */
struct sg_links_host {
	/*
	 * Starts one connection attempt with the plugin that provides @carrier; @to NULL: it finds the address by the key.
	 * Must end in links_dial_done or links_dial_done_stream exactly once, unless cancelled. 0 or a negative code:
	 * -ENOTSUP when no plugin provides it.
	 */
	int (*dial)(
		void *arg, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *dial);
	/* Whether that carrier brings secured streams. May be NULL: none does. */
	bool (*is_secured)(void *arg, const char *carrier);
	/* links_dial_done does not follow. */
	void (*dial_cancel)(void *arg, const char *carrier, struct sg_dial *dial);
	/* A link came up, or ended: @why is a sentence. May be NULL. */
	void (*up)(void *arg, const struct sg_link_info *info);
	void (*down)(void *arg, const struct sg_link_info *info, const char *why);
	/*
	 * Which configured peers turned out to be no visors of ours, kept beyond the end of this process (quiet_ms says why).
	 * set_foreign comes when that changes. May be NULL.
	 */
	bool (*is_foreign)(void *arg, const struct sg_pk *pk);
	void (*set_foreign)(void *arg, const struct sg_pk *pk, bool foreign);
	/* Gives a connection the congestion control of all links again, soon. 0 or a negative code. May be NULL. */
	int (*tune)(void *arg, int fd);
};

struct sg_links_conf {
	struct sg_loop *loop;           /* kept */
	struct sg_worker *worker;       /* kept: computes what handshakes need; NULL: the loop does */
	const struct sg_crypto *crypto; /* kept */
	struct sg_sk sk;
	struct sg_pk pk;
	const struct sg_links_host *host; /* kept */
	void *host_arg;
	/*
	 * No dial of a foreign peer is carried beyond the stream handshake for so long (SG_LINK_QUIET_MS): an earlier process
	 * of ours may have ended just now. A visor of 2024 keeps a transport that it has seen closed for up to a second, and
	 * when the same transport is settled meanwhile, it stops accepting for good.
	 */
	int64_t quiet_ms;
};

/* A peer to be kept connected: of the configuration, or asked for at run time. All borrowed. */
struct sg_peer_conf {
	const char *name; /* of its section */
	struct sg_pk pk;
	const char *const *addresses; /* "stcp://host:port" or "dmsg", tried in this order; checked by
					 links_address_ok */
	size_t n_addresses;           /* 0: it connects to us */
	bool exact;                   /* only a link by one of these carriers will do */
	bool automatic;               /* nobody asked for it by name: label "automatic" */
};

/** links_new - NULL when memory is out. Free with links_free. */
struct sg_links *links_new(const struct sg_links_conf *conf);
/** links_free - closes everything at once, waits for nothing; pending dials are cancelled. Accepts
 * NULL. */
void links_free(struct sg_links *ls);
struct sg_loop *links_loop(const struct sg_links *ls);
const struct sg_pk *links_own_pk(const struct sg_links *ls);
const struct sg_sk *links_own_sk(const struct sg_links *ls);
const struct sg_crypto *links_crypto(const struct sg_links *ls);

/** links_accepted - a carrier accepted a connection. Takes @fd (non-blocking) in any case. @from NULL: nobody can say. */
void links_accepted(struct sg_links *ls, const char *carrier, int fd, const struct sg_addr *from);
/** links_accepted_stream - the same for a carrier that secures its streams. Takes @stream in any case. */
void links_accepted_stream(struct sg_links *ls, const char *carrier, struct sg_stream *stream);
/** links_dial_done - ends a dial: takes a connected, non-blocking descriptor, or a negative code
 * and a sentence. */
void links_dial_done(struct sg_dial *dial, int fd_or_error, const char *why);
/** links_dial_done_stream - the same, with a stream that the carrier has secured. */
void links_dial_done_stream(struct sg_dial *dial, struct sg_stream *stream);
/** links_carrier_stop - the plugin is about to stop: cancels its dials. Live links stay where their
 * descriptors are ours; streams end with their network. */
void links_carrier_stop(struct sg_links *ls, const char *carrier);

/** links_address_ok - "carrier://host:port", or a carrier that finds visors by key, as peers list it. 0, or SG_EMALF. */
int links_address_ok(const char *url);
/**
 * links_peers_set - these peers are configured now, no others: new ones are dialled, links of those
 * that left are closed, the rest is undisturbed. 0 or -ENOMEM (then the old set stays).
 */
int links_peers_set(struct sg_links *ls, const struct sg_peer_conf *peers, size_t n);
/** links_peer_find - the key of a configured peer. 0 or -ENOENT. */
int links_peer_find(const struct sg_links *ls, const char *name, struct sg_pk *out);
/** links_peer_state - how the link to a key stands. 0, or -ENOENT: neither configured nor linked.
 */
int links_peer_state(const struct sg_links *ls, const struct sg_pk *pk, struct sg_peer_state *out);

/* Ends a want, once, never inside the call that asked: 0, there is a link; or a code and a sentence. */
typedef void links_wanted_fn(void *arg, int err, const char *why);

/**
 * links_want - a link to @pk by any carrier: one that is there, or one that is dialled now, by stcpr, then by dmsg, one
 * round. It is not kept connected afterwards. 0, -ENOMEM, SG_EFULL: too many are wanted at once, SG_ENOROUTE: it is us.
 */
int links_want(struct sg_links *ls, const struct sg_pk *pk, links_wanted_fn *fn, void *arg);
/** links_want_by - the same by one carrier that finds a visor by its key; a link by another is as good. */
int links_want_by(struct sg_links *ls, const struct sg_pk *pk, const char *carrier, links_wanted_fn *fn, void *arg);
/** links_want_cancel - of all wants with that arg; their call-backs do not follow. Dials under way go on. */
void links_want_cancel(struct sg_links *ls, void *arg);

/** links_waiting - @fn for every peer that should be linked and is not, until it returns false. @name: of its section. */
void links_waiting(
	const struct sg_links *ls, bool (*fn)(void *arg, const char *name, const struct sg_peer_state *st), void *arg);
/** links_close - ends the links to a key, all or those by @carrier. @why: a sentence. Returns how many. */
size_t links_close(struct sg_links *ls, const struct sg_pk *pk, const char *carrier, const char *why);

/** links_each - @fn for every live link, until it returns false. */
void links_each(const struct sg_links *ls, bool (*fn)(void *arg, const struct sg_link_info *info), void *arg);

/** links_count - how many those are. */
size_t links_count(const struct sg_links *ls);

/* Counters of all links since start. X(member, name, help) */
#define SG_LINK_COUNTERS(X)                                                                                            \
	X(rx_bytes, "link.rx_bytes", "bytes received in frames")                                                       \
	X(tx_bytes, "link.tx_bytes", "bytes sent in frames")                                                           \
	X(rx_packets, "link.rx_packets", "packets received")                                                           \
	X(tx_packets, "link.tx_packets", "packets sent")                                                               \
	X(up, "link.up", "links that came up")                                                                         \
	X(down, "link.down", "links that ended")                                                                       \
	X(dials, "link.dials", "connection attempts")                                                                  \
	X(dial_failed, "link.dial_failed", "connection attempts that failed, handshake included")                      \
	X(handshake_failed, "link.handshake_failed", "callers whose handshake failed")                                 \
	X(replaced, "link.replaced", "links that a newer one of the same peer replaced")                               \
	X(dead, "link.dead", "links closed because the other end went silent")                                         \
	X(frame_bad, "link.frame_bad", "links closed by a frame that is not authentic")                                \
	X(trials, "link.trials", "trials of Reno on a line that seems too uneven for BBR")                             \
	X(trials_kept, "link.trials_kept", "those that brought more, so that Reno was kept")

/* Why something was dropped or refused: a counter and a rate-limited line each. X(reason, name, help) */
#define SG_LINK_DROPS(X)                                                                                               \
	X(LINK_DROP_PENDING, "link.refused.pending",                                                                   \
		"callers cut: too many in handshake, and they were silent for longest")                                \
	X(LINK_DROP_PENDING_IP, "link.refused.pending_ip", "callers refused: too many in handshake from one address")  \
	X(LINK_DROP_LINKS, "link.refused.links", "callers refused: too many links")                                    \
	X(LINK_DROP_DOUBLE, "link.refused.double", "callers refused: our own dial to them stays")                      \
	X(LINK_DROP_MALFORMED, "link.drop.malformed", "packets dropped: shorter than their type needs")                \
	X(LINK_DROP_UNMARKED, "link.drop.unmarked", "packets dropped: our own type from a peer without our mark")      \
	X(LINK_DROP_FULL, "link.drop.full", "answers dropped: the other end does not read")

enum link_drop {
#define SG_LINK_DROP_ENUM(reason, name, help) reason,
	SG_LINK_DROPS(SG_LINK_DROP_ENUM)
#undef SG_LINK_DROP_ENUM
		LINK_DROPS
};

struct sg_link_counters {
#define SG_LINK_COUNTER_MEMBER(member, name, help) uint64_t member;
	SG_LINK_COUNTERS(SG_LINK_COUNTER_MEMBER)
#undef SG_LINK_COUNTER_MEMBER
	uint64_t drop[LINK_DROPS];
};

/* Offsets are into links_counters(). */
extern const struct sg_counter link_counter_table[];
const struct sg_link_counters *links_counters(const struct sg_links *ls);
/** links_buffers - bytes of what all links send from, with what is kept for the next that needs some. */
size_t links_buffers(const struct sg_links *ls);

/* ---- one link, for route/
 * -------------------------------------------------------------------------------------- */

/* Who gets the packets: one user per manager. A link stays valid until on_down returned. */
struct sg_links_user {
	void (*on_up)(void *arg, struct sg_link *l);
	void (*on_down)(void *arg, struct sg_link *l, const char *why);
	/* The peer said what it is: its capabilities (wire/linkhello.h) are known from here on. */
	void (*on_hello)(void *arg, struct sg_link *l);
	/* A packet that is not link business. Payload borrowed for the call. The link may be closed
	 * inside. */
	void (*on_packet)(void *arg, struct sg_link *l, const struct sg_packet *p);
	/* All that could be read for now was delivered. */
	void (*on_batch_end)(void *arg, struct sg_link *l);
	/* Bytes waiting fell below SG_LINK_TX_LOW after link_send had said -EAGAIN. */
	void (*on_writable)(void *arg, struct sg_link *l);
};

/** links_set_user - once, before the first link. @user and @arg are kept. */
void links_set_user(struct sg_links *ls, const struct sg_links_user *user, void *arg);
/** links_find - the best live link to a key, or NULL. */
struct sg_link *links_find(struct sg_links *ls, const struct sg_pk *pk);
/** links_by_id - the live link that realises a transport, or NULL. */
struct sg_link *links_by_id(struct sg_links *ls, const struct sg_tpid *id);

const struct sg_pk *link_remote(const struct sg_link *l);
const struct sg_tpid *link_id(const struct sg_link *l);
const char *link_carrier(const struct sg_link *l);
/** link_caps - what both ends can (SG_CAP_…); 0 before the hello and toward others. */
uint32_t link_caps(const struct sg_link *l);
/** link_is_own - the other end bears our mark. */
bool link_is_own(const struct sg_link *l);
/**
 * link_knows_streams - virtual streams may be sent to it: it is ours and its hello came, or it showed that it knows
 * packet types of 7 and above. on_hello says when this becomes true.
 */
bool link_knows_streams(const struct sg_link *l);
/** link_name - for people: the section of the configured peer, or the short key. */
const char *link_name(const struct sg_link *l);
/** link_rtt_us - of the last transport ping; -1: none answered yet. */
int64_t link_rtt_us(const struct sg_link *l);
/** link_rtt_busy_us - or that of what is under way now, when TCP says that it takes longer; -1: nothing is known. */
int64_t link_rtt_busy_us(const struct sg_link *l);
/** link_ping - sends a transport ping now. Only where link_knows_streams: others log a warning for each and do not answer. */
void link_ping(struct sg_link *l);
/** link_ping_waits - the last ping was not answered yet. */
bool link_ping_waits(const struct sg_link *l);
/** link_user - a pointer of the user's own, NULL at first. */
void **link_user(struct sg_link *l);

/**
 * link_reserve - room for packets of @bytes in all, heads included: 0, or -EAGAIN above SG_LINK_TX_HIGH (on_writable
 * follows), SG_ECLOSED. Memory that is out ends the link, soon; until then it is as if it were full.
 */
int link_reserve(struct sg_link *l, size_t bytes);
/**
 * link_reserve_far - as link_reserve, for small packets that do not wait: up to SG_LINK_TX_FAR bytes may be waiting, beyond it
 * SG_EFULL and on_writable does not follow.
 */
int link_reserve_far(struct sg_link *l, size_t bytes);
/**
 * link_place - after link_reserve: where the next packet's @len bytes of payload will lie, so that they can be written there
 * and need no copy, or NULL where they will be cut. For link_put alone, at once. In front of it is room for
 * sg_frame_seal_behind.
 */
uint8_t *link_place(struct sg_link *l, size_t len);
/**
 * link_put - queues one packet for which room was reserved: head, then the bytes of @iov (at most 65,535). Borrows;
 * copies into the frames that leave at the end of this round of events; not what lies at link_place already.
 */
void link_put(struct sg_link *l, uint8_t type, uint32_t route_id, const struct iovec *iov, int n);
/** link_send_control - a small packet that must not wait nor get lost: taken above the mark too. Borrows. */
void link_send_control(struct sg_link *l, uint8_t type, uint32_t route_id, const void *payload, size_t len);
/** link_want - while @read is false nothing more is read from the socket. Counted: each false needs
 * its true. */
void link_want(struct sg_link *l, bool read);
/**
 * link_put_back - within on_packet: the packet was not taken. It comes again, first, when the link is read again; to be
 * used with link_want.
 */
void link_put_back(struct sg_link *l);
/** link_resume - after link_want(true): what waited is delivered now, not at the end of this round, where that may be. */
void link_resume(struct sg_link *l);
/** link_sent - bytes that its line has taken so far. */
uint64_t link_sent(const struct sg_link *l);
/** link_close - ends it; on_down comes before this returns. @why: a sentence. */
void link_close(struct sg_link *l, const char *why);

#endif
