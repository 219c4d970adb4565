/* Reload and the way in and out: what runs afterwards, and that a bad configuration changes nothing. */
#include "base/common.h"
#include "core_fixture.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static int setup(void **state)
{
	*state = fixture_new();
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

/* "alpha running, beta stopped", in the order of loading. */
static void expect_plugins(struct fixture *f, const char *expected)
{
	json_t *answer = fixture_ask(f, "plugin.list", NULL), *p;
	char text[256];
	struct sg_text t = sg_text(text, sizeof(text));
	size_t i;

	json_array_foreach(json_object_get(json_object_get(answer, "result"), "plugins"), i, p)
		sg_text_addf(&t, "%s%s %s", i ? ", " : "", json_string_value(json_object_get(p, "name")),
			json_string_value(json_object_get(p, "state")));
	assert_string_equal(text, expected);
	json_decref(answer);
}

static json_int_t counter(struct fixture *f, const char *name)
{
	json_t *answer = fixture_ask(f, "counter.list", NULL), *c;
	json_int_t value = -1;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(answer, "result"), "counters"), i, c)
	{
		if (strcmp(json_string_value(json_object_get(c, "name")), name) == 0)
			value = json_integer_value(json_object_get(c, "value"));
	}
	json_decref(answer);
	return value;
}

static void reload(struct fixture *f, const char *part)
{
	json_decref(fixture_ask(f, "config.reload", NULL));
	if (!strstr(f->buf, part))
		fail_msg("no %s in %s", part, f->buf);
}

#define BOTH "\tlist plugin 'alpha'\n\tlist plugin 'beta'\n"

static void test_start_and_stop(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	fixture_conf(f, BOTH, "");
	fixture_start(f);
	expect_plugins(f, "alpha running, beta running");
	assert_int_equal(stat(f->socket, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(fixture_stop(f), 0);
	assert_int_equal(stat(f->socket, &st), -1);
}

static void test_plugins_come_and_go(void **state)
{
	struct fixture *f = *state;

	fixture_conf(f, "\tlist plugin 'alpha'\n", "");
	fixture_start(f);
	fixture_conf(f, BOTH, "config beta\n");
	reload(f, "\"ok\":true");
	expect_plugins(f, "alpha running, beta running");
	assert_int_equal(counter(f, "alpha.reloads"), 1);
	fixture_conf(f, "\tlist plugin 'beta'\n", "");
	reload(f, "\"ok\":true");
	expect_plugins(f, "alpha stopped, beta running");
	fixture_conf(f, BOTH, "");
	reload(f, "\"ok\":true");
	expect_plugins(f, "alpha running, beta running");
	assert_int_equal(counter(f, "alpha.starts"), 1);
	assert_int_equal(counter(f, "alpha.reloads"), 0);
	assert_int_equal(fixture_stop(f), 0);
}

/* One that cannot take it over is stopped, also when that takes time, and started. */
static void test_restart_of_a_plugin(void **state)
{
	struct fixture *f = *state;

	fixture_conf(f, BOTH, "");
	fixture_start(f);
	reload(f, "\"ok\":true");
	assert_int_equal(counter(f, "alpha.reloads"), 1);
	fixture_conf(f, BOTH, "config alpha\n\toption restart '1'\n\toption stop_ms '200'\n");
	reload(f, "\"ok\":true");
	assert_int_equal(counter(f, "alpha.reloads"), 0);
	expect_plugins(f, "alpha running, beta running");
	assert_int_equal(fixture_stop(f), 0);
}

static void test_bad_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char part[512];
	FILE *out;

	fixture_conf(f, BOTH, "config alpha\n");
	fixture_start(f);
	fixture_conf(f, "\tlist plugin 'alpha'\n", "config alpha\n\toption stop_ms '99999'\n");
	snprintf(part, sizeof(part),
		"{\"ok\":false,\"file\":\"%s\",\"errors\":1,\"findings\":[{\"line\":7,\"text\":\"%s:7: alpha: option "
		"stop_ms: '99999' is "
		"not in the range\\n  accepted: 0 to 60000\"}]}",
		f->config, f->config);
	reload(f, part);
	expect_plugins(f, "alpha running, beta running");
	assert_int_equal(counter(f, "alpha.reloads"), 0);
	/* The check says the same and does not even try. */
	json_decref(fixture_ask(f, "config.check", NULL));
	assert_non_null(strstr(f->buf, part));
	/* What only a new process can take over. */
	snprintf(part, sizeof(part), "option user cannot change while skygated runs\\n  systemctl restart skygate");
	out = fopen(f->config, "w");
	fprintf(out, "config visor 'main'\n\toption identity '%s'\n\toption user '64002'\n\toption sandbox '0'\n",
		f->identity);
	fclose(out);
	reload(f, part);
	expect_plugins(f, "alpha running, beta running");
	assert_int_equal(fixture_stop(f), 0);
}

static void test_going_back(void **state)
{
	struct fixture *f = *state;

	fixture_conf(f, "\tlist plugin 'alpha'\n", "");
	fixture_start(f);
	fixture_conf(f, BOTH, "config beta\n\toption fail '1'\n");
	reload(f, "-32000,\"message\":\"plugin beta does not start with the new configuration: it was told to fail\\n"
		  "  the old one is in force again\"");
	expect_plugins(f, "alpha running, beta failed");
	/* And it works once that is mended. */
	fixture_conf(f, BOTH, "config beta\n");
	reload(f, "\"ok\":true");
	expect_plugins(f, "alpha running, beta running");
	assert_int_equal(fixture_stop(f), 0);
}

static void test_one_reload_at_a_time(void **state)
{
	struct fixture *f = *state;
	int a, b;

	fixture_conf(f, "\tlist plugin 'alpha'\n", "config alpha\n\toption restart '1'\n\toption stop_ms '300'\n");
	fixture_start(f);
	a = fixture_connect(f);
	b = fixture_connect(f);
	fixture_send(a, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"config.reload\"}\n");
	/* An answer on the other line: the first request was read. */
	json_decref(fixture_ask(f, "stream.list", NULL));
	fixture_send(b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"config.reload\"}\n");
	assert_non_null(strstr(fixture_line(f, b), "a reload is under way already"));
	assert_non_null(strstr(fixture_line(f, a), "\"ok\":true"));
	close(a);
	close(b);
	assert_int_equal(fixture_stop(f), 0);
}

/* The caller leaves, the daemon is told to end: in the middle of a reload neither hurts. */
static void test_end_within_a_reload(void **state)
{
	struct fixture *f = *state;
	int a;

	fixture_conf(f, BOTH, "config alpha\n\toption restart '1'\n\toption stop_ms '300'\n");
	fixture_start(f);
	a = fixture_connect(f);
	fixture_send(a, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"config.reload\"}\n");
	json_decref(fixture_ask(f, "stream.list", NULL));
	close(a);
	assert_int_equal(fixture_stop(f), 0);
}

static void test_sighup(void **state)
{
	struct fixture *f = *state;

	fixture_conf(f, "\tlist plugin 'alpha'\n", "");
	fixture_start(f);
	kill(f->pid, SIGHUP);
	for (int i = 0; i < 1000 && counter(f, "alpha.reloads") == 0; i++)
		nanosleep(&(struct timespec){0, 5000000}, NULL);
	assert_int_equal(counter(f, "alpha.reloads"), 1);
	assert_int_equal(fixture_stop(f), 0);
}

/* A plugin that does not end is not waited for longer than five seconds, and the exit is orderly all the same. */
static void test_stop_has_a_limit(void **state)
{
	struct fixture *f = *state;
	struct timespec before, after;

	fixture_conf(f, BOTH, "config alpha\n\toption stop_ms '60000'\n");
	fixture_start(f);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(fixture_stop(f), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(after.tv_sec - before.tv_sec, 4, 30);
}

/* ---- with netd ---------------------------------------------------------------------------------------------------- */

/* The next question of the daemon; heartbeats are skipped. */
static void netd_question(int fd, uint8_t type, struct sg_netd_msg *m)
{
	struct pollfd p = {fd, POLLIN, 0};
	int pass;

	do {
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(sg_netd_recv(fd, true, m, &pass), 0);
	} while (m->type == SG_NETD_HEARTBEAT);
	assert_int_equal(m->type, type);
}

static void netd_answer(int fd, const struct sg_netd_msg *question, int err, const char *text)
{
	struct sg_netd_msg m = {.type = question->type | SG_NETD_ANSWER, .id = question->id, .err = err};

	snprintf(m.text, sizeof(m.text), "%s", text);
	if (question->type == SG_NETD_COUNTERS && err == 0)
		m.u.status = (struct sg_netd_status){
			.mode = 1, .kill_switch = true, .rules_in_place = true, .path = 1, .blocked = 1204};
	assert_int_equal(sg_netd_send(fd, &m, -1), 0);
}

static int start_with_netd(struct fixture *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	f->netd = pair[1];
	f->ours = pair[0];
	fixture_start(f);
	return pair[0];
}

/* netd is asked before anything changes; what it refuses is told in its words, and nothing has changed. */
static void test_netd_decides(void **state)
{
	struct fixture *f = *state;
	struct sg_netd_msg m;
	int netd, fd;

	fixture_conf(f, "\tlist plugin 'alpha'\n", "");
	netd = start_with_netd(f);
	fixture_conf(f, BOTH, "");
	fd = fixture_connect(f);
	fixture_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"config.reload\"}\n");
	netd_question(netd, SG_NETD_APPLY, &m);
	expect_plugins(f, "alpha running, beta stopped");
	netd_answer(netd, &m, -22, "mode 'vpn' needs the interfaces of the LAN");
	assert_non_null(strstr(fixture_line(f, fd), "-32000,\"message\":\"skygate-netd refuses the configuration: mode "
						    "'vpn' needs the interfaces of the LAN\\n"
						    "  nothing was changed\""));
	expect_plugins(f, "alpha running, beta stopped");
	assert_int_equal(counter(f, "alpha.reloads"), 0);
	fixture_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"config.reload\"}\n");
	netd_question(netd, SG_NETD_APPLY, &m);
	netd_answer(netd, &m, 0, "");
	assert_non_null(strstr(fixture_line(f, fd), "\"ok\":true"));
	expect_plugins(f, "alpha running, beta running");
	close(fd);
	assert_int_equal(fixture_stop(f), 0);
	close(netd);
}

/* What status says of the kernel was read for this answer; when netd cannot say, neither does status. */
static void test_status_asks_netd(void **state)
{
	struct fixture *f = *state;
	struct sg_netd_msg m;
	int netd, fd;

	fixture_conf(f, "", "");
	netd = start_with_netd(f);
	fd = fixture_connect(f);
	fixture_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"visor.status\"}\n");
	netd_question(netd, SG_NETD_COUNTERS, &m);
	netd_answer(netd, &m, 0, "");
	assert_non_null(strstr(fixture_line(f, fd), "\"kernel\":{\"answered\":true,\"mode\":\"vpn\",\"kill_switch\":"
						    "true,\"rules_in_place\":true,\"path\":\"down\","
						    "\"blocked\":1204,"));
	fixture_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"visor.status\"}\n");
	netd_question(netd, SG_NETD_COUNTERS, &m);
	netd_answer(netd, &m, -5, "the kernel does not answer");
	assert_non_null(
		strstr(fixture_line(f, fd), "\"kernel\":{\"answered\":false,\"why\":\"the kernel does not answer\"}"));
	/* Asked again, and gone: the caller hears of it, and the daemon ends, for it is not safe alone. */
	fixture_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"visor.status\"}\n");
	netd_question(netd, SG_NETD_COUNTERS, &m);
	close(netd);
	assert_non_null(strstr(fixture_line(f, fd), "\"id\":3,\"result\""));
	assert_null(fixture_line(f, fd));
	close(fd);
	assert_int_equal(fixture_wait(f), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_start_and_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plugins_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_of_a_plugin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_going_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_reload_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_within_a_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sighup, setup, teardown),
		cmocka_unit_test_setup_teardown(test_netd_decides, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status_asks_netd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_has_a_limit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
