/*
 * Each ruleset that can come out, by what it must say, and by nft itself: nft -c in a network namespace of the test's
 * own (skipped with its reason where that cannot be made).
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "fake/kernel.h"
#include "base/text.h"
#include "netd/want.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { CLIENT = 1, HOST = 2, SERVER = 4, NO_PREFIX = 8, OVERLAP = 16, NO_LAN = 32, ALLOW = 64, MANY = 128 };

static struct netd_conf conf_of(unsigned what)
{
	struct netd_conf c = {.uid = 64011, .gid = 64011, .kill_switch = true};

	if (what & (CLIENT | HOST))
		c.mode = what & HOST ? NETD_HOST : NETD_VPN;
	if (!(what & NO_LAN)) {
		snprintf(c.lan[0], IFNAMSIZ, "br-lan");
		snprintf(c.lan[1], IFNAMSIZ, "eth1.10");
		c.n_lans = 2;
	}
	for (; (what & MANY) && c.n_lans < SG_LANS_MAX; c.n_lans++)
		snprintf(c.lan[c.n_lans], IFNAMSIZ, "guest%08zu", c.n_lans);
	if (what & SERVER) {
		c.server = true;
		snprintf(c.uplink, IFNAMSIZ, "wan0");
		c.pool = k_prefix4(0xac100000, 12);
	}
	if (what & ALLOW) {
		c.allow[0] = k_prefix4(0xc0a80700, 24);
		c.n_allow = 1;
	}
	return c;
}

static struct kernel *kernel_of(unsigned what)
{
	struct kernel *k = fake_kernel_new();

	fake_link(k, "br-lan");
	fake_link(k, "wan0");
	fake_addr(k, "wan0", "192.0.2.2", 24);
	fake_addr(k, "wan0", "2001:db8:1::2", 64);
	if (what & NO_PREFIX)
		return k;
	fake_link(k, "eth1.10");
	fake_addr(k, "br-lan", "192.168.77.1", 24);
	fake_addr(k, "br-lan", "fe80::1", 64);
	fake_addr(k, "br-lan", "2001:db8:77::1", 64);
	fake_addr(k, "eth1.10", "10.3.0.1", 16);
	if (what & OVERLAP) {
		fake_addr(k, "br-lan", "192.168.77.129", 25);
		fake_addr(k, "br-lan", "192.168.0.1", 16);
		fake_addr(k, "eth1.10", "192.168.78.1", 24);
		fake_addr(k, "eth1.10", "10.3.0.2", 16);
	}
	if (what & MANY) {
		char address[32];

		for (unsigned i = 0; i < 400; i++) {
			snprintf(address, sizeof(address), "10.%u.%u.1", 100 + i / 250, i % 250);
			fake_addr(k, i % 2 ? "br-lan" : "wan0", address, 24);
		}
	}
	return k;
}

/* Returns new; NULL when there is no table. *guard likewise, unless NULL. */
static char *texts_of(unsigned what, enum netd_word word, bool refuse, char **guard)
{
	const struct netd_conf conf = conf_of(what);
	const struct netd_gate gate = {.word = word,
		.refuse = refuse,
		.server = conf.server,
		.lease = word == NETD_IS_CONNECTED ? 0xac10000c : 0};
	struct kernel *k = kernel_of(what);
	struct want w;
	char *text;

	if (gate.lease)
		fake_link(k, "sky0");
	if (gate.server)
		fake_link(k, "skyx0");
	assert_int_equal(want_build(&conf, &gate, &k->view, &w), 0);
	text = w.nft;
	w.nft = NULL;
	if (guard) {
		*guard = w.guard;
		w.guard = NULL;
	}
	want_fini(&w);
	fake_kernel_free(k);
	return text;
}

static char *text_of(unsigned what, enum netd_word word, bool refuse)
{
	return texts_of(what, word, refuse, NULL);
}

/* "chain NAME { … }" out of the text, returns new; NULL: no such chain. */
static char *chain_of(const char *text, const char *name)
{
	char head[64];
	const char *from, *to;

	snprintf(head, sizeof(head), "\tchain %s {\n", name);
	from = strstr(text, head);
	to = from ? strstr(from, "\n\t}\n") : NULL;
	return to ? sg_strndup(from, (size_t)(to - from)) : NULL;
}

static void says(const char *text, const char *chain, const char *line, bool yes)
{
	char *c = chain_of(text, chain);

	if ((c && strstr(c, line)) != yes)
		fail_msg("chain %s %s \"%s\":\n%s", chain, yes ? "lacks" : "has", line, c ? c : "(no chain)");
	sg_free(c);
}

static void before(const char *text, const char *chain, const char *first, const char *second)
{
	char *c = chain_of(text, chain);
	const char *a = c ? strstr(c, first) : NULL, *b = c ? strstr(c, second) : NULL;

	if (!a || !b || a >= b)
		fail_msg("chain %s: \"%s\" is not before \"%s\":\n%s", chain, first, second, c ? c : "(no chain)");
	sg_free(c);
}

static void test_closed(void **state)
{
	char *t = text_of(CLIENT, NETD_IS_BLOCKING, false);

	(void)state;
	assert_int_equal(
		strncmp(t, "add table inet skygate\ndelete table inet skygate\ntable inet skygate {\n", 69), 0);
	/* Forged sources go before anything could answer them; then what is for the machine itself. */
	before(t, "prerouting", "iifname \"br-lan\" ip saddr != { 192.168.77.0/24 } counter name forged drop",
		"iifname \"br-lan\" goto steer");
	says(t, "prerouting", "iifname \"br-lan\" ip6 saddr != { 2001:db8:77::/64 } counter name forged drop", true);
	before(t, "steer", "fib daddr type { local, broadcast, multicast, anycast } accept",
		"meta nfproto ipv6 meta l4proto tcp counter name refused reject with tcp reset");
	says(t, "steer", "\t\tcounter name blocked drop", true);
	says(t, "steer", "icmpx", false);
	/* Nothing of connection state opens the way out. */
	says(t, "forward", "oifname \"sky0\" meta nfproto ipv4 accept", false);
	before(t, "forward", "iifname { \"br-lan\", \"eth1.10\" } counter name blocked drop", "ct state");
	before(t, "forward", "ip option lsrr exists counter name blocked drop", " accept\n");
	says(t, "forward", "oifname { \"br-lan\", \"eth1.10\", \"sky0\" } counter name blocked drop", true);
	says(t, "input", "iifname \"sky0\" counter name blocked drop", true);
	says(t, "output", "ip daddr { 192.168.77.0/24, 10.3.0.0/16 } oifname != { \"lo\", \"br-lan\", \"eth1.10\" }",
		true);
	assert_null(strstr(t, "skuid"));
	assert_null(strstr(t, "skyx0"));
	sg_free(t);
}

static void test_refused_after_a_while(void **state)
{
	char *t = text_of(CLIENT, NETD_IS_ARMED, true);

	(void)state;
	says(t, "steer", "\t\tcounter name blocked drop", false);
	says(t, "steer", "\t\tcounter name refused reject with icmpx admin-prohibited", true);
	sg_free(t);
}

static void test_connected(void **state)
{
	char *t = text_of(CLIENT, NETD_IS_CONNECTED, false);

	(void)state;
	says(t, "steer", "\t\tcounter name blocked drop", false);
	says(t, "steer", "meta nfproto ipv6 meta l4proto tcp counter name refused reject with tcp reset", true);
	says(t, "forward", "iifname { \"br-lan\", \"eth1.10\" } oifname \"sky0\" meta nfproto ipv4 accept", true);
	says(t, "forward", "iifname { \"br-lan\", \"eth1.10\" } counter name blocked drop", true);
	says(t, "forward", "iifname \"sky0\" oifname { \"br-lan\", \"eth1.10\" } ct state established,related accept",
		true);
	says(t, "postrouting", "oifname \"sky0\" masquerade", true);
	/* The lease answers on the TUN alone. */
	before(t, "prerouting", "iifname != { \"lo\", \"sky0\" } ip daddr 172.16.0.12/32 counter name forged drop",
		"iifname \"br-lan\"");
	sg_free(t);
}

/* At boot, before the interface has an address: everything from it stops. */
static void test_unknown_prefix(void **state)
{
	char *t = text_of(CLIENT | NO_PREFIX, NETD_IS_ARMED, false);

	(void)state;
	says(t, "prerouting", "iifname \"eth1.10\" meta nfproto ipv4 counter name forged drop", true);
	says(t, "prerouting", "iifname \"eth1.10\" meta nfproto ipv6 counter name forged drop", true);
	sg_free(t);
}

static void test_host(void **state)
{
	char *t = text_of(HOST, NETD_IS_BLOCKING, false);

	(void)state;
	before(t, "output", "meta skuid 64011 accept", "counter name blocked drop");
	says(t, "output", "oifname \"sky0\" meta nfproto ipv4 accept", false);
	says(t, "output", "skuid 0", false);
	says(t, "forward", "\t\tcounter name blocked drop", true);
	sg_free(t);
	t = text_of(HOST | NO_LAN, NETD_IS_CONNECTED, false);
	before(t, "output", "oifname \"sky0\" meta nfproto ipv4 accept", "counter name blocked drop");
	sg_free(t);
}

static void test_exit(void **state)
{
	char *t = text_of(SERVER | ALLOW, NETD_IS_OFF, false);

	(void)state;
	says(t, "prerouting", "iifname \"skyx0\" ip saddr != 172.16.0.0/12 counter name forged drop", true);
	before(t, "forward", "ip daddr { 192.168.7.0/24 } accept", "192.168.0.0/16");
	before(t, "forward", "reject with icmp admin-prohibited", "iifname \"skyx0\" oifname \"wan0\" accept");
	says(t, "forward",
		"iifname \"skyx0\" ip daddr { 192.0.2.0/24, 192.168.77.0/24, 10.3.0.0/16 } counter name refused", true);
	before(t, "forward", "iifname \"skyx0\" oifname \"skyx0\" counter name blocked drop", " accept\n");
	says(t, "forward", "oifname \"skyx0\" counter name blocked drop", true);
	says(t, "postrouting", "iifname \"skyx0\" oifname != \"skyx0\" masquerade", true);
	says(t, "prerouting", "iifname != { \"lo\", \"skyx0\" } ip daddr 172.16.0.2/32 counter name forged drop", true);
	/* The exit's side concerns nobody else on the machine. */
	assert_null(strstr(t, "sky0\""));
	assert_null(strstr(t, "chain output"));
	sg_free(t);
}

/* What the guard holds while the table is gone: the ways between LAN and WAN, in mode host all but core's. */
static void test_guard(void **state)
{
	char *t;

	(void)state;
	sg_free(texts_of(CLIENT | SERVER, NETD_IS_CONNECTED, false, &t));
	says(t, "forward",
		"iifname { \"br-lan\", \"eth1.10\" } oifname != { \"br-lan\", \"eth1.10\", \"sky0\", \"skyx0\" } drop",
		true);
	says(t, "forward", "oifname { \"br-lan\", \"eth1.10\" } iifname != ", true);
	says(t, "forward", "iif 2 oifname != ", true);
	says(t, "forward", "oif 2 iifname != ", true);
	says(t, "output",
		"oifname != { \"lo\", \"br-lan\", \"eth1.10\", \"sky0\", \"skyx0\" } icmp type destination-unreachable",
		true);
	says(t, "output", "icmpv6 type destination-unreachable", true);
	sg_free(t);
	sg_free(texts_of(HOST, NETD_IS_BLOCKING, false, &t));
	says(t, "forward", "\t\tdrop", true);
	before(t, "output", "meta skuid 64011 accept", "\t\tdrop");
	before(t, "output", "oifname \"sky0\" accept", "\t\tdrop");
	sg_free(t);
	sg_free(texts_of(SERVER, NETD_IS_OFF, false, &t));
	assert_null(t);
}

static void test_off(void **state)
{
	(void)state;
	assert_null(text_of(CLIENT, NETD_IS_OFF, false));
	assert_null(text_of(0, NETD_IS_OFF, false));
}

static void test_no_overlaps(void **state)
{
	char *t = text_of(CLIENT | OVERLAP, NETD_IS_BLOCKING, false);

	(void)state;
	says(t, "steer", "ip daddr { 10.3.0.0/16, 192.168.0.0/16 } accept", true);
	says(t, "prerouting", "iifname \"eth1.10\" ip saddr != { 10.3.0.0/16, 192.168.78.0/24 } counter", true);
	sg_free(t);
}

/* Runs nft with a text on its standard input; true when it found nothing to say. */
static bool nft(const char *option, const char *text)
{
	FILE *in = tmpfile();
	int status = -1;
	pid_t pid;

	assert_non_null(in);
	fputs(text, in);
	rewind(in);
	pid = fork();
	if (pid == 0) {
		dup2(fileno(in), STDIN_FILENO);
		execlp("nft", "nft", option, "-f", "-", (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	fclose(in);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#define ALL_ROOM (1 << 20)

static bool is_a_case(unsigned what)
{
	/* A set of devices is not empty in mode vpn. */
	if ((what & CLIENT) && (what & (HOST | NO_LAN)))
		return false;
	/* Many networks at once are slow to check: by themselves. */
	return !((what & ALLOW) && !(what & SERVER)) &&
	       !((what & MANY) && (what & (NO_PREFIX | OVERLAP | NO_LAN | ALLOW)));
}

static void test_nft_check(void **state)
{
	static const enum netd_word words[] = {NETD_IS_OFF, NETD_IS_ARMED, NETD_IS_BLOCKING, NETD_IS_CONNECTED};
	unsigned checked = 0;

	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0 || !nft("-n", "list ruleset\n")) {
		print_message("SKIP: nft -c wants root, a network namespace and the program nft\n");
		skip();
	}
	assert_false(nft("-c", "table inet skygate { chain x { nonsense } }\n"));
	for (unsigned what = 0; what < 256; what++) {
		/* Starting nft takes longest: all texts of a kind go in one run, each replaces the one before. */
		char *all = calloc(1, ALL_ROOM);
		struct sg_text t = sg_text(all, ALL_ROOM);

		for (size_t i = 0; i < 2 * SG_ARRAY_LEN(words) && is_a_case(what); i++) {
			char *one = NULL, *guard = NULL;

			if ((what & (CLIENT | HOST)) || words[i / 2] == NETD_IS_OFF)
				one = texts_of(what, words[i / 2], i % 2 == 1, &guard);
			sg_text_add(&t, one ? one : "");
			sg_text_add(&t, guard ? guard : "");
			checked += one != NULL;
			sg_free(one);
			sg_free(guard);
		}
		assert_false(t.err);
		if (t.len && !nft("-c", all))
			fail_msg("nft refuses case %u:\n%s", what, all);
		free(all);
	}
	print_message("nft -c: %u rulesets, no error\n", checked);
	assert_true(checked > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_refused_after_a_while),
		cmocka_unit_test(test_connected),
		cmocka_unit_test(test_unknown_prefix),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_exit),
		cmocka_unit_test(test_guard),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_no_overlaps),
		cmocka_unit_test(test_nft_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
