/*
 * Route groups: what joins two visors over a route there and a route back. Shared by the group_*.c files.
 *
 *	dialler:  Handshake ▶         listener:             ◀ waits
 *	          ◀ Handshake                   Handshake ▶
 *	          Noise message 1 ▶             ◀ Noise message 2         then a record is a frame, a frame is a Data packet
 *
 *	GREETING ─▶ NOISE ─▶ OPEN ── its Close, records queued ─▶ FINISHED ─▶ ENDED
 *	     └────────┴────────┴── our Close ─▶ CLOSING ── its Close, or 2 s ─▶ ENDED
 */
#ifndef SG_ROUTE_GROUP_H
#define SG_ROUTE_GROUP_H

#include "crypto/frame.h"
#include "crypto/noise.h"
#include "route/internal.h"

enum group_state { GROUP_GREETING, GROUP_NOISE, GROUP_OPEN, GROUP_FINISHED, GROUP_CLOSING, GROUP_ENDED };

/* A record that its user does not want yet. */
struct record {
	struct sg_list node;
	size_t len;
	uint8_t b[];
};

struct group {
	struct sg_stream pub; /* first: what users hold */
	struct sg_list node;
	struct sg_route *r;
	struct sg_route_desc desc; /* dst is us */
	bool dialled;
	enum group_state state;
	unsigned busy; /* calls of ours on the stack that still need the memory */
	char carrier[8];
	struct rule *forward, *reverse;
	struct group_dial *dial; /* whose it is until it is open */
	struct sg_mono opened_at;
	/* Handshake. */
	struct sg_noise *noise;
	bool speaks;           /* our message waits for room on the link */
	struct sg_timer timer; /* its next step; later: until the answer to our Close */
	unsigned greetings;    /* Handshake packets sent, or pauses waited for one */
	int64_t greeted_ms;    /* the sum of those pauses */
	/* Data. */
	struct sg_frame_key tx, rx;
	struct turn wait, touched;
	uint8_t *part; /* of a frame that came in pieces; NULL: none */
	size_t part_len;
	bool plain; /* no encryption between the ends: the owner has allowed it */
	bool want;
	struct sg_list rxq; /* of struct record */
	size_t rxq_len;     /* bytes of memory */
	bool rationed;      /* its user says what may come: rx_bytes up to rx_allowed */
	uint64_t rx_allowed;
	struct line *held; /* more than that came by this one, which is not read; NULL: none */
	struct sg_defer drain;
	uint64_t rx_bytes, tx_bytes;
	char error[160]; /* the text of its Error packet */
	/* Pings. */
	struct sg_timer tick;
	unsigned ticks;
	struct sg_mono heard_at, sent_at, ping_at;
	int64_t ping_stamp;
	uint64_t ping_rx_bytes;   /* rx_bytes at the last ping */
	int64_t rtt_us;           /* -1: none answered yet */
	int64_t up_bps, down_bps; /* bytes a second, as the other end and we have seen it */
};

/* A dial: waits for the edge rules, then for its group. */
struct group_dial {
	struct sg_list node;
	struct sg_route *r;
	struct sg_route_want want;
	sg_dialed_fn *done;
	void *arg;
	struct sg_timer timer;
	struct sg_defer begin;
	bool asked;
	struct group *group;
};

/* ---- group_open.c: the beginning ---- */
/* Keeps both rules and begins the handshake. 0, or a negative code with a sentence. */
int group_new(
	struct sg_route *r, const struct sg_edge_rules *rules, bool dialled, struct group **out, char *why, size_t cap);
/* A Handshake packet, or a Noise message, came. */
void group_greeted(struct group *g, uint8_t flag);
void group_noise(struct group *g, struct sg_view message);
/* There is room on the link. */
void group_noise_turn(struct group *g);

/* ---- group.c: life ---- */
void group_hold(struct group *g);
void group_release(struct group *g);
/* Ends it and tells its user, or its dial. @tell: the other end is told too, and its answer awaited. */
void group_end(struct group *g, bool tell, int err, const char *why);
/* Takes it out of everything without a word to anybody. */
void group_detach(struct group *g);
void group_noise_free(struct group *g);
/* Every SG_GROUP_PING_MS while it is open. */
void group_tick(void *arg);
bool group_is_open(const struct group *g);
/* Its Close came. */
void group_closed(struct group *g, uint8_t code);
void group_drop(struct group *g, enum route_drop reason);

/* ---- group_receive.c ---- */
void group_drain(void *arg);
/* What may come has come, the last by @line, or has not: that line is not read, or is. */
void group_ration(struct group *g, struct line *line);
void group_batch_end(void *arg);

/* ---- group_send.c ---- */
extern const struct sg_stream_ops group_ops;
/* A packet that nobody waits for; false: there is no room, or no link. */
bool group_say(struct group *g, uint8_t type, const void *payload, size_t len);
/* A full link takes it too: who does not hear of it waits until its rules die. False: there is no link. */
bool group_say_close(struct group *g, uint8_t code);
void group_writable(void *arg);

/* ---- group_dial.c ---- */
void group_dial_end(struct group_dial *d, struct group *g, int err, const char *why);

static inline struct group *group_of(struct sg_stream *st)
{
	return sg_container_of(st, struct group, pub);
}

#endif
