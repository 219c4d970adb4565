/*
 * Reads our part of the configuration. The kill switch must not depend on what core says about the file, so each value
 * is checked here again, with a sentence of its own.
 */
#include "netd/conf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/user.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

struct reading {
	const char *path;
	sg_uci_report_fn *report;
	void *arg;
	size_t findings;
	struct netd_conf *conf;
};

static void SG_PRINTF(3, 4) finding(struct reading *r, unsigned line, const char *fmt, ...)
{
	char buf[512];
	struct sg_text t = sg_text(buf, sizeof(buf));
	va_list ap;

	if (line)
		sg_text_addf(&t, "%s:%u: ", r->path, line);
	else
		sg_text_addf(&t, "%s: ", r->path);
	va_start(ap, fmt);
	sg_text_vaddf(&t, fmt, ap);
	va_end(ap);
	r->findings++;
	r->report(r->arg, line, buf);
}

static unsigned line_of(const struct sg_uci_section *s, const char *option)
{
	const struct sg_uci_option *o = s ? sg_uci_option(s, option) : NULL;

	return o ? o->line : s ? s->line : 0;
}

/* ---- users ----------------------------------------------------------------------------------------------------- */

static void read_user(struct reading *r, const struct sg_uci_section *visor)
{
	const char *user = visor ? sg_uci_get(visor, "user", "skygate") : "skygate";
	unsigned line = line_of(visor, "user");
	int err = sg_user_find(user, &r->conf->uid, &r->conf->gid);

	if (err == -ENOENT)
		finding(r, line,
			"visor: option user: there is no user '%s'\n"
			"  create it:  adduser --system --group --no-create-home %s      or name a number, never 0",
			user, user);
	else if (err < 0)
		finding(r, line,
			"visor: option user: '%s' is %s 0. The kernel takes forwarded packets for those of user 0, so "
			"exempting it would let the whole LAN out\n  choose a user of its own:  option user 'skygate'",
			user, r->conf->uid == 0 ? "user" : "group");
	else if (r->conf->uid == geteuid())
		finding(r, line,
			"visor: option user: '%s' is the user that skygate-netd itself runs as; core could then end "
			"it\n"
			"  choose another one:  option user 'skygate'",
			user);
}

/* ---- interfaces ------------------------------------------------------------------------------------------------ */

/* Names go into the text of the ruleset, where a quote or a star would mean something. */
static bool check_device(struct reading *r, unsigned line, const char *what, const char *dev)
{
	if (!sg_ifname_ok(dev))
		finding(r, line, "%s: '%s' is not an interface's name\n  accepted: " SG_IFNAME_ACCEPTED, what, dev);
	return sg_ifname_ok(dev);
}

static void add_lan(struct reading *r, unsigned line, const char *dev)
{
	struct netd_conf *c = r->conf;

	if (check_device(r, line, "interface: list device", dev) && !netd_conf_is_lan(c, dev) &&
		c->n_lans < SG_LANS_MAX)
		snprintf(c->lan[c->n_lans++], IFNAMSIZ, "%s", dev);
}

static void read_interfaces(struct reading *r, const struct sg_uci *doc)
{
	for (const struct sg_uci_section *s = NULL; (s = sg_uci_next(doc, "interface", s));) {
		const struct sg_uci_option *devices = sg_uci_option(s, "device");

		if (strcmp(sg_uci_get(s, "role", ""), "lan") != 0 || !devices)
			continue;
		sg_list_for (it, &devices->values) {
			const struct sg_uci_value *v = sg_container_of(it, struct sg_uci_value, node);

			add_lan(r, v->line, v->text);
		}
	}
}

/* ---- client and server ----------------------------------------------------------------------------------------- */

static const struct sg_uci_section *only_section(struct reading *r, const struct sg_uci *doc, const char *type)
{
	const struct sg_uci_section *first = sg_uci_next(doc, type, NULL);
	const struct sg_uci_section *more = first ? sg_uci_next(doc, type, first) : NULL;

	if (more)
		finding(r, more->line, "a second section %s; the first one is in line %u\n  keep one of them", type,
			first->line);
	return first;
}

static bool read_bool(struct reading *r, const struct sg_uci_section *s, const char *option, bool def)
{
	static const char *const words[] = {"0", "1", "off", "on", "no", "yes", "false", "true"};
	const char *text = sg_uci_get(s, option, def ? "1" : "0");

	for (size_t i = 0; i < SG_ARRAY_LEN(words); i++) {
		if (strcmp(text, words[i]) == 0)
			return i & 1;
	}
	finding(r, line_of(s, option), "%s '%s': option %s: '%s' is neither on nor off\n  accepted: 0, 1", s->type,
		s->name, option, text);
	return def;
}

static void read_client(struct reading *r, const struct sg_uci *doc)
{
	static const char *const modes[] = {"off", "vpn", "host"};
	const struct sg_uci_section *s = only_section(r, doc, "vpn_client");
	struct netd_conf *c = r->conf;
	const char *mode;
	size_t i = 0;

	if (!s)
		return;
	mode = sg_uci_get(s, "mode", "off");
	while (i < SG_ARRAY_LEN(modes) && strcmp(mode, modes[i]) != 0)
		i++;
	if (i == SG_ARRAY_LEN(modes))
		finding(r, line_of(s, "mode"),
			"vpn_client '%s': option mode: '%s' is none of its values\n  accepted: off, vpn, host", s->name,
			mode);
	else
		c->mode = (enum netd_mode)i;
	c->kill_switch = read_bool(r, s, "kill_switch", true);
}

static bool parse_prefix(const char *text, struct k_prefix *out)
{
	uint32_t net;
	unsigned bits;

	if (sg_prefix4_parse(text, &net, &bits) < 0)
		return false;
	*out = k_prefix4(net, bits);
	return true;
}

static void read_allowed(struct reading *r, const struct sg_uci_section *s)
{
	const struct sg_uci_option *o = sg_uci_option(s, "allow_net");
	struct netd_conf *c = r->conf;

	if (!o)
		return;
	sg_list_for (it, &o->values) {
		const struct sg_uci_value *v = sg_container_of(it, struct sg_uci_value, node);

		if (c->n_allow == SG_ALLOW_NETS_MAX)
			return;
		if (!parse_prefix(v->text, &c->allow[c->n_allow]))
			finding(r, v->line,
				"vpn_server '%s': list allow_net: '%s' is not a network\n"
				"  accepted: an IPv4 network such as 192.168.1.0/24, its host bits 0",
				s->name, v->text);
		else
			c->n_allow++;
	}
}

static void read_server(struct reading *r, const struct sg_uci *doc)
{
	const struct sg_uci_section *s = only_section(r, doc, "vpn_server");
	struct netd_conf *c = r->conf;
	const char *uplink, *pool;

	if (!s)
		return;
	c->server = true;
	uplink = sg_uci_get(s, "uplink", "");
	if (!uplink[0])
		finding(r, s->line,
			"vpn_server '%s': option uplink is missing\n  name the interface toward the internet:  option "
			"uplink 'eth0'",
			s->name);
	else if (check_device(r, line_of(s, "uplink"), "vpn_server: option uplink", uplink))
		snprintf(c->uplink, sizeof(c->uplink), "%s", uplink);
	pool = sg_uci_get(s, "pool", "172.16.0.0/12");
	if (!parse_prefix(pool, &c->pool) || c->pool.bits < SG_VPN_POOL_BITS_MIN || c->pool.bits > SG_VPN_POOL_BITS_MAX)
		finding(r, line_of(s, "pool"),
			"vpn_server '%s': option pool: '%s' is not a pool of addresses\n"
			"  accepted: an IPv4 network from /%d to /%d, such as 172.16.0.0/12, its host bits 0",
			s->name, pool, SG_VPN_POOL_BITS_MIN, SG_VPN_POOL_BITS_MAX);
	read_allowed(r, s);
}

static void read_number(struct reading *r, const struct sg_uci_section *s, const char *option, uint32_t min,
	uint32_t max, uint32_t *out)
{
	const char *text = sg_uci_get(s, option, NULL);
	uint64_t v;

	if (!text)
		return;
	if (sg_parse_u64(text, max, &v) < 0 || v < min)
		finding(r, line_of(s, option), "kernel '%s': option %s: '%s' is not possible\n  accepted: %u to %u",
			s->name, option, text, min, max);
	else
		*out = (uint32_t)v;
}

/* Numbers that another program on the machine may have taken. */
static void read_kernel(struct reading *r, const struct sg_uci *doc)
{
	const struct sg_uci_section *s = only_section(r, doc, "kernel");

	if (!s)
		return;
	read_number(r, s, "table", NETD_TABLE_MIN, UINT32_MAX - 1, &r->conf->table);
	read_number(r, s, "priority", 1, NETD_PRIORITY_MAX, &r->conf->priority);
}

/* Whoever can write the file decides what is blocked: that must not be core, nor everybody. */
static void check_owner(struct reading *r)
{
	struct stat st;

	if (stat(r->path, &st) < 0)
		return;
	if (st.st_uid == r->conf->uid || (st.st_mode & S_IWOTH))
		finding(r, 0,
			"%s may change this file, and with it the kill switch\n"
			"  take that away:  chown root %s && chmod go-w %s",
			(st.st_mode & S_IWOTH) ? "everybody" : "core's user", r->path, r->path);
}

void netd_conf_init(struct netd_conf *c)
{
	*c = (struct netd_conf){.gid = (gid_t)-1, .kill_switch = true, .table = NETD_TABLE, .priority = NETD_PRIORITY};
}

int netd_conf_load(const char *path, sg_uci_report_fn *report, void *arg, struct netd_conf *out)
{
	struct reading r = {.path = path, .report = report, .arg = arg, .conf = out};
	struct sg_uci *doc = NULL;
	int err;

	netd_conf_init(out);
	err = sg_uci_load(path, report, arg, &doc);
	if (err < 0)
		return err == -ENOMEM ? err : SG_ECONF;
	read_user(&r, only_section(&r, doc, "visor"));
	read_interfaces(&r, doc);
	r.findings += sg_schema_check(doc, report, arg);
	read_client(&r, doc);
	read_kernel(&r, doc);
	read_server(&r, doc);
	if (r.findings == 0)
		check_owner(&r);
	sg_uci_free(doc);
	return r.findings ? SG_ECONF : 0;
}

bool netd_conf_is_lan(const struct netd_conf *c, const char *dev)
{
	for (size_t i = 0; i < c->n_lans; i++) {
		if (strcmp(c->lan[i], dev) == 0)
			return true;
	}
	return false;
}

struct k_prefix netd_conf_server_addr(const struct netd_conf *c)
{
	struct k_prefix p = c->pool;

	p.b[3] = (uint8_t)(p.b[3] + 2);
	return p;
}
