/*
 * How fast an exit may send to all its clients together. Where its owner says what the line takes, a little less is sent: then
 * packets wait here, where clients take turns, and not before the line, where whose connection pushes most gets most.
 */
#ifndef VPN_SHAPER_H
#define VPN_SHAPER_H

#include "base/clock.h"

#define SHAPER_TURN                                                                                                    \
	(2 * 1514) /* bytes of the line, where turns make clients' shares: short, so that who waits for one waits briefly */

struct shaper {
	int64_t rate;        /* bytes per second; 0: no bound */
	struct sg_mono free; /* the line has taken then what it was sent */
};

/** shaper_init - @kbit: kbit/s that the line takes, with all headers; 0: unknown. */
void shaper_init(struct shaper *s, uint64_t kbit);
/** shaper_wait_ms - ms until something may be sent; 0: now. */
int64_t shaper_wait_ms(const struct shaper *s, struct sg_mono now);
/** shaper_take - so many bytes of the line, 4 GB at most, are used now. */
void shaper_take(struct shaper *s, struct sg_mono now, uint64_t bytes);

#endif
