#include "store_back.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

int64_t back_wall_s = 1800000000;

static int64_t wall_s(void)
{
	return back_wall_s;
}

struct back *back_memory(void)
{
	struct back *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->loop = sg_loop_new(sg_clock_system());
	assert_non_null(b->loop);
	b->store = store_new(b->loop, wall_s);
	assert_non_null(b->store);
	b->space = (struct store_space){b->store, b, "test"};
	return b;
}

void back_free(struct back *b)
{
	store_free(b->store);
	sg_loop_free(b->loop);
	free(b);
}
