#include "fake/random.h"
#include "base/common.h"

static void fill(struct sg_random *base, void *out, size_t len)
{
	struct fake_random *r = sg_container_of(base, struct fake_random, base);
	uint8_t *p = out;

	for (size_t i = 0; i < len; i++) {
		if (r->used < r->len) {
			p[i] = r->bytes[r->used++];
		} else {
			p[i] = ++r->next;
			r->beyond++;
		}
	}
}

void fake_random_init(struct fake_random *r)
{
	memset(r, 0, sizeof(*r));
	r->base.fill = fill;
}

void fake_random_put(struct fake_random *r, const void *bytes, size_t len)
{
	if (r->used == r->len)
		r->used = r->len = 0;
	len = SG_MIN(len, sizeof(r->bytes) - r->len);
	memcpy(r->bytes + r->len, bytes, len);
	r->len += len;
}
