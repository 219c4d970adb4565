/* The control socket as strangers see it: framing, roles, parameters, limits, and a reader that does not read. */
#include "base/common.h"
#include "base/limits.h"
#include "core_fixture.h"
#include "wire/jsonrpc.h"

#include <arpa/inet.h>
#include <grp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static int setup(void **state)
{
	struct fixture *f = fixture_new();

	fixture_conf(f, "\tlist plugin 'alpha'\n", "");
	fixture_start(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int status = fixture_stop(f);

	fixture_free(f);
	return status;
}

static void expect(struct fixture *f, int fd, const char *request, const char *part)
{
	const char *line;

	fixture_send(fd, request);
	line = fixture_line(f, fd);
	assert_non_null(line);
	if (!strstr(line, part))
		fail_msg("no %s in %s", part, line);
}

static void test_framing(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_connect(f);
	char one[] = "?";

	expect(f, fd, "nonsense\n", "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,");
	expect(f, fd, "\n\n{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"no.such\"}\n",
		"\"id\":\"a\",\"error\":{\"code\":-32601,\"message\":\"there is no method 'no.such'\"}");
	/* Byte by byte, and two in one write. */
	for (const char *s = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"stream.list\"}"; *s; s++) {
		one[0] = *s;
		fixture_send(fd, one);
	}
	expect(f, fd, "\n", "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"streams\":[]}}");
	expect(f, fd,
		"{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"stream.list\"}\n{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":"
		"\"stream.list\"}\n",
		"\"id\":8,");
	assert_non_null(strstr(fixture_line(f, fd), "\"id\":9,"));
	/* A notification is not answered; the next request is. */
	expect(f, fd,
		"{\"jsonrpc\":\"2.0\",\"method\":\"stream.list\"}\n{\"jsonrpc\":\"2.0\",\"id\":10,\"method\":\"stream."
		"list\"}\n",
		"\"id\":10,");
	close(fd);
}

/* A reload is answered later; what came behind it on the line is answered after it, in order. */
static void test_pipelined_behind_a_reload(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_connect(f);

	expect(f, fd,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"config.reload\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":"
		"\"stream.list\"}\n"
		"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"stream.list\"}\n",
		"\"id\":1,\"result\":{\"ok\":true");
	assert_non_null(strstr(fixture_line(f, fd), "\"id\":2,"));
	assert_non_null(strstr(fixture_line(f, fd), "\"id\":3,"));
	close(fd);
}

static void test_params(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *method, *params, *part;
	} rows[] = {
		{"log.level", NULL,
			"-32602,\"message\":\"log.level: parameter level is missing: error, warn, info or debug\""},
		{"log.level", "{\"level\":3}", "log.level: parameter level is not a string"},
		{"log.level", "{\"level\":\"in\\u0000fo\"}", "-32700"},
		{"log.level", "{\"level\":\"loud\"}", "'loud' is not a level\\n  accepted: error, warn, info, debug"},
		{"log.level", "{\"level\":\"info\",\"more\":1}", "log.level: unknown parameter 'more'"},
		{"stream.list", "{\"from\":-1}", "stream.list: parameter from is not a number, not negative"},
		{"log.follow", "{\"follow\":1}", "log.follow: parameter follow is not true or false"},
		{"transport.add", "{\"pk\":\"02\"}", "'02' is not a public key"},
		{"transport.rm", "{\"pk\":\"02\"}", "'02' fits the key of no transport"},
		{"route.find", "{\"pk\":\"\"}", "'' is not a public key"},
		{"visor.ping", "{\"pk\":\"02ff\"}", "the beginning of a key that is known here"},
		{"vpn.start", NULL, "vpn.start: the plugin app-vpn is not running"},
	};

	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		json_t *answer = fixture_ask(f, rows[i].method, rows[i].params);

		assert_non_null(json_object_get(answer, "error"));
		if (!strstr(f->buf, rows[i].part))
			fail_msg("no %s in %s", rows[i].part, f->buf);
		json_decref(answer);
	}
}

static void test_line_limit(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_connect(f);
	char *big = malloc(SG_CONTROL_LINE_MAX + 2);

	/* The longest line that may be. */
	snprintf(big, SG_CONTROL_LINE_MAX + 2, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%*s\"}",
		SG_CONTROL_LINE_MAX - 36, "x");
	assert_int_equal(strlen(big), SG_CONTROL_LINE_MAX);
	memcpy(big + SG_CONTROL_LINE_MAX, "\n", 2);
	expect(f, fd, big, "-32601");
	/* One more, and the connection ends. */
	memset(big, 'x', SG_CONTROL_LINE_MAX + 1);
	big[SG_CONTROL_LINE_MAX + 1] = '\0';
	expect(f, fd, big, "-32600,\"message\":\"the request is longer than 65536 bytes\"");
	assert_null(fixture_line(f, fd));
	close(fd);
	free(big);
}

static void test_too_many_clients(void **state)
{
	struct fixture *f = *state;
	int fds[SG_CONTROL_CLIENTS], fd;

	for (size_t i = 0; i < SG_CONTROL_CLIENTS; i++) {
		fds[i] = fixture_connect(f);
		expect(f, fds[i], "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stream.list\"}\n", "result");
	}
	fd = fixture_connect(f);
	assert_non_null(strstr(fixture_line(f, fd), "too many clients are connected"));
	assert_null(fixture_line(f, fd));
	close(fd);
	for (size_t i = 0; i < SG_CONTROL_CLIENTS; i++)
		close(fds[i]);
}

/* Requests faster than their answers are read: they wait in the socket, and every one is answered in its turn. */
static void test_answers_that_pile_up(void **state)
{
	struct fixture *f = *state;
	int fd = fixture_connect(f), status;
	char request[128];
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 2000; i++) {
			snprintf(request, sizeof(request),
				"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"counter.list\"}\n", i);
			fixture_send(fd, request);
		}
		_exit(0);
	}
	for (int i = 0; i < 2000; i++) {
		snprintf(request, sizeof(request), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{\"counters\":[", i);
		assert_non_null(fixture_line(f, fd));
		assert_memory_equal(f->buf, request, strlen(request));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
}

/* ---- roles -------------------------------------------------------------------------------------------------------- */

/* Runs @fn in a child as another user, whose exit status must be 0. */
static void as_user(struct fixture *f, gid_t gid, bool in_our_group, int (*fn)(struct fixture *f))
{
	const gid_t extra = getegid();
	int status;
	pid_t pid;

	/* Files on the way are closed to others; that is not what is tested here. */
	chmod(f->dir, 0755);
	chmod(f->socket, 0777);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (setgroups(in_our_group, &extra) < 0 || setgid(gid) < 0 || setuid(64007) < 0)
			_exit(90);
		_exit(fn(f));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Asks every method of the table; viewers get answers or errors of the matter from theirs, and a refusal from others. */
static int ask_all_as_viewer(struct fixture *f)
{
	for (const struct sg_method_row *m = sg_methods(); m->name; m++) {
		json_t *answer = fixture_ask(f, m->name, NULL), *error = json_object_get(answer, "error");
		bool refused = json_integer_value(json_object_get(error, "code")) == SG_RPC_FORBIDDEN;

		if (refused != (m->role == SG_ROLE_ADMIN)) {
			print_error("%s: %s\n", m->name, f->buf);
			return 1;
		}
		json_decref(answer);
	}
	return 0;
}

/*
 * A viewer that asked without a pause took most of the loop's time. Its requests are all answered, but beyond the first
 * SG_CONTROL_LOOKS not sooner than SG_CONTROL_LOOKS_S a second.
 */
static int flood_as_viewer(struct fixture *f)
{
	struct sg_mono start = sg_clock_system()->now(sg_clock_system());
	int fd = fixture_connect(f);
	int64_t took;

	for (int i = 0; i < SG_CONTROL_LOOKS + SG_CONTROL_LOOKS_S; i++)
		fixture_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stream.list\"}\n");
	for (int i = 0; i < SG_CONTROL_LOOKS + SG_CONTROL_LOOKS_S; i++) {
		if (!fixture_line(f, fd) || !strstr(f->buf, "result"))
			return 1;
	}
	took = sg_mono_ms_since(sg_clock_system()->now(sg_clock_system()), start);
	print_message("%d requests were answered within %d ms\n", SG_CONTROL_LOOKS + SG_CONTROL_LOOKS_S, (int)took);
	return took < 1000 - 1000 / SG_CONTROL_LOOKS_S ? 2 : 0;
}

/* The same with a connection for each request: what a new one may ask at once is not its own. */
static int flood_as_viewers(struct fixture *f)
{
	struct sg_mono start = sg_clock_system()->now(sg_clock_system());

	for (int i = 0; i < SG_CONTROL_LOOKS + SG_CONTROL_LOOKS_S; i++) {
		int fd = fixture_connect(f);

		fixture_send(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stream.list\"}\n");
		if (!fixture_line(f, fd) || !strstr(f->buf, "result"))
			return 1;
		close(fd);
	}
	return sg_mono_ms_since(sg_clock_system()->now(sg_clock_system()), start) < 1000 - 1000 / SG_CONTROL_LOOKS_S
		       ? 2
		       : 0;
}

/* Whatever a stranger asks, it is refused before it is read. */
static int ask_all_as_stranger(struct fixture *f)
{
	for (const struct sg_method_row *m = sg_methods(); m->name; m++) {
		json_t *answer = fixture_ask(f, m->name, NULL), *error = json_object_get(answer, "error");

		if (json_integer_value(json_object_get(error, "code")) != SG_RPC_FORBIDDEN) {
			print_error("%s: %s\n", m->name, f->buf);
			return 1;
		}
		json_decref(answer);
	}
	return 0;
}

static void test_roles(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	as_user(f, 64007, true, ask_all_as_viewer);
	as_user(f, getegid(), false, ask_all_as_viewer);
	as_user(f, 64007, true, flood_as_viewer);
	as_user(f, 64007, true, flood_as_viewers);
	as_user(f, 64007, false, ask_all_as_stranger);
}

/* ---- following the log -------------------------------------------------------------------------------------------- */

#define RELOADS 4000 /* log lines of each: more than the socket, the queue and the ring hold together */

static void test_follower_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	int slow = fixture_connect(f), fd = fixture_connect(f);
	json_int_t shown = 0, dropped = 0;
	const char *line;

	expect(f, slow, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"log.follow\",\"params\":{\"follow\":true}}\n",
		"\"lines\":[");
	for (int i = 0; i < RELOADS; i++)
		expect(f, fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"config.reload\"}\n", "\"ok\":true");
	while (shown + dropped < RELOADS) {
		json_t *note;

		line = fixture_line(f, slow);
		assert_non_null(line);
		note = json_loads(line, 0, NULL);
		if (strcmp(json_string_value(json_object_get(note, "method")), "log.dropped") == 0)
			dropped += json_integer_value(json_object_get(json_object_get(note, "params"), "lines"));
		else
			shown++;
		json_decref(note);
	}
	assert_int_equal(shown + dropped, RELOADS);
	assert_true(dropped > 0);
	close(slow);
	close(fd);
}

/* ---- pages ------------------------------------------------------------------------------------------------------ */

#define EXITS 200

static void send_all(int fd, const char *text)
{
	for (size_t at = 0, len = strlen(text); at < len;) {
		ssize_t n = send(fd, text + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

/* A service discovery with so many exits: whoever asks gets all of them. */
static void list_exits(int listen_fd, const struct sg_pk *pks)
{
	static char list[EXITS * 100];
	char head[128], request[2048], pk[SG_PK_TEXT];
	size_t len = 0;

	for (size_t i = 0; i < EXITS; i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s{\"address\":\"%s:44\"}", i ? "," : "[",
			sg_pk_str(&pks[i], pk));
	snprintf(list + len, sizeof(list) - len, "]");
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(list));
	for (;;) {
		int fd = accept(listen_fd, NULL, NULL);

		if (fd >= 0 && recv(fd, request, sizeof(request), 0) > 0) {
			send_all(fd, head);
			send_all(fd, list);
		}
		close(fd);
	}
}

static pid_t start_discovery(const struct sg_pk *pks, unsigned *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	pid_t pid;

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		list_exits(fd, pks);
	close(fd);
	return pid;
}

static void make_keys(struct sg_pk pks[EXITS])
{
	struct sg_crypto *crypto = sg_crypto_new(sg_random_system());

	for (size_t i = 0; i < EXITS; i++) {
		struct sg_sk sk;

		sg_sk_generate(crypto, &sk);
		assert_int_equal(sg_pk_of(crypto, &sk, &pks[i]), 0);
	}
	sg_crypto_free(crypto);
}

/* Each of them once, in order, and no page behind the last. */
static void test_pages(void **state)
{
	static const struct {
		unsigned from;
		size_t n;
		bool more;
	} pages[] = {{0, CORE_PAGE, true}, {CORE_PAGE, CORE_PAGE, true}, {2 * CORE_PAGE, EXITS - 2 * CORE_PAGE, false},
		{999, 0, false}};
	static struct sg_pk pks[EXITS];
	struct fixture *f = fixture_new();
	char conf[160], params[32], pk[SG_PK_TEXT];
	unsigned port;
	pid_t pid;

	(void)state;
	make_keys(pks);
	pid = start_discovery(pks, &port);
	snprintf(conf, sizeof(conf), "config deployment 'net'\n\toption service_discovery 'http://127.0.0.1:%u'\n",
		port);
	fixture_conf(f, "", conf);
	fixture_start(f);
	for (size_t i = 0; i < SG_ARRAY_LEN(pages); i++) {
		json_t *answer, *result, *exits;

		snprintf(params, sizeof(params), "{\"from\":%u}", pages[i].from);
		answer = fixture_ask(f, "exit.list", params);
		result = json_object_get(answer, "result");
		exits = json_object_get(result, "exits");
		assert_int_equal(json_array_size(exits), pages[i].n);
		for (size_t k = 0; k < pages[i].n; k++)
			assert_string_equal(json_string_value(json_object_get(json_array_get(exits, k), "pk")),
				sg_pk_str(&pks[pages[i].from + k], pk));
		assert_int_equal(json_integer_value(json_object_get(result, "next")),
			pages[i].more ? pages[i].from + CORE_PAGE : 0);
		json_decref(answer);
	}
	assert_int_equal(fixture_stop(f), 0);
	fixture_free(f);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_framing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined_behind_a_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_params, setup, teardown),
		cmocka_unit_test_setup_teardown(test_line_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_clients, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_that_pile_up, setup, teardown),
		cmocka_unit_test_setup_teardown(test_roles, setup, teardown),
		cmocka_unit_test_setup_teardown(test_follower_that_does_not_read, setup, teardown),
		cmocka_unit_test(test_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
