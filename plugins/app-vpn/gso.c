/* Checksums and segmentation of TCP over IPv4 and IPv6 (RFC 9293, RFC 1071). */
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

static void tcp_finish(uint8_t *p, size_t len, size_t ip_hlen)
{
	uint64_t sum = pseudo_sum(p, len, ip_hlen);

	sg_put_u16(p + ip_hlen + 16, 0);
	csum_put(p + ip_hlen + 16, csum_end(csum_add(sum, p + ip_hlen, len - ip_hlen)));
}

int gso_cut(
	const struct sg_vpn_record *r, struct sg_view packet, unsigned skip, uint8_t *scratch, gso_fn *fn, void *arg)
{
	size_t ip_hlen = r->csum_start;
	size_t head = ip_hlen + (size_t)(packet.p[ip_hlen + 12] >> 4) * 4;
	size_t skipped = (size_t)skip * r->gso_size;
	uint32_t seq = sg_get_u32(packet.p + ip_hlen + 4) + (uint32_t)skipped;
	uint8_t flags = packet.p[ip_hlen + 13];
	size_t at = head + skipped;
	unsigned index = skip;

	do {
		size_t n = SG_MIN(packet.len - at, (size_t)r->gso_size);
		bool first = index == 0, last = at + n == packet.len;
		uint8_t keep = (uint8_t) ~((last ? 0 : TCP_FIN | TCP_PSH) | (first ? 0 : TCP_CWR));
		int err;

		memcpy(scratch, packet.p, head);
		memcpy(scratch + head, packet.p + at, n);
		sg_put_u32(scratch + ip_hlen + 4, seq);
		scratch[ip_hlen + 13] = flags & keep;
		ip_finish(scratch, head + n, ip_hlen, index);
		tcp_finish(scratch, head + n, ip_hlen);
		err = fn(arg, (struct sg_view){scratch, head + n});
		if (err)
			return err;
		at += n;
		seq += (uint32_t)n;
		index++;
	} while (at < packet.len);
	return 0;
}
