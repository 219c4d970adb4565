/* Log lines: levels by topic, arguments not evaluated in vain, the rate limit, hidden addresses, one line per event. */
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

SG_LOG_TOPIC("first");

static char last[2048];
static unsigned lines;

static void to_memory(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	assert_ptr_equal(arg, &lines);
	snprintf(last, sizeof(last), "%d %s %s", (int)level, topic, line);
	lines++;
}

static int setup(void **state)
{
	(void)state;
	sg_log_set_sink(to_memory, &lines);
	sg_log_set_level(NULL, "info");
	sg_log_set_level("first", "info");
	sg_log_hide_addresses(false);
	lines = 0;
	return 0;
}

static int evaluated;

static int touch(void)
{
	return ++evaluated;
}

static void levels(void **state)
{
	(void)state;
	evaluated = 0;
	log_debug("not %d", touch());
	assert_int_equal(lines, 0);
	assert_int_equal(evaluated, 0);
	log_info("value %d", touch());
	assert_string_equal(last, "2 first value 1");
	assert_int_equal(sg_log_set_level("first", "error"), 0);
	log_warn("not this");
	assert_int_equal(lines, 1);
	log_error("this");
	assert_int_equal(lines, 2);
	assert_int_equal(sg_log_set_level("first", "DEBUG"), 0);
	log_debug("now");
	assert_int_equal(lines, 3);
	assert_int_equal(sg_log_set_level("first", "loud"), SG_EMALF);
}

static void count_first(void *arg, const char *name)
{
	unsigned *found = arg;

	*found += strcmp(name, "first") == 0;
}

/* A mistyped topic is refused: topics are known before their first line, and a plugin's from its loading on. */
static void topics(void **state)
{
	static struct sg_log_topic late = {"late", -1, NULL}, again = {"first", -1, NULL};
	unsigned found = 0;

	(void)state;
	assert_int_equal(sg_log_set_level("late", "debug"), -ENOENT);
	sg_log_topic_add(&late);
	assert_int_equal(sg_log_set_level("late", "debug"), 0);
	assert_true(sg_log_on(&late, SG_LOG_DEBUG));
	assert_int_equal(sg_log_set_level("late", "warn"), 0);
	assert_false(sg_log_on(&late, SG_LOG_INFO));
	/* A second file of a topic has its level, and both change together. */
	assert_int_equal(sg_log_set_level("first", "debug"), 0);
	sg_log_topic_add(&again);
	assert_true(sg_log_on(&again, SG_LOG_DEBUG));
	assert_int_equal(sg_log_set_level("first", "error"), 0);
	assert_false(sg_log_on(&again, SG_LOG_WARN));
	sg_log_each_topic(count_first, &found);
	assert_int_equal(found, 1);
}

static void strangers_cannot_flood(void **state)
{
	struct sg_log_limit rl = {0};

	(void)state;
	log_warn_rl(&rl, "line 0");
	assert_true(rl.next_ns > 0);
	rl.next_ns = INT64_MAX; /* all of the rest within the second, however slow this machine is */
	for (int i = 1; i < 1000; i++)
		log_warn_rl(&rl, "line %d", i);
	assert_int_equal(lines, 1);
	assert_string_equal(last, "1 first line 0");
	assert_int_equal(rl.suppressed, 999);
	rl.next_ns = 0; /* a second later */
	log_warn_rl(&rl, "again");
	assert_int_equal(lines, 2);
	assert_string_equal(last, "1 first again (999 more like this not shown)");
	rl.next_ns = 0;
	log_warn_rl(&rl, "and again");
	assert_string_equal(last, "1 first and again");
}

/* A line that is off neither takes the turn of one that is on nor counts as suppressed. */
static void off_lines_do_not_count(void **state)
{
	struct sg_log_limit rl = {0};

	(void)state;
	log_debug_rl(&rl, "off");
	assert_int_equal(rl.suppressed, 0);
	log_info_rl(&rl, "on");
	assert_int_equal(lines, 1);
}

static void addresses_are_hidden_in_every_family(void **state)
{
	static const char *const addresses[] = {"192.0.2.1:7777", "[2001:db8::1]:7777", "[::ffff:192.0.2.1]:1"};
	struct sg_addr a;
	char text[SG_ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(addresses); i++) {
		assert_int_equal(sg_addr_parse(addresses[i], &a), 0);
		sg_log_hide_addresses(false);
		log_info("from %s", sg_log_addr(sg_addr_str(&a, text)));
		assert_non_null(strstr(last, addresses[i]));
		sg_log_hide_addresses(true);
		log_info("from %s", sg_log_addr(sg_addr_str(&a, text)));
		assert_string_equal(last, "2 first from hidden");
	}
}

/* What a stranger put into a name must not begin a line of its own or drive a terminal. */
static void one_line_per_event(void **state)
{
	(void)state;
	log_info("name %s", "a\nb\r\x1b[31m\x7f");
	assert_string_equal(last, "2 first name a?b??[31m?");
}

static void long_lines_are_cut(void **state)
{
	char name[3000];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	log_info("%s", name);
	assert_int_equal(lines, 1);
	assert_true(strlen(last) < 1100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(levels, setup),
		cmocka_unit_test_setup(strangers_cannot_flood, setup),
		cmocka_unit_test_setup(off_lines_do_not_count, setup),
		cmocka_unit_test_setup(addresses_are_hidden_in_every_family, setup),
		cmocka_unit_test_setup(one_line_per_event, setup),
		cmocka_unit_test_setup(long_lines_are_cut, setup),
		cmocka_unit_test_setup(topics, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
