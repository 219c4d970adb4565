/*
 * routing.json: remote calls. Every recorded stream is read by one reader, and what our side of it would send is written
 * again with the recorded type ids and compared byte for byte.
 */
#include "base/common.h"
#include "base/err.h"
#include "run.h"
#include "wire/rpc.h"

#include <inttypes.h>
#include <stdlib.h>

/* The ids that a recorded stream gives its types, by what the definitions say. */
static void ids_of(struct sg_view in, struct sg_rpc_out *o)
{
	static const struct {
		const char *name;
		enum sg_rpc_type type;
	} names[] = {{"Request", SG_RPC_T_REQUEST}, {"Response", SG_RPC_T_RESPONSE}, {"EdgeRules", SG_RPC_T_EDGE},
		{"RouteDescriptor", SG_RPC_T_DESC}, {"BidirectionalRoute", SG_RPC_T_ROUTE},
		{"[]routing.Hop", SG_RPC_T_HOPS}, {"Hop", SG_RPC_T_HOP}, {"UUID", SG_RPC_T_UUID},
		{"PubKey", SG_RPC_T_PK}};
	struct sg_view message;
	int used;

	sg_rpc_out_init(o, 1000);
	while ((used = sg_gob_frame(in, &message)) > 0) {
		struct sg_reader r = sg_reader(message);
		int64_t id = sg_gob_read_int(&r);

		in.p += used;
		in.len -= (size_t)used;
		if (id >= 0)
			continue;
		/* kind | common part: name, or id at once */
		uint8_t kind = sg_read_u8(&r), common = sg_read_u8(&r), field = sg_read_u8(&r);

		if (common != 1)
			continue;
		if (field == 2 && kind == 2)
			o->id[SG_RPC_T_IDS] = -id;
		if (field == 2 && kind == 3)
			o->id[SG_RPC_T_EMPTY] = -id;
		if (field != 1)
			continue;
		struct sg_view name = sg_read_view(&r, (size_t)sg_gob_read_uint(&r));

		for (size_t i = 0; i < SG_ARRAY_LEN(names); i++) {
			if (strlen(names[i].name) == name.len && memcmp(names[i].name, name.p, name.len) == 0)
				o->id[names[i].type] = -id;
		}
	}
}

/* The whole of one direction of a stream. Free. */
static uint8_t *gather(struct run *r, const struct value *writes, const char *dir, size_t *len)
{
	uint8_t *all = NULL;

	*len = 0;
	for (size_t i = 0; i < writes->count; i++) {
		const struct value *w = &writes->items[i].value;
		const char *d = value_text(w, "dir");
		size_t n;
		uint8_t *b;

		if (!d || strcmp(d, dir) != 0)
			continue;
		b = hex_bytes(r, w, "hex", &n);
		if (!b)
			break;
		all = realloc(all, *len + n + 1);
		if (!all)
			abort();
		memcpy(all + *len, b, n);
		*len += n;
		free(b);
	}
	return all;
}

static int to_next(struct sg_rpc_in *in, struct sg_reader *r, struct sg_gob_value *v)
{
	return sg_rpc_in_next(in, r, v) == 1 ? 0 : SG_EMALF;
}

static int ignore_rule(void *arg, struct sg_view rule)
{
	struct sg_rule decoded;

	(void)arg;
	return sg_rule_decode(rule, &decoded);
}

/* ---- calls ---- */

static struct sg_rpc_route route; /* large */

/* One call is read and, where we make such calls, written. False: the rest of the stream cannot be written. */
static bool request(struct run *r, struct sg_rpc_in *in, struct sg_rpc_out *o, struct sg_writer *w)
{
	struct sg_gob_value v;
	struct sg_rpc_head h = {0};
	struct sg_rpc_edge edge;
	struct sg_reader rd;
	char why[SG_RPC_ERROR_MAX] = "";
	uint8_t count;
	int err;

	expect_outcome(r, "header", true, to_next(in, &rd, &v));
	expect_outcome(r, "header", true, r->failed ? 0 : sg_rpc_read_head(&v, &h));
	expect_outcome(r, "argument", true, r->failed ? 0 : to_next(in, &rd, &v));
	if (r->failed)
		return false;
	sg_rpc_write_request(o, w, h.method, h.seq);
	if (strcmp(h.method, SG_RPC_RESERVE_IDS) == 0) {
		err = sg_rpc_read_count(&v, &count, why);
		sg_rpc_write_count(w, count);
	} else if (strcmp(h.method, SG_RPC_ADD_EDGE) == 0) {
		struct sg_edge_rules rules;

		err = sg_rpc_read_edge(&v, &edge, why);
		expect_outcome(r, "rules", true, err ? err : sg_rpc_edge_rules(&edge, &rules));
		sg_rpc_write_edge(o, w, &edge);
	} else if (strcmp(h.method, SG_RPC_ADD_INTERMEDIARY) == 0) {
		expect_outcome(r, "argument", true, sg_rpc_read_rules(&v, ignore_rule, NULL, why));
		return false;
	} else if (strcmp(h.method, SG_RPC_DIAL_GROUP) == 0) {
		err = sg_rpc_read_route(r->c, &v, &route, why);
		if (err < 0)
			return false; /* misuse, which the answer names */
		sg_rpc_write_route(o, w, &route);
	} else {
		return false;
	}
	expect_outcome(r, "argument", true, err);
	return true;
}

/* ---- answers ---- */

static void answer(struct run *r, struct sg_rpc_in *in, struct sg_rpc_out *o, struct sg_writer *w)
{
	struct sg_gob_value v;
	struct sg_rpc_head h = {0};
	struct sg_rpc_edge edge;
	struct sg_reader rd;
	char why[SG_RPC_ERROR_MAX] = "";
	uint32_t ids[256];
	size_t n;
	bool ok;

	expect_outcome(r, "header", true, to_next(in, &rd, &v));
	expect_outcome(r, "header", true, r->failed ? 0 : sg_rpc_read_head(&v, &h));
	expect_outcome(r, "answer", true, r->failed ? 0 : to_next(in, &rd, &v));
	if (r->failed)
		return;
	sg_rpc_write_response(o, w, h.method, h.seq, h.error);
	if (h.error[0])
		return;
	if (strcmp(h.method, SG_RPC_RESERVE_IDS) == 0) {
		expect_outcome(r, "ids", true, sg_rpc_read_ids(&v, ids, SG_ARRAY_LEN(ids), &n, why));
		sg_rpc_write_ids(o, w, ids, n);
	} else if (strcmp(h.method, SG_RPC_DIAL_GROUP) == 0) {
		expect_outcome(r, "rules", true, sg_rpc_read_edge(&v, &edge, why));
		sg_rpc_write_edge(o, w, &edge);
	} else {
		expect_outcome(r, "bool", true, sg_rpc_read_bool(&v, &ok, why));
		sg_rpc_write_bool(w, ok);
	}
}

static bool more(const struct sg_rpc_in *in)
{
	return in->at < in->len;
}

static uint8_t out[65536];

static void stream(struct run *r, const struct value *s)
{
	const struct value *writes = value_list(s, "writes");
	struct sg_writer w = sg_writer(out, sizeof(out));
	struct sg_rpc_in in;
	struct sg_rpc_out o;
	bool whole = true;
	size_t len;
	uint8_t *b = gather(r, writes, "c2s", &len);

	sg_rpc_in_init(&in);
	ids_of((struct sg_view){b, len}, &o);
	expect_outcome(r, "c2s", true, sg_rpc_in_feed(&in, (struct sg_view){b, len}));
	while (!r->failed && more(&in))
		whole = request(r, &in, &o, &w) && whole;
	if (whole)
		expect_bytes(r, "c2s", (struct sg_view){b, len}, (struct sg_view){out, sg_writer_len(&w)});
	sg_rpc_in_fini(&in);
	free(b);

	b = gather(r, writes, "s2c", &len);
	w = sg_writer(out, sizeof(out));
	sg_rpc_in_init(&in);
	ids_of((struct sg_view){b, len}, &o);
	expect_outcome(r, "s2c", true, sg_rpc_in_feed(&in, (struct sg_view){b, len}));
	while (!r->failed && more(&in))
		answer(r, &in, &o, &w);
	expect_bytes(r, "s2c", (struct sg_view){b, len}, (struct sg_view){out, sg_writer_len(&w)});
	sg_rpc_in_fini(&in);
	free(b);
}

/* What the calls ended in, against the answers on the stream to the setup node. */
static void call_result(struct run *r, struct sg_rpc_in *in, const struct value *call)
{
	const struct value *want = value_object(call, "edge_rules");
	struct sg_gob_value v;
	struct sg_rpc_head h = {0};
	struct sg_rpc_edge edge;
	struct sg_reader rd;
	char why[SG_RPC_ERROR_MAX] = "";

	expect_outcome(r, "header", true, to_next(in, &rd, &v) ? SG_EMALF : sg_rpc_read_head(&v, &h));
	expect_outcome(r, "answer", true, to_next(in, &rd, &v));
	if (r->failed)
		return;
	expect_text(r, "error", value_bool(call, "ok") ? "" : value_text(call, "error"), h.error);
	if (!want)
		return;
	expect_outcome(r, "rules", true, sg_rpc_read_edge(&v, &edge, why));
	expect_hex_of(r, want, "desc", edge.desc, sizeof(edge.desc));
	expect_hex_of(r, want, "forward", edge.forward.p, edge.forward.len);
	expect_hex_of(r, want, "reverse", edge.reverse.p, edge.reverse.len);
}

static void calls(struct run *r, const struct value *list, const struct value *writes)
{
	struct sg_rpc_in in;
	size_t len;
	uint8_t *b = gather(r, writes, "s2c", &len);

	sg_rpc_in_init(&in);
	expect_outcome(r, "s2c", true, sg_rpc_in_feed(&in, (struct sg_view){b, len}));
	for (size_t i = 0; i < list->count && !r->failed; i++)
		call_result(r, &in, &list->items[i].value);
	sg_rpc_in_fini(&in);
	free(b);
}

static void scenario(struct run *r, const struct value *v)
{
	const struct value *streams = value_list(v, "streams"), *list = value_list(v, "calls");

	for (size_t i = 0; streams && i < streams->count; i++) {
		const struct value *s = &streams->items[i].value;
		const char *name = value_text(s, "stream");

		stream(r, s);
		if (name && list && strstr(name, "->setup:36"))
			calls(r, list, value_list(s, "writes"));
	}
}

void routing_rpc(struct run *r, const struct value *v)
{
	for (size_t i = 0; i < v->count; i++) {
		if (v->items[i].value.kind != VALUE_ARRAY)
			continue;
		list_begin(r, v->items[i].name);
		for (size_t k = 0; k < v->items[i].value.count; k++) {
			const struct value *item = &v->items[i].value.items[k].value;

			case_begin(r, k, value_text(item, "name"));
			scenario(r, item);
			case_end(r);
		}
		list_end(r);
	}
}

/* ---- what a server takes ---- */

/* The argument of one call: 0 or SG_EMALF with the error that the caller is told. */
static int argument(struct run *r, const struct sg_rpc_head *h, const struct sg_gob_value *v, char *why)
{
	struct sg_rpc_edge edge;
	uint8_t count;

	if (strcmp(h->method, SG_RPC_RESERVE_IDS) == 0)
		return sg_rpc_read_count(v, &count, why);
	if (strcmp(h->method, SG_RPC_ADD_EDGE) == 0)
		return sg_rpc_read_edge(v, &edge, why);
	return sg_rpc_read_route(r->c, v, &route, why);
}

struct call {
	struct sg_rpc_head head;
	char why[SG_RPC_ERROR_MAX];
};

static void reply(struct sg_rpc_out *o, struct sg_writer *w, const struct call *c)
{
	static const struct sg_rpc_edge none;

	sg_rpc_write_response(o, w, c->head.method, c->head.seq, c->why);
	if (c->why[0])
		return;
	if (strcmp(c->head.method, SG_RPC_RESERVE_IDS) == 0)
		sg_rpc_write_ids(o, w, NULL, 0);
	else if (strcmp(c->head.method, SG_RPC_ADD_EDGE) == 0)
		sg_rpc_write_bool(w, true);
	else
		sg_rpc_write_edge(o, w, &none);
}

static void acceptance(struct run *r, const struct value *v)
{
	const char *error = value_text(v, "error");
	struct sg_writer w = sg_writer(out, sizeof(out));
	struct call made[8] = {0};
	struct sg_gob_value value;
	struct sg_rpc_out o;
	struct sg_rpc_in in;
	struct sg_reader rd;
	size_t n = 0, c2s_len = 0, s2c_len = 0;
	uint8_t *c2s = hex_bytes(r, v, "c2s", &c2s_len), *s2c = hex_bytes(r, v, "s2c", &s2c_len);
	int ret;

	sg_rpc_in_init(&in);
	expect_outcome(r, "c2s", true, sg_rpc_in_feed(&in, (struct sg_view){c2s, c2s_len}));
	while ((ret = sg_rpc_in_next(&in, &rd, &value)) == 1 && n < SG_ARRAY_LEN(made)) {
		struct call *c = &made[n];

		ret = sg_rpc_read_head(&value, &c->head);
		if (ret == 0)
			ret = sg_rpc_in_next(&in, &rd, &value);
		if (ret < 1)
			break;
		ret = argument(r, &c->head, &value, c->why);
		expect_true(
			r, "handler_called", (ret == 0) == value_bool(v, "handler_called"), "as recorded", "not so");
		expect_text(r, "error", error ? error : "", c->why);
		n++;
	}
	expect_true(r, "dropped", (ret < 0) == value_bool(v, "dropped"), "as recorded", "not so");
	ids_of((struct sg_view){s2c, s2c_len}, &o);
	/* A server that works on calls at the same time answered the second one first. */
	while (n)
		reply(&o, &w, &made[--n]);
	expect_bytes(r, "s2c", (struct sg_view){s2c, s2c_len}, (struct sg_view){out, sg_writer_len(&w)});
	sg_rpc_in_fini(&in);
	free(c2s);
	free(s2c);
}

void routing_gob_acceptance(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "cases"), "name", acceptance);
}

/* ---- numbers ---- */

static void primitive(struct run *r, const struct value *v)
{
	const char *kind = value_text(v, "kind"), *text = value_text(v, "value");
	struct sg_writer w = sg_writer(out, sizeof(out));
	struct sg_reader rd = {0};
	char got[32];
	size_t len = 0;
	uint8_t *b = hex_bytes(r, v, "hex", &len);

	if (b && kind && text) {
		rd = sg_reader((struct sg_view){b, len});
		if (strcmp(kind, "uint") == 0) {
			snprintf(got, sizeof(got), "%" PRIu64, sg_gob_read_uint(&rd));
			sg_gob_write_uint(&w, strtoull(text, NULL, 10));
		} else {
			snprintf(got, sizeof(got), "%" PRId64, sg_gob_read_int(&rd));
			sg_gob_write_int(&w, strtoll(text, NULL, 10));
		}
		expect_text(r, "value", text, got);
		expect_bytes(r, "hex", (struct sg_view){b, len}, (struct sg_view){out, sg_writer_len(&w)});
	}
	expect_true(r, "hex", sg_reader_done(&rd), "a number and no more", "something else");
	free(b);
}

bool is_list(const struct value *v)
{
	return v->kind == VALUE_ARRAY;
}

void routing_gob_primitives(struct run *r, const struct value *v)
{
	each_case(r, v, "kind", primitive);
}
