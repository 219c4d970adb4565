/* "did you mean": the candidate nearest to a mistyped word. Nothing here allocates. */
#ifndef SG_BASE_SUGGEST_H
#define SG_BASE_SUGGEST_H

#include <skygate/types.h>

struct sg_suggest {
	const char *word; /* borrowed */
	const char *best; /* a candidate, borrowed; NULL while none was near enough */
	unsigned distance;
};

SG_BEGIN_DECLS

struct sg_suggest sg_suggest(const char *word);
/** sg_suggest_try - takes @candidate as the best when it is nearer than those before, and near enough to help. */
void sg_suggest_try(struct sg_suggest *s, const char *candidate);

SG_END_DECLS
#endif
