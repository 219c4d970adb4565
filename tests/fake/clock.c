#include "fake/clock.h"

static struct sg_mono now(struct sg_clock *base)
{
	return (struct sg_mono){((struct fake_clock *)base)->ns};
}

void fake_clock_init(struct fake_clock *c)
{
	c->base.now = now;
	c->ns = 1000 * SG_NS_PER_S;
}

void fake_clock_add_ms(struct fake_clock *c, int64_t ms)
{
	c->ns += ms * SG_NS_PER_MS;
}
