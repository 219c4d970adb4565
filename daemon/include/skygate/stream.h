/*
 * A stream: what every network gives and every app uses. Bytes in order to a port of another visor.
 *
 * A stream belongs to one loop. It stays valid until the user called close() or on_close() returned, whichever is
 * first; nothing follows either.
 */
#ifndef SKYGATE_STREAM_H
#define SKYGATE_STREAM_H

#include <skygate/types.h>
#include <sys/uio.h>

#define SG_STREAM_IOV 40 /* pieces of one send: a packet of 64 KiB in blocks of 2 KiB, and its head */

struct sg_stream;

struct sg_stream_info {
	struct sg_pk remote;
	uint16_t port;       /* the listening one */
	const char *network; /* "direct", "skynet", "dmsg"; static */
	char carrier[8];     /* of the first hop: "stcp" */
	bool records;        /* one send is one receive at the other end; otherwise only bytes in order */
};

/* What a network gives. */
struct sg_stream_ops {
	uint32_t size;
	/*
	 * Sends the bytes of @iov, @n <= SG_STREAM_IOV, as one record where the network keeps records: all or none.
	 * Borrows. Returns 0, -EAGAIN (wait for on_writable), SG_ELONG or SG_ECLOSED.
	 */
	int (*send)(struct sg_stream *, const struct iovec *iov, int n);
	/* Backpressure toward the sender: while @read is false no on_data comes. on_writable comes once after -EAGAIN. */
	void (*want)(struct sg_stream *, bool read);
	/* Ends it; what was sent before is still delivered. No call-back follows. */
	void (*close)(struct sg_stream *);
	void (*info)(struct sg_stream *, struct sg_stream_info *out);
};

/* What its user hears. */
struct sg_stream_user {
	uint32_t size;
	/* Bytes arrived, borrowed for the call: part of a record, one or several unless info.records. */
	void (*on_data)(void *arg, struct sg_view in);
	void (*on_writable)(void *arg);
	/* The other end or the network ended it; @why is a sentence or "". The stream is gone after this call. */
	void (*on_close)(void *arg, int err, const char *why);
	/* All that could be read for now was delivered: a moment to flush. May be NULL. */
	void (*on_batch_end)(void *arg);
};

struct sg_stream {
	const struct sg_stream_ops *ops;
	const struct sg_stream_user *user; /* set by the user before the call that gave the stream returns */
	void *user_arg;
};

#endif
