/* When a busy connection is made idle in place of BBR's own measurement, against a BBR made of numbers. */
#include "base/common.h"
#include "link/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define MS     SG_NS_PER_MS
#define WAY_US 40000

/* What Linux does (tcp_bbr.c, bbr_update_min_rtt), as far as it matters here. */
struct bbr {
	int64_t stamp; /* when the shortest round trip was measured */
	uint32_t min_us;
	bool restarts; /* the first acknowledgement since it was idle is to come */
	bool probing;
	int probed; /* how often it measured with four packets under way */
};

static void ack(struct bbr *b, int64_t now, uint32_t rtt_us)
{
	bool expired = now > b->stamp + 10000 * MS;

	b->probing = false;
	if (rtt_us < b->min_us || expired) {
		b->min_us = rtt_us;
		b->stamp = now;
	}
	if (expired && !b->restarts) {
		b->probed++;
		b->probing = true;
		b->stamp = now + 200 * MS;
	}
	b->restarts = false;
}

struct run {
	struct bbr b;
	struct link_dip d;
	int64_t silent; /* in all */
};

/* A minute of a busy connection, an acknowledgement every ms; its queue varies, and we look every @look ms. */
static void run(struct run *r, int look)
{
	int64_t stopped = 0, resumed = 0;

	r->b = (struct bbr){.stamp = SG_NS_PER_S, .min_us = WAY_US};
	for (int64_t ms = 1000; ms < 61000; ms++) {
		int64_t now = ms * MS;
		uint32_t rtt = WAY_US + 500 + (uint32_t)(ms * 7919 % 9000);
		bool empty = stopped && now >= stopped + (int64_t)rtt * 1000;

		if (resumed && now == resumed + WAY_US * 1000 + MS)
			ack(&r->b, now, WAY_US + 100 + (uint32_t)(ms % 13));
		else if (!empty && now > resumed + WAY_US * 1000)
			ack(&r->b, now, rtt);
		if (stopped) {
			r->silent += MS;
			if (!dip_over(&r->d, (struct sg_mono){now}, empty))
				continue;
			r->b.restarts = true;
			resumed = now;
			stopped = 0;
		}
		if (ms % look == 0)
			dip_learn(&r->d, &(struct dip_look){.now = {now},
						 .sent = {now},
						 .min_us = r->b.min_us,
						 .rtt_us = rtt,
						 .probing = r->b.probing});
		if (dip_due(&r->d, (struct sg_mono){now}))
			stopped = now;
	}
}

static void bbr_is_spared_its_measurement(void **state)
{
	static const int looks[] = {5, 25, 40, 60};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(looks); i++) {
		struct run r = {0};

		run(&r, looks[i]);
		/* The first, at a time that nobody saw, and no other; and so little time is given for it. */
		assert_in_range(r.b.probed, 0, 1);
		assert_in_range(r.silent, 1, 6 * 100 * MS);
	}
}

static void what_is_not_known_plans_nothing(void **state)
{
	struct link_dip d = {0};
	int64_t now = SG_NS_PER_S;

	(void)state;
	/* No BBR. */
	for (int i = 0; i < 1000; i++, now += 40 * MS) {
		dip_learn(&d, &(struct dip_look){.now = {now}, .sent = {now}, .rtt_us = WAY_US});
		assert_false(dip_due(&d, (struct sg_mono){now}));
	}
	/* Seen so seldom that it may have measured at any time. */
	for (int i = 0; i < 1000; i++, now += 200 * MS) {
		dip_learn(
			&d, &(struct dip_look){
				    .now = {now}, .sent = {now}, .rtt_us = WAY_US, .min_us = WAY_US + (uint32_t)i % 2});
		assert_false(dip_due(&d, (struct sg_mono){now}));
	}
}

/* A peer that acknowledges nothing more holds nobody back for longer. */
static void a_pause_ends(void **state)
{
	struct link_dip d = {0};
	int64_t now = SG_NS_PER_S, began;

	(void)state;
	for (uint32_t i = 0; !dip_due(&d, (struct sg_mono){now}); now += 25 * MS)
		dip_learn(&d, &(struct dip_look){.now = {now},
				      .sent = {now},
				      .rtt_us = WAY_US,
				      .min_us = i++ < 5 ? WAY_US + 1 : WAY_US});
	for (began = now; !dip_over(&d, (struct sg_mono){now}, false);)
		now += MS;
	assert_in_range(now - began, 10 * MS, 250 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bbr_is_spared_its_measurement),
		cmocka_unit_test(what_is_not_known_plans_nothing),
		cmocka_unit_test(a_pause_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
