/*
 * What people see, by input beside expected output: tests/data/cli/METHOD-CASE.json is the result of METHOD, and
 * .expect what is shown of it (both streams). To write what is expected anew after a change: SG_WRITE_EXPECTED=1.
 */
#include "base/common.h"
#include "cli/cli.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define DATA "tests/data/cli/"

/* Runs show() with both streams going to a file; what it wrote. */
static void shown(const char *method, const json_t *result, char *out, size_t cap)
{
	FILE *tmp = tmpfile();
	int keep_out = dup(STDOUT_FILENO), keep_err = dup(STDERR_FILENO);
	size_t n;

	assert_non_null(tmp);
	fflush(NULL);
	dup2(fileno(tmp), STDOUT_FILENO);
	dup2(fileno(tmp), STDERR_FILENO);
	show(method, result);
	fflush(NULL);
	dup2(keep_out, STDOUT_FILENO);
	dup2(keep_err, STDERR_FILENO);
	close(keep_out);
	close(keep_err);
	rewind(tmp);
	n = fread(out, 1, cap - 1, tmp);
	out[n] = '\0';
	fclose(tmp);
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void read_text(const char *path, char *out, size_t cap)
{
	FILE *f = fopen(path, "rb");

	if (!f)
		fail_msg("%s cannot be read", path);
	out[fread(out, 1, cap - 1, f)] = '\0';
	fclose(f);
}

static void test_files(void **state)
{
	static char got[16384], want[16384];
	DIR *dir = opendir(DATA);
	struct dirent *e;
	unsigned n = 0;

	(void)state;
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		const char *dash = strchr(e->d_name, '-'), *dot = strrchr(e->d_name, '.');
		char path[512], method[64];
		json_t *result;

		if (!dash || !dot || strcmp(dot, ".json") != 0)
			continue;
		snprintf(path, sizeof(path), DATA "%s", e->d_name);
		result = json_load_file(path, 0, NULL);
		if (!result)
			fail_msg("%s is no JSON", path);
		snprintf(method, sizeof(method), "%.*s", (int)(dash - e->d_name), e->d_name);
		assert_non_null(sg_method_find(method));
		shown(method, result, got, sizeof(got));
		json_decref(result);
		snprintf(path, sizeof(path), DATA "%.*s.expect", (int)(dot - e->d_name), e->d_name);
		if (getenv("SG_WRITE_EXPECTED"))
			write_text(path, got);
		read_text(path, want, sizeof(want));
		if (strcmp(got, want) != 0)
			print_error("%s\n", e->d_name);
		assert_string_equal(got, want);
		n++;
	}
	closedir(dir);
	assert_true(n >= 15);
}

static void test_durations(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {{0, "0 ms"}, {38, "38 ms"}, {999, "999 ms"}, {1000, "1 s"}, {119999, "119 s"}, {120000, "2 min"},
		{7199999, "119 min"}, {7200000, "2 h 0 min"}, {8040000, "2 h 14 min"}, {172800000, "2 d 0 h"},
		{190800000, "2 d 5 h"}};
	char buf[TERM_TEXT];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++)
		assert_string_equal(term_duration(rows[i].ms, buf), rows[i].text);
}

static void test_numbers(void **state)
{
	char buf[TERM_TEXT];

	(void)state;
	assert_string_equal(term_bytes(0, buf), "0 B");
	assert_string_equal(term_bytes(1023, buf), "1023 B");
	assert_string_equal(term_bytes(1024, buf), "1.0 KiB");
	assert_string_equal(term_bytes(1048575, buf), "1.0 MiB");
	assert_string_equal(term_bytes(6606029, buf), "6.3 MiB");
	assert_string_equal(term_bytes(UINT64_MAX, buf), "16.0 EiB");
	assert_string_equal(term_count(0, buf), "0");
	assert_string_equal(term_count(999, buf), "999");
	assert_string_equal(term_count(1204, buf), "1,204");
	assert_string_equal(term_count(UINT64_MAX, buf), "18,446,744,073,709,551,615");
	assert_string_equal(term_key("0272", buf), "0272");
	assert_string_equal(
		term_key("02727bc70ae0b3b31c1ea20fc3d2ca4e8c7b0ff65ec16cb2a5e7a6a59d5a5ced5f", buf), "02727bc7…ed5f");
}

static void expect_rates(const char *later, json_int_t up, json_int_t down)
{
	json_t *status = json_loads(
		"{\"vpn\":{\"state\":\"connected\",\"since_ms\":1000,\"up_bytes\":500,\"down_bytes\":7000}}", 0, NULL);
	json_t *vpn = json_object_get(status, "vpn"), *then = json_loads(later, 0, NULL);

	assert_non_null(then);
	status_rates(status, then);
	assert_int_equal(json_object_get(vpn, "up_bps") != NULL, up >= 0);
	if (up >= 0) {
		assert_int_equal(get_int(vpn, "up_bps"), up);
		assert_int_equal(get_int(vpn, "down_bps"), down);
	}
	json_decref(status);
	json_decref(then);
}

static void test_rates(void **state)
{
	char buf[TERM_TEXT];

	(void)state;
	expect_rates(
		"{\"state\":\"connected\",\"since_ms\":1250,\"up_bytes\":600,\"down_bytes\":1007000}", 3200, 32000000);
	expect_rates("{\"state\":\"connected\",\"since_ms\":1250,\"up_bytes\":500,\"down_bytes\":7000}", 0, 0);
	/* Connected anew, or not any more, or no time has passed: nothing is claimed. */
	expect_rates("{\"state\":\"connected\",\"since_ms\":20,\"up_bytes\":600,\"down_bytes\":7001}", -1, 0);
	expect_rates("{\"state\":\"connected\",\"since_ms\":1250,\"up_bytes\":20,\"down_bytes\":7001}", -1, 0);
	expect_rates("{\"state\":\"connected\",\"since_ms\":1000,\"up_bytes\":600,\"down_bytes\":7001}", -1, 0);
	expect_rates("{\"state\":\"blocking\",\"since_ms\":1250,\"up_bytes\":600,\"down_bytes\":7001}", -1, 0);
	assert_string_equal(term_rate(0, buf), "0 bit/s");
	assert_string_equal(term_rate(999, buf), "999 bit/s");
	assert_string_equal(term_rate(1000, buf), "1.0 kbit/s");
	assert_string_equal(term_rate(999949, buf), "999.9 kbit/s");
	assert_string_equal(term_rate(999950, buf), "1.0 Mbit/s");
	assert_string_equal(term_rate(21400000, buf), "21.4 Mbit/s");
	assert_string_equal(term_rate(1000000000, buf), "1.0 Gbit/s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
