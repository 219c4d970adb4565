/*
 * Links between visors of ours and with others: coming up, both ends dialling in every order, replacement, peers that come
 * and go, limits. The strangers are visors of 2024 unless said otherwise; what must never happen to them is in the words
 * of link/manager.c.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "fake/stranger.h"
#include "fake/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* Over streams that their carrier secured, as by dmsg, rather than sockets. */
static bool secured;

/* Nodes 0 and 1 are booted, 2 and 3 are for strangers. */
static int setup(void **state)
{
	struct fake_world *w = calloc(1, sizeof(*w));

	world_new(w);
	w->secured = secured;
	for (size_t i = 0; i < 2; i++)
		assert_true(world_boot(w, i));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	free(*state);
	return 0;
}

static const struct sg_peer_state *peer_state(struct fake_world *w, size_t of, size_t peer)
{
	static struct sg_peer_state st;

	assert_int_equal(links_peer_state(w->node[of].links, &w->node[peer].pk, &st), 0);
	return &st;
}

/* ---- between our own ends ---- */

static void a_link_comes_up_and_both_know_each_other(void **state)
{
	struct fake_world *w = *state;
	struct sg_link_info a, b;

	world_peer(w, 0, 1, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &a));
	assert_true(world_linked(w, 1, 0, &b));
	assert_true(a.dialled);
	assert_false(b.dialled);
	assert_memory_equal(&a.id, &b.id, sizeof(a.id));
	assert_string_equal(a.kind, "own");
	assert_string_equal(b.kind, "own");
	assert_string_equal(a.peer, "node_1");
	assert_string_equal(a.address, secured ? "" : "192.0.2.2:7777");
	assert_int_equal(a.rtt_us, 0); /* answered while time stood still */
	assert_int_equal(w->node[0].ups, 1);
	assert_true(peer_state(w, 0, 1)->linked);
	assert_string_equal(peer_state(w, 0, 1)->why, "");
}

static void assert_one_link(struct fake_world *w, bool dialled_by_0)
{
	struct sg_link_info a, b;

	world_pass(w, 30000);
	assert_true(world_linked(w, 0, 1, &a));
	assert_true(world_linked(w, 1, 0, &b));
	assert_true(a.dialled != b.dialled);
	assert_true(a.dialled == dialled_by_0);
	assert_true(a.up_ms > 25000 && b.up_ms > 25000);
}

static void both_dial_at_once_and_edge_0_wins(void **state)
{
	struct fake_world *w = *state;

	world_peer(w, 0, 1, false);
	world_peer(w, 1, 0, false);
	assert_one_link(w, true);
}

/*
 * The connections of both dials exist, and one runs @ahead_by steps of the loop ahead of the other: whatever the order,
 * there is one link in the end, both ends agree on it, and it stays.
 */
static void dial_staggered(struct fake_world *w, size_t first, int ahead_by)
{
	struct sg_link_info a, b;

	w->node[!first].holds = true;
	world_peer(w, first, !first, false);
	world_peer(w, !first, first, false);
	for (int i = 0; i < ahead_by; i++)
		sg_loop_step(w->loop, 0);
	world_release(w, !first);
	world_pass(w, 8000);
	assert_true(world_linked(w, 0, 1, &a));
	assert_true(world_linked(w, 1, 0, &b));
	assert_true(a.dialled != b.dialled);
	assert_true(a.up_ms > 7000 && b.up_ms > 7000);
}

static void both_dial_in_every_order(void **state)
{
	(void)state;
	for (size_t first = 0; first < 2; first++) {
		for (int ahead_by = 0; ahead_by < 24; ahead_by++) {
			void *own;

			setup(&own);
			dial_staggered(own, first, ahead_by);
			teardown(&own);
		}
	}
}

static void no_dial_beside_a_live_link(void **state)
{
	struct fake_world *w = *state;

	world_peer(w, 0, 1, false);
	world_settle(w);
	world_peer(w, 1, 0, false);
	world_pass(w, 60000);
	assert_int_equal(w->node[0].dials, 1);
	assert_int_equal(w->node[1].dials, 0);
}

/* Its machine lost power: no FIN came, and it is back before we noticed. */
static void a_peer_that_lost_its_memory_replaces_its_old_link(void **state)
{
	for (int edge_0_dialled_first = 0; edge_0_dialled_first < 2; edge_0_dialled_first++) {
		struct fake_world *w;
		struct stranger *s, *again;
		struct sg_link_info info;
		void *own;

		(void)state;
		setup(&own);
		w = own;
		s = stranger_new(w, 2, 0);
		again = stranger_new(w, 2, 0);
		if (edge_0_dialled_first) {
			stranger_expect(s);
			world_peer(w, 0, 2, false);
			world_settle(w);
			assert_true(stranger_serve(s));
		} else {
			stranger_call(s);
			assert_int_equal(stranger_link(s, true, 0), SG_SETTLE_OK);
		}
		assert_true(world_linked(w, 0, 2, &info));
		world_pass(w, 1000);
		stranger_call(again);
		assert_int_equal(stranger_link(again, true, 0), SG_SETTLE_OK);
		assert_true(stranger_is_cut(s));
		assert_true(world_linked(w, 0, 2, &info));
		assert_false(info.dialled);
		assert_int_equal(world_counter(w, 0, "link.replaced"), 1);
		stranger_free(s);
		stranger_free(again);
		teardown(&own);
	}
}

static void a_lost_link_is_back_within_a_second(void **state)
{
	struct fake_world *w = *state;
	struct sg_link_info info;

	world_peer(w, 0, 1, false);
	world_settle(w);
	world_pass(w, 10000);
	for (int i = 0; i < 20; i++) {
		world_kill(w, 1);
		world_settle(w);
		assert_false(world_linked(w, 0, 1, &info));
		assert_true(world_boot(w, 1));
		world_pass(w, 1000);
		assert_true(world_linked(w, 0, 1, &info));
		world_pass(w, 6000);
	}
	assert_int_equal(w->node[0].downs, 20);
}

static void failures_back_off_and_say_why(void **state)
{
	struct fake_world *w = *state;
	unsigned dials;

	w->node[1].refuses = true;
	world_peer(w, 0, 1, false);
	world_pass(w, 60000);
	dials = w->node[0].dials;
	assert_in_range(dials, 14, 22); /* 0.2 + 0.4 + … + 3.2, then every 5 s, some earlier */
	assert_string_equal(peer_state(w, 0, 1)->why, "the address refuses connections. Is skygated running there?");
	assert_in_range(peer_state(w, 0, 1)->next_try_ms, 0, 5000);
	assert_int_equal(peer_state(w, 0, 1)->attempts, dials);
	w->node[1].refuses = false;
	world_pass(w, 5000);
	assert_true(peer_state(w, 0, 1)->linked);
}

static void addresses_are_tried_in_order(void **state)
{
	struct fake_world *w = *state;
	const char *addresses[] = {"sudph://192.0.2.2:1", "stcp://192.0.2.200:7777", "stcp://192.0.2.2:7777"};
	const struct sg_peer_conf conf = {.name = "two", .pk = w->node[1].pk, .addresses = addresses, .n_addresses = 3};
	struct sg_link_info info;

	assert_int_equal(links_peers_set(w->node[0].links, &conf, 1), 0);
	world_pass(w, 100);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
	assert_string_equal(info.address, "192.0.2.2:7777");
	assert_string_equal(info.peer, "two");
}

static void a_carrier_that_nobody_provides_is_named(void **state)
{
	struct fake_world *w = *state;
	const char *address = "sudph://192.0.2.2:1";
	const struct sg_peer_conf conf = {.name = "two", .pk = w->node[1].pk, .addresses = &address, .n_addresses = 1};

	assert_int_equal(links_peers_set(w->node[0].links, &conf, 1), 0);
	world_pass(w, 100);
	assert_non_null(strstr(peer_state(w, 0, 1)->why, "no plugin provides the carrier 'sudph'"));
}

static void addresses_are_checked(void **state)
{
	static const char *const good[] = {
		"stcp://192.0.2.1:7777", "stcp://[2001:db8::1]:7777", "stcpr://host.example:1", "dmsg", "stcpr"};
	static const char *const bad[] = {"", "stcp", "stcp:", "stcp://", "stcp://:7777", "stcp://h",
		"stcp://h:", "stcp://h:0", "stcp://h:65536", "stcp://h:7x", "://h:1", "toolongname://h:1",
		"stcp://2001:db8::1:7777", "stcp:/h:1"};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(good); i++)
		assert_int_equal(links_address_ok(good[i]), 0);
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(links_address_ok(bad[i]), SG_EMALF);
}

static void peers_that_leave_the_configuration_are_let_go(void **state)
{
	struct fake_world *w = *state;
	struct sg_link_info info;
	struct sg_pk pk;

	world_peer(w, 0, 1, false);
	world_settle(w);
	assert_int_equal(links_peer_find(w->node[0].links, "node_1", &pk), 0);
	assert_memory_equal(&pk, &w->node[1].pk, sizeof(pk));
	world_peer(w, 0, 1, false);
	world_settle(w);
	assert_int_equal(w->node[0].downs, 0); /* unchanged, undisturbed */
	assert_int_equal(links_peers_set(w->node[0].links, NULL, 0), 0);
	world_pass(w, 10000);
	assert_false(world_linked(w, 0, 1, &info));
	assert_string_equal(w->node[0].down_why, "this peer is not configured any more");
	assert_int_equal(links_peer_find(w->node[0].links, "node_1", &pk), -ENOENT);
}

static void a_dial_under_way_ends_with_its_peer_or_its_carrier(void **state)
{
	struct fake_world *w = *state;

	w->node[0].holds = true;
	world_peer(w, 0, 1, false);
	world_settle(w);
	assert_non_null(w->node[0].dial);
	links_carrier_stop(w->node[0].links, "other");
	assert_int_equal(w->node[0].cancels, 0);
	links_carrier_stop(w->node[0].links, "stcp");
	assert_int_equal(w->node[0].cancels, 1);
	world_pass(w, 1000);
	assert_int_equal(w->node[0].dials, 2); /* tried again */
	assert_int_equal(links_peers_set(w->node[0].links, NULL, 0), 0);
	assert_int_equal(w->node[0].cancels, 2);
}

/* ---- visors of 2024 ---- */

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

/* Its section leaves the configuration while our dial is beyond its point of no return. */
static void a_committed_dial_outlives_its_peer(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	struct sg_link_info info;

	stranger_expect(s);
	world_peer(w, 0, 2, false);
	world_settle(w);
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

/* It calls while our dial is beyond its point of no return: its own dial is refused, calmly, and ours is carried through. */
static void a_dial_that_is_committed_wins_over_a_caller_of_2024(void **state)
{
	for (size_t we = 0; we < 2; we++) {
		struct stranger *called, *caller;
		struct sg_link_info info;
		struct fake_world *w;
		void *own;

		(void)state;
		setup(&own);
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
		teardown(&own);
	}
}

/* Before that point our dial is called off, and not a byte of Noise has been sent: its accept loop goes on. */
static void a_dial_that_is_not_committed_gives_way(void **state)
{
	struct fake_world *w = *state;
	struct stranger *called = stranger_new(w, 2, 0), *caller = stranger_new(w, 2, 0);
	struct sg_link_info info;

	stranger_expect(called);
	world_peer(w, 0, 2, false);
	world_settle(w);
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
	stranger_expect(called);
	world_peer(w, 0, 2, false);
	world_settle(w);
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
	stranger_expect(called);
	world_peer(w, 0, 2, false);
	world_settle(w);
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

	stranger_expect(s);
	world_peer(w, 0, 2, false);
	world_settle(w);
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

	stranger_expect(s);
	world_peer(w, 0, 2, false);
	world_settle(w);
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
		stranger_expect(s);
		world_peer(w, 0, 2, false);
		world_settle(w);
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
	stranger_expect(s);
	world_peer(w, 0, 2, false);
	world_settle(w);
	assert_true(stranger_serve(s));
	world_pass(w, 4000);
	assert_memory_equal(&w->node[0].foreign, &w->node[2].pk, sizeof(none));
	stranger_packet(s, SG_PACKET_LINK_HELLO, 0, "\1\0\0\0\1", 5);
	assert_memory_equal(&w->node[0].foreign, &none, sizeof(none));
	stranger_free(s);
}

/* ---- strangers who misbehave cost only their connection ---- */

static void silence_ends_at_the_deadline_of_each_phase(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);

	stranger_call(s);
	world_pass(w, SG_HS_STCP_TIMEOUT_MS - 100);
	assert_false(stranger_is_cut(s));
	world_pass(w, 200);
	assert_true(stranger_is_cut(s));

	stranger_call(s);
	assert_true(stranger_f0(s));
	world_pass(w, 6000);
	assert_true(stranger_f2(s));
	world_pass(w, SG_HS_NOISE_TIMEOUT_MS - 100);
	assert_false(stranger_is_cut(s));
	world_pass(w, 200);
	assert_true(stranger_is_cut(s));

	stranger_call(s);
	assert_true(stranger_f0(s) && stranger_f2(s) && stranger_msg1(s, 0));
	world_pass(w, SG_HS_SETTLE_TIMEOUT_MS - 100);
	assert_false(stranger_is_cut(s));
	world_pass(w, 200);
	assert_true(stranger_is_cut(s));
	assert_int_equal(world_counter(w, 0, "link.handshake_failed"), 3);
	stranger_free(s);
}

/* The deadline of f0 to f3 is for all of them: a byte now and then does not move it. */
static void a_trickle_does_not_move_the_deadline(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	const char *f0 = SG_STCP_F0;

	stranger_call(s);
	for (int i = 0; i < 9; i++) {
		stranger_raw(s, f0 + i, 1);
		world_pass(w, 1000);
	}
	assert_false(stranger_is_cut(s));
	world_pass(w, 1100);
	assert_true(stranger_is_cut(s));
	stranger_free(s);
}

static void callers_in_handshake_are_limited_by_address(void **state)
{
	struct fake_world *w = *state;
	int fd[SG_HS_PENDING_PER_IP + 2];
	struct sg_link_info info;

	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++)
		fd[i] = world_accept(w, 0);
	world_settle(w);
	assert_int_equal(world_counter(w, 0, "link.refused.pending_ip"), 2);
	/* A neighbour with another address is not held up. */
	world_peer(w, 1, 0, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
	world_pass(w, SG_HS_STCP_TIMEOUT_MS + 100);
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++) {
		char c;

		assert_int_equal(read(fd[i], &c, 1), 0);
		close(fd[i]);
	}
}

static void an_ipv6_network_counts_as_one_address(void **state)
{
	struct fake_world *w = *state;
	int fd[SG_HS_PENDING_PER_IP + 3];
	char address[64];

	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++) {
		snprintf(address, sizeof(address), "[2001:db8:0:%x::%zx]:7777", i == 0, i + 1);
		fd[i] = world_accept_from(w, 0, address);
	}
	assert_int_equal(world_counter(w, 0, "link.refused.pending_ip"), 2);
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++)
		close(fd[i]);
}

/* More idle callers than there is room for, from everywhere: whoever speaks still gets through. */
static void a_crowd_of_silent_callers_holds_up_nobody(void **state)
{
	int fd[SG_HS_PENDING_MAX + 40];
	struct fake_world *w = *state;
	struct sg_link_info info;
	struct stranger *s = stranger_new(w, 2, 0);
	char address[32];

	stranger_call(s);
	assert_true(stranger_f0(s) && stranger_f2(s) && stranger_msg1(s, 0));
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++) {
		snprintf(address, sizeof(address), "198.51.%zu.%zu:7", i / 200, i % 200 + 1);
		fd[i] = world_accept_from(w, 0, address);
	}
	assert_int_equal(world_counter(w, 0, "link.refused.pending"), 41);
	world_peer(w, 1, 0, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
	/* And who had proven its key is not cut for them. */
	stranger_entry(s, false);
	assert_int_equal(stranger_answered(s), SG_SETTLE_OK);
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++)
		close(fd[i]);
	stranger_free(s);
}

/* The same when each of them has shown a key and goes no further. */
static void a_crowd_of_stalled_callers_holds_up_nobody(void **state)
{
	static struct stranger *s[SG_HS_PENDING_MAX];
	struct fake_world *w = *state;
	struct sg_link_info info;
	char address[32];

	for (size_t i = 0; i < SG_ARRAY_LEN(s); i++) {
		s[i] = stranger_new(w, 2, 0);
		snprintf(address, sizeof(address), "198.51.%zu.%zu:7", i / 200, i % 200 + 1);
		s[i]->fd = world_accept_from(w, 0, address);
		assert_true(stranger_f0(s[i]) && stranger_f2(s[i]));
	}
	assert_int_equal(world_counter(w, 0, "link.refused.pending"), 0);
	world_peer(w, 1, 0, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
	assert_int_equal(world_counter(w, 0, "link.refused.pending"), 1);
	for (size_t i = 0; i < SG_ARRAY_LEN(s); i++)
		stranger_free(s[i]);
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

static void a_wrong_key_behind_an_address_is_named(void **state)
{
	struct fake_world *w = *state;
	const struct sg_peer_conf conf = {.name = "exit",
		.pk = w->node[2].pk,
		.addresses = (const char *const[]){"stcp://192.0.2.2:7777"},
		.n_addresses = 1};
	char key[SG_PK_SHORT], want[160];

	assert_int_equal(links_peers_set(w->node[0].links, &conf, 1), 0);
	world_settle(w);
	snprintf(want, sizeof(want), "the other end has a different key than configured (expected %s)",
		sg_pk_short(&w->node[2].pk, key));
	assert_non_null(strstr(peer_state(w, 0, 2)->why, want));
	assert_int_equal(world_counter(w, 1, "link.handshake_failed"), 1);
}

/* ---- after the handshake ---- */

static void bytes_in_the_same_read_as_the_answer_are_not_lost(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	static const uint8_t ping[15] = {SG_PACKET_TRANSPORT_PING, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
	uint8_t both[1 + sizeof(ping)] = {SG_SETTLE_OK};
	struct sg_signed_entry e;
	struct sg_packet p;

	memcpy(both + 1, ping, sizeof(ping));
	stranger_expect(s);
	world_peer(w, 0, 2, false);
	world_settle(w);
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_link_comes_up_and_both_know_each_other),
		TEST(both_dial_at_once_and_edge_0_wins),
		cmocka_unit_test(both_dial_in_every_order),
		TEST(no_dial_beside_a_live_link),
		cmocka_unit_test(a_peer_that_lost_its_memory_replaces_its_old_link),
		TEST(a_lost_link_is_back_within_a_second),
		TEST(failures_back_off_and_say_why),
		TEST(addresses_are_tried_in_order),
		TEST(a_carrier_that_nobody_provides_is_named),
		TEST(addresses_are_checked),
		TEST(peers_that_leave_the_configuration_are_let_go),
		TEST(a_dial_under_way_ends_with_its_peer_or_its_carrier),
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
		TEST(silence_ends_at_the_deadline_of_each_phase),
		TEST(a_trickle_does_not_move_the_deadline),
		TEST(callers_in_handshake_are_limited_by_address),
		TEST(an_ipv6_network_counts_as_one_address),
		TEST(a_crowd_of_silent_callers_holds_up_nobody),
		TEST(a_crowd_of_stalled_callers_holds_up_nobody),
		TEST(two_peers_with_one_key_share_a_link),
		TEST(our_own_key_is_refused),
		TEST(a_wrong_key_behind_an_address_is_named),
		TEST(bytes_in_the_same_read_as_the_answer_are_not_lost),
	};

	const struct CMUnitTest over_streams[] = {
		TEST(a_link_comes_up_and_both_know_each_other),
		TEST(both_dial_at_once_and_edge_0_wins),
		cmocka_unit_test(both_dial_in_every_order),
		TEST(no_dial_beside_a_live_link),
		TEST(a_lost_link_is_back_within_a_second),
	};
	int failed = cmocka_run_group_tests_name("link/manager", tests, NULL, NULL);

	secured = true;
	return failed + cmocka_run_group_tests_name("link/manager over streams", over_streams, NULL, NULL);
}
