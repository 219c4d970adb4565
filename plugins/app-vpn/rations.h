/*
 * How much clients may send to an exit. Where its owner says what the line brings, each of them is told from time to time what
 * it may send next, by turns, and all together get a little less than the line brings: then packets wait with the clients, each
 * before its own stream, and not before the line, where whose connection pushes most gets most.
 *
 *	came, less is left than it should be ─▶ waits ── a turn ─▶ due: to be told
 *	                                          ▲── still less ──┘
 *
 * A client that sends little has something left and need not ask. What it was left long ago has no place on the line of now, so
 * it takes that of turns when it is used: many who wake at once are no queue either.
 */
#ifndef VPN_RATIONS_H
#define VPN_RATIONS_H

#include "base/clock.h"
#include "base/list.h"
#include "shaper.h"

/* Of a client. */
struct ration {
	struct sg_list waits, due; /* for a turn; to be told */
	int64_t left;              /* bytes that may still come; below 0: so much more came */
	int64_t old;               /* of these, what it was left long ago */
	int64_t around;            /* bytes that the line brought around its packets and no turn has paid for yet */
	uint64_t given;            /* since it was told last */
	int64_t rtt_us;            /* 0: unknown */
	struct sg_mono last;       /* something came */
	/* Bytes of a round trip, and of the one before. */
	struct sg_mono since;
	int64_t bytes, before;
};

struct rations {
	struct shaper shaper;
	struct sg_list waiting, due;
};

/** rations_init - @kbit: as of shaper_init, but known. */
void rations_init(struct rations *rs, uint64_t kbit);
/** ration_init - @left: bytes that it may send without us. */
void ration_init(struct ration *r, int64_t left);
/** ration_leave - waits no more, and is not told. */
void ration_leave(struct ration *r);
/** ration_came - @bytes of its stream. The caller adds to @r->around what packets take of the line, these bytes included. */
void ration_came(struct rations *rs, struct ration *r, struct sg_mono now, size_t bytes);
/** ration_look - waits for a turn if it is left less than it should be. */
void ration_look(struct rations *rs, struct ration *r);
/** rations_give - the turns of now; who got something is due. Milliseconds until the next turn; 0: nobody waits. */
int64_t rations_give(struct rations *rs, struct sg_mono now);
/** rations_due - the next to be told r->given, which is the caller's to clear; NULL: none. */
struct ration *rations_due(struct rations *rs);

#endif
