/*
 * What every store promises (include/skygate/plugin.h), asked of memory and of plugins/storage-sqlite through the same door:
 * order, prefixes, pages, batches whole or not at all, time to live, watches, one end per question, cancelling.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "store_back.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static struct back *back; /* what the suite runs against */

struct answer {
	struct store *st; /* for those that ask again from inside */
	unsigned calls;
	int err;
	size_t n;
	bool more;
	char text[4096]; /* "key=value key=value" */
};

static void on_pairs(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more)
{
	struct answer *a = arg;
	struct sg_text t = sg_text(a->text, sizeof(a->text));

	a->calls++;
	a->err = err;
	a->n = n;
	a->more = more;
	for (size_t i = 0; i < n; i++)
		sg_text_addf(&t, "%s%.*s=%.*s", i ? " " : "", (int)pairs[i].key.len, (const char *)pairs[i].key.p,
			(int)SG_MIN(pairs[i].value.len, (size_t)40), (const char *)pairs[i].value.p);
}

static void on_done(void *arg, int err)
{
	struct answer *a = arg;

	a->calls++;
	a->err = err;
}

static void on_change(void *arg, struct sg_view key)
{
	struct answer *a = arg;
	size_t len = strlen(a->text);

	a->calls++;
	snprintf(a->text + len, sizeof(a->text) - len, "%.*s ", (int)key.len, (const char *)key.p);
}

static void wait_for(const struct answer *a, unsigned calls)
{
	for (int i = 0; i < 2000 && a->calls < calls; i++)
		sg_loop_step(back->loop, 5);
	assert_int_equal(a->calls, calls);
}

static int write_all(const struct sg_store_change *changes, size_t n, unsigned flags)
{
	struct answer a = {0};
	int err = store_write(&back->space, changes, n, flags, on_done, &a);

	if (err < 0)
		return err;
	assert_int_equal(a.calls, 0);
	wait_for(&a, 1);
	return a.err;
}

static struct sg_store_change put(const char *key, const char *value)
{
	return (struct sg_store_change){.key = store_text(key), .value = store_text(value)};
}

static void put_now(const char *key, const char *value)
{
	struct sg_store_change c = put(key, value);

	assert_int_equal(write_all(&c, 1, 0), 0);
}

static struct answer scan(const struct store_space *s, const char *prefix, const char *from, size_t limit)
{
	struct answer a = {0};

	assert_int_equal(store_scan(s, store_text(prefix), store_text(from), limit, on_pairs, &a), 0);
	assert_int_equal(a.calls, 0);
	wait_for(&a, 1);
	assert_int_equal(a.err, 0);
	return a;
}

static struct answer get(const char *key)
{
	struct answer a = {0};

	assert_int_equal(store_get(&back->space, store_text(key), on_pairs, &a), 0);
	wait_for(&a, 1);
	return a;
}

static void test_order(void **state)
{
	static const char *const keys[] = {"b", "a/2", "a/10", "a", "ab", "a/1", "z"};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(keys); i++)
		put_now(keys[i], keys[i]);
	put_now("a/2", "new");
	assert_string_equal(scan(&back->space, "", "", 100).text, "a=a a/1=a/1 a/10=a/10 a/2=new ab=ab b=b z=z");
	assert_string_equal(scan(&back->space, "a/", "", 100).text, "a/1=a/1 a/10=a/10 a/2=new");
	assert_string_equal(scan(&back->space, "a/", "a/10", 100).text, "a/10=a/10 a/2=new");
	assert_string_equal(scan(&back->space, "a/", "b", 100).text, "");
	assert_string_equal(scan(&back->space, "nothing", "", 100).text, "");
}

static void test_get(void **state)
{
	(void)state;
	put_now("key", "value");
	put_now("key2", "other");
	put_now("empty", "");
	assert_string_equal(get("key").text, "key=value");
	assert_string_equal(get("empty").text, "empty=");
	assert_int_equal(get("ke").err, -ENOENT);
	assert_int_equal(get("key3").err, -ENOENT);
}

static void test_bytes(void **state)
{
	/* Keys and values are bytes, zeros and all; 0xff sorts last. */
	const struct sg_store_change c[] = {
		{.key = {(const uint8_t *)"p\xff\xff", 3}, .value = {(const uint8_t *)"\0x\0", 3}},
		{.key = {(const uint8_t *)"p\xff", 2}, .value = {(const uint8_t *)"1", 1}},
		{.key = {(const uint8_t *)"p\0", 2}, .value = {(const uint8_t *)"0", 1}}};
	struct answer a = {0};

	(void)state;
	assert_int_equal(write_all(c, 3, 0), 0);
	assert_int_equal(store_scan(&back->space, (struct sg_view){(const uint8_t *)"p\xff", 2},
				 (struct sg_view){NULL, 0}, 10, on_pairs, &a),
		0);
	wait_for(&a, 1);
	assert_int_equal(a.n, 2);
	assert_int_equal(scan(&back->space, "p", "", 10).n, 3);
}

static void test_pages(void **state)
{
	static uint8_t big[100 * 1024];
	struct answer a;

	(void)state;
	for (int i = 0; i < 7; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		put_now(key, "v");
	}
	a = scan(&back->space, "k", "", 3);
	assert_string_equal(a.text, "k0=v k1=v k2=v");
	assert_true(a.more);
	a = scan(&back->space, "k", "k4", 3);
	assert_string_equal(a.text, "k4=v k5=v k6=v");
	assert_false(a.more);
	/* Bounded in bytes, never empty. */
	for (int i = 0; i < 4; i++) {
		char key[16];
		struct sg_store_change c = {.value = {big, sizeof(big)}};

		snprintf(key, sizeof(key), "n%d", i);
		c.key = store_text(key);
		assert_int_equal(write_all(&c, 1, 0), 0);
	}
	a = scan(&back->space, "n", "", 100);
	assert_int_equal(a.n, 2);
	assert_true(a.more);
}

static void test_batch(void **state)
{
	struct sg_store_change c[] = {put("x", "1"), put("y", "1"), put("x", "2"), put("z", "3")};
	struct sg_store_change huge[SG_STORE_BATCH_MAX + 1];
	uint8_t key[SG_STORE_KEY_MAX + 1] = "k";

	(void)state;
	/* Within a batch the later counts. */
	c[1].remove = true;
	put_now("y", "0");
	assert_int_equal(write_all(c, 4, SG_STORE_DURABLE), 0);
	assert_string_equal(scan(&back->space, "", "", 10).text, "x=2 z=3");
	/* What breaks a limit changes nothing. */
	c[0] = put("new", "1");
	c[3].key = (struct sg_view){key, sizeof(key)};
	assert_int_equal(write_all(c, 4, 0), SG_ELONG);
	c[3].key.len = 0;
	assert_int_equal(write_all(c, 4, 0), SG_EMALF);
	for (size_t i = 0; i < SG_ARRAY_LEN(huge); i++)
		huge[i] = put("n", "1");
	assert_int_equal(write_all(huge, SG_ARRAY_LEN(huge), 0), SG_ELONG);
	assert_int_equal(write_all(huge, 0, 0), SG_EMALF);
	assert_string_equal(scan(&back->space, "", "", 10).text, "x=2 z=3");
	key[SG_STORE_KEY_MAX] = 0;
	c[3] = put("z", "4");
	c[3].key = (struct sg_view){key, SG_STORE_KEY_MAX};
	assert_int_equal(write_all(c, 4, 0), 0);
}

static void test_ttl(void **state)
{
	struct sg_store_change c[] = {put("short", "1"), put("long", "1"), put("ever", "1")};

	(void)state;
	c[0].ttl_s = 10;
	c[1].ttl_s = 100;
	assert_int_equal(write_all(c, 3, 0), 0);
	assert_int_equal(scan(&back->space, "", "", 10).n, 3);
	back_wall_s += 10;
	assert_string_equal(scan(&back->space, "", "", 10).text, "ever=1 long=1");
	assert_int_equal(get("short").err, -ENOENT);
	/* A new write brings it back, without an end. */
	put_now("short", "2");
	back_wall_s += 1000000;
	assert_string_equal(scan(&back->space, "", "", 10).text, "ever=1 short=2");
	c[0].ttl_s = -1;
	assert_int_equal(write_all(c, 1, 0), SG_EMALF);
}

static void test_spaces(void **state)
{
	struct store_space other = {back->store, &other, "tes"}, longer = {back->store, &longer, "test/deep"};
	struct answer a = {0};
	struct sg_store_change c = put("k", "other");

	(void)state;
	put_now("k", "mine");
	assert_int_equal(store_write(&other, &c, 1, 0, on_done, &a), 0);
	wait_for(&a, 1);
	assert_string_equal(get("k").text, "k=mine");
	assert_string_equal(scan(&other, "", "", 10).text, "k=other");
	assert_string_equal(scan(&longer, "", "", 10).text, "");
}

static void test_watch(void **state)
{
	struct answer all = {0}, some = {0}, done = {0};
	struct sg_store_change c[] = {put("a/1", "1"), put("b", "1")};

	(void)state;
	assert_int_equal(store_watch(&back->space, store_text(""), on_change, &all), 0);
	assert_int_equal(store_watch(&back->space, store_text("a/"), on_change, &some), 0);
	assert_int_equal(write_all(c, 2, 0), 0);
	assert_string_equal(all.text, "a/1 b ");
	assert_string_equal(some.text, "a/1 ");
	/* A write whose asker does not care any more is written and told. */
	c[0].remove = true;
	assert_int_equal(store_write(&back->space, c, 1, 0, on_done, &done), 0);
	assert_int_equal(store_cancel(&back->space, false, &done), 1);
	wait_for(&all, 3);
	assert_int_equal(done.calls, 0);
	assert_string_equal(some.text, "a/1 a/1 ");
	assert_int_equal(get("a/1").err, -ENOENT);
	assert_int_equal(store_cancel(&back->space, false, &all), 1);
	assert_int_equal(store_cancel(&back->space, true, NULL), 1);
	put_now("a/1", "2");
	assert_int_equal(all.calls, 3);
	assert_int_equal(some.calls, 2);
}

static void test_cancel(void **state)
{
	struct answer a = {0}, b = {0};

	(void)state;
	put_now("k", "v");
	assert_int_equal(store_get(&back->space, store_text("k"), on_pairs, &a), 0);
	assert_int_equal(store_get(&back->space, store_text("k"), on_pairs, &b), 0);
	assert_int_equal(store_cancel(&back->space, false, &a), 1);
	wait_for(&b, 1);
	assert_int_equal(a.calls, 0);
	assert_int_equal(store_cancel(&back->space, true, NULL), 0);
}

/* Questions asked together end in their order, and each sees what was written before it. */
static void test_sequence(void **state)
{
	struct answer writes[8] = {0}, reads[8] = {0};

	(void)state;
	for (int i = 0; i < 8; i++) {
		char value[2] = {(char)('0' + i), 0};
		struct sg_store_change c = put("k", value);

		assert_int_equal(
			store_write(&back->space, &c, 1, i % 3 ? 0 : SG_STORE_DURABLE, on_done, &writes[i]), 0);
		assert_int_equal(store_get(&back->space, store_text("k"), on_pairs, &reads[i]), 0);
	}
	wait_for(&reads[7], 1);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(writes[i].calls, 1);
		assert_int_equal(reads[i].calls, 1);
		assert_int_equal(reads[i].text[2], '0' + i);
	}
}

static void ask_again(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more)
{
	struct answer *a = arg;

	on_pairs(a, err, pairs, n, more);
	if (a->calls < 3)
		assert_int_equal(store_get(&back->space, store_text("k"), ask_again, a), 0);
}

static void test_nested(void **state)
{
	struct answer a = {0};

	(void)state;
	put_now("k", "v");
	assert_int_equal(store_get(&back->space, store_text("k"), ask_again, &a), 0);
	wait_for(&a, 3);
}

static void test_handed_over(void **state)
{
	(void)state;
	/* What memory held goes to the provider that comes; with it gone, memory begins empty. */
	back_detach(back);
	assert_string_equal(scan(&back->space, "", "", 10).text, "");
	put_now("from", "memory");
	back_attach(back);
	assert_string_equal(scan(&back->space, "", "", 10).text, "from=memory");
}

static int setup_memory(void **state)
{
	(void)state;
	back = back_memory();
	return 0;
}

static char dir[64];

static void wipe(void)
{
	static const char *const names[] = {
		"store.db", "store.db-wal", "store.db.damaged", "store.db.damaged-wal", "store.db.v1"};
	char path[128];

	for (size_t i = 0; i < SG_ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(dir), 0);
}

static int setup_sqlite(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/sg-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	back = back_sqlite(dir, "");
	assert_string_equal(back->why, "");
	return 0;
}

static int teardown_sqlite(void **state)
{
	(void)state;
	back_free(back);
	wipe();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	back_free(back);
	return 0;
}

#define TEST(setup, end, fn)                                                                                           \
	{                                                                                                              \
#setup "." #fn, fn, setup, end, NULL                                                                   \
	}
#define SUITE(setup, end)                                                                                              \
	TEST(setup, end, test_order), TEST(setup, end, test_get), TEST(setup, end, test_bytes),                        \
		TEST(setup, end, test_pages), TEST(setup, end, test_batch), TEST(setup, end, test_ttl),                \
		TEST(setup, end, test_spaces), TEST(setup, end, test_watch), TEST(setup, end, test_cancel),            \
		TEST(setup, end, test_sequence), TEST(setup, end, test_nested)

int main(void)
{
	const struct CMUnitTest tests[] = {SUITE(setup_memory, teardown), SUITE(setup_sqlite, teardown_sqlite),
		cmocka_unit_test_setup_teardown(test_handed_over, setup_sqlite, teardown_sqlite)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
