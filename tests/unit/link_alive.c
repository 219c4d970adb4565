/*
 * Liveness by kind of peer, on a clock that only the test moves: who is pinged, who is answered, who is declared dead and
 * when. The strangers go silent by simply not reading nor writing.
 */
#include "base/common.h"
#include "fake/stranger.h"
#include "fake/world.h"
#include "link/internal.h"
#include "wire/linkhello.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static int setup(void **state)
{
	struct fake_world *w = calloc(1, sizeof(*w));

	world_new(w);
	assert_true(world_boot(w, 0));
	assert_true(world_boot(w, 1));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	free(*state);
	return 0;
}

static struct stranger *linked(struct fake_world *w, bool marked)
{
	struct stranger *s = stranger_new(w, 2, 0);

	stranger_call(s);
	assert_int_equal(stranger_link(s, marked, 0), SG_SETTLE_OK);
	return s;
}

/* Packets of @type that came since the last question; others are left out. */
static unsigned count(struct stranger *s, uint8_t type)
{
	struct sg_packet p;
	unsigned n = 0;

	while (stranger_got(s, &p))
		n += p.type == type;
	return n;
}

static bool is_up(struct fake_world *w, size_t a, size_t b)
{
	struct sg_link_info info;

	return world_linked(w, a, b, &info);
}

static void our_own_ends_keep_an_idle_link(void **state)
{
	struct fake_world *w = *state;
	struct sg_link_info a;

	world_peer(w, 0, 1, false);
	world_settle(w);
	world_pass(w, 600000);
	assert_true(world_linked(w, 0, 1, &a));
	assert_in_range(a.up_ms, 599000, 601000);
	/* About one ping every two seconds, not two: what one end hears spares it its own. */
	assert_in_range(a.tx_packets, 300, 640);
}

static void our_own_other_end_is_gone_after_six_seconds_of_silence(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);

	world_pass(w, 5900);
	assert_true(is_up(w, 0, 2));
	assert_true(count(s, SG_PACKET_TRANSPORT_PING) >= 3);
	world_pass(w, 1200);
	assert_false(is_up(w, 0, 2));
	assert_string_equal(w->node[0].down_why, "nothing heard from it for 6 s");
	assert_int_equal(world_counter(w, 0, "link.dead"), 1);
	stranger_free(s);
}

/* Its pings lie unread meanwhile, and are not answered. */
static void a_link_that_is_not_read_is_dead_for_nobody(void **state)
{
	struct fake_world *w = *state;
	struct sg_link *l;

	world_peer(w, 0, 1, false);
	world_settle(w);
	l = links_find(w->node[1].links, &w->node[0].pk);
	link_want(l, false);
	world_pass(w, 30000);
	assert_true(is_up(w, 0, 1) && is_up(w, 1, 0));
	link_want(l, true);
	world_pass(w, 30000);
	assert_int_equal(w->node[0].ups, 1);
}

static void any_byte_is_a_sign_of_life(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);

	for (int i = 0; i < 20; i++) {
		world_pass(w, 5500);
		stranger_packet(s, SG_PACKET_KEEPALIVE, 77, NULL, 0);
	}
	assert_true(is_up(w, 0, 2));
	stranger_free(s);
}

/* The process was stopped for a minute: what it did not hear meanwhile is not the peer's fault. */
static void silence_while_we_were_stopped_does_not_count(void **state)
{
	struct fake_world *w = *state;

	world_peer(w, 0, 1, false);
	world_settle(w);
	world_pass(w, 5000);
	fake_clock_add_ms(&w->clock, 60000);
	world_pass(w, 3000);
	assert_true(is_up(w, 0, 1));
	assert_true(is_up(w, 1, 0));
	assert_int_equal(w->node[0].ups, 1);
}

static void pings_are_echoed_to_the_byte_and_always(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, false);
	uint8_t stamp[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	struct sg_packet p;

	for (int i = 0; i < 100; i++) {
		stamp[0] = (uint8_t)i;
		stranger_packet(s, SG_PACKET_TRANSPORT_PING, 0, stamp, i % 2 ? 8 : 12);
		do
			assert_true(stranger_got(s, &p));
		while (p.type == SG_PACKET_TRANSPORT_PING);
		assert_int_equal(p.type, SG_PACKET_TRANSPORT_PONG);
		assert_int_equal(p.route_id, 0);
		assert_int_equal(p.payload.len, 8);
		assert_memory_equal(p.payload.p, stamp, 8);
	}
	stranger_packet(s, SG_PACKET_TRANSPORT_PING, 0, stamp, 7);
	assert_int_equal(count(s, SG_PACKET_TRANSPORT_PONG), 0);
	assert_int_equal(world_counter(w, 0, "link.drop.malformed"), 1);
	stranger_free(s);
}

static void a_visor_of_2026_is_pinged_every_minute_and_given_five(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, false);
	struct sg_link_info info;

	world_pass(w, 120000);
	assert_int_equal(count(s, SG_PACKET_TRANSPORT_PING), 0); /* not known yet as one of 2026 */
	stranger_packet(s, 18, 0, "bandwidth probe", 15);
	assert_true(world_linked(w, 0, 2, &info));
	assert_string_equal(info.kind, "2026");
	world_pass(w, 61000);
	assert_int_equal(count(s, SG_PACKET_TRANSPORT_PING), 1);
	world_pass(w, 180000);
	assert_int_equal(count(s, SG_PACKET_TRANSPORT_PING), 3);
	assert_true(is_up(w, 0, 2));
	world_pass(w, 120000);
	assert_false(is_up(w, 0, 2));
	stranger_free(s);
}

static void a_pong_that_we_did_not_ask_for_changes_nothing(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);
	static const uint8_t forged[8] = {0};
	struct sg_link_info info;

	stranger_packet(s, SG_PACKET_TRANSPORT_PONG, 0, forged, sizeof(forged));
	stranger_packet(s, SG_PACKET_TRANSPORT_PONG, 0, forged, 3);
	assert_true(world_linked(w, 0, 2, &info));
	assert_int_equal(info.rtt_us, -1);
	stranger_free(s);
}

static void the_round_trip_is_measured(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);
	struct sg_link_info info;
	struct sg_packet p;

	do
		assert_true(stranger_got(s, &p));
	while (p.type != SG_PACKET_TRANSPORT_PING);
	fake_clock_add_ms(&w->clock, 38);
	stranger_packet(s, SG_PACKET_TRANSPORT_PONG, 0, p.payload.p, p.payload.len);
	assert_true(world_linked(w, 0, 2, &info));
	assert_int_equal(info.rtt_us, 38000);
	stranger_free(s);
}

/* The first pings find out whether the line is uneven; @pass ms later each is answered. How many there were, 60 at most. */
static unsigned first_pings(struct stranger *s, const int64_t *pass, size_t n_pass, size_t talk)
{
	static const uint8_t nothing[1000];
	struct sg_packet p;
	unsigned n = 0;

	for (; n < 60; n++) {
		do {
			if (!stranger_got(s, &p))
				return n;
		} while (p.type != SG_PACKET_TRANSPORT_PING);
		fake_clock_add_ms(&s->w->clock, pass[n % n_pass]);
		for (size_t sent = 0; sent < talk; sent += sizeof(nothing))
			stranger_packet(s, SG_PACKET_TRANSPORT_PONG, 0, nothing, sizeof(nothing));
		stranger_packet(s, SG_PACKET_TRANSPORT_PONG, 0, p.payload.p, p.payload.len);
	}
	return n;
}

static void the_first_pings_find_out_what_the_line_is(void **state)
{
	static const int64_t even[] = {40}, uneven[] = {120, 60, 150, 90, 30};
	static const struct {
		bool tcp;
		size_t talk;
		const int64_t *pass;
		size_t n_pass;
		unsigned least, most, known;
	} cases[] = {
		{true, 0, even, 1, 49, 49, UNEVEN_PINGS}, {true, 0, uneven, 5, 8, 12, 8},
		{true, 2000, uneven, 5, 49, 49, 0}, /* what else is under way may make round trips long */
		{false, 0, uneven, 5, 1, 1, 0},     /* what is no TCP has its own ways */
	};
	struct fake_world *w = *state;

	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++) {
		struct stranger *s = linked(w, true);
		struct sg_link *l = sg_container_of(w->node[0].links->links.next, struct sg_link, node);

		l->pace.at.ns = cases[i].tcp;
		assert_in_range(
			first_pings(s, cases[i].pass, cases[i].n_pass, cases[i].talk), cases[i].least, cases[i].most);
		assert_true(l->uneven.n >= cases[i].known);
		assert_int_equal(l->uneven.n > 0, cases[i].known > 0);
		assert_int_equal(l->uneven.is, cases[i].most < 49 && cases[i].tcp);
		stranger_free(s);
		world_settle(w);
	}
}

/* Who asks for a ping waits for its answer, not for those of all first pings. */
static void a_ping_that_somebody_asks_for_ends_them(void **state)
{
	static const int64_t even[] = {40};
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);
	struct sg_link *l = sg_container_of(w->node[0].links->links.next, struct sg_link, node);

	l->pace.at.ns = 1;
	link_ping(l);
	world_settle(w);
	assert_true(link_ping_waits(l));
	assert_int_equal(first_pings(s, even, 1, 0), 2);
	assert_false(link_ping_waits(l));
	stranger_free(s);
}

/* The transport log has no line of a transport that only lived: each would be kept for a week and written again all day. */
static void what_a_link_says_for_itself_is_no_payload(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);
	struct sg_link_info info;
	uint8_t stamp[8] = {1};

	for (int i = 0; i < 10; i++) {
		world_pass(w, 4000);
		stranger_packet(s, SG_PACKET_TRANSPORT_PING, 0, stamp, sizeof(stamp));
	}
	assert_true(world_linked(w, 0, 2, &info));
	assert_true(info.rx_packets >= 10 && info.tx_packets >= 10);
	assert_int_equal(info.rx_payload, 0);
	assert_int_equal(info.tx_payload, 0);
	stranger_packet(s, SG_PACKET_TRANSPORT_PING, 77, stamp, sizeof(stamp)); /* of a route: somebody's */
	assert_true(world_linked(w, 0, 2, &info));
	assert_int_equal(info.rx_payload, sizeof(stamp));
	stranger_free(s);
}

/* ---- LinkHello ---- */

static void the_hello_is_the_first_thing_that_a_marked_caller_hears(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);
	struct sg_linkhello h;
	struct sg_packet p;

	assert_true(stranger_got(s, &p));
	assert_int_equal(p.type, SG_PACKET_LINK_HELLO);
	assert_int_equal(sg_linkhello_decode(p.payload, &h), 0);
	assert_int_equal(h.version, SG_LINKHELLO_VERSION);
	assert_int_equal(h.caps, SG_CAP_CREDITS);
	stranger_free(s);
}

static void a_caller_without_the_mark_has_no_use_of_a_hello(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, false);
	static const uint8_t hello[] = {1, 0, 0, 0, 1};
	struct sg_link_info info;
	struct sg_packet p;

	stranger_packet(s, SG_PACKET_LINK_HELLO, 0, hello, sizeof(hello));
	assert_false(stranger_got(s, &p));
	assert_true(world_linked(w, 0, 2, &info));
	assert_string_equal(info.kind, "2024");
	assert_int_equal(world_counter(w, 0, "link.drop.unmarked"), 1);
	stranger_free(s);
}

/* We dialled, so it has seen our mark: a hello from it makes it ours, and is answered in kind, once. */
static void a_called_peer_shows_itself_by_its_hello(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	static const uint8_t newer[] = {2, 0, 0, 0, 3, 99, 98};
	struct sg_link_info info;
	struct sg_packet p;

	stranger_expect(s);
	world_peer(w, 0, 2, false);
	world_settle(w);
	assert_true(stranger_serve(s));
	assert_false(stranger_got(s, &p));
	stranger_packet(s, SG_PACKET_LINK_HELLO, 0, newer, 3);
	assert_int_equal(world_counter(w, 0, "link.drop.malformed"), 1);
	stranger_packet(s, SG_PACKET_LINK_HELLO, 0, newer, sizeof(newer));
	assert_true(stranger_got(s, &p));
	assert_int_equal(p.type, SG_PACKET_LINK_HELLO);
	assert_true(world_linked(w, 0, 2, &info));
	assert_string_equal(info.kind, "own");
	stranger_packet(s, SG_PACKET_LINK_HELLO, 0, newer, sizeof(newer));
	assert_int_equal(count(s, SG_PACKET_LINK_HELLO), 0);
	stranger_free(s);
}

/* ---- frames ---- */

static void a_frame_that_is_not_authentic_ends_the_link(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);
	uint8_t bad[40] = {0, 38};

	bad[9] = 200;
	stranger_raw(s, bad, sizeof(bad));
	assert_true(stranger_is_cut(s));
	assert_string_equal(w->node[0].down_why, "a frame was refused: authentication failed");
	assert_int_equal(world_counter(w, 0, "link.frame_bad"), 1);
	stranger_free(s);
}

static void packets_before_a_bad_frame_still_count(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, true);
	uint8_t both[200] = {0}, *at = both;
	uint64_t before = world_counter(w, 0, "link.rx_packets");

	memcpy(at + SG_FRAME_HEAD, (uint8_t[]){SG_PACKET_KEEPALIVE, 0, 0, 0, 9, 0, 0}, 7);
	at += sg_frame_seal(&s->tx, at, 7);
	at[1] = 3; /* too short for a frame */
	stranger_raw(s, both, sizeof(both));
	assert_true(stranger_is_cut(s));
	assert_int_equal(world_counter(w, 0, "link.rx_packets"), before + 1);
	stranger_free(s);
}

static void packets_are_found_whatever_the_frames_are(void **state)
{
	static const size_t cuts[] = {1, 2, 6, 7, 8, 100, 4069, 4070};
	struct fake_world *w = *state;
	struct stranger *s = linked(w, false);
	uint8_t *packet = calloc(1, SG_PACKET_HEAD + SG_PACKET_PAYLOAD_MAX);
	uint64_t before = world_counter(w, 0, "route.drop.rule");

	assert_int_equal(sg_packet_head(SG_PACKET_DATA, 5, SG_PACKET_PAYLOAD_MAX, packet), 0);
	for (size_t i = 0; i < SG_ARRAY_LEN(cuts); i++) {
		size_t len = SG_PACKET_HEAD + (cuts[i] < 100 ? 50 : SG_PACKET_PAYLOAD_MAX);

		sg_packet_head(SG_PACKET_DATA, 5, len - SG_PACKET_HEAD, packet);
		for (size_t at = 0; at < len; at += cuts[i])
			stranger_seal(s, packet + at, SG_MIN(cuts[i], len - at));
		world_settle(w);
		assert_int_equal(world_counter(w, 0, "route.drop.rule"), before + i + 1);
	}
	free(packet);
	stranger_free(s);
}

static void unknown_types_are_skipped_by_their_size(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, false);
	uint8_t junk[1000];

	memset(junk, SG_PACKET_TRANSPORT_PING, sizeof(junk));
	for (int type = 7; type < 256; type++) {
		if (type >= SG_PACKET_TRANSPORT_PING && type <= SG_PACKET_TRANSPORT_PONG)
			continue;
		if (type == SG_PACKET_APP_DIRECT || type == SG_PACKET_LINK_HELLO)
			continue;
		stranger_packet(s, (uint8_t)type, 0, junk, sizeof(junk));
	}
	assert_true(is_up(w, 0, 2));
	assert_int_equal(world_counter(w, 0, "route.drop.type"), 256 - 7 - 4);
	stranger_packet(s, SG_PACKET_TRANSPORT_PING, 0, junk, 8);
	assert_int_equal(count(s, SG_PACKET_TRANSPORT_PONG), 1);
	stranger_free(s);
}

static void a_peer_that_pings_and_does_not_read_gets_no_more_answers(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = linked(w, false);
	uint8_t *pings = calloc(5000, 15);
	int rounds;

	for (size_t i = 0; i < 5000; i++)
		memcpy(pings + 15 * i, (uint8_t[]){SG_PACKET_TRANSPORT_PING, 0, 0, 0, 0, 0, 8}, 7);
	for (rounds = 0; rounds < 60 && world_counter(w, 0, "link.drop.full") == 0; rounds++)
		stranger_seal(s, pings, 5000 * 15);
	assert_true(world_counter(w, 0, "link.drop.full") > 0);
	assert_true(is_up(w, 0, 2));
	assert_true(count(s, SG_PACKET_TRANSPORT_PONG) > 5000);
	free(pings);
	stranger_free(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(our_own_ends_keep_an_idle_link),
		TEST(our_own_other_end_is_gone_after_six_seconds_of_silence),
		TEST(a_link_that_is_not_read_is_dead_for_nobody),
		TEST(any_byte_is_a_sign_of_life),
		TEST(silence_while_we_were_stopped_does_not_count),
		TEST(pings_are_echoed_to_the_byte_and_always),
		TEST(a_visor_of_2026_is_pinged_every_minute_and_given_five),
		TEST(a_pong_that_we_did_not_ask_for_changes_nothing),
		TEST(the_round_trip_is_measured),
		TEST(the_first_pings_find_out_what_the_line_is),
		TEST(a_ping_that_somebody_asks_for_ends_them),
		TEST(what_a_link_says_for_itself_is_no_payload),
		TEST(the_hello_is_the_first_thing_that_a_marked_caller_hears),
		TEST(a_caller_without_the_mark_has_no_use_of_a_hello),
		TEST(a_called_peer_shows_itself_by_its_hello),
		TEST(a_frame_that_is_not_authentic_ends_the_link),
		TEST(packets_before_a_bad_frame_still_count),
		TEST(packets_are_found_whatever_the_frames_are),
		TEST(unknown_types_are_skipped_by_their_size),
		TEST(a_peer_that_pings_and_does_not_read_gets_no_more_answers),
	};

	return cmocka_run_group_tests_name("link/alive", tests, NULL, NULL);
}
