/*
 * A JSON tree for vector files. Numbers stay the characters that stand in the file, for they go up to 2^64-1 and down to
 * -2^63, which neither a double nor a signed 64-bit integer holds; strings may hold any byte. Not for strangers' input.
 */
#ifndef SG_TESTS_VECTORS_VALUE_H
#define SG_TESTS_VECTORS_VALUE_H

#include <skygate/types.h>

enum value_kind { VALUE_NULL, VALUE_BOOL, VALUE_NUMBER, VALUE_STRING, VALUE_ARRAY, VALUE_OBJECT };

struct value {
	enum value_kind kind;
	bool truth;
	char *text;           /* of a string, NUL behind it; the characters of a number */
	size_t len;           /* of text */
	struct member *items; /* of arrays and objects */
	size_t count;
};

struct member {
	char *name; /* NULL in arrays */
	struct value value;
};

/** value_parse - the whole text. NULL: malformed. Free with value_free. */
struct value *value_parse(const char *text, size_t len);
void value_free(struct value *v);

/* Members; NULL, or the given default, when absent or of another kind. @v may be NULL. */
const struct value *value_get(const struct value *v, const char *name);
const struct value *value_list(const struct value *v, const char *name);
const struct value *value_object(const struct value *v, const char *name);
/** value_text - a string member, or NULL. */
const char *value_text(const struct value *v, const char *name);
bool value_is_null(const struct value *v, const char *name); /* absent or null */
bool value_bool(const struct value *v, const char *name);
/** value_u64 / value_i64 - a number member in that range. False: absent, no integer, or out of range. */
bool value_u64(const struct value *v, const char *name, uint64_t *out);
bool value_i64(const struct value *v, const char *name, int64_t *out);
bool value_as_u64(const struct value *v, uint64_t *out);

#endif
