/*
 * Taking over a changed configuration:
 *
 *	check whole → netd applies → plugins that left stop → peers → each plugin reloads, or stops and starts, or starts
 *	                                                                          │ one does not start
 *	                                          the old configuration comes back ┘
 *
 * Until netd has applied it nothing has changed. When a plugin fails after that (a port was taken meanwhile), core goes
 * back to the old configuration; netd, who reads the file itself, keeps to the new one, which is the safe side.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <unistd.h>

SG_LOG_TOPIC("config");

struct reload {
	struct core *core;
	reload_done_fn *done;
	void *arg;
	struct sg_defer defer; /* the result, or the next step, outside of the caller */
	struct conf *other;    /* the one that is not in force: first the new, then the old one */
	struct findings findings;
	size_t next; /* plugin of the configuration in force that has its turn */
	bool back;   /* returning to the old one */
	int err;
	char why[CORE_WHY_MAX];
};

static void run_plugins(struct reload *r);

static void reload_release(struct reload *r)
{
	sg_defer_stop(&r->defer);
	if (r->core->netd)
		netd_forget(r->core->netd, r);
	conf_free(r->other);
	findings_fini(&r->findings);
	sg_free(r);
}

static void finish(void *arg)
{
	struct reload *r = arg;
	struct core *core = r->core;

	core->reload = NULL;
	if (r->err == 0)
		log_info("%s is in force", core->opt.config);
	r->done(r->arg, r->err, &r->findings, r->why);
	reload_release(r);
}

/* From now on this configuration: all but peers and plugins, which may fail. */
static void follow(struct core *core, struct conf *conf)
{
	core->conf = conf;
	core_apply_log(core);
	net_configure(core->net, conf->doc);
	routing_configure(core->routing, conf->doc);
	visors_configure(core->visors);
}

/* All but plugins. 0 or -ENOMEM: the peers stay as they were. */
static int put_in_force(struct core *core, struct conf *conf)
{
	follow(core, conf);
	return peers_apply(core, conf);
}

/* ---- plugins ------------------------------------------------------------------------------------------------------ */

static bool conf_has(const struct conf *c, const struct plugin *p)
{
	for (size_t i = 0; i < c->n_plugins; i++) {
		if (c->plugins[i] == p)
			return true;
	}
	return false;
}

static void go_back(struct reload *r, const struct plugin *p)
{
	struct core *core = r->core;
	struct conf *old = r->other;

	snprintf(r->why, sizeof(r->why),
		"plugin %s does not start with the new configuration: %.380s\n  the old one is in force again",
		p->desc->name, p->inst.why);
	log_error("plugin %s does not start with the new configuration: %s", p->desc->name, p->inst.why);
	r->err = SG_ESTATE;
	r->back = true;
	r->other = core->conf;
	r->next = 0;
	if (put_in_force(core, old) < 0)
		log_error("memory is out: the peers stay as the new configuration has them");
}

static void start_one(struct reload *r, struct plugin *p)
{
	if (inst_start(&p->inst) == 0)
		return;
	if (!r->back)
		go_back(r, p);
	else
		log_error("plugin %s does not start with the old configuration either: %s", p->desc->name, p->inst.why);
}

static void on_restart(void *arg, struct sg_inst *inst)
{
	struct reload *r = arg;

	start_one(r, inst->plugin);
	run_plugins(r);
}

static void on_left(void *arg, struct sg_inst *inst)
{
	(void)inst;
	run_plugins(arg);
}

/* The last one started among those that the configuration in force does not name. */
static struct plugin *find_leaving(const struct reload *r)
{
	struct plugin *found = NULL;

	sg_list_for (it, &r->core->plugins) {
		struct plugin *p = sg_container_of(it, struct plugin, node);

		if (p->inst.state == INST_RUNNING && !conf_has(r->core->conf, p))
			found = p;
	}
	return found;
}

static void run_plugins(struct reload *r)
{
	struct plugin *p = find_leaving(r);

	if (p) {
		inst_stop(&p->inst, on_left, r);
		return;
	}
	while (r->next < r->core->conf->n_plugins) {
		p = r->core->conf->plugins[r->next++];
		if (p->inst.state != INST_RUNNING) {
			start_one(r, p);
			if (r->back && find_leaving(r)) {
				run_plugins(r);
				return;
			}
		} else if (!p->desc->reload || p->desc->reload(p->inst.ctx) < 0) {
			inst_stop(&p->inst, on_restart, r);
			return;
		}
	}
	finish(r);
}

/* ---- the way there ------------------------------------------------------------------------------------------------ */

static void take_over(struct reload *r)
{
	struct core *core = r->core;
	struct conf *old = core->conf;

	r->err = put_in_force(core, r->other);
	if (r->err < 0) {
		follow(core, old);
		snprintf(r->why, sizeof(r->why), "%s; nothing was changed", sg_strerror(r->err));
		finish(r);
		return;
	}
	r->other = old;
	run_plugins(r);
}

struct applied {
	struct reload *r;
};

static void on_applied(void *arg, int err, const struct sg_netd_msg *answer, int fd)
{
	struct reload *r = ((struct applied *)arg)->r;

	if (fd >= 0)
		close(fd);
	if (err == 0) {
		take_over(r);
		return;
	}
	/* Not SG_ECONF, which stands for findings of our own. */
	r->err = SG_EREFUSED;
	snprintf(r->why, sizeof(r->why), "skygate-netd refuses the configuration: %.400s\n  nothing was changed",
		answer && answer->text[0] ? answer->text : sg_strerror(err));
	finish(r);
}

static int ask_netd(struct reload *r)
{
	struct sg_netd_msg m = {.type = SG_NETD_APPLY};
	struct applied *a = sg_calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->r = r;
	err = netd_ask(r->core->netd, &m, -1, r, on_applied, a);
	if (err < 0)
		sg_free(a);
	return err;
}

/* What only a new process can take over. */
static void check_fixed(struct reload *r)
{
	static const char *const fixed[] = {"identity", "user", "sandbox"};
	const struct conf *now = r->core->conf, *new = r->other;

	for (size_t i = 0; i < SG_ARRAY_LEN(fixed); i++) {
		const struct sg_uci_option *o = sg_uci_option(new->visor, fixed[i]);
		unsigned line = o ? o->line : new->visor->line;

		if (strcmp(sg_uci_get(now->visor, fixed[i], ""), sg_uci_get(new->visor, fixed[i], "")) != 0)
			findings_addf(&r->findings, line,
				"%s:%u: visor '%s': option %s cannot change while skygated runs\n"
				"  systemctl restart skygate",
				new->doc->file, line, new->visor->name, fixed[i]);
	}
}

static void begin(void *arg)
{
	struct reload *r = arg;

	r->err = conf_load(r->core, &r->findings, &r->other);
	if (r->err == 0) {
		check_fixed(r);
		if (r->findings.n)
			r->err = SG_ECONF;
	}
	if (r->err == 0 && r->core->netd)
		r->err = ask_netd(r);
	if (r->err < 0) {
		snprintf(r->why, sizeof(r->why), "%s; nothing was changed", sg_strerror(r->err));
		finish(r);
	} else if (!r->core->netd) {
		take_over(r);
	}
}

int reload_start(struct core *core, reload_done_fn *done, void *arg)
{
	struct reload *r;

	if (core->reload || core->stopping)
		return -EBUSY;
	r = sg_calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->core = core;
	r->done = done;
	r->arg = arg;
	findings_init(&r->findings);
	sg_defer_init(&r->defer, begin, r);
	sg_defer_start(core->loop, &r->defer);
	core->reload = r;
	return 0;
}

void reload_free(struct core *core)
{
	if (core->reload)
		reload_release(core->reload);
	core->reload = NULL;
}
