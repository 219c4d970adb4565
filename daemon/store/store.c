/* The door to the store: spaces, questions under way, watches. */
#include "store/store.h"
#include "store/memory.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"

#include <time.h>

SG_LOG_TOPIC("store");

#define NAME_MAX_LEN 48
#define KEY_ROOM     (NAME_MAX_LEN + 1 + SG_STORE_KEY_MAX + 1) /* where a scan goes on: a key and a zero byte */

enum kind { GET, SCAN, WRITE };

struct question {
	struct sg_list node;
	uint64_t id;
	enum kind kind;
	bool memory; /* asked of it; else of the provider */
	const void *owner;
	size_t skip;     /* bytes of the space's name in front of each key */
	size_t key_len;  /* of GET, with the name */
	sg_store_fn *fn; /* of GET and SCAN; NULL: cancelled */
	sg_done_fn *done;
	void *arg;
	struct sg_store_change *changes; /* of WRITE, when somebody watches: the keys, with the name */
	size_t n_changes;
};

struct watch {
	struct sg_list node;
	const void *owner;
	sg_store_watch_fn *fn;
	void *arg;
	size_t skip;
	size_t len;
	uint8_t prefix[]; /* with the name */
};

struct store {
	struct sg_loop *loop;
	int64_t (*wall_s)(void);
	struct memory *memory;
	const struct sg_store_ops *ops; /* of the provider, NULL: memory */
	void *ctx;
	uint64_t next_id;
	struct sg_list questions; /* oldest first */
	struct sg_list watches;
	bool telling; /* watches are only marked */
	struct sg_log_limit rl_refused;
};

int64_t store_wall_s(void)
{
	return (int64_t)time(NULL);
}

static void on_memory_done(void *arg, uint64_t id, int err, struct sg_store_pair *pairs, size_t n, bool more)
{
	store_done(arg, id, err, pairs, n, more);
}

struct store *store_new(struct sg_loop *loop, int64_t (*wall_s)(void))
{
	struct store *st = sg_calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->loop = loop;
	st->wall_s = wall_s;
	sg_list_init(&st->questions);
	sg_list_init(&st->watches);
	st->memory = memory_new(loop, on_memory_done, st);
	if (st->memory)
		return st;
	store_free(st);
	return NULL;
}

static void question_free(struct question *q)
{
	sg_list_remove(&q->node);
	sg_free(q->changes);
	sg_free(q);
}

static void watch_free(struct watch *w)
{
	sg_list_remove(&w->node);
	sg_free(w);
}

void store_free(struct store *st)
{
	if (!st)
		return;
	memory_free(st->memory);
	while (!sg_list_empty(&st->questions))
		question_free(sg_container_of(st->questions.next, struct question, node));
	while (!sg_list_empty(&st->watches))
		watch_free(sg_container_of(st->watches.next, struct watch, node));
	sg_free(st);
}

bool store_lasts(const struct store *st)
{
	return st->ops != NULL;
}

/* ---- the end of a question ---------------------------------------------------------------------------------------- */

static bool begins(struct sg_view key, const uint8_t *prefix, size_t len)
{
	return key.len >= len && memcmp(key.p, prefix, len) == 0;
}

/* A call-back may cancel any watch. */
static void tell_watches(struct store *st, const struct question *q)
{
	st->telling = true;
	for (size_t i = 0; i < q->n_changes; i++) {
		struct sg_view key = q->changes[i].key;

		sg_list_for (it, &st->watches) {
			const struct watch *w = sg_container_of(it, struct watch, node);

			if (w->fn && begins(key, w->prefix, w->len))
				w->fn(w->arg, (struct sg_view){key.p + w->skip, key.len - w->skip});
		}
	}
	st->telling = false;
	sg_list_for_safe (it, &st->watches) {
		struct watch *w = sg_container_of(it, struct watch, node);

		if (!w->fn)
			watch_free(w);
	}
}

static void finish(struct store *st, struct question *q, int err, struct sg_store_pair *pairs, size_t n, bool more)
{
	if (q->kind == GET && err == 0 && (n != 1 || pairs[0].key.len != q->key_len))
		err = -ENOENT;
	if (err < 0)
		n = 0;
	for (size_t i = 0; i < n; i++) {
		pairs[i].key.p += q->skip;
		pairs[i].key.len -= q->skip;
	}
	/* It is off the list: a cancel from inside finds it no more. */
	sg_list_remove(&q->node);
	if (q->fn)
		q->fn(q->arg, err, pairs, n, q->kind == SCAN && err == 0 && more);
	else if (q->done)
		q->done(q->arg, err);
	if (err == 0)
		tell_watches(st, q);
	question_free(q);
}

static struct question *find_question(const struct store *st, uint64_t id)
{
	sg_list_for (it, &st->questions) {
		struct question *q = sg_container_of(it, struct question, node);

		if (q->id == id)
			return q;
	}
	return NULL;
}

void store_done(struct store *st, uint64_t id, int err, struct sg_store_pair *pairs, size_t n, bool more)
{
	struct question *q = find_question(st, id);

	if (q)
		finish(st, q, err, pairs, n, more);
}

size_t store_abandon(struct store *st)
{
	size_t n = 0;
	bool found;

	do {
		found = false;
		sg_list_for (it, &st->questions) {
			struct question *q = sg_container_of(it, struct question, node);

			if (q->memory)
				continue;
			finish(st, q, SG_ECLOSED, NULL, 0, false);
			found = true;
			n++;
			break;
		}
	} while (found);
	return n;
}

/* ---- questions ---------------------------------------------------------------------------------------------------- */

static const struct sg_store_ops *asked(const struct store *st, void **ctx)
{
	*ctx = st->ops ? st->ctx : st->memory;
	return st->ops ? st->ops : &memory_ops;
}

/* The key as the store has it. */
static struct sg_view full_key(const struct store_space *s, struct sg_view key, uint8_t *room)
{
	size_t skip = strlen(s->name);

	memcpy(room, s->name, skip);
	room[skip++] = '/';
	if (key.len)
		memcpy(room + skip, key.p, key.len);
	return (struct sg_view){room, skip + key.len};
}

static struct question *question_new(const struct store_space *s, enum kind kind, void *arg)
{
	struct store *st = s->store;
	struct question *q = sg_calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	*q = (struct question){.id = ++st->next_id,
		.kind = kind,
		.memory = !st->ops,
		.owner = s->owner,
		.skip = strlen(s->name) + 1,
		.arg = arg};
	sg_list_add_tail(&st->questions, &q->node);
	return q;
}

static int ask(const struct store_space *s, enum kind kind, struct sg_view prefix, struct sg_view from, size_t limit,
	sg_store_fn *fn, void *arg)
{
	uint8_t prefix_room[KEY_ROOM], from_room[KEY_ROOM];
	const struct sg_store_ops *ops;
	struct question *q;
	void *ctx;
	int err;

	if (prefix.len > SG_STORE_KEY_MAX || from.len > SG_STORE_KEY_MAX + 1)
		return SG_ELONG;
	q = question_new(s, kind, arg);
	if (!q)
		return -ENOMEM;
	q->fn = fn;
	prefix = full_key(s, prefix, prefix_room);
	q->key_len = prefix.len;
	ops = asked(s->store, &ctx);
	err = ops->scan(ctx, q->id, prefix, full_key(s, from, from_room), limit, s->store->wall_s());
	if (err < 0)
		question_free(q);
	return err;
}

int store_get(const struct store_space *s, struct sg_view key, sg_store_fn *fn, void *arg)
{
	/* The first key that begins with it is the key itself, if it is there. */
	return key.len ? ask(s, GET, key, key, 1, fn, arg) : SG_EMALF;
}

int store_scan(const struct store_space *s, struct sg_view prefix, struct sg_view from, size_t limit, sg_store_fn *fn,
	void *arg)
{
	return ask(s, SCAN, prefix, from, SG_MIN(SG_MAX(limit, (size_t)1), (size_t)SG_STORE_PAGE_MAX), fn, arg);
}

int store_scan_on(const struct store_space *s, struct sg_view prefix, const struct sg_store_pair *last, sg_store_fn *fn,
	void *arg)
{
	uint8_t from[SG_STORE_KEY_MAX + 1];

	/* No key lies between one and the same with a zero byte behind it. */
	memcpy(from, last->key.p, last->key.len);
	from[last->key.len] = 0;
	return store_scan(s, prefix, (struct sg_view){from, last->key.len + 1}, SG_STORE_PAGE_MAX, fn, arg);
}

static int check(const struct sg_store_change *changes, size_t n)
{
	if (n == 0)
		return SG_EMALF;
	if (n > SG_STORE_BATCH_MAX)
		return SG_ELONG;
	for (size_t i = 0; i < n; i++) {
		if (!changes[i].key.len || changes[i].ttl_s < 0)
			return SG_EMALF;
		if (changes[i].key.len > SG_STORE_KEY_MAX ||
			(!changes[i].remove && changes[i].value.len > SG_STORE_VALUE_MAX))
			return SG_ELONG;
	}
	return 0;
}

/* With the names in front; one block that sg_free frees. Values stay where they are. */
static struct sg_store_change *full_changes(
	const struct store_space *s, const struct sg_store_change *changes, size_t n)
{
	size_t skip = strlen(s->name) + 1, bytes = 0;
	struct sg_store_change *out;
	uint8_t *room;

	for (size_t i = 0; i < n; i++)
		bytes += skip + changes[i].key.len;
	out = sg_malloc(n * sizeof(*out) + bytes);
	if (!out)
		return NULL;
	room = (uint8_t *)&out[n];
	for (size_t i = 0; i < n; i++) {
		out[i] = changes[i];
		out[i].key = full_key(s, changes[i].key, room);
		room += out[i].key.len;
		if (out[i].remove)
			out[i].value = (struct sg_view){NULL, 0};
	}
	return out;
}

int store_write(const struct store_space *s, const struct sg_store_change *changes, size_t n, unsigned flags,
	sg_done_fn *done, void *arg)
{
	const struct sg_store_ops *ops;
	struct question *q;
	void *ctx;
	int err = check(changes, n);

	if (err < 0)
		return err;
	q = question_new(s, WRITE, arg);
	if (!q)
		return -ENOMEM;
	q->done = done;
	q->changes = full_changes(s, changes, n);
	q->n_changes = n;
	ops = asked(s->store, &ctx);
	err = q->changes ? ops->write(ctx, q->id, q->changes, n, flags, s->store->wall_s()) : -ENOMEM;
	if (err < 0) {
		question_free(q);
	} else if (sg_list_empty(&s->store->watches)) {
		sg_free(q->changes);
		q->changes = NULL;
		q->n_changes = 0;
	}
	return err;
}

void store_put(const struct store_space *s, const char *key, struct sg_view value, int64_t ttl_s)
{
	struct sg_store_change c = {.key = store_text(key), .value = value, .ttl_s = ttl_s};
	int err = store_write(s, &c, 1, 0, NULL, NULL);

	if (err < 0)
		log_warn_rl(&s->store->rl_refused, "%s/%s is not kept: %s", s->name, key, sg_strerror(err));
}

int store_watch(const struct store_space *s, struct sg_view prefix, sg_store_watch_fn *fn, void *arg)
{
	size_t skip = strlen(s->name) + 1;
	struct watch *w;

	if (prefix.len > SG_STORE_KEY_MAX)
		return SG_ELONG;
	w = sg_calloc(1, sizeof(*w) + skip + prefix.len);
	if (!w)
		return -ENOMEM;
	w->owner = s->owner;
	w->fn = fn;
	w->arg = arg;
	w->skip = skip;
	w->len = full_key(s, prefix, w->prefix).len;
	sg_list_add_tail(&s->store->watches, &w->node);
	return 0;
}

size_t store_cancel(const struct store_space *s, bool any, const void *arg)
{
	struct store *st = s->store;
	size_t n = 0;

	/* What is to be written is written, and others who watch are told. */
	sg_list_for (it, &st->questions) {
		struct question *q = sg_container_of(it, struct question, node);

		if (q->owner != s->owner || (!any && q->arg != arg))
			continue;
		n += q->fn || q->done;
		q->fn = NULL;
		q->done = NULL;
	}
	sg_list_for_safe (it, &st->watches) {
		struct watch *w = sg_container_of(it, struct watch, node);

		if (w->owner != s->owner || (!any && w->arg != arg) || !w->fn)
			continue;
		n++;
		w->fn = NULL;
		if (!st->telling)
			watch_free(w);
	}
	return n;
}

/* ---- the provider ------------------------------------------------------------------------------------------------- */

static void hand_over(void *arg, const struct sg_store_change *c)
{
	struct store *st = arg;
	int err = st->ops->write(st->ctx, 0, c, 1, 0, st->wall_s());

	if (err < 0)
		log_warn_rl(&st->rl_refused, "what was kept in memory is not kept on disk: %s", sg_strerror(err));
}

void store_provider(struct store *st, const struct sg_store_ops *ops, void *ctx)
{
	st->ops = ops;
	st->ctx = ctx;
	if (ops)
		memory_each(st->memory, st->wall_s(), hand_over, st);
	memory_clear(st->memory);
}
