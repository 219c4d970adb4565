/* The loop: timers on an injected clock, watches, deferred calls, messages from another thread,
 * workers, names. */
#include "base/alloc.h"
#include "base/err.h"
#include "loop/loop.h"

#include <pthread.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct hand_clock {
	struct sg_clock clock;
	_Atomic int64_t ms; /* set by another thread in one of the tests */
};

static struct sg_mono hand_now(struct sg_clock *c)
{
	return (struct sg_mono){((struct hand_clock *)c)->ms * SG_NS_PER_MS};
}

static char trail[256];

static void note(void *arg)
{
	size_t len = strlen(trail);

	snprintf(trail + len, sizeof(trail) - len, "%s ", (const char *)arg);
}

static void timers_fire_in_order_of_the_given_clock(void **state)
{
	struct hand_clock hc = {{hand_now}, 1000};
	struct sg_loop *loop = sg_loop_new(&hc.clock);
	struct sg_timer a, b, c;

	(void)state;
	trail[0] = '\0';
	sg_timer_init(&a, loop, note, (void *)(uintptr_t) "a");
	sg_timer_init(&b, loop, note, (void *)(uintptr_t) "b");
	sg_timer_init(&c, loop, note, (void *)(uintptr_t) "c");
	assert_int_equal(sg_timer_start(&a, 300), 0);
	assert_int_equal(sg_timer_start(&b, 100), 0);
	assert_int_equal(sg_timer_start(&c, 200), 0);
	sg_loop_step(loop, 0);
	assert_string_equal(trail, "");
	hc.ms += 99;
	sg_loop_step(loop, 0);
	assert_string_equal(trail, "");
	hc.ms += 1;
	sg_loop_step(loop, 0);
	assert_string_equal(trail, "b ");
	sg_timer_stop(&c);
	assert_false(sg_timer_active(&c));
	hc.ms += 1000;
	sg_loop_step(loop, 0);
	assert_string_equal(trail, "b a ");
	sg_loop_free(loop);
}

#define MANY 500

struct many {
	struct sg_timer t[MANY];
	int64_t due[MANY], last;
	size_t fired;
	struct hand_clock *hc;
};

struct many_arg {
	struct many *m;
	size_t i;
};

static void on_many(void *arg)
{
	struct many_arg *a = arg;

	assert_true(a->m->due[a->i] <= a->m->hc->ms);
	assert_true(a->m->due[a->i] > a->m->last);
	a->m->fired++;
}

static void many_timers_started_moved_and_stopped(void **state)
{
	struct hand_clock hc = {{hand_now}, 0};
	struct sg_loop *loop = sg_loop_new(&hc.clock);
	struct many *m = calloc(1, sizeof(*m));
	struct many_arg args[MANY];
	uint32_t seed = 7;
	size_t stopped = 0;

	(void)state;
	m->hc = &hc;
	for (size_t i = 0; i < MANY; i++) {
		args[i] = (struct many_arg){m, i};
		sg_timer_init(&m->t[i], loop, on_many, &args[i]);
		seed = seed * 1103515245 + 12345;
		m->due[i] = 1 + (seed >> 8) % 1000;
		sg_timer_start(&m->t[i], m->due[i] + 5000);
		sg_timer_start(&m->t[i], m->due[i]);
		if (i % 7 == 0) {
			sg_timer_stop(&m->t[i]);
			stopped++;
		}
	}
	m->last = 0;
	for (hc.ms = 1; hc.ms <= 1001; hc.ms += 10) {
		sg_loop_step(loop, 0);
		m->last = hc.ms;
	}
	assert_int_equal(m->fired, MANY - stopped);
	free(m);
	sg_loop_free(loop);
}

struct defer_probe {
	struct sg_loop *loop;
	struct sg_defer d;
	int runs;
};

static void on_defer(void *arg)
{
	((struct defer_probe *)arg)->runs++;
}

static void on_bytes(void *arg, int fd, unsigned events)
{
	struct defer_probe *p = arg;
	char buf[16];

	assert_true(events & SG_READABLE);
	assert_true(read(fd, buf, sizeof(buf)) > 0);
	sg_defer_start(p->loop, &p->d);
	sg_defer_start(p->loop, &p->d);
}

static void a_deferred_call_runs_once_after_the_events(void **state)
{
	struct sg_loop *loop = sg_loop_new(sg_clock_system());
	struct defer_probe p = {.loop = loop};
	struct sg_watch *w;
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	sg_defer_init(&p.d, on_defer, &p);
	assert_int_equal(sg_watch_new(loop, sv[0], on_bytes, &p, &w), 0);
	sg_watch_set(w, SG_READABLE);
	assert_int_equal(write(sv[1], "x", 1), 1);
	sg_loop_step(loop, 100);
	assert_int_equal(p.runs, 1);
	sg_watch_set(w, 0);
	assert_int_equal(write(sv[1], "x", 1), 1);
	sg_loop_step(loop, 0);
	assert_int_equal(p.runs, 1);
	sg_watch_free(w);
	sg_loop_free(loop);
	close(sv[0]);
	close(sv[1]);
}

struct post_probe {
	struct sg_loop *loop;
	int seen, next;
	bool in_order;
};

struct post_item {
	struct post_probe *p;
	int value;
};

static void on_post(void *arg)
{
	struct post_item *it = arg;

	it->p->in_order &= it->value == it->p->next;
	it->p->next++;
	if (++it->p->seen == 1000)
		sg_loop_stop(it->p->loop);
	free(it);
}

static void *poster(void *arg)
{
	struct post_probe *p = arg;

	for (int i = 0; i < 1000; i++) {
		struct post_item *it = malloc(sizeof(*it));

		*it = (struct post_item){p, i};
		sg_post(p->loop, on_post, it);
	}
	return NULL;
}

static void messages_of_another_thread_arrive_in_order(void **state)
{
	struct sg_loop *loop = sg_loop_new(sg_clock_system());
	struct post_probe p = {.loop = loop, .in_order = true};
	pthread_t th;

	(void)state;
	assert_int_equal(pthread_create(&th, NULL, poster, &p), 0);
	sg_loop_run(loop);
	pthread_join(th, NULL);
	assert_int_equal(p.seen, 1000);
	assert_true(p.in_order);
	sg_loop_free(loop);
}

struct work_probe {
	struct sg_loop *loop;
	int value;
	size_t n_addrs;
	char why[128];
	struct sg_addr first;
};

static void work(void *arg)
{
	((struct work_probe *)arg)->value = 42;
}

static void work_done(void *arg)
{
	struct work_probe *p = arg;

	sg_loop_stop(p->loop);
}

static void resolved(void *arg, const struct sg_addr *addrs, size_t n, const char *why)
{
	struct work_probe *p = arg;

	p->n_addrs = n;
	if (n)
		p->first = addrs[0];
	snprintf(p->why, sizeof(p->why), "%s", why);
	sg_loop_stop(p->loop);
}

static void workers_and_names(void **state)
{
	struct sg_loop *loop = sg_loop_new(sg_clock_system());
	struct work_probe p = {.loop = loop};
	char text[SG_ADDR_TEXT];

	(void)state;
	assert_int_equal(sg_work_start(loop, work, work_done, &p), 0);
	sg_loop_run(loop);
	assert_int_equal(p.value, 42);
	assert_int_equal(sg_resolve(loop, "127.0.0.1", 77, resolved, &p), 0);
	sg_loop_run(loop);
	assert_true(p.n_addrs >= 1);
	assert_string_equal(sg_addr_str(&p.first, text), "127.0.0.1:77");
	sg_loop_free(loop);
}

struct sleeper {
	struct hand_clock clock;
	struct sg_loop *loop;
	int fd;
	int64_t seen_ms;
};

/* While the loop sleeps: five seconds pass, then a byte arrives. */
static void *ring_later(void *arg)
{
	struct sleeper *s = arg;

	usleep(50000);
	s->clock.ms += 5000;
	return (void *)(uintptr_t)(write(s->fd, "x", 1) == 1);
}

static void on_ring(void *arg, int fd, unsigned events)
{
	struct sleeper *s = arg;
	char byte;

	(void)events;
	assert_int_equal(read(fd, &byte, 1), 1);
	s->seen_ms = sg_loop_now(s->loop).ns / SG_NS_PER_MS;
	sg_loop_stop(s->loop);
}

static void an_event_after_a_long_sleep_knows_what_time_it_is(void **state)
{
	struct sleeper s = {.clock = {{hand_now}, 1000}};
	struct sg_watch *w;
	pthread_t thread;
	void *rang;
	int sv[2];

	(void)state;
	s.loop = sg_loop_new(&s.clock.clock);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	s.fd = sv[1];
	assert_int_equal(sg_watch_new(s.loop, sv[0], on_ring, &s, &w), 0);
	sg_watch_set(w, SG_READABLE);
	assert_int_equal(pthread_create(&thread, NULL, ring_later, &s), 0);
	sg_loop_run(s.loop);
	assert_int_equal(pthread_join(thread, &rang), 0);
	assert_non_null(rang);
	assert_int_equal(s.seen_ms, 6000);
	sg_watch_free(w);
	sg_loop_free(s.loop);
	close(sv[0]);
	close(sv[1]);
}

static void nothing_is_left_behind(void **state)
{
	size_t before = sg_alloc_live();
	struct sg_loop *loop = sg_loop_new(sg_clock_system());
	struct sg_watch *w;
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(sg_watch_new(loop, sv[0], on_bytes, NULL, &w), 0);
	sg_watch_set(w, SG_READABLE);
	sg_loop_free(loop);
	assert_int_equal(sg_alloc_live(), before);
	close(sv[0]);
	close(sv[1]);
}

struct connected {
	unsigned calls;
	int fd;
	char why[100];
};

static void on_connected(void *arg, int fd_or_error, const char *why)
{
	struct connected *c = arg;

	c->calls++;
	c->fd = fd_or_error;
	snprintf(c->why, sizeof(c->why), "%s", why);
}

/* By name and by number; refused; given up, before and after the look-up came back. */
/* What the kernel says of a refused connection: under qemu-user it is the host's number, and MIPS has another. */
static int refusal(struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(err);

	if (connect(fd, (struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS) {
		err = errno;
	} else {
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	}
	close(fd);
	return err;
}

static void connects(void **state)
{
	struct sg_loop *loop = sg_loop_new(sg_clock_system());
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	static const char *const hosts[] = {"127.0.0.1", "localhost"};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(sin);
	struct sg_connect *c;
	uint16_t port;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	port = ntohs(sin.sin_port);
	for (size_t i = 0; i < 2; i++) {
		struct connected got = {0}, never = {0};

		assert_int_equal(sg_connect(loop, hosts[i], port, on_connected, &got, &c), 0);
		assert_int_equal(got.calls, 0);
		for (int k = 0; k < 1000 && !got.calls; k++)
			sg_loop_step(loop, 10);
		assert_int_equal(got.calls, 1);
		assert_true(got.fd >= 0);
		assert_int_equal(send(got.fd, "x", 1, MSG_NOSIGNAL), 1);
		close(got.fd);
		assert_int_equal(sg_connect(loop, hosts[i], port, on_connected, &never, &c), 0);
		sg_connect_cancel(c);
		for (int k = 0; k < 5; k++)
			sg_loop_step(loop, 10);
		assert_int_equal(never.calls, 0);
	}
	close(listener);
	for (size_t i = 0; i < 2; i++) {
		struct connected got = {0};
		int err = sg_connect(loop, hosts[i], port, on_connected, &got, &c);

		for (int k = 0; k < 1000 && err == 0 && !got.calls; k++)
			sg_loop_step(loop, 10);
		assert_int_equal(err < 0 ? err : got.fd, -refusal(&sin));
	}
	sg_loop_free(loop);
}

static void take_7_ms(void *arg)
{
	((struct hand_clock *)arg)->ms += 7;
}

static void a_long_turn_is_counted(void **state)
{
	struct hand_clock hc = {{hand_now}, 1000};
	struct sg_loop *loop = sg_loop_new(&hc.clock);
	const struct sg_loop_counters *c = sg_loop_counters(loop);
	struct sg_timer t;
	struct sg_defer d;

	(void)state;
	sg_loop_step(loop, 0);
	assert_true(c->turn[0] > 0);
	assert_int_equal(c->longest_us, 0);
	sg_timer_init(&t, loop, take_7_ms, &hc);
	assert_int_equal(sg_timer_start(&t, 0), 0);
	sg_loop_step(loop, 0);
	assert_int_equal(c->turn[6], 1);
	assert_int_equal(c->longest_us, 7000);
	/* What is put off to the end of the turn belongs to it. */
	sg_timer_start(&t, 0);
	sg_defer_init(&d, take_7_ms, &hc);
	sg_defer_start(loop, &d);
	sg_loop_step(loop, 0);
	assert_int_equal(c->turn[7], 1);
	assert_int_equal(c->longest_us, 14000);
	sg_loop_free(loop);
}

/* Rounds of a loop with one descriptor of data that always has some, and askers of control. */
struct rounds {
	struct hand_clock clock;
	struct sg_loop *loop;
	struct sg_defer sent;
	int64_t takes_ms, data_ms; /* each of control's calls, the data of a round */
	unsigned left;
};

struct asker {
	struct rounds *r;
	struct sg_watch *w;
	int sv[2];
	const char *name;
	struct asker *calls_off;
};

static void on_data(void *arg, int fd, unsigned events)
{
	struct rounds *r = arg;

	(void)fd;
	assert_int_equal(events, SG_READABLE);
	note((void *)(uintptr_t) "data");
	r->clock.ms += r->data_ms;
	sg_defer_start(r->loop, &r->sent);
}

static void on_sent(void *arg)
{
	(void)arg;
	note((void *)(uintptr_t) "sent");
}

static void on_asker(void *arg, int fd, unsigned events)
{
	struct asker *a = arg;
	char byte;

	assert_int_equal(events, SG_READABLE);
	assert_int_equal(read(fd, &byte, 1), 1);
	note((void *)(uintptr_t)a->name);
	a->r->clock.ms += a->r->takes_ms;
	if (a->calls_off) {
		sg_watch_set(a->calls_off->w, 0);
		a->r->left--;
	}
	if (--a->r->left == 0)
		sg_loop_stop(a->r->loop);
}

static void run_rounds(int64_t takes_ms, int64_t data_ms, bool calls_off)
{
	struct rounds r = {.clock = {{hand_now}, 1000}, .takes_ms = takes_ms, .data_ms = data_ms, .left = 3};
	struct asker a[3] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
	struct sg_watch *w;
	int sv[2];

	trail[0] = '\0';
	r.loop = sg_loop_new(&r.clock.clock);
	sg_defer_init(&r.sent, on_sent, &r);
	for (size_t i = 0; i < 3; i++) {
		a[i].r = &r;
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a[i].sv), 0);
		assert_int_equal(write(a[i].sv[1], "x", 1), 1);
		assert_int_equal(sg_watch_new(r.loop, a[i].sv[0], on_asker, &a[i], &a[i].w), 0);
		sg_watch_control(a[i].w);
		sg_watch_set(a[i].w, SG_READABLE);
	}
	a[0].calls_off = calls_off ? &a[1] : NULL;
	/* The last that the kernel names, and the first that is served. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(write(sv[1], "x", 1), 1);
	assert_int_equal(sg_watch_new(r.loop, sv[0], on_data, &r, &w), 0);
	sg_watch_set(w, SG_READABLE);
	sg_loop_run(r.loop);
	sg_watch_free(w);
	for (size_t i = 0; i < 3; i++) {
		sg_watch_free(a[i].w);
		close(a[i].sv[0]);
		close(a[i].sv[1]);
	}
	sg_loop_free(r.loop);
	close(sv[0]);
	close(sv[1]);
}

static void control_waits_until_data_has_left_and_takes_turns_with_it(void **state)
{
	(void)state;
	run_rounds(1, 0, false);
	assert_string_equal(trail, "data sent a data sent b data sent c data ");
}

static void of_cheap_control_one_round_serves_many(void **state)
{
	(void)state;
	run_rounds(0, 0, false);
	assert_string_equal(trail, "data sent a b c data ");
}

/* Slow machines, full lines: one a round would be next to nothing. */
static void long_rounds_of_data_leave_control_a_fifth(void **state)
{
	(void)state;
	run_rounds(1, 8, false);
	assert_string_equal(trail, "data sent a b data sent c data ");
	run_rounds(1, 12, false);
	assert_string_equal(trail, "data sent a b c data ");
}

static void control_that_waits_can_be_called_off(void **state)
{
	(void)state;
	run_rounds(0, 0, true);
	assert_string_equal(trail, "data sent a c data ");
	run_rounds(1, 0, true);
	assert_string_equal(trail, "data sent a data sent c data ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects),
		cmocka_unit_test(timers_fire_in_order_of_the_given_clock),
		cmocka_unit_test(many_timers_started_moved_and_stopped),
		cmocka_unit_test(a_deferred_call_runs_once_after_the_events),
		cmocka_unit_test(messages_of_another_thread_arrive_in_order),
		cmocka_unit_test(workers_and_names),
		cmocka_unit_test(an_event_after_a_long_sleep_knows_what_time_it_is),
		cmocka_unit_test(a_long_turn_is_counted),
		cmocka_unit_test(control_waits_until_data_has_left_and_takes_turns_with_it),
		cmocka_unit_test(of_cheap_control_one_round_serves_many),
		cmocka_unit_test(long_rounds_of_data_leave_control_a_fifth),
		cmocka_unit_test(control_that_waits_can_be_called_off),
		cmocka_unit_test(nothing_is_left_behind),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
