/* UCI text by input beside expected output: tests/data/uci/NAME.conf gives NAME.expect, findings or the text again. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "fake/uci.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
/* after the others */
#include <cmocka.h>

#define DATA "tests/data/uci/"

static const struct sg_option visor[] = {
	{"visor", NULL, SG_OPT_STRING, SG_OPT_REQUIRED, NULL, NULL, 0, 0, "who this visor is"},
	{"visor", "identity", SG_OPT_PATH, SG_OPT_REQUIRED, NULL, NULL, 0, 0,
		"the file with the key, made by  skygate keygen"},
	{"visor", "user", SG_OPT_USER, SG_OPT_REQUIRED, NULL, NULL, 0, 0, "who runs skygated"},
	{"visor", "plugin", SG_OPT_STRING, SG_OPT_LIST, NULL, NULL, 0, 0, "what to load"},
	{"interface", NULL, SG_OPT_STRING, SG_OPT_LIST, NULL, NULL, 0, 0, "a network of this machine"},
	{"interface", "role", SG_OPT_ENUM, SG_OPT_REQUIRED, "lan", NULL, 0, 0, "what it is to us"},
	{"interface", "device", SG_OPT_IFNAME, SG_OPT_LIST | SG_OPT_REQUIRED, NULL, NULL, 0, 0, "its devices"},
	{"peer", NULL, SG_OPT_STRING, SG_OPT_LIST, NULL, NULL, 0, 0, "another visor"},
	{"peer", "pk", SG_OPT_PK, SG_OPT_REQUIRED, NULL, NULL, 0, 0, "its key"},
	{"peer", "address", SG_OPT_URL, SG_OPT_LIST, NULL, NULL, 0, 0, "where it listens"},
	{0},
};

static const struct sg_option vpn[] = {
	{"vpn_client", "mode", SG_OPT_ENUM, SG_OPT_REQUIRED, "off vpn host", NULL, 0, 0,
		"what goes through the tunnel"},
	{"vpn_client", "kill_switch", SG_OPT_BOOL, 0, NULL, "1", 0, 0, "block while there is no tunnel"},
	{"vpn_client", "exit", SG_OPT_NAME, SG_OPT_LIST, "peer", NULL, 0, 3, "the other ends"},
	{"vpn_client", "probe", SG_OPT_IP4, SG_OPT_LIST, NULL, NULL, 0, 0, "what answers beyond the exit"},
	{"vpn_client", "note", SG_OPT_STRING, 0, NULL, NULL, 0, 128, "for people"},
	{"vpn_client", "passcode", SG_OPT_UINT, SG_OPT_SECRET, NULL, NULL, 0, 9999, "secret"},
	{"vpn_server", "pool", SG_OPT_PREFIX4, 0, NULL, NULL, 8, 28, "addresses"},
	{"vpn_server", "max_clients", SG_OPT_UINT, 0, NULL, NULL, 1, 253, "how many"},
	{"vpn_server", "listen", SG_OPT_ADDR, 0, NULL, NULL, 0, 0, "where"},
	{"vpn_server", "lease_s", SG_OPT_UINT, 0, NULL, NULL, 1, 3600, "how long"},
	{0},
};

static const struct sg_option *const tables[] = {visor, vpn};

struct output {
	char text[65536];
	size_t len;
	unsigned findings;
};

static void collect(void *arg, unsigned line, const char *message)
{
	struct output *o = arg;
	int n;

	(void)line;
	o->findings++;
	n = snprintf(o->text + o->len, sizeof(o->text) - o->len, "%s\n", message);
	assert_true(n > 0 && (size_t)n < sizeof(o->text) - o->len);
	o->len += (size_t)n;
}

static char *slurp(const char *path, size_t *len)
{
	FILE *f = fopen(path, "rb");
	char *buf = malloc(SG_CONF_FILE_MAX);

	if (!f)
		fail_msg("%s cannot be read", path);
	*len = fread(buf, 1, SG_CONF_FILE_MAX - 1, f);
	buf[*len] = '\0';
	fclose(f);
	return buf;
}

/* What a file gives: findings, or the document written anew, which must say the same when it is read again. */
static void run(const char *name, const char *text, size_t len, struct output *out)
{
	struct sg_uci *doc = NULL, *again = NULL;
	char *written = NULL, *twice = NULL;
	size_t told;

	memset(out, 0, sizeof(*out));
	if (sg_uci_parse(text, len, name, collect, out, &doc) < 0) {
		assert_null(doc);
		assert_true(out->findings > 0);
		return;
	}
	assert_int_equal(out->findings, 0);
	told = sg_uci_check(doc, tables, 2, NULL, collect, out);
	assert_int_equal(told, out->findings);
	assert_int_equal(fake_uci_format(doc, &written), 0);
	if (!out->findings) {
		memcpy(out->text, written, strlen(written) + 1);
		assert_int_equal(sg_uci_parse(written, strlen(written), name, collect, out, &again), 0);
		assert_int_equal(fake_uci_format(again, &twice), 0);
		assert_string_equal(written, twice);
	}
	sg_free(written);
	sg_free(twice);
	sg_uci_free(again);
	sg_uci_free(doc);
}

static void test_files(void **state)
{
	static struct output out;
	struct dirent *e;
	DIR *dir = opendir(DATA);
	unsigned n = 0;

	(void)state;
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		const char *dot = strrchr(e->d_name, '.');
		char path[512];
		size_t len, want_len;
		char *text, *want;

		if (!dot || strcmp(dot, ".conf") != 0)
			continue;
		snprintf(path, sizeof(path), DATA "%s", e->d_name);
		text = slurp(path, &len);
		snprintf(path, sizeof(path), DATA "%.*s.expect", (int)(dot - e->d_name), e->d_name);
		run(e->d_name, text, len, &out);
		want = slurp(path, &want_len);
		assert_string_equal(out.text, want);
		free(text);
		free(want);
		n++;
	}
	closedir(dir);
	assert_true(n >= 10);
}

static const char example[] = "config peer 'a'\n\tlist address 'x'\n\tlist address 'y'\nconfig visor main\n"
			      "\toption on 'yes'\n\toption n '17'\nconfig peer 'b'\n";

static void test_look_ups(void **state)
{
	struct output out = {0};
	struct sg_uci *doc;
	const struct sg_uci_section *s;

	(void)state;
	assert_int_equal(sg_uci_parse(example, strlen(example), "x", collect, &out, &doc), 0);
	s = sg_uci_next(doc, "peer", NULL);
	assert_string_equal(s->name, "a");
	assert_string_equal(sg_uci_get(s, "address", "none"), "x");
	assert_string_equal(sg_uci_get(s, "pk", "none"), "none");
	s = sg_uci_next(doc, "peer", s);
	assert_string_equal(s->name, "b");
	assert_int_equal(s->line, 7);
	assert_null(sg_uci_next(doc, "peer", s));
	assert_null(sg_uci_find(doc, "visor", "b"));
	s = sg_uci_find(doc, "visor", "main");
	assert_true(sg_uci_bool(s, "on", false));
	assert_true(sg_uci_bool(s, "absent", true));
	assert_int_equal(sg_uci_uint(s, "n", 3), 17);
	assert_int_equal(sg_uci_uint(s, "absent", 3), 3);
	assert_int_equal(sg_uci_option(s, "n")->line, 6);
	sg_uci_free(doc);
}

static void test_digest(void **state)
{
	static const char *const texts[] = {"config a\n\tlist x '1'\n\toption y '2'\n\toption z '3'\n",
		"config a\n\toption z '4'\n\toption y '2'\n\tlist x '1'\n", "config a\n\tlist x '12'\n",
		"config a\n\tlist x '1'\n\tlist x '2'\n", "config a\n\toption y '1'\n\tlist x '2'\n", "config a\n"};
	static const char *const options[] = {"x", "y", NULL};
	uint64_t got[SG_ARRAY_LEN(texts)];
	struct sg_uci *doc;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(texts); i++) {
		assert_int_equal(sg_uci_parse(texts[i], strlen(texts[i]), "x", NULL, NULL, &doc), 0);
		got[i] = sg_uci_digest(sg_uci_next(doc, "a", NULL), options);
		sg_uci_free(doc);
		/* Neither their order nor another option makes a difference; everything else does. */
		for (size_t j = 0; j < i; j++)
			assert_int_equal(got[i] == got[j], i == 1);
	}
	assert_int_equal(got[SG_ARRAY_LEN(texts) - 1], sg_uci_digest(NULL, options));
}

static bool no_key(void *arg, const char *text)
{
	(void)arg;
	(void)text;
	return false;
}

static void test_key_off_the_curve(void **state)
{
	static const char conf[] = "config peer a\n\toption pk "
				   "'02727bc70ae0b3b31c1ea20fc3d2ca4e8c7b0ff65ec16cb2a5e7a6a59d5a5ced5f'\n";
	struct output out = {0};
	struct sg_uci *doc;

	(void)state;
	assert_int_equal(sg_uci_parse(conf, strlen(conf), "x", collect, &out, &doc), 0);
	assert_int_equal(sg_uci_check(doc, tables + 1, 0, no_key, collect, &out), 1);
	out.len = 0;
	assert_int_equal(sg_uci_check(doc, tables, 1, no_key, collect, &out), 2);
	assert_non_null(strstr(out.text, "x:2: peer 'a': option pk: '02727bc7"));
	assert_non_null(strstr(out.text, "is not the key of any visor (no point of the curve)"));
	sg_uci_free(doc);
}

/* A program that knows a part only does not call the rest unknown. */
static void test_part(void **state)
{
	static const char conf[] = "config vpn_client vpn\n\toption mode 'vpm'\n\toption other '1'\nconfig unheard\n";
	static const struct sg_option part[] = {
		{"vpn_client", "mode", SG_OPT_ENUM, 0, "off vpn host", NULL, 0, 0, ""},
		{0},
	};
	static const struct sg_option *const parts[] = {part};
	struct output out = {0};
	struct sg_uci *doc;

	(void)state;
	assert_int_equal(sg_uci_parse(conf, strlen(conf), "/etc/x", collect, &out, &doc), 0);
	assert_int_equal(sg_uci_check_part(doc, parts, 1, NULL, collect, &out), 1);
	assert_string_equal(out.text, "/etc/x:2: vpn_client 'vpn': option mode: 'vpm' is none of its values\n"
				      "  accepted: off, vpn, host        did you mean 'vpn'?\n");
	assert_int_equal(sg_uci_check(doc, parts, 1, NULL, collect, &out), 3);
	sg_uci_free(doc);
}

static void test_load(void **state)
{
	struct output out = {0};
	struct sg_uci *doc;
	char dir[] = "/tmp/sg-uci-XXXXXX", path[64];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(sg_uci_load(path, collect, &out, &doc), -ENOENT);
	assert_non_null(strstr(out.text, "/none: no such file: "));
	assert_int_equal(sg_uci_load(dir, collect, &out, &doc), -EINVAL);
	assert_non_null(strstr(out.text, ": is not a file\n"));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(sg_uci_load(path, collect, &out, &doc), -EINVAL);
	unlink(path);
	snprintf(path, sizeof(path), "%s/big", dir);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	assert_int_equal(ftruncate(fd, SG_CONF_FILE_MAX + 1), 0);
	assert_int_equal(sg_uci_load(path, collect, &out, &doc), SG_ECONF);
	assert_non_null(strstr(out.text, "/big: is larger than 1048576 bytes\n"));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(write(fd, example, strlen(example)), (ssize_t)strlen(example));
	assert_int_equal(sg_uci_load(path, collect, &out, &doc), 0);
	assert_non_null(sg_uci_find(doc, "peer", "b"));
	sg_uci_free(doc);
	close(fd);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_look_ups),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_key_off_the_curve),
		cmocka_unit_test(test_part),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
