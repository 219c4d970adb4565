/* Words, numbers and tables for people at a terminal. */
#include "base/alloc.h"
#include "base/common.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

static bool coloured(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return (!no || !*no) && isatty(STDOUT_FILENO) && (!term || strcmp(term, "dumb") != 0);
}

/* Columns that UTF-8 text takes: ours holds nothing wider than one. */
static int columns_of(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void pad(int n)
{
	if (n > 0)
		printf("%*s", n, "");
}

void term_word(const char *word, int width, enum mood mood)
{
	static const char *const codes[] = {[MOOD_GOOD] = "32", [MOOD_CARE] = "33", [MOOD_BAD] = "31"};

	if (mood != MOOD_PLAIN && coloured())
		printf("\033[1;%sm%s\033[0m", codes[mood], word);
	else
		fputs(word, stdout);
	pad(width - columns_of(word));
}

char *term_duration(int64_t ms, char *buf)
{
	int64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, TERM_TEXT, "%" PRId64 " ms", ms);
	else if (s < 120)
		snprintf(buf, TERM_TEXT, "%" PRId64 " s", s);
	else if (s < 7200)
		snprintf(buf, TERM_TEXT, "%" PRId64 " min", s / 60);
	else if (s < 172800)
		snprintf(buf, TERM_TEXT, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, TERM_TEXT, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
	return buf;
}

char *term_bytes(uint64_t n, char *buf)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)n / 1024;
	size_t u = 0;

	if (n < 1024) {
		snprintf(buf, TERM_TEXT, "%" PRIu64 " B", n);
		return buf;
	}
	while (v >= 1023.95 && u + 1 < SG_ARRAY_LEN(units)) {
		v /= 1024;
		u++;
	}
	snprintf(buf, TERM_TEXT, "%.1f %s", v, units[u]);
	return buf;
}

char *term_rate(uint64_t bps, char *buf)
{
	if (bps < 1000)
		snprintf(buf, TERM_TEXT, "%" PRIu64 " bit/s", bps);
	else if (bps < 999950)
		snprintf(buf, TERM_TEXT, "%.1f kbit/s", (double)bps / 1e3);
	else if (bps < 999950000)
		snprintf(buf, TERM_TEXT, "%.1f Mbit/s", (double)bps / 1e6);
	else
		snprintf(buf, TERM_TEXT, "%.1f Gbit/s", (double)bps / 1e9);
	return buf;
}

char *term_count(uint64_t n, char *buf)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n), out = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			buf[out++] = ',';
		buf[out++] = digits[i];
	}
	buf[out] = '\0';
	return buf;
}

char *term_key(const char *hex, char *buf)
{
	size_t len = strlen(hex);

	if (len > 16)
		snprintf(buf, TERM_TEXT, "%.8s…%s", hex, hex + len - 4);
	else
		snprintf(buf, TERM_TEXT, "%s", hex);
	return buf;
}

/* ---- tables ------------------------------------------------------------------------------------------------------- */

struct term_table {
	size_t columns, n, cap;
	char **cells;
};

struct term_table *term_table_new(size_t columns, const char *const *heads)
{
	struct term_table *t = sg_calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->columns = columns;
	for (size_t i = 0; i < columns; i++)
		term_cell(t, heads[i]);
	return t;
}

void term_cell(struct term_table *t, const char *text)
{
	if (t && t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		char **cells = sg_realloc(t->cells, cap * sizeof(*cells));

		if (!cells)
			return;
		t->cells = cells;
		t->cap = cap;
	}
	if (t)
		t->cells[t->n++] = sg_strdup(text);
}

static int width_of(const struct term_table *t, size_t column)
{
	int width = 0;

	for (size_t i = column; i < t->n; i += t->columns) {
		if (t->cells[i])
			width = SG_MAX(width, columns_of(t->cells[i]));
	}
	return width;
}

void term_table_print(struct term_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		const char *text = t->cells[i] ? t->cells[i] : "";
		bool last = i % t->columns == t->columns - 1;

		fputs(text, stdout);
		if (last)
			putchar('\n');
		else
			pad(width_of(t, i % t->columns) - columns_of(text) + 2);
	}
	for (size_t i = 0; i < t->n; i++)
		sg_free(t->cells[i]);
	sg_free(t->cells);
	sg_free(t);
}
