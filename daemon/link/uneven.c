/*
 * Do the round trips of a line vary by themselves? While next to nothing of ours is under way only the line makes them vary, or
 * others do. Theirs is a queue: it grows and shrinks, and one ping finds nearly what the one before found; on an uneven line
 * each finds something else, now more, now less. So what counts is the difference between one ping and the next, about the median of
 * them: packets that were lost and a machine that was busy make a few large ones. Packets of others on a slow line make
 * differences, too, but small ones for the time that they all take together.
 */
#include "link/internal.h"

#include <stdlib.h>

#define DIFFERENCE_US 3000
#define SHARE         16      /* of the usual round trip */
#define RANGE_US      5000    /* and half of the shortest: the longest is so much more */
#define USUAL_MAX_US  1000000 /* who answers late on purpose must not have the queue of our line filled */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool varies(const struct link_uneven *u)
{
	uint32_t rtt[UNEVEN_PINGS], difference[UNEVEN_PINGS], middle;
	unsigned n = SG_MIN(u->n, UNEVEN_PINGS), turns = 0,
		 believed = u->is ? 2 : 1; /* until it is clearly otherwise */

	for (unsigned i = 0; i < n; i++)
		rtt[i] = u->rtt_us[(u->n - n + i) % UNEVEN_PINGS];
	for (unsigned i = 0; i + 1 < n; i++) {
		difference[i] = SG_MAX(rtt[i], rtt[i + 1]) - SG_MIN(rtt[i], rtt[i + 1]);
		turns += i + 2 < n && (rtt[i] < rtt[i + 1]) != (rtt[i + 1] < rtt[i + 2]);
	}
	qsort(rtt, n, sizeof(*rtt), compare);
	qsort(difference, n - 1, sizeof(*difference), compare);
	middle = believed * difference[(n - 2) * 2 / 5];
	return middle > DIFFERENCE_US && middle > rtt[n / 2] / SHARE && believed * turns * 5 >= (n - 2) * 2 &&
	       rtt[n - 1] > rtt[0] + (rtt[0] / 2 + RANGE_US) / believed;
}

void uneven_add(struct link_uneven *u, uint32_t rtt_us)
{
	u->rtt_us[u->n++ % UNEVEN_PINGS] = rtt_us;
	if (u->n == 2 * UNEVEN_PINGS)
		u->n = UNEVEN_PINGS; /* full, and so it stays */
	u->is = u->n >= UNEVEN_FEW && varies(u);
}

uint32_t uneven_usual_us(const struct link_uneven *u)
{
	uint32_t longest = 0;

	/* Each packet waits for those before it: with many under way all take as long as the slowest. */
	for (unsigned i = 0; u->is && i < UNEVEN_PINGS; i++)
		longest = SG_MAX(longest, u->rtt_us[i]);
	return SG_MIN(longest, USUAL_MAX_US);
}
