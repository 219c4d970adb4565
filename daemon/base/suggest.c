/* Optimal string alignment distance (a swap of neighbours counts once), on short words only. */
#include "base/suggest.h"
#include "base/common.h"

#define WORD_MAX 32

struct sg_suggest sg_suggest(const char *word)
{
	return (struct sg_suggest){.word = word, .distance = 3};
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned distance(const char *a, size_t la, const char *b, size_t lb)
{
	unsigned rows[3][WORD_MAX + 1];

	for (size_t j = 0; j <= lb; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *now = rows[i % 3];
		const unsigned *up = rows[(i + 2) % 3], *upup = rows[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned cost = a[i - 1] != b[j - 1];

			now[j] = least(least(up[j] + 1, now[j - 1] + 1), up[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], upup[j - 2] + 1);
		}
	}
	return rows[la % 3][lb];
}

void sg_suggest_try(struct sg_suggest *s, const char *candidate)
{
	size_t la = strnlen(s->word, WORD_MAX + 1), lb = strnlen(candidate, WORD_MAX + 1);
	unsigned d;

	if (la == 0 || lb == 0 || la > WORD_MAX || lb > WORD_MAX)
		return;
	d = distance(s->word, la, candidate, lb);
	/* With half of the letters different nothing is alike. */
	if (d < s->distance && 2 * d < SG_MAX(la, lb)) {
		s->distance = d;
		s->best = candidate;
	}
}
