/* Frames: lengths at every edge, counters, runs that arrive byte by byte, both providers. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "crypto/frame.h"
#include "fake/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

#define SLOT (SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG)

static const uint8_t key[SG_AEAD_KEY_LEN] = {42};
static struct sg_frame_key tx, rx;
static uint8_t slot[SLOT + 1], plain[SG_FRAME_PLAIN_MAX];

/* Every test runs with either provider. */
static int setup(void **state)
{
	const struct sg_aead_ops *ops = *state;

	assert_int_equal(sg_frame_key_init(&tx, ops, key) | sg_frame_key_init(&rx, ops, key), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sg_frame_key_fini(&tx);
	sg_frame_key_fini(&rx);
	assert_null(tx.key);
	sg_frame_key_fini(&tx); /* twice does no harm */
	return 0;
}

static size_t seal(size_t len)
{
	for (size_t i = 0; i < len; i++)
		slot[SG_FRAME_HEAD + i] = (uint8_t)(i + len);
	return sg_frame_seal(&tx, slot, len);
}

static int open_into(const uint8_t *p, size_t len, uint8_t *out, size_t *out_len)
{
	*out_len = 12345;
	return sg_frame_open(&rx, (struct sg_view){p, len}, out, out_len);
}

static void lengths(void **state)
{
	static const size_t lens[] = {1, 2, 15, 16, 63, 64, 1400, SG_FRAME_PLAIN_MAX - 1, SG_FRAME_PLAIN_MAX};
	size_t out_len;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(lens); i++) {
		size_t len = seal(lens[i]);

		assert_int_equal(len, lens[i] + SG_FRAME_HEAD + SG_FRAME_TAG);
		assert_int_equal(sg_get_u16(slot), len - 2);
		assert_true(sg_get_u64(slot + 2) == i + 1);
		/* Elsewhere, then in place. */
		assert_int_equal(open_into(slot, len, plain, &out_len), len);
		assert_int_equal(out_len, lens[i]);
		for (size_t j = 0; j < lens[i]; j++)
			assert_int_equal(plain[j], (uint8_t)(j + lens[i]));
		rx.counter--;
		assert_int_equal(open_into(slot, len, slot + SG_FRAME_HEAD, &out_len), len);
		assert_memory_equal(slot + SG_FRAME_HEAD, plain, lens[i]);
	}
	assert_int_equal(SG_FRAME_PLAIN_MAX + 8 + SG_FRAME_TAG, SG_FRAME_PREFIX_MAX);
}

/* One behind the other, as in a link's chunk: the second borrows the end of the first. */
static void sealed_behind_another(void **state)
{
	static uint8_t buf[SG_FRAME_FRONT + 2 * SLOT];
	uint8_t *first = buf + SG_FRAME_FRONT;
	size_t out_len, len, both;

	(void)state;
	memset(buf, 0xee, sizeof(buf));
	len = sg_frame_seal_behind(&tx, first, 4032);
	both = len + sg_frame_seal_behind(&tx, first + len, 1400);
	for (size_t i = 0; i < SG_FRAME_FRONT; i++)
		assert_int_equal(buf[i], 0xee);
	assert_int_equal(open_into(first, both, plain, &out_len), len);
	assert_int_equal(out_len, 4032);
	assert_int_equal(open_into(first + len, both - len, plain, &out_len), both - len);
	assert_int_equal(out_len, 1400);
	for (size_t i = 0; i < out_len; i++)
		assert_int_equal(plain[i], 0xee);
}

static void an_empty_frame_is_valid(void **state)
{
	size_t out_len, len = seal(0);

	(void)state;
	assert_int_equal(open_into(slot, len, plain, &out_len), len);
	assert_int_equal(out_len, 0);
}

static void byte_by_byte(void **state)
{
	size_t out_len, len = seal(100);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(open_into(slot, i, plain, &out_len), 0);
		assert_int_equal(out_len, 0);
		assert_true(rx.counter == 0);
	}
	/* What follows the frame is not touched. */
	slot[len] = 0xaa;
	assert_int_equal(open_into(slot, len + 1, plain, &out_len), len);
	assert_int_equal(out_len, 100);
	assert_int_equal(slot[len], 0xaa);
}

static void prefixes_out_of_range(void **state)
{
	size_t out_len;

	(void)state;
	for (unsigned prefix = 0; prefix <= UINT16_MAX; prefix++) {
		int want = prefix > SG_FRAME_PREFIX_MAX ? SG_ELONG : prefix < 24 ? SG_EMALF : 0;

		sg_put_u16(slot, (uint16_t)prefix);
		/* Known from the prefix alone, not only when the rest has arrived. */
		assert_int_equal(open_into(slot, 2, plain, &out_len), want);
	}
}

static void counters_only_increase(void **state)
{
	size_t out_len, len = seal(1);
	uint8_t first[SLOT];

	(void)state;
	memcpy(first, slot, len);
	assert_int_equal(open_into(first, len, plain, &out_len), len);
	assert_int_equal(open_into(first, len, plain, &out_len), SG_EREPLAY);
	tx.counter = 1000; /* a gap is fine */
	len = seal(1);
	assert_int_equal(open_into(slot, len, plain, &out_len), len);
	assert_true(rx.counter == 1001);
	tx.counter = 999; /* 1000 comes too late */
	len = seal(1);
	assert_int_equal(open_into(slot, len, plain, &out_len), SG_EREPLAY);
	tx.counter = UINT64_MAX - 1;
	len = seal(1);
	assert_int_equal(open_into(slot, len, plain, &out_len), len);
	len = seal(1); /* wraps to 0 */
	assert_int_equal(open_into(slot, len, plain, &out_len), SG_EREPLAY);
}

static void zero_is_no_counter(void **state)
{
	size_t out_len, len;

	(void)state;
	tx.counter = UINT64_MAX;
	len = seal(1);
	assert_true(sg_get_u64(slot + 2) == 0);
	assert_int_equal(open_into(slot, len, plain, &out_len), SG_EREPLAY);
}

static void every_changed_byte_is_refused(void **state)
{
	size_t out_len, len = seal(20);

	(void)state;
	for (size_t at = 2; at < len; at++) {
		uint8_t copy[SLOT];
		int err;

		memcpy(copy, slot, len);
		copy[at] ^= 0x80;
		rx.counter = 0;
		err = open_into(copy, len, copy + SG_FRAME_HEAD, &out_len);
		assert_int_equal(err, SG_EAUTH);
		assert_int_equal(out_len, 0);
	}
}

/* As the existing implementation has it: seen is seen, genuine or not. */
static void a_forged_counter_is_remembered(void **state)
{
	size_t out_len, len = seal(1);

	(void)state;
	sg_put_u64(slot + 2, 77);
	assert_int_equal(open_into(slot, len, plain, &out_len), SG_EAUTH);
	assert_true(rx.counter == 77);
}

static void no_allocation_per_frame(void **state)
{
	size_t out_len, len, before = sg_alloc_live();

	(void)state;
	fake_alloc_fail_at(1);
	for (int i = 0; i < 100; i++) {
		len = seal(1400);
		assert_int_equal(open_into(slot, len, slot + SG_FRAME_HEAD, &out_len), len);
	}
	assert_false(fake_alloc_failed());
	fake_alloc_fail_at(0);
	assert_int_equal(sg_alloc_live(), before);
}

static void no_memory_for_a_key(void **state)
{
	struct sg_frame_key k;

	fake_alloc_fail_at(1);
	assert_int_equal(sg_frame_key_init(&k, *state, key), -ENOMEM);
	assert_true(fake_alloc_failed());
	sg_frame_key_fini(&k);
}

#define BOTH(fn)                                                                                                       \
	{#fn " libcrypto", fn, setup, teardown, (void *)(uintptr_t)sg_aead_providers()[0]},                            \
	{                                                                                                              \
#fn " libsodium", fn, setup, teardown, (void *)(uintptr_t)sg_aead_providers()[1]                       \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(lengths),
		BOTH(sealed_behind_another),
		BOTH(an_empty_frame_is_valid),
		BOTH(byte_by_byte),
		BOTH(prefixes_out_of_range),
		BOTH(counters_only_increase),
		BOTH(zero_is_no_counter),
		BOTH(every_changed_byte_is_refused),
		BOTH(a_forged_counter_is_remembered),
		BOTH(no_allocation_per_frame),
		BOTH(no_memory_for_a_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
