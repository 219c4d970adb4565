/*
 * A stream to a port of another visor, relayed by a server that both have a session with: its life, and its bytes, sealed end
 * to end. How it begins is in request.c. One bad stream costs that stream.
 */
#include "dmsg.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

#define OUT_HIGH (128 * 1024)
#define IN_MAX   (SG_YAMUX_WINDOW + 65536)

static int stream_send(struct sg_stream *pub, const struct iovec *iov, int n);
static void stream_want(struct sg_stream *pub, bool read);
static void stream_close(struct sg_stream *pub);
static void stream_info(struct sg_stream *pub, struct sg_stream_info *out, size_t size);
static void resume(void *arg);
static void on_limit(void *arg);

static const struct sg_stream_ops stream_ops = {.size = sizeof(stream_ops),
	.send = stream_send,
	.want = stream_want,
	.close = stream_close,
	.info = stream_info};

static struct stream *of(struct sg_stream *pub)
{
	return sg_container_of(pub, struct stream, pub);
}

struct stream *dmsg_stream_new(struct session *s)
{
	struct stream *st = sg_calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->pub.ops = &stream_ops;
	st->d = s->d;
	st->s = s;
	st->want = true;
	sg_timer_init(&st->limit, s->d->loop, on_limit, st);
	sg_defer_init(&st->resume, resume, st);
	sg_list_add_tail(&s->d->streams, &st->node);
	return st;
}

void dmsg_stream_free(struct stream *st)
{
	sg_timer_stop(&st->limit);
	sg_defer_stop(&st->resume);
	sg_list_remove(&st->node);
	dmsg_request_drop(st);
	if (st->noise_live)
		sg_noise_fini(&st->noise);
	sg_frame_key_fini(&st->tx);
	sg_frame_key_fini(&st->rx);
	sg_free(st->in);
	sg_free(st->out);
	sg_free(st);
}

void dmsg_stream_detach(struct stream *st, bool reset)
{
	struct sg_yamux_stream *y = st->y;

	st->y = NULL;
	st->state = STREAM_ENDED;
	sg_timer_stop(&st->limit);
	sg_defer_stop(&st->resume);
	if (!y || st->s->dead)
		return;
	if (reset)
		sg_yamux_reset(y);
	else
		sg_yamux_close(y, sg_loop_now(st->d->loop));
}

static void enter(struct stream *st)
{
	st->busy++;
}

static void leave(struct stream *st)
{
	if (--st->busy == 0 && st->state == STREAM_ENDED)
		dmsg_stream_free(st);
}

void dmsg_stream_fail(struct stream *st, int err, const char *why)
{
	enum stream_state was = st->state;
	const struct sg_stream_user *user = st->pub.user;

	if (was == STREAM_ENDED)
		return;
	enter(st);
	dmsg_stream_detach(st, was != STREAM_OPEN);
	if (was == STREAM_ASKED) {
		st->d->count.dials_failed++;
		if (st->done)
			st->done(st->done_arg, NULL, err, why);
	} else if (was == STREAM_OPEN && user) {
		user->on_close(st->pub.user_arg, err, why);
	}
	leave(st);
}

void dmsg_stream_forget(struct stream *st)
{
	st->done = NULL;
	dmsg_stream_fail(st, -ECANCELED, "");
}

static void on_limit(void *arg)
{
	dmsg_stream_fail(arg, -ETIMEDOUT, "the other end did not answer in time");
}

/* ---- bytes out ----------------------------------------------------------------------------------------------------- */

void dmsg_stream_push(struct stream *st)
{
	while (st->y && st->out_at < st->out_len && !dmsg_session_full(st->s)) {
		int n = sg_yamux_send(st->y, (struct sg_view){st->out + st->out_at, st->out_len - st->out_at});

		if (n <= 0)
			return;
		st->out_at += (size_t)n;
	}
	if (st->out_at == st->out_len)
		st->out_at = st->out_len = 0;
}

uint8_t *dmsg_stream_room(struct stream *st, size_t need)
{
	if (st->out_at) {
		memmove(st->out, st->out + st->out_at, st->out_len - st->out_at);
		st->out_len -= st->out_at;
		st->out_at = 0;
	}
	if (need > st->out_cap - st->out_len) {
		size_t cap = SG_MAX(2 * st->out_cap, SG_MAX(st->out_len + need, (size_t)8192));
		uint8_t *out = sg_realloc(st->out, cap);

		if (!out)
			return NULL;
		st->out = out;
		st->out_cap = cap;
	}
	return st->out + st->out_len;
}

static int stream_send(struct sg_stream *pub, const struct iovec *iov, int n)
{
	struct stream *st = of(pub);
	size_t total = 0, frames;
	uint8_t *at;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	if (st->state != STREAM_OPEN)
		return SG_ECLOSED;
	if (st->out_len - st->out_at >= OUT_HIGH) {
		st->refused = true;
		return -EAGAIN;
	}
	frames = total / SG_FRAME_PLAIN_MAX + 1;
	at = dmsg_stream_room(st, total + frames * (SG_FRAME_HEAD + SG_FRAME_TAG));
	if (!at)
		return -ENOMEM;
	for (int i = 0, used = 0; total;) {
		size_t len = SG_MIN(total, (size_t)SG_FRAME_PLAIN_MAX), have = 0;

		while (have < len) {
			size_t part = SG_MIN(len - have, iov[i].iov_len - (size_t)used);

			memcpy(at + SG_FRAME_HEAD + have, (const uint8_t *)iov[i].iov_base + used, part);
			have += part;
			used += (int)part;
			if ((size_t)used == iov[i].iov_len) {
				i++;
				used = 0;
			}
		}
		len = sg_frame_seal(&st->tx, at, have);
		at += len;
		st->out_len += len;
		total -= have;
	}
	dmsg_stream_push(st);
	return 0;
}

void dmsg_stream_on_writable(struct stream *st)
{
	if (!st || st->state == STREAM_ENDED)
		return;
	enter(st);
	dmsg_stream_push(st);
	if (st->state == STREAM_OPEN && st->refused && st->out_len - st->out_at < OUT_HIGH / 4) {
		st->refused = false;
		st->pub.user->on_writable(st->pub.user_arg);
	}
	leave(st);
}

/* ---- bytes in ------------------------------------------------------------------------------------------------------ */

static bool in_add(struct stream *st, struct sg_view v)
{
	if (v.len > st->in_cap - st->in_len) {
		size_t cap = SG_MAX(2 * st->in_cap, SG_MAX(st->in_len + v.len, (size_t)4096));
		uint8_t *in = st->in_len + v.len > IN_MAX ? NULL : sg_realloc(st->in, cap);

		if (!in)
			return false;
		st->in = in;
		st->in_cap = cap;
	}
	memcpy(st->in + st->in_len, v.p, v.len);
	st->in_len += v.len;
	return true;
}

static void in_drop(struct stream *st, size_t n)
{
	memmove(st->in, st->in + n, st->in_len - n);
	st->in_len -= n;
	if (st->y && !st->s->dead)
		sg_yamux_consumed(st->y, (uint32_t)n);
}

/* Frames for the user, as long as it wants them. 0 or a negative code. */
static int frames_in(struct stream *st)
{
	uint8_t plain[SG_FRAME_PLAIN_MAX];
	size_t used = 0;
	int ret = 0;

	while (st->state == STREAM_OPEN && st->want) {
		size_t len;

		ret = sg_frame_open(&st->rx, (struct sg_view){st->in + used, st->in_len - used}, plain, &len);
		if (ret <= 0)
			break;
		used += (size_t)ret;
		ret = 0;
		if (len)
			st->pub.user->on_data(st->pub.user_arg, (struct sg_view){plain, len});
	}
	if (used)
		in_drop(st, used);
	return ret < 0 ? ret : 0;
}

/* What arrived, as far as it goes. */
static void work(struct stream *st)
{
	int ret = 0;

	enter(st);
	if (st->state == STREAM_ASKED || st->state == STREAM_OFFERED) {
		ret = dmsg_request_in(st);
		if (ret > 0)
			in_drop(st, (size_t)ret);
	}
	if (ret >= 0 && st->state == STREAM_OPEN)
		ret = frames_in(st);
	if (ret >= 0 && st->state == STREAM_OPEN && st->pub.user->on_batch_end)
		st->pub.user->on_batch_end(st->pub.user_arg);
	if (ret < 0)
		dmsg_stream_fail(st, ret, ret == SG_EREFUSED ? "refused" : sg_strerror(ret));
	else if (st->ended && st->state != STREAM_ENDED && (st->want || st->state != STREAM_OPEN))
		dmsg_stream_fail(st, SG_ECLOSED,
			st->state == STREAM_ASKED
				? "the server ended it: the other end is not there, or does not listen"
				: "the other end closed the stream");
	leave(st);
}

static void resume(void *arg)
{
	work(arg);
}

void dmsg_stream_on_data(struct stream *st, struct sg_view data)
{
	if (!in_add(st, data))
		dmsg_stream_fail(st, -ENOMEM, "out of memory for what arrives");
	else
		work(st);
}

void dmsg_stream_on_end(struct stream *st, int err)
{
	if (err < 0) {
		st->y = NULL; /* gone after this call */
		dmsg_stream_fail(st, err, "the stream was reset");
		return;
	}
	st->ended = true;
	work(st);
}

static void stream_want(struct sg_stream *pub, bool read)
{
	struct stream *st = of(pub);

	st->want = read;
	if (read && (st->in_len || st->ended) && st->state == STREAM_OPEN)
		sg_defer_start(st->d->loop, &st->resume);
}

static void stream_close(struct sg_stream *pub)
{
	struct stream *st = of(pub);

	if (st->state == STREAM_ENDED)
		return;
	enter(st);
	dmsg_stream_push(st);
	/* What the multiplexer had no credit for is lost; the relay loses it too, for it ends both directions at once. */
	dmsg_stream_detach(st, false);
	leave(st);
}

static void stream_info(struct sg_stream *pub, struct sg_stream_info *out, size_t size)
{
	const struct stream *st = of(pub);
	struct sg_stream_info info = {.remote = st->remote,
		.network = "dmsg",
		.port = st->done ? st->remote_port : st->local_port,
		.carrier = "dmsg"};

	sg_fill(out, size, &info, sizeof(info));
}
