/* What is in a document of UCI. */
#include "wire/uci.h"
#include "base/alloc.h"
#include "base/common.h"

static void free_option(struct sg_uci_option *o)
{
	sg_list_for_safe (it, &o->values) {
		struct sg_uci_value *v = sg_container_of(it, struct sg_uci_value, node);

		if (v->text)
			sg_wipe(v->text, strlen(v->text));
		sg_free(v->text);
		sg_free(v);
	}
	sg_free(o->name);
	sg_free(o);
}

void sg_uci_free(struct sg_uci *doc)
{
	if (!doc)
		return;
	sg_list_for_safe (it, &doc->sections) {
		struct sg_uci_section *s = sg_container_of(it, struct sg_uci_section, node);

		sg_list_for_safe (io, &s->options)
			free_option(sg_container_of(io, struct sg_uci_option, node));
		sg_free(s->type);
		sg_free(s->name);
		sg_free(s);
	}
	sg_free(doc->file);
	sg_free(doc);
}

const struct sg_uci_section *sg_uci_next(const struct sg_uci *doc, const char *type, const struct sg_uci_section *prev)
{
	for (const struct sg_list *it = prev ? prev->node.next : doc->sections.next; it != &doc->sections;
		it = it->next) {
		const struct sg_uci_section *s = sg_container_of(it, struct sg_uci_section, node);

		if (strcmp(s->type, type) == 0)
			return s;
	}
	return NULL;
}

const struct sg_uci_section *sg_uci_find(const struct sg_uci *doc, const char *type, const char *name)
{
	const struct sg_uci_section *s = NULL;

	while ((s = sg_uci_next(doc, type, s))) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

const struct sg_uci_option *sg_uci_option(const struct sg_uci_section *s, const char *option)
{
	sg_list_for (it, &s->options) {
		const struct sg_uci_option *o = sg_container_of(it, struct sg_uci_option, node);

		if (strcmp(o->name, option) == 0)
			return o;
	}
	return NULL;
}

const char *sg_uci_get(const struct sg_uci_section *s, const char *option, const char *def)
{
	const struct sg_uci_option *o = sg_uci_option(s, option);

	if (!o)
		return def;
	return sg_container_of(o->values.next, struct sg_uci_value, node)->text;
}

bool sg_uci_bool(const struct sg_uci_section *s, const char *option, bool def)
{
	const char *v = sg_uci_get(s, option, NULL);

	if (!v)
		return def;
	return strcmp(v, "1") == 0 || strcmp(v, "on") == 0 || strcmp(v, "yes") == 0 || strcmp(v, "true") == 0;
}

uint64_t sg_uci_uint(const struct sg_uci_section *s, const char *option, uint64_t def)
{
	const char *v = sg_uci_get(s, option, NULL);
	uint64_t n;

	return v && sg_parse_u64(v, UINT64_MAX, &n) == 0 ? n : def;
}

/* FNV-1a, the end of the text with it. */
static uint64_t mix(uint64_t h, const char *text)
{
	do
		h = (h ^ (uint8_t)*text) * 0x100000001b3ULL;
	while (*text++);
	return h;
}

uint64_t sg_uci_digest(const struct sg_uci_section *s, const char *const *options)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (; *options; options++) {
		const struct sg_uci_option *o = s ? sg_uci_option(s, *options) : NULL;

		if (!o)
			continue;
		h = mix(h, *options);
		sg_list_for (it, &o->values)
			h = mix(h, sg_container_of(it, struct sg_uci_value, node)->text);
	}
	return h;
}
