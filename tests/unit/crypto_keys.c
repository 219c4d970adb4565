/* What is a key, what is a signature: the edges of the rules. Values of others are in tests/data/dmsg.json. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "crypto/keys.h"
#include "fake/alloc.h"
#include "fake/random.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

#define P_HEX  "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f" /* the field */
#define N_HEX  "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141" /* the order of the group */
#define N1_HEX "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140"
#define GX_HEX "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
#define ZEROS  "0000000000000000000000000000000000000000000000000000000000000000"

static struct fake_random source;
static struct sg_crypto *c;

static int setup(void **state)
{
	(void)state;
	fake_random_init(&source);
	c = sg_crypto_new(&source.base);
	return c ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	sg_crypto_free(c);
	return 0;
}

static void public_keys(void **state)
{
	static const char *const bad[] = {"", "02", "02" GX_HEX "00", "04" GX_HEX, "00" GX_HEX, "02" P_HEX, "02" ZEROS,
		"02" ZEROS "0", "0g" GX_HEX, "00" ZEROS};
	struct sg_pk pk = {{9}}, before = pk;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++) {
		assert_int_equal(sg_pk_parse(c, bad[i], strlen(bad[i]), &pk), SG_EKEY);
		assert_memory_equal(&pk, &before, sizeof(pk));
	}
	assert_int_equal(sg_pk_parse(c, "02" GX_HEX, 66, &pk), 0);
	assert_int_equal(sg_pk_parse(c, "03" GX_HEX, 66, &pk), 0);
	assert_int_equal(pk.b[0], 3);
	assert_int_equal(sg_pk_check(c, &pk), 0);
	pk.b[0] = 4;
	assert_int_equal(sg_pk_check(c, &pk), SG_EKEY);
}

static void absent_keys_in_json(void **state)
{
	static const char *const null[] = {"", "0", "00", ZEROS, "00" ZEROS, "00" ZEROS "00"};
	struct sg_pk pk;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(null); i++) {
		memset(&pk, 9, sizeof(pk));
		assert_int_equal(sg_pk_parse_json(c, null[i], strlen(null[i]), &pk), 0);
		assert_true(sg_pk_is_null(&pk));
	}
	assert_int_equal(sg_pk_parse_json(c, "02" GX_HEX, 66, &pk), 0);
	assert_false(sg_pk_is_null(&pk));
	assert_int_equal(sg_pk_parse_json(c, "00" GX_HEX, 66, &pk), SG_EKEY);
	assert_int_equal(sg_pk_parse_json(c, "1", 1, &pk), SG_EKEY);
}

static void secret_keys(void **state)
{
	struct sg_sk sk;

	(void)state;
	assert_int_equal(sg_sk_parse(c, N1_HEX, 64, &sk), 0);
	assert_int_equal(sg_sk_parse(c, N_HEX, 64, &sk), SG_EKEY);
	for (size_t i = 0; i < sizeof(sk); i++)
		assert_int_equal(sk.b[i], 0); /* what was refused does not stay in memory */
	assert_int_equal(sg_sk_parse(c, ZEROS, 64, &sk), SG_EKEY);
	assert_int_equal(sg_sk_parse(c, N1_HEX, 62, &sk), SG_EMALF);
	assert_int_equal(sg_sk_parse(c, N1_HEX "00", 66, &sk), SG_EMALF);
	assert_int_equal(sg_sk_parse(c, "", 0, &sk), SG_EMALF);
	assert_int_equal(sg_sk_parse(c, N1_HEX, 63, &sk), SG_EKEY);
	assert_int_equal(sg_sk_parse(c, "zz", 2, &sk), SG_EKEY);
}

/* The generator draws again until the number is a key. */
static void generated_keys(void **state)
{
	uint8_t draws[3][32] = {{0}};
	struct sg_sk sk;
	struct sg_pk pk;

	(void)state;
	memset(draws[1], 0xff, sizeof(draws[1]));
	draws[2][31] = 1;
	fake_random_put(&source, draws, sizeof(draws));
	sg_sk_generate(c, &sk);
	assert_memory_equal(sk.b, draws[2], 32);
	assert_int_equal(source.beyond, 0);
	assert_int_equal(sg_pk_of(c, &sk, &pk), 0);
	memset(&sk, 0, sizeof(sk));
	assert_int_equal(sg_pk_of(c, &sk, &pk), SG_EKEY);
}

static void shared_secrets(void **state)
{
	struct sg_sk a, b;
	struct sg_pk pa, pb;
	uint8_t ab[32], ba[32];

	(void)state;
	sg_sk_generate(c, &a);
	sg_sk_generate(c, &b);
	assert_int_equal(sg_pk_of(c, &a, &pa) | sg_pk_of(c, &b, &pb), 0);
	assert_int_equal(sg_ecdh(c, &a, &pb, ab) | sg_ecdh(c, &b, &pa, ba), 0);
	assert_memory_equal(ab, ba, sizeof(ab));
	pb.b[0] = 5;
	assert_int_equal(sg_ecdh(c, &a, &pb, ab), SG_EKEY);
	memset(&a, 0, sizeof(a));
	assert_int_equal(sg_ecdh(c, &a, &pa, ab), SG_EKEY);
}

static const struct sg_view payload = {(const uint8_t *)"payload", 7}, other = {(const uint8_t *)"payloae", 7};

static void signatures(void **state)
{
	struct sg_sk sk;
	struct sg_pk pk, signer, wrong;
	struct sg_sig sig, again;

	(void)state;
	sg_sk_generate(c, &sk);
	assert_int_equal(sg_pk_of(c, &sk, &pk), 0);
	assert_int_equal(sg_sign(c, &sk, payload, NULL, &sig), 0);
	assert_int_equal(sg_sign(c, &sk, payload, NULL, &again), 0);
	assert_memory_equal(&sig, &again, sizeof(sig)); /* RFC 6979 */
	assert_int_equal(sg_verify(c, &pk, payload, &sig), 0);
	assert_int_equal(sg_recover(c, payload, &sig, &signer), 0);
	assert_true(sg_pk_equal(&signer, &pk));
	assert_int_equal(sg_verify(c, &pk, other, &sig), SG_ESIG);
	assert_int_equal(sg_verify(c, &pk, (struct sg_view){0}, &sig), SG_ESIG);
	wrong = pk;
	wrong.b[0] ^= 1;
	assert_int_equal(sg_verify(c, &wrong, payload, &sig), SG_ESIG);
	memset(&wrong, 0, sizeof(wrong));
	assert_int_equal(sg_verify(c, &wrong, payload, &sig), SG_EKEY);
	assert_int_equal(sg_sign(c, &sk, (struct sg_view){0}, NULL, &sig), 0); /* of nothing */
	assert_int_equal(sg_verify(c, &pk, (struct sg_view){0}, &sig), 0);
}

/* Any recovery id of a stranger: libsecp256k1 would end the process at 4. */
static void recovery_ids(void **state)
{
	struct sg_sk sk;
	struct sg_pk pk, signer;
	struct sg_sig sig;
	unsigned accepted = 0;

	(void)state;
	sg_sk_generate(c, &sk);
	assert_int_equal(sg_pk_of(c, &sk, &pk), 0);
	assert_int_equal(sg_sign(c, &sk, payload, NULL, &sig), 0);
	assert_true(sig.b[64] < 4);
	for (unsigned id = 0; id < 256; id++) {
		sig.b[64] = (uint8_t)id;
		accepted += sg_verify(c, &pk, payload, &sig) == 0;
		if (id > 3)
			assert_int_equal(sg_recover(c, payload, &sig, &signer), SG_ESIG);
	}
	assert_int_equal(accepted, 1);
}

/* S may be anything below 2^255, R and S anything but 0 and below n. */
static void forged_numbers(void **state)
{
	struct sg_sk sk;
	struct sg_pk pk;
	struct sg_sig sig, bad;
	uint8_t n[32];

	(void)state;
	assert_int_equal(sg_hex_parse(N_HEX, 64, n, 32), 0);
	sg_sk_generate(c, &sk);
	assert_int_equal(sg_pk_of(c, &sk, &pk), 0);
	assert_int_equal(sg_sign(c, &sk, payload, NULL, &sig), 0);
	assert_true((sig.b[32] & 0x80) == 0);
	for (size_t half = 0; half < 2; half++) {
		bad = sig;
		memset(bad.b + 32 * half, 0, 32);
		assert_int_equal(sg_verify(c, &pk, payload, &bad), SG_ESIG);
		bad = sig;
		memcpy(bad.b + 32 * half, n, 32);
		assert_int_equal(sg_verify(c, &pk, payload, &bad), SG_ESIG);
		bad = sig;
		memset(bad.b + 32 * half, 0xff, 32);
		assert_int_equal(sg_verify(c, &pk, payload, &bad), SG_ESIG);
	}
	memset(&bad, 0, sizeof(bad));
	assert_int_equal(sg_verify(c, &pk, payload, &bad), SG_ESIG);
}

static void given_nonces(void **state)
{
	static const uint8_t zero[32], k[32] = {[31] = 7};
	struct sg_sk sk, none = {{0}};
	struct sg_pk pk;
	struct sg_sig a, b;
	uint8_t n[32];

	(void)state;
	assert_int_equal(sg_hex_parse(N_HEX, 64, n, 32), 0);
	sg_sk_generate(c, &sk);
	assert_int_equal(sg_pk_of(c, &sk, &pk), 0);
	assert_int_equal(sg_sign(c, &sk, payload, k, &a) | sg_sign(c, &sk, other, k, &b), 0);
	assert_memory_equal(a.b, b.b, 32); /* R depends on the nonce only */
	assert_int_equal(sg_verify(c, &pk, payload, &a), 0);
	assert_int_equal(sg_sign(c, &sk, payload, zero, &a), SG_ESIG);
	assert_int_equal(sg_sign(c, &sk, payload, n, &a), SG_ESIG);
	assert_int_equal(sg_sign(c, &none, payload, NULL, &a), SG_EKEY);
}

static void hash_of_runs(void **state)
{
	const struct sg_view whole = {(const uint8_t *)"abc", 3};
	const struct sg_view parts[] = {{whole.p, 1}, {NULL, 0}, {whole.p + 1, 2}};
	uint8_t a[32], b[32];
	char text[65];

	(void)state;
	sg_sha256(&whole, 1, a);
	sg_sha256(parts, 3, b);
	assert_memory_equal(a, b, 32);
	assert_string_equal(sg_hex_format(a, 32, text, sizeof(text)),
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sg_sha256(NULL, 0, a);
	assert_string_equal(sg_hex_format(a, 32, text, sizeof(text)),
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static bool make(void *arg)
{
	struct sg_crypto *made = sg_crypto_new(arg);
	bool ok = made != NULL;

	sg_crypto_free(made);
	return ok;
}

/* A provider that cannot be measured for lack of memory is not chosen; only the context itself is needed. */
static void out_of_memory(void **state)
{
	(void)state;
	assert_true(fake_alloc_each("crypto", make, &source.base) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(public_keys),
		cmocka_unit_test(absent_keys_in_json),
		cmocka_unit_test(secret_keys),
		cmocka_unit_test(generated_keys),
		cmocka_unit_test(shared_secrets),
		cmocka_unit_test(signatures),
		cmocka_unit_test(recovery_ids),
		cmocka_unit_test(forged_numbers),
		cmocka_unit_test(given_nonces),
		cmocka_unit_test(hash_of_runs),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
