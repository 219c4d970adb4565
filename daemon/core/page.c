/* Long lists come in pages, so that an answer fits a line. */
#include "base/common.h"
#include "core/core.h"

void page_init(struct page *p, struct call *call, const char *name, size_t from)
{
	*p = (struct page){.call = call, .out = call_answer(call), .from = from};
	sg_json_open(&p->out, name, '[');
}

void page_asked(struct page *p, struct call *call, const char *name, const json_t *params)
{
	page_init(p, call, name, (size_t)json_integer_value(json_object_get(params, "from")));
}

bool page_wants(struct page *p, bool *stop)
{
	size_t at = p->at++;

	*stop = at >= p->from + CORE_PAGE || p->out.err;
	p->more = p->more || at >= p->from + CORE_PAGE;
	return at >= p->from && !*stop;
}

void page_end(struct page *p)
{
	sg_json_close(&p->out, ']');
}

void page_done(struct page *p, const char *note)
{
	if (p->more)
		sg_json_put_int(&p->out, "next", (int64_t)(p->from + CORE_PAGE));
	if (note && *note)
		sg_json_put_text(&p->out, "note", note);
	call_answered(p->call, &p->out);
}
