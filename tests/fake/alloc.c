#include "fake/alloc.h"
#include "base/alloc.h"
#include "base/common.h"

/* Workers allocate too. */
static _Atomic size_t countdown; /* 0: not armed */
static _Atomic bool failed;

/* What the linker makes of the wrapped symbols. */
void *__real_sg_malloc(size_t size);
void *__real_sg_calloc(size_t n, size_t size);
void *__real_sg_realloc(void *p, size_t size);
char *__real_sg_strdup(const char *s);
char *__real_sg_strndup(const char *s, size_t n);
void *__wrap_sg_malloc(size_t size);
void *__wrap_sg_calloc(size_t n, size_t size);
void *__wrap_sg_realloc(void *p, size_t size);
char *__wrap_sg_strdup(const char *s);
char *__wrap_sg_strndup(const char *s, size_t n);

static bool fails(void)
{
	if (!countdown || --countdown)
		return false;
	failed = true;
	return true;
}

void *__wrap_sg_malloc(size_t size)
{
	return fails() ? NULL : __real_sg_malloc(size);
}

void *__wrap_sg_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_sg_calloc(n, size);
}

void *__wrap_sg_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_sg_realloc(p, size);
}

char *__wrap_sg_strdup(const char *s)
{
	return fails() ? NULL : __real_sg_strdup(s);
}

char *__wrap_sg_strndup(const char *s, size_t n)
{
	return fails() ? NULL : __real_sg_strndup(s, n);
}

void fake_alloc_fail_at(size_t n)
{
	countdown = n;
	failed = false;
}

bool fake_alloc_failed(void)
{
	return failed;
}

size_t fake_alloc_each(const char *what, bool (*fn)(void *arg), void *arg)
{
	size_t n = 0, before;
	bool ok;

	do {
		before = sg_alloc_live();
		fake_alloc_fail_at(++n);
		ok = fn(arg);
		countdown = 0;
		if (sg_alloc_live() != before) {
			fprintf(stderr, "%s: failure %zu: %zu bytes before, %zu after\n", what, n, before,
				sg_alloc_live());
			return 0;
		}
	} while (failed);
	printf("%s: %zu allocation failures injected\n", what, n - 1);
	if (!ok)
		fprintf(stderr, "%s: failed although every allocation succeeded\n", what);
	return ok ? n - 1 : 0;
}
