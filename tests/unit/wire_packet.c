/* Packets and the fixed payloads: virtual streams, credits, LinkHello, pings. */
#include "base/common.h"
#include "base/err.h"
#include "wire/linkhello.h"
#include "wire/packet.h"
#include "wire/vstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* after the others */
#include <cmocka.h>

static void heads(void **state)
{
	uint8_t out[SG_PACKET_HEAD];

	(void)state;
	assert_int_equal(sg_packet_head(0xe1, 0x01020304, 0, out), 0);
	assert_memory_equal(out, "\xe1\x01\x02\x03\x04\x00\x00", 7);
	assert_int_equal(sg_packet_head(0, UINT32_MAX, 65535, out), 0);
	assert_memory_equal(out, "\x00\xff\xff\xff\xff\xff\xff", 7);
	assert_int_equal(sg_packet_head(0, 0, 65536, out), SG_ELONG);
	assert_int_equal(sg_packet_head(0, 0, SIZE_MAX, out), SG_ELONG);
}

/* The longest packet, whole and one byte short; then every cut of a short one. */
static void part_of_a_packet(void **state)
{
	const size_t whole = SG_PACKET_HEAD + SG_PACKET_PAYLOAD_MAX;
	uint8_t *run = calloc(whole + 1, 1);
	struct sg_packet p;

	(void)state;
	assert_non_null(run);
	assert_int_equal(sg_packet_head(SG_PACKET_DATA, 7, SG_PACKET_PAYLOAD_MAX, run), 0);
	assert_int_equal(sg_packet_decode((struct sg_view){run, whole - 1}, &p), 0);
	assert_int_equal(sg_packet_decode((struct sg_view){run, whole}, &p), whole);
	assert_int_equal(sg_packet_decode((struct sg_view){run, whole + 1}, &p), whole);
	assert_int_equal(p.payload.len, SG_PACKET_PAYLOAD_MAX);
	assert_ptr_equal(p.payload.p, run + SG_PACKET_HEAD);
	assert_int_equal(sg_packet_head(SG_PACKET_CLOSE, 9, 3, run), 0);
	for (size_t len = 0; len < 10; len++)
		assert_int_equal(sg_packet_decode((struct sg_view){run, len}, &p), 0);
	assert_int_equal(sg_packet_decode((struct sg_view){run, 10}, &p), 10);
	assert_int_equal(p.type, SG_PACKET_CLOSE);
	assert_int_equal(p.route_id, 9);
	assert_int_equal(sg_packet_decode((struct sg_view){NULL, 0}, &p), 0);
	free(run);
}

static void several_in_one_run(void **state)
{
	uint8_t run[3 * SG_PACKET_HEAD + 5] = {0};
	struct sg_packet p;
	size_t at = 0;

	(void)state;
	sg_packet_head(SG_PACKET_KEEPALIVE, 1, 0, run);
	sg_packet_head(200, 2, 5, run + 7); /* unknown: skipped by its length */
	sg_packet_head(SG_PACKET_KEEPALIVE, 3, 0, run + 19);
	for (uint32_t i = 1; i <= 3; i++) {
		int used = sg_packet_decode((struct sg_view){run + at, sizeof(run) - at}, &p);

		assert_true(used > 0);
		assert_int_equal(p.route_id, i);
		at += (size_t)used;
	}
	assert_int_equal(at, sizeof(run));
}

static void pings(void **state)
{
	struct sg_packet_ping p = {INT64_MIN, INT64_MAX}, q;
	uint8_t out[SG_PACKET_PING_LEN + 1] = {0};

	(void)state;
	sg_packet_ping_encode(&p, out);
	assert_int_equal(sg_packet_ping_decode((struct sg_view){out, SG_PACKET_PING_LEN - 1}, &q), SG_EMALF);
	assert_int_equal(sg_packet_ping_decode((struct sg_view){out, SG_PACKET_PING_LEN}, &q), 0);
	assert_true(q.timestamp_ms == INT64_MIN && q.throughput == INT64_MAX);
	assert_int_equal(sg_packet_ping_decode((struct sg_view){out, SG_PACKET_PING_LEN + 1}, &q), 0);
	assert_int_equal(sg_packet_ping_decode((struct sg_view){NULL, 0}, &q), SG_EMALF);
}

static void virtual_streams(void **state)
{
	struct sg_pk pk = {{2, 1}};
	uint8_t out[SG_VSTREAM_HEAD + 3] = {0};
	struct sg_vstream_msg m;

	(void)state;
	sg_vstream_head(UINT64_MAX - 1, &pk, SG_VSTREAM_SYN | 0x80, out);
	memset(out + SG_VSTREAM_HEAD, 'a', 3);
	for (size_t len = 0; len < SG_VSTREAM_HEAD; len++)
		assert_int_equal(sg_vstream_decode((struct sg_view){out, len}, &m), SG_EMALF);
	assert_int_equal(sg_vstream_decode((struct sg_view){out, SG_VSTREAM_HEAD}, &m), 0);
	assert_int_equal(m.data.len, 0);
	assert_int_equal(sg_vstream_decode((struct sg_view){out, sizeof(out)}, &m), 0);
	assert_true(m.id == UINT64_MAX - 1);
	assert_memory_equal(&m.sender, &pk, sizeof(pk));
	assert_int_equal(m.flags, SG_VSTREAM_SYN | 0x80); /* unknown flags are kept */
	assert_int_equal(m.data.len, 3);
	assert_memory_equal(m.data.p, "aaa", 3);
	assert_int_equal(SG_VSTREAM_HEAD + SG_VSTREAM_DATA_MAX, SG_PACKET_PAYLOAD_MAX);
}

static void credits(void **state)
{
	struct sg_credit c = {2, SG_VSTREAM_CREDIT_FIRST}, d;
	uint8_t out[SG_CREDIT_LEN + 1] = {0};

	(void)state;
	sg_credit_encode(&c, out);
	assert_memory_equal(out, "\0\0\0\0\0\0\0\x02\0\0\0\0\0\x04\0\0", SG_CREDIT_LEN);
	assert_int_equal(sg_credit_decode((struct sg_view){out, SG_CREDIT_LEN - 1}, &d), SG_EMALF);
	for (size_t len = SG_CREDIT_LEN; len <= sizeof(out); len++) {
		assert_int_equal(sg_credit_decode((struct sg_view){out, len}, &d), 0);
		assert_true(d.id == c.id && d.allowed == c.allowed);
	}
}

static void link_hellos(void **state)
{
	struct sg_linkhello h = {SG_LINKHELLO_VERSION, SG_CAP_CREDITS}, g;
	uint8_t out[SG_LINKHELLO_LEN + 20] = {0};

	(void)state;
	sg_linkhello_encode(&h, out);
	assert_memory_equal(out, "\x01\0\0\0\x01", SG_LINKHELLO_LEN);
	for (size_t len = 0; len < SG_LINKHELLO_LEN; len++)
		assert_int_equal(sg_linkhello_decode((struct sg_view){out, len}, &g), SG_EMALF);
	/* A later version may be longer. */
	out[0] = 9;
	assert_int_equal(sg_linkhello_decode((struct sg_view){out, sizeof(out)}, &g), 0);
	assert_int_equal(g.version, 9);
	assert_int_equal(g.caps, SG_CAP_CREDITS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads),
		cmocka_unit_test(part_of_a_packet),
		cmocka_unit_test(several_in_one_run),
		cmocka_unit_test(pings),
		cmocka_unit_test(virtual_streams),
		cmocka_unit_test(credits),
		cmocka_unit_test(link_hellos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
