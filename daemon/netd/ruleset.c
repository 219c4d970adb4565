/*
 * State → text for nft: table inet skygate, replaced as a whole in one transaction. Interfaces go by name, for we arm
 * before they exist; what is not known to be good is dropped.
 *
 *	prerouting −150   sources of the LAN checked, IPv6 refused, IPv4 blocked: ahead of routing and of any NAT
 *	forward −10       both ways strict: LAN → sky0 → LAN, skyx0 → uplink → skyx0
 *	input −10         nothing new from a TUN to the machine itself
 *	output −10        mode host: closed but for core; mode vpn: nothing for the LAN leaves elsewhere
 *	postrouting 90    masquerade into sky0, and from skyx0 to the uplink
 *
 * And table inet skygate_guard, which nobody but netd's own process can remove and which goes with it: the same closed
 * ways once more, for the milliseconds in which somebody else's  nft flush ruleset  took the table away.
 *
 *	forward −9        LAN ↔ the WAN: nothing, by name and by index (mode host: nothing at all)
 *	output −9         mode host: closed but for core and the TUNs; mode vpn: that there is no way is told the LAN only
 */
#include "netd/want.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/text.h"

#define ROOM (64 * 1024)

#define TUNS "\"" SG_TUN_CLIENT_NAME "\", \"" SG_TUN_SERVER_NAME "\""

/* Never reachable from an exit's clients, whatever the uplink is: private, shared, link-local, own, multicast, reserved. */
#define PRIVATE                                                                                                        \
	"0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, "           \
	"224.0.0.0/4, 240.0.0.0/4"

struct builder {
	const struct netd_conf *conf;
	const struct netd_gate *gate;
	const struct want *w;
	struct sg_text t;
	bool client, host, server, open; /* open: connected */
};

static void SG_PRINTF(2, 3) rule(struct builder *b, const char *fmt, ...)
{
	va_list ap;

	sg_text_add(&b->t, "\t\t");
	va_start(ap, fmt);
	sg_text_vaddf(&b->t, fmt, ap);
	va_end(ap);
	sg_text_add(&b->t, "\n");
}

static void chain(struct builder *b, const char *name, const char *hook)
{
	sg_text_addf(&b->t, "\tchain %s {\n", name);
	if (hook)
		rule(b, "type %s; policy accept;", hook);
}

static void chain_end(struct builder *b)
{
	sg_text_add(&b->t, "\t}\n");
}

/* "{ a, b }" of one family into @out; false when there is none. */
static bool set_of(const struct nets *nets, uint8_t family, struct sg_text *out)
{
	char buf[K_PREFIX_TEXT];
	size_t n = 0;

	for (size_t i = 0; i < nets->n; i++) {
		if (nets->p[i].family == family)
			sg_text_addf(out, "%s%s", n++ ? ", " : "{ ", k_prefix_str(&nets->p[i], buf));
	}
	sg_text_add(out, n ? " }" : "");
	return n > 0;
}

/* A rule about a set of networks, left out when the set is empty: "BEFORE { nets } AFTER". */
static bool net_rule(struct builder *b, const char *before, const struct nets *nets, uint8_t family, const char *after)
{
	struct sg_text undo = b->t;

	sg_text_addf(&b->t, "\t\t%s ", before);
	if (!set_of(nets, family, &b->t)) {
		b->t = undo;
		b->t.buf[b->t.len] = '\0';
		return false;
	}
	sg_text_addf(&b->t, " %s\n", after);
	return true;
}

static void lan_devices(const struct builder *b, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);

	for (size_t i = 0; i < b->conf->n_lans; i++)
		sg_text_addf(&t, "%s\"%s\"", i ? ", " : "", b->conf->lan[i]);
}
#define DEVICES_TEXT (SG_LANS_MAX * (IFNAMSIZ + 4))

/* ---- client: what comes from the LAN ---------------------------------------------------------------------------- */

/* Of one LAN interface: only its own prefixes. 0.0.0.0 asks for an address; link-local IPv6 stays on its link. */
static void source_rules(struct builder *b, size_t l)
{
	const char *dev = b->conf->lan[l];
	char before[64];

	rule(b, "iifname \"%s\" ip saddr 0.0.0.0 ip daddr { 255.255.255.255, 224.0.0.0/4 } accept", dev);
	snprintf(before, sizeof(before), "iifname \"%s\" ip saddr !=", dev);
	if (!net_rule(b, before, &b->w->lan[l], AF_INET, "counter name forged drop"))
		rule(b, "iifname \"%s\" meta nfproto ipv4 counter name forged drop", dev);
	rule(b, "iifname \"%s\" ip6 saddr { fe80::/10, :: } goto near", dev);
	snprintf(before, sizeof(before), "iifname \"%s\" ip6 saddr !=", dev);
	if (!net_rule(b, before, &b->w->lan[l], AF_INET6, "counter name forged drop"))
		rule(b, "iifname \"%s\" meta nfproto ipv6 counter name forged drop", dev);
}

static void refuse_v6(struct builder *b)
{
	/* A reset of our own: the kernel sends ICMPv6 errors only so many a second. */
	rule(b, "meta nfproto ipv6 meta l4proto tcp counter name refused reject with tcp reset");
	rule(b, "meta nfproto ipv6 counter name refused reject with icmpv6 admin-prohibited");
}

static void refuse_or_block(struct builder *b)
{
	if (b->gate->refuse) {
		rule(b, "meta l4proto tcp counter name refused reject with tcp reset");
		rule(b, "counter name refused reject with icmpx admin-prohibited");
	} else {
		rule(b, "counter name blocked drop");
	}
}

static void steer_chains(struct builder *b)
{
	chain(b, "near", NULL);
	rule(b, "ip6 daddr { fe80::/10, ff00::/8 } accept");
	rule(b, "fib daddr type local accept");
	rule(b, "counter name forged drop");
	chain_end(b);

	chain(b, "steer", NULL);
	rule(b, "fib daddr type { local, broadcast, multicast, anycast } accept");
	net_rule(b, "ip daddr", &b->w->lans, AF_INET, "accept");
	net_rule(b, "ip6 daddr", &b->w->lans, AF_INET6, "accept");
	rule(b, "ip6 daddr fe80::/10 accept");
	refuse_v6(b);
	if (!b->open)
		refuse_or_block(b);
	chain_end(b);
}

/*
 * An address of a TUN answers on that TUN only. Linux answers for all its addresses on every interface: whoever shares
 * the WAN could ask which lease we hold, and through it which connections exist.
 */
static void tun_addresses(struct builder *b)
{
	char addr[K_PREFIX_TEXT];

	for (size_t i = 0; i < b->w->n_addrs; i++) {
		struct k_prefix one = b->w->addrs[i].p;

		one.bits = 32;
		rule(b, "iifname != { \"lo\", \"%s\" } ip daddr %s counter name forged drop", b->w->addrs[i].dev,
			k_prefix_str(&one, addr));
	}
}

static void prerouting(struct builder *b)
{
	bool vpn = b->client && !b->host;

	if (vpn)
		steer_chains(b);
	chain(b, "prerouting", "filter hook prerouting priority -150");
	tun_addresses(b);
	for (size_t l = 0; vpn && l < b->conf->n_lans; l++) {
		source_rules(b, l);
		rule(b, "iifname \"%s\" goto steer", b->conf->lan[l]);
	}
	if (b->server) {
		char pool[K_PREFIX_TEXT];

		rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" meta nfproto ipv6 counter name blocked drop");
		rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" ip saddr != %s counter name forged drop",
			k_prefix_str(&b->conf->pool, pool));
		net_rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" ip saddr", &b->w->own, AF_INET,
			"counter name forged drop");
	}
	chain_end(b);
}

/* ---- between interfaces ----------------------------------------------------------------------------------------- */

static void forward_server(struct builder *b)
{
	const struct nets allow = {.p = (struct k_prefix *)b->conf->allow, .n = b->conf->n_allow};

	rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" oifname \"" SG_TUN_SERVER_NAME "\" counter name blocked drop");
	rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" fib daddr type { broadcast, multicast } counter name blocked drop");
	net_rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" ip daddr", &allow, AF_INET, "accept");
	rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" ip daddr { " PRIVATE
		" } counter name refused reject with icmp admin-prohibited");
	net_rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" ip daddr", &b->w->own, AF_INET,
		"counter name refused reject with icmp admin-prohibited");
	rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" oifname \"%s\" accept", b->conf->uplink);
	rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" counter name blocked drop");
	rule(b, "oifname \"" SG_TUN_SERVER_NAME "\" ct state established,related accept");
	rule(b, "oifname \"" SG_TUN_SERVER_NAME "\" counter name blocked drop");
}

/* Ahead of any look at connection state: what may pass is a pair of interfaces. */
static void forward_vpn(struct builder *b, const char *lan)
{
	rule(b, "iifname { %s } fib daddr type { broadcast, multicast } counter name blocked drop", lan);
	rule(b, "iifname { %s } ip option lsrr exists counter name blocked drop", lan);
	rule(b, "iifname { %s } ip option ssrr exists counter name blocked drop", lan);
	rule(b, "iifname { %s } oifname { %s } accept", lan, lan);
	if (b->open)
		rule(b, "iifname { %s } oifname \"" SG_TUN_CLIENT_NAME "\" meta nfproto ipv4 accept", lan);
	rule(b, "iifname { %s } counter name blocked drop", lan);
	rule(b, "iifname \"" SG_TUN_CLIENT_NAME "\" oifname { %s } ct state established,related accept", lan);
	rule(b, "iifname \"" SG_TUN_CLIENT_NAME "\" counter name blocked drop");
	rule(b, "oifname { %s, \"" SG_TUN_CLIENT_NAME "\" } counter name blocked drop", lan);
}

static void forward(struct builder *b, const char *lan)
{
	chain(b, "forward", "filter hook forward priority -10");
	if (b->server)
		forward_server(b);
	if (b->client && !b->host)
		forward_vpn(b, lan);
	/* A single machine is no router: what guests and containers on it send is neither carried nor let out. */
	if (b->host)
		rule(b, "counter name blocked drop");
	chain_end(b);
}

/* ---- the machine itself ----------------------------------------------------------------------------------------- */

static void input(struct builder *b)
{
	const struct nets allow = {.p = (struct k_prefix *)b->conf->allow, .n = b->conf->n_allow};

	chain(b, "input", "filter hook input priority -10");
	if (b->client) {
		rule(b, "iifname \"" SG_TUN_CLIENT_NAME "\" ct state established,related accept");
		rule(b, "iifname \"" SG_TUN_CLIENT_NAME "\" counter name blocked drop");
	}
	if (b->server) {
		rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" ct state established,related accept");
		net_rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" ip daddr", &allow, AF_INET, "accept");
		rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" counter name refused reject with icmp admin-prohibited");
	}
	chain_end(b);
}

/* What of the machine's own may leave beside the tunnel. */
static void output_host_near(struct builder *b, const char *lan)
{
	char before[DEVICES_TEXT + 64];

	rule(b, "meta skuid %u accept", (unsigned)b->conf->uid);
	rule(b, "oifname { \"lo\", \"" SG_TUN_SERVER_NAME "\" } accept");
	if (b->conf->n_lans) {
		snprintf(before, sizeof(before), "oifname { %s } ip daddr", lan);
		net_rule(b, before, &b->w->lans, AF_INET, "accept");
		snprintf(before, sizeof(before), "oifname { %s } ip6 daddr", lan);
		net_rule(b, before, &b->w->lans, AF_INET6, "accept");
		rule(b, "oifname { %s } ip6 daddr fe80::/10 accept", lan);
	}
	rule(b, "udp sport 68 udp dport 67 accept");
	rule(b, "udp sport 546 udp dport 547 accept");
	rule(b, "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } "
		"accept");
}

static void output_host(struct builder *b, const char *lan)
{
	output_host_near(b, lan);
	if (b->open)
		rule(b, "oifname \"" SG_TUN_CLIENT_NAME "\" meta nfproto ipv4 accept");
	refuse_v6(b);
	refuse_or_block(b);
}

static void output(struct builder *b, const char *lan)
{
	char after[DEVICES_TEXT + 64];

	if (!b->client)
		return;
	chain(b, "output", "filter hook output priority -10");
	if (b->host) {
		output_host(b, lan);
	} else {
		snprintf(after, sizeof(after), "oifname != { \"lo\", %s } counter name blocked drop", lan);
		net_rule(b, "ip daddr", &b->w->lans, AF_INET, after);
		net_rule(b, "ip6 daddr", &b->w->lans, AF_INET6, after);
	}
	chain_end(b);
}

static void postrouting(struct builder *b)
{
	chain(b, "postrouting", "nat hook postrouting priority 90");
	if (b->client)
		rule(b, "oifname \"" SG_TUN_CLIENT_NAME "\" masquerade");
	if (b->server)
		rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" oifname != \"" SG_TUN_SERVER_NAME "\" masquerade");
	chain_end(b);
}

/* ---- the tables --------------------------------------------------------------------------------------------------- */

/* The whole text, made by @fill, new in *out. */
static int build(struct builder *b, void (*fill)(struct builder *b, const char *lan), char **out)
{
	char lan[DEVICES_TEXT], *room = sg_malloc(ROOM);
	int err = 0;

	if (!room)
		return -ENOMEM;
	b->t = sg_text(room, ROOM);
	lan_devices(b, lan, sizeof(lan));
	fill(b, lan);
	if (b->t.err)
		err = -E2BIG;
	else if (!(*out = sg_strdup(room)))
		err = -ENOMEM;
	sg_free(room);
	return err;
}

static struct builder builder(const struct netd_conf *conf, const struct netd_gate *gate, const struct want *w)
{
	bool client = gate->word != NETD_IS_OFF;

	return (struct builder){.conf = conf,
		.gate = gate,
		.w = w,
		.client = client,
		.host = client && conf->mode == NETD_HOST,
		.server = gate->server,
		.open = gate->word == NETD_IS_CONNECTED};
}

static void fill_table(struct builder *b, const char *lan)
{
	sg_text_add(&b->t, "add table inet skygate\ndelete table inet skygate\ntable inet skygate {\n"
			   "\tcounter blocked { }\n\tcounter refused { }\n\tcounter forged { }\n");
	prerouting(b);
	forward(b, lan);
	input(b);
	output(b, lan);
	postrouting(b);
	sg_text_add(&b->t, "}\n");
}

int ruleset_build(const struct netd_conf *conf, const struct netd_gate *gate, const struct want *w, char **out)
{
	struct builder b = builder(conf, gate, w);

	*out = NULL;
	return b.client || b.server ? build(&b, fill_table, out) : 0;
}

/*
 * While policy rules are taken away one by one, a packet of the LAN with a forged source may meet table 5100 without the
 * check of sources ahead of it. What the kernel answers quotes the packet, and would go to that source, by the WAN.
 */
static void no_way_told(struct builder *b, const char *lan)
{
	rule(b, "oifname != { \"lo\", %s, " TUNS " } icmp type destination-unreachable icmp code { 0, 1 } drop", lan);
	rule(b, "oifname != { \"lo\", %s, " TUNS " } icmpv6 type destination-unreachable icmpv6 code { 0, 3 } drop",
		lan);
}

static void fill_guard(struct builder *b, const char *lan)
{
	sg_text_add(&b->t, "add table inet " NETD_GUARD " { flags owner; }\n"
			   "delete table inet " NETD_GUARD "\n"
			   "table inet " NETD_GUARD " {\n\tflags owner;\n");
	chain(b, "forward", "filter hook forward priority -9");
	if (b->host) {
		rule(b, "iifname \"" SG_TUN_SERVER_NAME "\" accept");
		rule(b, "oifname \"" SG_TUN_SERVER_NAME "\" accept");
		rule(b, "drop");
	} else {
		rule(b, "iifname { %s } oifname != { %s, " TUNS " } drop", lan, lan);
		rule(b, "oifname { %s } iifname != { %s, " TUNS " } drop", lan, lan);
		/* One that is renamed keeps its number: until all is told its new name, this holds. */
		for (size_t l = 0; l < b->conf->n_lans; l++) {
			if (!b->w->lan_index[l])
				continue;
			rule(b, "iif %u oifname != { %s, " TUNS " } drop", (unsigned)b->w->lan_index[l], lan);
			rule(b, "oif %u iifname != { %s, " TUNS " } drop", (unsigned)b->w->lan_index[l], lan);
		}
	}
	chain_end(b);
	chain(b, "output", "filter hook output priority -9");
	if (b->host) {
		output_host_near(b, lan);
		rule(b, "oifname \"" SG_TUN_CLIENT_NAME "\" accept");
		rule(b, "drop");
	} else {
		no_way_told(b, lan);
	}
	chain_end(b);
	sg_text_add(&b->t, "}\n");
}

int guard_build(const struct netd_conf *conf, const struct netd_gate *gate, const struct want *w, char **out)
{
	struct builder b = builder(conf, gate, w);

	*out = NULL;
	return b.client ? build(&b, fill_guard, out) : 0;
}
