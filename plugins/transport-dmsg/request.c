/*
 * How a stream begins: one signed object each way, sealed with the session's keys hop by hop, which carry the two messages of
 * a Noise KK.
 *
 *	dial:  SYN, request →  ASKED  → response → OPEN        offered:  SYN → OFFERED → request → (worker) → response → OPEN
 *
 * A request of a stranger costs us a signature checked, one made and five multiplications on the curve: the worker's, for the
 * LAN's packets must not wait for it.
 */
#include "dmsg.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "loop/worker.h"
#include "wire/dmsg.h"

#include <netinet/in.h>

#define GOB_BASE      65 /* of the ids in what we send: any is as good */
#define OBJECT_CAP    (SG_DMSG_OBJECT_MAX + 64)
#define OBJECT_IN_MAX 16384 /* offers of later versions make them longer, four times over */
#define ADDRESS_PORT  1     /* of a server: at which address it sees us (spec) */

/* A signed object of ours for the session, sealed. 0 or a negative code. */
static int send_object(struct stream *st, struct sg_view object)
{
	uint8_t *at = dmsg_stream_room(st, OBJECT_CAP);
	int len = at ? dmsg_session_seal(st->s, object, at, OBJECT_CAP) : -ENOMEM;

	if (len < 0)
		return len;
	st->out_len += (size_t)len;
	dmsg_stream_push(st);
	return 0;
}

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

/* @gob_len: a length, or a negative code. */
static int send_question(struct stream *st, const uint8_t *gob, int gob_len)
{
	const struct sg_identity *id = st->d->id;
	uint8_t object[SG_DMSG_OBJECT_MAX];
	int len = gob_len;

	if (len >= 0)
		len = sg_dmsg_object_sign(
			id->crypto, id->sk, (struct sg_view){gob, (size_t)gob_len}, object, sizeof(object));
	if (len < 0)
		return len;
	sg_sha256(&(struct sg_view){object, (size_t)len}, 1, st->req_hash);
	return send_object(st, (struct sg_view){object, (size_t)len});
}

static int send_request(struct stream *st)
{
	const struct sg_identity *id = st->d->id;
	/* Above zero is all that others ask of the time; a router's clock may stand at 1970. */
	struct sg_dmsg_request q = {
		.timestamp = sg_wall_ns() + 1, .src = {*id->pk, st->local_port}, .dst = {st->remote, st->remote_port}};
	uint8_t gob[SG_DMSG_OBJECT_MAX - SG_SIG_LEN], msg[SG_NOISE_MSG_MIN];
	int len;

	if (st->address) {
		q.ip_info = true;
		return send_question(st, gob, sg_dmsg_request_encode(&q, GOB_BASE, gob, sizeof(gob)));
	}
	len = sg_noise_kk_init(&st->noise, id->crypto, true, id->sk, &st->remote);
	if (len < 0)
		return len;
	st->noise_live = true;
	len = sg_noise_write(&st->noise, (struct sg_view){NULL, 0}, msg, sizeof(msg));
	if (len < 0)
		return len;
	q.noise = (struct sg_view){msg, (size_t)len};
	return send_question(st, gob, sg_dmsg_request_encode(&q, GOB_BASE, gob, sizeof(gob)));
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
		dmsg_stream_detach(st, true);
		dmsg_stream_free(st);
	}
	return err;
}

int dmsg_stream_dial(struct session *s, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	struct stream *st = dmsg_stream_new(s);
	int err = st ? ask(st, pk, port) : -ENOMEM;

	if (err < 0)
		return err;
	st->done = done;
	st->done_arg = arg;
	return 0;
}

void dmsg_stream_ask_address(struct session *s)
{
	struct stream *st = dmsg_stream_new(s);

	if (!st)
		return;
	st->address = true;
	(void)ask(st, &s->server, ADDRESS_PORT); /* the next session asks again */
}

int dmsg_stream_offered(struct session *s, struct sg_yamux_stream *y)
{
	struct stream *st = s->d->stopping ? NULL : dmsg_stream_new(s);

	if (!st)
		return SG_EFULL;
	st->state = STREAM_OFFERED;
	if (sg_timer_start(&st->limit, DMSG_STREAM_MS) < 0) {
		dmsg_stream_free(st);
		return -ENOMEM;
	}
	st->y = y;
	y->user = st;
	return 0;
}

static int keys_ready(struct stream *st, const struct sg_noise *noise)
{
	const struct sg_aead_ops *ops = sg_crypto_aead(st->d->id->crypto);
	struct sg_noise_keys keys;
	int err;

	sg_noise_split(noise, &keys);
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

		err = len < 0 ? len : keys_ready(st, &st->noise);
	}
	if (err < 0)
		return err;
	sg_noise_fini(&st->noise);
	st->noise_live = false;
	sg_timer_stop(&st->limit);
	st->state = STREAM_OPEN;
	st->d->count.streams_out++;
	st->done(st->done_arg, &st->pub, 0, "");
	return 0;
}

/* ---- answering -------------------------------------------------------------------------------------------------------- */

/* A request on its way through the worker, which has all of this to itself meanwhile. */
struct answer {
	struct sg_task task;
	struct sg_worker *worker; /* that has it */
	const struct sg_identity *id;
	struct stream *st; /* NULL: gone */
	struct sg_noise noise;
	bool noise_live, genuine, ran;
	int len; /* of the response, or a negative code */
	uint8_t response[SG_DMSG_OBJECT_MAX];
	struct sg_dmsg_request q; /* of the object */
	size_t object_len;
	uint8_t object[]; /* as it came */
};

static void answer_free(struct answer *a)
{
	if (a->noise_live)
		sg_noise_fini(&a->noise);
	sg_free(a);
}

static int check_request(const struct sg_identity *id, struct sg_view object, struct sg_dmsg_request *q)
{
	struct sg_sig sig;
	struct sg_view gob;
	int err = sg_dmsg_object_split(object, &sig, &gob);

	if (err == 0)
		err = sg_dmsg_request_decode(id->crypto, gob, q);
	if (err < 0)
		return err;
	return sg_pk_is_null(&q->src.pk) || !q->src.port || !q->dst.port || q->timestamp <= 0 ||
			       !sg_pk_equal(&q->dst.pk, id->pk) || q->ip_info
		       ? SG_EMALF
		       : 0;
}

static int check_sig(const struct sg_identity *id, struct sg_view object, const struct sg_pk *pk)
{
	struct sg_sig sig;
	struct sg_view gob;
	int err = sg_dmsg_object_split(object, &sig, &gob);

	return err < 0 ? err : sg_verify(id->crypto, pk, gob, &sig);
}

static struct sg_view object_of(const struct answer *a)
{
	return (struct sg_view){a->object, a->object_len};
}

static int respond(struct answer *a)
{
	const struct sg_identity *id = a->id;
	struct sg_view object = object_of(a);
	uint8_t gob[SG_DMSG_OBJECT_MAX - SG_SIG_LEN], msg[SG_NOISE_MSG_MIN];
	struct sg_dmsg_response out = {.accepted = true};
	int len = check_sig(id, object, &a->q.src.pk);

	a->genuine = len == 0;
	if (len == 0)
		len = sg_noise_kk_init(&a->noise, id->crypto, false, id->sk, &a->q.src.pk);
	if (len < 0)
		return len;
	a->noise_live = true;
	len = sg_noise_read(&a->noise, a->q.noise, NULL, 0);
	if (len >= 0)
		len = sg_noise_write(&a->noise, (struct sg_view){NULL, 0}, msg, sizeof(msg));
	if (len < 0)
		return len;
	out.noise = (struct sg_view){msg, (size_t)len};
	sg_sha256(&object, 1, out.req_hash);
	len = sg_dmsg_response_encode(&out, GOB_BASE, gob, sizeof(gob));
	return len < 0 ? len
		       : sg_dmsg_object_sign(id->crypto, id->sk, (struct sg_view){gob, (size_t)len}, a->response,
				 sizeof(a->response));
}

static void run(void *arg)
{
	struct answer *a = arg;

	a->len = respond(a);
}

/* The stream goes on outside of whoever started this, and behind what else it has received. */
static void on_ran(void *arg)
{
	struct answer *a = arg;

	a->ran = true;
	if (a->st)
		sg_defer_start(a->st->d->loop, &a->st->resume);
	else
		answer_free(a);
}

void dmsg_request_drop(struct stream *st)
{
	struct answer *a = st->answer;

	if (!a)
		return;
	st->answer = NULL;
	a->st = NULL;
	if (a->ran || sg_task_cancel(a->worker, &a->task))
		answer_free(a);
}

static int answer_new(const struct sg_identity *id, struct sg_view object, struct answer **out)
{
	struct answer *a = sg_calloc(1, sizeof(*a) + object.len);
	int err;

	if (!a)
		return -ENOMEM;
	a->id = id;
	a->object_len = object.len;
	memcpy(a->object, object.p, object.len);
	err = check_request(id, object_of(a), &a->q);
	if (err < 0)
		answer_free(a);
	else
		*out = a;
	return err;
}

static int take_request(struct stream *st, struct sg_view object)
{
	struct dmsg *d = st->d;
	struct answer *a;
	int err = answer_new(d->id, object, &a);

	if (err < 0) {
		d->count.bad_request += err != -ENOMEM;
		return err;
	}
	if (!dmsg_node_listener(d, a->q.dst.port)) {
		d->count.refused_port++;
		answer_free(a);
		return SG_EREFUSED;
	}
	st->remote = a->q.src.pk;
	st->remote_port = a->q.src.port;
	st->local_port = a->q.dst.port;
	if (!d->worker)
		d->worker = sg_worker_new(d->loop);
	a->worker = d->worker;
	a->st = st;
	st->answer = a;
	sg_task_init(&a->task, run, on_ran, a);
	sg_task_start(a->worker, &a->task, false);
	return 0;
}

static int open_offered(struct stream *st, const struct answer *a)
{
	const struct listen *l = dmsg_node_listener(st->d, st->local_port);
	int err = a->len < 0 ? a->len : 0;

	if (!a->genuine)
		st->d->count.bad_request++;
	if (err == 0 && !l) {
		st->d->count.refused_port++;
		err = SG_EREFUSED;
	}
	if (err == 0)
		err = send_object(st, (struct sg_view){a->response, (size_t)a->len});
	if (err == 0)
		err = keys_ready(st, &a->noise);
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

/* 0: it is open, or the worker is not there yet. */
static int answered(struct stream *st)
{
	struct answer *a = st->answer;
	int err;

	if (!a->ran)
		return 0;
	st->answer = NULL;
	err = open_offered(st, a);
	answer_free(a);
	return err;
}

int dmsg_request_in(struct stream *st)
{
	struct sg_view object;
	size_t len;
	int err;

	/* Who has no answer has no keys either: what comes behind a request would only fill memory until the worker is there. */
	if (st->answer && st->in_len) {
		st->d->count.bad_request++;
		return SG_EMALF;
	}
	if (st->answer)
		return answered(st);
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
