/*
 * A child of netd that is killed while it reads what nftables answers, at each of these answers in turn: the real kernel, in a
 * network namespace of the test's own. Its text had failed, until something else made netd look at its rules again.
 */
#include "base/alloc.h"
#include "netd/kernel.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#define ANSWERS_MAX 200
#define CHAINS      100
#define TEXT        8192

static pid_t self;
static volatile int *left; /* answers until one child dies; shared with the children; 0: nobody dies */

/* In place of libc's, by which libmnl reads, and libnftables by that. */
__attribute__((visibility("default"))) ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	if (getpid() != self && *left && --*left == 0)
		raise(SIGKILL);
	return syscall(SYS_recvmsg, fd, msg, flags);
}

static int set(struct kernel *k, bool guard, int n)
{
	const char *table = guard ? NETD_GUARD : "skygate", *owner = guard ? "flags owner\n" : "";
	char text[TEXT], why[200] = "";
	int err;

	snprintf(text, sizeof(text),
		"add table inet %s {\n%s}\ndelete table inet %s\ntable inet %s {\n%schain c%d { }\n", table, owner,
		table, table, owner, n);
	/* So much that it takes several answers. */
	for (int i = 0; i < CHAINS; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			"chain filler%d { ip saddr 192.0.2.%d counter; }\n", i, i);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "}\n");
	err = guard ? kernel_guard(k, text, why, sizeof(why)) : kernel_nft_run(k, text, why, sizeof(why));
	if (err < 0)
		print_message("%s %d: %d: %s\n", table, n, err, why);
	return err;
}

static bool holds(struct kernel *k, bool guard, int n)
{
	char text[80], why[200];

	snprintf(text, sizeof(text), "list chain inet %s c%d\n", guard ? NETD_GUARD : "skygate", n);
	return kernel_nft_run(k, text, why, sizeof(why)) == 0;
}

static void each_answer(struct kernel *k, bool guard, bool anew)
{
	char why[200];
	int n = 0;

	do {
		if (anew)
			assert_int_equal(kernel_guard(k, NULL, why, sizeof(why)), 0);
		assert_true(n < ANSWERS_MAX);
		*left = ++n;
		assert_int_equal(set(k, guard, 2 * n), 0);
		assert_true(holds(k, guard, 2 * n));
		assert_int_equal(set(k, guard, 2 * n + 1), 0);
		assert_true(holds(k, guard, 2 * n + 1));
	} while (*left == 0);
	*left = 0;
	assert_true(n > 2); /* somebody died */
}

/* On a socket that has carried texts before, and on one that has not. */
static void test_guard(void **state)
{
	char why[200];

	each_answer(*state, true, false);
	each_answer(*state, true, true);
	assert_int_equal(kernel_guard(*state, NULL, why, sizeof(why)), 0);
}

static void test_table(void **state)
{
	each_answer(*state, false, false);
}

static void test_listing(void **state)
{
	struct kernel *k = *state;
	char *text;
	int n = 0;

	assert_int_equal(set(k, false, 7), 0);
	do {
		assert_true(n < ANSWERS_MAX);
		*left = ++n;
		assert_int_equal(kernel_nft_list(k, &text), 0);
		assert_non_null(strstr(text, "chain c7"));
		sg_free(text);
	} while (*left == 0);
	*left = 0;
	assert_true(n > 2);
}

/* Where nothing works, or the kernel is older than the guard. */
static const char *missing(struct kernel **k)
{
	static char why[256];

	if (geteuid() != 0)
		return "network namespaces need root";
	if (unshare(CLONE_NEWNET) < 0)
		return "no network namespace can be made here";
	if (kernel_open(k, why, sizeof(why)) < 0)
		return why;
	return set(*k, true, 0) < 0 ? "this kernel has no tables with an owner" : NULL;
}

static struct kernel *kernel;
static FILE *said; /* on standard error meanwhile: by libnftnl, of answers that are not to what was asked */
static int before;

static int setup(void **state)
{
	*state = kernel;
	said = tmpfile();
	before = dup(STDERR_FILENO);
	return said && dup2(fileno(said), STDERR_FILENO) >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	char line[200];
	int ret = 0;

	(void)state;
	dup2(before, STDERR_FILENO);
	close(before);
	rewind(said);
	while (fgets(line, sizeof(line), said)) {
		fputs(line, stderr);
		ret = -1;
	}
	fclose(said);
	return ret;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_listing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_guard, setup, teardown),
	};
	const char *why;
	int failed;

	self = getpid();
	left = mmap(NULL, sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (left == MAP_FAILED)
		return 1;
	why = missing(&kernel);
	if (why) {
		printf("SKIP: %s\n", why);
		return 77;
	}
	failed = cmocka_run_group_tests_name("killed", tests, NULL, NULL);
	kernel_close(kernel);
	return failed;
}
