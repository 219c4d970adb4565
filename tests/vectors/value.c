#include "value.h"
#include "base/common.h"

#include <errno.h>
#include <stdlib.h>

#define DEPTH_MAX 64

struct parser {
	const char *p, *end;
	int depth;
};

static void *grow(void *p, size_t n, size_t size)
{
	/* In steps of powers of two, by hand: the count is all that is kept. */
	if (n && (n & (n - 1)))
		return p;
	p = realloc(p, (n ? 2 * n : 1) * size);
	if (!p)
		abort();
	return p;
}

static void skip_space(struct parser *s)
{
	while (s->p < s->end && strchr(" \t\r\n", *s->p) && *s->p)
		s->p++;
}

static bool take(struct parser *s, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0)
		return false;
	s->p += len;
	return true;
}

static void add(struct value *v, char c)
{
	v->text = grow(v->text, v->len, 1);
	v->text[v->len++] = c;
}

static void add_utf8(struct value *v, unsigned u)
{
	if (u < 0x80) {
		add(v, (char)u);
	} else if (u < 0x800) {
		add(v, (char)(0xc0 | u >> 6));
		add(v, (char)(0x80 | (u & 63)));
	} else if (u < 0x10000) {
		add(v, (char)(0xe0 | u >> 12));
		add(v, (char)(0x80 | (u >> 6 & 63)));
		add(v, (char)(0x80 | (u & 63)));
	} else {
		add(v, (char)(0xf0 | u >> 18));
		add(v, (char)(0x80 | (u >> 12 & 63)));
		add(v, (char)(0x80 | (u >> 6 & 63)));
		add(v, (char)(0x80 | (u & 63)));
	}
}

static bool hex4(struct parser *s, unsigned *out)
{
	char digits[5] = "", *stop;

	if (s->end - s->p < 4)
		return false;
	memcpy(digits, s->p, 4);
	*out = (unsigned)strtoul(digits, &stop, 16);
	s->p += 4;
	return stop == digits + 4;
}

static bool parse_escape(struct parser *s, struct value *v)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at = s->p < s->end && *s->p ? strchr(from, *s->p) : NULL;
	unsigned u, low;

	if (at) {
		s->p++;
		add(v, to[at - from]);
		return true;
	}
	if (!take(s, "u") || !hex4(s, &u))
		return false;
	if (u >= 0xd800 && u < 0xdc00) {
		if (!take(s, "\\u") || !hex4(s, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
	}
	add_utf8(v, u);
	return true;
}

static bool parse_string(struct parser *s, struct value *v)
{
	v->kind = VALUE_STRING;
	while (s->p < s->end && *s->p != '"') {
		char c = *s->p++;

		if (c != '\\')
			add(v, c);
		else if (!parse_escape(s, v))
			return false;
	}
	add(v, '\0');
	v->len--;
	return take(s, "\"");
}

static bool parse_number(struct parser *s, struct value *v)
{
	v->kind = VALUE_NUMBER;
	while (s->p < s->end && *s->p && strchr("+-.0123456789eE", *s->p))
		add(v, *s->p++);
	if (!v->len)
		return false;
	add(v, '\0');
	v->len--;
	return true;
}

static bool parse_value(struct parser *s, struct value *v);

static bool parse_items(struct parser *s, struct value *v, char close)
{
	const char closing[] = {close, '\0'};

	skip_space(s);
	if (take(s, closing))
		return true;
	for (;;) {
		struct member *m;
		struct value name = {0};

		v->items = grow(v->items, v->count, sizeof(*v->items));
		m = &v->items[v->count++];
		memset(m, 0, sizeof(*m));
		skip_space(s);
		if (close == '}') {
			bool ok = take(s, "\"") && parse_string(s, &name);

			m->name = name.text;
			skip_space(s);
			if (!ok || !take(s, ":"))
				return false;
		}
		if (!parse_value(s, &m->value))
			return false;
		skip_space(s);
		if (take(s, closing))
			return true;
		if (!take(s, ","))
			return false;
	}
}

static bool parse_value(struct parser *s, struct value *v)
{
	bool ok;

	skip_space(s);
	if (s->p == s->end || s->depth >= DEPTH_MAX)
		return false;
	s->depth++;
	if (take(s, "{")) {
		v->kind = VALUE_OBJECT;
		ok = parse_items(s, v, '}');
	} else if (take(s, "[")) {
		v->kind = VALUE_ARRAY;
		ok = parse_items(s, v, ']');
	} else if (take(s, "\"")) {
		ok = parse_string(s, v);
	} else if (take(s, "true")) {
		v->kind = VALUE_BOOL;
		ok = v->truth = true;
	} else if (take(s, "false")) {
		v->kind = VALUE_BOOL;
		ok = true;
	} else if (take(s, "null")) {
		ok = true;
	} else {
		ok = parse_number(s, v);
	}
	s->depth--;
	return ok;
}

static void clear(struct value *v)
{
	for (size_t i = 0; i < v->count; i++) {
		free(v->items[i].name);
		clear(&v->items[i].value);
	}
	free(v->items);
	free(v->text);
}

struct value *value_parse(const char *text, size_t len)
{
	struct parser s = {text, text + len, 0};
	struct value *v = calloc(1, sizeof(*v));

	if (!v)
		abort();
	if (parse_value(&s, v)) {
		skip_space(&s);
		if (s.p == s.end)
			return v;
	}
	value_free(v);
	return NULL;
}

void value_free(struct value *v)
{
	if (!v)
		return;
	clear(v);
	free(v);
}

const struct value *value_get(const struct value *v, const char *name)
{
	for (size_t i = 0; v && v->kind == VALUE_OBJECT && i < v->count; i++) {
		if (strcmp(v->items[i].name, name) == 0)
			return &v->items[i].value;
	}
	return NULL;
}

static const struct value *get_kind(const struct value *v, const char *name, enum value_kind kind)
{
	const struct value *m = value_get(v, name);

	return m && m->kind == kind ? m : NULL;
}

const struct value *value_list(const struct value *v, const char *name)
{
	return get_kind(v, name, VALUE_ARRAY);
}

const struct value *value_object(const struct value *v, const char *name)
{
	return get_kind(v, name, VALUE_OBJECT);
}

const char *value_text(const struct value *v, const char *name)
{
	const struct value *m = get_kind(v, name, VALUE_STRING);

	return m ? m->text : NULL;
}

bool value_is_null(const struct value *v, const char *name)
{
	const struct value *m = value_get(v, name);

	return !m || m->kind == VALUE_NULL;
}

bool value_bool(const struct value *v, const char *name)
{
	const struct value *m = get_kind(v, name, VALUE_BOOL);

	return m && m->truth;
}

bool value_as_u64(const struct value *v, uint64_t *out)
{
	char *stop;

	if (!v || v->kind != VALUE_NUMBER || v->text[0] == '-')
		return false;
	errno = 0;
	*out = strtoull(v->text, &stop, 10);
	return errno == 0 && !*stop;
}

static bool as_i64(const struct value *v, int64_t *out)
{
	char *stop;

	if (!v || v->kind != VALUE_NUMBER)
		return false;
	errno = 0;
	*out = strtoll(v->text, &stop, 10);
	return errno == 0 && !*stop;
}

bool value_u64(const struct value *v, const char *name, uint64_t *out)
{
	return value_as_u64(value_get(v, name), out);
}

bool value_i64(const struct value *v, const char *name, int64_t *out)
{
	return as_i64(value_get(v, name), out);
}
