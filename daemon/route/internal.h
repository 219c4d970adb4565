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
#include "route/route.h"
#include "wire/linkhello.h"
#include "wire/vstream.h"

#define LINE_BUCKETS 64

/* What we keep for one live link. */
struct line {
	struct sg_list node;
	struct sg_route *r;
	struct sg_link *link;
	struct sg_list streams[LINE_BUCKETS]; /* by id */
	struct sg_list waiting;               /* streams that the full link turned away, the longest first */
	struct sg_list touched;               /* streams that got data in this batch */
	size_t n_streams;
	uint64_t next_id;
	bool credits; /* both ends can: final when the first stream begins */
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
	struct sg_list node, wait_node, touch_node;
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

/* A dial: waits for the link, then for the answer to its stream. */
struct dial {
	struct sg_list node;
	struct sg_route *r;
	struct sg_pk pk;
	uint16_t port;
	sg_dialed_fn *done;
	void *arg;
	struct sg_timer timer;
	struct sg_defer begin;
	struct vstream *stream;
};

struct sg_route {
	struct sg_links *links;
	struct sg_loop *loop;
	struct sg_pk own;
	struct sg_list lines, listeners, dials;
	bool stopping;
	size_t rx_queued;   /* bytes, all streams */
	size_t window_more; /* bytes by which windows grew beyond the first, all streams */
	struct sg_route_counters count;
	struct sg_log_limit rl_drop[ROUTE_DROPS];
};

/* ---- route/route.c ---- */
void route_drop(struct line *line, enum route_drop reason);
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

/* ---- route/receive.c ---- */
void receive_packet(void *arg, struct sg_link *l, const struct sg_packet *p);
void receive_batch_end(void *arg, struct sg_link *l);
/* The bytes behind an answer or a port, and those of data packets. */
void receive_data(struct vstream *s, struct sg_view data);

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
void dial_line_ready(struct sg_route *r, struct sg_link *l);
void dial_answered(struct dial *d, int err, const char *why);
void dial_free(struct dial *d);

static inline struct vstream *vstream_of(struct sg_stream *st)
{
	return sg_container_of(st, struct vstream, pub);
}

#endif
