/* Monotonic time from a source that is passed in, so that tests neither sleep nor guess. */
#ifndef SG_BASE_CLOCK_H
#define SG_BASE_CLOCK_H

#include <skygate/types.h>

#define SG_NS_PER_MS 1000000LL
#define SG_NS_PER_S  1000000000LL

/* A source of time. Embed it first in a struct of your own to hold state. */
struct sg_clock {
	struct sg_mono (*now)(struct sg_clock *clock);
};

SG_BEGIN_DECLS

/** sg_clock_system - CLOCK_MONOTONIC. Static, any thread. */
struct sg_clock *sg_clock_system(void);

/** sg_wall_ns - nanoseconds since 1970, by a clock that can be set. Any thread. */
int64_t sg_wall_ns(void);

struct sg_mono sg_mono_add_ms(struct sg_mono t, int64_t ms);
/** sg_mono_ms_since - whole milliseconds from @earlier to @later, negative the other way round. */
int64_t sg_mono_ms_since(struct sg_mono later, struct sg_mono earlier);
bool sg_mono_before(struct sg_mono a, struct sg_mono b);

SG_END_DECLS
#endif
