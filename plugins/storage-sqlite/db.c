/* SQLite behind db.h: asking it, reading, writing. Opening is in open.c. */
#include "db_internal.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

#include <stdarg.h>

#define CHECKPOINT_PAGES 64 /* of the log, before they move into the file */

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

int db_code(struct db *db, int rc)
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

int db_run(struct db *db, const char *sql)
{
	return db_code(db, sqlite3_exec(db->sq, sql, NULL, NULL, NULL));
}

int db_runf(struct db *db, const char *fmt, ...)
{
	va_list ap;
	char *sql;
	int err;

	va_start(ap, fmt);
	sql = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	err = sql ? db_run(db, sql) : -ENOMEM;
	sqlite3_free(sql);
	return err;
}

int db_ask(struct db *db, const char *sql, int64_t *number, char *text, size_t cap)
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
	return db_code(db, rc);
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
	return db_code(db, rc);
}

int db_scan(struct db *db, struct sg_view prefix, struct sg_view from, size_t limit, int64_t now_s, struct db_page *out)
{
	struct build *b = sg_calloc(1, sizeof(*b));
	struct sg_view first = is_above(from, prefix) ? from : prefix;
	int err;

	*out = (struct db_page){0};
	if (!b)
		return -ENOMEM;
	err = db_code(db, bind_bytes(db->scan, 1, first));
	if (err == 0)
		err = db_code(db, sqlite3_bind_int64(db->scan, 2, now_s));
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
	int err = db->open ? 0 : db_run(db, "BEGIN IMMEDIATE");

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
	return db_code(db, rc);
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
		err = db_run(db, "SAVEPOINT batch");
	if (err < 0)
		return err;
	for (size_t i = 0; i < n && err == 0; i++) {
		err = apply(db, &changes[i], now_s);
		bytes += changes[i].key.len + (changes[i].remove ? 0 : changes[i].value.len);
	}
	if (err == 0)
		err = db_run(db, "RELEASE batch");
	if (err < 0)
		(void)db_run(db, "ROLLBACK TO batch; RELEASE batch");
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
	err = db_run(db, "COMMIT");
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

	return err == 0 ? db_runf(db, "DELETE FROM kv WHERE expires > 0 AND expires <= %lld", (long long)now_s) : err;
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
	if (db_ask(db, "PRAGMA page_count", &pages, NULL, 0) == 0)
		out->size = (uint64_t)pages * (uint64_t)db->page_size;
}
