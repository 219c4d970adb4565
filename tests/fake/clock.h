/* Time that stands still until a test moves it. */
#ifndef SG_TESTS_FAKE_CLOCK_H
#define SG_TESTS_FAKE_CLOCK_H

#include "base/clock.h"

struct fake_clock {
	struct sg_clock base; /* first */
	int64_t ns;
};

void fake_clock_init(struct fake_clock *c);
void fake_clock_add_ms(struct fake_clock *c, int64_t ms);

#endif
