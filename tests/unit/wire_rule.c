/* What a setup node may not send. That rules are read and written as others do is shown by unit.vectors_routing. */
#include "wire/rule.h"
#include "base/clock.h"
#include "base/common.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct sg_rule sample(uint8_t type)
{
	return (struct sg_rule){.keep_alive_ns = 30 * SG_NS_PER_S, .type = type, .key = 7, .next_id = 9};
}

static void short_rules_are_refused(void **state)
{
	static const size_t need[] = {83, 103, 33};

	(void)state;
	for (unsigned type = 0; type <= SG_RULE_INTERMEDIARY; type++) {
		struct sg_rule rule = sample((uint8_t)type), back;
		uint8_t bytes[SG_RULE_MAX];
		size_t len = sg_rule_encode(&rule, bytes);

		for (size_t n = 0; n <= len; n++)
			assert_int_equal(
				sg_rule_decode((struct sg_view){bytes, n}, &back), n < need[type] ? SG_EMALF : 0);
	}
}

static void unknown_types_and_id_0_are_refused(void **state)
{
	struct sg_rule rule = sample(SG_RULE_INTERMEDIARY), back;
	uint8_t bytes[SG_RULE_MAX] = {0};
	size_t len;

	(void)state;
	(void)sg_rule_encode(&rule, bytes);
	bytes[8] = 3;
	assert_int_equal(sg_rule_decode((struct sg_view){bytes, sizeof(bytes)}, &back), SG_EMALF);
	rule.key = 0;
	len = sg_rule_encode(&rule, bytes);
	assert_int_equal(sg_rule_decode((struct sg_view){bytes, len}, &back), SG_EMALF);
	rule.key = 1;
	rule.next_id = 0;
	len = sg_rule_encode(&rule, bytes);
	assert_int_equal(sg_rule_decode((struct sg_view){bytes, len}, &back), SG_EMALF);
}

static void lives_are_within_bounds(void **state)
{
	static const struct {
		int64_t asked, life;
	} cases[] = {
		{-1, SG_NS_PER_S},
		{0, SG_NS_PER_S},
		{30 * SG_NS_PER_S, 30 * SG_NS_PER_S},
		{600 * SG_NS_PER_S, 600 * SG_NS_PER_S},
		{INT64_MAX, 600 * SG_NS_PER_S},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++) {
		struct sg_rule rule = sample(SG_RULE_REVERSE);

		rule.keep_alive_ns = cases[i].asked;
		assert_int_equal(sg_rule_life_ns(&rule), cases[i].life);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_rules_are_refused),
		cmocka_unit_test(unknown_types_and_id_0_are_refused),
		cmocka_unit_test(lives_are_within_bounds),
	};

	return cmocka_run_group_tests_name("wire/rule", tests, NULL, NULL);
}
