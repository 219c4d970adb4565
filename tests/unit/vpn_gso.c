/* Segmentation and checksums against a plain second computation, and against a packet whose checksums are known. */
#include "base/common.h"
#include "base/cursor.h"
#include "gso.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint8_t packet[SG_VPN_PACKET_MAX], scratch[SG_VPN_PACKET_MAX];

/* The sum over 16-bit words, one by one, as RFC 1071 says it; 0xffff when a checksum inside is right. */
static uint16_t sum16(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8, sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t l4_sum(const uint8_t *p, size_t len, size_t ip_hlen, uint8_t proto)
{
	uint32_t sum = (uint32_t)(len - ip_hlen) + proto;

	sum += p[0] >> 4 == 6 ? sum16(0, p + 8, 32) : sum16(0, p + 12, 8);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum16(sum, p + ip_hlen, len - ip_hlen);
}

/* A super-packet as a kernel hands it out: the TCP checksum field holds the sum of the pseudo header. */
static struct sg_vpn_record super(bool six, size_t ip_hlen, size_t tcp_hlen, size_t data, uint16_t mss)
{
	size_t len = ip_hlen + tcp_hlen + data;
	uint8_t *tcp = packet + ip_hlen;
	uint32_t sum;

	memset(packet, 0, ip_hlen + tcp_hlen);
	for (size_t i = 0; i < data; i++)
		packet[ip_hlen + tcp_hlen + i] = (uint8_t)(i * 7 + i / 256);
	if (six) {
		packet[0] = 0x60;
		sg_put_u16(packet + 4, (uint16_t)(len - 40));
		packet[6] = 6;
		packet[7] = 64;
		for (size_t i = 0; i < 32; i++)
			packet[8 + i] = (uint8_t)(0x20 + i);
	} else {
		packet[0] = (uint8_t)(0x40 | ip_hlen / 4);
		sg_put_u16(packet + 2, (uint16_t)len);
		sg_put_u16(packet + 4, 0xfffe);
		sg_put_u16(packet + 6, 0x4000);
		packet[8] = 64;
		packet[9] = 6;
		sg_put_u32(packet + 12, 0xac10000c);
		sg_put_u32(packet + 16, 0xc633640a);
		memset(packet + 20, 1, ip_hlen - 20); /* options: no operation */
		sg_put_u16(packet + 10, (uint16_t)~sum16(0, packet, ip_hlen));
	}
	sg_put_u16(tcp, 40000);
	sg_put_u16(tcp + 2, 80);
	sg_put_u32(tcp + 4, 0xffffff00);
	sg_put_u32(tcp + 8, 77);
	tcp[12] = (uint8_t)(tcp_hlen / 4 << 4);
	tcp[13] = 0x80 | 0x10 | 0x08 | 0x01; /* CWR ACK PSH FIN */
	memset(tcp + 20, 1, tcp_hlen - 20);
	sum = (uint32_t)(len - ip_hlen) + 6 + (six ? sum16(0, packet + 8, 32) : sum16(0, packet + 12, 8));
	sg_put_u16(tcp + 16, (uint16_t)((sum & 0xffff) + (sum >> 16)));
	return (struct sg_vpn_record){.flags = SG_VPN_F_NEEDS_CSUM,
		.gso = six ? SG_GSO_TCP6 : SG_GSO_TCP4,
		.len = (uint32_t)len,
		.hdr_len = (uint16_t)(ip_hlen + tcp_hlen),
		.gso_size = mss,
		.csum_start = (uint16_t)ip_hlen,
		.csum_offset = 16};
}

struct cut {
	size_t ip_hlen, tcp_hlen, total, data, n;
	uint16_t mss;
	int answer;
};

static int check_segment(void *arg, struct sg_view s)
{
	struct cut *c = arg;
	size_t head = c->ip_hlen + c->tcp_hlen, n = s.len - head;
	const uint8_t *tcp = s.p + c->ip_hlen;
	bool last = c->data + n == c->total;
	uint8_t flags = 0x10;

	assert_int_equal(sg_ip_length(s), (int)s.len);
	assert_true(n == c->mss || (last && n <= c->mss));
	assert_int_equal(sg_get_u32(tcp + 4), (uint32_t)(0xffffff00 + c->data));
	assert_int_equal(sg_get_u32(tcp + 8), 77);
	if (c->n == 0)
		flags |= 0x80;
	if (last)
		flags |= 0x09;
	assert_int_equal(tcp[13], flags);
	if (s.p[0] >> 4 == 4) {
		assert_int_equal(sum16(0, s.p, c->ip_hlen), 0xffff);
		assert_int_equal(sg_get_u16(s.p + 4), (uint16_t)(0xfffe + c->n));
		assert_int_equal(sg_get_u16(s.p + 6), 0x4000);
	}
	assert_int_equal(l4_sum(s.p, s.len, c->ip_hlen, 6), 0xffff);
	assert_memory_equal(s.p + head, packet + head + c->data, n);
	c->data += n;
	c->n++;
	return c->answer;
}

static void segments_are_what_the_kernel_would_have_sent(void **state)
{
	static const struct {
		bool six;
		size_t ip_hlen, tcp_hlen, data;
		uint16_t mss;
		size_t want;
	} rows[] = {{false, 20, 32, 14480, 1448, 10}, {false, 20, 20, 2921, 1460, 3}, {false, 24, 60, 1000, 999, 2},
		{false, 20, 32, 1448, 1448, 1}, {false, 20, 20, 1, 1460, 1}, {false, 20, 20, 0, 1460, 1},
		{true, 40, 32, 14281, 1428, 11}, {true, 40, 20, 61, 60, 2}, {false, 20, 32, 65483, 1448, 46},
		{true, 40, 32, 65463, 1428, 46}};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct sg_vpn_record r =
			super(rows[i].six, rows[i].ip_hlen, rows[i].tcp_hlen, rows[i].data, rows[i].mss);
		struct cut c = {.ip_hlen = rows[i].ip_hlen,
			.tcp_hlen = rows[i].tcp_hlen,
			.total = rows[i].data,
			.mss = rows[i].mss};
		struct sg_view v = {packet, r.len};

		assert_int_equal(sg_vpn_record_check(&r, v), 0);
		assert_int_equal(gso_cut(&r, v, 0, scratch, check_segment, &c), 0);
		assert_int_equal(c.n, rows[i].want);
		assert_int_equal(c.data, rows[i].data);
		c = (struct cut){.ip_hlen = rows[i].ip_hlen,
			.tcp_hlen = rows[i].tcp_hlen,
			.total = rows[i].data,
			.mss = rows[i].mss,
			.answer = -7};
		assert_int_equal(gso_cut(&r, v, 0, scratch, check_segment, &c), -7);
		assert_int_equal(c.n, 1);
	}
}

static int check_datagram(void *arg, struct sg_view s)
{
	struct cut *c = arg;
	size_t head = c->ip_hlen + 8, n = s.len - head;

	assert_int_equal(sg_ip_length(s), (int)s.len);
	assert_int_equal(n, SG_MIN((size_t)c->mss, c->total - c->data));
	assert_int_equal(sg_get_u16(s.p + c->ip_hlen + 4), 8 + n);
	assert_int_not_equal(sg_get_u16(s.p + c->ip_hlen + 6), 0);
	assert_int_equal(l4_sum(s.p, s.len, c->ip_hlen, 17), 0xffff);
	if (s.p[0] >> 4 == 4) {
		assert_int_equal(sum16(0, s.p, c->ip_hlen), 0xffff);
		assert_int_equal(sg_get_u16(s.p + 4), (uint16_t)(0xfffe + c->n));
	}
	assert_memory_equal(s.p + head, packet + head + c->data, n);
	c->data += n;
	c->n++;
	return 0;
}

/* As the TCP one, with other bytes where its header ends. */
static struct sg_vpn_record udp_super(bool six, size_t data, uint16_t size)
{
	size_t ip_hlen = six ? 40 : 20;
	struct sg_vpn_record r = super(six, ip_hlen, 20, data - 12, size);

	packet[six ? 6 : 9] = 17;
	if (!six) {
		sg_put_u16(packet + 10, 0);
		sg_put_u16(packet + 10, (uint16_t)~sum16(0, packet, ip_hlen));
	}
	sg_put_u16(packet + ip_hlen + 4, (uint16_t)(8 + data));
	r.gso = SG_GSO_UDP;
	r.hdr_len = (uint16_t)(ip_hlen + 8);
	r.csum_offset = 6;
	return r;
}

static void datagrams_are_what_the_kernel_would_have_sent(void **state)
{
	static const struct {
		bool six;
		size_t data;
		uint16_t size;
		size_t want;
	} rows[] = {{false, 14000, 1400, 10}, {true, 14001, 1400, 11}, {false, 100, 1400, 1}, {true, 128, 1, 128},
		{false, 65507, 1472, 45}};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct sg_vpn_record r = udp_super(rows[i].six, rows[i].data, rows[i].size);
		struct cut c = {.ip_hlen = r.csum_start, .total = rows[i].data, .mss = rows[i].size};
		struct sg_view v = {packet, r.len};

		assert_int_equal(sg_vpn_record_check(&r, v), 0);
		assert_int_equal(gso_cut(&r, v, 0, scratch, check_datagram, &c), 0);
		assert_int_equal(c.n, rows[i].want);
		assert_int_equal(c.data, rows[i].data);
	}
}

static void checksums_are_finished(void **state)
{
	(void)state;
	for (size_t data = 0; data < 70; data++) {
		struct sg_vpn_record r = super(data % 2, data % 2 ? 40 : 20, 20, data, 0);

		r.gso = SG_GSO_NONE;
		r.hdr_len = 0;
		assert_int_equal(sg_vpn_record_check(&r, (struct sg_view){packet, r.len}), 0);
		gso_csum(&r, packet, r.len);
		assert_int_equal(l4_sum(packet, r.len, r.csum_start, 6), 0xffff);
	}
}

/* A UDP checksum that comes out as zero is sent as 0xffff: zero would mean that there is none. */
static void udp_zero_is_sent_as_ffff(void **state)
{
	struct sg_vpn_record r = {.flags = SG_VPN_F_NEEDS_CSUM, .len = 30, .csum_start = 20, .csum_offset = 6};
	uint32_t sum;

	(void)state;
	memset(packet, 0, 30);
	packet[0] = 0x45;
	sg_put_u16(packet + 2, 30);
	packet[9] = 17;
	sg_put_u16(packet + 24, 10);
	sum = 10 + 17; /* pseudo header: addresses are zero */
	sg_put_u16(packet + 26, (uint16_t)sum);
	sg_put_u16(packet + 28, (uint16_t)(0xffff - sum - 10));
	gso_csum(&r, packet, 30);
	assert_int_equal(sg_get_u16(packet + 26), 0xffff);
	assert_int_equal(l4_sum(packet, 30, 20, 17), 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_what_the_kernel_would_have_sent),
		cmocka_unit_test(datagrams_are_what_the_kernel_would_have_sent),
		cmocka_unit_test(checksums_are_finished),
		cmocka_unit_test(udp_zero_is_sent_as_ffff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
