/* What a test of stores runs against: memory, or plugins/storage-sqlite in a directory. */
#ifndef SG_TESTS_STORE_BACK_H
#define SG_TESTS_STORE_BACK_H

#include "store/store.h"

struct back {
	struct sg_loop *loop;
	struct store *store;
	struct store_space space;
	char why[512]; /* the plugin did not start */
};

/** back_memory - without a plugin. */
struct back *back_memory(void);
/** back_sqlite - with it, on the files in @dir, which is kept. Its start may fail: then there is only memory. */
struct back *back_sqlite(const char *dir, const char *conf);
/** back_attach - starts the plugin; its result. back_detach - stops it. */
int back_attach(struct back *b);
void back_detach(struct back *b);
/** back_status - a number of store.status. */
int64_t back_status(struct back *b, const char *name);
/** back_free - stops the plugin and forgets everything but the files. Accepts NULL. */
void back_free(struct back *b);

extern int64_t back_wall_s; /* the clock that times to live go by */
extern int64_t back_ms;     /* the loop's clock, which stands still; unless it is 0: then it is the system's */

#endif
