/*
 * The confinement from inside: what a captured daemon would try fails, and what the daemon itself needs afterwards
 * works: reading its configuration again, resolving, threads, sockets, loading a plugin.
 */
#include "base/common.h"
#include "core/core.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct place {
	char top[64], config[96], run[96], state[96], secret[96];
};

static void make_file(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0644);

	assert_true(fd >= 0);
	close(fd);
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	char dir[96];

	snprintf(p->top, sizeof(p->top), "/tmp/sg-box-XXXXXX");
	assert_non_null(mkdtemp(p->top));
	snprintf(p->run, sizeof(p->run), "%s/run", p->top);
	snprintf(p->state, sizeof(p->state), "%s/state", p->top);
	snprintf(dir, sizeof(dir), "%s/etc", p->top);
	snprintf(p->config, sizeof(p->config), "%s/etc/conf", p->top);
	snprintf(p->secret, sizeof(p->secret), "%s/secret", p->top);
	assert_int_equal(mkdir(p->run, 0755) | mkdir(p->state, 0755) | mkdir(dir, 0755), 0);
	make_file(p->config);
	make_file(p->secret);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/new", p->state);
	unlink(path);
	snprintf(path, sizeof(path), "%s/etc", p->top);
	unlink(p->config);
	unlink(p->secret);
	rmdir(path);
	rmdir(p->run);
	rmdir(p->state);
	rmdir(p->top);
	free(p);
	return 0;
}

static struct sandbox_state confine(const struct place *p)
{
	struct core core;
	struct core_options opt = {.config = p->config,
		.run_dir = p->run,
		.state_dir = p->state,
		.plugin_dir = SG_TEST_OBJECTS,
		.netd_fd = -1};
	struct sandbox_state s = {.wanted = true};

	core_init(&core, &opt);
	sandbox_files(&core, &s);
	sandbox_calls(&s);
	return s;
}

/* Runs @fn confined in a child; its exit status, or minus the signal that ended it. */
static int in_the_box(const struct place *p, int (*fn)(const struct place *p, const struct sandbox_state *s))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct sandbox_state s = confine(p);

		_exit(s.seccomp ? fn(p, &s) : 99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- what must not work ------------------------------------------------------------------------------------------- */

static int files(const struct place *p, const struct sandbox_state *s)
{
	char path[128];
	int fd;

	/* 98: this kernel has no Landlock; the state says so. */
	if (!s->landlock)
		return s->why[0] ? 98 : 1;
	if (open(p->secret, O_RDONLY) >= 0 || errno != EACCES)
		return 2;
	if (open(p->config, O_WRONLY) >= 0 || open("/etc/passwd", O_WRONLY) >= 0)
		return 3;
	snprintf(path, sizeof(path), "%s/new", p->top);
	if (open(path, O_CREAT | O_WRONLY, 0600) >= 0)
		return 4;
	/* Its own directories are its own, the configuration can be read again. */
	snprintf(path, sizeof(path), "%s/new", p->state);
	fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || open(p->config, O_RDONLY) < 0)
		return 5;
	return 0;
}

static int run_program(const struct place *p, const struct sandbox_state *s)
{
	(void)p;
	(void)s;
	execl("/bin/true", "true", (char *)NULL);
	return 1;
}

static int make_process(const struct place *p, const struct sandbox_state *s)
{
	(void)p;
	(void)s;
	return fork() < 0 ? 0 : 1;
}

static int trace(const struct place *p, const struct sandbox_state *s)
{
	(void)p;
	(void)s;
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	return 1;
}

static int become_root(const struct place *p, const struct sandbox_state *s)
{
	(void)p;
	(void)s;
	if (setuid(0) == 0)
		return 1;
	return 2;
}

static int raw_sockets(const struct place *p, const struct sandbox_state *s)
{
	(void)p;
	(void)s;
	return socket(AF_PACKET, SOCK_RAW, 0) < 0 && socket(AF_VSOCK, SOCK_STREAM, 0) < 0 ? 0 : 1;
}

static void test_forbidden(void **state)
{
	struct place *p = *state;
	int status = in_the_box(p, files);

	if (status == 98)
		print_message("this kernel has no Landlock\n");
	else
		assert_int_equal(status, 0);
	assert_int_equal(in_the_box(p, run_program), -SIGSYS);
	assert_int_equal(in_the_box(p, trace), -SIGSYS);
	assert_int_equal(in_the_box(p, become_root), -SIGSYS);
	assert_int_equal(in_the_box(p, make_process), 0);
	assert_int_equal(in_the_box(p, raw_sockets), 0);
}

/* ---- what must -------------------------------------------------------------------------------------------------- */

static void *touch(void *arg)
{
	*(int *)arg = 1;
	return arg;
}

static int needed(const struct place *p, const struct sandbox_state *s)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	pthread_t thread;
	int touched = 0, pair[2];
	FILE *f;

	(void)p;
	(void)s;
	if (pthread_create(&thread, NULL, touch, &touched) != 0 || pthread_join(thread, NULL) != 0 || !touched)
		return 1;
	if (getaddrinfo("localhost", "7777", &hints, &list) != 0)
		return 2;
	freeaddrinfo(list);
	if (socket(AF_INET, SOCK_STREAM, 0) < 0 || socket(AF_INET6, SOCK_DGRAM, 0) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 3;
	if (!dlopen(SG_TEST_OBJECTS "/good.so", RTLD_NOW | RTLD_LOCAL))
		return 4;
	if (if_nametoindex("lo") == 0 || if_nametoindex("no-such") != 0 || errno != ENODEV)
		return 7;
	f = fopen("/proc/self/statm", "r");
	if (!f || fgetc(f) == EOF)
		return 5;
	return 0;
}

static int loop_works(const struct place *p, const struct sandbox_state *s)
{
	struct sg_loop *loop = sg_loop_new(sg_clock_system());

	(void)p;
	(void)s;
	if (!loop)
		return 1;
	sg_loop_step(loop, 1);
	sg_loop_free(loop);
	return 0;
}

static void test_needed(void **state)
{
	assert_int_equal(in_the_box(*state, needed), 0);
	assert_int_equal(in_the_box(*state, loop_works), 0);
}

static void test_unwanted(void **state)
{
	struct sandbox_state s = {.wanted = false};
	struct core core;
	struct core_options opt = {.netd_fd = -1};

	(void)state;
	core_init(&core, &opt);
	sandbox_files(&core, &s);
	sandbox_calls(&s);
	assert_false(s.seccomp);
	assert_int_equal(s.landlock, 0);
	assert_string_equal(s.why, "not confined: option sandbox is off");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_forbidden, setup, teardown),
		cmocka_unit_test_setup_teardown(test_needed, setup, teardown),
		cmocka_unit_test(test_unwanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
