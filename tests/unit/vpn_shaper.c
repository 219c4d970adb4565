/* How fast an exit sends to all, under a hand-set clock: what is let through, whenever and however often it is asked. */
#include "shaper.h"
#include "base/common.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define BURST_MS 6 /* that may come at once, with the packet that is one too much */

static void an_unknown_line_is_not_waited_for(void **state)
{
	struct shaper s;

	(void)state;
	shaper_init(&s, 0);
	for (struct sg_mono now = {SG_NS_PER_S}; now.ns < SG_NS_PER_S + 10; now.ns++) {
		shaper_take(&s, now, UINT32_MAX);
		assert_int_equal(shaper_wait_ms(&s, now), 0);
	}
}

/* Bytes that go within @seconds, asked every @step_ns, packets of @len. */
static double sent(struct shaper *s, struct sg_mono *now, int64_t step_ns, uint64_t len, int seconds)
{
	int64_t end = now->ns + seconds * SG_NS_PER_S;
	double bytes = 0;

	for (; now->ns < end; now->ns += step_ns) {
		while (shaper_wait_ms(s, *now) == 0) {
			shaper_take(s, *now, len);
			bytes += (double)len;
		}
	}
	return bytes;
}

static void so_much_per_second_and_no_more(void **state)
{
	static const struct {
		uint64_t kbit;
		int64_t step_ns;
		uint64_t len;
	} rows[] = {{64, 1000, 100}, {1000, 999, 1500}, {1000, 4999999, 1500}, {100000, 1001, 1500},
		{100000, 3000000, 65536}, {10000000, 7777, 1500}, {100000000, 1000000, 65536}, {1, 50000000, 60}};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct sg_mono now = {SG_NS_PER_S};
		struct shaper s;
		double rate = (double)rows[i].kbit * 125 * 0.95, got;
		double burst = rate * BURST_MS / 1000 + 2 * (double)rows[i].len;

		shaper_init(&s, rows[i].kbit);
		got = sent(&s, &now, rows[i].step_ns, rows[i].len, 10);
		if (got > rate * 10 + burst || got < rate * 10 * 0.98 - 2 * (double)rows[i].len)
			fail_msg("%.0f bytes of %.0f in row %zu", got, rate * 10, i);
		/* What was not used in a quiet time does not come at once. */
		now.ns += 3600 * SG_NS_PER_S;
		got = 0;
		while (shaper_wait_ms(&s, now) == 0) {
			shaper_take(&s, now, rows[i].len);
			got += (double)rows[i].len;
		}
		assert_true(got > 0 && got <= burst);
	}
}

static void after_the_wait_something_goes(void **state)
{
	static const uint64_t rates[] = {1, 64, 1000, 100000, 100000000};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rates); i++) {
		struct sg_mono now = {5 * SG_NS_PER_S};
		struct shaper s;

		shaper_init(&s, rates[i]);
		assert_int_equal(shaper_wait_ms(&s, now), 0);
		shaper_take(&s, now, 80 * 1024);
		for (int n = 0; n < 100; n++) {
			int64_t wait = shaper_wait_ms(&s, now);

			/* Not half of it: it says no more than is needed. */
			if (wait > 2) {
				now.ns += wait / 2 * SG_NS_PER_MS;
				assert_true(shaper_wait_ms(&s, now) > 0);
				wait = shaper_wait_ms(&s, now);
			}
			now.ns += wait * SG_NS_PER_MS;
			assert_int_equal(shaper_wait_ms(&s, now), 0);
			shaper_take(&s, now, 1500);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_line_is_not_waited_for),
		cmocka_unit_test(so_much_per_second_and_no_more),
		cmocka_unit_test(after_the_wait_something_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
