/*
 * JSON as the existing network writes and reads it: compact, members in a given order, '<' '>' '&' escaped; read with
 * member names matched without regard to case, unknown members ignored. Jansson underneath.
 */
#ifndef SG_WIRE_JSON_H
#define SG_WIRE_JSON_H

#include "base/text.h"
#include <jansson.h>

SG_BEGIN_DECLS

/**
 * sg_json_parse - one JSON value; depth and duplicates are bounded by Jansson, the size by the caller.
 * @used: when not NULL, bytes may follow the value and *used tells where it ends; otherwise only white space may.
 * NULL when malformed or out of memory. Returns new.
 */
json_t *sg_json_parse(struct sg_view in, size_t *used);
/** sg_json_get - member of an object, exact name first, then without regard to case; NULL if absent. Borrowed. */
json_t *sg_json_get(const json_t *obj, const char *name);
/** sg_json_text_add - a quoted string with Go's escapes. */
void sg_json_text_add(struct sg_text *t, const char *s);

SG_END_DECLS
#endif
