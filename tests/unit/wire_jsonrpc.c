/* JSON-RPC lines: what is taken, what is refused with which code, and that our own lines are read back. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "wire/jsonrpc.h"
#include "view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct {
	const char *line;
	int code;
	const char *why;
} bad[] = {
	{"", SG_RPC_PARSE, "the line is not JSON"},
	{"{", SG_RPC_PARSE, "the line is not JSON"},
	{"{} {}", SG_RPC_PARSE, "the line is not JSON"},
	{"[]", SG_RPC_INVALID, "a request is one object; there are no batches"},
	{"7", SG_RPC_INVALID, "a request is one object; there are no batches"},
	{"{}", SG_RPC_INVALID, "jsonrpc is not \"2.0\""},
	{"{\"jsonrpc\":2.0}", SG_RPC_INVALID, "jsonrpc is not \"2.0\""},
	{"{\"jsonrpc\":\"2.0\"}", SG_RPC_INVALID, "method is missing"},
	{"{\"jsonrpc\":\"2.0\",\"method\":1}", SG_RPC_INVALID, "method is missing"},
	{"{\"jsonrpc\":\"2.0\",\"METHOD\":\"a\"}", SG_RPC_INVALID, "method is missing"},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":[1]}", SG_RPC_INVALID, "params are not an object"},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":{}}", SG_RPC_INVALID, "id is neither a number nor a string"},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"id\":1.5}", SG_RPC_INVALID, "id is neither a number nor a string"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++) {
		struct sg_rpc_request r;
		int code = 0;
		char why[128] = "";

		assert_int_not_equal(sg_rpc_parse(view(bad[i].line), &r, &code, why, sizeof(why)), 0);
		assert_int_equal(code, bad[i].code);
		assert_string_equal(why, bad[i].why);
		sg_rpc_request_fini(&r);
	}
}

static void test_id_survives_an_error(void **state)
{
	struct sg_rpc_request r;
	int code;
	char why[128];

	(void)state;
	assert_int_not_equal(sg_rpc_parse(view("{\"id\":\"x\",\"jsonrpc\":\"1\"}"), &r, &code, why, sizeof(why)), 0);
	assert_string_equal(json_string_value(r.id), "x");
	sg_rpc_request_fini(&r);
}

static void test_too_long(void **state)
{
	struct sg_rpc_request r;
	int code = 0;
	char why[128];
	char *line = malloc(SG_CONTROL_LINE_MAX + 1);

	(void)state;
	memset(line, ' ', SG_CONTROL_LINE_MAX + 1);
	assert_int_not_equal(
		sg_rpc_parse((struct sg_view){(uint8_t *)line, SG_CONTROL_LINE_MAX + 1}, &r, &code, why, sizeof(why)),
		0);
	assert_int_equal(code, SG_RPC_INVALID);
	assert_non_null(strstr(why, "longer than"));
	/* Depth: Jansson ends at 2048, long before the stack does. */
	memset(line, '[', SG_CONTROL_LINE_MAX);
	assert_int_not_equal(
		sg_rpc_parse((struct sg_view){(uint8_t *)line, SG_CONTROL_LINE_MAX}, &r, &code, why, sizeof(why)), 0);
	assert_int_equal(code, SG_RPC_PARSE);
	free(line);
}

static void test_call(void **state)
{
	struct sg_rpc_request r;
	json_t *params = json_pack("{s:b}", "open", 1);
	int code;
	char why[128];
	char *line = sg_rpc_call(7, "vpn.stop", params);

	(void)state;
	assert_string_equal(
		line, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"vpn.stop\",\"params\":{\"open\":true}}\n");
	assert_int_equal(sg_rpc_parse(view(line), &r, &code, why, sizeof(why)), 0);
	assert_string_equal(r.method, "vpn.stop");
	assert_int_equal(json_integer_value(r.id), 7);
	assert_true(json_is_true(json_object_get(r.params, "open")));
	sg_rpc_request_fini(&r);
	sg_free(line);
	json_decref(params);
	line = sg_rpc_call(8, "visor.status", NULL);
	assert_string_equal(line, "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"visor.status\"}\n");
	sg_free(line);
}

static void test_answers(void **state)
{
	json_t *id = json_integer(3), *result = json_pack("[i]", 1);
	char *line = sg_rpc_result(id, result);

	(void)state;
	assert_string_equal(line, "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":[1]}\n");
	sg_free(line);
	line = sg_rpc_error(id, SG_RPC_FAILED, "a \"sentence\"\nand a second line");
	assert_string_equal(line, "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-32000,"
				  "\"message\":\"a \\\"sentence\\\"\\nand a second line\"}}\n");
	sg_free(line);
	line = sg_rpc_error(NULL, SG_RPC_PARSE, "x");
	assert_string_equal(line, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"x\"}}\n");
	sg_free(line);
	line = sg_rpc_notify("log.line", result);
	assert_string_equal(line, "{\"jsonrpc\":\"2.0\",\"method\":\"log.line\",\"params\":[1]}\n");
	sg_free(line);
	json_decref(id);
	json_decref(result);
}

/* The same line as of a tree, and none when it is too long. */
static void test_answer_in_parts(void **state)
{
	json_t *id = json_string("a\"b"), *result = json_pack("{s:[i]}", "list", 1);

	(void)state;
	for (size_t max = 50; max < 60; max++) {
		struct sg_json_out out = sg_rpc_answer(id, max);
		char *line = sg_rpc_result(id, result), *text;

		sg_json_open(&out, "list", '[');
		sg_json_put_int(&out, NULL, 1);
		sg_json_close(&out, ']');
		text = sg_rpc_answered(&out);
		if (strlen(line) <= max)
			assert_string_equal(text, line);
		else
			assert_null(text);
		assert_int_equal(out.err, text ? 0 : SG_ELONG);
		sg_free(text);
		sg_free(line);
	}
	json_decref(id);
	json_decref(result);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_id_survives_an_error),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_answer_in_parts),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
