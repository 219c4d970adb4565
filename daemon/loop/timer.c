/*
 * Timers on the loop's own clock: a binary heap of pointers, so that a clock passed in by a test
 * rules them too. libuv's own timer only wakes the loop.
 */
#include "loop/internal.h"
#include "base/alloc.h"
#include "base/err.h"

static void place(struct sg_loop *loop, size_t i, struct sg_timer *t)
{
	loop->heap[i] = t;
	t->slot = i + 1;
}

static void sift_up(struct sg_loop *loop, size_t i)
{
	struct sg_timer *t = loop->heap[i];

	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (!sg_mono_before(t->due, loop->heap[parent]->due))
			break;
		place(loop, i, loop->heap[parent]);
		i = parent;
	}
	place(loop, i, t);
}

static void sift_down(struct sg_loop *loop, size_t i)
{
	struct sg_timer *t = loop->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= loop->n_timers)
			break;
		if (child + 1 < loop->n_timers && sg_mono_before(loop->heap[child + 1]->due, loop->heap[child]->due))
			child++;
		if (!sg_mono_before(loop->heap[child]->due, t->due))
			break;
		place(loop, i, loop->heap[child]);
		i = child;
	}
	place(loop, i, t);
}

void sg_timer_init(struct sg_timer *t, struct sg_loop *loop, void (*fn)(void *arg), void *arg)
{
	*t = (struct sg_timer){.loop = loop, .fn = fn, .arg = arg};
}

bool sg_timer_active(const struct sg_timer *t)
{
	return t->slot != 0;
}

void sg_timer_stop(struct sg_timer *t)
{
	struct sg_loop *loop = t->loop;
	size_t i;

	if (!t->slot)
		return;
	i = t->slot - 1;
	t->slot = 0;
	loop->n_timers--;
	if (i == loop->n_timers)
		return;
	place(loop, i, loop->heap[loop->n_timers]);
	sift_up(loop, i);
	sift_down(loop, loop->heap[i]->slot - 1);
}

int sg_timer_start(struct sg_timer *t, int64_t ms)
{
	struct sg_loop *loop = t->loop;

	sg_timer_stop(t);
	if (loop->n_timers == loop->heap_cap) {
		size_t cap = loop->heap_cap ? 2 * loop->heap_cap : 16;
		struct sg_timer **heap = sg_realloc(loop->heap, cap * sizeof(struct sg_timer *));

		if (!heap)
			return -ENOMEM;
		loop->heap = heap;
		loop->heap_cap = cap;
	}
	t->due = sg_mono_add_ms(sg_loop_now(loop), ms);
	place(loop, loop->n_timers, t);
	loop->n_timers++;
	sift_up(loop, loop->n_timers - 1);
	return 0;
}

void loop_timers_run(struct sg_loop *loop)
{
	/* A timer that starts itself again with 0 ms runs in the next round, not for ever in this
	 * one. */
	struct sg_mono now = sg_loop_now(loop);
	size_t budget = loop->n_timers;

	while (budget-- > 0 && loop->n_timers > 0 && !sg_mono_before(now, loop->heap[0]->due)) {
		struct sg_timer *t = loop->heap[0];

		sg_timer_stop(t);
		t->fn(t->arg);
	}
}

static void on_wake(uv_timer_t *t)
{
	struct sg_loop *loop = t->data;

	loop->now_known = false;
	loop_turn_begin(loop);
	loop_timers_run(loop);
}

void loop_timers_arm(struct sg_loop *loop)
{
	int64_t ns;

	if (loop->n_timers == 0) {
		uv_timer_stop(&loop->wake);
		return;
	}
	ns = loop->heap[0]->due.ns - sg_loop_now(loop).ns;
	/* Rounded up: waking a little late is right, waking early would spin. */
	uv_timer_start(&loop->wake, on_wake, ns <= 0 ? 0 : (uint64_t)((ns + SG_NS_PER_MS - 1) / SG_NS_PER_MS), 0);
}
