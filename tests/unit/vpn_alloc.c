/*
 * Every allocation of the plugin fails once: over start, both hellos, packets that wait and packets in pieces. Whatever
 * fails, nothing leaks, and the next attempt succeeds: memory that is out costs one connection, no more.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "fake/alloc.h"
#include "fake/host.h"
#include "fake/loop.h"
#include "wire/vpn.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

extern const struct sg_plugin sg_plugin_app_vpn;

#define CONF                                                                                                           \
	"config vpn_client 'v'\n\toption mode 'vpn'\n\tlist exit 'a'\n\tlist exit 'b'\n"                               \
	"config vpn_server 's'\n\toption uplink 'wan0'\n\toption passcode 'x'\n"                                       \
	"\tlist allow_pk '020101010101010101010101010101010101010101010101010101010101010101'\n"
#define OK    "{\"status\":0,\"tun_ip\":\"172.16.0.12\",\"tun_gateway\":\"172.16.0.11\",\"skygate\":{\"v\":1,\"rec\":1}}"
#define HELLO "{\"unavailable_private_ips\":[\"10.0.0.1\"],\"passcode\":\"x\",\"skygate\":{\"v\":1,\"rec\":1}}"

#define STREAMS 16

struct run {
	struct fake_host *h;
	struct fake_stream *s[STREAMS];
	size_t n;
};

static struct fake_stream *stream(struct run *r)
{
	assert_true(r->n < STREAMS);
	r->s[r->n] = fake_stream_new(r->h, &r->h->peers[0].pk, false);
	return r->s[r->n++];
}

/* The other end of our client: says hello, answers the probe. True when the client is connected. */
static bool exit_answers(struct run *r)
{
	struct fake_stream *s = stream(r);
	struct sg_vpn_record rec;
	size_t hello;

	fake_dialed(r->h, s, 0, "");
	if (s->closed)
		return false;
	hello = s->tx_len;
	fake_deliver(s, OK, 20);
	if (!s->closed)
		fake_deliver(s, &OK[20], strlen(OK) - 20);
	if (s->closed || s->tx_len < hello + SG_VPN_RECORD_HEAD)
		return false;
	assert_int_equal(sg_vpn_record_decode(s->tx + hello, &rec), 0);
	assert_int_equal(rec.kind, SG_VPN_PROBE);
	s->tx[hello] = SG_VPN_ANSWER;
	fake_deliver(s, s->tx + hello, SG_VPN_RECORD_HEAD + rec.len);
	return r->h->path_up;
}

/* A client of our server: a packet that waits on the way to it, one from it that comes in two pieces. */
static bool client_calls(struct run *r)
{
	static const uint8_t vnet[10] = {0};
	struct fake_stream *s = stream(r);
	uint8_t p[SG_VPN_RECORD_HEAD + 3000] = {0}, b[3010];
	struct sg_vpn_record rec = {.len = 3000};

	if (fake_incoming(r->h, s) < 0) {
		s->closed = true;
		return false;
	}
	fake_deliver(s, HELLO, strlen(HELLO));
	if (s->closed)
		return false;
	sg_vpn_record_encode(&rec, p);
	p[16] = 0x45;
	sg_put_u16(p + 18, 3000);
	sg_put_u32(p + 28, 0xac10000c);
	sg_put_u32(p + 32, 0xc6336414);
	fake_deliver(s, p, 1000);
	if (!s->closed)
		fake_deliver(s, p + 1000, sizeof(p) - 1000);
	if (s->closed)
		return false;
	s->room = 0;
	memcpy(b, vnet, sizeof(vnet));
	memcpy(b + 10, p + 16, 3000);
	sg_put_u32(b + 10 + 12, 0xc6336414);
	sg_put_u32(b + 10 + 16, 0xac10000c);
	assert_int_equal(send(r->h->tun_kernel[SG_TUN_SERVER], b, sizeof(b), 0), (ssize_t)sizeof(b));
	fake_turn(r->h);
	s->room = SIZE_MAX;
	s->s.user->on_writable(s->s.user_arg);
	return true;
}

/* Everything once. Returns what start said. */
static int everything(struct run *r)
{
	bool up = false, served = false;
	struct fake_host *h = r->h;
	json_t *status;
	int err = fake_start(h, &sg_plugin_app_vpn);

	if (err < 0) {
		assert_int_equal(err, -ENOMEM);
		assert_string_equal(h->why, "out of memory");
		return err;
	}
	status = fake_call(h, "vpn.status", "{}");
	assert_true(status || strstr(h->why, "memory"));
	json_decref(status);
	for (int i = 0; i < 6 && !up; i++) {
		fake_pass(h, 6000);
		if (h->dialed)
			up = exit_answers(r);
	}
	assert_true(up);
	json_decref(fake_call(h, "vpn.stop", "{}"));
	status = fake_call(h, "vpn.status", "{}");
	assert_true(status || strstr(h->why, "memory"));
	json_decref(status);
	for (int i = 0; i < 4 && !served; i++) {
		fake_pass(h, 6000);
		served = client_calls(r);
	}
	assert_true(served);
	fake_stop(h);
	assert_true(h->stopped);
	return 0;
}

static void every_allocation_fails_once(void **state)
{
	unsigned long n = 1, injected = 0;

	(void)state;
	json_set_alloc_funcs(sg_malloc, sg_free);
	for (bool more = true; more; n++) {
		size_t live = sg_alloc_live();
		struct run r = {.h = fake_host_new(CONF)};
		int err;

		fake_loop_widen(r.h->loop, 400);
		fake_alloc_fail_at(n);
		err = everything(&r);
		more = fake_alloc_failed();
		injected += more;
		fake_alloc_fail_at(0);
		assert_true(more || err == 0);
		for (size_t i = 0; i < r.n; i++) {
			assert_true(err < 0 || r.s[i]->closed);
			fake_stream_free(r.s[i]);
		}
		fake_host_free(r.h);
		assert_int_equal(sg_alloc_live(), live);
	}
	printf("%lu allocations failed, one at a time\n", injected);
	assert_true(injected > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
