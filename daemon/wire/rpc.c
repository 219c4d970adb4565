/* Remote calls over gob, and what route setup says in them: reading. */
#include "wire/rpc.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

#include <stdarg.h>

/* ---- reading: the stream -------------------------------------------------------------------------------------------- */

void sg_rpc_in_init(struct sg_rpc_in *in)
{
	memset(in, 0, sizeof(*in));
	sg_gob_types_init(&in->types);
}

void sg_rpc_in_fini(struct sg_rpc_in *in)
{
	sg_gob_types_fini(&in->types);
	sg_free(in->b);
	memset(in, 0, sizeof(*in));
}

int sg_rpc_in_feed(struct sg_rpc_in *in, struct sg_view data)
{
	if (in->at) {
		memmove(in->b, in->b + in->at, in->len - in->at);
		in->len -= in->at;
		in->at = 0;
	}
	/* What is waiting is at most one message that has not come whole, for every whole one is taken at once. */
	if (data.len > 2 * SG_RPC_MESSAGE_MAX - in->len)
		return SG_ELONG;
	if (in->len + data.len > in->cap) {
		size_t cap = SG_MAX(in->len + data.len, (size_t)1024);
		uint8_t *b = sg_realloc(in->b, cap);

		if (!b)
			return -ENOMEM;
		in->b = b;
		in->cap = cap;
	}
	if (data.len)
		memcpy(in->b + in->len, data.p, data.len);
	in->len += data.len;
	return 0;
}

int sg_rpc_in_next(struct sg_rpc_in *in, struct sg_reader *r, struct sg_gob_value *out)
{
	while (in->at < in->len) {
		struct sg_view rest = {in->b + in->at, in->len - in->at}, message;
		int used = sg_gob_frame(rest, &message), ret;

		if (used == 0)
			return rest.len > SG_RPC_MESSAGE_MAX ? SG_ELONG : 0;
		if (used < 0)
			return used;
		in->at += (size_t)used;
		ret = sg_gob_message(&in->types, message, r, out);
		if (ret != 0)
			return ret;
	}
	return 0;
}

/* ---- reading: headers ------------------------------------------------------------------------------------------------- */

/* What a stranger wrote, for people and logs: cut, and only what can be printed. */
static void copy_text(struct sg_view v, char *out, size_t cap)
{
	size_t n = SG_MIN(v.len, cap - 1);

	for (size_t i = 0; i < n; i++)
		out[i] = (char)(v.p[i] >= 0x20 && v.p[i] < 0x7f ? v.p[i] : '?');
	out[n] = '\0';
}

int sg_rpc_read_head(const struct sg_gob_value *v, struct sg_rpc_head *out)
{
	struct sg_gob_value f;
	const char *name;
	int64_t state = -1;
	bool known = false;

	memset(out, 0, sizeof(*out));
	if (sg_gob_kind(v) != SG_GOB_STRUCT)
		return SG_EMALF;
	while (sg_gob_field_next(v, &state, &name, &f)) {
		if (strcmp(name, "ServiceMethod") == 0) {
			struct sg_view method = sg_gob_bytes(&f, SG_GOB_STRING);

			if (method.len < sizeof(out->method))
				copy_text(method, out->method, sizeof(out->method));
		} else if (strcmp(name, "Seq") == 0) {
			out->seq = sg_gob_uint(&f, UINT64_MAX);
		} else if (strcmp(name, "Error") == 0) {
			copy_text(sg_gob_bytes(&f, SG_GOB_STRING), out->error, sizeof(out->error));
		} else {
			sg_gob_skip(&f);
			continue;
		}
		known = true;
	}
	/* All fields may be absent, for a first call of no method; a header of another type has other fields. */
	return v->r->err || (!known && sg_reader_left(v->r)) ? SG_EMALF : 0;
}

/* ---- reading: values ---------------------------------------------------------------------------------------------------- */

static const char *kind_name(const struct sg_gob_value *v)
{
	static const char *const names[] = {
		[SG_GOB_BOOL] = "bool",
		[SG_GOB_INT] = "int",
		[SG_GOB_UINT] = "uint",
		[SG_GOB_FLOAT] = "float",
		[SG_GOB_BYTES] = "bytes",
		[SG_GOB_STRING] = "string",
		[SG_GOB_COMPLEX] = "complex",
		[SG_GOB_INTERFACE] = "interface",
		[SG_GOB_ARRAY] = "array",
		[SG_GOB_SLICE] = "slice",
		[SG_GOB_STRUCT] = "struct",
		[SG_GOB_MAP] = "map",
		[SG_GOB_OPAQUE] = "binary",
		[SG_GOB_MARSHALER_OTHER] = "gob",
	};
	unsigned kind = sg_gob_kind(v);

	return kind < SG_ARRAY_LEN(names) && names[kind] ? names[kind] : "unknown";
}

SG_PRINTF(2, 3)
static int refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, SG_RPC_ERROR_MAX, fmt, ap);
	va_end(ap);
	return SG_EMALF;
}

/* The value was read to its end; nothing may stand behind it. */
static int end(const struct sg_gob_value *v, char *why)
{
	return sg_reader_done(v->r) ? 0 : refuse(why, "gob: bad data: malformed value");
}

static int want(const struct sg_gob_value *v, enum sg_gob_kind kind, const char *local, char *why)
{
	if (sg_gob_kind(v) == kind)
		return 0;
	return refuse(why, "gob: decoding into local type %s, received remote type %s", local, kind_name(v));
}

static int want_struct(const struct sg_gob_value *v, const char *local, char *why)
{
	if (sg_gob_kind(v) == SG_GOB_STRUCT)
		return 0;
	return refuse(why, "gob: type mismatch in decoder: want struct type routing.%s; got non-struct", local);
}

static int want_field(const struct sg_gob_value *f, enum sg_gob_kind kind, const char *type, const char *of,
	const char *name, char *why)
{
	if (sg_gob_kind(f) == kind)
		return 0;
	return refuse(why, "gob: wrong type (%s) for received field %s.%s", type, of, name);
}

int sg_rpc_read_count(const struct sg_gob_value *v, uint8_t *out, char *why)
{
	uint64_t n;
	int err = want(v, SG_GOB_UINT, "*uint8", why);

	if (err < 0)
		return err;
	n = sg_gob_uint(v, UINT64_MAX);
	err = end(v, why);
	if (err == 0 && n > UINT8_MAX)
		err = refuse(why, "value for \"*uint8\" out of range");
	*out = (uint8_t)n;
	return err;
}

int sg_rpc_read_bool(const struct sg_gob_value *v, bool *out, char *why)
{
	int err = want(v, SG_GOB_BOOL, "*bool", why);

	if (err < 0)
		return err;
	*out = sg_gob_bool(v);
	return end(v, why);
}

/* The start of a list whose elements are @elem. */
static int read_list(const struct sg_gob_value *v, enum sg_gob_kind kind, const char *local, struct sg_gob_value *elem,
	size_t *n, char *why)
{
	int err = want(v, SG_GOB_SLICE, local, why);

	if (err < 0)
		return err;
	*n = sg_gob_list(v, elem);
	if (v->r->err)
		return refuse(why, "gob: bad data: malformed list");
	if (sg_gob_kind(elem) != kind)
		return refuse(
			why, "gob: decoding into local type %s, received remote type []%s", local, kind_name(elem));
	return 0;
}

int sg_rpc_read_ids(const struct sg_gob_value *v, uint32_t *out, size_t max, size_t *n, char *why)
{
	struct sg_gob_value elem;
	int err = read_list(v, SG_GOB_UINT, "*[]routing.RouteID", &elem, n, why);

	if (err == 0 && *n > max)
		err = refuse(why, "more route ids than were asked for");
	for (size_t i = 0; err == 0 && i < *n; i++)
		out[i] = (uint32_t)sg_gob_uint(&elem, UINT32_MAX);
	return err < 0 ? err : end(v, why);
}

int sg_rpc_read_rules(const struct sg_gob_value *v, sg_rpc_rule_fn *fn, void *arg, char *why)
{
	struct sg_gob_value elem;
	size_t n;
	int err = read_list(v, SG_GOB_BYTES, "*[]routing.Rule", &elem, &n, why);

	for (size_t i = 0; err == 0 && i < n; i++) {
		struct sg_view rule = sg_gob_bytes(&elem, SG_GOB_BYTES);

		err = v->r->err ? refuse(why, "gob: bad data: malformed rule") : fn(arg, rule);
	}
	return err < 0 ? err : end(v, why);
}

static int read_desc(const struct sg_gob_value *f, const char *of, uint8_t out[SG_ROUTE_DESC_LEN], char *why)
{
	struct sg_gob_value elem;
	size_t n;
	int err = want_field(f, SG_GOB_ARRAY, "routing.RouteDescriptor", of, "Desc", why);

	if (err < 0)
		return err;
	n = sg_gob_list(f, &elem);
	if (f->r->err || n != SG_ROUTE_DESC_LEN || sg_gob_kind(&elem) != SG_GOB_UINT)
		return refuse(why, "gob: wrong type (routing.RouteDescriptor) for received field %s.Desc", of);
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)sg_gob_uint(&elem, UINT8_MAX);
	return f->r->err ? refuse(why, "gob: bad data: malformed descriptor") : 0;
}

/* One that knows none of our fields is another type. */
static int known_fields(bool known, const struct sg_gob_value *v, const char *local, char *why)
{
	if (!known && !v->r->err && sg_gob_fields(v))
		return refuse(why, "gob: type mismatch: no fields matched compiling decoder for %s", local);
	return 0;
}

int sg_rpc_read_edge(const struct sg_gob_value *v, struct sg_rpc_edge *out, char *why)
{
	struct sg_gob_value f;
	const char *name;
	int64_t state = -1;
	bool known = sg_gob_has_field(v, "Desc") || sg_gob_has_field(v, "Forward") || sg_gob_has_field(v, "Reverse");
	int err = want_struct(v, "EdgeRules", why);

	memset(out, 0, sizeof(*out));
	if (err == 0)
		err = known_fields(known, v, "EdgeRules", why);
	while (err == 0 && sg_gob_field_next(v, &state, &name, &f)) {
		bool forward = strcmp(name, "Forward") == 0;

		if (strcmp(name, "Desc") == 0) {
			err = read_desc(&f, "EdgeRules", out->desc, why);
		} else if (forward || strcmp(name, "Reverse") == 0) {
			err = want_field(&f, SG_GOB_BYTES, "routing.Rule", "EdgeRules", name, why);
			if (err == 0)
				*(forward ? &out->forward : &out->reverse) = sg_gob_bytes(&f, SG_GOB_BYTES);
		} else {
			sg_gob_skip(&f);
		}
	}
	return err < 0 ? err : end(v, why);
}

int sg_rpc_edge_rules(const struct sg_rpc_edge *e, struct sg_edge_rules *out)
{
	int err = sg_route_desc_decode((struct sg_view){e->desc, sizeof(e->desc)}, &out->desc);

	if (err == 0)
		err = sg_rule_decode(e->forward, &out->forward);
	if (err == 0)
		err = sg_rule_decode(e->reverse, &out->reverse);
	return err;
}

static int read_pk(
	const struct sg_crypto *c, const struct sg_gob_value *f, const char *name, struct sg_pk *out, char *why)
{
	struct sg_view b;
	int err = want_field(f, SG_GOB_OPAQUE, "cipher.PubKey", "Hop", name, why);

	if (err < 0)
		return err;
	b = sg_gob_bytes(f, SG_GOB_OPAQUE);
	if (b.len != SG_PK_LEN)
		return refuse(why, "Invalid public key");
	memcpy(out->b, b.p, SG_PK_LEN);
	return sg_pk_check(c, out) < 0 ? refuse(why, "Invalid public key") : 0;
}

static int read_tpid(const struct sg_gob_value *f, struct sg_tpid *out, char *why)
{
	struct sg_view b;
	int err = want_field(f, SG_GOB_OPAQUE, "uuid.UUID", "Hop", "TpID", why);

	if (err < 0)
		return err;
	b = sg_gob_bytes(f, SG_GOB_OPAQUE);
	if (b.len != sizeof(out->b))
		return refuse(why, "invalid UUID (got %zu bytes)", b.len);
	memcpy(out->b, b.p, sizeof(out->b));
	return 0;
}

static int read_hop(const struct sg_crypto *c, const struct sg_gob_value *v, struct sg_hop *out, char *why)
{
	struct sg_gob_value f;
	const char *name;
	int64_t state = -1;
	int err = 0;

	memset(out, 0, sizeof(*out));
	while (err == 0 && sg_gob_field_next(v, &state, &name, &f)) {
		if (strcmp(name, "TpID") == 0)
			err = read_tpid(&f, &out->tp, why);
		else if (strcmp(name, "From") == 0)
			err = read_pk(c, &f, name, &out->from, why);
		else if (strcmp(name, "To") == 0)
			err = read_pk(c, &f, name, &out->to, why);
		else
			sg_gob_skip(&f);
	}
	return err == 0 && v->r->err ? refuse(why, "gob: bad data: malformed hop") : err;
}

static int read_hops(const struct sg_crypto *c, const struct sg_gob_value *f, const char *name, struct sg_hop *out,
	size_t *n, char *why)
{
	struct sg_gob_value elem;
	int err = want_field(f, SG_GOB_SLICE, "[]routing.Hop", "BidirectionalRoute", name, why);

	if (err < 0)
		return err;
	*n = sg_gob_list(f, &elem);
	if (f->r->err || sg_gob_kind(&elem) != SG_GOB_STRUCT)
		return refuse(why, "gob: wrong type ([]routing.Hop) for received field BidirectionalRoute.%s", name);
	if (*n > SG_RPC_HOPS_MAX)
		return refuse(why, "more than %d hops", SG_RPC_HOPS_MAX);
	for (size_t i = 0; err == 0 && i < *n; i++)
		err = read_hop(c, &elem, &out[i], why);
	return err;
}

int sg_rpc_read_route(const struct sg_crypto *c, const struct sg_gob_value *v, struct sg_rpc_route *out, char *why)
{
	uint8_t desc[SG_ROUTE_DESC_LEN] = {0};
	struct sg_gob_value f;
	const char *name;
	int64_t state = -1;
	bool known = sg_gob_has_field(v, "Desc") || sg_gob_has_field(v, "KeepAlive") ||
		     sg_gob_has_field(v, "Forward") || sg_gob_has_field(v, "Reverse");
	int err = want_struct(v, "BidirectionalRoute", why);

	memset(out, 0, sizeof(*out));
	if (err == 0)
		err = known_fields(known, v, "BidirectionalRoute", why);
	while (err == 0 && sg_gob_field_next(v, &state, &name, &f)) {
		if (strcmp(name, "Desc") == 0) {
			err = read_desc(&f, "BidirectionalRoute", desc, why);
		} else if (strcmp(name, "KeepAlive") == 0) {
			err = want_field(&f, SG_GOB_INT, "time.Duration", "BidirectionalRoute", name, why);
			if (err == 0)
				out->keep_alive_ns = sg_gob_int(&f);
		} else if (strcmp(name, "Forward") == 0) {
			err = read_hops(c, &f, name, out->forward, &out->n_forward, why);
		} else if (strcmp(name, "Reverse") == 0) {
			err = read_hops(c, &f, name, out->reverse, &out->n_reverse, why);
		} else {
			sg_gob_skip(&f);
		}
	}
	if (err == 0)
		err = end(v, why);
	return err < 0 ? err : sg_route_desc_decode((struct sg_view){desc, sizeof(desc)}, &out->desc);
}
