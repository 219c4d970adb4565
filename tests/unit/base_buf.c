/* Buffers: headroom and tailroom to the last byte, and who frees. */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/common.h"
#include "fake/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

static void room_to_the_last_byte(void **state)
{
	struct sg_buf *b = sg_buf_new(3, 5);

	(void)state;
	assert_non_null(b);
	assert_int_equal(sg_buf_headroom(b), 3);
	assert_int_equal(sg_buf_tailroom(b), 5);
	assert_null(sg_buf_put(b, 6));
	assert_non_null(sg_buf_put(b, 5));
	assert_int_equal(sg_buf_tailroom(b), 0);
	assert_null(sg_buf_put(b, 1));
	assert_non_null(sg_buf_put(b, 0));
	assert_null(sg_buf_push(b, 4));
	assert_non_null(sg_buf_push(b, 3));
	assert_null(sg_buf_push(b, 1));
	assert_int_equal(b->len, 8);
	assert_false(sg_buf_pull(b, 9));
	assert_true(sg_buf_pull(b, 8));
	assert_int_equal(b->len, 0);
	assert_int_equal(sg_buf_headroom(b), 8);
	sg_buf_unref(b);
}

static void a_push_is_no_copy(void **state)
{
	struct sg_buf *b = sg_buf_new(2, 4);
	const uint8_t *payload;

	(void)state;
	assert_non_null(b);
	assert_true(sg_buf_append(b, "data", 4));
	payload = b->data;
	memcpy(sg_buf_push(b, 2), "ab", 2);
	assert_ptr_equal(b->data + 2, payload);
	assert_memory_equal(sg_buf_view(b).p, "abdata", 6);
	assert_false(sg_buf_append(b, "x", 1));
	assert_true(sg_buf_append(b, NULL, 0));
	sg_buf_unref(b);
}

static void compact_moves_room_to_the_end(void **state)
{
	struct sg_buf *b = sg_buf_new(0, 6);

	(void)state;
	assert_non_null(b);
	assert_true(sg_buf_append(b, "abcdef", 6));
	assert_true(sg_buf_pull(b, 4));
	assert_int_equal(sg_buf_tailroom(b), 0);
	sg_buf_compact(b);
	assert_int_equal(sg_buf_tailroom(b), 4);
	assert_memory_equal(b->data, "ef", 2);
	assert_true(sg_buf_append(b, "ghij", 4));
	assert_memory_equal(b->data, "efghij", 6);
	sg_buf_unref(b);
}

static void the_last_one_frees(void **state)
{
	size_t before = sg_alloc_live();
	struct sg_buf *b = sg_buf_new(0, 100);

	(void)state;
	assert_non_null(b);
	assert_true(sg_alloc_live() >= before + 100);
	assert_ptr_equal(sg_buf_ref(b), b);
	sg_buf_unref(b);
	assert_int_equal(sg_buf_tailroom(b), 100);
	sg_buf_unref(b);
	assert_int_equal(sg_alloc_live(), before);
	sg_buf_unref(NULL);
}

static void absurd_sizes_are_refused(void **state)
{
	(void)state;
	assert_null(sg_buf_new(SIZE_MAX, 1));
	assert_null(sg_buf_new(1, SIZE_MAX));
	assert_null(sg_buf_new(SIZE_MAX / 2, SIZE_MAX / 2));
	fake_alloc_fail_at(1);
	assert_null(sg_buf_new(1, 1));
	assert_true(fake_alloc_failed());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_to_the_last_byte),
		cmocka_unit_test(a_push_is_no_copy),
		cmocka_unit_test(compact_moves_room_to_the_end),
		cmocka_unit_test(the_last_one_frees),
		cmocka_unit_test(absurd_sizes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
