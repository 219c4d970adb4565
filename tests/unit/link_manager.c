/* Links between visors of ours: coming up, double dial in every order, replacement, peers, reload. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static int setup(void **state)
{
	struct fake_world *w = calloc(1, sizeof(*w));

	world_new(w);
	for (size_t i = 0; i < WORLD_NODES; i++)
		assert_true(world_boot(w, i));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	free(*state);
	return 0;
}

static void a_link_comes_up_and_both_know_each_other(void **state)
{
	struct fake_world *w = *state;
	struct sg_link_info a, b;

	world_peer(w, 0, 1, false);
	world_settle(w);
	assert_true(world_linked(w, 0, 1, &a));
	assert_true(world_linked(w, 1, 0, &b));
	assert_true(a.dialled);
	assert_false(b.dialled);
	assert_memory_equal(&a.id, &b.id, sizeof(a.id));
	assert_string_equal(a.kind, "own");
	assert_string_equal(b.kind, "own");
	assert_string_equal(a.peer, "node_1");
	assert_string_equal(a.address, "192.0.2.2:7777");
	assert_int_equal(a.rtt_us, 0);
	assert_int_equal(w->node[0].ups, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_link_comes_up_and_both_know_each_other, setup, teardown),
	};

	return cmocka_run_group_tests_name("link/manager", tests, NULL, NULL);
}
