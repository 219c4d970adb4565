/* The VPN server against a fake host: who gets in, what may pass, that one client does not harm another. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "fake/host.h"
#include "wire/vpn.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

extern const struct sg_plugin sg_plugin_app_vpn;

#define FIRST       0xac10000c
#define BEYOND      0xc633640a
#define SERVER      "config vpn_server 's'\n\toption uplink 'wan0'\n"
#define HELLO       "{\"unavailable_private_ips\":null,\"passcode\":\"\",\"skygate\":{\"v\":1,\"rec\":1}}"
#define HELLO_PARTS "{\"unavailable_private_ips\":null,\"passcode\":\"\",\"skygate\":{\"v\":1,\"rec\":1,\"parts\":1}}"
#define HELLO_USO   "{\"unavailable_private_ips\":null,\"passcode\":\"\",\"skygate\":{\"v\":1,\"rec\":1,\"uso\":1}}"
#define OURS        "\"tun_gateway\":\"172.16.0.11\",\"skygate\":{\"v\":1,\"rec\":1,\"parts\":1,\"uso\":1}}"

static struct fake_host *begin(const char *conf)
{
	struct fake_host *h = fake_host_new(conf);

	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	assert_int_equal(h->listen_port, 44);
	return h;
}

static void end(struct fake_host *h)
{
	fake_stop(h);
	assert_true(h->stopped);
	fake_host_free(h);
}

static struct sg_pk key(unsigned n)
{
	struct sg_pk pk = {{3}};

	pk.b[8] = (uint8_t)n;
	pk.b[9] = (uint8_t)(n >> 8);
	return pk;
}

/* A stream of key @n that has said @hello. */
static struct fake_stream *calls(struct fake_host *h, unsigned n, const char *hello)
{
	struct sg_pk pk = key(n);
	struct fake_stream *s = fake_stream_new(h, &pk, false);

	assert_int_equal(fake_incoming(h, s), 0);
	fake_deliver(s, hello, strlen(hello));
	return s;
}

/* The server's hello, which then is taken off what it sent. */
static struct sg_vpn_server_hello hello_of(struct fake_stream *s)
{
	struct sg_vpn_server_hello h = {.status = -1};
	int used = sg_vpn_server_hello_decode((struct sg_view){s->tx, s->tx_len}, &h);

	assert_true(used > 0);
	s->tx_len -= (size_t)used;
	memmove(s->tx, s->tx + used, s->tx_len);
	return h;
}

static struct fake_stream *client(struct fake_host *h, unsigned n)
{
	struct fake_stream *s = calls(h, n, HELLO);

	assert_int_equal(hello_of(s).status, SG_VPN_OK);
	return s;
}

static void client_sends(struct fake_stream *s, const uint8_t *p, size_t len)
{
	uint8_t b[4096];
	struct sg_vpn_record r = {.len = (uint32_t)len};

	sg_vpn_record_encode(&r, b);
	memcpy(b + SG_VPN_RECORD_HEAD, p, len);
	fake_deliver(s, b, SG_VPN_RECORD_HEAD + len);
}

/* The kernel sends to a client. */
static void kernel_sends(struct fake_host *h, const uint8_t vnet[10], const uint8_t *p, size_t len)
{
	fake_tun_send(h, SG_TUN_SERVER, vnet, p, len);
	fake_turn(h);
}

static size_t kernel_gets(struct fake_host *h, uint8_t *p)
{
	return fake_tun_recv(h, SG_TUN_SERVER, p, SIZE_MAX);
}

static json_t *server_status(struct fake_host *h)
{
	json_t *all = fake_call(h, "vpn.status", "{}"), *s;

	assert_non_null(all);
	assert_string_equal(json_string_value(json_object_get(all, "state")), "off");
	s = json_incref(json_object_get(all, "server"));
	json_decref(all);
	assert_true(json_is_object(s));
	return s;
}

static void expect_number(struct fake_host *h, const char *member, json_int_t want)
{
	json_t *s = server_status(h);

	assert_int_equal(json_integer_value(json_object_get(s, member)), want);
	json_decref(s);
}

static void expect_bool(struct fake_host *h, const char *member, bool want)
{
	json_t *s = server_status(h);

	assert_true(json_is_boolean(json_object_get(s, member)));
	assert_int_equal(json_is_true(json_object_get(s, member)), want);
	json_decref(s);
}

static void every_status(void **state)
{
	static const struct {
		const char *conf, *hello;
		int want; /* -1: no answer at all */
	} rows[] = {
		{SERVER, HELLO, 0},
		{SERVER, "{}", 0},
		{SERVER, "{\"passcode\":\"whatever\"}", 0},
		{SERVER, "{\"unavailable_private_ips\":[\"::1\"]}", 1},
		{SERVER, "{\"unavailable_private_ips\":[\"\"]}", 1},
		{SERVER, "{\"unavailable_private_ips\":[\"here\"]}", -1},
		{SERVER, "{\"passcode\":7}", -1},
		{SERVER, "[]", -1},
		{SERVER, "E", -1},
		{SERVER "\toption passcode '1234'\n", "{\"passcode\":\"1234\"}", 0},
		{SERVER "\toption passcode '1234'\n", "{\"passcode\":\"1235\"}", 4},
		{SERVER "\toption passcode '1234'\n", "{\"unavailable_private_ips\":[\"::1\"]}", 4},
		{SERVER "\tlist allow_pk '030000000000000001000000000000000000000000000000000000000000000000'\n", HELLO,
			4},
		{SERVER "\tlist allow_pk '030000000000000000000000000000000000000000000000000000000000000000'\n"
			"\tlist allow_pk '030000000000000007000000000000000000000000000000000000000000000000'\n",
			HELLO, 0},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct fake_host *h = begin(rows[i].conf);
		struct fake_stream *s = calls(h, 7, rows[i].hello);
		bool listed = strstr(rows[i].conf, "allow_pk") != NULL;
		bool coded = strstr(rows[i].conf, "passcode") != NULL;

		assert_int_equal(s->closed, rows[i].want != 0);
		if (rows[i].want < 0)
			assert_int_equal(s->tx_len, 0);
		else
			assert_int_equal(hello_of(s).status, rows[i].want);
		assert_int_equal(fake_counter(h, "vpn.refused"), rows[i].want != 0);
		expect_number(h, "clients", rows[i].want == 0);
		expect_bool(h, "open_to_all", !listed && !coded);
		expect_bool(h, "white_list_open", !listed);
		end(h);
		assert_true(s->closed);
		fake_stream_free(s);
	}
}

static void hello_and_lease_in_detail(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s = calls(h, 1, HELLO), *t = calls(h, 2, "{\"passcode\":\"\"}\n");
	static const char ours[] = "{\"status\":0,\"tun_ip\":\"172.16.0.12\"," OURS;
	static const char go[] = "{\"status\":0,\"tun_ip\":\"172.16.0.20\",\"tun_gateway\":\"172.16.0.19\"}";

	(void)state;
	assert_int_equal(s->tx_len, strlen(ours));
	assert_memory_equal(s->tx, ours, strlen(ours));
	/* Toward an end without records the hello is what a Go server writes. */
	assert_int_equal(t->tx_len, strlen(go));
	assert_memory_equal(t->tx, go, strlen(go));
	end(h);
	fake_stream_free(s);
	fake_stream_free(t);
}

static void no_hello_and_too_many_without_one(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s[40];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(s); i++) {
		struct sg_pk pk = key((unsigned)i);

		s[i] = fake_stream_new(h, &pk, false);
		n += fake_incoming(h, s[i]) == 0;
	}
	assert_int_equal(n, 32);
	fake_deliver(s[0], "{", 1);
	fake_pass(h, SG_VPN_HELLO_MS - 50);
	assert_false(s[0]->closed);
	fake_pass(h, 50);
	for (size_t i = 0; i < n; i++)
		assert_true(s[i]->closed);
	for (size_t i = 0; i < SG_ARRAY_LEN(s); i++)
		fake_stream_free(s[i]);
	end(h);
}

static void the_limit_on_clients(void **state)
{
	struct fake_host *h = begin(SERVER "\toption max_clients '2'\n");
	struct fake_stream *a = client(h, 1), *b = client(h, 2), *c = calls(h, 3, HELLO), *d;

	(void)state;
	assert_int_equal(hello_of(c).status, SG_VPN_NO_FREE_IPS);
	/* A key that is in already is no third client. */
	d = client(h, 2);
	assert_true(b->closed);
	assert_false(a->closed);
	a->s.user->on_close(a->s.user_arg, SG_ECLOSED, "");
	fake_stream_free(c);
	c = client(h, 3);
	expect_number(h, "clients", 2);
	end(h);
	fake_stream_free(a);
	fake_stream_free(b);
	fake_stream_free(c);
	fake_stream_free(d);
}

/* With 300 clients the status was longer than a line of the control socket, and nobody saw any of it. */
static void the_status_of_many_clients_fits_a_line(void **state)
{
	struct fake_host *h = begin(SERVER "\toption max_clients '300'\n");
	struct fake_stream *s[300];
	json_t *status;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(s); i++)
		s[i] = client(h, (unsigned)i + 1);
	status = server_status(h);
	assert_int_equal(json_integer_value(json_object_get(status, "clients")), SG_ARRAY_LEN(s));
	assert_int_equal(json_array_size(json_object_get(status, "list")), 250);
	/* 20 digits more of each client's two counters, and 5 KB of what else is in visor.status. */
	assert_true(json_dumpb(status, NULL, 0, JSON_COMPACT) + 250 * 20 + 5000 < SG_CONTROL_LINE_MAX);
	json_decref(status);
	end(h);
	for (size_t i = 0; i < SG_ARRAY_LEN(s); i++)
		fake_stream_free(s[i]);
}

static void the_newest_session_of_a_key_wins_and_keeps_the_address(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *a = client(h, 1), *b = client(h, 2), *again = calls(h, 1, HELLO), *late;

	(void)state;
	assert_true(a->closed);
	assert_int_equal(hello_of(again).tun_ip, FIRST);
	again->s.user->on_close(again->s.user_arg, SG_ECLOSED, "link lost");
	fake_pass(h, 60000);
	late = calls(h, 1, HELLO);
	assert_int_equal(hello_of(late).tun_ip, FIRST);
	assert_false(b->closed);
	/* A Go client returns with its old address on its TUN: it needs another. */
	fake_stream_free(again);
	again = calls(h, 1, "{\"unavailable_private_ips\":[\"172.16.0.12\"],\"passcode\":\"\"}");
	assert_true(late->closed);
	assert_int_not_equal(hello_of(again).tun_ip & ~7U, FIRST & ~7U);
	end(h);
	fake_stream_free(a);
	fake_stream_free(b);
	fake_stream_free(again);
	fake_stream_free(late);
}

static void only_from_the_leased_address_and_only_outward(void **state)
{
	static const struct {
		uint32_t src, dst;
		const char *drop;
	} rows[] = {
		{FIRST, BEYOND, NULL},
		{FIRST, 0x0a000001, NULL}, /* private networks are netd's question */
		{FIRST + 8, BEYOND, "vpn.drop.source"},
		{FIRST - 1, BEYOND, "vpn.drop.source"},
		{0, BEYOND, "vpn.drop.source"},
		{BEYOND, FIRST, "vpn.drop.source"},
		{FIRST, 0xe0000001, "vpn.drop.dest"},
		{FIRST, 0xffffffff, "vpn.drop.dest"},
		{FIRST, 0x7f000001, "vpn.drop.dest"},
		{FIRST, 0, "vpn.drop.dest"},
		{FIRST, FIRST + 8, "vpn.drop.dest"}, /* another client */
		{FIRST, FIRST - 2, "vpn.drop.dest"}, /* the server itself, as Go clients know it */
		{FIRST, 0xac1fffff, "vpn.drop.dest"},
	};
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s = client(h, 1), *t = client(h, 2);
	uint8_t p[100], got[65536];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		uint64_t before = rows[i].drop ? fake_counter(h, rows[i].drop) : 0;

		client_sends(s, p, fake_udp(p, rows[i].src, rows[i].dst, 60));
		assert_int_equal(kernel_gets(h, got), rows[i].drop ? 0 : 60);
		if (rows[i].drop)
			assert_int_equal(fake_counter(h, rows[i].drop), before + 1);
	}
	/* IPv6 has no lease. */
	memset(p, 0, sizeof(p));
	p[0] = 0x60;
	client_sends(s, p, 40);
	assert_int_equal(kernel_gets(h, got), 0);
	/* A record that contradicts its packet. */
	fake_udp(p, FIRST, BEYOND, 60);
	sg_put_u16(p + 2, 59);
	client_sends(s, p, 60);
	assert_int_equal(kernel_gets(h, got), 0);
	assert_false(s->closed);
	s->s.user->on_close(s->s.user_arg, SG_ECLOSED, "");
	assert_int_equal(fake_counter(h, "vpn.drop.record"), 1);
	end(h);
	fake_stream_free(s);
	fake_stream_free(t);
}

static void a_hundred_clients_each_get_their_own(void **state)
{
	enum { CLIENTS = 100 };
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s[CLIENTS];
	uint32_t ip[CLIENTS];
	uint8_t p[200], got[65536];
	size_t live = sg_alloc_live();

	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		s[i] = calls(h, i, HELLO);
		ip[i] = hello_of(s[i]).tun_ip;
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(ip[i] & ~7U, ip[j] & ~7U);
	}
	expect_number(h, "clients", CLIENTS);
	assert_true(sg_alloc_live() - live < (size_t)CLIENTS * 2048); /* what waits comes on top, 69 KiB at most */
	for (unsigned i = 0; i < CLIENTS; i++) {
		kernel_sends(h, NULL, p, fake_udp(p, BEYOND, ip[i], 100 + i));
		for (unsigned j = 0; j < CLIENTS; j++)
			assert_int_equal(s[j]->tx_len, j == i ? SG_VPN_RECORD_HEAD + 100 + i : 0);
		s[i]->tx_len = 0;
		client_sends(s[i], p, fake_udp(p, ip[i], BEYOND, 60));
		assert_int_equal(kernel_gets(h, got), 60);
		assert_int_equal(sg_get_u32(got + 12), ip[i]);
		client_sends(s[i], p, fake_udp(p, ip[(i + 1) % CLIENTS], BEYOND, 60));
		assert_int_equal(kernel_gets(h, got), 0);
	}
	assert_int_equal(fake_counter(h, "vpn.drop.source"), CLIENTS);
	kernel_sends(h, NULL, p, fake_udp(p, BEYOND, ip[0] + 1, 100));
	kernel_sends(h, NULL, p, fake_udp(p, BEYOND, ip[0] - 1, 100));
	kernel_sends(h, NULL, p, fake_udp(p, BEYOND, 0xac1f0004, 100));
	assert_int_equal(fake_counter(h, "vpn.drop.no_client"), 3);
	end(h);
	for (unsigned i = 0; i < CLIENTS; i++) {
		assert_true(s[i]->closed);
		fake_stream_free(s[i]);
	}
}

static void a_stalled_client_does_not_stop_the_others(void **state)
{
	enum { PACKETS = 3000, LEN = 1000, EACH = SG_VPN_RECORD_HEAD + LEN };
	struct fake_host *h = begin(SERVER);
	struct fake_stream *slow = client(h, 1), *fast = client(h, 2);
	uint8_t p[LEN];
	size_t waited, dropped;

	(void)state;
	slow->room = 0;
	for (int i = 0; i < PACKETS; i++) {
		fake_udp(p, BEYOND, FIRST, LEN);
		sg_put_u32(p + 24, (uint32_t)i);
		kernel_sends(h, NULL, p, LEN);
		kernel_sends(h, NULL, p, fake_udp(p, BEYOND, FIRST + 8, LEN));
		assert_int_equal(fast->tx_len, (size_t)(i + 1) * EACH);
	}
	assert_int_equal(slow->tx_len, 0);
	/* It takes again: what waited comes in order, the newest of it, as much as there is a place for. */
	dropped = fake_counter(h, "vpn.drop.queue");
	waited = PACKETS - dropped;
	assert_in_range(waited, 500, PACKETS - 1);
	slow->room = 10000;
	slow->s.user->on_writable(slow->s.user_arg);
	assert_in_range(slow->tx_len, 10000, 10000 + EACH);
	kernel_sends(h, NULL, p, fake_udp(p, BEYOND, FIRST, LEN)); /* goes behind what waits */
	slow->room = SIZE_MAX;
	slow->s.user->on_writable(slow->s.user_arg);
	assert_int_equal(slow->tx_len, (waited + 1) * EACH);
	for (size_t i = 0; i < waited; i++)
		assert_int_equal(sg_get_u32(slow->tx + i * EACH + SG_VPN_RECORD_HEAD + 24), dropped + i);
	/* What waits for one that leaves waits no longer. */
	slow->room = 0;
	kernel_sends(h, NULL, p, fake_udp(p, BEYOND, FIRST, LEN));
	slow->s.user->on_close(slow->s.user_arg, SG_ECLOSED, "");
	kernel_sends(h, NULL, p, fake_udp(p, BEYOND, FIRST + 8, LEN));
	assert_int_equal(fast->tx_len, (size_t)(PACKETS + 1) * EACH);
	assert_int_equal(fake_counter(h, "vpn.drop.queue"), dropped);
	end(h);
	fake_stream_free(slow);
	fake_stream_free(fast);
}

/* A TCP super-packet of the kernel, its checksum left open; and the virtio_net_hdr that says so. */
static size_t super(uint8_t *p, uint8_t vnet[10], size_t data, uint16_t mss)
{
	size_t len = fake_udp(p, BEYOND, FIRST, 40 + data);
	uint16_t numbers[4] = {40, mss, 20, 16};
	uint32_t sum = (uint32_t)(20 + data) + 6;

	p[9] = 6;
	p[32] = 0x50;
	p[33] = 0x18;
	for (size_t i = 12; i < 20; i += 2)
		sum += sg_get_u16(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sg_put_u16(p + 36, (uint16_t)((sum & 0xffff) + (sum >> 16)));
	for (size_t i = 0; i < data; i++)
		p[40 + i] = (uint8_t)(i / mss);
	vnet[0] = 1;
	vnet[1] = 1;
	memcpy(vnet + 2, numbers, sizeof(numbers));
	return len;
}

/*
 * P40: an exit that knows what its line takes. Senders want two to ten times their share, one of them in super-packets. All get
 * the same of the line, and together no more than it takes.
 */
static void who_share_a_known_line_get_the_same(void **state)
{
	enum { CLIENTS = 20, MS = 8000 };
	static uint8_t p[65535];
	struct fake_host *h = begin(SERVER "\toption upload_kbit '8000'\n");
	struct fake_stream *s[CLIENTS];
	uint64_t least = UINT64_MAX, most = 0, all = 0;
	uint8_t vnet[10];

	(void)state;
	expect_number(h, "upload_kbit", 8000);
	for (unsigned i = 0; i < CLIENTS; i++)
		s[i] = client(h, i);
	for (unsigned ms = 0; ms < MS; ms++) {
		for (unsigned i = 0; i < CLIENTS; i++) {
			if (i == 0 && ms % 60 == 0) {
				memset(vnet, 0, sizeof(vnet));
				kernel_sends(h, vnet, p, super(p, vnet, 14600, 1460));
			} else if (i && (ms + i) % 10 < 1 + i % 5) {
				kernel_sends(h, NULL, p, fake_udp(p, BEYOND, FIRST + 8 * i, 1400));
			}
		}
		fake_pass(h, 1);
		if (ms == MS / 4) {
			for (unsigned i = 0; i < CLIENTS; i++)
				s[i]->tx_len = 0;
		}
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		least = SG_MIN(least, s[i]->tx_len);
		most = SG_MAX(most, s[i]->tx_len);
		all += s[i]->tx_len;
	}
	print_message("P40: %.1f %% between the least and the most, %.2f Mbit/s of 8\n",
		100.0 * (double)(most - least) / (double)most, (double)all * 8e-6 / (MS * 0.75 / 1e3));
	assert_true((double)least >= 0.9 * (double)most);
	assert_in_range(
		all, 0.80 * MS * 3 / 4 * 1000, 0.95 * MS * 3 / 4 * 1000); /* with what goes around packets 0.95 */
	/* Who used too much, and came back after others had their turns, does not wait for that. */
	fake_pass(h, 5000);
	s[0]->tx_len = 0;
	kernel_sends(h, NULL, p, fake_udp(p, BEYOND, FIRST, 100));
	assert_int_equal(s[0]->tx_len, SG_VPN_RECORD_HEAD + 100);
	end(h);
	for (unsigned i = 0; i < CLIENTS; i++)
		fake_stream_free(s[i]);
}

/*
 * P40, the other way: all clients send as much as they may, some by a network that cannot be told what that is. All get the same
 * of what the line brings.
 */
static void who_share_a_known_line_may_send_the_same(void **state)
{
	enum { CLIENTS = 20, MS = 16000, FROM = 8000, LEN = 1400 };
	struct fake_host *h = begin(SERVER "\toption download_kbit '8000'\n");
	uint64_t sent[CLIENTS] = {0}, least = UINT64_MAX, most = 0, all = 0;
	struct fake_stream *s[CLIENTS];
	static uint8_t p[65535];

	(void)state;
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct sg_pk pk = key(i);

		s[i] = fake_stream_new(h, &pk, false);
		if (i % 4 == 0)
			fake_stream_of_1_0(s[i]);
		assert_int_equal(fake_incoming(h, s[i]), 0);
		fake_deliver(s[i], HELLO, strlen(HELLO));
		assert_int_equal(hello_of(s[i]).status, SG_VPN_OK);
		assert_int_equal(s[i]->rationed, i % 4 != 0);
	}
	for (unsigned ms = 0; ms < MS; ms++) {
		for (unsigned i = 0; i < CLIENTS; i++) {
			unsigned n = i % 4 ? 3 : 1;

			for (; n && !s[i]->unheard && (i % 4 == 0 || s[i]->may >= LEN + SG_VPN_RECORD_HEAD); n--) {
				client_sends(s[i], p, fake_udp(p, FIRST + 8 * i, BEYOND, LEN));
				sent[i] += ms >= FROM ? LEN : 0;
			}
		}
		fake_pass(h, 1);
		while (kernel_gets(h, p))
			;
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		least = SG_MIN(least, sent[i]);
		most = SG_MAX(most, sent[i]);
		all += sent[i];
	}
	print_message("P40: %.1f %% between the least and the most, %.2f Mbit/s of 8\n",
		100.0 * (double)(most - least) / (double)most, (double)all * 8e-3 / (MS - FROM));
	assert_true((double)least >= 0.95 * (double)most);
	assert_in_range(
		all, 0.83 * (MS - FROM) * 1000, 0.95 * (MS - FROM) * 1000); /* with what is around packets 0.95 */
	/* The owner does not say it any more. */
	fake_conf(h, SERVER);
	assert_int_equal(h->plugin->reload(h->ctx), 0);
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_true(!s[i]->rationed && !s[i]->unheard);
	/* Nor is anybody told when there is nobody. */
	fake_conf(h, SERVER "\toption download_kbit '100'\n");
	assert_int_equal(h->plugin->reload(h->ctx), 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		s[i]->s.user->on_close(s[i]->s.user_arg, SG_ECLOSED, "");
		s[i]->closed = true;
	}
	fake_pass(h, 1000);
	end(h);
	for (unsigned i = 0; i < CLIENTS; i++)
		fake_stream_free(s[i]);
}

static void super_packets_toward_both_kinds_of_client(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s = client(h, 1);
	uint8_t *p = malloc(65536), vnet[10], *got = malloc(65536);
	struct sg_vpn_record r;
	size_t len, at = 0;

	(void)state;
	len = super(p, vnet, 60000, 1460);
	kernel_sends(h, vnet, p, len);
	assert_int_equal(s->tx_len, SG_VPN_RECORD_HEAD + len);
	assert_int_equal(sg_vpn_record_decode(s->tx, &r), 0);
	assert_int_equal(r.gso, SG_GSO_TCP4);
	assert_int_equal(r.flags, SG_VPN_F_NEEDS_CSUM);
	assert_int_equal(sg_vpn_record_check(&r, (struct sg_view){s->tx + SG_VPN_RECORD_HEAD, len}), 0);
	assert_memory_equal(s->tx + SG_VPN_RECORD_HEAD, p, len);
	/* And back, from the client: the kernel gets it whole. */
	sg_put_u32(s->tx + SG_VPN_RECORD_HEAD + 12, FIRST);
	sg_put_u32(s->tx + SG_VPN_RECORD_HEAD + 16, BEYOND);
	fake_deliver(s, s->tx, SG_VPN_RECORD_HEAD + len);
	assert_int_equal(kernel_gets(h, got), len);
	/* A client of 2024 in its place gets finished packets of the size that it expects. */
	s->s.user->on_close(s->s.user_arg, SG_ECLOSED, "");
	fake_stream_free(s);
	s = calls(h, 1, "{\"passcode\":\"\"}");
	assert_int_equal(hello_of(s).tun_ip, FIRST);
	kernel_sends(h, vnet, p, len);
	for (size_t n = 0; at < s->tx_len; n++) {
		struct sg_view rest = {s->tx + at, s->tx_len - at};
		int one = sg_ip_length(rest);

		assert_true(one > 40 && one <= 1500);
		assert_int_equal(rest.p[40], n);
		at += (size_t)one;
	}
	assert_int_equal(at, 60000 + 42 * 40);
	/* With a checksum left open, but no super-packet. */
	s->tx_len = 0;
	len = super(p, vnet, 100, 1460);
	vnet[1] = 0;
	memset(vnet + 2, 0, 4);
	kernel_sends(h, vnet, p, len);
	assert_int_equal(s->tx_len, 140);
	assert_memory_not_equal(s->tx + 36, p + 36, 2);
	/* What no record describes is not sent. */
	vnet[1] = 3;
	s->tx_len = 0;
	kernel_sends(h, vnet, p, len);
	assert_int_equal(s->tx_len, 0);
	end(h);
	fake_stream_free(s);
	free(p);
	free(got);
}

/* A super-packet of UDP in p, as the kernel hands it out. */
static size_t udp_super(uint8_t *p, uint8_t vnet[10], size_t data, uint16_t size)
{
	size_t len = super(p, vnet, data - 12, size); /* its head is 12 bytes shorter */

	p[9] = 17;
	sg_put_u16(p + 24, (uint16_t)(8 + data));
	memset(p + 28, 'u', data);
	vnet[1] = SG_GSO_UDP;
	memcpy(vnet + 2, &(uint16_t){28}, 2);
	memcpy(vnet + 8, &(uint16_t){6}, 2);
	return len;
}

static void super_packets_of_udp(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s = client(h, 1);
	uint8_t *p = malloc(65536), vnet[10], *got = malloc(65536);
	struct sg_vpn_record r;
	size_t len = udp_super(p, vnet, 14000, 1400), n = 0;

	(void)state;
	/* Toward an end of ours that does not know them: records of single datagrams. */
	kernel_sends(h, vnet, p, len);
	for (size_t at = 0; at < s->tx_len; n++) {
		assert_int_equal(sg_vpn_record_decode(s->tx + at, &r), 0);
		assert_int_equal(r.len, 1428);
		assert_int_equal(r.gso | r.flags, 0);
		at += SG_VPN_RECORD_HEAD + r.len;
	}
	assert_int_equal(n, 10);
	s->s.user->on_close(s->s.user_arg, SG_ECLOSED, "");
	fake_stream_free(s);
	/* Toward one that does, whole. */
	s = calls(h, 1, HELLO_USO);
	assert_true(hello_of(s).uso);
	s->tx_len = 0;
	kernel_sends(h, vnet, p, len);
	assert_int_equal(s->tx_len, SG_VPN_RECORD_HEAD + len);
	assert_int_equal(sg_vpn_record_decode(s->tx, &r), 0);
	assert_int_equal(r.gso, SG_GSO_UDP);
	assert_int_equal(sg_vpn_record_check(&r, (struct sg_view){s->tx + SG_VPN_RECORD_HEAD, len}), 0);
	/* And back, into a kernel that does not know them: the fake one. */
	sg_put_u32(s->tx + SG_VPN_RECORD_HEAD + 12, FIRST);
	sg_put_u32(s->tx + SG_VPN_RECORD_HEAD + 16, BEYOND);
	fake_deliver(s, s->tx, SG_VPN_RECORD_HEAD + len);
	for (n = 0; n < 10; n++)
		assert_int_equal(kernel_gets(h, got), 1428);
	assert_int_equal(kernel_gets(h, got), 0);
	end(h);
	fake_stream_free(s);
	free(p);
	free(got);
}

/* A network that keeps records may take short ones only: a super-packet then goes in pieces, with our records. */
static void a_narrow_network(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s = client(h, 1);
	uint8_t *p = malloc(65536), vnet[10];
	size_t len = super(p, vnet, 14600, 1460), n = 0;
	struct sg_vpn_record r;

	(void)state;
	s->longest = 4037;
	kernel_sends(h, vnet, p, len);
	for (size_t at = 0; at < s->tx_len; n++) {
		assert_int_equal(sg_vpn_record_decode(s->tx + at, &r), 0);
		assert_int_equal(r.len, 1500);
		assert_int_equal(r.gso | r.flags, 0);
		at += SG_VPN_RECORD_HEAD + r.len;
	}
	assert_int_equal(n, 10);
	end(h);
	fake_stream_free(s);
	free(p);
}

/* The same, from an end that knows parts: one record in several of the network's, and none is cut. */
static void a_narrow_network_in_parts(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct sg_pk pk = key(1);
	struct fake_stream *s = fake_stream_new(h, &pk, true);
	uint8_t *p = malloc(65536), *whole = malloc(65536), vnet[10];
	size_t len = super(p, vnet, 14600, 1460), got = 0;
	struct sg_vpn_part part;
	struct sg_vpn_record r;

	(void)state;
	assert_int_equal(fake_incoming(h, s), 0);
	fake_deliver(s, HELLO_PARTS, strlen(HELLO_PARTS));
	assert_true(hello_of(s).parts);
	s->longest = 4037;
	s->room = 2 * (SG_VPN_RECORD_HEAD + SG_VPN_PART_MAX); /* it is full in the middle */
	kernel_sends(h, vnet, p, len);
	assert_int_equal(s->tx_len, 2 * (SG_VPN_RECORD_HEAD + SG_VPN_PART_MAX));
	s->room = 65536;
	s->s.user->on_writable(s->s.user_arg);
	for (size_t at = 0; at < s->tx_len;) {
		size_t n = SG_MIN((size_t)SG_VPN_PART_MAX, SG_VPN_RECORD_HEAD + len - got);

		assert_int_equal(sg_vpn_part_decode(s->tx + at, n, &part), 0);
		assert_int_equal(part.number, 1);
		assert_int_equal(part.total, SG_VPN_RECORD_HEAD + len);
		assert_int_equal(part.offset, got);
		memcpy(whole + got, s->tx + at + SG_VPN_RECORD_HEAD, n);
		got += n;
		at += SG_VPN_RECORD_HEAD + n;
	}
	assert_int_equal(got, SG_VPN_RECORD_HEAD + len);
	assert_int_equal(sg_vpn_record_decode(whole, &r), 0);
	assert_int_equal(r.gso_size, 1460);
	assert_memory_equal(whole + SG_VPN_RECORD_HEAD, p, len);
	end(h);
	fake_stream_free(s);
	free(whole);
	free(p);
}

static void probes_are_answered_and_goodbyes_heard(void **state)
{
	static const uint8_t probe[SG_VPN_RECORD_HEAD + 3] = {
		1, 0, 0, 0, 0, 0, 0, 3, [SG_VPN_RECORD_HEAD] = 'a', 'b', 'c'};
	static const uint8_t bye[SG_VPN_RECORD_HEAD] = {3};
	uint8_t huge[SG_VPN_RECORD_HEAD + 65] = {1, 0, 0, 0, 0, 0, 0, 65};
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s = client(h, 1);

	(void)state;
	fake_deliver(s, probe, sizeof(probe));
	assert_int_equal(s->tx_len, sizeof(probe));
	assert_int_equal(s->tx[0], SG_VPN_ANSWER);
	assert_memory_equal(s->tx + SG_VPN_RECORD_HEAD, "abc", 3);
	fake_deliver(s, huge, sizeof(huge));
	assert_int_equal(s->tx_len, sizeof(probe));
	fake_deliver(s, bye, sizeof(bye));
	assert_true(s->closed);
	expect_number(h, "clients", 0);
	end(h);
	fake_stream_free(s);
}

static void it_says_goodbye_itself(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s = client(h, 1), *t = calls(h, 2, "{\"passcode\":\"\"}");
	size_t bare = t->tx_len;

	(void)state;
	end(h);
	assert_int_equal(s->tx_len, SG_VPN_RECORD_HEAD);
	assert_int_equal(s->tx[0], SG_VPN_BYE);
	assert_int_equal(t->tx_len, bare);
	assert_true(s->closed && t->closed);
	fake_stream_free(s);
	fake_stream_free(t);
}

static unsigned lines;

static void count_line(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	(void)arg;
	(void)level;
	(void)topic;
	(void)line;
	lines++;
}

/* Who opens and closes streams without a word is no way to fill a disk. */
static void strangers_do_not_fill_the_log(void **state)
{
	struct fake_host *h = begin(SERVER);

	(void)state;
	lines = 0;
	sg_log_set_sink(count_line, NULL);
	for (unsigned i = 0; i < 200; i++) {
		struct fake_stream *s = calls(h, i % 4, "");

		s->s.user->on_close(s->s.user_arg, SG_ECLOSED, "");
		fake_stream_free(s);
	}
	sg_log_set_sink(NULL, NULL);
	assert_in_range(lines, 1, 4);
	end(h);
}

static void no_tun_no_lease(void **state)
{
	struct fake_host *h = fake_host_new(SERVER);
	struct fake_stream *s;

	(void)state;
	h->tun_err = -ENOTSUP;
	lines = 0;
	sg_log_set_sink(count_line, NULL);
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	fake_pass(h, 60000);
	sg_log_set_sink(NULL, NULL);
	assert_true(h->tun_opens > 5);
	assert_in_range(lines, 1, 2);
	expect_bool(h, "ready", false);
	s = calls(h, 1, HELLO);
	assert_int_equal(hello_of(s).status, SG_VPN_INTERNAL);
	assert_true(s->closed);
	fake_stream_free(s);
	h->tun_err = 0;
	fake_pass(h, 5000);
	expect_bool(h, "ready", true);
	s = client(h, 1);
	/* The device is deleted: the clients are told, and another one is asked for. */
	fake_pass(h, 5000);
	close(h->tun_kernel[SG_TUN_SERVER]);
	h->tun_kernel[SG_TUN_SERVER] = -1;
	fake_turn(h);
	assert_true(s->closed);
	expect_bool(h, "ready", true);
	/* Again, at once: then not so fast. */
	close(h->tun_kernel[SG_TUN_SERVER]);
	h->tun_kernel[SG_TUN_SERVER] = -1;
	fake_turn(h);
	expect_bool(h, "ready", false);
	fake_pass(h, 5000);
	expect_bool(h, "ready", true);
	fake_stream_free(s);
	s = client(h, 1);
	end(h);
	fake_stream_free(s);
}

/* With several clients it depended on who returned first after a restart of the exit's core. */
static void leases_outlive_a_restart(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *s[3];
	uint32_t had[3], again;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		s[i] = calls(h, i, HELLO);
		had[i] = hello_of(s[i]).tun_ip;
	}
	fake_stop(h);
	for (unsigned i = 0; i < 3; i++)
		fake_stream_free(s[i]);
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	fake_turn(h);
	for (unsigned i = 3; i > 0; i--) {
		s[i - 1] = calls(h, i - 1, HELLO);
		again = hello_of(s[i - 1]).tun_ip;
		assert_int_equal(again, had[i - 1]);
	}
	end(h);
	for (unsigned i = 0; i < 3; i++)
		fake_stream_free(s[i]);
}

static void a_pool_without_room(void **state)
{
	struct fake_host *h = fake_host_new(SERVER "\toption pool '10.0.0.0/28'\n");
	struct fake_stream *s;
	json_t *st;

	(void)state;
	h->tun.n_busy = 1;
	h->tun.busy[0].net = 0x0a000000;
	h->tun.busy[0].bits = 8;
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	st = server_status(h);
	assert_non_null(strstr(json_string_value(json_object_get(st, "why")), "option pool"));
	json_decref(st);
	h->tun.busy[0].bits = 29;
	fake_pass(h, 5000);
	s = calls(h, 1, HELLO);
	assert_int_equal(hello_of(s).tun_ip, 0x0a00000c);
	end(h);
	fake_stream_free(s);
}

static void reload_applies_white_list_and_rate_at_once(void **state)
{
	struct fake_host *h = begin(SERVER);
	struct fake_stream *a = client(h, 1), *b = client(h, 2);
	uint8_t p[1000];
	int64_t left;

	(void)state;
	fake_conf(h, SERVER "\tlist allow_pk '030000000000000002000000000000000000000000000000000000000000000000'\n");
	assert_int_equal(h->plugin->reload(h->ctx), 0);
	assert_true(a->closed);
	assert_false(b->closed);
	expect_number(h, "upload_kbit", 0);
	fake_conf(h, SERVER "\toption upload_kbit '100'\n");
	assert_int_equal(h->plugin->reload(h->ctx), 0);
	expect_number(h, "upload_kbit", 100);
	for (int i = 0; i < 50; i++)
		kernel_sends(h, NULL, p, fake_udp(p, BEYOND, FIRST + 8, sizeof(p)));
	assert_int_equal(b->tx_len, SG_VPN_RECORD_HEAD + sizeof(p)); /* the next one has to wait */
	fake_conf(h, SERVER);
	assert_int_equal(h->plugin->reload(h->ctx), 0);
	assert_int_equal(b->tx_len, 50 * (SG_VPN_RECORD_HEAD + sizeof(p)));
	/* The other way. */
	expect_number(h, "download_kbit", 0);
	assert_false(b->rationed);
	fake_conf(h, SERVER "\toption download_kbit '100'\n");
	assert_int_equal(h->plugin->reload(h->ctx), 0);
	expect_number(h, "download_kbit", 100);
	assert_true(b->rationed);
	for (int i = 0; i < 200; i++)
		client_sends(b, p, fake_udp(p, FIRST + 8, BEYOND, sizeof(p)));
	left = b->may;
	fake_pass(h, 20000); /* less than a turn: what came takes the line's time */
	assert_in_range(b->may, left, left + 20 * 95 * 125);
	fake_conf(h, SERVER "\toption download_kbit '100000'\n");
	assert_int_equal(h->plugin->reload(h->ctx), 0);
	fake_pass(h, 1000);
	assert_true(b->may > SG_VPN_PACKET_MAX + SG_VPN_RECORD_HEAD);
	fake_conf(h, SERVER "\toption max_clients '5'\n");
	assert_int_equal(h->plugin->reload(h->ctx), -ENOTSUP);
	fake_conf(h, SERVER "\toption pool '10.0.0.0/8'\n");
	assert_int_equal(h->plugin->reload(h->ctx), -ENOTSUP);
	assert_false(b->closed);
	end(h);
	fake_stream_free(a);
	fake_stream_free(b);
}

static void bad_settings_and_a_taken_port(void **state)
{
	static const struct {
		const char *conf, *want;
	} rows[] = {{SERVER "\toption pool '172.16.0.0/29'\n", "between /8 and /28"},
		{SERVER "\toption pool '8.0.0.0/7'\n", "between /8 and /28"},
		{SERVER "\toption pool '172.16.0.0/28'\n", "another plugin"},
		{SERVER "\toption pool '10.0.0.0/8'\n", "another plugin"},
		{SERVER "\tlist allow_pk '03'\n", "'03' is no key"}, {SERVER, "another plugin"}};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct fake_host *h = fake_host_new(rows[i].conf);

		h->listen_err = -EADDRINUSE;
		assert_true(fake_start(h, &sg_plugin_app_vpn) < 0);
		if (!strstr(h->why, rows[i].want))
			fail_msg("it says: %s", h->why);
		fake_host_free(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status),
		cmocka_unit_test(hello_and_lease_in_detail),
		cmocka_unit_test(no_hello_and_too_many_without_one),
		cmocka_unit_test(the_limit_on_clients),
		cmocka_unit_test(the_status_of_many_clients_fits_a_line),
		cmocka_unit_test(the_newest_session_of_a_key_wins_and_keeps_the_address),
		cmocka_unit_test(only_from_the_leased_address_and_only_outward),
		cmocka_unit_test(a_hundred_clients_each_get_their_own),
		cmocka_unit_test(a_stalled_client_does_not_stop_the_others),
		cmocka_unit_test(who_share_a_known_line_get_the_same),
		cmocka_unit_test(who_share_a_known_line_may_send_the_same),
		cmocka_unit_test(super_packets_toward_both_kinds_of_client),
		cmocka_unit_test(super_packets_of_udp),
		cmocka_unit_test(a_narrow_network),
		cmocka_unit_test(a_narrow_network_in_parts),
		cmocka_unit_test(probes_are_answered_and_goodbyes_heard),
		cmocka_unit_test(it_says_goodbye_itself),
		cmocka_unit_test(no_tun_no_lease),
		cmocka_unit_test(leases_outlive_a_restart),
		cmocka_unit_test(strangers_do_not_fill_the_log),
		cmocka_unit_test(a_pool_without_room),
		cmocka_unit_test(reload_applies_white_list_and_rate_at_once),
		cmocka_unit_test(bad_settings_and_a_taken_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
