/*
 * Streams with visors of others, of 2024 and 2026: they open and answer, without credits; headers that lie, readers that are
 * slow.
 */
#include "base/common.h"
#include "fake/end.h"
#include "fake/stranger.h"
#include "wire/vstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define PORT 44

static struct stranger *of_2026(struct fake_world *w)
{
	struct stranger *s = stranger_new(w, 2, 0);

	stranger_call(s);
	assert_int_equal(stranger_link(s, false, 1184), SG_SETTLE_OK);
	return s;
}

static void vstream(
	struct stranger *s, uint64_t id, const struct sg_pk *sender, uint8_t flags, const void *p, size_t len)
{
	uint8_t *m = malloc(SG_VSTREAM_HEAD + len);

	sg_vstream_head(id, sender, flags, m);
	if (len)
		memcpy(m + SG_VSTREAM_HEAD, p, len);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 0, m, SG_VSTREAM_HEAD + len);
	free(m);
}

/* What came last on a stream: its flags, and its first byte of data or -1. */
static bool heard(struct stranger *s, uint64_t id, uint8_t *flags, int *first)
{
	struct sg_vstream_msg m;
	struct sg_packet p;

	while (stranger_got(s, &p)) {
		if (p.type != SG_PACKET_APP_DIRECT)
			continue;
		assert_int_equal(sg_vstream_decode(p.payload, &m), 0);
		assert_memory_equal(&m.sender, &s->remote, sizeof(m.sender));
		if (m.id != id)
			continue;
		*flags = m.flags;
		*first = m.data.len ? m.data.p[0] : -1;
		return true;
	}
	return false;
}

/* It opens a stream to @e, and is told that it may. */
static void opens(struct stranger *s, uint64_t id, struct fake_end *e)
{
	uint8_t flags = 0;
	int first = -1;

	assert_int_equal(route_listen(s->w->node[0].route, PORT, &fake_end_listener, e), 0);
	vstream(s, id, &s->pk, SG_VSTREAM_SYN, NULL, 0);
	vstream(s, id, &s->pk, 0, "\0\x2c", 2);
	assert_true(heard(s, id, &flags, &first));
	assert_int_equal(first, SG_VSTREAM_ACCEPTED);
}

static void a_visor_of_2026_opens_a_stream(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = of_2026(w);
	uint8_t hello[3] = {fake_end_pattern(0), fake_end_pattern(1), fake_end_pattern(2)};
	struct fake_end *e = fake_end_new();
	uint8_t flags;
	int first;

	opens(s, 3, e);
	vstream(s, 3, &s->pk, 0, hello, 3);
	assert_int_equal(e->got, 3);
	assert_true(e->in_order);
	vstream(s, 3, &s->pk, SG_VSTREAM_FIN, NULL, 0);
	assert_int_equal(e->closed, 1);
	/* A port cut in two, with the first bytes behind it in one packet. */
	vstream(s, 5, &s->pk, SG_VSTREAM_SYN, NULL, 0);
	vstream(s, 5, &s->pk, 0, "\0", 1);
	vstream(s, 5, &s->pk, 0, "\x2c\0", 2);
	assert_true(heard(s, 5, &flags, &first));
	assert_int_equal(first, SG_VSTREAM_ACCEPTED);
	assert_int_equal(e->got, 4);
	stranger_free(s);
}

static void a_visor_of_2026_answers_ours(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = of_2026(w);
	struct sg_vstream_msg m;
	struct fake_end *e = fake_end_new();
	struct sg_packet p;

	assert_int_equal(route_dial(w->node[0].route, &s->pk, 3, fake_end_dialed, e), 0);
	world_settle(w);
	assert_true(stranger_got(s, &p));
	assert_int_equal(sg_vstream_decode(p.payload, &m), 0);
	assert_int_equal(m.flags, SG_VSTREAM_SYN);
	assert_int_equal(m.data.len, 0);
	assert_int_equal(m.id & 1, 0); /* node 0 has the smaller key */
	assert_true(stranger_got(s, &p));
	assert_int_equal(sg_vstream_decode(p.payload, &m), 0);
	assert_int_equal(m.data.len, 2);
	assert_memory_equal(m.data.p, "\0\3", 2);
	vstream(s, m.id, &s->pk, 0, "\0", 1);
	assert_non_null(e->st);
	stranger_free(s);
}

static void headers_that_lie_are_dropped_by_name(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = of_2026(w);
	struct fake_end *e = fake_end_new();
	uint8_t flags;
	int first;

	assert_int_equal(route_listen(w->node[0].route, PORT, &fake_end_listener, e), 0);
	vstream(s, 3, &w->node[3].pk, SG_VSTREAM_SYN, NULL, 0);
	assert_int_equal(world_counter(w, 0, "route.drop.sender"), 1);
	vstream(s, 4, &s->pk, SG_VSTREAM_SYN, NULL, 0); /* even ids are ours to give */
	assert_int_equal(world_counter(w, 0, "route.refused.id"), 1);
	assert_true(heard(s, 4, &flags, &first));
	assert_int_equal(flags, SG_VSTREAM_FIN);
	vstream(s, 5, &s->pk, SG_VSTREAM_SYN | SG_VSTREAM_RELAY, "relay this", 10);
	assert_int_equal(world_counter(w, 0, "route.refused.relay"), 1);
	assert_true(heard(s, 5, &flags, &first));
	assert_int_equal(flags, SG_VSTREAM_FIN);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 0, "short", 5);
	assert_int_equal(world_counter(w, 0, "route.drop.malformed"), 1);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 9, "short", 5);
	assert_int_equal(world_counter(w, 0, "route.drop.rule"), 1);
	vstream(s, 7, &s->pk, 0, "data of nothing", 15);
	assert_int_equal(world_counter(w, 0, "route.drop.stream"), 1);
	stranger_packet(s, SG_PACKET_CREDIT, 0, "0123456789abcdef", 16); /* no credits with it */
	assert_int_equal(world_counter(w, 0, "route.drop.type"), 1);
	assert_int_equal(e->got, 0);
	assert_null(e->st);
	stranger_free(s);
}

static void strangers_fins_for_unknown_streams_are_ignored(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	uint8_t fin[SG_VSTREAM_HEAD];
	struct sg_packet p;

	stranger_call(s);
	assert_int_equal(stranger_link(s, false, 0), SG_SETTLE_OK);
	for (uint64_t id = 0; id < 20; id++) {
		sg_vstream_head(id, &s->pk, SG_VSTREAM_FIN, fin);
		stranger_packet(s, SG_PACKET_APP_DIRECT, 0, fin, sizeof(fin));
	}
	assert_false(stranger_got(s, &p));
	assert_int_equal(world_counter(w, 0, "route.drop.stream"), 0);
	stranger_free(s);
}

static void a_syn_twice_does_not_disturb_the_stream(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = of_2026(w);
	struct fake_end *e = fake_end_new();
	uint8_t flags;
	int first;

	opens(s, 3, e);
	vstream(s, 3, &s->pk, SG_VSTREAM_SYN, NULL, 0);
	assert_false(heard(s, 3, &flags, &first));
	vstream(s, 3, &s->pk, 0, "\0", 1);
	assert_int_equal(e->got, 1);
	stranger_free(s);
}

static void a_syn_without_a_port_is_closed_after_five_seconds(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = of_2026(w);
	uint8_t flags;
	int first;

	vstream(s, 3, &s->pk, SG_VSTREAM_SYN, NULL, 0);
	world_pass(w, 4900);
	assert_false(heard(s, 3, &flags, &first));
	world_pass(w, 200);
	assert_true(heard(s, 3, &flags, &first));
	assert_int_equal(flags, SG_VSTREAM_FIN);
	stranger_free(s);
}

static void strangers_cannot_open_more_than_the_limit(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = of_2026(w);

	for (uint64_t id = 3; id < 3 + 2 * 300; id += 2)
		vstream(s, id, &s->pk, SG_VSTREAM_SYN, NULL, 0);
	assert_int_equal(world_counter(w, 0, "route.refused.limit"), 300 - SG_VSTREAMS_PER_LINK);
	stranger_free(s);
}

/* Without credits a reader that does not want holds up its link, within bounds, and after 30 s loses its stream. */
static void without_credits_a_full_queue_stops_the_link_for_a_while(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = of_2026(w);
	uint8_t data[1000];
	struct fake_end *e = fake_end_new();
	uint64_t id = 3, sent = 0;

	opens(s, id, e);
	e->st->ops->want(e->st, false);
	for (int i = 0; i < 264; i++) {
		for (size_t k = 0; k < sizeof(data); k++)
			data[k] = fake_end_pattern(sent + k);
		vstream(s, id, &s->pk, 0, data, sizeof(data));
		sent += sizeof(data);
	}
	assert_int_equal(e->got, 0);
	vstream(s, 99, &s->pk, SG_VSTREAM_SYN | SG_VSTREAM_RELAY, NULL, 0);
	assert_int_equal(world_counter(w, 0, "route.refused.relay"), 0); /* not read any more */
	/* It reads again: all of it, in order, and what waited behind it. */
	e->st->ops->want(e->st, true);
	world_settle(w);
	assert_int_equal(e->got, sent);
	assert_true(e->in_order);
	assert_int_equal(world_counter(w, 0, "route.refused.relay"), 1);
	/* And once more, for too long. */
	e->st->ops->want(e->st, false);
	for (int i = 0; i < 264; i++)
		vstream(s, id, &s->pk, 0, data, sizeof(data));
	world_pass(w, SG_VSTREAM_STALL_MS - 100);
	assert_int_equal(e->closed, 0);
	world_pass(w, 200);
	assert_int_equal(e->closed, 1);
	assert_int_equal(world_counter(w, 0, "route.drop.stall"), 1);
	assert_true(world_counter(w, 0, "link.down") == 0);
	vstream(s, 99, &s->pk, SG_VSTREAM_SYN | SG_VSTREAM_RELAY, NULL, 0);
	assert_int_equal(world_counter(w, 0, "route.refused.relay"), 2); /* the link goes on */
	stranger_free(s);
}

/* Nobody can tell them what they may send: what came is delivered, then the link is not read until more is allowed. */
static void without_credits_a_rationed_stream_stops_the_link(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = of_2026(w);
	struct fake_end *e = fake_end_new();
	uint8_t data[1000];
	size_t sent = 0;

	opens(s, 3, e);
	assert_int_equal(e->st->ops->allow(e->st, 0), 0);
	assert_int_equal(e->st->ops->allow(e->st, 2500), 2500);
	for (int i = 0; i < 10; i++) {
		for (size_t at = 0; at < sizeof(data); at++)
			data[at] = fake_end_pattern(sent++);
		vstream(s, 3, &s->pk, 0, data, sizeof(data));
	}
	assert_int_equal(e->got, 3000); /* a packet is not cut */
	assert_int_equal(e->st->ops->allow(e->st, 0), -500);
	assert_int_equal(e->st->ops->allow(e->st, 500), 0);
	world_settle(w);
	assert_int_equal(e->got, 3000);
	assert_int_equal(e->st->ops->allow(e->st, 1), 1);
	world_settle(w);
	assert_int_equal(e->got, 4000);
	/* It ends while the link is not read: the others of that link are not to suffer. */
	e->st->ops->close(e->st);
	e->st = NULL;
	world_settle(w);
	vstream(s, 99, &s->pk, SG_VSTREAM_SYN | SG_VSTREAM_RELAY, NULL, 0);
	assert_int_equal(world_counter(w, 0, "route.refused.relay"), 1);
	/* And one that is let go. */
	route_unlisten(w->node[0].route, PORT);
	e = fake_end_new();
	opens(s, 5, e);
	assert_int_equal(e->st->ops->allow(e->st, 0), 0);
	vstream(s, 5, &s->pk, 0, data, sizeof(data));
	assert_int_equal(e->got, 0);
	assert_true(e->st->ops->allow(e->st, SG_STREAM_ALLOW_ALL) > 0);
	world_settle(w);
	vstream(s, 5, &s->pk, 0, data, sizeof(data));
	assert_int_equal(e->got, 2 * sizeof(data));
	stranger_free(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(strangers_fins_for_unknown_streams_are_ignored),
		TEST(a_visor_of_2026_opens_a_stream),
		TEST(a_visor_of_2026_answers_ours),
		TEST(headers_that_lie_are_dropped_by_name),
		TEST(a_syn_twice_does_not_disturb_the_stream),
		TEST(a_syn_without_a_port_is_closed_after_five_seconds),
		TEST(strangers_cannot_open_more_than_the_limit),
		TEST(without_credits_a_full_queue_stops_the_link_for_a_while),
		TEST(without_credits_a_rationed_stream_stops_the_link),
	};

	return cmocka_run_group_tests_name("route/stream, others", tests, NULL, NULL);
}
