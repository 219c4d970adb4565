/*
 * Pings over routes.
 *
 *	dial a port that the visor is known to hold open → ask, wait for the answer → … → close
 *	                  closed at once: nobody listens there → the next port
 *	                  no route can be made, but there is a link: ask there
 */
#include "net/ping.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

#define PORT_OURS 90 /* where we hold streams open that nobody uses (own) */
#define PORT_2024 48 /* ping: every visor listens there (spec) */
#define PORT_2026 58
#define PORTS_MAX 3
#define LOOK_MS   2 /* between two looks for the answer */
#define PAUSE_MS  200
#define ANSWER_MS 3000
#define PINGS_MAX 8
#define HELD_MAX  16 /* streams that others hold open */
#define HELD_MS   60000

struct pings {
	struct sg_loop *loop;
	struct sg_links *links;
	struct sg_route *route;
	struct sg_list asked, held;
	size_t n_asked, n_held;
};

struct ping {
	struct sg_list node;
	struct pings *p;
	struct sg_pk pk;
	unsigned min_hops;
	uint16_t ports[PORTS_MAX];
	size_t n_ports, at;
	struct sg_stream *stream;
	struct sg_timer timer;
	bool pausing;
	int64_t waited_ms; /* for this answer */
	struct ping_result result;
	ping_fn *fn;
	void *arg;
};

struct held {
	struct sg_list node;
	struct pings *p;
	struct sg_stream *stream;
	struct sg_timer limit;
};

static void ignore_data(void *arg, struct sg_view in)
{
	(void)arg;
	(void)in;
}

static void ignore_writable(void *arg)
{
	(void)arg;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

static void ping_free(struct ping *q)
{
	sg_list_remove(&q->node);
	q->p->n_asked--;
	sg_timer_stop(&q->timer);
	if (q->stream)
		q->stream->ops->close(q->stream);
	else
		group_dial_cancel(q->p->route, q);
	sg_free(q);
}

static void ended(struct ping *q, int err, const char *why)
{
	struct ping_result result = q->result;
	ping_fn *fn = q->fn;
	void *arg = q->arg;

	ping_free(q);
	fn(arg, err < 0 ? NULL : &result, err, why);
}

static struct sg_link *link_asked(const struct ping *q)
{
	return q->result.by_link ? links_by_id(q->p->links, &q->result.link) : NULL;
}

static void ask(struct ping *q)
{
	struct sg_link *l = link_asked(q);

	if (l)
		link_ping(l);
	else if (q->stream)
		group_ping(q->stream);
	q->waited_ms = 0;
	q->pausing = false;
	(void)sg_timer_start(&q->timer, LOOK_MS);
}

/* Of the answer, -1: there is none yet. */
static int64_t answered_us(const struct ping *q)
{
	const struct sg_link *l = link_asked(q);

	if (l)
		return link_ping_waits(l) ? -1 : link_rtt_us(l);
	return group_rtt_us(q->stream);
}

static void on_timer(void *arg)
{
	struct ping *q = arg;
	int64_t rtt_us;

	if (q->result.by_link && !link_asked(q)) {
		ended(q, SG_ECLOSED, "the transport to it ended");
		return;
	}
	rtt_us = q->pausing ? -1 : answered_us(q);
	if (q->pausing) {
		ask(q);
		return;
	}
	q->waited_ms += LOOK_MS;
	if (rtt_us < 0 && q->waited_ms < ANSWER_MS) {
		(void)sg_timer_start(&q->timer, LOOK_MS);
		return;
	}
	q->result.rtt_us[q->result.n++] = rtt_us;
	q->result.answered += rtt_us >= 0;
	if (q->result.n == PING_TIMES) {
		ended(q, 0, "");
		return;
	}
	q->pausing = true;
	(void)sg_timer_start(&q->timer, PAUSE_MS);
}

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why);

static int dial(struct ping *q)
{
	return group_dial(q->p->route, &q->pk, q->ports[q->at], q->min_hops, on_dialed, q);
}

static void on_close(void *arg, int err, const char *why)
{
	struct ping *q = arg;

	q->stream = NULL;
	sg_timer_stop(&q->timer);
	if (q->result.n == 0 && ++q->at < q->n_ports && dial(q) == 0)
		return;
	ended(q, err < 0 ? err : SG_ECLOSED, why && *why ? why : "the route was closed");
}

static const struct sg_stream_user asking = {
	.size = sizeof(asking), .on_data = ignore_data, .on_writable = ignore_writable, .on_close = on_close};

/* No route: the link itself, where one hop will do. */
static void try_link(struct ping *q, int err, const char *why)
{
	struct sg_link *l =
		SG_MAX(q->min_hops, route_min_hops(q->p->route)) > 1 ? NULL : links_find(q->p->links, &q->pk);
	char text[400];

	if (!l) {
		ended(q, err, why);
	} else if (!link_knows_streams(l)) {
		snprintf(text, sizeof(text), "%s\n  over its transport alone a visor of 2024 cannot be asked", why);
		ended(q, err, text);
	} else {
		q->result.by_link = true;
		q->result.link = *link_id(l);
		snprintf(q->result.why, sizeof(q->result.why), "%s", why);
		ask(q);
	}
}

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct ping *q = arg;

	if (!stream) {
		try_link(q, err, why);
		return;
	}
	stream->user = &asking;
	stream->user_arg = q;
	q->stream = stream;
	ask(q);
}

/* What is known of it says where it can be asked. */
static void choose_ports(struct ping *q)
{
	struct sg_link *l = links_find(q->p->links, &q->pk);

	if (!l || link_is_own(l))
		q->ports[q->n_ports++] = PORT_OURS;
	if (!l || !link_knows_streams(l))
		q->ports[q->n_ports++] = PORT_2024;
	if (!l || (link_knows_streams(l) && !link_is_own(l)))
		q->ports[q->n_ports++] = PORT_2026;
}

int ping_start(struct pings *p, const struct sg_pk *pk, unsigned min_hops, ping_fn *fn, void *arg)
{
	struct ping *q = p->n_asked < PINGS_MAX ? sg_calloc(1, sizeof(*q)) : NULL;
	int err;

	if (!q)
		return p->n_asked < PINGS_MAX ? -ENOMEM : SG_EFULL;
	q->p = p;
	q->pk = *pk;
	q->min_hops = min_hops;
	q->fn = fn;
	q->arg = arg;
	choose_ports(q);
	sg_timer_init(&q->timer, p->loop, on_timer, q);
	sg_list_add_tail(&p->asked, &q->node);
	p->n_asked++;
	err = dial(q);
	if (err < 0)
		ping_free(q);
	return err;
}

/* ---- being asked ----------------------------------------------------------------------------------------------------------- */

static void held_free(struct held *h, bool close)
{
	sg_list_remove(&h->node);
	h->p->n_held--;
	sg_timer_stop(&h->limit);
	if (close)
		h->stream->ops->close(h->stream);
	sg_free(h);
}

static void held_limit(void *arg)
{
	held_free(arg, true);
}

static void held_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	held_free(arg, false);
}

static const struct sg_stream_user holding = {
	.size = sizeof(holding), .on_data = ignore_data, .on_writable = ignore_writable, .on_close = held_close};

static int on_stream(void *arg, struct sg_stream *stream)
{
	struct pings *p = arg;
	struct held *h = p->n_held < HELD_MAX ? sg_calloc(1, sizeof(*h)) : NULL;

	if (!h)
		return SG_EFULL;
	sg_timer_init(&h->limit, p->loop, held_limit, h);
	if (sg_timer_start(&h->limit, HELD_MS) < 0) {
		sg_free(h);
		return -ENOMEM;
	}
	h->p = p;
	h->stream = stream;
	stream->user = &holding;
	stream->user_arg = h;
	sg_list_add_tail(&p->held, &h->node);
	p->n_held++;
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

/* ---- life -------------------------------------------------------------------------------------------------------------------- */

struct pings *pings_new(struct sg_loop *loop, struct sg_links *links, struct sg_route *route)
{
	struct pings *p = sg_calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->links = links;
	p->route = route;
	sg_list_init(&p->asked);
	sg_list_init(&p->held);
	if (route_listen(route, PORT_OURS, &listener, p) < 0) {
		sg_free(p);
		return NULL;
	}
	return p;
}

void pings_free(struct pings *p)
{
	if (!p)
		return;
	route_unlisten(p->route, PORT_OURS);
	while (!sg_list_empty(&p->asked))
		ping_free(sg_container_of(p->asked.next, struct ping, node));
	while (!sg_list_empty(&p->held))
		held_free(sg_container_of(p->held.next, struct held, node), true);
	sg_free(p);
}
