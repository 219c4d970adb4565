#include "fake/web.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "wire/httpauth.h"

#include <stdlib.h>

/* The service's end of one request. Plain malloc: its failures are not what a test counts. */
struct talk {
	struct sg_stream pub; /* first */
	struct sg_list node;
	struct web *w;
	struct sg_pk service;
	struct sg_defer dialled, answered;
	struct sg_http *in;
	bool open;
	sg_dialed_fn *done;
	void *arg;
};

static void answer(void *arg)
{
	struct talk *t = arg;
	struct web_request *r = calloc(1, sizeof(*r));
	size_t len;
	char *out;

	if (!r)
		abort();
	*r = (struct web_request){.service = &t->service,
		.method = sg_http_method(t->in),
		.target = sg_http_target(t->in),
		.msg = t->in,
		.body = sg_http_body(t->in)};
	t->w->requests++;
	t->w->fn(t->w->arg, r);
	if (r->status) {
		out = sg_http_response(r->status, (const struct sg_http_header[]){{0}},
			(struct sg_view){(const uint8_t *)r->out, strlen(r->out)}, &len);
		if (out)
			t->pub.user->on_data(t->pub.user_arg, (struct sg_view){(const uint8_t *)out, len});
		else
			t->pub.user->on_close(t->pub.user_arg, -ENOMEM, "the fake has no memory");
		sg_free(out);
	}
	free(r);
}

static int talk_send(struct sg_stream *s, const struct iovec *iov, int n)
{
	struct talk *t = sg_container_of(s, struct talk, pub);
	const char *why;
	size_t used;
	int ret = 0;

	for (int i = 0; i < n && ret == 0; i++)
		ret = sg_http_feed(t->in, (struct sg_view){iov[i].iov_base, iov[i].iov_len}, &used, &why);
	if (ret < 0)
		return SG_ECLOSED;
	if (ret == 1)
		sg_defer_start(t->w->loop, &t->answered);
	return 0;
}

static void talk_want(struct sg_stream *s, bool read)
{
	(void)s;
	(void)read;
}

static void talk_close(struct sg_stream *s)
{
	struct talk *t = sg_container_of(s, struct talk, pub);

	sg_defer_stop(&t->answered);
	t->w->open -= t->open;
	t->open = false;
}

static const struct sg_stream_ops talk_ops = {
	.size = sizeof(talk_ops), .send = talk_send, .want = talk_want, .close = talk_close};

static void dialled(void *arg)
{
	struct talk *t = arg;

	if (t->w->dead) {
		t->done(t->arg, NULL, -EHOSTUNREACH, "nobody there");
		return;
	}
	t->open = true;
	t->w->open++;
	t->w->open_max = SG_MAX(t->w->open_max, t->w->open);
	t->done(t->arg, &t->pub, 0, "");
}

static int web_dial(void *ctx, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	struct web *w = ctx;
	struct talk *t = port == 80 ? calloc(1, sizeof(*t)) : NULL;

	if (!t)
		return -ECONNREFUSED;
	*t = (struct talk){.pub = {.ops = &talk_ops}, .w = w, .service = *pk, .done = done, .arg = arg};
	t->in = sg_http_new(true, 65536);
	if (!t->in) {
		free(t);
		return -ENOMEM;
	}
	sg_defer_init(&t->dialled, dialled, t);
	sg_defer_init(&t->answered, answer, t);
	sg_list_add_tail(&w->talks, &t->node);
	sg_defer_start(w->loop, &t->dialled);
	return 0;
}

static void web_dial_cancel(void *ctx, void *arg)
{
	struct web *w = ctx;

	sg_list_for (it, &w->talks) {
		struct talk *t = sg_container_of(it, struct talk, node);

		if (t->arg == arg)
			sg_defer_stop(&t->dialled);
	}
}

static int web_listen(void *ctx, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	(void)ctx;
	(void)port;
	(void)ops;
	(void)arg;
	return 0;
}

static void web_unlisten(void *ctx, uint16_t port)
{
	(void)ctx;
	(void)port;
}

const struct sg_network_ops web_ops = {.size = sizeof(web_ops),
	.dial = web_dial,
	.dial_cancel = web_dial_cancel,
	.listen = web_listen,
	.unlisten = web_unlisten};

void web_init(struct web *w, struct sg_loop *loop, web_fn *fn, void *arg)
{
	*w = (struct web){.loop = loop, .fn = fn, .arg = arg};
	sg_list_init(&w->talks);
}

void web_fini(struct web *w)
{
	sg_list_for_safe (it, &w->talks) {
		struct talk *t = sg_container_of(it, struct talk, node);

		sg_defer_stop(&t->dialled);
		sg_defer_stop(&t->answered);
		sg_http_free(t->in);
		sg_list_remove(&t->node);
		free(t);
	}
}

bool web_nonce(struct web_request *r, uint64_t next)
{
	if (strncmp(r->target, "/security/nonces/", 17) != 0)
		return false;
	r->status = 200;
	snprintf(r->out, sizeof(r->out), "{\"next_nonce\":%llu}\n", (unsigned long long)next);
	return true;
}

int web_signed(const struct web_request *r, const struct sg_crypto *c, struct sg_pk *who, uint64_t *nonce)
{
	return sg_httpauth_verify(c, sg_http_header(r->msg, "SW-Public"), sg_http_header(r->msg, "SW-Nonce"),
		sg_http_header(r->msg, "SW-Sig"), r->body, who, nonce);
}
