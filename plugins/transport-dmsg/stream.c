/*
 * A stream to a port of another visor, relayed by a server that both have a session with.
 *
 *	dial:  SYN, request →  ASKED  → response → OPEN        offered:  SYN → OFFERED → request → response → OPEN
 *
 * Request and response are signed objects, sealed with the session's keys hop by hop; what follows is sealed end to end
 * with the keys of a Noise KK that they carry. One bad stream costs that stream.
 */
#include "dmsg.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "wire/dmsg.h"

#include <netinet/in.h>
#include <time.h>

#define GOB_BASE      65 /* of the ids in what we send: any is as good */
#define OUT_HIGH      (128 * 1024)
#define IN_MAX        (SG_YAMUX_WINDOW + 65536)
#define OBJECT_CAP    (SG_DMSG_OBJECT_MAX + 64)
#define OBJECT_IN_MAX 16384 /* offers of later versions make them longer, four times over */

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

static struct stream *stream_new(struct session *s)
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

static void stream_free(struct stream *st)
{
	sg_timer_stop(&st->limit);
	sg_defer_stop(&st->resume);
	sg_list_remove(&st->node);
	if (st->noise_live)
		sg_noise_fini(&st->noise);
	sg_frame_key_fini(&st->tx);
	sg_frame_key_fini(&st->rx);
	sg_free(st->in);
	sg_free(st->out);
	sg_free(st);
}

/* Off the wire. @reset: rather than an orderly end. */
static void detach(struct stream *st, bool reset)
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
		stream_free(st);
}

void dmsg_stream_fail(struct stream *st, int err, const char *why)
{
	enum stream_state was = st->state;
	const struct sg_stream_user *user = st->pub.user;

	if (was == STREAM_ENDED)
		return;
	enter(st);
	detach(st, was != STREAM_OPEN);
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

static void push(struct stream *st)
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

static uint8_t *out_room(struct stream *st, size_t need)
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
	at = out_room(st, total + frames * (SG_FRAME_HEAD + SG_FRAME_TAG));
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
	push(st);
	return 0;
}

void dmsg_stream_on_writable(struct stream *st)
{
	if (!st || st->state == STREAM_ENDED)
		return;
	enter(st);
	push(st);
	if (st->state == STREAM_OPEN && st->refused && st->out_len - st->out_at < OUT_HIGH / 4) {
		st->refused = false;
		st->pub.user->on_writable(st->pub.user_arg);
	}
	leave(st);
}

/* An object of ours for the session, sealed. 0 or a negative code. */
static int send_object(struct stream *st, const uint8_t *gob, int gob_len)
{
	uint8_t object[SG_DMSG_OBJECT_MAX], *at;
	int len;

	if (gob_len < 0)
		return gob_len;
	len = sg_dmsg_object_sign(
		st->d->id->crypto, st->d->id->sk, (struct sg_view){gob, (size_t)gob_len}, object, sizeof(object));
	if (len < 0)
		return len;
	if (st->state == STREAM_ASKED)
		sg_sha256(&(struct sg_view){object, (size_t)len}, 1, st->req_hash);
	at = out_room(st, OBJECT_CAP);
	if (!at)
		return -ENOMEM;
	len = dmsg_session_seal(st->s, (struct sg_view){object, (size_t)len}, at, OBJECT_CAP);
	if (len < 0)
		return len;
	st->out_len += (size_t)len;
	push(st);
	return 0;
}

/* ---- request and response ------------------------------------------------------------------------------------------- */

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	/* Above zero is all that others ask; a router's clock may stand at 1970. */
	return (int64_t)ts.tv_sec * SG_NS_PER_S + ts.tv_nsec + 1;
}

static int send_request(struct stream *st)
{
	const struct sg_identity *id = st->d->id;
	struct sg_dmsg_request q = {
		.timestamp = now_ns(), .src = {*id->pk, st->local_port}, .dst = {st->remote, st->remote_port}};
	uint8_t gob[SG_DMSG_OBJECT_MAX - SG_SIG_LEN], msg[SG_NOISE_MSG_MIN];
	int len;

	if (st->address) {
		q.ip_info = true;
		return send_object(st, gob, sg_dmsg_request_encode(&q, GOB_BASE, gob, sizeof(gob)));
	}
	len = sg_noise_kk_init(&st->noise, id->crypto, true, id->sk, &st->remote);
	if (len < 0)
		return len;
	st->noise_live = true;
	len = sg_noise_write(&st->noise, (struct sg_view){NULL, 0}, msg, sizeof(msg));
	if (len < 0)
		return len;
	q.noise = (struct sg_view){msg, (size_t)len};
	return send_object(st, gob, sg_dmsg_request_encode(&q, GOB_BASE, gob, sizeof(gob)));
}

static int ask(struct stream *st, const struct sg_pk *pk, uint16_t port)
{
	struct session *s = st->s;
	int err;

	st->state = STREAM_ASKED;
	st->remote = *pk;
	st->remote_port = port;
	st->local_port = dmsg_node_port(s->d);
	err = sg_yamux_open(s->yamux, st, sg_loop_now(s->d->loop), &st->y);
	if (err == 0)
		err = sg_timer_start(&st->limit, DMSG_STREAM_MS);
	if (err == 0)
		err = send_request(st);
	if (err < 0) {
		detach(st, true);
		stream_free(st);
	}
	return err;
}

int dmsg_stream_dial(struct session *s, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	struct stream *st = stream_new(s);
	int err = st ? ask(st, pk, port) : -ENOMEM;

	if (err < 0)
		return err;
	st->done = done;
	st->done_arg = arg;
	return 0;
}

#define ADDRESS_PORT 1 /* of a server, for that question (spec) */

void dmsg_stream_ask_address(struct session *s)
{
	struct stream *st = stream_new(s);

	if (!st)
		return;
	st->address = true;
	(void)ask(st, &s->server, ADDRESS_PORT); /* the next session asks again */
}

int dmsg_stream_offered(struct session *s, struct sg_yamux_stream *y)
{
	struct stream *st = s->d->stopping ? NULL : stream_new(s);

	if (!st)
		return SG_EFULL;
	st->state = STREAM_OFFERED;
	if (sg_timer_start(&st->limit, DMSG_STREAM_MS) < 0) {
		stream_free(st);
		return -ENOMEM;
	}
	st->y = y;
	y->user = st;
	return 0;
}

static int keys_ready(struct stream *st)
{
	const struct sg_aead_ops *ops = sg_crypto_aead(st->d->id->crypto);
	struct sg_noise_keys keys;
	int err;

	sg_noise_split(&st->noise, &keys);
	sg_noise_fini(&st->noise);
	st->noise_live = false;
	err = sg_frame_key_init(&st->tx, ops, keys.tx);
	if (err == 0)
		err = sg_frame_key_init(&st->rx, ops, keys.rx);
	sg_wipe(&keys, sizeof(keys));
	return err;
}

/* 4 bytes, or 16 that begin with ::ffff: where the server listens for both. Another address is not for stcpr. */
static void take_address(struct stream *st, struct sg_view ip)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct sg_addr a = {.len = sizeof(struct sockaddr_in)};
	struct sockaddr_in *in = (struct sockaddr_in *)&a.ss;

	in->sin_family = AF_INET;
	if (ip.len == 4)
		memcpy(&in->sin_addr, ip.p, 4);
	else if (ip.len == 16 && memcmp(ip.p, mapped, sizeof(mapped)) == 0)
		memcpy(&in->sin_addr, ip.p + sizeof(mapped), 4);
	else
		return;
	st->d->host->seen_at(st->d->inst, &a);
}

static int take_response(struct stream *st, struct sg_view object)
{
	const struct sg_crypto *c = st->d->id->crypto;
	struct sg_dmsg_response a;
	struct sg_sig sig;
	struct sg_view gob;
	int err = sg_dmsg_object_split(object, &sig, &gob);

	if (err == 0)
		err = sg_dmsg_response_decode(gob, &a);
	if (err == 0 && memcmp(a.req_hash, st->req_hash, sizeof(a.req_hash)) != 0)
		err = SG_EAUTH;
	if (err == 0)
		err = sg_verify(c, &st->remote, gob, &sig);
	if (err == 0 && !a.accepted)
		err = SG_EREFUSED;
	if (err == 0 && st->address) {
		take_address(st, a.ip);
		st->state = STREAM_OPEN; /* it did what it was for */
		dmsg_stream_fail(st, 0, "");
		return 0;
	}
	if (err == 0) {
		int len = sg_noise_read(&st->noise, a.noise, NULL, 0);

		err = len < 0 ? len : keys_ready(st);
	}
	if (err < 0)
		return err;
	sg_timer_stop(&st->limit);
	st->state = STREAM_OPEN;
	st->d->count.streams_out++;
	st->done(st->done_arg, &st->pub, 0, "");
	return 0;
}

static int check_request(struct stream *st, struct sg_view object, struct sg_dmsg_request *q)
{
	const struct sg_identity *id = st->d->id;
	struct sg_sig sig;
	struct sg_view gob;
	int err = sg_dmsg_object_split(object, &sig, &gob);

	if (err == 0)
		err = sg_dmsg_request_decode(id->crypto, gob, q);
	if (err < 0)
		return err;
	if (sg_pk_is_null(&q->src.pk) || !q->src.port || !q->dst.port || q->timestamp <= 0 ||
		!sg_pk_equal(&q->dst.pk, id->pk) || q->ip_info)
		return SG_EMALF;
	return sg_verify(id->crypto, &q->src.pk, gob, &sig);
}

static int send_response(struct stream *st, struct sg_view object, const struct sg_dmsg_request *q)
{
	const struct sg_identity *id = st->d->id;
	uint8_t gob[SG_DMSG_OBJECT_MAX - SG_SIG_LEN], msg[SG_NOISE_MSG_MIN];
	struct sg_dmsg_response a = {.accepted = true};
	int len = sg_noise_kk_init(&st->noise, id->crypto, false, id->sk, &q->src.pk);

	if (len < 0)
		return len;
	st->noise_live = true;
	len = sg_noise_read(&st->noise, q->noise, NULL, 0);
	if (len >= 0)
		len = sg_noise_write(&st->noise, (struct sg_view){NULL, 0}, msg, sizeof(msg));
	if (len < 0)
		return len;
	a.noise = (struct sg_view){msg, (size_t)len};
	sg_sha256(&object, 1, a.req_hash);
	len = send_object(st, gob, sg_dmsg_response_encode(&a, GOB_BASE, gob, sizeof(gob)));
	return len < 0 ? len : keys_ready(st);
}

static int take_request(struct stream *st, struct sg_view object)
{
	const struct listen *l;
	struct sg_dmsg_request q = {0};
	int err = check_request(st, object, &q);

	if (err < 0) {
		st->d->count.bad_request++;
		return err;
	}
	l = dmsg_node_listener(st->d, q.dst.port);
	if (!l) {
		st->d->count.refused_port++;
		return SG_EREFUSED;
	}
	st->remote = q.src.pk;
	st->remote_port = q.src.port;
	st->local_port = q.dst.port;
	err = send_response(st, object, &q);
	if (err < 0)
		return err;
	sg_timer_stop(&st->limit);
	st->state = STREAM_OPEN;
	st->d->count.streams_in++;
	err = l->ops->on_stream(l->arg, &st->pub);
	if (err < 0)
		st->pub.user = NULL;
	return err;
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

/* The first object of a stream. Bytes used, 0 if more are needed, or a negative code. */
static int object_in(struct stream *st)
{
	struct sg_view object;
	size_t len;
	int err;

	if (st->in_len < 2)
		return 0;
	len = sg_get_u16(st->in);
	if (len == 0 && st->state == STREAM_OFFERED) {
		/* A ping of the session: the same back, and the end. */
		sg_yamux_send(st->y, (struct sg_view){st->in, 2});
		return SG_ECLOSED;
	}
	if (len > OBJECT_IN_MAX)
		return SG_ELONG;
	if (st->in_len < 2 + len)
		return 0;
	err = dmsg_session_unseal(st->s, st->in + 2, len, &object);
	if (err == 0)
		err = st->state == STREAM_ASKED ? take_response(st, object) : take_request(st, object);
	return err < 0 ? err : (int)(2 + len);
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
		ret = object_in(st);
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
	push(st);
	/* What the multiplexer had no credit for is lost; the relay loses it too, for it ends both directions at once. */
	detach(st, false);
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
