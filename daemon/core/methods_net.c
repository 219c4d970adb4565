/* transport.…, stream.list, counter.list. Long lists come in pages, so that an answer fits a line. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "core/core.h"
#include "wire/jsonrpc.h"

#define PAGE 96

struct page {
	json_t *list;   /* NULL: memory is out */
	json_t *beside; /* another list, "waiting"; NULL: none */
	size_t at, from;
	bool more;
	const char *note; /* for people; may be NULL */
};

static void page_init(struct page *p, json_t *params)
{
	*p = (struct page){.list = json_array(), .from = (size_t)json_integer_value(json_object_get(params, "from"))};
}

/* Whether the next entry is on this page; *stop when the page is full. */
static bool page_wants(struct page *p, bool *stop)
{
	size_t at = p->at++;

	*stop = at >= p->from + PAGE || !p->list;
	p->more = p->more || at >= p->from + PAGE;
	return at >= p->from && !*stop;
}

static void page_add(struct page *p, json_t *entry)
{
	if (json_array_append_new(p->list, entry) < 0) {
		json_decref(p->list);
		p->list = NULL;
	}
}

static void page_done(struct page *p, struct call *call, const char *name)
{
	json_t *result = p->list ? json_pack("{s:o}", name, p->list) : NULL;

	if (p->beside && result && json_object_set(result, "waiting", p->beside) < 0) {
		json_decref(result);
		result = NULL;
	}
	json_decref(p->beside);
	if (result && p->more && json_object_set_new(result, "next", json_integer((json_int_t)p->from + PAGE)) < 0) {
		json_decref(result);
		result = NULL;
	}
	if (result && p->note && *p->note && json_object_set_new(result, "note", core_text(p->note)) < 0) {
		json_decref(result);
		result = NULL;
	}
	call_done(call, result);
}

/* ---- transports --------------------------------------------------------------------------------------------------- */

static bool add_link(void *arg, const struct sg_link_info *i)
{
	struct page *p = arg;
	char id[SG_TPID_TEXT];
	bool stop;

	if (page_wants(p, &stop))
		page_add(p, json_pack("{s:s, s:o, s:s, s:s, s:s, s:o, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
				    "id", sg_tpid_str(&i->id, id), "pk", core_pk(&i->remote), "label", i->label, "peer",
				    i->peer, "carrier", i->carrier, "address", core_text(i->address), "dialled",
				    i->dialled, "kind", i->kind, "up_ms", (json_int_t)i->up_ms, "rtt_us",
				    (json_int_t)i->rtt_us, "rx_bytes", (json_int_t)i->rx_bytes, "tx_bytes",
				    (json_int_t)i->tx_bytes, "rx_packets", (json_int_t)i->rx_packets, "tx_packets",
				    (json_int_t)i->tx_packets, "tx_waiting", (json_int_t)i->tx_waiting));
	return !stop;
}

/* Those that should be up and are not: a list of its own, behind the last page's transports. */
static bool add_waiting(void *arg, const char *name, const struct sg_peer_state *st)
{
	json_t *list = arg;

	return json_array_append_new(list,
		       json_pack("{s:o, s:s, s:s, s:s, s:I, s:I, s:s}", "pk", core_pk(&st->pk), "peer", name, "carrier",
			       st->carrier, "address", st->address, "attempts", (json_int_t)st->attempts, "next_try_ms",
			       (json_int_t)st->next_try_ms, "why", st->why)) == 0 &&
	       json_array_size(list) < PAGE;
}

void method_transport_list(struct core *core, struct call *call, json_t *params)
{
	json_t *waiting = json_array();
	struct page p;

	page_init(&p, params);
	links_each(core->links, add_link, &p);
	if (waiting && !p.more)
		links_waiting(core->links, add_waiting, waiting);
	p.beside = waiting;
	page_done(&p, call, "transports");
}

void method_transport_add(struct core *core, struct call *call, json_t *params)
{
	const char *text = json_string_value(json_object_get(params, "pk"));
	const char *address = json_string_value(json_object_get(params, "address"));
	bool keep = json_is_true(json_object_get(params, "keep"));
	char carrier[16] = "";
	struct sg_pk pk;
	int err;

	if (!core_key_read(core, call, text, &pk))
		return;
	if (sg_pk_equal(&pk, &core->pk)) {
		call_fail(call, SG_RPC_PARAMS, "that is this visor's own key");
		return;
	}
	if (address && links_address_ok(address) < 0) {
		call_fail(call, SG_RPC_PARAMS,
			"'%.70s' is not the address of a visor\n  accepted: carrier://host:port, like "
			"stcp://192.0.2.10:7777; or dmsg, stcpr: found by its key",
			address);
		return;
	}
	if (address)
		snprintf(carrier, sizeof(carrier), "%.*s", (int)strcspn(address, ":"), address);
	if (address && !plugin_of_carrier(core->conf->plugins, core->conf->n_plugins, carrier)) {
		call_fail(call, SG_RPC_PARAMS, "no plugin provides the carrier '%s'\n  see them:  skygate plugin ls",
			carrier);
		return;
	}
	err = peers_add(core, &pk, address ? address : "", keep);
	if (err == SG_EDUP)
		call_fail(call, SG_RPC_FAILED,
			"that visor is kept connected%s%s already\n  see it:  skygate transport ls",
			address ? " by " : "", carrier);
	else if (err < 0)
		call_fail(call, SG_RPC_FAILED, "%s", sg_strerror(err));
	else
		call_done(call, json_pack("{s:o, s:s?, s:b, s:b}", "pk", core_pk(&pk), "address", address, "keep", keep,
					"lasts", store_lasts(core->store)));
}

/* Keys that begin with the prefix, among links and added peers, and transports whose ids do. */
struct match {
	const char *prefix, *carrier;
	char id_carrier[8];
	size_t len;
	struct sg_pk pk;
	size_t n;
};

static void match_key(struct match *m, const struct sg_pk *pk)
{
	char hex[SG_PK_TEXT];

	if (strncasecmp(sg_pk_str(pk, hex), m->prefix, m->len) != 0 || (m->n && sg_pk_equal(&m->pk, pk)))
		return;
	m->pk = *pk;
	m->n++;
}

static bool match_link(void *arg, const struct sg_link_info *i)
{
	struct match *m = arg;
	char id[SG_TPID_TEXT];

	match_key(m, &i->remote);
	if (strncasecmp(sg_tpid_str(&i->id, id), m->prefix, m->len) == 0) {
		m->pk = i->remote;
		snprintf(m->id_carrier, sizeof(m->id_carrier), "%s", i->carrier);
		m->carrier = m->id_carrier;
		m->n++;
	}
	return true;
}

static void match_extra(void *arg, const struct sg_pk *pk)
{
	match_key(arg, pk);
}

static bool match_remote(void *arg, const struct sg_link_info *i)
{
	match_key(arg, &i->remote);
	return true;
}

/* Peers, and whatever else of the configuration names a visor by its key. */
static void match_section(struct core *core, struct match *m, const struct sg_uci_section *s)
{
	struct sg_pk pk;

	sg_list_for (it, &s->options) {
		sg_list_for (at, &sg_container_of(it, struct sg_uci_option, node)->values) {
			const char *hex = sg_container_of(at, struct sg_uci_value, node)->text;

			if (sg_pk_parse(core->crypto, hex, strlen(hex), &pk) == 0)
				match_key(m, &pk);
		}
	}
}

size_t core_key_find(struct core *core, const char *text, struct sg_pk *out)
{
	struct match m = {.prefix = text, .len = strlen(text)};

	if (sg_pk_parse(core->crypto, text, m.len, out) == 0)
		return 1;
	if (m.len == 0)
		return 0;
	links_each(core->links, match_remote, &m);
	peers_each_added(core, match_extra, &m);
	sg_list_for (it, &core->conf->doc->sections)
		match_section(core, &m, sg_container_of(it, struct sg_uci_section, node));
	net_offers_known(core->net, "vpn", match_extra, &m);
	*out = m.pk;
	return m.n;
}

bool core_key_read(struct core *core, struct call *call, const char *text, struct sg_pk *out)
{
	size_t n = core_key_find(core, text, out);

	if (n > 1)
		call_fail(call, SG_RPC_PARAMS, "'%.70s' fits %zu keys; give more of it", text, n);
	if (n == 0)
		call_fail(call, SG_RPC_PARAMS,
			"'%.70s' is not a public key\n  accepted: 66 hex digits, or the beginning of a key that is "
			"known here",
			text);
	return n == 1;
}

void method_transport_rm(struct core *core, struct call *call, json_t *params)
{
	const char *carrier = json_string_value(json_object_get(params, "carrier"));
	struct match m = {
		.prefix = json_string_value(json_object_get(params, "pk")), .carrier = carrier ? carrier : ""};
	size_t closed;
	int err;

	m.len = strlen(m.prefix);
	if (m.len >= 1)
		links_each(core->links, match_link, &m);
	if (m.len >= 1)
		peers_each_added(core, match_extra, &m);
	if (m.n > 1) {
		call_fail(call, SG_RPC_PARAMS, "'%.70s' fits %zu transports; give more of it", m.prefix, m.n);
		return;
	}
	if (m.n == 0) {
		call_fail(call, SG_RPC_PARAMS,
			"'%.70s' fits the key of no transport\n  see them:  skygate transport ls", m.prefix);
		return;
	}
	if (peers_configured_by(core, &m.pk, m.carrier)) {
		const struct sg_uci_section *s = peers_configured(core, &m.pk);

		call_fail(call, SG_RPC_FAILED,
			"peer '%s' is in the configuration and would be connected again\n  take it out of %s (line "
			"%u), then:  skygate config reload",
			s->name, core->opt.config, s->line);
		return;
	}
	closed = links_close(core->links, &m.pk, m.carrier, "closed by the owner");
	err = peers_remove(core, &m.pk, m.carrier);
	if (err < 0 && err != -ENOENT) {
		call_fail(call, SG_RPC_FAILED, "%s", sg_strerror(err));
		return;
	}
	if (!closed && err < 0) {
		call_fail(call, SG_RPC_PARAMS,
			"there is no %s transport to that visor\n  see them:  skygate transport ls", m.carrier);
		return;
	}
	call_done(call, json_pack("{s:o, s:s}", "pk", core_pk(&m.pk), "carrier", m.carrier));
}

/* ---- directory services --------------------------------------------------------------------------------------------- */

void method_service_list(struct core *core, struct call *call, json_t *params)
{
	json_t *list = net_services(core->net);

	(void)params;
	call_done(call, list ? json_pack("{s:o}", "services", list) : NULL);
}

static void on_exits(void *arg, int err, const struct sg_offer *offers, size_t n, const char *why)
{
	struct call *call = arg;
	struct page p = {.list = json_array(), .from = *call_note(call), .note = why};
	bool stop = false;

	if (err < 0) {
		json_decref(p.list);
		call_fail(call, SG_RPC_FAILED, "%s", why);
		return;
	}
	for (size_t i = 0; i < n && !stop; i++) {
		if (page_wants(&p, &stop))
			page_add(&p, json_pack("{s:o, s:i, s:s, s:s, s:s}", "pk", core_pk(&offers[i].pk), "port",
					     (int)offers[i].port, "country", offers[i].country, "region",
					     offers[i].region, "version", offers[i].version));
	}
	page_done(&p, call, "exits");
}

void method_exit_list(struct core *core, struct call *call, json_t *params)
{
	const char *country = json_string_value(json_object_get(params, "country"));
	const char *version = json_string_value(json_object_get(params, "version"));
	struct net_offers_ask ask = {
		.type = "vpn", .country = country ? country : "", .version = version ? version : ""};
	int err;

	*call_note(call) = (uint64_t)json_integer_value(json_object_get(params, "from"));
	ask.remembered = *call_note(call) > 0; /* a further page of the same list */
	err = net_offers(core->net, &ask, on_exits, call, NULL);
	if (err == SG_EMALF)
		call_fail(
			call, SG_RPC_PARAMS, "'%.40s' is not a country\n  accepted: two letters, like DE", ask.country);
	else if (err < 0)
		call_fail(call, SG_RPC_FAILED, "%s", sg_strerror(err));
}

/* ---- streams ------------------------------------------------------------------------------------------------------ */

static bool add_stream(void *arg, const struct sg_route_stream_info *s)
{
	struct page *p = arg;
	bool stop;

	if (page_wants(p, &stop))
		page_add(p,
			json_pack("{s:o, s:i, s:s, s:s, s:b, s:o, s:I, s:I, s:I, s:I}", "pk", core_pk(&s->info.remote),
				"port", (int)s->info.port, "network", s->info.network, "carrier", s->info.carrier,
				"dialled", s->dialled, "id", json_sprintf("%016llx", (unsigned long long)s->id),
				"rx_bytes", (json_int_t)s->rx_bytes, "tx_bytes", (json_int_t)s->tx_bytes, "rx_waiting",
				(json_int_t)s->rx_waiting, "up_ms", (json_int_t)s->up_ms));
	return !stop;
}

void method_stream_list(struct core *core, struct call *call, json_t *params)
{
	struct page p;

	page_init(&p, params);
	route_each_stream(core->route, add_stream, &p);
	page_done(&p, call, "streams");
}

/* ---- rules and route groups --------------------------------------------------------------------------------------- */

static json_t *tpid_or_null(bool there, const struct sg_tpid *id)
{
	char text[SG_TPID_TEXT];

	return there ? json_string(sg_tpid_str(id, text)) : json_null();
}

static bool add_rule(void *arg, const struct sg_route_rule_info *i)
{
	static const char *const types[] = {
		[SG_RULE_REVERSE] = "reverse", [SG_RULE_FORWARD] = "forward", [SG_RULE_INTERMEDIARY] = "intermediary"};
	bool has_next = i->rule.type != SG_RULE_REVERSE, stop;
	struct page *p = arg;

	if (page_wants(p, &stop))
		page_add(p,
			json_pack(
				"{s:I, s:s, s:s, s:o, s:b, s:i, s:o, s:o, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
				"id", (json_int_t)i->rule.key, "type", types[i->rule.type], "state", i->state, "pk",
				*i->state ? core_pk(&i->peer) : json_null(), "dialled", i->dialled, "port",
				(int)i->port, "next_id", has_next ? json_integer(i->rule.next_id) : json_null(), "next",
				tpid_or_null(has_next, &i->rule.next_tp), "next_up", i->next_up, "from",
				tpid_or_null(i->bound, &i->from), "age_ms", (json_int_t)i->age_ms, "left_ms",
				(json_int_t)i->left_ms, "rtt_us", (json_int_t)i->rtt_us, "packets",
				(json_int_t)i->packets, "bytes", (json_int_t)i->bytes, "up_bps", (json_int_t)i->up_bps,
				"down_bps", (json_int_t)i->down_bps));
	return !stop;
}

void method_route_list(struct core *core, struct call *call, json_t *params)
{
	struct page p;

	page_init(&p, params);
	route_each_rule(core->route, add_rule, &p);
	page_done(&p, call, "rules");
}

/* ---- counters ------------------------------------------------------------------------------------------------------ */

static int add_counters(json_t *list, const struct sg_counter *table, const void *base)
{
	for (const struct sg_counter *c = table; c && c->name; c++) {
		uint64_t value;

		memcpy(&value, (const char *)base + c->offset, sizeof(value));
		if (json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "name", c->name, "value",
							(json_int_t)value, "help", c->help)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static const struct sg_counter loop_counter_table[] = {
#define COUNTER_ROW(member, name, help) {name, offsetof(struct sg_loop_counters, member), help},
	SG_LOOP_COUNTERS(COUNTER_ROW)
#undef COUNTER_ROW
		{NULL, 0, NULL}};

void method_counter_list(struct core *core, struct call *call, json_t *params)
{
	json_t *list = json_array();
	int err = 0;

	(void)params;
	err |= add_counters(list, loop_counter_table, sg_loop_counters(core->loop));
	err |= add_counters(list, link_counter_table, links_counters(core->links));
	err |= add_counters(list, route_counter_table, route_counters(core->route));
	sg_list_for (it, &core->plugins) {
		const struct plugin *p = sg_container_of(it, struct plugin, node);

		if (p->inst.state == INST_RUNNING)
			err |= add_counters(list, p->desc->counters, p->inst.ctx);
	}
	if (err) {
		json_decref(list);
		list = NULL;
	}
	call_done(call, list ? json_pack("{s:o}", "counters", list) : NULL);
}
