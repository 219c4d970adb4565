/* Members and values into one text. */
#include "wire/jsonout.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"

#define FIRST_BYTES  512
#define ESCAPE_BYTES 6  /* \u001F */
#define NUMBER_BYTES 20 /* of 64 bits with a sign */

/* Room for @n more bytes; NULL: there is none. */
static char *room(struct sg_json_out *o, size_t n)
{
	size_t cap;
	char *text;

	if (o->err)
		return NULL;
	if (n <= o->cap - o->len)
		return o->text + o->len;
	cap = SG_MAX(SG_MAX(2 * o->cap, o->len + n), (size_t)FIRST_BYTES);
	text = sg_realloc(o->text, cap);
	if (!text) {
		o->err = -ENOMEM;
		return NULL;
	}
	o->text = text;
	o->cap = cap;
	return text + o->len;
}

/* What was written into the room ends there. */
static void ends(struct sg_json_out *o, const char *end)
{
	o->len = (size_t)(end - o->text);
	if (o->len > o->max)
		o->err = SG_ELONG;
}

static char *copy(char *at, const char *s, size_t len)
{
	memcpy(at, s, len);
	return at + len;
}

/* Comma and name, which are plain, and @n bytes of room behind them. */
static char *begin(struct sg_json_out *o, const char *name, size_t n)
{
	size_t len = name ? strlen(name) : 0;
	char *at = room(o, len + 4 + n);

	if (!at)
		return NULL;
	if (o->comma)
		*at++ = ',';
	o->comma = true;
	if (name) {
		*at++ = '"';
		at = copy(at, name, len);
		at = copy(at, "\":", 2);
	}
	return at;
}

void sg_json_raw(struct sg_json_out *o, const char *s, size_t len)
{
	char *at = room(o, len);

	if (at && len)
		ends(o, copy(at, s, len));
}

void sg_json_open(struct sg_json_out *o, const char *name, char bracket)
{
	char *at = begin(o, name, 1);

	if (!at)
		return;
	*at++ = bracket;
	ends(o, at);
	o->comma = false;
}

void sg_json_close(struct sg_json_out *o, char bracket)
{
	sg_json_raw(o, &bracket, 1);
	o->comma = true;
}

static bool is_utf8(const uint8_t *p)
{
	size_t len;

	for (; *p; p += len) {
		len = *p < 0x80 ? 1 : sg_utf8_len(p); /* nearly all */
		if (len == 0)
			return false;
	}
	return true;
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

static char *escape(char *at, uint8_t c)
{
	static const char plain[] = "\"\\\b\f\n\r\t", named[] = "\"\\bfnrt", digits[] = "0123456789ABCDEF";
	const char *p = c ? strchr(plain, c) : NULL;

	*at++ = '\\';
	if (p) {
		*at++ = named[p - plain];
		return at;
	}
	at = copy(at, "u00", 3);
	*at++ = digits[c >> 4];
	*at++ = digits[c & 15];
	return at;
}

static char *quote(char *at, const char *s, size_t len)
{
	*at++ = '"';
	for (size_t i = 0, from = 0; i <= len; i++) {
		if (i < len && is_plain((uint8_t)s[i]))
			continue;
		at = copy(at, s + from, i - from);
		if (i < len)
			at = escape(at, (uint8_t)s[i]);
		from = i + 1;
	}
	*at++ = '"';
	return at;
}

static void put_string(struct sg_json_out *o, const char *name, const char *s, size_t len)
{
	char *at = begin(o, name, len * ESCAPE_BYTES + 2);

	if (at)
		ends(o, quote(at, s, len));
}

void sg_json_put_text(struct sg_json_out *o, const char *name, const char *s)
{
	size_t len = strlen(s), from = o->len;

	put_string(o, name, s, len);
	if (o->err || is_utf8((const uint8_t *)s))
		return;
	for (char *p = o->text + from; p < o->text + o->len; p++) {
		if ((uint8_t)*p >= 0x80)
			*p = '?';
	}
}

void sg_json_put_int(struct sg_json_out *o, const char *name, int64_t v)
{
	char *at = begin(o, name, NUMBER_BYTES), digits[NUMBER_BYTES];
	uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	size_t n = 0;

	if (!at)
		return;
	if (v < 0)
		*at++ = '-';
	while (rest > UINT32_MAX) {
		digits[n++] = (char)('0' + rest % 10);
		rest /= 10;
	}
	/* Most are short, and where registers are, too, a long division is a function. */
	for (uint32_t few = (uint32_t)rest; few || n == 0; few /= 10)
		digits[n++] = (char)('0' + few % 10);
	while (n)
		*at++ = digits[--n];
	ends(o, at);
}

static void word(struct sg_json_out *o, const char *name, const char *s)
{
	size_t len = strlen(s);
	char *at = begin(o, name, len);

	if (at)
		ends(o, copy(at, s, len));
}

void sg_json_put_bool(struct sg_json_out *o, const char *name, bool v)
{
	word(o, name, v ? "true" : "false");
}

void sg_json_put_null(struct sg_json_out *o, const char *name)
{
	word(o, name, "null");
}

void sg_json_put_pk(struct sg_json_out *o, const char *name, const struct sg_pk *pk)
{
	char *at = begin(o, name, SG_PK_TEXT + 2);

	if (!at)
		return;
	*at++ = '"';
	sg_pk_str(pk, at);
	at += SG_PK_TEXT - 1;
	*at++ = '"';
	ends(o, at);
}

static void put_object(struct sg_json_out *o, const char *name, const json_t *v)
{
	sg_json_open(o, name, '{');
	for (void *it = json_object_iter((json_t *)v); it; it = json_object_iter_next((json_t *)v, it)) {
		const char *key = json_object_iter_key(it);

		put_string(o, NULL, key, strlen(key));
		sg_json_raw(o, ":", 1);
		o->comma = false;
		sg_json_put_value(o, NULL, json_object_iter_value(it));
	}
	sg_json_close(o, '}');
}

static void put_array(struct sg_json_out *o, const char *name, const json_t *v)
{
	sg_json_open(o, name, '[');
	for (size_t i = 0; i < json_array_size(v); i++)
		sg_json_put_value(o, NULL, json_array_get(v, i));
	sg_json_close(o, ']');
}

/* What we never say: it takes the library's way with its digits. */
static void put_real(struct sg_json_out *o, const char *name, const json_t *v)
{
	char text[64];
	size_t len = json_dumpb(v, text, sizeof(text), JSON_ENCODE_ANY);
	char *at = len <= sizeof(text) ? begin(o, name, len) : NULL;

	if (at)
		ends(o, copy(at, text, len));
}

void sg_json_put_value(struct sg_json_out *o, const char *name, const json_t *v)
{
	if (!v) {
		o->err = o->err ? o->err : -ENOMEM;
		return;
	}
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		put_object(o, name, v);
		break;
	case JSON_ARRAY:
		put_array(o, name, v);
		break;
	case JSON_STRING:
		put_string(o, name, json_string_value(v), json_string_length(v));
		break;
	case JSON_INTEGER:
		sg_json_put_int(o, name, json_integer_value(v));
		break;
	case JSON_REAL:
		put_real(o, name, v);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		sg_json_put_bool(o, name, json_is_true(v));
		break;
	case JSON_NULL:
		sg_json_put_null(o, name);
		break;
	}
}

char *sg_json_take(struct sg_json_out *o)
{
	char *text = room(o, 1);

	if (text) {
		*text = '\0';
		text = o->text;
	} else {
		sg_free(o->text);
	}
	*o = (struct sg_json_out){.max = o->max, .err = o->err};
	return text;
}
