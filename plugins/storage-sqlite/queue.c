/* See queue.h. What the worker touches: q->db, the jobs of q->group, and q->found. */
#include "queue.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

SG_LOG_TOPIC("store");

#define GATHER_MS   5000          /* writes wait for company */
#define RETRY_MS    60000         /* after a commit that failed */
#define SWEEP_MS    3600000       /* what is over is removed */
#define WAITING_MAX (1024 * 1024) /* bytes without a commit; more is refused */
#define DAY_S       (24 * 3600)

enum kind { SCAN, WRITE, COMMIT, SWEEP, CLOSE };

struct job {
	struct sg_list node;
	uint64_t id;
	enum kind kind;
	unsigned flags;
	int64_t now_s;
	struct sg_view prefix, from; /* of SCAN */
	size_t limit;
	struct sg_store_change *changes; /* of WRITE */
	size_t n;
	int err;
	struct db_page page;
	_Alignas(max_align_t) uint8_t bytes[]; /* what the views point to, changes among it */
};

static void kick(struct queue *q);

static void job_free(struct job *j)
{
	sg_list_remove(&j->node);
	sg_free(j->page.pairs);
	sg_free(j);
}

/* ---- the budget --------------------------------------------------------------------------------------------------- */

/* An hour's share may be used at once. */
static int64_t credit_max(const struct queue *q)
{
	return (int64_t)(q->day_bytes / 24);
}

static void credit_grow(struct queue *q)
{
	struct sg_mono now = sg_loop_now(q->loop);
	int64_t ms = sg_mono_ms_since(now, q->credit_at), grown = ms * (int64_t)q->day_bytes / (DAY_S * 1000LL);

	if (grown == 0)
		return;
	q->credit = SG_MIN(q->credit + grown, credit_max(q));
	q->credit_at = now;
}

/* How long until something may be written that nobody waits for. */
static int64_t credit_ms(const struct queue *q)
{
	return q->credit > 0 ? 0 : (1 - q->credit) * DAY_S * 1000LL / (int64_t)q->day_bytes;
}

void queue_budget(struct queue *q, uint64_t day_bytes)
{
	credit_grow(q);
	q->day_bytes = day_bytes;
	q->credit = SG_MIN(q->credit, credit_max(q));
}

static void plan_commit(struct queue *q)
{
	int64_t ms = SG_MAX(q->stats.waiting < WAITING_MAX / 4 ? (int64_t)GATHER_MS : 0, credit_ms(q));

	if (q->commit_err < 0)
		ms = SG_MAX(ms, (int64_t)RETRY_MS);
	if (q->stats.waiting && !q->closing && !sg_timer_active(&q->commit) && sg_timer_start(&q->commit, ms) < 0)
		log_warn("memory is out: writes wait for the next durable one");
}

/* ---- the worker --------------------------------------------------------------------------------------------------- */

/* A page went bad under way. What the file had is set aside, said, and the visor goes on with an empty one. */
static void reopen(struct queue *q)
{
	char why[DB_WHY_MAX];

	db_close(q->db);
	q->db = NULL;
	if (db_open(q->path, q->max_bytes, &q->db, why, q->found.note) < 0)
		snprintf(q->found.note, sizeof(q->found.note), "%s", why);
}

static void commit_group(struct queue *q)
{
	q->found.commit_err = db_commit(q->db);
	sg_list_for (it, &q->group) {
		struct job *j = sg_container_of(it, struct job, node);

		if (j->err == 0 && (j->kind == COMMIT || (j->flags & SG_STORE_DURABLE)))
			j->err = q->found.commit_err;
	}
}

static int run_job(struct queue *q, struct job *j)
{
	if (!q->db && j->kind != CLOSE)
		return -EIO;
	switch (j->kind) {
	case SCAN:
		return db_scan(q->db, j->prefix, j->from, j->limit, j->now_s, &j->page);
	case WRITE:
		return db_write(q->db, j->changes, j->n, j->now_s);
	case SWEEP:
		return db_sweep(q->db, j->now_s);
	default:
		return 0;
	}
}

static void work(void *arg)
{
	struct queue *q = arg;
	bool commit = false, close = false;

	q->found.note[0] = '\0';
	sg_list_for (it, &q->group) {
		struct job *j = sg_container_of(it, struct job, node);

		j->err = run_job(q, j);
		commit = commit || j->kind == COMMIT || (j->kind == WRITE && (j->flags & SG_STORE_DURABLE));
		close = close || j->kind == CLOSE;
	}
	if (q->db && (commit || close))
		commit_group(q);
	if (q->db && db_damaged(q->db))
		reopen(q);
	q->found.stats = (struct db_stats){0};
	if (q->db)
		db_stats(q->db, &q->found.stats);
	if (close) {
		db_close(q->db);
		q->db = NULL;
	}
}

/* ---- its results -------------------------------------------------------------------------------------------------- */

static void tell_commit(struct queue *q, bool tried)
{
	if (q->found.note[0])
		log_error("%s", q->found.note);
	if (q->stats.lost && (!tried || q->commit_err == 0))
		log_error("%s: what was written in the last seconds is lost", q->path);
	if (!tried)
		return;
	if (q->commit_err == 0) {
		q->why[0] = '\0';
		q->commits++;
		return;
	}
	snprintf(q->why, sizeof(q->why), "%.300s cannot be written: %s; %s", q->path,
		q->commit_err == -ENOSPC ? "the disk or  option size_mib  is full" : sg_strerror(q->commit_err),
		q->stats.lost ? "what was written last is lost" : "it is kept in memory and tried again");
	log_warn_rl(&q->rl_failed, "%s", q->why);
}

static void deliver(struct queue *q)
{
	struct sg_list done;

	/* Answers may ask again, which starts the next group. */
	sg_list_init(&done);
	while (!sg_list_empty(&q->group)) {
		struct sg_list *first = q->group.next;

		sg_list_remove(first);
		sg_list_add_tail(&done, first);
	}
	while (!sg_list_empty(&done)) {
		struct job *j = sg_container_of(done.next, struct job, node);

		sg_list_remove(&j->node);
		if (j->kind == SCAN || j->kind == WRITE)
			q->host->store_done(q->inst, j->id, j->err, j->page.pairs, j->page.n, j->page.more);
		job_free(j);
	}
}

static void on_worked(void *arg)
{
	struct queue *q = arg;
	bool tried = false, closed = false;

	sg_list_for (it, &q->group) {
		struct job *j = sg_container_of(it, struct job, node);

		tried = tried || j->kind == COMMIT || (j->flags & SG_STORE_DURABLE);
		closed = closed || j->kind == CLOSE;
	}
	q->stats = q->found.stats;
	q->commit_err = q->found.commit_err;
	q->written += q->stats.written;
	credit_grow(q);
	q->credit -= (int64_t)q->stats.written;
	tell_commit(q, tried || closed);
	q->working = false;
	deliver(q);
	if (closed) {
		q->closed(q->arg);
		return;
	}
	plan_commit(q);
	kick(q);
}

/* ---- questions ---------------------------------------------------------------------------------------------------- */

/* No worker could be had: better slowly here than not at all. */
static void work_here(void *arg)
{
	work(arg);
	on_worked(arg);
}

static void kick(struct queue *q)
{
	if (q->working || sg_list_empty(&q->waiting))
		return;
	while (!sg_list_empty(&q->waiting)) {
		struct sg_list *first = q->waiting.next;

		sg_list_remove(first);
		sg_list_add_tail(&q->group, first);
	}
	q->queued = 0;
	q->working = true;
	if (sg_work_start(q->loop, work, on_worked, q) < 0)
		sg_defer_start(q->loop, &q->failed);
}

static struct job *job_new(enum kind kind, size_t bytes)
{
	struct job *j = sg_calloc(1, sizeof(*j) + bytes);

	if (!j)
		return NULL;
	sg_list_init(&j->node);
	j->kind = kind;
	return j;
}

static void job_add(struct queue *q, struct job *j)
{
	j->now_s = q->now_s;
	sg_list_add_tail(&q->waiting, &j->node);
	kick(q);
}

static struct sg_view keep(uint8_t **at, struct sg_view v)
{
	struct sg_view kept = {*at, v.len};

	if (v.len)
		memcpy(*at, v.p, v.len);
	*at += v.len;
	return kept;
}

int queue_scan(void *ctx, uint64_t id, struct sg_view prefix, struct sg_view from, size_t limit, int64_t now_s)
{
	struct queue *q = ctx;
	struct job *j = q->closing ? NULL : job_new(SCAN, prefix.len + from.len);
	uint8_t *at;

	if (!j)
		return q->closing ? SG_ESTATE : -ENOMEM;
	at = j->bytes;
	j->id = id;
	j->prefix = keep(&at, prefix);
	j->from = keep(&at, from);
	j->limit = limit;
	q->now_s = now_s;
	job_add(q, j);
	return 0;
}

static void sweep(struct queue *q)
{
	struct sg_mono now = sg_loop_now(q->loop);
	struct job *j;

	if (q->swept.ns && sg_mono_ms_since(now, q->swept) < SWEEP_MS)
		return;
	j = job_new(SWEEP, 0);
	if (!j)
		return;
	q->swept = now;
	job_add(q, j);
}

int queue_write(void *ctx, uint64_t id, const struct sg_store_change *changes, size_t n, unsigned flags, int64_t now_s)
{
	struct queue *q = ctx;
	size_t bytes = 0;
	struct job *j;
	uint8_t *at;

	if (q->closing)
		return SG_ESTATE;
	for (size_t i = 0; i < n; i++)
		bytes += changes[i].key.len + (changes[i].remove ? 0 : changes[i].value.len);
	if (!(flags & SG_STORE_DURABLE) && q->queued + q->stats.waiting + bytes > WAITING_MAX) {
		q->refused++;
		log_warn_rl(&q->rl_refused, "more is to be kept than  option daily_mib  lets onto the disk: refused");
		return SG_EFULL;
	}
	j = job_new(WRITE, n * sizeof(*changes) + bytes);
	if (!j)
		return -ENOMEM;
	j->id = id;
	j->flags = flags;
	j->n = n;
	j->changes = (struct sg_store_change *)(void *)j->bytes;
	at = j->bytes + n * sizeof(*changes);
	for (size_t i = 0; i < n; i++) {
		j->changes[i] = changes[i];
		j->changes[i].key = keep(&at, changes[i].key);
		j->changes[i].value = changes[i].remove ? (struct sg_view){NULL, 0} : keep(&at, changes[i].value);
	}
	q->queued += bytes;
	q->now_s = now_s;
	job_add(q, j);
	sweep(q);
	return 0;
}

static void on_commit(void *arg)
{
	struct queue *q = arg;
	struct job *j = job_new(COMMIT, 0);

	if (j)
		job_add(q, j);
	else
		plan_commit(q);
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

int queue_open(struct queue *q, char *why, size_t cap)
{
	char text[DB_WHY_MAX];
	int err;

	q->ending = job_new(CLOSE, 0);
	if (!q->ending) {
		snprintf(why, cap, "memory is out");
		return -ENOMEM;
	}
	err = db_open(q->path, q->max_bytes, &q->db, text, q->found.note);
	if (err < 0) {
		snprintf(why, cap, "%s", text);
		sg_free(q->ending);
		return err;
	}
	if (q->found.note[0])
		log_error("%s", q->found.note);
	db_stats(q->db, &q->stats);
	sg_list_init(&q->waiting);
	sg_list_init(&q->group);
	sg_defer_init(&q->failed, work_here, q);
	sg_timer_init(&q->commit, q->loop, on_commit, q);
	q->opened = q->credit_at = sg_loop_now(q->loop);
	q->credit = credit_max(q);
	return 0;
}

void queue_close(struct queue *q, void (*closed)(void *arg), void *arg)
{
	q->closing = true;
	q->closed = closed;
	q->arg = arg;
	sg_timer_stop(&q->commit);
	job_add(q, q->ending);
}
