/*
 * Applying what is wanted to a kernel in memory: done twice it changes nothing, what somebody else changes is mended,
 * off leaves all as it was; any step may fail and any allocation, and nothing is then open that was closed.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "fake/alloc.h"
#include "fake/kernel.h"
#include "fake/log.h"
#include "base/text.h"
#include "netd/apply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct world {
	char dir[32];
	struct rundir run;
	struct kernel *k;
	struct applier a;
	struct netd_conf conf;
};

static int setup(void **state)
{
	static struct world w;
	char why[256];

	w = (struct world){.dir = "/tmp/netd_apply.XXXXXX",
		.k = fake_kernel_new(),
		.conf = {.uid = 64011,
			.gid = 64011,
			.mode = NETD_VPN,
			.kill_switch = true,
			.lan = {"br-lan", "eth1"},
			.n_lans = 2,
			.table = 5100,
			.priority = 5100,
			.server = true,
			.uplink = "wan0",
			.pool = k_prefix4(0xac100000, 12)}};
	fake_link(w.k, "br-lan");
	fake_link(w.k, "wan0");
	fake_addr(w.k, "br-lan", "192.168.77.1", 24);
	fake_addr(w.k, "br-lan", "2001:db8:77::1", 64);
	fake_addr(w.k, "wan0", "192.0.2.2", 24);
	if (!mkdtemp(w.dir) || rundir_open(&w.run, w.dir, getegid(), why, sizeof(why)) < 0)
		return -1;
	applier_init(&w.a, w.k, &w.run);
	sg_log_set_sink(fake_log_quiet, NULL);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	fake_alloc_fail_at(0);
	applier_fini(&w->a);
	rundir_close(&w->run);
	fake_kernel_free(w->k);
	return fake_remove_dir(w->dir);
}

static int apply(struct world *w, enum netd_word word, uint32_t lease)
{
	const struct netd_gate gate = {.word = word, .server = word != NETD_IS_OFF, .lease = lease};

	return applier_apply(&w->a, &w->conf, &gate);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines in alphabetical order: in which one rules and routes came does not matter. Takes @text, returns new. */
static char *sorted(char *text)
{
	char *lines[1024], *rest = text, *out = calloc(1, 65536);
	struct sg_text t = sg_text(out, 65536);
	size_t n = 0;

	while (n < SG_ARRAY_LEN(lines) && (lines[n] = strsep(&rest, "\n")))
		n++;
	qsort(lines, n, sizeof(lines[0]), by_text);
	for (size_t i = 0; i < n; i++)
		sg_text_addf(&t, "%s\n", lines[i]);
	free(text);
	return out;
}

/* Everything of the kernel as text; returns new. */
static char *picture(const struct kernel *k)
{
	char *room = calloc(1, 65536), buf[K_PREFIX_TEXT];
	struct sg_text t = sg_text(room, 65536);

	for (size_t i = 0; i < k->view.n_links; i++)
		sg_text_addf(&t, "link %s %d\n", k->view.links[i].name, k->view.links[i].up);
	for (size_t i = 0; i < k->view.n_addrs; i++)
		sg_text_addf(&t, "addr %s %s\n", k->view.addrs[i].dev, k_prefix_str(&k->view.addrs[i].p, buf));
	for (size_t i = 0; i < k->view.n_rules; i++) {
		const struct k_rule *r = &k->view.rules[i];

		sg_text_addf(&t, "rule %u table %u family %u iif %s uid %u to %s", r->prio, r->table, r->family, r->iif,
			r->uid, r->to.family ? k_prefix_str(&r->to, buf) : "any");
		if (r->from.family)
			sg_text_addf(&t, " from %s", k_prefix_str(&r->from, buf));
		if (r->verdict == K_GO_ON)
			sg_text_addf(&t, " go on at %u", r->go_on);
		sg_text_add(&t, r->verdict == K_NOWHERE ? " nowhere\n" : "\n");
	}
	for (size_t i = 0; i < k->view.n_routes; i++) {
		const struct k_route *r = &k->view.routes[i];

		sg_text_addf(&t, "route %u of %u %s %s %u\n", r->dst.family, r->table, k_prefix_str(&r->dst, buf),
			r->unreachable ? "unreachable" : r->dev, r->metric);
	}
	for (size_t i = 0; i < k->n_sysctls; i++)
		sg_text_addf(&t, "%s %s\n", k->sysctls[i].key, k->sysctls[i].value);
	sg_text_add(&t, k->nft ? k->nft : "no table\n");
	return sorted(room);
}

static void has(const struct kernel *k, const char *line)
{
	char *p = picture(k);

	if (!strstr(p, line))
		fail_msg("\"%s\" is missing in:\n%s", line, p);
	free(p);
}

static void test_arm_twice_and_disarm(void **state)
{
	struct world *w = *state;
	char *before = picture(w->k), *armed, *after, *p;
	unsigned changes;

	assert_false(applier_found(w->k));
	w->k->view.multicast[0] = true; /* a kernel that has such rules for IPv4 only */
	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	p = picture(w->k);
	assert_null(strstr(p, "family 129"));
	free(p);
	assert_true(applier_found(w->k));
	has(w->k, "rule 5100 table 254 family 2 iif  uid 64011 to any\n");
	has(w->k, "rule 5100 table 254 family 10 iif  uid 64011 to any\n");
	has(w->k, "rule 5105 table 5100 family 2 iif  uid 0 to 192.168.77.0/24\n");
	has(w->k, "rule 5105 table 5100 family 10 iif  uid 0 to 2001:db8:77::/64\n");
	has(w->k, "rule 5107 table 0 family 2 iif br-lan uid 0 to any from 192.168.77.0/24 go on at 5110\n");
	has(w->k, "rule 5108 table 0 family 2 iif br-lan uid 0 to any nowhere\n");
	has(w->k, "rule 5108 table 0 family 10 iif eth1 uid 0 to any nowhere\n");
	has(w->k, "rule 5108 table 0 family 128 iif br-lan uid 0 to any nowhere\n");
	has(w->k, "rule 5110 table 5100 family 2 iif br-lan uid 0 to any\n");
	has(w->k, "rule 5110 table 5100 family 10 iif eth1 uid 0 to any\n");
	has(w->k, "rule 5110 table 5100 family 2 iif sky0 uid 0 to any\n");
	has(w->k, "route 2 of 5100 192.168.77.0/24 br-lan 0\n");
	has(w->k, "route 2 of 5100 0.0.0.0/0 unreachable 4278198272\n");
	has(w->k, "route 10 of 5100 ::/0 unreachable 4278198272\n");
	has(w->k, "net/ipv4/conf/wan0/forwarding 1\n");
	assert_int_equal(w->k->flushes, 1);
	assert_false(w->k->flushed_all);

	armed = picture(w->k);
	changes = w->k->changes;
	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	assert_int_equal(w->k->changes, changes);
	assert_int_equal(w->k->flushes, 1);
	/* Another process, as start after --arm: one transaction for the ruleset, nothing else. */
	applier_fini(&w->a);
	applier_init(&w->a, w->k, &w->run);
	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	assert_int_equal(w->k->changes, changes + 1);
	assert_int_equal(w->k->flushes, 1);
	after = picture(w->k);
	assert_string_equal(after, armed);
	free(after);

	assert_int_equal(apply(w, NETD_IS_OFF, 0), 0);
	after = picture(w->k);
	assert_string_equal(after, before);
	free(before);
	free(armed);
	free(after);
}

static void open_tun(struct world *w, const char *name)
{
	char why[128];
	bool offload;
	int fd;

	assert_int_equal(kernel_tun_open(w->k, name, &fd, &offload, why, sizeof(why)), 0);
	close(fd);
}

static void test_lease(void **state)
{
	struct world *w = *state;

	open_tun(w, "sky0");
	open_tun(w, "skyx0");
	assert_int_equal(apply(w, NETD_IS_CONNECTED, 0xac10000c), 0);
	assert_int_equal(apply(w, NETD_IS_CONNECTED, 0xac10000c), 0);
	has(w->k, "link sky0 1\n");
	has(w->k, "addr sky0 172.16.0.12/32\n");
	has(w->k, "rule 5105 table 5100 family 2 iif  uid 0 to any from 172.16.0.12/32\n");
	has(w->k, "addr skyx0 172.16.0.2/12\n");
	has(w->k, "route 2 of 5100 0.0.0.0/0 sky0 0\n");
	has(w->k, "net/ipv4/conf/sky0/rp_filter 2\n");
	has(w->k, "net/ipv6/conf/sky0/disable_ipv6 1\n");
	has(w->k, "net/ipv4/tcp_mtu_probing 1\n"); /* P11 */
	has(w->k, "net/ipv4/tcp_retries1 1\n");
	/* Another lease replaces it; without one nothing leads into the TUN. */
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0xac100014), 0);
	has(w->k, "addr sky0 172.16.0.20/32\n");
	assert_null(strstr(w->k->nft, "oifname \"sky0\" meta nfproto ipv4 accept"));
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	for (size_t i = 0; i < w->k->view.n_addrs; i++)
		assert_string_not_equal(w->k->view.addrs[i].dev, "sky0");
	for (size_t i = 0; i < w->k->view.n_routes; i++)
		assert_string_not_equal(w->k->view.routes[i].dev, "sky0");
}

/* Who has TCP look for what passes from its first packet on, 2, keeps that. */
static void test_an_owners_mtu_probing_stays(void **state)
{
	struct world *w = *state;

	fake_sysctl(w->k, "net/ipv4/tcp_mtu_probing", "2");
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	has(w->k, "net/ipv4/tcp_mtu_probing 2\n");
	fake_sysctl(w->k, "net/ipv4/tcp_mtu_probing", "0");
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	has(w->k, "net/ipv4/tcp_mtu_probing 1\n");
}

static void test_mended(void **state)
{
	struct world *w = *state;
	struct k_route foreign = {.dst = {.family = AF_INET}, .foreign = true, .dev = "wan0"};
	struct k_counts c;
	char *armed, *after;

	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	armed = picture(w->k);
	w->k->counts = (struct k_counts){.blocked = 7, .forged = 2};
	assert_int_equal(applier_counts(&w->a).blocked, 7);
	fake_nft_flush(w->k);
	w->k->view.n_rules -= 3;
	w->k->view.n_routes = 0;
	assert_int_equal(kernel_route(w->k, true, &foreign), 0);
	fake_sysctl(w->k, "net/ipv4/conf/all/accept_redirects", "1");
	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	after = picture(w->k);
	assert_string_equal(after, armed);
	/* What the lost table had counted is not forgotten. */
	w->k->counts.blocked = 3;
	c = applier_counts(&w->a);
	assert_int_equal(c.blocked, 10);
	assert_int_equal(c.forged, 2);
	/* The ruleset of others changes, ours does not: no transaction of ours. */
	w->k->gen++;
	w->k->changes = 0;
	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	assert_int_equal(w->k->changes, 0);
	free(armed);
	free(after);
}

static void test_lan_gets_another_prefix(void **state)
{
	struct world *w = *state;

	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	assert_non_null(strstr(w->k->nft, "iifname \"eth1\" meta nfproto ipv4 counter name forged drop"));
	fake_link(w->k, "eth1");
	fake_addr(w->k, "eth1", "10.3.0.1", 16);
	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	has(w->k, "route 2 of 5100 10.3.0.0/16 eth1 0\n");
	has(w->k, "rule 5105 table 5100 family 2 iif  uid 0 to 10.3.0.0/16\n");
	assert_non_null(strstr(w->k->nft, "iifname \"eth1\" ip saddr != { 10.3.0.0/16 } counter name forged drop"));
}

/* The owner gives other numbers, because somebody has ours: one call moves everything. */
static void test_other_numbers(void **state)
{
	struct world *w = *state;
	char *before = picture(w->k), *after;

	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	w->conf.table = 77000;
	w->conf.priority = 900;
	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	has(w->k, "rule 900 table 254 family 2 iif  uid 64011 to any\n");
	has(w->k, "rule 905 table 77000 family 2 iif  uid 0 to 192.168.77.0/24\n");
	has(w->k, "rule 910 table 77000 family 10 iif br-lan uid 0 to any\n");
	has(w->k, "route 2 of 77000 0.0.0.0/0 unreachable 4278198272\n");
	for (size_t i = 0; i < w->k->view.n_routes; i++)
		assert_int_equal(w->k->view.routes[i].table, 77000);
	for (size_t i = 0; i < w->k->view.n_rules; i++)
		assert_in_range(w->k->view.rules[i].prio, 900, 910);
	assert_int_equal(apply(w, NETD_IS_OFF, 0), 0);
	after = picture(w->k);
	assert_string_equal(after, before);
	free(before);
	free(after);
}

static void test_host(void **state)
{
	struct world *w = *state;

	w->conf.mode = NETD_HOST;
	w->conf.n_lans = 0;
	open_tun(w, "sky0");
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	has(w->k, "rule 5110 table 5100 family 2 iif lo uid 0 to any\n");
	has(w->k, "route 2 of 5100 0.0.0.0/0 sky0 0\n");
	has(w->k, "net/ipv4/conf/all/rp_filter 2\n");
	assert_true(w->k->flushed_all);
}

/* Each change fails once, in turn: said, mended by the next call, and closed all the time once the ruleset was in. */
static void test_every_step_fails(void **state)
{
	struct world *w = *state;
	char *good, *now;
	unsigned n = 1, failed = 0;

	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	good = picture(w->k);
	for (;; n++) {
		assert_int_equal(apply(w, NETD_IS_OFF, 0), 0);
		w->k->fail_at = n;
		if (apply(w, NETD_IS_BLOCKING, 0) == 0)
			break;
		failed++;
		assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
		now = picture(w->k);
		assert_string_equal(now, good);
		free(now);
	}
	print_message("%u failed changes of the kernel, each mended\n", failed);
	assert_true(failed > 20);
	w->k->fail_at = 0;
	free(good);
}

static void test_refused_ruleset_stays_closed(void **state)
{
	struct world *w = *state;

	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0xac10000c), 0);
	w->k->fail_at = 1;
	assert_true(apply(w, NETD_IS_CONNECTED, 0xac10000c) < 0);
	assert_non_null(strstr(w->k->nft, "counter name blocked drop"));
	assert_null(strstr(w->k->nft, "oifname \"sky0\" meta nfproto ipv4 accept"));
	assert_int_equal(apply(w, NETD_IS_CONNECTED, 0xac10000c), 0);
	assert_non_null(strstr(w->k->nft, "oifname \"sky0\" meta nfproto ipv4 accept"));
}

static void test_every_allocation_fails(void **state)
{
	struct world *w = *state;
	unsigned long n = 1;
	char *before, *good, *now;
	size_t live;
	int err;

	before = picture(w->k);
	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	good = picture(w->k);
	assert_int_equal(apply(w, NETD_IS_OFF, 0), 0);
	live = sg_alloc_live();
	for (;; n++) {
		fake_alloc_fail_at(n);
		err = apply(w, NETD_IS_ARMED, 0);
		if (!fake_alloc_failed())
			break;
		/* A failed reading of counters or of the saved file is no failure of the whole; else it is said. */
		fake_alloc_fail_at(0);
		assert_true(err == 0 || err == -ENOMEM);
		assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
		now = picture(w->k);
		assert_string_equal(now, good);
		free(now);
		assert_int_equal(apply(w, NETD_IS_OFF, 0), 0);
		now = picture(w->k);
		assert_string_equal(now, before);
		free(now);
		assert_int_equal(sg_alloc_live(), live);
	}
	fake_alloc_fail_at(0);
	assert_int_equal(err, 0);
	print_message("%lu failed allocations, each with a clean end\n", n - 1);
	assert_true(n - 1 > 0);
	free(before);
	free(good);
}

/*
 * The table that others cannot flush stands while traffic is steered and goes with disarming; a kernel that knows no
 * such tables is asked three times for each text, and all else is as before.
 */
static void test_guard(void **state)
{
	struct world *w = *state;

	assert_int_equal(apply(w, NETD_IS_ARMED, 0), 0);
	assert_null(w->k->guard); /* --arm ends at once, and its guard would with it */
	w->a.guards = true;
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	assert_true(w->k->guard && strstr(w->k->guard, "flags owner;"));
	fake_nft_flush(w->k);
	assert_non_null(w->k->guard);
	assert_int_equal(apply(w, NETD_IS_CONNECTED, 0xac10000c), 0);
	assert_non_null(w->k->nft);
	assert_int_equal(apply(w, NETD_IS_OFF, 0), 0);
	assert_null(w->k->guard);

	w->k->guard_refused = true;
	for (int i = 0; i < 5; i++)
		assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	assert_int_equal(w->k->guard_asked, 3);
	assert_non_null(w->k->nft);
	w->conf.n_lans = 1;
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	assert_int_equal(w->k->guard_asked, 4);
	w->k->guard_refused = false;
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	assert_non_null(w->k->guard);
	assert_int_equal(w->k->guard_asked, 4);
}

static void rename_link(struct kernel *k, const char *from, const char *to)
{
	for (size_t i = 0; i < k->view.n_links; i++) {
		if (strcmp(k->view.links[i].name, from) == 0)
			snprintf(k->view.links[i].name, IFNAMSIZ, "%s", to);
	}
	for (size_t i = 0; i < k->view.n_addrs; i++) {
		if (strcmp(k->view.addrs[i].dev, from) == 0)
			snprintf(k->view.addrs[i].dev, IFNAMSIZ, "%s", to);
	}
	for (size_t i = 0; i < k->view.n_routes; i++) {
		if (strcmp(k->view.routes[i].dev, from) == 0)
			snprintf(k->view.routes[i].dev, IFNAMSIZ, "%s", to);
	}
	for (size_t i = 0; i < k->n_sysctls; i++) {
		char head[64], key[80];

		snprintf(head, sizeof(head), "net/ipv4/conf/%s/", from);
		if (strncmp(k->sysctls[i].key, head, strlen(head)) != 0)
			continue;
		snprintf(key, sizeof(key), "net/ipv4/conf/%s/%s", to, k->sysctls[i].key + strlen(head));
		memcpy(k->sysctls[i].key, key, sizeof(key));
	}
}

/* A LAN interface that is renamed is the LAN still, also for the next netd; who takes its old name ends that. */
static void test_renamed(void **state)
{
	static const char steered[] = "rule 5110 table 5100 family 2 iif home9 uid 0 to any\n";
	struct world *w = *state;
	char *before, *p;

	fake_link(w->k, "home0"); /* of nobody */
	before = picture(w->k);
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	rename_link(w->k, "br-lan", "home9");
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	has(w->k, steered);
	has(w->k, "rule 5107 table 0 family 2 iif home9 uid 0 to any from 192.168.77.0/24 go on at 5110\n");
	assert_non_null(
		strstr(w->k->nft, "iifname \"home9\" ip saddr != { 192.168.77.0/24 } counter name forged drop"));
	assert_null(strstr(w->k->nft, "home0"));

	applier_fini(&w->a);
	applier_init(&w->a, w->k, &w->run);
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	has(w->k, steered);

	rename_link(w->k, "home9", "br-lan");
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	has(w->k, "rule 5110 table 5100 family 2 iif br-lan uid 0 to any\n");
	assert_int_equal(apply(w, NETD_IS_OFF, 0), 0);
	p = picture(w->k);
	assert_string_equal(p, before);
	free(p);
	free(before);

	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	rename_link(w->k, "br-lan", "home9");
	fake_link(w->k, "br-lan");
	assert_int_equal(apply(w, NETD_IS_BLOCKING, 0), 0);
	has(w->k, "rule 5110 table 5100 family 2 iif br-lan uid 0 to any\n");
	p = picture(w->k);
	assert_null(strstr(p, "iif home9"));
	free(p);
}

static void no_report(void *arg, unsigned line, const char *message)
{
	(void)arg;
	(void)line;
	(void)message;
}

static void test_every_allocation_of_the_configuration_fails(void **state)
{
	static const char text[] = "config visor 'main'\n\toption user '64011'\n"
				   "config interface 'home'\n\toption role 'lan'\n\tlist device 'br-lan'\n"
				   "config vpn_client 'vpn'\n\toption mode 'vpn'\n"
				   "config vpn_server 'exit'\n\toption uplink 'wan0'\n\tlist allow_net '10.3.0.0/16'\n";
	struct world *w = *state;
	struct netd_conf conf;
	char file[64];
	unsigned long n = 1;
	size_t live = sg_alloc_live();
	bool failed;
	FILE *f;
	int err;

	snprintf(file, sizeof(file), "%s/conf", w->dir);
	f = fopen(file, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(file, 0644), 0);
	for (;; n++) {
		fake_alloc_fail_at(n);
		err = netd_conf_load(file, no_report, NULL, &conf);
		failed = fake_alloc_failed();
		fake_alloc_fail_at(0);
		assert_int_equal(sg_alloc_live(), live);
		if (!failed)
			break;
		assert_true(err < 0);
	}
	assert_int_equal(err, 0);
	print_message("%lu failed allocations of the configuration, each refused whole\n", n - 1);
	assert_true(n - 1 > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_arm_twice_and_disarm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lease, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_owners_mtu_probing_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mended, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lan_gets_another_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_step_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_ruleset_stays_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_guard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renamed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_allocation_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_allocation_of_the_configuration_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
