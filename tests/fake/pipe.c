#include "fake/pipe.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define ROOM  65536
#define PIECE 3000

struct end {
	struct sg_stream pub; /* first */
	struct end *other;    /* NULL: it is gone */
	struct sg_loop *loop;
	struct sg_pk remote;
	struct sg_defer work;
	uint8_t in[ROOM + 65536];
	size_t len;
	bool want, refused, closed;
	unsigned busy;
};

static void end_free(struct end *e)
{
	sg_defer_stop(&e->work);
	if (e->other) {
		e->other->other = NULL;
		sg_defer_start(e->loop, &e->other->work);
	}
	free(e);
}

static int end_send(struct sg_stream *s, const struct iovec *iov, int n)
{
	struct end *e = (struct end *)s, *to = e->other;

	if (e->closed || !to)
		return SG_ECLOSED;
	if (to->len >= ROOM) {
		e->refused = true;
		return -EAGAIN;
	}
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > sizeof(to->in) - to->len)
			sg_bug("pipe: more than fits at once");
		memcpy(to->in + to->len, iov[i].iov_base, iov[i].iov_len);
		to->len += iov[i].iov_len;
	}
	sg_defer_start(to->loop, &to->work);
	return 0;
}

static void end_want(struct sg_stream *s, bool read)
{
	struct end *e = (struct end *)s;

	e->want = read;
	if (read)
		sg_defer_start(e->loop, &e->work);
}

static void end_close(struct sg_stream *s)
{
	struct end *e = (struct end *)s;

	e->closed = true;
	if (!e->busy)
		end_free(e);
}

static void end_info(struct sg_stream *s, struct sg_stream_info *out, size_t size)
{
	const struct end *e = (const struct end *)s;
	const struct sg_stream_info info = {.remote = e->remote, .port = 45, .network = "dmsg", .carrier = "dmsg"};

	sg_fill(out, size, &info, sizeof(info));
}

static const struct sg_stream_ops ops = {
	.size = sizeof(ops), .send = end_send, .want = end_want, .close = end_close, .info = end_info};

static void deliver(struct end *e)
{
	uint8_t piece[PIECE];

	while (e->want && e->len && !e->closed) {
		size_t n = SG_MIN(e->len, sizeof(piece));

		memcpy(piece, e->in, n);
		e->len -= n;
		memmove(e->in, e->in + n, e->len);
		e->pub.user->on_data(e->pub.user_arg, (struct sg_view){piece, n});
	}
	if (!e->closed && e->pub.user->on_batch_end)
		e->pub.user->on_batch_end(e->pub.user_arg);
	if (e->other && e->other->refused && e->len < ROOM / 4 && !e->closed) {
		struct end *other = e->other;

		other->refused = false;
		other->busy++;
		other->pub.user->on_writable(other->pub.user_arg);
		if (--other->busy == 0 && other->closed)
			end_free(other);
	}
}

static void work(void *arg)
{
	struct end *e = arg;

	e->busy++;
	deliver(e);
	e->busy--;
	if (!e->closed && !e->other && e->len == 0) {
		e->busy++;
		e->pub.user->on_close(e->pub.user_arg, SG_ECLOSED, "the other end closed the stream");
		e->closed = true;
		e->busy--;
	}
	if (e->closed && !e->busy)
		end_free(e);
}

void pipe_new(struct sg_loop *loop, const struct sg_pk *const pk[2], struct sg_stream *end[2])
{
	struct end *e[2];

	for (int i = 0; i < 2; i++) {
		e[i] = calloc(1, sizeof(*e[i]));
		if (!e[i])
			sg_bug("pipe: out of memory");
		e[i]->pub.ops = &ops;
		e[i]->loop = loop;
		e[i]->remote = *pk[!i];
		e[i]->want = true;
		sg_defer_init(&e[i]->work, work, e[i]);
		end[i] = &e[i]->pub;
	}
	e[0]->other = e[1];
	e[1]->other = e[0];
}
