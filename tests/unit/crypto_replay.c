/* The replay window against a plain record of everything seen. */
#include "base/common.h"
#include "crypto/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define SPAN 20000

static void agrees_with_a_full_record(void **state)
{
	static bool seen[SPAN];
	struct sg_replay w;
	uint32_t seed = 1;
	uint64_t highest = 0, base = 0;
	size_t taken = 0, refused = 0;

	(void)state;
	sg_replay_init(&w);
	for (int i = 0; i < 200000; i++) {
		uint64_t c;

		seed = seed * 1103515245 + 12345;
		base = (uint64_t)i / 12;
		c = base + (seed >> 8) % 3000;
		if (c >= SPAN)
			continue;
		if (sg_replay_ok(&w, c)) {
			assert_false(seen[c]);
			sg_replay_mark(&w, c);
			seen[c] = true;
			highest = SG_MAX(highest, c);
			taken++;
		} else {
			/* Seen, or so far behind that the window cannot know. */
			assert_true(seen[c] || highest - c >= SG_REPLAY_BITS - 64);
			refused++;
		}
	}
	assert_true(taken > 10000 && refused > 1000);
}

static void edges(void **state)
{
	struct sg_replay w;

	(void)state;
	sg_replay_init(&w);
	assert_true(sg_replay_ok(&w, 0));
	sg_replay_mark(&w, 0);
	assert_false(sg_replay_ok(&w, 0));
	assert_true(sg_replay_ok(&w, UINT64_MAX));
	sg_replay_mark(&w, UINT64_MAX);
	assert_false(sg_replay_ok(&w, UINT64_MAX));
	assert_true(sg_replay_ok(&w, UINT64_MAX - 1));
	assert_false(sg_replay_ok(&w, 1));
	/* A jump clears what lay between: nothing older is taken for seen. */
	sg_replay_init(&w);
	for (uint64_t c = 1; c < 5000; c++)
		sg_replay_mark(&w, c);
	sg_replay_mark(&w, 5000 + 3 * SG_REPLAY_BITS);
	for (uint64_t back = 1; back < SG_REPLAY_BITS - 64; back++)
		assert_true(sg_replay_ok(&w, 5000 + 3 * SG_REPLAY_BITS - back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_a_full_record), cmocka_unit_test(edges)};

	return cmocka_run_group_tests_name("crypto replay", tests, NULL, NULL);
}
