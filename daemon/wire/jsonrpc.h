/* JSON-RPC 2.0 over the control socket: one object per line, at most SG_CONTROL_LINE_MAX bytes, no batches. */
#ifndef SG_WIRE_JSONRPC_H
#define SG_WIRE_JSONRPC_H

#include "wire/jsonout.h"
#include "wire/methods.h"

enum {
	SG_RPC_PARSE = -32700,
	SG_RPC_INVALID = -32600,
	SG_RPC_NO_METHOD = -32601,
	SG_RPC_PARAMS = -32602,
	SG_RPC_INTERNAL = -32603,
	SG_RPC_FAILED = -32000, /* the thing failed; message is a sentence */
	SG_RPC_FORBIDDEN = -32001
};

struct sg_rpc_request {
	json_t *root;       /* owned; sg_rpc_request_fini */
	json_t *id;         /* borrowed from root; NULL: a notification */
	const char *method; /* borrowed */
	json_t *params;     /* borrowed; an object or NULL */
};

SG_BEGIN_DECLS

/** sg_rpc_parse - one line. 0, or one of the codes above as *code with a sentence in @why; then only id may be set. */
int sg_rpc_parse(struct sg_view line, struct sg_rpc_request *out, int *code, char *why, size_t why_cap);
void sg_rpc_request_fini(struct sg_rpc_request *r);
/** sg_rpc_check - the parameters (an object) against the row: 0, or SG_RPC_PARAMS with a sentence in @why. */
int sg_rpc_check(const struct sg_method_row *row, json_t *params, char *why, size_t why_cap);
/** sg_rpc_result / sg_rpc_error - one line with its newline (sg_free). NULL: memory is out. @id NULL: null. Borrows. */
char *sg_rpc_result(json_t *id, json_t *result);
char *sg_rpc_error(json_t *id, int code, const char *message);
/**
 * sg_rpc_answer - the line of sg_rpc_result up to the first member of its result, which then are put there (wire/jsonout.h), and
 * sg_rpc_answered its end (sg_free). NULL: an error of @out. At most @max bytes. Borrows.
 */
struct sg_json_out sg_rpc_answer(const json_t *id, size_t max);
char *sg_rpc_answered(struct sg_json_out *out);
/** sg_rpc_call - a request line (sg_free). */
char *sg_rpc_call(int id, const char *method, json_t *params);
/** sg_rpc_notify - a line that wants no answer (sg_free): what a subscription brings. */
char *sg_rpc_notify(const char *method, json_t *params);

SG_END_DECLS
#endif
