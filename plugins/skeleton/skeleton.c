/*
 * The smallest plugin that does something: it answers on a port and sends back what it gets. Copy the folder, rename,
 * and change the lines that README.md names.
 *
 * All state is in struct echo, made by start() and freed on the way to stopped(): plugins stay mapped for ever, so a
 * static variable would survive a reload with stale contents.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "wire/uci.h"
#include <skygate/plugin.h>

SG_LOG_TOPIC("skeleton");

#define PORT_DEFAULT 7

struct echo {
	const struct sg_host *host; /* borrowed */
	struct sg_inst *inst;       /* borrowed */
	struct sg_list sessions;
	uint64_t echoed; /* bytes; shown by counter.list */
};

/* One stream. */
struct session {
	struct sg_list node;
	struct echo *echo;
	struct sg_stream *stream;
	uint8_t *held; /* what could not be sent back yet; then nothing more is read */
	size_t held_len;
};

static void session_free(struct session *s)
{
	sg_list_remove(&s->node);
	sg_free(s->held);
	sg_free(s);
}

static void session_close(struct session *s)
{
	s->stream->ops->close(s->stream);
	session_free(s);
}

/* ---- a stream's events -------------------------------------------------------------------------------------------- */

static int send_back(struct session *s, const void *p, size_t len)
{
	struct iovec iov = {(void *)p, len};
	int err = s->stream->ops->send(s->stream, &iov, 1);

	if (err == 0)
		s->echo->echoed += len;
	return err;
}

static void on_data(void *arg, struct sg_view in)
{
	struct session *s = arg;
	int err = s->held ? -EAGAIN : send_back(s, in.p, in.len);
	uint8_t *held;

	if (err == 0)
		return;
	/* Backpressure: keep this, read no more, go on in on_writable. */
	held = err == -EAGAIN ? sg_realloc(s->held, s->held_len + in.len) : NULL;
	if (!held) {
		session_close(s);
		return;
	}
	memcpy(held + s->held_len, in.p, in.len);
	s->held = held;
	s->held_len += in.len;
	s->stream->ops->want(s->stream, false);
}

static void on_writable(void *arg)
{
	struct session *s = arg;
	int err = s->held ? send_back(s, s->held, s->held_len) : 0;

	if (err == -EAGAIN)
		return;
	if (err < 0) {
		session_close(s);
		return;
	}
	sg_free(s->held);
	s->held = NULL;
	s->held_len = 0;
	s->stream->ops->want(s->stream, true);
}

static void on_close(void *arg, int err, const char *why)
{
	(void)err;
	log_debug("a stream ended: %s", why);
	session_free(arg);
}

static const struct sg_stream_user session_user = {
	.size = sizeof(struct sg_stream_user),
	.on_data = on_data,
	.on_writable = on_writable,
	.on_close = on_close,
};

static int on_stream(void *arg, struct sg_stream *stream)
{
	struct echo *e = arg;
	struct session *s = sg_calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->echo = e;
	s->stream = stream;
	sg_list_add_tail(&e->sessions, &s->node);
	stream->user = &session_user;
	stream->user_arg = s;
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(struct sg_listener_ops), .on_stream = on_stream};

/* ---- life --------------------------------------------------------------------------------------------------------- */

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap)
{
	const struct sg_uci_section *conf = sg_uci_next(host->conf(inst), "skeleton", NULL);
	uint16_t port = (uint16_t)(conf ? sg_uci_uint(conf, "port", PORT_DEFAULT) : PORT_DEFAULT);
	struct echo *e = sg_calloc(1, sizeof(*e));
	int err;

	if (!e) {
		snprintf(why, why_cap, "memory is out");
		return -ENOMEM;
	}
	e->host = host;
	e->inst = inst;
	sg_list_init(&e->sessions);
	/* The last thing that can fail: from here on streams may arrive. */
	err = host->listen(inst, port, &listener, e);
	if (err < 0) {
		snprintf(why, why_cap, "port %u: %s", port,
			err == -EADDRINUSE ? "another plugin answers there" : sg_strerror(err));
		sg_free(e);
		return err;
	}
	log_info("answering on port %u", port);
	*ctx = e;
	return 0;
}

/* The host has taken the port away already. Streams are ours to close. */
static void stop(void *ctx)
{
	struct echo *e = ctx;
	const struct sg_host *host = e->host;
	struct sg_inst *inst = e->inst;

	sg_list_for_safe (it, &e->sessions)
		session_close(sg_container_of(it, struct session, node));
	sg_free(e);
	host->stopped(inst);
}

/* ---- what it is, as data ------------------------------------------------------------------------------------------ */

static const struct sg_option options[] = {
	{.section = "skeleton", .help = "sends back what it gets"},
	{.section = "skeleton",
		.name = "port",
		.type = SG_OPT_UINT,
		.def = "7",
		.min = 1,
		.max = UINT16_MAX,
		.help = "where it answers"},
	{0},
};

static const struct sg_counter counters[] = {
	{"skeleton.echoed", offsetof(struct echo, echoed), "bytes sent back"},
	{0},
};

static const struct sg_provide provides[] = {{SG_APP, "echo", NULL}, {0}};

SG_PLUGIN(skeleton) = {
	SG_PLUGIN_HEAD,
	.name = "skeleton",
	.version = "0.1.0", /* its own */
	.summary = "echo service, the start of a plugin of yours",
	.provides = provides,
	.options = options,
	.counters = counters,
	.start = start,
	.stop = stop,
};
