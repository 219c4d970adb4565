/*
 * The handshake in clear: frames that arrive in pieces, written by others in their own way, longer than allowed, with
 * values out of range. Recorded frames are in tests/data/transports.json.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/alloc.h"
#include "fake/random.h"
#include "wire/stcp.h"
#include "view.h"

#include <ctype.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

static struct fake_random source;
static struct sg_crypto *c;
static struct sg_sk sk;
static struct sg_stcp_f2 f2;
static char line[SG_STCP_LINE_MAX];
static int line_len;

static int setup(void **state)
{
	struct sg_sk other;

	(void)state;
	json_set_alloc_funcs(sg_malloc, sg_free);
	fake_random_init(&source);
	c = sg_crypto_new(&source.base);
	if (!c)
		return -1;
	sg_sk_generate(c, &sk);
	sg_sk_generate(c, &other);
	f2 = (struct sg_stcp_f2){.src_port = 49153, .dst_port = SG_STCP_TP_PORT, .nonce = {1, 0, 255}};
	if (sg_pk_of(c, &sk, &f2.src) < 0 || sg_pk_of(c, &other, &f2.dst) < 0)
		return -1;
	line_len = sg_stcp_f2_encode(c, &sk, NULL, &f2, line, sizeof(line));
	return line_len > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	sg_crypto_free(c);
	return 0;
}

static void nonces(void **state)
{
	static const struct {
		const char *in;
		uint8_t first, last;
		int used; /* 0: all of it */
	} good[] = {
		{"{\"Nonce\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,255]}\n", 1, 255, 0},
		{"{\"nonce\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,\"x\"]}", 1, 16, 0}, /* surplus ignored */
		{" { \"NONCE\" : [ 7 ] , \"more\":{} }\n", 7, 0, 0},                         /* the rest is zero */
		{"{\"Nonce\":null}", 0, 0, 0},
		{"{\"Nonce\":[null,1]}", 0, 0, 0},
		{"{}\nabc", 0, 0, 3},
	};
	static const char *const bad[] = {"{\"Nonce\":[256]}", "{\"Nonce\":[-1]}", "{\"Nonce\":[1.5]}",
		"{\"Nonce\":[\"1\"]}", "{\"Nonce\":\"AQ==\"}", "{\"Nonce\":{}}", "[1]", "nonce"};
	uint8_t nonce[SG_STCP_NONCE];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(good); i++) {
		int want = good[i].used ? good[i].used : (int)strlen(good[i].in);

		memset(nonce, 0xee, sizeof(nonce));
		assert_int_equal(sg_stcp_f1_decode(view(good[i].in), nonce), want);
		assert_int_equal(nonce[0], good[i].first);
		assert_int_equal(nonce[15], good[i].last);
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(sg_stcp_f1_decode(view(bad[i]), nonce), SG_EMALF);
}

static void nonce_line(void **state)
{
	static const uint8_t shortest[SG_STCP_NONCE], longest[SG_STCP_NONCE] = {255, 255, 255, 255, 255, 255, 255, 255,
							      255, 255, 255, 255, 255, 255, 255, 255};
	char out[80];

	(void)state;
	assert_int_equal(sg_stcp_f1_encode(shortest, out, sizeof(out)), 44);
	assert_string_equal(out, "{\"Nonce\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}\n");
	assert_int_equal(sg_stcp_f1_encode(longest, out, sizeof(out)), 76);
	assert_int_equal(sg_stcp_f1_encode(longest, out, 77), 76);
	assert_int_equal(sg_stcp_f1_encode(longest, out, 76), SG_ELONG);
	assert_int_equal(sg_stcp_f1_encode(longest, out, 0), SG_ELONG);
}

static void f2_in_pieces(void **state)
{
	struct sg_stcp_f2 got;

	(void)state;
	for (int cut = 0; cut < line_len - 1; cut++)
		assert_int_equal(sg_stcp_f2_decode(c, (struct sg_view){(uint8_t *)line, (size_t)cut}, &got), 0);
	/* Without its newline it is whole. */
	assert_int_equal(
		sg_stcp_f2_decode(c, (struct sg_view){(uint8_t *)line, (size_t)line_len - 1}, &got), line_len - 1);
	assert_int_equal(sg_stcp_f2_decode(c, view(line), &got), line_len);
	assert_memory_equal(&got.src, &f2.src, sizeof(got.src));
	assert_memory_equal(&got.dst, &f2.dst, sizeof(got.dst));
	assert_int_equal(got.src_port, 49153);
	assert_int_equal(got.dst_port, 45);
	assert_int_equal(sg_stcp_f2_verify(c, &got, f2.nonce), 0);
}

/* Verified is what was meant, not how it was written. */
static void f2_in_other_words(void **state)
{
	char text[SG_STCP_LINE_MAX], src[SG_PK_TEXT], dst[SG_PK_TEXT], sig[2 * SG_SIG_LEN + 1];
	struct sg_stcp_f2 got;

	(void)state;
	sg_hex_format(f2.sig.b, SG_SIG_LEN, sig, sizeof(sig));
	for (size_t i = 0; sig[i]; i++)
		sig[i] = (char)toupper((unsigned char)sig[i]);
	snprintf(text, sizeof(text),
		"{\"SIG\" : \"%s\", \"unknown\":[{}], "
		"\"nonce\":[1,0,255],\n\"dstaddr\":{\"PORT\":45,\"public_key\":\"%s\"},"
		"\"SrcAddr\":{\"Public_Key\":\"%s\",\"x\":1,\"port\":49153}}",
		sig, sg_pk_str(&f2.dst, dst), sg_pk_str(&f2.src, src));
	assert_int_equal(sg_stcp_f2_decode(c, view(text), &got), strlen(text));
	assert_int_equal(sg_stcp_f2_verify(c, &got, f2.nonce), 0);
}

static void f2_changed(void **state)
{
	uint8_t nonce[SG_STCP_NONCE];
	struct sg_stcp_f2 bad;

	(void)state;
	memcpy(nonce, f2.nonce, sizeof(nonce));
	nonce[15] ^= 1;
	assert_int_equal(sg_stcp_f2_verify(c, &f2, nonce), SG_ESIG);
	bad = f2;
	bad.nonce[15] ^= 1; /* as sent, but not as signed */
	assert_int_equal(sg_stcp_f2_verify(c, &bad, bad.nonce), SG_ESIG);
	bad = f2;
	bad.src_port++;
	assert_int_equal(sg_stcp_f2_verify(c, &bad, f2.nonce), SG_ESIG);
	bad = f2;
	bad.dst_port++;
	assert_int_equal(sg_stcp_f2_verify(c, &bad, f2.nonce), SG_ESIG);
	bad = f2;
	bad.dst = f2.src;
	assert_int_equal(sg_stcp_f2_verify(c, &bad, f2.nonce), SG_ESIG);
	bad = f2;
	bad.src = f2.dst;
	assert_int_equal(sg_stcp_f2_verify(c, &bad, f2.nonce), SG_ESIG);
	bad = f2;
	memset(&bad.src, 0, sizeof(bad.src)); /* nobody signed */
	assert_int_equal(sg_stcp_f2_verify(c, &bad, f2.nonce), SG_ESIG);
	bad = f2;
	memset(&bad.sig, 0, sizeof(bad.sig));
	assert_int_equal(sg_stcp_f2_verify(c, &bad, f2.nonce), SG_ESIG);
	bad = f2;
	bad.sig.b[64] = 200;
	assert_int_equal(sg_stcp_f2_verify(c, &bad, f2.nonce), SG_ESIG);
}

static void f2_out_of_range(void **state)
{
	static const struct {
		const char *in;
		int want;
	} cases[] = {
		{"{\"SrcAddr\":{\"port\":65536}}", SG_EMALF},
		{"{\"SrcAddr\":{\"port\":-1}}", SG_EMALF},
		{"{\"SrcAddr\":{\"port\":\"45\"}}", SG_EMALF},
		{"{\"SrcAddr\":\"x\"}", SG_EMALF},
		{"{\"SrcAddr\":{\"public_key\":7}}", SG_EMALF},
		{"{\"SrcAddr\":{\"public_key\":\"02\"}}", SG_EKEY},
		{"{\"DstAddr\":{\"public_key\":\"zz\"}}", SG_EKEY},
		{"{\"Sig\":\"00\"}", SG_EMALF},
		{"{\"Sig\":1}", SG_EMALF},
		{"{\"Nonce\":7}", SG_EMALF},
	};
	struct sg_stcp_f2 got;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++)
		assert_int_equal(sg_stcp_f2_decode(c, view(cases[i].in), &got), cases[i].want);
	assert_true(sg_stcp_f2_decode(c, view("{}"), &got) > 0);
	assert_true(sg_pk_check(c, &got.src) < 0);
	assert_int_equal(sg_stcp_f2_verify(c, &got, got.nonce), SG_ESIG);
}

static void longer_than_allowed(void **state)
{
	static char text[SG_STCP_LINE_MAX + 10];
	uint8_t nonce[SG_STCP_NONCE];
	struct sg_stcp_f3 f3;

	(void)state;
	memset(text, ' ', sizeof(text) - 1);
	text[0] = '{';
	text[SG_STCP_LINE_MAX - 1] = '}';
	assert_int_equal(
		sg_stcp_f1_decode((struct sg_view){(uint8_t *)text, SG_STCP_LINE_MAX}, nonce), SG_STCP_LINE_MAX);
	assert_int_equal(sg_stcp_f1_decode((struct sg_view){(uint8_t *)text, SG_STCP_LINE_MAX - 1}, nonce), 0);
	text[SG_STCP_LINE_MAX - 1] = ' ';
	assert_int_equal(sg_stcp_f1_decode((struct sg_view){(uint8_t *)text, SG_STCP_LINE_MAX}, nonce), SG_ELONG);
	assert_int_equal(sg_stcp_f3_decode((struct sg_view){(uint8_t *)text, sizeof(text)}, &f3), SG_ELONG);
}

static void verdicts(void **state)
{
	struct sg_stcp_f3 f3 = {.ok = true}, got;
	char out[SG_STCP_LINE_MAX], long_text[600];

	(void)state;
	assert_int_equal(sg_stcp_f3_encode(&f3, out, sizeof(out)), 24);
	assert_string_equal(out, "{\"OK\":true,\"ErrMsg\":\"\"}\n");
	assert_int_equal(sg_stcp_f3_decode(view("{\"ok\":false,\"errmsg\":\"no \\u003c\"}"), &got), 33);
	assert_false(got.ok);
	assert_string_equal(got.err, "no <");
	assert_int_equal(sg_stcp_f3_decode(view("{}"), &got), 2);
	assert_false(got.ok);
	assert_int_equal(sg_stcp_f3_decode(view("{\"OK\":1}"), &got), SG_EMALF);
	assert_int_equal(sg_stcp_f3_decode(view("{\"ErrMsg\":1}"), &got), SG_EMALF);
	snprintf(long_text, sizeof(long_text), "{\"OK\":false,\"ErrMsg\":\"%0300d\"}", 7);
	assert_int_equal(sg_stcp_f3_decode(view(long_text), &got), strlen(long_text));
	assert_int_equal(strlen(got.err), sizeof(got.err) - 1);
	/* The longest reason, all of it escaped, still fits a line. */
	memset(f3.err, '<', sizeof(f3.err) - 1);
	assert_true(sg_stcp_f3_encode(&f3, out, sizeof(out)) > 0);
}

static bool exchange(void *arg)
{
	struct sg_stcp_f2 got;
	struct sg_stcp_f3 f3;
	uint8_t nonce[SG_STCP_NONCE];

	(void)arg;
	return sg_stcp_f1_decode(view("{\"Nonce\":[1,0,255]}\n"), nonce) > 0 &&
	       sg_stcp_f2_decode(c, view(line), &got) > 0 && sg_stcp_f2_verify(c, &got, nonce) == 0 &&
	       sg_stcp_f3_decode(view("{\"OK\":true,\"ErrMsg\":\"\"}\n"), &f3) > 0 && f3.ok;
}

static void out_of_memory(void **state)
{
	(void)state;
	assert_true(fake_alloc_each("stcp frames", exchange, NULL) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nonces),
		cmocka_unit_test(nonce_line),
		cmocka_unit_test(f2_in_pieces),
		cmocka_unit_test(f2_in_other_words),
		cmocka_unit_test(f2_changed),
		cmocka_unit_test(f2_out_of_range),
		cmocka_unit_test(longer_than_allowed),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
