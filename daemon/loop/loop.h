/*
 * The event loop: our face of libuv. Watches on descriptors, timers on an injected clock, work on other threads,
 * messages between loops. Every object belongs to one loop and is touched from its thread only; the calls that any
 * thread may make say [any]. The data path does its own readv and writev on watched descriptors.
 */
#ifndef SG_LOOP_LOOP_H
#define SG_LOOP_LOOP_H

#include "base/clock.h"
#include "base/list.h"
#include "base/text.h"

struct sg_loop;
struct sg_watch;

enum sg_event { SG_READABLE = 1, SG_WRITABLE = 2 };

/* A timer lives in its owner's storage. All zero bytes plus sg_timer_init is a stopped timer. */
struct sg_timer {
	struct sg_loop *loop; /* borrowed */
	void (*fn)(void *arg);
	void *arg;
	struct sg_mono due;
	size_t slot; /* place in the loop's heap plus one; 0 when stopped */
};

/*
 * How long the turns of a loop took, from the first event after a sleep to the next sleep: so long everything else on the loop
 * waits. X(member of struct sg_loop_counters, name, help). The limits are in loop/turn.c.
 */
#define SG_LOOP_COUNTERS(X)                                                                                            \
	X(turn[0], "loop.turn.100us", "turns of the loop that took less than 0.1 ms")                                  \
	X(turn[1], "loop.turn.200us", "turns of 0.1 ms or more, less than 0.2 ms")                                     \
	X(turn[2], "loop.turn.500us", "turns of 0.2 ms or more, less than 0.5 ms")                                     \
	X(turn[3], "loop.turn.1ms", "turns of 0.5 ms or more, less than 1 ms")                                         \
	X(turn[4], "loop.turn.2ms", "turns of 1 ms or more, less than 2 ms")                                           \
	X(turn[5], "loop.turn.5ms", "turns of 2 ms or more, less than 5 ms")                                           \
	X(turn[6], "loop.turn.10ms", "turns of 5 ms or more, less than 10 ms")                                         \
	X(turn[7], "loop.turn.20ms", "turns of 10 ms or more, less than 20 ms")                                        \
	X(turn[8], "loop.turn.50ms", "turns of 20 ms or more, less than 50 ms")                                        \
	X(turn[9], "loop.turn.100ms", "turns of 50 ms or more, less than 100 ms")                                      \
	X(turn[10], "loop.turn.more", "turns of 100 ms or more")                                                       \
	X(longest_us, "loop.turn.longest", "the longest turn since the start, in microseconds")

#define SG_LOOP_TURNS 11

struct sg_loop_counters {
	uint64_t turn[SG_LOOP_TURNS];
	uint64_t longest_us;
};

/* Runs once, before the loop sleeps again: to flush once what many callbacks queued. In its owner's storage. */
struct sg_defer {
	struct sg_list node;
	void (*fn)(void *arg);
	void *arg;
};

SG_BEGIN_DECLS

/** sg_loop_new - @clock is kept. NULL when memory or descriptors are out. Free with sg_loop_free. */
struct sg_loop *sg_loop_new(struct sg_clock *clock);
/** sg_loop_free - closes what is left on it. Accepts NULL. */
void sg_loop_free(struct sg_loop *loop);
/** sg_loop_run - until sg_loop_stop. */
void sg_loop_run(struct sg_loop *loop);
/** sg_loop_step - runs what is due, waiting for events at most until @wait_ms; 0 polls. */
void sg_loop_step(struct sg_loop *loop, int wait_ms);
void sg_loop_stop(struct sg_loop *loop);
/** sg_loop_count - running timers and watches: what somebody forgot, when all should be gone. */
void sg_loop_count(const struct sg_loop *loop, size_t *timers, size_t *watches);
/** sg_loop_counters - borrowed, lives as long as the loop. */
const struct sg_loop_counters *sg_loop_counters(const struct sg_loop *loop);
/** sg_loop_now - the clock's time, read at most once per round of events. */
struct sg_mono sg_loop_now(struct sg_loop *loop);

/* Watches. @fd is borrowed and must stay open until sg_watch_free. 0 or a negative errno. */
typedef void sg_watch_fn(void *arg, int fd, unsigned events);
int sg_watch_new(struct sg_loop *loop, int fd, sg_watch_fn *fn, void *arg, struct sg_watch **out);
/** sg_watch_set - a set of enum sg_event; 0 pauses. An error on the descriptor arrives as both, of control as what is waited for. */
void sg_watch_set(struct sg_watch *w, unsigned events);
/** sg_watch_control - what @w brings is no data: it waits until the round's other events were served, or some rounds longer. */
void sg_watch_control(struct sg_watch *w);
/** sg_watch_free - no call-back follows; the descriptor may be closed right after. Accepts NULL. */
void sg_watch_free(struct sg_watch *w);

void sg_timer_init(struct sg_timer *t, struct sg_loop *loop, void (*fn)(void *arg), void *arg);
/** sg_timer_start - once, @ms from now; restarts a running one. Returns 0 or -ENOMEM (then it is stopped). */
int sg_timer_start(struct sg_timer *t, int64_t ms);
void sg_timer_stop(struct sg_timer *t);
bool sg_timer_active(const struct sg_timer *t);

void sg_defer_init(struct sg_defer *d, void (*fn)(void *arg), void *arg);
/** sg_defer_start - queues @d unless it is queued. */
void sg_defer_start(struct sg_loop *loop, struct sg_defer *d);
void sg_defer_stop(struct sg_defer *d);

/** sg_signal_watch - @fn on each delivery of @signum. 0 or a negative errno. Ends with the loop. */
int sg_signal_watch(struct sg_loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg);

/**
 * sg_work_start - @run on a worker thread, then @done on the loop, always. Returns 0 or a negative errno; on an error neither
 * is called.
 */
int sg_work_start(struct sg_loop *loop, void (*run)(void *arg), void (*done)(void *arg), void *arg);

/**
 * sg_resolve - addresses of a host name, on a worker; @done once, on the loop: up to 8 addresses with the port
 * given, or n = 0 and a text why. Returns 0 or a negative errno.
 */
typedef void sg_resolve_fn(void *arg, const struct sg_addr *addrs, size_t n, const char *why);
int sg_resolve(struct sg_loop *loop, const char *host, uint16_t port, sg_resolve_fn *done, void *arg);

/**
 * sg_connect - TCP to @host, a name or an address without brackets: each of its addresses in turn. @done once, never inside
 * the call, with a connected, non-blocking descriptor that is the callee's, or a negative code and a sentence. There is no
 * limit of time but the kernel's. 0 and *out for sg_connect_cancel, or a negative code, such as what the kernel says at once of
 * an address: then nothing follows.
 */
struct sg_connect;
typedef void sg_connect_fn(void *arg, int fd_or_error, const char *why);
int sg_connect(
	struct sg_loop *loop, const char *host, uint16_t port, sg_connect_fn *done, void *arg, struct sg_connect **out);
/** sg_connect_cancel - @done does not follow. Accepts NULL; not after @done. */
void sg_connect_cancel(struct sg_connect *c);

/** sg_post - @fn on @loop's own thread, in order. 0 or -ENOMEM. [any] */
int sg_post(struct sg_loop *loop, void (*fn)(void *arg), void *arg);

SG_END_DECLS
#endif
