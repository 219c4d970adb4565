/* A document as text. */
#include "fake/uci.h"
#include "base/alloc.h"
#include "base/common.h"

#include <errno.h>

/* Counts first, with p NULL, then writes. */
struct sink {
	char *p;
	size_t len;
};

static void put(struct sink *k, const char *s, size_t n)
{
	if (k->p)
		memcpy(k->p + k->len, s, n);
	k->len += n;
}

static void put_str(struct sink *k, const char *s)
{
	put(k, s, strlen(s));
}

static void put_quoted(struct sink *k, const char *s)
{
	put_str(k, "'");
	for (; *s; s++) {
		if (*s == '\'')
			put_str(k, "'\\''");
		else
			put(k, s, 1);
	}
	put_str(k, "'\n");
}

static void put_option(struct sink *k, const struct sg_uci_option *o)
{
	sg_list_for (it, &o->values) {
		put_str(k, o->is_list ? "\tlist " : "\toption ");
		put_str(k, o->name);
		put_str(k, " ");
		put_quoted(k, sg_container_of(it, struct sg_uci_value, node)->text);
	}
}

static void put_doc(struct sink *k, const struct sg_uci *doc)
{
	sg_list_for (it, &doc->sections) {
		const struct sg_uci_section *s = sg_container_of(it, struct sg_uci_section, node);

		if (k->len)
			put_str(k, "\n");
		put_str(k, "config ");
		put_str(k, s->type);
		if (s->name[0]) {
			put_str(k, " ");
			put_quoted(k, s->name);
		} else {
			put_str(k, "\n");
		}
		sg_list_for (io, &s->options)
			put_option(k, sg_container_of(io, struct sg_uci_option, node));
	}
	put(k, "", 1);
}

int fake_uci_format(const struct sg_uci *doc, char **out)
{
	struct sink k = {NULL, 0};

	put_doc(&k, doc);
	k.p = sg_malloc(k.len);
	*out = k.p;
	if (!k.p)
		return -ENOMEM;
	k.len = 0;
	put_doc(&k, doc);
	return 0;
}
