/* Byte cursors: every read and write at the last byte, one beyond it, and after a failure. */
#include "base/common.h"
#include "base/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

static const uint8_t bytes[15] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void reads_in_order(void **state)
{
	struct sg_reader r = sg_reader((struct sg_view){bytes, sizeof(bytes)});

	(void)state;
	assert_int_equal(sg_read_u8(&r), 0x01);
	assert_int_equal(sg_read_u16(&r), 0x0203);
	assert_int_equal(sg_read_u32(&r), 0x04050607);
	assert_int_equal(sg_reader_left(&r), 8);
	assert_true(sg_read_u64(&r) == 0x08090a0b0c0d0e0fULL);
	assert_true(sg_reader_done(&r));
	assert_int_equal(sg_reader_left(&r), 0);
}

/* Each width over a run that is one byte short, exact, and one byte longer. */
static void widths_at_the_end(void **state)
{
	static const size_t widths[] = {1, 2, 4, 8};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(widths); i++) {
		for (size_t len = widths[i] - 1; len <= widths[i] + 1; len++) {
			struct sg_reader r = sg_reader((struct sg_view){bytes, len});
			uint64_t v = widths[i] == 1   ? sg_read_u8(&r)
				     : widths[i] == 2 ? sg_read_u16(&r)
				     : widths[i] == 4 ? sg_read_u32(&r)
						      : sg_read_u64(&r);

			assert_int_equal(r.err, len < widths[i]);
			assert_int_equal(v == 0, len < widths[i]);
			assert_int_equal(sg_reader_done(&r), len == widths[i]);
		}
	}
}

static void error_is_sticky(void **state)
{
	struct sg_reader r = sg_reader((struct sg_view){bytes, 3});
	uint8_t out[2] = {9, 9};
	struct sg_view v;

	(void)state;
	assert_int_equal(sg_read_u32(&r), 0);
	assert_int_equal(sg_read_u8(&r), 0); /* although a byte is there */
	v = sg_read_view(&r, 1);
	assert_null(v.p);
	assert_int_equal(v.len, 0);
	sg_read_bytes(&r, out, sizeof(out));
	assert_int_equal(out[0] | out[1], 0);
	assert_false(sg_reader_done(&r));
	assert_int_equal(sg_reader_left(&r), 0);
}

static void views_borrow(void **state)
{
	struct sg_reader r = sg_reader((struct sg_view){bytes, sizeof(bytes)});
	struct sg_view v = sg_read_view(&r, sizeof(bytes));

	(void)state;
	assert_ptr_equal(v.p, bytes);
	assert_int_equal(v.len, sizeof(bytes));
	assert_false(r.err);
	v = sg_read_view(&r, 0);
	assert_int_equal(v.len, 0);
	assert_false(r.err);
	v = sg_read_view(&r, SIZE_MAX);
	assert_null(v.p);
	assert_true(r.err);
}

static void empty_runs(void **state)
{
	struct sg_reader none = sg_reader((struct sg_view){NULL, 0});

	(void)state;
	assert_true(sg_reader_done(&none));
	sg_read_bytes(&none, NULL, 0);
	assert_false(none.err);
	assert_int_equal(sg_read_u8(&none), 0);
	assert_true(none.err);
}

static void writes_in_order(void **state)
{
	uint8_t out[15];
	struct sg_writer w = sg_writer(out, sizeof(out));

	(void)state;
	sg_write_u8(&w, 0x01);
	sg_write_u16(&w, 0x0203);
	sg_write_u32(&w, 0x04050607);
	sg_write_u64(&w, 0x08090a0b0c0d0e0fULL);
	assert_false(w.err);
	assert_int_equal(sg_writer_len(&w), sizeof(out));
	assert_memory_equal(out, bytes, sizeof(out));
	sg_write_bytes(&w, NULL, 0);
	assert_false(w.err);
	sg_write_u8(&w, 0xff);
	assert_true(w.err);
	assert_int_equal(sg_writer_len(&w), sizeof(out));
}

static void writer_never_writes_beyond(void **state)
{
	uint8_t out[8];
	struct sg_writer w;

	(void)state;
	for (size_t cap = 0; cap < 8; cap++) {
		memset(out, 0xee, sizeof(out));
		w = sg_writer(out, cap);
		sg_write_u64(&w, 0);
		assert_true(w.err);
		sg_write_u8(&w, 0); /* would fit, but comes after a failure */
		assert_int_equal(sg_writer_len(&w), 0);
		for (size_t i = 0; i < sizeof(out); i++)
			assert_int_equal(out[i], 0xee);
	}
}

static void fixed_places(void **state)
{
	uint8_t b[9] = {0};

	(void)state;
	sg_put_u16(b + 1, 0xfffe);
	assert_int_equal(sg_get_u16(b + 1), 0xfffe);
	sg_put_u32(b + 1, 0xfffefdfcU);
	assert_true(sg_get_u32(b + 1) == 0xfffefdfcU);
	sg_put_u64(b + 1, UINT64_MAX - 1);
	assert_true(sg_get_u64(b + 1) == UINT64_MAX - 1);
	sg_put_u64_le(b + 1, 0x0102030405060708ULL);
	assert_int_equal(b[1], 8);
	assert_int_equal(b[8], 1);
	assert_int_equal(b[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_in_order),
		cmocka_unit_test(widths_at_the_end),
		cmocka_unit_test(error_is_sticky),
		cmocka_unit_test(views_borrow),
		cmocka_unit_test(empty_runs),
		cmocka_unit_test(writes_in_order),
		cmocka_unit_test(writer_never_writes_beyond),
		cmocka_unit_test(fixed_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
