/*
 * What net/ keeps over a restart: the last good answers of services, so that a start without them finds its way, and the
 * sequence of our entry in the dmsg discovery, which must only grow. It comes back a moment after the start; an answer that
 * came meanwhile is newer and stays.
 */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/log.h"
#include "net/internal.h"

SG_LOG_TOPIC("net");

#define CACHE_SPACE    "cache/"
#define CACHE_TTL_S    (7 * 24 * 3600)
#define CACHE_AGAIN_MS (15 * 60 * 1000) /* until the next answer of the same name is written */
#define SEQUENCE_KEY   "disc.sequence"
#define SEQUENCE_AHEAD 256 /* one write does for so many entries: a day of them */

/* Every minute the discovery says something new of its servers; a start can do with what it said a while ago. */
static void on_cache(void *arg, const char *name, struct sg_view body, int64_t *kept_ms)
{
	struct sg_net *n = arg;
	char key[sizeof(CACHE_SPACE) + CACHE_NAME];
	struct sg_store_change c = {.value = body, .remove = body.len == 0, .ttl_s = CACHE_TTL_S};
	int64_t now = sg_loop_now(n->conf.loop).ns / SG_NS_PER_MS;
	int err;

	/* What just came from there is there. */
	if (n->keep_loading || (kept_ms && *kept_ms && now - *kept_ms < CACHE_AGAIN_MS))
		return;
	if (kept_ms)
		*kept_ms = SG_MAX(now, (int64_t)1);
	snprintf(key, sizeof(key), CACHE_SPACE "%s", name);
	c.key = store_text(key);
	err = store_write(n->conf.keys, &c, 1, 0, NULL, NULL);
	if (err < 0)
		log_debug("answer %s is not kept: %s", name, sg_strerror(err));
}

static void take_answer(struct sg_net *n, struct sg_view name, struct sg_view body)
{
	char text[CACHE_NAME];
	struct sg_view newer;

	if (name.len >= sizeof(text))
		return;
	snprintf(text, sizeof(text), "%.*s", (int)name.len, (const char *)name.p);
	if (!cache_get(n->cache, text, &newer))
		cache_put(n->cache, text, body);
}

static void take(struct sg_net *n, const struct sg_store_pair *p)
{
	size_t len = sizeof(CACHE_SPACE) - 1;

	if (p->key.len > len && memcmp(p->key.p, CACHE_SPACE, len) == 0)
		take_answer(n, (struct sg_view){p->key.p + len, p->key.len - len}, p->value);
	else if (p->key.len == sizeof(SEQUENCE_KEY) - 1 && memcmp(p->key.p, SEQUENCE_KEY, p->key.len) == 0 &&
		 p->value.len == 8)
		n->own.floor = SG_MAX(n->own.floor, sg_get_u64(p->value.p));
}

static void on_kept(void *arg, int err, const struct sg_store_pair *pairs, size_t count, bool more)
{
	struct sg_net *n = arg;

	if (err < 0) {
		log_warn("what was learned before this start cannot be read: %s", sg_strerror(err));
		return;
	}
	n->keep_loading = true;
	for (size_t i = 0; i < count; i++)
		take(n, &pairs[i]);
	n->keep_loading = false;
	if (more)
		(void)store_scan_on(n->conf.keys, (struct sg_view){NULL, 0}, &pairs[count - 1], on_kept, n);
	else
		deployment_kept(n->deployment);
}

void keep_start(struct sg_net *n)
{
	cache_keep(n->cache, on_cache, n);
	(void)store_scan(
		n->conf.keys, (struct sg_view){NULL, 0}, (struct sg_view){NULL, 0}, SG_STORE_PAGE_MAX, on_kept, n);
}

void keep_stop(struct sg_net *n)
{
	store_cancel(n->conf.keys, true, NULL);
}

void keep_sequence(struct sg_net *n, uint64_t used)
{
	uint8_t value[8];

	n->own.floor = used + 1;
	if (n->own.floor <= n->own.reserved)
		return;
	n->own.reserved = used + SEQUENCE_AHEAD;
	sg_put_u64(value, n->own.reserved);
	store_put(n->conf.keys, SEQUENCE_KEY, (struct sg_view){value, sizeof(value)}, 0);
}
