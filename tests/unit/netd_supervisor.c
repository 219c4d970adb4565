/* Starting, listening, killing and starting again, on a clock that the test moves. No process is made. */
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "netd/supervisor.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct world {
	struct sg_clock clock; /* first */
	struct sg_mono now;
	struct sg_loop *loop;
	struct supervisor s;
	unsigned spawned, gone, stopped;
	int killed; /* the last signal */
	int spawn_error;
};

static struct sg_mono now(struct sg_clock *c)
{
	return ((struct world *)c)->now;
}

static int spawn(void *arg, pid_t *pid)
{
	struct world *w = arg;

	if (w->spawn_error)
		return w->spawn_error;
	*pid = 1000 + (pid_t)++w->spawned;
	return 0;
}

static void kill_it(void *arg, pid_t pid, int signum)
{
	struct world *w = arg;

	assert_int_equal(pid, 1000 + w->spawned);
	w->killed = signum;
}

static void gone(void *arg)
{
	((struct world *)arg)->gone++;
}

static void stopped(void *arg)
{
	((struct world *)arg)->stopped++;
}

static const struct supervisor_ops ops = {spawn, kill_it, gone, stopped};

static int setup(void **state)
{
	static struct world w;

	w = (struct world){.clock = {now}};
	w.loop = sg_loop_new(&w.clock);
	supervisor_init(&w.s, w.loop, &ops, &w);
	*state = &w;
	return w.loop ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;

	supervisor_fini(&w->s);
	sg_loop_free(w->loop);
	return 0;
}

static void pass(struct world *w, int64_t ms)
{
	while (ms > 0) {
		int64_t step = SG_MIN(ms, 100);

		w->now = sg_mono_add_ms(w->now, step);
		ms -= step;
		sg_loop_step(w->loop, 0);
	}
}

#define BY_SIGNAL(n) (n)

static void test_hung_core_is_killed(void **state)
{
	struct world *w = *state;

	supervisor_start(&w->s);
	assert_int_equal(w->spawned, 1);
	for (int i = 0; i < 20; i++) {
		pass(w, SG_HEARTBEAT_MS);
		supervisor_heard(&w->s);
	}
	assert_int_equal(w->killed, 0);
	pass(w, SG_HEARTBEAT_DEAD_MS - 100);
	assert_int_equal(w->killed, 0);
	pass(w, 100 + 2 * SG_HEARTBEAT_MS);
	assert_int_equal(w->killed, SIGKILL);
	supervisor_ended(&w->s, BY_SIGNAL(SIGKILL));
	assert_int_equal(w->gone, 1);
	pass(w, SG_RESTART_MIN_MS + 100);
	assert_int_equal(w->spawned, 2);
	assert_int_equal(w->s.restarts, 1);
}

/* 0.2 s, doubling to 5 s; short again after a minute of life. */
static void test_pauses(void **state)
{
	struct world *w = *state;
	int64_t pause = SG_RESTART_MIN_MS;
	unsigned runs = 1;

	supervisor_start(&w->s);
	for (int i = 0; i < 8; i++) {
		supervisor_ended(&w->s, BY_SIGNAL(SIGSEGV));
		pass(w, pause - 100);
		assert_int_equal(w->spawned, runs);
		pass(w, 200);
		assert_int_equal(w->spawned, ++runs);
		pause = SG_MIN(2 * pause, SG_RESTART_MAX_MS);
	}
	assert_int_equal(pause, SG_RESTART_MAX_MS);
	for (int64_t lived = 0; lived <= SG_RESTART_RESET_MS; lived += SG_HEARTBEAT_MS) {
		pass(w, SG_HEARTBEAT_MS);
		supervisor_heard(&w->s);
	}
	supervisor_ended(&w->s, BY_SIGNAL(SIGSEGV));
	pass(w, SG_RESTART_MIN_MS + 100);
	assert_int_equal(w->spawned, runs + 1);
}

/* Connections through the VPN continue within 10 s of its death, so a core that worked is soon back each time. */
static void test_pauses_after_work_are_short(void **state)
{
	struct world *w = *state;
	unsigned runs = 1;

	supervisor_start(&w->s);
	for (int i = 0; i < 8; i++) {
		supervisor_proven(&w->s);
		supervisor_ended(&w->s, BY_SIGNAL(SIGKILL));
		pass(w, SG_RESTART_PROVEN_MAX_MS + 100);
		assert_int_equal(w->spawned, ++runs);
	}
	/* What was proven once does not speak for the next run. */
	supervisor_ended(&w->s, BY_SIGNAL(SIGKILL));
	pass(w, SG_RESTART_PROVEN_MAX_MS + 100);
	assert_int_equal(w->spawned, runs);
	pass(w, SG_RESTART_PROVEN_MAX_MS);
	assert_int_equal(w->spawned, runs + 1);
}

/*
 * A configuration that only core finds invalid was tried, and complained of, every five seconds for as long as nobody
 * mended it.
 */
static void test_configuration_not_valid(void **state)
{
	struct world *w = *state;

	supervisor_start(&w->s);
	supervisor_ended(&w->s, 2 << 8);
	pass(w, SG_RESTART_CONF_MS - 200);
	assert_int_equal(w->spawned, 1);
	pass(w, 400);
	assert_int_equal(w->spawned, 2);
	supervisor_hurry(&w->s);
	assert_int_equal(w->spawned, 2);
	supervisor_ended(&w->s, 2 << 8);
	supervisor_hurry(&w->s);
	assert_int_equal(w->spawned, 3);
	supervisor_ended(&w->s, 1 << 8);
	pass(w, SG_RESTART_MIN_MS + 100);
	assert_int_equal(w->spawned, 4);
}

static void test_spawn_fails(void **state)
{
	struct world *w = *state;

	w->spawn_error = -EAGAIN;
	supervisor_start(&w->s);
	pass(w, 1000);
	assert_int_equal(w->spawned, 0);
	w->spawn_error = 0;
	pass(w, 2000);
	assert_int_equal(w->spawned, 1);
}

static void test_stop(void **state)
{
	struct world *w = *state;

	supervisor_start(&w->s);
	supervisor_stop(&w->s);
	supervisor_stop(&w->s);
	assert_int_equal(w->killed, SIGTERM);
	assert_int_equal(w->stopped, 0);
	pass(w, 4900);
	assert_int_equal(w->killed, SIGTERM);
	pass(w, 300);
	assert_int_equal(w->killed, SIGKILL);
	supervisor_ended(&w->s, BY_SIGNAL(SIGKILL));
	assert_int_equal(w->stopped, 1);
	pass(w, 10000);
	assert_int_equal(w->spawned, 1);
}

static void test_stop_between_two_runs(void **state)
{
	struct world *w = *state;

	supervisor_start(&w->s);
	supervisor_ended(&w->s, 0);
	supervisor_stop(&w->s);
	assert_int_equal(w->stopped, 1);
	pass(w, 10000);
	assert_int_equal(w->spawned, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hung_core_is_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pauses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pauses_after_work_are_short, setup, teardown),
		cmocka_unit_test_setup_teardown(test_configuration_not_valid, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spawn_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_between_two_runs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
