/* Remote calls over gob: writing. Byte for byte as the existing implementation does, which numbers types as it meets them. */
#include "base/common.h"
#include "wire/rpc.h"

void sg_rpc_out_init(struct sg_rpc_out *o, int64_t base)
{
	memset(o, 0, sizeof(*o));
	o->next = base;
}

static int64_t id_of(struct sg_rpc_out *o, enum sg_rpc_type t)
{
	if (o->id[t] == 0)
		o->id[t] = o->next++;
	return o->id[t];
}

/* True when it is to be defined now. */
static bool undefined(struct sg_rpc_out *o, enum sg_rpc_type t)
{
	bool was = o->defined[t];

	o->defined[t] = true;
	id_of(o, t);
	return !was;
}

/* Those of a header's fields that are not empty; @error NULL: the type has no such field. */
static void write_head(struct sg_writer *w, int64_t id, const char *method, uint64_t seq, const char *error)
{
	struct sg_gob_out m = sg_gob_begin(w, id);
	unsigned last = 0;

	if (*method) {
		sg_gob_write_field(w, &last, 1);
		sg_gob_write_bytes(w, method, strlen(method));
	}
	if (seq) {
		sg_gob_write_field(w, &last, 2);
		sg_gob_write_uint(w, seq);
	}
	if (error && *error) {
		sg_gob_write_field(w, &last, 3);
		sg_gob_write_bytes(w, error, strlen(error));
	}
	sg_gob_write_uint(w, 0);
	sg_gob_end(&m);
}

void sg_rpc_write_request(struct sg_rpc_out *o, struct sg_writer *w, const char *method, uint64_t seq)
{
	static const struct sg_gob_field_def fields[] = {{"ServiceMethod", SG_GOB_STRING}, {"Seq", SG_GOB_UINT}};

	if (undefined(o, SG_RPC_T_REQUEST))
		sg_gob_define_struct(w, o->id[SG_RPC_T_REQUEST], "Request", fields, SG_ARRAY_LEN(fields));
	write_head(w, o->id[SG_RPC_T_REQUEST], method, seq, NULL);
}

void sg_rpc_write_response(
	struct sg_rpc_out *o, struct sg_writer *w, const char *method, uint64_t seq, const char *error)
{
	static const struct sg_gob_field_def fields[] = {
		{"ServiceMethod", SG_GOB_STRING}, {"Seq", SG_GOB_UINT}, {"Error", SG_GOB_STRING}};
	struct sg_gob_out m;

	if (undefined(o, SG_RPC_T_RESPONSE))
		sg_gob_define_struct(w, o->id[SG_RPC_T_RESPONSE], "Response", fields, SG_ARRAY_LEN(fields));
	write_head(w, o->id[SG_RPC_T_RESPONSE], method, seq, error);
	if (!*error)
		return;
	if (undefined(o, SG_RPC_T_EMPTY))
		sg_gob_define_struct(w, o->id[SG_RPC_T_EMPTY], "", NULL, 0);
	m = sg_gob_begin(w, o->id[SG_RPC_T_EMPTY]);
	sg_gob_write_uint(w, 0);
	sg_gob_end(&m);
}

static struct sg_gob_out begin_plain(struct sg_writer *w, int64_t id)
{
	struct sg_gob_out m = sg_gob_begin(w, id);

	sg_write_u8(w, 0); /* no struct */
	return m;
}

void sg_rpc_write_count(struct sg_writer *w, uint8_t n)
{
	struct sg_gob_out m = begin_plain(w, SG_GOB_UINT);

	sg_gob_write_uint(w, n);
	sg_gob_end(&m);
}

void sg_rpc_write_bool(struct sg_writer *w, bool v)
{
	struct sg_gob_out m = begin_plain(w, SG_GOB_BOOL);

	sg_gob_write_uint(w, v);
	sg_gob_end(&m);
}

void sg_rpc_write_ids(struct sg_rpc_out *o, struct sg_writer *w, const uint32_t *ids, size_t n)
{
	struct sg_gob_out m;

	if (undefined(o, SG_RPC_T_IDS))
		sg_gob_define_slice(w, o->id[SG_RPC_T_IDS], "", SG_GOB_UINT);
	m = begin_plain(w, o->id[SG_RPC_T_IDS]);
	sg_gob_write_uint(w, n);
	for (size_t i = 0; i < n; i++)
		sg_gob_write_uint(w, ids[i]);
	sg_gob_end(&m);
}

static void define_desc(struct sg_rpc_out *o, struct sg_writer *w)
{
	if (undefined(o, SG_RPC_T_DESC))
		sg_gob_define_array(w, o->id[SG_RPC_T_DESC], "RouteDescriptor", SG_GOB_UINT, SG_ROUTE_DESC_LEN);
}

/* An array of small numbers, always sent: the first field. */
static void write_desc(struct sg_writer *w, unsigned *last, const uint8_t desc[SG_ROUTE_DESC_LEN])
{
	sg_gob_write_field(w, last, 1);
	sg_gob_write_uint(w, SG_ROUTE_DESC_LEN);
	for (size_t i = 0; i < SG_ROUTE_DESC_LEN; i++)
		sg_gob_write_uint(w, desc[i]);
}

void sg_rpc_write_edge(struct sg_rpc_out *o, struct sg_writer *w, const struct sg_rpc_edge *e)
{
	struct sg_gob_out m;
	unsigned last = 0;

	if (undefined(o, SG_RPC_T_EDGE)) {
		const struct sg_gob_field_def fields[] = {
			{"Desc", id_of(o, SG_RPC_T_DESC)}, {"Forward", SG_GOB_BYTES}, {"Reverse", SG_GOB_BYTES}};

		sg_gob_define_struct(w, o->id[SG_RPC_T_EDGE], "EdgeRules", fields, SG_ARRAY_LEN(fields));
	}
	define_desc(o, w);
	m = sg_gob_begin(w, o->id[SG_RPC_T_EDGE]);
	write_desc(w, &last, e->desc);
	if (e->forward.len) {
		sg_gob_write_field(w, &last, 2);
		sg_gob_write_bytes(w, e->forward.p, e->forward.len);
	}
	if (e->reverse.len) {
		sg_gob_write_field(w, &last, 3);
		sg_gob_write_bytes(w, e->reverse.p, e->reverse.len);
	}
	sg_gob_write_uint(w, 0);
	sg_gob_end(&m);
}

static void define_route(struct sg_rpc_out *o, struct sg_writer *w)
{
	struct sg_gob_field_def route[] = {{"Desc", 0}, {"KeepAlive", SG_GOB_INT}, {"Forward", 0}, {"Reverse", 0}};
	struct sg_gob_field_def hop[] = {{"TpID", 0}, {"From", 0}, {"To", 0}};

	if (!undefined(o, SG_RPC_T_ROUTE))
		return;
	/* A struct is numbered before what it holds, a list after. */
	route[0].type = id_of(o, SG_RPC_T_DESC);
	id_of(o, SG_RPC_T_HOP);
	hop[0].type = id_of(o, SG_RPC_T_UUID);
	hop[1].type = hop[2].type = id_of(o, SG_RPC_T_PK);
	route[2].type = route[3].type = id_of(o, SG_RPC_T_HOPS);
	sg_gob_define_struct(w, o->id[SG_RPC_T_ROUTE], "BidirectionalRoute", route, SG_ARRAY_LEN(route));
	define_desc(o, w);
	sg_gob_define_slice(w, o->id[SG_RPC_T_HOPS], "[]routing.Hop", o->id[SG_RPC_T_HOP]);
	sg_gob_define_struct(w, o->id[SG_RPC_T_HOP], "Hop", hop, SG_ARRAY_LEN(hop));
	sg_gob_define_opaque(w, o->id[SG_RPC_T_UUID], "UUID");
	sg_gob_define_opaque(w, o->id[SG_RPC_T_PK], "PubKey");
}

static void write_hops(struct sg_writer *w, const struct sg_hop *hops, size_t n)
{
	sg_gob_write_uint(w, n);
	for (size_t i = 0; i < n; i++) {
		unsigned last = 0;

		sg_gob_write_field(w, &last, 1);
		sg_gob_write_bytes(w, hops[i].tp.b, sizeof(hops[i].tp.b));
		sg_gob_write_field(w, &last, 2);
		sg_gob_write_bytes(w, hops[i].from.b, SG_PK_LEN);
		sg_gob_write_field(w, &last, 3);
		sg_gob_write_bytes(w, hops[i].to.b, SG_PK_LEN);
		sg_gob_write_uint(w, 0);
	}
}

void sg_rpc_write_route(struct sg_rpc_out *o, struct sg_writer *w, const struct sg_rpc_route *route)
{
	uint8_t desc[SG_ROUTE_DESC_LEN];
	struct sg_gob_out m;
	unsigned last = 0;

	define_route(o, w);
	m = sg_gob_begin(w, o->id[SG_RPC_T_ROUTE]);
	sg_route_desc_encode(&route->desc, desc);
	write_desc(w, &last, desc);
	if (route->keep_alive_ns) {
		sg_gob_write_field(w, &last, 2);
		sg_gob_write_int(w, route->keep_alive_ns);
	}
	if (route->n_forward) {
		sg_gob_write_field(w, &last, 3);
		write_hops(w, route->forward, route->n_forward);
	}
	if (route->n_reverse) {
		sg_gob_write_field(w, &last, 4);
		write_hops(w, route->reverse, route->n_reverse);
	}
	sg_gob_write_uint(w, 0);
	sg_gob_end(&m);
}
