/* What a test of stores runs against: memory, or a plugin that provides one, in a directory of its own. */
#ifndef SG_TESTS_STORE_BACK_H
#define SG_TESTS_STORE_BACK_H

#include "store/store.h"

struct back {
	struct sg_loop *loop;
	struct store *store;
	struct store_space space;
};

/** back_memory - without a plugin. */
struct back *back_memory(void);
void back_free(struct back *b);

extern int64_t back_wall_s; /* the clock that times to live go by */

#endif
