/*
 * What the files of route/ share. The route owns lines (one per link), listeners and dials; a line owns its streams. A
 * stream's memory outlives its end only while calls of ours that still need it are on the stack (busy).
 */
#ifndef SG_ROUTE_INTERNAL_H
#define SG_ROUTE_INTERNAL_H

#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "crypto/frame.h"
#include "route/route.h"
#include "route/rules.h"
#include "wire/linkhello.h"
#include "wire/vstream.h"

#define LINE_BUCKETS 64

/*
 * A stream's place in a list of its line: of those that wait for room, or of those that got data in this batch. What is
 * to be done when its turn comes.
 */
struct turn {
	struct sg_list node;
	void (*fn)(void *arg);
	void *arg;
};

/* What we keep for one live link. */
struct line {
	struct sg_list node;
	struct sg_route *r;
	struct sg_link *link;
	struct sg_list streams[LINE_BUCKETS]; /* by id */
	struct sg_list waiting;               /* turns of streams that the full link turned away, the longest first */
	struct sg_list touched;               /* turns of streams that got data in this batch */
	size_t n_streams;
	uint64_t next_id;
	bool credits; /* both ends can: final when the first stream begins */
	/* Packets that pass: route/forward.c. */
	struct line *held_by; /* this line is not read until that one has room; NULL: it is */
	struct turn held;     /* the place among those who wait there */
	size_t holds;         /* lines that wait for this one */
	struct sg_timer stuck;
	struct sg_mono stuck_due;
	int64_t stuck_ms;
	uint64_t sent; /* bytes, when it was not stuck */
	bool is_stuck; /* nobody is to wait for it, until it has room */
};

enum vstream_state {
	VS_ASKED,   /* we dialled: the answer is awaited */
	VS_PORT,    /* it dialled: the port is awaited */
	VS_OFFERED, /* the listener is being asked */
	VS_OPEN,
	VS_FINISHED, /* FIN came; what is queued is still delivered */
	VS_ENDED,    /* the user has heard of its end, or closed it */
};

/* Bytes that their user does not want yet. */
struct rx_block {
	struct sg_list node;
	size_t head, tail, cap;
	uint8_t b[];
};

struct vstream {
	struct sg_stream pub; /* first: what users hold */
	struct sg_list node;
	struct turn wait, touched;
	struct line *line; /* NULL once ended */
	struct sg_route *r;
	uint64_t id;
	struct sg_pk remote;
	char carrier[8];
	bool dialled;
	enum vstream_state state;
	uint16_t port;
	uint8_t port_len;      /* bytes of it that came */
	struct dial *dial;     /* whose it is while ASKED */
	struct sg_timer timer; /* until the answer or the port; later: how long it holds up the link */
	struct sg_mono opened_at;
	uint8_t head[SG_VSTREAM_HEAD]; /* of its data packets */
	unsigned busy;
	/* Sending: with credits at most tx_allowed bytes in all. */
	uint64_t tx_total, tx_allowed;
	bool wait_credit, wait_answer;
	/* Receiving. */
	bool want, pausing; /* pausing: its queue is full and the link not read */
	bool rationed;      /* its user says what may come */
	bool held;          /* more than that came, and the link is not read: the other end knows no credits */
	uint64_t rx_total, rx_allowed;
	size_t window;
	struct sg_mono granted_at;
	struct sg_list rxq; /* of rx_block */
	size_t rxq_len;
	struct sg_defer drain;
};

struct listener {
	struct sg_list node;
	uint16_t port;
	const struct sg_listener_ops *ops;
	void *arg;
};

enum dial_way { WAY_DIRECT, WAY_GROUP };

/* A dial: both ways, one of them at least under way. */
struct dial {
	struct sg_list node;
	struct sg_route *r;
	struct sg_pk pk;
	uint16_t port;
	unsigned min_hops;
	sg_dialed_fn *done;
	void *arg;
	bool waiting;           /* for a link */
	bool wanting;           /* a link was asked for */
	bool kept;              /* others keep it connected: one will come if it can */
	bool grouping, grouped; /* a group dial is under way; was begun */
	bool again;             /* a link came up meanwhile: should it fail, another one */
	struct sg_timer timer;  /* while waiting: until it gives up */
	struct sg_timer head;   /* until a group sets out, too */
	struct sg_defer begin;
	struct vstream *stream; /* asked for */
	struct {
		int err;
		char why[200];
	} failed[2]; /* by enum dial_way */
};

/* A visor that did not answer a direct dial. */
struct silent {
	struct sg_pk pk;
	int64_t until_ns;
};

struct sg_route {
	struct sg_links *links;
	struct sg_loop *loop;
	struct sg_pk own;
	struct sg_list lines, listeners, dials, groups, group_dials;
	bool stopping;
	bool allow_plain;  /* groups without encryption between their ends */
	unsigned min_hops; /* of dials that do not ask for more */
	bool groups_only;  /* dials take no direct stream */
	struct silent silent[SG_DIRECT_SILENT_MAX];
	size_t silent_at;
	struct rules rules;
	struct line *in_turn;  /* what waited of it is being delivered, in its turn */
	struct sg_timer sweep; /* runs while there are rules */
	const struct sg_route_setup *setup;
	void *setup_arg;
	size_t n_groups;
	uint16_t next_port; /* of our next group dial */
	/* A group's frame, while it is being sealed. */
	uint8_t slot[SG_FRAME_FRONT + SG_FRAME_PREFIX_MAX + 2];
	uint8_t plain[SG_FRAME_PLAIN_MAX]; /* the record that came, while its user looks at it */
	size_t rx_queued;                  /* bytes, all streams */
	size_t rx_most, window_most;       /* bytes: all streams, one stream */
	size_t window_more;                /* bytes by which windows grew beyond the first, all streams */
	struct sg_route_counters count;
	struct sg_log_limit rl_drop[ROUTE_DROPS];
};

/* ---- route/route.c ---- */
void turn_init(struct turn *t, void (*fn)(void *arg), void *arg);
/* To the end of @list, unless it has its place in one. */
void turn_take(struct sg_list *list, struct turn *t);
void route_drop(struct line *line, enum route_drop reason);
/* The same when no line is to be named: @who for people. */
void route_drop_of(struct sg_route *r, const char *who, enum route_drop reason);

/* ---- route/keep.c: rules ---- */
void rules_start(struct sg_route *r);
void rules_stop(struct sg_route *r);
/* The line to the rule's next transport, NULL while that is down. */
struct line *rule_line(struct sg_route *r, struct rule *rule);
/* The rules that pass on what came by a link that ends: who they lead to is told. */
void rules_line_down(struct line *line);
/* A rule is kept: 0, or as rules_add, with a sentence. */
int rule_keep(struct sg_route *r, const struct sg_rule *rule, struct rule **out, char *why, size_t why_cap);

/* ---- route/forward.c ---- */
void forward_init(struct line *line);
/* The line ends: who waits for it waits no more. */
void forward_line_down(struct line *line);
/* It has room again. */
void forward_writable(struct line *line);
/* A packet to the rule's next transport, at once or later. */
void forward(struct line *line, struct rule *rule, uint8_t type, struct sg_view payload);

/* ---- route/group*.c ---- */
void groups_start(struct sg_route *r);
/* Closes go out while there are links. */
void groups_farewell(struct sg_route *r);
/* Ends all groups and group dials. */
void groups_stop(struct sg_route *r);
/* Ends those whose reverse rule is dead. */
void groups_sweep(struct sg_route *r);
/* Ends those that leave or come by the link that is going down. */
void groups_line_down(struct line *line, const char *why);
void groups_each_stream(
	const struct sg_route *r, bool (*fn)(void *arg, const struct sg_route_stream_info *s), void *arg);
/* What a list of rules says of it. */
void group_info(const struct group *g, struct sg_route_rule_info *out);
/* A packet for its reverse rule. Payload as sg_packet_pass leaves it. */
void group_packet(struct group *g, struct line *line, uint8_t type, struct sg_view payload);
struct listener *listener_find(const struct sg_route *r, uint16_t port);

/* ---- route/vstream.c: the life of a stream ---- */
struct vstream *vstream_find(const struct line *line, uint64_t id);
/* NULL when memory is out or the link has as many as it may. */
struct vstream *vstream_new(struct line *line, uint64_t id, bool dialled);
void vstream_hold(struct vstream *s);
/* Frees an ended stream that nobody holds any more. */
void vstream_release(struct vstream *s);
/* Takes it off its line without a word to anybody. */
void vstream_detach(struct vstream *s);
/* Ends it and tells its user, or its dial. @fin: the other end is told, too. */
void vstream_end(struct vstream *s, bool fin, int err, const char *why);
bool vstream_is_open(const struct vstream *s);
int vstream_queue(struct vstream *s, struct sg_view data);
/* Bytes were taken by the user: more may be sent to us. */
void vstream_consumed(struct vstream *s);
/* What may come without credits has come, or has not: the link is not read, or is. */
void vstream_ration(struct vstream *s);

/* ---- route/receive.c ---- */
void receive_packet(void *arg, struct sg_link *l, const struct sg_packet *p);
void receive_batch_end(void *arg, struct sg_link *l);

/* ---- route/send.c ---- */
extern const struct sg_stream_ops vstream_ops;
void send_message(struct line *line, uint64_t id, uint8_t flags, const void *data, size_t len);
/** send_refusal - the end of a stream of another packet type, which no service of ours takes. */
void send_refusal(struct line *line, uint8_t type, uint64_t id);
void send_credit(struct vstream *s);
void send_writable(void *arg, struct sg_link *l);
/* The stream may send again, if somebody waits for that. */
void send_resume(struct vstream *s);

/* ---- route/dial.c ---- */
void dial_line_up(struct sg_route *r, struct sg_link *l);
void dial_line_ready(struct sg_route *r, struct sg_link *l);
void dial_answered(struct dial *d, int err, const char *why);
/** dial_end - gives up all its ways and says so. */
void dial_end(struct dial *d, int err, const char *why);

static inline struct vstream *vstream_of(struct sg_stream *st)
{
	return sg_container_of(st, struct vstream, pub);
}

#endif
