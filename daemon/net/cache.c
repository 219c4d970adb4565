/* A list, the newest use at its end. */
#include "net/cache.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/hex.h"
#include "base/list.h"
#include "crypto/crypto.h"

struct item {
	struct sg_list node;
	char name[CACHE_NAME];
	int64_t kept_ms; /* see cache_keep_fn */
	size_t len;
	uint8_t body[];
};

struct cache {
	struct sg_list items;
	size_t n, bytes;
	cache_keep_fn *keep;
	void *keep_arg;
};

static void item_free(struct cache *c, struct item *i)
{
	sg_list_remove(&i->node);
	c->n--;
	c->bytes -= i->len;
	sg_free(i);
}

static struct item *find(const struct cache *c, const char *name)
{
	sg_list_for (it, &c->items) {
		struct item *i = sg_container_of(it, struct item, node);

		if (strcmp(i->name, name) == 0)
			return i;
	}
	return NULL;
}

char *cache_tag(const char *url, char out[CACHE_TAG])
{
	const struct sg_view text = {(const uint8_t *)url, strlen(url)};
	uint8_t hash[32];

	sg_sha256(&text, 1, hash);
	sg_hex_format(hash, CACHE_TAG / 2, out, CACHE_TAG);
	return out;
}

struct cache *cache_new(void)
{
	struct cache *c = sg_calloc(1, sizeof(*c));

	if (c)
		sg_list_init(&c->items);
	return c;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	while (!sg_list_empty(&c->items))
		item_free(c, sg_container_of(c->items.next, struct item, node));
	sg_free(c);
}

void cache_keep(struct cache *c, cache_keep_fn *fn, void *arg)
{
	c->keep = fn;
	c->keep_arg = arg;
}

static void drop(struct cache *c, struct item *i)
{
	if (c->keep)
		c->keep(c->keep_arg, i->name, (struct sg_view){NULL, 0}, NULL);
	item_free(c, i);
}

void cache_put(struct cache *c, const char *name, struct sg_view body)
{
	struct item *i = find(c, name);
	int64_t kept_ms = i ? i->kept_ms : 0;

	if (i && i->len == body.len && memcmp(i->body, body.p, body.len) == 0) {
		sg_list_remove(&i->node);
		sg_list_add_tail(&c->items, &i->node);
		return;
	}
	if (body.len == 0 || body.len > CACHE_ENTRY_MAX || strlen(name) >= CACHE_NAME) {
		/* What was said before is not true any more, here and where it is kept. */
		if (i)
			drop(c, i);
		return;
	}
	if (i)
		item_free(c, i);
	i = sg_malloc(sizeof(*i) + body.len);
	if (!i)
		return;
	snprintf(i->name, sizeof(i->name), "%s", name);
	i->kept_ms = kept_ms;
	i->len = body.len;
	memcpy(i->body, body.p, body.len);
	while (c->n && (c->n >= CACHE_ENTRIES || c->bytes + i->len > CACHE_BYTES))
		drop(c, sg_container_of(c->items.next, struct item, node));
	sg_list_add_tail(&c->items, &i->node);
	c->n++;
	c->bytes += i->len;
	if (c->keep)
		c->keep(c->keep_arg, i->name, body, &i->kept_ms);
}

bool cache_get(struct cache *c, const char *name, struct sg_view *out)
{
	struct item *i = find(c, name);

	if (!i)
		return false;
	sg_list_remove(&i->node);
	sg_list_add_tail(&c->items, &i->node);
	*out = (struct sg_view){i->body, i->len};
	return true;
}

void cache_drop(struct cache *c, const char *name)
{
	struct item *i = find(c, name);

	if (i)
		drop(c, i);
}
