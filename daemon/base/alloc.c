/* The heap, counted. malloc_usable_size is in glibc and musl. */
#include "base/alloc.h"
#include "base/common.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_size_t live_bytes;

static void *count(void *p)
{
	if (p)
		atomic_fetch_add_explicit(&live_bytes, malloc_usable_size(p), memory_order_relaxed);
	return p;
}

void *sg_malloc(size_t size)
{
	return count(malloc(size ? size : 1));
}

void *sg_calloc(size_t n, size_t size)
{
	return count(calloc(n ? n : 1, size ? size : 1));
}

void *sg_realloc(void *p, size_t size)
{
	size_t before = p ? malloc_usable_size(p) : 0;
	void *q = realloc(p, size ? size : 1);

	if (!q)
		return NULL;
	atomic_fetch_sub_explicit(&live_bytes, before, memory_order_relaxed);
	return count(q);
}

char *sg_strndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = sg_malloc(len + 1);

	if (p) {
		memcpy(p, s, len);
		p[len] = '\0';
	}
	return p;
}

char *sg_strdup(const char *s)
{
	return sg_strndup(s, strlen(s));
}

void sg_free(void *p)
{
	if (!p)
		return;
	atomic_fetch_sub_explicit(&live_bytes, malloc_usable_size(p), memory_order_relaxed);
	free(p);
}

size_t sg_alloc_live(void)
{
	return atomic_load_explicit(&live_bytes, memory_order_relaxed);
}

void sg_wipe(void *p, size_t len)
{
	explicit_bzero(p, len);
}
