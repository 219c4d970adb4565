/* What the check of a whole configuration says, word by word, and what becomes of a key file. */
#include "base/common.h"
#include "base/err.h"
#include "core_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct place {
	struct fixture *f;
	struct core core;
	struct findings findings;
	char why[CORE_WHY_MAX];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct core_options opt;

	p->f = fixture_new();
	opt = fixture_options(p->f);
	core_init(&p->core, &opt);
	p->core.crypto = sg_crypto_new(sg_random_system());
	assert_non_null(p->core.crypto);
	findings_init(&p->findings);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	findings_fini(&p->findings);
	core_fini(&p->core);
	fixture_free(p->f);
	free(p);
	return 0;
}

/* Loads; @expected are all findings, with @ for the file and $ for the directory. Line 5 follows section visor's head. */
static void expect(struct place *p, const char *visor, const char *rest, const char *expected)
{
	char want[4096] = "", got[4096] = "";
	struct sg_text w = sg_text(want, sizeof(want)), g = sg_text(got, sizeof(got));
	struct conf *conf;
	int err;

	fixture_conf(p->f, visor, rest);
	findings_fini(&p->findings);
	err = conf_load(&p->core, &p->findings, &conf);
	assert_int_equal(err, *expected ? SG_ECONF : 0);
	conf_free(conf);
	for (const char *s = expected; *s; s++) {
		if (*s == '@')
			sg_text_add(&w, p->f->config);
		else if (*s == '$')
			sg_text_add(&w, p->f->dir);
		else
			sg_text_addf(&w, "%c", *s);
	}
	sg_list_for (it, &p->findings.list)
		sg_text_addf(&g, "%s\n", sg_container_of(it, struct finding, node)->text);
	assert_string_equal(got, want);
}

#define PK_A "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"

static void test_plugins(void **state)
{
	struct place *p = *state;

	expect(p, "\tlist plugin 'alpha'\n", "config alpha\n", "");
	expect(p, "\tlist plugin 'alpha'\n\tlist plugin 'alpha'\n", "",
		"@:6: visor 'main': plugin 'alpha' stands here again\n  once is enough\n");
	/* The sections of what did not load are not called unknown on top; the other findings come all the same. */
	expect(p, "\tlist plugin 'alfa'\n",
		"config alpha\nconfig interface 'x'\n\toption role 'wan'\n\tlist device 'y'\n",
		"@:5: visor 'main': plugin 'alfa': there is no alfa.so in $\n  there: no plugin at all\n"
		"@:8: interface 'x': option role: 'wan' is none of its values\n  accepted: lan        did you mean "
		"'lan'?\n");
	expect(p, "\tlist plugin 'transport-tpc'\n",
		"config peer 'a'\n\toption pk '" PK_A
		"'\n\tlist address 'stcp://192.0.2.1:7777'\nconfig carrier 'stcp'\n",
		"@:5: visor 'main': plugin 'transport-tpc': there is no transport-tpc.so in $\n  there: no plugin at "
		"all\n");
	expect(p, "\tlist plugin 'alpha'\n", "config beta\n",
		"@:6: section 'beta' belongs to nothing that is loaded\n  accepted: visor, interface, peer, kernel, "
		"deployment, alpha\n"
		"  the plugin that reads it is named in  list plugin  of section visor\n");
}

static void test_options(void **state)
{
	struct place *p = *state;

	expect(p, "\toption log_levl 'info'\n", "",
		"@:5: visor 'main': unknown option 'log_levl'\n"
		"  accepted: identity, user, plugin, log_level, memory, min_hops, allow_plaintext, direct_streams, "
		"hide_addresses, "
		"automatic_transports, sandbox        did you mean "
		"'log_level'?\n");
	expect(p, "\toption log_level 'debugg'\n", "",
		"@:5: visor 'main': option log_level: 'debugg' is none of its values\n"
		"  accepted: error, warn, info, debug        did you mean 'debug'?\n");
	expect(p, "\tlist plugin 'alpha'\n", "config alpha\n\toption fail 'perhaps'\n",
		"@:7: alpha: option fail: 'perhaps' is neither yes nor no\n"
		"  accepted: 0, 1, on, off, yes, no, true, false\n");
	expect(p, "", "config visor 'two'\n\toption identity '/x'\n",
		"@:5: a second section visor, the first is in line 1\n");
}

static void test_peers(void **state)
{
	struct place *p = *state;

	expect(p, "", "config peer 'a'\n\toption pk '" PK_A "'\n", "");
	expect(p, "",
		"config peer 'a'\n\toption pk '" PK_A "'\nconfig peer 'b'\n\toption pk '" PK_A
		"'\nconfig peer\n\toption pk '02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5'\n",
		"@:7: peer 'b' has the key of peer 'a' in line 5\n  one peer may have several addresses\n"
		"@:9: a peer without a name\n  like:  config peer 'my_exit'\n");
	expect(p, "", "config peer 'a'\n\toption pk '" PK_A "'\n\tlist address 'stcp://192.0.2.1:7777'\n",
		"@:7: peer 'a': list address: no loaded plugin provides the carrier 'stcp'\n"
		"  add  list plugin 'transport-tcp'  to section visor\n");
	expect(p, "", "config peer 'a'\n\toption pk '" PK_A "'\n\tlist address 'dmsg'\n",
		"@:7: peer 'a': list address: no loaded plugin provides the carrier 'dmsg'\n"
		"  add  list plugin 'transport-dmsg'  to section visor\n");
	expect(p, "", "config peer 'a'\n\toption pk '" PK_A "'\n\tlist address 'owl://192.0.2.1:7777'\n",
		"@:7: peer 'a': list address: no loaded plugin provides the carrier 'owl'\n  accepted: none\n");
	/* 02 and 32 bytes, and no point of the curve. */
	expect(p, "",
		"config peer 'a'\n\toption pk '020000000000000000000000000000000000000000000000000000000000000005'\n",
		"@:6: peer 'a': option pk: '020000000000000000000000000000000000000000000000000000000000000005' is not "
		"the key of any "
		"visor (no point of the curve)\n"
		"  accepted: 66 hex digits that begin with 02 or 03, as  skygate status  prints them\n");
}

/* ---- the key ------------------------------------------------------------------------------------------------------ */

static void expect_key(struct place *p, int err, const char *part)
{
	struct sg_sk sk;

	assert_int_equal(identity_read(p->core.crypto, p->f->identity, &sk, p->why, sizeof(p->why)), err);
	if (!strstr(p->why, part))
		fail_msg("no %s in %s", part, p->why);
}

static void write_key(struct place *p, const char *text)
{
	FILE *f = fopen(p->f->identity, "w");

	fputs(text, f);
	fclose(f);
}

#define ONES "1111111111111111111111111111111111111111111111111111111111111111"

static void test_identity(void **state)
{
	struct place *p = *state;
	struct sg_sk sk;

	assert_int_equal(identity_read(p->core.crypto, p->f->identity, &sk, p->why, sizeof(p->why)), 0);
	assert_int_equal(sk.b[0], 0x11);
	write_key(p, ONES);
	assert_int_equal(identity_read(p->core.crypto, p->f->identity, &sk, p->why, sizeof(p->why)), 0);
	write_key(p, ONES "\n\n");
	expect_key(p, SG_EKEY,
		": is not a key (64 hex digits of a valid secp256k1 key)\n  make one:  skygate keygen --out ");
	write_key(p, "0000000000000000000000000000000000000000000000000000000000000000\n");
	expect_key(p, SG_EKEY, ": is not a key");
	write_key(p, "");
	expect_key(p, SG_EKEY, ": is not a key");
	assert_int_equal(chmod(p->f->identity, 0640), 0);
	expect_key(p, -EACCES, ": others can read the key (mode 0640); who has it can be this visor\n  chmod 600 ");
	if (geteuid() == 0) {
		assert_int_equal(chown(p->f->identity, 64001, 64001), 0);
		expect_key(p, -EACCES, ": belongs to user 64001, but skygated runs as 0\n  chown 0 ");
	}
	unlink(p->f->identity);
	expect_key(p, -ENOENT, ": no such file: this visor has no key yet\n  make one:  skygate keygen --out /tmp/");
	assert_int_equal(mkfifo(p->f->identity, 0600), 0);
	expect_key(p, SG_EKEY, ": is not a file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plugins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_options, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
