/*
 *	links' counters → tplog_count → today's totals in memory → every ten minutes → store: DAY/ID → recv, sent, time
 *	GET /DAY.csv → today: from memory · another day: from the store
 */
#include "net/tplog.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/list.h"
#include "base/log.h"

#include <time.h>

SG_LOG_TOPIC("net");

#define DAY_TEXT  11 /* "2026-11-21" */
#define VALUE_LEN 24
#define LINE_MAX  96
#define HEAD      "tp_id,recv,sent,time_stamp\n"

struct total {
	struct sg_list node;
	struct sg_tpid id;
	uint64_t recv, sent;           /* of the day */
	uint64_t seen_recv, seen_sent; /* of the connection that is up */
	int64_t at_s;                  /* of the last change */
	bool changed;                  /* since the last flush */
};

struct query {
	struct sg_list node;
	struct tplog *t;
	char day[DAY_TEXT];
	struct sg_defer now; /* of today: no store is asked */
	char *csv;
	size_t len, cap;
	tplog_fn *fn;
	void *arg;
};

struct tplog {
	struct sg_loop *loop;
	struct store_space keys;
	int64_t (*wall_s)(void);
	char day[DAY_TEXT]; /* of the totals */
	struct sg_list totals, queries;
	size_t n;
	int64_t flushed_s;
	struct sg_log_limit rl_full;
};

static void day_of(int64_t s, char out[DAY_TEXT])
{
	time_t at = (time_t)s;
	struct tm tm;

	if (!strftime(out, DAY_TEXT, "%Y-%m-%d", gmtime_r(&at, &tm)))
		out[0] = '\0';
}

static struct total *find(const struct tplog *t, const struct sg_tpid *id)
{
	sg_list_for (it, &t->totals) {
		struct total *l = sg_container_of(it, struct total, node);

		if (sg_tpid_equal(&l->id, id))
			return l;
	}
	return NULL;
}

static struct total *get(struct tplog *t, const struct sg_tpid *id)
{
	struct total *l = find(t, id);

	if (l)
		return l;
	l = t->n < TPLOG_MAX ? sg_calloc(1, sizeof(*l)) : NULL;
	if (!l) {
		log_warn_rl(&t->rl_full, "the transport log is full: a transport is not counted");
		return NULL;
	}
	l->id = *id;
	sg_list_add_tail(&t->totals, &l->node);
	t->n++;
	return l;
}

/* ---- the store ---------------------------------------------------------------------------------------------------- */

static void total_write(struct tplog *t, struct total *l)
{
	char key[DAY_TEXT + SG_TPID_TEXT], id[SG_TPID_TEXT];
	uint8_t value[VALUE_LEN];

	snprintf(key, sizeof(key), "%s/%s", t->day, sg_tpid_str(&l->id, id));
	sg_put_u64(value, l->recv);
	sg_put_u64(value + 8, l->sent);
	sg_put_u64(value + 16, (uint64_t)l->at_s);
	store_put(&t->keys, key, (struct sg_view){value, sizeof(value)}, TPLOG_KEEP_S);
	l->changed = false;
}

void tplog_flush(struct tplog *t)
{
	t->flushed_s = t->wall_s();
	sg_list_for (it, &t->totals) {
		struct total *l = sg_container_of(it, struct total, node);

		if (l->changed)
			total_write(t, l);
	}
}

/* One line of the store. */
static bool line_read(const struct sg_store_pair *p, struct total *out)
{
	if (p->key.len != DAY_TEXT + SG_TPID_TEXT - 1 || p->value.len != VALUE_LEN ||
		sg_tpid_parse((const char *)p->key.p + DAY_TEXT, p->key.len - DAY_TEXT, &out->id) < 0)
		return false;
	out->recv = sg_get_u64(p->value.p);
	out->sent = sg_get_u64(p->value.p + 8);
	out->at_s = (int64_t)sg_get_u64(p->value.p + 16);
	return true;
}

static int scan(struct tplog *t, const char *day, const struct sg_store_pair *last, sg_store_fn *fn, void *arg)
{
	char prefix[DAY_TEXT + 1];

	snprintf(prefix, sizeof(prefix), "%s/", day);
	return last ? store_scan_on(&t->keys, store_text(prefix), last, fn, arg)
		    : store_scan(&t->keys, store_text(prefix), store_text(""), SG_STORE_PAGE_MAX, fn, arg);
}

/* What was counted before this start goes on, with what was counted since. */
static void on_before(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more)
{
	struct tplog *t = arg;
	struct total before, *l;

	if (err < 0)
		log_warn("today's transport log cannot be read: %s", sg_strerror(err));
	for (size_t i = 0; err == 0 && i < n; i++) {
		if (memcmp(pairs[i].key.p, t->day, DAY_TEXT - 1) != 0 || !line_read(&pairs[i], &before))
			continue;
		l = get(t, &before.id);
		if (!l)
			continue;
		/* What a flush has written meanwhile was without it. */
		l->changed = l->changed || l->recv || l->sent;
		l->recv += before.recv;
		l->sent += before.sent;
		l->at_s = SG_MAX(l->at_s, before.at_s);
	}
	if (err == 0 && more)
		(void)scan(t, t->day, &pairs[n - 1], on_before, t);
}

/* ---- counting ----------------------------------------------------------------------------------------------------- */

/*
 * A new day begins at zero; what is up goes on from where it is, and what is not is forgotten. A day may come again, when a
 * clock is set: what the store has of it is added.
 */
static void turn_day(struct tplog *t)
{
	char today[DAY_TEXT];

	day_of(t->wall_s(), today);
	if (strcmp(t->day, today) == 0)
		return;
	tplog_flush(t);
	memcpy(t->day, today, sizeof(t->day));
	sg_list_for_safe (it, &t->totals) {
		struct total *l = sg_container_of(it, struct total, node);

		l->recv = l->sent = 0;
		if (l->seen_recv || l->seen_sent)
			continue;
		sg_list_remove(&l->node);
		sg_free(l);
		t->n--;
	}
	store_cancel(&t->keys, false, t);
	(void)scan(t, t->day, NULL, on_before, t);
}

void tplog_count(struct tplog *t, const struct sg_tpid *id, uint64_t recv, uint64_t sent, bool ended)
{
	struct total *l;
	int64_t since_s;

	turn_day(t);
	l = recv || sent ? get(t, id) : find(t, id);
	if (!l)
		return;
	/* Less than before: another connection of the same transport. */
	if (recv < l->seen_recv || sent < l->seen_sent)
		l->seen_recv = l->seen_sent = 0;
	if (recv != l->seen_recv || sent != l->seen_sent) {
		l->recv += recv - l->seen_recv;
		l->sent += sent - l->seen_sent;
		l->at_s = t->wall_s();
		l->changed = true;
	}
	l->seen_recv = ended ? 0 : recv;
	l->seen_sent = ended ? 0 : sent;
	since_s = t->wall_s() - t->flushed_s;
	if (since_s >= TPLOG_FLUSH_S || since_s < 0)
		tplog_flush(t);
}

/* ---- the file of a day -------------------------------------------------------------------------------------------- */

static void query_free(struct query *q)
{
	sg_list_remove(&q->node);
	sg_defer_stop(&q->now);
	store_cancel(&q->t->keys, false, q);
	sg_free(q->csv);
	sg_free(q);
}

static void query_done(struct query *q)
{
	tplog_fn *fn = q->fn;
	void *arg = q->arg;
	char *csv = q->csv;
	size_t len = q->len;

	q->csv = NULL;
	query_free(q);
	fn(arg, csv, len);
	sg_free(csv);
}

static bool add_line(struct query *q, const struct total *l)
{
	char id[SG_TPID_TEXT], *csv;

	if (q->len + LINE_MAX > q->cap) {
		csv = sg_realloc(q->csv, q->cap + 64 * LINE_MAX);
		if (!csv)
			return false;
		q->csv = csv;
		q->cap += 64 * LINE_MAX;
		if (!q->len)
			q->len = (size_t)snprintf(csv, q->cap, HEAD);
	}
	q->len += (size_t)snprintf(q->csv + q->len, LINE_MAX, "%s,%llu,%llu,%lld\n", sg_tpid_str(&l->id, id),
		(unsigned long long)l->recv, (unsigned long long)l->sent, (long long)l->at_s);
	return true;
}

static void on_today(void *arg)
{
	struct query *q = arg;

	sg_list_for (it, &q->t->totals) {
		const struct total *l = sg_container_of(it, struct total, node);

		if ((l->recv || l->sent) && !add_line(q, l))
			break;
	}
	query_done(q);
}

static void on_lines(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more)
{
	struct query *q = arg;
	struct total l;

	for (size_t i = 0; err == 0 && i < n; i++) {
		if (line_read(&pairs[i], &l) && !add_line(q, &l))
			break;
	}
	if (err == 0 && more && q->len < TPLOG_MAX * LINE_MAX && scan(q->t, q->day, &pairs[n - 1], on_lines, q) == 0)
		return;
	query_done(q);
}

static bool is_date(const char *text)
{
	static const char shape[] = "dddd-dd-dd";
	size_t i = 0;

	for (; shape[i] && text[i]; i++) {
		if (shape[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
			return false;
	}
	return !shape[i] && !text[i];
}

int tplog_csv(struct tplog *t, const char *date, tplog_fn *fn, void *arg)
{
	struct query *q;
	int err = 0;

	if (!is_date(date))
		return SG_EMALF;
	q = sg_calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	turn_day(t);
	*q = (struct query){.t = t, .fn = fn, .arg = arg};
	memcpy(q->day, date, DAY_TEXT);
	sg_defer_init(&q->now, on_today, q);
	sg_list_add_tail(&t->queries, &q->node);
	if (strcmp(date, t->day) == 0)
		sg_defer_start(t->loop, &q->now);
	else
		err = scan(t, date, NULL, on_lines, q);
	if (err < 0)
		query_free(q);
	return err;
}

void tplog_cancel(struct tplog *t, const void *arg)
{
	sg_list_for_safe (it, &t->queries) {
		struct query *q = sg_container_of(it, struct query, node);

		if (q->arg == arg)
			query_free(q);
	}
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

struct tplog *tplog_new(struct sg_loop *loop, struct store *store, int64_t (*wall_s)(void))
{
	struct tplog *t = sg_calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->loop = loop;
	t->wall_s = wall_s;
	t->flushed_s = wall_s();
	t->keys = (struct store_space){store, t, "transport-log"};
	sg_list_init(&t->totals);
	sg_list_init(&t->queries);
	day_of(wall_s(), t->day);
	(void)scan(t, t->day, NULL, on_before, t);
	return t;
}

void tplog_free(struct tplog *t)
{
	if (!t)
		return;
	while (!sg_list_empty(&t->queries))
		query_free(sg_container_of(t->queries.next, struct query, node));
	store_cancel(&t->keys, true, NULL);
	while (!sg_list_empty(&t->totals)) {
		struct total *l = sg_container_of(t->totals.next, struct total, node);

		sg_list_remove(&l->node);
		sg_free(l);
	}
	sg_free(t);
}
