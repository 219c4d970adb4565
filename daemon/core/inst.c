/*
 * Running instances. A plugin's stop() may end later; until then its dials are cancelled and nothing new reaches it.
 * What it leaves behind is released and told.
 */
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

SG_LOG_TOPIC("plugin");

#define STOP_LIMIT_MS 5000

static const char *name_of(const struct sg_inst *inst)
{
	return inst->plugin->desc->name;
}

/* Outside of stop() and of whatever the plugin called stopped() from. */
static void finish_stop(void *arg)
{
	struct sg_inst *inst = arg;
	inst_done_fn *done = inst->done;

	sg_timer_stop(&inst->stop_limit);
	host_release(inst);
	if (inst->state == INST_STOPPING) {
		inst->state = INST_STOPPED;
		inst->ctx = NULL;
		log_info("%s stopped", name_of(inst));
	}
	inst->done = NULL;
	if (done)
		done(inst->done_arg, inst);
}

/* It may call back later still, so its memory and its name stay; it is not started again. */
static void on_stop_limit(void *arg)
{
	struct sg_inst *inst = arg;

	snprintf(inst->why, sizeof(inst->why),
		"did not end within %d s of being told to; only a restart of skygated helps", STOP_LIMIT_MS / 1000);
	log_error("%s %s", name_of(inst), inst->why);
	inst->state = INST_FAILED;
	sg_defer_start(inst->core->loop, &inst->stop_done);
}

int inst_start(struct sg_inst *inst)
{
	const struct sg_plugin *d = inst->plugin->desc;
	int err;

	if (inst->state == INST_FAILED && inst->ctx)
		return SG_ESTATE;
	sg_timer_init(&inst->stop_limit, inst->core->loop, on_stop_limit, inst);
	sg_defer_init(&inst->stop_done, finish_stop, inst);
	inst->why[0] = '\0';
	inst->ctx = NULL;
	/* Plugins are loaded before there is a store. */
	inst->keys.store = inst->core->store;
	/* Before start(): what it starts may call back at once. */
	inst->state = INST_RUNNING;
	err = d->start(&core_host, inst, &inst->ctx, inst->why, sizeof(inst->why));
	if (err == 0) {
		plugin_networks(inst->plugin, true);
		if (plugin_store_ops(inst->plugin))
			store_provider(inst->core->store, plugin_store_ops(inst->plugin), inst->ctx);
		log_info("%s %s started", d->name, d->version);
		return 0;
	}
	inst->state = INST_FAILED;
	inst->ctx = NULL;
	host_release(inst);
	if (!inst->why[0])
		snprintf(inst->why, sizeof(inst->why), "%s", sg_strerror(err));
	return err;
}

void inst_stop(struct sg_inst *inst, inst_done_fn *done, void *arg)
{
	const struct sg_plugin *d = inst->plugin->desc;

	inst->done = done;
	inst->done_arg = arg;
	if (inst->state == INST_STOPPING)
		return;
	if (inst->state != INST_RUNNING) {
		sg_defer_init(&inst->stop_done, finish_stop, inst);
		sg_timer_init(&inst->stop_limit, inst->core->loop, on_stop_limit, inst);
		sg_defer_start(inst->core->loop, &inst->stop_done);
		return;
	}
	inst->state = INST_STOPPING;
	for (const struct sg_provide *v = d->provides; v->kind != SG_PROVIDE_END; v++) {
		if (v->kind == SG_CARRIER)
			links_carrier_stop(inst->core->links, v->name);
	}
	plugin_networks(inst->plugin, false);
	if (plugin_store_ops(inst->plugin))
		store_provider(inst->core->store, NULL, NULL);
	host_unlisten(inst);
	/* A failed start of this timer leaves only the limit away. */
	if (sg_timer_start(&inst->stop_limit, STOP_LIMIT_MS) < 0)
		log_warn("%s: memory is out: waiting for its end without a limit", d->name);
	d->stop(inst->ctx);
}

void inst_stopped(struct sg_inst *inst)
{
	if (inst->state == INST_STOPPING)
		sg_defer_start(inst->core->loop, &inst->stop_done);
	else if (inst->state == INST_FAILED)
		log_warn("%s ended late", name_of(inst));
	else
		log_warn("%s says that it stopped, but nobody told it to", name_of(inst));
}
