/* Joining TCP segments and UDP datagrams (RFC 9293, RFC 768; Linux calls it generic receive offload). */
#include "gro.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "gso.h"

#include <netinet/in.h>

#define FLOWS        4  /* that are joined at a time */
#define UDP_SEGMENTS 64 /* of one super-packet, as Linux takes them */

enum { TCP_ACK = 0x10, TCP_PSH = 0x08, TCP_ECE = 0x40 };

/* What a packet shows that may be joined. */
struct segment {
	const uint8_t *p;
	size_t ip_hlen, head, data; /* head: all headers */
	uint8_t proto;
	uint32_t seq;
};

/* A super-packet in the making. */
struct join {
	size_t len; /* 0: none */
	struct sg_vpn_record first;
	size_t ip_hlen, head, size; /* size: data of its first segment */
	unsigned n;
	uint32_t next_seq;
	uint16_t id;
	bool same_id;   /* all have the id of the first */
	uint64_t since; /* the lower, the older */
	uint8_t b[SG_VPN_PACKET_MAX];
};

struct gro {
	bool udp;
	gro_fn *fn;
	void *arg;
	uint64_t since;
	size_t open;
	struct join joins[FLOWS];
};

struct gro *gro_new(bool udp, gro_fn *fn, void *arg)
{
	struct gro *g = sg_malloc(sizeof(*g));

	if (!g)
		return NULL;
	g->udp = udp;
	g->fn = fn;
	g->arg = arg;
	g->since = 0;
	g->open = 0;
	for (size_t i = 0; i < FLOWS; i++)
		g->joins[i].len = 0; /* the pages of those that are never used stay untouched */
	return g;
}

void gro_free(struct gro *g)
{
	sg_free(g);
}

/* ---- out ---- */

static void emit(struct gro *g, struct join *j)
{
	struct sg_vpn_record r = j->first;
	bool six = j->b[0] >> 4 == 6, tcp = j->b[six ? 6 : 9] == IPPROTO_TCP;
	struct sg_view packet = {j->b, j->len};

	if (j->n > 1) {
		r.len = (uint32_t)j->len;
		r.flags = SG_VPN_F_NEEDS_CSUM;
		r.gso = !tcp ? SG_GSO_UDP : six ? SG_GSO_TCP6 : SG_GSO_TCP4;
		r.hdr_len = (uint16_t)j->head;
		r.gso_size = (uint16_t)j->size;
		r.csum_start = (uint16_t)j->ip_hlen;
		r.csum_offset = tcp ? 16 : 6;
		if (!tcp)
			sg_put_u16(j->b + j->ip_hlen + 4, (uint16_t)(j->len - j->ip_hlen));
		gso_finish_super(&r, j->b);
	}
	j->len = 0;
	g->open--;
	g->fn(g->arg, &r, packet);
}

/* The oldest first, so that flows that came one after the other leave so. */
static struct join *oldest(struct gro *g)
{
	struct join *found = NULL;

	for (size_t i = 0; i < FLOWS; i++) {
		if (g->joins[i].len && (!found || g->joins[i].since < found->since))
			found = &g->joins[i];
	}
	return found;
}

void gro_flush(struct gro *g)
{
	while (g->open)
		emit(g, oldest(g));
}

/* ---- in ---- */

/* Right, or left open by a sender of whom we have it whole. */
static bool checksums_fit(const struct sg_vpn_record *r, struct sg_view in, const struct segment *s)
{
	if (!r->flags)
		return (s->proto != IPPROTO_UDP || sg_get_u16(in.p + s->ip_hlen + 6)) && gso_csum_ok(in, s->ip_hlen);
	return r->csum_start == s->ip_hlen && r->csum_offset == (s->proto == IPPROTO_TCP ? 16 : 6) &&
	       gso_ip_csum_ok(in, s->ip_hlen);
}

/* False: a packet that is never joined. */
static bool look(const struct gro *g, const struct sg_vpn_record *r, struct sg_view in, struct segment *s)
{
	bool six = in.p[0] >> 4 == 6;
	const uint8_t *l4;

	s->p = in.p;
	s->ip_hlen = six ? 40 : 20;
	s->proto = in.p[six ? 6 : 9];
	if (in.len < s->ip_hlen + 20 || (!six && (in.p[0] != 0x45 || (sg_get_u16(in.p + 6) & 0xbfff))))
		return false; /* options, fragments */
	l4 = in.p + s->ip_hlen;
	if (s->proto == IPPROTO_TCP) {
		s->head = s->ip_hlen + (size_t)(l4[12] >> 4) * 4;
		s->seq = sg_get_u32(l4 + 4);
		if ((l4[13] & ~(TCP_PSH | TCP_ECE)) != TCP_ACK || l4[12] & 15 || s->head < s->ip_hlen + 20)
			return false;
	} else if (s->proto == IPPROTO_UDP && g->udp) {
		s->head = s->ip_hlen + 8;
		s->seq = 0;
		if (sg_get_u16(l4 + 4) != in.len - s->ip_hlen)
			return false;
	} else {
		return false;
	}
	if (in.len < s->head + SG_VPN_GSO_SIZE_MIN)
		return false;
	s->data = in.len - s->head;
	return checksums_fit(r, in, s);
}

static bool same_addresses(const struct join *j, const uint8_t *p)
{
	bool six = p[0] >> 4 == 6;

	if (j->b[0] >> 4 != p[0] >> 4)
		return false;
	return six ? memcmp(j->b + 8, p + 8, 32) == 0 : memcmp(j->b + 12, p + 12, 8) == 0;
}

static bool same_flow(const struct join *j, const struct segment *s)
{
	size_t proto = s->ip_hlen == 40 ? 6 : 9;

	return same_addresses(j, s->p) && j->b[proto] == s->proto &&
	       memcmp(j->b + j->ip_hlen, s->p + s->ip_hlen, 4) == 0;
}

/* All that a cutter would write the same into every segment, it was the same in these. */
static bool same_headers(const struct join *j, const struct segment *s)
{
	const uint8_t *a = j->b, *b = s->p, *a4 = j->b + j->ip_hlen, *b4 = s->p + s->ip_hlen;

	if (j->ip_hlen != s->ip_hlen || j->head != s->head)
		return false;
	if (s->ip_hlen == 40 && (memcmp(a, b, 4) != 0 || memcmp(a + 6, b + 6, 2) != 0))
		return false;
	if (s->ip_hlen == 20 && (memcmp(a, b, 2) != 0 || memcmp(a + 6, b + 6, 3) != 0))
		return false;
	if (s->proto == IPPROTO_UDP)
		return true;
	/* Acknowledgement, flags but PSH, window; urgent pointer and options. */
	return memcmp(a4 + 8, b4 + 8, 5) == 0 && ((a4[13] ^ b4[13]) & ~TCP_PSH) == 0 &&
	       memcmp(a4 + 14, b4 + 14, 2) == 0 && memcmp(a4 + 18, b4 + 18, s->head - s->ip_hlen - 18) == 0;
}

/* The identification goes up by one, or stays where it means nothing. */
static bool id_fits(const struct join *j, const struct segment *s)
{
	uint16_t id = s->ip_hlen == 20 ? sg_get_u16(s->p + 4) : 0;
	bool may_stay = s->ip_hlen == 40 || s->p[6] & 0x40;

	if (may_stay && id == j->id && (j->n == 1 || j->same_id))
		return true;
	return s->ip_hlen == 20 && id == (uint16_t)(j->id + j->n) && (j->n == 1 || !j->same_id);
}

static bool fits(const struct join *j, const struct segment *s)
{
	if (j->len + s->data > SG_VPN_PACKET_MAX || s->data > j->size || !same_headers(j, s) || !id_fits(j, s))
		return false;
	return s->proto == IPPROTO_UDP ? j->n < UDP_SEGMENTS : s->seq == j->next_seq;
}

/* A segment that is shorter, or that its sender marked, ends the super-packet. */
static bool ends(const struct join *j, const struct segment *s)
{
	return s->data < j->size || (s->proto == IPPROTO_TCP && s->p[s->ip_hlen + 13] & TCP_PSH);
}

static void begin(struct gro *g, const struct sg_vpn_record *r, const struct segment *s)
{
	struct join *j = g->joins;

	if (g->open == FLOWS)
		emit(g, oldest(g));
	while (j->len)
		j++;
	memcpy(j->b, s->p, s->head + s->data);
	j->len = s->head + s->data;
	j->first = *r;
	j->ip_hlen = s->ip_hlen;
	j->head = s->head;
	j->size = s->data;
	j->n = 1;
	j->next_seq = s->seq + (uint32_t)s->data;
	j->id = s->ip_hlen == 20 ? sg_get_u16(s->p + 4) : 0;
	j->same_id = false;
	j->since = g->since++;
	g->open++;
	if (ends(j, s))
		emit(g, j);
}

static void append(struct gro *g, struct join *j, const struct segment *s)
{
	bool last = ends(j, s);

	j->same_id = s->ip_hlen == 40 || sg_get_u16(s->p + 4) == j->id;
	memcpy(j->b + j->len, s->p + s->head, s->data);
	j->len += s->data;
	j->n++;
	j->next_seq += (uint32_t)s->data;
	if (s->proto == IPPROTO_TCP)
		j->b[j->ip_hlen + 13] |= s->p[s->ip_hlen + 13] & TCP_PSH;
	if (last)
		emit(g, j);
}

/* It goes as it is, behind all that may be of its flow: a fragment does not show its ports. */
static void pass(struct gro *g, const struct sg_vpn_record *r, struct sg_view packet)
{
	for (size_t i = 0; g->open && i < FLOWS; i++) {
		if (g->joins[i].len && same_addresses(&g->joins[i], packet.p))
			emit(g, &g->joins[i]);
	}
	g->fn(g->arg, r, packet);
}

bool gro_push(struct gro *g, const struct sg_vpn_record *r, struct sg_view packet)
{
	struct segment s;

	if (r->gso != SG_GSO_NONE || !look(g, r, packet, &s)) {
		pass(g, r, packet);
		return g->open > 0;
	}
	for (size_t i = 0; g->open && i < FLOWS; i++) {
		struct join *j = &g->joins[i];

		if (!j->len || !same_flow(j, &s))
			continue;
		if (fits(j, &s)) {
			append(g, j, &s);
			return g->open > 0;
		}
		emit(g, j);
	}
	begin(g, r, &s);
	return g->open > 0;
}
