/* Which lines are uneven by their pings, against lines made of numbers. */
#include "base/common.h"
#include "link/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define RUNS 200 /* of the dice */

static uint64_t dice;

static double chance(void)
{
	dice = dice * 6364136223846793005U + 1442695040888963407U;
	return (double)(dice >> 33) / (double)(1U << 31);
}

/* A line, and what makes its round trips: ms each. */
struct line_model {
	double way, varies; /* each way, evenly distributed on top of it */
	double lost;        /* share of the pings, which take 200 ms more */
	double hiccup;      /* share of the pings that a busy machine delays by up to 100 ms */
	double queue_least, queue_most;
	double grows;  /* of that queue, in a round trip; it shrinks by a third when it is full */
	double packet; /* what one of others takes; one or none of them is before us */
};

/* How often in RUNS it is taken for uneven after so many pings. */
static unsigned uneven_of(const struct line_model *m, unsigned pings)
{
	unsigned found = 0;

	for (unsigned run = 0; run < RUNS; run++) {
		struct link_uneven u = {0};
		double queue = m->queue_least + chance() * (m->queue_most - m->queue_least);

		for (unsigned i = 0; i < pings; i++) {
			double ms = 2 * m->way + (chance() + chance()) * m->varies + queue;

			ms += chance() < m->lost ? 200 : 0;
			ms += chance() < m->hiccup ? 100 * chance() : 0;
			ms += chance() < 0.5 ? m->packet : 0;
			uneven_add(&u, (uint32_t)(ms * 1000));
			queue += m->grows;
			if (queue > m->queue_most)
				queue = SG_MAX(queue * 2 / 3, m->queue_least);
		}
		found += u.is;
	}
	return found;
}

static void lines_that_vary_are_found_by_their_first_pings(void **state)
{
	static const struct line_model lines[] = {
		{.varies = 100}, /* 50 ms up and down, about a way that is shorter than that */
		{.way = 5, .varies = 60, .lost = 0.1},
		{.way = 0.2, .varies = 50},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(lines); i++) {
		dice = i;
		assert_int_equal(uneven_of(&lines[i], UNEVEN_FEW - 1), 0);
		assert_in_range(uneven_of(&lines[i], UNEVEN_PINGS), RUNS * 9 / 10, RUNS);
	}
}

static void even_lines_are_not_taken_for_uneven(void **state)
{
	static const struct line_model lines[] = {
		{.way = 20},
		{.way = 0.1},
		{.way = 20, .lost = 0.1},                                       /* 5 % each way */
		{.way = 20, .varies = 10},                                      /* radio on a good day */
		{.way = 0.2, .hiccup = 0.1},                                    /* a busy machine */
		{.way = 20, .queue_least = 100, .queue_most = 210, .grows = 2}, /* others' download, 20 Mbit/s */
		{.way = 20, .queue_least = 0, .queue_most = 2100, .grows = 40}, /* its slow start */
		{.way = 20, .queue_least = 0, .queue_most = 210, .grows = 15},
		{.way = 20, .queue_least = 250, .queue_most = 510, .grows = 12, .packet = 24}, /* 1 Mbit/s */
		{.way = 20, .packet = 12}, /* little of others there */
		{.way = 150, .varies = 30},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(lines); i++) {
		dice = i;
		assert_in_range(uneven_of(&lines[i], 3 * UNEVEN_PINGS), 0, RUNS / 10);
	}
}

static void add(struct link_uneven *u, double way, double varies, unsigned pings)
{
	while (pings--)
		uneven_add(u, (uint32_t)((2 * way + (chance() + chance()) * varies) * 1000));
}

/* Pings of days: it is believed until it is clearly otherwise, and until then only. */
static void what_is_known_is_kept_and_ends(void **state)
{
	struct link_uneven u = {0};
	uint32_t usual;

	(void)state;
	dice = 1;
	add(&u, 0, 100, UNEVEN_PINGS);
	for (int i = 0; i < 20000; i++) {
		add(&u, 0, 100, 1);
		usual = uneven_usual_us(&u);
		assert_in_range(usual, 80000, 200000);
	}
	/* Somewhat better. */
	add(&u, 20, 40, 200);
	assert_true(u.is);
	add(&u, 20, 5, UNEVEN_PINGS);
	assert_false(u.is);
	assert_int_equal(uneven_usual_us(&u), 0);
	add(&u, 0, 100, UNEVEN_PINGS);
	assert_true(u.is);
	/* A peer that answers after 2 s, or 40, is believed a second. */
	add(&u, 1000, 20000, UNEVEN_PINGS);
	assert_true(u.is);
	assert_int_equal(uneven_usual_us(&u), 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_that_vary_are_found_by_their_first_pings),
		cmocka_unit_test(even_lines_are_not_taken_for_uneven),
		cmocka_unit_test(what_is_known_is_kept_and_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
