/* The VPN client against a fake host: its states, what it says when something fails, what passes and when. */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/limits.h"
#include "fake/host.h"
#include "probe.h"
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

#define LEASE   0xac10000c
#define BEYOND  0xc633640a
#define OK      "{\"status\":0,\"tun_ip\":\"172.16.0.12\",\"tun_gateway\":\"172.16.0.11\",\"skygate\":{\"v\":1,\"rec\":1}}"
#define OK_2024 "{\"status\":0,\"tun_ip\":\"172.16.0.12\",\"tun_gateway\":\"172.16.0.11\"}"
#define HELLO                                                                                                          \
	"{\"unavailable_private_ips\":null,\"passcode\":\"\",\"skygate\":{\"v\":1,\"rec\":1,\"parts\":1,\"uso\":1}}"
#define ONE    "config vpn_client 'v'\n\toption mode 'vpn'\n\tlist exit 'a'\n"
#define PROBED ONE "\tlist probe '198.51.100.10'\n"
#define TWO    PROBED "\tlist exit 'b'\n"

static struct fake_host *begin(const char *conf)
{
	struct fake_host *h = fake_host_new(conf);

	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	return h;
}

static void end(struct fake_host *h)
{
	fake_stop(h);
	assert_true(h->stopped);
	assert_false(h->path_up);
	fake_host_free(h);
}

/* Members of vpn.status. */
static void expect_state(struct fake_host *h, const char *state, const char *reason)
{
	json_t *s = fake_call(h, "vpn.status", "{}");

	assert_non_null(s);
	assert_string_equal(json_string_value(json_object_get(s, "state")), state);
	if (reason && !strstr(json_string_value(json_object_get(s, "reason")), reason))
		fail_msg("reason is: %s", json_string_value(json_object_get(s, "reason")));
	json_decref(s);
}

/* The dial under way is answered with a stream; the hello has been sent. */
static struct fake_stream *dialled(struct fake_host *h)
{
	struct fake_stream *s;

	fake_pass(h, 50);
	assert_non_null(h->dialed);
	s = fake_stream_new(h, &h->dial_pk, false);
	fake_dialed(h, s, 0, "");
	return s;
}

/* The next record that the client sent; 0 when there is none. */
static size_t sent(struct fake_stream *s, size_t *at, struct sg_vpn_record *r, const uint8_t **body)
{
	if (s->tx_len - *at < SG_VPN_RECORD_HEAD)
		return 0;
	assert_int_equal(sg_vpn_record_decode(s->tx + *at, r), 0);
	*body = s->tx + *at + SG_VPN_RECORD_HEAD;
	*at += SG_VPN_RECORD_HEAD + r->len;
	assert_true(*at <= s->tx_len);
	return r->len + 1;
}

static void deliver_record(struct fake_stream *s, enum sg_vpn_record_kind kind, const void *body, size_t len)
{
	uint8_t b[2048];
	struct sg_vpn_record r = {.kind = (uint8_t)kind, .len = (uint32_t)len};

	sg_vpn_record_encode(&r, b);
	if (len)
		memcpy(b + SG_VPN_RECORD_HEAD, body, len);
	fake_deliver(s, b, SG_VPN_RECORD_HEAD + len);
}

/* Turns an echo request into its reply. */
static void echo(const uint8_t *request, uint8_t reply[PROBE_ICMP])
{
	memcpy(reply, request, PROBE_ICMP);
	memcpy(reply + 12, request + 16, 4);
	memcpy(reply + 16, request + 12, 4);
	reply[20] = 0;
}

/* Answers the last probes that were sent, of the kinds asked for. */
static void answer(struct fake_stream *s, size_t from, bool records, bool echoes)
{
	uint8_t probe[PROBE_BODY], reply[PROBE_ICMP];
	bool probe_seen = false, echo_seen = false;
	const uint8_t *body;
	struct sg_vpn_record r;

	while (sent(s, &from, &r, &body)) {
		if (r.kind == SG_VPN_PROBE) {
			assert_int_equal(r.len, PROBE_BODY);
			memcpy(probe, body, sizeof(probe));
			probe_seen = true;
		} else if (r.kind == SG_VPN_PACKET && r.len == PROBE_ICMP && body[9] == 1) {
			assert_int_equal(sg_get_u32(body + 12), LEASE);
			assert_int_equal(sg_get_u32(body + 16), BEYOND);
			echo(body, reply);
			echo_seen = true;
		}
	}
	if (records && probe_seen)
		deliver_record(s, SG_VPN_ANSWER, probe, sizeof(probe));
	if (echoes && echo_seen)
		deliver_record(s, SG_VPN_PACKET, reply, sizeof(reply));
}

static struct fake_stream *connected(struct fake_host *h)
{
	struct fake_stream *s = dialled(h);
	size_t hello = s->tx_len;

	fake_deliver(s, OK, strlen(OK));
	answer(s, hello, true, true);
	expect_state(h, "connected", "");
	assert_true(h->path_up);
	return s;
}

/* Time passes while the exit answers everything. */
static void pass_alive(struct fake_host *h, struct fake_stream *s, int64_t ms, bool records, bool echoes)
{
	for (; ms > 0; ms -= 250) {
		size_t from = s->tx_len;

		fake_pass(h, 250);
		if (s->closed)
			return;
		answer(s, from, records, echoes);
	}
}

/* A packet of the LAN, as the kernel hands it to the TUN. */
static void lan_sends(struct fake_host *h, const uint8_t *p, size_t len)
{
	fake_tun_send(h, SG_TUN_CLIENT, NULL, p, len);
}

static size_t lan_gets(struct fake_host *h, uint8_t *p, size_t cap)
{
	return fake_tun_recv(h, SG_TUN_CLIENT, p, cap);
}

static void connected_only_after_both_proofs(void **state)
{
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s;
	size_t hello;

	(void)state;
	assert_int_equal(h->want, SG_WANT_VPN);
	expect_state(h, "blocking", NULL);
	s = dialled(h);
	assert_memory_equal(&h->dial_pk, &h->peers[0].pk, sizeof(struct sg_pk));
	assert_int_equal(s->tx_len, strlen(HELLO));
	assert_memory_equal(s->tx, HELLO, s->tx_len);
	hello = s->tx_len;
	for (size_t i = 0; i < strlen(OK); i++)
		fake_deliver(s, &OK[i], 1);
	assert_int_equal(h->lease, LEASE);
	assert_int_equal(h->gateway, LEASE - 1);
	expect_state(h, "blocking", NULL);
	answer(s, hello, true, false);
	expect_state(h, "blocking", NULL);
	assert_false(h->path_up);
	answer(s, hello, false, true);
	expect_state(h, "connected", "");
	assert_true(h->path_up);
	/* The reply was ours, not the LAN's. */
	assert_int_equal(lan_gets(h, s->tx, s->tx_cap), 0);
	pass_alive(h, s, 60000, true, true);
	expect_state(h, "connected", "");
	assert_int_equal(h->path_changes, 1);
	end(h);
	assert_true(s->closed);
	fake_stream_free(s);
}

static void a_reply_to_somebody_elses_ping_proves_nothing(void **state)
{
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s = dialled(h);
	size_t at = s->tx_len;
	uint8_t reply[PROBE_ICMP], good[PROBE_ICMP];
	const uint8_t *body = NULL;
	struct sg_vpn_record r = {0};

	(void)state;
	fake_deliver(s, OK, strlen(OK));
	answer(s, at, true, false);
	while (sent(s, &at, &r, &body) && r.kind != SG_VPN_PACKET)
		;
	if (!body || r.len != PROBE_ICMP)
		fail_msg("no echo was sent");
	else
		echo(body, good);
	for (size_t i = 12; i < PROBE_ICMP; i++) {
		bool checked = i < 20 || i == 20 || (i >= 28 && i != 35);

		if (!checked)
			continue;
		memcpy(reply, good, sizeof(reply));
		reply[i] ^= 0x40;
		deliver_record(s, SG_VPN_PACKET, reply, sizeof(reply));
		expect_state(h, "blocking", NULL);
	}
	deliver_record(s, SG_VPN_PACKET, good, sizeof(good));
	expect_state(h, "connected", "");
	end(h);
	fake_stream_free(s);
}

static void without_probe_the_record_is_the_proof(void **state)
{
	struct fake_host *h = begin(ONE);
	struct fake_stream *s = dialled(h);
	size_t hello = s->tx_len;
	json_t *st;

	(void)state;
	fake_deliver(s, OK, strlen(OK));
	answer(s, hello, true, false);
	st = fake_call(h, "vpn.status", "{}");
	assert_string_equal(json_string_value(json_object_get(st, "state")), "connected");
	assert_string_equal(json_string_value(json_object_get(st, "proof")), "record");
	json_decref(st);
	end(h);
	fake_stream_free(s);
}

/* An end of 2024: bare packets, cut by their own length, and the echo alone is the proof. */
static void an_exit_of_2024(void **state)
{
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s = dialled(h);
	uint8_t reply[PROBE_ICMP], p[100], got[2048];
	size_t hello = s->tx_len, before;

	(void)state;
	fake_deliver(s, OK_2024, strlen(OK_2024));
	assert_int_equal(s->tx_len - hello, PROBE_ICMP);
	echo(s->tx + hello, reply);
	fake_deliver(s, reply, 20);
	expect_state(h, "blocking", NULL);
	fake_deliver(s, reply + 20, sizeof(reply) - 20);
	expect_state(h, "connected", "");
	before = s->tx_len;
	lan_sends(h, p, fake_udp(p, LEASE, BEYOND, 100));
	fake_turn(h);
	assert_int_equal(s->tx_len - before, 100);
	assert_memory_equal(s->tx + before, p, 100);
	fake_udp(p, BEYOND, LEASE, 100);
	fake_deliver(s, p, 60);
	fake_deliver(s, p + 60, 40);
	assert_int_equal(lan_gets(h, got, sizeof(got)), 100);
	/* What is no packet ends the session: nothing after it could be told apart. */
	fake_deliver(s, "\x70", 1);
	assert_true(s->closed);
	expect_state(h, "blocking", "is no IP packet");
	end(h);
	fake_stream_free(s);
}

static void an_exit_of_2024_without_probe_is_not_believed(void **state)
{
	struct fake_host *h = begin(ONE);
	struct fake_stream *s = dialled(h);

	(void)state;
	fake_deliver(s, OK_2024, strlen(OK_2024));
	assert_true(s->closed);
	expect_state(h, "blocking", "list probe 'ADDRESS'");
	end(h);
	fake_stream_free(s);
}

static void refusals_are_sentences(void **state)
{
	static const struct {
		const char *conf, *hello, *want;
	} rows[] = {
		{ONE, "{\"status\":1}", "(status 1)"},
		{ONE, "{\"status\":2,\"tun_ip\":\"\",\"tun_gateway\":\"\"}", "as many clients as it can"},
		{ONE, "{\"status\":3}", "(status 3)"},
		{ONE, "{\"status\":4}", "list allow_pk '0333"},
		{ONE "\toption passcode 'x'\n", "{\"status\":4}", "our passcode is not the one it wants"},
		{ONE, "{\"status\":77}", "(status 77)"},
		{ONE, "{\"status\":0}", "malformed"},
		{ONE, "{\"status\":0,\"tun_ip\":\"10.0.0.4\"}", "malformed"},
		{ONE, "{\"status\":x}", "malformed"},
		{ONE, "E", "malformed"},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct fake_host *h = begin(rows[i].conf);
		struct fake_stream *s = dialled(h);

		fake_deliver(s, rows[i].hello, strlen(rows[i].hello));
		assert_true(s->closed);
		expect_state(h, "blocking", rows[i].want);
		assert_int_equal(h->lease_sets, 0);
		end(h);
		fake_stream_free(s);
	}
}

static void silence_after_the_hello_ends_after_5_s(void **state)
{
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s = dialled(h);

	(void)state;
	fake_pass(h, SG_VPN_HELLO_MS - 50);
	assert_false(s->closed);
	fake_pass(h, 50);
	assert_true(s->closed);
	expect_state(h, "blocking", "no answer to our hello for 5 s");
	end(h);
	fake_stream_free(s);
}

static void a_black_hole_is_left_for_the_next_exit(void **state)
{
	struct fake_host *h = begin(TWO);
	struct fake_stream *s = connected(h), *next;
	int64_t from;

	(void)state;
	pass_alive(h, s, 10000, true, true);
	from = h->ms;
	while (!s->closed && h->ms - from < 20000)
		fake_pass(h, 50);
	assert_true(s->closed);
	assert_true(h->ms - from <= SG_VPN_PROBE_DEAD_MS + 50);
	assert_true(h->ms - from > SG_VPN_PROBE_DEAD_MS - SG_VPN_PROBE_MS - 300);
	assert_false(h->path_up);
	expect_state(h, "blocking", "no answer from exit a for 6 s");
	next = connected(h);
	assert_memory_equal(&h->dial_pk, &h->peers[1].pk, sizeof(struct sg_pk));
	assert_true(h->ms - from < 10000);
	assert_int_equal(fake_counter(h, "vpn.lost"), 1);
	/* The lease is the same, so netd was asked once. */
	assert_int_equal(h->lease_sets, 1);
	assert_int_equal(h->tun_opens, 1);
	end(h);
	fake_stream_free(s);
	fake_stream_free(next);
}

/* The exit answers records, but its way out is dead. */
static void an_exit_that_reaches_nothing_is_left(void **state)
{
	struct fake_host *h = begin(TWO);
	struct fake_stream *s = connected(h);

	(void)state;
	pass_alive(h, s, 7000, true, false);
	assert_true(s->closed);
	assert_false(h->path_up);
	/* And one that never reached anything says what is missing. */
	s = (fake_stream_free(s), dialled(h));
	fake_deliver(s, OK, strlen(OK));
	pass_alive(h, s, 7000, true, false);
	assert_true(s->closed);
	expect_state(h, "blocking", "exit b answers, but nothing beyond it does");
	end(h);
	fake_stream_free(s);
}

/* Lost echoes do not matter while the LAN's own packets come back; ICMP of the exit does not count. */
static void traffic_is_a_sign_of_life(void **state)
{
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s = connected(h);
	uint8_t p[100];

	(void)state;
	for (int i = 0; i < 60; i++) {
		fake_pass(h, 500);
		deliver_record(s, SG_VPN_PACKET, p, fake_udp(p, BEYOND, LEASE, 60));
	}
	expect_state(h, "connected", "");
	for (int i = 0; i < 14; i++) {
		fake_pass(h, 500);
		if (s->closed)
			break;
		fake_udp(p, BEYOND, LEASE, 60);
		p[9] = 1;
		deliver_record(s, SG_VPN_PACKET, p, 60);
	}
	assert_true(s->closed);
	expect_state(h, "blocking", NULL);
	end(h);
	fake_stream_free(s);
}

static void back_off_grows_and_a_link_ends_it(void **state)
{
	struct fake_host *h = fake_host_new(ONE);
	unsigned before;

	(void)state;
	h->dial_err = SG_ENOROUTE;
	h->peers[0].linked = false;
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	fake_pass(h, 60000);
	/* .2 .4 .8 1.6 3.2 5 5 5 … less a quarter at most */
	assert_in_range(h->dials, 14, 22);
	expect_state(h, "blocking", "exit a: no route");
	fake_pass(h, 300);
	before = h->dials;
	h->dial_err = 0;
	h->peers[0].linked = true;
	fake_pass(h, 250);
	assert_int_equal(h->dials, before + 1);
	assert_non_null(h->dialed);
	/* A dial without an answer is given up. */
	fake_pass(h, SG_ROUTE_DIAL_MS + SG_GROUP_DIAL_MS + SG_VSTREAM_OPEN_MS + 50);
	assert_int_equal(h->dial_cancels, 1);
	assert_null(h->dialed);
	fake_pass(h, 6000);
	fake_dialed(h, NULL, SG_EREFUSED, "nobody listens on port 44 there");
	expect_state(h, "blocking", "exit a: nobody listens on port 44 there");
	end(h);
}

/* A path that breaks as soon as it is proven: the pauses grow all the same; one that held begins anew. */
static void a_path_that_keeps_breaking(void **state)
{
	struct fake_host *h = begin(PROBED);
	int64_t from = h->ms;
	struct fake_stream *s;

	(void)state;
	for (int i = 0; i < 8; i++) {
		while (!h->dialed)
			fake_pass(h, 50);
		s = connected(h);
		deliver_record(s, SG_VPN_BYE, NULL, 0);
		fake_stream_free(s);
	}
	assert_true(h->ms - from > 12000);
	while (!h->dialed)
		fake_pass(h, 50);
	s = connected(h);
	pass_alive(h, s, 10250, true, true);
	deliver_record(s, SG_VPN_BYE, NULL, 0);
	fake_stream_free(s);
	fake_pass(h, 250);
	s = connected(h);
	end(h);
	fake_stream_free(s);
}

static void the_owner_stops_and_starts(void **state)
{
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s = connected(h);
	const uint8_t *body;
	struct sg_vpn_record r = {0};
	size_t at;

	(void)state;
	at = s->tx_len;
	json_decref(fake_call(h, "vpn.stop", "{}"));
	assert_true(s->closed);
	assert_true(sent(s, &at, &r, &body));
	assert_int_equal(r.kind, SG_VPN_BYE);
	assert_int_equal(h->want, SG_WANT_NOT);
	assert_false(h->path_up);
	assert_false(h->blocking); /* armed: the path went down first */
	assert_int_equal(h->lease, 0);
	expect_state(h, "armed", NULL);
	fake_pass(h, 60000);
	expect_state(h, "armed", NULL);
	assert_int_equal(h->dials, 1);
	json_decref(fake_call(h, "vpn.stop", "{\"open\":true}"));
	assert_int_equal(h->want, SG_WANT_OPEN);
	expect_state(h, "off", NULL);
	json_decref(fake_call(h, "vpn.start", "{}"));
	assert_int_equal(h->want, SG_WANT_VPN);
	fake_stream_free(s);
	s = connected(h);
	assert_int_equal(h->tun_opens, 1);
	assert_int_equal(h->lease, LEASE);
	/* Asked for twice it stays what it is, at netd too. */
	json_decref(fake_call(h, "vpn.start", "{}"));
	expect_state(h, "connected", "");
	assert_false(h->blocking);
	end(h);
	fake_stream_free(s);
}

static void without_a_client_it_cannot_be_started(void **state)
{
	static const char *const confs[] = {"", "config vpn_client 'v'\n\toption mode 'off'\n"};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(confs); i++) {
		struct fake_host *h = begin(confs[i]);

		expect_state(h, "off", NULL);
		assert_null(fake_call(h, "vpn.start", "{}"));
		assert_non_null(strstr(h->why, "option mode 'vpn'"));
		fake_pass(h, 10000);
		assert_int_equal(h->tun_opens, 0);
		end(h);
	}
}

static void packets_pass_both_ways_and_only_ours(void **state)
{
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s = connected(h);
	size_t at = s->tx_len;
	uint8_t p[1500], got[2048];
	const uint8_t *body;
	struct sg_vpn_record r;

	(void)state;
	lan_sends(h, p, fake_udp(p, LEASE + 8, BEYOND, 200));
	memset(p, 0, sizeof(p));
	p[0] = 0x60;
	lan_sends(h, p, 40);
	lan_sends(h, p, 5);
	lan_sends(h, p, fake_udp(p, LEASE, BEYOND, 1500));
	fake_turn(h);
	assert_true(sent(s, &at, &r, &body));
	assert_int_equal(r.len, 1500);
	assert_memory_equal(body, p, 1500);
	assert_false(sent(s, &at, &r, &body));
	assert_int_equal(fake_counter(h, "vpn.drop.source"), 2);
	assert_int_equal(fake_counter(h, "vpn.up.packets"), 1);
	deliver_record(s, SG_VPN_PACKET, p, fake_udp(p, BEYOND, LEASE, 1400));
	assert_int_equal(lan_gets(h, got, sizeof(got)), 1400);
	assert_memory_equal(got, p, 1400);
	assert_int_equal(fake_counter(h, "vpn.down.bytes"), 1400);
	/* The exit tries to reach the LAN behind us. */
	deliver_record(s, SG_VPN_PACKET, p, fake_udp(p, BEYOND, 0xc0a84d02, 1400));
	assert_int_equal(lan_gets(h, got, sizeof(got)), 0);
	memset(p, 0, 40);
	p[0] = 0x60;
	deliver_record(s, SG_VPN_PACKET, p, 40);
	assert_int_equal(lan_gets(h, got, sizeof(got)), 0);
	assert_int_equal(fake_counter(h, "vpn.drop.dest"), 2);
	end(h);
	fake_stream_free(s);
}

/* Nothing of the LAN is read before the path is proven, nor written to it. */
static void nothing_passes_before_the_proof(void **state)
{
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s = dialled(h);
	size_t at = s->tx_len;
	uint8_t p[200], got[2048];
	const uint8_t *body;
	struct sg_vpn_record r;

	(void)state;
	fake_deliver(s, OK, strlen(OK));
	lan_sends(h, p, fake_udp(p, LEASE, BEYOND, 200));
	deliver_record(s, SG_VPN_PACKET, p, fake_udp(p, BEYOND, LEASE, 100));
	fake_pass(h, 2000);
	while (sent(s, &at, &r, &body))
		assert_true(r.kind == SG_VPN_PROBE || r.len == PROBE_ICMP);
	assert_int_equal(lan_gets(h, got, sizeof(got)), 0);
	assert_int_equal(fake_counter(h, "vpn.drop.unproven"), 1);
	end(h);
	fake_stream_free(s);
}

/* While the stream is full packets wait; nothing is lost on our side. */
static void packets_wait_for_a_full_stream(void **state)
{
	enum { PACKETS = 60 };
	struct fake_host *h = begin(PROBED);
	struct fake_stream *s = connected(h);
	size_t at = s->tx_len, n = 0;
	uint8_t p[1000];
	const uint8_t *body;
	struct sg_vpn_record r;

	(void)state;
	s->room = s->tx_len + 5000;
	for (int i = 0; i < PACKETS; i++) {
		fake_udp(p, LEASE, BEYOND, sizeof(p));
		p[20] = (uint8_t)i;
		lan_sends(h, p, sizeof(p));
		fake_turn(h);
	}
	assert_true(s->tx_len < at + 7000);
	for (int round = 0; round < 200 && n < PACKETS; round++) {
		s->room = s->tx_len + 3000;
		s->s.user->on_writable(s->s.user_arg);
		fake_turn(h);
		while (sent(s, &at, &r, &body)) {
			if (r.kind != SG_VPN_PACKET || r.len != sizeof(p))
				continue;
			assert_int_equal(body[20], n);
			n++;
		}
	}
	assert_int_equal(n, PACKETS);
	assert_int_equal(fake_counter(h, "vpn.drop.queue"), 0);
	end(h);
	fake_stream_free(s);
}

static void a_lease_inside_our_own_network_is_given_back(void **state)
{
	struct fake_host *h = fake_host_new(ONE);
	struct fake_stream *s;
	struct sg_vpn_client_hello hello;

	(void)state;
	h->tun.n_busy = 2;
	h->tun.busy[0].net = 0xac100000;
	h->tun.busy[0].bits = 28;
	h->tun.busy[1].net = 0xc0000200; /* public: the exit need not know */
	h->tun.busy[1].bits = 24;
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	s = dialled(h);
	fake_deliver(s, OK, strlen(OK));
	assert_true(s->closed);
	expect_state(h, "blocking", "172.16.0.12, which lies in a network of this machine");
	fake_stream_free(s);
	fake_pass(h, 250);
	s = dialled(h);
	assert_true(sg_vpn_client_hello_decode((struct sg_view){s->tx, s->tx_len}, &hello) > 0);
	assert_int_equal(hello.n_ips, 2);
	assert_int_equal(hello.ips[0], LEASE);
	assert_int_equal(hello.ips[1], 0xac100000);
	assert_int_equal(h->lease_sets, 0);
	/* A network that came later only netd knows. */
	h->lease_err = SG_EDUP;
	fake_deliver(s, "{\"status\":0,\"tun_ip\":\"10.1.2.3\",\"tun_gateway\":\"10.1.2.4\"}", 58);
	expect_state(h, "blocking", "10.1.2.3, which lies in a network of this machine");
	fake_stream_free(s);
	fake_pass(h, 500);
	s = dialled(h);
	assert_true(sg_vpn_client_hello_decode((struct sg_view){s->tx, s->tx_len}, &hello) > 0);
	assert_int_equal(hello.ips[1], 0x0a010203);
	end(h);
	fake_stream_free(s);
}

static void the_exit_says_goodbye_or_just_ends(void **state)
{
	struct fake_host *h = begin(TWO);
	struct fake_stream *s = connected(h), *t, *u;

	(void)state;
	deliver_record(s, SG_VPN_BYE, NULL, 0);
	assert_true(s->closed);
	expect_state(h, "blocking", "exit a ended the session");
	t = connected(h);
	t->s.user->on_close(t->s.user_arg, SG_ECLOSED, "link lost");
	expect_state(h, "blocking", "the connection ended: link lost");
	assert_false(t->closed);
	fake_pass(h, 250);
	u = connected(h);
	end(h);
	fake_stream_free(s);
	fake_stream_free(t);
	fake_stream_free(u);
}

static void netd_fails_in_every_way(void **state)
{
	struct fake_host *h = fake_host_new(PROBED);
	struct fake_stream *s;

	(void)state;
	h->tun_err = -ENOTSUP;
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	fake_pass(h, 50);
	expect_state(h, "blocking", "Start skygate-netd");
	h->tun_err = 0;
	h->tun_hold = true;
	fake_pass(h, 5000);
	fake_tun_answer(h, -ENODEV, "/dev/net/tun: no such device. The kernel module is missing:  modprobe tun");
	expect_state(h, "blocking", "modprobe tun");
	/* An answer that comes after we gave up is still used. */
	fake_pass(h, 5050);
	assert_non_null(h->tun_fn);
	fake_pass(h, 5000);
	expect_state(h, "blocking", "no answer from skygate-netd for 5 s");
	fake_tun_answer(h, 0, "");
	h->lease_err = -EPERM;
	fake_pass(h, 5000);
	s = dialled(h);
	fake_deliver(s, OK, strlen(OK));
	assert_true(s->closed);
	expect_state(h, "blocking", "could not use the leased address");
	fake_stream_free(s);
	/* Perhaps the device was gone: it is asked for again. */
	h->lease_err = 0;
	h->tun_hold = false;
	fake_pass(h, 5000);
	assert_int_equal(h->tun_opens, 4);
	s = connected(h);
	/* And while it runs: */
	close(h->tun_kernel[SG_TUN_CLIENT]);
	h->tun_kernel[SG_TUN_CLIENT] = -1;
	fake_turn(h);
	expect_state(h, "blocking", "sky0 was deleted");
	assert_true(s->closed);
	fake_stream_free(s);
	fake_pass(h, 5000);
	s = connected(h);
	end(h);
	fake_stream_free(s);
}

/* stop() ends when netd owes no answer any more. */
static void stopping_waits_for_answers(void **state)
{
	struct fake_host *h = fake_host_new(PROBED);
	struct fake_stream *s;

	(void)state;
	h->tun_hold = true;
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	fake_pass(h, 50);
	fake_stop(h);
	assert_false(h->stopped);
	fake_tun_answer(h, 0, "");
	assert_true(h->stopped);
	h->tun_hold = false;
	h->lease_hold = true;
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	s = dialled(h);
	fake_deliver(s, OK, strlen(OK));
	fake_stop(h);
	assert_true(s->closed);
	assert_false(h->stopped);
	fake_lease_answer(h, 0);
	assert_true(h->stopped);
	fake_stream_free(s);
	fake_host_free(h);
}

static void stop_gives_a_late_lease_back(void **state)
{
	struct fake_host *h = fake_host_new(PROBED);
	struct fake_stream *s;

	(void)state;
	h->lease_hold = true;
	assert_int_equal(fake_start(h, &sg_plugin_app_vpn), 0);
	s = dialled(h);
	fake_deliver(s, OK, strlen(OK));
	json_decref(fake_call(h, "vpn.stop", "{}"));
	assert_int_equal(h->lease, LEASE);
	fake_lease_answer(h, 0);
	assert_int_equal(h->lease, 0);
	fake_lease_answer(h, 0);
	assert_int_equal(h->lease_sets, 2);
	end(h);
	fake_stream_free(s);
}

static void reload_tells_change_from_no_change(void **state)
{
	static const char *const other[] = {PROBED "\toption kill_switch '0'\n", PROBED "\toption passcode 'x'\n", TWO,
		ONE, "", PROBED "config vpn_server 's'\n\toption uplink 'wan0'\n",
		"config vpn_client 'v'\n\toption mode 'host'\n\tlist exit 'a'\n\tlist probe '198.51.100.10'\n"};
	struct fake_host *h = begin(PROBED);

	(void)state;
	fake_conf(h, "config peer 'new'\n" PROBED "config interface 'more'\n");
	assert_int_equal(h->plugin->reload(h->ctx), 0);
	for (size_t i = 0; i < SG_ARRAY_LEN(other); i++) {
		fake_conf(h, other[i]);
		assert_int_equal(h->plugin->reload(h->ctx), -ENOTSUP);
	}
	end(h);
}

/* What the configuration lets pass starts: without an exit nothing is dialled and nothing let out. */
static void without_an_exit_it_blocks(void **state)
{
	struct fake_host *h = begin("config vpn_client 'v'\n\toption mode 'vpn'\n");

	(void)state;
	fake_pass(h, 60000);
	expect_state(h, "blocking", "exit use KEY");
	assert_int_equal(h->want, SG_WANT_VPN);
	json_decref(fake_call(h, "vpn.stop", "{}"));
	expect_state(h, "armed", NULL);
	json_decref(fake_call(h, "vpn.start", "{}"));
	fake_pass(h, 1000);
	expect_state(h, "blocking", "no exit is named");
	assert_int_equal(h->dials, 0);
	end(h);
}

static void bad_settings_are_named(void **state)
{
	static const struct {
		const char *conf, *want;
	} rows[] = {
		{"config vpn_client 'v'\n\tlist probe '1'\n", "probe"},
		{"config vpn_client 'v'\n\toption passcode '"
		 "0123456789012345678901234567890123456789012345678901234567890123"
		 "01234567890123456789012345678901234567890123456789012345678901234'\n",
			"at most 128"},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct fake_host *h = fake_host_new(rows[i].conf);

		assert_int_equal(fake_start(h, &sg_plugin_app_vpn), SG_ECONF);
		if (!strstr(h->why, rows[i].want))
			fail_msg("it says: %s", h->why);
		fake_host_free(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connected_only_after_both_proofs),
		cmocka_unit_test(a_reply_to_somebody_elses_ping_proves_nothing),
		cmocka_unit_test(without_probe_the_record_is_the_proof),
		cmocka_unit_test(an_exit_of_2024),
		cmocka_unit_test(an_exit_of_2024_without_probe_is_not_believed),
		cmocka_unit_test(refusals_are_sentences),
		cmocka_unit_test(silence_after_the_hello_ends_after_5_s),
		cmocka_unit_test(a_black_hole_is_left_for_the_next_exit),
		cmocka_unit_test(an_exit_that_reaches_nothing_is_left),
		cmocka_unit_test(traffic_is_a_sign_of_life),
		cmocka_unit_test(back_off_grows_and_a_link_ends_it),
		cmocka_unit_test(a_path_that_keeps_breaking),
		cmocka_unit_test(the_owner_stops_and_starts),
		cmocka_unit_test(without_a_client_it_cannot_be_started),
		cmocka_unit_test(packets_pass_both_ways_and_only_ours),
		cmocka_unit_test(nothing_passes_before_the_proof),
		cmocka_unit_test(packets_wait_for_a_full_stream),
		cmocka_unit_test(a_lease_inside_our_own_network_is_given_back),
		cmocka_unit_test(the_exit_says_goodbye_or_just_ends),
		cmocka_unit_test(netd_fails_in_every_way),
		cmocka_unit_test(stopping_waits_for_answers),
		cmocka_unit_test(stop_gives_a_late_lease_back),
		cmocka_unit_test(reload_tells_change_from_no_change),
		cmocka_unit_test(without_an_exit_it_blocks),
		cmocka_unit_test(bad_settings_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
