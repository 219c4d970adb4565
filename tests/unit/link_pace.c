/* What is decided about a line from what the kernel says of it, against a line made of numbers: rate, queue, way. */
#include "base/common.h"
#include "link/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define MSS   1448
#define FRAME 1514                /* with its headers */
#define STEP  (40 * SG_NS_PER_MS) /* the way there and back, and the time between samples */

struct line_model {
	double rate, queue; /* bytes per second, bytes */
	double others;      /* bytes per second of somebody else's, who fills the queue to its end */
	double delivered;
	uint32_t longer_us; /* the way, than it was */
	bool starting, tried;
	struct link_pace p;
	struct sg_mono now;
};

/* 40 ms in which the socket sends at @want or as it is paced. Returns what arrived. */
static double step(struct line_model *m, double want, uint32_t jitter_us)
{
	double send = m->p.cap ? SG_MIN(want, (double)m->p.cap) : want;
	double took = SG_MIN(m->queue + send * 0.04, (m->rate - m->others) * 0.04);
	struct pace_sample s = {.min_rtt_us = 40000, .mss = MSS, .starting = m->starting};

	m->queue += send * 0.04 - took;
	if (m->others > 0)
		m->queue = m->rate * 0.1;
	m->delivered += took / MSS;
	m->now.ns += STEP;
	s.now = m->now;
	/* Packets of data are full; the shortest round trip was that of a small one. */
	s.rtt_us = (uint32_t)(40000 + (m->queue + FRAME) / m->rate * 1e6) + m->longer_us + jitter_us;
	s.rttvar_us = 1000 + jitter_us / 2;
	s.delivered = (uint32_t)(int64_t)m->delivered;
	s.unacked = (uint32_t)(send * s.rtt_us / 1e6 / MSS);
	s.hold = !m->tried;
	pace_update(&m->p, &s);
	return took;
}

static struct line_model line_of(double mbit)
{
	/* So that the counter of deliveries wraps around on the way. */
	return (struct line_model){.rate = mbit * 1e6 / 8, .delivered = UINT32_MAX - 100.0, .now = {SG_NS_PER_S}};
}

static void a_standing_queue_is_drained_and_the_line_kept_busy(void **state)
{
	static const double rates[] = {1, 20, 100, 1000};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rates); i++) {
		struct line_model m = line_of(rates[i]);
		double arrived = 0, worst = 0, sum = 0;

		m.queue = m.rate * 0.1; /* 100 ms */
		for (int n = 0; n < 500; n++) {
			double took = step(&m, m.rate * 1.35, 0);

			if (n >= 100) {
				arrived += took;
				worst = SG_MAX(worst, m.queue / m.rate);
				sum += m.queue / m.rate;
			}
		}
		assert_true(worst < 0.07);
		assert_true(sum / 400 < 0.025);
		assert_true(arrived > m.rate * 400 * 0.04 * 0.97);
	}
}

/* BBR looks for a quarter more in one round trip of eight, and takes what it got once for what there is. */
static void what_looks_for_more_queues_little(void **state)
{
	static const double rates[] = {5, 20, 100};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rates); i++) {
		struct line_model m = line_of(rates[i]);
		double arrived = 0, worst = 0;

		for (int n = 0; n < 1000; n++) {
			double took = step(&m, m.rate * (n % 8 == 0 ? 1.25 : 1.02), 0);

			if (n >= 100) {
				arrived += took;
				worst = SG_MAX(worst, m.queue / m.rate);
			}
		}
		assert_true(worst < (rates[i] < 20 ? 0.025 : 0.012));
		assert_true(arrived > m.rate * 900 * 0.04 * 0.97);
	}
}

/* Story: the machine stands still for 100 ms. Afterwards the line is filled again, and not overfilled. */
static void a_moment_of_standstill_changes_little(void **state)
{
	struct line_model m = line_of(20);
	double rate = m.rate, arrived = 0, worst = 0;

	(void)state;
	for (int n = 0; n < 200; n++)
		step(&m, rate * 1.25, 0);
	m.queue += rate * 0.06;
	m.rate = rate * 0.05;
	step(&m, 0, 50000);
	m.rate = rate;
	for (int n = 0; n < 75; n++) {
		arrived += step(&m, rate * 1.25, 0);
		if (n > 12)
			worst = SG_MAX(worst, m.queue / rate);
	}
	assert_true(arrived > rate * 75 * 0.04 * 0.95);
	assert_true(worst < 0.02);
}

/* Some ms more are another way, or a queue that somebody else keeps: nothing that we could make shorter. */
static void a_way_that_became_longer_is_used(void **state)
{
	static const uint32_t longer[] = {3000, 8000, 12000, 30000, 100000};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(longer); i++) {
		struct line_model m = line_of(20);
		double arrived = 0;

		for (int n = 0; n < 200; n++)
			step(&m, m.rate * 1.25, 0);
		m.longer_us = longer[i];
		for (int n = 0; n < 3000; n++)
			arrived += step(&m, m.rate * 1.02, 0);
		/* The longest look like a queue of others, for which room is made now and then. */
		assert_true(arrived > m.rate * 3000 * 0.04 * (longer[i] < 20000 ? 0.95 : 0.9));
	}
}

/* While Reno is tried the rate is its own affair, as soon as nothing queues. */
static void a_trial_is_not_held(void **state)
{
	struct line_model m = line_of(20), held;

	(void)state;
	for (int n = 0; n < 200; n++)
		step(&m, m.rate * 1.35, 0);
	held = m;
	m.tried = true;
	for (int n = 0; n < 12; n++) {
		step(&m, m.rate * 0.9, 0);
		step(&held, held.rate * 0.9, 0);
	}
	assert_int_equal(m.p.cap, 0);
	assert_true(held.p.cap > 0);
}

/* A line of mobile radio becomes four times as fast, and that is found within two seconds. */
static void a_line_that_became_faster_is_used(void **state)
{
	struct line_model m = line_of(5);
	double arrived = 0;

	(void)state;
	for (int n = 0; n < 200; n++)
		step(&m, m.rate * 1.25, 0);
	assert_true(m.p.cap > 0);
	m.rate *= 4;
	for (int n = 0; n < 100; n++) {
		double took = step(&m, m.rate * 1.25, 0);

		arrived += n >= 50 ? took : 0;
	}
	assert_true(arrived > m.rate * 50 * 0.04 * 0.95);
}

/* Little is sent, and its answers are late by the other end's 40 ms: no line is to be seen in that. */
static void single_packets_show_no_queue(void **state)
{
	struct line_model m = line_of(20);

	(void)state;
	for (int n = 0; n < 200; n++) {
		step(&m, 5000, 30000);
		assert_int_equal(m.p.cap, 0);
	}
}

/* Packets without a backlog are not full: the rate is what they hold. */
static void packets_that_are_not_full_are_not_counted_as_full(void **state)
{
	struct link_pace p = {0};
	struct pace_sample s = {.now = {SG_NS_PER_S}, .mss = MSS, .rtt_us = 40000, .min_rtt_us = 40000, .hold = true};

	(void)state;
	for (int n = 0; n < 100; n++) {
		s.now.ns += STEP;
		s.delivered += 100;
		s.sent_packets += 100;
		s.sent_bytes += 100 * 500;
		pace_update(&p, &s);
	}
	assert_in_range(p.rate, 100 * 500 * 25 - 1, 100 * 500 * 25 + 1);
	s.sent_bytes = 0; /* an old kernel */
	s.now.ns += STEP;
	s.delivered += 100;
	pace_update(&p, &s);
	assert_in_range(p.rate, 100 * MSS * 25 - 1, 100 * MSS * 25 + 1);
}

static void what_waits_is_bounded_by_time(void **state)
{
	struct line_model slow = line_of(20), fast = line_of(1000);

	(void)state;
	for (int n = 0; n < 20; n++) {
		step(&slow, slow.rate, 0);
		step(&fast, fast.rate, 0);
	}
	assert_in_range(slow.p.unsent, 6800, 8100); /* 3 and 2 ms */
	assert_in_range(slow.p.held, 4500, 5400);
	assert_int_equal(fast.p.unsent, SG_LINK_NOTSENT_LOWAT);
	assert_int_equal(fast.p.held, SG_LINK_TX_HIGH);
	assert_int_equal(fast.p.cap, 0);
	/* Whoever looks for the rate gets enough to find it. */
	slow.starting = true;
	step(&slow, slow.rate, 0);
	assert_int_equal(slow.p.unsent, SG_LINK_NOTSENT_LOWAT);
	slow.starting = false;
	step(&slow, slow.rate, 0);
	assert_in_range(slow.p.unsent, 6800, 8100);
	/* After a pause nothing is known any more. */
	slow.now.ns += 2 * SG_NS_PER_S;
	step(&slow, slow.rate, 0);
	assert_int_equal(slow.p.unsent, SG_LINK_NOTSENT_LOWAT);
}

static void jitter_is_no_queue(void **state)
{
	struct line_model m = line_of(20);

	(void)state;
	for (int n = 0; n < 200; n++) {
		step(&m, m.rate * 0.9, 10000 + (uint32_t)(n * 7919 % 30000));
		assert_int_equal(m.p.cap, 0);
	}
}

/* At 1 Mbit/s it is 12 ms, and was drained for ever: a quarter of the line was left unused (P16). */
static void the_time_of_a_packet_is_no_queue(void **state)
{
	struct line_model m = line_of(1);

	(void)state;
	for (int n = 0; n < 200; n++) {
		step(&m, m.rate * 0.95, 0);
		assert_int_equal(m.p.cap, 0);
	}
}

/* Story: the other end has no processor for what little we send for a while, and then a download begins. */
static void a_busy_machine_does_not_hold_back_what_follows(void **state)
{
	struct line_model m = line_of(1000);
	int n = 0;

	(void)state;
	m.others = m.rate - 400000;
	while (!m.p.cap && n++ < 100)
		step(&m, 400000, 0);
	assert_in_range(m.p.cap, 1, 800000);
	m.others = m.queue = 0;
	for (n = 0; m.p.cap && n < 25; n++)
		step(&m, m.rate * 0.9, 0);
	assert_int_equal(m.p.cap, 0); /* within a second */
}

static void single_packets_are_no_queue_of_ours(void **state)
{
	struct line_model m = line_of(1000);

	(void)state;
	m.others = m.rate - 30000;
	for (int n = 0; n < 500; n++) {
		step(&m, 30000, 0);
		assert_int_equal(m.p.cap, 0);
	}
}

/* It is known that draining does not help until a round trip is short again. */
static void what_cannot_be_drained_is_known(void **state)
{
	struct line_model m = line_of(20), ours = line_of(20);

	(void)state;
	for (int n = 0; n < 20; n++)
		step(&m, m.rate * 0.1, 0);
	assert_false(m.p.stuck);
	m.others = m.rate / 2;
	for (int n = 0; n < 20; n++)
		step(&m, m.rate / 2, 0);
	assert_true(m.p.stuck);
	m.others = m.queue = 0;
	step(&m, m.rate * 0.1, 0);
	assert_false(m.p.stuck);

	ours.queue = ours.rate * 0.1;
	for (int n = 0; n < 100; n++) {
		step(&ours, ours.rate * 1.35, 0);
		assert_false(ours.p.stuck);
	}
}

static void a_queue_of_others_does_not_starve_us(void **state)
{
	struct line_model m = line_of(20);
	double paced = 0;

	(void)state;
	for (int n = 0; n < 50; n++)
		step(&m, m.rate, 0);
	m.others = m.rate / 2;
	for (int n = 0; n < 1000; n++) {
		step(&m, m.rate / 2, 0);
		paced += m.p.cap != 0;
		if (m.p.cap)
			assert_true((double)m.p.cap >= m.rate / 2 * 0.45);
	}
	/* Two of every twelve seconds. */
	assert_true(paced < 1000 * 0.25);
}

/* Story: during a download we send little more than answers, and its queue is in their round trips; then an upload begins. */
static void a_download_before_does_not_spare_the_queue_of_an_upload(void **state)
{
	struct line_model m = line_of(20);
	double sum = 0;

	(void)state;
	m.others = m.rate * 0.6;
	for (int n = 0; n < 200; n++)
		step(&m, m.rate * 0.4, 0);
	assert_true(sg_mono_before(m.now, m.p.off_until));
	m.others = 0;
	for (int n = 0; n < 200; n++) { /* eight seconds, fewer than it gave up for */
		step(&m, m.rate * 1.35, 0);
		if (n >= 100)
			sum += m.queue / m.rate;
	}
	assert_true(sum / 100 < 0.03);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_standing_queue_is_drained_and_the_line_kept_busy),
		cmocka_unit_test(what_looks_for_more_queues_little),
		cmocka_unit_test(a_moment_of_standstill_changes_little),
		cmocka_unit_test(a_way_that_became_longer_is_used),
		cmocka_unit_test(a_trial_is_not_held),
		cmocka_unit_test(a_line_that_became_faster_is_used),
		cmocka_unit_test(single_packets_show_no_queue),
		cmocka_unit_test(packets_that_are_not_full_are_not_counted_as_full),
		cmocka_unit_test(what_waits_is_bounded_by_time),
		cmocka_unit_test(jitter_is_no_queue),
		cmocka_unit_test(the_time_of_a_packet_is_no_queue),
		cmocka_unit_test(a_busy_machine_does_not_hold_back_what_follows),
		cmocka_unit_test(single_packets_are_no_queue_of_ours),
		cmocka_unit_test(what_cannot_be_drained_is_known),
		cmocka_unit_test(a_queue_of_others_does_not_starve_us),
		cmocka_unit_test(a_download_before_does_not_spare_the_queue_of_an_upload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
