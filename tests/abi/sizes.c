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

/*
 * What the data path crosses with: offsets count in pointers (P), so that one row holds for 32 and 64 bits. A call that is added
 * goes to the end, and the old ones stay.
 */
#define P           sizeof(void *)
#define AT(s, m, n) _Static_assert(offsetof(struct s, m) == (n), #s "." #m " has moved")

AT(sg_stream, ops, 0);
AT(sg_stream, user, P);
AT(sg_stream, user_arg, 2 * P);
AT(sg_stream_ops, send, P);
AT(sg_stream_ops, want, 2 * P);
AT(sg_stream_ops, close, 3 * P);
AT(sg_stream_ops, info, 4 * P);
AT(sg_stream_user, on_data, P);
AT(sg_stream_user, on_writable, 2 * P);
AT(sg_stream_user, on_close, 3 * P);
AT(sg_stream_user, on_batch_end, 4 * P);
AT(sg_stream_info, remote, 0);
AT(sg_stream_info, port, 34);
AT(sg_stream_info, network, P == 8 ? 40 : 36);
AT(sg_stream_info, carrier, P == 8 ? 48 : 40);
AT(sg_stream_info, records, P == 8 ? 56 : 48);
AT(sg_listener_ops, on_stream, P);
AT(sg_carrier_ops, dial, P);
AT(sg_carrier_ops, cancel, 2 * P);
AT(sg_carrier_ops, secured, 3 * P);
AT(sg_tun, fd, 0);
AT(sg_tun, name, 4);
AT(sg_tun, mtu, 20);
AT(sg_tun, offload, 22);
AT(sg_tun, n_busy, 24);
AT(sg_tun, busy, 24 + P);
_Static_assert(sizeof(((struct sg_tun *)0)->busy[0]) == 8, "a network of a TUN is 8 bytes");
_Static_assert(sizeof(struct iovec) == 2 * P, "bytes of a send");

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
