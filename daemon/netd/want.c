/*
 * Rules, routes, addresses and sysctls.
 *
 *	5100  from core (by uid)                 → main
 *	5105  toward a prefix of the LAN         → 5100   so that no pushed route takes our answers to the LAN elsewhere
 *	5105  from the leased address            → 5100   should the ruleset be lost for a moment, the machine answers
 *	                                           what arrives for connections it no longer knows: not on the WAN
 *	5107  from a LAN interface, its own prefix → 5110
 *	5108  from a LAN interface               → nowhere: should the ruleset be lost for a moment, the unreachable route
 *	                                           must not answer a forged source, for that answer would leave on the WAN
 *	                                           (the same of forwarded multicast, of which 5110 knows nothing)
 *	5110  from a LAN interface, from sky0    → 5100   (mode host: what the machine itself sends, and from sky0)
 *	table 5100: the LAN's own prefixes, default via sky0 while there is a lease, unreachable last
 */
#include "netd/want.h"
#include "base/alloc.h"
#include "base/err.h"

#include <linux/rtnetlink.h>

#define METRIC_V6 1024 /* the kernel's default for IPv6, said aloud so that it compares equal */

static const uint8_t families[] = {AF_INET, AF_INET6};

int nets_add(struct nets *set, const struct k_prefix *p)
{
	struct k_prefix net = k_prefix_net(p);
	size_t kept = 0;

	for (size_t i = 0; i < set->n; i++) {
		if (k_prefix_has(&set->p[i], &net))
			return 0;
	}
	for (size_t i = 0; i < set->n; i++) {
		if (!k_prefix_has(&net, &set->p[i]))
			set->p[kept++] = set->p[i];
	}
	if (kept < set->n) {
		set->p[kept] = net;
		set->n = kept + 1;
		return 0;
	}
	return k_push(&set->p, &set->n, sizeof(net), &net);
}

static bool is_link_local(const struct k_prefix *p)
{
	return p->family == AF_INET6 && p->b[0] == 0xfe && (p->b[1] & 0xc0) == 0x80;
}

static bool is_ours(const char *dev)
{
	return strcmp(dev, SG_TUN_CLIENT_NAME) == 0 || strcmp(dev, SG_TUN_SERVER_NAME) == 0;
}

static int collect_nets(const struct netd_conf *conf, const struct k_view *view, struct want *w)
{
	int err = 0;

	for (size_t i = 0; i < view->n_addrs && err == 0; i++) {
		const struct k_addr *a = &view->addrs[i];
		const struct k_link *link = k_view_link(view, a->dev);

		if (!link || link->loopback || is_ours(a->dev) || is_link_local(&a->p))
			continue;
		if (a->p.family == AF_INET)
			err = nets_add(&w->own, &a->p);
		for (size_t l = 0; l < conf->n_lans && err == 0; l++) {
			if (strcmp(conf->lan[l], a->dev) != 0)
				continue;
			err = nets_add(&w->lan[l], &a->p);
			if (err == 0)
				err = nets_add(&w->lans, &a->p);
		}
	}
	return err;
}

static int add_rule(struct want *w, struct k_rule r)
{
	return k_push(&w->rules, &w->n_rules, sizeof(r), &r);
}

static int add_steer(const struct netd_conf *conf, struct want *w, uint8_t family, const char *iif)
{
	struct k_rule r = {.family = family, .prio = conf->priority + NETD_PRIO_STEER, .table = conf->table};

	snprintf(r.iif, sizeof(r.iif), "%s", iif);
	return add_rule(w, r);
}

/* What the ruleset does to forged sources first of all, once more for the moment in which somebody flushed it. */
static int add_source_check(
	const struct netd_conf *conf, struct want *w, uint8_t family, const char *lan, const struct nets *own)
{
	struct k_rule r = {.family = family,
		.verdict = K_GO_ON,
		.prio = conf->priority + NETD_PRIO_OWN,
		.go_on = conf->priority + NETD_PRIO_STEER};
	int err = 0;

	snprintf(r.iif, sizeof(r.iif), "%s", lan);
	for (size_t i = 0; i < own->n && err == 0; i++) {
		if (own->p[i].family != family)
			continue;
		r.from = own->p[i];
		err = add_rule(w, r);
	}
	r = (struct k_rule){.family = family, .verdict = K_NOWHERE, .prio = conf->priority + NETD_PRIO_FORGED};
	snprintf(r.iif, sizeof(r.iif), "%s", lan);
	return err == 0 ? add_rule(w, r) : err;
}

/* An IGMP proxy may forward multicast; while steered it must not, and no rule of the two families governs that. */
static int add_multicast(const struct netd_conf *conf, struct want *w, const struct k_view *view, const char *lan)
{
	static const uint8_t families_of_multicast[] = {RTNL_FAMILY_IPMR, RTNL_FAMILY_IP6MR};
	struct k_rule r = {.verdict = K_NOWHERE, .prio = conf->priority + NETD_PRIO_FORGED};
	int err = 0;

	snprintf(r.iif, sizeof(r.iif), "%s", lan);
	for (size_t i = 0; i < SG_ARRAY_LEN(families_of_multicast) && err == 0; i++) {
		r.family = families_of_multicast[i];
		if (view->multicast[i])
			err = add_rule(w, r);
	}
	return err;
}

static int want_rules(
	const struct netd_conf *conf, const struct netd_gate *gate, const struct k_view *view, struct want *w)
{
	int err = 0;

	if (gate->lease)
		err = add_rule(w, (struct k_rule){.family = AF_INET,
					  .prio = conf->priority + NETD_PRIO_LAN,
					  .table = conf->table,
					  .from = k_prefix4(gate->lease, 32)});

	for (size_t i = 0; i < w->lans.n && err == 0; i++)
		err = add_rule(w, (struct k_rule){.family = w->lans.p[i].family,
					  .prio = conf->priority + NETD_PRIO_LAN,
					  .table = conf->table,
					  .to = w->lans.p[i]});
	for (size_t i = 0; conf->mode == NETD_VPN && i < conf->n_lans && err == 0; i++)
		err = add_multicast(conf, w, view, conf->lan[i]);
	for (size_t f = 0; f < SG_ARRAY_LEN(families) && err == 0; f++) {
		err = add_rule(w, (struct k_rule){.family = families[f],
					  .prio = conf->priority + NETD_PRIO_CORE,
					  .table = RT_TABLE_MAIN,
					  .by_uid = true,
					  .uid = conf->uid});
		for (size_t i = 0; conf->mode == NETD_VPN && i < conf->n_lans && err == 0; i++) {
			err = add_source_check(conf, w, families[f], conf->lan[i], &w->lan[i]);
			if (err == 0)
				err = add_steer(conf, w, families[f], conf->lan[i]);
		}
		if (conf->mode == NETD_HOST && err == 0)
			err = add_steer(conf, w, families[f], "lo");
		if (err == 0)
			err = add_steer(conf, w, families[f], SG_TUN_CLIENT_NAME);
	}
	return err;
}

static int add_route(
	const struct netd_conf *conf, struct want *w, const struct k_prefix *dst, const char *dev, uint32_t metric)
{
	struct k_route r = {.table = conf->table, .dst = *dst, .unreachable = dev == NULL, .metric = metric};

	if (dev)
		snprintf(r.dev, sizeof(r.dev), "%s", dev);
	return k_push(&w->routes, &w->n_routes, sizeof(r), &r);
}

static bool link_is_up(const struct k_view *view, const char *dev)
{
	const struct k_link *link = k_view_link(view, dev);

	return link && link->up;
}

static int want_routes(
	const struct netd_conf *conf, const struct netd_gate *gate, const struct k_view *view, struct want *w)
{
	int err = 0;

	for (size_t l = 0; l < conf->n_lans; l++) {
		if (!link_is_up(view, conf->lan[l]))
			continue;
		for (size_t i = 0; i < w->lan[l].n && err == 0; i++)
			err = add_route(conf, w, &w->lan[l].p[i], conf->lan[l],
				w->lan[l].p[i].family == AF_INET6 ? METRIC_V6 : 0);
	}
	/*
	 * In mode host the default stands without a lease: looking up the way back of what arrives for core must find
	 * some route (rp_filter 2); the ruleset keeps the rest out of the TUN.
	 */
	if (err == 0 && link_is_up(view, SG_TUN_CLIENT_NAME) && (gate->lease || conf->mode == NETD_HOST))
		err = add_route(conf, w, &(struct k_prefix){.family = AF_INET}, SG_TUN_CLIENT_NAME, 0);
	for (size_t f = 0; f < SG_ARRAY_LEN(families) && err == 0; f++)
		err = add_route(conf, w, &(struct k_prefix){.family = families[f]}, NULL, NETD_LAST_METRIC);
	return err;
}

static int want_addrs(
	const struct netd_conf *conf, const struct netd_gate *gate, const struct k_view *view, struct want *w)
{
	struct k_addr client = {.dev = SG_TUN_CLIENT_NAME, .p = k_prefix4(gate->lease, 32)};
	struct k_addr server = {.dev = SG_TUN_SERVER_NAME};
	int err = 0;

	if (gate->lease && k_view_link(view, SG_TUN_CLIENT_NAME))
		err = k_push(&w->addrs, &w->n_addrs, sizeof(client), &client);
	if (gate->server && k_view_link(view, SG_TUN_SERVER_NAME) && err == 0) {
		server.p = netd_conf_server_addr(conf);
		err = k_push(&w->addrs, &w->n_addrs, sizeof(server), &server);
	}
	return err;
}

static int add_sysctl(struct want *w, const char *ip, const char *dev, const char *name, const char *value)
{
	struct want_sysctl s = {.ours = is_ours(dev)};

	snprintf(s.key, sizeof(s.key), "net/%s/conf/%s/%s", ip, dev, name);
	snprintf(s.value, sizeof(s.value), "%s", value);
	return k_push(&w->sysctls, &w->n_sysctls, sizeof(s), &s);
}

/* No redirect may move traffic, no sender may choose its route. */
static int want_hardened(struct want *w, const char *dev)
{
	static const char *const names[] = {
		"accept_redirects", "secure_redirects", "send_redirects", "accept_source_route"};
	int err = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(names) && err == 0; i++)
		err = add_sysctl(w, "ipv4", dev, names[i], "0");
	return err;
}

static int want_tun(struct want *w, const struct k_view *view, const char *dev)
{
	int err;

	if (!k_view_link(view, dev))
		return 0;
	err = want_hardened(w, dev);
	if (err == 0)
		err = add_sysctl(w, "ipv4", dev, "rp_filter", "2");
	if (err == 0)
		err = add_sysctl(w, "ipv4", dev, "forwarding", "1");
	/* It carries IPv4 only, and no chatter of the kernel's own. */
	if (err == 0)
		err = add_sysctl(w, "ipv6", dev, "disable_ipv6", "1");
	return err;
}

/*
 * Where larger packets vanish and nobody is told, the carrier's TCP finds out what passes (P11) and does not wait for ever.
 * It begins when retransmissions have gone unanswered for as long as tcp_retries1 says: with 1 the third is a small one,
 * with the usual 3 the fourth, twice as late, and each of the carrier's directions waits for its own.
 */
static int want_mtu_probing(struct want *w)
{
	static const struct want_sysctl both[] = {
		{.key = WANT_MTU_PROBING, .value = "1", .at_least = true}, {.key = WANT_TCP_RETRIES, .value = "1"}};
	int err = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(both) && err == 0; i++)
		err = k_push(&w->sysctls, &w->n_sysctls, sizeof(both[i]), &both[i]);
	return err;
}

static int want_sysctls(
	const struct netd_conf *conf, const struct netd_gate *gate, const struct k_view *view, struct want *w)
{
	bool client = gate->word != NETD_IS_OFF;
	int err = want_tun(w, view, SG_TUN_CLIENT_NAME);

	if (err == 0)
		err = want_tun(w, view, SG_TUN_SERVER_NAME);
	if ((client || gate->server) && err == 0)
		err = want_mtu_probing(w);
	if (client && err == 0)
		err = want_hardened(w, "all");
	/* Loose everywhere, for the way back of core's own packets is by rule another one than the machine's. */
	if (client && conf->mode == NETD_HOST && err == 0)
		err = add_sysctl(w, "ipv4", "all", "rp_filter", "2");
	for (size_t l = 0; client && l < conf->n_lans && err == 0; l++) {
		if (!k_view_link(view, conf->lan[l]))
			continue;
		err = want_hardened(w, conf->lan[l]);
		if (err == 0)
			err = add_sysctl(w, "ipv4", conf->lan[l], "bc_forwarding", "0");
		if (conf->mode == NETD_VPN && err == 0)
			err = add_sysctl(w, "ipv4", conf->lan[l], "forwarding", "1");
	}
	/* Only these two forward, not the whole machine: net.ipv4.ip_forward would open all its interfaces. */
	if (gate->server && err == 0 && k_view_link(view, conf->uplink))
		err = add_sysctl(w, "ipv4", conf->uplink, "forwarding", "1");
	return err;
}

int want_build(const struct netd_conf *conf, const struct netd_gate *gate, const struct k_view *view, struct want *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	out->steer = conf->priority + NETD_PRIO_STEER;
	for (size_t l = 0; l < conf->n_lans; l++) {
		const struct k_link *link = k_view_link(view, conf->lan[l]);

		out->lan_index[l] = link ? link->index : 0;
	}
	err = collect_nets(conf, view, out);
	if (err == 0 && gate->word != NETD_IS_OFF)
		err = want_rules(conf, gate, view, out);
	if (err == 0 && gate->word != NETD_IS_OFF)
		err = want_routes(conf, gate, view, out);
	if (err == 0)
		err = want_addrs(conf, gate, view, out);
	if (err == 0)
		err = want_sysctls(conf, gate, view, out);
	if (err == 0)
		err = ruleset_build(conf, gate, out, &out->nft);
	if (err == 0)
		err = guard_build(conf, gate, out, &out->guard);
	if (err < 0)
		want_fini(out);
	return err;
}

void want_fini(struct want *w)
{
	sg_free(w->rules);
	sg_free(w->routes);
	sg_free(w->addrs);
	sg_free(w->sysctls);
	sg_free(w->nft);
	sg_free(w->guard);
	for (size_t l = 0; l < SG_LANS_MAX; l++)
		sg_free(w->lan[l].p);
	sg_free(w->lans.p);
	sg_free(w->own.p);
	memset(w, 0, sizeof(*w));
}
