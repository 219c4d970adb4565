/*
 * A replay window: which counters of one key were seen, tolerant of reordering. For dmsg sessions, whose objects travel on
 * different streams and overtake one another. Counters this far behind the highest are refused unseen.
 */
#ifndef SG_CRYPTO_REPLAY_H
#define SG_CRYPTO_REPLAY_H

#include <skygate/types.h>

#define SG_REPLAY_BITS 2048 /* a multiple of 64 */

struct sg_replay {
	uint64_t highest;
	bool any;
	uint64_t seen[SG_REPLAY_BITS / 64]; /* of the block that a counter falls into, modulo the window */
};

SG_BEGIN_DECLS

void sg_replay_init(struct sg_replay *w);
/** sg_replay_ok - neither seen nor too old. Changes nothing: ask before opening, then mark what was authentic. */
bool sg_replay_ok(const struct sg_replay *w, uint64_t counter);
void sg_replay_mark(struct sg_replay *w, uint64_t counter);

SG_END_DECLS
#endif
