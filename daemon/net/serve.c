/* The HTTP server on dmsg port 80. */
#include "net/serve.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "wire/http.h"
#include "wire/json.h"

#include <time.h>

#define PORT        80
#define REQUEST_MS  5000
#define REQUEST_MAX 4096 /* bytes of a body; nothing here wants one */
#define CLIENTS_MAX 32

struct sg_serve {
	struct sg_loop *loop;
	const struct sg_pk *own;
	struct tplog *log;
	time_t started;
	const struct sg_network_ops *ops;
	void *ctx;
	struct sg_list clients;
	size_t n_clients;
};

struct client {
	struct sg_list node;
	struct sg_serve *s;
	struct sg_stream *stream;
	struct sg_timer limit;
	struct sg_http *in;
	bool asked; /* the log is */
	char *out;  /* until the stream takes it */
	size_t out_len;
};

static void client_free(struct client *c, bool close)
{
	sg_list_remove(&c->node);
	c->s->n_clients--;
	sg_timer_stop(&c->limit);
	if (c->asked)
		tplog_cancel(c->s->log, c);
	if (close)
		c->stream->ops->close(c->stream);
	sg_http_free(c->in);
	sg_free(c->out);
	sg_free(c);
}

static void on_limit(void *arg)
{
	client_free(arg, true);
}

/* As the existing visors word it, which other tools read. */
static char *health(const struct sg_serve *s)
{
	char started[32], address[SG_PK_TEXT + 4], pk[SG_PK_TEXT];
	struct tm tm;
	json_t *o;
	char *text;

	strftime(started, sizeof(started), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&s->started, &tm));
	snprintf(address, sizeof(address), "%s:%d", sg_pk_str(s->own, pk), PORT);
	o = json_pack("{s:{s:s,s:s,s:s},s:s,s:s}", "build_info", "version", "skygate-" SG_VERSION, "commit", "", "date",
		"", "started_at", started, "dmsg_address", address);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}

static const struct sg_http_header text[] = {
	{"Content-Type", "text/plain; charset=utf-8"}, {"Connection", "close"}, {0}};

static char *not_found(size_t *len)
{
	return sg_http_response(404, text, (struct sg_view){(const uint8_t *)"404 page not found\n", 19}, len);
}

static void push(struct client *c);

static void on_csv(void *arg, const char *csv, size_t len)
{
	static const struct sg_http_header headers[] = {
		{"Content-Type", "text/csv; charset=utf-8"}, {"Connection", "close"}, {0}};
	struct client *c = arg;

	c->asked = false;
	c->out = csv ? sg_http_response(200, headers, (struct sg_view){(const uint8_t *)csv, len}, &c->out_len)
		     : not_found(&c->out_len);
	if (c->out)
		push(c);
	else
		client_free(c, true);
}

/* "/2026-11-21.csv", also under /transport_logs. */
static bool ask_log(struct client *c, const char *target)
{
	static const char folder[] = "/transport_logs";
	size_t skip = strncmp(target, folder, sizeof(folder) - 1) == 0 ? sizeof(folder) - 1 : 0, len;
	char date[16];

	target += skip;
	len = strcspn(target, "?");
	if (target[0] != '/' || len <= 5 || len - 5 >= sizeof(date) || memcmp(target + len - 4, ".csv", 4) != 0)
		return false;
	snprintf(date, sizeof(date), "%.*s", (int)(len - 5), target + 1);
	c->asked = tplog_csv(c->s->log, date, on_csv, c) == 0;
	return c->asked;
}

/* NULL with c->asked: later. */
static char *answer(struct client *c, size_t *len)
{
	static const struct sg_http_header json[] = {
		{"Content-Type", "application/json"}, {"Connection", "close"}, {0}};
	const char *target = sg_http_target(c->in);
	char *body, *out;

	if (strcmp(sg_http_method(c->in), "GET") != 0)
		return sg_http_response(405, text, (struct sg_view){NULL, 0}, len);
	if (strncmp(target, "/health", 7) != 0 || (target[7] != '\0' && target[7] != '?'))
		return ask_log(c, target) ? NULL : not_found(len);
	body = health(c->s);
	if (!body)
		return NULL;
	out = sg_http_response(200, json, (struct sg_view){(const uint8_t *)body, strlen(body)}, len);
	sg_free(body);
	return out;
}

static void push(struct client *c)
{
	struct iovec iov = {c->out, c->out_len};

	if (c->stream->ops->send(c->stream, &iov, 1) != -EAGAIN)
		client_free(c, true);
}

static void on_data(void *arg, struct sg_view in)
{
	struct client *c = arg;
	const char *why;
	size_t used;
	int ret;

	if (c->out || c->asked)
		return;
	ret = sg_http_feed(c->in, in, &used, &why);
	if (ret == 0)
		return;
	c->out = ret > 0 ? answer(c, &c->out_len)
			 : sg_http_response(400, (const struct sg_http_header[]){{"Connection", "close"}, {0}},
				   (struct sg_view){NULL, 0}, &c->out_len);
	if (c->out)
		push(c);
	else if (!c->asked)
		client_free(c, true);
}

static void on_writable(void *arg)
{
	struct client *c = arg;

	if (c->out)
		push(c);
}

static void on_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	client_free(arg, false);
}

static const struct sg_stream_user stream_user = {
	.size = sizeof(stream_user), .on_data = on_data, .on_writable = on_writable, .on_close = on_close};

static int on_stream(void *arg, struct sg_stream *stream)
{
	struct sg_serve *s = arg;
	struct client *c = s->n_clients < CLIENTS_MAX ? sg_calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return SG_EFULL;
	c->in = sg_http_new(true, REQUEST_MAX);
	sg_timer_init(&c->limit, s->loop, on_limit, c);
	if (!c->in || sg_timer_start(&c->limit, REQUEST_MS) < 0) {
		sg_http_free(c->in);
		sg_free(c);
		return -ENOMEM;
	}
	c->s = s;
	c->stream = stream;
	stream->user = &stream_user;
	stream->user_arg = c;
	sg_list_add_tail(&s->clients, &c->node);
	s->n_clients++;
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

struct sg_serve *serve_new(struct sg_loop *loop, const struct sg_pk *own, struct tplog *log)
{
	struct sg_serve *s = sg_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = loop;
	s->own = own;
	s->log = log;
	s->started = time(NULL);
	sg_list_init(&s->clients);
	return s;
}

static void close_all(struct sg_serve *s)
{
	while (!sg_list_empty(&s->clients))
		client_free(sg_container_of(s->clients.next, struct client, node), true);
}

void serve_free(struct sg_serve *s)
{
	if (!s)
		return;
	serve_network(s, NULL, NULL);
	sg_free(s);
}

void serve_network(struct sg_serve *s, const struct sg_network_ops *ops, void *ctx)
{
	close_all(s);
	if (s->ops)
		s->ops->unlisten(s->ctx, PORT);
	s->ops = ops;
	s->ctx = ctx;
	if (ops && ops->listen(ctx, PORT, &listener, s) < 0)
		s->ops = NULL;
}
