/* visor.status, plugin.list, and the way to the methods of plugins. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/memory.h"
#include "core/core.h"
#include "wire/jsonrpc.h"

#include <errno.h>
#include <net/if.h>
#include <unistd.h>

static const struct sg_method *plugin_method(const struct plugin *p, const char *name)
{
	for (const struct sg_method *m = p->desc->methods; m && m->name; m++) {
		if (strcmp(m->name, name) == 0)
			return m;
	}
	return NULL;
}

/* The running plugin that answers, and how. */
static const struct sg_method *find_answer(const struct core *core, const char *name, struct plugin **out)
{
	sg_list_for (it, &core->plugins) {
		struct plugin *p = sg_container_of(it, struct plugin, node);
		const struct sg_method *m = plugin_method(p, name);

		if (m && p->inst.state == INST_RUNNING) {
			*out = p;
			return m;
		}
	}
	return NULL;
}

/* Keys may be shortened to any beginning that fits one only. False after it said why. */
static bool whole_key(struct core *core, struct call *call, json_t *params)
{
	const char *text = json_string_value(json_object_get(params, "pk"));
	struct sg_pk pk;
	size_t n = text ? core_key_find(core, text, &pk) : 0;

	if (n > 1) {
		call_fail(call, SG_RPC_PARAMS, "'%.70s' fits %zu keys; give more of it", text, n);
		return false;
	}
	/* One that is unknown is for the plugin to name. */
	if (n == 1 && json_object_set_new(params, "pk", core_pk(&pk)) < 0) {
		call_done(call, NULL);
		return false;
	}
	return true;
}

void method_plugin_call(struct core *core, struct call *call, json_t *params)
{
	const char *name = call_method(call), *plugin = sg_method_find(name)->plugin;
	struct plugin *p;
	const struct sg_method *m = find_answer(core, name, &p);
	char why[CORE_WHY_MAX] = "";
	json_t *result = NULL;
	int err;

	if (!m) {
		call_fail(call, SG_RPC_FAILED,
			"%s: the plugin %s is not running\n  with  list plugin '%s'  in section visor of %s it starts",
			name, plugin, plugin, core->opt.config);
		return;
	}
	if (!whole_key(core, call, params))
		return;
	err = m->call(p->inst.ctx, params, &result, why, sizeof(why));
	if (err == 0)
		call_done(call, result);
	else
		call_fail(call, SG_RPC_FAILED, "%s", why[0] ? why : sg_strerror(err));
}

/* ---- plugin.list --------------------------------------------------------------------------------------------------- */

static json_t *provided(const struct sg_plugin *d)
{
	static const char *const kinds[] = {
		[SG_CARRIER] = "carrier", [SG_APP] = "app", [SG_NETWORK] = "network", [SG_STORE] = "store"};
	json_t *list = json_array();

	for (const struct sg_provide *v = d->provides; list && v->kind != SG_PROVIDE_END; v++) {
		if (json_array_append_new(list, json_pack("{s:s, s:s}", "kind", kinds[v->kind], "name", v->name)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

void method_plugin_list(struct core *core, struct call *call, json_t *params)
{
	static const char *const states[] = {[INST_STOPPED] = "stopped",
		[INST_RUNNING] = "running",
		[INST_STOPPING] = "stopping",
		[INST_FAILED] = "failed"};
	json_t *list = json_array();

	(void)params;
	sg_list_for (it, &core->plugins) {
		const struct plugin *p = sg_container_of(it, struct plugin, node);

		if (list &&
			json_array_append_new(list,
				json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "name", p->desc->name, "version",
					p->desc->version, "summary", p->desc->summary, "state", states[p->inst.state],
					"why", core_text(p->inst.why), "provides", provided(p->desc))) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	call_done(call, list ? json_pack("{s:o}", "plugins", list) : NULL);
}

/* ---- visor.status -------------------------------------------------------------------------------------------------- */

static bool count_stream(void *arg, const struct sg_route_stream_info *s)
{
	(void)s;
	++*(int64_t *)arg;
	return true;
}

static bool is_present(const char *device)
{
	return if_nametoindex(device) != 0 || errno != ENODEV;
}

/* Whether each is there, for a name that was mistyped steers nothing. */
static void put_lan_devices(struct sg_json_out *out, const struct conf *conf)
{
	const struct sg_uci_section *s = NULL;

	sg_json_open(out, "interfaces", '[');
	while ((s = sg_uci_next(conf->doc, "interface", s))) {
		const struct sg_uci_option *o = sg_uci_option(s, "device");

		sg_list_for (it, &o->values) {
			const char *device = sg_container_of(it, struct sg_uci_value, node)->text;

			sg_json_open(out, NULL, '{');
			sg_json_put_text(out, "name", s->name);
			sg_json_put_text(out, "device", device);
			sg_json_put_bool(out, "present", is_present(device));
			sg_json_close(out, '}');
		}
	}
	sg_json_close(out, ']');
}

/* Where the traffic of an exit's clients leaves; null for who is none. */
static void put_uplink(struct sg_json_out *out, const struct conf *conf)
{
	const struct sg_uci_section *s = sg_uci_next(conf->doc, "vpn_server", NULL);
	const char *device = s ? sg_uci_get(s, "uplink", NULL) : NULL;

	if (!device) {
		sg_json_put_null(out, "uplink");
		return;
	}
	sg_json_open(out, "uplink", '{');
	sg_json_put_text(out, "device", device);
	sg_json_put_bool(out, "present", is_present(device));
	sg_json_close(out, '}');
}

/* What a plugin says of itself; null when it does not run. */
static json_t *plugin_status(const struct core *core, const char *method)
{
	struct plugin *p;
	const struct sg_method *m = find_answer(core, method, &p);
	json_t *params, *result = NULL;
	char why[CORE_WHY_MAX] = "";

	if (!m)
		return json_null();
	params = json_object();
	if (params && m->call(p->inst.ctx, params, &result, why, sizeof(why)) < 0)
		result = json_pack("{s:s, s:o}", "state", "unknown", "reason", core_text(why));
	json_decref(params);
	return result;
}

static json_t *kernel_status(const struct sg_netd_msg *m, int err)
{
	static const char *const modes[] = {"off", "vpn", "host"};
	static const char *const paths[] = {"unwanted", "down", "up", "open"};
	const struct sg_netd_status *s = &m->u.status;

	if (err < 0)
		return json_pack(
			"{s:b, s:o}", "answered", 0, "why", core_text(m->text[0] ? m->text : sg_strerror(err)));
	return json_pack("{s:b, s:s, s:b, s:b, s:s, s:I, s:I, s:I, s:I}", "answered", 1, "mode",
		s->mode < SG_ARRAY_LEN(modes) ? modes[s->mode] : "?", "kill_switch", s->kill_switch, "rules_in_place",
		s->rules_in_place, "path", s->path < SG_ARRAY_LEN(paths) ? paths[s->path] : "?", "blocked",
		(json_int_t)s->blocked, "refused", (json_int_t)s->refused, "forged", (json_int_t)s->forged, "restarts",
		(json_int_t)s->restarts);
}

static json_t *store_status(const struct core *core)
{
	return json_pack("{s:b, s:o}", "lasts", store_lasts(core->store), "why", core_text(core->store_why));
}

static json_t *sandbox_status(const struct sandbox_state *s)
{
	return json_pack("{s:b, s:b, s:i, s:s}", "wanted", s->wanted, "seccomp", s->seccomp, "landlock", s->landlock,
		"why", s->why);
}

/* PSS of us and netd, @netd of it its part; null where the kernel does not say. Buffers are part of the heap. */
static void put_memory(struct sg_json_out *out, const struct core *core, uint64_t netd)
{
	uint64_t pss = sg_memory_pss();

	sg_json_open(out, "memory", '{');
	sg_json_put_int(out, "heap", (int64_t)sg_alloc_live());
	sg_json_put_int(out, "buffers", (int64_t)links_buffers(core->links));
	sg_json_put_int(out, "resident", (int64_t)sg_memory_resident());
	if (pss)
		sg_json_put_int(out, "pss", (int64_t)(pss + netd));
	else
		sg_json_put_null(out, "pss");
	sg_json_close(out, '}');
}

/* Takes @v. */
static void put_new(struct sg_json_out *out, const char *name, json_t *v)
{
	sg_json_put_value(out, name, v);
	json_decref(v);
}

/* The first members of what is said of the visor. */
static struct sg_json_out begin(const struct core *core, const struct call *call)
{
	struct sg_json_out out = call_answer(call);

	sg_json_put_pk(&out, "pk", &core->pk);
	sg_json_put_text(&out, "version", SG_VERSION);
	sg_json_put_int(&out, "uptime_ms", sg_mono_ms_since(sg_loop_now(core->loop), core->started));
	sg_json_put_text(&out, "config", core->opt.config);
	return out;
}

/* Takes @kernel. @netd: bytes that it holds. */
static void answer(struct core *core, struct call *call, json_t *kernel, uint64_t netd)
{
	struct sg_json_out out = begin(core, call);
	int64_t streams = 0;

	route_each_stream(core->route, count_stream, &streams);
	sg_json_put_int(&out, "transports", (int64_t)links_count(core->links));
	sg_json_put_int(&out, "streams", streams);
	put_memory(&out, core, netd);
	put_lan_devices(&out, core->conf);
	put_uplink(&out, core->conf);
	put_new(&out, "vpn", plugin_status(core, "vpn.status"));
	put_new(&out, "kernel", kernel);
	put_new(&out, "sandbox", sandbox_status(&core->sandbox));
	put_new(&out, "services", net_status(core->net));
	put_new(&out, "store", store_status(core));
	put_new(&out, "dmsg", plugin_status(core, "dmsg.status"));
	net_services(core->net, &out, "directory");
	call_answered(call, &out);
}

struct wait {
	struct core *core;
	struct call *call;
};

static void on_counters(void *arg, int err, const struct sg_netd_msg *m, int fd)
{
	struct wait *w = arg;

	if (fd >= 0)
		close(fd);
	answer(w->core, w->call, m ? kernel_status(m, err) : json_null(), m && err == 0 ? m->u.status.memory : 0);
}

void method_visor_status(struct core *core, struct call *call, json_t *params)
{
	struct sg_netd_msg m = {.type = SG_NETD_COUNTERS};
	struct wait *w;
	int err;

	(void)params;
	if (!core->netd) {
		answer(core, call, json_null(), 0);
		return;
	}
	w = sg_calloc(1, sizeof(*w));
	if (!w) {
		call_done(call, NULL);
		return;
	}
	*w = (struct wait){core, call};
	/* The rules are read back from the kernel for this answer: nothing is called safe from memory. */
	err = netd_ask(core->netd, &m, -1, NULL, on_counters, w);
	if (err < 0) {
		sg_free(w);
		call_fail(call, SG_RPC_FAILED, "skygate-netd cannot be asked: %s", sg_strerror(err));
	}
}

/* ---- visor.show ---------------------------------------------------------------------------------------------------- */

static bool count_carrier(void *arg, const struct sg_link_info *i)
{
	json_t *by_type = arg, *old = json_object_get(by_type, i->carrier);

	json_object_set_new(by_type, i->carrier, json_integer(json_integer_value(old) + 1));
	return true;
}

static json_t *transports_by_type(const struct core *core)
{
	json_t *by_type = json_object();

	if (by_type)
		links_each(core->links, count_carrier, by_type);
	return by_type;
}

/* Ours are always there; those of plugins while they run. */
static json_t *networks(const struct core *core)
{
	json_t *list = json_pack("[s, s]", "direct", "skynet");

	sg_list_for (it, &core->plugins) {
		const struct plugin *p = sg_container_of(it, struct plugin, node);

		for (const struct sg_provide *v = p->desc->provides; list && v->kind != SG_PROVIDE_END; v++) {
			if (v->kind == SG_NETWORK && p->inst.state == INST_RUNNING)
				json_array_append_new(list, json_string(v->name));
		}
	}
	return list;
}

void method_visor_show(struct core *core, struct call *call, json_t *params)
{
	struct sg_json_out out = begin(core, call);

	(void)params;
	put_new(&out, "networks", networks(core));
	put_new(&out, "dmsg", plugin_status(core, "dmsg.status"));
	put_new(&out, "transports", transports_by_type(core));
	net_services(core->net, &out, "services");
	put_new(&out, "store", store_status(core));
	call_answered(call, &out);
}
