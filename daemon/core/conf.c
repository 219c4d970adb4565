/*
 * The configuration file: read, the plugins it names loaded, everything checked against their tables and ours, before
 * anything starts or changes. All findings are told at once.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/suggest.h"
#include "core/core.h"
#include "wire/schema.h"

struct check {
	struct core *core;
	struct findings *f;
};

static bool pk_ok(void *arg, const char *text)
{
	struct check *c = arg;
	struct sg_pk pk;

	return sg_pk_parse(c->core->crypto, text, strlen(text), &pk) == 0;
}

static void report(void *arg, unsigned line, const char *text)
{
	struct check *c = arg;

	findings_report(c->f, line, text);
}

/* Of a closer look: what the tables found in that line is enough. */
static void report_closer(void *arg, unsigned line, const char *text)
{
	struct check *c = arg;

	if (!findings_has(c->f, line))
		findings_report(c->f, line, text);
}

static size_t count_plugins(const struct conf *c)
{
	const struct sg_uci_option *o = c->visor ? sg_uci_option(c->visor, "plugin") : NULL;
	size_t n = 0;

	if (o) {
		sg_list_for (it, &o->values)
			n++;
	}
	return n;
}

static int load_plugins(struct core *core, struct conf *c, struct findings *f)
{
	const struct sg_uci_option *o = c->visor ? sg_uci_option(c->visor, "plugin") : NULL;

	c->plugins = sg_calloc(count_plugins(c), sizeof(*c->plugins));
	if (!c->plugins)
		return -ENOMEM;
	if (!o)
		return 0;
	sg_list_for (it, &o->values) {
		const struct sg_uci_value *v = sg_container_of(it, struct sg_uci_value, node);
		char why[CORE_WHY_MAX];
		struct plugin *p;
		int err = plugin_load(core, v->text, &p, why, sizeof(why));

		if (err == -ENOMEM)
			return err;
		for (size_t i = 0; i < c->n_plugins && err == 0; i++) {
			if (c->plugins[i] == p) {
				snprintf(why, sizeof(why), "'%s' stands here again\n  once is enough", v->text);
				err = SG_EDUP;
			}
		}
		if (err < 0)
			findings_addf(
				f, v->line, "%s:%u: visor '%s': plugin %s", c->doc->file, v->line, c->visor->name, why);
		else
			c->plugins[c->n_plugins++] = p;
	}
	return 0;
}

/* stcp://… needs a plugin that provides stcp. @what: the rest of the line's beginning. */
static void check_carrier(
	const struct conf *c, unsigned line, const char *what, const char *carrier, struct findings *f)
{
	char have[128];
	struct sg_text t = sg_text(have, sizeof(have));
	const char *plugin = plugin_to_load(carrier);
	struct sg_suggest near;

	/* One that did not load may be what would provide it. */
	if (plugin_of_carrier(c->plugins, c->n_plugins, carrier) || findings_has(f, line) ||
		c->n_plugins < count_plugins(c))
		return;
	if (plugin) {
		findings_addf(f, line,
			"%s:%u: %s: no loaded plugin provides the carrier '%s'\n  add  list plugin '%s'  to section "
			"visor",
			c->doc->file, line, what, carrier, plugin);
		return;
	}
	near = sg_suggest(carrier);
	for (size_t i = 0; i < c->n_plugins; i++) {
		for (const struct sg_provide *p = c->plugins[i]->desc->provides; p->kind != SG_PROVIDE_END; p++) {
			if (p->kind != SG_CARRIER)
				continue;
			sg_text_addf(&t, "%s%s", t.len ? ", " : "", p->name);
			sg_suggest_try(&near, p->name);
		}
	}
	findings_addf(f, line, "%s:%u: %s: no loaded plugin provides the carrier '%s'\n  accepted: %s%s%s%s",
		c->doc->file, line, what, carrier, t.len ? have : "none", near.best ? "        did you mean '" : "",
		near.best ? near.best : "", near.best ? "'?" : "");
}

static void check_address(
	const struct conf *c, const struct sg_uci_section *s, const struct sg_uci_value *v, struct findings *f)
{
	char carrier[16], what[100];

	snprintf(carrier, sizeof(carrier), "%.*s", (int)strcspn(v->text, ":"), v->text);
	snprintf(what, sizeof(what), "peer '%s': list address", s->name);
	check_carrier(c, v->line, what, carrier, f);
}

/* A section of a carrier that nobody provides would listen nowhere, without a word. */
static void check_carriers(const struct conf *c, struct findings *f)
{
	const struct sg_uci_section *s = NULL;

	while ((s = sg_uci_next(c->doc, "carrier", s)))
		check_carrier(c, s->line, "section carrier", s->name, f);
}

/* What one row of a table cannot say. */
static void check_peers(const struct conf *c, struct findings *f)
{
	const struct sg_uci_section *s = NULL, *e;

	while ((s = sg_uci_next(c->doc, "peer", s))) {
		const struct sg_uci_option *o = sg_uci_option(s, "address");

		if (!s->name[0])
			findings_addf(f, s->line, "%s:%u: a peer without a name\n  like:  config peer 'my_exit'",
				c->doc->file, s->line);
		for (e = sg_uci_next(c->doc, "peer", NULL); e != s; e = sg_uci_next(c->doc, "peer", e)) {
			if (strcasecmp(sg_uci_get(e, "pk", "a"), sg_uci_get(s, "pk", "b")) == 0)
				findings_addf(f, s->line,
					"%s:%u: peer '%s' has the key of peer '%s' in line %u\n  one peer may have "
					"several"
					" addresses",
					c->doc->file, s->line, s->name, e->name, e->line);
		}
		if (o) {
			sg_list_for (it, &o->values)
				check_address(c, s, sg_container_of(it, struct sg_uci_value, node), f);
		}
	}
}

static int check_all(struct core *core, struct conf *c, struct findings *f)
{
	struct check check = {core, f};
	const struct sg_option **tables = sg_calloc(c->n_plugins + 2, sizeof(*tables));
	size_t n = 0;

	if (!tables)
		return -ENOMEM;
	tables[n++] = sg_schema_common();
	tables[n++] = net_options();
	for (size_t i = 0; i < c->n_plugins; i++) {
		if (c->plugins[i]->desc->options)
			tables[n++] = c->plugins[i]->desc->options;
	}
	/* Sections of a plugin that did not load are not called unknown on top. */
	if (c->n_plugins == count_plugins(c))
		sg_uci_check(c->doc, tables, n, pk_ok, report, &check);
	else
		sg_uci_check_part(c->doc, tables, n, pk_ok, report, &check);
	sg_free(tables);
	check_peers(c, f);
	check_carriers(c, f);
	sg_schema_check(c->doc, report_closer, &check);
	net_check(core->crypto, c->doc, report_closer, &check);
	return 0;
}

int conf_read(struct core *core, struct findings *f, struct sg_uci *doc, struct conf **out)
{
	struct check check = {core, f};
	struct conf *c = sg_calloc(1, sizeof(*c));
	int err = c ? 0 : -ENOMEM;

	*out = NULL;
	if (err == 0 && !doc)
		err = sg_uci_load(core->opt.config, report, &check, &doc);
	if (err == 0) {
		c->doc = doc;
		c->visor = sg_uci_next(doc, "visor", NULL);
		err = load_plugins(core, c, f);
	} else {
		sg_uci_free(doc);
	}
	if (err == 0)
		err = check_all(core, c, f);
	if (err < 0) {
		conf_free(c);
		return err == -ENOMEM ? -ENOMEM : SG_ECONF;
	}
	*out = c;
	return f->n ? SG_ECONF : 0;
}

int conf_load(struct core *core, struct findings *f, struct conf **out)
{
	int err = conf_read(core, f, NULL, out);

	if (err < 0) {
		conf_free(*out);
		*out = NULL;
	}
	return err;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	sg_uci_free(c->doc);
	sg_free(c->plugins);
	sg_free(c);
}
