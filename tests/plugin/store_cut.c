/*
 * plugins/storage-sqlite when the power fails, the disk fails, memory fails [P30, P32]. Every write, truncation, deletion and
 * sync of a life of the store is recorded on its way to the disk; then the disk is put together again as each prefix of them
 * would have left it, and opened: old or new, never mixed, and nothing is missing that was answered as durable.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "fake/alloc.h"
#include "fake/log.h"
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

#define KEYS     6 /* of each batch; all hold the number of the batch */
#define OPS_MAX  4096
#define FILES    6
#define DISK_MAX (2 * 1024 * 1024)

static char dir[64];
/* A new database is made beside its place and moved there when it is whole. */
static const char *const names[FILES] = {
	"store.db", "store.db-wal", "store.db-journal", "store.db.new", "store.db.new-wal", "store.db.new-journal"};

/* ---- the recorder: a layer between SQLite and the disk --------------------------------------------------------------- */

enum op_kind { CREATED, WRITTEN, CUT_OFF, SYNCED, DELETED, ANSWERED };

struct op {
	enum op_kind kind;
	int file; /* of names */
	int64_t at;
	int len;
	uint8_t *bytes;
	int batch;  /* of ANSWERED: this one is durable */
	bool whole; /* of WRITTEN: by one rename, never torn */
};

static struct op ops[OPS_MAX];
static size_t n_ops;
static int started;         /* the newest batch that was asked for */
static size_t fail_at, ios; /* the n-th input or output fails; 0: none. And how many there were. */
static bool failed;

struct file {
	sqlite3_file pub;
	int which;
	sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *real_vfs;

static bool fails(void)
{
	ios++;
	if (!fail_at || --fail_at)
		return false;
	failed = true;
	return true;
}

static struct op *record(enum op_kind kind, int file)
{
	struct op *op = &ops[n_ops++];

	assert_true(n_ops < OPS_MAX);
	*op = (struct op){.kind = kind, .file = file};
	return op;
}

static int file_close(sqlite3_file *f)
{
	struct file *x = (struct file *)f;

	return x->real->pMethods->xClose(x->real);
}

static int file_read(sqlite3_file *f, void *out, int len, sqlite3_int64 at)
{
	struct file *x = (struct file *)f;

	return fails() ? SQLITE_IOERR_READ : x->real->pMethods->xRead(x->real, out, len, at);
}

static int file_write(sqlite3_file *f, const void *in, int len, sqlite3_int64 at)
{
	struct file *x = (struct file *)f;
	struct op *op;

	if (fails())
		return failed && ios % 2 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
	op = record(WRITTEN, x->which);
	op->at = at;
	op->len = len;
	op->bytes = malloc((size_t)len);
	memcpy(op->bytes, in, (size_t)len);
	return x->real->pMethods->xWrite(x->real, in, len, at);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct file *x = (struct file *)f;

	if (fails())
		return SQLITE_IOERR_TRUNCATE;
	record(CUT_OFF, x->which)->at = size;
	return x->real->pMethods->xTruncate(x->real, size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	struct file *x = (struct file *)f;

	if (fails())
		return SQLITE_IOERR_FSYNC;
	record(SYNCED, x->which);
	return x->real->pMethods->xSync(x->real, flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *out)
{
	struct file *x = (struct file *)f;

	return fails() ? SQLITE_IOERR_FSTAT : x->real->pMethods->xFileSize(x->real, out);
}

static int file_lock(sqlite3_file *f, int level)
{
	struct file *x = (struct file *)f;

	return x->real->pMethods->xLock(x->real, level);
}

static int file_unlock(sqlite3_file *f, int level)
{
	struct file *x = (struct file *)f;

	return x->real->pMethods->xUnlock(x->real, level);
}

static int file_check_lock(sqlite3_file *f, int *out)
{
	struct file *x = (struct file *)f;

	return x->real->pMethods->xCheckReservedLock(x->real, out);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	struct file *x = (struct file *)f;

	return x->real->pMethods->xFileControl(x->real, op, arg);
}

static int file_sector(sqlite3_file *f)
{
	(void)f;
	return 4096;
}

/* A disk that promises nothing. */
static int file_traits(sqlite3_file *f)
{
	(void)f;
	return 0;
}

/* Version 1: without shared memory, which an exclusive connection does without. */
static const sqlite3_io_methods file_methods = {1, file_close, file_read, file_write, file_truncate, file_sync,
	file_size, file_lock, file_unlock, file_check_lock, file_control, file_sector, file_traits, NULL, NULL, NULL,
	NULL, NULL, NULL};

static int which_of(const char *name)
{
	const char *base = strrchr(name, '/');
	int i = 0;

	while (i < FILES && strcmp(names[i], base + 1) != 0)
		i++;
	assert_true(i < FILES);
	return i;
}

/* What it holds when it is opened is on the disk: at first it was moved there, later it was recorded already. */
static void record_moved(const char *name)
{
	FILE *f = fopen(name, "rb");
	struct op *op = record(WRITTEN, 0);

	assert_non_null(f);
	op->bytes = malloc(DISK_MAX);
	op->len = (int)fread(op->bytes, 1, DISK_MAX, f);
	op->whole = true;
	fclose(f);
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
	struct file *x = (struct file *)f;
	int rc;

	(void)vfs;
	x->pub.pMethods = NULL;
	if (fails())
		return SQLITE_CANTOPEN;
	x->real = (sqlite3_file *)(x + 1);
	x->which = which_of(name);
	rc = real_vfs->xOpen(real_vfs, name, x->real, flags, out_flags);
	if (rc == SQLITE_OK) {
		x->pub.pMethods = &file_methods;
		record(CREATED, x->which);
		if (x->which == 0)
			record_moved(name);
	}
	return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	(void)vfs;
	if (fails())
		return SQLITE_IOERR_DELETE;
	record(DELETED, which_of(name));
	return real_vfs->xDelete(real_vfs, name, sync_dir);
}

static sqlite3_vfs recorder;

/* SQLite forgets its layers when it is shut down, which the plugin does at its end. */
static void record_from_now(void)
{
	real_vfs = sqlite3_vfs_find("unix");
	assert_non_null(real_vfs);
	recorder = *real_vfs;
	recorder.zName = "recorder";
	recorder.szOsFile = real_vfs->szOsFile + (int)sizeof(struct file);
	recorder.xOpen = vfs_open;
	recorder.xDelete = vfs_delete;
	assert_int_equal(sqlite3_vfs_register(&recorder, 1), SQLITE_OK);
}

static void record_no_more(void)
{
	sqlite3_vfs_unregister(&recorder);
}

static void forget_ops(void)
{
	for (size_t i = 0; i < n_ops; i++)
		free(ops[i].bytes);
	n_ops = 0;
	started = 0;
	ios = 0;
}

/* ---- a life of the store --------------------------------------------------------------------------------------------- */

struct answer {
	unsigned calls;
	int err;
	size_t n;
	int batch; /* that all of them hold; -1: none is there, -2: mixed */
};

static void on_done(void *arg, int err)
{
	struct answer *a = arg;

	a->calls++;
	a->err = err;
}

static void on_pairs(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more)
{
	struct answer *a = arg;

	a->calls++;
	a->err = err;
	a->n = n;
	a->batch = -1;
	assert_false(more);
	for (size_t i = 0; i < n; i++) {
		int batch = atoi((const char *)pairs[i].value.p);

		if (i && batch != a->batch)
			batch = -2;
		a->batch = batch;
		if (batch == -2)
			return;
	}
}

static void wait_for(struct back *b, const struct answer *a)
{
	for (int i = 0; i < 2000 && !a->calls; i++)
		sg_loop_step(b->loop, 2);
	assert_int_equal(a->calls, 1);
}

/* What it was answered with. */
static int batch_write(struct back *b, int batch, bool durable)
{
	struct sg_store_change c[KEYS];
	char keys[KEYS][16], value[3000];
	struct answer a = {0};
	int err;

	memset(value, 'x', sizeof(value));
	snprintf(value, sizeof(value), "%d", batch);
	for (int i = 0; i < KEYS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%d", i);
		c[i] = (struct sg_store_change){.key = store_text(keys[i]),
			.value = {(const uint8_t *)value, 200 + (size_t)(batch * 397 + i * 991) % 2800}};
	}
	started = batch;
	err = store_write(&b->space, c, KEYS, durable ? SG_STORE_DURABLE : 0, on_done, &a);
	if (err < 0)
		return err;
	wait_for(b, &a);
	return a.err;
}

static int batch_read(struct back *b, struct answer *a)
{
	int err;

	*a = (struct answer){0};
	err = store_scan(&b->space, store_text("k"), store_text(""), 100, on_pairs, a);
	if (err < 0)
		return err;
	wait_for(b, a);
	return a->err;
}

/* Time for the commit of what may wait. */
static void pass(struct back *b, int64_t ms)
{
	back_ms += ms;
	for (int i = 0; i < 10; i++)
		sg_loop_step(b->loop, 1);
}

static void clean(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
}

/* Twice opened and closed, so that the log is made, moved into the file, begun again and deleted. */
static void live(void)
{
	for (int life = 0; life < 2; life++) {
		struct back *b;

		record_from_now();
		b = back_sqlite(dir, "");
		assert_string_equal(b->why, "");
		for (int i = 1; i <= 24; i++) {
			int batch = life * 24 + i;
			bool durable = i % 3 == 0;

			assert_int_equal(batch_write(b, batch, durable), 0);
			if (durable)
				record(ANSWERED, 0)->batch = batch;
			if (i % 4 == 1)
				pass(b, 6000);
		}
		back_free(b);
		record(ANSWERED, 0)->batch = started;
		record_no_more();
	}
}

/* ---- the disk, as a prefix left it ---------------------------------------------------------------------------------- */

struct image {
	bool there;
	size_t len;
	uint8_t bytes[DISK_MAX];
};

static struct image now[FILES], synced[FILES];

/* What is in it only: of whole images the thread sanitizer would look at every byte. */
static void image_copy(struct image *to, const struct image *from)
{
	to->there = from->there;
	to->len = from->len;
	memcpy(to->bytes, from->bytes, from->len);
}

static void image_write(struct image *m, int64_t at, const uint8_t *bytes, int len)
{
	size_t end = (size_t)at + (size_t)len;

	assert_true(end <= DISK_MAX);
	if ((size_t)at > m->len)
		memset(m->bytes + m->len, 0, (size_t)at - m->len);
	memcpy(m->bytes + at, bytes, (size_t)len);
	m->len = SG_MAX(m->len, end);
}

static void image_apply(const struct op *op)
{
	struct image *m = &now[op->file];

	switch (op->kind) {
	case CREATED:
		/* The database comes with its contents. */
		m->there = op->file != 0 || m->there;
		break;
	case WRITTEN:
		m->there = true;
		image_write(m, op->at, op->bytes, op->len);
		if (op->whole)
			image_copy(&synced[op->file], m);
		break;
	case CUT_OFF:
		m->len = (size_t)op->at;
		break;
	case SYNCED:
		image_copy(&synced[op->file], m);
		break;
	case DELETED:
		m->there = false;
		m->len = 0;
		image_copy(&synced[op->file], m);
		break;
	case ANSWERED:
		break;
	}
}

static void to_disk(const struct image *images)
{
	char path[128];

	clean();
	for (int i = 0; i < FILES; i++) {
		FILE *f;

		if (!images[i].there)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		f = fopen(path, "wb");
		assert_non_null(f);
		assert_int_equal(fwrite(images[i].bytes, 1, images[i].len, f), images[i].len);
		fclose(f);
	}
}

static bool is_there(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

/* @sure: the newest batch that was durable; @asked: the newest that was asked for by then. */
static void check_disk(size_t prefix, const char *how, int sure, int asked)
{
	struct back *b = back_sqlite(dir, "");
	struct answer a;

	if (b->why[0] || is_there("store.db.damaged"))
		fail_msg("prefix %zu, %s: %s", prefix, how, b->why[0] ? b->why : "taken for damaged");
	assert_int_equal(batch_read(b, &a), 0);
	if (a.batch == -2 || (a.n && a.n != KEYS) || SG_MAX(a.batch, 0) < sure || a.batch > asked)
		fail_msg("prefix %zu, %s: batch %d (%zu keys) where %d to %d were to be", prefix, how, a.batch, a.n,
			sure, asked);
	back_free(b);
}

static int setup(void **state)
{
	(void)state;
	/* The test syncs as often as the store does: memory is quicker where there is some. */
	snprintf(dir, sizeof(dir), "%s/sg-cut-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(dir));
	back_ms = 1000000;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	clean();
	assert_int_equal(rmdir(dir), 0);
	forget_ops();
	return 0;
}

static void test_every_prefix(void **state)
{
	static struct image torn[FILES];
	int sure = 0;
	size_t opened = 0;

	(void)state;
	live();
	memset(now, 0, sizeof(now));
	memset(synced, 0, sizeof(synced));
	for (size_t i = 0; i < n_ops; i++) {
		const struct op *op = &ops[i];

		if (op->kind == WRITTEN && !op->whole) {
			for (int f = 0; f < FILES; f++)
				image_copy(&torn[f], &now[f]);
			image_write(&torn[op->file], op->at, op->bytes, op->len / 2);
			to_disk(torn);
			check_disk(i, "the last write torn", sure, started);
			opened++;
		}
		image_apply(op);
		if (op->kind == ANSWERED) {
			sure = op->batch;
			continue;
		}
		to_disk(now);
		check_disk(i, "whole", sure, started);
		/* The files are there since they were made: a directory is not what is tried here. */
		for (int f = 0; f < FILES; f++)
			synced[f].there = now[f].there;
		to_disk(synced);
		check_disk(i, "without what was not synced", sure, started);
		opened += 2;
	}
	printf("%zu operations recorded, %zu disks opened\n", n_ops, opened);
	assert_true(opened > 300);
}

/* ---- failing disks and failing memory -------------------------------------------------------------------------------- */

static void test_every_io_fails(void **state)
{
	size_t n = 0;

	(void)state;
	sg_log_set_sink(fake_log_quiet, NULL);
	do {
		struct back *b;
		struct answer a;
		int sure = 0;

		clean();
		forget_ops();
		failed = false;
		/* A life before, so that there is something to lose. */
		b = back_sqlite(dir, "");
		assert_int_equal(batch_write(b, 1, true), 0);
		back_free(b);
		fail_at = ++n;
		record_from_now();
		b = back_sqlite(dir, "");
		if (b->why[0]) {
			assert_true(failed);
		} else {
			for (int batch = 2; batch < 8; batch++) {
				if (batch_write(b, batch, batch % 2) == 0 && batch % 2)
					sure = batch;
				(void)batch_read(b, &a);
				assert_int_not_equal(a.batch, -2);
				if (batch % 3 == 0)
					pass(b, 70000);
			}
		}
		back_free(b);
		record_no_more();
		fail_at = 0;
		b = back_sqlite(dir, "");
		assert_string_equal(b->why, "");
		assert_int_equal(batch_read(b, &a), 0);
		if (a.batch < SG_MAX(sure, 1) || a.n != KEYS || is_there("store.db.damaged"))
			fail_msg("failure %zu: batch %d (%zu keys), %d was durable", n, a.batch, a.n, sure);
		back_free(b);
	} while (failed && n < 5000);
	printf("%zu failures of the disk injected\n", n - 1);
	assert_true(n > 40);
	sg_log_set_sink(NULL, NULL);
}

static bool start_use_stop(void *arg)
{
	struct back *b = arg;
	struct answer a;
	bool ok = back_attach(b) == 0;

	if (!ok) {
		assert_true(b->why[0]);
		return false;
	}
	ok = batch_write(b, 1, false) == 0 && ok;
	ok = batch_write(b, 2, true) == 0 && ok;
	ok = batch_read(b, &a) == 0 && a.batch == 2 && ok;
	pass(b, 6000);
	back_detach(b);
	return ok;
}

static void test_every_allocation_fails(void **state)
{
	struct back *b;

	(void)state;
	sg_log_set_sink(fake_log_quiet, NULL);
	b = back_sqlite(dir, "");
	/* What grows once and stays, libuv's threads among it, is there after this. */
	back_detach(b);
	assert_true(start_use_stop(b));
	assert_true(fake_alloc_each("a life of the store", start_use_stop, b) > 100);
	back_free(b);
	sg_log_set_sink(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_prefix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_io_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_allocation_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
