/*
 * Life of the daemon. Start: configuration → lock → key → files closed off → loop, links, streams → netd → control →
 * plugins in their order → system calls closed off. Stop: plugins in reverse, each until it says so, then the rest
 * backwards; what is then left on the loop was leaked, and is told.
 */
#include "core/core.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "wire/netd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

SG_LOG_TOPIC("core");

#define TRAFFIC_MS 60000 /* between two looks at what the links carried */

static int SG_PRINTF(1, 2) say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("skygated: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return 1;
}

void core_init(struct core *core, const struct core_options *opt)
{
	*core = (struct core){.opt = *opt, .lock_fd = -1};
	sg_list_init(&core->plugins);
	sg_list_init(&core->extra);
}

static int load_conf(struct core *core)
{
	struct findings f;
	int err;

	core->crypto = sg_crypto_new(sg_random_system());
	if (!core->crypto)
		return say("memory is out");
	findings_init(&f);
	err = conf_load(core, &f, &core->conf);
	if (err == -ENOMEM)
		say("memory is out");
	else if (err < 0)
		findings_print(&f, stderr);
	findings_fini(&f);
	return err == SG_ECONF ? SG_CORE_NOT_VALID : err < 0;
}

void core_apply_log(const struct core *core)
{
	sg_log_set_level(NULL, sg_uci_get(core->conf->visor, "log_level", "info"));
	sg_log_hide_addresses(sg_uci_bool(core->conf->visor, "hide_addresses", false));
}

/* ---- start -------------------------------------------------------------------------------------------------------- */

/* One skygated per directory: the socket in it is then ours to replace. */
static int lock_run_dir(struct core *core)
{
	char path[4096], pid[32] = "";
	struct stat st;
	ssize_t n;

	if (stat(core->opt.run_dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return say("--run %s: no such directory\n  install -d -o %u -m 0750 %s", core->opt.run_dir,
			(unsigned)geteuid(), core->opt.run_dir);
	if (snprintf(path, sizeof(path), "%s/skygated.lock", core->opt.run_dir) >= (int)sizeof(path))
		return say("--run: the path is too long");
	core->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (core->lock_fd < 0)
		return say("%s: %s\n  user %u must be able to write into the directory", path, strerror(errno),
			(unsigned)geteuid());
	if (flock(core->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		n = pread(core->lock_fd, pid, sizeof(pid) - 1, 0);
		pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
		return say("another skygated runs with --run %s%s%s\n  end it:  systemctl stop skygate      or give "
			   "this one its own"
			   "  --run DIR --state DIR",
			core->opt.run_dir, pid[0] ? ", process " : "", pid);
	}
	snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (ftruncate(core->lock_fd, 0) < 0 || pwrite(core->lock_fd, pid, strlen(pid), 0) < 0)
		return say("%s: cannot be written: %s", path, strerror(errno));
	return 0;
}

int core_identity(struct core *core, char *why, size_t cap)
{
	const struct sg_uci_section *s;
	int err = identity_read(core->crypto, sg_uci_get(core->conf->visor, "identity", ""), &core->sk, why, cap);

	if (err == 0)
		err = sg_pk_of(core->crypto, &core->sk, &core->pk);
	s = err == 0 ? peers_configured(core, &core->pk) : NULL;
	if (!s)
		return err;
	snprintf(why, cap,
		"%s:%u: peer '%s' has this visor's own key\n  it wants the key of the other one:  skygate status  "
		"there",
		core->opt.config, s->line, s->name);
	return SG_EKEY;
}

static void on_reload_done(void *arg, int err, const struct findings *f, const char *why)
{
	(void)arg;
	if (err == SG_ECONF)
		findings_print(f, stderr);
	else if (err < 0)
		say("reload: %s", why);
}

static void on_signal(void *arg, int signum)
{
	struct core *core = arg;

	if (signum != SIGHUP)
		core_stop(core, 0);
	else if (reload_start(core, on_reload_done, core) < 0)
		log_warn("a reload is under way already");
}

static struct sg_net *make_net(struct core *core)
{
	struct sg_net_conf conf = {.loop = core->loop,
		.worker = core->worker,
		.crypto = core->crypto,
		.pk = core->pk,
		.sk = core->sk,
		.keys = &core->net_keys};
	struct sg_net *net;

	core->net_keys = (struct store_space){core->store, core, "net"};
	core->keys = (struct store_space){core->store, &core->keys, "core"};
	net = net_new(&conf);

	sg_wipe(&conf.sk, sizeof(conf.sk));
	core->identity = (struct sg_identity){sizeof(core->identity), core->crypto, &core->pk, &core->sk};
	if (net)
		net_configure(net, core->conf->doc);
	return net;
}

/*
 * Before everything that keeps something there. One that does not start costs what it would have kept, no more: the rest
 * runs, and status says so.
 */
static void start_stores(struct core *core)
{
	for (size_t i = 0; i < core->conf->n_plugins; i++) {
		struct sg_inst *inst = &core->conf->plugins[i]->inst;

		if (!plugin_store_ops(inst->plugin) || inst_start(inst) == 0)
			continue;
		snprintf(core->store_why, sizeof(core->store_why), "%s", inst->why);
		log_error("plugin %s does not start: %s", inst->plugin->desc->name, inst->why);
	}
	if (!store_lasts(core->store))
		log_info("what this visor learns is kept in memory and gone after a restart%s",
			core->store_why[0] ? "" : "; list plugin 'storage-sqlite' would keep it");
}

static bool count_traffic(void *arg, const struct sg_link_info *i)
{
	struct core *core = arg;

	net_traffic(core->net, &i->id, i->rx_payload, i->tx_payload, false);
	return true;
}

static void on_traffic(void *arg)
{
	struct core *core = arg;

	links_each(core->links, count_traffic, core);
	sg_timer_start(&core->traffic, TRAFFIC_MS);
}

static int make_loop(struct core *core)
{
	struct sg_links_conf links = {.crypto = core->crypto,
		.sk = core->sk,
		.pk = core->pk,
		.host = &core_links_host,
		.host_arg = core,
		.quiet_ms = SG_LINK_QUIET_MS};

	core->loop = links.loop = sg_loop_new(sg_clock_system());
	if (!core->loop)
		return say("memory or descriptors are out");
	core->started = sg_loop_now(core->loop);
	if (logs_new(core->loop, control_logs_wake, core, &core->logs) < 0)
		return say("memory is out");
	if (sg_signal_watch(core->loop, SIGTERM, on_signal, core) < 0 ||
		sg_signal_watch(core->loop, SIGINT, on_signal, core) < 0 ||
		sg_signal_watch(core->loop, SIGHUP, on_signal, core) < 0)
		return say("memory or descriptors are out");
	json_object_seed(0); /* by one thread, before there are two */
	core->worker = links.worker = sg_worker_new(core->loop);
	if (!core->worker)
		log_warn("no second thread can be had: handshakes of others will delay the traffic");
	core->store = store_new(core->loop, store_wall_s);
	if (!core->store)
		return say("memory is out");
	start_stores(core);
	core->foreign = foreign_new(core->opt.run_dir);
	core->links = core->foreign ? links_new(&links) : NULL;
	sg_wipe(&links.sk, sizeof(links.sk));
	core->route = core->links ? route_new(core->links) : NULL;
	core->net = core->route ? make_net(core) : NULL;
	sg_timer_init(&core->traffic, core->loop, on_traffic, core);
	if (core->net)
		on_traffic(core);
	core->routing = core->net ? routing_new(core->net, core->links, core->route) : NULL;
	if (!core->routing)
		return say("memory is out");
	routing_configure(core->routing, core->conf->doc);
	return 0;
}

static int start_services(struct core *core)
{
	char why[CORE_WHY_MAX] = "";
	int err;

	if (core->opt.netd_fd >= 0) {
		err = netd_new(core, core->opt.netd_fd, &core->netd);
		core->opt.netd_fd = -1;
		if (err < 0)
			return say("--netd-fd: %s\n  it is for skygate-netd, which starts skygated", sg_strerror(err));
	}
	if (control_new(core, &core->control, why, sizeof(why)) < 0)
		return say("%s", why);
	return 0;
}

static int start_plugins(struct core *core)
{
	for (size_t i = 0; i < core->conf->n_plugins; i++) {
		struct sg_inst *inst = &core->conf->plugins[i]->inst;

		if (plugin_store_ops(inst->plugin))
			continue;
		if (inst_start(inst) < 0)
			return say("plugin %s does not start: %s", inst->plugin->desc->name, inst->why);
	}
	/* Carriers are there now: dials can begin. */
	if (peers_apply(core, core->conf) < 0)
		return say("memory is out");
	peers_start(core);
	return visors_new(core, &core->visors) < 0 ? say("memory is out") : 0;
}

static int start(struct core *core)
{
	char why[CORE_WHY_MAX] = "";
	int status = load_conf(core);

	if (status == 0)
		status = lock_run_dir(core);
	if (status)
		return status;
	core_apply_log(core);
	if (core_identity(core, why, sizeof(why)) < 0) {
		say("%s", why);
		return SG_CORE_NOT_VALID;
	}
	core->sandbox.wanted = sg_uci_bool(core->conf->visor, "sandbox", true);
	sandbox_files(core, &core->sandbox);
	status = make_loop(core);
	if (status == 0)
		status = start_services(core);
	if (status == 0)
		status = start_plugins(core);
	return status;
}

/* ---- stop --------------------------------------------------------------------------------------------------------- */

static void stop_next(struct core *core);

static void on_inst_stopped(void *arg, struct sg_inst *inst)
{
	(void)inst;
	stop_next(arg);
}

static bool runs(const struct plugin *p)
{
	return p->inst.state == INST_RUNNING || p->inst.state == INST_STOPPING;
}

static struct plugin *last_running(const struct core *core)
{
	struct plugin *found = NULL;

	/* The store last: the others may have something to leave there. */
	for (size_t i = core->conf->n_plugins; i > 0; i--) {
		if (!plugin_store_ops(core->conf->plugins[i - 1]) && runs(core->conf->plugins[i - 1]))
			return core->conf->plugins[i - 1];
	}
	/* In the middle of a reload some may run that no configuration names. */
	sg_list_for (it, &core->plugins) {
		struct plugin *p = sg_container_of(it, struct plugin, node);

		if (runs(p) && (!found || plugin_store_ops(found) || !plugin_store_ops(p)))
			found = p;
	}
	return found;
}

static void stop_next(struct core *core)
{
	struct plugin *p = last_running(core);

	if (p)
		inst_stop(&p->inst, on_inst_stopped, core);
	else
		sg_loop_stop(core->loop);
}

static void on_left(void *arg)
{
	stop_next(arg);
}

void core_stop(struct core *core, int status)
{
	if (core->stopping)
		return;
	core->stopping = true;
	core->status = status;
	log_info("stopping");
	reload_free(core);
	/* While the plugins still carry it: services are told that we go. */
	if (core->net) {
		links_each(core->links, count_traffic, core);
		sg_timer_stop(&core->traffic);
		net_leave(core->net, on_left, core);
	} else {
		stop_next(core);
	}
}

static void tell_leaks(const struct core *core)
{
	size_t timers, watches;

	sg_loop_count(core->loop, &timers, &watches);
	if (timers || watches)
		log_warn("leaked %zu timer%s and %zu watch%s", timers, timers == 1 ? "" : "s", watches,
			watches == 1 ? "" : "es");
}

void core_fini(struct core *core)
{
	reload_free(core);
	netd_free(core->netd);
	core->netd = NULL;
	control_free(core->control);
	core->control = NULL;
	routing_free(core->routing);
	visors_free(core->visors);
	core->visors = NULL;
	net_free(core->net);
	core->net = NULL; /* links still end */
	route_free(core->route);
	links_free(core->links);
	foreign_free(core->foreign);
	store_free(core->store);
	sg_worker_free(core->worker);
	if (core->loop)
		tell_leaks(core);
	/* A wake of the log may be on its way through the loop. */
	logs_stop(core->logs);
	sg_loop_free(core->loop);
	logs_free(core->logs);
	peers_free(core);
	conf_free(core->conf);
	plugins_free(core);
	sg_crypto_free(core->crypto);
	sg_wipe(&core->sk, sizeof(core->sk));
	if (core->lock_fd >= 0)
		close(core->lock_fd);
	if (core->opt.netd_fd >= 0)
		close(core->opt.netd_fd);
}

int core_run(struct core *core)
{
	int status = start(core);
	char pk[SG_PK_SHORT];

	if (status && !core->loop)
		return status;
	if (status) {
		core_stop(core, status);
	} else if (!core->stopping) {
		sandbox_calls(&core->sandbox);
		log_info("visor %s is up, version " SG_VERSION "%s%s", sg_pk_short(&core->pk, pk),
			core->sandbox.why[0] ? "; " : "", core->sandbox.why);
	}
	/* Also after a failed start: those plugins that did start end in their own time. */
	sg_loop_run(core->loop);
	return core->status;
}
