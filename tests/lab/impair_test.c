/*
 * wire is believed by every figure that is measured through it, so each of its claims is proved here by counting, with a
 * clock and dice that the test holds.
 */
#include "impair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MS 1000000ull
#define S  1000000000ull

static uint64_t seed;

static struct impair line_of(struct impair_options o)
{
	struct impair im;

	seed = 7;
	impair_init(&im, &o, impair_splitmix, &seed);
	return im;
}

/* An IPv4 frame of len bytes in all that carries a number. */
static void push(struct impair *im, uint64_t now_ns, size_t len, uint32_t number)
{
	uint8_t frame[2048] = {[12] = 0x08};

	frame[16] = (uint8_t)((len - 14) >> 8);
	frame[17] = (uint8_t)(len - 14);
	memcpy(frame + 20, &number, sizeof(number));
	impair_push(im, now_ns, frame, len);
}

/* The number of the frame that is due, or -1. */
static int64_t pop(struct impair *im, uint64_t now_ns)
{
	struct impair_frame *f = impair_pop(im, now_ns);
	uint32_t number;

	if (!f)
		return -1;
	memcpy(&number, f->bytes + 20, sizeof(number));
	free(f);
	return number;
}

static void a_good_line_changes_nothing(void **state)
{
	struct impair im = line_of((struct impair_options){0});

	(void)state;
	assert_int_equal(impair_next_ns(&im), UINT64_MAX);
	for (uint32_t i = 0; i < 100; i++) {
		push(&im, i, 60, i);
		assert_int_equal(impair_next_ns(&im), i);
		assert_int_equal(pop(&im, i), i);
		assert_int_equal(pop(&im, i), -1);
	}
	assert_int_equal(im.in, 100);
	assert_int_equal(im.out, 100);
	impair_fini(&im);
}

static void delay_is_exact(void **state)
{
	struct impair im = line_of((struct impair_options){.delay_ns = 20 * MS});

	(void)state;
	push(&im, 5 * MS, 1000, 1);
	push(&im, 6 * MS, 1000, 2);
	assert_int_equal(impair_next_ns(&im), 25 * MS);
	assert_int_equal(pop(&im, 25 * MS - 1), -1);
	assert_int_equal(pop(&im, 25 * MS), 1);
	assert_int_equal(impair_next_ns(&im), 26 * MS);
	assert_int_equal(pop(&im, 26 * MS), 2);
	impair_fini(&im);
}

static void jitter_spreads_and_keeps_the_order(void **state)
{
	struct impair im = line_of((struct impair_options){.delay_ns = 20 * MS, .jitter_ns = 5 * MS});
	uint64_t least = UINT64_MAX, most = 0;

	(void)state;
	/* 100 ms apart: nobody waits for the one in front, so the spread itself is seen. */
	for (uint32_t i = 0; i < 2000; i++) {
		uint64_t now = i * 100 * MS;

		push(&im, now, 100, i);
		uint64_t took = impair_next_ns(&im) - now;

		least = took < least ? took : least;
		most = took > most ? took : most;
		assert_int_equal(pop(&im, now + 30 * MS), i);
	}
	assert_in_range(least, 15 * MS, 15 * MS + MS / 10);
	assert_in_range(most, 25 * MS - MS / 10, 25 * MS);
	/* All at once: none overtakes. */
	for (uint32_t i = 0; i < 1000; i++)
		push(&im, 300 * S, 100, i);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(pop(&im, 301 * S), i);
	impair_fini(&im);
}

static void rate_is_exact_over_a_million_frames(void **state)
{
	/* 70 Mbit/s and 71 bytes: a time per frame that is no whole number of nanoseconds. */
	struct impair im = line_of((struct impair_options){.rate_bps = 70000000});
	uint64_t now = 0;

	(void)state;
	for (uint32_t i = 0; i < 1000000; i++) {
		push(&im, now, 71, i);
		now = impair_next_ns(&im);
		assert_int_equal(pop(&im, now), i);
	}
	/* 71 bytes × 8 × 10^6 / 70 Mbit/s; pushing at the moment the line is free loses the division's rest once. */
	assert_in_range(now, 8114285714ull - 1000000, 8114285714ull + 1);
	impair_fini(&im);

	im = line_of((struct impair_options){.rate_bps = 70000000});
	for (uint32_t i = 0; i < 1000; i++)
		push(&im, 0, 71, i);
	/* In one go the rest is kept: exact to the nanosecond. */
	assert_int_equal(im.line_free_ns, 71ull * 8 * 1000 * S / 70000000);
	impair_fini(&im);
}

static void the_queue_is_bounded_in_bytes(void **state)
{
	struct impair im = line_of((struct impair_options){.rate_bps = 8000000, .queue_bytes = 10000});
	unsigned passed = 0;

	(void)state;
	/* 1 byte per microsecond. 20 frames of 1,000 bytes at once: 10 fit. */
	for (uint32_t i = 0; i < 20; i++)
		push(&im, S, 1000, i);
	assert_int_equal(im.dropped[IMPAIR_QUEUE], 10);
	assert_int_equal(im.queue_max, 10000);
	/* 2.5 ms later there is room for two more and not for a third. */
	for (uint32_t i = 20; i < 23; i++)
		push(&im, S + 2500000, 1000, i);
	assert_int_equal(im.dropped[IMPAIR_QUEUE], 11);
	while (pop(&im, 2 * S) >= 0)
		passed++;
	assert_int_equal(passed, 12);
	/* Steadily twice too much for ten seconds: half passes, within one queue. */
	for (uint32_t i = 0; i < 20000; i++) {
		push(&im, 3 * S + i * 500000ull, 1000, i);
		while (pop(&im, 3 * S + i * 500000ull) >= 0)
			passed++;
	}
	assert_in_range(passed - 12, 9990, 10010);
	impair_fini(&im);
}

static void loss_is_as_asked_and_repeatable(void **state)
{
	uint64_t lost[2];

	(void)state;
	for (int round = 0; round < 2; round++) {
		struct impair im = line_of((struct impair_options){.loss_ppm = 10000});

		for (uint32_t i = 0; i < 1000000; i++) {
			push(&im, i, 60, i);
			pop(&im, i);
		}
		lost[round] = im.dropped[IMPAIR_LOSS];
		assert_int_equal(im.out + lost[round], 1000000);
		impair_fini(&im);
	}
	assert_in_range(lost[0], 9600, 10400); /* 1 %, four standard deviations */
	assert_int_equal(lost[0], lost[1]);
}

static void a_lost_frame_has_used_the_line(void **state)
{
	struct impair im = line_of((struct impair_options){.rate_bps = 8000000, .loss_ppm = 1000000});

	(void)state;
	push(&im, 0, 1000, 1);
	assert_int_equal(im.dropped[IMPAIR_LOSS], 1);
	assert_int_equal(im.line_free_ns, MS);
	impair_fini(&im);
}

static void reordered_frames_are_overtaken(void **state)
{
	struct impair im =
		line_of((struct impair_options){.delay_ns = 10 * MS, .reorder_ppm = 50000, .reorder_ns = 2 * MS});
	uint64_t late = 0;
	int64_t highest = -1;

	(void)state;
	for (uint32_t i = 0; i < 100000; i++)
		push(&im, i * (MS / 10), 60, i);
	for (;;) {
		int64_t n = pop(&im, 100 * S);

		if (n < 0)
			break;
		late += n < highest;
		highest = n > highest ? n : highest;
	}
	assert_in_range(im.reordered, 4700, 5300);
	/* Nearly every held frame is passed by an ordinary one within 2 ms (20 frames); the very last are not. */
	assert_in_range(late, im.reordered - 20, im.reordered + 20);
	assert_int_equal(im.out, 100000);
	impair_fini(&im);
}

static void the_hole_swallows_what_is_too_large(void **state)
{
	struct impair im = line_of((struct impair_options){.hole = 1400});
	uint8_t six[1500] = {[12] = 0x86, [13] = 0xdd, [18] = 1361 >> 8, [19] = 1361 & 255};
	uint8_t arp[1500] = {[12] = 0x08, [13] = 0x06};

	(void)state;
	push(&im, 0, 1414, 1);
	assert_int_equal(im.dropped[IMPAIR_HOLE], 0);
	push(&im, 0, 1415, 2);
	assert_int_equal(im.dropped[IMPAIR_HOLE], 1);
	impair_push(&im, 0, six, 1415);
	assert_int_equal(im.dropped[IMPAIR_HOLE], 2);
	six[19]--;
	impair_push(&im, 0, six, 1414);
	impair_push(&im, 0, arp, 1500);
	for (size_t len = 0; len < 20; len++) /* too short to hold IP; read within bounds */
		impair_push(&im, 0, six, len);
	assert_int_equal(im.dropped[IMPAIR_HOLE], 2);
	impair_fini(&im);
}

static void memory_is_bounded(void **state)
{
	struct impair im = line_of((struct impair_options){.delay_ns = S, .memory_bytes = 10000});

	(void)state;
	for (uint32_t i = 0; i < 20; i++)
		push(&im, 0, 1000, i);
	assert_int_equal(im.dropped[IMPAIR_MEMORY], 10);
	assert_int_equal(im.bytes, 10000);
	impair_fini(&im);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_line_changes_nothing),
		cmocka_unit_test(delay_is_exact),
		cmocka_unit_test(jitter_spreads_and_keeps_the_order),
		cmocka_unit_test(rate_is_exact_over_a_million_frames),
		cmocka_unit_test(the_queue_is_bounded_in_bytes),
		cmocka_unit_test(loss_is_as_asked_and_repeatable),
		cmocka_unit_test(a_lost_frame_has_used_the_line),
		cmocka_unit_test(reordered_frames_are_overtaken),
		cmocka_unit_test(the_hole_swallows_what_is_too_large),
		cmocka_unit_test(memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
