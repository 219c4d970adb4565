/*
 * The transport log: bytes of a day per transport, over connections, restarts and midnight, and the file that everybody may
 * fetch on dmsg port 80, as the existing visors write and serve it.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/clock.h"
#include "net/serve.h"
#include "net/tplog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define MORNING 1795190761 /* 2026-11-20 16:06:01 UTC */

static int64_t wall;

static int64_t wall_s(void)
{
	return wall;
}

struct world {
	struct fake_clock clock;
	struct sg_loop *loop;
	struct store *store;
	struct tplog *log;
	struct sg_tpid a, b;
};

struct file {
	unsigned calls;
	bool there;
	char text[4096];
};

static void on_csv(void *arg, const char *csv, size_t len)
{
	struct file *f = arg;

	f->calls++;
	f->there = csv != NULL;
	snprintf(f->text, sizeof(f->text), "%.*s", (int)len, csv ? csv : "");
}

static void turn(struct world *w)
{
	for (int i = 0; i < 5; i++)
		sg_loop_step(w->loop, 0);
}

static void expect_file(struct world *w, const char *date, const char *want)
{
	struct file f = {0};

	assert_int_equal(tplog_csv(w->log, date, on_csv, &f), 0);
	assert_int_equal(f.calls, 0);
	turn(w);
	assert_int_equal(f.calls, 1);
	assert_int_equal(f.there, want != NULL);
	assert_string_equal(f.text, want ? want : "");
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	wall = MORNING;
	fake_clock_init(&w->clock);
	w->loop = sg_loop_new(&w->clock.base);
	w->store = store_new(w->loop, wall_s);
	w->log = tplog_new(w->loop, w->store, wall_s);
	assert_non_null(w->log);
	assert_int_equal(sg_tpid_parse("4c6fd8e8-86c8-08db-b4d9-47e980b19da0", 36, &w->a), 0);
	assert_int_equal(sg_tpid_parse("00000000-0000-0000-0000-000000000001", 36, &w->b), 0);
	turn(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	tplog_free(w->log);
	store_free(w->store);
	sg_loop_free(w->loop);
	free(w);
	return 0;
}

static void restart(struct world *w)
{
	tplog_flush(w->log);
	turn(w);
	tplog_free(w->log);
	w->log = tplog_new(w->loop, w->store, wall_s);
	assert_non_null(w->log);
}

static void counted_over_connections(void **state)
{
	struct world *w = *state;

	expect_file(w, "2026-11-20", NULL);
	/* Nothing was carried: no line. */
	tplog_count(w->log, &w->b, 0, 0, false);
	tplog_count(w->log, &w->a, 0, 10, false);
	tplog_count(w->log, &w->a, 0, 6000, true);
	tplog_count(w->log, &w->a, 0, 10, false);
	expect_file(w, "2026-11-20",
		"tp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,0,6010,1795190761\n");
	/* A new connection whose old one was not seen to end. */
	wall++;
	tplog_count(w->log, &w->a, 5, 3, false);
	expect_file(w, "2026-11-20",
		"tp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,5,6013,1795190762\n");
}

static void goes_on_after_a_restart(void **state)
{
	struct world *w = *state;

	tplog_count(w->log, &w->a, 100, 200, false);
	restart(w);
	/* Counted before what was before is back. */
	tplog_count(w->log, &w->a, 1, 2, false);
	tplog_flush(w->log);
	turn(w);
	expect_file(w, "2026-11-20",
		"tp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,101,202,1795190761\n");
	restart(w);
	turn(w);
	expect_file(w, "2026-11-20",
		"tp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,101,202,1795190761\n");
}

static void a_day_ends(void **state)
{
	struct world *w = *state;

	tplog_count(w->log, &w->a, 100, 200, false);
	tplog_count(w->log, &w->b, 7, 7, true);
	wall += 10 * 3600;
	tplog_count(w->log, &w->a, 130, 200, false);
	expect_file(
		w, "2026-11-21", "tp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,30,0,1795226761\n");
	expect_file(w, "2026-11-20",
		"tp_id,recv,sent,time_stamp\n00000000-0000-0000-0000-000000000001,7,7,1795190761\n"
		"4c6fd8e8-86c8-08db-b4d9-47e980b19da0,100,200,1795190761\n");
	/* A week later it is gone. */
	wall += 9 * 24 * 3600;
	expect_file(w, "2026-11-20", NULL);
}

/* A router without a clock begins long ago; somebody sets it, wrongly first. No day loses what it had. */
static void a_clock_is_set(void **state)
{
	struct world *w = *state;

	tplog_count(w->log, &w->a, 100, 200, false);
	tplog_flush(w->log);
	turn(w);
	wall -= 3 * 24 * 3600;
	tplog_count(w->log, &w->a, 130, 200, false);
	turn(w);
	wall += 3 * 24 * 3600;
	tplog_count(w->log, &w->a, 140, 200, false);
	turn(w);
	expect_file(w, "2026-11-20",
		"tp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,110,200,1795190761\n");
	expect_file(
		w, "2026-11-17", "tp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,30,0,1794931561\n");
	/* Set back within a day: the next count is written, not the one after the hour that was lost. */
	wall -= 3600;
	tplog_count(w->log, &w->a, 150, 200, false);
	tplog_free(w->log);
	w->log = tplog_new(w->loop, w->store, wall_s);
	assert_non_null(w->log);
	turn(w);
	expect_file(w, "2026-11-20",
		"tp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,120,200,1795187161\n");
}

static void long_days(void **state)
{
	struct world *w = *state;
	struct file f = {0};
	struct sg_tpid id = {{0}};

	for (unsigned i = 0; i < 600; i++) {
		id.b[0] = (uint8_t)(i >> 8);
		id.b[1] = (uint8_t)i;
		tplog_count(w->log, &id, 1, UINT64_MAX / 2, true);
	}
	wall += 24 * 3600;
	assert_int_equal(tplog_csv(w->log, "2026-11-20", on_csv, &f), 0);
	for (int i = 0; i < 10; i++)
		turn(w);
	assert_int_equal(f.calls, 1);
	assert_true(f.there);
}

static void dates(void **state)
{
	static const char *const bad[] = {"", "2026-11-2", "2026-11-211", "2026/11/21", "../../etc/pw", "2026-11-2x"};
	struct world *w = *state;
	struct file f = {0};

	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(tplog_csv(w->log, bad[i], on_csv, &f), SG_EMALF);
	assert_int_equal(tplog_csv(w->log, "2020-01-01", on_csv, &f), 0);
	tplog_cancel(w->log, &f);
	turn(w);
	assert_int_equal(f.calls, 0);
}

/* ---- fetched by a stranger ------------------------------------------------------------------------------------------ */

static const struct sg_listener_ops *listener;
static void *listener_arg;

static int net_listen(void *ctx, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	(void)ctx;
	assert_int_equal(port, 80);
	listener = ops;
	listener_arg = arg;
	return 0;
}

static void net_unlisten(void *ctx, uint16_t port)
{
	(void)ctx;
	(void)port;
}

static const struct sg_network_ops net_ops = {.size = sizeof(net_ops), .listen = net_listen, .unlisten = net_unlisten};

struct caller {
	struct sg_stream pub; /* first */
	char got[4096];
	bool closed;
};

static int caller_send(struct sg_stream *s, const struct iovec *iov, int n)
{
	struct caller *c = (struct caller *)s;

	for (int i = 0; i < n; i++)
		strncat(c->got, iov[i].iov_base, iov[i].iov_len);
	return 0;
}

static void caller_want(struct sg_stream *s, bool read)
{
	(void)s;
	(void)read;
}

static void caller_close(struct sg_stream *s)
{
	((struct caller *)s)->closed = true;
}

static const struct sg_stream_ops caller_ops = {
	.size = sizeof(caller_ops), .send = caller_send, .want = caller_want, .close = caller_close};

static void fetch(struct world *w, const char *target, struct caller *c, bool leaves)
{
	char request[200];

	*c = (struct caller){.pub = {.ops = &caller_ops}};
	assert_int_equal(listener->on_stream(listener_arg, &c->pub), 0);
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
	c->pub.user->on_data(c->pub.user_arg, (struct sg_view){(const uint8_t *)request, strlen(request)});
	if (leaves)
		c->pub.user->on_close(c->pub.user_arg, SG_ECLOSED, "");
	turn(w);
}

static void served(void **state)
{
	static const char *const missing[] = {
		"/2026-11-19.csv", "/other/2026-11-20.csv", "/2026-11-20.csv/", "/.csv", "/transport_logs", "/x.csv"};
	struct world *w = *state;
	struct sg_pk pk = {{2}};
	struct sg_serve *s = serve_new(w->loop, &pk, w->log);
	struct caller c;

	serve_network(s, &net_ops, NULL);
	tplog_count(w->log, &w->a, 1, 2, false);
	fetch(w, "/2026-11-20.csv", &c, false);
	assert_true(c.closed);
	assert_non_null(strstr(c.got, "HTTP/1.1 200"));
	assert_non_null(strstr(c.got, "text/csv"));
	assert_non_null(strstr(c.got, "\r\n\r\ntp_id,recv,sent,time_stamp\n4c6fd8e8-86c8-08db-b4d9-47e980b19da0,1,2,"));
	wall += 24 * 3600;
	fetch(w, "/transport_logs/2026-11-20.csv?x", &c, false);
	assert_non_null(strstr(c.got, "HTTP/1.1 200"));
	for (size_t i = 0; i < SG_ARRAY_LEN(missing); i++) {
		fetch(w, missing[i], &c, false);
		assert_non_null(strstr(c.got, "HTTP/1.1 404"));
		assert_true(c.closed);
	}
	/* Whoever leaves before the answer costs nothing. */
	fetch(w, "/2026-11-20.csv", &c, true);
	assert_string_equal(c.got, "");
	serve_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counted_over_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(goes_on_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(a_day_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(a_clock_is_set, setup, teardown),
		cmocka_unit_test_setup_teardown(long_days, setup, teardown),
		cmocka_unit_test_setup_teardown(dates, setup, teardown),
		cmocka_unit_test_setup_teardown(served, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
