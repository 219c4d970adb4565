/* When BBR is chosen anew in place of its own measurement, against a BBR made of numbers. */
#include "base/common.h"
#include "link/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define MS SG_NS_PER_MS

/* What Linux does (tcp_bbr.c, bbr_update_min_rtt), as far as it matters here. */
struct bbr {
	int64_t stamp;   /* when the shortest round trip was measured */
	int64_t probing; /* until then; 0: not */
	int probed;      /* how often it measured with four packets under way */
	int renewed;
};

/* An acknowledgement; no round trip is shorter than the first one was. */
static void ack(struct bbr *b, int64_t now)
{
	if (b->probing && now >= b->probing) {
		b->probing = 0;
		b->stamp = now;
	} else if (!b->probing && now > b->stamp + 10000 * MS) {
		b->probing = now + 200 * MS;
		b->probed++;
	}
}

/* A minute of a connection that was made at @made and has @under_way bytes under way; we look every @look ms. */
static struct bbr minute(int64_t made, size_t under_way, int look)
{
	struct bbr b = {.stamp = made};
	struct link_bbr l = {0};

	for (int64_t ms = 1000; ms < 61000; ms++) {
		struct bbr_look k = {.now = {ms * MS}, .under_way = under_way};

		ack(&b, ms * MS);
		k.probing = b.probing != 0;
		if (ms % look == 0 && bbr_due(&l, &k)) {
			b.stamp = ms * MS;
			b.renewed++;
		}
	}
	return b;
}

static void bbr_is_spared_its_measurement(void **state)
{
	static const int looks[] = {5, 25, 40, 60, 250};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(looks); i++) {
		struct bbr b = minute(800 * MS, 100000, looks[i]);

		assert_int_equal(b.probed, 0);
		assert_in_range(b.renewed, 5, 8);
	}
}

/* Story: it was about to measure before we looked for the first time. That is one; none follows. */
static void what_it_measures_itself_counts(void **state)
{
	struct bbr b = minute(-6000 * MS, 100000, 40);

	(void)state;
	assert_int_equal(b.probed, 1);
}

static void who_sends_little_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(minute(0, 3000, 40).renewed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bbr_is_spared_its_measurement),
		cmocka_unit_test(what_it_measures_itself_counts),
		cmocka_unit_test(who_sends_little_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
