/* transport.…, service.list, exit.list. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "core/core.h"
#include "wire/jsonrpc.h"

/* ---- transports --------------------------------------------------------------------------------------------------- */

static bool add_link(void *arg, const struct sg_link_info *i)
{
	struct page *p = arg;
	struct sg_json_out *out = &p->out;
	char id[SG_TPID_TEXT];
	bool stop;

	if (!page_wants(p, &stop))
		return !stop;
	sg_json_open(out, NULL, '{');
	sg_json_put_text(out, "id", sg_tpid_str(&i->id, id));
	sg_json_put_pk(out, "pk", &i->remote);
	sg_json_put_text(out, "label", i->label);
	sg_json_put_text(out, "peer", i->peer);
	sg_json_put_text(out, "carrier", i->carrier);
	sg_json_put_text(out, "address", i->address);
	sg_json_put_bool(out, "dialled", i->dialled);
	sg_json_put_text(out, "kind", i->kind);
	sg_json_put_int(out, "up_ms", i->up_ms);
	sg_json_put_int(out, "rtt_us", i->rtt_us);
	sg_json_put_int(out, "rx_bytes", (int64_t)i->rx_bytes);
	sg_json_put_int(out, "tx_bytes", (int64_t)i->tx_bytes);
	sg_json_put_int(out, "rx_packets", (int64_t)i->rx_packets);
	sg_json_put_int(out, "tx_packets", (int64_t)i->tx_packets);
	sg_json_put_int(out, "tx_waiting", (int64_t)i->tx_waiting);
	sg_json_close(out, '}');
	return true;
}

struct waiting {
	struct sg_json_out *out;
	size_t n;
};

/* Those that should be up and are not: a list of its own, behind the last page's transports. */
static bool add_waiting(void *arg, const char *name, const struct sg_peer_state *st)
{
	struct waiting *w = arg;

	sg_json_open(w->out, NULL, '{');
	sg_json_put_pk(w->out, "pk", &st->pk);
	sg_json_put_text(w->out, "peer", name);
	sg_json_put_text(w->out, "carrier", st->carrier);
	sg_json_put_text(w->out, "address", st->address);
	sg_json_put_int(w->out, "attempts", (int64_t)st->attempts);
	sg_json_put_int(w->out, "next_try_ms", st->next_try_ms);
	sg_json_put_text(w->out, "why", st->why);
	sg_json_close(w->out, '}');
	return ++w->n < CORE_PAGE;
}

void method_transport_list(struct core *core, struct call *call, json_t *params)
{
	struct page p;
	struct waiting w = {.out = &p.out};

	page_asked(&p, call, "transports", params);
	links_each(core->links, add_link, &p);
	page_end(&p);
	sg_json_open(&p.out, "waiting", '[');
	if (!p.more)
		links_waiting(core->links, add_waiting, &w);
	sg_json_close(&p.out, ']');
	page_done(&p, NULL);
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
		const char *plugin = plugin_to_load(carrier);

		call_fail(call, SG_RPC_PARAMS, "no plugin provides the carrier '%s'\n  %s%s%s", carrier,
			plugin ? "it takes  list plugin '" : "see them:  skygate plugin ls", plugin ? plugin : "",
			plugin ? "'  in section visor" : "");
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

void method_transport_rm(struct core *core, struct call *call, json_t *params)
{
	const char *text = json_string_value(json_object_get(params, "pk"));
	const char *named = json_string_value(json_object_get(params, "carrier")), *carrier;
	char of_id[CORE_CARRIER_MAX];
	struct sg_pk pk;
	size_t closed, n = core_transport_find(core, text, &pk, of_id);
	int err;

	carrier = of_id[0] || !named ? of_id : named;
	if (n > 1) {
		call_fail(call, SG_RPC_PARAMS, "'%.70s' fits %zu transports; give more of it", text, n);
		return;
	}
	if (n == 0) {
		call_fail(call, SG_RPC_PARAMS,
			"'%.70s' fits the key of no transport\n  see them:  skygate transport ls", text);
		return;
	}
	if (peers_configured_by(core, &pk, carrier)) {
		const struct sg_uci_section *s = peers_configured(core, &pk);

		call_fail(call, SG_RPC_FAILED,
			"peer '%s' is in the configuration and would be connected again\n  take it out of %s (line "
			"%u), then:  skygate config reload",
			s->name, core->opt.config, s->line);
		return;
	}
	closed = links_close(core->links, &pk, carrier, "closed by the owner");
	err = peers_remove(core, &pk, carrier);
	if (err < 0 && err != -ENOENT) {
		call_fail(call, SG_RPC_FAILED, "%s", sg_strerror(err));
		return;
	}
	if (!closed && err < 0) {
		call_fail(call, SG_RPC_PARAMS,
			"there is no %s transport to that visor\n  see them:  skygate transport ls", carrier);
		return;
	}
	call_done(call, json_pack("{s:o, s:s}", "pk", core_pk(&pk), "carrier", carrier));
}

/* ---- directory services --------------------------------------------------------------------------------------------- */

void method_service_list(struct core *core, struct call *call, json_t *params)
{
	struct sg_json_out out = call_answer(call);

	(void)params;
	net_services(core->net, &out, "services");
	call_answered(call, &out);
}

static void add_exit(struct sg_json_out *out, const struct sg_offer *o)
{
	sg_json_open(out, NULL, '{');
	sg_json_put_pk(out, "pk", &o->pk);
	sg_json_put_int(out, "port", o->port);
	sg_json_put_text(out, "country", o->country);
	sg_json_put_text(out, "region", o->region);
	sg_json_put_text(out, "version", o->version);
	sg_json_close(out, '}');
}

static void on_exits(void *arg, int err, const struct sg_offer *offers, size_t n, const char *why)
{
	struct call *call = arg;
	struct page p;
	bool stop = false;

	if (err < 0) {
		call_fail(call, SG_RPC_FAILED, "%s", why);
		return;
	}
	page_init(&p, call, "exits", *call_note(call));
	p.at = p.from; /* those before it were not asked for */
	for (size_t i = 0; i < n && !stop; i++) {
		if (page_wants(&p, &stop))
			add_exit(&p.out, &offers[i]);
	}
	page_end(&p);
	page_done(&p, why);
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
	ask.from = (size_t)*call_note(call);
	ask.most = CORE_PAGE + 1; /* one more tells that there is a next one */
	err = net_offers(core->net, &ask, on_exits, call, NULL);
	if (err == SG_EMALF)
		call_fail(
			call, SG_RPC_PARAMS, "'%.40s' is not a country\n  accepted: two letters, like DE", ask.country);
	else if (err < 0)
		call_fail(call, SG_RPC_FAILED, "%s", sg_strerror(err));
}
