/* Which state holds: every mode with every word of core, the two timers, and what SIGTERM and --disarm leave. */
#include "base/common.h"
#include "base/limits.h"
#include "netd/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static struct sg_mono at(int64_t ms)
{
	return (struct sg_mono){.ns = ms * SG_NS_PER_MS};
}

struct row {
	enum netd_mode mode;
	bool kill_switch;
	uint8_t path;
	bool lease;
	enum netd_word word;
};

static const struct row rows[] = {
	{NETD_OFF, true, SG_PATH_UP, true, NETD_IS_OFF},
	{NETD_OFF, true, SG_PATH_DOWN, false, NETD_IS_OFF},
	{NETD_VPN, true, SG_PATH_UNWANTED, false, NETD_IS_ARMED},
	{NETD_VPN, true, SG_PATH_DOWN, false, NETD_IS_BLOCKING},
	{NETD_VPN, true, SG_PATH_DOWN, true, NETD_IS_BLOCKING},
	{NETD_VPN, true, SG_PATH_UP, true, NETD_IS_CONNECTED},
	{NETD_VPN, true, SG_PATH_UP, false, NETD_IS_BLOCKING}, /* no lease, no path, whatever core says */
	{NETD_VPN, true, SG_PATH_OPEN, true, NETD_IS_OFF},
	{NETD_VPN, false, SG_PATH_UNWANTED, false, NETD_IS_OFF},
	{NETD_VPN, false, SG_PATH_DOWN, true, NETD_IS_OFF},
	{NETD_VPN, false, SG_PATH_UP, true, NETD_IS_CONNECTED},
	{NETD_VPN, false, SG_PATH_UP, false, NETD_IS_OFF},
	{NETD_HOST, true, SG_PATH_UNWANTED, false, NETD_IS_ARMED},
	{NETD_HOST, true, SG_PATH_UP, true, NETD_IS_CONNECTED},
};

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];
		struct netd_conf conf = {.mode = r->mode, .kill_switch = r->kill_switch};
		struct netd_state st;
		int64_t next;

		netd_state_init(&st, at(0), true);
		st.path = r->path;
		st.lease = r->lease ? 0xac10000c : 0;
		assert_string_equal(
			netd_word_str(netd_state_gate(&st, &conf, at(1), &next).word), netd_word_str(r->word));
		/* Whatever was: --disarm opens. SIGTERM closes what the kill switch keeps, unless the owner opened it. */
		st.stopping = true;
		assert_int_equal(netd_state_gate(&st, &conf, at(1), &next).word == NETD_IS_OFF,
			r->mode == NETD_OFF || !r->kill_switch || r->path == SG_PATH_OPEN);
		st.disarmed = true;
		assert_int_equal(netd_state_gate(&st, &conf, at(1), &next).word, NETD_IS_OFF);
	}
}

/* Silent for 30 s from the moment it closed, whichever of the two closed states it is in; then refused. */
static void test_refusal(void **state)
{
	struct netd_conf conf = {.mode = NETD_VPN, .kill_switch = true};
	struct netd_state st;
	int64_t next;

	(void)state;
	netd_state_init(&st, at(1000), false);
	assert_false(netd_state_gate(&st, &conf, at(1000), &next).refuse);
	assert_int_equal(next, SG_VPN_REFUSE_AFTER_MS);
	st.path = SG_PATH_DOWN;
	assert_false(netd_state_gate(&st, &conf, at(1000 + SG_VPN_REFUSE_AFTER_MS - 1), &next).refuse);
	assert_int_equal(next, 1);
	assert_true(netd_state_gate(&st, &conf, at(1000 + SG_VPN_REFUSE_AFTER_MS), &next).refuse);
	assert_int_equal(next, -1);
	st.path = SG_PATH_UP;
	st.lease = 1;
	assert_false(netd_state_gate(&st, &conf, at(50000), &next).refuse);
	netd_state_core_gone(&st);
	assert_int_equal(st.path, SG_PATH_DOWN);
	assert_false(netd_state_gate(&st, &conf, at(50000), &next).refuse);
	assert_int_equal(next, SG_VPN_REFUSE_AFTER_MS);
}

/* Mode host: core may look up its exits first, for 5 s at most; not when it was closed before we came. */
static void test_host_waits(void **state)
{
	struct netd_conf conf = {.mode = NETD_HOST, .kill_switch = true};
	struct netd_state st;
	int64_t next;

	(void)state;
	netd_state_init(&st, at(0), false);
	assert_int_equal(netd_state_gate(&st, &conf, at(0), &next).word, NETD_IS_OFF);
	assert_int_equal(next, NETD_HOST_WAIT_MS);
	assert_int_equal(netd_state_gate(&st, &conf, at(NETD_HOST_WAIT_MS), &next).word, NETD_IS_ARMED);

	netd_state_init(&st, at(0), false);
	st.path = SG_PATH_DOWN;
	st.path_known = true;
	assert_int_equal(netd_state_gate(&st, &conf, at(1), &next).word, NETD_IS_BLOCKING);

	netd_state_init(&st, at(0), true);
	assert_int_equal(netd_state_gate(&st, &conf, at(0), &next).word, NETD_IS_ARMED);
}

static void test_core_gone_keeps_the_owners_word(void **state)
{
	static const uint8_t kept[] = {SG_PATH_UNWANTED, SG_PATH_DOWN, SG_PATH_OPEN};
	struct netd_state st;

	(void)state;
	netd_state_init(&st, at(0), false);
	for (size_t i = 0; i < SG_ARRAY_LEN(kept); i++) {
		st.path = kept[i];
		netd_state_core_gone(&st);
		assert_int_equal(st.path, kept[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_host_waits),
		cmocka_unit_test(test_core_gone_keeps_the_owners_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
