/* SQLite behind db.h. */
#include "db.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/text.h"

#include <fcntl.h>
#include <malloc.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID   0x536b7947 /* "SkyG" in the file's header: it is ours */
#define CHECKPOINT_PAGES 64         /* of the log, before they move into the file */
#define PATH_LEN_MAX     4096

struct db {
	sqlite3 *sq;
	sqlite3_stmt *scan, *put, *remove;
	bool open;    /* a transaction is */
	bool damaged; /* SQLite met a page that makes no sense */
	bool lost;    /* a transaction ended by itself, with what waited in it */
	size_t waiting;
	uint64_t written;
	int log_pages; /* in the write-ahead log after the last commit */
	int page_size;
	char path[PATH_LEN_MAX];
};

/* From the version of its index to the next. A file of an older version is copied first, then takes all steps at once. */
static const char *const steps[] = {
	"CREATE TABLE kv (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID",
	/* The sweep looks at what is over only. */
	"CREATE INDEX kv_expires ON kv (expires) WHERE expires > 0",
};
#define VERSION ((int)SG_ARRAY_LEN(steps))

/* ---- SQLite itself ------------------------------------------------------------------------------------------------ */

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

static int code_of(struct db *db, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		db->damaged = true;
		return SG_EMALF;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
		return -EACCES;
	default:
		return -EIO;
	}
}

static int run(struct db *db, const char *sql)
{
	return code_of(db, sqlite3_exec(db->sq, sql, NULL, NULL, NULL));
}

static int runf(struct db *db, const char *fmt, ...)
{
	va_list ap;
	char *sql;
	int err;

	va_start(ap, fmt);
	sql = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	err = sql ? run(db, sql) : -ENOMEM;
	sqlite3_free(sql);
	return err;
}

/* A question with one number, or one text, as the answer. */
static int ask(struct db *db, const char *sql, int64_t *number, char *text, size_t cap)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(db->sq, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW && number)
		*number = sqlite3_column_int64(st, 0);
	if (rc == SQLITE_ROW && text) {
		const unsigned char *answer = sqlite3_column_text(st, 0);

		snprintf(text, cap, "%s", answer ? (const char *)answer : "");
	}
	sqlite3_finalize(st);
	return code_of(db, rc);
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

/* ---- opening ------------------------------------------------------------------------------------------------------- */

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
	char copy[PATH_LEN_MAX + 16];
	int err;

	snprintf(copy, sizeof(copy), "%s.v%d", db->path, (int)version);
	unlink(copy);
	err = make_private(copy);
	if (err == 0)
		err = runf(db, "VACUUM INTO %Q", copy);
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
	err = run(db, "BEGIN IMMEDIATE");
	for (int64_t v = version; v < VERSION && err == 0; v++)
		err = run(db, steps[v]);
	if (err == 0)
		err = runf(db, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, VERSION);
	if (err == 0)
		err = run(db, "COMMIT");
	return err;
}

/* Whose file it is, and of which version. */
static int check_version(struct db *db, char *why)
{
	int64_t id = 0, version = 0, tables = 0;
	int err = ask(db, "PRAGMA application_id", &id, NULL, 0);

	if (err == 0)
		err = ask(db, "PRAGMA user_version", &version, NULL, 0);
	if (err == 0)
		err = ask(db, "SELECT count(*) FROM sqlite_schema", &tables, NULL, 0);
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
		err = ask(db, "PRAGMA quick_check(1)", NULL, verdict, sizeof(verdict));
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
	return code_of(db, rc);
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
	int err = code_of(db, sqlite3_open_v2(path, &db->sq, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL));

	if (err < 0)
		return err;
	sqlite3_extended_result_codes(db->sq, 1);
	/* Exclusive before anything is read: no shared memory beside the file then. */
	err = run(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		      "PRAGMA cache_size = -256; PRAGMA cache_spill = 0; PRAGMA temp_store = MEMORY;"
		      "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 0; PRAGMA trusted_schema = 0");
	if (err == 0)
		err = ask(db, "PRAGMA page_size", &page_size, NULL, 0);
	if (err == 0)
		err = check_pages(db);
	if (err == 0)
		err = check_version(db, why);
	if (err == 0)
		err = runf(db, "PRAGMA max_page_count = %lld", (long long)(max_bytes / (uint64_t)page_size));
	if (err == 0)
		err = prepare(db);
	db->page_size = (int)page_size;
	sqlite3_wal_hook(db->sq, on_log, db);
	return err;
}

static int sync_dir_of(const char *path)
{
	char dir[PATH_LEN_MAX];

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	return sync_path(dir[0] ? dir : "/", O_DIRECTORY);
}

/* Made beside its place and moved there when it is whole, so that a file in that place never is a half-made one. */
static int make_new(struct db *db, uint64_t max_bytes, char *why)
{
	static const char *const left[] = {"", "-wal", "-journal"};
	char fresh[PATH_LEN_MAX + 8], old[PATH_LEN_MAX + 24];
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
	char from[PATH_LEN_MAX + 16], to[PATH_LEN_MAX + 16];

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

/* ---- reading ------------------------------------------------------------------------------------------------------- */

/* Places in the block, which moves while it grows. */
struct place {
	size_t key, key_len, value, value_len;
};

struct build {
	struct place places[SG_STORE_PAGE_MAX];
	size_t n, values;
	uint8_t *bytes;
	size_t len, cap;
};

static int add(struct build *b, const void *key, size_t key_len, const void *value, size_t value_len)
{
	size_t need = b->len + key_len + value_len;

	if (need > b->cap) {
		size_t cap = SG_MAX(2 * b->cap, need + 256);
		uint8_t *bytes = sg_realloc(b->bytes, cap);

		if (!bytes)
			return -ENOMEM;
		b->bytes = bytes;
		b->cap = cap;
	}
	b->places[b->n++] = (struct place){b->len, key_len, b->len + key_len, value_len};
	memcpy(b->bytes + b->len, key, key_len);
	if (value_len)
		memcpy(b->bytes + b->len + key_len, value, value_len);
	b->len = need;
	b->values += value_len;
	return 0;
}

static int finish(const struct build *b, struct db_page *out)
{
	uint8_t *bytes;

	if (!b->n)
		return 0;
	out->pairs = sg_malloc(b->n * sizeof(*out->pairs) + b->len);
	if (!out->pairs)
		return -ENOMEM;
	bytes = (uint8_t *)&out->pairs[b->n];
	memcpy(bytes, b->bytes, b->len);
	for (size_t i = 0; i < b->n; i++)
		out->pairs[i] = (struct sg_store_pair){{bytes + b->places[i].key, b->places[i].key_len},
			{bytes + b->places[i].value, b->places[i].value_len}};
	out->n = b->n;
	return 0;
}

static bool begins(const void *key, size_t len, struct sg_view prefix)
{
	return len >= prefix.len && (!prefix.len || memcmp(key, prefix.p, prefix.len) == 0);
}

static bool is_above(struct sg_view a, struct sg_view b)
{
	size_t len = SG_MIN(a.len, b.len);
	int order = len ? memcmp(a.p, b.p, len) : 0;

	return order > 0 || (order == 0 && a.len > b.len);
}

/* SQLite takes a NULL pointer for NULL; an empty run of bytes has to point somewhere. */
static int bind_bytes(sqlite3_stmt *st, int at, struct sg_view v)
{
	return sqlite3_bind_blob64(st, at, v.len ? (const void *)v.p : "", v.len, SQLITE_STATIC);
}

static int scan_rows(struct db *db, struct sg_view prefix, size_t limit, struct build *b, bool *more)
{
	int rc;

	while ((rc = sqlite3_step(db->scan)) == SQLITE_ROW) {
		const void *key = sqlite3_column_blob(db->scan, 0), *value = sqlite3_column_blob(db->scan, 1);
		size_t key_len = (size_t)sqlite3_column_bytes(db->scan, 0);
		size_t value_len = (size_t)sqlite3_column_bytes(db->scan, 1);

		if (!key || (!value && value_len))
			return -ENOMEM;
		if (!begins(key, key_len, prefix))
			return 0;
		*more = b->n == limit || (b->n && b->values + value_len > SG_STORE_PAGE_BYTES);
		if (*more)
			return 0;
		if (add(b, key, key_len, value, value_len) < 0)
			return -ENOMEM;
	}
	return code_of(db, rc);
}

int db_scan(struct db *db, struct sg_view prefix, struct sg_view from, size_t limit, int64_t now_s, struct db_page *out)
{
	struct build *b = sg_calloc(1, sizeof(*b));
	struct sg_view first = is_above(from, prefix) ? from : prefix;
	int err;

	*out = (struct db_page){0};
	if (!b)
		return -ENOMEM;
	err = code_of(db, bind_bytes(db->scan, 1, first));
	if (err == 0)
		err = code_of(db, sqlite3_bind_int64(db->scan, 2, now_s));
	if (err == 0)
		err = scan_rows(db, prefix, SG_MIN(limit, (size_t)SG_STORE_PAGE_MAX), b, &out->more);
	sqlite3_reset(db->scan);
	sqlite3_clear_bindings(db->scan);
	if (err == 0)
		err = finish(b, out);
	sg_free(b->bytes);
	sg_free(b);
	return err;
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

static int begin(struct db *db)
{
	int err = db->open ? 0 : run(db, "BEGIN IMMEDIATE");

	if (err == 0)
		db->open = true;
	return err;
}

static int apply(struct db *db, const struct sg_store_change *c, int64_t now_s)
{
	sqlite3_stmt *st = c->remove ? db->remove : db->put;
	int rc = bind_bytes(st, 1, c->key);

	if (rc == SQLITE_OK && !c->remove)
		rc = bind_bytes(st, 2, c->value);
	if (rc == SQLITE_OK && !c->remove)
		rc = sqlite3_bind_int64(st, 3, c->ttl_s ? now_s + c->ttl_s : 0);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return code_of(db, rc);
}

/* Some errors end the whole transaction, and with it what earlier writes left there. */
static void note_rollback(struct db *db)
{
	if (db->open && sqlite3_get_autocommit(db->sq)) {
		db->open = false;
		db->lost = db->lost || db->waiting;
		db->waiting = 0;
	}
}

int db_write(struct db *db, const struct sg_store_change *changes, size_t n, int64_t now_s)
{
	int err = begin(db);
	size_t bytes = 0;

	if (err == 0)
		err = run(db, "SAVEPOINT batch");
	if (err < 0)
		return err;
	for (size_t i = 0; i < n && err == 0; i++) {
		err = apply(db, &changes[i], now_s);
		bytes += changes[i].key.len + (changes[i].remove ? 0 : changes[i].value.len);
	}
	if (err == 0)
		err = run(db, "RELEASE batch");
	if (err < 0)
		(void)run(db, "ROLLBACK TO batch; RELEASE batch");
	else
		db->waiting += bytes;
	note_rollback(db);
	return err;
}

static void count_written(struct db *db)
{
	int now = 0, high = 0;

	/* Pages that went into the log, each with a head of its own. */
	if (sqlite3_db_status(db->sq, SQLITE_DBSTATUS_CACHE_WRITE, &now, &high, 1) == SQLITE_OK)
		db->written += (uint64_t)now * (uint64_t)(db->page_size + 24);
}

static void checkpoint(struct db *db)
{
	int log = 0, moved = 0;

	/* One that fails is tried again after the next commit; the log keeps everything meanwhile. */
	if (sqlite3_wal_checkpoint_v2(db->sq, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &moved) == SQLITE_OK && moved > 0)
		db->written += (uint64_t)moved * (uint64_t)db->page_size;
}

int db_commit(struct db *db)
{
	int err;

	if (!db->open)
		return 0;
	err = run(db, "COMMIT");
	if (err == 0) {
		db->open = false;
		db->waiting = 0;
		count_written(db);
		if (db->log_pages >= CHECKPOINT_PAGES)
			checkpoint(db);
	}
	note_rollback(db);
	return err;
}

int db_sweep(struct db *db, int64_t now_s)
{
	int err = begin(db);

	return err == 0 ? runf(db, "DELETE FROM kv WHERE expires > 0 AND expires <= %lld", (long long)now_s) : err;
}

bool db_damaged(const struct db *db)
{
	return db->damaged;
}

void db_stats(struct db *db, struct db_stats *out)
{
	int64_t pages = 0;

	*out = (struct db_stats){.written = db->written, .waiting = db->waiting, .lost = db->lost};
	db->lost = false;
	db->written = 0;
	if (ask(db, "PRAGMA page_count", &pages, NULL, 0) == 0)
		out->size = (uint64_t)pages * (uint64_t)db->page_size;
}
