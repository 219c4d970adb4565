/*
 * How long turns take: one look at the clock more per turn, not per event. When it begins is what sg_loop_now tells all of
 * the turn's events anyway.
 */
#include "base/common.h"
#include "loop/internal.h"

static const int64_t limits_us[] = {100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, INT64_MAX};

_Static_assert(SG_ARRAY_LEN(limits_us) == SG_LOOP_TURNS, "a limit per counter");

void loop_turn_begin(struct sg_loop *loop)
{
	if (loop->in_turn)
		return;
	loop->turn_at = sg_loop_now(loop);
	loop->in_turn = true;
}

void loop_turn_end(struct sg_loop *loop)
{
	int64_t us = (loop->clock->now(loop->clock).ns - loop->turn_at.ns) / 1000;
	size_t i = 0;

	while (us >= limits_us[i])
		i++;
	loop->count.turn[i]++;
	if ((uint64_t)us > loop->count.longest_us)
		loop->count.longest_us = (uint64_t)us;
	loop->in_turn = false;
}

const struct sg_loop_counters *sg_loop_counters(const struct sg_loop *loop)
{
	return &loop->count;
}
