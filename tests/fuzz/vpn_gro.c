/*
 * Joining packets: every four bytes of the input describe a packet of one of a few flows, mostly the next of its flow. What
 * comes out, cut again, must be what went in, byte for byte and flow by flow in order; only the identification of IPv4
 * packets that must not be fragmented may differ.
 */
#include "base/common.h"
#include "base/cursor.h"
#include "fuzz.h"
#include "gro.h"
#include "gso.h"

#include <stdlib.h>
#include <string.h>

#define PACKETS 256
#define LONGEST 1700

struct in {
	uint8_t p[LONGEST];
	size_t len;
	bool out;
};

struct state {
	struct in in[PACKETS];
	size_t n, left;
	uint32_t seq[16];
	uint16_t id[16];
};

static struct state st;

static uint32_t sum16(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void checksums(uint8_t *p, size_t len)
{
	bool six = p[0] >> 4 == 6;
	size_t ip = six ? 40 : 20, at = ip + (p[six ? 6 : 9] == 6 ? 16 : 6);
	uint32_t sum = (uint32_t)(len - ip) + p[six ? 6 : 9] + (six ? sum16(0, p + 8, 32) : sum16(0, p + 12, 8));
	uint16_t folded;

	if (!six) {
		sg_put_u16(p + 10, 0);
		sg_put_u16(p + 10, (uint16_t)~fold(sum16(0, p, 20)));
	}
	sg_put_u16(p + at, 0);
	folded = (uint16_t)~fold(sum16(sum, p + ip, len - ip));
	sg_put_u16(p + at, folded || p[six ? 6 : 9] == 6 ? folded : 0xffff);
}

/* As a kernel hands it out: the sum of the pseudo header, the rest is left to the card. */
static void leave_open(uint8_t *p, size_t len, struct sg_vpn_record *r)
{
	bool six = p[0] >> 4 == 6, tcp = p[six ? 6 : 9] == 6;

	r->flags = SG_VPN_F_NEEDS_CSUM;
	r->csum_start = six ? 40 : 20;
	r->csum_offset = tcp ? 16 : 6;
	sg_put_u16(p + r->csum_start + r->csum_offset, fold((uint32_t)(len - r->csum_start) + (tcp ? 6 : 17) +
							       (six ? sum16(0, p + 8, 32) : sum16(0, p + 12, 8))));
}

/* what: 0x01 UDP, 0x02 IPv6, 0x04 timestamps, 0x08 may be fragmented, 0x70 something odd about it */
static void make(struct in *in, const uint8_t op[4])
{
	unsigned flow = op[1] & 3, odd = op[0] >> 4 & 7;
	bool udp = op[0] & 1, six = op[0] & 2, stamps = op[0] & 4 && !udp;
	size_t ip = six ? 40 : 20,
	       l4 = udp      ? 8
		    : stamps ? 32
			     : 20,
	       data = (size_t)(op[2] + 1) * 6, k = flow | (op[0] & 3) << 2;
	uint8_t *p = in->p;

	in->len = ip + l4 + data;
	memset(p, 0, ip + l4);
	memset(p + ip + l4, op[3], data);
	if (six) {
		p[0] = 0x60;
		sg_put_u16(p + 4, (uint16_t)(l4 + data));
		p[7] = 64;
		p[23] = 1;
		p[39] = 2;
	} else {
		p[0] = 0x45;
		sg_put_u16(p + 2, (uint16_t)in->len);
		sg_put_u16(p + 4, odd == 1 ? 0 : st.id[k]++);
		p[6] = op[0] & 8 ? 0 : 0x40;
		p[8] = 64;
		p[15] = 1;
		p[19] = 2;
	}
	p[six ? 6 : 9] = udp ? 17 : 6;
	sg_put_u16(p + ip, (uint16_t)(1000 + flow));
	sg_put_u16(p + ip + 2, 443);
	if (udp) {
		sg_put_u16(p + ip + 4, (uint16_t)(l4 + data));
	} else {
		sg_put_u32(p + ip + 4, odd == 2 ? 7 : st.seq[k]);
		st.seq[k] += (uint32_t)data;
		p[ip + 12] = (uint8_t)(l4 << 2);
		p[ip + 13] = odd == 3 ? op[3] : op[1] & 0x80 ? 0x18 : 0x10;
		p[ip + 15] = (uint8_t)(op[1] >> 2 & 1); /* the window moves */
	}
	if (odd == 4)
		p[six ? 7 : 8]--;
	checksums(p, in->len);
	if (odd == 5)
		p[in->len - 1] ^= 0x55;
	if (odd == 6 && !six)
		p[7] = 1; /* a fragment, and its header's checksum is wrong */
}

static bool same_flow(const uint8_t *a, const uint8_t *b)
{
	bool six = a[0] >> 4 == 6;
	size_t ip = six ? 40 : 20;

	return a[0] >> 4 == b[0] >> 4 && a[six ? 6 : 9] == b[six ? 6 : 9] && memcmp(a + ip, b + ip, 4) == 0;
}

static bool equal(const struct in *in, struct sg_view p)
{
	bool free_id = p.p[0] >> 4 == 4 && p.p[6] & 0x40;

	if (in->len != p.len)
		return false;
	if (!free_id)
		return memcmp(in->p, p.p, p.len) == 0;
	return memcmp(in->p, p.p, 4) == 0 && memcmp(in->p + 6, p.p + 6, 4) == 0 &&
	       memcmp(in->p + 12, p.p + 12, p.len - 12) == 0;
}

static int one_out(void *arg, struct sg_view p)
{
	(void)arg;
	for (size_t i = 0; i < st.n; i++) {
		struct in *in = &st.in[i];

		if (in->out || !same_flow(in->p, p.p))
			continue;
		must(equal(in, p));
		in->out = true;
		st.left--;
		return 0;
	}
	must(!"a packet that nobody put in");
	return 0;
}

static void on_packet(void *arg, const struct sg_vpn_record *r, struct sg_view p)
{
	static uint8_t scratch[SG_VPN_PACKET_MAX];

	(void)arg;
	must(r->len == p.len);
	must(sg_vpn_record_check(r, p) == 0);
	if (r->gso) {
		must(gso_cut(r, p, 0, scratch, one_out, NULL) == 0);
		return;
	}
	memcpy(scratch, p.p, p.len);
	if (r->flags)
		checksums(scratch, p.len);
	one_out(NULL, (struct sg_view){scratch, p.len});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gro *g = gro_new(true, on_packet, NULL);
	bool waiting = false;

	must(g != NULL);
	memset(&st, 0, sizeof(st));
	for (; size >= 4 && st.n < PACKETS; data += 4, size -= 4) {
		struct sg_vpn_record r = {.kind = SG_VPN_PACKET};
		static uint8_t open[LONGEST];
		struct in *in = &st.in[st.n];

		make(in, data);
		memcpy(open, in->p, in->len);
		if (data[1] & 0x40 && data[0] >> 4 < 5)
			leave_open(open, in->len, &r);
		st.n++;
		st.left++;
		r.len = (uint32_t)in->len;
		waiting = gro_push(g, &r, (struct sg_view){open, in->len});
		must(waiting || st.left == 0);
	}
	gro_flush(g);
	must(st.left == 0);
	gro_free(g);
	return 0;
}
