/*
 * The file of plugins/storage-sqlite: damage is set aside and said, other people's files and newer versions are left alone, an
 * older version is copied before it changes, a day writes no more than its share [P26].
 */
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"
#include "store_back.h"

#include <dirent.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64], last_error[1024];

struct answer {
	unsigned calls;
	int err;
	size_t n;
};

static void sink(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	(void)arg;
	(void)topic;
	if (level == SG_LOG_ERROR)
		snprintf(last_error, sizeof(last_error), "%s", line);
}

static void on_done(void *arg, int err)
{
	struct answer *a = arg;

	a->calls++;
	a->err = err;
}

static void on_pairs(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more)
{
	struct answer *a = arg;

	(void)pairs;
	(void)more;
	a->calls++;
	a->err = err;
	a->n = n;
}

static struct answer wait_for(struct back *b, struct answer *a)
{
	for (int i = 0; i < 2000 && !a->calls; i++)
		sg_loop_step(b->loop, 2);
	assert_int_equal(a->calls, 1);
	return *a;
}

static int put(struct back *b, const char *key, size_t len, unsigned flags)
{
	static uint8_t value[SG_STORE_VALUE_MAX];
	struct sg_store_change c = {.key = store_text(key), .value = {value, len}};
	struct answer a = {0};
	int err = store_write(&b->space, &c, 1, flags, on_done, &a);

	return err < 0 ? err : wait_for(b, &a).err;
}

static struct answer count(struct back *b)
{
	struct answer a = {0};

	assert_int_equal(store_scan(&b->space, store_text(""), store_text(""), 256, on_pairs, &a), 0);
	return wait_for(b, &a);
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static bool is_there(const char *name)
{
	struct stat st;

	return stat(path_of(name), &st) == 0;
}

static void filled(void)
{
	struct back *b = back_sqlite(dir, "");
	char key[16];

	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		assert_int_equal(put(b, key, 1000, 0), 0);
	}
	back_free(b);
}

static void overwrite(long at, size_t len)
{
	FILE *f = fopen(path_of("store.db"), "r+b");

	assert_non_null(f);
	fseek(f, at, SEEK_SET);
	while (len--)
		fputc(0x5a, f);
	fclose(f);
}

static void sql(const char *text)
{
	sqlite3 *sq;

	assert_int_equal(sqlite3_open(path_of("store.db"), &sq), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sq, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(sq);
	sqlite3_shutdown();
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/sg-file-XXXXXX");
	assert_non_null(mkdtemp(dir));
	back_ms = 1000000;
	last_error[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	(void)state;
	assert_non_null(d);
	while ((e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	assert_int_equal(rmdir(dir), 0);
	return 0;
}

static void begins_empty(const char *what)
{
	struct back *b = back_sqlite(dir, "");

	if (b->why[0] || !is_there("store.db.damaged") || !strstr(last_error, "set aside as"))
		fail_msg("%s: %s, log: %s", what, b->why, last_error);
	assert_int_equal(count(b).n, 0);
	assert_int_equal(put(b, "new", 1, SG_STORE_DURABLE), 0);
	back_free(b);
}

static void test_damaged(void **state)
{
	struct stat st;

	(void)state;
	filled();
	overwrite(0, 16);
	begins_empty("not even the head");
	filled();
	overwrite(4096 + 1000, 9000);
	begins_empty("pages in the middle");
	filled();
	assert_int_equal(truncate(path_of("store.db"), 4096), 0);
	begins_empty("cut off");
	assert_int_equal(truncate(path_of("store.db"), 0), 0);
	begins_empty("nothing left");
	assert_int_equal(stat(path_of("store.db"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* A page goes bad while the store is in use: the questions fail, it is said, and what follows works. */
static void test_damaged_under_way(void **state)
{
	struct back *b;

	(void)state;
	filled();
	b = back_sqlite(dir, "");
	overwrite(4096, 60000);
	for (int i = 0; i < 5 && !last_error[0]; i++)
		(void)count(b);
	assert_non_null(strstr(last_error, "set aside as"));
	assert_int_equal(put(b, "new", 1, SG_STORE_DURABLE), 0);
	assert_int_equal(count(b).n, 1);
	back_free(b);
}

static void refused(const char *why)
{
	struct back *b = back_sqlite(dir, "");

	if (!strstr(b->why, why))
		fail_msg("'%s' is not in: %s", why, b->why);
	assert_false(is_there("store.db.damaged"));
	/* Memory keeps things meanwhile. */
	assert_false(store_lasts(b->store));
	assert_int_equal(put(b, "k", 1, 0), 0);
	assert_int_equal(count(b).n, 1);
	back_free(b);
}

static void test_left_alone(void **state)
{
	(void)state;
	sql("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
	refused("is a database, but not ours");
	unlink(path_of("store.db"));
	filled();
	sql("PRAGMA user_version = 99");
	refused("written by a newer Skygate");
	sql("PRAGMA user_version = 1");
	assert_int_equal(chmod(dir, 0500), 0);
	if (geteuid() != 0) {
		unlink(path_of("store.db"));
		refused("cannot be opened");
	}
	assert_int_equal(chmod(dir, 0700), 0);
}

static void test_older_version(void **state)
{
	struct back *b;
	sqlite3 *sq;

	(void)state;
	/* As version 1 made it. */
	sql("PRAGMA application_id = 1399552327; PRAGMA user_version = 1;"
	    "CREATE TABLE kv (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT "
	    "ROWID;"
	    "INSERT INTO kv VALUES (CAST('test/old' AS BLOB), CAST('x' AS BLOB), 0)");
	b = back_sqlite(dir, "");
	assert_string_equal(b->why, "");
	assert_int_equal(count(b).n, 1);
	back_free(b);
	assert_true(is_there("store.db.v1"));
	/* The copy is what was there. */
	assert_int_equal(sqlite3_open(path_of("store.db.v1"), &sq), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sq, "SELECT 1 / (count(*) = 1) FROM kv", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(sq);
	sqlite3_shutdown();
	/* No second copy of what is new already. */
	unlink(path_of("store.db.v1"));
	b = back_sqlite(dir, "");
	assert_int_equal(count(b).n, 1);
	back_free(b);
	assert_false(is_there("store.db.v1"));
}

static void test_size_limit(void **state)
{
	struct back *b = back_sqlite(dir, "config store\n\toption size_mib '1'\n\toption daily_mib '1000'\n");
	char key[16];
	int err = 0, kept = 0;

	(void)state;
	for (int i = 0; i < 20 && err == 0; i++) {
		snprintf(key, sizeof(key), "big-%d", i);
		err = put(b, key, 100000, SG_STORE_DURABLE);
		kept += err == 0;
	}
	assert_int_equal(err, -ENOSPC);
	assert_in_range(kept, 8, 10);
	/* Room is made by removing, and nothing that was there is gone. */
	assert_int_equal(count(b).err, 0);
	back_free(b);
}

/* A quarter of a day with a small write every 10 s: one visor's work, and more. */
static void test_day_share(void **state)
{
	struct back *b = back_sqlite(dir, "config store\n\toption daily_mib '8'\n");
	int64_t written;
	char key[16];

	(void)state;
	for (int i = 0; i < 6 * 360; i++) {
		snprintf(key, sizeof(key), "key-%d", i % 50);
		assert_int_equal(put(b, key, 200, 0), 0);
		back_ms += 10000;
		sg_loop_step(b->loop, 0);
		sg_loop_step(b->loop, 0);
	}
	written = back_status(b, "written");
	printf("%d writes in 6 h: %lld bytes on the disk\n", 6 * 360, (long long)written);
	/* Its share of 8 MiB, the first hour in advance, and the one commit that uses it up. */
	assert_in_range(written, 100000, 8 * 1024 * 1024 / 24 * 7 + 300000);
	back_free(b);
	b = back_sqlite(dir, "");
	assert_int_equal(count(b).n, 50);
	back_free(b);
}

/* More than the share: what gathers is bounded, and refused beyond that; what cannot wait is written. */
static void test_flood(void **state)
{
	struct back *b = back_sqlite(dir, "config store\n\toption daily_mib '1'\n");
	int err = 0;
	char key[16];

	(void)state;
	for (int i = 0; i < 100 && err == 0; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		err = put(b, key, 100000, 0);
		back_ms += 6000;
		sg_loop_step(b->loop, 0);
	}
	assert_int_equal(err, SG_EFULL);
	assert_in_range(back_status(b, "waiting"), 500000, 1024 * 1024);
	assert_int_equal(put(b, "durable", 100, SG_STORE_DURABLE), 0);
	assert_int_equal(back_status(b, "waiting"), 0);
	back_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged_under_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_older_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_size_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_day_share, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
	};

	sg_log_set_sink(sink, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
