#include "shaper.h"
#include "base/common.h"

#define PERCENT  95 /* of the line: above it its own queue would fill whenever our count of headers is too low */
#define BURST_NS (5 * SG_NS_PER_MS) /* what was not used so long is not lost: a busy machine wakes us late */

void shaper_init(struct shaper *s, uint64_t kbit)
{
	*s = (struct shaper){.rate = (int64_t)(kbit * 1000 / 8 * PERCENT / 100)};
}

int64_t shaper_wait_ms(const struct shaper *s, struct sg_mono now)
{
	if (!s->rate || s->free.ns <= now.ns)
		return 0;
	return (s->free.ns - now.ns + SG_NS_PER_MS - 1) / SG_NS_PER_MS;
}

void shaper_take(struct shaper *s, struct sg_mono now, uint64_t bytes)
{
	if (s->rate)
		s->free.ns =
			SG_MAX(s->free.ns, now.ns - BURST_NS) + ((int64_t)bytes * SG_NS_PER_S + s->rate - 1) / s->rate;
}
