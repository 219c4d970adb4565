/* Long lists come in pages, so that an answer fits a line. */
#include "base/common.h"
#include "core/core.h"

void page_init(struct page *p, json_t *params)
{
	*p = (struct page){.list = json_array(), .from = (size_t)json_integer_value(json_object_get(params, "from"))};
}

bool page_wants(struct page *p, bool *stop)
{
	size_t at = p->at++;

	*stop = at >= p->from + CORE_PAGE || !p->list;
	p->more = p->more || at >= p->from + CORE_PAGE;
	return at >= p->from && !*stop;
}

void page_add(struct page *p, json_t *entry)
{
	if (json_array_append_new(p->list, entry) < 0) {
		json_decref(p->list);
		p->list = NULL;
	}
}

void page_done(struct page *p, struct call *call, const char *name)
{
	json_t *result = p->list ? json_pack("{s:o}", name, p->list) : NULL;

	if (p->beside && result && json_object_set(result, "waiting", p->beside) < 0) {
		json_decref(result);
		result = NULL;
	}
	json_decref(p->beside);
	if (result && p->more &&
		json_object_set_new(result, "next", json_integer((json_int_t)p->from + CORE_PAGE)) < 0) {
		json_decref(result);
		result = NULL;
	}
	if (result && p->note && *p->note && json_object_set_new(result, "note", core_text(p->note)) < 0) {
		json_decref(result);
		result = NULL;
	}
	call_done(call, result);
}
