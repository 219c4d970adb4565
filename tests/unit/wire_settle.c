/* Settlement, entries and transport ids: who signs which slot, what a responder accepts, our mark, members of others. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/alloc.h"
#include "fake/random.h"
#include "wire/settle.h"
#include "wire/tpid.h"
#include "view.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
/* after the others */
#include <cmocka.h>

static struct fake_random source;
static struct sg_crypto *c;
static struct sg_sk sk[2];
static struct sg_pk pk[2];          /* in the order of the edges */
static struct sg_signed_entry mine; /* by 0, marked */
static char line[SG_SETTLE_LINE_MAX];
static int line_len;

static int setup(void **state)
{
	(void)state;
	json_set_alloc_funcs(sg_malloc, sg_free);
	fake_random_init(&source);
	c = sg_crypto_new(&source.base);
	if (!c)
		return -1;
	for (int i = 0; i < 2; i++) {
		sg_sk_generate(c, &sk[i]);
		if (sg_pk_of(c, &sk[i], &pk[i]) < 0)
			return -1;
	}
	if (sg_pk_cmp(&pk[0], &pk[1]) > 0) {
		struct sg_sk s = sk[0];
		struct sg_pk p = pk[0];

		sk[0] = sk[1];
		sk[1] = s;
		pk[0] = pk[1];
		pk[1] = p;
	}
	mine = (struct sg_signed_entry){.marked = true};
	if (sg_entry_make(&pk[0], &pk[1], "stcp", &mine.entry) < 0 || sg_entry_sign(c, &sk[0], NULL, &mine) < 0)
		return -1;
	line_len = sg_settle_encode(&mine, true, line, sizeof(line));
	return line_len > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	sg_crypto_free(c);
	return 0;
}

/* @text with the first @from in it replaced. */
static const char *with(const char *text, const char *from, const char *to)
{
	static char out[2 * SG_SETTLE_LINE_MAX];
	const char *at = strstr(text, from);

	assert_non_null(at);
	snprintf(out, sizeof(out), "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
	return out;
}

static void edges(void **state)
{
	struct sg_pk e[2], swapped[2];
	struct sg_tpid a, b, other;

	(void)state;
	sg_edges_sort(&pk[1], &pk[0], e);
	assert_memory_equal(e, pk, sizeof(e));
	swapped[0] = pk[1];
	swapped[1] = pk[0];
	sg_edges_sort(&swapped[0], &swapped[1], swapped); /* in place */
	assert_memory_equal(swapped, pk, sizeof(swapped));
	sg_tpid_make(&pk[0], &pk[1], "stcp", &a);
	sg_tpid_make(&pk[1], &pk[0], "stcp", &b);
	sg_tpid_make(&pk[0], &pk[1], "stcpr", &other);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_memory_not_equal(&a, &other, sizeof(a));
	assert_int_equal(a.b[6] & 0xf0, 0);
	assert_int_equal(a.b[8] & 0xc0, 0x80);
}

static void slots(void **state)
{
	struct sg_signed_entry e = {0};
	static const struct sg_sig null;
	struct sg_sk stranger;
	struct sg_pk stranger_pk;

	(void)state;
	assert_int_equal(sg_entry_make(&pk[1], &pk[0], "stcp", &e.entry), 0);
	assert_string_equal(e.entry.label, "user");
	assert_int_equal(sg_entry_sign(c, &sk[1], NULL, &e), 0);
	assert_memory_equal(&e.sigs[0], &null, sizeof(null));
	assert_int_equal(sg_entry_verify(c, &e, &pk[1]), 0);
	assert_int_equal(sg_entry_verify(c, &e, &pk[0]), SG_ESIG);
	assert_int_equal(sg_entry_sign(c, &sk[0], NULL, &e), 0);
	assert_int_equal(sg_entry_verify(c, &e, &pk[0]), 0);
	sg_sk_generate(c, &stranger);
	assert_int_equal(sg_pk_of(c, &stranger, &stranger_pk), 0);
	assert_int_equal(sg_entry_sign(c, &stranger, NULL, &e), SG_EKEY);
	assert_int_equal(sg_entry_verify(c, &e, &stranger_pk), SG_EKEY);
	memset(&stranger, 0, sizeof(stranger));
	assert_int_equal(sg_entry_sign(c, &stranger, NULL, &e), SG_EKEY);
	/* To oneself: slot 0 only. */
	e = (struct sg_signed_entry){0};
	assert_int_equal(sg_entry_make(&pk[0], &pk[0], "stcp", &e.entry), 0);
	assert_int_equal(sg_entry_sign(c, &sk[0], NULL, &e), 0);
	assert_memory_equal(&e.sigs[1], &null, sizeof(null));
	assert_int_equal(sg_settle_check(c, &e, &pk[0], &pk[0], "stcp"), 0);
}

static void types(void **state)
{
	struct sg_signed_entry e = {0};
	uint8_t binary[SG_ENTRY_BINARY_MAX];

	(void)state;
	assert_int_equal(sg_entry_make(&pk[0], &pk[1], "123456789012345", &e.entry), 0);
	assert_int_equal(sg_entry_binary(&e.entry, binary), SG_ENTRY_BINARY_MAX);
	assert_int_equal(sg_entry_make(&pk[0], &pk[1], "1234567890123456", &e.entry), SG_ELONG);
	assert_int_equal(sg_entry_make(&pk[0], &pk[1], "", &e.entry), 0);
	assert_int_equal(sg_entry_binary(&e.entry, binary), SG_ENTRY_BINARY_MAX - 15);
}

static void in_pieces(void **state)
{
	struct sg_signed_entry got;

	(void)state;
	for (int cut = 0; cut < line_len - 1; cut++)
		assert_int_equal(sg_settle_decode(c, (struct sg_view){(uint8_t *)line, (size_t)cut}, &got), 0);
	assert_int_equal(
		sg_settle_decode(c, (struct sg_view){(uint8_t *)line, (size_t)line_len - 1}, &got), line_len - 1);
	assert_int_equal(sg_settle_decode(c, view(line), &got), line_len);
	assert_int_equal(sg_settle_check(c, &got, &pk[1], &pk[0], "stcp"), 0);
}

static void our_mark(void **state)
{
	struct sg_signed_entry got, plain = mine;
	char out[SG_SETTLE_LINE_MAX];

	(void)state;
	assert_non_null(strstr(line, "],\"skygate\":1}\n"));
	assert_int_equal(sg_settle_decode(c, view(line), &got), line_len);
	assert_true(got.marked);
	/* Never in what is registered. */
	assert_true(sg_settle_encode(&mine, false, out, sizeof(out)) > 0);
	assert_null(strstr(out, "skygate"));
	assert_null(strchr(out, '\n'));
	plain.marked = false;
	assert_true(sg_settle_encode(&plain, true, out, sizeof(out)) > 0);
	assert_null(strstr(out, "skygate"));
	assert_true(sg_settle_decode(c, view(out), &got) > 0);
	assert_false(got.marked);
	/* A later version of ours may say more; anything else is no mark, and no error. */
	assert_true(sg_settle_decode(c, view(with(line, "\"skygate\":1", "\"skygate\":2")), &got) > 0 && got.marked);
	assert_true(sg_settle_decode(c, view(with(line, "\"skygate\":1", "\"skygate\":0")), &got) > 0 && !got.marked);
	assert_true(
		sg_settle_decode(c, view(with(line, "\"skygate\":1", "\"skygate\":\"1\"")), &got) > 0 && !got.marked);
	assert_true(sg_settle_decode(c, view(with(line, "\"skygate\":1", "\"skygate\":{}")), &got) > 0 && !got.marked);
}

static void members_of_others(void **state)
{
	struct sg_signed_entry got;
	char long_label[200];

	(void)state;
	assert_true(sg_settle_decode(
			    c, view(with(line, "{\"entry\"", "{\"version\":\"v1\",\"x\":[{}],\"ENTRY\"")), &got) > 0);
	assert_int_equal(sg_settle_check(c, &got, &pk[1], &pk[0], "stcp"), 0);
	assert_true(sg_settle_decode(c, view(with(line, "\"label\":\"user\"", "\"label\":\"automatic\"")), &got) > 0);
	assert_string_equal(got.entry.label, "automatic");
	assert_int_equal(sg_settle_check(c, &got, &pk[1], &pk[0], "stcp"), 0);
	snprintf(long_label, sizeof(long_label), "\"label\":\"%0100d\"", 1);
	assert_true(sg_settle_decode(c, view(with(line, "\"label\":\"user\"", long_label)), &got) > 0);
	assert_int_equal(strlen(got.entry.label), sizeof(got.entry.label) - 1);
	assert_true(sg_settle_decode(c, view("{\"entry\":{}}"), &got) > 0);
	assert_int_equal(sg_settle_check(c, &got, &pk[1], &pk[0], "stcp"), SG_EMALF);
}

static void malformed(void **state)
{
	static const struct {
		const char *in;
		int want;
	} cases[] = {
		{"{}", SG_EMALF},
		{"{\"entry\":null}", SG_EMALF},
		{"{\"entry\":[]}", SG_EMALF},
		{"{\"entry\":{\"t_id\":\"x\"}}", SG_EMALF},
		{"{\"entry\":{\"t_id\":7}}", SG_EMALF},
		{"{\"entry\":{\"edges\":\"\"}}", SG_EMALF},
		{"{\"entry\":{\"edges\":[1]}}", SG_EMALF},
		{"{\"entry\":{\"edges\":[\"02\"]}}", SG_EKEY},
		{"{\"entry\":{\"type\":1}}", SG_EMALF},
		{"{\"entry\":{\"type\":\"1234567890123456\"}}", SG_EMALF},
		{"{\"entry\":{\"label\":1}}", SG_EMALF},
		{"{\"entry\":{},\"signatures\":{}}", SG_EMALF},
		{"{\"entry\":{},\"signatures\":[\"00\"]}", SG_EMALF},
		{"{\"entry\":{},\"signatures\":[7]}", SG_EMALF},
		{"x", SG_EMALF},
		{"[]", SG_EMALF},
	};
	struct sg_signed_entry got;

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++)
		assert_int_equal(sg_settle_decode(c, view(cases[i].in), &got), cases[i].want);
	assert_true(sg_settle_decode(c, view("{\"entry\":{\"edges\":[null]},\"signatures\":[null,null,7]}"), &got) > 0);
}

static void longer_than_allowed(void **state)
{
	static char text[SG_SETTLE_LINE_MAX + 1];
	struct sg_signed_entry got;
	char out[SG_SETTLE_LINE_MAX];

	(void)state;
	memset(text, ' ', sizeof(text));
	text[0] = '{';
	assert_int_equal(sg_settle_decode(c, (struct sg_view){(uint8_t *)text, SG_SETTLE_LINE_MAX - 1}, &got), 0);
	assert_int_equal(sg_settle_decode(c, (struct sg_view){(uint8_t *)text, SG_SETTLE_LINE_MAX}, &got), SG_ELONG);
	assert_int_equal(sg_settle_encode(&mine, true, out, (size_t)line_len + 1), line_len);
	assert_int_equal(sg_settle_encode(&mine, true, out, (size_t)line_len), SG_ELONG);
	assert_int_equal(sg_settle_encode(&mine, true, out, 0), SG_ELONG);
}

/* What a responder refuses: anything that it does not compute itself, and a signature in the wrong slot. */
static void refused(void **state)
{
	struct sg_signed_entry bad;

	(void)state;
	assert_int_equal(sg_settle_check(c, &mine, &pk[1], &pk[0], "stcp"), 0);
	assert_int_equal(sg_settle_check(c, &mine, &pk[1], &pk[0], "stcpr"), SG_EMALF);
	assert_int_equal(sg_settle_check(c, &mine, &pk[1], &pk[1], "stcp"), SG_EMALF);
	assert_int_equal(sg_settle_check(c, &mine, &pk[0], &pk[1], "stcp"), SG_ESIG); /* not the caller's slot */
	assert_int_equal(sg_settle_check(c, &mine, &pk[1], &pk[0], "a type beyond the room"), SG_EMALF);
	bad = mine;
	bad.entry.id.b[15] ^= 1;
	assert_int_equal(sg_settle_check(c, &bad, &pk[1], &pk[0], "stcp"), SG_EMALF);
	bad = mine;
	bad.entry.edges[0] = pk[1];
	bad.entry.edges[1] = pk[0];
	assert_int_equal(sg_settle_check(c, &bad, &pk[1], &pk[0], "stcp"), SG_EMALF);
	bad = mine;
	bad.sigs[0].b[3] ^= 1;
	assert_int_equal(sg_settle_check(c, &bad, &pk[1], &pk[0], "stcp"), SG_ESIG);
	bad = mine;
	bad.sigs[1] = mine.sigs[0];
	memset(&bad.sigs[0], 0, sizeof(bad.sigs[0]));
	assert_int_equal(sg_settle_check(c, &bad, &pk[1], &pk[0], "stcp"), SG_ESIG);
}

static bool exchange(void *arg)
{
	struct sg_signed_entry got;

	(void)arg;
	return sg_settle_decode(c, view(line), &got) > 0 && sg_settle_check(c, &got, &pk[1], &pk[0], "stcp") == 0;
}

static void out_of_memory(void **state)
{
	(void)state;
	assert_true(fake_alloc_each("settlement", exchange, NULL) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges),
		cmocka_unit_test(slots),
		cmocka_unit_test(types),
		cmocka_unit_test(in_pieces),
		cmocka_unit_test(our_mark),
		cmocka_unit_test(members_of_others),
		cmocka_unit_test(malformed),
		cmocka_unit_test(longer_than_allowed),
		cmocka_unit_test(refused),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
