/* Cutting the data phase: both forms, split at every byte, bad records, streams that cannot be followed. */
#include "base/cursor.h"
#include "base/err.h"
#include "records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t bad;

struct seen {
	size_t n;
	uint8_t kind[16];
	size_t len[16];
	uint8_t first[16], last[16];
	const uint8_t *at[16];
	int answer;
};

static int note(void *arg, const struct sg_vpn_record *r, struct sg_view body)
{
	struct seen *s = arg;

	assert_true(s->n < 16);
	s->kind[s->n] = r->kind;
	s->len[s->n] = body.len;
	s->first[s->n] = body.len ? body.p[0] : 0;
	s->last[s->n] = body.len ? body.p[body.len - 1] : 0;
	s->at[s->n] = body.p;
	s->n++;
	return s->answer;
}

/* An IPv4 packet, or with @six IPv6, of @len bytes whose last one is @mark. */
static size_t packet(uint8_t *p, size_t len, bool six, uint8_t mark)
{
	memset(p, 0x11, len);
	p[0] = six ? 0x60 : 0x45;
	sg_put_u16(p + (six ? 4 : 2), (uint16_t)(six ? len - 40 : len));
	p[len - 1] = mark;
	return len;
}

static size_t record(uint8_t *p, enum sg_vpn_record_kind kind, size_t len, uint8_t mark)
{
	struct sg_vpn_record r = {.kind = (uint8_t)kind, .len = (uint32_t)len};

	sg_vpn_record_encode(&r, p);
	if (kind == SG_VPN_PACKET)
		packet(p + SG_VPN_RECORD_HEAD, len, false, mark);
	else
		memset(p + SG_VPN_RECORD_HEAD, mark, len);
	return SG_VPN_RECORD_HEAD + len;
}

/* The same bytes in two pieces, three, and one by one give the same records. */
static void split_everywhere(const uint8_t *bytes, size_t len, bool rec, const struct seen *want)
{
	for (size_t cut = 0; cut <= len + 1; cut++) {
		struct records_in in = {.rec = rec, .bad = &bad};
		struct seen s = {0};
		size_t step = cut == len + 1 ? 1 : cut;

		for (size_t at = 0; at < len;) {
			size_t n = step && at + step < len ? step : len - at;
			uint8_t *piece = malloc(n);

			memcpy(piece, bytes + at, n);
			assert_int_equal(records_feed(&in, (struct sg_view){piece, n}, note, &s), 0);
			free(piece);
			at += n;
			if (cut != len + 1 && cut * 3 > len)
				step = len - at;
		}
		assert_int_equal(s.n, want->n);
		assert_memory_equal(s.kind, want->kind, sizeof(s.kind));
		assert_memory_equal(s.len, want->len, sizeof(s.len));
		assert_memory_equal(s.first, want->first, sizeof(s.first));
		assert_memory_equal(s.last, want->last, sizeof(s.last));
		records_fini(&in);
	}
}

static void records_split_at_every_byte(void **state)
{
	uint8_t bytes[1024];
	size_t len = 0;
	struct records_in in = {.rec = true, .bad = &bad};
	struct seen s = {0};

	(void)state;
	len += record(bytes + len, SG_VPN_PACKET, 60, 7);
	len += record(bytes + len, SG_VPN_PROBE, 8, 9);
	len += record(bytes + len, SG_VPN_PACKET, 20, 0);
	len += record(bytes + len, SG_VPN_ANSWER, 0, 0);
	len += record(bytes + len, SG_VPN_PACKET, 200, 5);
	len += record(bytes + len, SG_VPN_BYE, 0, 0);
	assert_int_equal(records_feed(&in, (struct sg_view){bytes, len}, note, &s), 0);
	assert_int_equal(s.n, 6);
	assert_ptr_equal(s.at[0], bytes + SG_VPN_RECORD_HEAD); /* what is whole is not copied */
	assert_null(in.acc);
	split_everywhere(bytes, len, true, &s);
	records_fini(&in);
}

static void bare_packets_split_at_every_byte(void **state)
{
	uint8_t bytes[1024];
	size_t len = 0;
	struct records_in in = {0};
	struct seen s = {0};

	(void)state;
	len += packet(bytes + len, 60, false, 7);
	len += packet(bytes + len, 40, true, 8);
	len += packet(bytes + len, 20, false, 9);
	len += packet(bytes + len, 300, true, 10);
	assert_int_equal(records_feed(&in, (struct sg_view){bytes, len}, note, &s), 0);
	assert_int_equal(s.n, 4);
	assert_ptr_equal(s.at[0], bytes);
	split_everywhere(bytes, len, false, &s);
	records_fini(&in);
}

static void a_bad_record_is_dropped_and_the_next_is_good(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = {{0, 9}, {1, 0x80}, {2, 3}, {3, 1}, {SG_VPN_RECORD_HEAD, 0x55}, {SG_VPN_RECORD_HEAD + 3, 61}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t bytes[512];
		size_t len = record(bytes, SG_VPN_PACKET, 60, 1);

		bytes[rows[i].at] = rows[i].value;
		len += record(bytes + len, SG_VPN_PROBE, 8, 2);
		for (size_t cut = 1; cut < len; cut++) {
			struct records_in in = {.rec = true, .bad = &bad};
			struct seen s = {0};

			bad = 0;
			assert_int_equal(records_feed(&in, (struct sg_view){bytes, cut}, note, &s), 0);
			assert_int_equal(records_feed(&in, (struct sg_view){bytes + cut, len - cut}, note, &s), 0);
			assert_int_equal(s.n, 1);
			assert_int_equal(s.kind[0], SG_VPN_PROBE);
			assert_int_equal(bad, 1);
			records_fini(&in);
		}
	}
}

static void what_cannot_be_followed_ends_the_stream(void **state)
{
	uint8_t head[SG_VPN_RECORD_HEAD] = {0, 0, 0, 0, 0, 1, 0, 0}, seven = 0x70;
	uint8_t two[] = {0x45, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x45, 0, 0, 2};
	struct records_in in = {.rec = true, .bad = &bad};
	struct seen s = {0};

	(void)state;
	assert_int_equal(records_feed(&in, (struct sg_view){head, sizeof(head)}, note, &s), SG_ELONG);
	in = (struct records_in){0};
	assert_int_equal(records_feed(&in, (struct sg_view){&seven, 1}, note, &s), SG_EMALF);
	assert_int_equal(s.n, 0);
	assert_int_equal(records_feed(&in, (struct sg_view){two, sizeof(two)}, note, &s), SG_EMALF);
	assert_int_equal(s.n, 1);
	/* A user that ends the session in the middle hears nothing more. */
	in = (struct records_in){0};
	s = (struct seen){.answer = SG_ECLOSED};
	assert_int_equal(records_feed(&in, (struct sg_view){two, 20}, note, &s), SG_ECLOSED);
	in = (struct records_in){.rec = true, .bad = &bad};
	s = (struct seen){.answer = SG_ECLOSED};
	memset(head, 0, sizeof(head));
	head[0] = SG_VPN_BYE;
	assert_int_equal(records_feed(&in, (struct sg_view){head, sizeof(head)}, note, &s), SG_ECLOSED);
	records_fini(&in);
}

static void the_longest_record_and_memory_given_back(void **state)
{
	uint8_t *bytes = malloc(SG_VPN_RECORD_HEAD + SG_VPN_PACKET_MAX);
	size_t len = record(bytes, SG_VPN_PACKET, SG_VPN_PACKET_MAX, 3);
	struct records_in in = {.rec = true, .bad = &bad};
	struct seen s = {0};

	(void)state;
	assert_int_equal(records_feed(&in, (struct sg_view){bytes, len - 1}, note, &s), 0);
	records_rest(&in);
	assert_non_null(in.acc);
	assert_int_equal(records_feed(&in, (struct sg_view){bytes + len - 1, 1}, note, &s), 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.len[0], SG_VPN_PACKET_MAX);
	assert_int_equal(s.last[0], 3);
	records_rest(&in);
	assert_null(in.acc);
	free(bytes);
}

/* Where the network keeps records, a bad one costs itself, with our heads and without. */
static void records_of_the_network_stand_alone(void **state)
{
	struct records_in in = {.whole = true, .bad = &bad};
	struct seen s = {0};
	uint8_t b[256];
	size_t len = packet(b, 60, false, 7);

	(void)state;
	bad = 0;
	assert_int_equal(records_feed(&in, (struct sg_view){b, len - 1}, note, &s), 0); /* cut */
	b[0] = 0x11;
	assert_int_equal(records_feed(&in, (struct sg_view){b, len}, note, &s), 0); /* of no version */
	packet(b, 60, false, 7);
	assert_int_equal(records_feed(&in, (struct sg_view){b, len + 4}, note, &s), 0); /* with bytes behind it */
	assert_int_equal(bad, 2);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.len[0], len);

	in.rec = true;
	len = record(b, SG_VPN_PACKET, 60, 9);
	assert_int_equal(records_feed(&in, (struct sg_view){b, len - 5}, note, &s), 0);
	assert_int_equal(records_feed(&in, (struct sg_view){b, len}, note, &s), 0);
	assert_int_equal(bad, 3);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.last[1], 9);
	records_fini(&in);
}

/* What comes of the parts of @len bytes of records, cut at 100, when those in @lost are left out. */
static struct seen of_parts(struct records_in *in, const uint8_t *bytes, size_t len, uint32_t number, unsigned lost)
{
	static uint8_t probe[SG_VPN_RECORD_HEAD] = {SG_VPN_PROBE};
	struct seen s = {0};
	uint8_t b[SG_VPN_RECORD_HEAD + 100];

	for (uint32_t at = 0, i = 0; at < len; at += 100, i++) {
		struct sg_vpn_part p = {number, (uint32_t)len, at};
		size_t n = len - at < 100 ? len - at : 100;

		sg_vpn_part_encode(&p, b);
		memcpy(b + SG_VPN_RECORD_HEAD, bytes + at, n);
		if (!(lost >> i & 1))
			assert_int_equal(records_feed(in, (struct sg_view){b, SG_VPN_RECORD_HEAD + n}, note, &s), 0);
		if (i == 1) /* what else is to be said does not wait for the end */
			assert_int_equal(records_feed(in, (struct sg_view){probe, sizeof(probe)}, note, &s), 0);
	}
	return s;
}

/* Story: on its way through others a route loses what they have no room for. */
static void a_record_in_parts(void **state)
{
	struct records_in in = {.whole = true, .rec = true, .bad = &bad};
	uint8_t bytes[1024];
	size_t len = record(bytes, SG_VPN_PACKET, 400, 7);
	struct seen s = of_parts(&in, bytes, len, 1, 0);

	(void)state;
	bad = 0;
	assert_int_equal(s.n, 2);
	assert_int_equal(s.kind[0], SG_VPN_PROBE);
	assert_int_equal(s.len[1], 400);
	assert_int_equal(s.last[1], 7);
	for (unsigned lost = 1; lost < 32; lost++) {
		s = of_parts(&in, bytes, len, 10 * lost, lost);
		assert_int_equal(s.n, 1);
		s = of_parts(&in, bytes, len, 10 * lost + 1, 0); /* and the next is whole */
		assert_int_equal(s.n, 2);
	}
	assert_true(bad >= 30);
	/* The front of one and the rest of another make no packet. */
	of_parts(&in, bytes, len, 1000, 0x1e);
	s = of_parts(&in, bytes, len, 1001, 0x01);
	assert_int_equal(s.n, 1);
	/* A head that contradicts what is in it, and bytes beyond the whole. */
	bytes[7]++;
	assert_int_equal(of_parts(&in, bytes, len, 1002, 0).n, 1);
	bytes[7]--;
	assert_int_equal(of_parts(&in, bytes, len - 1, 1003, 0).n, 1);
	records_fini(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_split_at_every_byte),
		cmocka_unit_test(bare_packets_split_at_every_byte),
		cmocka_unit_test(a_bad_record_is_dropped_and_the_next_is_good),
		cmocka_unit_test(what_cannot_be_followed_ends_the_stream),
		cmocka_unit_test(the_longest_record_and_memory_given_back),
		cmocka_unit_test(records_of_the_network_stand_alone),
		cmocka_unit_test(a_record_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
