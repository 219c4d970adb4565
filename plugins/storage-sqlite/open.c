/*
 * Opening the file: whose it is, of which version, whether it makes sense.
 *
 *	none there → made beside its place, moved there when it is whole
 *	an older version → copied, then brought to this one          damaged → set aside, and a new one is made
 */
#include "db_internal.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/text.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x536b7947 /* "SkyG" in the file's header: it is ours */

/* From the version of its index to the next. A file of an older version is copied first, then takes all steps at once. */
static const char *const steps[] = {
	"CREATE TABLE kv (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID",
	/* The sweep looks at what is over only. */
	"CREATE INDEX kv_expires ON kv (expires) WHERE expires > 0",
};
#define VERSION ((int)SG_ARRAY_LEN(steps))

/* ---- the library ------------------------------------------------------------------------------------------------------ */

static void *heap_malloc(int size)
{
	return sg_malloc((size_t)size);
}

static void *heap_realloc(void *p, int size)
{
	return sg_realloc(p, (size_t)size);
}

static int heap_size(void *p)
{
	return (int)malloc_usable_size(p);
}

static int heap_roundup(int size)
{
	return (size + 7) & ~7;
}

static int heap_init(void *arg)
{
	(void)arg;
	return SQLITE_OK;
}

static void heap_fini(void *arg)
{
	(void)arg;
}

/* Our heap under it, so that its bytes are counted with ours. Nobody else in this process uses SQLite. */
static int library_start(void)
{
	static const sqlite3_mem_methods heap = {
		heap_malloc, sg_free, heap_realloc, heap_size, heap_roundup, heap_init, heap_fini, NULL};

	sqlite3_config(SQLITE_CONFIG_MALLOC, &heap);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	return sqlite3_initialize() == SQLITE_OK ? 0 : -ENOMEM;
}

/* A sentence; what is too long for it is cut. */
static void SG_PRINTF(2, 3) say(char text[DB_WHY_MAX], const char *fmt, ...)
{
	struct sg_text t = sg_text(text, DB_WHY_MAX);
	va_list ap;

	va_start(ap, fmt);
	sg_text_vaddf(&t, fmt, ap);
	va_end(ap);
}

/* ---- the file ------------------------------------------------------------------------------------------------------- */

/* It is also what the log beside it gets. */
static int make_private(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), err = 0;

	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0600) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int sync_path(const char *path, int flags)
{
	int fd = open(path, flags | O_RDONLY | O_CLOEXEC), err = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

/* The copy is as safe on the disk as the file was, before the file is touched. */
static int copy_before(struct db *db, int64_t version, char *why)
{
	char copy[DB_PATH_MAX + 16];
	int err;

	snprintf(copy, sizeof(copy), "%s.v%d", db->path, (int)version);
	unlink(copy);
	err = make_private(copy);
	if (err == 0)
		err = db_runf(db, "VACUUM INTO %Q", copy);
	if (err == 0)
		err = sync_path(copy, 0);
	if (err < 0) {
		unlink(copy);
		say(why, "%s cannot be copied before its contents change: %s\n  make room beside it", db->path,
			sg_strerror(err));
	}
	return err;
}

static int migrate(struct db *db, int64_t version, char *why)
{
	int err = version ? copy_before(db, version, why) : 0;

	if (err < 0)
		return err;
	err = db_run(db, "BEGIN IMMEDIATE");
	for (int64_t v = version; v < VERSION && err == 0; v++)
		err = db_run(db, steps[v]);
	if (err == 0)
		err = db_runf(db, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, VERSION);
	if (err == 0)
		err = db_run(db, "COMMIT");
	return err;
}

/* Whose file it is, and of which version. */
static int check_version(struct db *db, char *why)
{
	int64_t id = 0, version = 0, tables = 0;
	int err = db_ask(db, "PRAGMA application_id", &id, NULL, 0);

	if (err == 0)
		err = db_ask(db, "PRAGMA user_version", &version, NULL, 0);
	if (err == 0)
		err = db_ask(db, "SELECT count(*) FROM sqlite_schema", &tables, NULL, 0);
	if (err < 0)
		return err;
	if (id != APPLICATION_ID && (id || version || tables)) {
		say(why, "%s is a database, but not ours\n  move it away, or give skygated another  --state DIR",
			db->path);
		return -EEXIST;
	}
	if (version > VERSION) {
		say(why,
			"%s was written by a newer Skygate (its version %d, this one knows %d)\n"
			"  install the newer one again, or move the file away",
			db->path, (int)version, VERSION);
		return SG_EABI;
	}
	return version < VERSION ? migrate(db, version, why) : 0;
}

/*
 * A page that makes no sense is found now, not in the middle of the night. What is kept here is small. Asked twice: that a
 * read failed for once looks the same.
 */
static int check_pages(struct db *db)
{
	char verdict[64] = "";
	int err = 0;

	for (int i = 0; i < 2; i++) {
		err = db_ask(db, "PRAGMA quick_check(1)", NULL, verdict, sizeof(verdict));
		if (err < 0 || strcmp(verdict, "ok") == 0)
			return err;
	}
	db->damaged = true;
	return SG_EMALF;
}

static int on_log(void *arg, sqlite3 *sq, const char *name, int pages)
{
	struct db *db = arg;

	(void)sq;
	(void)name;
	db->log_pages = pages;
	return SQLITE_OK;
}

static int prepare(struct db *db)
{
	struct {
		sqlite3_stmt **st;
		const char *sql;
	} const all[] = {
		{&db->scan, "SELECT key, value FROM kv WHERE key >= ?1 AND (expires = 0 OR expires > ?2) ORDER BY key"},
		{&db->put, "INSERT OR REPLACE INTO kv VALUES (?1, ?2, ?3)"},
		{&db->remove, "DELETE FROM kv WHERE key = ?1"}};
	int rc = SQLITE_OK;

	for (size_t i = 0; i < SG_ARRAY_LEN(all) && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v3(db->sq, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT, all[i].st, NULL);
	return db_code(db, rc);
}

static void close_all(struct db *db)
{
	sqlite3_finalize(db->scan);
	sqlite3_finalize(db->put);
	sqlite3_finalize(db->remove);
	db->scan = db->put = db->remove = NULL;
	sqlite3_close(db->sq);
	db->sq = NULL;
}

static int open_file(struct db *db, const char *path, uint64_t max_bytes, char *why)
{
	int64_t page_size = 0;
	int err = db_code(db, sqlite3_open_v2(path, &db->sq, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));

	if (err < 0)
		return err;
	sqlite3_extended_result_codes(db->sq, 1);
	/* Exclusive before anything is read: no shared memory beside the file then. */
	err = db_run(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
			 "PRAGMA cache_size = -256; PRAGMA cache_spill = 0; PRAGMA temp_store = MEMORY;"
			 "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 0; PRAGMA trusted_schema = 0");
	if (err == 0)
		err = db_ask(db, "PRAGMA page_size", &page_size, NULL, 0);
	if (err == 0 && page_size <= 0) /* nothing was answered */
		err = -EIO;
	if (err == 0)
		err = check_pages(db);
	if (err == 0)
		err = check_version(db, why);
	if (err == 0)
		err = db_runf(db, "PRAGMA max_page_count = %lld", (long long)(max_bytes / (uint64_t)page_size));
	if (err == 0)
		err = prepare(db);
	db->page_size = (int)page_size;
	sqlite3_wal_hook(db->sq, on_log, db);
	return err;
}

static int sync_dir_of(const char *path)
{
	char dir[DB_PATH_MAX];

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	return sync_path(dir[0] ? dir : "/", O_DIRECTORY);
}

/* Made beside its place and moved there when it is whole, so that a file in that place never is a half-made one. */
static int make_new(struct db *db, uint64_t max_bytes, char *why)
{
	static const char *const left[] = {"", "-wal", "-journal"};
	char fresh[DB_PATH_MAX + 8], old[DB_PATH_MAX + 24];
	int err;

	snprintf(fresh, sizeof(fresh), "%s.new", db->path);
	for (size_t i = 0; i < SG_ARRAY_LEN(left); i++) {
		snprintf(old, sizeof(old), "%s%s", fresh, left[i]);
		unlink(old);
	}
	err = make_private(fresh);
	if (err == 0)
		err = open_file(db, fresh, max_bytes, why);
	close_all(db);
	if (err == 0)
		err = sync_path(fresh, 0);
	if (err == 0 && rename(fresh, db->path) < 0)
		err = -errno;
	return err == 0 ? sync_dir_of(db->path) : err;
}

static int try_open(struct db *db, uint64_t max_bytes, char *why)
{
	struct stat st;
	int err = 0;

	if (stat(db->path, &st) < 0) {
		if (errno != ENOENT)
			return -errno;
		err = make_new(db, max_bytes, why);
	} else if (st.st_size == 0) {
		db->damaged = true; /* it was never made so */
		err = SG_EMALF;
	}
	return err == 0 ? open_file(db, db->path, max_bytes, why) : err;
}

static int set_aside(struct db *db, char *note)
{
	char from[DB_PATH_MAX + 16], to[DB_PATH_MAX + 16];

	snprintf(to, sizeof(to), "%s.damaged", db->path);
	if (rename(db->path, to) < 0)
		return -errno;
	snprintf(from, sizeof(from), "%s-wal", db->path);
	snprintf(to, sizeof(to), "%s.damaged-wal", db->path);
	if (rename(from, to) < 0 && errno != ENOENT)
		return -errno;
	say(note,
		"%s was damaged; it is set aside as %s.damaged and a new one begins empty: leases, kept transports, "
		"answers of "
		"services and the day's transport log are forgotten",
		db->path, db->path);
	return 0;
}

int db_open(const char *path, uint64_t max_bytes, struct db **out, char why[DB_WHY_MAX], char note[DB_WHY_MAX])
{
	struct db *db = sg_calloc(1, sizeof(*db));
	int err = db ? library_start() : -ENOMEM;

	why[0] = note[0] = '\0';
	if (err < 0)
		goto fail;
	snprintf(db->path, sizeof(db->path), "%s", path);
	err = try_open(db, max_bytes, why);
	if (err < 0 && db->damaged) {
		close_all(db);
		db->damaged = false;
		err = set_aside(db, note);
		if (err == 0)
			err = try_open(db, max_bytes, why);
	}
	if (err == 0) {
		*out = db;
		return 0;
	}
fail:
	if (!why[0])
		say(why, "%s cannot be opened: %s\n  is there room, and may this user write there?", path,
			sg_strerror(err));
	if (db)
		close_all(db);
	sg_free(db);
	sqlite3_shutdown();
	return err;
}

int db_close(struct db *db)
{
	int err = 0;

	if (!db)
		return 0;
	if (!db->damaged)
		err = db_commit(db);
	close_all(db);
	sg_free(db);
	sqlite3_shutdown();
	return err;
}
