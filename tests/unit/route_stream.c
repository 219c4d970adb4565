/*
 * Streams between two visors of ours: opening, order, both directions at once, slow readers, limits, every way to end. What
 * others say is in route_stream_peer.c.
 */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "fake/end.h"
#include "fake/stranger.h"
#include "fake/world.h"
#include "link/internal.h"
#include "wire/linkhello.h"
#include "wire/vstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define PORT 44

static void link_up(struct fake_world *w)
{
	struct sg_link_info info;

	assert_int_equal(world_peer(w, 0, 1, false), 0);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
}

static void open_stream(struct fake_world *w, size_t from, struct fake_end *dialler, struct fake_end *listener)
{
	assert_int_equal(route_listen(w->node[!from].route, PORT, &fake_end_listener, listener), 0);
	assert_int_equal(route_dial(w->node[from].route, &w->node[!from].pk, PORT, fake_end_dialed, dialler), 0);
	assert_false(dialler->dialed); /* never inside the call */
	world_settle(w);
	assert_int_equal(dialler->dial_err, 0);
	assert_non_null(dialler->st);
	assert_non_null(listener->st);
}

/* ---- bytes ---- */

static void a_stream_carries_bytes_in_order_both_ways(void **state)
{
	for (size_t from = 0; from < 2; from++) {
		struct fake_end *a = fake_end_new(), *b = fake_end_new();
		struct sg_stream_info info;
		struct fake_world *w;
		void *own;

		(void)state;
		world_setup(&own);
		w = own;
		b->echo = true;
		link_up(w);
		open_stream(w, from, a, b);
		b->st->ops->info(b->st, &info, sizeof(info));
		assert_memory_equal(&info.remote, &w->node[from].pk, sizeof(info.remote));
		assert_int_equal(info.port, PORT);
		assert_string_equal(info.network, "direct");
		assert_string_equal(info.carrier, "stcp");
		assert_false(info.records);
		for (size_t piece = 1; piece < 140000; piece = piece * 3 + 1) {
			fake_end_send(a, piece, piece);
			world_settle(w);
		}
		assert_true(a->sent > 50000);
		assert_int_equal(b->got, a->sent);
		assert_int_equal(a->got, a->sent);
		assert_true(a->in_order && b->in_order);
		assert_true(b->batches > 0);
		world_teardown(&own);
	}
}

static void a_record_goes_whole_or_not_at_all(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();
	uint8_t *big = calloc(1, 256 * 1024);
	struct iovec many[SG_STREAM_IOV + 1] = {{NULL, 0}};

	link_up(w);
	open_stream(w, 0, a, b);
	assert_int_equal(a->st->ops->send(a->st, &(struct iovec){big, 128 * 1024 + 1}, 1), SG_ELONG);
	assert_int_equal(a->st->ops->send(a->st, many, SG_STREAM_IOV + 1), SG_ELONG);
	assert_int_equal(a->st->ops->send(a->st, &(struct iovec){big, 65535 + 16}, 1), 0); /* a record of the VPN */
	assert_int_equal(a->st->ops->send(a->st, &(struct iovec){big, 128 * 1024}, 1), 0);
	/* 262,144 are allowed in all, two of them went for the port. */
	assert_int_equal(a->st->ops->send(a->st, &(struct iovec){big, 65520}, 1), -EAGAIN);
	assert_int_equal(a->st->ops->send(a->st, &(struct iovec){big, 0}, 1), 0);
	world_settle(w);
	assert_int_equal(b->got, 65551 + 128 * 1024);
	assert_int_equal(a->writable, 1);
	free(big);
}

static void pieces_of_an_iovec_arrive_in_their_order(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();
	uint8_t bytes[100000];
	struct iovec v[5];
	size_t at = 0;

	static const size_t lens[5] = {1, 0, 65493, 30000, 4506};

	link_up(w);
	open_stream(w, 0, a, b);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = fake_end_pattern(i);
	for (size_t i = 0; i < 5; i++) {
		v[i] = (struct iovec){bytes + at, lens[i]};
		at += lens[i];
	}
	assert_int_equal(a->st->ops->send(a->st, v, 5), 0);
	world_settle(w);
	assert_int_equal(b->got, at);
	assert_true(b->in_order);
}

static void many_small_packets_share_frames(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();
	struct sg_link_info before, after;
	uint64_t bytes;

	link_up(w);
	open_stream(w, 0, a, b);
	assert_true(world_linked(w, 0, 1, &before));
	fake_end_send(a, 1000 * 100, 100);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &after));
	assert_int_equal(b->got, 1000 * 100);
	/* 149 bytes of packet each, 26 of frame for 4,032: under one per cent, where a frame each would be 17. */
	bytes = after.tx_bytes - before.tx_bytes;
	assert_in_range(bytes, 149000, 151500);
}

static void megabytes_pass_with_every_queue_full(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();
	const uint64_t total = 8 * 1024 * 1024;

	link_up(w);
	open_stream(w, 0, a, b);
	for (int i = 0; i < 4000 && b->got < total; i++) {
		fake_end_send(a, total - a->sent, 60000);
		fake_end_send(b, total - b->sent, 1400);
		sg_loop_step(w->loop, 0);
	}
	world_settle(w);
	assert_int_equal(b->got, total);
	assert_true(a->in_order && b->in_order);
	assert_true(a->got == b->sent && a->got > total / 4);
}

/* ---- slow readers, with credits ---- */

static void a_slow_reader_stops_its_own_stream_only(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *slow = fake_end_new(), *fast = fake_end_new(), *slow_in = fake_end_new(),
			*fast_in = fake_end_new();

	link_up(w);
	open_stream(w, 0, slow, slow_in);
	route_unlisten(w->node[1].route, PORT);
	open_stream(w, 0, fast, fast_in);
	slow_in->st->ops->want(slow_in->st, false);
	for (int i = 0; i < 20; i++) {
		fake_end_send(slow, 1 << 20, 10000);
		fake_end_send(fast, 1 << 20, 10000);
		world_settle(w);
	}
	assert_int_equal(slow_in->got, 0);
	assert_in_range(slow->sent, 250000, 256 * 1024);
	assert_true(fast_in->got > 4 << 20);
	assert_true(fast_in->in_order);
	/* It wants them after all: nothing was lost, and the sender is told. */
	slow->writable = 0;
	slow_in->st->ops->want(slow_in->st, true);
	assert_int_equal(slow_in->got, 0); /* not inside the call */
	world_settle(w);
	assert_int_equal(slow_in->got, slow->sent);
	assert_true(slow_in->in_order);
	assert_int_equal(slow->writable, 1);
	fake_end_send(slow, 1 << 20, 10000);
	assert_true(slow->sent > 256 * 1024);
}

/* The window follows the line: 40 ms of round trip, as a ping finds it or TCP (us), and a sender that always has something. */
static void window_grows(struct fake_world *w, size_t most, int64_t ping_ms, uint32_t tcp_us)
{
	struct stranger *s = stranger_new(w, 2, 0);
	uint8_t data[SG_VSTREAM_HEAD + 32000] = {0};
	uint64_t total = 2, allowed = SG_VSTREAM_CREDIT_FIRST, first_allowed = allowed;
	struct fake_end *e = fake_end_new();
	struct sg_packet p;
	int rounds;

	stranger_call(s);
	assert_int_equal(stranger_link(s, true, 0), SG_SETTLE_OK);
	assert_int_equal(route_listen(w->node[0].route, PORT, &fake_end_listener, e), 0);
	stranger_packet(s, SG_PACKET_LINK_HELLO, 0, "\1\0\0\0\1", 5);
	while (stranger_got(s, &p)) {
		if (p.type != SG_PACKET_TRANSPORT_PING)
			continue;
		fake_clock_add_ms(&w->clock, ping_ms);
		stranger_packet(s, SG_PACKET_TRANSPORT_PONG, 0, p.payload.p, p.payload.len);
	}
	sg_container_of(w->node[0].links->links.next, struct sg_link, node)->pace.rtt_us = tcp_us;
	sg_vstream_head(3, &s->pk, SG_VSTREAM_SYN, data);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 0, data, SG_VSTREAM_HEAD);
	sg_vstream_head(3, &s->pk, 0, data);
	sg_put_u16(data + SG_VSTREAM_HEAD, PORT);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 0, data, SG_VSTREAM_HEAD + 2);
	assert_non_null(e->st);
	for (rounds = 0; rounds < 12; rounds++) {
		/* One round trip: everything that is allowed, then its credits. */
		while (allowed - total >= 32000) {
			stranger_packet(s, SG_PACKET_APP_DIRECT, 0, data, sizeof(data));
			total += 32000;
		}
		fake_clock_add_ms(&w->clock, 40);
		while (stranger_got(s, &p)) {
			struct sg_credit c;

			if (p.type != SG_PACKET_CREDIT)
				continue;
			assert_int_equal(sg_credit_decode(p.payload, &c), 0);
			assert_int_equal(c.id, 3);
			assert_true(c.allowed > allowed);
			allowed = c.allowed;
		}
	}
	assert_int_equal(e->got, total - 2);
	assert_true(first_allowed < allowed);
	/* 100 Mbit/s at 40 ms are 500 KB in flight. */
	assert_true(allowed - total > 500 * 1000);
	assert_true(allowed - total <= most);
	stranger_free(s);
}

static void the_window_grows_where_the_line_is_long(void **state)
{
	window_grows(*state, SG_VSTREAM_CREDIT_MAX, 40, 0);
}

/* Story: a line whose round trips vary; the only ping took 10 ms, and 128 KiB a round trip was all that came. */
static void the_window_grows_where_a_ping_was_lucky(void **state)
{
	window_grows(*state, SG_VSTREAM_CREDIT_MAX, 10, 40000);
}

static void the_window_of_a_small_machine_stays_small(void **state)
{
	struct fake_world *w = *state;

	route_set_small(w->node[0].route, true);
	window_grows(w, SG_VSTREAM_CREDIT_SMALL, 40, 0);
}

/* The user of a stream rations it: nothing else lets the other end send. */
static void what_may_come_is_what_its_user_says(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();
	uint64_t first = SG_VSTREAM_CREDIT_FIRST - 2; /* the port's */

	link_up(w);
	open_stream(w, 0, a, b);
	assert_int_equal(b->st->ops->allow(b->st, 0), first);
	for (int i = 0; i < 10; i++) {
		fake_end_send(a, first, 1000);
		world_settle(w);
	}
	assert_in_range(b->got, first - 999, first);
	assert_int_equal(b->st->ops->allow(b->st, 5000), first - b->got + 5000);
	for (int i = 0; i < 10; i++) {
		world_settle(w);
		fake_end_send(a, first, 1000);
	}
	assert_in_range(b->got, first + 4001, first + 5000);
	/* The network decides again. */
	assert_true(b->st->ops->allow(b->st, SG_STREAM_ALLOW_ALL) > 0);
	world_settle(w);
	for (int i = 0; i < 10; i++) {
		fake_end_send(a, first, 1000);
		world_settle(w);
	}
	assert_true(b->got > 5 * first);
	assert_true(b->in_order);
}

static void more_than_allowed_costs_the_stream(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	uint8_t data[SG_VSTREAM_HEAD + 60000] = {0};
	struct fake_end *e = fake_end_new();

	stranger_call(s);
	assert_int_equal(stranger_link(s, true, 0), SG_SETTLE_OK);
	assert_int_equal(route_listen(w->node[0].route, PORT, &fake_end_listener, e), 0);
	stranger_packet(s, SG_PACKET_LINK_HELLO, 0, "\1\0\0\0\1", 5);
	sg_vstream_head(3, &s->pk, SG_VSTREAM_SYN, data);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 0, data, SG_VSTREAM_HEAD);
	sg_vstream_head(3, &s->pk, 0, data);
	sg_put_u16(data + SG_VSTREAM_HEAD, PORT);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 0, data, SG_VSTREAM_HEAD + 2);
	e->st->ops->want(e->st, false);
	for (int i = 0; i < 4; i++)
		stranger_packet(s, SG_PACKET_APP_DIRECT, 0, data, sizeof(data));
	assert_int_equal(e->closed, 0);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 0, data, sizeof(data));
	assert_int_equal(e->closed, 1);
	assert_int_equal(world_counter(w, 0, "route.drop.credit"), 1);
	stranger_packet(s, SG_PACKET_APP_DIRECT, 0, data, sizeof(data));
	assert_int_equal(world_counter(w, 0, "route.drop.stream"), 1);
	stranger_free(s);
}

/* ---- ends ---- */

static void closing_delivers_what_was_sent_and_tells_the_other_end_once(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();

	link_up(w);
	open_stream(w, 0, a, b);
	b->st->ops->want(b->st, false);
	fake_end_send(a, 100000, 9999);
	a->st->ops->close(a->st);
	world_settle(w);
	assert_int_equal(b->closed, 0);
	assert_int_equal(b->st->ops->send(b->st, &(struct iovec){(char[]){1}, 1}, 1), SG_ECLOSED);
	b->st->ops->want(b->st, true);
	world_settle(w);
	assert_int_equal(b->got, 100000);
	assert_true(b->in_order);
	assert_int_equal(b->closed, 1);
	assert_int_equal(b->err, SG_ECLOSED);
	assert_int_equal(a->closed, 0); /* it closed by itself: no call-back */
}

static void closing_inside_a_callback_is_fine(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();

	b->close_on_data = true;
	link_up(w);
	open_stream(w, 0, a, b);
	fake_end_send(a, 100000, 5000);
	world_settle(w);
	assert_true(b->got > 0 && b->got <= 65536);
	assert_int_equal(b->closed, 0);
	assert_int_equal(a->closed, 1);
}

static void a_dead_link_ends_its_streams_with_a_sentence(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();

	link_up(w);
	open_stream(w, 0, a, b);
	world_kill(w, 1);
	assert_int_equal(b->closed, 1);
	assert_string_equal(b->why, "the link is down: we are stopping");
	world_settle(w);
	assert_int_equal(a->closed, 1);
	assert_int_equal(a->err, -ENETDOWN);
	assert_string_equal(a->why, "the link is down: the other end closed the connection");
}

/* ---- dialling ---- */

static struct fake_end dial(struct fake_world *w, const struct sg_pk *pk, uint16_t port, int64_t wait_ms)
{
	static struct fake_end e;

	memset(&e, 0, sizeof(e));
	assert_int_equal(route_dial(w->node[0].route, pk, port, fake_end_dialed, &e), 0);
	world_settle(w);
	world_pass(w, wait_ms);
	assert_true(e.dialed);
	return e;
}

static void failures_of_a_dial_are_told_apart(void **state)
{
	struct fake_world *w = *state;
	struct stranger *old = stranger_new(w, 2, 0);
	struct fake_end e;

	e = dial(w, &w->node[3].pk, PORT, 5100);
	assert_int_equal(e.dial_err, SG_ENOROUTE);
	assert_non_null(strstr(e.why, "no transport to"));

	w->node[1].refuses = true;
	assert_int_equal(world_peer(w, 0, 1, false), 0);
	e = dial(w, &w->node[1].pk, PORT, 5100);
	assert_int_equal(e.dial_err, SG_ENOROUTE);
	assert_non_null(strstr(e.why, "refuses connections. Is skygated running there?"));

	w->node[1].refuses = false;
	world_pass(w, 6000);
	e = dial(w, &w->node[1].pk, 99, 0);
	assert_int_equal(e.dial_err, SG_EREFUSED);
	assert_string_equal(e.why, "nobody listens on port 99 there");

	stranger_call(old);
	assert_int_equal(stranger_link(old, false, 0), SG_SETTLE_OK);
	e = dial(w, &w->node[2].pk, PORT, 5100);
	assert_int_equal(e.dial_err, -ENOTSUP);
	assert_non_null(strstr(e.why, "a visor of 2024"));

	/* One of 2026 that does not answer. */
	stranger_packet(old, 19, 0, "123456789012", 12);
	e = dial(w, &w->node[2].pk, PORT, 5100);
	assert_int_equal(e.dial_err, -ETIMEDOUT);
	assert_string_equal(e.why, "no answer from port 44 within 5 s");
	stranger_free(old);
}

static void a_dial_waits_for_the_link(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();

	w->node[0].holds = true;
	assert_int_equal(world_peer(w, 0, 1, false), 0);
	assert_int_equal(route_listen(w->node[1].route, PORT, &fake_end_listener, b), 0);
	assert_int_equal(route_dial(w->node[0].route, &w->node[1].pk, PORT, fake_end_dialed, a), 0);
	world_pass(w, 4000);
	assert_false(a->dialed);
	world_release(w, 0);
	world_settle(w);
	assert_non_null(a->st);
	assert_non_null(b->st);
}

static void cancelled_dials_are_not_heard_of_again(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *early = fake_end_new(), *asked = fake_end_new(), *other = fake_end_new(), *b = fake_end_new();

	link_up(w);
	assert_int_equal(route_listen(w->node[1].route, PORT, &fake_end_listener, b), 0);
	assert_int_equal(route_dial(w->node[0].route, &w->node[1].pk, PORT, fake_end_dialed, early), 0);
	route_dial_cancel(w->node[0].route, early);
	assert_int_equal(route_dial(w->node[0].route, &w->node[1].pk, PORT, fake_end_dialed, asked), 0);
	assert_int_equal(route_dial(w->node[0].route, &w->node[1].pk, 98, fake_end_dialed, other), 0);
	sg_loop_step(w->loop, 0); /* the question is on its way */
	route_dial_cancel(w->node[0].route, asked);
	world_settle(w);
	assert_false(early->dialed);
	assert_false(asked->dialed);
	assert_true(other->dialed);
	if (b->st == NULL && b->closed == 0)
		return; /* the FIN came before the port was looked at */
	assert_int_equal(b->closed, 1);
}

static void ports_are_given_once(void **state)
{
	struct fake_world *w = *state;
	struct fake_end *e = fake_end_new();

	assert_int_equal(route_listen(w->node[0].route, PORT, &fake_end_listener, e), 0);
	assert_int_equal(route_listen(w->node[0].route, PORT, &fake_end_listener, e), -EADDRINUSE);
	route_unlisten(w->node[0].route, PORT);
	route_unlisten(w->node[0].route, PORT);
	assert_int_equal(route_listen(w->node[0].route, PORT, &fake_end_listener, e), 0);
}

static int refusing(void *arg, struct sg_stream *st)
{
	(void)st;
	(*(unsigned *)arg)++;
	return SG_EFULL;
}

static int closing(void *arg, struct sg_stream *st)
{
	(*(unsigned *)arg)++;
	st->ops->close(st);
	return 0;
}

static int forgetful(void *arg, struct sg_stream *st)
{
	(void)st;
	(*(unsigned *)arg)++;
	return 0; /* without a user */
}

static void a_listener_may_refuse_in_any_way(void **state)
{
	static const struct sg_listener_ops ways[] = {
		{sizeof(ways[0]), refusing}, {sizeof(ways[0]), closing}, {sizeof(ways[0]), forgetful}};
	struct fake_world *w = *state;
	unsigned asked = 0;

	link_up(w);
	for (size_t i = 0; i < SG_ARRAY_LEN(ways); i++) {
		assert_int_equal(route_listen(w->node[1].route, PORT, &ways[i], &asked), 0);
		assert_int_equal(dial(w, &w->node[1].pk, PORT, 0).dial_err, SG_EREFUSED);
		route_unlisten(w->node[1].route, PORT);
	}
	assert_int_equal(asked, 3);
	assert_int_equal(world_counter(w, 1, "route.refused.port"), 3);
}

static int speaking_first(void *arg, struct sg_stream *st)
{
	assert_int_equal(fake_end_listener.on_stream(arg, st), 0);
	/* Our answer is not on its way yet: it may not speak before. */
	assert_int_equal(st->ops->send(st, &(struct iovec){(char[]){0}, 1}, 1), -EAGAIN);
	return 0;
}

static void a_listener_speaks_behind_the_answer(void **state)
{
	static const struct sg_listener_ops ops = {sizeof(ops), speaking_first};
	struct fake_world *w = *state;
	struct fake_end *a = fake_end_new(), *b = fake_end_new();

	link_up(w);
	assert_int_equal(route_listen(w->node[1].route, PORT, &ops, b), 0);
	assert_int_equal(route_dial(w->node[0].route, &w->node[1].pk, PORT, fake_end_dialed, a), 0);
	world_settle(w);
	assert_int_equal(b->writable, 1);
	fake_end_send(b, 100, 100);
	world_settle(w);
	assert_int_equal(a->got, 100);
	assert_true(a->in_order);
}

/* ---- limits ---- */

static bool count_streams(void *arg, const struct sg_route_stream_info *s)
{
	unsigned *n = arg;

	(void)s;
	(*n)++;
	return true;
}

static void a_link_holds_256_streams(void **state)
{
	static struct fake_end a[SG_VSTREAMS_PER_LINK + 1], b;
	struct fake_world *w = *state;
	unsigned n = 0;

	memset(a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	link_up(w);
	assert_int_equal(route_listen(w->node[1].route, PORT, &fake_end_listener, &b), 0);
	for (size_t i = 0; i < SG_ARRAY_LEN(a); i++) {
		assert_int_equal(route_dial(w->node[0].route, &w->node[1].pk, PORT, fake_end_dialed, &a[i]), 0);
		world_step(w, 6);
	}
	for (size_t i = 0; i < SG_VSTREAMS_PER_LINK; i++)
		assert_non_null(a[i].st);
	assert_int_equal(a[SG_VSTREAMS_PER_LINK].dial_err, SG_EFULL);
	route_each_stream(w->node[0].route, count_streams, &n);
	assert_int_equal(n, SG_VSTREAMS_PER_LINK);
	/* All of them talk, and one that ends makes room. */
	for (size_t i = 0; i < SG_VSTREAMS_PER_LINK; i++) {
		fake_end_send(&a[i], 5000, 5000);
		if (i % 16 == 0)
			world_settle(w);
	}
	world_settle(w);
	assert_int_equal(b.got, SG_VSTREAMS_PER_LINK * 5000);
	a[7].st->ops->close(a[7].st);
	world_settle(w);
	assert_int_equal(dial(w, &w->node[1].pk, PORT, 0).dial_err, 0);
}

/* All want to send all the time: none starves behind the others. */
static void a_full_link_gives_each_stream_its_turn(void **state)
{
	static struct fake_end a[8], b[8];
	struct fake_world *w = *state;

	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	link_up(w);
	for (size_t i = 0; i < 8; i++) {
		open_stream(w, 0, &a[i], &b[i]);
		route_unlisten(w->node[1].route, PORT);
		a[i].greedy = true;
	}
	for (size_t i = 0; i < 8; i++)
		fake_end_send(&a[i], UINT64_MAX, 8000);
	for (int round = 0; round < 150; round++)
		sg_loop_step(w->loop, 0);
	for (size_t i = 0; i < 8; i++) {
		assert_true(b[i].in_order);
		assert_true(b[i].got > 1 << 20);
		assert_in_range(b[i].got, b[0].got / 2, b[0].got * 2);
		a[i].greedy = false;
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_carries_bytes_in_order_both_ways),
		TEST(a_record_goes_whole_or_not_at_all),
		TEST(pieces_of_an_iovec_arrive_in_their_order),
		TEST(many_small_packets_share_frames),
		TEST(megabytes_pass_with_every_queue_full),
		TEST(a_slow_reader_stops_its_own_stream_only),
		TEST(the_window_grows_where_the_line_is_long),
		TEST(the_window_grows_where_a_ping_was_lucky),
		TEST(the_window_of_a_small_machine_stays_small),
		TEST(what_may_come_is_what_its_user_says),
		TEST(more_than_allowed_costs_the_stream),
		TEST(closing_delivers_what_was_sent_and_tells_the_other_end_once),
		TEST(closing_inside_a_callback_is_fine),
		TEST(a_dead_link_ends_its_streams_with_a_sentence),
		TEST(failures_of_a_dial_are_told_apart),
		TEST(a_dial_waits_for_the_link),
		TEST(cancelled_dials_are_not_heard_of_again),
		TEST(ports_are_given_once),
		TEST(a_listener_may_refuse_in_any_way),
		TEST(a_listener_speaks_behind_the_answer),
		TEST(a_link_holds_256_streams),
		TEST(a_full_link_gives_each_stream_its_turn),
	};

	return cmocka_run_group_tests_name("route/stream", tests, NULL, NULL);
}
