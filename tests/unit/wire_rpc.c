/* Remote calls at their limits: in pieces, too long, of other types, with each allocation failing. Values are in the vectors. */
#include "base/common.h"
#include "base/err.h"
#include "fake/alloc.h"
#include "wire/rpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static uint8_t buf[2 * SG_RPC_WRITE_MAX];

/* A call for two ids and, on the same stream, one that installs rules. */
static size_t two_calls(void)
{
	static const uint8_t rule[3] = {1, 2, 3};
	const struct sg_rpc_edge edge = {.forward = {rule, sizeof(rule)}};
	struct sg_writer w = sg_writer(buf, sizeof(buf));
	struct sg_rpc_out o;

	sg_rpc_out_init(&o, SG_GOB_ID_FIRST);
	sg_rpc_write_request(&o, &w, SG_RPC_RESERVE_IDS, 0);
	sg_rpc_write_count(&w, 2);
	sg_rpc_write_request(&o, &w, SG_RPC_ADD_EDGE, 1);
	sg_rpc_write_edge(&o, &w, &edge);
	assert_false(w.err);
	return sg_writer_len(&w);
}

/* Reads both calls from @len bytes that come @step at a time. How many values were read, or an error. */
static int read_calls(size_t len, size_t step)
{
	char why[SG_RPC_ERROR_MAX] = "";
	struct sg_gob_value v;
	struct sg_rpc_head head;
	struct sg_rpc_edge edge;
	struct sg_reader r;
	struct sg_rpc_in in;
	uint8_t count = 0;
	int n = 0, err = 0;

	sg_rpc_in_init(&in);
	for (size_t at = 0; at < len && err >= 0; at += step) {
		err = sg_rpc_in_feed(&in, (struct sg_view){buf + at, SG_MIN(step, len - at)});
		while (err == 0 && (err = sg_rpc_in_next(&in, &r, &v)) == 1) {
			err = n % 2 == 0 ? sg_rpc_read_head(&v, &head)
			      : n == 1   ? sg_rpc_read_count(&v, &count, why)
					 : sg_rpc_read_edge(&v, &edge, why);
			n++;
		}
	}
	sg_rpc_in_fini(&in);
	if (err < 0)
		return err;
	if (n > 1)
		assert_int_equal(count, 2);
	if (n > 2)
		assert_true(head.seq == 1);
	return n;
}

static void calls_come_in_pieces(void **state)
{
	size_t len = two_calls();

	(void)state;
	for (size_t step = 1; step <= len; step++)
		assert_int_equal(read_calls(len, step), 4);
}

static void what_is_too_long_ends(void **state)
{
	struct sg_writer w = sg_writer(buf, sizeof(buf));
	struct sg_gob_value v;
	struct sg_reader r;
	struct sg_rpc_in in;
	int err = 0;

	(void)state;
	sg_rpc_in_init(&in);
	sg_gob_write_uint(&w, SG_GOB_MESSAGE_MAX);
	for (size_t n = 0; err == 0 && n < 100; n++) {
		err = sg_rpc_in_feed(&in, (struct sg_view){buf, sizeof(buf)});
		if (err == 0)
			err = sg_rpc_in_next(&in, &r, &v);
	}
	assert_int_equal(err, SG_ELONG);
	assert_true(in.cap <= 3 * SG_RPC_MESSAGE_MAX);
	sg_rpc_in_fini(&in);
}

static void more_ids_than_asked_for_are_refused(void **state)
{
	static const uint32_t ids[3] = {1, 200, UINT32_MAX};
	struct sg_writer w = sg_writer(buf, sizeof(buf));
	char why[SG_RPC_ERROR_MAX] = "";
	struct sg_gob_value v;
	struct sg_reader r;
	struct sg_rpc_out o;
	struct sg_rpc_in in;
	uint32_t got[3];
	size_t n;

	(void)state;
	sg_rpc_out_init(&o, SG_GOB_ID_FIRST);
	sg_rpc_write_ids(&o, &w, ids, 3);
	sg_rpc_write_ids(&o, &w, ids, 3);
	sg_rpc_in_init(&in);
	assert_int_equal(sg_rpc_in_feed(&in, (struct sg_view){buf, sg_writer_len(&w)}), 0);
	assert_int_equal(sg_rpc_in_next(&in, &r, &v), 1);
	assert_int_equal(sg_rpc_read_ids(&v, got, 2, &n, why), SG_EMALF);
	assert_string_not_equal(why, "");
	assert_int_equal(sg_rpc_in_next(&in, &r, &v), 1);
	assert_int_equal(sg_rpc_read_ids(&v, got, 3, &n, why), 0);
	assert_memory_equal(got, ids, sizeof(ids));
	sg_rpc_in_fini(&in);
}

static bool run(void *arg)
{
	return read_calls(*(size_t *)arg, 7) == 4;
}

static void each_allocation_fails(void **state)
{
	size_t len = two_calls();

	(void)state;
	assert_true(fake_alloc_each("remote calls", run, &len) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(calls_come_in_pieces),
		cmocka_unit_test(what_is_too_long_ends), cmocka_unit_test(more_ids_than_asked_for_are_refused),
		cmocka_unit_test(each_allocation_fails)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
