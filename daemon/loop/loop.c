/*
 * The loop itself: watches, deferred calls, signals, workers and name resolution over libuv.
 *
 * One round: timers that are due → events on descriptors → messages → deferred calls → some of control → sleep.
 * Deferred calls run in libuv's prepare phase, right before it sleeps, so that everything the round
 * queued is flushed once.
 */
#include "loop/internal.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/log.h"

#include <netdb.h>

#define RESOLVE_MAX 8

struct sg_watch {
	uv_poll_t poll;
	struct sg_list node;
	int fd;
	sg_watch_fn *fn;
	void *arg;
	unsigned wanted; /* what sg_watch_set was told */
	bool is_control;
	struct loop_control control; /* while it waits */
	unsigned seen;               /* what it waits with */
};

struct work {
	uv_work_t req;
	void (*run)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void run_defers(struct sg_loop *loop)
{
	while (!sg_list_empty(&loop->defers)) {
		struct sg_defer *d = sg_container_of(loop->defers.next, struct sg_defer, node);

		sg_list_remove(&d->node);
		d->fn(d->arg);
	}
}

/* Data has left before control begins, and what control queued leaves with it. */
static void end_round(struct sg_loop *loop)
{
	loop_turn_begin(loop);
	loop_timers_run(loop);
	run_defers(loop);
	loop_control_run(loop);
	run_defers(loop);
}

static void on_prepare(uv_prepare_t *p)
{
	struct sg_loop *loop = p->data;

	end_round(loop);
	loop_timers_arm(loop);
	loop_turn_end(loop);
	loop->now_known = false; /* the events that end the sleep come before on_check */
}

/* The events may have taken their time. */
static void on_check(uv_check_t *c)
{
	struct sg_loop *loop = c->data;

	loop->now_known = false;
}

static void use_our_heap(void)
{
	uv_replace_allocator(sg_malloc, sg_realloc, sg_calloc, sg_free);
}

struct sg_loop *sg_loop_new(struct sg_clock *clock)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct sg_loop *loop = sg_calloc(1, sizeof(*loop));

	if (!loop)
		return NULL;
	pthread_once(&once, use_our_heap);
	if (uv_loop_init(&loop->uv) < 0) {
		sg_free(loop);
		return NULL;
	}
	loop->clock = clock;
	loop->uv.data = loop;
	sg_list_init(&loop->defers);
	sg_list_init(&loop->watches);
	sg_list_init(&loop->control);
	uv_timer_init(&loop->uv, &loop->wake);
	loop->wake.data = loop;
	uv_prepare_init(&loop->uv, &loop->prepare);
	loop->prepare.data = loop;
	uv_prepare_start(&loop->prepare, on_prepare);
	uv_unref((uv_handle_t *)&loop->prepare);
	uv_idle_init(&loop->uv, &loop->again);
	loop->again.data = loop;
	uv_check_init(&loop->uv, &loop->check);
	loop->check.data = loop;
	uv_check_start(&loop->check, on_check);
	uv_unref((uv_handle_t *)&loop->check);
	if (loop_post_init(loop) < 0) {
		sg_loop_free(loop);
		return NULL;
	}
	return loop;
}

static void free_handle(uv_handle_t *h)
{
	sg_free(h->data);
}

static void close_ours(uv_handle_t *h, void *arg)
{
	struct sg_loop *loop = arg;

	if (uv_is_closing(h))
		return;
	/* Signal handles are the only ones on the heap here; watches were freed before. */
	uv_close(h, h->type == UV_SIGNAL && h->data != loop ? free_handle : NULL);
}

void sg_loop_free(struct sg_loop *loop)
{
	if (!loop)
		return;
	sg_list_for_safe (it, &loop->watches)
		sg_watch_free(sg_container_of(it, struct sg_watch, node));
	uv_walk(&loop->uv, close_ours, loop);
	while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
		;
	loop_post_fini(loop);
	uv_loop_close(&loop->uv);
	sg_free(loop->heap);
	sg_free(loop);
}

void sg_loop_run(struct sg_loop *loop)
{
	/* The message handle keeps libuv running until sg_loop_stop. */
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

static void on_step_end(uv_timer_t *t)
{
	(void)t;
}

void sg_loop_step(struct sg_loop *loop, int wait_ms)
{
	loop->now_known = false;
	uv_update_time(&loop->uv);
	if (wait_ms > 0) {
		uv_timer_t limit;

		uv_timer_init(&loop->uv, &limit);
		limit.data = loop;
		/* Repeating: a busy machine may have let it expire before the wait begins, which then had no end. */
		uv_timer_start(&limit, on_step_end, (uint64_t)wait_ms, (uint64_t)wait_ms);
		uv_run(&loop->uv, UV_RUN_ONCE);
		uv_close((uv_handle_t *)&limit, NULL);
	}
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	loop->now_known = false;
	end_round(loop);
	loop_turn_end(loop);
}

void sg_loop_stop(struct sg_loop *loop)
{
	uv_stop(&loop->uv);
}

void sg_loop_count(const struct sg_loop *loop, size_t *timers, size_t *watches)
{
	*timers = loop->n_timers;
	*watches = 0;
	sg_list_for (it, &loop->watches)
		++*watches;
}

struct sg_mono sg_loop_now(struct sg_loop *loop)
{
	if (!loop->now_known) {
		loop->now = loop->clock->now(loop->clock);
		loop->now_known = true;
	}
	return loop->now;
}

/* ---- watches
 * ---------------------------------------------------------------------------------------------------
 */

static void on_poll(uv_poll_t *p, int status, int events)
{
	struct sg_watch *w = p->data;
	unsigned ev = 0;

	loop_turn_begin(p->loop->data);
	if (status < 0 || (events & UV_DISCONNECT)) {
		ev = SG_READABLE | SG_WRITABLE;
	} else {
		if (events & UV_READABLE)
			ev |= SG_READABLE;
		if (events & UV_WRITABLE)
			ev |= SG_WRITABLE;
	}
	if (w->is_control) {
		w->seen |= ev;
		loop_control_start(p->loop->data, &w->control);
	} else {
		w->fn(w->arg, w->fd, ev);
	}
}

static void run_control(struct loop_control *c)
{
	struct sg_watch *w = sg_container_of(c, struct sg_watch, control);
	/* A turn or two have passed: its owner may wait for less now. */
	unsigned ev = w->seen & w->wanted;

	w->seen = 0;
	if (ev)
		w->fn(w->arg, w->fd, ev);
}

int sg_watch_new(struct sg_loop *loop, int fd, sg_watch_fn *fn, void *arg, struct sg_watch **out)
{
	struct sg_watch *w = sg_calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	err = uv_poll_init(&loop->uv, &w->poll, fd);
	if (err < 0) {
		sg_free(w);
		return err;
	}
	w->poll.data = w;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	loop_control_init(&w->control, run_control);
	sg_list_add_tail(&loop->watches, &w->node);
	*out = w;
	return 0;
}

void sg_watch_set(struct sg_watch *w, unsigned events)
{
	int ev = 0;

	w->wanted = events;
	if (events & SG_READABLE)
		ev |= UV_READABLE;
	if (events & SG_WRITABLE)
		ev |= UV_WRITABLE;
	if (ev)
		uv_poll_start(&w->poll, ev, on_poll);
	else
		uv_poll_stop(&w->poll);
}

void sg_watch_control(struct sg_watch *w)
{
	w->is_control = true;
}

void sg_watch_free(struct sg_watch *w)
{
	if (!w)
		return;
	sg_list_remove(&w->node);
	loop_control_stop(&w->control);
	/* Stops at once; the memory goes when libuv has let go of it. */
	uv_close((uv_handle_t *)&w->poll, free_handle);
}

/* ---- deferred calls
 * -------------------------------------------------------------------------------------------- */

void sg_defer_init(struct sg_defer *d, void (*fn)(void *arg), void *arg)
{
	sg_list_init(&d->node);
	d->fn = fn;
	d->arg = arg;
}

void sg_defer_start(struct sg_loop *loop, struct sg_defer *d)
{
	if (sg_list_empty(&d->node))
		sg_list_add_tail(&loop->defers, &d->node);
}

void sg_defer_stop(struct sg_defer *d)
{
	sg_list_remove(&d->node);
}

/* ---- signals
 * -----------------------------------------------------------------------------------------------------
 */

struct signal_watch {
	uv_signal_t handle; /* first: freed through its data pointer */
	void (*fn)(void *arg, int signum);
	void *arg;
};

static void on_signal(uv_signal_t *h, int signum)
{
	struct signal_watch *s = h->data;

	loop_turn_begin(h->loop->data);
	s->fn(s->arg, signum);
}

int sg_signal_watch(struct sg_loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg)
{
	struct signal_watch *s = sg_calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	err = uv_signal_init(&loop->uv, &s->handle);
	if (err < 0) {
		sg_free(s);
		return err;
	}
	s->handle.data = s;
	s->fn = fn;
	s->arg = arg;
	uv_unref((uv_handle_t *)&s->handle);
	err = uv_signal_start(&s->handle, on_signal, signum);
	if (err < 0)
		uv_close((uv_handle_t *)&s->handle, free_handle);
	return err;
}

/* ---- workers
 * -----------------------------------------------------------------------------------------------------
 */

static void work_run(uv_work_t *req)
{
	struct work *w = req->data;

	w->run(w->arg);
}

static void work_done(uv_work_t *req, int status)
{
	struct work *w = req->data;

	(void)status; /* nobody cancels it */
	loop_turn_begin(req->loop->data);
	w->done(w->arg);
	sg_free(w);
}

int sg_work_start(struct sg_loop *loop, void (*run)(void *arg), void (*done)(void *arg), void *arg)
{
	struct work *w = sg_calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->req.data = w;
	w->run = run;
	w->done = done;
	w->arg = arg;
	err = uv_queue_work(&loop->uv, &w->req, work_run, work_done);
	if (err < 0) {
		sg_free(w);
		return err;
	}
	return 0;
}

/* ---- names
 * ---------------------------------------------------------------------------------------------------------
 */

struct resolve {
	uv_getaddrinfo_t req;
	sg_resolve_fn *done;
	void *arg;
	uint16_t port;
};

/* The resolver's own words say nothing of names. */
static const char *no_address(int status)
{
	switch (status) {
	case UV_EAI_AGAIN:
		return "its name cannot be looked up now: no DNS server answers";
	case UV_EAI_NONAME:
	case UV_EAI_NODATA:
		return "no address is known for that name";
	default:
		return uv_strerror(status);
	}
}

static void resolve_done(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct resolve *r = req->data;
	struct sg_addr addrs[RESOLVE_MAX];
	size_t n = 0;

	loop_turn_begin(req->loop->data);
	for (struct addrinfo *ai = res; status == 0 && ai && n < RESOLVE_MAX; ai = ai->ai_next) {
		if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
			continue;
		memset(&addrs[n], 0, sizeof(addrs[n]));
		memcpy(&addrs[n].ss, ai->ai_addr, ai->ai_addrlen);
		addrs[n].len = ai->ai_addrlen;
		sg_addr_set_port(&addrs[n], r->port);
		n++;
	}
	uv_freeaddrinfo(res);
	if (status == 0 && n == 0)
		status = UV_EAI_NODATA;
	r->done(r->arg, addrs, n, status < 0 ? no_address(status) : "");
	sg_free(r);
}

int sg_resolve(struct sg_loop *loop, const char *host, uint16_t port, sg_resolve_fn *done, void *arg)
{
	static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct resolve *r = sg_calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->req.data = r;
	r->done = done;
	r->arg = arg;
	r->port = port;
	err = uv_getaddrinfo(&loop->uv, &r->req, resolve_done, host, NULL, &hints);
	if (err < 0)
		sg_free(r);
	return err;
}
