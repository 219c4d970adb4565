/*
 * Memory runs out at the n-th allocation while two visors boot, shake hands in both roles, open a stream and talk; n from
 * 1 until none failed. Nothing crashes or leaks, and once there is memory again they are linked and talk.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "fake/alloc.h"
#include "fake/world.h"
#include "fake/log.h"
#include "fake/loop.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* What an echo and its client see. */
struct echo {
	struct sg_stream *server, *client;
	size_t got;
	bool failed, ended;
};

static void echo_data(void *arg, struct sg_view in)
{
	struct echo *e = arg;

	e->server->ops->send(e->server, &(struct iovec){(void *)in.p, in.len}, 1);
}

static void no_call(void *arg)
{
	(void)arg;
}

static void server_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	((struct echo *)arg)->server = NULL;
}

static const struct sg_stream_user server_user = {sizeof(server_user), echo_data, no_call, server_close, NULL};

static int on_stream(void *arg, struct sg_stream *s)
{
	((struct echo *)arg)->server = s;
	s->user = &server_user;
	s->user_arg = arg;
	return 0;
}

static const struct sg_listener_ops listener = {sizeof(listener), on_stream};

static void client_data(void *arg, struct sg_view in)
{
	((struct echo *)arg)->got += in.len;
}

static void client_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	((struct echo *)arg)->client = NULL;
	((struct echo *)arg)->ended = true;
}

static const struct sg_stream_user client_user = {sizeof(client_user), client_data, no_call, client_close, NULL};

static void on_dialed(void *arg, struct sg_stream *s, int err, const char *why)
{
	struct echo *e = arg;

	(void)why;
	e->client = s;
	e->failed = err < 0;
	if (s) {
		s->user = &client_user;
		s->user_arg = arg;
	}
}

static void say(struct echo *e)
{
	char text[3000] = "anybody there?";

	if (e->client)
		e->client->ops->send(e->client, &(struct iovec){text, sizeof(text)}, 1);
}

/* Everything once, with memory running out somewhere. */
static void go_through(struct fake_world *w, struct echo *e)
{
	for (size_t i = 0; i < 2; i++) {
		if (!world_boot(w, i))
			return;
	}
	if (route_listen(w->node[1].route, 7, &listener, e) < 0 || world_peer(w, 0, 1, false) < 0)
		return;
	world_settle(w);
	if (route_dial(w->node[0].route, &w->node[1].pk, 7, on_dialed, e) < 0)
		return;
	world_settle(w);
	say(e);
	world_settle(w);
}

/* With memory again: whatever is missing is made up for, and an echo comes back. */
static void recover(struct fake_world *w, struct echo *e)
{
	struct sg_link_info info;

	for (size_t i = 0; i < 2; i++) {
		if (!w->node[i].links)
			assert_true(world_boot(w, i));
	}
	route_unlisten(w->node[1].route, 7);
	assert_int_equal(route_listen(w->node[1].route, 7, &listener, e), 0);
	assert_int_equal(world_peer(w, 0, 1, false), 0);
	world_pass(w, 10000);
	assert_true(world_linked(w, 0, 1, &info));
	if (e->client)
		e->client->ops->close(e->client);
	memset(e, 0, sizeof(*e));
	assert_int_equal(route_dial(w->node[0].route, &w->node[1].pk, 7, on_dialed, e), 0);
	world_settle(w);
	assert_non_null(e->client);
	say(e);
	world_settle(w);
	assert_int_equal(e->got, 3000);
}

static bool fails_at(size_t nth, bool secured)
{
	struct fake_world *w = calloc(1, sizeof(*w));
	struct echo e = {0};
	size_t before;
	bool hit;

	before = sg_alloc_live();
	world_new(w);
	w->secured = secured;
	fake_loop_widen(w->loop, 100);
	fake_alloc_fail_at(nth);
	go_through(w, &e);
	hit = fake_alloc_failed();
	fake_alloc_fail_at(0);
	recover(w, &e);
	world_free(w);
	free(w);
	assert_int_equal(sg_alloc_live(), before);
	return hit;
}

static void memory_runs_out_at_the_nth_allocation(void **state)
{
	static struct fake_world first;

	(void)state;
	sg_log_set_sink(fake_log_quiet, NULL);
	json_set_alloc_funcs(sg_malloc, sg_free);
	/* What is kept for ever is there afterwards. */
	world_new(&first);
	world_free(&first);
	fails_at(0, false);
	for (int secured = 0; secured < 2; secured++) {
		size_t n = 1;

		while (fails_at(n, secured))
			n++;
		print_message(
			"%zu allocations failed%s\n", n - 1, secured ? ", over streams that are secured already" : "");
		assert_true(n - 1 > 30);
	}
	sg_log_set_sink(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(memory_runs_out_at_the_nth_allocation)};

	return cmocka_run_group_tests_name("link/alloc", tests, NULL, NULL);
}
