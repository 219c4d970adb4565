/* The window of RFC 6479: a ring of words, the words between the old and the new highest counter cleared when it moves. */
#include "crypto/replay.h"
#include "base/common.h"

#define WORDS (SG_REPLAY_BITS / 64)
/* One word may be cleared in part only, so that much less is remembered for sure. */
#define REACH (SG_REPLAY_BITS - 64)

void sg_replay_init(struct sg_replay *w)
{
	memset(w, 0, sizeof(*w));
}

bool sg_replay_ok(const struct sg_replay *w, uint64_t counter)
{
	if (!w->any || counter > w->highest)
		return true;
	if (w->highest - counter >= REACH)
		return false;
	return (w->seen[counter / 64 % WORDS] >> (counter % 64) & 1) == 0;
}

void sg_replay_mark(struct sg_replay *w, uint64_t counter)
{
	uint64_t word = counter / 64, last = w->any ? w->highest / 64 : word;

	if (!w->any || counter > w->highest) {
		uint64_t moves = SG_MIN(word - last, (uint64_t)WORDS);

		for (uint64_t i = 0; i < moves; i++)
			w->seen[(word - i) % WORDS] = 0;
		w->highest = counter;
		w->any = true;
	}
	w->seen[word % WORDS] |= (uint64_t)1 << (counter % 64);
}
