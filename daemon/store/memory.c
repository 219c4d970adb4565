/*
 * Pairs in memory: an array of pointers, sorted by key. A few thousand at most live here, so moving the tail of the array on
 * an insertion costs less than a tree's pointers would.
 */
#include "store/memory.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

#define SWEEP_S 60 /* between two looks for what is over */

struct entry {
	size_t key_len, value_len;
	int64_t expires_s; /* 0: never */
	uint8_t bytes[];   /* key, value */
};

/* What is to be told in the next round. */
struct answer {
	struct sg_list node;
	uint64_t id;
	size_t n;
	bool more;
	struct sg_store_pair pairs[]; /* their bytes behind them */
};

struct memory {
	struct sg_loop *loop;
	memory_done_fn *done;
	void *arg;
	struct entry **entries;
	size_t n, cap, bytes;
	int64_t swept_s;
	struct sg_list answers;
	struct sg_defer tell;
};

static struct sg_view key_of(const struct entry *e)
{
	return (struct sg_view){e->bytes, e->key_len};
}

static int compare(struct sg_view a, struct sg_view b)
{
	size_t len = SG_MIN(a.len, b.len);
	int order = len ? memcmp(a.p, b.p, len) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool begins(struct sg_view key, struct sg_view prefix)
{
	return key.len >= prefix.len && (!prefix.len || memcmp(key.p, prefix.p, prefix.len) == 0);
}

static bool is_over(const struct entry *e, int64_t now_s)
{
	return e->expires_s && e->expires_s <= now_s;
}

/* The place of the first key that is not below. */
static size_t place_of(const struct memory *m, struct sg_view key)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare(key_of(m->entries[mid]), key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void remove_at(struct memory *m, size_t at)
{
	m->bytes -= m->entries[at]->key_len + m->entries[at]->value_len;
	sg_free(m->entries[at]);
	m->n--;
	memmove(&m->entries[at], &m->entries[at + 1], (m->n - at) * sizeof(*m->entries));
}

static void sweep(struct memory *m, int64_t now_s)
{
	size_t kept = 0;

	m->swept_s = now_s;
	for (size_t i = 0; i < m->n; i++) {
		struct entry *e = m->entries[i];

		if (!is_over(e, now_s)) {
			m->entries[kept++] = e;
			continue;
		}
		m->bytes -= e->key_len + e->value_len;
		sg_free(e);
	}
	m->n = kept;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void tell(void *arg)
{
	struct memory *m = arg;

	while (!sg_list_empty(&m->answers)) {
		struct answer *a = sg_container_of(m->answers.next, struct answer, node);

		sg_list_remove(&a->node);
		m->done(m->arg, a->id, 0, a->pairs, a->n, a->more);
		sg_free(a);
	}
}

static struct answer *answer_new(uint64_t id, size_t n, size_t bytes)
{
	struct answer *a = sg_calloc(1, sizeof(*a) + n * sizeof(a->pairs[0]) + bytes);

	if (a)
		a->id = id;
	return a;
}

static void answer_later(struct memory *m, struct answer *a)
{
	sg_list_add_tail(&m->answers, &a->node);
	sg_defer_start(m->loop, &m->tell);
}

/* ---- the two calls ------------------------------------------------------------------------------------------------ */

static int memory_scan(void *ctx, uint64_t id, struct sg_view prefix, struct sg_view from, size_t limit, int64_t now_s)
{
	struct memory *m = ctx;
	size_t first = place_of(m, compare(from, prefix) > 0 ? from : prefix), n = 0, bytes = 0, keys = 0, end;
	struct answer *a;
	uint8_t *at;

	for (end = first; end < m->n && begins(key_of(m->entries[end]), prefix); end++) {
		const struct entry *e = m->entries[end];

		if (is_over(e, now_s))
			continue;
		if (n == limit || (n && bytes + e->value_len > SG_STORE_PAGE_BYTES))
			break;
		bytes += e->value_len;
		keys += e->key_len;
		n++;
	}
	a = answer_new(id, n, bytes + keys);
	if (!a)
		return -ENOMEM;
	a->more = end < m->n && begins(key_of(m->entries[end]), prefix);
	at = (uint8_t *)&a->pairs[n];
	for (size_t i = first; i < end; i++) {
		const struct entry *e = m->entries[i];
		size_t len = e->key_len + e->value_len;

		if (is_over(e, now_s))
			continue;
		memcpy(at, e->bytes, len);
		a->pairs[a->n++] = (struct sg_store_pair){{at, e->key_len}, {at + e->key_len, e->value_len}};
		at += len;
	}
	answer_later(m, a);
	return 0;
}

static struct entry *entry_new(const struct sg_store_change *c, int64_t now_s)
{
	struct entry *e = sg_malloc(sizeof(*e) + c->key.len + c->value.len);

	if (!e)
		return NULL;
	e->key_len = c->key.len;
	e->value_len = c->value.len;
	e->expires_s = c->ttl_s ? now_s + c->ttl_s : 0;
	memcpy(e->bytes, c->key.p, c->key.len);
	if (c->value.len)
		memcpy(e->bytes + c->key.len, c->value.p, c->value.len);
	return e;
}

static int grow(struct memory *m, size_t n)
{
	size_t cap = SG_MAX(m->cap, (size_t)16);
	struct entry **entries;

	while (cap < m->n + n)
		cap *= 2;
	if (cap == m->cap)
		return 0;
	entries = sg_realloc(m->entries, cap * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	m->entries = entries;
	m->cap = cap;
	return 0;
}

static void apply(struct memory *m, const struct sg_store_change *c, struct entry *e)
{
	size_t at = place_of(m, c->key);
	bool there = at < m->n && compare(key_of(m->entries[at]), c->key) == 0;

	if (there)
		remove_at(m, at);
	if (!e)
		return;
	memmove(&m->entries[at + 1], &m->entries[at], (m->n - at) * sizeof(*m->entries));
	m->entries[at] = e;
	m->n++;
	m->bytes += e->key_len + e->value_len;
}

/* Whatever can fail comes before the first change. */
static int memory_write(
	void *ctx, uint64_t id, const struct sg_store_change *changes, size_t n, unsigned flags, int64_t now_s)
{
	struct memory *m = ctx;
	struct answer *a = answer_new(id, 0, 0);
	struct entry **made = sg_calloc(n, sizeof(*made));
	size_t bytes = 0;
	int err = a && made ? grow(m, n) : -ENOMEM;

	(void)flags;
	/* Also when the clock was set back. */
	if (err == 0 && (now_s - m->swept_s >= SWEEP_S || now_s < m->swept_s))
		sweep(m, now_s);
	for (size_t i = 0; i < n && err == 0; i++) {
		if (changes[i].remove)
			continue;
		made[i] = entry_new(&changes[i], now_s);
		bytes += changes[i].key.len + changes[i].value.len;
		if (!made[i])
			err = -ENOMEM;
		else if (m->bytes + bytes > MEMORY_BYTES_MAX)
			err = SG_EFULL;
	}
	for (size_t i = 0; i < n && made; i++) {
		if (err == 0)
			apply(m, &changes[i], made[i]);
		else
			sg_free(made[i]);
	}
	sg_free(made);
	if (err == 0)
		answer_later(m, a);
	else
		sg_free(a);
	return err;
}

const struct sg_store_ops memory_ops = {.size = sizeof(memory_ops), .scan = memory_scan, .write = memory_write};

/* ---- life --------------------------------------------------------------------------------------------------------- */

struct memory *memory_new(struct sg_loop *loop, memory_done_fn *done, void *arg)
{
	struct memory *m = sg_calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->loop = loop;
	m->done = done;
	m->arg = arg;
	sg_list_init(&m->answers);
	sg_defer_init(&m->tell, tell, m);
	return m;
}

void memory_clear(struct memory *m)
{
	for (size_t i = 0; i < m->n; i++)
		sg_free(m->entries[i]);
	sg_free(m->entries);
	m->entries = NULL;
	m->n = m->cap = m->bytes = 0;
}

void memory_free(struct memory *m)
{
	if (!m)
		return;
	sg_defer_stop(&m->tell);
	while (!sg_list_empty(&m->answers)) {
		struct answer *a = sg_container_of(m->answers.next, struct answer, node);

		sg_list_remove(&a->node);
		sg_free(a);
	}
	memory_clear(m);
	sg_free(m);
}

void memory_each(
	const struct memory *m, int64_t now_s, void (*fn)(void *arg, const struct sg_store_change *c), void *arg)
{
	for (size_t i = 0; i < m->n; i++) {
		const struct entry *e = m->entries[i];
		struct sg_store_change c = {.key = key_of(e),
			.value = {e->bytes + e->key_len, e->value_len},
			.ttl_s = e->expires_s ? e->expires_s - now_s : 0};

		if (!is_over(e, now_s))
			fn(arg, &c);
	}
}
