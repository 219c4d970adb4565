/*
 * JSON as the existing network writes and reads it: compact, members in a given order, '<' '>' '&' escaped; read with
 * member names matched without regard to case, unknown members ignored. Jansson underneath.
 */
#ifndef SG_WIRE_JSON_H
#define SG_WIRE_JSON_H

#include "base/text.h"
#include <jansson.h>

/* How far a byte run was looked through for the end of its object, so that no byte is looked at twice. All zeros at first. */
struct sg_json_scan {
	size_t at;
	unsigned depth;
	bool quoted, escaped;
};

SG_BEGIN_DECLS

/**
 * sg_json_parse - one JSON value; depth and duplicates are bounded by Jansson, the size by the caller.
 * @used: when not NULL, bytes may follow the value and *used tells where it ends; otherwise only white space may.
 * NULL when malformed or out of memory. Returns new.
 */
json_t *sg_json_parse(struct sg_view in, size_t *used);
/**
 * sg_json_scan - where the object at the front of a byte run ends, at most @max bytes from its start: bytes through the
 * closing brace, 0 if more are needed (then the same run, longer, with the same @s), SG_EMALF (no object) or SG_ELONG. What is
 * inside is the parser's question.
 */
int sg_json_scan(struct sg_json_scan *s, struct sg_view in, size_t max);
/** sg_json_space - bytes of white space at the front. */
size_t sg_json_space(struct sg_view in);
/**
 * sg_json_parse_peer - one JSON value of a peer, read as leniently as Go reads it where Jansson does not: a number too
 * large for it, NUL, half a surrogate pair or bytes that are no UTF-8 in a member that nobody asks for must not spoil
 * the rest. Such a number is then no number, such a character a replacement. NULL as sg_json_parse. Returns new.
 */
json_t *sg_json_parse_peer(struct sg_view in);
/**
 * sg_json_object - the object at the front of a byte run, parsed. Bytes used (the newline behind it too when it is
 * there), 0 if more are needed, SG_EMALF (also: out of memory) or SG_ELONG. @out: returns new, only when > 0.
 */
int sg_json_object(struct sg_view in, size_t max, json_t **out);
/** sg_json_get - member of an object, exact name first, then without regard to case; NULL if absent. Borrowed. */
json_t *sg_json_get(const json_t *obj, const char *name);

/*
 * Members as Go decodes them: absent and null give "", 0 or NULL; another type gives SG_EMALF. @out borrows from @obj.
 */
int sg_json_get_text(const json_t *obj, const char *name, struct sg_view *out);
/** sg_json_get_string - copied with its end: 0, SG_ELONG, or SG_EMALF, also of one with a zero byte in it. */
int sg_json_get_string(const json_t *obj, const char *name, char *out, size_t cap);
int sg_json_get_uint(const json_t *obj, const char *name, uint64_t max, uint64_t *out);
int sg_json_get_array(const json_t *obj, const char *name, const json_t **out);

/** sg_json_text_add - a quoted string with Go's escapes. */
void sg_json_text_add(struct sg_text *t, const char *s);

SG_END_DECLS
#endif
