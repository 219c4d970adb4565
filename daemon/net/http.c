/*
 * The HTTP client.
 *
 *	http://  RESOLVE → CONNECT → TALK → done        dmsg://  DIAL → TALK → done
 *
 * A host's addresses are tried in turn. The answer is taken when it is whole; the connection is then closed.
 */
#include "net/http.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "crypto/keys.h"
#include "wire/url.h"

#include <unistd.h>

#define READ_SIZE 16384

struct sg_http_client {
	struct sg_loop *loop;
	const struct sg_crypto *crypto;
	const struct sg_network_ops *dmsg;
	void *dmsg_ctx;
	struct sg_list calls;
};

struct http_call {
	struct sg_list node;
	struct sg_http_client *hc;
	struct sg_connect *connect; /* under way, or NULL */
	int fd;
	struct sg_watch *watch;
	struct sg_stream *stream;
	bool dialing;
	struct sg_timer limit;
	char *out;
	size_t out_len, out_at;
	struct sg_http *in;
	http_done_fn *done;
	void *arg;
	char where[320]; /* for sentences */
};

static void call_free(struct http_call *c)
{
	sg_list_remove(&c->node);
	sg_timer_stop(&c->limit);
	sg_connect_cancel(c->connect);
	if (c->dialing && c->hc->dmsg)
		c->hc->dmsg->dial_cancel(c->hc->dmsg_ctx, c);
	sg_watch_free(c->watch);
	if (c->fd >= 0)
		close(c->fd);
	if (c->stream)
		c->stream->ops->close(c->stream);
	sg_http_free(c->in);
	sg_free(c->out);
	sg_free(c);
}

void http_cancel(struct http_call *call)
{
	call_free(call);
}

static void finish(struct http_call *c, const struct http_answer *a)
{
	http_done_fn *done = c->done;
	void *arg = c->arg;

	/* The call-back may ask anew: this call is closed first, its answer kept until the end. */
	struct sg_http *in = c->in;

	c->in = NULL;
	call_free(c);
	done(arg, a);
	sg_http_free(in);
}

static void fail(struct http_call *c, int err, const char *what)
{
	char why[512];
	struct http_answer a = {.err = err, .why = why};

	snprintf(why, sizeof(why), "%s: %s", c->where, what);
	finish(c, &a);
}

static void on_limit(void *arg)
{
	fail(arg, -ETIMEDOUT, "no answer in time");
}

/* ---- talking ------------------------------------------------------------------------------------------------------ */

/* True: the call is over. */
static bool take(struct http_call *c, struct sg_view data, bool end)
{
	const char *why = "";
	size_t used;
	int ret = end ? sg_http_end(c->in, &why) : sg_http_feed(c->in, data, &used, &why);

	if (ret == 0)
		return false;
	if (ret < 0) {
		char text[160];

		snprintf(text, sizeof(text),
			sg_http_begun(c->in) || !end ? "its answer is no HTTP: %s" : "closed without an answer", why);
		fail(c, ret, text);
	} else {
		const struct http_answer a = {
			.why = "", .status = sg_http_status(c->in), .body = sg_http_body(c->in), .message = c->in};

		finish(c, &a);
	}
	return true;
}

static void read_some(struct http_call *c)
{
	uint8_t buf[READ_SIZE];
	ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

	if (n > 0)
		take(c, (struct sg_view){buf, (size_t)n}, false);
	else if (n == 0)
		take(c, (struct sg_view){NULL, 0}, true);
	else if (errno != EAGAIN && errno != EINTR)
		fail(c, -errno, strerror(errno));
}

static void on_socket(void *arg, int fd, unsigned events)
{
	struct http_call *c = arg;

	if ((events & SG_WRITABLE) && c->out_at < c->out_len) {
		ssize_t n = send(fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			fail(c, -errno, strerror(errno));
			return;
		}
		if (n > 0)
			c->out_at += (size_t)n;
		sg_watch_set(c->watch, SG_READABLE | (c->out_at < c->out_len ? SG_WRITABLE : 0U));
	} else if (events & SG_READABLE) {
		read_some(c);
	}
}

static void on_connected(void *arg, int fd_or_error, const char *why)
{
	struct http_call *c = arg;
	int err;

	c->connect = NULL;
	if (fd_or_error < 0) {
		fail(c, fd_or_error, why);
		return;
	}
	c->fd = fd_or_error;
	err = sg_watch_new(c->hc->loop, c->fd, on_socket, c, &c->watch);
	if (err < 0) {
		fail(c, err, sg_strerror(err));
		return;
	}
	sg_watch_control(c->watch);
	sg_watch_set(c->watch, SG_READABLE | SG_WRITABLE);
}

/* ---- over dmsg ---------------------------------------------------------------------------------------------------- */

static void on_data(void *arg, struct sg_view in)
{
	take(arg, in, false);
}

static void push(struct http_call *c)
{
	struct iovec iov = {c->out + c->out_at, c->out_len - c->out_at};
	int err = iov.iov_len ? c->stream->ops->send(c->stream, &iov, 1) : 0;

	if (err == 0)
		c->out_at = c->out_len;
	else if (err != -EAGAIN)
		fail(c, err, sg_strerror(err));
}

static void on_writable(void *arg)
{
	push(arg);
}

static void on_close(void *arg, int err, const char *why)
{
	struct http_call *c = arg;

	c->stream = NULL;
	if (err < 0 && err != SG_ECLOSED)
		fail(c, err, why);
	else
		take(c, (struct sg_view){NULL, 0}, true);
}

static const struct sg_stream_user stream_user = {
	.size = sizeof(stream_user), .on_data = on_data, .on_writable = on_writable, .on_close = on_close};

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct http_call *c = arg;

	c->dialing = false;
	if (!stream) {
		fail(c, err, why);
		return;
	}
	stream->user = &stream_user;
	stream->user_arg = c;
	c->stream = stream;
	push(c);
}

/* ---- asking -------------------------------------------------------------------------------------------------------- */

static int begin(struct http_call *c, const struct sg_url *url)
{
	struct sg_http_client *hc = c->hc;
	struct sg_pk pk;
	int err;

	if (strcmp(url->scheme, "dmsg") == 0) {
		if (!hc->dmsg)
			return -ENOTSUP;
		if (sg_pk_parse(hc->crypto, url->host, strlen(url->host), &pk) < 0)
			return SG_EKEY;
		c->dialing = true;
		err = hc->dmsg->dial(hc->dmsg_ctx, &pk, url->port, on_dialed, c);
		c->dialing = err == 0;
		return err;
	}
	if (strcmp(url->scheme, "http") != 0)
		return SG_EMALF;
	return sg_connect(hc->loop, url->host, url->port, on_connected, c, &c->connect);
}

static int compose(struct http_call *c, const struct http_ask *ask, const struct sg_url *url)
{
	char host[sizeof(url->host) + 8], target[1024];

	if (url->port_given)
		snprintf(host, sizeof(host), "%s:%u", url->host, url->port);
	else
		snprintf(host, sizeof(host), "%s", url->host);
	if ((size_t)snprintf(target, sizeof(target), "%s%s", url->path, ask->path) >= sizeof(target))
		return SG_ELONG;
	snprintf(c->where, sizeof(c->where), "%s://%s", url->scheme, host);
	c->out = sg_http_request(ask->method, target[0] ? target : "/", host, ask->headers, ask->body, &c->out_len);
	c->in = sg_http_new(false, ask->body_max ? ask->body_max : SG_HTTP_BODY_MAX);
	return c->out && c->in ? 0 : -ENOMEM;
}

int http_ask(
	struct sg_http_client *hc, const struct http_ask *ask, http_done_fn *done, void *arg, struct http_call **out)
{
	struct http_call *c;
	struct sg_url url;
	int err = sg_url_split(ask->base, &url);

	if (err < 0)
		return err;
	c = sg_calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->hc = hc;
	c->fd = -1;
	c->done = done;
	c->arg = arg;
	sg_list_add_tail(&hc->calls, &c->node);
	sg_timer_init(&c->limit, hc->loop, on_limit, c);
	err = compose(c, ask, &url);
	if (err == 0)
		err = sg_timer_start(&c->limit, ask->timeout_ms);
	if (err == 0)
		err = begin(c, &url);
	if (err < 0) {
		call_free(c);
		return err;
	}
	if (out)
		*out = c;
	return 0;
}

bool http_url_ok(const char *url)
{
	struct sg_url u;

	return sg_url_split(url, &u) == 0 && (strcmp(u.scheme, "http") == 0 || strcmp(u.scheme, "dmsg") == 0);
}

struct sg_http_client *http_client_new(struct sg_loop *loop, const struct sg_crypto *crypto)
{
	struct sg_http_client *hc = sg_calloc(1, sizeof(*hc));

	if (!hc)
		return NULL;
	hc->loop = loop;
	hc->crypto = crypto;
	sg_list_init(&hc->calls);
	return hc;
}

void http_client_free(struct sg_http_client *hc)
{
	if (!hc)
		return;
	while (!sg_list_empty(&hc->calls))
		call_free(sg_container_of(hc->calls.next, struct http_call, node));
	sg_free(hc);
}

void http_client_network(struct sg_http_client *hc, const struct sg_network_ops *ops, void *ctx)
{
	hc->dmsg = ops;
	hc->dmsg_ctx = ctx;
}
