/* Gob at its limits: what strangers may send, cut anywhere, with each allocation failing. Values are in the vectors. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/alloc.h"
#include "wire/dmsg.h"
#include "wire/gob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void numbers_are_as_long_as_they_need(void **state)
{
	static const uint64_t values[] = {0, 127, 128, 255, 256, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX};
	static const int64_t ints[] = {0, -1, 63, 64, -64, -65, INT64_MAX, INT64_MIN};
	uint8_t b[16];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(values); i++) {
		struct sg_writer w = sg_writer(b, sizeof(b));
		struct sg_reader r;

		sg_gob_write_uint(&w, values[i]);
		for (size_t cut = 0; cut < sg_writer_len(&w); cut++) {
			r = sg_reader((struct sg_view){b, cut});
			sg_gob_read_uint(&r);
			assert_true(r.err);
		}
		r = sg_reader((struct sg_view){b, sg_writer_len(&w)});
		assert_true(sg_gob_read_uint(&r) == values[i]);
		assert_true(sg_reader_done(&r));
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(ints); i++) {
		struct sg_writer w = sg_writer(b, sizeof(b));
		struct sg_reader r;

		sg_gob_write_int(&w, ints[i]);
		r = sg_reader((struct sg_view){b, sg_writer_len(&w)});
		assert_true(sg_gob_read_int(&r) == ints[i]);
	}
	/* Nine bytes of number are none. */
	b[0] = 0xf7;
	memset(b + 1, 1, 9);
	struct sg_reader r = sg_reader((struct sg_view){b, 10});
	sg_gob_read_uint(&r);
	assert_true(r.err);
}

static void frames_are_bounded(void **state)
{
	uint8_t b[16] = {0};
	struct sg_writer w = sg_writer(b, sizeof(b));
	struct sg_view m;

	(void)state;
	assert_int_equal(sg_gob_frame((struct sg_view){b, 0}, &m), 0);
	assert_int_equal(sg_gob_frame((struct sg_view){b, 1}, &m), SG_EMALF); /* an empty message */
	sg_gob_write_uint(&w, SG_GOB_MESSAGE_MAX + 1);
	assert_int_equal(sg_gob_frame((struct sg_view){b, sizeof(b)}, &m), SG_ELONG);
	w = sg_writer(b, sizeof(b));
	sg_gob_write_uint(&w, 3);
	assert_int_equal(sg_gob_frame((struct sg_view){b, 3}, &m), 0);
	assert_int_equal(sg_gob_frame((struct sg_view){b, 4}, &m), 4);
	assert_int_equal(m.len, 3);
}

/* A slice of itself nests for ever; a count beyond the bytes is no list. */
static void hostile_types_end(void **state)
{
	uint8_t b[512];
	struct sg_writer w = sg_writer(b, sizeof(b));
	struct sg_gob_types t;
	struct sg_gob_value v;
	struct sg_reader r;
	struct sg_view m;
	struct sg_gob_out o;
	int used;

	(void)state;
	sg_gob_types_init(&t);
	sg_gob_define_slice(&w, 64, "deep", 64);
	used = sg_gob_frame((struct sg_view){b, sg_writer_len(&w)}, &m);
	assert_true(used > 0);
	assert_int_equal(sg_gob_message(&t, m, &r, &v), 0);
	assert_int_equal(sg_gob_message(&t, m, &r, &v), SG_EMALF); /* twice */
	w = sg_writer(b, sizeof(b));
	o = sg_gob_begin(&w, 64);
	sg_write_u8(&w, 0);
	for (int i = 0; i < 100; i++)
		sg_gob_write_uint(&w, 1);
	sg_gob_end(&o);
	assert_true(sg_gob_frame((struct sg_view){b, sg_writer_len(&w)}, &m) > 0);
	assert_int_equal(sg_gob_message(&t, m, &r, &v), 1);
	sg_gob_skip(&v);
	assert_true(r.err);
	w = sg_writer(b, sizeof(b));
	o = sg_gob_begin(&w, 64);
	sg_write_u8(&w, 0);
	sg_gob_write_uint(&w, UINT64_MAX);
	sg_gob_end(&o);
	assert_true(sg_gob_frame((struct sg_view){b, sg_writer_len(&w)}, &m) > 0);
	assert_int_equal(sg_gob_message(&t, m, &r, &v), 1);
	sg_gob_skip(&v);
	assert_true(r.err);
	/* An id that nobody defined. */
	w = sg_writer(b, sizeof(b));
	o = sg_gob_begin(&w, 99);
	sg_write_u8(&w, 0);
	sg_gob_end(&o);
	assert_true(sg_gob_frame((struct sg_view){b, sg_writer_len(&w)}, &m) > 0);
	assert_int_equal(sg_gob_message(&t, m, &r, &v), SG_EMALF);
	sg_gob_types_fini(&t);
}

struct sample {
	const struct sg_crypto *c;
	uint8_t gob[SG_DMSG_OBJECT_MAX];
	size_t len;
};

static struct sample make_sample(void)
{
	struct sample s = {.c = sg_crypto_new(sg_random_system())};
	struct sg_dmsg_request q = {.timestamp = 5, .src.port = 49200, .dst.port = 80};
	struct sg_sk sk;
	uint8_t noise[49] = {2};
	int len;

	sg_sk_generate(s.c, &sk);
	assert_int_equal(sg_pk_of(s.c, &sk, &q.src.pk), 0);
	q.dst.pk = q.src.pk;
	q.noise = (struct sg_view){noise, sizeof(noise)};
	len = sg_dmsg_request_encode(&q, 64, s.gob, sizeof(s.gob));
	assert_true(len > 0);
	s.len = (size_t)len;
	for (size_t cap = 0; cap < s.len; cap += 7) {
		uint8_t out[SG_DMSG_OBJECT_MAX];

		assert_int_equal(sg_dmsg_request_encode(&q, 64, out, cap), SG_ELONG);
	}
	return s;
}

static void every_cut_of_an_object_is_refused(void **state)
{
	struct sample s = make_sample();
	struct sg_dmsg_request q;

	(void)state;
	assert_int_equal(sg_dmsg_request_decode(s.c, (struct sg_view){s.gob, s.len}, &q), 0);
	assert_int_equal(q.src.port, 49200);
	for (size_t cut = 0; cut < s.len; cut++)
		assert_true(sg_dmsg_request_decode(s.c, (struct sg_view){s.gob, cut}, &q) < 0);
	sg_crypto_free((struct sg_crypto *)(uintptr_t)s.c);
}

static bool decode(void *arg)
{
	const struct sample *s = arg;
	struct sg_dmsg_request q;
	int err = sg_dmsg_request_decode(s->c, (struct sg_view){s->gob, s->len}, &q);

	assert_true(err == 0 || err == -ENOMEM);
	return err == 0;
}

static void each_allocation_fails(void **state)
{
	struct sample s = make_sample();

	(void)state;
	assert_true(fake_alloc_each("stream request", decode, &s) > 0);
	sg_crypto_free((struct sg_crypto *)(uintptr_t)s.c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_are_as_long_as_they_need),
		cmocka_unit_test(frames_are_bounded), cmocka_unit_test(hostile_types_end),
		cmocka_unit_test(every_cut_of_an_object_is_refused), cmocka_unit_test(each_allocation_fails)};

	return cmocka_run_group_tests_name("gob", tests, NULL, NULL);
}
