/* JSON written into a text, beside what Jansson writes of the same values. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/alloc.h"
#include "wire/jsonout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* after the others */
#include <cmocka.h>

#define MAX 1000000

/* Takes @tree. */
static void same(struct sg_json_out *o, json_t *tree)
{
	char *text = sg_json_take(o), *want = json_dumps(tree, JSON_COMPACT | JSON_ENCODE_ANY);

	assert_non_null(text);
	assert_string_equal(text, want);
	assert_int_equal(o->err, 0);
	sg_free(text);
	sg_free(want);
	json_decref(tree);
}

static void members_and_elements(void **state)
{
	struct sg_json_out o = {.max = MAX};
	struct sg_pk pk;
	char hex[SG_PK_TEXT];
	json_t *inner = json_pack("{s:[i,s]}", "k", 1, "v");

	(void)state;
	for (size_t i = 0; i < sizeof(pk.b); i++)
		pk.b[i] = (uint8_t)(7 * i);
	sg_json_open(&o, NULL, '{');
	sg_json_open(&o, "none", '[');
	sg_json_close(&o, ']');
	sg_json_open(&o, "list", '[');
	sg_json_put_int(&o, NULL, 1);
	sg_json_open(&o, NULL, '{');
	sg_json_put_bool(&o, "yes", true);
	sg_json_put_bool(&o, "no", false);
	sg_json_close(&o, '}');
	sg_json_put_text(&o, NULL, "x");
	sg_json_close(&o, ']');
	sg_json_put_null(&o, "null");
	sg_json_put_pk(&o, "pk", &pk);
	sg_json_put_value(&o, "tree", inner);
	sg_json_close(&o, '}');
	same(&o, json_pack("{s:[], s:[i, {s:b, s:b}, s], s:n, s:s, s:o}", "none", "list", 1, "yes", 1, "no", 0, "x",
			 "null", "pk", sg_pk_str(&pk, hex), "tree", inner));
}

static void numbers(void **state)
{
	static const int64_t cases[] = {0, 1, -1, 9, 10, 99, -100, 123456789, UINT32_MAX - 1LL, UINT32_MAX,
		UINT32_MAX + 1LL, 10000000000LL, 1000000000000000000LL, INT64_MAX - 1, INT64_MAX, INT64_MIN,
		INT64_MIN + 1};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++) {
		struct sg_json_out o = {.max = MAX};

		sg_json_put_int(&o, NULL, cases[i]);
		same(&o, json_integer(cases[i]));
	}
}

/* Every byte in every place of a few, and what is no UTF-8 as it was answered before: without a byte beyond ASCII. */
static void texts(void **state)
{
	static const struct {
		const char *in, *out;
	} broken[] = {
		{"a\x80z", "\"a?z\""},
		{"\xc3\xa9 \xff\n", "\"?? ?\\n\""},
		{"\xed\xa0\x80", "\"???\""},
		{"\xe2\x82", "\"??\""},
	};
	char s[] = "a?b";

	(void)state;
	for (int c = 1; c < 0x80; c++) {
		struct sg_json_out o = {.max = MAX};

		s[1] = (char)c;
		sg_json_put_text(&o, NULL, s);
		same(&o, json_string(s));
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(broken); i++) {
		struct sg_json_out o = {.max = MAX};
		char *text;

		sg_json_put_text(&o, NULL, broken[i].in);
		text = sg_json_take(&o);
		assert_string_equal(text, broken[i].out);
		sg_free(text);
	}
	for (size_t i = 0; i < 2; i++) {
		const char *good = i ? "" : "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xe2\x80\xa8 \"\\/\x7f";
		struct sg_json_out o = {.max = MAX};

		sg_json_put_text(&o, NULL, good);
		same(&o, json_string(good));
	}
}

static void longer_than_allowed(void **state)
{
	(void)state;
	for (size_t max = 0; max < 12; max++) {
		struct sg_json_out o = {.max = max};
		char *text;

		sg_json_open(&o, NULL, '[');
		sg_json_put_text(&o, NULL, "12");
		sg_json_put_int(&o, NULL, 345);
		sg_json_close(&o, ']');
		sg_json_raw(&o, "\n", 1);
		text = sg_json_take(&o);
		assert_int_equal(o.err, max < 11 ? SG_ELONG : 0);
		assert_true((text != NULL) == (max >= 11));
		if (text)
			assert_string_equal(text, "[\"12\",345]\n");
		sg_free(text);
	}
}

/* Trees: every kind of value, keys that need escapes, nothing in them. */
static void trees(void **state)
{
	static const char escapes[] = "{\"k\\n\\\"\":\"v\\t\\u0001\",\"\":[false,{\"\xc3\xa9\":\"\xe2\x82\xac\"}]}";
	static const char *const cases[] = {"{}", "[]", "null", "true", "[[],{},[[]],{\"a\":{}}]", "\"\"", "-7",
		"[1.5,-2e300,0.0,9007199254740993]", escapes};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++) {
		json_t *tree = json_loads(cases[i], JSON_DECODE_ANY, NULL);
		struct sg_json_out o = {.max = MAX};

		assert_non_null(tree);
		sg_json_put_value(&o, NULL, tree);
		same(&o, tree);
	}
}

/* An error stays, whatever else is put. */
static bool much_is_put(void *arg)
{
	struct sg_json_out o = {.max = MAX};
	char *text;

	sg_json_open(&o, NULL, '[');
	for (size_t i = 0; i < 1000; i++)
		sg_json_put_text(&o, NULL, "a text that is a little longer than others");
	sg_json_put_value(&o, NULL, arg);
	sg_json_close(&o, ']');
	text = sg_json_take(&o);
	assert_int_equal(o.err, text ? 0 : -ENOMEM);
	assert_true((text != NULL) == !fake_alloc_failed());
	sg_free(text);
	return text != NULL;
}

static void memory_is_out(void **state)
{
	json_t *tree = json_pack("[i]", 1);

	(void)state;
	assert_true(fake_alloc_each("text", much_is_put, tree) > 4);
	json_decref(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_and_elements),
		cmocka_unit_test(numbers),
		cmocka_unit_test(texts),
		cmocka_unit_test(trees),
		cmocka_unit_test(longer_than_allowed),
		cmocka_unit_test(memory_is_out),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("jsonout", tests, NULL, NULL);
}
