/*
 * rtnetlink: reading what is there, and our rules, routes and addresses. Everything that we add carries our protocol
 * number; of rules only those are seen, of routes all in our table, so that a stranger's route there is noticed.
 */
#include "netd/kernel_linux.h"
#include "base/err.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#define MSG_ROOM   512 /* bytes of one request of ours */
#define READ_TRIES 10
#define TABLES_MAX 4 /* ours, and of earlier configurations */

static uint8_t family_len(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

static bool read_address(const struct nlattr *a, uint8_t family, uint8_t bits, struct k_prefix *out)
{
	*out = (struct k_prefix){.family = family, .bits = bits};
	if (!a)
		return true;
	if (mnl_attr_get_payload_len(a) != family_len(family))
		return false;
	memcpy(out->b, mnl_attr_get_payload(a), family_len(family));
	return true;
}

static void read_name(const struct nlattr *a, char out[IFNAMSIZ])
{
	snprintf(out, IFNAMSIZ, "%.*s", (int)mnl_attr_get_payload_len(a), (const char *)mnl_attr_get_payload(a));
}

static const char *link_name(const struct k_view *v, uint32_t index)
{
	for (size_t i = 0; i < v->n_links; i++) {
		if (v->links[i].index == index)
			return v->links[i].name;
	}
	return "";
}

/* Remembers an error for mnl_cb_run. */
static int verdict(int err)
{
	if (err == 0)
		return MNL_CB_OK;
	errno = -err;
	return MNL_CB_ERROR;
}

static int on_link(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(nlh);
	struct k_view *v = arg;
	struct k_link link = {.index = (uint32_t)m->ifi_index,
		.up = (m->ifi_flags & IFF_UP) != 0,
		.loopback = (m->ifi_flags & IFF_LOOPBACK) != 0};
	const struct nlattr *a;

	mnl_attr_for_each(a, nlh, sizeof(*m))
	{
		switch (mnl_attr_get_type(a)) {
		case IFLA_IFNAME:
			read_name(a, link.name);
			break;
		case IFLA_MTU:
			link.mtu = mnl_attr_get_u32(a);
			break;
		case IFLA_TXQLEN:
			link.queue = mnl_attr_get_u32(a);
			break;
		default:
			break;
		}
	}
	return verdict(k_push(&v->links, &v->n_links, sizeof(link), &link));
}

static int on_addr(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(nlh);
	struct k_view *v = arg;
	const struct nlattr *a, *local = NULL, *address = NULL;
	struct k_addr addr = {.dev = ""};

	if (m->ifa_family != AF_INET && m->ifa_family != AF_INET6)
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*m))
	{
		if (mnl_attr_get_type(a) == IFA_LOCAL)
			local = a;
		else if (mnl_attr_get_type(a) == IFA_ADDRESS)
			address = a;
	}
	/* On a point-to-point link "local" is ours and "address" is the other end, whose prefix it is. */
	if (!read_address(
		    m->ifa_family == AF_INET && local ? local : address, m->ifa_family, m->ifa_prefixlen, &addr.p))
		return MNL_CB_OK;
	snprintf(addr.dev, sizeof(addr.dev), "%s", link_name(v, m->ifa_index));
	return verdict(k_push(&v->addrs, &v->n_addrs, sizeof(addr), &addr));
}

static int on_rule(const struct nlmsghdr *nlh, void *arg)
{
	const struct fib_rule_hdr *m = mnl_nlmsg_get_payload(nlh);
	struct k_view *v = arg;
	struct k_rule r = {.family = m->family, .table = m->table};
	const struct nlattr *a, *dst = NULL, *src = NULL;
	uint8_t proto = 0;

	mnl_attr_for_each(a, nlh, sizeof(*m))
	{
		const struct fib_rule_uid_range *range;

		switch (mnl_attr_get_type(a)) {
		case FRA_PRIORITY:
			r.prio = mnl_attr_get_u32(a);
			break;
		case FRA_TABLE:
			r.table = mnl_attr_get_u32(a);
			break;
		case FRA_IIFNAME:
			read_name(a, r.iif);
			break;
		case FRA_SRC:
			src = a;
			break;
		case FRA_DST:
			dst = a;
			break;
		case FRA_GOTO:
			r.go_on = mnl_attr_get_u32(a);
			break;
		case FRA_PROTOCOL:
			proto = mnl_attr_get_u8(a);
			break;
		case FRA_UID_RANGE:
			range = mnl_attr_get_payload(a);
			r.by_uid = range->start == range->end;
			r.uid = range->start;
			break;
		default:
			break;
		}
	}
	if (proto != NETD_PROTO)
		return MNL_CB_OK;
	if ((dst && !read_address(dst, m->family, m->dst_len, &r.to)) ||
		(src && !read_address(src, m->family, m->src_len, &r.from)))
		return MNL_CB_OK;
	r.verdict = m->action == FR_ACT_GOTO ? K_GO_ON : m->action == FR_ACT_BLACKHOLE ? K_NOWHERE : K_LOOKUP;
	return verdict(k_push(&v->rules, &v->n_rules, sizeof(r), &r));
}

struct routes_of {
	struct k_view *view;
	uint32_t table;
};

static int on_route(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(nlh);
	const struct routes_of *of = arg;
	struct k_view *v = of->view;
	struct k_route r = {.table = of->table,
		.unreachable = m->rtm_type == RTN_UNREACHABLE,
		.foreign = m->rtm_protocol != NETD_PROTO || m->rtm_src_len || m->rtm_tos ||
			   (m->rtm_type != RTN_UNICAST && m->rtm_type != RTN_UNREACHABLE)};
	const struct nlattr *a, *dst = NULL;
	uint32_t table = m->rtm_table;

	if ((m->rtm_family != AF_INET && m->rtm_family != AF_INET6) || (m->rtm_flags & RTM_F_CLONED))
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*m))
	{
		switch (mnl_attr_get_type(a)) {
		case RTA_TABLE:
			table = mnl_attr_get_u32(a);
			break;
		case RTA_DST:
			dst = a;
			break;
		case RTA_PRIORITY:
			r.metric = mnl_attr_get_u32(a);
			break;
		case RTA_OIF:
			snprintf(r.dev, sizeof(r.dev), "%s", link_name(v, mnl_attr_get_u32(a)));
			break;
		case RTA_GATEWAY:
		case RTA_VIA:
		case RTA_MULTIPATH:
		case RTA_ENCAP:
			r.foreign = true;
			break;
		default:
			break;
		}
	}
	if (table != of->table || !read_address(dst, m->rtm_family, m->rtm_dst_len, &r.dst))
		return MNL_CB_OK;
	/* IPv6 names the loopback as the device of an unreachable route. */
	if (r.unreachable)
		r.dev[0] = '\0';
	return verdict(k_push(&v->routes, &v->n_routes, sizeof(r), &r));
}

/* @table: of routes, else 0. */
static int dump(struct kernel *k, uint16_t type, uint8_t family, uint32_t table, mnl_cb_t cb, void *arg)
{
	union {
		char room[MSG_ROOM];
		struct nlmsghdr align;
	} buf;
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf.room);
	/* Each kind's header begins with its family and is at most this long. */
	size_t head = type == RTM_GETLINK   ? sizeof(struct ifinfomsg)
		      : type == RTM_GETADDR ? sizeof(struct ifaddrmsg)
					    : sizeof(struct rtmsg);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	*(uint8_t *)mnl_nlmsg_put_extra_header(nlh, head) = family;
	if (table)
		mnl_attr_put_u32(nlh, RTA_TABLE, table);
	return kernel_talk(k, k->route, nlh, cb, arg);
}

static int read_routes(struct kernel *k, uint8_t family, uint32_t table, struct k_view *v)
{
	struct routes_of of = {v, table};
	int err = dump(k, RTM_GETROUTE, family, table, on_route, &of);

	/* Nothing was ever put into it. */
	return err == -ENOENT ? 0 : err;
}

/* A table's routes, unless they were read for an earlier rule. */
static int read_table(struct kernel *k, uint32_t table, struct k_view *v, uint32_t seen[], size_t *n_seen)
{
	int err;

	for (size_t i = 0; i < *n_seen; i++) {
		if (seen[i] == table)
			return 0;
	}
	if (table == 0 || table == RT_TABLE_MAIN || *n_seen == TABLES_MAX)
		return 0;
	seen[(*n_seen)++] = table;
	err = read_routes(k, AF_INET, table, v);
	if (err == 0)
		err = read_routes(k, AF_INET6, table, v);
	return err == -EAFNOSUPPORT || err == -EOPNOTSUPP ? 0 : err;
}

/* Not every kernel has such rules. */
static int read_multicast_rules(struct kernel *k, uint8_t family, struct k_view *out, bool *have)
{
	int err = dump(k, RTM_GETRULE, family, 0, on_rule, out);

	*have = err == 0;
	return err == -EAFNOSUPPORT || err == -EOPNOTSUPP ? 0 : err;
}

static int read_once(struct kernel *k, uint32_t table, struct k_view *out)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	uint32_t seen[TABLES_MAX];
	size_t n_seen = 0;
	int err;

	memset(out, 0, sizeof(*out));
	err = dump(k, RTM_GETLINK, AF_UNSPEC, 0, on_link, out);
	for (size_t i = 0; err == 0 && i < SG_ARRAY_LEN(families); i++) {
		err = dump(k, RTM_GETADDR, families[i], 0, on_addr, out);
		if (err == 0)
			err = dump(k, RTM_GETRULE, families[i], 0, on_rule, out);
		/* A kernel without IPv6 has none of it to steer. */
		if (families[i] == AF_INET6 && (err == -EAFNOSUPPORT || err == -EOPNOTSUPP))
			err = 0;
	}
	if (err == 0)
		err = read_table(k, table, out, seen, &n_seen);
	/* A table of an earlier configuration is emptied together with the rules that name it. */
	for (size_t i = 0; i < out->n_rules && table && err == 0; i++)
		err = out->rules[i].verdict == K_LOOKUP ? read_table(k, out->rules[i].table, out, seen, &n_seen) : 0;
	if (err == 0)
		err = read_multicast_rules(k, RTNL_FAMILY_IPMR, out, &out->multicast[0]);
	if (err == 0)
		err = read_multicast_rules(k, RTNL_FAMILY_IP6MR, out, &out->multicast[1]);
	if (err < 0)
		k_view_fini(out);
	return err;
}

int kernel_read(struct kernel *k, uint32_t table, struct k_view *out)
{
	int err = -EINTR;

	/* Somebody's change came in between, and the picture may not be one: again. */
	for (int i = 0; i < READ_TRIES && err == -EINTR; i++)
		err = read_once(k, table, out);
	return err;
}

/* ---- changes --------------------------------------------------------------------------------------------------- */

struct request {
	union {
		char room[MSG_ROOM];
		struct nlmsghdr align;
	} buf;
	struct nlmsghdr *nlh;
};

static void *request_start(struct request *q, uint16_t type, bool add, size_t head)
{
	q->nlh = mnl_nlmsg_put_header(q->buf.room);
	q->nlh->nlmsg_type = type;
	q->nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	return mnl_nlmsg_put_extra_header(q->nlh, head);
}

/* What is already so is no error. */
static int request_send(struct kernel *k, struct request *q, bool add)
{
	int err = kernel_talk(k, k->route, q->nlh, NULL, NULL);

	if (add)
		return err == -EEXIST ? 0 : err;
	return err == -ESRCH || err == -ENOENT || err == -EADDRNOTAVAIL || err == -ENODEV ? 0 : err;
}

static void put_prefix(struct request *q, uint16_t type, const struct k_prefix *p)
{
	mnl_attr_put(q->nlh, type, family_len(p->family), p->b);
}

static int index_of(const char *dev, uint32_t *index)
{
	*index = if_nametoindex(dev);
	return *index ? 0 : -ENODEV;
}

int kernel_rule(struct kernel *k, bool add, const struct k_rule *rule)
{
	static const uint8_t actions[] = {FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_BLACKHOLE};
	struct request q;
	struct fib_rule_hdr *m = request_start(&q, add ? RTM_NEWRULE : RTM_DELRULE, add, sizeof(*m));

	m->family = rule->family;
	m->action = actions[rule->verdict];
	if (rule->verdict == K_LOOKUP) {
		m->table = rule->table < 256 ? (uint8_t)rule->table : RT_TABLE_UNSPEC;
		mnl_attr_put_u32(q.nlh, FRA_TABLE, rule->table);
	}
	if (rule->verdict == K_GO_ON)
		mnl_attr_put_u32(q.nlh, FRA_GOTO, rule->go_on);
	mnl_attr_put_u32(q.nlh, FRA_PRIORITY, rule->prio);
	mnl_attr_put_u8(q.nlh, FRA_PROTOCOL, NETD_PROTO);
	if (rule->iif[0])
		mnl_attr_put_strz(q.nlh, FRA_IIFNAME, rule->iif);
	if (rule->by_uid) {
		struct fib_rule_uid_range range = {.start = rule->uid, .end = rule->uid};

		mnl_attr_put(q.nlh, FRA_UID_RANGE, sizeof(range), &range);
	}
	if (rule->from.family) {
		m->src_len = rule->from.bits;
		put_prefix(&q, FRA_SRC, &rule->from);
	}
	if (rule->to.family) {
		m->dst_len = rule->to.bits;
		put_prefix(&q, FRA_DST, &rule->to);
	}
	return request_send(k, &q, add);
}

int kernel_route(struct kernel *k, bool add, const struct k_route *route)
{
	struct request q;
	struct rtmsg *m = request_start(&q, add ? RTM_NEWROUTE : RTM_DELROUTE, add, sizeof(*m));
	uint32_t index;
	int err;

	/* One that stands in its place is exchanged, without a moment between. */
	if (add)
		q.nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	m->rtm_family = route->dst.family;
	m->rtm_dst_len = route->dst.bits;
	m->rtm_table = RT_TABLE_UNSPEC;
	if (add) {
		m->rtm_protocol = NETD_PROTO;
		m->rtm_type = route->unreachable ? RTN_UNREACHABLE : RTN_UNICAST;
		m->rtm_scope = route->dst.family == AF_INET && !route->unreachable ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	} else {
		/* Whatever kind it is: NOWHERE matches any scope, no type any type. */
		m->rtm_scope = RT_SCOPE_NOWHERE;
	}
	mnl_attr_put_u32(q.nlh, RTA_TABLE, route->table);
	if (route->dst.bits)
		put_prefix(&q, RTA_DST, &route->dst);
	if (route->metric)
		mnl_attr_put_u32(q.nlh, RTA_PRIORITY, route->metric);
	if (route->dev[0]) {
		err = index_of(route->dev, &index);
		if (err < 0)
			return add ? err : 0;
		mnl_attr_put_u32(q.nlh, RTA_OIF, index);
	}
	return request_send(k, &q, add);
}

int kernel_addr(struct kernel *k, bool add, const struct k_addr *addr)
{
	struct request q;
	struct ifaddrmsg *m = request_start(&q, add ? RTM_NEWADDR : RTM_DELADDR, add, sizeof(*m));
	uint32_t index;
	int err = index_of(addr->dev, &index);

	if (err < 0)
		return add ? err : 0;
	m->ifa_family = addr->p.family;
	m->ifa_prefixlen = addr->p.bits;
	m->ifa_index = index;
	put_prefix(&q, IFA_LOCAL, &addr->p);
	put_prefix(&q, IFA_ADDRESS, &addr->p);
	return request_send(k, &q, add);
}

int kernel_link_up(struct kernel *k, const char *name, uint32_t mtu, uint32_t queue)
{
	struct request q;
	struct ifinfomsg *m = request_start(&q, RTM_NEWLINK, false, sizeof(*m));
	uint32_t index;
	int err = index_of(name, &index);

	if (err < 0)
		return err;
	m->ifi_index = (int)index;
	m->ifi_flags = IFF_UP;
	m->ifi_change = IFF_UP;
	mnl_attr_put_u32(q.nlh, IFLA_MTU, mtu);
	mnl_attr_put_u32(q.nlh, IFLA_TXQLEN, queue);
	return kernel_talk(k, k->route, q.nlh, NULL, NULL);
}
