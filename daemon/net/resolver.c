/*
 * The address resolver: where others listen, and where we do.
 *
 *	bound:  wanted → POST /bind/TYPE → again every 90 s        failed → later        not wanted any more → DELETE
 *
 * What it answered last for a key is remembered, and used while it does not answer.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "net/internal.h"

SG_LOG_TOPIC("net");

#define BIND_MS      90000 /* as today's visors; those of 2024 repeat it every 5 minutes (spec) */
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define SOON_MS      50 /* after a listener opened: a reload moves it within this time */
#define RESOLVING    64
#define TYPE_MAX     7 /* letters of "stcpr" and its like */

struct resolving {
	struct sg_list node;
	struct resolver *r;
	const void *owner;
	struct service_call *call;
	char name[CACHE_NAME]; /* of the last answer */
	sg_resolved_fn *fn;
	void *arg;
};

struct bound {
	struct resolver *r;
	const char *type;
	uint16_t port, told; /* wanted; what the resolver has, 0: nothing */
	struct sg_timer timer;
	struct service_call *call;
	uint16_t asked; /* in that call */
	struct backoff backoff;
	char why[200];
};

struct resolver {
	struct sg_net *n;
	struct sg_list resolving;
	size_t n_resolving;
	struct bound bound[1];
};

static const char *const types[] = {"stcpr"};

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

/* @tell: what it objects to, once. That it is away, service.c says. */
static void bind_later(struct bound *b, bool tell, const char *why)
{
	if (tell && strcmp(b->why, why) != 0)
		log_warn("%s: not bound at the address resolver: %s", b->type, why);
	snprintf(b->why, sizeof(b->why), "%s", why);
	b->told = 0;
	sg_timer_start(&b->timer, backoff_next(&b->backoff, b->r->n->conf.crypto));
}

static void on_bound(void *arg, const struct http_answer *a)
{
	struct bound *b = arg;
	char why[200];

	b->call = NULL;
	if (a->err < 0 || a->status != 200) {
		if (b->asked || b->port)
			bind_later(
				b, a->err == 0 && a->status < 500, service_fail_text(b->r->n->ar, a, why, sizeof(why)));
		return;
	}
	if (b->asked && !b->told)
		log_info("%s: others find port %u of %s at the address resolver", b->type, b->asked,
			b->r->n->public_ip[0] ? b->r->n->public_ip : "this machine");
	b->told = b->asked;
	b->why[0] = '\0';
	backoff_reset(&b->backoff);
	sg_timer_stop(&b->timer);
	if (b->told != b->port)
		sg_timer_start(&b->timer, SOON_MS);
	else if (b->told)
		sg_timer_start(&b->timer, jitter_ms(b->r->n->conf.crypto, BIND_MS));
}

static void on_bind_timer(void *arg)
{
	struct bound *b = arg;
	struct sg_net *n = b->r->n;
	char path[32], body[SG_BIND_MAX], addresses[SG_VISOR_ADDRESSES][SG_IP_TEXT];
	struct service_ask ask = {.method = b->port ? "POST" : "DELETE", .path = path, .sign = true};
	int len = snprintf(body, sizeof(body), "{}\n");

	if (b->call || !service_known(n->ar) || (!b->port && !b->told))
		return;
	snprintf(path, sizeof(path), "/bind/%s", b->type);
	if (b->port)
		len = sg_bind_encode(b->port, addresses, address_list(addresses, SG_VISOR_ADDRESSES), n->public_ip,
			body, sizeof(body));
	if (len > 0) {
		ask.body = (struct sg_view){(const uint8_t *)body, (size_t)len};
		b->asked = b->port;
		len = service_ask(n->ar, &ask, on_bound, b, &b->call);
	}
	if (len < 0)
		bind_later(b, true, sg_strerror(len));
}

int net_bind(struct sg_net *n, const char *type, uint16_t port)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(n->resolver->bound); i++) {
		struct bound *b = &n->resolver->bound[i];

		if (strcmp(b->type, type) != 0)
			continue;
		b->port = port;
		backoff_reset(&b->backoff);
		return sg_timer_start(&b->timer, port ? SOON_MS : 0);
	}
	return -ENOTSUP;
}

bool resolver_leave(struct resolver *r)
{
	bool left = true;

	for (size_t i = 0; i < SG_ARRAY_LEN(r->bound); i++) {
		struct bound *b = &r->bound[i];

		if (b->port)
			(void)net_bind(r->n, b->type, 0);
		left = left && !b->told && !b->call;
	}
	return left || service_down(r->n->ar);
}

void resolver_moved(struct resolver *r)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(r->bound); i++) {
		struct bound *b = &r->bound[i];

		if (b->call)
			service_cancel(b->call);
		b->call = NULL;
		b->told = 0;
		b->why[0] = '\0';
		backoff_reset(&b->backoff);
		if (b->port)
			sg_timer_start(&b->timer, SOON_MS);
	}
}

/* ---- life -------------------------------------------------------------------------------------------------------------- */

struct resolver *resolver_new(struct sg_net *n)
{
	struct resolver *r = sg_calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->n = n;
	sg_list_init(&r->resolving);
	for (size_t i = 0; i < SG_ARRAY_LEN(r->bound); i++) {
		struct bound *b = &r->bound[i];

		*b = (struct bound){.r = r, .type = types[i], .backoff = {RETRY_MIN_MS, RETRY_MAX_MS, 0}};
		sg_timer_init(&b->timer, n->conf.loop, on_bind_timer, b);
	}
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	while (!sg_list_empty(&r->resolving))
		forget(sg_container_of(r->resolving.next, struct resolving, node));
	for (size_t i = 0; i < SG_ARRAY_LEN(r->bound); i++) {
		sg_timer_stop(&r->bound[i].timer);
		if (r->bound[i].call)
			service_cancel(r->bound[i].call);
	}
	sg_free(r);
}
