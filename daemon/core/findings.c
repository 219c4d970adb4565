/* A bounded list of what a check found. */
#include "base/alloc.h"
#include "base/common.h"
#include "core/core.h"

#define FINDINGS_MAX 200

void findings_init(struct findings *f)
{
	*f = (struct findings){0};
	sg_list_init(&f->list);
}

void findings_fini(struct findings *f)
{
	sg_list_for_safe (it, &f->list)
		sg_free(sg_container_of(it, struct finding, node));
	findings_init(f);
}

void findings_report(void *arg, unsigned line, const char *text)
{
	struct findings *f = arg;
	size_t len = strlen(text) + 1;
	struct finding *e = NULL;

	if (f->n < FINDINGS_MAX)
		e = sg_malloc(sizeof(*e) + len);
	f->n++;
	if (!e) {
		f->truncated = true;
		return;
	}
	e->line = line;
	memcpy(e->text, text, len);
	sg_list_add_tail(&f->list, &e->node);
}

void findings_addf(struct findings *f, unsigned line, const char *fmt, ...)
{
	char buf[2048];
	struct sg_text t = sg_text(buf, sizeof(buf));
	va_list ap;

	va_start(ap, fmt);
	sg_text_vaddf(&t, fmt, ap);
	va_end(ap);
	findings_report(f, line, buf);
}

bool findings_has(const struct findings *f, unsigned line)
{
	sg_list_for (it, &f->list) {
		if (sg_container_of(it, struct finding, node)->line == line)
			return true;
	}
	return false;
}

void findings_print(const struct findings *f, FILE *out)
{
	sg_list_for (it, &f->list)
		fprintf(out, "%s\n", sg_container_of(it, struct finding, node)->text);
	if (f->truncated)
		fputs("… and more that is not shown\n", out);
	fprintf(out, "%zu error%s. Nothing was changed.\n", f->n, f->n == 1 ? "" : "s");
}

json_t *findings_json(const struct findings *f)
{
	json_t *list = json_array();

	sg_list_for (it, &f->list) {
		const struct finding *e = sg_container_of(it, struct finding, node);

		if (json_array_append_new(list, json_pack("{s:i, s:s}", "line", (int)e->line, "text", e->text)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
