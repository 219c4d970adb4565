/*
 * UCI text into a document. The syntax is libuci's with its rarely used corners refused instead of guessed
 * at: a quote ends on the line where it began, and commands are not joined by ';'.
 *
 *	'…' literal   "…" with \-escapes   unquoted with \-escapes   # comment, also behind a value
 */
#include "wire/uci.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/suggest.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS_MAX 3

struct parser {
	struct sg_uci *doc;
	sg_uci_report_fn *report;
	void *report_arg;
	unsigned line;
	unsigned findings;
	unsigned n_sections;
	struct sg_uci_section *section; /* the open one; NULL before the first */
	unsigned n_options;             /* of it */
	unsigned n_words;
	char words[WORDS_MAX][SG_CONF_VALUE_MAX + 1];
};

static void SG_PRINTF(2, 3) finding(struct parser *p, const char *fmt, ...)
{
	char buf[512];
	struct sg_text t = sg_text(buf, sizeof(buf));
	va_list ap;

	sg_text_addf(&t, "%s:%u: ", p->doc->file, p->line);
	va_start(ap, fmt);
	sg_text_vaddf(&t, fmt, ap);
	va_end(ap);
	p->findings++;
	p->report(p->report_arg, p->line, buf);
}

/* ---- one line into words --------------------------------------------------------------------------------------- */

static bool is_control(unsigned char c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* Reads one word from *@in; false after a finding. */
static bool read_word(struct parser *p, const char **in, const char *end, char *out)
{
	const char *s = *in;
	size_t len = 0;
	char quote = 0;

	for (; s < end; s++) {
		char c = *s;

		if (quote) {
			if (c == quote) {
				quote = 0;
				continue;
			}
		} else if (c == '\'' || c == '"') {
			quote = c;
			continue;
		} else if (c == ' ' || c == '\t' || c == '#') {
			break;
		} else if (c == ';') {
			finding(p, "a ';' outside quotes\n  one statement per line; a value with ';' wants quotes");
			return false;
		}
		if (c == '\\' && quote != '\'') {
			if (++s == end) {
				finding(p, "a backslash at the end of the line\n  values end on the line where they "
					   "begin");
				return false;
			}
			c = *s;
		}
		if (len == SG_CONF_VALUE_MAX) {
			finding(p, "a value of more than %d bytes", SG_CONF_VALUE_MAX);
			return false;
		}
		out[len++] = c;
	}
	if (quote) {
		finding(p, "the quote %c is not closed on this line", quote);
		return false;
	}
	out[len] = '\0';
	*in = s;
	return true;
}

static bool read_words(struct parser *p, const char *s, const char *end)
{
	p->n_words = 0;
	for (const char *c = s; c < end; c++) {
		if (is_control((unsigned char)*c)) {
			finding(p, "a control character (0x%02x); is this a text file?", (unsigned char)*c);
			return false;
		}
	}
	for (;;) {
		while (s < end && (*s == ' ' || *s == '\t'))
			s++;
		if (s == end || *s == '#')
			return true;
		if (p->n_words == WORDS_MAX) {
			finding(p, "more words than '%.10s' takes\n  a value with spaces wants quotes", p->words[0]);
			return false;
		}
		if (!read_word(p, &s, end, p->words[p->n_words]))
			return false;
		p->n_words++;
	}
}

/* ---- words into the document ----------------------------------------------------------------------------------- */

/* libuci: letters, digits and '_' for names; types may hold more. */
static bool name_ok(const char *s, bool type)
{
	size_t len = strlen(s);

	if (len == 0 || len > SG_CONF_NAME_MAX)
		return false;
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && *s != '_' && !(type && *s == '-'))
			return false;
	}
	return true;
}

static int add_section(struct parser *p)
{
	struct sg_uci_section *s;

	if (p->n_words < 2 || !name_ok(p->words[1], true) ||
		(p->n_words == 3 && p->words[2][0] && !name_ok(p->words[2], false))) {
		finding(p, "config wants a type and, if any, a name of letters, digits and '_'\n"
			   "  like:  config interface 'home'");
		p->section = NULL;
		return 0;
	}
	if (++p->n_sections > SG_CONF_SECTIONS) {
		finding(p, "more than %d sections", SG_CONF_SECTIONS);
		return SG_ECONF;
	}
	s = sg_calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->line = p->line;
	sg_list_init(&s->options);
	sg_list_add_tail(&p->doc->sections, &s->node);
	p->section = s;
	p->n_options = 0;
	s->type = sg_strdup(p->words[1]);
	s->name = sg_strdup(p->n_words == 3 ? p->words[2] : "");
	return s->type && s->name ? 0 : -ENOMEM;
}

static int add_value(struct sg_uci_option *o, unsigned line, const char *text)
{
	struct sg_uci_value *v = sg_calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->line = line;
	sg_list_add_tail(&o->values, &v->node);
	v->text = sg_strdup(text);
	return v->text ? 0 : -ENOMEM;
}

static struct sg_uci_option *find_list(struct sg_uci_section *s, const char *name)
{
	sg_list_for (it, &s->options) {
		struct sg_uci_option *o = sg_container_of(it, struct sg_uci_option, node);

		if (o->is_list && strcmp(o->name, name) == 0)
			return o;
	}
	return NULL;
}

static int add_option(struct parser *p, bool is_list)
{
	const char *word = is_list ? "list" : "option";
	struct sg_uci_option *o;

	if (p->n_words != 3 || !name_ok(p->words[1], false)) {
		finding(p, "%s wants a name of letters, digits and '_' and a value\n  like:  %s", word,
			is_list ? "list device 'br-lan'" : "option mode 'vpn'");
		return 0;
	}
	if (!p->section) {
		/* Behind a bad config line this would only repeat what was said there. */
		if (p->findings == 0)
			finding(p, "%s %s stands before the first section\n  like:  config visor 'main'", word,
				p->words[1]);
		return 0;
	}
	o = is_list ? find_list(p->section, p->words[1]) : NULL;
	if (!o) {
		if (++p->n_options > SG_CONF_OPTIONS) {
			finding(p, "more than %d options in one section", SG_CONF_OPTIONS);
			return SG_ECONF;
		}
		o = sg_calloc(1, sizeof(*o));
		if (!o)
			return -ENOMEM;
		o->line = p->line;
		o->is_list = is_list;
		sg_list_init(&o->values);
		sg_list_add_tail(&p->section->options, &o->node);
		o->name = sg_strdup(p->words[1]);
		if (!o->name)
			return -ENOMEM;
	}
	return add_value(o, p->line, p->words[2]);
}

static int statement(struct parser *p)
{
	const char *word = p->words[0];
	struct sg_suggest near = sg_suggest(word);

	if (strcmp(word, "config") == 0)
		return add_section(p);
	if (strcmp(word, "option") == 0)
		return add_option(p, false);
	if (strcmp(word, "list") == 0)
		return add_option(p, true);
	if (strcmp(word, "package") == 0 && p->n_words == 2)
		return 0; /* `uci export` writes it in front; the file is the package */
	sg_suggest_try(&near, "config");
	sg_suggest_try(&near, "option");
	sg_suggest_try(&near, "list");
	finding(p, "'%.40s' begins no statement\n  accepted: config, option, list%s%s%s", word,
		near.best ? "        did you mean '" : "", near.best ? near.best : "", near.best ? "'?" : "");
	return 0;
}

static int parse_lines(struct parser *p, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		const char *stop = nl ? nl : end;
		int err = 0;

		p->line++;
		if (stop > text && stop[-1] == '\r')
			stop--;
		if (read_words(p, text, stop) && p->n_words)
			err = statement(p);
		if (err < 0)
			return err;
		if (p->findings >= SG_CONF_FINDINGS) {
			finding(p, "too many errors; the rest was not read");
			return SG_ECONF;
		}
		text = nl ? nl + 1 : end;
	}
	return p->findings ? SG_ECONF : 0;
}

int sg_uci_parse(
	const char *text, size_t len, const char *file, sg_uci_report_fn *report, void *arg, struct sg_uci **out)
{
	struct parser *p = sg_calloc(1, sizeof(*p));
	int err = -ENOMEM;

	*out = NULL;
	if (!p)
		return -ENOMEM;
	p->report = report;
	p->report_arg = arg;
	p->doc = sg_calloc(1, sizeof(*p->doc));
	if (!p->doc)
		goto out;
	sg_list_init(&p->doc->sections);
	p->doc->file = sg_strdup(file);
	if (!p->doc->file)
		goto out;
	if (len > SG_CONF_FILE_MAX) {
		p->line = 1;
		finding(p, "the file is larger than %d bytes", SG_CONF_FILE_MAX);
		err = SG_ECONF;
		goto out;
	}
	err = parse_lines(p, text, len);
	if (err == 0) {
		*out = p->doc;
		p->doc = NULL;
	}
out:
	sg_uci_free(p->doc);
	/* Lines may hold passcodes. */
	sg_wipe(p, sizeof(*p));
	sg_free(p);
	return err;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static int SG_PRINTF(4, 5) file_finding(sg_uci_report_fn *report, void *arg, int err, const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	report(arg, 0, buf);
	return err;
}

static ssize_t read_all(int fd, char *buf, size_t cap)
{
	size_t len = 0;

	while (len < cap) {
		ssize_t n = read(fd, buf + len, cap - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int sg_uci_load(const char *path, sg_uci_report_fn *report, void *arg, struct sg_uci **out)
{
	/* Non-blocking, for a path that names a FIFO must not hang the daemon. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char *buf = NULL;
	struct stat st;
	ssize_t len;
	int err;

	*out = NULL;
	if (fd < 0) {
		err = -errno;
		if (err == -ENOENT)
			return file_finding(report, arg, err,
				"%s: no such file: there is no configuration yet\n"
				"  fill in the example that comes with Skygate, or name another one:  --config FILE\n"
				"  of a Go visor:  skygate import skywire-config.json",
				path);
		return file_finding(report, arg, err, "%s: cannot be read: %s", path, strerror(errno));
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		err = file_finding(report, arg, -EINVAL, "%s: is not a file", path);
		goto out;
	}
	if (st.st_size > SG_CONF_FILE_MAX) {
		err = file_finding(report, arg, SG_ECONF, "%s: is larger than %d bytes", path, SG_CONF_FILE_MAX);
		goto out;
	}
	buf = sg_malloc(SG_CONF_FILE_MAX + 1);
	if (!buf) {
		err = -ENOMEM;
		goto out;
	}
	/* One byte more than allowed: a file that grew meanwhile is seen by the parser's own limit. */
	len = read_all(fd, buf, SG_CONF_FILE_MAX + 1);
	if (len < 0)
		err = file_finding(report, arg, (int)len, "%s: cannot be read: %s", path, strerror((int)-len));
	else
		err = sg_uci_parse(buf, (size_t)len, path, report, arg, out);
	if (len > 0)
		sg_wipe(buf, (size_t)len);
out:
	sg_free(buf);
	close(fd);
	return err;
}
