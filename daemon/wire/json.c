/*
 * JSON between Jansson and the habits of the existing network. Jansson cannot tell a malformed value from one that is
 * not whole yet, so a scan that knows only strings and brackets finds the end of a value in a byte run first.
 */
#include "wire/json.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/limits.h"

#include <strings.h>

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

size_t sg_json_space(struct sg_view in)
{
	size_t n = 0;

	while (n < in.len && is_space(in.p[n]))
		n++;
	return n;
}

int sg_json_scan(struct sg_json_scan *s, struct sg_view in, size_t max)
{
	for (; s->at < in.len && s->at < max; s->at++) {
		uint8_t c = in.p[s->at];

		if (s->escaped)
			s->escaped = false;
		else if (s->quoted && c == '\\')
			s->escaped = true;
		else if (s->depth && c == '"')
			s->quoted = !s->quoted;
		else if (!s->quoted && (c == '{' || (s->depth && c == '[')))
			s->depth++;
		else if (!s->depth && !is_space(c))
			return SG_EMALF;
		else if (!s->quoted && (c == '}' || c == ']') && --s->depth == 0)
			return (int)s->at + 1;
	}
	return in.len >= max ? SG_ELONG : 0;
}

/* Bytes of a JSON number at the front of @s, 0 when there is none. */
static size_t number_len(const uint8_t *s)
{
	const uint8_t *p = s + (*s == '-');
	const char digits[] = "0123456789";
	size_t n = strspn((const char *)p, digits);

	if (n == 0 || (n > 1 && *p == '0'))
		return 0;
	p += n;
	if (*p == '.') {
		n = strspn((const char *)p + 1, digits);
		if (n == 0)
			return 0;
		p += 1 + n;
	}
	if (*p == 'e' || *p == 'E') {
		p += 1 + (p[1] == '+' || p[1] == '-');
		n = strspn((const char *)p, digits);
		if (n == 0)
			return 0;
		p += n;
	}
	return (size_t)(p - s);
}

/* A number that Jansson may find too large: no member of ours may be one, so any value that is no number says enough. */
static size_t soften_number(uint8_t *p, bool *changed)
{
	static const uint8_t word[] = {'t', 'r', 'u', 'e'};
	size_t len = number_len(p);

	if (len >= sizeof(word) && (len > 18 || memchr(p, 'e', len) || memchr(p, 'E', len))) {
		memcpy(p, word, sizeof(word));
		memset(p + sizeof(word), ' ', len - sizeof(word));
		*changed = true;
	}
	return len ? len : 1;
}

static unsigned escaped_unit(const uint8_t *p)
{
	uint8_t b[2];

	return p[0] == '\\' && p[1] == 'u' && sg_hex_parse((const char *)p + 2, 4, b, 2) == 0
		       ? (unsigned)b[0] << 8 | b[1]
		       : UINT16_MAX + 1U;
}

/* A character in a string: NUL, half a surrogate pair and what is no UTF-8 become the replacement character, or '?'. */
static size_t soften_character(uint8_t *p, bool *changed)
{
	static const uint8_t replacement[] = {'f', 'f', 'f', 'd'};
	unsigned u = escaped_unit(p);
	size_t len = sg_utf8_len(p);

	if (u <= UINT16_MAX) {
		unsigned low = u >= 0xd800 && u < 0xdc00 ? escaped_unit(p + 6) : 0;

		if (low >= 0xdc00 && low < 0xe000)
			return 12;
		if (u == 0 || (u >= 0xd800 && u < 0xe000)) {
			memcpy(p + 2, replacement, sizeof(replacement));
			*changed = true;
		}
		return 6;
	}
	if (*p == '\\' && p[1])
		return 2;
	if (len == 0) {
		*p = '?';
		*changed = true;
	}
	return len ? len : 1;
}

/* Zeros follow @s. */
static bool soften(uint8_t *s, size_t len)
{
	bool quoted = false, changed = false;

	for (size_t i = 0; i < len;) {
		if (s[i] == '"') {
			quoted = !quoted;
			i++;
		} else if (quoted) {
			i += soften_character(s + i, &changed);
		} else {
			i += soften_number(s + i, &changed);
		}
	}
	return changed;
}

json_t *sg_json_parse_peer(struct sg_view in)
{
	json_t *root = sg_json_parse(in, NULL);
	uint8_t *copy;

	if (root || memchr(in.p, '\0', in.len))
		return root;
	copy = sg_calloc(1, in.len + 8); /* zeros behind, so that a look ahead ends there */
	if (!copy)
		return NULL;
	memcpy(copy, in.p, in.len);
	if (soften(copy, in.len))
		root = sg_json_parse((struct sg_view){copy, in.len}, NULL);
	sg_free(copy);
	return root;
}

int sg_json_object(struct sg_view in, size_t max, json_t **out)
{
	struct sg_json_scan scan = {0};
	int len = sg_json_scan(&scan, in, max);

	if (len <= 0)
		return len;
	*out = sg_json_parse_peer((struct sg_view){in.p, (size_t)len});
	if (!*out)
		return SG_EMALF;
	if ((size_t)len < in.len && in.p[len] == '\n')
		len++;
	return len;
}

/*
 * More values, or values more deeply within others, than a text may have: each is memory, and each level is stack. Every value
 * but the first has a bracket or a comma before it.
 */
static bool too_much(struct sg_view in)
{
	bool quoted = false;
	size_t n = 0, depth = 0;

	for (size_t i = 0; i < in.len && n <= SG_JSON_VALUES_MAX && depth <= SG_JSON_DEPTH_MAX; i++) {
		uint8_t c = in.p[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted) {
			n += c == ',' || c == '[' || c == '{';
			depth += c == '[' || c == '{';
			depth -= depth && (c == ']' || c == '}');
		}
	}
	return n > SG_JSON_VALUES_MAX || depth > SG_JSON_DEPTH_MAX;
}

json_t *sg_json_parse(struct sg_view in, size_t *used)
{
	json_error_t err;
	json_t *root;

	if (too_much(in))
		return NULL;
	root = json_loadb((const char *)in.p, in.len, JSON_DECODE_ANY | (used ? JSON_DISABLE_EOF_CHECK : 0), &err);

	if (root && used)
		*used = (size_t)err.position;
	return root;
}

json_t *sg_json_get(const json_t *obj, const char *name)
{
	json_t *exact = json_object_get(obj, name);
	void *it;

	if (exact)
		return exact;
	for (it = json_object_iter((json_t *)obj); it; it = json_object_iter_next((json_t *)obj, it)) {
		if (strcasecmp(json_object_iter_key(it), name) == 0)
			return json_object_iter_value(it);
	}
	return NULL;
}

int sg_json_get_text(const json_t *obj, const char *name, struct sg_view *out)
{
	const json_t *v = sg_json_get(obj, name);

	*out = (struct sg_view){(const uint8_t *)"", 0};
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return SG_EMALF;
	*out = (struct sg_view){(const uint8_t *)json_string_value(v), json_string_length(v)};
	return 0;
}

int sg_json_get_string(const json_t *obj, const char *name, char *out, size_t cap)
{
	struct sg_view v;
	int err = sg_json_get_text(obj, name, &v);

	out[0] = '\0';
	if (err == 0 && v.len >= cap)
		err = SG_ELONG;
	else if (err == 0 && memchr(v.p, '\0', v.len))
		err = SG_EMALF;
	if (err < 0)
		return err;
	memcpy(out, v.p, v.len);
	out[v.len] = '\0';
	return 0;
}

int sg_json_get_uint(const json_t *obj, const char *name, uint64_t max, uint64_t *out)
{
	const json_t *v = sg_json_get(obj, name);

	*out = 0;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
		return SG_EMALF;
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

int sg_json_get_array(const json_t *obj, const char *name, const json_t **out)
{
	const json_t *v = sg_json_get(obj, name);

	*out = json_is_array(v) ? v : NULL;
	return !v || json_is_null(v) || json_is_array(v) ? 0 : SG_EMALF;
}

static bool is_line_separator(const uint8_t *s)
{
	return s[0] == 0xe2 && s[1] == 0x80 && (s[2] & 0xfe) == 0xa8; /* U+2028, U+2029 */
}

void sg_json_text_add(struct sg_text *t, const char *s)
{
	static const char plain[] = "\"\\\n\r\t", named[] = "\"\\nrt";
	const uint8_t *p = (const uint8_t *)s;

	sg_text_add(t, "\"");
	while (*p) {
		size_t len = sg_utf8_len(p);
		const char *at = strchr(plain, *p);

		if (at)
			sg_text_addf(t, "\\%c", named[at - plain]);
		else if (*p < 0x20 || *p == '<' || *p == '>' || *p == '&')
			sg_text_addf(t, "\\u%04x", *p);
		else if (len == 0)
			sg_text_add(t, "\\ufffd");
		else if (len == 3 && is_line_separator(p))
			sg_text_addf(t, "\\u202%x", p[2] & 0xf);
		else
			sg_text_addf(t, "%.*s", (int)len, (const char *)p);
		p += len ? len : 1;
	}
	sg_text_add(t, "\"");
}
