/*
 * skygate import, by input beside expected output (tests/data/import); what comes out is a configuration that skygated takes,
 * and every member that was not taken is told. To write what is expected anew after a change: SG_WRITE_EXPECTED=1.
 * Beside it the other way to a configuration, the example: every option stands in it, and all of them are taken.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "cli/cli.h"
#include "cli/import.h"
#include "core/core.h"
#include "net/net.h"
#include "wire/schema.h"
#include "fake/alloc.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define DATA     "tests/data/import/"
#define IDENTITY "/var/lib/skygate/identity.key"

extern const struct sg_plugin sg_plugin_transport_tcp, sg_plugin_transport_dmsg, sg_plugin_app_vpn,
	sg_plugin_storage_sqlite;

static const struct sg_plugin *const plugins[] = {
	&sg_plugin_transport_tcp, &sg_plugin_transport_dmsg, &sg_plugin_app_vpn, &sg_plugin_storage_sqlite, NULL};

static struct sg_crypto *crypto;

static char *read_text(const char *path)
{
	static char text[65536];
	FILE *f = fopen(path, "rb");

	if (!f)
		fail_msg("%s cannot be read", path);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void same_as(const char *stem, const char *end, const char *got)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), DATA "%s%s", stem, end);
	if (getenv("SG_WRITE_EXPECTED")) {
		f = fopen(path, "wb");
		assert_non_null(f);
		fputs(got, f);
		fclose(f);
	}
	assert_string_equal(got, read_text(path));
}

/* As skygated --check sees it; @finding: what it says, NULL: nothing. */
static void check(const char *text, const char *finding)
{
	char path[] = "/tmp/sg-import-XXXXXX";
	int fd = mkstemp(path);
	struct core_options opt = {.config = path, .plugin_dir = "/nonexistent", .netd_fd = -1, .builtin = plugins};
	struct core core;
	struct findings f;
	int err;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	core_init(&core, &opt);
	core.crypto = crypto;
	findings_init(&f);
	err = conf_load(&core, &f, &core.conf);
	if (err < 0 && !finding)
		findings_print(&f, stderr);
	assert_int_equal(err, finding ? SG_ECONF : 0);
	if (finding)
		assert_non_null(strstr(sg_container_of(f.list.next, struct finding, node)->text, finding));
	findings_fini(&f);
	core.crypto = NULL;
	core_fini(&core);
	unlink(path);
}

/* packaging/skygate.conf with what is commented out in force, and a key for each that is left open. */
static void test_the_example(void **state)
{
	static const char key[] = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", open[] = "…";
	const struct sg_option *tables[SG_ARRAY_LEN(plugins) + 2] = {sg_schema_common(), net_options()};
	char text[16384], line[64];
	struct sg_text t = sg_text(text, sizeof(text));
	bool begins = true;

	(void)state;
	for (const char *s = read_text("packaging/skygate.conf"); *s; s++) {
		if (begins && (strncmp(s, "#\t", 2) == 0 || strncmp(s, "#config ", 8) == 0))
			s++;
		begins = *s == '\n';
		if (s[0] == '0' && strncmp(s + 2, open, strlen(open)) == 0) {
			sg_text_add(&t, key);
			s += 1 + strlen(open);
		} else {
			sg_text_addf(&t, "%c", *s);
		}
	}
	check(text, NULL);
	for (size_t i = 0; plugins[i]; i++)
		tables[2 + i] = plugins[i]->options;
	for (size_t i = 0; i < SG_ARRAY_LEN(tables); i++) {
		for (const struct sg_option *o = tables[i]; o && o->section; o++) {
			if (!o->name)
				continue;
			snprintf(
				line, sizeof(line), "\n\t%s %s '", o->flags & SG_OPT_LIST ? "list" : "option", o->name);
			if (!strstr(text, line))
				fail_msg("section %s: the example has no option %s", o->section, o->name);
		}
	}
}

/* What only the plugins that are loaded can tell. */
static void test_checked(void **state)
{
	static const char head[] =
		"config visor 'main'\n\toption identity '" IDENTITY "'\n\tlist plugin 'transport-tcp'\n"
		"\tlist plugin 'app-vpn'\n";
	char text[1024];

	(void)state;
	snprintf(text, sizeof(text), "%sconfig carrier 'sudph'\n\tlist listen '0.0.0.0:7777'\n", head);
	check(text, "section carrier: no loaded plugin provides the carrier 'sudph'\n  accepted: stcp, stcpr");
	snprintf(text, sizeof(text), "%sconfig vpn_client 'vpn'\n\tlist exit 'home'\n", head);
	check(text, "'home' names no section of type peer\n  accepted: a key of 66 hex digits");
}

static void test_files(void **state)
{
	DIR *dir = opendir(DATA);
	struct dirent *e;
	size_t n = 0;

	(void)state;
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		char path[512], stem[64], told[65536], why[300];
		const char *dot = strrchr(e->d_name, '.'), *text;
		struct import im;

		if (!dot || strcmp(dot, ".json") != 0)
			continue;
		snprintf(path, sizeof(path), DATA "%s", e->d_name);
		snprintf(stem, sizeof(stem), "%.*s", (int)SG_MIN(dot - e->d_name, 60), e->d_name);
		text = read_text(path);
		assert_int_equal(import_convert(crypto, (struct sg_view){(const uint8_t *)text, strlen(text)}, IDENTITY,
					 &im, why, sizeof(why)),
			0);
		snprintf(told, sizeof(told), "%s-- left\n%s", im.taken.p, im.left.p);
		same_as(stem, ".conf", im.conf.p);
		same_as(stem, ".txt", told);
		check(im.conf.p, NULL);
		import_fini(&im);
		n++;
	}
	closedir(dir);
	assert_true(n >= 4);
}

static void test_refused(void **state)
{
	static const struct {
		const char *in, *why;
	} rows[] = {
		{"", "no JSON object"},
		{"[]", "no JSON object"},
		{"{}", "no member \"sk\""},
		{"{\"sk\":\"00\"}", "not a valid key"},
		{"{\"sk\":\"0000000000000000000000000000000000000000000000000000000000000000\"}", "not a valid key"},
		{"{\"sk\":1}", "no member \"sk\""},
		{"{\"sk\":\"1111111111111111111111111111111111111111111111111111111111111111\",\"pk\":\"02\"}",
			"do not belong together"},
		{"{\"public_key\":\"x\",\"secret_key\":\"y\"}", "of a setup node"},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++) {
		struct import im;
		char why[300];

		assert_true(import_convert(crypto, (struct sg_view){(const uint8_t *)rows[i].in, strlen(rows[i].in)},
				    IDENTITY, &im, why, sizeof(why)) < 0);
		if (!strstr(why, rows[i].why))
			fail_msg("%s: '%s' is not in '%s'", rows[i].in, rows[i].why, why);
		import_fini(&im);
	}
}

static bool convert_once(void *arg)
{
	const char *text = arg;
	char why[300];
	struct import im;
	int err = import_convert(
		crypto, (struct sg_view){(const uint8_t *)text, strlen(text)}, IDENTITY, &im, why, sizeof(why));

	/* Jansson says of everything that it is malformed when memory is out. */
	assert_true(err == 0 || why[0]);
	import_fini(&im);
	return err == 0;
}

static void test_every_allocation_fails(void **state)
{
	(void)state;
	assert_true(fake_alloc_each("import", convert_once, read_text(DATA "odd.json")) > 0);
}

/* Whatever goes wrong, a key is never lost and never left where the next attempt would stumble over it. */
static void test_the_key_survives(void **state)
{
	static const char text[] = "{\"sk\":\"5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f\"}";
	char dir[] = "/tmp/sg-import-XXXXXX", in[64], key[64], again[64];
	struct import_paths p = {.in = in, .out = again, .key = key, .force = true};
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(in, sizeof(in), "%s/in", dir);
	snprintf(key, sizeof(key), "%s/key", dir);
	snprintf(again, sizeof(again), "%s/./key", dir);
	f = fopen(in, "wb");
	assert_true(f && fwrite(text, 1, sizeof(text) - 1, f) == sizeof(text) - 1 && fclose(f) == 0);
	assert_int_not_equal(import(&p, false), 0);
	assert_int_equal(strlen(read_text(key)), 65);
	unlink(key);
	p.out = "/proc/nothing/there";
	p.force = false;
	assert_int_not_equal(import(&p, false), 0);
	assert_int_not_equal(access(key, F_OK), 0);
	unlink(in);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_the_example),
		cmocka_unit_test(test_checked),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_the_key_survives),
		cmocka_unit_test(test_every_allocation_fails),
	};
	int status;

	json_set_alloc_funcs(sg_malloc, sg_free);
	crypto = sg_crypto_new(sg_random_system());
	status = cmocka_run_group_tests(tests, NULL, NULL);
	sg_crypto_free(crypto);
	return status;
}
