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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(silence_ends_at_the_deadline_of_each_phase),
		TEST(a_trickle_does_not_move_the_deadline),
		TEST(callers_in_handshake_are_limited_by_address),
		TEST(an_ipv6_network_counts_as_one_address),
		TEST(a_crowd_of_silent_callers_holds_up_nobody),
		TEST(a_crowd_of_stalled_callers_holds_up_nobody),
	};

	return cmocka_run_group_tests_name("link/pending", tests, NULL, NULL);
}
