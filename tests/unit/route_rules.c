/* Route ids: each is given out once, and none tells what the others are. */
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "route/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define IDS 100000

static const uint8_t secret[RULES_SECRET] = "sixteen letters";

static int by_value(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void ids_are_given_out_once(void **state)
{
	uint32_t *ids = calloc(IDS, sizeof(*ids));
	struct rules t;

	(void)state;
	rules_init(&t, secret);
	assert_int_equal(rules_reserve(&t, IDS, ids), 0);
	qsort(ids, IDS, sizeof(*ids), by_value);
	assert_true(ids[0] != 0);
	for (size_t i = 1; i < IDS; i++)
		assert_true(ids[i] != ids[i - 1]);
	free(ids);
	rules_fini(&t);
}

/* Whoever was given some cannot name one more: of those around each of them none is another's. */
static void an_id_does_not_tell_the_next(void **state)
{
	uint32_t ids[256];
	struct rules t;
	struct rule *rule;
	unsigned hits = 0;

	(void)state;
	rules_init(&t, secret);
	assert_int_equal(rules_reserve(&t, SG_ARRAY_LEN(ids), ids), 0);
	for (size_t i = 0; i < SG_ARRAY_LEN(ids); i++) {
		for (uint32_t off = 1; off <= 64; off++) {
			struct sg_rule r = {.type = SG_RULE_INTERMEDIARY, .key = ids[i] + off, .next_id = 1};

			hits += rules_add(&t, &r, (struct sg_mono){0}, &rule) != SG_ESTATE;
		}
	}
	assert_int_equal(hits, 0);
	rules_fini(&t);
	/* And another process gives others. */
	rules_init(&t, (const uint8_t[RULES_SECRET]){1});
	assert_int_equal(rules_reserve(&t, 1, ids + 1), 0);
	assert_true(ids[0] != ids[1]);
	rules_fini(&t);
}

static void what_was_given_out_can_be_kept(void **state)
{
	struct sg_rule r = {.type = SG_RULE_INTERMEDIARY, .next_id = 1};
	struct rules t;
	struct rule *rule;
	uint32_t id;

	(void)state;
	rules_init(&t, secret);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(rules_reserve(&t, 1, &id), 0);
		r.key = id;
		assert_int_equal(rules_add(&t, &r, (struct sg_mono){0}, &rule), 0);
		assert_ptr_equal(rules_find(&t, id, (struct sg_mono){0}), rule);
	}
	r.key = 0;
	assert_int_equal(rules_add(&t, &r, (struct sg_mono){0}, &rule), SG_ESTATE);
	rules_fini(&t);
}

static void ids_come_to_an_end(void **state)
{
	uint32_t ids[3];
	struct rules t;

	(void)state;
	rules_init(&t, secret);
	t.n_ids = UINT32_MAX - 3;
	assert_int_equal(rules_reserve(&t, 3, ids), SG_EFULL);
	assert_int_equal(rules_reserve(&t, 2, ids), 0);
	assert_int_equal(rules_reserve(&t, 2, ids), SG_EFULL);
	rules_fini(&t);
}

/* Setup nodes serve everybody: one neighbour that asks them for routes without end took all rules of a middle. */
static void one_transport_does_not_take_all(void **state)
{
	static const struct sg_tpid greedy = {{1}}, other = {{2}};
	uint32_t *ids = calloc(SG_RULES_PER_LINK + 2, sizeof(*ids));
	struct sg_rule r = {.type = SG_RULE_INTERMEDIARY, .next_id = 1, .next_tp = greedy};
	struct rule *rule;
	struct rules t;

	(void)state;
	rules_init(&t, secret);
	assert_int_equal(rules_reserve(&t, SG_RULES_PER_LINK + 2, ids), 0);
	for (size_t i = 0; i < SG_RULES_PER_LINK; i++) {
		r.key = ids[i];
		assert_int_equal(rules_add(&t, &r, (struct sg_mono){0}, &rule), 0);
	}
	r.key = ids[SG_RULES_PER_LINK];
	assert_int_equal(rules_add(&t, &r, (struct sg_mono){0}, &rule), SG_EFULL);
	r.next_tp = other;
	assert_int_equal(rules_add(&t, &r, (struct sg_mono){0}, &rule), 0);
	/* What ends makes room again. */
	rules_remove(&t, rules_find(&t, ids[0], (struct sg_mono){0}));
	r.next_tp = greedy;
	r.key = ids[SG_RULES_PER_LINK + 1];
	assert_int_equal(rules_add(&t, &r, (struct sg_mono){0}, &rule), 0);
	free(ids);
	rules_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_given_out_once),
		cmocka_unit_test(an_id_does_not_tell_the_next),
		cmocka_unit_test(one_transport_does_not_take_all),
		cmocka_unit_test(what_was_given_out_can_be_kept),
		cmocka_unit_test(ids_come_to_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
