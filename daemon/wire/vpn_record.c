/* Records of the VPN between our own ends, and the lengths of the packets in them. */
#include "wire/vpn.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"

#include <netinet/in.h>

void sg_vpn_record_encode(const struct sg_vpn_record *r, uint8_t out[SG_VPN_RECORD_HEAD])
{
	out[0] = r->kind;
	out[1] = r->flags;
	out[2] = r->gso;
	out[3] = 0;
	sg_put_u32(out + 4, r->len);
	sg_put_u16(out + 8, r->hdr_len);
	sg_put_u16(out + 10, r->gso_size);
	sg_put_u16(out + 12, r->csum_start);
	sg_put_u16(out + 14, r->csum_offset);
}

int sg_vpn_record_decode(const uint8_t in[SG_VPN_RECORD_HEAD], struct sg_vpn_record *out)
{
	uint8_t gso;

	out->kind = in[0];
	out->flags = in[1];
	out->gso = in[2];
	out->len = sg_get_u32(in + 4);
	out->hdr_len = sg_get_u16(in + 8);
	out->gso_size = sg_get_u16(in + 10);
	out->csum_start = sg_get_u16(in + 12);
	out->csum_offset = sg_get_u16(in + 14);
	if (out->len > SG_VPN_PACKET_MAX)
		return SG_ELONG;
	gso = out->gso & (uint8_t)~SG_GSO_ECN;
	if (out->kind > SG_VPN_BYE || (out->flags & ~SG_VPN_F_NEEDS_CSUM) || in[3] != 0)
		return SG_EMALF;
	if (out->gso == SG_GSO_ECN || out->gso == (SG_GSO_UDP | SG_GSO_ECN))
		return SG_EMALF;
	if (gso != SG_GSO_NONE && gso != SG_GSO_TCP4 && gso != SG_GSO_TCP6 && gso != SG_GSO_UDP)
		return SG_EMALF;
	return 0;
}

void sg_vpn_part_encode(const struct sg_vpn_part *p, uint8_t out[SG_VPN_RECORD_HEAD])
{
	sg_put_u32(out, (uint32_t)SG_VPN_PART << 24);
	sg_put_u32(out + 4, p->number);
	sg_put_u32(out + 8, p->total);
	sg_put_u32(out + 12, p->offset);
}

int sg_vpn_part_decode(const uint8_t in[SG_VPN_RECORD_HEAD], size_t len, struct sg_vpn_part *out)
{
	*out = (struct sg_vpn_part){
		.number = sg_get_u32(in + 4), .total = sg_get_u32(in + 8), .offset = sg_get_u32(in + 12)};
	if (sg_get_u32(in) != (uint32_t)SG_VPN_PART << 24 || len == 0)
		return SG_EMALF;
	if (out->total < SG_VPN_RECORD_HEAD || out->total > SG_VPN_RECORD_HEAD + SG_VPN_PACKET_MAX)
		return SG_EMALF;
	return out->offset <= out->total && len <= out->total - out->offset ? 0 : SG_EMALF;
}

static int tcp_check(const struct sg_vpn_record *r, struct sg_view p, size_t ip_hlen)
{
	size_t head;

	if (r->csum_offset != 16 || r->gso_size < SG_VPN_GSO_SIZE_MIN || p.len < ip_hlen + 20)
		return SG_EMALF;
	head = (size_t)(p.p[ip_hlen + 12] >> 4) * 4;
	return head < 20 || p.len < ip_hlen + head ? SG_EMALF : 0;
}

static int udp_check(const struct sg_vpn_record *r, struct sg_view p, size_t ip_hlen)
{
	size_t head = ip_hlen + 8;

	if (r->csum_offset != 6 || r->gso_size == 0 || p.len <= head)
		return SG_EMALF;
	return (p.len - head + r->gso_size - 1) / r->gso_size > SG_VPN_USO_MAX ? SG_EMALF : 0;
}

/* A super-packet: TCP or UDP right behind an IP header without extensions, checksum left to the last one who cuts it. */
static int gso_check(const struct sg_vpn_record *r, struct sg_view p, size_t ip_hlen)
{
	bool six = p.p[0] >> 4 == 6, udp = r->gso == SG_GSO_UDP;

	if (!(r->flags & SG_VPN_F_NEEDS_CSUM) || r->csum_start != ip_hlen || r->hdr_len > p.len)
		return SG_EMALF;
	if (!udp && six != ((r->gso & ~SG_GSO_ECN) == SG_GSO_TCP6))
		return SG_EMALF;
	if (p.p[six ? 6 : 9] != (udp ? IPPROTO_UDP : IPPROTO_TCP))
		return SG_EMALF;
	if (!six && (sg_get_u16(p.p + 6) & 0x3fff) != 0)
		return SG_EMALF; /* a fragment is no whole segment */
	return (udp ? udp_check : tcp_check)(r, p, ip_hlen);
}

int sg_vpn_record_check(const struct sg_vpn_record *r, struct sg_view packet)
{
	size_t ip_hlen;

	if (!packet.len || packet.len != r->len || sg_ip_length(packet) != (int)packet.len)
		return SG_EMALF;
	ip_hlen = packet.p[0] >> 4 == 6 ? 40 : (size_t)(packet.p[0] & 15) * 4;
	if (r->gso != SG_GSO_NONE)
		return gso_check(r, packet, ip_hlen);
	if (r->gso_size || r->hdr_len > packet.len)
		return SG_EMALF;
	if (!(r->flags & SG_VPN_F_NEEDS_CSUM))
		return 0;
	if (r->csum_start < ip_hlen || (size_t)r->csum_start + r->csum_offset + 2 > packet.len)
		return SG_EMALF;
	return 0;
}

int sg_ip_length(struct sg_view in)
{
	size_t len, head;

	if (in.len == 0)
		return 0;
	switch (in.p[0] >> 4) {
	case 4:
		head = (size_t)(in.p[0] & 15) * 4;
		if (head < 20)
			return SG_EMALF;
		if (in.len < 4)
			return 0;
		len = sg_get_u16(in.p + 2);
		return len < head ? SG_EMALF : (int)len;
	case 6:
		if (in.len < 6)
			return 0;
		len = 40 + (size_t)sg_get_u16(in.p + 4);
		return len > SG_VPN_PACKET_MAX ? SG_EMALF : (int)len;
	default:
		return SG_EMALF;
	}
}
