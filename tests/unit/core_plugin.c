/* The loader: every refusal has its own sentence, told by real shared objects in a real directory. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* SG_TEST_OBJECTS: where the build puts tests/unit/objects. */

struct place {
	char dir[64];
	struct core core;
	char why[CORE_WHY_MAX];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct core_options opt = {.netd_fd = -1};

	snprintf(p->dir, sizeof(p->dir), "/tmp/sg-plugins-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	assert_int_equal(chmod(p->dir, 0755), 0);
	opt.plugin_dir = p->dir;
	core_init(&p->core, &opt);
	*state = p;
	return 0;
}

static void path_of(const struct place *p, const char *name, char *out, size_t cap)
{
	snprintf(out, cap, "%s/%s.so", p->dir, name);
}

/* Copies an object of the build into the directory, under another name if wanted. */
static void put(const struct place *p, const char *object, const char *name, mode_t mode)
{
	char from[512], to[512], buf[65536];
	ssize_t n;
	int in, out;

	snprintf(from, sizeof(from), SG_TEST_OBJECTS "/%s.so", object);
	path_of(p, name, to, sizeof(to));
	in = open(from, O_RDONLY);
	out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		assert_int_equal(write(out, buf, (size_t)n), n);
	close(in);
	close(out);
	assert_int_equal(chmod(to, mode), 0);
}

static int teardown(void **state)
{
	static const char *const names[] = {"good", "other", "abi", "size", "partial", "plain", "undefined", "hollow",
		"odd", "long", "owl", "barn-owl", "empty"};
	struct place *p = *state;
	char path[512];

	for (size_t i = 0; i < SG_ARRAY_LEN(names); i++) {
		path_of(p, names[i], path, sizeof(path));
		unlink(path);
	}
	rmdir(p->dir);
	plugins_free(&p->core);
	free(p);
	return 0;
}

/* In @expected, a @ stands for the directory. */
static void refused(struct place *p, const char *name, int err, const char *expected)
{
	char want[1024];
	struct sg_text t = sg_text(want, sizeof(want));
	struct plugin *plugin;
	int got = plugin_load(&p->core, name, &plugin, p->why, sizeof(p->why));

	for (const char *s = expected, *dir; *s; s = dir ? dir + 1 : s + strlen(s)) {
		dir = strstr(s, "@");
		sg_text_addf(&t, "%.*s%s", (int)(dir ? dir - s : (ptrdiff_t)strlen(s)), s, dir ? p->dir : "");
	}
	assert_string_equal(p->why, want);
	assert_int_equal(got, err);
	assert_null(plugin);
}

static void test_missing(void **state)
{
	struct place *p = *state;

	refused(p, "good", -ENOENT, "'good': there is no good.so in @\n  there: no plugin at all");
	put(p, "good", "good", 0644);
	refused(p, "godo", -ENOENT, "'godo': there is no godo.so in @\n  there: good        did you mean 'good'?");
	refused(p, "../good", SG_EMALF,
		"'../good' cannot be the name of a plugin\n  accepted: small letters, digits and '-'");
	p->core.opt.plugin_dir = "/nonexistent";
	refused(p, "good", -ENOENT,
		"'good': the directory of plugins /nonexistent cannot be read: No such file or directory\n"
		"  another one:  --plugins DIR");
}

static void test_good(void **state)
{
	struct place *p = *state;
	struct plugin *first, *again;

	put(p, "good", "good", 0644);
	assert_int_equal(plugin_load(&p->core, "good", &first, p->why, sizeof(p->why)), 0);
	assert_string_equal(first->desc->name, "good");
	assert_int_equal(plugin_load(&p->core, "good", &again, p->why, sizeof(p->why)), 0);
	assert_ptr_equal(first, again);
}

static void test_writable(void **state)
{
	struct place *p = *state;

	put(p, "good", "good", 0646);
	refused(p, "good", -EPERM, "'good': @/good.so is writable by others (mode 0646)\n  chmod go-w @/good.so");
	put(p, "good", "other", 0664);
	refused(p, "other", -EPERM, "'other': @/other.so is writable by others (mode 0664)\n  chmod go-w @/other.so");
}

static void test_directory_writable(void **state)
{
	struct place *p = *state;

	put(p, "good", "good", 0644);
	assert_int_equal(chmod(p->dir, 0777), 0);
	refused(p, "good", -EPERM, "'good': @ is writable by others (mode 0777)\n  chmod go-w @");
}

static void test_owner(void **state)
{
	struct place *p = *state;
	char path[512];

	if (geteuid() != 0)
		skip();
	put(p, "good", "good", 0644);
	path_of(p, "good", path, sizeof(path));
	assert_int_equal(chown(path, 64001, 64001), 0);
	refused(p, "good", -EPERM,
		"'good': @/good.so belongs to user 64001, who could make it do anything in our name\n  chown root "
		"@/good.so");
}

static void test_no_plugin(void **state)
{
	struct place *p = *state;
	char path[512];

	put(p, "plain", "plain", 0644);
	refused(p, "plain", SG_EABI,
		"'plain': @/plain.so is a library, but no plugin of Skygate (it has no symbol sg_plugin_desc)");
	path_of(p, "empty", path, sizeof(path));
	close(open(path, O_CREAT | O_WRONLY, 0644));
	refused(p, "empty", -EINVAL, "'empty' cannot be loaded: @/empty.so: file too short");
	put(p, "undefined", "undefined", 0644);
	refused(p, "undefined", -EINVAL,
		"'undefined' cannot be loaded: @/undefined.so: undefined symbol: sg_no_such_function");
}

static void test_description(void **state)
{
	struct place *p = *state;

	put(p, "abi", "abi", 0644);
	refused(p, "abi", SG_EABI,
		"'abi' was built for version 8 of the plugin interface, this skygated has 1\n"
		"  install the plugin that belongs to version " SG_VERSION);
	put(p, "size", "size", 0644);
	assert_int_equal(plugin_load(&p->core, "size", &(struct plugin *){NULL}, p->why, sizeof(p->why)), SG_EABI);
	assert_non_null(strstr(p->why, "'size' says that its description has 16 bytes; "));
	put(p, "partial", "partial", 0644);
	refused(p, "partial", SG_EABI,
		"'partial' leaves out a part of its description (name, version, summary, provides, start, stop)");
	put(p, "good", "other", 0644);
	refused(p, "other", SG_EABI, "'other': the file holds the plugin 'good'; was it renamed?");
}

static void test_carriers(void **state)
{
	struct place *p = *state;
	struct plugin *owl;

	put(p, "hollow", "hollow", 0644);
	refused(p, "hollow", SG_EABI, "'hollow' provides a carrier without saying how");
	put(p, "long", "long", 0644);
	refused(p, "long", SG_EABI, "'long' provides the carrier nightjar; a name has at most 7 characters");
	put(p, "odd", "odd", 0644);
	refused(p, "odd", SG_EABI, "'odd' provides what this skygated does not know: interface 99");
	put(p, "owl", "owl", 0644);
	put(p, "barn-owl", "barn-owl", 0644);
	assert_int_equal(plugin_load(&p->core, "owl", &owl, p->why, sizeof(p->why)), 0);
	assert_ptr_equal(plugin_of_carrier(&owl, 1, "owl"), owl);
	assert_null(plugin_of_carrier(&owl, 1, "raven"));
	refused(p, "barn-owl", SG_EDUP,
		"'barn-owl' provides the carrier owl, and so does 'owl'\n  keep one of the two");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_directory_writable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_plugin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_description, setup, teardown),
		cmocka_unit_test_setup_teardown(test_carriers, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
