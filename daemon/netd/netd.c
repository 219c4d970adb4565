/*
 * Holds the parts together: events of the kernel, state, what is applied. Whatever happens, the answer is the same:
 * ask the state what shall be, and make it so.
 */
#include "netd/netd.h"
#include "base/err.h"
#include "base/log.h"

#include <signal.h>
#include <unistd.h>

SG_LOG_TOPIC("netd");

#define RETRY_MS  1000
#define SETTLE_MS 100 /* between two looks because of events: a storm of routes is looked at ten times a second */
#define NFT_MS    10  /* the same for the ruleset: while our table is gone, only the policy rules keep what they can */

static int spawn(void *arg, pid_t *pid)
{
	struct netd *n = arg;
	int sock = -1, err = spawn_core(&n->opt, &n->conf, pid, &sock);

	if (err == 0)
		err = session_open(n, sock);
	else
		return err;
	/* The child sees its end closed and leaves; it is reaped as any other. */
	if (err < 0)
		log_error("core's socket could not be watched: %s", sg_strerror(err));
	return 0;
}

static void kill_core(void *arg, pid_t pid, int signum)
{
	(void)arg;
	if (kill(pid, signum) < 0)
		log_error("core (process %d): no signal %d could be sent: %s", (int)pid, signum, sg_strerror(-errno));
}

static void core_gone(void *arg)
{
	struct netd *n = arg;

	session_close(n);
	netd_state_core_gone(&n->state);
	(void)netd_reconcile(n);
}

static void stopped(void *arg)
{
	struct netd *n = arg;

	netd_stopping(n);
	sg_loop_stop(n->loop);
}

static const struct supervisor_ops supervisor_ops = {spawn, kill_core, core_gone, stopped};

static void look(struct netd *n)
{
	unsigned changed = n->changed;

	n->changed = 0;
	if (changed & K_NFT)
		n->nft_looked = sg_loop_now(n->loop);
	(void)netd_reconcile(n);
	if (changed & ~(unsigned)K_NFT)
		session_changed(n, changed & ~(unsigned)K_NFT);
}

/* At once when it was quiet; what follows within the next moments is looked at together. */
static void on_event(void *arg, int fd, unsigned events)
{
	struct netd *n = arg;
	bool urgent;

	(void)events;
	for (size_t i = 0; i < K_EVENT_FDS; i++) {
		if (kernel_event_fd(n->kernel, i) == fd)
			n->changed |= kernel_events(n->kernel, i);
	}
	urgent = (n->changed & K_NFT) && sg_mono_ms_since(sg_loop_now(n->loop), n->nft_looked) >= NFT_MS;
	if (!n->changed || (sg_timer_active(&n->settle) && !urgent))
		return;
	look(n);
	(void)sg_timer_start(&n->settle, SETTLE_MS);
}

static void on_settled(void *arg)
{
	struct netd *n = arg;

	if (!n->changed)
		return;
	look(n);
	(void)sg_timer_start(&n->settle, SETTLE_MS);
}

static void on_again(void *arg)
{
	(void)netd_reconcile(arg);
}

int netd_init(struct netd *n, struct sg_loop *loop, struct kernel *kernel, const struct netd_options *opt,
	const struct netd_conf *conf, struct rundir *run)
{
	int err = 0;

	*n = (struct netd){.loop = loop, .kernel = kernel, .opt = *opt, .conf = *conf, .run = run, .tun = {-1, -1}};
	n->session.fd = -1;
	applier_init(&n->applier, kernel, n->run);
	n->applier.guards = true;
	netd_state_init(&n->state, sg_loop_now(loop), applier_found(kernel));
	supervisor_init(&n->supervisor, loop, &supervisor_ops, n);
	sg_timer_init(&n->again, loop, on_again, n);
	sg_timer_init(&n->settle, loop, on_settled, n);
	for (size_t i = 0; i < K_EVENT_FDS && err == 0; i++) {
		err = sg_watch_new(loop, kernel_event_fd(kernel, i), on_event, n, &n->events[i]);
		if (err == 0)
			sg_watch_set(n->events[i], SG_READABLE);
	}
	return err;
}

void netd_fini(struct netd *n)
{
	session_close(n);
	supervisor_fini(&n->supervisor);
	sg_timer_stop(&n->again);
	sg_timer_stop(&n->settle);
	for (size_t i = 0; i < K_EVENT_FDS; i++)
		sg_watch_free(n->events[i]);
	for (size_t i = 0; i < SG_ARRAY_LEN(n->tun); i++) {
		if (n->tun[i] >= 0)
			close(n->tun[i]);
	}
	applier_fini(&n->applier);
}

static void say_state(struct netd *n, enum netd_word word)
{
	static const char *const meanings[] = {"no rules: steered traffic leaves as if skygate were not there",
		"rules in, the VPN is not asked for: steered traffic is blocked",
		"no proven path: steered traffic is blocked", "steered traffic goes through the exit"};

	if (word != n->word)
		log_info("%s: %s", netd_word_str(word), meanings[word]);
	n->word = word;
}

int netd_reconcile(struct netd *n)
{
	struct netd_gate gate;
	int64_t next_ms;
	int lock = rundir_apply_lock(n->run), err;

	n->state.disarmed = rundir_disarmed(n->run);
	gate = netd_state_gate(&n->state, &n->conf, sg_loop_now(n->loop), &next_ms);
	err = applier_apply(&n->applier, &n->conf, &gate);
	rundir_apply_unlock(lock);
	if (err == 0)
		say_state(n, gate.word);
	else
		next_ms = next_ms >= 0 ? SG_MIN(next_ms, RETRY_MS) : RETRY_MS;
	if (next_ms >= 0)
		(void)sg_timer_start(&n->again, next_ms);
	else
		sg_timer_stop(&n->again);
	return err;
}

struct findings {
	char *why;
	size_t cap;
};

/* The first finding goes into the answer, all go to the log. */
static void on_finding(void *arg, unsigned line, const char *message)
{
	struct findings *f = arg;

	(void)line;
	if (f->cap && !f->why[0])
		snprintf(f->why, f->cap, "%s", message);
	log_error("%s", message);
}

int netd_reload(struct netd *n, char *why, size_t cap)
{
	struct findings f = {why, cap};
	struct netd_conf conf;
	int err;

	if (cap)
		why[0] = '\0';
	err = netd_conf_load(n->opt.config, on_finding, &f, &conf);
	if (err == 0 && conf.server)
		err = netd_pool_ok(n->kernel, &conf, why, cap);
	if (err == 0 && (conf.uid != n->conf.uid || conf.gid != n->conf.gid)) {
		snprintf(why, cap, "option user: core's user cannot change while it runs:  systemctl restart skygate");
		err = SG_ECONF;
	}
	if (err < 0) {
		log_error("%s: not taken over, nothing was changed", n->opt.config);
		return err;
	}
	log_info("%s: read again: mode %s, kill switch %s, %zu LAN interface%s%s", n->opt.config,
		conf.mode == NETD_OFF   ? "off"
		: conf.mode == NETD_VPN ? "vpn"
					: "host",
		conf.kill_switch ? "on" : "off", conf.n_lans, conf.n_lans == 1 ? "" : "s", conf.server ? ", exit" : "");
	n->conf = conf;
	err = netd_reconcile(n);
	netd_tun_settle(n);
	return err;
}

void netd_look_again(struct netd *n)
{
	bool was = n->state.disarmed;

	/* The owner has spoken: mode host does not wait for core to. */
	n->state.path_known = true;
	(void)netd_reconcile(n);
	if (was != n->state.disarmed)
		log_info("%s", n->state.disarmed ? "disarmed by the owner, until skygate-netd --arm or a restart"
						 : "armed again by the owner");
}

void netd_stopping(struct netd *n)
{
	n->state.stopping = true;
	(void)netd_reconcile(n);
	if (n->word != NETD_IS_OFF)
		log_warn("stopped; the kill switch stays closed and steered traffic blocked. To open:  "
			 "skygate-netd --disarm");
}
