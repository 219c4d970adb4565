/*
 * P40, toward the exit: clients behind one line are told what they may send. A model of line and clients under a hand-set clock: a
 * queue in the order of arrival, round trips, connections of which some push ten times as much as others, clients that send all they
 * may, at a steady rate, or whole records only.
 */
#include "base/common.h"
#include "base/limits.h"
#include "rations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define CLIENTS 100
#define MBIT    100
#define LINE    (MBIT * 125) /* bytes a ms */
#define LATER   512          /* ms: longer than any way */
#define PACKET  1500
#define STREAM  (PACKET + SG_VPN_RECORD_HEAD) /* of these bytes of the stream, */
#define ON_LINE 1600                          /* bytes of the line, */
#define COUNTED (PACKET + PACKET / 16 + 64)   /* and what the exit takes it for */
#define FIFO    (1 << 16)

struct client {
	struct ration r;
	bool greedy;
	int64_t per_s;              /* bytes that it has to send */
	size_t record;              /* sent whole or not at all */
	unsigned pushes, under_way; /* packets that its connection has under way at the most; now */
	unsigned way;               /* ms, there or back */
	int64_t may;                /* bytes, as it knows */
	int64_t has;                /* bytes that wait to be sent */
	int64_t refused;
	uint64_t got;
	uint64_t told[LATER];    /* arrives there in that ms */
	uint32_t packets[LATER]; /* arrive here */
};

struct model {
	struct rations rs;
	struct client c[CLIENTS];
	uint8_t fifo[FIFO]; /* whose packet */
	size_t head, tail, most;
	int64_t line; /* bytes that it may still bring in this ms */
	unsigned ms;
	uint64_t messages;
};

static struct sg_mono now(const struct model *m)
{
	return (struct sg_mono){SG_NS_PER_S + m->ms * SG_NS_PER_MS};
}

static struct model *model_new(unsigned way)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	rations_init(&m->rs, MBIT * 1000);
	for (size_t i = 0; i < CLIENTS; i++) {
		m->c[i].way = way;
		m->c[i].record = STREAM;
		m->c[i].pushes = (4 + (unsigned)i % 10 * 4) * (1 + way / 20);
		ration_init(&m->c[i].r, SG_VSTREAM_CREDIT_FIRST);
		m->c[i].may = SG_VSTREAM_CREDIT_FIRST;
		m->c[i].r.rtt_us = 2000 * (int64_t)way;
	}
	return m;
}

static void client_sends(struct model *m, struct client *c)
{
	c->has += c->greedy ? LINE : c->per_s / 1000;
	if (c->greedy)
		c->has = SG_MIN(c->has, (int64_t)c->record * 9);
	while (c->has >= (int64_t)c->record && c->may >= (int64_t)c->record && c->under_way < c->pushes) {
		for (size_t n = c->record / STREAM; n; n--, c->under_way++)
			m->fifo[m->tail++ % FIFO] = (uint8_t)(c - m->c);
		assert_true(m->tail - m->head <= FIFO);
		c->has -= (int64_t)c->record;
		c->may -= (int64_t)c->record;
	}
	c->refused += c->has >= (int64_t)c->record && c->may < (int64_t)c->record;
}

static void arrived(struct model *m, struct client *c)
{
	uint32_t n = c->packets[m->ms % LATER];

	c->packets[m->ms % LATER] = 0;
	if (!n)
		return;
	c->under_way -= n;
	c->got += (uint64_t)n * PACKET;
	c->r.around += (int64_t)n * COUNTED;
	ration_came(&m->rs, &c->r, now(m), (size_t)n * STREAM);
	ration_look(&m->rs, &c->r);
}

static void tell(struct model *m)
{
	for (struct ration *r; (r = rations_due(&m->rs));) {
		struct client *c = sg_container_of(r, struct client, r);

		c->told[(m->ms + c->way + 1) % LATER] += r->given;
		r->given = 0;
		m->messages++;
	}
}

static void one_ms(struct model *m)
{
	m->ms++;
	for (size_t i = 0; i < CLIENTS; i++) {
		/* No two of them are first in the same order each time. */
		struct client *c = &m->c[(i * 37 + m->ms) % CLIENTS];

		c->may += (int64_t)c->told[m->ms % LATER];
		c->told[m->ms % LATER] = 0;
		client_sends(m, c);
	}
	m->most = SG_MAX(m->most, m->tail - m->head);
	for (m->line = SG_MIN(m->line, 0) + LINE; m->line > 0 && m->head < m->tail; m->line -= ON_LINE) {
		struct client *c = &m->c[m->fifo[m->head++ % FIFO]];

		c->packets[(m->ms + c->way) % LATER]++;
	}
	for (size_t i = 0; i < CLIENTS; i++)
		arrived(m, &m->c[i]);
	(void)rations_give(&m->rs, now(m));
	tell(m);
}

static void pass(struct model *m, unsigned ms)
{
	while (ms--)
		one_ms(m);
}

static void forget(struct model *m)
{
	m->most = 0;
	m->messages = 0;
	for (size_t i = 0; i < CLIENTS; i++)
		m->c[i].got = m->c[i].refused = 0;
}

/* Mbit/s of @from up to @to, and how much the least of them got of what the most got. */
static double all_of(const struct model *m, size_t from, size_t to, unsigned ms, double *least)
{
	uint64_t all = 0, low = UINT64_MAX, high = 0;

	for (size_t i = from; i < to; i++) {
		all += m->c[i].got;
		low = SG_MIN(low, m->c[i].got);
		high = SG_MAX(high, m->c[i].got);
	}
	*least = high ? (double)low / (double)high : 0;
	return (double)all * 8e-3 / ms;
}

static double queue_ms(const struct model *m)
{
	return (double)m->most * ON_LINE / LINE;
}

/* All at once, from standing: after three seconds the line has no queue, and all get the same. */
static void who_share_a_line_get_the_same(void **state)
{
	static const unsigned ways[] = {0, 1, 20, 100};

	(void)state;
	for (size_t w = 0; w < SG_ARRAY_LEN(ways); w++) {
		struct model *m = model_new(ways[w]);
		double least, mbit;

		for (size_t i = 0; i < CLIENTS; i++)
			m->c[i].greedy = true;
		pass(m, 5000);
		forget(m);
		pass(m, 5000);
		mbit = all_of(m, 0, CLIENTS, 5000, &least);
		print_message("P40: %u ms there: %.1f Mbit/s, the least gets %.3f of the most, %.1f ms of queue, %.0f "
			      "messages/s\n",
			ways[w], mbit, least, queue_ms(m), (double)m->messages / 5);
		assert_true(least >= 0.95);
		assert_true(mbit >= 0.95 * MBIT * PACKET / COUNTED * 0.98 && mbit <= 0.95 * MBIT);
		assert_true(queue_ms(m) <= 10);
		assert_true(m->messages <= 5 * 4100);
		free(m);
	}
}

/* Ways of different lengths do not make shares different. */
static void far_and_near_get_the_same(void **state)
{
	struct model *m = model_new(0);
	double least;

	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		m->c[i].greedy = true;
		m->c[i].way = i % 5 * 30;
		m->c[i].r.rtt_us = 2000 * (int64_t)m->c[i].way;
	}
	pass(m, 5000);
	forget(m);
	pass(m, 5000);
	(void)all_of(m, 0, CLIENTS, 5000, &least);
	assert_true(least >= 0.95);
	free(m);
}

/* What some do not use the others have, and a single one has all of it. */
static void nothing_is_kept_for_who_does_not_use_it(void **state)
{
	struct model *m = model_new(20);
	double least, mbit, all = 0.95 * MBIT * PACKET / COUNTED, each = 0.4 * PACKET / STREAM;

	(void)state;
	for (size_t i = 0; i < CLIENTS; i++) {
		m->c[i].greedy = i < 10;
		m->c[i].pushes = FIFO / CLIENTS;
		m->c[i].per_s = i < 50 ? 50000 : 0; /* 0.4 Mbit/s */
	}
	pass(m, 5000);
	forget(m);
	pass(m, 5000);
	mbit = all_of(m, 0, 10, 5000, &least);
	assert_true(least >= 0.95);
	assert_true(mbit >= 0.98 * (all - 40 * each));
	(void)all_of(m, 10, 50, 5000, &least);
	assert_true(least >= 0.95);
	for (size_t i = 10; i < 50; i++)
		assert_int_equal(m->c[i].refused, 0); /* within its share nobody waits */
	/* Nine send little as well: within a quarter of a second the tenth has what they had. */
	for (size_t i = 1; i < 10; i++)
		m->c[i].greedy = false;
	pass(m, 250);
	forget(m);
	pass(m, 2000);
	mbit = all_of(m, 0, 1, 2000, &least);
	print_message("P40: one alone: %.1f Mbit/s of %.1f\n", mbit, all - 49 * each);
	assert_true(mbit >= 0.98 * (all - 49 * each));
	free(m);
}

/* Who wakes among others that send may send something at once. When many do so the queue is gone soon. */
static void who_wakes_need_not_wait(void **state)
{
	struct model *m = model_new(20);

	(void)state;
	for (size_t i = 0; i < CLIENTS; i++)
		m->c[i].greedy = i % 2;
	pass(m, 5000);
	/* What the beginning left them is taken away: from now on it is what they are given. */
	for (size_t i = 0; i < CLIENTS; i += 2) {
		m->c[i].r.left = m->c[i].r.old = m->c[i].may = 0;
		m->c[i].r.last = now(m);
		ration_look(&m->rs, &m->c[i].r);
	}
	pass(m, 8000);
	for (size_t i = 0; i < CLIENTS; i += 2) {
		assert_in_range(m->c[i].may, SG_VPN_PACKET_MAX, SG_VPN_PACKET_MAX * 3 / 2);
		assert_int_equal(m->c[i].r.left, m->c[i].may);
		m->c[i].greedy = true;
	}
	pass(m, 1500);
	forget(m);
	pass(m, 500);
	print_message("P40: fifty woke at once: %.1f ms of queue 1.5 s later\n", queue_ms(m));
	assert_true(queue_ms(m) <= 10);
	free(m);
}

/* Ends that send a record whole or not at all get theirs, too. */
static void whole_records_are_waited_for(void **state)
{
	struct model *m = model_new(20);
	double least;

	(void)state;
	for (size_t i = 0; i < CLIENTS; i++) {
		m->c[i].greedy = true;
		m->c[i].record = i % 10 ? STREAM : 40 * STREAM;
	}
	pass(m, 5000);
	forget(m);
	pass(m, 10000);
	(void)all_of(m, 0, CLIENTS, 10000, &least);
	print_message("P40: records of 60 KB: %.2f of a share\n", least);
	assert_true(least >= 0.95);
	free(m);
}

/* Who does not keep to it, for nobody can tell it, is not given anything until it has paid. */
static void what_came_too_much_is_paid_back(void **state)
{
	struct rations rs;
	struct ration a, b;
	struct sg_mono at = {SG_NS_PER_S};
	int64_t got_a = 0, got_b = 0;

	(void)state;
	rations_init(&rs, 10000);
	ration_init(&a, 0);
	ration_init(&b, 0);
	for (unsigned ms = 0; ms < 10000; ms++, at.ns += SG_NS_PER_MS) {
		/* Once it is listened to, 64 KiB come at once. */
		if (a.left > 0) {
			ration_came(&rs, &a, at, 65536);
			a.around += 65536;
			got_a += 65536;
		}
		if (b.left >= 1500) {
			ration_came(&rs, &b, at, 1500);
			b.around += 1500;
			got_b += 1500;
		}
		ration_look(&rs, &a);
		ration_look(&rs, &b);
		(void)rations_give(&rs, at);
		while (rations_due(&rs))
			;
	}
	assert_true((double)got_a >= 0.9 * (double)got_b && (double)got_b >= 0.9 * (double)got_a);
	ration_leave(&a);
	ration_leave(&a);
	ration_leave(&b);
	assert_int_equal(rations_give(&rs, at), 0);
	assert_null(rations_due(&rs));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_share_a_line_get_the_same),
		cmocka_unit_test(far_and_near_get_the_same),
		cmocka_unit_test(nothing_is_kept_for_who_does_not_use_it),
		cmocka_unit_test(who_wakes_need_not_wait),
		cmocka_unit_test(whole_records_are_waited_for),
		cmocka_unit_test(what_came_too_much_is_paid_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
