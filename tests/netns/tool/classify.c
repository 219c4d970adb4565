/* See classify.h. Every read is bounded by the frame's length: probes are malformed on purpose. */
#include "classify.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_NS 1000000000ull

const char *const verdict_names[V_COUNT] = {"arp", "nd", "mld", "carrier", "answer", "foreign"};

struct bytes {
	const uint8_t *p;
	size_t len;
};

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

static int probe_kind_of(struct bytes b)
{
	const uint8_t *at = memmem(b.p, b.len, PROBE_MARK, PROBE_MARK_LEN);
	if (!at || (size_t)(at - b.p) + PROBE_MARK_LEN >= b.len)
		return -1;
	int kind = at[PROBE_MARK_LEN] - PROBE_BASE;
	return kind >= 0 && kind < PROBE_COUNT ? kind : -1;
}

static bool is_router(const struct classify *c, uint32_t address)
{
	for (unsigned i = 0; i < c->routers; i++)
		if (c->router[i] == address)
			return true;
	return false;
}

static unsigned seen_slot(uint32_t src, uint32_t dst, uint32_t ports)
{
	uint32_t h = src * 2654435761u ^ dst * 2246822519u ^ ports * 3266489917u;
	return (h ^ h >> 15) % CLASSIFY_SEEN;
}

static void remember(struct classify *c, uint32_t src, uint32_t dst, uint32_t ports, uint64_t now_ns)
{
	unsigned slot = seen_slot(src, dst, ports);
	c->seen[slot].src = src;
	c->seen[slot].dst = dst;
	c->seen[slot].ports = ports;
	c->seen[slot].at_ns = now_ns;
}

static bool came_in(const struct classify *c, uint32_t src, uint32_t dst, uint32_t ports, uint64_t now_ns)
{
	unsigned slot = seen_slot(src, dst, ports);
	return c->seen[slot].src == src && c->seen[slot].dst == dst && c->seen[slot].ports == ports &&
	       now_ns - c->seen[slot].at_ns < ANSWER_NS;
}

static bool is_carrier(const struct classify *c, uint32_t address, uint16_t port)
{
	for (size_t i = 0; i < c->carriers; i++) {
		if (c->carrier[i] == address && c->carrier_port[i] == port)
			return true;
	}
	return false;
}

static enum verdict judge_tcp4(
	struct classify *c, uint32_t src, uint32_t dst, struct bytes tcp, bool from_router, uint64_t now_ns)
{
	if (tcp.len < 20)
		return V_FOREIGN;
	uint16_t sport = be16(tcp.p), dport = be16(tcp.p + 2);
	uint32_t near = from_router ? src : dst, far = from_router ? dst : src;
	uint16_t near_port = from_router ? sport : dport, far_port = from_router ? dport : sport;
	if (is_carrier(c, far, far_port) && is_router(c, near) && near_port < PROBE_PORT_MIN)
		return V_CARRIER;
	if (!from_router) {
		remember(c, src, dst, (uint32_t)sport << 16 | dport, now_ns);
		return V_FOREIGN;
	}
	size_t header = (size_t)(tcp.p[12] >> 4) * 4;
	bool bare_reset = (tcp.p[13] & 0x04) && header >= 20 && header == tcp.len;
	if (bare_reset && is_router(c, src) && came_in(c, dst, src, (uint32_t)dport << 16 | sport, now_ns))
		return V_ANSWER;
	return V_FOREIGN;
}

static void judge_ip4(struct classify *c, struct bytes ip, bool from_router, uint64_t now_ns, struct opinion *out)
{
	if (ip.len < 20)
		return;
	size_t header = (size_t)(ip.p[0] & 15) * 4, total = be16(ip.p + 2);
	unsigned protocol = ip.p[9];
	uint32_t src = be32(ip.p + 12), dst = be32(ip.p + 16);
	bool fragment = be16(ip.p + 6) & 0x3fff;
	char a[INET_ADDRSTRLEN], b[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, ip.p + 12, a, sizeof(a));
	inet_ntop(AF_INET, ip.p + 16, b, sizeof(b));
	/* A length of 0 is a super-packet: its true length is the frame's. */
	struct bytes l4 = {ip.p + header, 0};
	if (header >= 20 && ip.len >= header) {
		size_t end = total >= header && total <= ip.len ? total : ip.len;
		l4.len = end - header;
	}
	unsigned sport = 0, dport = 0;
	if (l4.len >= 4 && (protocol == 6 || protocol == 17)) {
		sport = be16(l4.p);
		dport = be16(l4.p + 2);
	}
	snprintf(out->text, sizeof(out->text), "ipv4 protocol %u %s:%u > %s:%u, %zu bytes%s%s", protocol, a, sport, b,
		dport, total ? total : ip.len, fragment ? ", fragment" : "",
		protocol == 6 && l4.len >= 14 && (l4.p[13] & 4) ? ", reset" : "");
	if (protocol == 6 && !fragment && header == 20)
		out->verdict = judge_tcp4(c, src, dst, l4, from_router, now_ns);
}

static void judge_ip6(struct bytes ip, struct opinion *out)
{
	if (ip.len < 40)
		return;
	unsigned next = ip.p[6], hops = ip.p[7];
	const uint8_t *src = ip.p + 8, *dst = ip.p + 24;
	static const uint8_t none[16];
	bool local = (src[0] == 0xfe && (src[1] & 0xc0) == 0x80) || !memcmp(src, none, 16);
	struct bytes l4 = {ip.p + 40, ip.len - 40};
	char a[INET6_ADDRSTRLEN], b[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET6, src, a, sizeof(a));
	inet_ntop(AF_INET6, dst, b, sizeof(b));
	unsigned what = l4.len ? l4.p[0] : 0;
	if (next == 58 && hops == 255 && what >= 133 && what <= 137)
		out->verdict = V_ND; /* a hop limit of 255 cannot have been forwarded */
	/* MLD: hop-by-hop header of 8 bytes with a router alert, then ICMPv6, to a group of link scope. */
	if (next == 0 && hops == 1 && local && dst[0] == 0xff && (dst[1] & 15) == 2 && l4.len > 8 && l4.p[0] == 58 &&
		l4.p[1] == 0) {
		what = l4.p[8];
		if ((what >= 130 && what <= 132) || what == 143)
			out->verdict = V_MLD;
	}
	snprintf(out->text, sizeof(out->text), "ipv6 next %u (%u) %s > %s, %zu bytes", next, what, a, b, ip.len);
}

void classify(
	struct classify *c, const uint8_t *frame, size_t len, bool from_router, uint64_t now_ns, struct opinion *out)
{
	out->verdict = V_FOREIGN;
	out->kind = probe_kind_of((struct bytes){frame, len});
	if (len < 14) {
		snprintf(out->text, sizeof(out->text), "a frame of %zu bytes", len);
		return;
	}
	struct bytes body = {frame + 14, len - 14};
	unsigned type = be16(frame + 12);
	snprintf(out->text, sizeof(out->text), "ethertype 0x%04x, %zu bytes", type, len);
	if (type == 0x0806)
		out->verdict = V_ARP;
	else if (type == 0x0800)
		judge_ip4(c, body, from_router, now_ns, out);
	else if (type == 0x86dd)
		judge_ip6(body, out);
	if (out->kind >= 0) /* a probe is a leak whatever it looks like */
		out->verdict = V_FOREIGN;
}
