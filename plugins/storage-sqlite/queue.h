/*
 * The questions to the file, in their order, for one worker at a time:
 *
 *	scan, write → waiting → worker: db.c, all that waited as one group → answers, in order
 *	                                └ one commit for the durable ones of the group
 *
 * Writes that nobody waits for gather, and are committed together after a few seconds, later once the day's share of bytes is
 * used up: flash wears out. What gathers is bounded; beyond it writes are refused.
 */
#ifndef SQLITE_QUEUE_H
#define SQLITE_QUEUE_H

#include "base/list.h"
#include "base/log.h"
#include "db.h"
#include "loop/loop.h"

struct job;

struct queue {
	const struct sg_host *host; /* borrowed */
	struct sg_inst *inst;       /* borrowed */
	struct sg_loop *loop;
	struct db *db; /* the worker's while there is one */
	char path[4096];
	uint64_t max_bytes, day_bytes;
	struct sg_list waiting, group; /* of struct job; the group is with the worker */
	bool working, closing;
	struct sg_defer failed; /* no worker could be had */
	struct sg_timer commit;
	int64_t credit; /* bytes that may be written now */
	struct sg_mono credit_at, swept, opened;
	size_t queued;      /* bytes of writes that the worker has not taken over */
	int64_t now_s;      /* of the newest question */
	struct job *ending; /* of CLOSE, made at the beginning */

	/* What the worker finds out: its own until it is done. */
	struct {
		struct db_stats stats;
		int commit_err;
		char note[DB_WHY_MAX];
	} found;
	/* The same as the loop knows it, also while the next group is with the worker. */
	struct db_stats stats;
	int commit_err;

	uint64_t written, commits, refused; /* bytes, and how often */
	char why[DB_WHY_MAX];               /* the last commit failed, a sentence; "": it did not */
	struct sg_log_limit rl_failed, rl_refused;
	void (*closed)(void *arg);
	void *arg;
};

/** queue_open - 0, or a negative code with a sentence. */
int queue_open(struct queue *q, char *why, size_t cap);
/** queue_close - answers everything, commits, closes; ends in @closed once, inside or later. */
void queue_close(struct queue *q, void (*closed)(void *arg), void *arg);
/** queue_budget - the bytes of a day changed. */
void queue_budget(struct queue *q, uint64_t day_bytes);

int queue_scan(void *ctx, uint64_t id, struct sg_view prefix, struct sg_view from, size_t limit, int64_t now_s);
int queue_write(void *ctx, uint64_t id, const struct sg_store_change *changes, size_t n, unsigned flags, int64_t now_s);

#endif
