/*
 * Host and plugin of different minor versions meet. The next version's header is today's with a member more in everything
 * that may grow (the script next makes it); built with it, this program and the loader in it are the newer host.
 */
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* SG_GUESTS: where the build puts guest.c's objects. HOST_NEXT: this is the newer host. */

static struct core core;
static unsigned asked_next;

static const struct sg_pk *own_pk(struct sg_inst *inst)
{
	static const struct sg_pk pk = {{2}};

	(void)inst;
	return &pk;
}

#ifdef HOST_NEXT
static int next(void *inst)
{
	(void)inst;
	asked_next++;
	return 1;
}
#endif

static const struct sg_host host = {.size = sizeof(host),
#ifdef HOST_NEXT
	.next = next,
#endif
	.own_pk = own_pk};

static int load(const char *name, struct plugin **out, char *why, size_t cap)
{
	/* By hand: in the newer host only the loader and this file know how long things are. */
	core = (struct core){.opt = {.plugin_dir = SG_GUESTS, .netd_fd = -1}};
	sg_list_init(&core.plugins);
	asked_next = 0;
	return plugin_load(&core, name, out, why, cap);
}

/* It is loaded, its carrier's calls are found, and it starts. What start() returned. */
static int starts(const char *name)
{
	char why[CORE_WHY_MAX] = "";
	struct plugin *p;
	const struct sg_carrier_ops *ops;
	void *ctx = NULL;
	int ret = load(name, &p, why, sizeof(why));

	assert_string_equal(why, "");
	assert_int_equal(ret, 0);
	ops = plugin_carrier_ops(p, name);
	assert_non_null(ops);
	assert_int_equal(ops->dial(NULL, name, NULL, NULL, NULL), -1);
#ifdef HOST_NEXT
	/* Of an older plugin it reads what that has. */
	assert_int_equal(SG_HAS(p->desc, next), strcmp(name, "today") != 0);
	assert_int_equal(SG_HAS(ops, next), strcmp(name, "today") != 0);
	if (SG_HAS(ops, next))
		assert_int_equal(ops->next(NULL), 2);
#endif
	ret = p->desc->start(&host, &p->inst, &ctx, why, sizeof(why));
	assert_ptr_equal(ctx, &p->inst);
	plugins_free(&core);
	return ret;
}

static void test_same_version(void **state)
{
	(void)state;
#ifdef HOST_NEXT
	assert_int_equal(starts("newer"), 1);
	assert_int_equal(asked_next, 1);
#else
	assert_int_equal(starts("today"), 0);
#endif
}

#ifdef HOST_NEXT
static void test_older_plugin_in_newer_host(void **state)
{
	(void)state;
	assert_int_equal(starts("today"), 0);
	assert_int_equal(asked_next, 0);
}
#else
static void test_newer_plugin_in_older_host(void **state)
{
	char why[CORE_WHY_MAX], want[256];
	struct plugin *p;

	(void)state;
	assert_int_equal(load("newer", &p, why, sizeof(why)), SG_EABI);
	snprintf(want, sizeof(want),
		"'newer' needs version %d.%d of the plugin interface, this skygated has %d.%d\n"
		"  install a newer Skygate, or the plugin that belongs to version " SG_VERSION,
		SG_ABI_MAJOR, SG_ABI_MINOR + 1, SG_ABI_MAJOR, SG_ABI_MINOR);
	assert_string_equal(why, want);
	assert_null(p);
}
#endif

/* It says that it runs in hosts of today as well: there it goes without, here it uses all. */
static void test_newer_plugin_that_asks(void **state)
{
	(void)state;
#ifdef HOST_NEXT
	assert_int_equal(starts("modest"), 1);
	assert_int_equal(asked_next, 1);
#else
	assert_int_equal(starts("modest"), 0);
#endif
}

/* Answers that are written into the caller's memory: never more than he knows, and zeros where we know less. */
static void test_answers_of_other_sizes(void **state)
{
	const struct sg_stream_info full = {.port = 44, .records = true, .carrier = "stcp", .network = "direct"};
	struct {
		struct sg_stream_info info;
		uint8_t more[16];
	} newer;
	uint8_t older[sizeof(full)];
	const size_t old = offsetof(struct sg_stream_info, carrier);

	(void)state;
	memset(&newer, 0xaa, sizeof(newer));
	sg_fill(&newer, sizeof(newer), &full, sizeof(full));
	assert_memory_equal(&newer.info, &full, sizeof(full));
	for (size_t i = 0; i < sizeof(newer.more); i++)
		assert_int_equal(newer.more[i], 0);
	memset(older, 0xaa, sizeof(older));
	sg_fill(older, old, &full, sizeof(full));
	assert_memory_equal(older, &full, old);
	for (size_t i = old; i < sizeof(older); i++)
		assert_int_equal(older[i], 0xaa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_version),
#ifdef HOST_NEXT
		cmocka_unit_test(test_older_plugin_in_newer_host),
#else
		cmocka_unit_test(test_newer_plugin_in_older_host),
#endif
		cmocka_unit_test(test_newer_plugin_that_asks),
		cmocka_unit_test(test_answers_of_other_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
