/*
 * One dial by whatever leads there: who gets a direct stream and who a route group, the head start, who is remembered as
 * silent, and what people hear when nothing leads there.
 */
#include "base/common.h"
#include "base/err.h"
#include "fake/end.h"
#include "fake/setup.h"
#include "fake/stranger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define PORT 44

struct pair {
	struct fake_world w;
	struct fake_setup s;
	struct fake_end far_end;
};

/* Nodes 0 and 1 linked; routes lead from 0 to 1, or refuse. */
static int setup(void **state)
{
	static const size_t path[] = {0, 1};
	struct pair *p = calloc(1, sizeof(*p));
	struct sg_link_info info;

	world_new(&p->w);
	for (size_t i = 0; i < 2; i++) {
		if (!p->w.node[i].route)
			assert_true(world_boot(&p->w, i));
	}
	assert_int_equal(world_peer(&p->w, 0, 1, false), 0);
	world_settle(&p->w);
	assert_true(world_linked(&p->w, 0, 1, &info));
	assert_int_equal(route_listen(p->w.node[1].route, PORT, &fake_end_listener, &p->far_end), 0);
	setup_new(&p->s, &p->w, path, 2);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	for (size_t i = 0; i < 2; i++)
		route_set_setup(p->w.node[i].route, NULL, NULL);
	sg_defer_stop(&p->s.answer);
	world_free(&p->w);
	free(p);
	return 0;
}

static void dial(struct pair *p, struct fake_end *e, size_t to, unsigned min_hops, int64_t ms)
{
	memset(e, 0, sizeof(*e));
	assert_int_equal(route_dial_hops(p->w.node[0].route, &p->w.node[to].pk, PORT, min_hops, fake_end_dialed, e), 0);
	world_settle(&p->w);
	world_pass(&p->w, ms);
}

static void ours_answers_directly(void **state)
{
	struct pair *p = *state;
	static struct fake_end e;

	dial(p, &e, 1, 0, 1000);
	assert_non_null(e.st);
	assert_string_equal(e.network, "direct");
	assert_int_equal(p->s.asked, 0);
}

static void several_hops_are_no_direct_stream(void **state)
{
	struct pair *p = *state;
	static struct fake_end e;

	dial(p, &e, 1, 2, 100);
	assert_non_null(e.st);
	assert_string_equal(e.network, "skynet");
	assert_int_equal(p->s.want.min_hops, 2);

	/* The visor's own setting counts, too. */
	route_set_min_hops(p->w.node[0].route, 3);
	dial(p, &e, 1, 0, 100);
	assert_string_equal(e.network, "skynet");
	assert_int_equal(p->s.want.min_hops, 3);

	/* For a dial that is no race as well: a ping is one. */
	memset(&p->s.want, 0, sizeof(p->s.want));
	e = (struct fake_end){0};
	assert_int_equal(group_dial(p->w.node[0].route, &p->w.node[1].pk, PORT, 0, fake_end_dialed, &e), 0);
	world_settle(&p->w);
	assert_true(e.dialed);
	assert_int_equal(p->s.want.min_hops, 3);
}

static void nobody_listening_at_ours_is_the_end(void **state)
{
	struct pair *p = *state;
	static struct fake_end e = {0};

	assert_int_equal(route_dial(p->w.node[0].route, &p->w.node[1].pk, 99, fake_end_dialed, &e), 0);
	world_settle(&p->w);
	assert_true(e.dialed);
	assert_int_equal(e.dial_err, SG_EREFUSED);
	assert_int_equal(p->s.asked, 0);
}

static void one_of_2024_gets_a_group_at_once(void **state)
{
	struct pair *p = *state;
	struct stranger *old = stranger_new(&p->w, 2, 0);
	static struct fake_end e;

	p->s.refuses = "no way";
	stranger_call(old);
	assert_int_equal(stranger_link(old, false, 0), SG_SETTLE_OK);
	dial(p, &e, 2, 0, 0);
	assert_true(e.dialed);
	assert_int_equal(p->s.asked, 1);
	assert_string_equal(e.why, "no way");
	stranger_free(old);
}

/* Node 2, linked: new enough for direct streams, and it answers nothing. */
static struct stranger *silent(struct pair *p)
{
	struct stranger *s = stranger_new(&p->w, 2, 0);

	stranger_call(s);
	assert_int_equal(stranger_link(s, false, 0), SG_SETTLE_OK);
	stranger_packet(s, 19, 0, "123456789012", 12);
	return s;
}

static void one_that_is_silent_has_a_head_start_once(void **state)
{
	struct pair *p = *state;
	struct stranger *new = silent(p);
	static struct fake_end e;

	p->s.holds = true;
	dial(p, &e, 2, 0, SG_DIRECT_HEAD_MS - 20);
	assert_int_equal(p->s.asked, 0);
	world_pass(&p->w, 40);
	assert_int_equal(p->s.asked, 1);
	world_pass(&p->w, SG_VSTREAM_OPEN_MS);
	assert_false(e.dialed); /* the group goes on */
	p->s.refuses = "no way";
	setup_release(&p->s);
	world_settle(&p->w);
	assert_true(e.dialed);
	assert_int_equal(e.dial_err, -ETIMEDOUT);
	assert_string_equal(e.why, "no answer from port 44 within 5 s; by a route: no way");

	/* Half an hour long the group sets out with the direct dial. */
	dial(p, &e, 2, 0, 10);
	assert_int_equal(p->s.asked, 2);
	world_pass(&p->w, SG_VSTREAM_OPEN_MS + 10);
	assert_true(e.dialed);
	world_pass(&p->w, SG_DIRECT_SILENT_MS);
	stranger_free(new);
}

static void a_cancelled_dial_gives_up_both_ways(void **state)
{
	struct pair *p = *state;
	struct stranger *new = silent(p);
	static struct fake_end e;

	p->s.holds = true;
	dial(p, &e, 2, 0, 300);
	assert_int_equal(p->s.asked, 1);
	route_dial_cancel(p->w.node[0].route, &e);
	assert_int_equal(p->s.cancelled, 1);
	world_pass(&p->w, 40000);
	assert_false(e.dialed);
	stranger_free(new);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ours_answers_directly),
		TEST(several_hops_are_no_direct_stream),
		TEST(nobody_listening_at_ours_is_the_end),
		TEST(one_of_2024_gets_a_group_at_once),
		TEST(one_that_is_silent_has_a_head_start_once),
		TEST(a_cancelled_dial_gives_up_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
