/*
 * Starts core: own user and group, no capability, nothing open but its end of the socketpair and the three standard
 * descriptors, gone when we go.
 */
#include "netd/netd.h"
#include "base/err.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CORE_FD  3
#define ARGS_MAX 16

static void close_from(int first)
{
	long max;

	if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0)
		return;
	max = sysconf(_SC_OPEN_MAX);
	for (int fd = first; fd < (max > 0 && max < 65536 ? max : 65536); fd++)
		close(fd);
}

static _Noreturn void fail(const char *what)
{
	/* The log's lock may be held by nobody here: there is one thread. */
	dprintf(STDERR_FILENO, "skygate-netd: core could not be started: %s: %s\n", what, sg_strerror(-errno));
	_exit(127);
}

static _Noreturn void become_core(const struct netd_options *opt, const struct netd_conf *conf, int sock, pid_t parent)
{
	const char *args[ARGS_MAX] = {"skygated", "--netd-fd", "3", "--config", opt->config, "--run", opt->run,
		"--state", opt->state, opt->plugins ? "--plugins" : NULL, opt->plugins, NULL};
	sigset_t none;

	if (sock == CORE_FD ? fcntl(sock, F_SETFD, 0) < 0 : dup2(sock, CORE_FD) < 0)
		fail("socket");
	close_from(CORE_FD + 1);
	if (setgroups(0, NULL) < 0 || setresgid(conf->gid, conf->gid, conf->gid) < 0 ||
		setresuid(conf->uid, conf->uid, conf->uid) < 0)
		fail("change of user (CAP_SETUID and CAP_SETGID are needed)");
	if (privilege_none() < 0)
		fail("capabilities");
	/* The change of user clears it, so it comes after. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail("prctl");
	if (getppid() != parent)
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(opt->core, (char *const *)args);
	fail(opt->core);
}

int spawn_core(const struct netd_options *opt, const struct netd_conf *conf, pid_t *pid, int *sock)
{
	pid_t parent = getpid(), child;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	child = fork();
	if (child == 0)
		become_core(opt, conf, pair[1], parent);
	close(pair[1]);
	if (child < 0) {
		int err = -errno;

		close(pair[0]);
		return err;
	}
	*pid = child;
	*sock = pair[0];
	return 0;
}
