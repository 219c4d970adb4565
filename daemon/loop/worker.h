/*
 * Computation beside the loop: one thread of low priority that runs task after task and hands each back to the loop. For what
 * only takes processor time, such as strangers' handshakes: the data path must not wait for it, not even where there is one
 * processor. What waits for disks or names goes to sg_work_start and sg_resolve.
 *
 *	idle → waiting → running → ran → done() on the loop, idle
 *
 * A task belongs to its owner on the loop, except while it runs: then only run() touches what it works on.
 */
#ifndef SG_LOOP_WORKER_H
#define SG_LOOP_WORKER_H

#include "loop/loop.h"

struct sg_worker;

/* In its owner's storage. */
struct sg_task {
	struct sg_list node;
	enum { SG_TASK_IDLE, SG_TASK_WAITING, SG_TASK_RUNNING, SG_TASK_RAN } state;
	void (*run)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

SG_BEGIN_DECLS

/** sg_worker_new - NULL when memory, descriptors or threads are out. Free with sg_worker_free, before the loop. */
struct sg_worker *sg_worker_new(struct sg_loop *loop);
/** sg_worker_free - waits for the task that runs and calls done() of what ran; what waits is dropped. Accepts NULL. */
void sg_worker_free(struct sg_worker *w);

void sg_task_init(struct sg_task *t, void (*run)(void *arg), void (*done)(void *arg), void *arg);
/**
 * sg_task_start - @t, which is idle, behind the others, or before them with @first. Without a worker (NULL) everything
 * happens on the loop: run() and done() within this call.
 */
void sg_task_start(struct sg_worker *w, struct sg_task *t, bool first);
/** sg_task_cancel - true: @t is idle, nothing follows. False: it is running, and done() follows. */
bool sg_task_cancel(struct sg_worker *w, struct sg_task *t);

SG_END_DECLS
#endif
