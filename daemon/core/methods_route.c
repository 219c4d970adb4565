/*
 * stream.list, route.list; route.find: the ways to a visor, by its own transport and by the route finder; visor.ping: how far
 * it is, and by which way.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "core/core.h"
#include "net/path.h"
#include "wire/jsonrpc.h"

#define HOPS_MAX 16

/* ---- streams ------------------------------------------------------------------------------------------------------ */

static bool add_stream(void *arg, const struct sg_route_stream_info *s)
{
	struct page *p = arg;
	struct sg_json_out *out = &p->out;
	char id[17];
	bool stop;

	if (!page_wants(p, &stop))
		return !stop;
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)s->id);
	sg_json_open(out, NULL, '{');
	sg_json_put_pk(out, "pk", &s->info.remote);
	sg_json_put_int(out, "port", s->info.port);
	sg_json_put_text(out, "network", s->info.network);
	sg_json_put_text(out, "carrier", s->info.carrier);
	sg_json_put_bool(out, "dialled", s->dialled);
	sg_json_put_text(out, "id", id);
	sg_json_put_int(out, "rx_bytes", (int64_t)s->rx_bytes);
	sg_json_put_int(out, "tx_bytes", (int64_t)s->tx_bytes);
	sg_json_put_int(out, "rx_waiting", (int64_t)s->rx_waiting);
	sg_json_put_int(out, "up_ms", s->up_ms);
	sg_json_close(out, '}');
	return true;
}

void method_stream_list(struct core *core, struct call *call, json_t *params)
{
	struct page p;

	page_asked(&p, call, "streams", params);
	route_each_stream(core->route, add_stream, &p);
	page_end(&p);
	page_done(&p, NULL);
}

/* ---- rules and route groups --------------------------------------------------------------------------------------- */

static void put_tpid(struct sg_json_out *out, const char *name, bool there, const struct sg_tpid *id)
{
	char text[SG_TPID_TEXT];

	if (there)
		sg_json_put_text(out, name, sg_tpid_str(id, text));
	else
		sg_json_put_null(out, name);
}

static void put_rule(struct sg_json_out *out, const struct sg_route_rule_info *i)
{
	static const char *const types[] = {
		[SG_RULE_REVERSE] = "reverse", [SG_RULE_FORWARD] = "forward", [SG_RULE_INTERMEDIARY] = "intermediary"};
	bool has_next = i->rule.type != SG_RULE_REVERSE;

	sg_json_open(out, NULL, '{');
	sg_json_put_int(out, "id", i->rule.key);
	sg_json_put_text(out, "type", types[i->rule.type]);
	sg_json_put_text(out, "state", i->state);
	if (*i->state)
		sg_json_put_pk(out, "pk", &i->peer);
	else
		sg_json_put_null(out, "pk");
	sg_json_put_bool(out, "dialled", i->dialled);
	sg_json_put_int(out, "port", i->port);
	if (has_next)
		sg_json_put_int(out, "next_id", i->rule.next_id);
	else
		sg_json_put_null(out, "next_id");
	put_tpid(out, "next", has_next, &i->rule.next_tp);
	sg_json_put_bool(out, "next_up", i->next_up);
	put_tpid(out, "from", i->bound, &i->from);
	sg_json_put_int(out, "age_ms", i->age_ms);
	sg_json_put_int(out, "left_ms", i->left_ms);
	sg_json_put_int(out, "rtt_us", i->rtt_us);
	sg_json_put_int(out, "packets", (int64_t)i->packets);
	sg_json_put_int(out, "bytes", (int64_t)i->bytes);
	sg_json_put_int(out, "up_bps", (int64_t)i->up_bps);
	sg_json_put_int(out, "down_bps", (int64_t)i->down_bps);
	sg_json_close(out, '}');
}

static bool add_rule(void *arg, const struct sg_route_rule_info *i)
{
	struct page *p = arg;
	bool stop;

	if (page_wants(p, &stop))
		put_rule(&p->out, i);
	return !stop;
}

void method_route_list(struct core *core, struct call *call, json_t *params)
{
	struct page p;

	page_asked(&p, call, "rules", params);
	route_each_rule(core->route, add_rule, &p);
	page_end(&p);
	page_done(&p, NULL);
}

/* ---- ways to a visor ----------------------------------------------------------------------------------------------- */

static json_t *hop_json(struct core *core, const struct sg_hop *hop)
{
	const struct sg_link *l = links_by_id(core->links, &hop->tp);
	char id[SG_TPID_TEXT];

	/* Round trips are known of our own transports only. */
	return json_pack("{s:s, s:o, s:o, s:s, s:I}", "id", sg_tpid_str(&hop->tp, id), "from", core_pk(&hop->from),
		"to", core_pk(&hop->to), "carrier", l ? link_carrier(l) : "", "rtt_us",
		(json_int_t)(l ? link_rtt_us(l) : -1));
}

static json_t *hops_json(struct core *core, const struct sg_path *path)
{
	json_t *hops = json_array();

	for (size_t i = 0; hops && i < path->n; i++)
		json_array_append_new(hops, hop_json(core, &path->hops[i]));
	return hops;
}

static void add_path(struct core *core, json_t *list, const struct sg_path *path, unsigned min)
{
	json_array_append_new(list, json_pack("{s:b, s:o}", "usable", path_ok(core->links, &core->pk, path, min),
					    "hops", hops_json(core, path)));
}

/* Its own transport to the visor, which is used without asking anybody. */
static bool add_link(struct core *core, json_t *list, const struct sg_pk *pk, unsigned min)
{
	const struct sg_link *l = min > 1 ? NULL : links_find(core->links, pk);
	struct sg_path path = {.n = 1};

	if (!l)
		return false;
	path.hops[0] = (struct sg_hop){*link_id(l), core->pk, *pk};
	add_path(core, list, &path, min);
	return true;
}

static bool is_listed(const json_t *list, const struct sg_path *path)
{
	const json_t *first = json_array_get(json_object_get(json_array_get(list, 0), "hops"), 0);
	const char *id = json_string_value(json_object_get(first, "id"));
	char text[SG_TPID_TEXT];

	return path->n == 1 && id && strcmp(sg_tpid_str(&path->hops[0].tp, text), id) == 0;
}

static void on_routes(void *arg, int err, const struct sg_paths *paths, const char *why)
{
	struct call *call = arg;
	struct core *core = call_core(call);
	unsigned min = (unsigned)*call_note(call);
	const struct sg_pk *pk = call_pk(call);
	json_t *list = json_array();
	bool linked = add_link(core, list, pk, min);

	for (size_t i = 0; err == 0 && i < paths->n_forward; i++) {
		if (!linked || !is_listed(list, &paths->forward[i]))
			add_path(core, list, &paths->forward[i], min);
	}
	call_done(call,
		json_pack("{s:o, s:o, s:o}", "pk", core_pk(pk), "paths", list, "note", core_text(err < 0 ? why : "")));
}

/* Whom and over how many hops: noted with the call. False: it was refused. */
static bool read_params(struct core *core, struct call *call, json_t *params)
{
	const char *text = json_string_value(json_object_get(params, "pk"));
	uint64_t min = (uint64_t)json_integer_value(json_object_get(params, "min_hops"));

	*call_note(call) = min;
	if (!core_key_read(core, call, text, call_pk(call)))
		return false;
	if (min > HOPS_MAX) {
		call_fail(call, SG_RPC_PARAMS, "at most %d hops", HOPS_MAX);
		return false;
	}
	return true;
}

void method_route_find(struct core *core, struct call *call, json_t *params)
{
	struct net_routes_ask ask = {.src = core->pk, .max_hops = HOPS_MAX};
	int err;

	if (!read_params(core, call, params))
		return;
	ask.dst = *call_pk(call);
	ask.min_hops = (uint16_t)*call_note(call);
	err = net_routes(core->net, &ask, on_routes, call, NULL);
	if (err < 0)
		call_fail(call, SG_RPC_FAILED, "%s", sg_strerror(err));
}

static void on_ping(void *arg, const struct ping_result *result, int err, const char *why)
{
	struct call *call = arg;
	struct core *core = call_core(call);
	struct sg_path path = {.n = 1};
	json_t *rtts = result ? json_array() : NULL;

	(void)err;
	if (!result) {
		call_fail(call, SG_RPC_FAILED, "%s", why);
		return;
	}
	for (size_t i = 0; i < result->n; i++)
		json_array_append_new(rtts, json_integer((json_int_t)result->rtt_us[i]));
	if (result->by_link)
		path.hops[0] = (struct sg_hop){result->link, core->pk, *call_pk(call)};
	else if (!routing_last(core->routing, call_pk(call), &path))
		path.n = 0;
	call_done(call, json_pack("{s:o, s:o, s:o, s:b, s:o}", "pk", core_pk(call_pk(call)), "rtt_us", rtts, "hops",
				hops_json(core, &path), "route", !result->by_link, "note", core_text(result->why)));
}

void method_visor_ping(struct core *core, struct call *call, json_t *params)
{
	int err;

	if (!read_params(core, call, params))
		return;
	if (sg_pk_equal(call_pk(call), &core->pk)) {
		call_fail(call, SG_RPC_PARAMS, "that is the key of this visor");
		return;
	}
	err = routing_ping(core->routing, call_pk(call), (unsigned)*call_note(call), on_ping, call);
	if (err < 0)
		call_fail(call, SG_RPC_FAILED, "%s", sg_strerror(err));
}
