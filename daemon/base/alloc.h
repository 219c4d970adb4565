/*
 * The heap. Every allocation of ours and of the libraries that let us (Jansson, libuv) goes through here, so that
 * live bytes are known and tests can make the n-th allocation fail by wrapping these symbols at link time.
 */
#ifndef SG_BASE_ALLOC_H
#define SG_BASE_ALLOC_H

#include <skygate/types.h>

SG_BEGIN_DECLS

/* As malloc, calloc, realloc, strdup, strndup and free; NULL when memory is out. Any thread. */
void *sg_malloc(size_t size);
void *sg_calloc(size_t n, size_t size);
void *sg_realloc(void *p, size_t size);
char *sg_strdup(const char *s);
char *sg_strndup(const char *s, size_t n);
void sg_free(void *p);

/** sg_alloc_live - bytes allocated and not freed, as the C library rounds them. Any thread. */
size_t sg_alloc_live(void);

/** sg_wipe - overwrites secrets in a way that the compiler may not remove. */
void sg_wipe(void *p, size_t len);

SG_END_DECLS
#endif
