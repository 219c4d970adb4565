/*
 * skygate-netd: the service that init knows. Without a verb it governs the kernel's rules and keeps core running;
 * --arm and --disarm do one thing and return when it is done.
 *
 * Exit status: 0 done, 1 it failed, 2 the command or the configuration was wrong.
 */
#include "netd/netd.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

SG_LOG_TOPIC("netd");

#define WAIT_MS 2000     /* for a living netd, from when it was told */
#define WAIT_NS 10000000 /* between two looks at what it has done */

static const char usage[] =
	"usage: skygate-netd [--arm | --disarm] [OPTION…]\n"
	"Governs the kernel's rules for skygate and keeps skygated running.\n"
	"\n"
	"  --arm            close: rules in, steered traffic blocked until the VPN is proven; for boot, may be "
	"repeated\n"
	"  --disarm         open: every rule of ours removed, sysctls as before; works without a running skygate too\n"
	"  --config FILE    default /etc/skygate/skygate.conf, on OpenWrt /etc/config/skygate\n"
	"  --run DIR        default /run/skygate\n"
	"  --state DIR      default /var/lib/skygate\n"
	"  --plugins DIR    handed to skygated\n"
	"  --core FILE      skygated, when it is not beside this program\n"
	"  -h, --help       this text\n"
	"  --version\n";

enum verb { VERB_RUN, VERB_ARM, VERB_DISARM };

struct command {
	enum verb verb;
	struct netd_options opt;
	char core[512];
};

static int complain(int status, const char *sentence)
{
	fprintf(stderr, "skygate-netd: %s\n", sentence);
	return status;
}

static void on_finding(void *arg, unsigned line, const char *message)
{
	(void)arg;
	(void)line;
	fprintf(stderr, "%s\n", message);
}

static void no_finding(void *arg, unsigned line, const char *message)
{
	(void)arg;
	(void)line;
	(void)message;
}

/* ---- the command line ------------------------------------------------------------------------------------------- */

static void find_core(struct command *c)
{
	ssize_t n = readlink("/proc/self/exe", c->core, sizeof(c->core) - 16);
	char *slash;

	c->core[n > 0 ? n : 0] = '\0';
	slash = strrchr(c->core, '/');
	if (slash)
		snprintf(slash + 1, sizeof(c->core) - (size_t)(slash + 1 - c->core), "skygated");
	c->opt.core = c->core;
}

/* -1: go on; otherwise the exit status. */
static int parse_args(int argc, char **argv, struct command *c)
{
	const struct {
		const char *name;
		const char **value;
	} options[] = {{"--config", &c->opt.config}, {"--run", &c->opt.run}, {"--state", &c->opt.state},
		{"--plugins", &c->opt.plugins}, {"--core", &c->opt.core}};

	for (int i = 1; i < argc; i++) {
		size_t o = 0;

		if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
			fputs(usage, stdout);
			return 0;
		}
		if (strcmp(argv[i], "--version") == 0) {
			puts("skygate-netd " SG_VERSION);
			return 0;
		}
		if (strcmp(argv[i], "--arm") == 0 || strcmp(argv[i], "--disarm") == 0) {
			c->verb = argv[i][2] == 'a' ? VERB_ARM : VERB_DISARM;
			continue;
		}
		while (o < SG_ARRAY_LEN(options) && strcmp(argv[i], options[o].name) != 0)
			o++;
		if (o == SG_ARRAY_LEN(options)) {
			fprintf(stderr, "skygate-netd: %s is not an option. What there is:  skygate-netd --help\n",
				argv[i]);
			return 2;
		}
		if (++i == argc) {
			fprintf(stderr, "skygate-netd: %s wants a value behind it. Look:  skygate-netd --help\n",
				argv[i - 1]);
			return 2;
		}
		*options[o].value = argv[i];
	}
	return -1;
}

/* ---- --arm and --disarm ------------------------------------------------------------------------------------------ */

static struct sg_mono now(void)
{
	struct sg_clock *clock = sg_clock_system();

	return clock->now(clock);
}

/* Beside a living netd: it was told, now its work is waited for. */
static bool wait_for(struct kernel *k, bool (*there)(struct kernel *k), bool wanted, struct sg_mono told)
{
	const struct timespec pause = {.tv_nsec = WAIT_NS};

	while (there(k) != wanted) {
		if (sg_mono_ms_since(now(), told) > WAIT_MS)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static int apply_once(struct kernel *k, struct rundir *run, const struct netd_conf *conf, enum netd_word word)
{
	const struct netd_gate gate = {.word = word};
	struct applier a;
	int err;

	applier_init(&a, k, run);
	err = applier_apply(&a, conf, &gate);
	applier_fini(&a);
	return err;
}

/* Under the lock, so that a netd that starts meanwhile comes before or behind it. *living: that one will do it. */
static int arm_or_tell(struct kernel *k, struct rundir *run, const struct netd_conf *conf, bool *living)
{
	int lock = rundir_apply_lock(run), err = rundir_set_disarmed(run, false);
	pid_t pid = rundir_holder(run);

	*living = pid > 0 && kill(pid, SIGUSR1) == 0;
	if (err == 0 && !*living && conf->mode != NETD_OFF && conf->kill_switch)
		err = apply_once(k, run, conf, NETD_IS_ARMED);
	rundir_apply_unlock(lock);
	return err;
}

static int arm(struct kernel *k, struct rundir *run, const struct netd_conf *conf)
{
	bool living;
	int err = arm_or_tell(k, run, conf, &living);

	if (conf->mode == NETD_OFF || !conf->kill_switch) {
		printf("nothing to arm: %s\n",
			conf->mode == NETD_OFF ? "the mode of vpn_client is 'off'" : "option kill_switch is off");
		return 0;
	}
	if (err == 0 && living)
		return wait_for(k, applier_found, true, now())
			       ? 0
			       : complain(1, "the running skygate-netd did not arm within 2 s. Look why:  "
					     "journalctl -u skygate -n 20");
	if (err < 0) {
		fprintf(stderr, "skygate-netd: not armed: %s\n", sg_strerror(err));
		return 1;
	}
	puts("armed: steered traffic is blocked until the VPN is proven. To open:  skygate-netd --disarm");
	return 0;
}

/*
 * The guard is the living one's alone and goes with it. One that hangs is ended, for it must not keep the owner from
 * opening; init's next one does not close again. One that was stopped in the midst of applying has the lock: the wait for
 * that counts.
 */
static bool let_go(struct kernel *k, struct rundir *run, pid_t living, struct sg_mono told)
{
	if (wait_for(k, kernel_guarded, false, told))
		return true;
	if (rundir_disarm_next(run) < 0 || kill(living, SIGKILL) < 0)
		return false;
	printf("the running skygate-netd (process %d) did not answer for 2 s and was ended\n", (int)living);
	return wait_for(k, kernel_guarded, false, now());
}

static int disarm(struct kernel *k, struct rundir *run, const struct netd_conf *conf)
{
	struct netd_conf nothing;
	struct sg_mono told = now();
	int lock;
	pid_t living = rundir_holder(run);
	/* First the word that it is to stay open: a living netd asks for it before each of its steps. */
	int err = living > 0 ? rundir_set_disarmed(run, true) : 0;

	netd_conf_init(&nothing);
	nothing.table = conf->table;
	if (err < 0)
		fprintf(stderr, "skygate-netd: %s/disarmed could not be written: %s; the running one may arm again\n",
			run->path, sg_strerror(err));
	if (living > 0)
		(void)kill(living, SIGUSR1);
	lock = rundir_apply_lock(run);
	err = apply_once(k, run, &nothing, NETD_IS_OFF);
	rundir_apply_unlock(lock);
	if (err < 0) {
		fprintf(stderr, "skygate-netd: not everything could be removed: %s\n", sg_strerror(err));
		return 1;
	}
	if (living > 0 && !let_go(k, run, living, told)) {
		fprintf(stderr,
			"skygate-netd: the running one (process %d) does not let go of table inet " NETD_GUARD
			". End it:  kill -9 %d\n",
			(int)living, (int)living);
		return 1;
	}
	puts(living > 0 ? "disarmed, until  skygate-netd --arm  or a restart of the service: traffic leaves as before"
			: "disarmed: every rule of ours is gone, traffic leaves as before");
	return 0;
}

/* ---- the service -------------------------------------------------------------------------------------------------- */

static void on_signal(void *arg, int signum)
{
	struct netd *n = arg;
	char why[NETD_WHY];
	int status;

	switch (signum) {
	case SIGCHLD:
		if (n->supervisor.pid > 0 && waitpid(n->supervisor.pid, &status, WNOHANG) == n->supervisor.pid)
			supervisor_ended(&n->supervisor, status);
		break;
	case SIGHUP:
		(void)netd_reload(n, why, sizeof(why));
		supervisor_hurry(&n->supervisor);
		break;
	case SIGUSR1:
		netd_look_again(n);
		break;
	default:
		supervisor_stop(&n->supervisor);
	}
}

static int watch_signals(struct sg_loop *loop, struct netd *n)
{
	static const int signals[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT};
	int err = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(signals) && err == 0; i++)
		err = sg_signal_watch(loop, signals[i], on_signal, n);
	signal(SIGPIPE, SIG_IGN);
	return err;
}

/* core's own place, when init has not made it. */
static void make_state_dir(const struct netd_options *opt, const struct netd_conf *conf)
{
	if (mkdir(opt->state, 0700) == 0 && chown(opt->state, conf->uid, conf->gid) < 0)
		log_warn("%s: could not be given to core's user: %s", opt->state, sg_strerror(-errno));
}

static int serve(struct kernel *k, struct rundir *run, const struct netd_options *opt, const struct netd_conf *conf)
{
	struct sg_loop *loop = sg_loop_new(sg_clock_system());
	struct netd n;
	int err;

	if (!loop) {
		return complain(1, "out of memory");
	}
	err = netd_init(&n, loop, k, opt, conf, run);
	if (err == 0)
		err = watch_signals(loop, &n);
	if (err == 0)
		err = rundir_started(run);
	if (err == 0) {
		/* Closed before core is there; what fails is tried again. */
		(void)netd_reconcile(&n);
		netd_tun_settle(&n);
		supervisor_start(&n.supervisor);
		sg_loop_run(loop);
	} else {
		fprintf(stderr, "skygate-netd: could not start: %s\n", sg_strerror(err));
	}
	netd_fini(&n);
	sg_loop_free(loop);
	return err == 0 ? 0 : 1;
}

static int start_service(struct kernel *k, struct rundir *run, const struct command *c, const struct netd_conf *conf)
{
	char why[NETD_WHY] = "";
	pid_t holder;
	int err;

	if (access(c->opt.core, X_OK) < 0) {
		fprintf(stderr, "skygate-netd: %s cannot be run: %s. Where is skygated? Name it:  --core FILE\n",
			c->opt.core, sg_strerror(-errno));
		return 1;
	}
	/* Whoever sees the lock tells us by it. Before we listen, it is not to end us; we read the word itself later. */
	signal(SIGUSR1, SIG_IGN);
	err = rundir_lock(run, &holder);
	if (err == -EEXIST) {
		fprintf(stderr,
			"skygate-netd: another one (process %d) governs %s already. Stop it:  systemctl stop skygate   "
			"   "
			"or give this one a place of its own:  --run DIR\n",
			(int)holder, run->path);
		return 1;
	}
	if (err < 0) {
		fprintf(stderr, "skygate-netd: %s/netd.lock: %s\n", run->path, sg_strerror(err));
		return 1;
	}
	if (conf->server && netd_pool_ok(k, conf, why, sizeof(why)) < 0) {
		fprintf(stderr, "%s: %s\n", c->opt.config, why);
		return 2;
	}
	make_state_dir(&c->opt, conf);
	if (privilege_reduce(why, sizeof(why)) < 0)
		return complain(1, why);
	return serve(k, run, &c->opt, conf);
}

static int with_kernel(const struct command *c, const struct netd_conf *conf)
{
	char why[NETD_WHY] = "";
	struct rundir run;
	struct kernel *k;
	int status;

	if (c->verb != VERB_RUN && privilege_follow(c->opt.run, why, sizeof(why)) < 0)
		return complain(1, why);
	if (kernel_open(&k, why, sizeof(why)) < 0)
		return complain(1, why);
	if (rundir_open(&run, c->opt.run, conf->gid, why, sizeof(why)) < 0) {
		kernel_close(k);
		return complain(1, why);
	}
	if (c->verb == VERB_ARM)
		status = arm(k, &run, conf);
	else if (c->verb == VERB_DISARM)
		status = disarm(k, &run, conf);
	else
		status = start_service(k, &run, c, conf);
	rundir_close(&run);
	kernel_close(k);
	return status;
}

int main(int argc, char **argv)
{
	struct command c = {.opt = {.run = "/run/skygate", .state = "/var/lib/skygate"}};
	struct netd_conf conf;
	char why[NETD_WHY] = "";
	int status;

	/* Where who called us ignores it, so would we, and no child of ours could be waited for. */
	signal(SIGCHLD, SIG_DFL);
	find_core(&c);
	c.opt.config = access("/etc/config/skygate", F_OK) == 0 ? "/etc/config/skygate" : "/etc/skygate/skygate.conf";
	status = parse_args(argc, argv, &c);
	if (status >= 0)
		return status;
	if (netd_conf_load(c.opt.config, c.verb == VERB_DISARM ? no_finding : on_finding, NULL, &conf) < 0) {
		/* --disarm must work with whatever is in the configuration, or without one. */
		if (c.verb != VERB_DISARM)
			return 2;
		netd_conf_init(&conf);
	}
	if (privilege_check(why, sizeof(why)) < 0)
		return complain(1, why);
	return with_kernel(&c, &conf);
}
