/*
 * Choosing a path, and trying the next one when it cannot be set up.
 *
 *	a link to the visor itself:  neighbour, when it may know that → setup node, over the link's transport
 *	else, or when these failed:  route finder → setup node for each path
 *
 * The way back is the way there in reverse: a transport serves both, so its first hop is known to exist at the other end,
 * and rules bind to one transport. (A visor of 2024 that is given a first hop which it does not have takes no routes any
 * more.) The route finder's own way back is tried last.
 */
#include "net/path.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "net/internal.h"

#define UNSUPPORTED_MAX 64
#define UNSUPPORTED_MS  (30 * 60 * 1000) /* a neighbour that takes no routes (spec, 2026) */
#define SUSPECTS_MAX    32
#define MADE_MAX        8
#define SUSPECT_MS      30000 /* a transport of a path that failed, or was asked for anew so soon (own) */

/* A visor that takes no routes from neighbours. */
struct unsupported {
	struct sg_pk pk;
	int64_t until_ms;
};

struct suspect {
	struct sg_tpid tp;
	int64_t until_ms;
};

struct path {
	struct path_conf conf;
	struct sg_list questions;
	struct unsupported unsupported[UNSUPPORTED_MAX];
	size_t unsupported_at;
	struct suspect suspects[SUSPECTS_MAX];
	size_t suspects_at;
	struct sg_path made[MADE_MAX]; /* the last routes */
	size_t made_at;
};

enum step { STEP_NEIGHBOUR, STEP_LINK, STEP_FINDER, STEP_PATHS, STEP_BACK };

struct question {
	struct sg_list node;
	struct path *p;
	struct sg_route_want want;
	sg_route_asked_fn *fn;
	void *arg;
	struct sg_timer begin;
	enum step step;
	bool linked; /* its own transport was tried */
	struct setup_call *call;
	struct net_routes_query *query;
	struct sg_paths *paths; /* NULL before the route finder answered */
	bool tried[SG_PATHS_MAX];
	struct sg_rpc_route route; /* under way */
	char why[512];             /* the last failure, a sentence */
	int err;
};

static void advance(struct question *q);

static int64_t now_ms(const struct path *p)
{
	return sg_loop_now(p->conf.loop).ns / SG_NS_PER_MS;
}

/* ---- what is remembered ---------------------------------------------------------------------------------------------------- */

static bool is_unsupported(const struct path *p, const struct sg_pk *pk)
{
	for (size_t i = 0; i < UNSUPPORTED_MAX; i++) {
		if (p->unsupported[i].until_ms > now_ms(p) && sg_pk_equal(&p->unsupported[i].pk, pk))
			return true;
	}
	return false;
}

static void remember_unsupported(struct path *p, const struct sg_pk *pk)
{
	p->unsupported[p->unsupported_at++ % UNSUPPORTED_MAX] = (struct unsupported){*pk, now_ms(p) + UNSUPPORTED_MS};
}

static bool is_suspect(const struct path *p, const struct sg_path *path)
{
	for (size_t h = 0; h < path->n; h++) {
		for (size_t i = 0; i < SUSPECTS_MAX; i++) {
			if (p->suspects[i].until_ms > now_ms(p) && sg_tpid_equal(&p->suspects[i].tp, &path->hops[h].tp))
				return true;
		}
	}
	return false;
}

/* All beyond our own, which we know to be up. */
static void suspect(struct path *p, const struct sg_rpc_route *route)
{
	for (size_t h = 1; h < route->n_forward; h++)
		p->suspects[p->suspects_at++ % SUSPECTS_MAX] =
			(struct suspect){route->forward[h].tp, now_ms(p) + SUSPECT_MS};
}

/* ---- one question ------------------------------------------------------------------------------------------------------------ */

static void question_free(struct question *q)
{
	sg_list_remove(&q->node);
	sg_timer_stop(&q->begin);
	if (q->call)
		setup_cancel(q->call);
	if (q->query)
		net_routes_cancel(q->query);
	sg_free(q->paths);
	sg_free(q);
}

static void ended(struct question *q, const struct sg_edge_rules *rules)
{
	sg_route_asked_fn *fn = q->fn;
	void *arg = q->arg;
	char why[sizeof(q->why)];
	int err = rules ? 0 : q->err;

	snprintf(why, sizeof(why), "%s", rules ? "" : q->why);
	question_free(q);
	fn(arg, rules, err, why);
}

static void note(struct question *q, int err, const char *why)
{
	q->err = err;
	snprintf(q->why, sizeof(q->why), "%s", why);
}

static void on_set_up(void *arg, const struct sg_edge_rules *rules, int err, const char *why)
{
	struct question *q = arg;

	q->call = NULL;
	/* Asked for anew within seconds, this path has failed: others come first then. */
	suspect(q->p, &q->route);
	if (rules) {
		struct sg_path *made = &q->p->made[q->p->made_at++ % MADE_MAX];

		made->n = q->route.n_forward;
		memcpy(made->hops, q->route.forward, made->n * sizeof(*made->hops));
		ended(q, rules);
		return;
	}
	if (q->step == STEP_LINK && err == -ENOTSUP)
		remember_unsupported(q->p, &q->want.desc.dst);
	else
		note(q, err, why);
	/* No node said anything: none would to another path, and whoever dials had better hear that soon. */
	if (q->step > STEP_LINK && err == -ETIMEDOUT)
		ended(q, NULL);
	else
		advance(q);
}

bool path_last(const struct path *p, const struct sg_pk *dst, struct sg_path *out)
{
	for (size_t i = 0; i < MADE_MAX; i++) {
		/* From the newest. */
		const struct sg_path *made = &p->made[(p->made_at + MADE_MAX - 1 - i) % MADE_MAX];

		if (made->n && sg_pk_equal(&made->hops[made->n - 1].to, dst)) {
			*out = *made;
			return true;
		}
	}
	return false;
}

static void set_up(struct question *q, bool direct)
{
	struct setup_client *s = q->p->conf.setup;
	int err = direct ? setup_direct(s, &q->route, on_set_up, q, &q->call)
			 : setup_by_nodes(s, &q->route, on_set_up, q, &q->call);

	if (err == 0)
		return;
	note(q, err,
		err == SG_ENOROUTE ? "no setup node is configured: config deployment: list setup_node 'KEY'"
				   : sg_strerror(err));
	advance(q);
}

/* ---- over the link that there is ------------------------------------------------------------------------------------------- */

static struct sg_link *own_link(const struct question *q)
{
	return q->want.min_hops > 1 ? NULL : links_find(q->p->conf.links, &q->want.desc.dst);
}

static void route_of_link(struct question *q, const struct sg_link *l)
{
	q->route.n_forward = q->route.n_reverse = 1;
	q->route.forward[0] = (struct sg_hop){*link_id(l), q->want.desc.src, q->want.desc.dst};
	q->route.reverse[0] = (struct sg_hop){*link_id(l), q->want.desc.dst, q->want.desc.src};
}

/* ---- by the route finder ----------------------------------------------------------------------------------------------------- */

bool path_ok(struct sg_links *links, const struct sg_pk *own, const struct sg_path *path, unsigned min)
{
	const struct sg_link *l = path->n ? links_by_id(links, &path->hops[0].tp) : NULL;

	/* Of several transports to one visor the best is used: another may be about to go. */
	if (path->n == 1 && l != links_find(links, &path->hops[0].to))
		return false;
	return path->n && path->n >= min && sg_pk_equal(&path->hops[0].from, own) && l &&
	       sg_pk_equal(link_remote(l), &path->hops[0].to);
}

static void route_of_path(struct question *q, const struct sg_path *path)
{
	size_t n = path->n;

	q->route.n_forward = q->route.n_reverse = n;
	for (size_t i = 0; i < n; i++) {
		q->route.forward[i] = path->hops[i];
		q->route.reverse[n - 1 - i] = (struct sg_hop){path->hops[i].tp, path->hops[i].to, path->hops[i].from};
	}
}

/* The best path that was not tried: the shortest of those without a suspect transport, then of those with one. */
static const struct sg_path *next_path(struct question *q)
{
	for (int suspects = 0; suspects < 2; suspects++) {
		for (size_t i = 0; i < q->paths->n_forward; i++) {
			const struct sg_path *path = &q->paths->forward[i];

			if (q->tried[i] || !path_ok(q->p->conf.links, q->p->conf.own, path, q->want.min_hops) ||
				is_suspect(q->p, path) != (suspects == 1))
				continue;
			q->tried[i] = true;
			return path;
		}
	}
	return NULL;
}

static bool arrives_here(const struct question *q, const struct sg_path *path)
{
	const struct sg_link *l = path->n ? links_by_id(q->p->conf.links, &path->hops[path->n - 1].tp) : NULL;

	return l && sg_pk_equal(link_remote(l), &path->hops[path->n - 1].from) && path->n >= q->want.min_hops;
}

/* The route finder's own pair. */
static bool route_of_pair(struct question *q)
{
	const struct sg_path *there = &q->paths->forward[0], *back = &q->paths->reverse[0];

	if (!path_ok(q->p->conf.links, q->p->conf.own, there, q->want.min_hops) || !arrives_here(q, back))
		return false;
	route_of_path(q, there);
	q->route.n_reverse = back->n;
	memcpy(q->route.reverse, back->hops, back->n * sizeof(*back->hops));
	return true;
}

static void on_routes(void *arg, int err, const struct sg_paths *paths, const char *why)
{
	struct question *q = arg;

	q->query = NULL;
	if (err == 0) {
		q->paths = sg_malloc(sizeof(*q->paths));
		if (q->paths)
			*q->paths = *paths;
		else
			err = -ENOMEM;
	}
	/* What the transport of our own said is better to know. */
	if (err < 0 && !q->why[0])
		note(q, err, why && *why ? why : sg_strerror(err));
	advance(q);
}

static void ask_finder(struct question *q)
{
	struct net_routes_ask ask = {.src = q->want.desc.src,
		.dst = q->want.desc.dst,
		.min_hops = (uint16_t)q->want.min_hops,
		.max_hops = SG_PATH_HOPS_MAX};
	int err = net_routes(q->p->conf.net, &ask, on_routes, q, &q->query);

	if (err < 0)
		on_routes(q, err, NULL, NULL);
}

/* ---- the next step ------------------------------------------------------------------------------------------------------------ */

static void advance(struct question *q)
{
	struct sg_link *l = own_link(q);
	const struct sg_path *path;

	/* One that came up meanwhile is better than what anybody knows. */
	if (l && !q->linked) {
		q->linked = true;
		q->step = STEP_NEIGHBOUR;
	}
	if (q->step == STEP_NEIGHBOUR) {
		q->step = STEP_LINK;
		/* A visor of 2024 logs a warning for each such call. */
		if (l && link_knows_streams(l) && !is_unsupported(q->p, &q->want.desc.dst)) {
			route_of_link(q, l);
			set_up(q, true);
			return;
		}
	}
	if (q->step == STEP_LINK) {
		q->step = STEP_FINDER;
		if (l && setup_nodes_count(q->p->conf.setup)) {
			route_of_link(q, l);
			set_up(q, false);
			return;
		}
	}
	if (q->step == STEP_FINDER && !q->paths) {
		q->step = STEP_PATHS;
		ask_finder(q);
		return;
	}
	if (q->step == STEP_FINDER)
		q->step = STEP_PATHS;
	if (q->step == STEP_PATHS && q->paths) {
		path = next_path(q);
		if (path) {
			route_of_path(q, path);
			set_up(q, false);
			return;
		}
		q->step = STEP_BACK;
		if (route_of_pair(q)) {
			set_up(q, false);
			return;
		}
	}
	if (!q->why[0])
		note(q, SG_ENOROUTE,
			q->want.min_hops > 1
				? "no path of so many hops begins with a transport that is up here (min_hops)"
				: "no path begins with a transport that is up here");
	ended(q, NULL);
}

static void on_begin(void *arg)
{
	advance(arg);
}

static int path_ask(void *arg, const struct sg_route_want *want, sg_route_asked_fn *fn, void *fn_arg)
{
	struct path *p = arg;
	struct question *q = sg_calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->p = p;
	q->want = *want;
	q->fn = fn;
	q->arg = fn_arg;
	q->route.desc = want->desc;
	q->route.keep_alive_ns = want->keep_alive_ns;
	sg_timer_init(&q->begin, p->conf.loop, on_begin, q);
	if (sg_timer_start(&q->begin, 0) < 0) {
		sg_free(q);
		return -ENOMEM;
	}
	sg_list_add_tail(&p->questions, &q->node);
	return 0;
}

static void path_cancel(void *arg, void *fn_arg)
{
	struct path *p = arg;

	sg_list_for_safe (it, &p->questions) {
		struct question *q = sg_container_of(it, struct question, node);

		if (q->arg == fn_arg)
			question_free(q);
	}
}

const struct sg_route_setup path_ops = {.ask = path_ask, .cancel = path_cancel};

/* ---- life -------------------------------------------------------------------------------------------------------------------------- */

struct path *path_new(const struct path_conf *conf)
{
	struct path *p = sg_calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->conf = *conf;
	sg_list_init(&p->questions);
	return p;
}

void path_free(struct path *p)
{
	if (!p)
		return;
	while (!sg_list_empty(&p->questions))
		question_free(sg_container_of(p->questions.next, struct question, node));
	sg_free(p);
}
