/*
 * A source of "random" bytes that were written down before: keys, nonces and session secrets of recorded exchanges.
 * When they are used up it counts on (1, 2, 3 …) and says so in @beyond, so that a test can tell.
 */
#ifndef SG_TESTS_FAKE_RANDOM_H
#define SG_TESTS_FAKE_RANDOM_H

#include "crypto/crypto.h"

struct fake_random {
	struct sg_random base;
	uint8_t bytes[512];
	size_t len, used;
	size_t beyond; /* bytes asked for after the last */
	uint8_t next;
};

void fake_random_init(struct fake_random *r);
/** fake_random_put - appends what is to be given out next. */
void fake_random_put(struct fake_random *r, const void *bytes, size_t len);

#endif
