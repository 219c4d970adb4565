/*
 * The address resolver: where others listen, and where we do. What it answered last for a key is remembered, and used while
 * it does not answer.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "net/internal.h"

#define RESOLVING 64
#define TYPE_MAX  7 /* letters of "stcpr" and its like */

struct resolving {
	struct sg_list node;
	struct resolver *r;
	const void *owner;
	struct service_call *call;
	char name[CACHE_NAME]; /* of the last answer */
	sg_resolved_fn *fn;
	void *arg;
};

struct resolver {
	struct sg_net *n;
	struct sg_list resolving;
	size_t n_resolving;
	struct listing stcpr; /* the carrier that is found there */
};

/* ---- where others are ------------------------------------------------------------------------------------------------ */

static void forget(struct resolving *q)
{
	sg_list_remove(&q->node);
	q->r->n_resolving--;
	if (q->call)
		service_cancel(q->call);
	sg_free(q);
}

static void ended(struct resolving *q, int err, const struct sg_visor_data *data, const char *why)
{
	struct sg_addr addrs[SG_VISOR_ADDRS_MAX];
	size_t n = data ? sg_visor_addrs(data, q->r->n->public_ip, addrs) : 0;
	sg_resolved_fn *fn = q->fn;
	void *arg = q->arg;

	q->call = NULL;
	forget(q);
	if (err == 0 && n == 0)
		fn(arg, -ENOENT, NULL, 0, "the address resolver has no address of it that can be dialled");
	else
		fn(arg, err, addrs, n, why);
}

static void on_resolved(void *arg, const struct http_answer *a)
{
	struct resolving *q = arg;
	struct cache *cache = q->r->n->cache;
	struct sg_visor_data data;
	struct sg_view last;
	char why[300];

	q->call = NULL;
	if (a->err == 0 && a->status == 200) {
		bool fresh = sg_visor_data_decode(a->body, &data) == 0;

		/* Something else may answer in its place: what it said last is better. */
		if (fresh)
			cache_put(cache, q->name, a->body);
		if (fresh || (cache_get(cache, q->name, &last) && sg_visor_data_decode(last, &data) == 0))
			ended(q, 0, &data, "");
		else
			ended(q, SG_EMALF, NULL, "the address resolver's answer cannot be read");
	} else if (a->err == 0 && a->status == 404) {
		cache_drop(cache, q->name);
		ended(q, -ENOENT, NULL, "the address resolver does not know where it listens");
	} else if (cache_get(cache, q->name, &last) && sg_visor_data_decode(last, &data) == 0) {
		ended(q, 0, &data, "");
	} else {
		service_fail_text(q->r->n->ar, a, why, sizeof(why));
		ended(q, a->err < 0 ? a->err : SG_EREFUSED, NULL, why);
	}
}

int net_resolve(
	struct sg_net *n, const void *owner, const char *type, const struct sg_pk *pk, sg_resolved_fn *fn, void *arg)
{
	struct resolver *r = n->resolver;
	char path[160], text[SG_PK_TEXT], tag[CACHE_TAG];
	struct service_ask ask = {.method = "GET", .path = path, .sign = true};
	struct resolving *q;
	int err;

	if (strlen(type) > TYPE_MAX)
		return SG_ELONG;
	if (r->n_resolving >= RESOLVING)
		return SG_EFULL;
	q = sg_calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = (struct resolving){.r = r, .owner = owner, .fn = fn, .arg = arg};
	snprintf(path, sizeof(path), "/resolve/%s/%s", type, sg_pk_str(pk, text));
	snprintf(q->name, sizeof(q->name), "ar/%s/%s/%s", cache_tag(service_url(n->ar), tag), type, text);
	sg_list_add_tail(&r->resolving, &q->node);
	r->n_resolving++;
	err = service_ask(n->ar, &ask, on_resolved, q, &q->call);
	if (err < 0)
		forget(q);
	return err;
}

size_t net_resolve_cancel(struct sg_net *n, const void *owner, bool any, const void *arg)
{
	size_t count = 0;

	sg_list_for_safe (it, &n->resolver->resolving) {
		struct resolving *q = sg_container_of(it, struct resolving, node);

		if (q->owner == owner && (any || q->arg == arg)) {
			forget(q);
			count++;
		}
	}
	return count;
}

/* ---- where we are ----------------------------------------------------------------------------------------------------- */

static int compose(const struct listing *l, char path[LISTING_PATH_MAX], char body[LISTING_BODY_MAX])
{
	char addresses[SG_VISOR_ADDRESSES][SG_IP_TEXT];

	snprintf(path, LISTING_PATH_MAX, "/bind/%s", l->type);
	if (!l->port)
		return snprintf(body, LISTING_BODY_MAX, "{}\n");
	return sg_bind_encode(l->port, addresses, address_list(addresses, SG_VISOR_ADDRESSES), l->n->public_ip, body,
		LISTING_BODY_MAX);
}

static const char *whose(const struct listing *l)
{
	return l->n->public_ip[0] ? l->n->public_ip : "this machine";
}

static const struct listing_kind kind = {.listed = "bound", .compose = compose, .whose = whose};

int net_bind(struct sg_net *n, const char *type, uint16_t port)
{
	struct listing *l = &n->resolver->stcpr;

	return strcmp(l->type, type) == 0 ? listing_set(l, port) : -ENOTSUP;
}

bool resolver_leave(struct resolver *r)
{
	return listing_leave(&r->stcpr);
}

void resolver_moved(struct resolver *r)
{
	listing_moved(&r->stcpr);
}

/* ---- life -------------------------------------------------------------------------------------------------------------- */

struct resolver *resolver_new(struct sg_net *n)
{
	struct resolver *r = sg_calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->n = n;
	sg_list_init(&r->resolving);
	listing_init(&r->stcpr, n, n->ar, &kind, "stcpr");
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	while (!sg_list_empty(&r->resolving))
		forget(sg_container_of(r->resolving.next, struct resolving, node));
	listing_fini(&r->stcpr);
	sg_free(r);
}
