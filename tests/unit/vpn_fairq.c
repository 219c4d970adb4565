/*
 * The fair queue under a hand-set clock: order and bytes, turns, who loses what when it is full, and P23's figures over a
 * line of 20 Mbit/s with 500 flows that behave like TCP.
 */
#include "fairq.h"
#include "base/common.h"
#include "base/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ARENA (1024 * 1024)

struct bench {
	struct fairq_count count;
	struct fairq *q;
	struct fairq_class c;
	struct sg_mono now;
};

static void open_queue(struct bench *b, size_t arena)
{
	*b = (struct bench){.now = {SG_NS_PER_S}};
	b->q = fairq_new(arena, 42, &b->count);
	assert_non_null(b->q);
	fairq_class_init(b->q, &b->c);
}

static void close_queue(struct bench *b)
{
	fairq_class_clear(b->q, &b->c);
	assert_int_equal(b->c.bytes, 0);
	assert_int_equal(b->c.packets, 0);
	fairq_free(b->q);
}

static uint16_t ip_sum(const uint8_t *p)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < 20; i += 2)
		sum += sg_get_u16(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

/* A UDP packet of @flow with @number behind its headers. */
static void put_to(struct bench *b, struct fairq_class *c, uint32_t flow, uint32_t number, size_t len, uint8_t tos)
{
	const struct iovec *iov = fairq_room(b->q);
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET, .len = (uint32_t)len};
	uint8_t *p = iov[0].iov_base;
	size_t at = 0;

	for (int i = 0; at < len; at += iov[i++].iov_len)
		memset(iov[i].iov_base, (int)(number + (uint32_t)i), SG_MIN(len - at, iov[i].iov_len));
	memset(p, 0, 28);
	p[0] = 0x45;
	p[1] = tos;
	sg_put_u16(p + 2, (uint16_t)len);
	p[8] = 64;
	p[9] = 17;
	sg_put_u32(p + 12, 0xac10000c);
	sg_put_u32(p + 16, 0xc6336400 + flow / 50000);
	sg_put_u16(p + 20, (uint16_t)(flow % 50000));
	sg_put_u16(p + 10, (uint16_t)~ip_sum(p));
	sg_put_u32(p + 28, number);
	fairq_put(b->q, c, &r, b->now);
}

static void put(struct bench *b, uint32_t flow, uint32_t number, size_t len)
{
	put_to(b, &b->c, flow, number, len, 0);
}

struct got {
	uint32_t flow, number;
	size_t len;
};

static bool get_from(struct bench *b, struct fairq_class *c, struct got *g)
{
	struct fairq_packet p;
	const uint8_t *head;

	if (!fairq_front(b->q, c, b->now, &p))
		return false;
	head = p.iov[0].iov_base;
	*g = (struct got){
		(sg_get_u32(head + 16) - 0xc6336400) * 50000 + sg_get_u16(head + 20), sg_get_u32(head + 28), p.r->len};
	fairq_pop(b->q, c);
	return true;
}

static bool get(struct bench *b, struct got *g)
{
	return get_from(b, &b->c, g);
}

static void bytes_come_out_as_they_went_in(void **state)
{
	static const size_t sizes[] = {40, FAIRQ_BLOCK - 1, FAIRQ_BLOCK, FAIRQ_BLOCK + 1, 65535, 1500, 65535, 9000};
	struct bench b;
	struct fairq_packet p, again;

	(void)state;
	open_queue(&b, ARENA);
	for (uint32_t i = 0; i < SG_ARRAY_LEN(sizes); i++)
		put(&b, 7, i, sizes[i]);
	for (uint32_t i = 0; i < SG_ARRAY_LEN(sizes); i++) {
		size_t len = 0;

		assert_true(fairq_front(b.q, &b.c, b.now, &p));
		assert_true(fairq_front(b.q, &b.c, b.now, &again));
		assert_ptr_equal(p.iov[0].iov_base, again.iov[0].iov_base);
		assert_int_equal(p.r->len, sizes[i]);
		assert_int_equal(sg_get_u32((uint8_t *)p.iov[0].iov_base + 28), i);
		for (int k = 0; k < p.n; k++) {
			const uint8_t *block = p.iov[k].iov_base;

			for (size_t at = k ? 0 : 32; at < p.iov[k].iov_len; at++)
				assert_int_equal(block[at], (uint8_t)(i + (uint32_t)k));
			len += p.iov[k].iov_len;
		}
		assert_int_equal(len, sizes[i]);
		fairq_pop(b.q, &b.c);
	}
	assert_false(fairq_front(b.q, &b.c, b.now, &p));
	close_queue(&b);
}

static void a_ping_does_not_wait_behind_a_download(void **state)
{
	struct bench b;
	struct got g;

	(void)state;
	open_queue(&b, ARENA);
	for (uint32_t i = 0; i < 100; i++)
		put(&b, 1, i, 1500);
	assert_true(get(&b, &g) && g.flow == 1);
	assert_true(get(&b, &g) && g.flow == 1);
	put(&b, 2, 0, 84);
	assert_true(get(&b, &g));
	assert_int_equal(g.flow, 2);
	/* One that sends on and on gets its share and no more. */
	for (uint32_t i = 0; i < 300; i++)
		put(&b, 3, i, 500);
	for (uint32_t i = 0, one = 0, three = 0; i < 120; i++) {
		assert_true(get(&b, &g));
		one += g.flow == 1 ? 1500 : 0;
		three += g.flow == 3 ? 500 : 0;
		if (i > 20)
			assert_in_range(one + 6000, three, three + 12000);
	}
	close_queue(&b);
}

static void super_packets_take_turns_by_bytes(void **state)
{
	size_t served[2] = {0};
	struct bench b;
	struct got g;

	(void)state;
	open_queue(&b, ARENA);
	for (uint32_t i = 0; i < 6; i++)
		put(&b, 0, i, 60000);
	for (uint32_t i = 0; i < 240; i++)
		put(&b, 1, i, 1500);
	while (b.c.packets > 20 && get(&b, &g))
		served[g.flow] += g.len;
	assert_in_range(served[0], served[1] - 65000, served[1] + 65000);
	close_queue(&b);
}

/* One that comes back with a super-packet as soon as its last was sent owes the others what it had. */
static void who_comes_back_still_owes(void **state)
{
	size_t served[2] = {0};
	struct bench b;
	struct got g;

	(void)state;
	open_queue(&b, ARENA);
	put(&b, 0, 0, 60000);
	for (uint32_t i = 0; i < 300; i++)
		put(&b, 1, i, 1500);
	while (b.c.packets > 20 && get(&b, &g)) {
		served[g.flow] += g.len;
		if (g.flow == 0)
			put(&b, 0, 0, 60000);
	}
	assert_in_range(served[0], served[1] - 65000, served[1] + 65000);
	close_queue(&b);
}

/* Downloads whose packets come singly, and some that begin: a ping passes them, and none of them passes its turn. */
static void single_packets_are_no_pings(void **state)
{
	size_t served[100] = {0};
	struct bench b;
	struct got g;

	(void)state;
	open_queue(&b, ARENA);
	for (uint32_t f = 0; f < 100; f++)
		put(&b, f, 0, 1500);
	for (uint32_t i = 0; i < 2000; i++) {
		if (i % 20 == 0) {
			put(&b, 1000 + i, 0, 1500);
			put(&b, 5000, i, 84);
			assert_true(get(&b, &g));
			assert_int_equal(g.flow, 5000);
		}
		assert_true(get(&b, &g));
		if (g.flow >= 100)
			continue;
		served[g.flow]++;
		put(&b, g.flow, 0, 1500);
	}
	for (uint32_t f = 0; f < 100; f++)
		assert_in_range(served[f], 16, 20);
	close_queue(&b);
}

static void a_full_queue_takes_from_the_fattest(void **state)
{
	struct fairq_class other;
	struct bench b;
	struct got g;
	uint32_t next = 0, n = 0;

	(void)state;
	open_queue(&b, ARENA);
	fairq_class_init(b.q, &other);
	for (uint32_t i = 0; i < 10; i++)
		put_to(&b, &other, i, i, 1000, 0);
	for (uint32_t i = 0; i < 1000; i++)
		put(&b, 1, i, 1500);
	assert_in_range(b.c.packets, ARENA / FAIRQ_BLOCK - 10 - FAIRQ_IOV, ARENA / FAIRQ_BLOCK);
	assert_int_equal(b.count.full, 1000 - b.c.packets);
	assert_int_equal(other.packets, 10);
	/* The oldest went. */
	for (next = (uint32_t)b.count.full; get(&b, &g); next++)
		assert_int_equal(g.number, next);
	assert_int_equal(next, 1000);
	while (get_from(&b, &other, &g))
		n++;
	assert_int_equal(n, 10);
	/* A front that had to make room is no front any more. */
	put(&b, 1, 0, 1500);
	put(&b, 1, 1, 1500);
	{
		struct fairq_packet p;

		assert_true(fairq_front(b.q, &b.c, b.now, &p));
		b.c.sent = 3;
		for (uint32_t i = 2; i < 1000; i++)
			put(&b, 1, i, 1500);
		assert_true(fairq_front(b.q, &b.c, b.now, &p));
		assert_int_equal(b.c.sent, 0);
		assert_int_not_equal(sg_get_u32((uint8_t *)p.iov[0].iov_base + 28), 0);
	}
	close_queue(&b);
}

/* Flows come and go by the thousand, and some stay behind empty: there is always another. */
static void flows_do_not_run_out(void **state)
{
	struct fairq_class stalled;
	struct bench b;
	struct got g;

	(void)state;
	open_queue(&b, 2 * FAIRQ_IOV * FAIRQ_BLOCK);
	fairq_class_init(b.q, &stalled);
	for (uint32_t i = 0; i < 100000; i++) {
		put_to(&b, i % 3 ? &b.c : &stalled, i, i, 100, 0);
		if (i % 7 == 0)
			(void)get(&b, &g);
		b.now.ns += 1000;
	}
	fairq_class_clear(b.q, &stalled);
	while (get(&b, &g))
		;
	put(&b, 1, 77, 100);
	assert_true(get(&b, &g));
	assert_int_equal(g.number, 77);
	close_queue(&b);
}

static void who_waits_too_long_is_told(void **state)
{
	struct bench b;
	struct got g;
	uint64_t before;
	uint32_t number = 0;

	(void)state;
	open_queue(&b, ARENA);
	/* Within 200 ms of a queue nobody is dropped, then more and more. */
	for (int ms = 0; ms < 1000; ms++) {
		put(&b, 1, number++, 1500);
		if (ms % 2 == 0)
			put(&b, 1, number++, 1500);
		assert_true(get(&b, &g));
		b.now.ns += SG_NS_PER_MS;
		if (ms == 200)
			assert_int_equal(b.count.late, 0);
	}
	assert_in_range(b.count.late, 5, 40);
	/* Whoever understands a mark gets one instead of a loss, and the header's checksum stays right. */
	while (get(&b, &g))
		;
	before = b.count.late;
	for (int ms = 0; ms < 600; ms++) {
		struct fairq_packet p;

		put_to(&b, &b.c, 2, number++, 1500, 2);
		if (ms % 2 == 0)
			put_to(&b, &b.c, 2, number++, 1500, 1);
		assert_true(fairq_front(b.q, &b.c, b.now, &p));
		assert_int_equal(ip_sum(p.iov[0].iov_base), 0xffff);
		fairq_pop(b.q, &b.c);
		b.now.ns += SG_NS_PER_MS;
	}
	assert_int_equal(b.count.late, before);
	assert_in_range(b.count.marked, 2, 40);
	/* After a stall of seconds what waited is of no use to anybody. */
	b.now.ns += 3 * SG_NS_PER_S;
	put(&b, 2, 4711, 100);
	assert_true(get(&b, &g));
	assert_int_equal(g.number, 4711);
	assert_true(b.count.stale > 100);
	close_queue(&b);
}

/*
 * P40: a hundred clients of an exit whose senders send up to five times what can be sent, one of them over fifty connections. The
 * arena is theirs together; whoever fills it most loses most.
 */
static void p40_a_hundred_clients_get_the_same(void **state)
{
	enum { CLIENTS = 100, ROUNDS = 400 };
	static struct fairq_class clients[CLIENTS];
	static uint64_t served[CLIENTS];
	uint64_t least = UINT64_MAX, most = 0;
	struct bench b;
	struct got g;

	(void)state;
	open_queue(&b, 2 * ARENA);
	for (int i = 0; i < CLIENTS; i++)
		fairq_class_init(b.q, &clients[i]);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < CLIENTS; i++) {
			for (int n = 0; n <= i % 5; n++)
				put_to(&b, &clients[i], i ? 0 : (uint32_t)round % 50, (uint32_t)round, 1500, 0);
		}
		for (int n = 0; n < 50; n++) {
			int i = (round * 50 + n) % CLIENTS;

			if (get_from(&b, &clients[i], &g))
				served[i] += g.len;
		}
		b.now.ns += 20 * SG_NS_PER_MS; /* 30 Mbit/s in all */
	}
	for (int i = 0; i < CLIENTS; i++) {
		least = SG_MIN(least, served[i]);
		most = SG_MAX(most, served[i]);
		fairq_class_clear(b.q, &clients[i]);
	}
	print_message("P40: %.1f %% between the least and the most\n", 100.0 * (double)(most - least) / (double)most);
	assert_true(b.count.full + b.count.late > 1000);
	assert_true((double)least >= 0.9 * (double)most);
	close_queue(&b);
}

/* ---- P23: 500 flows like TCP, 20 Mbit/s, a way of 40 ms ---- */

#define FLOWS   500
#define SLOT_NS 600000 /* 1,500 bytes at 20 Mbit/s */
#define WAY     67     /* slots: 40 ms */
#define SLOTS   50000  /* 30 s */

struct tcp {
	double window;
	uint32_t next, expected, in_flight, served;
	int last_ack;
};

static int compare(const void *a, const void *b)
{
	return (*(const int64_t *)a > *(const int64_t *)b) - (*(const int64_t *)a < *(const int64_t *)b);
}

/* An acknowledgement: what is missing before it was lost, and the window is halved. */
static void acked(struct tcp *t, uint32_t number, int slot)
{
	uint32_t lost = number - t->expected;

	t->expected = number + 1;
	t->in_flight -= lost + 1;
	t->last_ack = slot;
	t->window = lost ? SG_MAX(1.0, t->window / 2) : t->window + 1 / t->window;
}

static void p23_five_hundred_flows_over_20_mbit(void **state)
{
	static struct tcp tcp[FLOWS];
	static struct got wire[WAY];
	static int64_t waits[SLOTS];
	size_t n_waits = 0;
	double sum = 0, squares = 0;
	const int busy = SLOTS - SLOTS / 3 - 1;
	int64_t p99;
	struct bench b;

	(void)state;
	open_queue(&b, 2 * ARENA);
	for (int f = 0; f < FLOWS; f++)
		tcp[f] = (struct tcp){.window = 2};
	for (int slot = 0; slot < SLOTS; slot++) {
		struct got *g = &wire[slot % WAY];

		if (g->len == 1500)
			acked(&tcp[g->flow], g->number, slot);
		for (int f = 0; f < FLOWS; f++) {
			struct tcp *t = &tcp[f];

			if (t->in_flight && slot - t->last_ack > 1700) { /* 1 s: everything was lost */
				t->in_flight = 0;
				t->window = 1;
				t->expected = t->next;
				t->last_ack = slot;
			}
			for (; t->in_flight < (uint32_t)t->window; t->in_flight++)
				put(&b, (uint32_t)f, t->next++, 1500);
		}
		if (slot % 83 == 0) /* every 50 ms */
			put(&b, FLOWS, (uint32_t)slot, 84);
		g->len = 0;
		/* What the line carries in the time of one large packet: a ping comes besides. */
		while (get(&b, g) && g->len == 84) {
			if (slot > SLOTS / 3)
				waits[n_waits++] = (int64_t)(slot - (int)g->number) * SLOT_NS;
			g->len = 0;
		}
		if (g->len == 1500 && slot > SLOTS / 3)
			tcp[g->flow].served++;
		b.now.ns += SLOT_NS;
	}
	for (int f = 0; f < FLOWS; f++) {
		sum += tcp[f].served;
		squares += (double)tcp[f].served * tcp[f].served;
	}
	qsort(waits, n_waits, sizeof(*waits), compare);
	p99 = waits[n_waits * 99 / 100];
	print_message("P23: Jain %.3f, a ping waits %.1f ms (p99), dropped late %u full %u\n",
		sum * sum / FLOWS / squares, (double)p99 / 1e6, (unsigned)b.count.late, (unsigned)b.count.full);
	assert_true(sum * sum / FLOWS / squares >= 0.9);
	assert_true(sum >= 0.95 * busy); /* the line is kept busy */
	assert_true(p99 <= 20 * SG_NS_PER_MS);
	close_queue(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_out_as_they_went_in),
		cmocka_unit_test(a_ping_does_not_wait_behind_a_download),
		cmocka_unit_test(super_packets_take_turns_by_bytes),
		cmocka_unit_test(who_comes_back_still_owes),
		cmocka_unit_test(single_packets_are_no_pings),
		cmocka_unit_test(a_full_queue_takes_from_the_fattest),
		cmocka_unit_test(flows_do_not_run_out),
		cmocka_unit_test(who_waits_too_long_is_told),
		cmocka_unit_test(p40_a_hundred_clients_get_the_same),
		cmocka_unit_test(p23_five_hundred_flows_over_20_mbit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
