/* The list of AEAD providers and the choice between them, by measurement on the machine at hand. */
#include "crypto/aead.h"
#include "base/clock.h"
#include "base/common.h"
#include "crypto/internal.h"

#define ROUNDS    3
#define TRIAL_NS  300000 /* per provider, size and round */
#define BATCH     8      /* records between two looks at the clock */
#define LARGE_LEN 4032   /* what a link puts into a frame */

const struct sg_aead_ops *const *sg_aead_providers(void)
{
	static const struct sg_aead_ops *const all[] = {&sg_aead_libcrypto, &sg_aead_libsodium, NULL};

	return all;
}

static int64_t now_ns(void)
{
	return sg_clock_system()->now(sg_clock_system()).ns;
}

/* Picoseconds per byte for records of @len bytes; INT64_MAX when no key could be made. */
static int64_t trial(const struct sg_aead_ops *ops, size_t len)
{
	static const uint8_t zero[SG_AEAD_KEY_LEN];
	uint8_t buf[SG_AEAD_FRONT + LARGE_LEN + SG_AEAD_TAG_LEN] = {0};
	struct sg_aead *key = ops->new_key(zero);
	int64_t start, spent = 0;
	uint64_t n = 0;

	if (!key)
		return INT64_MAX;
	ops->seal_behind(key, n, (struct sg_view){0}, buf + SG_AEAD_FRONT, len);
	start = now_ns();
	do {
		for (int i = 0; i < BATCH; i++)
			ops->seal_behind(key, ++n, (struct sg_view){0}, buf + SG_AEAD_FRONT, len);
		spent = now_ns() - start;
	} while (spent < TRIAL_NS);
	ops->free_key(key);
	return spent * 1000 / (int64_t)(n * len);
}

/* The best of some rounds: what other programs take from the processor in between should not decide. */
static int64_t cost(const struct sg_aead_ops *ops)
{
	static const size_t sizes[] = {1400, LARGE_LEN};
	int64_t sum = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(sizes); i++) {
		int64_t best = INT64_MAX;

		for (int round = 0; round < ROUNDS; round++) {
			int64_t ps = trial(ops, sizes[i]);

			best = SG_MIN(best, ps);
		}
		if (best == INT64_MAX)
			return INT64_MAX;
		sum += best;
	}
	return sum;
}

const struct sg_aead_ops *sg_aead_measure(void)
{
	const struct sg_aead_ops *best = &sg_aead_libsodium;
	int64_t lowest = INT64_MAX;

	for (const struct sg_aead_ops *const *p = sg_aead_providers(); *p; p++) {
		int64_t ps = cost(*p);

		if (ps < lowest) {
			lowest = ps;
			best = *p;
		}
	}
	return best;
}
