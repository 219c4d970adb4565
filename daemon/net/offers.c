/* The service discovery: what others offer, and what we do. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/limits.h"
#include "loop/worker.h"
#include "net/internal.h"

#define FOUND_MAX    4096
#define FINDING_MAX  8   /* questions at once: their answers are long */
#define PATH_MAX_LEN 180 /* of a question; behind a tag it is a name of the cache */

/* ---- what we offer -------------------------------------------------------------------------------------------------- */

struct offers {
	struct sg_net *n;
	struct listing ours[2]; /* by types */
	struct sg_list finding; /* struct net_offers_query */
	size_t n_finding;
};

static const char *const types[] = {"vpn", "visor"};

static int offer_body(const struct listing *l, char out[LISTING_BODY_MAX])
{
	const struct sg_net *n = l->n;
	struct sg_offer o = {.pk = n->conf.pk, .port = l->port, .version = NET_VERSION};
	char list[SG_VISOR_ADDRESSES][SG_IP_TEXT];
	size_t count = strcmp(l->type, "visor") == 0 ? address_list(list, SG_VISOR_ADDRESSES) : 0;

	snprintf(o.type, sizeof(o.type), "%s", l->type);
	/* Of a visor that is dialled: where from our requests come must be among its addresses. */
	if (count && n->public_ip[0])
		memcpy(o.ips[o.n_ips++], n->public_ip, SG_IP_TEXT);
	for (size_t i = 0; i < count && o.n_ips < SG_ARRAY_LEN(o.ips); i++) {
		if (address_public(list[i]) && strcmp(list[i], n->public_ip) != 0)
			memcpy(o.ips[o.n_ips++], list[i], SG_IP_TEXT);
	}
	return sg_offer_encode(&o, out, LISTING_BODY_MAX);
}

static int compose(const struct listing *l, char path[LISTING_PATH_MAX], char body[LISTING_BODY_MAX])
{
	char pk[SG_PK_TEXT];

	snprintf(path, LISTING_PATH_MAX, "/api/services");
	if (l->port)
		return offer_body(l, body);
	snprintf(
		path, LISTING_PATH_MAX, "/api/services/%s:%u?type=%s", sg_pk_str(&l->n->conf.pk, pk), l->told, l->type);
	return 0;
}

static const char *whose(const struct listing *l)
{
	(void)l;
	return "ours";
}

static const struct listing_kind kind = {.listed = "listed", .compose = compose, .whose = whose};

int net_offer(struct sg_net *n, const char *type, uint16_t port)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(types); i++) {
		struct listing *l = &n->offers->ours[i];

		if (strcmp(l->type, type) == 0)
			return l->port == port ? 0 : listing_set(l, port);
	}
	return -ENOTSUP;
}

/* ---- what others offer ---------------------------------------------------------------------------------------------- */

/*
 * An answer on its way through the worker: thousands of keys are checked to be points of the curve, and what they took is given
 * back there too.
 */
struct reading {
	struct sg_task task;
	const struct sg_crypto *crypto;
	struct net_offers_query *q; /* NULL: nobody waits any more */
	size_t from, most;
	struct sg_offer *list; /* that part */
	int count;             /* of it, or an error */
	char late[300];
	uint8_t *body; /* NULL: empty, or read and too long to be remembered */
	size_t len;
};

struct net_offers_query {
	struct sg_list node;
	struct sg_net *n;
	struct service_call *call;
	struct sg_timer known; /* answered from what is remembered */
	struct reading *reading;
	size_t from, most;
	char name[CACHE_NAME];
	net_offers_fn *fn;
	void *arg;
};

static void reading_free(struct reading *r)
{
	sg_free(r->list);
	sg_free(r->body);
	sg_free(r);
}

void net_offers_cancel(struct net_offers_query *q)
{
	sg_list_remove(&q->node);
	q->n->offers->n_finding--;
	sg_timer_stop(&q->known);
	if (q->call)
		service_cancel(q->call);
	if (q->reading && sg_task_cancel(q->n->conf.worker, &q->reading->task))
		reading_free(q->reading);
	else if (q->reading)
		q->reading->q = NULL;
	sg_free(q);
}

static void ended(struct net_offers_query *q, int err, const struct sg_offer *list, size_t count, const char *why)
{
	net_offers_fn *fn = q->fn;
	void *arg = q->arg;

	q->call = NULL;
	net_offers_cancel(q);
	fn(arg, err, list, count, why);
}

/* The part of @all that is wanted, in memory of its own. */
static void take_part(struct reading *r, const struct sg_offer *all, size_t count)
{
	size_t n = r->from < count ? count - r->from : 0;

	if (r->most)
		n = SG_MIN(n, r->most);
	r->list = sg_malloc(n * sizeof(*all));
	if (r->list && n)
		memcpy(r->list, all + r->from, n * sizeof(*all));
	r->count = r->list ? (int)n : -ENOMEM;
}

static void read_list(void *arg)
{
	struct reading *r = arg;
	struct sg_offer *all = sg_calloc(FOUND_MAX, sizeof(*all));

	r->count = all ? sg_offer_list_decode(r->crypto, (struct sg_view){r->body, r->len}, all, FOUND_MAX) : -ENOMEM;
	if (r->count >= 0)
		take_part(r, all, (size_t)r->count);
	sg_free(all);
	if (r->len > CACHE_ENTRY_MAX) {
		sg_free(r->body);
		r->body = NULL;
	}
}

static void remember(const struct reading *r)
{
	if (r->body)
		cache_put(r->q->n->cache, r->q->name, (struct sg_view){r->body, r->len});
	else
		cache_drop(r->q->n->cache, r->q->name);
}

static void on_list(void *arg)
{
	struct reading *r = arg;
	struct net_offers_query *q = r->q;

	if (q) {
		q->reading = NULL;
		if (r->count >= 0 && !r->late[0])
			remember(r);
		if (r->count == -ENOMEM)
			ended(q, r->count, NULL, 0, "out of memory");
		else if (r->count < 0)
			ended(q, r->count, NULL, 0, "the service discovery's answer cannot be read");
		else
			ended(q, 0, r->list, (size_t)r->count, r->late);
	}
	reading_free(r);
}

/* Takes @body. @late: a sentence that says why this is not today's answer, or "". */
static void take(struct net_offers_query *q, uint8_t *body, size_t len, const char *late)
{
	struct reading *r = sg_malloc(sizeof(*r));

	if (!r) {
		sg_free(body);
		ended(q, -ENOMEM, NULL, 0, "out of memory");
		return;
	}
	*r = (struct reading){
		.crypto = q->n->conf.crypto, .q = q, .from = q->from, .most = q->most, .body = body, .len = len};
	snprintf(r->late, sizeof(r->late), "%s", late);
	q->reading = r;
	sg_task_init(&r->task, read_list, on_list, r);
	sg_task_start(q->n->conf.worker, &r->task, false);
}

/* What is remembered may be forgotten while the worker reads. */
static void take_last(struct net_offers_query *q, struct sg_view last, const char *late)
{
	uint8_t *body = sg_malloc(last.len);

	if (!body) {
		ended(q, -ENOMEM, NULL, 0, "out of memory");
		return;
	}
	memcpy(body, last.p, last.len);
	take(q, body, last.len, late);
}

static void on_found(void *arg, const struct http_answer *a)
{
	struct net_offers_query *q = arg;
	struct sg_view last;
	char why[300];
	size_t len;

	q->call = NULL;
	if (a->err == 0 && a->status == 200) {
		uint8_t *body = sg_http_take_body(a->message, &len);

		take(q, body, len, "");
		return;
	}
	service_fail_text(q->n->sd, a, why, sizeof(why));
	if (cache_get(q->n->cache, q->name, &last))
		take_last(q, last, why);
	else
		ended(q, a->err < 0 ? a->err : SG_EREFUSED, NULL, 0, why);
}

static void on_known(void *arg)
{
	struct net_offers_query *q = arg;
	struct sg_view last;

	if (cache_get(q->n->cache, q->name, &last))
		take_last(q, last, "");
	else
		ended(q, -ENOENT, NULL, 0, "nothing is remembered");
}

/* Of a query's value: letters, digits and what else needs no escape. */
static bool plain(const char *s)
{
	return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == strlen(s) &&
	       strlen(s) < 40;
}

int net_offers(
	struct sg_net *n, const struct net_offers_ask *ask, net_offers_fn *fn, void *arg, struct net_offers_query **out)
{
	struct net_offers_query *q;
	char path[PATH_MAX_LEN], tag[CACHE_TAG];
	struct service_ask get = {.method = "GET", .path = path, .body_max = SG_SERVICE_LIST_MAX};
	struct sg_text t = sg_text(path, sizeof(path));
	struct sg_view last;
	int err;

	if (!plain(ask->type) || !plain(ask->country) || !plain(ask->version))
		return SG_EMALF;
	if (n->offers->n_finding >= FINDING_MAX)
		return SG_EFULL;
	q = sg_calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = (struct net_offers_query){.n = n, .fn = fn, .arg = arg, .from = ask->from, .most = ask->most};
	sg_timer_init(&q->known, n->conf.loop, on_known, q);
	sg_list_add_tail(&n->offers->finding, &q->node);
	n->offers->n_finding++;
	sg_text_addf(&t, "/api/services?type=%s", ask->type);
	if (ask->version[0])
		sg_text_addf(&t, "&version=%s", ask->version);
	if (ask->country[0])
		sg_text_addf(&t, "&country=%s", ask->country);
	if (ask->quantity)
		sg_text_addf(&t, "&quantity=%u", ask->quantity);
	snprintf(q->name, sizeof(q->name), "sd/%s%s", cache_tag(service_url(n->sd), tag),
		path + strlen("/api/services"));
	if (ask->remembered && cache_get(n->cache, q->name, &last))
		err = sg_timer_start(&q->known, 0);
	else
		err = service_ask(n->sd, &get, on_found, q, &q->call);
	if (err < 0)
		net_offers_cancel(q);
	else if (out)
		*out = q;
	return err;
}

void net_offers_known(struct sg_net *n, const char *type, void (*fn)(void *arg, const struct sg_pk *pk), void *arg)
{
	struct sg_offer *list = sg_calloc(FOUND_MAX, sizeof(*list));
	char name[CACHE_NAME], tag[CACHE_TAG];
	struct sg_view last;
	int count = 0;

	snprintf(name, sizeof(name), "sd/%s?type=%s", cache_tag(service_url(n->sd), tag), type);
	if (list && cache_get(n->cache, name, &last))
		count = sg_offer_list_decode(n->conf.crypto, last, list, FOUND_MAX);
	for (int i = 0; i < count; i++)
		fn(arg, &list[i].pk);
	sg_free(list);
}

/* ---- life --------------------------------------------------------------------------------------------------------------- */

bool offers_leave(struct offers *o)
{
	bool left = true;

	for (size_t i = 0; i < SG_ARRAY_LEN(o->ours); i++)
		left = listing_leave(&o->ours[i]) && left;
	return left;
}

void offers_moved(struct offers *o)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(o->ours); i++)
		listing_moved(&o->ours[i]);
}

struct offers *offers_new(struct sg_net *n)
{
	struct offers *o = sg_calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->n = n;
	sg_list_init(&o->finding);
	for (size_t i = 0; i < SG_ARRAY_LEN(o->ours); i++)
		listing_init(&o->ours[i], n, n->sd, &kind, types[i]);
	return o;
}

void offers_free(struct offers *o)
{
	if (!o)
		return;
	while (!sg_list_empty(&o->finding))
		net_offers_cancel(sg_container_of(o->finding.next, struct net_offers_query, node));
	for (size_t i = 0; i < SG_ARRAY_LEN(o->ours); i++)
		listing_fini(&o->ours[i]);
	sg_free(o);
}
