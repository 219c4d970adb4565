/* The store without a plugin: a sorted array, bounded. It answers in the next round of the loop. */
#ifndef SG_STORE_MEMORY_H
#define SG_STORE_MEMORY_H

#include "loop/loop.h"
#include <skygate/plugin.h>

#define MEMORY_BYTES_MAX (2 * 1024 * 1024) /* keys and values; more is refused */

struct memory;

typedef void memory_done_fn(void *arg, uint64_t id, int err, struct sg_store_pair *pairs, size_t n, bool more);

/** memory_new - NULL when memory is out. */
struct memory *memory_new(struct sg_loop *loop, memory_done_fn *done, void *arg);
/** memory_free - what was not answered yet is not answered any more. Accepts NULL. */
void memory_free(struct memory *m);
/** memory_clear - forgets all pairs. */
void memory_clear(struct memory *m);
/** memory_each - all pairs in their order, with the seconds that they still have (0: no end). */
void memory_each(
	const struct memory *m, int64_t now_s, void (*fn)(void *arg, const struct sg_store_change *c), void *arg);

/* Its context is the struct memory. */
extern const struct sg_store_ops memory_ops;

#endif
