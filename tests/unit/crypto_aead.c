/*
 * ChaCha20-Poly1305 by both providers: they agree for every length, in place or not, and refuse every changed bit. That
 * they compute the right thing is proved by the recorded frames in tests/data/dmsg.json.
 */
#include "base/common.h"
#include "base/err.h"
#include "crypto/aead.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* after the others */
#include <cmocka.h>

#define LARGEST 4070

static const uint8_t key[SG_AEAD_KEY_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
static uint8_t plain[LARGEST];

static const size_t lengths[] = {0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 1399, 1400, 1401, LARGEST};

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 7);
	return 0;
}

static struct sg_aead *key_of(size_t provider)
{
	struct sg_aead *a = sg_aead_providers()[provider]->new_key(key);

	assert_non_null(a);
	return a;
}

static void providers_agree(void **state)
{
	const struct sg_aead_ops *const *ops = sg_aead_providers();
	uint8_t out[2][LARGEST + SG_AEAD_TAG_LEN];
	struct sg_aead *a = key_of(0), *b = key_of(1);
	const struct sg_view ads[] = {{NULL, 0}, {key, 1}, {key, 32}};

	(void)state;
	assert_null(ops[2]);
	assert_string_equal(ops[0]->name, "libcrypto");
	assert_string_equal(ops[1]->name, "libsodium");
	for (size_t i = 0; i < SG_ARRAY_LEN(lengths); i++) {
		for (size_t j = 0; j < SG_ARRAY_LEN(ads); j++) {
			uint64_t counter = i % 2 ? i : UINT64_MAX - i;

			ops[0]->seal(a, counter, ads[j], plain, lengths[i], out[0]);
			ops[1]->seal(b, counter, ads[j], plain, lengths[i], out[1]);
			assert_memory_equal(out[0], out[1], lengths[i] + SG_AEAD_TAG_LEN);
			assert_int_equal(ops[0]->open(a, counter, ads[j], out[1], lengths[i], out[1]), 0);
			assert_memory_equal(out[1], plain, lengths[i]);
			assert_int_equal(ops[1]->open(b, counter, ads[j], out[0], lengths[i], out[0]), 0);
			assert_memory_equal(out[0], plain, lengths[i]);
		}
	}
	ops[0]->free_key(a);
	ops[1]->free_key(b);
}

/* Of every length in full and broken blocks, with a head of every length, from addresses that are no multiple of anything. */
static void providers_agree_on_every_length(void **state)
{
	static const uint64_t counters[] = {
		0, UINT32_MAX - 1, UINT32_MAX, (uint64_t)UINT32_MAX + 1, UINT64_MAX - 1, UINT64_MAX};
	static uint8_t out[2][17 + LARGEST + SG_AEAD_TAG_LEN];
	const struct sg_aead_ops *const *ops = sg_aead_providers();
	struct sg_aead *a = key_of(0), *b = key_of(1);

	(void)state;
	for (size_t len = 0; len <= LARGEST; len++) {
		uint8_t *one = out[0] + len % 17, *two = out[1] + len % 13;
		struct sg_view ad = {plain, len % 81};
		uint64_t counter = counters[len % SG_ARRAY_LEN(counters)];

		memcpy(one, plain, len);
		ops[0]->seal(a, counter, ad, one, len, one);
		ops[1]->seal(b, counter, ad, plain, len, two);
		assert_memory_equal(one, two, len + SG_AEAD_TAG_LEN);
		assert_int_equal(ops[0]->open(a, counter, ad, two, len, one), 0);
		assert_memory_equal(one, plain, len);
	}
	ops[0]->free_key(a);
	ops[1]->free_key(b);
}

/* It seals the same, and what lies around it is as it was. */
static void sealed_behind_of_every_length(void **state)
{
	static uint8_t out[2][5 + SG_AEAD_FRONT + LARGEST + SG_AEAD_TAG_LEN + 1];

	(void)state;
	for (size_t p = 0; p < 2; p++) {
		const struct sg_aead_ops *ops = sg_aead_providers()[p];
		struct sg_aead *a = key_of(p);

		for (size_t len = 0; len <= LARGEST; len++) {
			size_t at = len % 5 + SG_AEAD_FRONT;
			struct sg_view ad = {plain, len % 3};

			for (int i = 0; i < 2; i++) {
				memset(out[i], (int)len % 251 + 1, sizeof(out[i]));
				memcpy(out[i] + at, plain, len);
			}
			ops->seal(a, len, ad, plain, len, out[0] + at);
			ops->seal_behind(a, len, ad, out[1] + at, len);
			assert_memory_equal(out[0], out[1], sizeof(out[0]));
		}
		ops->free_key(a);
	}
}

/* A key serves both directions, in any order, and after a failure. */
static void one_key_both_directions(void **state)
{
	uint8_t buf[64 + SG_AEAD_TAG_LEN], first[sizeof(buf)];

	(void)state;
	for (size_t p = 0; p < 2; p++) {
		const struct sg_aead_ops *ops = sg_aead_providers()[p];
		struct sg_aead *a = key_of(p);

		ops->seal(a, 5, (struct sg_view){0}, plain, 64, first);
		for (int round = 0; round < 3; round++) {
			ops->seal(a, 5, (struct sg_view){0}, plain, 64, buf);
			assert_memory_equal(buf, first, sizeof(buf));
			assert_int_equal(ops->open(a, 6, (struct sg_view){0}, buf, 64, buf), SG_EAUTH);
			ops->seal(a, 5, (struct sg_view){0}, plain, 64, buf);
			assert_memory_equal(buf, first, sizeof(buf));
			assert_int_equal(ops->open(a, 5, (struct sg_view){0}, buf, 64, buf), 0);
			assert_memory_equal(buf, plain, 64);
		}
		ops->free_key(a);
	}
}

static void every_changed_bit_is_refused(void **state)
{
	const size_t len = 33;
	uint8_t sealed[33 + SG_AEAD_TAG_LEN], ad[2] = {1, 2}, out[33];

	(void)state;
	for (size_t p = 0; p < 2; p++) {
		const struct sg_aead_ops *ops = sg_aead_providers()[p];
		struct sg_aead *a = key_of(p);

		ops->seal(a, 9, (struct sg_view){ad, 2}, plain, len, sealed);
		for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
			sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
			memset(out, 0xee, sizeof(out));
			assert_int_equal(ops->open(a, 9, (struct sg_view){ad, 2}, sealed, len, out), SG_EAUTH);
			/* Nothing of the plaintext may be seen. */
			for (size_t i = 0; i < len; i++)
				assert_true(out[i] == 0xee || out[i] == 0);
			sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		assert_int_equal(ops->open(a, 9, (struct sg_view){ad, 1}, sealed, len, out), SG_EAUTH);
		assert_int_equal(ops->open(a, 10, (struct sg_view){ad, 2}, sealed, len, out), SG_EAUTH);
		assert_int_equal(ops->open(a, 9, (struct sg_view){ad, 2}, sealed, len, out), 0);
		ops->free_key(a);
		ops->free_key(NULL);
	}
}

/* The tag is looked at before anything is decrypted: what is refused where it lies is still what came. */
static void refused_in_place_nothing_is_written(void **state)
{
	const struct sg_aead_ops *ops = sg_aead_providers()[0];
	uint8_t buf[LARGEST + SG_AEAD_TAG_LEN], came[sizeof(buf)];
	struct sg_aead *a = key_of(0);

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(lengths); i++) {
		ops->seal(a, i, (struct sg_view){0}, plain, lengths[i], came);
		came[lengths[i] + SG_AEAD_TAG_LEN - 1] ^= 0x80;
		memcpy(buf, came, lengths[i] + SG_AEAD_TAG_LEN);
		assert_int_equal(ops->open(a, i, (struct sg_view){0}, buf, lengths[i], buf), SG_EAUTH);
		assert_memory_equal(buf, came, lengths[i] + SG_AEAD_TAG_LEN);
	}
	ops->free_key(a);
}

static void measurement_names_a_provider(void **state)
{
	const struct sg_aead_ops *best = sg_aead_measure();

	(void)state;
	assert_true(best == sg_aead_providers()[0] || best == sg_aead_providers()[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(providers_agree),
		cmocka_unit_test(providers_agree_on_every_length),
		cmocka_unit_test(sealed_behind_of_every_length),
		cmocka_unit_test(one_key_both_directions),
		cmocka_unit_test(every_changed_bit_is_refused),
		cmocka_unit_test(refused_in_place_nothing_is_written),
		cmocka_unit_test(measurement_names_a_provider),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
