/* Hellos by the Go reader's rules, record heads, IP lengths. Known bytes are run by sg-vectors. */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "wire/vpn.h"
#include "view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void client_hello_is_read_as_go_reads_it(void **state)
{
	static const struct {
		const char *json;
		int used; /* 0: all of it */
		size_t n_ips;
		bool bad_ip, rec;
		const char *passcode;
	} rows[] = {
		{"{\"unavailable_private_ips\":[\"10.0.0.5\",\"10.0.0.1\"],\"passcode\":\"1234\"}", 0, 2, false, false,
			"1234"},
		{"{}", 0, 0, false, false, ""},
		{"  {\"passcode\":\"x\"}\r\n\t ", 0, 0, false, false, "x"},
		{"{\"PassCode\":\"x\",\"UNAVAILABLE_private_ips\":null}", 0, 0, false, false, "x"},
		{"{\"passcode\":null}", 0, 0, false, false, ""},
		{"{\"more\":{\"a\":[1,\"}\"]},\"passcode\":\"\\u003c\\\"\\\\\"}", 0, 0, false, false, "<\"\\"},
		{"{\"unavailable_private_ips\":[\"\"]}", 0, 0, true, false, ""},
		{"{\"unavailable_private_ips\":[null,\"10.1.2.3\"]}", 0, 1, true, false, ""},
		{"{\"unavailable_private_ips\":[\"2001:db8::1\"]}", 0, 0, true, false, ""},
		{"{\"unavailable_private_ips\":[\"::ffff:10.1.2.3\"]}", 0, 1, false, false, ""},
		{"{\"passcode\":\"\",\"skygate\":{\"v\":1,\"rec\":1}}", 0, 0, false, true, ""},
		{"{\"passcode\":\"\",\"skygate\":{\"v\":2,\"rec\":1,\"x\":0}}", 0, 0, false, true, ""},
		{"{\"passcode\":\"\",\"skygate\":{\"v\":1,\"rec\":0}}", 0, 0, false, false, ""},
		{"{\"passcode\":\"\",\"skygate\":1}", 0, 0, false, false, ""},
		{"{}E\0", 2, 0, false, false, ""},
		{"{}{}", 2, 0, false, false, ""},
		{"", SG_EMALF, 0, false, false, NULL}, /* 0 in truth: more is needed */
		{"{", SG_EMALF, 0, false, false, NULL},
		{"{\"passcode\":\"}", SG_EMALF, 0, false, false, NULL},
		{"[]", SG_EMALF, 0, false, false, NULL},
		{"null", SG_EMALF, 0, false, false, NULL},
		{"{,}", SG_EMALF, 0, false, false, NULL},
		{"{\"passcode\":1}", SG_EMALF, 0, false, false, NULL},
		{"{\"unavailable_private_ips\":\"10.0.0.1\"}", SG_EMALF, 0, false, false, NULL},
		{"{\"unavailable_private_ips\":[1]}", SG_EMALF, 0, false, false, NULL},
		{"{\"unavailable_private_ips\":[\"10.0.0\"]}", SG_EMALF, 0, false, false, NULL},
		{"{\"unavailable_private_ips\":[\"10.0.0.256\"]}", SG_EMALF, 0, false, false, NULL},
		{"{\"unavailable_private_ips\":[\"fe80::1%eth0\"]}", SG_EMALF, 0, false, false, NULL},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct sg_vpn_client_hello h;
		int used = sg_vpn_client_hello_decode(view(rows[i].json), &h);

		if (!rows[i].passcode) {
			assert_true(used <= 0);
			continue;
		}
		assert_int_equal(used, rows[i].used ? rows[i].used : (int)strlen(rows[i].json));
		assert_int_equal(h.n_ips, rows[i].n_ips);
		assert_int_equal(h.bad_ip, rows[i].bad_ip);
		assert_int_equal(h.rec, rows[i].rec);
		assert_string_equal(h.passcode, rows[i].passcode);
	}
}

static void every_prefix_of_a_hello_wants_more(void **state)
{
	const char *client =
		"{\"unavailable_private_ips\":[\"10.0.0.5\"],\"passcode\":\"a\\\"}{\",\"skygate\":{\"v\":1,\"rec\":1}}";
	const char *server = "{\"status\":0,\"tun_ip\":\"172.16.0.12\",\"tun_gateway\":\"172.16.0.11\"}";
	struct sg_vpn_client_hello c;
	struct sg_vpn_server_hello s;

	(void)state;
	for (size_t n = 0; n < strlen(client); n++)
		assert_int_equal(sg_vpn_client_hello_decode((struct sg_view){(const uint8_t *)client, n}, &c), 0);
	assert_int_equal(sg_vpn_client_hello_decode(view(client), &c), (int)strlen(client));
	assert_string_equal(c.passcode, "a\"}{");
	for (size_t n = 0; n < strlen(server); n++)
		assert_int_equal(sg_vpn_server_hello_decode((struct sg_view){(const uint8_t *)server, n}, &s), 0);
	assert_int_equal(sg_vpn_server_hello_decode(view(server), &s), (int)strlen(server));
	assert_int_equal(s.tun_ip, 0xac10000c);
	assert_int_equal(s.tun_gateway, 0xac10000b);
	assert_false(s.rec);
}

static void server_hello_by_status(void **state)
{
	static const char *const bad[] = {"{\"status\":\"0\"}", "{\"status\":0.5}", "{\"status\":99999999999}",
		"{\"status\":0,\"tun_ip\":7}", "{\"status\":0,\"tun_ip\":\"nowhere\"}"};
	struct sg_vpn_server_hello h, again;
	char out[256];

	(void)state;
	for (int status = SG_VPN_OK; status <= SG_VPN_FORBIDDEN + 1; status++) {
		struct sg_vpn_server_hello in = {.status = status, .rec = status == SG_VPN_OK};
		int len;

		if (status == SG_VPN_OK) {
			in.tun_ip = 0x0a000004;
			in.tun_gateway = 0x0a000003;
		}
		len = sg_vpn_server_hello_encode(&in, out, sizeof(out));
		assert_true(len > 0);
		assert_int_equal(sg_vpn_server_hello_decode(view(out), &again), len);
		assert_int_equal(again.status, status);
		assert_int_equal(again.tun_ip, in.tun_ip);
		assert_int_equal(again.tun_gateway, in.tun_gateway);
		assert_int_equal(again.rec, in.rec);
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(bad); i++)
		assert_int_equal(sg_vpn_server_hello_decode(view(bad[i]), &h), SG_EMALF);
}

/* A Go reader hangs on a hello of 1,024 bytes, so none of ours reaches that. */
static void hellos_stay_below_1024_bytes(void **state)
{
	struct sg_vpn_client_hello h = {.rec = true};
	char out[SG_VPN_HELLO_MAX];
	int len = 0, last = 0;

	(void)state;
	for (h.n_ips = 0; h.n_ips < 100; h.n_ips++) {
		h.ips[h.n_ips] = 0xc0a80101;
		last = len;
		len = sg_vpn_client_hello_encode(&h, out, sizeof(out));
		if (len < 0)
			break;
		assert_true(len < 1024);
	}
	assert_int_equal(len, SG_ELONG);
	assert_true(last > 1000);
	assert_int_equal(sg_vpn_client_hello_encode(&h, out, 16), SG_ELONG);
}

static void hellos_are_gathered(void **state)
{
	const char *hello = "{\"passcode\":\"x\"}";
	const char *with_packet = "{\"passcode\":\"x\"} \n\x45\x00";
	struct sg_vpn_hello_in in = {0};
	uint8_t big[SG_VPN_HELLO_MAX + 1];
	size_t used;

	(void)state;
	/* A stream of bytes: it ends where the JSON ends, packets may follow in the same piece. */
	for (size_t i = 0; i + 1 < strlen(hello); i++)
		assert_int_equal(
			sg_vpn_hello_take(&in, false, (struct sg_view){(const uint8_t *)hello + i, 1}, &used), 0);
	assert_int_equal(sg_vpn_hello_take(&in, false, view("}"), &used), 1);
	assert_int_equal(in.len, strlen(hello));
	memset(&in, 0, sizeof(in));
	assert_int_equal(sg_vpn_hello_take(&in, false, (struct sg_view){(const uint8_t *)with_packet, 20}, &used), 1);
	assert_int_equal(used, 18);
	/* Records: one record, unless its length is a multiple of 1,024. */
	memset(&in, 0, sizeof(in));
	assert_int_equal(sg_vpn_hello_take(&in, true, view("{\"passcode\":"), &used), SG_EMALF);
	memset(&in, 0, sizeof(in));
	assert_int_equal(sg_vpn_hello_take(&in, true, view("{}{}"), &used), SG_EMALF);
	memset(&in, 0, sizeof(in));
	memset(big, ' ', sizeof(big));
	big[0] = '{';
	big[1] = '}';
	assert_int_equal(sg_vpn_hello_take(&in, true, (struct sg_view){big, 1024}, &used), 0);
	assert_int_equal(sg_vpn_hello_take(&in, true, view("\n"), &used), 1);
	memset(&in, 0, sizeof(in));
	assert_int_equal(sg_vpn_hello_take(&in, true, (struct sg_view){big, 1025}, &used), 1);
	assert_int_equal(used, 1025);
	memset(&in, 0, sizeof(in));
	assert_int_equal(sg_vpn_hello_take(&in, true, (struct sg_view){big, sizeof(big)}, &used), SG_ELONG);
	memset(&in, 0, sizeof(in));
	memset(big, ' ', sizeof(big));
	assert_int_equal(sg_vpn_hello_take(&in, false, (struct sg_view){big, sizeof(big)}, &used), SG_ELONG);
	memset(&in, 0, sizeof(in));
	assert_int_equal(sg_vpn_hello_take(&in, false, view("x"), &used), SG_EMALF);
}

static void judged_by_passcode_then_by_addresses(void **state)
{
	struct sg_vpn_client_hello h = {.passcode = "1234"};
	char none[SG_VPN_PASSCODE_MAX + 1] = "", set[SG_VPN_PASSCODE_MAX + 1] = "1234";
	char longest[SG_VPN_PASSCODE_MAX + 1], json[256];

	(void)state;
	assert_int_equal(sg_vpn_client_hello_status(&h, none), SG_VPN_OK);
	assert_int_equal(sg_vpn_client_hello_status(&h, set), SG_VPN_OK);
	h.bad_ip = true;
	assert_int_equal(sg_vpn_client_hello_status(&h, set), SG_VPN_BAD_REQUEST);
	h.passcode[3] = '5';
	assert_int_equal(sg_vpn_client_hello_status(&h, set), SG_VPN_FORBIDDEN);
	h.passcode[0] = '\0';
	assert_int_equal(sg_vpn_client_hello_status(&h, set), SG_VPN_FORBIDDEN);
	/* A longer one than we keep equals none, its beginning neither. */
	memset(longest, 'x', SG_VPN_PASSCODE_MAX);
	longest[SG_VPN_PASSCODE_MAX] = '\0';
	snprintf(json, sizeof(json), "{\"passcode\":\"%s\"}", longest);
	assert_true(sg_vpn_client_hello_decode(view(json), &h) > 0);
	assert_int_equal(sg_vpn_client_hello_status(&h, longest), SG_VPN_OK);
	snprintf(json, sizeof(json), "{\"passcode\":\"%sx\"}", longest);
	assert_true(sg_vpn_client_hello_decode(view(json), &h) > 0);
	assert_int_equal(sg_vpn_client_hello_status(&h, longest), SG_VPN_FORBIDDEN);
}

static void record_heads(void **state)
{
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET,
		.flags = SG_VPN_F_NEEDS_CSUM,
		.gso = SG_GSO_TCP4 | SG_GSO_ECN,
		.len = 65535,
		.hdr_len = 0x0102,
		.gso_size = 0x0304,
		.csum_start = 0x0506,
		.csum_offset = 0x0708};
	static const uint8_t want[SG_VPN_RECORD_HEAD] = {0, 1, 0x81, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4, 5, 6, 7, 8};
	static const struct {
		size_t at;
		uint8_t value;
		int err;
	} rows[] = {{0, 3, 0}, {0, 4, SG_EMALF}, {1, 0, 0}, {1, 3, SG_EMALF}, {2, 0, 0}, {2, 4, 0}, {2, 0x84, 0},
		{2, 0x80, SG_EMALF}, {2, 2, SG_EMALF}, {2, 3, SG_EMALF}, {2, 5, 0}, {2, 6, SG_EMALF},
		{2, 0x85, SG_EMALF}, {3, 1, SG_EMALF}, {4, 1, SG_ELONG}, {5, 1, SG_ELONG}};
	uint8_t head[SG_VPN_RECORD_HEAD];
	struct sg_vpn_record out;

	(void)state;
	sg_vpn_record_encode(&r, head);
	assert_memory_equal(head, want, sizeof(want));
	assert_int_equal(sg_vpn_record_decode(head, &out), 0);
	sg_vpn_record_encode(&out, head);
	assert_memory_equal(head, want, sizeof(want));
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		memcpy(head, want, sizeof(head));
		head[rows[i].at] = rows[i].value;
		assert_int_equal(sg_vpn_record_decode(head, &out), rows[i].err);
	}
}

/* An IPv4 TCP super-packet of 20 + 20 + 960 bytes and the record that describes it. */
static struct sg_vpn_record good(uint8_t p[1000])
{
	memset(p, 0, 1000);
	p[0] = 0x45;
	sg_put_u16(p + 2, 1000);
	p[9] = 6;
	p[32] = 0x50;
	return (struct sg_vpn_record){.flags = SG_VPN_F_NEEDS_CSUM,
		.gso = SG_GSO_TCP4,
		.len = 1000,
		.hdr_len = 40,
		.gso_size = 100,
		.csum_start = 20,
		.csum_offset = 16};
}

#define REFUSED(change)                                                                                                \
	do {                                                                                                           \
		struct sg_vpn_record r = good(p);                                                                      \
		assert_int_equal(sg_vpn_record_check(&r, v), 0);                                                       \
		change;                                                                                                \
		assert_int_equal(sg_vpn_record_check(&r, v), SG_EMALF);                                                \
	} while (0)

static void every_field_is_checked_against_the_packet(void **state)
{
	uint8_t p[1000];
	struct sg_view v = {p, sizeof(p)};
	struct sg_vpn_record plain = good(p);

	(void)state;
	REFUSED(r.len = 999);
	REFUSED(p[0] = 0x55);
	REFUSED(p[0] = 0x44);
	REFUSED(sg_put_u16(p + 2, 999));
	REFUSED(r.flags = 0);
	REFUSED(r.gso = SG_GSO_TCP6);
	REFUSED(p[9] = 17);
	REFUSED(r.csum_start = 24);
	REFUSED(p[0] = 0x46); /* now the TCP header is elsewhere */
	REFUSED(r.csum_offset = 6);
	REFUSED(sg_put_u16(p + 6, 0x2000)); /* more fragments */
	REFUSED(sg_put_u16(p + 6, 0x0001));
	REFUSED(p[32] = 0x40);
	REFUSED(r.gso_size = 0);
	REFUSED(r.gso_size = SG_VPN_GSO_SIZE_MIN - 1);
	REFUSED(r.hdr_len = 1001);
	REFUSED(r.gso = 0);
	/* Without segmentation. */
	plain.gso = SG_GSO_NONE;
	plain.gso_size = plain.hdr_len = 0;
	assert_int_equal(sg_vpn_record_check(&plain, v), 0);
	plain.csum_offset = 980 - 2;
	assert_int_equal(sg_vpn_record_check(&plain, v), 0);
	plain.csum_offset++;
	assert_int_equal(sg_vpn_record_check(&plain, v), SG_EMALF);
	plain.csum_offset = 0xffff;
	assert_int_equal(sg_vpn_record_check(&plain, v), SG_EMALF);
	plain.csum_offset = 16;
	plain.csum_start = 19;
	assert_int_equal(sg_vpn_record_check(&plain, v), SG_EMALF);
	plain.flags = 0;
	assert_int_equal(sg_vpn_record_check(&plain, v), 0);
	/* An empty packet: its length is "more bytes are needed", which is no length. */
	plain = (struct sg_vpn_record){0};
	assert_int_equal(sg_vpn_record_check(&plain, (struct sg_view){p, 0}), SG_EMALF);
	/* TCP header longer than the packet. */
	p[32] = 0xf0;
	sg_put_u16(p + 2, 44);
	v.len = 44;
	plain = (struct sg_vpn_record){
		.flags = 1, .gso = SG_GSO_TCP4, .len = 44, .gso_size = 100, .csum_start = 20, .csum_offset = 16};
	assert_int_equal(sg_vpn_record_check(&plain, v), SG_EMALF);
}

static void a_super_packet_of_udp_is_checked(void **state)
{
	uint8_t p[1000];
	struct sg_view v = {p, sizeof(p)};
	static const struct {
		size_t at;
		uint8_t value;
		uint16_t gso_size, csum_offset, csum_start;
		int err;
	} rows[] = {{9, 17, 100, 6, 20, 0}, {9, 17, 1000, 6, 20, 0}, {9, 6, 100, 6, 20, SG_EMALF},
		{9, 17, 100, 16, 20, SG_EMALF}, {9, 17, 100, 6, 24, SG_EMALF}, {9, 17, 0, 6, 20, SG_EMALF},
		{9, 17, 8, 6, 20, 0},        /* 122 datagrams */
		{9, 17, 7, 6, 20, SG_EMALF}, /* 139 */
		{6, 0x20, 100, 6, 20, SG_EMALF}};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct sg_vpn_record r = good(p);

		p[9] = 17;
		p[rows[i].at] = rows[i].value;
		r.gso = SG_GSO_UDP;
		r.hdr_len = 28;
		r.gso_size = rows[i].gso_size;
		r.csum_offset = rows[i].csum_offset;
		r.csum_start = rows[i].csum_start;
		assert_int_equal(sg_vpn_record_check(&r, v), rows[i].err);
		r.flags = 0;
		assert_int_equal(sg_vpn_record_check(&r, v), SG_EMALF);
	}
	/* No data at all. */
	sg_put_u16(p + 2, 28);
	p[6] = 0;
	assert_int_equal(sg_vpn_record_check(&(struct sg_vpn_record){.flags = 1,
						     .gso = SG_GSO_UDP,
						     .len = 28,
						     .gso_size = 100,
						     .csum_start = 20,
						     .csum_offset = 6},
				 (struct sg_view){p, 28}),
		SG_EMALF);
}

static void marks_of_ours(void **state)
{
	static const struct {
		const char *json;
		bool rec, parts, uso;
	} rows[] = {{"{\"skygate\":{\"v\":1,\"rec\":1,\"parts\":1,\"uso\":1}}", true, true, true},
		{"{\"skygate\":{\"v\":1,\"rec\":1,\"uso\":1}}", true, false, true},
		{"{\"skygate\":{\"v\":1,\"rec\":1,\"parts\":1,\"uso\":2}}", true, true, false},
		{"{\"skygate\":{\"v\":1,\"rec\":0,\"parts\":1,\"uso\":1}}", false, false, false}};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct sg_vpn_client_hello c;
		struct sg_vpn_server_hello s;

		assert_true(sg_vpn_client_hello_decode(view(rows[i].json), &c) > 0);
		assert_true(sg_vpn_server_hello_decode(view(rows[i].json), &s) > 0);
		assert_true(c.rec == rows[i].rec && c.parts == rows[i].parts && c.uso == rows[i].uso);
		assert_true(s.rec == rows[i].rec && s.parts == rows[i].parts && s.uso == rows[i].uso);
	}
}

static void ip_lengths(void **state)
{
	static const struct {
		uint8_t b[6];
		size_t len;
		int want;
	} rows[] = {{{0}, 0, 0}, {{0x45, 0, 0}, 3, 0}, {{0x45, 0, 0, 20}, 4, 20}, {{0x45, 0, 0xff, 0xff}, 4, 65535},
		{{0x45, 0, 0, 19}, 4, SG_EMALF}, {{0x46, 0, 0, 23}, 4, SG_EMALF}, {{0x44}, 1, SG_EMALF}, {{0x60}, 5, 0},
		{{0x60, 0, 0, 0, 0, 0}, 6, 40}, {{0x60, 0, 0, 0, 0xff, 0xd7}, 6, 65535},
		{{0x60, 0, 0, 0, 0xff, 0xd8}, 6, SG_EMALF}, {{0x00}, 1, SG_EMALF}, {{0x7b}, 1, SG_EMALF},
		{{0xf5}, 6, SG_EMALF}};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++)
		assert_int_equal(sg_ip_length((struct sg_view){rows[i].b, rows[i].len}), rows[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(client_hello_is_read_as_go_reads_it),
		cmocka_unit_test(every_prefix_of_a_hello_wants_more),
		cmocka_unit_test(server_hello_by_status),
		cmocka_unit_test(hellos_stay_below_1024_bytes),
		cmocka_unit_test(hellos_are_gathered),
		cmocka_unit_test(judged_by_passcode_then_by_addresses),
		cmocka_unit_test(record_heads),
		cmocka_unit_test(every_field_is_checked_against_the_packet),
		cmocka_unit_test(a_super_packet_of_udp_is_checked),
		cmocka_unit_test(marks_of_ours),
		cmocka_unit_test(ip_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
