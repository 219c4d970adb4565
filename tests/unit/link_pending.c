/* Callers who come no further than the handshake: each costs its connection, in its time, and holds up nobody. */
#include "base/common.h"
#include "fake/stranger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static void silence_ends_at_the_deadline_of_each_phase(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);

	stranger_call(s);
	world_pass(w, SG_HS_STCP_TIMEOUT_MS - 100);
	assert_false(stranger_is_cut(s));
	world_pass(w, 200);
	assert_true(stranger_is_cut(s));

	stranger_call(s);
	assert_true(stranger_f0(s));
	world_pass(w, 6000);
	assert_true(stranger_f2(s));
	world_pass(w, SG_HS_NOISE_TIMEOUT_MS - 100);
	assert_false(stranger_is_cut(s));
	world_pass(w, 200);
	assert_true(stranger_is_cut(s));

	stranger_call(s);
	assert_true(stranger_f0(s) && stranger_f2(s) && stranger_msg1(s, 0));
	world_pass(w, SG_HS_SETTLE_TIMEOUT_MS - 100);
	assert_false(stranger_is_cut(s));
	world_pass(w, 200);
	assert_true(stranger_is_cut(s));
	assert_int_equal(world_counter(w, 0, "link.handshake_failed"), 3);
	stranger_free(s);
}

/* The deadline of f0 to f3 is for all of them: a byte now and then does not move it. */
static void a_trickle_does_not_move_the_deadline(void **state)
{
	struct fake_world *w = *state;
	struct stranger *s = stranger_new(w, 2, 0);
	const char *f0 = SG_STCP_F0;

	stranger_call(s);
	for (int i = 0; i < 9; i++) {
		stranger_raw(s, f0 + i, 1);
		world_pass(w, 1000);
	}
	assert_false(stranger_is_cut(s));
	world_pass(w, 1100);
	assert_true(stranger_is_cut(s));
	stranger_free(s);
}

static void callers_in_handshake_are_limited_by_address(void **state)
{
	struct fake_world *w = *state;
	int fd[SG_HS_PENDING_PER_IP + 2];
	struct sg_link_info info;

	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++)
		fd[i] = world_accept(w, 0);
	world_settle(w);
	assert_int_equal(world_counter(w, 0, "link.refused.pending_ip"), 2);
	/* A neighbour with another address is not held up. */
	world_peer(w, 1, 0, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
	world_pass(w, SG_HS_STCP_TIMEOUT_MS + 100);
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++) {
		char c;

		assert_int_equal(read(fd[i], &c, 1), 0);
		close(fd[i]);
	}
}

static void an_ipv6_network_counts_as_one_address(void **state)
{
	struct fake_world *w = *state;
	int fd[SG_HS_PENDING_PER_IP + 3];
	char address[64];

	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++) {
		snprintf(address, sizeof(address), "[2001:db8:0:%x::%zx]:7777", i == 0, i + 1);
		fd[i] = world_accept_from(w, 0, address);
	}
	assert_int_equal(world_counter(w, 0, "link.refused.pending_ip"), 2);
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++)
		close(fd[i]);
}

/* More idle callers than there is room for, from everywhere: whoever speaks still gets through. */
static void a_crowd_of_silent_callers_holds_up_nobody(void **state)
{
	int fd[SG_HS_PENDING_MAX + 40];
	struct fake_world *w = *state;
	struct sg_link_info info;
	struct stranger *s = stranger_new(w, 2, 0);
	char address[32];

	stranger_call(s);
	assert_true(stranger_f0(s) && stranger_f2(s) && stranger_msg1(s, 0));
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++) {
		snprintf(address, sizeof(address), "198.51.%zu.%zu:7", i / 200, i % 200 + 1);
		fd[i] = world_accept_from(w, 0, address);
	}
	assert_int_equal(world_counter(w, 0, "link.refused.pending"), 41);
	world_peer(w, 1, 0, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
	/* And who had proven its key is not cut for them. */
	stranger_entry(s, false);
	assert_int_equal(stranger_answered(s), SG_SETTLE_OK);
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++)
		close(fd[i]);
	stranger_free(s);
}

/* The same when each of them has shown a key and goes no further. */
static void a_crowd_of_stalled_callers_holds_up_nobody(void **state)
{
	static struct stranger *s[SG_HS_PENDING_MAX];
	struct fake_world *w = *state;
	struct sg_link_info info;
	char address[32];

	for (size_t i = 0; i < SG_ARRAY_LEN(s); i++) {
		s[i] = stranger_new(w, 2, 0);
		snprintf(address, sizeof(address), "198.51.%zu.%zu:7", i / 200, i % 200 + 1);
		s[i]->fd = world_accept_from(w, 0, address);
		assert_true(stranger_f0(s[i]) && stranger_f2(s[i]));
	}
	assert_int_equal(world_counter(w, 0, "link.refused.pending"), 0);
	world_peer(w, 1, 0, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
	assert_int_equal(world_counter(w, 0, "link.refused.pending"), 1);
	for (size_t i = 0; i < SG_ARRAY_LEN(s); i++)
		stranger_free(s[i]);
}

/* ---- with a worker ---- */

struct held {
	struct sg_task task;
	int gate[2];
	bool over;
};

static void wait_at_gate(void *arg)
{
	char byte;

	(void)!read(((struct held *)arg)->gate[0], &byte, 1);
}

static void note_over(void *arg)
{
	((struct held *)arg)->over = true;
}

/* From now on the worker computes nothing, until it is let go on. */
static void hold_worker(struct fake_world *w, struct held *h)
{
	*h = (struct held){0};
	assert_int_equal(pipe(h->gate), 0);
	sg_task_init(&h->task, wait_at_gate, note_over, h);
	sg_task_start(w->worker, &h->task, true);
}

static void let_go(struct fake_world *w, struct held *h)
{
	close(h->gate[1]);
	while (!h->over)
		sg_loop_step(w->loop, 1);
	close(h->gate[0]);
}

static void knock(int fd)
{
	assert_int_equal(write(fd, SG_STCP_F0, SG_STCP_F0_LEN), SG_STCP_F0_LEN);
}

static bool answered(int fd)
{
	char in[SG_STCP_LINE_MAX];

	return read(fd, in, sizeof(in)) > 0;
}

/* What strangers want computed is nothing that the loop waits for. */
static void links_live_while_handshakes_wait(void **state)
{
	struct fake_world *w = *state;
	struct sg_link_info info;
	uint64_t rx;
	struct held h;
	int fd;

	world_peer(w, 0, 1, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &info));
	rx = info.rx_packets;
	hold_worker(w, &h);
	fd = world_accept(w, 0);
	knock(fd);
	for (int ms = 0; ms < SG_HS_STCP_TIMEOUT_MS + 2000; ms += 50) {
		fake_clock_add_ms(&w->clock, 50);
		for (int i = 0; i < 4; i++)
			sg_loop_step(w->loop, 0);
	}
	/* Pings went and came; and whoever waits for us is not blamed for being late. */
	assert_true(world_linked(w, 0, 1, &info));
	assert_true(info.rx_packets > rx);
	assert_false(answered(fd));
	let_go(w, &h);
	world_settle(w);
	assert_true(answered(fd));
	world_pass(w, SG_HS_STCP_TIMEOUT_MS + 100);
	close(fd);
}

/* A crowd that has the worker busy: there is no room for more, and nobody is cut for what we have not done yet. */
static void who_waits_for_the_worker_is_not_cut(void **state)
{
	static int fd[SG_HS_PENDING_MAX];
	struct fake_world *w = *state;
	char address[32], c;
	struct held h;
	int late;

	hold_worker(w, &h);
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++) {
		snprintf(address, sizeof(address), "198.51.%zu.%zu:7", i / 200, i % 200 + 1);
		fd[i] = world_accept_from(w, 0, address);
		knock(fd[i]);
	}
	for (int i = 0; i < 10; i++)
		sg_loop_step(w->loop, 0);
	late = world_accept_from(w, 0, "203.0.113.9:7");
	assert_int_equal(read(late, &c, 1), 0);
	assert_int_equal(world_counter(w, 0, "link.refused.pending"), 1);
	let_go(w, &h);
	world_settle(w);
	for (size_t i = 0; i < SG_ARRAY_LEN(fd); i++) {
		assert_true(answered(fd[i]));
		close(fd[i]);
	}
	close(late);
}

/* While its step waits, runs, or has run. */
static void a_visor_may_end_while_the_worker_computes_for_it(void **state)
{
	struct fake_world *w = *state;

	for (int i = 0; i < 100; i++) {
		int fd[4];

		for (size_t k = 0; k < SG_ARRAY_LEN(fd); k++) {
			fd[k] = world_accept(w, 0);
			knock(fd[k]);
		}
		for (int k = 0; k < i % 5; k++)
			sg_loop_step(w->loop, 0);
		world_kill(w, 0);
		assert_true(world_boot(w, 0));
		for (size_t k = 0; k < SG_ARRAY_LEN(fd); k++)
			close(fd[k]);
	}
	world_settle(w);
}

int main(void)
{
#define TEST(name)             cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define TEST_WITH_WORKER(name) cmocka_unit_test_setup_teardown(name, world_setup_with_worker, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(silence_ends_at_the_deadline_of_each_phase),
		TEST(a_trickle_does_not_move_the_deadline),
		TEST(callers_in_handshake_are_limited_by_address),
		TEST(an_ipv6_network_counts_as_one_address),
		TEST(a_crowd_of_silent_callers_holds_up_nobody),
		TEST(a_crowd_of_stalled_callers_holds_up_nobody),
		TEST_WITH_WORKER(silence_ends_at_the_deadline_of_each_phase),
		TEST_WITH_WORKER(a_trickle_does_not_move_the_deadline),
		TEST_WITH_WORKER(a_crowd_of_silent_callers_holds_up_nobody),
		TEST_WITH_WORKER(a_crowd_of_stalled_callers_holds_up_nobody),
		TEST_WITH_WORKER(links_live_while_handshakes_wait),
		TEST_WITH_WORKER(who_waits_for_the_worker_is_not_cut),
		TEST_WITH_WORKER(a_visor_may_end_while_the_worker_computes_for_it),
	};

	return cmocka_run_group_tests_name("link/pending", tests, NULL, NULL);
}
