/*
 * Links between visors of ours: coming up, both ends dialling in every order, replacement, peers that come and go. With
 * others: link_manager_peer.c; callers who come no further than the handshake: link_pending.c.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/stranger.h"
#include "fake/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* Over streams that their carrier secured, as by dmsg, rather than sockets. */
static bool secured;
/* Handshakes are computed by a worker, not by the loop. */
static bool threaded;

static int setup(void **state)
{
	int err = threaded ? world_setup_with_worker(state) : world_setup(state);

	((struct fake_world *)*state)->secured = secured;
	return err;
}

static const struct sg_peer_state *peer_state(struct fake_world *w, size_t of, size_t peer)
{
	static struct sg_peer_state st;

	assert_int_equal(links_peer_state(w->node[of].links, &w->node[peer].pk, &st), 0);
	return &st;
}

static void a_link_comes_up_and_both_know_each_other(void **state)
{
	struct fake_world *w = *state;
	struct sg_link_info a, b;

	assert_int_equal(links_buffers(w->node[0].links), 0);
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
	assert_in_range(links_buffers(w->node[0].links), 4096, 65536);
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
			world_teardown(&own);
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
		world_teardown(&own);
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
	size_t buffers;

	world_peer(w, 0, 1, false);
	world_settle(w);
	buffers = links_buffers(w->node[0].links);
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
	assert_int_equal(links_buffers(w->node[0].links), buffers); /* kept for the next */
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
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
		TEST(a_wrong_key_behind_an_address_is_named),
	};

	const struct CMUnitTest over_streams[] = {
		TEST(a_link_comes_up_and_both_know_each_other),
		TEST(both_dial_at_once_and_edge_0_wins),
		cmocka_unit_test(both_dial_in_every_order),
		TEST(no_dial_beside_a_live_link),
		TEST(a_lost_link_is_back_within_a_second),
	};
	int failed = cmocka_run_group_tests_name("link/manager", tests, NULL, NULL);

	threaded = true;
	failed += cmocka_run_group_tests_name("link/manager with a worker", tests, NULL, NULL);
	threaded = false;
	secured = true;
	return failed + cmocka_run_group_tests_name("link/manager over streams", over_streams, NULL, NULL);
}
