/* A line of the control socket: what is taken for a request can be answered, and what is not says why. */
#include "base/alloc.h"
#include "base/common.h"
#include "fuzz.h"
#include "wire/jsonrpc.h"
#include "wire/methods.h"

static void read_back(char *line)
{
	size_t len;
	json_t *obj;

	must(line);
	len = strlen(line);
	must(len > 2 && line[len - 1] == '\n' && !memchr(line, '\n', len - 1));
	obj = sg_json_parse((struct sg_view){(const uint8_t *)line, len}, NULL);
	must(json_is_object(obj));
	json_decref(obj);
	sg_free(line);
}

/* As core does before it calls anybody; and every method, so that the name need not be guessed for each. */
static void check(const struct sg_rpc_request *r)
{
	const struct sg_method_row *named = sg_method_find(r->method);
	char why[160];

	must(!named || strcmp(named->name, r->method) == 0);
	for (const struct sg_method_row *m = sg_methods(); r->params && m->name; m++) {
		why[0] = '\0';
		if (sg_rpc_check(m, r->params, why, sizeof(why)) != 0)
			must(why[0]);
		else
			must(json_object_size(r->params) <= 3);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_rpc_request r;
	char why[160] = "";
	int code = 0;

	if (sg_rpc_parse((struct sg_view){data, size}, &r, &code, why, sizeof(why)) != 0) {
		must(code < 0 && why[0]);
		read_back(sg_rpc_error(r.id, code, why));
	} else {
		must(r.method && (!r.params || json_is_object(r.params)));
		check(&r);
		read_back(sg_rpc_result(r.id, r.params));
		if (r.params)
			read_back(sg_rpc_call(1, r.method, r.params));
	}
	sg_rpc_request_fini(&r);
	return 0;
}
