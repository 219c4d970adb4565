/* The part of the configuration that netd reads itself: what is taken, and each refusal by its text. */
#include "base/common.h"
#include "base/err.h"
#include "netd/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define VISOR  "config visor 'main'\n\toption user '64011'\n"
#define LAN    "config interface 'home'\n\toption role 'lan'\n\tlist device 'br-lan'\n\tlist device 'eth1.10'\n"
#define CLIENT "config vpn_client 'vpn'\n\toption mode 'vpn'\n"
#define SERVER "config vpn_server 'exit'\n\toption uplink 'wan0'\n"

static char file[] = "/tmp/netd_conf.XXXXXX";

struct found {
	char text[4096];
	unsigned n;
};

static void report(void *arg, unsigned line, const char *message)
{
	struct found *f = arg;
	size_t len = strlen(f->text);

	(void)line;
	f->n++;
	snprintf(f->text + len, sizeof(f->text) - len, "%s\n", message);
}

static int load(const char *text, struct netd_conf *c, struct found *f)
{
	FILE *out = fopen(file, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	*f = (struct found){.n = 0};
	return netd_conf_load(file, report, f, c);
}

static void test_taken(void **state)
{
	struct netd_conf c;
	struct found f;

	(void)state;
	assert_int_equal(
		load(VISOR LAN CLIENT SERVER "\toption pool '10.9.0.0/16'\n\tlist allow_net '192.168.7.0/24'\n", &c,
			&f),
		0);
	assert_int_equal(f.n, 0);
	assert_int_equal(c.uid, 64011);
	assert_int_equal(c.gid, 64011);
	assert_int_equal(c.mode, NETD_VPN);
	assert_true(c.kill_switch);
	assert_int_equal(c.n_lans, 2);
	assert_true(netd_conf_is_lan(&c, "eth1.10"));
	assert_false(netd_conf_is_lan(&c, "wan0"));
	assert_true(c.server);
	assert_string_equal(c.uplink, "wan0");
	assert_int_equal(c.n_allow, 1);
	assert_int_equal(netd_conf_server_addr(&c).b[3], 2);

	assert_int_equal(c.table, 5100);
	assert_int_equal(c.priority, 5100);
	assert_int_equal(load(VISOR "config kernel\n\toption table '77000'\n\toption priority '900'\n", &c, &f), 0);
	assert_int_equal(c.table, 77000);
	assert_int_equal(c.priority, 900);

	assert_int_equal(load(VISOR SERVER "\toption pool '10.0.0.16/28'\n", &c, &f), 0);
	assert_int_equal(c.pool.bits, 28);
	assert_int_equal(load(VISOR SERVER "\toption pool '10.0.0.0/8'\n", &c, &f), 0);
	assert_int_equal(c.pool.bits, 8);

	assert_int_equal(load(VISOR, &c, &f), 0);
	assert_int_equal(c.mode, NETD_OFF);
	assert_false(c.server);
	assert_int_equal(load(VISOR "config vpn_client\n\toption mode host\n\toption kill_switch off\n", &c, &f), 0);
	assert_int_equal(c.mode, NETD_HOST);
	assert_false(c.kill_switch);
}

struct refusal {
	const char *text;
	const char *sentence; /* part of what is said */
	const char *cure;     /* likewise */
};

static const struct refusal refusals[] = {
	{"config visor 'main'\n\toption user 'root'\n",
		":2: visor: option user: 'root' is user 0. The kernel takes forwarded packets for those of user 0",
		"choose a user of its own:  option user 'skygate'"},
	{"config visor 'main'\n\toption user '0'\n", ":2: visor: option user: '0' is user 0.", "option user 'skygate'"},
	{"config visor 'main'\n\toption user '00'\n", "'00' is user 0.", "option user 'skygate'"},
	{"config visor 'main'\n\toption user 'nobody-of-that-name'\n", "there is no user 'nobody-of-that-name'",
		"adduser --system --group --no-create-home nobody-of-that-name"},
	{"config visor 'main'\n\toption user '4294967295'\n", "there is no user '4294967295'",
		"or name a number, never 0"},
	{VISOR VISOR, ":3: a second section visor; the first one is in line 1", "keep one of them"},
	{VISOR LAN "config vpn_client 'vpn'\n\toption mode 'vpm'\n",
		":8: vpn_client 'vpn': option mode: 'vpm' is none of its values", "accepted: off, vpn, host"},
	{VISOR CLIENT, ":3: vpn_client 'vpn': mode 'vpn' needs the interfaces of the LAN", "option role 'lan'"},
	{VISOR LAN CLIENT "\toption kill_switch 'perhaps'\n", "option kill_switch: 'perhaps' is neither on nor off",
		"accepted: 0, 1"},
	{VISOR LAN CLIENT CLIENT, "a second section vpn_client; the first one is in line 7", "keep one of them"},
	{VISOR "config interface 'x'\n\toption role 'lan'\n\tlist device 'a\" accept \"'\n",
		"interface: list device: 'a\" accept \"' is not an interface's name", "accepted: 1 to 15 of"},
	{VISOR "config interface 'x'\n\toption role 'lan'\n\tlist device 'eth*'\n", "'eth*' is not an interface's name",
		"accepted: 1 to 15 of"},
	{VISOR "config interface 'x'\n\toption role 'lan'\n\tlist device 'sky0'\n", "'sky0' cannot be named here",
		"an interface of the machine, not ours"},
	{VISOR "config vpn_server 'e'\n", "vpn_server 'e': option uplink is missing", "option uplink 'eth0'"},
	{VISOR LAN CLIENT "config vpn_server 'e'\n\toption uplink 'br-lan'\n",
		"option uplink: 'br-lan' has the role 'lan' too", "name the interface toward the internet"},
	{VISOR SERVER "\toption pool '172.16.0.1/12'\n", "option pool: '172.16.0.1/12' is not a pool of addresses",
		"such as 172.16.0.0/12, its host bits 0"},
	{VISOR SERVER "\toption pool '10.0.0.0/29'\n", "'10.0.0.0/29' is not a pool", "from /8 to /28"},
	{VISOR SERVER "\toption pool '10.0.0.0/7'\n", "'10.0.0.0/7' is not a pool", "from /8 to /28"},
	{VISOR SERVER "\tlist allow_net 'everything'\n", "list allow_net: 'everything' is not a network",
		"such as 192.168.1.0/24"},
	{VISOR "config kernel 'k'\n\toption table '254'\n", ":4: kernel 'k': option table: '254' is not possible",
		"accepted: 256 to 4294967294"},
	{VISOR "config kernel 'k'\n\toption priority '32766'\n", "option priority: '32766' is not possible",
		"accepted: 1 to 32000"},
	{"config visor 'main\n", ":1: ", ""},
};

static void test_refused(void **state)
{
	struct netd_conf c;
	struct found f;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(refusals); i++) {
		int err = load(refusals[i].text, &c, &f);

		if (err != SG_ECONF || f.n != 1 || !strstr(f.text, refusals[i].sentence) ||
			!strstr(f.text, refusals[i].cure) || strncmp(f.text, file, strlen(file)) != 0)
			fail_msg("case %zu gave %d and %u findings:\n%s", i, err, f.n, f.text);
	}
}

static void test_too_many(void **state)
{
	char text[4096] = VISOR "config interface 'x'\n\toption role 'lan'\n";
	struct netd_conf c;
	struct found f;

	(void)state;
	for (int i = 0; i <= SG_LANS_MAX; i++) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, "\tlist device 'eth%d'\n", i);
	}
	assert_int_equal(load(text, &c, &f), SG_ECONF);
	assert_non_null(strstr(f.text, "more than 16 interfaces with role 'lan'"));
}

static void test_missing_file(void **state)
{
	struct netd_conf c;
	struct found f = {.n = 0};

	(void)state;
	assert_int_equal(netd_conf_load("/nonexistent/skygate.conf", report, &f, &c), SG_ECONF);
	assert_int_equal(f.n, 1);
	assert_non_null(strstr(f.text, "/nonexistent/skygate.conf: no such file"));
}

/* Whoever may write the file rules the kill switch. */
static void test_writable_by_core(void **state)
{
	char self[128];
	struct netd_conf c;
	struct found f;

	(void)state;
	assert_int_equal(chmod(file, 0666), 0);
	assert_int_equal(load(VISOR, &c, &f), SG_ECONF);
	assert_non_null(strstr(f.text, "everybody may change this file, and with it the kill switch"));
	assert_non_null(strstr(f.text, "chown root "));
	assert_int_equal(chmod(file, 0644), 0);
	if (geteuid() != 0) {
		snprintf(self, sizeof(self), "config visor 'main'\n\toption user '%u'\n", (unsigned)geteuid());
		assert_int_equal(load(self, &c, &f), SG_ECONF);
		assert_non_null(strstr(f.text, "is the user that skygate-netd itself runs as"));
		return;
	}
	assert_int_equal(chown(file, 64011, 0), 0);
	assert_int_equal(load(VISOR, &c, &f), SG_ECONF);
	assert_non_null(strstr(f.text, "core's user may change this file, and with it the kill switch"));
}

static int setup(void **state)
{
	int fd = mkstemp(file);

	(void)state;
	return fd < 0 || fchmod(fd, 0644) < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_missing_file),
		cmocka_unit_test(test_writable_by_core),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
