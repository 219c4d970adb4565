/*
 * Noise KK with payloads that nobody sends today but peers of 2026 may, and with everything a stranger can do wrong. The
 * bytes of a plain handshake are in tests/data/dmsg.json and transports.json.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "crypto/noise.h"
#include "fake/alloc.h"
#include "fake/random.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

static struct fake_random source;
static struct sg_crypto *c;
static struct sg_sk sk[3];
static struct sg_pk pk[3];

static int setup(void **state)
{
	(void)state;
	fake_random_init(&source);
	c = sg_crypto_new(&source.base);
	if (!c)
		return -1;
	for (int i = 0; i < 3; i++) {
		sg_sk_generate(c, &sk[i]);
		if (sg_pk_of(c, &sk[i], &pk[i]) < 0)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sg_crypto_free(c);
	return 0;
}

/* Initiator 0 with responder 1. */
static void begin(struct sg_noise n[2])
{
	for (int i = 0; i < 2; i++)
		assert_int_equal(sg_noise_kk_init(&n[i], c, i == 0, &sk[i], &pk[!i]), 0);
}

static void end(struct sg_noise n[2])
{
	sg_noise_fini(&n[0]);
	sg_noise_fini(&n[1]);
}

static uint8_t message[SG_NOISE_MSG_MAX + 1], payload[SG_NOISE_MSG_MAX], got[SG_NOISE_MSG_MAX];

/* One handshake with payloads of these lengths; both ends must come out with the same keys. */
static void handshake(size_t first, size_t second)
{
	const size_t lens[] = {first, second};
	struct sg_noise_keys keys[2];
	struct sg_noise n[2];

	begin(n);
	for (int from = 0; from < 2; from++) {
		size_t len = lens[from];
		int written = sg_noise_write(&n[from], (struct sg_view){payload, len}, message, sizeof(message));

		assert_int_equal(written, SG_NOISE_MSG_MIN + len);
		assert_false(sg_noise_done(&n[!from]));
		memset(got, 0xee, len);
		assert_int_equal(sg_noise_read(&n[!from], (struct sg_view){message, (size_t)written}, got, len), len);
		assert_memory_equal(got, payload, len);
	}
	assert_true(sg_noise_done(&n[0]) && sg_noise_done(&n[1]));
	sg_noise_split(&n[0], &keys[0]);
	sg_noise_split(&n[1], &keys[1]);
	assert_memory_equal(keys[0].tx, keys[1].rx, sizeof(keys[0].tx));
	assert_memory_equal(keys[0].rx, keys[1].tx, sizeof(keys[0].rx));
	assert_memory_not_equal(keys[0].rx, keys[0].tx, sizeof(keys[0].rx));
	end(n);
}

static void payloads_of_any_length(void **state)
{
	static const size_t lens[] = {0, 1, 15, 16, 17, 1088, 1184, 4096, SG_NOISE_MSG_MAX - SG_NOISE_MSG_MIN};

	(void)state;
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 13);
	for (size_t i = 0; i < SG_ARRAY_LEN(lens); i++) {
		handshake(lens[i], 0);
		handshake(0, lens[i]);
	}
	handshake(1184, 1088);
}

/* Whoever has no use for the payload need not take it, or not all of it. */
static void payload_is_optional(void **state)
{
	struct sg_noise n[2];
	int len;

	(void)state;
	begin(n);
	len = sg_noise_write(&n[0], (struct sg_view){payload, 1184}, message, sizeof(message));
	memset(got, 0xee, sizeof(got));
	assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, (size_t)len}, got, 10), 1184);
	assert_memory_equal(got, payload, 10);
	assert_int_equal(got[10], 0xee);
	end(n);
	begin(n);
	len = sg_noise_write(&n[0], (struct sg_view){payload, 1184}, message, sizeof(message));
	assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, (size_t)len}, NULL, 0), 1184);
	end(n);
}

static void lengths_at_the_edge(void **state)
{
	static const size_t bad[] = {0, 1, 32, 33, SG_NOISE_MSG_MIN - 1, SG_NOISE_MSG_MAX + 1};
	struct sg_noise n[2];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++) {
		begin(n);
		assert_int_equal(
			sg_noise_write(&n[0], (struct sg_view){0}, message, sizeof(message)), SG_NOISE_MSG_MIN);
		assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, bad[i]}, NULL, 0), SG_EMALF);
		assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, SG_NOISE_MSG_MIN}, NULL, 0), SG_ESTATE);
		end(n);
	}
	begin(n);
	assert_int_equal(sg_noise_write(&n[0], (struct sg_view){0}, message, SG_NOISE_MSG_MIN - 1), SG_ELONG);
	assert_int_equal(sg_noise_write(&n[0], (struct sg_view){payload, SG_NOISE_MSG_MAX - SG_NOISE_MSG_MIN + 1},
				 message, sizeof(message)),
		SG_ELONG);
	assert_int_equal(sg_noise_write(&n[0], (struct sg_view){0}, message, SG_NOISE_MSG_MIN), SG_NOISE_MSG_MIN);
	end(n);
}

static void every_changed_byte_is_refused(void **state)
{
	struct sg_noise n[2];

	(void)state;
	for (int from = 0; from < 2; from++) {
		for (size_t at = 0; at < SG_NOISE_MSG_MIN + 3; at++) {
			int len = 0, err;

			begin(n);
			for (int i = 0; i <= from; i++) {
				len = sg_noise_write(&n[i], (struct sg_view){payload, 3}, message, sizeof(message));
				assert_int_equal(len, SG_NOISE_MSG_MIN + 3);
				if (i < from)
					assert_int_equal(
						sg_noise_read(&n[1], (struct sg_view){message, (size_t)len}, NULL, 0),
						3);
			}
			message[at] ^= 1;
			err = sg_noise_read(&n[!from], (struct sg_view){message, (size_t)len}, NULL, 0);
			assert_true(err == SG_EAUTH || err == SG_EKEY);
			assert_false(sg_noise_done(&n[!from]));
			assert_int_equal(
				sg_noise_write(&n[!from], (struct sg_view){0}, message, sizeof(message)), SG_ESTATE);
			end(n);
		}
	}
}

/* The existing implementation ends the process here; ours returns an ordinary error. */
static void an_ephemeral_key_off_the_curve(void **state)
{
	static const uint8_t first[] = {0, 1, 2, 3, 4, 6, 7, 0x82, 0xff};
	struct sg_noise n[2];

	(void)state;
	for (size_t i = 0; i < sizeof(first); i++) {
		begin(n);
		memset(message, 0xff, SG_NOISE_MSG_MIN);
		message[0] = first[i];
		assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, SG_NOISE_MSG_MIN}, NULL, 0), SG_EKEY);
		end(n);
	}
}

static void another_key_than_expected(void **state)
{
	struct sg_noise n[2];
	int len;

	(void)state;
	/* The caller has key 2, the responder expects key 0. */
	assert_int_equal(sg_noise_kk_init(&n[0], c, true, &sk[2], &pk[1]), 0);
	assert_int_equal(sg_noise_kk_init(&n[1], c, false, &sk[1], &pk[0]), 0);
	len = sg_noise_write(&n[0], (struct sg_view){0}, message, sizeof(message));
	assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, (size_t)len}, NULL, 0), SG_EAUTH);
	end(n);
	/* The caller wants key 2 and reaches key 1. */
	assert_int_equal(sg_noise_kk_init(&n[0], c, true, &sk[0], &pk[2]), 0);
	assert_int_equal(sg_noise_kk_init(&n[1], c, false, &sk[1], &pk[0]), 0);
	len = sg_noise_write(&n[0], (struct sg_view){0}, message, sizeof(message));
	assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, (size_t)len}, NULL, 0), SG_EAUTH);
	end(n);
}

static void turns(void **state)
{
	struct sg_noise n[2];

	(void)state;
	begin(n);
	assert_int_equal(sg_noise_read(&n[0], (struct sg_view){message, SG_NOISE_MSG_MIN}, NULL, 0), SG_ESTATE);
	assert_int_equal(sg_noise_write(&n[1], (struct sg_view){0}, message, sizeof(message)), SG_ESTATE);
	assert_int_equal(sg_noise_write(&n[0], (struct sg_view){0}, message, sizeof(message)), SG_NOISE_MSG_MIN);
	assert_int_equal(sg_noise_write(&n[0], (struct sg_view){0}, message, sizeof(message)), SG_ESTATE);
	assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, SG_NOISE_MSG_MIN}, NULL, 0), 0);
	assert_int_equal(sg_noise_read(&n[1], (struct sg_view){message, SG_NOISE_MSG_MIN}, NULL, 0), SG_ESTATE);
	end(n);
	assert_int_equal(sg_noise_write(&n[0], (struct sg_view){0}, message, sizeof(message)), SG_ESTATE);
}

static void invalid_keys_at_the_start(void **state)
{
	const struct sg_sk no_sk = {{0}};
	const struct sg_pk no_pk = {{0}};
	struct sg_noise n;

	(void)state;
	assert_int_equal(sg_noise_kk_init(&n, c, true, &sk[0], &no_pk), SG_EKEY);
	assert_int_equal(sg_noise_kk_init(&n, c, true, &no_sk, &pk[1]), SG_EKEY);
	for (size_t i = 0; i < sizeof(n.s); i++)
		assert_int_equal(n.s.b[i] | n.e.b[i], 0); /* wiped */
}

/* A visor may have a link to itself: both static keys are one. */
static void to_oneself(void **state)
{
	struct sg_noise n[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(sg_noise_kk_init(&n[i], c, i == 0, &sk[0], &pk[0]), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			sg_noise_write(&n[i], (struct sg_view){0}, message, sizeof(message)), SG_NOISE_MSG_MIN);
		assert_int_equal(sg_noise_read(&n[!i], (struct sg_view){message, SG_NOISE_MSG_MIN}, NULL, 0), 0);
	}
	end(n);
}

static bool whole_handshake(void *arg)
{
	struct sg_noise n[2];
	bool ok = true;

	(void)arg;
	begin(n);
	for (int i = 0; i < 2 && ok; i++) {
		int len = sg_noise_write(&n[i], (struct sg_view){payload, 100}, message, sizeof(message));

		ok = len > 0 && sg_noise_read(&n[!i], (struct sg_view){message, (size_t)len}, got, 100) == 100;
	}
	end(n);
	return ok;
}

static void out_of_memory(void **state)
{
	(void)state;
	assert_true(fake_alloc_each("Noise handshake", whole_handshake, NULL) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payloads_of_any_length),
		cmocka_unit_test(payload_is_optional),
		cmocka_unit_test(lengths_at_the_edge),
		cmocka_unit_test(every_changed_byte_is_refused),
		cmocka_unit_test(an_ephemeral_key_off_the_curve),
		cmocka_unit_test(another_key_than_expected),
		cmocka_unit_test(turns),
		cmocka_unit_test(invalid_keys_at_the_start),
		cmocka_unit_test(to_oneself),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
