/* JSON as the existing network writes it, and values that arrive in pieces. */
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "wire/json.h"
#include "view.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

static const char *quoted(const char *s)
{
	static char out[256];
	struct sg_text t = sg_text(out, sizeof(out));

	sg_json_text_add(&t, s);
	assert_false(t.err);
	return out;
}

/* What Go's encoding/json does with a string. */
static void escapes(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", "\"\""},
		{"plain /'`", "\"plain /'`\""},
		{"\"\\", "\"\\\"\\\\\""},
		{"\n\r\t", "\"\\n\\r\\t\""},
		{"\x01\x08\x0c\x1f\x7f", "\"\\u0001\\u0008\\u000c\\u001f\x7f\""},
		{"<a>&", "\"\\u003ca\\u003e\\u0026\""},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\"\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa\""},
		/* no UTF-8: a stray byte, one cut short, too long a form, half a pair, beyond the last character */
		{"a\x80z", "\"a\\ufffdz\""},
		{"\xc3", "\"\\ufffd\""},
		{"\xe2\x82", "\"\\ufffd\\ufffd\""},
		{"\xc0\xaf", "\"\\ufffd\\ufffd\""},
		{"\xe0\x80\xaf", "\"\\ufffd\\ufffd\\ufffd\""},
		{"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
		{"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
		{"\xf5\xff", "\"\\ufffd\\ufffd\""},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++)
		assert_string_equal(quoted(cases[i].in), cases[i].out);
}

/* A list of @n empty objects, and a string that is full of brackets and commas. */
static bool list_is_read(size_t n)
{
	static char text[4 * SG_JSON_VALUES_MAX];
	size_t len = (size_t)snprintf(text, sizeof(text), "[\"[[{{,,\\\"[[\"");
	json_t *root;
	bool read;

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ",{}");
	text[len++] = ']';
	root = sg_json_parse_peer((struct sg_view){(const uint8_t *)text, len});
	read = json_array_size(root) == n + 1;
	json_decref(root);
	return read;
}

/* An answer of a megabyte that is all braces would take a hundred of memory. */
static void too_many_values(void **state)
{
	(void)state;
	assert_true(list_is_read(SG_JSON_VALUES_MAX / 2 - 1));
	assert_false(list_is_read(SG_JSON_VALUES_MAX / 2));
	assert_false(list_is_read(SG_JSON_VALUES_MAX));
}

static bool nesting_is_read(size_t depth)
{
	uint8_t text[2 * SG_JSON_DEPTH_MAX + 2];
	json_t *root;
	bool read;

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	root = sg_json_parse_peer((struct sg_view){text, 2 * depth});
	read = root != NULL;
	json_decref(root);
	return read;
}

/* Jansson goes down 2,048 levels, by recursion. */
static void too_deep(void **state)
{
	(void)state;
	assert_true(nesting_is_read(SG_JSON_DEPTH_MAX));
	assert_false(nesting_is_read(SG_JSON_DEPTH_MAX + 1));
}

static void no_room_for_text(void **state)
{
	char out[8];
	struct sg_text t = sg_text(out, sizeof(out));

	(void)state;
	sg_json_text_add(&t, "too long by far");
	assert_true(t.err);
	assert_int_equal(strlen(out), 7);
}

static int scan(struct sg_view in, size_t max)
{
	struct sg_json_scan s = {0};

	return sg_json_scan(&s, in, max);
}

/* Every prefix of a value is "more needed", for every kind of content that could be cut. */
static void values_in_pieces(void **state)
{
	static const char *const values[] = {"{}", " \n{\"a\":[1,{\"b\":\"}]\\\"\\\\\"},true,-1.5e3,null]}",
		"{\"a\":\"\\u00e9{\",\"b\":{\"c\":[[[]]]}}"};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(values); i++) {
		size_t len = strlen(values[i]);
		struct sg_json_scan on = {0};
		json_t *root = NULL;

		for (size_t cut = 0; cut < len; cut++) {
			assert_int_equal(sg_json_scan(&on, (struct sg_view){(const uint8_t *)values[i], cut}, 100), 0);
			assert_int_equal(scan((struct sg_view){(const uint8_t *)values[i], cut}, 100), 0);
			assert_int_equal(
				sg_json_object((struct sg_view){(const uint8_t *)values[i], cut}, 100, &root), 0);
		}
		assert_int_equal(sg_json_scan(&on, view(values[i]), 100), len);
		assert_int_equal(scan(view(values[i]), len), len);
		assert_int_equal(sg_json_object(view(values[i]), 100, &root), len);
		assert_true(json_is_object(root));
		json_decref(root);
	}
}

static void what_follows_a_value(void **state)
{
	json_t *root = NULL;

	(void)state;
	assert_int_equal(sg_json_object(view("{}\nrest"), 100, &root), 3);
	json_decref(root);
	assert_int_equal(sg_json_object(view("{}\r\n"), 100, &root), 2);
	json_decref(root);
	assert_int_equal(sg_json_object(view("{}{}"), 100, &root), 2);
	json_decref(root);
}

static void no_object(void **state)
{
	static const char *const bad[] = {"[", "1", "null", "\"", "x", "}", "\v{}", "\xef\xbb\xbf{}"};
	static const char *const malformed[] = {"{]", "{\"a\"}", "{a:1}", "{\"a\":1,}", "{\"a\":tru}",
		"{\"a\":\"\x01\"}", "{\"a\":01}", "{\"a\":\"\\x\"}", "{'a':1}"};
	json_t *root = NULL;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(scan(view(bad[i]), 100), SG_EMALF);
	for (size_t i = 0; i < SG_ARRAY_LEN(malformed); i++)
		assert_int_equal(sg_json_object(view(malformed[i]), 100, &root), SG_EMALF);
	assert_null(root);
}

static void longer_than_allowed(void **state)
{
	(void)state;
	assert_int_equal(scan(view("{\"a\":1}"), 7), 7);
	assert_int_equal(scan(view("{\"a\":1}"), 6), SG_ELONG);
	assert_int_equal(scan(view("{\"a\":"), 6), 0);
	assert_int_equal(scan(view("{\"a\":"), 5), SG_ELONG);
	assert_int_equal(scan(view("     "), 5), SG_ELONG); /* white space without end */
	assert_int_equal(scan(view("{\"a\\"), 4), SG_ELONG);
	assert_int_equal(scan(view("{}"), 0), SG_ELONG);
}

/* Nested deeper than any stack: an error, not a crash. */
static void deep_values(void **state)
{
	static char deep[60000];
	json_t *root = NULL;

	(void)state;
	memset(deep, '[', sizeof(deep));
	deep[0] = '{';
	memset(deep + 1, '"', 3);
	deep[2] = 'a';
	deep[4] = ':';
	memset(deep + 5 + (sizeof(deep) - 5) / 2, ']', (sizeof(deep) - 5) / 2);
	deep[sizeof(deep) - 1] = '}';
	assert_int_equal(
		sg_json_object((struct sg_view){(uint8_t *)deep, sizeof(deep)}, sizeof(deep) + 1, &root), SG_EMALF);
}

static void whole_values(void **state)
{
	size_t used = 0;
	json_t *root;

	(void)state;
	assert_null(sg_json_parse(view("{} x"), NULL));
	assert_null(sg_json_parse(view(""), NULL));
	root = sg_json_parse(view(" 17 "), NULL);
	assert_int_equal(json_integer_value(root), 17);
	json_decref(root);
	root = sg_json_parse(view("{\"a\":1} tail"), &used);
	assert_non_null(root);
	assert_int_equal(used, 7);
	json_decref(root);
}

/* What Go reads and Jansson does not, beside a member that we do read. */
static void members_nobody_asks_for(void **state)
{
	static const char *const good[] = {"18446744073709551615", "-9223372036854775809", "1e999", "-1.5E+400",
		"123456789012345678901234567890.5", "[1,[99999999999999999999]]", "\"\\u0000\"", "\"\\ud800\"",
		"\"\\udc00\\ud83d\\ude00\\ud83dx\"", "\"\xff\xc3\"", "\"\xed\xa0\x80\"", "\"\\\\u0000\\\"1e999\"",
		"{\"y\":\"\\u0000\",\"z\":1e999}"};
	static const char *const bad[] = {"01e999", "1e", "1.e999", "99999999999999999999x", "--1e999", "\"\\u00\"",
		"\"\x01\"", "1e999,", "\"\\ud800\\x\""};
	char text[256];
	json_t *root;
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(good); i++) {
		snprintf(text, sizeof(text), "{\"x\":%s,\"port\":45}", good[i]);
		assert_int_equal(sg_json_object(view(text), sizeof(text), &root), strlen(text));
		assert_int_equal(sg_json_get_uint(root, "port", 65535, &n), 0);
		assert_true(n == 45);
		json_decref(root);
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++) {
		snprintf(text, sizeof(text), "{\"x\":%s,\"port\":45}", bad[i]);
		assert_int_equal(sg_json_object(view(text), sizeof(text), &root), SG_EMALF);
	}
}

/* In a member that is read, it is still wrong. */
static void numbers_too_large(void **state)
{
	static const char *const values[] = {"18446744073709551615", "18446744073709551616", "1e999", "4.5e1"};
	char text[256];
	json_t *root;
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(values); i++) {
		snprintf(text, sizeof(text), "{\"port\":%s}", values[i]);
		assert_true(sg_json_object(view(text), sizeof(text), &root) > 0);
		assert_int_equal(sg_json_get_uint(root, "port", 65535, &n), SG_EMALF);
		json_decref(root);
	}
}

static void members(void **state)
{
	json_t *root = sg_json_parse(view("{\"NAME\":\"upper\",\"name\":\"exact\",\"Only\":\"x\",\"n\":300,\"neg\":-1,"
					  "\"real\":1.0,\"nil\":null,"
					  "\"list\":[1]}"),
		NULL);
	struct sg_view text;
	const json_t *list;
	uint64_t n;

	(void)state;
	assert_non_null(root);
	assert_string_equal(json_string_value(sg_json_get(root, "name")), "exact");
	assert_string_equal(json_string_value(sg_json_get(root, "oNLY")), "x");
	assert_null(sg_json_get(root, "absent"));
	assert_null(sg_json_get(sg_json_get(root, "n"), "x")); /* no object */
	assert_null(sg_json_get(NULL, "x"));

	assert_int_equal(sg_json_get_text(root, "only", &text), 0);
	assert_int_equal(text.len, 1);
	assert_int_equal(sg_json_get_text(root, "nil", &text), 0);
	assert_int_equal(text.len, 0);
	assert_string_equal((const char *)text.p, "");
	assert_int_equal(sg_json_get_text(root, "absent", &text), 0);
	assert_int_equal(sg_json_get_text(root, "n", &text), SG_EMALF);

	assert_int_equal(sg_json_get_uint(root, "n", 300, &n), 0);
	assert_true(n == 300);
	assert_int_equal(sg_json_get_uint(root, "n", 299, &n), SG_EMALF);
	assert_int_equal(sg_json_get_uint(root, "neg", UINT64_MAX, &n), SG_EMALF);
	assert_int_equal(sg_json_get_uint(root, "real", 9, &n), SG_EMALF);
	assert_int_equal(sg_json_get_uint(root, "nil", 9, &n), 0);
	assert_true(n == 0);

	assert_int_equal(sg_json_get_array(root, "list", &list), 0);
	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(sg_json_get_array(root, "nil", &list), 0);
	assert_null(list);
	assert_int_equal(sg_json_get_array(root, "n", &list), SG_EMALF);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes),
		cmocka_unit_test(too_many_values),
		cmocka_unit_test(too_deep),
		cmocka_unit_test(no_room_for_text),
		cmocka_unit_test(values_in_pieces),
		cmocka_unit_test(what_follows_a_value),
		cmocka_unit_test(no_object),
		cmocka_unit_test(longer_than_allowed),
		cmocka_unit_test(deep_values),
		cmocka_unit_test(whole_values),
		cmocka_unit_test(members_nobody_asks_for),
		cmocka_unit_test(numbers_too_large),
		cmocka_unit_test(members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
