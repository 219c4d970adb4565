/* The worker: order, what is called off in each state, its end, and a loop that has none. */
#include "base/alloc.h"
#include "base/common.h"
#include "fake/alloc.h"
#include "loop/worker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct bench {
	struct sg_loop *loop;
	struct sg_worker *worker;
	int gate[2]; /* a byte lets go on whoever holds the worker */
	char trail[64];
};

struct job {
	struct sg_task task;
	struct bench *b;
	char name;
	bool holds;
	int begun[2]; /* of one that holds: a byte says that it runs */
};

static void setup(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	b->loop = sg_loop_new(sg_clock_system());
	b->worker = sg_worker_new(b->loop);
	assert_non_null(b->worker);
	assert_int_equal(pipe(b->gate), 0);
}

static void teardown(struct bench *b)
{
	sg_worker_free(b->worker);
	sg_loop_free(b->loop);
	close(b->gate[0]);
	close(b->gate[1]);
}

static void run(void *arg)
{
	struct job *j = arg;
	char byte;

	if (!j->holds)
		return;
	if (write(j->begun[1], "x", 1) != 1 || read(j->b->gate[0], &byte, 1) != 1)
		j->name = '!';
}

static void done(void *arg)
{
	struct job *j = arg;

	j->b->trail[strlen(j->b->trail)] = j->name;
}

static void start(struct bench *b, struct job *j, char name, bool first)
{
	*j = (struct job){.b = b, .name = name};
	sg_task_init(&j->task, run, done, j);
	sg_task_start(b->worker, &j->task, first);
}

/* The worker runs it, and ends it when it is let go on. */
static void hold(struct bench *b, struct job *j, char name)
{
	char byte;

	*j = (struct job){.b = b, .name = name, .holds = true};
	assert_int_equal(pipe(j->begun), 0);
	sg_task_init(&j->task, run, done, j);
	sg_task_start(b->worker, &j->task, false);
	assert_int_equal(read(j->begun[0], &byte, 1), 1);
	close(j->begun[0]);
}

static void let_go(struct bench *b)
{
	assert_int_equal(write(b->gate[1], "x", 1), 1);
}

static void until(struct bench *b, const char *trail)
{
	for (int i = 0; i < 10000 && strlen(b->trail) < strlen(trail); i++)
		sg_loop_step(b->loop, 1);
	assert_string_equal(b->trail, trail);
}

static void one_after_the_other_and_some_before(void **state)
{
	struct job a, c, d, e;
	struct bench b;

	(void)state;
	setup(&b);
	hold(&b, &a, 'a');
	start(&b, &c, 'c', false);
	start(&b, &d, 'd', false);
	start(&b, &e, 'e', true);
	sg_loop_step(b.loop, 0);
	assert_string_equal(b.trail, "");
	let_go(&b);
	until(&b, "aecd");
	/* Again, by the same storage. */
	sg_task_start(b.worker, &c.task, false);
	until(&b, "aecdc");
	close(a.begun[1]);
	teardown(&b);
}

static void called_off_in_each_state(void **state)
{
	struct job a, c, d;
	struct bench b;

	(void)state;
	setup(&b);
	hold(&b, &a, 'a');
	start(&b, &c, 'c', false);
	start(&b, &d, 'd', false);
	assert_true(sg_task_cancel(b.worker, &c.task));
	assert_true(sg_task_cancel(b.worker, &c.task));
	assert_false(sg_task_cancel(b.worker, &a.task));
	let_go(&b);
	until(&b, "ad");
	/* It ran, and is not handed back yet. */
	hold(&b, &d, 'd');
	let_go(&b);
	while (!sg_task_cancel(b.worker, &d.task))
		usleep(100);
	sg_loop_step(b.loop, 10);
	assert_string_equal(b.trail, "ad");
	close(a.begun[1]);
	close(d.begun[1]);
	teardown(&b);
}

static void at_its_end_what_ran_comes_back_and_what_waits_does_not(void **state)
{
	size_t before = sg_alloc_live();
	struct job a, c;
	struct bench b;

	(void)state;
	setup(&b);
	hold(&b, &a, 'a');
	start(&b, &c, 'c', false);
	let_go(&b);
	sg_worker_free(b.worker);
	b.worker = NULL;
	assert_true(strcmp(b.trail, "a") == 0 || strcmp(b.trail, "ac") == 0);
	close(a.begun[1]);
	teardown(&b);
	assert_int_equal(sg_alloc_live(), before);
}

static void without_one_the_loop_does_it_at_once(void **state)
{
	struct bench b = {.worker = NULL};
	struct job a;

	(void)state;
	start(&b, &a, 'a', false);
	assert_string_equal(b.trail, "a");
	assert_true(sg_task_cancel(NULL, &a.task));
}

struct hand_clock {
	struct sg_clock clock;
	int64_t ms;
};

static struct sg_mono hand_now(struct sg_clock *c)
{
	return (struct sg_mono){((struct hand_clock *)c)->ms * SG_NS_PER_MS};
}

struct long_done {
	struct job job;
	struct hand_clock *clock;
	bool last;
};

static void take_1_ms(void *arg)
{
	struct long_done *l = arg;

	done(&l->job);
	l->clock->ms++;
	if (l->last)
		sg_loop_stop(l->job.b->loop);
}

/* However many rounds pass between two results. */
static void on_data(void *arg, int fd, unsigned events)
{
	struct bench *b = arg;
	size_t len = strlen(b->trail);

	(void)fd;
	(void)events;
	if (len == 0 || b->trail[len - 1] != '.')
		b->trail[len] = '.';
}

static void results_take_turns_with_data(void **state)
{
	struct hand_clock clock = {{hand_now}, 1000};
	struct long_done jobs[3];
	struct job last;
	struct sg_watch *w;
	struct bench b = {.loop = sg_loop_new(&clock.clock)};
	int sv[2];

	(void)state;
	assert_int_equal(pipe(b.gate), 0);
	b.worker = sg_worker_new(b.loop);
	assert_non_null(b.worker);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(write(sv[1], "x", 1), 1);
	assert_int_equal(sg_watch_new(b.loop, sv[0], on_data, &b, &w), 0);
	sg_watch_set(w, SG_READABLE);
	for (size_t i = 0; i < SG_ARRAY_LEN(jobs); i++) {
		jobs[i] =
			(struct long_done){.job = {.b = &b, .name = (char)('a' + i)}, .clock = &clock, .last = i == 2};
		sg_task_init(&jobs[i].job.task, run, take_1_ms, &jobs[i]);
		sg_task_start(b.worker, &jobs[i].job.task, false);
	}
	/* A last one that runs: the others ran before the loop looks. */
	hold(&b, &last, '!');
	sg_loop_run(b.loop);
	assert_string_equal(b.trail, ".a.b.c.");
	sg_watch_free(w);
	let_go(&b);
	close(last.begun[1]);
	teardown(&b);
	close(sv[0]);
	close(sv[1]);
}

/* KiB. Of the worker's 1,024 the thread sanitizer keeps so much for itself that 250 are left. */
#ifdef __SANITIZE_THREAD__
#define DEEP 180
#else
#define DEEP 400
#endif

static size_t deep(size_t levels)
{
	volatile char frame[1024];

	frame[0] = (char)levels;
	return (levels ? deep(levels - 1) : 0) + (frame[0] == (char)levels);
}

static void run_deep(void *arg)
{
	struct job *j = arg;

	j->name = deep(DEEP) == DEEP + 1 ? 'd' : '!';
}

/* With 128 KiB, as musl's threads have, whoever goes down by recursion would end the program. */
static void its_stack_is_not_what_the_machine_gives(void **state)
{
	pthread_attr_t before, small;
	struct bench b;
	struct job d = {.b = &b};

	(void)state;
	assert_int_equal(pthread_getattr_default_np(&before), 0);
	assert_int_equal(pthread_attr_init(&small), 0);
	assert_int_equal(pthread_attr_setstacksize(&small, (size_t)128 * 1024), 0);
	assert_int_equal(pthread_setattr_default_np(&small), 0);
	setup(&b);
	assert_int_equal(pthread_setattr_default_np(&before), 0);
	pthread_attr_destroy(&small);
	pthread_attr_destroy(&before);
	sg_task_init(&d.task, run_deep, done, &d);
	sg_task_start(b.worker, &d.task, false);
	until(&b, "d");
	teardown(&b);
}

static bool make(void *arg)
{
	struct sg_worker *w = sg_worker_new(arg);
	bool made = w;

	sg_worker_free(w);
	sg_loop_step(arg, 0); /* where its memory goes */
	return made;
}

static void memory_may_be_out(void **state)
{
	struct sg_loop *loop = sg_loop_new(sg_clock_system());

	(void)state;
	sg_loop_step(loop, 0);
	assert_true(fake_alloc_each("worker", make, loop) > 0);
	sg_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_after_the_other_and_some_before),
		cmocka_unit_test(called_off_in_each_state),
		cmocka_unit_test(at_its_end_what_ran_comes_back_and_what_waits_does_not),
		cmocka_unit_test(results_take_turns_with_data),
		cmocka_unit_test(without_one_the_loop_does_it_at_once),
		cmocka_unit_test(its_stack_is_not_what_the_machine_gives),
		cmocka_unit_test(memory_may_be_out),
	};

	return cmocka_run_group_tests_name("loop/worker", tests, NULL, NULL);
}
