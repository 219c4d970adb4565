/* What is joined and what is not. That joining undoes cutting for whatever comes is shown by tests/fuzz/vpn_gro.c. */
#include "base/common.h"
#include "base/cursor.h"
#include "gro.h"
#include "gso.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MSS 1448

struct out {
	size_t n;
	struct sg_vpn_record r[64];
	uint32_t seq[64], flow[64];
};

static struct out out;
static struct gro *g;
static uint8_t packet[SG_VPN_PACKET_MAX], whole[SG_VPN_PACKET_MAX], scratch[SG_VPN_PACKET_MAX];

static void on_packet(void *arg, const struct sg_vpn_record *r, struct sg_view p)
{
	(void)arg;
	assert_true(out.n < SG_ARRAY_LEN(out.r));
	out.r[out.n] = *r;
	out.seq[out.n] = sg_get_u32(p.p + 24);
	out.flow[out.n++] = sg_get_u16(p.p + 20);
	memcpy(whole, p.p, p.len);
}

static void begin(bool udp)
{
	memset(&out, 0, sizeof(out));
	g = gro_new(udp, on_packet, NULL);
	assert_non_null(g);
}

static void end(void)
{
	gro_free(g);
	g = NULL;
}

static uint16_t fold(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* A finished IPv4 packet of @flow, TCP at @seq or UDP, with identification @id. */
static size_t build(uint8_t proto, uint16_t flow, uint32_t seq, uint16_t id, size_t data, uint8_t flags)
{
	size_t l4 = proto == 6 ? 32 : 8, len = 20 + l4 + data;
	uint8_t *p = packet, *field = p + 20 + (proto == 6 ? 16 : 6);

	memset(p, 0, 20 + l4);
	for (size_t i = 0; i < data; i++)
		p[20 + l4 + i] = (uint8_t)(seq + i);
	p[0] = 0x45;
	sg_put_u16(p + 2, (uint16_t)len);
	sg_put_u16(p + 4, id);
	p[6] = 0x40;
	p[8] = 60;
	p[9] = proto;
	sg_put_u32(p + 12, 0xc633640a);
	sg_put_u32(p + 16, 0xac10000c);
	sg_put_u16(p + 20, flow);
	sg_put_u16(p + 22, 40000);
	if (proto == 6) {
		sg_put_u32(p + 24, seq);
		sg_put_u32(p + 28, 99);
		p[32] = 0x80;
		p[33] = flags;
		sg_put_u16(p + 34, 501);
		memset(p + 40, 1, 12);
	} else {
		sg_put_u16(p + 24, (uint16_t)(8 + data));
	}
	sg_put_u16(field, (uint16_t)~fold(p + 20, l4 + data, fold(p + 12, 8, (uint32_t)(l4 + data) + proto)));
	sg_put_u16(p + 10, (uint16_t)~fold(p, 20, 0));
	return len;
}

static bool push(size_t len)
{
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET, .len = (uint32_t)len};

	return gro_push(g, &r, (struct sg_view){packet, len});
}

static bool tcp(uint16_t flow, uint32_t seq, uint16_t id, size_t data, uint8_t flags)
{
	return push(build(6, flow, seq, id, data, flags));
}

static int again(void *arg, struct sg_view p)
{
	unsigned *i = arg;
	size_t data = *i == 9 ? 700 : MSS, len = build(6, 80, 1000 + *i * MSS, (uint16_t)(65530 + *i), data, 0x10);

	assert_int_equal(p.len, len);
	assert_memory_equal(p.p, packet, len);
	++*i;
	return 0;
}

static void ten_segments_are_one_packet_and_come_apart_the_same(void **state)
{
	unsigned i;

	(void)state;
	begin(false);
	for (i = 0; i < 9; i++)
		assert_true(tcp(80, 1000 + i * MSS, (uint16_t)(65530 + i), MSS, 0x10));
	assert_int_equal(out.n, 0);
	assert_false(tcp(80, 1000 + i * MSS, (uint16_t)(65530 + i), 700, 0x10)); /* the short one ends it */
	assert_int_equal(out.n, 1);
	assert_int_equal(out.r[0].gso, SG_GSO_TCP4);
	assert_int_equal(out.r[0].gso_size, MSS);
	assert_int_equal(out.r[0].len, 52 + 9 * MSS + 700);
	assert_int_equal(sg_vpn_record_check(&out.r[0], (struct sg_view){whole, out.r[0].len}), 0);
	i = 0;
	assert_int_equal(gso_cut(&out.r[0], (struct sg_view){whole, out.r[0].len}, 0, scratch, again, &i), 0);
	assert_int_equal(i, 10);
	end();
}

static void what_is_not_joined_keeps_its_place(void **state)
{
	/* Behind one whole segment at 0: what comes, and how many packets go out at once. */
	static const struct {
		uint32_t seq;
		uint16_t id;
		size_t data;
		uint8_t flags;
		size_t out;
	} rows[] = {
		{MSS, 1, MSS, 0x10, 0}, {MSS, 0, MSS, 0x10, 0}, /* all have the same identification */
		{MSS, 1, MSS, 0x18, 1},                         /* pushed: together */
		{MSS, 1, 100, 0x10, 1},                         /* short: together */
		{MSS, 2, MSS, 0x10, 1},                         /* an identification is missing */
		{MSS + 1, 1, MSS, 0x10, 1},                     /* a byte is missing */
		{0, 1, MSS, 0x10, 1},                           /* again */
		{MSS, 1, MSS + 1, 0x10, 1},                     /* longer */
		{MSS, 1, 0, 0x10, 2},                           /* nothing but an acknowledgement */
		{MSS, 1, MSS, 0x11, 2}, {MSS, 1, MSS, 0x14, 2}, {MSS, 1, MSS, 0x02, 2}, {MSS, 1, MSS, 0x30, 2},
		{MSS, 1, MSS, 0x90, 2}, {MSS, 1, MSS, 0x50, 1}, /* congestion echoed from here on */
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		begin(false);
		tcp(80, 0, 0, MSS, 0x10);
		tcp(80, rows[i].seq, rows[i].id, rows[i].data, rows[i].flags);
		assert_int_equal(out.n, rows[i].out);
		gro_flush(g);
		assert_in_range(out.n, 1, 2);
		assert_int_equal(out.seq[0], 0);
		if (out.n == 2) {
			assert_int_equal(out.seq[1], rows[i].seq);
			assert_int_equal(out.r[0].gso + out.r[1].gso + out.r[0].flags + out.r[1].flags, 0);
		}
		end();
	}
}

static void a_wrong_checksum_stays_one(void **state)
{
	static const size_t places[] = {10, 36, 60};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(places); i++) {
		size_t len;

		begin(false);
		tcp(80, 0, 0, MSS, 0x10);
		len = build(6, 80, MSS, 1, MSS, 0x10);
		packet[places[i]] ^= 1;
		push(len);
		assert_int_equal(out.n, 2);
		assert_int_equal(out.r[1].flags, 0);
		assert_memory_equal(whole, packet, len);
		end();
	}
}

static void flows_are_joined_beside_each_other(void **state)
{
	(void)state;
	begin(false);
	for (uint16_t i = 0; i < 8; i++) {
		for (uint16_t flow = 1; flow <= 4; flow++)
			assert_true(tcp(flow, i * MSS, i, MSS, 0x10));
	}
	assert_int_equal(out.n, 0);
	/* A fifth takes the place of the oldest. */
	assert_true(tcp(5, 0, 0, MSS, 0x10));
	assert_int_equal(out.n, 1);
	assert_int_equal(out.flow[0], 1);
	gro_flush(g);
	assert_int_equal(out.n, 5);
	for (uint16_t i = 0; i < 5; i++) {
		assert_int_equal(out.flow[i], i + 1);
		assert_int_equal(out.r[i].len, i < 4 ? 52 + 8 * MSS : 52 + MSS);
	}
	end();
}

static void a_super_packet_is_no_longer_than_a_packet_may_be(void **state)
{
	uint32_t total = 0;

	(void)state;
	begin(false);
	for (uint32_t i = 0; i < 100; i++)
		tcp(80, i * MSS, (uint16_t)i, MSS, 0x10);
	gro_flush(g);
	assert_int_equal(out.n, 3);
	for (size_t i = 0; i < out.n; i++)
		total += out.r[i].len - 52;
	assert_int_equal(total, 100 * MSS);
	assert_int_equal(out.r[0].len, 52 + 45 * MSS);
	end();
}

static void datagrams_of_one_size(void **state)
{
	(void)state;
	/* A kernel that does not take them gets them one by one. */
	begin(false);
	assert_false(push(build(17, 443, 0, 0, 200, 0)));
	assert_false(push(build(17, 443, 1, 1, 200, 0)));
	assert_int_equal(out.n, 2);
	end();
	begin(true);
	for (uint16_t i = 0; i < 70; i++)
		push(build(17, 443, i, i, i == 69 ? 90 : 200, 0));
	assert_int_equal(out.n, 2);
	assert_int_equal(out.r[0].gso, SG_GSO_UDP);
	assert_int_equal(out.r[0].len, 28 + 64 * 200);
	assert_int_equal(out.r[0].gso_size, 200);
	assert_int_equal(out.r[0].csum_offset, 6);
	assert_int_equal(out.r[1].len, 28 + 5 * 200 + 90);
	assert_int_equal(sg_get_u16(whole + 24), 8 + 5 * 200 + 90);
	assert_int_equal(fold(whole, 20, 0), 0xffff);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_segments_are_one_packet_and_come_apart_the_same),
		cmocka_unit_test(what_is_not_joined_keeps_its_place),
		cmocka_unit_test(a_wrong_checksum_stays_one),
		cmocka_unit_test(flows_are_joined_beside_each_other),
		cmocka_unit_test(a_super_packet_is_no_longer_than_a_packet_may_be),
		cmocka_unit_test(datagrams_of_one_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
