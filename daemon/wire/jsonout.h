/*
 * JSON written straight into one growing text, for answers of thousands of members: a tree would take four allocations for each
 * of them, and its text be made twice. What comes out is what Jansson writes of the same values in its compact form.
 */
#ifndef SG_WIRE_JSONOUT_H
#define SG_WIRE_JSONOUT_H

#include "wire/json.h"

/* All zero bytes but max is an empty one. Errors are sticky: whoever takes the text asks once. */
struct sg_json_out {
	char *text; /* owned, not terminated; NULL: nothing yet */
	size_t len, cap, max;
	bool comma; /* a value stands before the next one */
	int err;    /* -ENOMEM, or SG_ELONG: it would be longer than max */
};

SG_BEGIN_DECLS

/** sg_json_raw - bytes as they are: what is no value, or is JSON already. */
void sg_json_raw(struct sg_json_out *o, const char *s, size_t len);
/** sg_json_open - an object ('{') or an array ('['). @name of this and all that follow: of the member, NULL in an array. */
void sg_json_open(struct sg_json_out *o, const char *name, char bracket);
/** sg_json_close - @bracket: '}' or ']'. */
void sg_json_close(struct sg_json_out *o, char bracket);
/** sg_json_put_text - where it is no UTF-8, every byte beyond ASCII becomes '?'. */
void sg_json_put_text(struct sg_json_out *o, const char *name, const char *s);
void sg_json_put_int(struct sg_json_out *o, const char *name, int64_t v);
void sg_json_put_bool(struct sg_json_out *o, const char *name, bool v);
void sg_json_put_null(struct sg_json_out *o, const char *name);
/** sg_json_put_pk - 66 digits. */
void sg_json_put_pk(struct sg_json_out *o, const char *name, const struct sg_pk *pk);
/** sg_json_put_value - @v, a tree of ours, is borrowed; NULL counts as out of memory. */
void sg_json_put_value(struct sg_json_out *o, const char *name, const json_t *v);
/** sg_json_take - the text with a zero byte behind it (sg_free), or NULL; afterwards @o is empty, its error stays. */
char *sg_json_take(struct sg_json_out *o);

SG_END_DECLS
#endif
