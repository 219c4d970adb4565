/*
 * transport-dmsg: the network dmsg, streams by key and port through servers that both ends have a session with, and the
 * carrier dmsg, transports over such streams. This file is its face toward the host. See README.md.
 */
#include "dmsg.h"
#include "loop/worker.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "wire/json.h"
#include "wire/uci.h"

static const struct sg_option options[] = {
	{.section = "dmsg", .help = "the overlay that services and visors find one another on"},
	{.section = "dmsg",
		.name = "sessions",
		.type = SG_OPT_UINT,
		.def = "2",
		.min = 1,
		.max = 8,
		.help = "servers to hold a session with"},
	{0}};

#define COUNTER(member, help)                                                                                          \
	{                                                                                                              \
		"dmsg." #member, offsetof(struct dmsg, count.member), help                                             \
	}
static const struct sg_counter counters[] = {COUNTER(sessions_up, "sessions that came up"),
	COUNTER(sessions_failed, "sessions that could not be made"), COUNTER(streams_out, "streams that we opened"),
	COUNTER(streams_in, "streams that others opened"), COUNTER(dials_failed, "streams that we could not open"),
	COUNTER(refused_port, "streams refused: nobody listens on that port"),
	COUNTER(bad_request, "streams refused: the request is not valid"),
	COUNTER(replayed, "session objects refused: seen before"), {0}};

static const struct sg_provide provides[] = {
	{SG_NETWORK, "dmsg", &dmsg_network_ops}, {SG_CARRIER, DMSG_CARRIER, &dmsg_carrier_ops}, {0}};

static const char *state_word(enum session_state s)
{
	static const char *const words[] = {"connecting", "handshake", "handshake", "up"};

	return words[s];
}

static int status(void *ctx, json_t *params, json_t **result, char *why, size_t why_cap)
{
	struct dmsg *d = ctx;
	json_t *list = json_array();
	struct sg_mono now = sg_loop_now(d->loop);
	char pk[SG_PK_TEXT];
	size_t up = 0, streams = 0;

	(void)params;
	sg_list_for (it, &d->streams)
		streams++;
	sg_list_for (it, &d->sessions) {
		const struct session *s = sg_container_of(it, struct session, node);
		bool is_up = s->state == SESSION_UP;

		up += is_up;
		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:I,s:I}", "server", sg_pk_str(&s->server, pk),
						    "address", s->address, "state", state_word(s->state), "up_ms",
						    (json_int_t)(is_up ? sg_mono_ms_since(now, s->since) : -1),
						    "rtt_us", (json_int_t)(is_up ? sg_yamux_rtt_us(s->yamux) : -1)));
	}
	*result = json_pack("{s:s,s:s,s:i,s:i,s:o}", "state", up ? "up" : "down", "reason", up ? "" : d->why, "wanted",
		(int)d->wanted, "streams", (int)streams, "sessions", list);
	if (*result)
		return 0;
	snprintf(why, why_cap, "out of memory");
	return -ENOMEM;
}

static const struct sg_method methods[] = {{"dmsg.status", status}, {0}};

static size_t wanted(const struct dmsg *d)
{
	const struct sg_uci_section *s = sg_uci_next(d->host->conf(d->inst), "dmsg", NULL);

	return s ? (size_t)sg_uci_uint(s, "sessions", 2) : 2;
}

/* By what the servers of a network are found. */
static uint64_t network(const struct dmsg *d)
{
	static const char *const found_by[] = {"source", "part", "dmsg_discovery", "dmsg_server", NULL};

	return sg_uci_digest(sg_uci_next(d->host->conf(d->inst), "deployment", NULL), found_by);
}

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap)
{
	struct dmsg *d = sg_calloc(1, sizeof(*d));

	if (!d) {
		snprintf(why, why_cap, "out of memory");
		return -ENOMEM;
	}
	d->host = host;
	d->inst = inst;
	d->loop = host->loop(inst);
	d->id = host->identity(inst);
	sg_list_init(&d->sessions);
	sg_list_init(&d->streams);
	sg_list_init(&d->listens);
	sg_list_init(&d->dials);
	sg_list_init(&d->carrier_dials);
	d->wanted = wanted(d);
	d->network = network(d);
	if (dmsg_carrier_start(d) < 0) {
		snprintf(why, why_cap, "out of memory");
		sg_free(d);
		return -ENOMEM;
	}
	dmsg_node_start(d);
	*ctx = d;
	return 0;
}

static int reload(void *ctx)
{
	struct dmsg *d = ctx;

	/* In another network nothing of the old one may stay: it begins anew. */
	return wanted(d) == d->wanted && network(d) == d->network ? 0 : -ENOTSUP;
}

static void stop(void *ctx)
{
	struct dmsg *d = ctx;
	const struct sg_host *host = d->host;
	struct sg_inst *inst = d->inst;

	dmsg_carrier_stop(d);
	dmsg_node_stop(d);
	sg_worker_free(d->worker);
	sg_free(d);
	host->stopped(inst);
}

SG_PLUGIN(transport_dmsg) = {SG_PLUGIN_HEAD, .name = "transport-dmsg", .version = SG_VERSION,
	.summary = "dmsg: streams and transports by key through relaying servers", .provides = provides,
	.options = options, .methods = methods, .counters = counters, .start = start, .reload = reload, .stop = stop};
