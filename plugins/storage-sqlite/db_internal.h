/* What db.c and open.c share: one connection, and asking it. */
#ifndef SQLITE_DB_INTERNAL_H
#define SQLITE_DB_INTERNAL_H

#include "db.h"

#include <sqlite3.h>

#define DB_PATH_MAX 4096

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
	char path[DB_PATH_MAX];
};

/** db_code - of SQLite's: 0 or negative; notes a damaged file. */
int db_code(struct db *db, int rc);
int db_run(struct db *db, const char *sql);
/** db_runf - SQLite's own format: %Q quotes. */
int db_runf(struct db *db, const char *fmt, ...);
/** db_ask - a question with one number, or one text, as the answer. */
int db_ask(struct db *db, const char *sql, int64_t *number, char *text, size_t cap);

#endif
