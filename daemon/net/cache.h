/*
 * The last good answers of services, by a name each: "ar/TAG/stcpr/KEY". The tag stands for the URL that answered, so that
 * what one network said is never taken for what another one would say. What was not used for longest goes first. Kept as
 * they came, so that they are read again as warily as at first.
 */
#ifndef SG_NET_CACHE_H
#define SG_NET_CACHE_H

#include <skygate/types.h>

#define CACHE_BYTES     (128 * 1024) /* of answers in all (own) */
#define CACHE_ENTRIES   256
#define CACHE_ENTRY_MAX 16384
#define CACHE_NAME      192
#define CACHE_TAG       17 /* 16 hex digits and a zero */

struct cache;

/* Also kept elsewhere. @body empty: the name is forgotten. @kept_ms: the keeper's own, of this name, 0 at first, or NULL. */
typedef void cache_keep_fn(void *arg, const char *name, struct sg_view body, int64_t *kept_ms);

/** cache_tag - the part of a name that stands for @url. Returns @out. */
char *cache_tag(const char *url, char out[CACHE_TAG]);
/** cache_new - NULL when memory is out. */
struct cache *cache_new(void);
void cache_free(struct cache *c);
/** cache_keep - @fn hears of every change from now on. */
void cache_keep(struct cache *c, cache_keep_fn *fn, void *arg);
/** cache_put - copies; what is too long, or when memory is out, is not kept. */
void cache_put(struct cache *c, const char *name, struct sg_view body);
/** cache_get - borrowed until the next call. */
bool cache_get(struct cache *c, const char *name, struct sg_view *out);
void cache_drop(struct cache *c, const char *name);

#endif
