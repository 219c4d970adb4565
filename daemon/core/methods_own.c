/* log.…, config.…, counter.list: the daemon itself. */
#include "base/common.h"
#include "base/err.h"
#include "base/suggest.h"
#include "core/core.h"
#include "wire/jsonrpc.h"

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

/* ---- counters ------------------------------------------------------------------------------------------------------ */

static void add_counters(struct sg_json_out *out, const struct sg_counter *table, const void *base)
{
	for (const struct sg_counter *c = table; c && c->name; c++) {
		uint64_t value;

		memcpy(&value, (const char *)base + c->offset, sizeof(value));
		sg_json_open(out, NULL, '{');
		sg_json_put_text(out, "name", c->name);
		sg_json_put_int(out, "value", (int64_t)value);
		sg_json_put_text(out, "help", c->help);
		sg_json_close(out, '}');
	}
}

static const struct sg_counter loop_counter_table[] = {
#define COUNTER_ROW(member, name, help) {name, offsetof(struct sg_loop_counters, member), help},
	SG_LOOP_COUNTERS(COUNTER_ROW)
#undef COUNTER_ROW
		{NULL, 0, NULL}};

void method_counter_list(struct core *core, struct call *call, json_t *params)
{
	struct sg_json_out out = call_answer(call);

	(void)params;
	sg_json_open(&out, "counters", '[');
	add_counters(&out, loop_counter_table, sg_loop_counters(core->loop));
	add_counters(&out, link_counter_table, links_counters(core->links));
	add_counters(&out, route_counter_table, route_counters(core->route));
	sg_list_for (it, &core->plugins) {
		const struct plugin *p = sg_container_of(it, struct plugin, node);

		if (p->inst.state == INST_RUNNING)
			add_counters(&out, p->desc->counters, p->inst.ctx);
	}
	sg_json_close(&out, ']');
	call_answered(call, &out);
}
