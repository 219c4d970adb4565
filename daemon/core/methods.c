/* Which function answers which method of core (wire/methods.c), and what several of them need. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/suggest.h"
#include "core/core.h"
#include "wire/jsonrpc.h"

const struct method core_methods[] = {
	{"visor.status", method_visor_status},
	{"visor.show", method_visor_show},
	{"config.check", method_config_check},
	{"config.reload", method_config_reload},
	{"transport.list", method_transport_list},
	{"transport.add", method_transport_add},
	{"transport.rm", method_transport_rm},
	{"service.list", method_service_list},
	{"exit.list", method_exit_list},
	{"stream.list", method_stream_list},
	{"route.list", method_route_list},
	{"route.find", method_route_find},
	{"visor.ping", method_visor_ping},
	{"counter.list", method_counter_list},
	{"plugin.list", method_plugin_list},
	{"log.follow", method_log_follow},
	{"log.level", method_log_level},
	{NULL, NULL},
};

json_t *core_text(const char *s)
{
	json_t *text = json_string(s);
	char *copy;

	if (text)
		return text;
	copy = sg_strdup(s);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	text = json_string(copy);
	sg_free(copy);
	return text;
}

json_t *core_pk(const struct sg_pk *pk)
{
	char hex[SG_PK_TEXT];

	return json_string(sg_pk_str(pk, hex));
}

/* ---- log --------------------------------------------------------------------------------------------------------- */

#define LOG_SHOWN 40
#define LOG_BYTES 32768

void method_log_follow(struct core *core, struct call *call, json_t *params)
{
	uint64_t seq = logs_seq(core->logs, LOG_SHOWN), lost;
	json_t *lines = json_array(), *line;
	size_t bytes = 0;

	while (lines && bytes < LOG_BYTES && (line = logs_next(core->logs, &seq, &lost))) {
		bytes += json_string_length(json_object_get(line, "text")) + 100;
		if (json_array_append_new(lines, line) < 0)
			break;
	}
	if (json_is_true(json_object_get(params, "follow")))
		call_follow_logs(call, seq);
	call_done(call, lines ? json_pack("{s:o}", "lines", lines) : NULL);
}

struct topics {
	struct sg_text text;
	struct sg_suggest near;
};

static void add_topic(void *arg, const char *name)
{
	struct topics *t = arg;

	sg_text_addf(&t->text, "%s%s", t->text.len ? ", " : "", name);
	sg_suggest_try(&t->near, name);
}

static void refuse_topic(struct call *call, const char *topic)
{
	char list[400];
	struct topics t = {sg_text(list, sizeof(list)), sg_suggest(topic)};

	sg_log_each_topic(add_topic, &t);
	call_fail(call, SG_RPC_PARAMS, "'%.40s' is no topic of the log\n  accepted: %s%s%s%s", topic, list,
		t.near.best ? "        did you mean '" : "", t.near.best ? t.near.best : "", t.near.best ? "'?" : "");
}

void method_log_level(struct core *core, struct call *call, json_t *params)
{
	const char *level = json_string_value(json_object_get(params, "level"));
	const char *topic = json_string_value(json_object_get(params, "topic"));
	int err = sg_log_set_level(topic, level);

	(void)core;
	if (err == SG_EMALF)
		call_fail(call, SG_RPC_PARAMS, "'%.20s' is not a level\n  accepted: error, warn, info, debug", level);
	else if (err < 0)
		refuse_topic(call, topic);
	else
		call_done(call, json_pack("{s:s, s:s?}", "level", level, "topic", topic));
}

/* ---- configuration ------------------------------------------------------------------------------------------------ */

static json_t *findings_result(struct core *core, bool ok, const struct findings *f)
{
	return json_pack("{s:b, s:s, s:I, s:o}", "ok", ok, "file", core->opt.config, "errors", (json_int_t)f->n,
		"findings", findings_json(f));
}

void method_config_check(struct core *core, struct call *call, json_t *params)
{
	struct findings f;
	struct conf *conf;
	int err;

	(void)params;
	findings_init(&f);
	err = conf_load(core, &f, &conf);
	conf_free(conf);
	call_done(call, err == -ENOMEM ? NULL : findings_result(core, err == 0, &f));
	findings_fini(&f);
}

static void on_reloaded(void *arg, int err, const struct findings *f, const char *why)
{
	struct call *call = arg;
	struct core *core = call_core(call);

	if (err == 0 || err == SG_ECONF)
		call_done(call, findings_result(core, err == 0, f));
	else
		call_fail(call, SG_RPC_FAILED, "%s", why);
}

void method_config_reload(struct core *core, struct call *call, json_t *params)
{
	int err;

	(void)params;
	err = reload_start(core, on_reloaded, call);
	if (err == -EBUSY)
		call_fail(call, SG_RPC_FAILED, "a reload is under way already");
	else if (err < 0)
		call_fail(call, SG_RPC_FAILED, "%s", sg_strerror(err));
}
