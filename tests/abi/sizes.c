/*
 * Sizes that cross the boundary between host and plugins. Offsets are pinned when the data path has been rebuilt for
 * speed; until then this holds what must not differ between compilers and machines today: values without padding,
 * and tables that say their own size first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <skygate/plugin.h>

_Static_assert(sizeof(struct sg_pk) == 33 && _Alignof(struct sg_pk) == 1, "a key is its bytes");
_Static_assert(sizeof(struct sg_sk) == 32 && _Alignof(struct sg_sk) == 1, "a key is its bytes");
_Static_assert(sizeof(struct sg_sig) == 65 && _Alignof(struct sg_sig) == 1, "a signature is its bytes");
_Static_assert(sizeof(struct sg_tpid) == 16 && _Alignof(struct sg_tpid) == 1, "an id is its bytes");
_Static_assert(sizeof(struct sg_mono) == 8, "an instant is 64 bits");

static void test_tables_say_their_size_first(void **state)
{
	(void)state;
	assert_int_equal(offsetof(struct sg_carrier_ops, size), 0);
	assert_int_equal(offsetof(struct sg_stream_ops, size), 0);
	assert_int_equal(offsetof(struct sg_stream_user, size), 0);
	assert_int_equal(offsetof(struct sg_listener_ops, size), 0);
	assert_int_equal(offsetof(struct sg_host, size), 0);
}

/* What a loader reads of a plugin that it may have to refuse: the same three numbers at the same place, for ever. */
static void test_descriptor_head(void **state)
{
	(void)state;
	assert_int_equal(offsetof(struct sg_plugin, abi_major), 0);
	assert_int_equal(offsetof(struct sg_plugin, abi_minor), 4);
	assert_int_equal(offsetof(struct sg_plugin, size), 8);
	const struct sg_plugin p = {SG_PLUGIN_HEAD};
	assert_int_equal(p.abi_major, SG_ABI_MAJOR);
	assert_int_equal(p.abi_minor, SG_ABI_MINOR);
	assert_int_equal(p.size, sizeof(struct sg_plugin));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_say_their_size_first),
		cmocka_unit_test(test_descriptor_head),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
