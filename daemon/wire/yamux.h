/*
 * yamux, version 0: streams with flow control on one byte stream, either role. Sans I/O: bytes in by sg_yamux_feed, bytes
 * out by the send call-back, time by sg_yamux_tick; the owner brings connection and timer.
 *
 *	version 0 u8 | type u8 | flags u16 | stream id u32 | length u32      then, for Data, length bytes
 *
 * Source: daemon/doc/wire.md, "yamux".
 */
#ifndef SG_WIRE_YAMUX_H
#define SG_WIRE_YAMUX_H

#include "base/clock.h"
#include "base/list.h"

#define SG_YAMUX_HEAD         12
#define SG_YAMUX_WINDOW       262144 /* bytes of credit per direction and stream (spec) */
#define SG_YAMUX_STREAMS_MAX  2048   /* live at once (own; today's servers allow as many) */
#define SG_YAMUX_PING_MS      30000  /* (spec) */
#define SG_YAMUX_PING_WAIT_MS 10000  /* (spec) */
#define SG_YAMUX_OPEN_MS      75000  /* a SYN without an answer ends the session (spec) */
#define SG_YAMUX_CLOSE_MS     300000 /* after our FIN without theirs: RST (spec) */

struct sg_yamux;

struct sg_yamux_stream {
	struct sg_list node; /* the session's */
	struct sg_yamux *session;
	void *user; /* the owner's */
	uint32_t id;
	bool acked;                    /* by the other end */
	bool fin_sent, fin_seen, wait; /* wait: a send was cut short, on_writable follows */
	uint32_t tx_window;            /* bytes that we may send */
	uint32_t rx_window;            /* bytes that the other end may send */
	uint32_t rx_held;              /* of frames that began, and not consumed yet */
	struct sg_mono since;          /* of the SYN, then of our FIN */
};

struct sg_yamux_ops {
	/* Bytes for the wire. Borrows both. */
	void (*send)(void *arg, struct sg_view head, struct sg_view body);
	/* The other end opened a stream: 0 and s->user set, or a negative code: it is reset. */
	int (*on_stream)(void *arg, struct sg_yamux_stream *s);
	/* Bytes arrived, borrowed; they count against the window until sg_yamux_consumed. */
	void (*on_data)(void *arg, struct sg_yamux_stream *s, struct sg_view data);
	/* After a send that was cut short: there is credit again. */
	void (*on_writable)(void *arg, struct sg_yamux_stream *s);
	/* The other end sends no more (@err 0), or the stream was reset (-ECONNRESET: it is gone after this call). */
	void (*on_end)(void *arg, struct sg_yamux_stream *s, int err);
};

SG_BEGIN_DECLS

/** sg_yamux_new - @client opens odd ids. @ops and @arg are kept. NULL when memory is out. */
struct sg_yamux *sg_yamux_new(bool client, const struct sg_yamux_ops *ops, void *arg, struct sg_mono now);
/** sg_yamux_free - streams go without a call-back. Not inside one. Accepts NULL. */
void sg_yamux_free(struct sg_yamux *y);

/**
 * sg_yamux_feed - any cut of the incoming bytes. 0, or the code that ends the session: SG_EMALF (protocol error),
 * SG_ECLOSED (the other end goes away), -ENOMEM. *@why gets a static sentence.
 */
int sg_yamux_feed(struct sg_yamux *y, struct sg_view in, const char **why);
/** sg_yamux_tick - about once a second: pings and time-outs. 0, or -ETIMEDOUT: the session is dead. */
int sg_yamux_tick(struct sg_yamux *y, struct sg_mono now, const char **why);

/** sg_yamux_open - a new stream; its SYN leaves at once. 0, SG_EFULL, SG_ECLOSED (the other end takes no more) or -ENOMEM. */
int sg_yamux_open(struct sg_yamux *y, void *user, struct sg_mono now, struct sg_yamux_stream **out);
/** sg_yamux_send - as many bytes as there is credit for; fewer: on_writable follows. Bytes taken, or SG_ECLOSED. */
int sg_yamux_send(struct sg_yamux_stream *s, struct sg_view data);
/** sg_yamux_consumed - @len bytes of on_data were taken: the other end gets its credit back. */
void sg_yamux_consumed(struct sg_yamux_stream *s, uint32_t len);
/** sg_yamux_close - FIN; the stream is forgotten by its owner, no call-back follows, what still arrives is dropped. */
void sg_yamux_close(struct sg_yamux_stream *s, struct sg_mono now);
/** sg_yamux_reset - RST; gone at once, no call-back follows. */
void sg_yamux_reset(struct sg_yamux_stream *s);
size_t sg_yamux_streams(const struct sg_yamux *y);
/** sg_yamux_rtt_us - of the last ping answered, -1: none yet. */
int64_t sg_yamux_rtt_us(const struct sg_yamux *y);

SG_END_DECLS
#endif
