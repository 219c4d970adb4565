/* The thread, the two lists that it shares with the loop, and one wake-up for each direction. */
#include "loop/worker.h"
#include "base/alloc.h"
#include "base/err.h"
#include "loop/internal.h"

#include <sched.h>
#include <sys/resource.h>

/*
 * A quarter of a processor when the loop wants all of it: enough that a handshake ends within its time, and the loop does
 * not notice.
 */
#define NICE 5
/* Libraries count on what the main thread has, and musl's other threads have 128 KiB. */
#define STACK ((size_t)1024 * 1024)

struct sg_worker {
	uv_async_t async;
	struct sg_loop *loop;        /* borrowed */
	struct loop_control results; /* waits while there may be tasks that ran */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct sg_list waiting, ran; /* tasks, by lock; so are their states */
	bool stopping;               /* by lock */
};

static struct sg_task *first_of(struct sg_list *list)
{
	return sg_list_empty(list) ? NULL : sg_container_of(list->next, struct sg_task, node);
}

/* The next one, now running; NULL: the worker stops. */
static struct sg_task *next_task(struct sg_worker *w)
{
	struct sg_task *t;

	pthread_mutex_lock(&w->lock);
	while (!(t = first_of(&w->waiting)) && !w->stopping)
		pthread_cond_wait(&w->wake, &w->lock);
	if (w->stopping)
		t = NULL;
	if (t) {
		sg_list_remove(&t->node);
		t->state = SG_TASK_RUNNING;
	}
	pthread_mutex_unlock(&w->lock);
	return t;
}

static void *work(void *arg)
{
	struct sg_worker *w = arg;
	struct sg_task *t;

	/* Of this thread alone, on Linux. Where it cannot be had, the work is done all the same. */
	(void)setpriority(PRIO_PROCESS, 0, NICE);
	while ((t = next_task(w))) {
		t->run(t->arg);
		pthread_mutex_lock(&w->lock);
		t->state = SG_TASK_RAN;
		sg_list_add_tail(&w->ran, &t->node);
		pthread_mutex_unlock(&w->lock);
		uv_async_send(&w->async);
		/* The loop was woken on this processor, as a rule, and would wait for the rest of our slice, 3 or 4 ms. */
		(void)sched_yield();
	}
	return NULL;
}

/* done() may start, cancel and free tasks: one at a time. False: there was none. */
static bool hand_back(struct sg_worker *w)
{
	struct sg_task *t;

	pthread_mutex_lock(&w->lock);
	t = first_of(&w->ran);
	if (t) {
		sg_list_remove(&t->node);
		t->state = SG_TASK_IDLE;
	}
	pthread_mutex_unlock(&w->lock);
	if (t)
		t->done(t->arg);
	return t != NULL;
}

/* One, and behind what else waits for its turn, the next. */
static void on_result(struct loop_control *c)
{
	struct sg_worker *w = sg_container_of(c, struct sg_worker, results);

	if (hand_back(w))
		loop_control_start(w->loop, &w->results);
}

static void on_ran(uv_async_t *a)
{
	struct sg_worker *w = a->data;

	loop_turn_begin(w->loop);
	loop_control_start(w->loop, &w->results);
}

static void free_worker(uv_handle_t *h)
{
	sg_free(h->data);
}

static int start_thread(struct sg_worker *w)
{
	pthread_attr_t attr;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	err = pthread_attr_setstacksize(&attr, STACK);
	if (err == 0)
		err = pthread_create(&w->thread, &attr, work, w);
	pthread_attr_destroy(&attr);
	return -err;
}

struct sg_worker *sg_worker_new(struct sg_loop *loop)
{
	struct sg_worker *w = sg_calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->loop = loop;
	loop_control_init(&w->results, on_result);
	sg_list_init(&w->waiting);
	sg_list_init(&w->ran);
	if (uv_async_init(&loop->uv, &w->async, on_ran) < 0) {
		sg_free(w);
		return NULL;
	}
	w->async.data = w;
	uv_unref((uv_handle_t *)&w->async);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	if (start_thread(w) == 0)
		return w;
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	uv_close((uv_handle_t *)&w->async, free_worker);
	return NULL;
}

void sg_worker_free(struct sg_worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	while (hand_back(w))
		;
	loop_control_stop(&w->results);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	uv_close((uv_handle_t *)&w->async, free_worker);
}

void sg_task_init(struct sg_task *t, void (*run)(void *arg), void (*done)(void *arg), void *arg)
{
	*t = (struct sg_task){.run = run, .done = done, .arg = arg};
	sg_list_init(&t->node);
}

void sg_task_start(struct sg_worker *w, struct sg_task *t, bool first)
{
	if (!w) {
		t->run(t->arg);
		t->done(t->arg);
		return;
	}
	pthread_mutex_lock(&w->lock);
	t->state = SG_TASK_WAITING;
	sg_list_add_tail(first ? w->waiting.next : &w->waiting, &t->node);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

bool sg_task_cancel(struct sg_worker *w, struct sg_task *t)
{
	bool idle;

	if (!w)
		return true;
	pthread_mutex_lock(&w->lock);
	idle = t->state != SG_TASK_RUNNING;
	if (idle) {
		sg_list_remove(&t->node);
		t->state = SG_TASK_IDLE;
	}
	pthread_mutex_unlock(&w->lock);
	return idle;
}
