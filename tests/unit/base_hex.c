/* Keys and ids as text. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

static void both_ways(void **state)
{
	static const uint8_t in[] = {0x00, 0x0f, 0xa5, 0xff};
	uint8_t out[4];
	char text[9];

	(void)state;
	assert_string_equal(sg_hex_format(in, sizeof(in), text, sizeof(text)), "000fa5ff");
	assert_int_equal(sg_hex_parse("000FA5ff", 8, out, 4), 0);
	assert_memory_equal(in, out, 4);
	assert_string_equal(sg_hex_format(in, 0, text, sizeof(text)), "");
	assert_int_equal(sg_hex_parse("", 0, out, 0), 0);
}

static void no_room(void **state)
{
	static const uint8_t in[4] = {1};
	char text[9] = "xxxxxxxx";

	(void)state;
	assert_string_equal(sg_hex_format(in, 4, text, 8), "");
	text[0] = 'x';
	sg_hex_format(in, 4, text, 0);
	assert_int_equal(text[0], 'x');
}

static void wrong_text(void **state)
{
	static const char *const bad[] = {"0", "0g", "g0", "0x", " 0", "0 ", "/0", ":0", "@0", "`0", "00000"};
	uint8_t out[2];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(sg_hex_parse(bad[i], strlen(bad[i]), out, 1), SG_EMALF);
	assert_int_equal(sg_hex_parse("000", 3, out, 1), SG_EMALF);
	assert_int_equal(sg_hex_parse("0000", 4, out, 1), SG_EMALF);
	assert_int_equal(sg_hex_parse("00", 2, out, 2), SG_EMALF);
}

static void keys_for_people(void **state)
{
	struct sg_pk pk = {{0x02, 0x72, 0x7b, 0xc7, [31] = 0xed, [32] = 0x5f}}, null = {{0}};
	char full[SG_PK_TEXT], text[SG_PK_SHORT];

	(void)state;
	assert_int_equal(strlen(sg_pk_str(&pk, full)), 66);
	assert_string_equal(sg_pk_short(&pk, text), "02727bc7\xe2\x80\xa6"
						    "ed5f");
	assert_true(sg_pk_is_null(&null));
	assert_false(sg_pk_is_null(&pk));
	assert_true(sg_pk_equal(&pk, &pk));
	assert_true(sg_pk_cmp(&null, &pk) < 0);
	assert_true(sg_pk_cmp(&pk, &null) > 0);
	assert_int_equal(sg_pk_cmp(&pk, &pk), 0);
}

static void transport_ids(void **state)
{
	static const char good[] = "4c6fd8e8-86c8-08db-b4d9-47e980b19da0";
	static const char *const bad[] = {"", "4c6fd8e886c808dbb4d947e980b19da0", "4c6fd8e8-86c8-08db-b4d9-47e980b19da",
		"4c6fd8e8-86c8-08db-b4d9-47e980b19da00", "4c6fd8e88-6c8-08db-b4d9-47e980b19da0",
		"4c6fd8e8-86c8-08db-b4d9-47e980b19dag", "{4c6fd8e8-86c8-08db-b4d9-47e980b19da}"};
	struct sg_tpid id;
	char text[SG_TPID_TEXT];

	(void)state;
	assert_int_equal(sg_tpid_parse(good, strlen(good), &id), 0);
	assert_int_equal(id.b[0], 0x4c);
	assert_int_equal(id.b[15], 0xa0);
	assert_string_equal(sg_tpid_str(&id, text), good);
	assert_int_equal(sg_tpid_parse("4C6FD8E8-86C8-08DB-B4D9-47E980B19DA0", 36, &id), 0);
	assert_string_equal(sg_tpid_str(&id, text), good);
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(sg_tpid_parse(bad[i], strlen(bad[i]), &id), SG_EMALF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways),
		cmocka_unit_test(no_room),
		cmocka_unit_test(wrong_text),
		cmocka_unit_test(keys_for_people),
		cmocka_unit_test(transport_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
