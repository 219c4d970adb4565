/*
 * The file: one table of keys and values in SQLite, write-ahead log, one connection that nobody else shares. Every call
 * blocks, so it comes from a worker thread (or from start and stop), one at a time.
 *
 * Writes gather in one open transaction, which reads see; db_commit puts them on the disk at once. So a cut of the power
 * takes the newest writes, whole batches of them, and nothing else.
 */
#ifndef SQLITE_DB_H
#define SQLITE_DB_H

#include <skygate/plugin.h>

#define DB_WHY_MAX 400

struct db;

struct db_stats {
	uint64_t written; /* bytes given to the disk since the last question */
	size_t waiting;   /* bytes accepted that no commit has put there yet */
	uint64_t size;    /* bytes of the file */
	bool lost;        /* since the last question: what waited is gone */
};

/* Pairs in one block that sg_free frees; NULL when there are none. */
struct db_page {
	struct sg_store_pair *pairs;
	size_t n;
	bool more;
};

/**
 * db_open - opens or makes @path, at most @max_bytes. A damaged file is set aside as PATH.damaged and a new one begun; then
 * @note says so. 0 and *out, or a negative code with a sentence in @why.
 */
int db_open(const char *path, uint64_t max_bytes, struct db **out, char why[DB_WHY_MAX], char note[DB_WHY_MAX]);
/** db_close - commits. 0, or a negative code when the last writes are lost. Accepts NULL. */
int db_close(struct db *db);

int db_scan(
	struct db *db, struct sg_view prefix, struct sg_view from, size_t limit, int64_t now_s, struct db_page *out);
/** db_write - all changes or none, not yet on the disk. */
int db_write(struct db *db, const struct sg_store_change *changes, size_t n, int64_t now_s);
/** db_commit - what was written is on the disk when it returns 0; else it waits for the next commit. */
int db_commit(struct db *db);
/** db_sweep - removes what is over. */
int db_sweep(struct db *db, int64_t now_s);
/** db_damaged - a call met a damaged page: close it and open again, which sets the file aside. */
bool db_damaged(const struct db *db);
void db_stats(struct db *db, struct db_stats *out);

#endif
