/* The table of methods and those who answer: each row has an answer, each answer a row, and none is without a role. */
#include "base/common.h"
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

extern const struct sg_plugin sg_plugin_app_vpn, sg_plugin_storage_sqlite, sg_plugin_transport_dmsg;

static const struct sg_plugin *const plugins[] = {
	&sg_plugin_app_vpn, &sg_plugin_storage_sqlite, &sg_plugin_transport_dmsg};

static bool plugin_answers(const char *plugin, const char *name)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(plugins); i++) {
		if (strcmp(plugins[i]->name, plugin) != 0)
			continue;
		for (const struct sg_method *m = plugins[i]->methods; m && m->name; m++) {
			if (strcmp(m->name, name) == 0)
				return m->call != NULL;
		}
	}
	return false;
}

static bool core_answers(const char *name)
{
	for (const struct method *m = core_methods; m->name; m++) {
		if (strcmp(m->name, name) == 0)
			return m->fn != NULL;
	}
	return false;
}

static void test_rows_have_answers(void **state)
{
	size_t n = 0;

	(void)state;
	for (const struct sg_method_row *m = sg_methods(); m->name; m++, n++) {
		if (!(m->plugin ? plugin_answers(m->plugin, m->name) : core_answers(m->name)))
			fail_msg("nobody answers %s", m->name);
		if (m->role != SG_ROLE_VIEWER && m->role != SG_ROLE_ADMIN)
			fail_msg("%s has no role", m->name);
		if (!m->noun || !m->summary || !*m->summary)
			fail_msg("%s cannot be shown", m->name);
		for (const struct sg_param *p = m->params; p && p->name; p++) {
			if (!p->help || !*p->help)
				fail_msg("%s: parameter %s without a help", m->name, p->name);
		}
		assert_ptr_equal(sg_method_find(m->name), m);
	}
	assert_true(n >= 12);
}

static void test_answers_have_rows(void **state)
{
	(void)state;
	for (const struct method *m = core_methods; m->name; m++) {
		const struct sg_method_row *row = sg_method_find(m->name);

		if (!row || row->plugin)
			fail_msg("%s has no row of core", m->name);
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(plugins); i++) {
		for (const struct sg_method *m = plugins[i]->methods; m && m->name; m++) {
			const struct sg_method_row *row = sg_method_find(m->name);

			if (!row || !row->plugin || strcmp(row->plugin, plugins[i]->name) != 0)
				fail_msg("%s of %s has no row", m->name, plugins[i]->name);
		}
	}
}

static void test_no_doubles(void **state)
{
	(void)state;
	for (const struct sg_method_row *a = sg_methods(); a->name; a++) {
		for (const struct sg_method_row *b = a + 1; b->name; b++) {
			assert_string_not_equal(a->name, b->name);
			if (strcmp(a->noun, b->noun) == 0 &&
				strcmp(a->verb ? a->verb : "", b->verb ? b->verb : "") == 0)
				fail_msg("%s and %s are one command", a->name, b->name);
		}
	}
	assert_null(sg_method_find(""));
	assert_null(sg_method_find("visor"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_have_answers),
		cmocka_unit_test(test_answers_have_rows),
		cmocka_unit_test(test_no_doubles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
