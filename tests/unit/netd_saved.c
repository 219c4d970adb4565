/* The file of original sysctls: written before the first change, put back, and not believed when it is not ours. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "fake/kernel.h"
#include "netd/saved.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define ALL "net/ipv4/conf/all/accept_redirects"
#define LAN "net/ipv4/conf/br-lan/forwarding"
#define TUN "net/ipv4/conf/sky0/rp_filter"

static const struct want_sysctl wanted[] = {
	{.key = ALL, .value = "0"}, {.key = LAN, .value = "1"}, {.key = TUN, .value = "2", .ours = true}};

struct world {
	char dir[32];
	struct rundir run;
	struct kernel *k;
	struct want want;
};

static int setup(void **state)
{
	static struct world w;
	char why[256];

	w = (struct world){.dir = "/tmp/netd_saved.XXXXXX", .k = fake_kernel_new()};
	fake_link(w.k, "br-lan");
	fake_link(w.k, "sky0");
	w.want.sysctls = (struct want_sysctl *)wanted;
	w.want.n_sysctls = SG_ARRAY_LEN(wanted);
	*state = &w;
	return mkdtemp(w.dir) ? rundir_open(&w.run, w.dir, getegid(), why, sizeof(why)) : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;

	rundir_close(&w->run);
	fake_kernel_free(w->k);
	return fake_remove_dir(w->dir);
}

static void saved_text(struct world *w, char *out, size_t cap)
{
	out[0] = '\0';
	if (rundir_read(&w->run, "saved", out, cap) < 0)
		snprintf(out, cap, "(none)");
}

static void test_there_and_back(void **state)
{
	struct world *w = *state;
	const struct want nothing = {0};
	char text[512];

	assert_int_equal(saved_apply(w->k, &w->run, &w->want), 0);
	saved_text(w, text, sizeof(text));
	assert_string_equal(text, ALL " 1\n" LAN " 0\n");
	assert_string_equal(fake_sysctl_get(w->k, ALL), "0");
	assert_string_equal(fake_sysctl_get(w->k, LAN), "1");
	assert_string_equal(fake_sysctl_get(w->k, TUN), "2");
	/* A second time, as after kill -9: what we set ourselves is not taken for the original. */
	assert_int_equal(saved_apply(w->k, &w->run, &w->want), 0);
	saved_text(w, text, sizeof(text));
	assert_string_equal(text, ALL " 1\n" LAN " 0\n");
	assert_int_equal(saved_apply(w->k, &w->run, &nothing), 0);
	assert_string_equal(fake_sysctl_get(w->k, ALL), "1");
	assert_string_equal(fake_sysctl_get(w->k, LAN), "0");
	saved_text(w, text, sizeof(text));
	assert_string_equal(text, "(none)");
}

static void test_part_no_longer_wanted(void **state)
{
	struct world *w = *state;
	char text[512];

	assert_int_equal(saved_apply(w->k, &w->run, &w->want), 0);
	w->want.n_sysctls = 1;
	assert_int_equal(saved_apply(w->k, &w->run, &w->want), 0);
	assert_string_equal(fake_sysctl_get(w->k, LAN), "0");
	assert_string_equal(fake_sysctl_get(w->k, ALL), "0");
	saved_text(w, text, sizeof(text));
	assert_string_equal(text, ALL " 1\n");
}

static void test_set_by_somebody_else_meanwhile(void **state)
{
	struct world *w = *state;

	assert_int_equal(saved_apply(w->k, &w->run, &w->want), 0);
	fake_sysctl(w->k, ALL, "1");
	assert_int_equal(saved_apply(w->k, &w->run, &w->want), 0);
	assert_string_equal(fake_sysctl_get(w->k, ALL), "0");
}

/* When it cannot be remembered it is not changed. */
static void test_no_room(void **state)
{
	struct world *w = *state;

	/* A directory stands where the new file has to be: even root cannot write that. */
	assert_int_equal(mkdirat(w->run.fd, "saved.new", 0700), 0);
	assert_true(saved_apply(w->k, &w->run, &w->want) < 0);
	assert_string_equal(fake_sysctl_get(w->k, ALL), "1");
	assert_string_equal(fake_sysctl_get(w->k, LAN), "0");
}

static void put(struct world *w, const char *text)
{
	int fd = openat(w->run.fd, "saved", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static const char *const hostile[] = {
	"kernel/core_pattern 1\n",
	"net/ipv4/conf/all/../../../../kernel/sysrq 1\n",
	"net/ipv4/conf/../../../kernel/sysrq 1\n",
	"net/ipv4/conf//forwarding 1\n",
	"net/ipv4/conf/all/forwarding/ 1\n",
	"net/ipv4/conf/averyveryverylongname/forwarding 1\n",
	"net/ipv4/conf/all/forwarding |\n",
	"net/ipv4/conf/all/forwarding \n",
	"net/ipv4/conf/all/forwarding\n",
	"net/ipv4/conf/all/forwarding 123456789\n",
	"net/ipv4/conf/all/arp_ignore 1\n",
	"net/ipv4/tcp_mtu_probing/ 1\n",
	"net/ipv4/tcp_retries2 1\n",
	"net/ipv4/tcp_congestion_control 1\n",
	"\n\n \n",
	"net/ipv4/conf/all/forwarding 1",
};

static void test_hostile_lines(void **state)
{
	struct saved s = {.e = calloc(SAVED_MAX, sizeof(struct saved_entry))};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(hostile); i++) {
		saved_parse(hostile[i], &s);
		/* The last one is good, and only lacks its newline. */
		assert_int_equal(s.n, i == SG_ARRAY_LEN(hostile) - 1);
	}
	saved_parse(ALL " 1\n" ALL " 0\n" WANT_MTU_PROBING " 2\n" WANT_TCP_RETRIES " 3\n", &s);
	assert_int_equal(s.n, 3);
	assert_string_equal(s.e[0].value, "1");
	assert_string_equal(s.e[1].value, "2");
	assert_string_equal(s.e[2].value, "3");
	free(s.e);
}

static void test_more_than_fits(void **state)
{
	struct saved s = {.e = calloc(SAVED_MAX, sizeof(struct saved_entry))};
	char *text = calloc(1, 65536), *again = calloc(1, 65536);
	size_t len = 0;

	(void)state;
	for (int i = 0; i < 2 * SAVED_MAX; i++)
		len += (size_t)snprintf(text + len, 65536 - len, "net/ipv4/conf/eth%d/forwarding 0\n", i);
	saved_parse(text, &s);
	assert_int_equal(s.n, SAVED_MAX);
	assert_int_equal(saved_format(&s, again, 65536), 0);
	assert_int_equal(strncmp(text, again, strlen(again)), 0);
	assert_int_equal(saved_format(&s, again, 100), -E2BIG);
	free(s.e);
	free(text);
	free(again);
}

/* core may create files in the run directory: one under our name is neither read nor in the way. */
static void test_put_there_by_core(void **state)
{
	struct world *w = *state;
	const struct want nothing = {0};
	char text[512];

	put(w, ALL " 7\n");
	if (geteuid() != 0 || fchownat(w->run.fd, "saved", 64011, 64011, 0) < 0) {
		print_message("SKIP: giving a file away wants root\n");
		skip();
	}
	fake_sysctl(w->k, ALL, "0");
	assert_int_equal(saved_apply(w->k, &w->run, &nothing), 0);
	assert_string_equal(fake_sysctl_get(w->k, ALL), "0");
	fake_sysctl(w->k, ALL, "1");
	assert_int_equal(symlinkat("/etc/hostname", w->run.fd, "saved"), 0);
	assert_int_equal(symlinkat("/etc/hostname", w->run.fd, "saved.new"), 0);
	assert_int_equal(saved_apply(w->k, &w->run, &w->want), 0);
	saved_text(w, text, sizeof(text));
	assert_string_equal(text, ALL " 1\n" LAN " 0\n");
	assert_int_equal(symlinkat("/etc/hostname", w->run.fd, "disarmed"), 0);
	assert_false(rundir_disarmed(&w->run));
}

static void test_one_at_a_time(void **state)
{
	struct world *w = *state;
	struct rundir other;
	char why[256];
	pid_t holder;

	assert_int_equal(rundir_holder(&w->run), 0);
	assert_int_equal(rundir_lock(&w->run, &holder), 0);
	assert_int_equal(rundir_open(&other, w->dir, getegid(), why, sizeof(why)), 0);
	assert_int_equal(rundir_lock(&other, &holder), -EEXIST);
	assert_int_equal(holder, getpid());
	assert_int_equal(rundir_holder(&other), getpid());
	rundir_close(&w->run);
	assert_int_equal(rundir_holder(&other), 0);
	assert_int_equal(rundir_lock(&other, &holder), 0);
	rundir_close(&other);
}

static void test_disarmed(void **state)
{
	struct world *w = *state;

	assert_false(rundir_disarmed(&w->run));
	assert_int_equal(rundir_set_disarmed(&w->run, true), 0);
	assert_int_equal(rundir_set_disarmed(&w->run, true), 0);
	assert_true(rundir_disarmed(&w->run));
	assert_int_equal(rundir_set_disarmed(&w->run, false), 0);
	assert_int_equal(rundir_set_disarmed(&w->run, false), 0);
	assert_false(rundir_disarmed(&w->run));
}

static void test_run_directory_refused(void **state)
{
	struct world *w = *state;
	struct rundir r;
	char why[256] = "";

	assert_true(rundir_open(&r, "/proc/nowhere/at/all", 0, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "/proc/nowhere/at/all: cannot be created: "));
	assert_non_null(strstr(why, "--run DIR"));
	if (geteuid() != 0)
		return;
	assert_int_equal(chown(w->dir, 64011, 64011), 0);
	assert_int_equal(rundir_open(&r, w->dir, 0, why, sizeof(why)), -EPERM);
	assert_non_null(strstr(why, "belongs to user 64011, who could change our files. Start it as that user "));
	assert_int_equal(chown(w->dir, 0, 0), 0);
}

/* What --disarm says to a netd that hangs holds for the one that init starts in its place, and for that one only. */
static void test_disarmed_over_a_start(void **state)
{
	struct world *w = *state;

	assert_int_equal(rundir_set_disarmed(&w->run, true), 0);
	assert_int_equal(rundir_started(&w->run), 0);
	assert_false(rundir_disarmed(&w->run));
	assert_int_equal(rundir_disarm_next(&w->run), 0);
	assert_true(rundir_disarmed(&w->run));
	assert_int_equal(rundir_started(&w->run), 0);
	assert_true(rundir_disarmed(&w->run));
	assert_int_equal(rundir_started(&w->run), 0);
	assert_false(rundir_disarmed(&w->run));
}

/*
 * A start that read the owner's word, and wrote it back after he had armed, stayed open. It has to leave the file alone while
 * somebody holds the lock.
 */
static void test_a_start_waits_for_who_arms(void **state)
{
	const struct timespec some = {.tv_nsec = 300000000};
	struct world *w = *state;
	char text[32] = "";
	int lock, status = -1;
	pid_t child;

	assert_int_equal(rundir_disarm_next(&w->run), 0);
	lock = rundir_apply_lock(&w->run);
	assert_true(lock >= 0);
	child = fork();
	if (child == 0) {
		rundir_apply_unlock(lock); /* the parent's is not let go by it */
		_exit(rundir_started(&w->run) == 0 ? 0 : 1);
	}
	nanosleep(&some, NULL);
	assert_int_equal(rundir_read(&w->run, "disarmed", text, sizeof(text)), 0);
	assert_string_not_equal(text, "");
	assert_int_equal(rundir_set_disarmed(&w->run, false), 0);
	rundir_apply_unlock(lock);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_false(rundir_disarmed(&w->run));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_part_no_longer_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_set_by_somebody_else_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
		cmocka_unit_test(test_hostile_lines),
		cmocka_unit_test(test_more_than_fits),
		cmocka_unit_test_setup_teardown(test_put_there_by_core, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disarmed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run_directory_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disarmed_over_a_start, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_start_waits_for_who_arms, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
