/* The sections of everybody, and what they must have in common. */
#include "wire/schema.h"
#include "base/common.h"

#include <stdarg.h>

static const struct sg_option common[] = {
	{.section = "visor", .flags = SG_OPT_REQUIRED, .help = "begin with:  config visor 'main'"},
	{.section = "visor",
		.name = "identity",
		.type = SG_OPT_PATH,
		.flags = SG_OPT_REQUIRED,
		.help = "the file with this visor's key:  option identity '/var/lib/skygate/identity.key'"},
	{.section = "visor",
		.name = "user",
		.type = SG_OPT_USER,
		.def = "skygate",
		.help = "whom skygated runs as: a name or a number, never root"},
	{.section = "visor",
		.name = "plugin",
		.type = SG_OPT_STRING,
		.flags = SG_OPT_LIST,
		.help = "what to load, in this order"},
	{.section = "visor",
		.name = "log_level",
		.type = SG_OPT_ENUM,
		.accepted = "error warn info debug",
		.def = "info",
		.help = "how much is logged"},
	{.section = "visor",
		.name = "memory",
		.type = SG_OPT_ENUM,
		.accepted = "small normal",
		.def = "normal",
		.help = "how much may wait in queues; small: for machines with 64 MB, slower over long lines"},
	{.section = "visor",
		.name = "min_hops",
		.type = SG_OPT_UINT,
		.def = "0",
		.max = 16,
		.help = "what we dial is reached over at least so many transports; above 1 never by a direct stream"},
	{.section = "visor",
		.name = "allow_plaintext",
		.type = SG_OPT_BOOL,
		.def = "0",
		.help = "routes to visors that want no encryption from end to end: every visor on the way reads along"},
	{.section = "visor",
		.name = "direct_streams",
		.type = SG_OPT_BOOL,
		.def = "1",
		.help = "0: neighbours too are reached over routes only, encrypted from end to end once more"},
	{.section = "visor",
		.name = "hide_addresses",
		.type = SG_OPT_BOOL,
		.def = "0",
		.help = "log lines without addresses"},
	{.section = "visor",
		.name = "automatic_transports",
		.type = SG_OPT_UINT,
		.def = "3",
		.max = 16,
		.help = "so many to public visors, made without being asked for; 0: none"},
	{.section = "visor",
		.name = "sandbox",
		.type = SG_OPT_BOOL,
		.def = "1",
		.help = "confine skygated once it has started (seccomp, Landlock)"},

	{.section = "interface", .flags = SG_OPT_LIST, .help = "a network of this machine"},
	{.section = "interface",
		.name = "role",
		.type = SG_OPT_ENUM,
		.flags = SG_OPT_REQUIRED,
		.accepted = "lan",
		.help = "what the network is to us:  option role 'lan'"},
	{.section = "interface",
		.name = "device",
		.type = SG_OPT_IFNAME,
		.flags = SG_OPT_LIST | SG_OPT_REQUIRED,
		.help = "its network interfaces:  list device 'br-lan'"},

	{.section = "peer", .flags = SG_OPT_LIST, .help = "another visor, to be kept connected"},
	{.section = "peer",
		.name = "pk",
		.type = SG_OPT_PK,
		.flags = SG_OPT_REQUIRED,
		.help = "its public key, as  skygate status  prints it there"},
	{.section = "peer",
		.name = "address",
		.type = SG_OPT_URL,
		.flags = SG_OPT_LIST,
		.help = "where it listens, or dmsg, stcpr: found by its key; tried in this order; without one it has "
			"to connect to us"},

	{.section = "kernel", .help = "numbers in the kernel that another program may have taken"},
	{.section = "kernel",
		.name = "table",
		.type = SG_OPT_UINT,
		.def = "5100",
		.min = 256,
		.max = 4294967294,
		.help = "the routing table for what is steered"},
	{.section = "kernel",
		.name = "priority",
		.type = SG_OPT_UINT,
		.def = "5100",
		.min = 1,
		.max = 32000,
		.help = "the first of our policy rules; ten more follow"},
	{0},
};

const struct sg_option *sg_schema_common(void)
{
	return common;
}

/* ---- beyond the tables --------------------------------------------------------------------------------------------- */

struct check {
	const struct sg_uci *doc;
	sg_uci_report_fn *report;
	void *arg;
	size_t findings;
	size_t lans;
};

static void SG_PRINTF(3, 4) finding(struct check *c, unsigned line, const char *fmt, ...)
{
	char buf[512];
	struct sg_text t = sg_text(buf, sizeof(buf));
	va_list ap;

	sg_text_addf(&t, "%s:%u: ", c->doc->file, line);
	va_start(ap, fmt);
	sg_text_vaddf(&t, fmt, ap);
	va_end(ap);
	c->findings++;
	c->report(c->arg, line, buf);
}

/* Lists of @s, one value after the other. */
static const struct sg_uci_value *next_value(
	const struct sg_uci_section *s, const char *list, const struct sg_uci_value *prev)
{
	const struct sg_uci_option *o = sg_uci_option(s, list);
	const struct sg_list *it = prev ? prev->node.next : o ? o->values.next : NULL;

	return o && it != &o->values ? sg_container_of(it, struct sg_uci_value, node) : NULL;
}

static void check_device(struct check *c, unsigned line, const char *what, const char *dev)
{
	if (strcmp(dev, SG_TUN_CLIENT_NAME) == 0 || strcmp(dev, SG_TUN_SERVER_NAME) == 0 || strcmp(dev, "lo") == 0)
		finding(c, line, "%s: '%s' cannot be named here\n  accepted: an interface of the machine, not ours",
			what, dev);
}

static bool is_lan(const struct sg_uci *doc, const char *dev)
{
	for (const struct sg_uci_section *s = NULL; (s = sg_uci_next(doc, "interface", s));) {
		for (const struct sg_uci_value *v = NULL; (v = next_value(s, "device", v));) {
			if (strcmp(v->text, dev) == 0 && strcmp(sg_uci_get(s, "role", ""), "lan") == 0)
				return true;
		}
	}
	return false;
}

static void check_lans(struct check *c)
{
	for (const struct sg_uci_section *s = NULL; (s = sg_uci_next(c->doc, "interface", s));) {
		if (strcmp(sg_uci_get(s, "role", ""), "lan") != 0)
			continue;
		for (const struct sg_uci_value *v = NULL; (v = next_value(s, "device", v));) {
			check_device(c, v->line, "interface: list device", v->text);
			if (++c->lans == SG_LANS_MAX + 1)
				finding(c, v->line,
					"interface: list device: more than %d interfaces with role 'lan'\n"
					"  join them to a bridge, or name fewer",
					SG_LANS_MAX);
		}
	}
}

static void check_client(struct check *c, const struct sg_uci_section *s)
{
	if (strcmp(sg_uci_get(s, "mode", "off"), "vpn") == 0 && c->lans == 0)
		finding(c, s->line,
			"vpn_client '%s': mode 'vpn' needs the interfaces of the LAN\n"
			"  name them:  config interface 'home' / option role 'lan' / list device 'br-lan'",
			s->name);
}

static void check_server(struct check *c, const struct sg_uci_section *s, bool steers)
{
	const struct sg_uci_option *o = sg_uci_option(s, "uplink");
	const char *uplink = sg_uci_get(s, "uplink", "");
	size_t nets = 0;

	if (o)
		check_device(c, o->line, "vpn_server: option uplink", uplink);
	if (o && steers && is_lan(c->doc, uplink))
		finding(c, o->line,
			"vpn_server '%s': option uplink: '%s' has the role 'lan' too, whose traffic is steered\n"
			"  name the interface toward the internet",
			s->name, uplink);
	for (const struct sg_uci_value *v = NULL; (v = next_value(s, "allow_net", v));) {
		if (++nets == SG_ALLOW_NETS_MAX + 1)
			finding(c, v->line, "vpn_server '%s': list allow_net: more than %d networks\n  name fewer",
				s->name, SG_ALLOW_NETS_MAX);
	}
}

size_t sg_schema_check(const struct sg_uci *doc, sg_uci_report_fn *report, void *arg)
{
	struct check c = {.doc = doc, .report = report, .arg = arg};
	const struct sg_uci_section *client = sg_uci_next(doc, "vpn_client", NULL);
	const struct sg_uci_section *server = sg_uci_next(doc, "vpn_server", NULL);

	check_lans(&c);
	if (client)
		check_client(&c, client);
	if (server)
		check_server(&c, server, client && strcmp(sg_uci_get(client, "mode", "off"), "vpn") == 0);
	return c.findings;
}
