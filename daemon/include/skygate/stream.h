/*
 * A stream: what every network gives and every app uses. Bytes in order to a port of another visor.
 *
 * A stream belongs to one loop. It stays valid until the user called close() or on_close() returned, whichever is
 * first; nothing follows either. Arguments are borrowed for the call.
 */
#ifndef SKYGATE_STREAM_H
#define SKYGATE_STREAM_H

#include <skygate/types.h>
#include <sys/uio.h>

#define SG_STREAM_IOV       40 /* pieces of one send: a packet of 64 KiB in blocks of 2 KiB, and its head */
#define SG_CARRIER_NAME_MAX 7  /* bytes */
#define SG_STREAM_ALLOW_ALL SIZE_MAX

struct sg_stream;

/* Who is at the other end. */
struct sg_stream_info {
	struct sg_pk remote;
	bool records;                          /* one send is one receive there; otherwise only bytes in order */
	uint16_t port;                         /* the listening one */
	char carrier[SG_CARRIER_NAME_MAX + 1]; /* of the first hop: "stcp" */
	const char *network;                   /* "direct", "skynet", "dmsg"; static */
	int64_t rtt_us;                        /* to its other end, as seen last; 0: unknown. Since 1.1 */
};

/* What a network gives. */
struct sg_stream_ops {
	uint32_t size;
	/*
	 * Sends the bytes of @iov, @n <= SG_STREAM_IOV, as one record where the network keeps records: all or none. 0, -EAGAIN
	 * (wait for on_writable), SG_ELONG (never fits) or SG_ECLOSED.
	 */
	int (*send)(struct sg_stream *, const struct iovec *iov, int n);
	/* Backpressure toward the sender: while @read is false no on_data comes. At first it is true. */
	void (*want)(struct sg_stream *, bool read);
	/* Ends it; what was sent before is still delivered. No call-back follows. */
	void (*close)(struct sg_stream *);
	/* Fills *@out, of which the caller knows @size bytes; see sg_fill. */
	void (*info)(struct sg_stream *, struct sg_stream_info *out, size_t size);
	/*
	 * From the first call on the other end may send what the user allows here, and nothing else: @more bytes beyond what it
	 * may already; before it the network decides, and after SG_STREAM_ALLOW_ALL it does so again. Returns how many may still
	 * come; a network that cannot tell the other end stops reading when they came, so it may be less than 0. Since 1.1; NULL:
	 * there is want only.
	 */
	int64_t (*allow)(struct sg_stream *, size_t more);
};

/* What its user hears. Kept as long as the stream is valid. */
struct sg_stream_user {
	uint32_t size;
	/* Bytes arrived: part of a record, one or several unless info.records. */
	void (*on_data)(void *arg, struct sg_view in);
	/* Once after each -EAGAIN: send takes something again. */
	void (*on_writable)(void *arg);
	/* Ended: SG_ECLOSED by the other end, else why by the network; @why is a sentence or "". It is gone after this call. */
	void (*on_close)(void *arg, int err, const char *why);
	/* All that could be read for now was delivered: a moment to flush. May be NULL. */
	void (*on_batch_end)(void *arg);
};

/* The network's, part of something larger; only these three are for its user to see. */
struct sg_stream {
	const struct sg_stream_ops *ops;
	const struct sg_stream_user *user; /* set by the user before the call that gave the stream returns */
	void *user_arg;                    /* what user's calls get as @arg */
};

#endif
