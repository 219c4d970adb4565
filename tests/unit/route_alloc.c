/*
 * Memory runs out at the n-th allocation while a route over two hops is set up, shaken hands on, used and closed; n from 1
 * until none failed. Nothing crashes or leaks, every dial and stream comes to its end, and once there is memory again the
 * next route works.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "fake/alloc.h"
#include "fake/setup.h"
#include "fake/log.h"
#include "fake/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define PORT 7

struct ends {
	struct sg_stream *client, *server;
	size_t got;
	bool dialed;
};

static void client_data(void *arg, struct sg_view in)
{
	((struct ends *)arg)->got += in.len;
}

static void server_data(void *arg, struct sg_view in)
{
	struct ends *e = arg;

	(void)e->server->ops->send(e->server, &(struct iovec){(void *)(uintptr_t)in.p, in.len}, 1);
}

static void no_call(void *arg)
{
	(void)arg;
}

static void client_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	((struct ends *)arg)->client = NULL;
}

static void server_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	((struct ends *)arg)->server = NULL;
}

static const struct sg_stream_user client = {sizeof(client), client_data, no_call, client_close, NULL};
static const struct sg_stream_user server = {sizeof(server), server_data, no_call, server_close, NULL};

static int on_stream(void *arg, struct sg_stream *st)
{
	struct ends *e = arg;

	if (e->server)
		return SG_EFULL;
	e->server = st;
	st->user = &server;
	st->user_arg = e;
	return 0;
}

static const struct sg_listener_ops listener = {sizeof(listener), on_stream};

static void on_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	struct ends *e = arg;

	(void)err;
	(void)why;
	e->dialed = true;
	e->client = st;
	if (st) {
		st->user = &client;
		st->user_arg = e;
	}
}

/* True: an echo came back. */
static bool go_through(struct fake_world *w, struct ends *e)
{
	char text[1000] = "anybody there?";

	e->dialed = false;
	e->got = 0;
	if (group_dial(w->node[0].route, &w->node[2].pk, PORT, 0, on_dialed, e) < 0)
		return false;
	world_settle(w);
	if (e->server)
		e->server->ops->want(e->server, false); /* so that it is queued */
	if (e->client)
		(void)e->client->ops->send(e->client, &(struct iovec){text, sizeof(text)}, 1);
	world_settle(w);
	if (e->server)
		e->server->ops->want(e->server, true);
	world_settle(w);
	return e->got == sizeof(text);
}

static bool any(void *arg, const struct sg_route_rule_info *info)
{
	(void)info;
	++*(unsigned *)arg;
	return true;
}

static void end(struct fake_world *w, struct ends *e)
{
	unsigned rules = 0;

	if (e->client)
		e->client->ops->close(e->client);
	e->client = NULL;
	world_pass(w, 60000);
	for (size_t i = 0; i < 3; i++)
		route_each_rule(w->node[i].route, any, &rules);
	assert_int_equal(rules, 0);
	assert_null(e->server);
}

static bool fails_at(size_t nth)
{
	static const size_t path[] = {0, 1, 2};
	struct fake_world *w = calloc(1, sizeof(*w));
	struct fake_setup *s = calloc(1, sizeof(*s));
	struct ends e = {0};
	size_t before = sg_alloc_live();
	bool hit;

	world_new(w);
	fake_loop_widen(w->loop, 100);
	for (size_t i = 0; i < 3; i++)
		assert_true(world_boot(w, i));
	assert_int_equal(world_peer(w, 0, 1, false), 0);
	assert_int_equal(world_peer(w, 1, 2, false), 0);
	world_settle(w);
	setup_new(s, w, path, 3);
	s->keep_alive_ns = 30000000000;
	assert_int_equal(route_listen(w->node[2].route, PORT, &listener, &e), 0);
	fake_alloc_fail_at(nth);
	(void)go_through(w, &e);
	hit = fake_alloc_failed();
	fake_alloc_fail_at(0);
	end(w, &e);
	if (nth)
		world_pass(w, 10000); /* a link may have ended; it comes back */
	assert_true(go_through(w, &e));
	end(w, &e);
	world_free(w);
	free(s);
	free(w);
	assert_int_equal(sg_alloc_live(), before);
	return hit;
}

static void memory_runs_out_at_the_nth_allocation(void **state)
{
	static struct fake_world first;
	size_t n = 1;

	(void)state;
	sg_log_set_sink(fake_log_quiet, NULL);
	world_new(&first); /* what is kept for ever is there afterwards */
	world_free(&first);
	(void)fails_at(0);
	while (fails_at(n))
		n++;
	sg_log_set_sink(NULL, NULL);
	print_message("%zu allocations failed\n", n - 1);
	assert_true(n - 1 > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(memory_runs_out_at_the_nth_allocation)};

	return cmocka_run_group_tests_name("route/group, memory", tests, NULL, NULL);
}
