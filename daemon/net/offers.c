/*
 * The service discovery: what others offer, and what we do; and the uptime tracker, which counts who is there.
 *
 *	offered:  POST /api/services → again every 90 s      failed → later      not offered any more → DELETE
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "net/internal.h"

SG_LOG_TOPIC("net");

#define REPEAT_MS    90000 /* as today's visors; for those services of 2024 once is enough (spec) */
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define SOON_MS      50
#define UPTIME_MS    300000
#define FOUND_MAX    4096
#define FINDING_MAX  8 /* questions at once: their answers are long */
#define VERSION      "skygate-" SG_VERSION
#define PATH_MAX_LEN 180 /* of a question; behind a tag it is a name of the cache */

/* ---- what we offer -------------------------------------------------------------------------------------------------- */

struct offer {
	struct offers *o;
	const char *type;
	uint16_t port, told, asked; /* wanted; what the service has; in the request under way */
	struct sg_timer timer;
	struct service_call *call;
	struct backoff backoff;
	char why[200];
};

struct offers {
	struct sg_net *n;
	struct offer offer[2];
	struct sg_list finding; /* struct net_offers_query */
	size_t n_finding;
	struct sg_timer uptime;
	struct service_call *uptime_call;
};

static const char *const types[] = {"vpn", "visor"};

static void later(struct offer *f, bool tell, const char *why)
{
	if (tell && strcmp(f->why, why) != 0)
		log_warn("%s: not listed at the service discovery: %s", f->type, why);
	snprintf(f->why, sizeof(f->why), "%s", why);
	f->told = 0;
	sg_timer_start(&f->timer, backoff_next(&f->backoff, f->o->n->conf.crypto));
}

static void on_offered(void *arg, const struct http_answer *a)
{
	struct offer *f = arg;
	char why[200];

	f->call = NULL;
	if (a->err < 0 || a->status != 200) {
		if (f->asked || f->port)
			later(f, a->err == 0 && a->status < 500, service_fail_text(f->o->n->sd, a, why, sizeof(why)));
		return;
	}
	if (f->asked && !f->told)
		log_info("%s: others find port %u of ours at the service discovery", f->type, f->asked);
	f->told = f->asked;
	f->why[0] = '\0';
	backoff_reset(&f->backoff);
	sg_timer_stop(&f->timer);
	if (f->told != f->port)
		sg_timer_start(&f->timer, SOON_MS);
	else if (f->told)
		sg_timer_start(&f->timer, jitter_ms(f->o->n->conf.crypto, REPEAT_MS));
}

static int offer_body(const struct offer *f, char *out, size_t cap)
{
	struct sg_net *n = f->o->n;
	struct sg_offer o = {.pk = n->conf.pk, .port = f->port, .version = VERSION};
	char list[SG_VISOR_ADDRESSES][SG_IP_TEXT];
	size_t count = strcmp(f->type, "visor") == 0 ? address_list(list, SG_VISOR_ADDRESSES) : 0;

	snprintf(o.type, sizeof(o.type), "%s", f->type);
	/* Of a visor that is dialled: where from our requests come must be among its addresses. */
	if (count && n->public_ip[0])
		memcpy(o.ips[o.n_ips++], n->public_ip, SG_IP_TEXT);
	for (size_t i = 0; i < count && o.n_ips < SG_ARRAY_LEN(o.ips); i++) {
		if (address_public(list[i]) && strcmp(list[i], n->public_ip) != 0)
			memcpy(o.ips[o.n_ips++], list[i], SG_IP_TEXT);
	}
	return sg_offer_encode(&o, out, cap);
}

static void on_offer_timer(void *arg)
{
	struct offer *f = arg;
	struct sg_net *n = f->o->n;
	char path[200], body[SG_OFFER_JSON_MAX], pk[SG_PK_TEXT];
	struct service_ask ask = {.method = f->port ? "POST" : "DELETE", .path = path, .sign = true};
	int len = 0;

	if (f->call || !service_known(n->sd) || (!f->port && !f->told))
		return;
	if (f->port) {
		snprintf(path, sizeof(path), "/api/services");
		len = offer_body(f, body, sizeof(body));
		ask.body = (struct sg_view){(const uint8_t *)body, len > 0 ? (size_t)len : 0};
	} else {
		snprintf(path, sizeof(path), "/api/services/%s:%u?type=%s", sg_pk_str(&n->conf.pk, pk), f->told,
			f->type);
	}
	f->asked = f->port;
	if (len >= 0)
		len = service_ask(n->sd, &ask, on_offered, f, &f->call);
	if (len < 0)
		later(f, true, sg_strerror(len));
}

int net_offer(struct sg_net *n, const char *type, uint16_t port)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(n->offers->offer); i++) {
		struct offer *f = &n->offers->offer[i];

		if (strcmp(f->type, type) != 0)
			continue;
		if (f->port == port)
			return 0;
		f->port = port;
		backoff_reset(&f->backoff);
		return sg_timer_start(&f->timer, port ? SOON_MS : 0);
	}
	return -ENOTSUP;
}

/* ---- what others offer ---------------------------------------------------------------------------------------------- */

struct net_offers_query {
	struct sg_list node;
	struct sg_net *n;
	struct service_call *call;
	struct sg_timer known; /* answered from what is remembered */
	char name[CACHE_NAME];
	net_offers_fn *fn;
	void *arg;
};

void net_offers_cancel(struct net_offers_query *q)
{
	sg_list_remove(&q->node);
	q->n->offers->n_finding--;
	sg_timer_stop(&q->known);
	if (q->call)
		service_cancel(q->call);
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

/* @late: a sentence that says why this is not today's answer, or "". */
static void take(struct net_offers_query *q, struct sg_view body, const char *late)
{
	struct sg_offer *list = sg_calloc(FOUND_MAX, sizeof(*list));
	int count = list ? sg_offer_list_decode(q->n->conf.crypto, body, list, FOUND_MAX) : -ENOMEM;

	if (count < 0) {
		ended(q, count, NULL, 0,
			count == -ENOMEM ? "out of memory" : "the service discovery's answer cannot be read");
	} else {
		if (!late[0])
			cache_put(q->n->cache, q->name, body);
		ended(q, 0, list, (size_t)count, late);
	}
	sg_free(list);
}

static void on_found(void *arg, const struct http_answer *a)
{
	struct net_offers_query *q = arg;
	struct sg_view last;
	char why[300];

	q->call = NULL;
	if (a->err == 0 && a->status == 200) {
		take(q, a->body, "");
		return;
	}
	service_fail_text(q->n->sd, a, why, sizeof(why));
	if (cache_get(q->n->cache, q->name, &last))
		take(q, last, why);
	else
		ended(q, a->err < 0 ? a->err : SG_EREFUSED, NULL, 0, why);
}

static void on_known(void *arg)
{
	struct net_offers_query *q = arg;
	struct sg_view last;

	if (cache_get(q->n->cache, q->name, &last))
		take(q, last, "");
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
	*q = (struct net_offers_query){.n = n, .fn = fn, .arg = arg};
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

/* ---- uptime ----------------------------------------------------------------------------------------------------------- */

static void on_counted(void *arg, const struct http_answer *a)
{
	struct offers *o = arg;

	(void)a; /* service.c tells when it goes away; the next one is soon enough */
	o->uptime_call = NULL;
	sg_timer_start(&o->uptime, jitter_ms(o->n->conf.crypto, UPTIME_MS));
}

static void on_uptime(void *arg)
{
	struct offers *o = arg;
	struct service_ask ask = {.method = "GET", .path = "/v4/update?version=" VERSION, .sign = true};

	if (!service_known(o->n->ut) || o->uptime_call)
		return;
	if (service_ask(o->n->ut, &ask, on_counted, o, &o->uptime_call) < 0)
		sg_timer_start(&o->uptime, UPTIME_MS);
}

/* ---- life --------------------------------------------------------------------------------------------------------------- */

bool offers_leave(struct offers *o)
{
	bool left = true;

	for (size_t i = 0; i < SG_ARRAY_LEN(o->offer); i++) {
		(void)net_offer(o->n, o->offer[i].type, 0);
		left = left && !o->offer[i].told && !o->offer[i].call;
	}
	return left || service_down(o->n->sd);
}

void offers_moved(struct offers *o)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(o->offer); i++) {
		struct offer *f = &o->offer[i];

		if (f->call)
			service_cancel(f->call);
		f->call = NULL;
		f->told = 0;
		f->why[0] = '\0';
		backoff_reset(&f->backoff);
		if (f->port)
			sg_timer_start(&f->timer, SOON_MS);
	}
}

void offers_uptime(struct offers *o)
{
	if (o->uptime_call)
		service_cancel(o->uptime_call);
	o->uptime_call = NULL;
	sg_timer_stop(&o->uptime);
	if (service_known(o->n->ut))
		sg_timer_start(&o->uptime, SOON_MS);
}

struct offers *offers_new(struct sg_net *n)
{
	struct offers *o = sg_calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->n = n;
	sg_list_init(&o->finding);
	sg_timer_init(&o->uptime, n->conf.loop, on_uptime, o);
	for (size_t i = 0; i < SG_ARRAY_LEN(o->offer); i++) {
		struct offer *f = &o->offer[i];

		*f = (struct offer){.o = o, .type = types[i], .backoff = {RETRY_MIN_MS, RETRY_MAX_MS, 0}};
		sg_timer_init(&f->timer, n->conf.loop, on_offer_timer, f);
	}
	return o;
}

void offers_free(struct offers *o)
{
	if (!o)
		return;
	while (!sg_list_empty(&o->finding))
		net_offers_cancel(sg_container_of(o->finding.next, struct net_offers_query, node));
	for (size_t i = 0; i < SG_ARRAY_LEN(o->offer); i++) {
		sg_timer_stop(&o->offer[i].timer);
		if (o->offer[i].call)
			service_cancel(o->offer[i].call);
	}
	sg_timer_stop(&o->uptime);
	if (o->uptime_call)
		service_cancel(o->uptime_call);
	sg_free(o);
}
