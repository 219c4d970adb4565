/* What the files of the loop share; nobody else includes it. */
#ifndef SG_LOOP_INTERNAL_H
#define SG_LOOP_INTERNAL_H

#include "loop/loop.h"

#include <pthread.h>
#include <uv.h>

struct sg_loop {
	uv_loop_t uv;
	struct sg_clock *clock; /* borrowed */
	struct sg_mono now;
	bool now_known; /* in this round */

	struct sg_mono turn_at; /* when this turn began */
	bool in_turn;
	struct sg_loop_counters count;

	/* Timers: a binary heap by due time; one libuv timer wakes us for the first. */
	struct sg_timer **heap;
	size_t n_timers, heap_cap;
	uv_timer_t wake;

	struct sg_list defers;
	struct sg_list watches; /* for sg_loop_free */
	struct sg_list control; /* struct loop_control that wait for their turn */
	uv_idle_t again;        /* running while some wait: no sleep */
	uv_prepare_t prepare;
	uv_check_t check;

	/* Messages from other threads. */
	pthread_mutex_t post_lock;
	struct sg_list posts;
	uv_async_t post_async;
};

/* What may wait for the data path: in its owner's storage, with a list node of its own while it does. */
struct loop_control {
	struct sg_list node;
	void (*fn)(struct loop_control *c);
};

/* control.c: queues @c unless it is queued; runs some of what waits, the first always. */
void loop_control_init(struct loop_control *c, void (*fn)(struct loop_control *c));
void loop_control_start(struct sg_loop *loop, struct loop_control *c);
void loop_control_stop(struct loop_control *c);
void loop_control_run(struct sg_loop *loop);

/* turn.c: the first event after a sleep; about to sleep. */
void loop_turn_begin(struct sg_loop *loop);
void loop_turn_end(struct sg_loop *loop);

/* timer.c: runs what is due; arms the libuv timer for what is next. */
void loop_timers_run(struct sg_loop *loop);
void loop_timers_arm(struct sg_loop *loop);

/* post.c */
int loop_post_init(struct sg_loop *loop);
void loop_post_fini(struct sg_loop *loop);

#endif
