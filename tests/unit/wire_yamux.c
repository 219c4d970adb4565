/* Two multiplexers back to back, their bytes cut at random; then what a stranger may do to one. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "fake/alloc.h"
#include "wire/yamux.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define PIPE 8000000

struct end {
	struct sg_yamux *y;
	uint8_t *out; /* on its way to the other end */
	size_t at, len;
	/* of the one stream that the test follows */
	struct sg_yamux_stream *s;
	size_t got, writable, ends, offered;
	uint8_t next;
	int end_err;
	bool refuse, hold;
};

static uint32_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % below;
}

static void on_send(void *arg, struct sg_view head, struct sg_view body)
{
	struct end *e = arg;

	assert_true(e->len + head.len + body.len <= PIPE);
	memcpy(e->out + e->len, head.p, head.len);
	e->len += head.len;
	if (body.len)
		memcpy(e->out + e->len, body.p, body.len);
	e->len += body.len;
}

static int on_stream(void *arg, struct sg_yamux_stream *s)
{
	struct end *e = arg;

	e->offered++;
	if (e->refuse)
		return SG_EFULL;
	s->user = e;
	e->s = s;
	return 0;
}

static void on_data(void *arg, struct sg_yamux_stream *s, struct sg_view data)
{
	struct end *e = arg;

	for (size_t i = 0; i < data.len; i++)
		assert_int_equal(data.p[i], (uint8_t)(e->next++));
	e->got += data.len;
	if (!e->hold)
		sg_yamux_consumed(s, (uint32_t)data.len);
}

static void on_writable(void *arg, struct sg_yamux_stream *s)
{
	(void)s;
	((struct end *)arg)->writable++;
}

static void on_end(void *arg, struct sg_yamux_stream *s, int err)
{
	struct end *e = arg;

	(void)s;
	e->ends++;
	e->end_err = err;
	if (err < 0)
		e->s = NULL;
}

static const struct sg_yamux_ops ops = {on_send, on_stream, on_data, on_writable, on_end};

static struct sg_mono at_ms(int64_t ms)
{
	return (struct sg_mono){ms * SG_NS_PER_MS};
}

static void end_init(struct end *e, bool client)
{
	memset(e, 0, sizeof(*e));
	e->out = malloc(PIPE);
	e->y = sg_yamux_new(client, &ops, e, at_ms(0));
	assert_non_null(e->y);
}

static void end_fini(struct end *e)
{
	sg_yamux_free(e->y);
	free(e->out);
}

static int deliver(struct end *from, struct end *to)
{
	const char *why;

	while (from->at < from->len) {
		size_t piece = rnd(9000) + 1, n = SG_MIN(piece, from->len - from->at);
		int err = sg_yamux_feed(to->y, (struct sg_view){from->out + from->at, n}, &why);

		from->at += n;
		if (err < 0)
			return err;
	}
	from->at = from->len = 0;
	return 0;
}

static void flow(void **state)
{
	struct end a, b;
	uint8_t block[70000], next = 0;
	size_t sent = 0;

	(void)state;
	seed = 3;
	end_init(&a, true);
	end_init(&b, false);
	assert_int_equal(sg_yamux_open(a.y, &a, at_ms(0), &a.s), 0);
	assert_int_equal(a.s->id, 1);
	assert_int_equal(deliver(&a, &b), 0);
	assert_int_equal(b.offered, 1);
	assert_int_equal(deliver(&b, &a), 0);
	assert_true(a.s->acked);
	while (sent < 3000000) {
		size_t want = rnd(sizeof(block)) + 1;
		int n;

		for (size_t i = 0; i < want; i++)
			block[i] = (uint8_t)(next + i);
		n = sg_yamux_send(a.s, (struct sg_view){block, want});
		assert_true(n >= 0 && (size_t)n <= want);
		next = (uint8_t)(next + n);
		sent += (size_t)n;
		assert_int_equal(deliver(&a, &b), 0);
		assert_int_equal(deliver(&b, &a), 0);
	}
	assert_int_equal(b.got, sent);
	/* A reader that takes nothing: one window, then silence, then on_writable. */
	b.hold = true;
	b.got = 0;
	for (sent = 0;;) {
		int n;

		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)(next + i);
		n = sg_yamux_send(a.s, (struct sg_view){block, sizeof(block)});
		next = (uint8_t)(next + n);
		sent += (size_t)n;
		assert_int_equal(deliver(&a, &b), 0);
		assert_int_equal(deliver(&b, &a), 0);
		if ((size_t)n < sizeof(block))
			break;
	}
	assert_int_equal(b.got, sent);
	assert_true(sent <= SG_YAMUX_WINDOW && sent > SG_YAMUX_WINDOW / 2 - 1);
	assert_int_equal(a.writable, 0);
	sg_yamux_consumed(b.s, (uint32_t)sent);
	assert_int_equal(deliver(&b, &a), 0);
	assert_int_equal(a.writable, 1);
	/* Each end closes its direction. */
	sg_yamux_close(a.s, at_ms(10));
	assert_int_equal(deliver(&a, &b), 0);
	assert_int_equal(b.ends, 1);
	assert_int_equal(b.end_err, 0);
	sg_yamux_close(b.s, at_ms(10));
	assert_int_equal(deliver(&b, &a), 0);
	assert_int_equal(sg_yamux_streams(a.y), 0);
	assert_int_equal(sg_yamux_streams(b.y), 0);
	end_fini(&a);
	end_fini(&b);
}

static void refusal_and_reset(void **state)
{
	struct end a, b;

	(void)state;
	end_init(&a, false);
	end_init(&b, true);
	b.refuse = true;
	assert_int_equal(sg_yamux_open(a.y, &a, at_ms(0), &a.s), 0);
	assert_int_equal(a.s->id, 2);
	assert_int_equal(deliver(&a, &b), 0);
	assert_int_equal(deliver(&b, &a), 0);
	assert_int_equal(a.ends, 1);
	assert_int_equal(a.end_err, -ECONNRESET);
	assert_int_equal(sg_yamux_streams(a.y) + sg_yamux_streams(b.y), 0);
	b.refuse = false;
	assert_int_equal(sg_yamux_open(a.y, &a, at_ms(0), &a.s), 0);
	assert_int_equal(deliver(&a, &b), 0);
	sg_yamux_reset(b.s);
	b.s = NULL;
	assert_int_equal(deliver(&b, &a), 0);
	assert_int_equal(a.ends, 2);
	assert_int_equal(sg_yamux_streams(a.y) + sg_yamux_streams(b.y), 0);
	end_fini(&a);
	end_fini(&b);
}

static void time_passes(void **state)
{
	struct end a, b;
	const char *why;

	(void)state;
	end_init(&a, true);
	end_init(&b, false);
	assert_int_equal(sg_yamux_tick(a.y, at_ms(SG_YAMUX_PING_MS), &why), 0);
	assert_int_equal(a.len, SG_YAMUX_HEAD);
	assert_int_equal(deliver(&a, &b), 0);
	assert_int_equal(sg_yamux_tick(a.y, at_ms(SG_YAMUX_PING_MS + 40), &why), 0);
	assert_int_equal(deliver(&b, &a), 0);
	assert_int_equal(sg_yamux_rtt_us(a.y), 40000);
	/* A ping without an answer. */
	assert_int_equal(sg_yamux_tick(a.y, at_ms(2 * SG_YAMUX_PING_MS + 100), &why), 0);
	assert_int_equal(
		sg_yamux_tick(a.y, at_ms(2 * SG_YAMUX_PING_MS + 100 + SG_YAMUX_PING_WAIT_MS), &why), -ETIMEDOUT);
	end_fini(&a);
	/* A SYN without one. */
	end_init(&a, true);
	assert_int_equal(sg_yamux_open(a.y, &a, at_ms(0), &a.s), 0);
	assert_int_equal(sg_yamux_tick(a.y, at_ms(SG_YAMUX_OPEN_MS), &why), -ETIMEDOUT);
	end_fini(&a);
	/* Our FIN without theirs. */
	end_init(&a, true);
	assert_int_equal(sg_yamux_open(a.y, &a, at_ms(0), &a.s), 0);
	assert_int_equal(deliver(&a, &b), 0);
	assert_int_equal(deliver(&b, &a), 0);
	sg_yamux_close(a.s, at_ms(0));
	for (int64_t t = 0; t <= SG_YAMUX_CLOSE_MS; t += 5000) {
		assert_int_equal(sg_yamux_tick(a.y, at_ms(t), &why), 0);
		assert_int_equal(deliver(&a, &b), 0);
		assert_int_equal(deliver(&b, &a), 0);
	}
	assert_int_equal(sg_yamux_streams(a.y), 0);
	end_fini(&a);
	end_fini(&b);
}

/* One frame from a stranger: the code that the session ends with. */
static int stranger(struct end *e, uint8_t version, uint8_t type, uint16_t flags, uint32_t id, uint32_t length)
{
	uint8_t head[SG_YAMUX_HEAD] = {version, type};
	const char *why;

	sg_put_u16(head + 2, flags);
	sg_put_u32(head + 4, id);
	sg_put_u32(head + 8, length);
	return sg_yamux_feed(e->y, (struct sg_view){head, sizeof(head)}, &why);
}

static void protocol_errors(void **state)
{
	struct end e;

	(void)state;
#define CASE(setup, want, ...)                                                                                         \
	do {                                                                                                           \
		end_init(&e, false);                                                                                   \
		setup;                                                                                                 \
		assert_int_equal(stranger(&e, __VA_ARGS__), want);                                                     \
		end_fini(&e);                                                                                          \
	} while (0)
	CASE((void)0, SG_EMALF, 1, 0, 0, 1, 0);
	CASE((void)0, SG_EMALF, 0, 4, 0, 1, 0);
	CASE((void)0, SG_ECLOSED, 0, 3, 0, 0, 1);
	CASE((void)0, 0, 0, 3, 0, 0, 0);
	CASE((void)0, 0, 0, 1, 0, 77, 5); /* for an unknown stream: ignored */
	CASE((void)0, 0, 0, 0, 0, 77, 0);
	CASE(stranger(&e, 0, 1, 1, 1, 0), SG_EMALF, 0, 1, 1, 1, 0);          /* SYN twice */
	CASE(stranger(&e, 0, 1, 1, 1, 0), SG_EMALF, 0, 0, 0, 1, 262145);     /* beyond the window */
	CASE(stranger(&e, 0, 1, 1, 1, 0), SG_EMALF, 0, 1, 0, 1, UINT32_MAX); /* window overflow */
	CASE((stranger(&e, 0, 1, 1, 1, 0), stranger(&e, 0, 1, 4, 1, 0)), SG_EMALF, 0, 1, 4, 1, 0); /* FIN twice */
#undef CASE
	/* After GoAway nothing is opened. */
	end_init(&e, true);
	assert_int_equal(stranger(&e, 0, 3, 0, 0, 0), 0);
	assert_int_equal(sg_yamux_open(e.y, &e, at_ms(0), &e.s), SG_ECLOSED);
	end_fini(&e);
	/* Streams are bounded: the rest is reset, the session lives. */
	end_init(&e, false);
	for (uint32_t i = 0; i < SG_YAMUX_STREAMS_MAX + 100; i++)
		assert_int_equal(stranger(&e, 0, 1, 1, 1 + 2 * i, 0), 0);
	assert_int_equal(sg_yamux_streams(e.y), SG_YAMUX_STREAMS_MAX);
	end_fini(&e);
}

static bool session(void *arg)
{
	static uint8_t room[2][4096];
	struct end a = {.out = room[0]}, b = {.out = room[1]};
	bool ok = false;

	(void)arg;
	a.y = sg_yamux_new(true, &ops, &a, at_ms(0));
	b.y = sg_yamux_new(false, &ops, &b, at_ms(0));
	if (a.y && b.y && sg_yamux_open(a.y, &a, at_ms(0), &a.s) == 0) {
		assert_int_equal(deliver(&a, &b), 0);
		/* Out of memory for a stream costs that stream: it is reset. */
		assert_int_equal(deliver(&b, &a), 0);
		ok = a.ends == 0;
	}
	sg_yamux_free(a.y);
	sg_yamux_free(b.y);
	return ok;
}

static void each_allocation_fails(void **state)
{
	(void)state;
	assert_true(fake_alloc_each("yamux session", session, NULL) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(flow), cmocka_unit_test(refusal_and_reset),
		cmocka_unit_test(time_passes), cmocka_unit_test(protocol_errors),
		cmocka_unit_test(each_allocation_fails)};

	return cmocka_run_group_tests_name("yamux", tests, NULL, NULL);
}
