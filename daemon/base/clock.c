/* The system's monotonic clock, and arithmetic on instants. */
#include "base/clock.h"

#include <time.h>

static struct sg_mono system_now(struct sg_clock *clock)
{
	struct timespec ts;

	(void)clock;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (struct sg_mono){(int64_t)ts.tv_sec * SG_NS_PER_S + ts.tv_nsec};
}

struct sg_clock *sg_clock_system(void)
{
	static struct sg_clock clock = {system_now};

	return &clock;
}

int64_t sg_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * SG_NS_PER_S + ts.tv_nsec;
}

struct sg_mono sg_mono_add_ms(struct sg_mono t, int64_t ms)
{
	return (struct sg_mono){t.ns + ms * SG_NS_PER_MS};
}

int64_t sg_mono_ms_since(struct sg_mono later, struct sg_mono earlier)
{
	return (later.ns - earlier.ns) / SG_NS_PER_MS;
}

bool sg_mono_before(struct sg_mono a, struct sg_mono b)
{
	return a.ns < b.ns;
}
