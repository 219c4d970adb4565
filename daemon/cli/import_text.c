/* Text that grows; wiped when it is freed, for it may hold a passcode. */
#include "base/alloc.h"
#include "base/common.h"
#include "cli/import.h"

#include <stdarg.h>

void import_addf(struct import_text *t, const char *fmt, ...)
{
	va_list ap;
	size_t cap;
	char *p;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (t->err || len < 0)
		return;
	if (t->len + (size_t)len + 1 > t->cap) {
		cap = SG_MAX(2 * t->cap, t->len + (size_t)len + 256);
		p = sg_realloc(t->p, cap);
		t->err = p == NULL;
		if (!p)
			return;
		t->p = p;
		t->cap = cap;
	}
	va_start(ap, fmt);
	t->len += (size_t)vsnprintf(t->p + t->len, t->cap - t->len, fmt, ap);
	va_end(ap);
}

/* Names and values of the file end up on a terminal. */
const char *import_printable(const char *text, char *buf, size_t cap)
{
	size_t n = 0;

	for (; *text && n + 1 < cap; text++)
		buf[n++] = *text;
	buf[n] = '\0';
	sg_text_tame(buf);
	return buf;
}

void import_fini(struct import *im)
{
	struct import_text *texts[] = {&im->conf, &im->taken, &im->left};

	for (size_t i = 0; i < SG_ARRAY_LEN(texts); i++) {
		if (texts[i]->p)
			sg_wipe(texts[i]->p, texts[i]->len);
		sg_free(texts[i]->p);
		*texts[i] = (struct import_text){0};
	}
	sg_wipe(&im->sk, sizeof(im->sk));
}
