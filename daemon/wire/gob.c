/*
 * Gob. The reader trusts no count: each element takes at least one byte of what is left, types nest at most so deep, and an
 * id that nobody defined ends the message.
 */
#include "wire/gob.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

/* Field numbers of the definitions themselves. */
enum { DEF_ARRAY, DEF_SLICE, DEF_STRUCT, DEF_MAP, DEF_GOB_ENCODER, DEF_BINARY, DEF_TEXT, DEF_COUNT };

/* ---- numbers --------------------------------------------------------------------------------------------------- */

uint64_t sg_gob_read_uint(struct sg_reader *r)
{
	uint8_t first = sg_read_u8(r);
	unsigned n = 256U - first;
	uint64_t v = 0;

	if (first < 128)
		return first;
	if (n > 8) {
		r->err = true;
		return 0;
	}
	while (n--)
		v = v << 8 | sg_read_u8(r);
	return r->err ? 0 : v;
}

int64_t sg_gob_read_int(struct sg_reader *r)
{
	uint64_t u = sg_gob_read_uint(r);
	uint64_t half = u >> 1;

	return (int64_t)(u & 1 ? ~half : half);
}

void sg_gob_write_uint(struct sg_writer *w, uint64_t v)
{
	unsigned n = 1;

	if (v < 128) {
		sg_write_u8(w, (uint8_t)v);
		return;
	}
	while (n < 8 && v >> (8 * n))
		n++;
	sg_write_u8(w, (uint8_t)(256U - n));
	while (n--)
		sg_write_u8(w, (uint8_t)(v >> (8 * n)));
}

void sg_gob_write_int(struct sg_writer *w, int64_t v)
{
	uint64_t u = (uint64_t)v;

	sg_gob_write_uint(w, v < 0 ? ~u << 1 | 1 : u << 1);
}

void sg_gob_write_bytes(struct sg_writer *w, const void *p, size_t len)
{
	sg_gob_write_uint(w, len);
	sg_write_bytes(w, p, len);
}

void sg_gob_write_field(struct sg_writer *w, unsigned *last, unsigned n)
{
	sg_gob_write_uint(w, n - *last);
	*last = n;
}

/* ---- types ------------------------------------------------------------------------------------------------------ */

void sg_gob_types_init(struct sg_gob_types *t)
{
	memset(t, 0, sizeof(*t));
}

void sg_gob_types_fini(struct sg_gob_types *t)
{
	for (size_t i = 0; i < t->n; i++)
		sg_free(t->t[i].fields);
	t->n = 0;
}

static const struct sg_gob_type *find(const struct sg_gob_types *t, int64_t id)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->t[i].id == id)
			return &t->t[i];
	}
	return NULL;
}

/* The next field of a definition's struct: its number, or -1 at the end or on an error. */
static int64_t def_field(struct sg_reader *r, int64_t at, int64_t count)
{
	uint64_t delta = sg_gob_read_uint(r);

	if (r->err || delta == 0)
		return -1;
	if (delta > (uint64_t)(count - 1 - at)) {
		r->err = true;
		return -1;
	}
	return at + (int64_t)delta;
}

static void read_name(struct sg_reader *r, char out[SG_GOB_NAME_MAX])
{
	uint64_t len = sg_gob_read_uint(r);
	struct sg_view v = {NULL, 0};

	if (len > sg_reader_left(r))
		r->err = true;
	else
		v = sg_read_view(r, (size_t)len);
	/* What is too long, or holds a zero, is none of ours: no name. */
	out[0] = '\0';
	if (v.len < SG_GOB_NAME_MAX && v.len && !memchr(v.p, 0, v.len)) {
		memcpy(out, v.p, v.len);
		out[v.len] = '\0';
	}
}

/* CommonType: name and id, neither of use to a reader. */
static void read_common(struct sg_reader *r)
{
	char name[SG_GOB_NAME_MAX];
	int64_t at = -1;

	while ((at = def_field(r, at, 2)) >= 0) {
		if (at == 0)
			read_name(r, name);
		else
			sg_gob_read_int(r);
	}
}

static int read_fields(struct sg_reader *r, struct sg_gob_type *t)
{
	uint64_t n = sg_gob_read_uint(r);

	if (r->err || n > sg_reader_left(r))
		return SG_EMALF;
	if (n > SG_GOB_FIELDS_MAX)
		return SG_EFULL;
	if (t->fields)
		return SG_EMALF;
	t->fields = sg_calloc((size_t)n, sizeof(*t->fields));
	if (!t->fields)
		return -ENOMEM;
	t->n_fields = (size_t)n;
	for (size_t i = 0; i < n && !r->err; i++) {
		int64_t at = -1;

		while ((at = def_field(r, at, 2)) >= 0) {
			if (at == 0)
				read_name(r, t->fields[i].name);
			else
				t->fields[i].type = sg_gob_read_int(r);
		}
	}
	return r->err ? SG_EMALF : 0;
}

/* The inner struct of a definition: field 0 is the common part, what follows depends on the kind. */
static int read_body(struct sg_reader *r, int64_t def, struct sg_gob_type *t)
{
	static const int64_t counts[DEF_COUNT] = {3, 2, 2, 3, 1, 1, 1};
	int64_t at = -1;
	int err = 0;

	while (err == 0 && (at = def_field(r, at, counts[def])) >= 0) {
		if (at == 0)
			read_common(r);
		else if (def == DEF_STRUCT)
			err = read_fields(r, t);
		else if (def == DEF_MAP && at == 1)
			t->key = sg_gob_read_int(r);
		else if (def == DEF_ARRAY && at == 2)
			t->len = sg_gob_read_int(r);
		else
			t->elem = sg_gob_read_int(r);
	}
	return err;
}

static int define(struct sg_gob_types *t, int64_t id, struct sg_reader *r)
{
	static const enum sg_gob_kind kinds[DEF_COUNT] = {SG_GOB_ARRAY, SG_GOB_SLICE, SG_GOB_STRUCT, SG_GOB_MAP,
		SG_GOB_MARSHALER_OTHER, SG_GOB_OPAQUE, SG_GOB_MARSHALER_OTHER};
	struct sg_gob_type type = {.id = id};
	int64_t at;
	int err;

	if (id < SG_GOB_ID_FIRST || find(t, id))
		return SG_EMALF;
	if (t->n == SG_GOB_TYPES_MAX)
		return SG_EFULL;
	at = def_field(r, -1, DEF_COUNT);
	if (at < 0)
		return SG_EMALF;
	type.kind = kinds[at];
	err = read_body(r, at, &type);
	/* One of the kinds, and nothing behind it. */
	if (err == 0 && (sg_gob_read_uint(r) != 0 || !sg_reader_done(r) || type.len < 0))
		err = SG_EMALF;
	if (err < 0) {
		sg_free(type.fields);
		return err;
	}
	t->t[t->n++] = type;
	return 0;
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

int sg_gob_frame(struct sg_view in, struct sg_view *message)
{
	struct sg_reader r = sg_reader(in);
	uint64_t len;

	if (in.len == 0)
		return 0;
	if (in.p[0] >= 128 && 256U - in.p[0] > 8)
		return SG_EMALF;
	len = sg_gob_read_uint(&r);
	if (r.err)
		return 0;
	if (len == 0)
		return SG_EMALF;
	if (len > SG_GOB_MESSAGE_MAX)
		return SG_ELONG;
	if (len > sg_reader_left(&r))
		return 0;
	*message = sg_read_view(&r, (size_t)len);
	return (int)(in.len - sg_reader_left(&r));
}

int sg_gob_message(struct sg_gob_types *t, struct sg_view message, struct sg_reader *r, struct sg_gob_value *out)
{
	int64_t id;

	*r = sg_reader(message);
	id = sg_gob_read_int(r);
	if (r->err || id == 0 || id == INT64_MIN)
		return SG_EMALF;
	if (id < 0)
		return define(t, -id, r);
	*out = (struct sg_gob_value){.types = t, .r = r, .type = id};
	if (sg_gob_kind(out) == 0)
		return SG_EMALF;
	if (sg_gob_kind(out) != SG_GOB_STRUCT && sg_read_u8(r) != 0)
		return SG_EMALF;
	return r->err ? SG_EMALF : 1;
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

enum sg_gob_kind sg_gob_kind(const struct sg_gob_value *v)
{
	const struct sg_gob_type *t;

	if (v->type >= SG_GOB_BOOL && v->type <= SG_GOB_COMPLEX)
		return (enum sg_gob_kind)v->type;
	t = find(v->types, v->type);
	return t ? t->kind : (enum sg_gob_kind)0;
}

static bool deeper(const struct sg_gob_value *v, int64_t type, struct sg_gob_value *out)
{
	if (v->depth >= SG_GOB_DEPTH_MAX) {
		v->r->err = true;
		return false;
	}
	*out = (struct sg_gob_value){.types = v->types, .r = v->r, .type = type, .depth = v->depth + 1};
	return true;
}

size_t sg_gob_fields(const struct sg_gob_value *v)
{
	const struct sg_gob_type *t = find(v->types, v->type);

	return t && t->kind == SG_GOB_STRUCT ? t->n_fields : 0;
}

bool sg_gob_has_field(const struct sg_gob_value *v, const char *name)
{
	const struct sg_gob_type *t = find(v->types, v->type);

	for (size_t i = 0; i < sg_gob_fields(v); i++) {
		if (strcmp(t->fields[i].name, name) == 0)
			return true;
	}
	return false;
}

bool sg_gob_field_next(const struct sg_gob_value *v, int64_t *state, const char **name, struct sg_gob_value *out)
{
	const struct sg_gob_type *t = find(v->types, v->type);

	if (!t || t->kind != SG_GOB_STRUCT) {
		v->r->err = true;
		return false;
	}
	if (v->depth == 0 && sg_reader_left(v->r) == 0)
		return false;
	*state = def_field(v->r, *state, (int64_t)t->n_fields);
	if (*state < 0)
		return false;
	*name = t->fields[*state].name;
	return deeper(v, t->fields[*state].type, out);
}

size_t sg_gob_list(const struct sg_gob_value *v, struct sg_gob_value *elem)
{
	const struct sg_gob_type *t = find(v->types, v->type);
	uint64_t n;

	if (!t || (t->kind != SG_GOB_ARRAY && t->kind != SG_GOB_SLICE)) {
		v->r->err = true;
		return 0;
	}
	n = sg_gob_read_uint(v->r);
	if (n > sg_reader_left(v->r) || (t->kind == SG_GOB_ARRAY && n != (uint64_t)t->len) ||
		!deeper(v, t->elem, elem)) {
		v->r->err = true;
		return 0;
	}
	return (size_t)n;
}

static void skip_run(struct sg_reader *r)
{
	uint64_t len = sg_gob_read_uint(r);

	if (len > sg_reader_left(r))
		r->err = true;
	else
		sg_read_view(r, (size_t)len);
}

static void skip_struct(const struct sg_gob_value *v)
{
	struct sg_gob_value f;
	const char *name;
	int64_t state = -1;

	while (sg_gob_field_next(v, &state, &name, &f))
		sg_gob_skip(&f);
}

static void skip_map(const struct sg_gob_value *v)
{
	const struct sg_gob_type *t = find(v->types, v->type);
	uint64_t n = sg_gob_read_uint(v->r);
	struct sg_gob_value key, elem;

	if (n > sg_reader_left(v->r) || !deeper(v, t->key, &key) || !deeper(v, t->elem, &elem)) {
		v->r->err = true;
		return;
	}
	while (n-- && !v->r->err) {
		sg_gob_skip(&key);
		sg_gob_skip(&elem);
	}
}

void sg_gob_skip(const struct sg_gob_value *v)
{
	struct sg_gob_value elem;
	size_t n;

	switch (sg_gob_kind(v)) {
	case SG_GOB_BOOL:
	case SG_GOB_INT:
	case SG_GOB_UINT:
	case SG_GOB_FLOAT:
		sg_gob_read_uint(v->r);
		return;
	case SG_GOB_COMPLEX:
		sg_gob_read_uint(v->r);
		sg_gob_read_uint(v->r);
		return;
	case SG_GOB_BYTES:
	case SG_GOB_STRING:
	case SG_GOB_OPAQUE:
	case SG_GOB_MARSHALER_OTHER:
		skip_run(v->r);
		return;
	case SG_GOB_ARRAY:
	case SG_GOB_SLICE:
		n = sg_gob_list(v, &elem);
		while (n-- && !v->r->err)
			sg_gob_skip(&elem);
		return;
	case SG_GOB_STRUCT:
		skip_struct(v);
		return;
	case SG_GOB_MAP:
		skip_map(v);
		return;
	case SG_GOB_INTERFACE:
		break;
	}
	v->r->err = true;
}

bool sg_gob_bool(const struct sg_gob_value *v)
{
	uint64_t u;

	if (sg_gob_kind(v) != SG_GOB_BOOL) {
		v->r->err = true;
		return false;
	}
	u = sg_gob_read_uint(v->r);
	return u != 0;
}

int64_t sg_gob_int(const struct sg_gob_value *v)
{
	if (sg_gob_kind(v) != SG_GOB_INT) {
		v->r->err = true;
		return 0;
	}
	return sg_gob_read_int(v->r);
}

uint64_t sg_gob_uint(const struct sg_gob_value *v, uint64_t max)
{
	uint64_t u = 0;

	if (sg_gob_kind(v) == SG_GOB_UINT)
		u = sg_gob_read_uint(v->r);
	else
		v->r->err = true;
	if (u > max)
		v->r->err = true;
	return v->r->err ? 0 : u;
}

struct sg_view sg_gob_bytes(const struct sg_gob_value *v, enum sg_gob_kind kind)
{
	uint64_t len;

	if (sg_gob_kind(v) != kind) {
		v->r->err = true;
		return (struct sg_view){NULL, 0};
	}
	len = sg_gob_read_uint(v->r);
	if (len > sg_reader_left(v->r)) {
		v->r->err = true;
		return (struct sg_view){NULL, 0};
	}
	return sg_read_view(v->r, (size_t)len);
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

struct sg_gob_out sg_gob_begin(struct sg_writer *w, int64_t id)
{
	struct sg_gob_out o = {w, sg_writer_len(w)};

	sg_gob_write_int(w, id);
	return o;
}

/* The length stands in front and has no fixed size: the message moves. */
void sg_gob_end(struct sg_gob_out *o)
{
	uint8_t head[SG_GOB_LEN_MAX];
	struct sg_writer h = sg_writer(head, sizeof(head));
	size_t len = sg_writer_len(o->w) - o->start;

	sg_gob_write_uint(&h, len);
	sg_write_bytes(o->w, head, sg_writer_len(&h)); /* makes sure of the room */
	if (o->w->err)
		return;
	memmove(o->w->start + o->start + sg_writer_len(&h), o->w->start + o->start, len);
	memcpy(o->w->start + o->start, head, sg_writer_len(&h));
}

static void write_common(struct sg_writer *w, int64_t id, const char *name)
{
	sg_gob_write_uint(w, 1); /* its number in what surrounds it is 0 */
	if (*name) {
		sg_gob_write_uint(w, 1);
		sg_gob_write_bytes(w, name, strlen(name));
	}
	sg_gob_write_uint(w, *name ? 1 : 2);
	sg_gob_write_int(w, id);
	sg_gob_write_uint(w, 0);
}

static struct sg_gob_out define_begin(struct sg_writer *w, int64_t id, const char *name, int def)
{
	struct sg_gob_out o = sg_gob_begin(w, -id);

	sg_gob_write_uint(w, (uint64_t)def + 1);
	write_common(w, id, name);
	return o;
}

static void define_end(struct sg_gob_out *o)
{
	sg_gob_write_uint(o->w, 0);
	sg_gob_write_uint(o->w, 0);
	sg_gob_end(o);
}

void sg_gob_define_struct(struct sg_writer *w, int64_t id, const char *name, const struct sg_gob_field_def *f, size_t n)
{
	struct sg_gob_out o = define_begin(w, id, name, DEF_STRUCT);

	if (n) {
		sg_gob_write_uint(w, 1);
		sg_gob_write_uint(w, n);
	}
	for (size_t i = 0; i < n; i++) {
		sg_gob_write_uint(w, 1);
		sg_gob_write_bytes(w, f[i].name, strlen(f[i].name));
		sg_gob_write_uint(w, 1);
		sg_gob_write_int(w, f[i].type);
		sg_gob_write_uint(w, 0);
	}
	define_end(&o);
}

void sg_gob_define_array(struct sg_writer *w, int64_t id, const char *name, int64_t elem, int64_t len)
{
	struct sg_gob_out o = define_begin(w, id, name, DEF_ARRAY);

	sg_gob_write_uint(w, 1);
	sg_gob_write_int(w, elem);
	sg_gob_write_uint(w, 1);
	sg_gob_write_int(w, len);
	define_end(&o);
}

void sg_gob_define_slice(struct sg_writer *w, int64_t id, const char *name, int64_t elem)
{
	struct sg_gob_out o = define_begin(w, id, name, DEF_SLICE);

	sg_gob_write_uint(w, 1);
	sg_gob_write_int(w, elem);
	define_end(&o);
}

void sg_gob_define_opaque(struct sg_writer *w, int64_t id, const char *name)
{
	struct sg_gob_out o = define_begin(w, id, name, DEF_BINARY);

	define_end(&o);
}
