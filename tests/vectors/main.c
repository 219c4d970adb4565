/*
 * sg-vectors FILE: runs every section of a file of test vectors through the library functions that the daemon uses.
 * Prints per section "section: N passed, N failed, N skipped (reason)", then a total; differences go to standard error.
 * Exit status: 0 nothing failed, 1 something did, 2 the file cannot be read.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "run.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#define SHOWN 200 /* characters of a value in a difference */

void list_begin(struct run *r, const char *sub)
{
	snprintf(r->list, sizeof(r->list), "%s%s%s", r->section, sub ? "." : "", sub ? sub : "");
	r->passed = r->failures = r->skipped = 0;
	r->why = NULL;
}

void list_end(struct run *r)
{
	printf("%s: %zu passed, %zu failed, %zu skipped", r->list, r->passed, r->failures, r->skipped);
	if (r->why)
		printf(" (%s)", r->why);
	printf("\n");
	r->all_passed += r->passed;
	r->all_failed += r->failures;
	r->all_skipped += r->skipped;
}

void case_begin(struct run *r, size_t index, const char *name)
{
	r->index = index;
	r->name = name;
	r->failed = false;
}

void case_end(struct run *r)
{
	if (r->failed)
		r->failures++;
	else
		r->passed++;
}

void case_skip(struct run *r, const char *why)
{
	r->skipped++;
	r->why = why;
}

void each_case(struct run *r, const struct value *list, const char *name, case_fn *fn)
{
	list_begin(r, NULL);
	for (size_t i = 0; list && i < list->count; i++) {
		case_begin(r, i, value_text(&list->items[i].value, name));
		fn(r, &list->items[i].value);
		case_end(r);
	}
	list_end(r);
}

void expect_true(struct run *r, const char *field, bool ok, const char *want, const char *got)
{
	if (ok || r->failed)
		return;
	r->failed = true;
	if (r->quiet)
		return;
	fprintf(stderr, "%s[%zu] %s%s%s: expected %.*s%s got %.*s%s\n", r->list, r->index, r->name ? r->name : "",
		r->name ? ": " : "", field, SHOWN, want, strlen(want) > SHOWN ? "..." : "", SHOWN, got,
		strlen(got) > SHOWN ? "..." : "");
}

void expect_text(struct run *r, const char *field, const char *want, const char *got)
{
	bool same = want && got ? strcmp(want, got) == 0 : want == got;

	expect_true(r, field, same, want ? want : "null", got ? got : "null");
}

void expect_number(struct run *r, const char *field, uint64_t want, uint64_t got)
{
	char w[24], g[24];

	snprintf(w, sizeof(w), "%llu", (unsigned long long)want);
	snprintf(g, sizeof(g), "%llu", (unsigned long long)got);
	expect_text(r, field, w, g);
}

void expect_hex(struct run *r, const char *field, const char *want, const void *got, size_t len)
{
	char *text = malloc(2 * len + 1);

	if (!text)
		abort();
	sg_hex_format(got, len, text, 2 * len + 1);
	expect_true(r, field, want && strcmp(want, text) == 0, want ? want : "a member of that name", text);
	free(text);
}

void expect_hex_of(struct run *r, const struct value *v, const char *field, const void *got, size_t len)
{
	if (value_get(v, field))
		expect_hex(r, field, value_text(v, field), got, len);
}

void expect_bytes(struct run *r, const char *field, struct sg_view want, struct sg_view got)
{
	char *text = malloc(2 * want.len + 1);

	if (!text)
		abort();
	expect_hex(r, field, sg_hex_format(want.p, want.len, text, 2 * want.len + 1), got.p, got.len);
	free(text);
}

void expect_outcome(struct run *r, const char *field, bool want_ok, int err)
{
	expect_true(r, field, want_ok == (err >= 0), want_ok ? "success" : "an error",
		err >= 0 ? "success" : sg_errname(err));
}

uint8_t *hex_bytes(struct run *r, const struct value *v, const char *field, size_t *len)
{
	const struct value *m = value_get(v, field);
	uint8_t *out = NULL;

	*len = 0;
	if (m && m->kind == VALUE_STRING && m->len % 2 == 0) {
		*len = m->len / 2;
		out = malloc(*len + 1);
		if (!out)
			abort();
		if (sg_hex_parse(m->text, m->len, out, *len) == 0)
			return out;
	}
	free(out);
	expect_true(r, field, false, "hexadecimal", m && m->text ? m->text : "nothing");
	return NULL;
}

bool hex_fixed(struct run *r, const struct value *v, const char *field, void *out, size_t len)
{
	const char *text = value_text(v, field);
	bool ok = text && sg_hex_parse(text, strlen(text), out, len) == 0;

	expect_true(r, field, ok, "hexadecimal of the right length", text ? text : "nothing");
	return ok;
}

struct sg_view text_view(const char *s)
{
	return (struct sg_view){(const uint8_t *)s, strlen(s)};
}

bool same_name(const char *in_file, const char *name)
{
	size_t len = strlen(name);

	return strncmp(in_file, name, len) == 0 && (in_file[len] == '\0' || in_file[len] == '#');
}

static const struct section *find(const char *name, const struct value *v)
{
	static const struct section *const tables[] = {
		dmsg_sections, transports_sections, routing_sections, apps_sections};

	for (size_t t = 0; t < SG_ARRAY_LEN(tables); t++) {
		for (const struct section *s = tables[t]; s->name; s++) {
			if (same_name(name, s->name) && (!s->fits || s->fits(v)))
				return s;
		}
	}
	return NULL;
}

/* How many cases a section that is not run holds: those of its only list, or it counts as one. */
static size_t cases_in(const struct value *v)
{
	const struct value *list = value_list(v, "items") ? value_list(v, "items") : value_list(v, "cases");

	if (v->kind == VALUE_ARRAY)
		list = v;
	return list && list->count ? list->count : 1;
}

static bool is_prose(const char *name)
{
	static const char *const prose[] = {"_about", "about", "description", "note", "provenance"};

	for (size_t i = 0; i < SG_ARRAY_LEN(prose); i++) {
		if (strcmp(name, prose[i]) == 0)
			return true;
	}
	return false;
}

static void run_section(struct run *r, const struct value *v)
{
	const struct section *s = find(r->section, v);

	if (s && s->run) {
		s->run(r, v);
		return;
	}
	list_begin(r, NULL);
	for (size_t i = 0; i < cases_in(v); i++)
		case_skip(r, s ? s->why : "unknown section");
	list_end(r);
}

static char *load(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *text = NULL;
	size_t cap = 0;

	*len = 0;
	while (f && !feof(f) && !ferror(f)) {
		if (*len == cap) {
			cap = cap ? 2 * cap : 65536;
			text = realloc(text, cap);
			if (!text)
				abort();
		}
		*len += fread(text + *len, 1, cap - *len, f);
	}
	if (f && !ferror(f)) {
		fclose(f);
		return text;
	}
	fprintf(stderr, "sg-vectors: %s: %s\n", path, strerror(errno));
	if (f)
		fclose(f);
	free(text);
	return NULL;
}

int main(int argc, char **argv)
{
	struct fake_random random;
	struct run r = {.random = &random};
	struct sg_crypto *c;
	struct value *file;
	char *text;
	size_t len;

	if (argc != 2) {
		fprintf(stderr, "usage: sg-vectors FILE.json\n");
		return 2;
	}
	json_set_alloc_funcs(sg_malloc, sg_free);
	text = load(argv[1], &len);
	if (!text)
		return 2;
	file = value_parse(text, len);
	free(text);
	if (!file || file->kind != VALUE_OBJECT) {
		fprintf(stderr, "sg-vectors: %s: not a JSON object\n", argv[1]);
		value_free(file);
		return 2;
	}
	fake_random_init(&random);
	c = sg_crypto_new(&random.base);
	if (!c)
		abort();
	r.c = c;
	r.file = file;
	for (size_t i = 0; i < file->count; i++) {
		r.section = file->items[i].name;
		if (!is_prose(r.section))
			run_section(&r, &file->items[i].value);
	}
	printf("total: %zu passed, %zu failed, %zu skipped\n", r.all_passed, r.all_failed, r.all_skipped);
	sg_crypto_free(c);
	value_free(file);
	return r.all_failed ? 1 : 0;
}
