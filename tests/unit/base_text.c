/* Bounded text, numbers, addresses, and the names of errors. */
#include "base/common.h"
#include "base/err.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

static void text_is_cut_and_says_so(void **state)
{
	char buf[5] = "zzzz";
	struct sg_text t = sg_text(buf, sizeof(buf));

	(void)state;
	assert_string_equal(buf, "");
	sg_text_add(&t, "ab");
	sg_text_addf(&t, "%d", 34);
	assert_false(t.err);
	assert_int_equal(t.len, 4);
	sg_text_add(&t, "");
	assert_false(t.err);
	sg_text_add(&t, "x");
	assert_true(t.err);
	assert_string_equal(buf, "ab34");
	sg_text_add(&t, "y");
	assert_string_equal(buf, "ab34");

	t = sg_text(buf, sizeof(buf));
	sg_text_add(&t, "longer than that");
	assert_true(t.err);
	assert_string_equal(buf, "long");
	assert_int_equal(t.len, 4);

	t = sg_text(buf, 1);
	sg_text_add(&t, "x");
	assert_true(t.err);
	assert_string_equal(buf, "");
	t = sg_text(buf, 0);
	assert_true(t.err);
	sg_text_add(&t, "x");
}

static void tamed(void **state)
{
	char text[] = "a\x1b[31m\n\tb\x7f\xc2\x9b"
		      "31m\xc2\xa0\xc3\xa9\xc2",
	     same[sizeof(text)];

	(void)state;
	memcpy(same, text, sizeof(text));
	sg_text_tame(text);
	assert_string_equal(text, "a?[31m??b???31m\xc2\xa0\xc3\xa9\xc2");
	sg_text_ascii(same);
	assert_string_equal(same, "a?[31m??b???31m?????");
}

static void numbers(void **state)
{
	static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1e3", "\xd9\xa1"};
	uint64_t v;

	(void)state;
	assert_int_equal(sg_parse_u64("0", 0, &v), 0);
	assert_true(v == 0);
	assert_int_equal(sg_parse_u64("0065535", 65535, &v), 0);
	assert_true(v == 65535);
	assert_int_equal(sg_parse_u64("65536", 65535, &v), SG_ELONG);
	assert_int_equal(sg_parse_u64("18446744073709551615", UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(sg_parse_u64("18446744073709551616", UINT64_MAX, &v), SG_ELONG);
	assert_int_equal(sg_parse_u64("99999999999999999999999", UINT64_MAX, &v), SG_ELONG);
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(sg_parse_u64(bad[i], UINT64_MAX, &v), SG_EMALF);
}

static void addresses(void **state)
{
	static const char *const good[] = {"192.0.2.1:7777", "0.0.0.0:0", "[2001:db8::1]:65535", "[::]:1"};
	static const char *const bad[] = {"", "192.0.2.1", ":7777", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.256:1",
		"host:1", "2001:db8::1:7777", "[2001:db8::1]", "[]:1", "[192.0.2.1]:1", "[2001:db8::1:1",
		"192.0.2.1:-1", "[2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000:0001]:1", "[:1"};
	struct sg_addr a, b;
	char text[SG_ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(good); i++) {
		assert_int_equal(sg_addr_parse(good[i], &a), 0);
		assert_string_equal(sg_addr_str(&a, text), good[i]);
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(sg_addr_parse(bad[i], &a), SG_EMALF);
	assert_int_equal(sg_addr_parse("192.0.2.1:1", &a) | sg_addr_parse("192.0.2.1:2", &b), 0);
	assert_true(sg_addr_same_host(&a, &b));
	sg_addr_set_port(&b, 40000);
	assert_int_equal(sg_addr_port(&b), 40000);
	assert_int_equal(sg_addr_parse("192.0.2.2:1", &b), 0);
	assert_false(sg_addr_same_host(&a, &b));
	assert_int_equal(sg_addr_parse("[::ffff:192.0.2.1]:1", &b), 0);
	assert_false(sg_addr_same_host(&a, &b)); /* another family */
	assert_int_equal(sg_addr_parse("[2001:db8::1]:1", &a) | sg_addr_parse("[2001:db8::1]:9", &b), 0);
	assert_true(sg_addr_same_host(&a, &b));
	sg_addr_set_port(&a, 7);
	assert_int_equal(sg_addr_port(&a), 7);
	assert_string_equal(sg_addr_str(&(struct sg_addr){0}, text), "no address");
}

static void prefixes(void **state)
{
	static const char *const bad[] = {"172.16.0.0", "172.16.0.0/", "172.16.0.0/33", "172.16.0.1/12", "/12",
		"1.2.3/8", "172.16.0.0/1x", "0.0.0.1/0", "1111.2.3.4.5.6.7.8/8"};
	uint32_t net, ip;
	unsigned bits;
	char text[SG_IP4_TEXT];

	(void)state;
	assert_int_equal(sg_prefix4_parse("172.16.0.0/12", &net, &bits), 0);
	assert_true(net == 0xac100000U && bits == 12);
	assert_int_equal(sg_prefix4_parse("0.0.0.0/0", &net, &bits), 0);
	assert_true(net == 0 && bits == 0);
	assert_int_equal(sg_prefix4_parse("255.255.255.255/32", &net, &bits), 0);
	assert_true(net == UINT32_MAX && bits == 32);
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(sg_prefix4_parse(bad[i], &net, &bits), SG_EMALF);
	assert_int_equal(sg_ip4_parse("1.2.3.4", &ip), 0);
	assert_true(ip == 0x01020304U);
	assert_string_equal(sg_ip4_str(ip, text), "1.2.3.4");
	assert_string_equal(sg_ip4_str(UINT32_MAX, text), "255.255.255.255");
	assert_int_equal(sg_ip4_parse("1.2.3", &ip), SG_EMALF);
}

static void errors_have_names(void **state)
{
	(void)state;
	assert_string_equal(sg_errname(SG_EKEY), "SG_EKEY");
	assert_string_equal(sg_strerror(SG_EKEY), "not a valid key");
	assert_string_equal(sg_errname(-ECONNREFUSED), "ECONNREFUSED");
	assert_string_equal(sg_errname(-12345), "?");
	assert_non_null(sg_strerror(-ECONNREFUSED));
	assert_non_null(sg_strerror(-12345));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_cut_and_says_so),
		cmocka_unit_test(tamed),
		cmocka_unit_test(numbers),
		cmocka_unit_test(addresses),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(errors_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
