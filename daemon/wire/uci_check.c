/*
 * A document against tables of options, with the words of a compiler:
 *
 *	FILE:14: vpn_client 'vpn': option mode: 'vpm' is none of its values
 *	  accepted: off, vpn, host        did you mean 'vpn'?
 */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/suggest.h"
#include "wire/uci.h"

#include <ctype.h>

#define SHOWN_MAX 70 /* bytes of a value in a message */

struct check {
	const struct sg_uci *doc;
	const struct sg_option *const *tables;
	size_t n;
	bool partial; /* what the tables do not name is somebody else's */
	bool (*pk_ok)(void *arg, const char *text);
	sg_uci_report_fn *report;
	void *arg;
	size_t findings;
};

/* A list of what would have been accepted, with the nearest to what was there. */
struct accepted {
	struct sg_text text;
	struct sg_suggest near;
	char buf[512];
};

static void accepted_init(struct accepted *a, const char *word)
{
	a->text = sg_text(a->buf, sizeof(a->buf));
	a->near = sg_suggest(word);
}

static void accepted_add(struct accepted *a, const char *s)
{
	if (strlen(s) + 4 < sizeof(a->buf) - a->text.len)
		sg_text_addf(&a->text, "%s%s", a->text.len ? ", " : "", s);
	sg_suggest_try(&a->near, s);
}

static void emit(struct check *c, unsigned line, const char *what, const struct accepted *a, const char *hint)
{
	char buf[2048];
	struct sg_text t = sg_text(buf, sizeof(buf));

	if (line)
		sg_text_addf(&t, "%s:%u: %s", c->doc->file, line, what);
	else
		sg_text_addf(&t, "%s: %s", c->doc->file, what);
	if (a && a->text.len)
		sg_text_addf(&t, "\n  accepted: %s", a->buf);
	if (a && a->near.best)
		sg_text_addf(&t, "%sdid you mean '%s'?", a->text.len ? "        " : "\n  ", a->near.best);
	if (hint)
		sg_text_addf(&t, "\n  %s", hint);
	c->findings++;
	c->report(c->arg, line, buf);
}

static struct sg_text section_title(const struct sg_uci_section *s, char *buf, size_t cap)
{
	struct sg_text t = sg_text(buf, cap);

	sg_text_add(&t, s->type);
	if (s->name[0])
		sg_text_addf(&t, " '%s'", s->name);
	sg_text_add(&t, ": ");
	return t;
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

static bool bool_ok(const char *v)
{
	static const char *const words[] = {"0", "1", "on", "off", "yes", "no", "true", "false"};

	for (size_t i = 0; i < SG_ARRAY_LEN(words); i++) {
		if (strcmp(v, words[i]) == 0)
			return true;
	}
	return false;
}

bool sg_ifname_ok(const char *s)
{
	size_t len = strlen(s);

	return len > 0 && len <= 15 && strcmp(s, ".") != 0 && strcmp(s, "..") != 0 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@+") == len;
}

/* A host name, an IPv4 address or [IPv6], then ":port". */
static bool host_port_ok(const char *s)
{
	struct sg_addr addr;
	const char *colon = strrchr(s, ':');
	uint64_t port;
	size_t len;

	if (!colon || sg_parse_u64(colon + 1, UINT16_MAX, &port) < 0 || port == 0)
		return false;
	if (s[0] == '[')
		return sg_addr_parse(s, &addr) == 0;
	len = (size_t)(colon - s);
	if (len == 0 || len > 253 || s[0] == '-' || s[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '.')
			return false;
	}
	/* Digits and dots only are meant as an address, and then must be one. */
	if (strspn(s, "0123456789.") == len)
		return sg_addr_parse(s, &addr) == 0;
	return true;
}

bool sg_carrier_by_key(const char *name)
{
	return strcmp(name, "dmsg") == 0 || strcmp(name, "stcpr") == 0;
}

static bool url_ok(const char *v)
{
	size_t n = strspn(v, "abcdefghijklmnopqrstuvwxyz0123456789");

	return sg_carrier_by_key(v) || (n > 0 && n < 16 && strncmp(v + n, "://", 3) == 0 && host_port_ok(v + n + 3));
}

static bool user_ok(const char *v)
{
	uint64_t n;

	if (isdigit((unsigned char)v[0]))
		return sg_parse_u64(v, UINT32_MAX - 1, &n) == 0 && n != 0;
	if (!islower((unsigned char)v[0]) && v[0] != '_')
		return false;
	return strlen(v) < 32 && strspn(v, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(v) &&
	       strcmp(v, "root") != 0;
}

static bool pk_form_ok(const char *v)
{
	struct sg_pk pk;

	return sg_hex_parse(v, strlen(v), pk.b, sizeof(pk.b)) == 0 && (pk.b[0] == 2 || pk.b[0] == 3);
}

/* Words of o->accepted into @a; true when @v is one of them. */
static bool enum_ok(const struct sg_option *o, const char *v, struct accepted *a, char *words, size_t cap)
{
	bool found = false;

	snprintf(words, cap, "%s", o->accepted);
	for (char *w = words; w && *w;) {
		char *space = strchr(w, ' ');

		if (space)
			*space = '\0';
		found |= strcmp(w, v) == 0;
		accepted_add(a, w);
		w = space ? space + 1 : NULL;
	}
	return found;
}

static bool reference_ok(struct check *c, const struct sg_option *o, const char *v, struct accepted *a)
{
	const struct sg_uci_section *s = NULL;

	if (sg_uci_find(c->doc, o->accepted, v))
		return true;
	while ((s = sg_uci_next(c->doc, o->accepted, s))) {
		if (s->name[0])
			accepted_add(a, s->name);
	}
	return false;
}

/* What is wrong with @v, as the rest of a sentence that begins with the value; "" when nothing is. */
static void judge(
	struct check *c, const struct sg_option *o, const char *v, struct accepted *a, char *words, struct sg_text *why)
{
	uint64_t n;
	uint32_t ip;
	unsigned bits;
	struct sg_addr addr;

	switch (o->type) {
	case SG_OPT_STRING:
		if (!o->max || strlen(v) <= o->max)
			return;
		sg_text_add(why, "is too long");
		sg_text_addf(&a->text, "at most %llu bytes", (unsigned long long)o->max);
		return;
	case SG_OPT_BOOL:
		if (bool_ok(v))
			return;
		sg_text_add(why, "is neither yes nor no");
		sg_text_add(&a->text, "0, 1, on, off, yes, no, true, false");
		return;
	case SG_OPT_UINT:
		if (sg_parse_u64(v, UINT64_MAX, &n) == 0 && n >= o->min && n <= o->max)
			return;
		sg_text_addf(
			why, "is not %s", sg_parse_u64(v, UINT64_MAX, &n) == SG_EMALF ? "a number" : "in the range");
		sg_text_addf(&a->text, "%llu to %llu", (unsigned long long)o->min, (unsigned long long)o->max);
		return;
	case SG_OPT_ENUM:
		if (!enum_ok(o, v, a, words, 256))
			sg_text_add(why, "is none of its values");
		return;
	case SG_OPT_PK:
		if (pk_form_ok(v) && (!c->pk_ok || c->pk_ok(c->arg, v)))
			return;
		sg_text_addf(why,
			pk_form_ok(v) ? "is not the key of any visor (no point of the curve)" : "is not a public key");
		sg_text_add(&a->text, "66 hex digits that begin with 02 or 03, as  skygate status  prints them");
		return;
	case SG_OPT_IP4:
		if (sg_ip4_parse(v, &ip) == 0)
			return;
		sg_text_add(why, "is not an IPv4 address");
		sg_text_add(&a->text, "an address like 192.0.2.1");
		return;
	case SG_OPT_PREFIX4:
		if (sg_prefix4_parse(v, &ip, &bits) < 0) {
			sg_text_add(why, "is not an IPv4 network");
			sg_text_add(&a->text, "a network like 172.16.0.0/12, with zeros behind the prefix");
		} else if (o->max && (bits < o->min || bits > o->max)) {
			sg_text_add(why, "is too small or too large a network");
			sg_text_addf(
				&a->text, "/%llu to /%llu", (unsigned long long)o->min, (unsigned long long)o->max);
		}
		return;
	case SG_OPT_ADDR:
		if (sg_addr_parse(v, &addr) == 0)
			return;
		sg_text_add(why, "is not an address with a port");
		sg_text_add(&a->text, "192.0.2.1:7777, [2001:db8::1]:7777, 0.0.0.0:7777");
		return;
	case SG_OPT_URL:
		if (url_ok(v))
			return;
		sg_text_add(why, "is not the address of a visor");
		sg_text_add(
			&a->text, "carrier://host:port, like stcp://192.0.2.10:7777; or dmsg, stcpr: found by its key");
		return;
	case SG_OPT_IFNAME:
		if (sg_ifname_ok(v))
			return;
		sg_text_add(why, "cannot be the name of a network interface");
		sg_text_add(&a->text, SG_IFNAME_ACCEPTED);
		return;
	case SG_OPT_PATH:
		if (v[0] == '/')
			return;
		sg_text_add(why, "is not an absolute path");
		sg_text_add(&a->text, "a path that begins with /");
		return;
	case SG_OPT_USER:
		if (user_ok(v))
			return;
		sg_text_add(why,
			strcmp(v, "0") == 0 || strcmp(v, "root") == 0
				? "is root: forwarded packets count as root's, so the kill switch would exempt the LAN"
				: "is not a user");
		sg_text_add(&a->text, "the name or number of an ordinary user");
		return;
	case SG_OPT_NAME:
		if (!((o->flags & SG_OPT_OR_PK) && pk_form_ok(v) && (!c->pk_ok || c->pk_ok(c->arg, v))) &&
			!reference_ok(c, o, v, a)) {
			sg_text_addf(why, "names no section of type %s", o->accepted);
			if (o->flags & SG_OPT_OR_PK)
				sg_text_addf(&a->text, "%sa key of 66 hex digits", a->text.len ? ", " : "");
		}
		return;
	}
}

static void check_value(
	struct check *c, const struct sg_uci_section *s, const struct sg_option *o, const struct sg_uci_value *v)
{
	char what[512], why_buf[160], words[256];
	struct sg_text t = section_title(s, what, sizeof(what)), why = sg_text(why_buf, sizeof(why_buf));
	struct accepted a;

	accepted_init(&a, v->text);
	judge(c, o, v->text, &a, words, &why);
	if (!why.len)
		return;
	sg_text_addf(&t, "%s %s: ", o->flags & SG_OPT_LIST ? "list" : "option", o->name);
	if (o->flags & SG_OPT_SECRET)
		sg_text_add(&t, "the value ");
	else
		sg_text_addf(&t, "'%.*s%s' ", SHOWN_MAX, v->text, strlen(v->text) > SHOWN_MAX ? "…" : "");
	sg_text_add(&t, why_buf);
	emit(c, v->line, what, &a, NULL);
}

/* ---- sections and options ---------------------------------------------------------------------------------------- */

static const struct sg_option *find_row(const struct check *c, const char *section, const char *name)
{
	for (size_t i = 0; i < c->n; i++) {
		for (const struct sg_option *o = c->tables[i]; o && o->section; o++) {
			if (strcmp(o->section, section) == 0 &&
				(name ? o->name && strcmp(o->name, name) == 0 : !o->name))
				return o;
		}
	}
	return NULL;
}

static bool section_known(const struct check *c, const char *type)
{
	for (size_t i = 0; i < c->n; i++) {
		for (const struct sg_option *o = c->tables[i]; o && o->section; o++) {
			if (strcmp(o->section, type) == 0)
				return true;
		}
	}
	return false;
}

static void unknown_section(struct check *c, const struct sg_uci_section *s)
{
	char what[256];
	struct accepted a;
	const char *last = NULL;

	accepted_init(&a, s->type);
	for (size_t i = 0; i < c->n; i++) {
		for (const struct sg_option *o = c->tables[i]; o && o->section; o++) {
			/* Rows of one section stand together, but two tables may both have it. */
			bool seen = last && strcmp(last, o->section) == 0;

			for (size_t k = 0; k < i && !seen; k++) {
				for (const struct sg_option *e = c->tables[k]; e && e->section; e++)
					seen |= strcmp(e->section, o->section) == 0;
			}
			if (!seen)
				accepted_add(&a, o->section);
			last = o->section;
		}
	}
	snprintf(what, sizeof(what), "section '%s' belongs to nothing that is loaded", s->type);
	emit(c, s->line, what, &a, "the plugin that reads it is named in  list plugin  of section visor");
}

static void unknown_option(struct check *c, const struct sg_uci_section *s, const struct sg_uci_option *o)
{
	char what[512];
	struct sg_text t = section_title(s, what, sizeof(what));
	struct accepted a;

	accepted_init(&a, o->name);
	for (size_t i = 0; i < c->n; i++) {
		for (const struct sg_option *r = c->tables[i]; r && r->section; r++) {
			if (r->name && strcmp(r->section, s->type) == 0)
				accepted_add(&a, r->name);
		}
	}
	sg_text_addf(&t, "unknown option '%s'", o->name);
	emit(c, o->line, what, &a, NULL);
}

/* Of a list whose values max says nothing about: how many. */
static void check_count(
	struct check *c, const struct sg_uci_section *s, const struct sg_option *row, const struct sg_uci_option *o)
{
	char what[512];
	struct sg_text t = section_title(s, what, sizeof(what));
	uint64_t n = 0;

	if (!(row->flags & SG_OPT_LIST) || !row->max || row->type == SG_OPT_UINT || row->type == SG_OPT_STRING ||
		row->type == SG_OPT_PREFIX4)
		return;
	sg_list_for (it, &o->values) {
		const struct sg_uci_value *v = sg_container_of(it, struct sg_uci_value, node);

		if (++n != row->max + 1)
			continue;
		sg_text_addf(&t, "list %s: '%.*s' is one too many\n  accepted: at most %llu", o->name, SHOWN_MAX,
			v->text, (unsigned long long)row->max);
		emit(c, v->line, what, NULL, NULL);
	}
}

static void check_option(struct check *c, const struct sg_uci_section *s, const struct sg_uci_option *o)
{
	const struct sg_option *row = find_row(c, s->type, o->name);
	const struct sg_uci_option *first = sg_uci_option(s, o->name);
	char what[512];
	struct sg_text t = section_title(s, what, sizeof(what));

	if (!row) {
		if (!c->partial)
			unknown_option(c, s, o);
		return;
	}
	if (first != o) {
		sg_text_addf(&t, "option %s stands here again, first in line %u", o->name, first->line);
		emit(c, o->line, what, NULL, "keep one of the two");
		return;
	}
	if (o->is_list && !(row->flags & SG_OPT_LIST)) {
		sg_text_addf(&t, "%s takes one value, not a list", o->name);
		emit(c, o->line, what, NULL, "write  option  instead of  list");
		return;
	}
	if (!o->is_list && (row->flags & SG_OPT_LIST)) {
		sg_text_addf(&t, "%s is a list", o->name);
		emit(c, o->line, what, NULL, "write  list  instead of  option , one line per value");
		return;
	}
	sg_list_for (it, &o->values)
		check_value(c, s, row, sg_container_of(it, struct sg_uci_value, node));
	check_count(c, s, row, o);
}

static void check_required(struct check *c, const struct sg_uci_section *s)
{
	char what[512];

	for (size_t i = 0; i < c->n; i++) {
		for (const struct sg_option *o = c->tables[i]; o && o->section; o++) {
			struct sg_text t;

			if (!o->name || !(o->flags & SG_OPT_REQUIRED) || strcmp(o->section, s->type) != 0 ||
				sg_uci_option(s, o->name))
				continue;
			t = section_title(s, what, sizeof(what));
			sg_text_addf(&t, "%s %s is missing", o->flags & SG_OPT_LIST ? "list" : "option", o->name);
			emit(c, s->line, what, NULL, o->help);
		}
	}
}

/* Names are unique in the whole file: libuci would merge the two. */
static void check_double(struct check *c, const struct sg_uci_section *s)
{
	const struct sg_option *row = find_row(c, s->type, NULL);
	char what[512];

	for (const struct sg_list *it = c->doc->sections.next; it != &s->node; it = it->next) {
		const struct sg_uci_section *e = sg_container_of(it, struct sg_uci_section, node);

		if (s->name[0] && strcmp(e->name, s->name) == 0) {
			snprintf(what, sizeof(what), "%s '%s': the name is taken by %s in line %u", s->type, s->name,
				e->type, e->line);
			emit(c, s->line, what, NULL, "names of sections are unique in the file");
			return;
		}
		if (row && !(row->flags & SG_OPT_LIST) && strcmp(e->type, s->type) == 0) {
			snprintf(what, sizeof(what), "a second section %s, the first is in line %u", s->type, e->line);
			emit(c, s->line, what, NULL, NULL);
			return;
		}
	}
}

static void check_missing_sections(struct check *c)
{
	char what[256];

	for (size_t i = 0; i < c->n; i++) {
		for (const struct sg_option *o = c->tables[i]; o && o->section; o++) {
			if (o->name || !(o->flags & SG_OPT_REQUIRED) || sg_uci_next(c->doc, o->section, NULL))
				continue;
			snprintf(what, sizeof(what), "section %s is missing", o->section);
			emit(c, 0, what, NULL, o->help);
		}
	}
}

static size_t check(struct check *c)
{
	sg_list_for (it, &c->doc->sections) {
		const struct sg_uci_section *s = sg_container_of(it, struct sg_uci_section, node);

		if (!section_known(c, s->type)) {
			if (!c->partial)
				unknown_section(c, s);
			continue;
		}
		check_double(c, s);
		sg_list_for (io, &s->options)
			check_option(c, s, sg_container_of(io, struct sg_uci_option, node));
		check_required(c, s);
	}
	check_missing_sections(c);
	return c->findings;
}

size_t sg_uci_check(const struct sg_uci *doc, const struct sg_option *const *tables, size_t n,
	bool (*pk_ok)(void *arg, const char *text), sg_uci_report_fn *report, void *arg)
{
	struct check c = {.doc = doc, .tables = tables, .n = n, .pk_ok = pk_ok, .report = report, .arg = arg};

	return check(&c);
}

size_t sg_uci_check_part(const struct sg_uci *doc, const struct sg_option *const *tables, size_t n,
	bool (*pk_ok)(void *arg, const char *text), sg_uci_report_fn *report, void *arg)
{
	struct check c = {
		.doc = doc, .tables = tables, .n = n, .partial = true, .pk_ok = pk_ok, .report = report, .arg = arg};

	return check(&c);
}
