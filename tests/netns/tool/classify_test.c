/* The judge of leaks must itself be judged: what it lets pass, and what it must not. */
#include "classify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ROUTER 0xc0000202u
#define EXIT   0xc000020au
#define WEB    0xc633640au
#define SYN    0x02
#define RST    0x04
#define ACK    0x10

struct frame {
	uint8_t b[128];
	size_t len;
};

static struct frame tcp4(uint32_t src, unsigned sport, uint32_t dst, unsigned dport, unsigned flags, const char *data)
{
	struct frame f = {.len = 14 + 20 + 20};
	uint8_t *ip = f.b + 14, *tcp = ip + 20;

	f.b[12] = 0x08;
	ip[0] = 0x45;
	ip[8] = 64;
	ip[9] = 6;
	for (int i = 0; i < 4; i++) {
		ip[12 + i] = (uint8_t)(src >> (24 - 8 * i));
		ip[16 + i] = (uint8_t)(dst >> (24 - 8 * i));
	}
	tcp[0] = (uint8_t)(sport >> 8);
	tcp[1] = (uint8_t)sport;
	tcp[2] = (uint8_t)(dport >> 8);
	tcp[3] = (uint8_t)dport;
	tcp[12] = 5 << 4;
	tcp[13] = (uint8_t)flags;
	memcpy(f.b + f.len, data, strlen(data));
	f.len += strlen(data);
	ip[3] = (uint8_t)(f.len - 14);
	return f;
}

static struct classify *rules(void)
{
	struct classify *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->carrier[0] = EXIT;
	c->carrier_port[0] = 7777;
	c->carriers = 1;
	c->router[c->routers++] = ROUTER;
	return c;
}

static enum verdict judge(struct classify *c, struct frame f, bool out, uint64_t now_ns)
{
	struct opinion o;

	classify(c, f.b, f.len, out, now_ns, &o);
	return o.verdict;
}

static void only_the_carrier_is_tcp_that_may_pass(void **state)
{
	struct classify *c = rules();

	(void)state;
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, EXIT, 7777, SYN, ""), true, 1), V_CARRIER);
	assert_int_equal(judge(c, tcp4(EXIT, 7777, ROUTER, 40000, ACK, "x"), false, 1), V_CARRIER);
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, EXIT, 7778, SYN, ""), true, 1), V_FOREIGN);
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, WEB, 7777, SYN, ""), true, 1), V_FOREIGN);
	/* The LAN's own connection to the exit, translated: it comes from a port that no carrier uses. */
	assert_int_equal(judge(c, tcp4(ROUTER, PROBE_PORT_MIN, EXIT, 7777, SYN, ""), true, 1), V_FOREIGN);
	/* A client's address that nobody translated. */
	assert_int_equal(judge(c, tcp4(0xc0a84d0a, 40000, EXIT, 7777, SYN, ""), true, 1), V_FOREIGN);
	/* A probe inside something that looks like the carrier. */
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, EXIT, 7777, SYN, PROBE_MARK "A"), true, 1), V_FOREIGN);
	free(c);
}

static void the_router_may_reset_what_came_from_outside(void **state)
{
	struct classify *c = rules();
	uint64_t t = 5000000000ull;

	(void)state;
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, WEB, 80, RST, ""), true, t), V_FOREIGN);
	judge(c, tcp4(WEB, 80, ROUTER, 40000, ACK, "late"), false, t);
	assert_int_equal(judge(c, tcp4(ROUTER, 40001, WEB, 80, RST, ""), true, t), V_FOREIGN);
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, WEB, 80, RST | ACK, "data"), true, t), V_FOREIGN);
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, WEB, 80, ACK, ""), true, t), V_FOREIGN);
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, WEB, 80, RST, ""), true, t + 1000), V_ANSWER);
	assert_int_equal(judge(c, tcp4(ROUTER, 40000, WEB, 80, RST, ""), true, t + 2000000000ull), V_FOREIGN);
	free(c);
}

static struct frame icmp6(unsigned type, unsigned hops, bool local_source, unsigned scope)
{
	struct frame f = {.len = 14 + 40 + 8 + 8};
	uint8_t *ip = f.b + 14;

	f.b[12] = 0x86;
	f.b[13] = 0xdd;
	ip[0] = 0x60;
	ip[6] = scope ? 0 : 58;
	ip[7] = (uint8_t)hops;
	ip[8] = local_source ? 0xfe : 0x20;
	ip[9] = local_source ? 0x80 : 0x01;
	ip[24] = 0xff;
	ip[25] = (uint8_t)(scope ? scope : 2);
	ip[40] = scope ? 58 : (uint8_t)type;
	ip[48] = (uint8_t)type;
	return f;
}

static void of_ipv6_only_what_stays_on_the_cable(void **state)
{
	struct classify *c = rules();

	(void)state;
	assert_int_equal(judge(c, icmp6(135, 255, false, 0), true, 1), V_ND);
	assert_int_equal(judge(c, icmp6(135, 254, false, 0), true, 1), V_FOREIGN); /* forwarded */
	assert_int_equal(judge(c, icmp6(128, 255, true, 0), true, 1), V_FOREIGN);
	assert_int_equal(judge(c, icmp6(143, 1, true, 2), true, 1), V_MLD);
	assert_int_equal(judge(c, icmp6(143, 1, false, 2), true, 1), V_FOREIGN);
	assert_int_equal(judge(c, icmp6(143, 1, true, 5), true, 1), V_FOREIGN);
	assert_int_equal(judge(c, icmp6(143, 2, true, 2), true, 1), V_FOREIGN);
	free(c);
}

static void cut_frames_are_foreign_and_read_within_bounds(void **state)
{
	struct classify *c = rules();
	struct frame samples[] = {tcp4(ROUTER, 40000, WEB, 80, SYN, PROBE_MARK "A"), icmp6(143, 1, true, 2)};

	(void)state;
	for (size_t s = 0; s < 2; s++)
		for (size_t len = 0; len < samples[s].len; len++) {
			/* Exactly as long as claimed, so that the sanitizer sees a read beyond. */
			uint8_t *exact = malloc(len ? len : 1);
			struct opinion o;

			assert_non_null(exact);
			memcpy(exact, samples[s].b, len);
			classify(c, exact, len, true, 1, &o);
			if (s == 0)
				assert_int_equal(o.verdict, V_FOREIGN);
			free(exact);
		}
	free(c);
}

static void probes_tell_their_kind(void **state)
{
	struct classify *c = rules();
	struct opinion o;

	(void)state;
	for (int kind = -1; kind <= PROBE_COUNT; kind++) {
		char text[] = PROBE_MARK "?";
		struct frame f;

		text[PROBE_MARK_LEN] = (char)(PROBE_BASE + kind);
		f = tcp4(ROUTER, 1, WEB, 2, SYN, text);
		classify(c, f.b, f.len, true, 1, &o);
		assert_int_equal(o.kind, kind == PROBE_COUNT ? -1 : kind);
		assert_int_equal(o.verdict, V_FOREIGN);
	}
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_carrier_is_tcp_that_may_pass),
		cmocka_unit_test(the_router_may_reset_what_came_from_outside),
		cmocka_unit_test(of_ipv6_only_what_stays_on_the_cable),
		cmocka_unit_test(cut_frames_are_foreign_and_read_within_bounds),
		cmocka_unit_test(probes_tell_their_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
