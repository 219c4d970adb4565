/*
 * transport-tcp: the carriers stcp and stcpr, raw TCP connections to neighbours. This file is its face toward the host:
 * descriptor, options, life. listen.c and dial.c do the work; core secures what they bring. See README.md.
 */
#include "tcp.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

SG_LOG_TOPIC("tcp");

static const struct sg_option options[] = {
	{.section = "carrier",
		.flags = SG_OPT_LIST,
		.help = "how neighbours reach this visor; its name is the carrier's"},
	{.section = "carrier",
		.name = "listen",
		.type = SG_OPT_ADDR,
		.flags = SG_OPT_LIST,
		.help = "stcp, stcpr: addresses to accept connections at; none: this visor only dials"},
	{.section = "carrier",
		.name = "public",
		.type = SG_OPT_BOOL,
		.def = "0",
		.help = "stcpr: listed at the service discovery, so that others connect without being asked to"},
	{0}};

static const struct sg_counter counters[] = {{"tcp.accepted", offsetof(struct tcp, accepted), "connections accepted"},
	{"tcp.accept_failed", offsetof(struct tcp, accept_failed), "connections that could not be accepted"},
	{"tcp.untuned", offsetof(struct tcp, untuned), "sockets with the kernel's default congestion control"}, {0}};

static const struct sg_provide provides[] = {
	{SG_CARRIER, TCP_BY_ADDRESS, &tcp_carrier_ops}, {SG_CARRIER, TCP_BY_KEY, &tcp_carrier_ops}, {0}};

void tcp_socket_options(int fd)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void stopped_if_done(struct tcp *t)
{
	const struct sg_host *host = t->host;
	struct sg_inst *inst = t->inst;

	if (!t->stopping || t->asked)
		return;
	sg_free(t);
	host->stopped(inst);
}

void tcp_answered(struct tcp *t, int err)
{
	t->asked--;
	if (err < 0)
		t->untuned++;
	stopped_if_done(t);
}

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap)
{
	struct tcp *t = sg_calloc(1, sizeof(*t));
	int ret;

	if (!t) {
		snprintf(why, why_cap, "out of memory");
		return -ENOMEM;
	}
	t->host = host;
	t->inst = inst;
	sg_list_init(&t->listeners);
	sg_list_init(&t->dials);
	ret = tcp_listen_apply(t, why, why_cap);
	if (ret < 0) {
		sg_free(t);
		return ret;
	}
	*ctx = t;
	return 0;
}

static int reload(void *ctx)
{
	char why[256];
	int ret = tcp_listen_apply(ctx, why, sizeof(why));

	if (ret < 0)
		log_error("%s; it listens as before", why);
	return ret;
}

static void stop(void *ctx)
{
	struct tcp *t = ctx;

	t->stopping = true;
	tcp_listen_close(t);
	tcp_dial_close(t);
	stopped_if_done(t);
}

SG_PLUGIN(transport_tcp) = {
	SG_PLUGIN_HEAD,
	.name = "transport-tcp",
	.version = SG_VERSION,
	.summary = "carriers stcp and stcpr: neighbours by TCP, by address or by key",
	.provides = provides,
	.options = options,
	.counters = counters,
	.start = start,
	.reload = reload,
	.stop = stop,
};
