/*
 * What a captured skygated may still do. Landlock: files outside its own directories are gone, nothing can be run.
 * seccomp: only the system calls that the daemon, libuv, getaddrinfo and the loader use; those that only an intruder
 * needs end the process, others fail as if the kernel did not have them, which the C library knows how to bear.
 */
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

SG_LOG_TOPIC("sandbox");

/* ---- files -------------------------------------------------------------------------------------------------------- */

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

#define FS_ALL  ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1) /* version 1 of the interface */
#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                                       \
	(FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |    \
		LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK |             \
		LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_TRUNCATE)
#define FS_OF_FILE                                                                                                     \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE |                  \
		LANDLOCK_ACCESS_FS_EXECUTE)

struct landlock {
	int fd;
	uint64_t handled;
};

/* What is not there needs no rule. */
static void allow(const struct landlock *l, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr attr = {.allowed_access = access & l->handled};
	struct stat st;

	attr.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (attr.parent_fd < 0)
		return;
	if (fstat(attr.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		attr.allowed_access &= FS_OF_FILE;
	if (syscall(SYS_landlock_add_rule, l->fd, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0)
		log_warn("landlock: %s: %s", path, strerror(errno));
	close(attr.parent_fd);
}

static void allow_dir_of(const struct landlock *l, const char *path)
{
	char real[PATH_MAX];

	if (realpath(path, real))
		allow(l, dirname(real), FS_READ);
}

static void allow_paths(const struct landlock *l, const struct core *core)
{
	/* Resolver, user names, libraries of plugins; own figures. Programs that write resolv.conf replace it, so its directory. */
	static const char *const readable[] = {"/etc", "/usr", "/lib", "/lib64", "/proc/self", "/dev/urandom",
		"/dev/random", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/tmp/resolv.conf.d"};

	const struct sg_uci_section *deployment = core->conf ? sg_uci_next(core->conf->doc, "deployment", NULL) : NULL;
	const char *source = deployment ? sg_uci_get(deployment, "source", "") : "";

	for (size_t i = 0; i < SG_ARRAY_LEN(readable); i++)
		allow(l, readable[i], FS_READ);
	allow_dir_of(l, "/etc/resolv.conf");
	allow_dir_of(l, core->opt.config);
	if (source[0] == '/')
		allow_dir_of(l, source);
	allow(l, core->opt.plugin_dir, FS_READ);
	allow(l, "/dev/null", FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
	allow(l, core->opt.run_dir, FS_WRITE);
	allow(l, core->opt.state_dir, FS_WRITE);
}

static int landlock_version(void)
{
	long v = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return v > 0 ? (int)v : 0;
}

void sandbox_files(const struct core *core, struct sandbox_state *s)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = FS_ALL};
	const struct rlimit no_dump = {0, 0};
	struct landlock l;
	int version;

	if (!s->wanted) {
		snprintf(s->why, sizeof(s->why), "not confined: option sandbox is off");
		return;
	}
	/* A dump would hold the key. */
	setrlimit(RLIMIT_CORE, &no_dump);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	version = landlock_version();
	if (!version) {
		snprintf(s->why, sizeof(s->why), "this kernel has no Landlock: files are guarded by ownership only");
		return;
	}
	if (version >= 2)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (version >= 3)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	l.handled = attr.handled_access_fs;
	l.fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	if (l.fd >= 0)
		allow_paths(&l, core);
	if (l.fd >= 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		syscall(SYS_landlock_restrict_self, l.fd, 0) == 0)
		s->landlock = version;
	else
		snprintf(s->why, sizeof(s->why), "Landlock: %s", strerror(errno));
	if (l.fd >= 0)
		close(l.fd);
}

/* ---- system calls -------------------------------------------------------------------------------------------------- */

/* By name, for not every architecture has all of them. */
static const char *const allowed[] = {
	/* files and descriptors */
	"read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "close", "close_range", "lseek",
	"_llseek", "fstat", "fstat64", "newfstatat", "fstatat64", "stat", "stat64", "lstat", "lstat64", "statx",
	"access", "faccessat", "faccessat2", "open", "openat", "readlink", "readlinkat", "getdents", "getdents64",
	"unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "fsync", "fdatasync",
	"ftruncate", "ftruncate64", "chmod", "fchmod", "fchmodat", "umask", "flock", "fcntl", "fcntl64", "dup", "dup2",
	"dup3", "pipe", "pipe2", "getcwd", "statfs", "statfs64", "fstatfs", "fstatfs64",
	/* waiting */
	"poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64", "epoll_create",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "timerfd_create",
	"timerfd_settime", "timerfd_settime64",
	/* sockets; socket() itself by family below */
	"socketpair", "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "getsockopt",
	"setsockopt", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom", "recvmsg", "recvmmsg",
	"recvmmsg_time64", "shutdown",
	/* memory */
	"mmap", "mmap2", "munmap", "mprotect", "mremap", "madvise", "brk", "mlock", "munlock", "membarrier",
	/* threads and signals; clone() itself for threads only, below */
	"futex", "futex_time64", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "set_thread_area",
	"arch_prctl", "exit", "exit_group", "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler",
	"setpriority", "gettid", "tgkill", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn",
	"rt_sigtimedwait", "sigaltstack", "restart_syscall", "prctl",
	/* time, chance, self */
	"clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "clock_nanosleep",
	"clock_nanosleep_time64", "nanosleep", "gettimeofday", "time", "getrandom", "getpid", "getppid", "getuid",
	"geteuid", "getgid", "getegid", "getuid32", "geteuid32", "getgid32", "getegid32", "getresuid", "getresgid",
	"uname", "sysinfo", "getrlimit", "ugetrlimit", "prlimit64", "getrusage"};

static const char *const deadly[] = {"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv",
	"process_vm_writev", "mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "bpf", "init_module",
	"finit_module", "kexec_load", "reboot", "swapon", "add_key", "keyctl", "setuid", "setgid", "setresuid",
	"setresgid", "capset", "personality"};

static const unsigned long ioctls[] = {FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TIOCOUTQ, SIOCOUTQNSD, TUNSETOFFLOAD,
	TUNSETVNETHDRSZ, TUNGETVNETHDRSZ, TUNGETIFF, TUNGETFEATURES, TUNSETSNDBUF,
	SIOCGIFINDEX /* whether an interface is there; getifaddrs tells more and takes longer */};

static int add_names(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int nr = seccomp_syscall_resolve_name(names[i]), err;

		if (nr == __NR_SCMP_ERROR)
			continue;
		err = seccomp_rule_add(ctx, action, nr, 0);
		/* -EDOM, -EINVAL: this architecture has it as part of another call. */
		if (err < 0 && err != -EDOM && err != -EINVAL)
			return err;
	}
	return 0;
}

static int add_special(scmp_filter_ctx ctx)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
	int err = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(families) && err == 0; i++)
		err = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
	for (size_t i = 0; i < SG_ARRAY_LEN(ioctls) && err == 0; i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffU, (scmp_datum_t)ioctls[i]));
	/* Threads, no processes. clone3 hides its flags from us, so it stays "not there" and clone is used. */
	if (err == 0)
#ifdef __s390__
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
#else
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
#endif
	return err;
}

void sandbox_calls(struct sandbox_state *s)
{
	scmp_filter_ctx ctx;
	int err;

	if (!s->wanted)
		return;
	ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	err = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1) : -ENOMEM;
	if (err == 0)
		err = add_names(ctx, SCMP_ACT_ALLOW, allowed, SG_ARRAY_LEN(allowed));
	if (err == 0)
		err = add_names(ctx, SCMP_ACT_KILL_PROCESS, deadly, SG_ARRAY_LEN(deadly));
	if (err == 0)
		err = add_special(ctx);
	if (err == 0)
		err = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	if (err == 0)
		s->seccomp = true;
	else
		snprintf(s->why, sizeof(s->why), "seccomp: %s", sg_strerror(err));
}
