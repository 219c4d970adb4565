/* Checksums and segmentation of TCP and UDP over IPv4 and IPv6 (RFC 9293, RFC 768, RFC 1071). */
#include "gso.h"
#include "base/common.h"
#include "base/cursor.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

/*
 * One's complement sum in the byte order of the machine: the sum does not depend on it, only the place of its bytes
 * (RFC 1071), and those are stored as they are. Four bytes at a time, without a call: this runs over every byte.
 */
static uint64_t csum_add(uint64_t sum, const uint8_t *p, size_t len)
{
	uint32_t word;
	uint8_t last[4] = {0};

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum += word;
	}
	for (size_t i = 0; i < len; i++)
		last[i] = p[i];
	memcpy(&word, last, sizeof(word));
	return sum + word;
}

static uint16_t csum_end(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void csum_put(uint8_t *field, uint16_t sum)
{
	memcpy(field, &sum, sizeof(sum));
}

void gso_csum(const struct sg_vpn_record *r, uint8_t *packet, size_t len)
{
	uint8_t *field = packet + r->csum_start + r->csum_offset;
	/* The field holds the sum of the pseudo header already; it is part of what is added up. */
	uint16_t sum = csum_end(csum_add(0, packet + r->csum_start, len - r->csum_start));

	/* Zero means "no checksum" in UDP and is the same number as 0xffff everywhere. */
	csum_put(field, sum ? sum : 0xffff);
}

static void ip_finish(uint8_t *p, size_t len, size_t ip_hlen, unsigned index)
{
	if (p[0] >> 4 == 6) {
		sg_put_u16(p + 4, (uint16_t)(len - 40));
		return;
	}
	sg_put_u16(p + 2, (uint16_t)len);
	sg_put_u16(p + 4, (uint16_t)(sg_get_u16(p + 4) + index));
	sg_put_u16(p + 10, 0);
	csum_put(p + 10, csum_end(csum_add(0, p, ip_hlen)));
}

/* Of what TCP and UDP count besides themselves. */
static uint64_t pseudo_sum(const uint8_t *p, size_t len, size_t ip_hlen)
{
	uint64_t sum = (uint64_t)htons(p[p[0] >> 4 == 6 ? 6 : 9]) + htons((uint16_t)(len - ip_hlen));

	return p[0] >> 4 == 6 ? csum_add(sum, p + 8, 32) : csum_add(sum, p + 12, 8);
}

bool gso_ip_csum_ok(struct sg_view packet, size_t ip_hlen)
{
	return packet.p[0] >> 4 == 6 || csum_end(csum_add(0, packet.p, ip_hlen)) == 0;
}

bool gso_csum_ok(struct sg_view packet, size_t ip_hlen)
{
	uint64_t sum = pseudo_sum(packet.p, packet.len, ip_hlen);

	return gso_ip_csum_ok(packet, ip_hlen) &&
	       csum_end(csum_add(sum, packet.p + ip_hlen, packet.len - ip_hlen)) == 0;
}

void gso_finish_super(const struct sg_vpn_record *r, uint8_t *packet)
{
	ip_finish(packet, r->len, r->csum_start, 0);
	csum_put(packet + r->csum_start + r->csum_offset,
		(uint16_t)~csum_end(pseudo_sum(packet, r->len, r->csum_start)));
}

static uint16_t l4_csum(const uint8_t *p, size_t len, size_t ip_hlen)
{
	return csum_end(csum_add(pseudo_sum(p, len, ip_hlen), p + ip_hlen, len - ip_hlen));
}

/* What differs from the head of the super-packet in the TCP header of a segment @skipped bytes behind the first. */
static void tcp_finish(uint8_t *p, size_t len, size_t ip_hlen, size_t skipped, bool last)
{
	uint8_t *tcp = p + ip_hlen;
	uint8_t drop = (last ? 0 : TCP_FIN | TCP_PSH) | (skipped ? TCP_CWR : 0);

	sg_put_u32(tcp + 4, sg_get_u32(tcp + 4) + (uint32_t)skipped);
	tcp[13] &= (uint8_t)~drop;
	sg_put_u16(tcp + 16, 0);
	csum_put(tcp + 16, l4_csum(p, len, ip_hlen));
}

static void udp_finish(uint8_t *p, size_t len, size_t ip_hlen)
{
	uint8_t *udp = p + ip_hlen;
	uint16_t sum;

	sg_put_u16(udp + 4, (uint16_t)(len - ip_hlen));
	sg_put_u16(udp + 6, 0);
	sum = l4_csum(p, len, ip_hlen);
	csum_put(udp + 6, sum ? sum : 0xffff);
}

int gso_cut(
	const struct sg_vpn_record *r, struct sg_view packet, unsigned skip, uint8_t *scratch, gso_fn *fn, void *arg)
{
	size_t ip_hlen = r->csum_start;
	bool udp = r->gso == SG_GSO_UDP;
	size_t head = ip_hlen + (udp ? 8 : (size_t)(packet.p[ip_hlen + 12] >> 4) * 4);
	size_t at = head + (size_t)skip * r->gso_size;
	unsigned index = skip;

	do {
		size_t n = SG_MIN(packet.len - at, (size_t)r->gso_size);
		int err;

		memcpy(scratch, packet.p, head);
		memcpy(scratch + head, packet.p + at, n);
		ip_finish(scratch, head + n, ip_hlen, index++);
		if (udp)
			udp_finish(scratch, head + n, ip_hlen);
		else
			tcp_finish(scratch, head + n, ip_hlen, at - head, at + n == packet.len);
		err = fn(arg, (struct sg_view){scratch, head + n});
		if (err)
			return err;
		at += n;
	} while (at < packet.len);
	return 0;
}
