/*
 * Makes the n-th allocation fail. Link fake_alloc and wrap the symbols:
 *
 *	sg_unit_test(thing SOURCES thing.c LINKS fake_alloc … WRAP sg_malloc sg_calloc sg_realloc sg_strdup sg_strndup)
 */
#ifndef SG_TESTS_FAKE_ALLOC_H
#define SG_TESTS_FAKE_ALLOC_H

#include <skygate/types.h>

/** fake_alloc_fail_at - the @n-th allocation from now on fails, once. 0: none does. */
void fake_alloc_fail_at(size_t n);
/** fake_alloc_failed - whether one did since then. */
bool fake_alloc_failed(void);

/**
 * fake_alloc_each - runs @fn with the first, the second … allocation failing, until a run in which none failed. @fn
 * frees what it made and returns whether it succeeded, which it must when nothing failed. After each run as many bytes
 * must be allocated as before. Prints the number of failures; returns it, or 0 (and says why) when this was not so.
 */
size_t fake_alloc_each(const char *what, bool (*fn)(void *arg), void *arg);

#endif
