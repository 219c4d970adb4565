/*
 * The route finder: POST /routes, not signed.
 *
 *	ask → 200 → paths      404 → no route      anything else → what it said last, or again every 0.5 s for 2 s, or an error
 *
 * It measures both directions against min_hops by itself, and finds the shortest way for each: where there are three hops one
 * way and two back it knows none of three. So it is asked once more without min_hops, and what is too short is left out here.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "net/internal.h"
#include "wire/service.h"

#define ASK_MS      2000
#define AGAIN_MS    500
#define GIVE_UP_MS  2000 /* (spec) */
#define QUERIES_MAX 64
#define BODY_MAX    (256 * 1024) /* bytes of an answer (own) */

struct net_routes_query {
	struct sg_list node;
	struct sg_net *n;
	struct net_routes_ask ask;
	struct sg_mono since;
	bool wide; /* asked without min_hops */
	struct sg_timer again;
	struct service_call *call;
	char name[CACHE_NAME]; /* of the last answer */
	net_routes_fn *fn;
	void *arg;
};

static void query_free(struct net_routes_query *q)
{
	sg_list_remove(&q->node);
	q->n->n_routes--;
	sg_timer_stop(&q->again);
	if (q->call)
		service_cancel(q->call);
	sg_free(q);
}

void net_routes_cancel(struct net_routes_query *q)
{
	query_free(q);
}

static void ended(struct net_routes_query *q, int err, const struct sg_paths *paths, const char *why)
{
	net_routes_fn *fn = q->fn;
	void *arg = q->arg;

	query_free(q);
	fn(arg, err, paths, why);
}

/* How many are left. */
static size_t leave_out_short(struct sg_paths *paths, size_t min)
{
	size_t kept = 0;

	for (size_t i = 0; i < paths->n_forward; i++) {
		if (paths->forward[i].n >= min)
			paths->forward[kept++] = paths->forward[i];
	}
	paths->n_forward = kept;
	return kept;
}

static void take(struct net_routes_query *q, struct sg_view body)
{
	struct sg_paths *paths = sg_calloc(1, sizeof(*paths));
	int err = paths ? sg_routes_answer(q->n->conf.crypto, body, &q->ask.src, &q->ask.dst, paths) : -ENOMEM;

	if (err == -ENOMEM) {
		ended(q, err, NULL, "out of memory");
	} else if (err < 0) {
		ended(q, err, NULL, "the route finder's answer cannot be read");
	} else if (!paths->n_forward || !paths->n_reverse) {
		ended(q, SG_ENOROUTE, NULL, "the route finder's answer holds no path that leads there and back");
	} else if (leave_out_short(paths, q->ask.min_hops) == 0) {
		ended(q, SG_ENOROUTE, NULL, "the route finder knows no way of so many hops (min_hops)");
	} else {
		cache_put(q->n->cache, q->name, body);
		ended(q, 0, paths, "");
	}
	sg_free(paths);
}

static void begin(struct net_routes_query *q);

static void on_again(void *arg)
{
	begin(arg);
}

static void failed(struct net_routes_query *q, int err, const char *why)
{
	int64_t waited = (sg_loop_now(q->n->conf.loop).ns - q->since.ns) / SG_NS_PER_MS;
	struct sg_view last;

	if (cache_get(q->n->cache, q->name, &last))
		take(q, last);
	else if (err != SG_ENOROUTE && waited + AGAIN_MS < GIVE_UP_MS && sg_timer_start(&q->again, AGAIN_MS) == 0)
		return;
	else
		ended(q, err, NULL, why);
}

static void on_answer(void *arg, const struct http_answer *a)
{
	struct net_routes_query *q = arg;
	char why[400], said[160];

	q->call = NULL;
	if (a->err < 0) {
		failed(q, a->err, a->why);
	} else if (a->status == 200) {
		take(q, a->body);
	} else if (a->status == 404 && q->ask.min_hops > 1 && !q->wide) {
		q->wide = true;
		begin(q);
	} else if (a->status == 404) {
		cache_drop(q->n->cache, q->name);
		sg_service_error(a->body, said, sizeof(said));
		snprintf(why, sizeof(why), "the route finder knows no way there: %s",
			said[0] ? said : "status 404 without a word");
		ended(q, SG_ENOROUTE, NULL, why);
	} else {
		failed(q, SG_EREFUSED, service_fail_text(q->n->rf, a, why, sizeof(why)));
	}
}

static void begin(struct net_routes_query *q)
{
	static const struct sg_http_header headers[] = {{"Content-Type", "application/json"}, {0}};
	char body[SG_ROUTES_ASK_MAX];
	struct service_ask ask = {
		.method = "POST", .path = "/routes", .headers = headers, .timeout_ms = ASK_MS, .body_max = BODY_MAX};
	int len = sg_routes_ask(
		&q->ask.src, &q->ask.dst, q->wide ? 1 : q->ask.min_hops, q->ask.max_hops, body, sizeof(body));

	if (len > 0) {
		ask.body = (struct sg_view){(const uint8_t *)body, (size_t)len};
		len = service_ask(q->n->rf, &ask, on_answer, q, &q->call);
	}
	if (len < 0)
		failed(q, len, sg_strerror(len));
}

int net_routes(
	struct sg_net *n, const struct net_routes_ask *ask, net_routes_fn *fn, void *arg, struct net_routes_query **out)
{
	char src[SG_PK_TEXT], dst[SG_PK_TEXT], tag[CACHE_TAG];
	struct net_routes_query *q;
	int err;

	if (n->n_routes >= QUERIES_MAX)
		return SG_EFULL;
	q = sg_calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = (struct net_routes_query){.n = n, .ask = *ask, .since = sg_loop_now(n->conf.loop), .fn = fn, .arg = arg};
	snprintf(q->name, sizeof(q->name), "rf/%s/%s/%s/%u-%u", cache_tag(service_url(n->rf), tag),
		sg_pk_str(&ask->src, src), sg_pk_str(&ask->dst, dst), ask->min_hops, ask->max_hops);
	sg_timer_init(&q->again, n->conf.loop, on_again, q);
	sg_list_add_tail(&n->routes, &q->node);
	n->n_routes++;
	err = sg_timer_start(&q->again, 0);
	if (err < 0)
		query_free(q);
	else if (out)
		*out = q;
	return err;
}

void routefinder_fini(struct sg_net *n)
{
	while (!sg_list_empty(&n->routes))
		query_free(sg_container_of(n->routes.next, struct net_routes_query, node));
}
