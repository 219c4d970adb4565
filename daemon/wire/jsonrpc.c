/* JSON-RPC 2.0, one object per line. */
#include "wire/jsonrpc.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/limits.h"

static int bad(int *code, int value, char *why, size_t cap, const char *text)
{
	*code = value;
	snprintf(why, cap, "%s", text);
	return value;
}

int sg_rpc_parse(struct sg_view line, struct sg_rpc_request *out, int *code, char *why, size_t why_cap)
{
	json_t *version, *method;

	memset(out, 0, sizeof(*out));
	if (line.len > SG_CONTROL_LINE_MAX)
		return bad(code, SG_RPC_INVALID, why, why_cap, "the request is longer than 65536 bytes");
	out->root = sg_json_parse(line, NULL);
	if (!out->root)
		return bad(code, SG_RPC_PARSE, why, why_cap, "the line is not JSON");
	if (!json_is_object(out->root))
		return bad(code, SG_RPC_INVALID, why, why_cap, "a request is one object; there are no batches");
	/* Exact names here: this is our own interface. */
	out->id = json_object_get(out->root, "id");
	if (out->id && !json_is_integer(out->id) && !json_is_string(out->id)) {
		out->id = NULL;
		return bad(code, SG_RPC_INVALID, why, why_cap, "id is neither a number nor a string");
	}
	version = json_object_get(out->root, "jsonrpc");
	if (!json_is_string(version) || strcmp(json_string_value(version), "2.0") != 0)
		return bad(code, SG_RPC_INVALID, why, why_cap, "jsonrpc is not \"2.0\"");
	method = json_object_get(out->root, "method");
	if (!json_is_string(method))
		return bad(code, SG_RPC_INVALID, why, why_cap, "method is missing");
	out->method = json_string_value(method);
	out->params = json_object_get(out->root, "params");
	if (out->params && !json_is_object(out->params))
		return bad(code, SG_RPC_INVALID, why, why_cap, "params are not an object");
	return 0;
}

void sg_rpc_request_fini(struct sg_rpc_request *r)
{
	json_decref(r->root);
	memset(r, 0, sizeof(*r));
}

static const char *type_name(enum sg_param_type t)
{
	return t == SG_PARAM_STRING ? "a string" : t == SG_PARAM_BOOL ? "true or false" : "a number, not negative";
}

static bool type_ok(const json_t *v, enum sg_param_type t)
{
	switch (t) {
	case SG_PARAM_STRING:
		return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
	case SG_PARAM_BOOL:
		return json_is_boolean(v);
	case SG_PARAM_UINT:
		return json_is_integer(v) && json_integer_value(v) >= 0;
	}
	return false;
}

int sg_rpc_check(const struct sg_method_row *row, json_t *params, char *why, size_t why_cap)
{
	const char *name;
	json_t *value;

	for (const struct sg_param *p = row->params; p && p->name; p++) {
		value = json_object_get(params, p->name);
		if (!value && p->required) {
			snprintf(why, why_cap, "%s: parameter %s is missing: %s", row->name, p->name, p->help);
			return SG_RPC_PARAMS;
		}
		if (value && !type_ok(value, p->type)) {
			snprintf(why, why_cap, "%s: parameter %s is not %s", row->name, p->name, type_name(p->type));
			return SG_RPC_PARAMS;
		}
	}
	json_object_foreach(params, name, value)
	{
		const struct sg_param *p = row->params;

		while (p && p->name && strcmp(p->name, name) != 0)
			p++;
		if (!p || !p->name) {
			snprintf(why, why_cap, "%s: unknown parameter '%.40s'", row->name, name);
			return SG_RPC_PARAMS;
		}
	}
	return 0;
}

/* Takes @obj. */
static char *line_of(json_t *obj)
{
	struct sg_json_out out = {.max = SIZE_MAX};

	sg_json_put_value(&out, NULL, obj);
	sg_json_raw(&out, "\n", 1);
	json_decref(obj);
	return sg_json_take(&out);
}

char *sg_rpc_result(json_t *id, json_t *result)
{
	return line_of(json_pack("{s:s, s:O?, s:O?}", "jsonrpc", "2.0", "id", id, "result", result));
}

struct sg_json_out sg_rpc_answer(const json_t *id, size_t max)
{
	struct sg_json_out out = {.max = max};

	sg_json_open(&out, NULL, '{');
	sg_json_put_text(&out, "jsonrpc", "2.0");
	if (id)
		sg_json_put_value(&out, "id", id);
	else
		sg_json_put_null(&out, "id");
	sg_json_open(&out, "result", '{');
	return out;
}

char *sg_rpc_answered(struct sg_json_out *out)
{
	sg_json_raw(out, "}}\n", 3);
	return sg_json_take(out);
}

char *sg_rpc_error(json_t *id, int code, const char *message)
{
	return line_of(json_pack(
		"{s:s, s:O?, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error", "code", code, "message", message));
}

char *sg_rpc_call(int id, const char *method, json_t *params)
{
	return line_of(
		json_pack("{s:s, s:i, s:s, s:O*}", "jsonrpc", "2.0", "id", id, "method", method, "params", params));
}

char *sg_rpc_notify(const char *method, json_t *params)
{
	return line_of(json_pack("{s:s, s:s, s:O*}", "jsonrpc", "2.0", "method", method, "params", params));
}
