/*
 * Links with visors of others: of 2024 unless said otherwise. What must never happen to them is in the words of
 * link/manager.c: a dial that is committed is carried through, one that is not gives way.
 */
#include "base/common.h"
#include "base/log.h"
#include "fake/stranger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* Node 0 dials the stranger, who is node 2. */
static void dial(struct fake_world *w, struct stranger *s)
{
	stranger_expect(s);
	world_peer(w, 0, 2, false);
	world_settle(w);
}

/* Its section leaves the configuration while our dial is beyond its point of no return. */
static void a_committed_dial_outlives_its_peer(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	struct sg_link_info info;

	dial(w, s);
	assert_true(stranger_f1(s) && stranger_f3(s) && stranger_msg2(s, 0));
	assert_int_equal(links_peers_set(w->node[0].links, NULL, 0), 0);
	world_settle(w);
	assert_true(stranger_settle(s, SG_SETTLE_OK));
	world_pass(w, 100);
	assert_true(stranger_is_cut(s));
	assert_false(world_linked(w, 0, 2, &info));
	world_pass(w, 10000);
	assert_int_equal(w->node[0].dials, 1);
	stranger_free(s);
}

static void a_visor_of_2024_links_both_ways_and_gets_nothing_new(void **state)
{
	struct fake_world *w = *state;
	struct stranger *caller = stranger_new(w, 2, 0), *called = stranger_new(w, 3, 0);
	struct sg_link_info info;
	struct sg_packet p;

	stranger_call(caller);
	assert_int_equal(stranger_link(caller, false, 0), SG_SETTLE_OK);
	assert_true(world_linked(w, 0, 2, &info));
	assert_string_equal(info.kind, "2024");
	stranger_expect(called);
	world_peer(w, 0, 3, false);
	world_settle(w);
	assert_true(stranger_serve(called));
	assert_true(called->entry.marked);
	world_pass(w, 600000);
	assert_true(world_linked(w, 0, 3, &info));
	assert_string_equal(info.kind, "2024");
	assert_false(stranger_got(caller, &p));
	assert_false(stranger_got(called, &p));
	stranger_free(caller);
	stranger_free(called);
}

static void an_offer_of_any_length_is_taken_and_ignored(void **state)
{
	static const size_t lens[] = {1184, 1, 1183, 1185, 4045, 4046, 65486};
	struct fake_world *w = *state;
	struct sg_link_info info;

	for (size_t i = 0; i < SG_ARRAY_LEN(lens); i++) {
		struct stranger *s = stranger_new(w, 2, 0);

		stranger_call(s);
		assert_int_equal(stranger_link(s, false, lens[i]), SG_SETTLE_OK);
		assert_true(world_linked(w, 0, 2, &info));
		assert_string_equal(info.kind, lens[i] == 1184 ? "2026" : "2024");
		stranger_free(s);
		world_settle(w);
	}
}

static void count_links(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	(void)level;
	(void)topic;
	*(unsigned *)arg += strstr(line, " is up") || strstr(line, " is down");
}

/* Who is known is worth a line each time; strangers share one a second. */
static void callers_without_number_fill_no_log(void **state)
{
	struct fake_world *w = *state;
	unsigned lines = 0;

	sg_log_set_sink(count_links, &lines);
	for (size_t i = 0; i < 100; i++) {
		struct stranger *s = stranger_new(w, 2, 0);

		stranger_call(s);
		assert_int_equal(stranger_link(s, false, 0), SG_SETTLE_OK);
		stranger_free(s);
		world_settle(w);
	}
	assert_in_range(lines, 2, 60);
	world_peer(w, 0, 2, true);
	lines = 0;
	for (size_t i = 0; i < 20; i++) {
		struct stranger *s = stranger_new(w, 2, 0);

		stranger_call(s);
		assert_int_equal(stranger_link(s, false, 0), SG_SETTLE_OK);
		stranger_free(s);
		world_settle(w);
	}
	sg_log_set_sink(NULL, NULL);
	assert_int_equal(lines, 40);
}

/* It calls while our dial is beyond its point of no return: its own dial is refused, calmly, and ours is carried through. */
static void a_dial_that_is_committed_wins_over_a_caller_of_2024(void **state)
{
	for (size_t we = 0; we < 2; we++) {
		struct stranger *called, *caller;
		struct sg_link_info info;
		struct fake_world *w;
		void *own;

		(void)state;
		world_setup(&own);
		w = own;
		/* Once as edge 0, once as edge 1. */
		world_kill(w, 0);
		world_kill(w, 1);
		assert_true(world_boot(w, we));
		called = stranger_new(w, !we, we);
		caller = stranger_new(w, !we, we);
		stranger_expect(called);
		world_peer(w, we, !we, false);
		world_settle(w);
		assert_true(stranger_f1(called) && stranger_f3(called) && stranger_msg2(called, 0));
		stranger_call(caller);
		assert_int_equal(stranger_link(caller, false, 0), SG_SETTLE_FAIL);
		assert_true(stranger_is_cut(caller));
		assert_int_equal(world_counter(w, we, "link.refused.double"), 1);
		assert_true(stranger_settle(called, SG_SETTLE_OK));
		assert_true(world_linked(w, we, !we, &info));
		assert_true(info.dialled);
		stranger_free(called);
		stranger_free(caller);
		world_teardown(&own);
	}
}

/* Before that point our dial is called off, and not a byte of Noise has been sent: its accept loop goes on. */
static void a_dial_that_is_not_committed_gives_way(void **state)
{
	struct fake_world *w = *state;
	struct stranger *called = stranger_new(w, 2, 0), *caller = stranger_new(w, 2, 0);
	struct sg_link_info info;

	dial(w, called);
	assert_true(stranger_f1(called));
	stranger_call(caller);
	assert_int_equal(stranger_link(caller, false, 0), SG_SETTLE_OK);
	assert_true(stranger_is_cut(called));
	assert_true(called->in_len > 0 && memcmp(called->in, "{\"SrcAddr\"", 10) == 0); /* f2 was the last word */
	assert_true(world_linked(w, 0, 2, &info));
	assert_false(info.dialled);
	world_pass(w, 60000);
	assert_int_equal(w->node[0].dials, 1);
	stranger_free(called);
	stranger_free(caller);
}

/* It has proven its key and will send its entry: a dial of ours waits for that instead of committing. */
static void a_dial_does_not_commit_beside_a_proven_caller(void **state)
{
	struct fake_world *w = *state;
	struct stranger *called = stranger_new(w, 2, 0), *caller = stranger_new(w, 2, 0);
	struct sg_link_info info;

	stranger_call(caller);
	assert_true(stranger_f0(caller) && stranger_f2(caller) && stranger_msg1(caller, 0));
	dial(w, called);
	assert_true(stranger_f1(called));
	assert_true(stranger_f3(called));
	assert_true(stranger_is_cut(called));
	assert_int_equal(called->in_len, 0);
	stranger_entry(caller, false);
	assert_int_equal(stranger_answered(caller), SG_SETTLE_OK);
	assert_true(world_linked(w, 0, 2, &info));
	stranger_free(called);
	stranger_free(caller);
}

/* Our dial came up first; its own, begun before that, arrives late. It holds our link already, so its dial is refused. */
static void a_late_simultaneous_caller_of_2024_is_refused(void **state)
{
	struct fake_world *w = *state;
	struct stranger *called = stranger_new(w, 2, 0), *caller = stranger_new(w, 2, 0);
	struct sg_link_info info;

	stranger_call(caller);
	assert_true(stranger_f0(caller));
	fake_clock_add_ms(&w->clock, 10);
	dial(w, called);
	assert_true(stranger_serve(called));
	assert_true(world_linked(w, 0, 2, &info));
	fake_clock_add_ms(&w->clock, 10);
	assert_true(stranger_f2(caller) && stranger_msg1(caller, 0));
	stranger_entry(caller, false);
	assert_int_equal(stranger_answered(caller), SG_SETTLE_FAIL);
	assert_false(stranger_is_cut(called));
	stranger_free(called);
	stranger_free(caller);
}

/* It keeps a transport that it has seen closed for up to a second, and a dial meanwhile would end its accept loop. */
static void a_visor_of_2024_is_not_dialled_within_a_second_of_a_close(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);

	dial(w, s);
	assert_true(stranger_serve(s));
	world_pass(w, 10000);
	stranger_hang_up(s);
	world_pass(w, 1100);
	assert_int_equal(w->node[0].dials, 1);
	world_pass(w, 300);
	assert_int_equal(w->node[0].dials, 2);
	stranger_free(s);
}

static void nor_when_its_owner_removes_it_and_adds_it_again(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);

	dial(w, s);
	assert_true(stranger_serve(s));
	world_pass(w, 10000);
	assert_int_equal(links_peers_set(w->node[0].links, NULL, 0), 0);
	world_peer(w, 0, 2, false);
	world_pass(w, 1100);
	assert_int_equal(w->node[0].dials, 1);
	world_pass(w, 150);
	assert_int_equal(w->node[0].dials, 2);
	stranger_free(s);
}

/* A new process dials at once, but not whom an old process of ours had a link with: it may just have seen it close. */
static void after_a_restart_no_dial_of_a_foreign_peer_commits_for_a_moment(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);

	w->quiet_ms = SG_LINK_QUIET_MS;
	for (int restart = 0; restart < 2; restart++) {
		world_kill(w, 0);
		assert_true(world_boot(w, 0));
		dial(w, s);
		assert_true(stranger_f1(s) && stranger_f3(s));
		if (restart) {
			world_pass(w, 1100);
			assert_false(stranger_is_cut(s));
			assert_int_equal(s->in_len, 0); /* no Noise yet */
			world_pass(w, 200);
		}
		assert_true(stranger_msg2(s, 0) && stranger_settle(s, SG_SETTLE_OK));
		world_pass(w, 4000);
		assert_memory_equal(&w->node[0].foreign, &w->node[2].pk, sizeof(struct sg_pk));
	}
	stranger_free(s);
}

static void what_a_peer_is_may_change(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	static const struct sg_pk none;

	world_peer(w, 0, 2, true);
	stranger_call(s);
	assert_int_equal(stranger_link(s, false, 0), SG_SETTLE_OK);
	assert_memory_equal(&w->node[0].foreign, &w->node[2].pk, sizeof(none));
	stranger_call(s);
	assert_int_equal(stranger_link(s, true, 0), SG_SETTLE_OK);
	assert_memory_equal(&w->node[0].foreign, &none, sizeof(none));
	stranger_hang_up(s);
	world_settle(w);
	/* Called by us: its hello tells. */
	dial(w, s);
	assert_true(stranger_serve(s));
	world_pass(w, 4000);
	assert_memory_equal(&w->node[0].foreign, &w->node[2].pk, sizeof(none));
	stranger_packet(s, SG_PACKET_LINK_HELLO, 0, "\1\0\0\0\1", 5);
	assert_memory_equal(&w->node[0].foreign, &none, sizeof(none));
	stranger_free(s);
}

/* Two sections with one key: one transport, and no settlement beside another. */
static void two_peers_with_one_key_share_a_link(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0), *twin = stranger_new(w, 2, 0);
	const struct sg_peer_conf conf[] = {{.name = "one",
						    .pk = w->node[2].pk,
						    .addresses = (const char *const[]){"stcp://192.0.2.3:7777"},
						    .n_addresses = 1},
		{.name = "two",
			.pk = w->node[2].pk,
			.addresses = (const char *const[]){"stcp://192.0.2.2:7777"},
			.n_addresses = 1}};
	struct sg_link_info info;

	/* The second address leads to the same visor. */
	world_kill(w, 1);
	stranger_expect(twin);
	w->node[1].outside_fd = w->node[2].outside_fd;
	w->node[2].outside_fd = -1;
	stranger_expect(s);
	assert_int_equal(links_peers_set(w->node[0].links, conf, 2), 0);
	world_settle(w);
	assert_true(stranger_f1(s) && stranger_f1(twin));
	assert_true(stranger_f3(s) && stranger_f3(twin));
	assert_true(stranger_msg2(s, 0));
	assert_true(stranger_is_cut(twin));
	assert_int_equal(twin->in_len, 0);
	assert_true(stranger_settle(s, SG_SETTLE_OK));
	assert_true(world_linked(w, 0, 2, &info));
	world_pass(w, 30000);
	assert_int_equal(w->node[0].dials, 2);
	stranger_free(s);
	stranger_free(twin);
}

static void our_own_key_is_refused(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 0, 0);

	stranger_call(s);
	assert_true(stranger_f0(s));
	assert_false(stranger_f2(s));
	assert_true(stranger_is_cut(s));
	stranger_free(s);
}

static void bytes_in_the_same_read_as_the_answer_are_not_lost(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	static const uint8_t ping[15] = {SG_PACKET_TRANSPORT_PING, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t both[1 + sizeof(ping)] = {SG_SETTLE_OK};
	struct sg_signed_entry e;
	struct sg_packet p;

	memcpy(both + 1, ping, sizeof(ping));
	dial(w, s);
	assert_true(stranger_f1(s) && stranger_f3(s) && stranger_msg2(s, 0));
	assert_false(stranger_is_cut(s));
	/* The answer and a packet in one frame, a second packet in a frame right behind it. */
	stranger_seal(s, both, sizeof(both));
	stranger_seal(s, ping, sizeof(ping));
	/* Our entry, in one frame, came before. */
	assert_int_equal(stranger_answered(s), '{');
	s->plain_at = (size_t)sg_settle_decode(w->crypto, (struct sg_view){s->plain, s->plain_len}, &e);
	for (int i = 0; i < 2; i++) {
		assert_true(stranger_got(s, &p));
		assert_int_equal(p.type, SG_PACKET_TRANSPORT_PONG);
		assert_memory_equal(p.payload.p, ping + SG_PACKET_HEAD, 8);
	}
	stranger_free(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_committed_dial_outlives_its_peer),
		TEST(a_visor_of_2024_links_both_ways_and_gets_nothing_new),
		TEST(an_offer_of_any_length_is_taken_and_ignored),
		TEST(callers_without_number_fill_no_log),
		cmocka_unit_test(a_dial_that_is_committed_wins_over_a_caller_of_2024),
		TEST(a_dial_that_is_not_committed_gives_way),
		TEST(a_dial_does_not_commit_beside_a_proven_caller),
		TEST(a_late_simultaneous_caller_of_2024_is_refused),
		TEST(a_visor_of_2024_is_not_dialled_within_a_second_of_a_close),
		TEST(nor_when_its_owner_removes_it_and_adds_it_again),
		TEST(after_a_restart_no_dial_of_a_foreign_peer_commits_for_a_moment),
		TEST(what_a_peer_is_may_change),
		TEST(two_peers_with_one_key_share_a_link),
		TEST(our_own_key_is_refused),
		TEST(bytes_in_the_same_read_as_the_answer_are_not_lost),
	};

	return cmocka_run_group_tests_name("link/manager, others", tests, NULL, NULL);
}
