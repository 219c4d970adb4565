/*
 * Gob, as far as this network uses it. Reading: by the types that the sender defines, matched by field name, everything
 * unknown skipped; a cursor walks the value, nothing is built. Writing: definitions with ids from a base, in the order that
 * the existing implementation uses, then the value.
 *
 *	stream = { message }      message = length uint | type id int | definition (id < 0) or value (id > 0)
 */
#ifndef SG_WIRE_GOB_H
#define SG_WIRE_GOB_H

#include "base/cursor.h"

#define SG_GOB_MESSAGE_MAX (1024 * 1024) /* bytes (own; the longest real one is some KiB) */
#define SG_GOB_TYPES_MAX   48            /* definitions of one stream (own) */
#define SG_GOB_FIELDS_MAX  24            /* of one struct (own) */
#define SG_GOB_NAME_MAX    32            /* longer names match nothing of ours */
#define SG_GOB_DEPTH_MAX   16
#define SG_GOB_ID_FIRST    64 /* ids below are predefined */

enum sg_gob_kind {
	SG_GOB_BOOL = 1,
	SG_GOB_INT = 2,
	SG_GOB_UINT = 3,
	SG_GOB_FLOAT = 4,
	SG_GOB_BYTES = 5,
	SG_GOB_STRING = 6,
	SG_GOB_COMPLEX = 7,
	SG_GOB_INTERFACE = 8,
	SG_GOB_ARRAY = 32, /* below: defined by the sender */
	SG_GOB_SLICE,
	SG_GOB_STRUCT,
	SG_GOB_MAP,
	SG_GOB_OPAQUE, /* marshals itself: a run of bytes */
	SG_GOB_MARSHALER_OTHER
};

struct sg_gob_field {
	char name[SG_GOB_NAME_MAX];
	int64_t type;
};

struct sg_gob_type {
	int64_t id;
	enum sg_gob_kind kind;
	int64_t elem, key, len;
	size_t n_fields;
	struct sg_gob_field *fields;
};

/* What one direction of a stream has defined so far. */
struct sg_gob_types {
	size_t n;
	struct sg_gob_type t[SG_GOB_TYPES_MAX];
};

/* A value inside a message. */
struct sg_gob_value {
	const struct sg_gob_types *types;
	struct sg_reader *r; /* shared by all values of the message */
	int64_t type;
	unsigned depth;
};

SG_BEGIN_DECLS

void sg_gob_types_init(struct sg_gob_types *t);
void sg_gob_types_fini(struct sg_gob_types *t);

/** sg_gob_frame - one message from the front of a byte run. Bytes used, 0 if more are needed, SG_EMALF, SG_ELONG. */
int sg_gob_frame(struct sg_view in, struct sg_view *message);
/**
 * sg_gob_message - takes one message. 1: it holds a value, in *out, read through *r, which stands behind the id (and, for
 * a type that is no struct, behind the zero byte); 0: a definition, now known; SG_EMALF, SG_EFULL or -ENOMEM.
 */
int sg_gob_message(struct sg_gob_types *t, struct sg_view message, struct sg_reader *r, struct sg_gob_value *out);

/** sg_gob_kind - what a value is declared as; 0: its type is not known. */
enum sg_gob_kind sg_gob_kind(const struct sg_gob_value *v);
/**
 * sg_gob_field_next - walks a struct: the next field that was sent, its name (valid as long as the types) and value, which
 * has to be read or skipped before the next call. *state starts at -1. False at the end or when the reader has failed. At the
 * top the end of the message is an end, too.
 */
bool sg_gob_field_next(const struct sg_gob_value *v, int64_t *state, const char **name, struct sg_gob_value *out);
/** sg_gob_fields - how many fields a struct declares; 0: none, or no struct. */
size_t sg_gob_fields(const struct sg_gob_value *v);
/** sg_gob_has_field - a struct that declares a field of that name. */
bool sg_gob_has_field(const struct sg_gob_value *v, const char *name);
/** sg_gob_list - number of elements of an array or slice, and their type in *elem; checked against what is left. */
size_t sg_gob_list(const struct sg_gob_value *v, struct sg_gob_value *elem);
/** sg_gob_skip - walks over any value. */
void sg_gob_skip(const struct sg_gob_value *v);

/* Scalars: the reader fails when the value is declared as something else or out of range. */
bool sg_gob_bool(const struct sg_gob_value *v);
int64_t sg_gob_int(const struct sg_gob_value *v);
uint64_t sg_gob_uint(const struct sg_gob_value *v, uint64_t max);
/** sg_gob_bytes - bytes, a string or what marshals itself: exactly of kind @kind. Borrowed from the message. */
struct sg_view sg_gob_bytes(const struct sg_gob_value *v, enum sg_gob_kind kind);

/* Plain numbers, for those who read and write below the level of values. */
uint64_t sg_gob_read_uint(struct sg_reader *r);
int64_t sg_gob_read_int(struct sg_reader *r);
void sg_gob_write_uint(struct sg_writer *w, uint64_t v);
void sg_gob_write_int(struct sg_writer *w, int64_t v);
void sg_gob_write_bytes(struct sg_writer *w, const void *p, size_t len);
/** sg_gob_write_field - in front of field @n (from 1) of a struct: its distance from *last, the one sent before; 0 at first. */
void sg_gob_write_field(struct sg_writer *w, unsigned *last, unsigned n);

/*
 * Writing definitions. A message is begun, filled and ended; its length goes in front at the end, so the writer needs
 * room for SG_GOB_LEN_MAX bytes more than the message.
 */
#define SG_GOB_LEN_MAX 9
struct sg_gob_out {
	struct sg_writer *w;
	size_t start;
};
struct sg_gob_out sg_gob_begin(struct sg_writer *w, int64_t id);
void sg_gob_end(struct sg_gob_out *o);

struct sg_gob_field_def {
	const char *name;
	int64_t type;
};
void sg_gob_define_struct(
	struct sg_writer *w, int64_t id, const char *name, const struct sg_gob_field_def *f, size_t n);
void sg_gob_define_array(struct sg_writer *w, int64_t id, const char *name, int64_t elem, int64_t len);
void sg_gob_define_slice(struct sg_writer *w, int64_t id, const char *name, int64_t elem);
void sg_gob_define_opaque(struct sg_writer *w, int64_t id, const char *name);

SG_END_DECLS
#endif
