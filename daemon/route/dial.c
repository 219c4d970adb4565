/*
 * Dialling a port of a key, by whatever leads there. Two ways race; the first stream wins and the other way is given up:
 *
 *	direct:  wait for a link and for what its other end is → ask → answer
 *	group:   a route is set up (group_dial), over that link or over other visors
 *
 * The neighbour that knows direct streams has a head start; one that let us wait in vain lately has none. A visor of 2024
 * gets a group at once. Without a link one is asked for, and a group sets out too when it does not come soon. Who wants
 * several hops gets a group only. Every dial ends in its call-back once, from the loop, never inside route_dial.
 */
#include "route/internal.h"
#include "base/alloc.h"
#include "base/cursor.h"

static void begin(void *arg);
static void link_timeout(void *arg);
static void head_over(void *arg);
static void answer_timeout(void *arg);
static void on_wanted(void *arg, int err, const char *why);
static void on_group(void *arg, struct sg_stream *stream, int err, const char *why);

static void dial_free(struct dial *d)
{
	sg_list_remove(&d->node);
	sg_timer_stop(&d->timer);
	sg_timer_stop(&d->head);
	sg_defer_stop(&d->begin);
	if (d->wanting)
		links_want_cancel(d->r->links, d);
	if (d->grouping)
		group_dial_cancel(d->r, d);
	if (d->stream) {
		d->stream->dial = NULL;
		vstream_end(d->stream, true, -ECANCELED, "");
	}
	sg_free(d);
}

/* @st: the winner, no longer one of the dial's own ways. */
static void finish(struct dial *d, struct sg_stream *st, int err, const char *why)
{
	sg_dialed_fn *done = d->done;
	void *arg = d->arg;

	dial_free(d);
	done(arg, st, err, why);
}

/* One way failed: the end, unless another is under way. */
static void way_failed(struct dial *d, enum dial_way way, int err, const char *why)
{
	char text[2 * sizeof(d->failed[0].why) + 32];

	d->failed[way].err = err;
	snprintf(d->failed[way].why, sizeof(d->failed[way].why), "%s", why);
	if (d->stream || d->grouping || d->waiting)
		return;
	way = d->failed[WAY_DIRECT].err ? WAY_DIRECT : WAY_GROUP;
	snprintf(text, sizeof(text), "%s", d->failed[way].why);
	if (way == WAY_DIRECT && d->failed[WAY_GROUP].err)
		snprintf(text, sizeof(text), "%s; by a route: %s", d->failed[WAY_DIRECT].why, d->failed[WAY_GROUP].why);
	finish(d, NULL, d->failed[way].err, text);
}

void dial_end(struct dial *d, int err, const char *why)
{
	finish(d, NULL, err, why);
}

int route_dial_hops(
	struct sg_route *r, const struct sg_pk *pk, uint16_t port, unsigned min_hops, sg_dialed_fn *done, void *arg)
{
	struct dial *d = r->stopping ? NULL : sg_calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->r = r;
	d->pk = *pk;
	d->port = port;
	d->min_hops = SG_MAX(min_hops, r->min_hops);
	d->done = done;
	d->arg = arg;
	sg_defer_init(&d->begin, begin, d);
	sg_timer_init(&d->timer, r->loop, link_timeout, d);
	sg_timer_init(&d->head, r->loop, head_over, d);
	if (sg_timer_start(&d->timer, SG_ROUTE_DIAL_MS) < 0) {
		sg_free(d);
		return -ENOMEM;
	}
	d->waiting = true;
	sg_list_add_tail(&r->dials, &d->node);
	sg_defer_start(r->loop, &d->begin);
	return 0;
}

int route_dial(struct sg_route *r, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	return route_dial_hops(r, pk, port, 0, done, arg);
}

void route_set_min_hops(struct sg_route *r, unsigned n)
{
	r->min_hops = n;
}

unsigned route_min_hops(const struct sg_route *r)
{
	return r->min_hops;
}

void route_set_direct(struct sg_route *r, bool on)
{
	r->groups_only = !on;
}

void route_dial_cancel(struct sg_route *r, const void *arg)
{
	sg_list_for_safe (it, &r->dials) {
		struct dial *d = sg_container_of(it, struct dial, node);

		if (d->arg == arg)
			dial_free(d);
	}
}

/* ---- who did not answer -------------------------------------------------------------------------------------------------- */

static struct silent *silent_find(struct sg_route *r, const struct sg_pk *pk)
{
	int64_t now = sg_loop_now(r->loop).ns;

	for (size_t i = 0; i < SG_ARRAY_LEN(r->silent); i++) {
		if (r->silent[i].until_ns > now && sg_pk_equal(&r->silent[i].pk, pk))
			return &r->silent[i];
	}
	return NULL;
}

static void silent_add(struct sg_route *r, const struct sg_pk *pk)
{
	int64_t until = sg_loop_now(r->loop).ns + SG_DIRECT_SILENT_MS * SG_NS_PER_MS;
	struct silent *s = silent_find(r, pk);

	if (!s)
		s = &r->silent[r->silent_at++ % SG_ARRAY_LEN(r->silent)];
	*s = (struct silent){*pk, until};
}

/* ---- by a group ------------------------------------------------------------------------------------------------------------ */

static void group_begin(struct dial *d)
{
	int err;

	sg_timer_stop(&d->head);
	if (d->grouping || d->grouped)
		return;
	d->grouped = true;
	err = group_dial(d->r, &d->pk, d->port, d->min_hops, on_group, d);
	d->grouping = err == 0;
	if (err < 0)
		way_failed(d, WAY_GROUP, err, sg_strerror(err));
}

static void on_group(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct dial *d = arg;

	d->grouping = false;
	if (stream) {
		finish(d, stream, 0, "");
	} else if (d->again) {
		d->again = d->grouped = false;
		group_begin(d);
	} else {
		way_failed(d, WAY_GROUP, err, why);
	}
}

static bool group_could(const struct dial *d)
{
	return d->r->setup && !d->grouping && !d->grouped;
}

/* The head start is over, or no link came soon. */
static void head_over(void *arg)
{
	struct dial *d = arg;

	/* A peer that is only waited for may be reached by another carrier. */
	if (d->waiting && d->kept && !d->wanting && !links_find(d->r->links, &d->pk))
		d->wanting = links_want(d->r->links, &d->pk, on_wanted, d) == 0;
	if (group_could(d))
		group_begin(d);
}

/* ---- direct ------------------------------------------------------------------------------------------------------------------ */

static void waited(struct dial *d)
{
	d->waiting = false;
	sg_timer_stop(&d->timer);
	if (d->wanting)
		links_want_cancel(d->r->links, d);
	d->wanting = false;
}

static void ask(struct dial *d, struct line *line)
{
	struct vstream *s = vstream_new(line, line->next_id, true);
	uint8_t port[sizeof(uint16_t)];

	waited(d);
	if (!s) {
		way_failed(d, WAY_DIRECT, SG_EFULL, "too many streams on this link, or memory is out");
		return;
	}
	line->next_id += 2;
	s->state = VS_ASKED;
	s->port = d->port;
	s->dial = d;
	d->stream = s;
	sg_timer_init(&s->timer, d->r->loop, answer_timeout, s);
	if (sg_timer_start(&s->timer, SG_VSTREAM_OPEN_MS) < 0) {
		vstream_end(s, false, -ENOMEM, "out of memory");
		return;
	}
	sg_put_u16(port, d->port);
	s->tx_total = sizeof(port);
	send_message(line, s->id, SG_VSTREAM_SYN, NULL, 0);
	send_message(line, s->id, 0, port, sizeof(port));
	if (group_could(d))
		(void)sg_timer_start(&d->head, silent_find(d->r, &d->pk) ? 0 : SG_DIRECT_HEAD_MS);
}

static bool direct_refused(const struct dial *d, int err)
{
	struct sg_link *l = links_find(d->r->links, &d->pk);

	/* What one of ours says of its ports is true for groups as well. */
	return err == SG_EREFUSED && l && link_is_own(l);
}

/* A group is tried now, if it was not. */
static void direct_failed(struct dial *d, int err, const char *why)
{
	bool could = group_could(d);

	d->grouping = d->grouping || could; /* so that this is not the end */
	way_failed(d, WAY_DIRECT, err, why);
	if (could) {
		d->grouping = false;
		group_begin(d);
	}
}

/* The end of the direct way: @err 0, its stream is open. */
void dial_answered(struct dial *d, int err, const char *why)
{
	struct vstream *s = d->stream;

	d->stream = NULL;
	if (err == 0) {
		finish(d, &s->pub, 0, "");
		return;
	}
	if (err == -ETIMEDOUT)
		silent_add(d->r, &d->pk);
	if (direct_refused(d, err)) {
		finish(d, NULL, err, why);
		return;
	}
	direct_failed(d, err, why);
}

static void begin(void *arg)
{
	struct dial *d = arg;
	struct sg_link *l = links_find(d->r->links, &d->pk);
	struct line *line = l ? *link_user(l) : NULL;
	char why[96], key[SG_PK_SHORT];
	struct sg_peer_state st;

	if (d->min_hops > 1) {
		waited(d);
		group_begin(d);
		return;
	}
	if (line && link_knows_streams(l) && !d->r->groups_only) {
		if (d->waiting && !d->stream)
			ask(d, line);
		return;
	}
	if (line && (!link_is_own(l) || (d->r->groups_only && link_knows_streams(l)))) {
		/*
		 * Of 2024, as far as it has shown, or we want no other way: a group, over a link that an earlier one
		 * did not have.
		 */
		if (d->r->setup) {
			waited(d);
			d->again = d->grouping;
			d->grouped = d->grouping;
			group_begin(d);
		}
		return;
	}
	if (line || d->wanting || sg_timer_active(&d->head))
		return; /* until it is there, or the time is up */
	d->kept = links_peer_state(d->r->links, &d->pk, &st) == 0;
	if (d->kept) {
		/* Another transport made beside the one that is on its way would be closed again, maybe under a route. */
		(void)sg_timer_start(&d->head, SG_LINK_KEPT_HEAD_MS);
		return;
	}
	d->wanting = links_want(d->r->links, &d->pk, on_wanted, d) == 0;
	if (d->wanting) {
		(void)sg_timer_start(&d->head, SG_LINK_HEAD_MS);
		return;
	}
	waited(d);
	snprintf(why, sizeof(why), "no peer with the key %s is configured or connected", sg_pk_short(&d->pk, key));
	direct_failed(d, SG_ENOROUTE, why);
}

/* A link that has not shown what its other end is: one of ours says so at once, others never do. */
void dial_line_up(struct sg_route *r, struct sg_link *l)
{
	sg_list_for (it, &r->dials) {
		struct dial *d = sg_container_of(it, struct dial, node);

		if (d->waiting && group_could(d) && sg_pk_equal(&d->pk, link_remote(l)))
			(void)sg_timer_start(&d->head, SG_DIRECT_HEAD_MS);
	}
}

/* From the loop: a dial that fails tells somebody who may cancel others. */
void dial_line_ready(struct sg_route *r, struct sg_link *l)
{
	sg_list_for (it, &r->dials) {
		struct dial *d = sg_container_of(it, struct dial, node);

		if (d->waiting && sg_pk_equal(&d->pk, link_remote(l)))
			sg_defer_start(r->loop, &d->begin);
	}
}

/* The link that was asked for is there, and begin() follows; or nobody could make one. */
static void on_wanted(void *arg, int err, const char *why)
{
	struct dial *d = arg;
	char text[200], key[SG_PK_SHORT];

	d->wanting = false;
	if (err == 0) {
		sg_defer_start(d->r->loop, &d->begin);
		return;
	}
	if (d->kept)
		return; /* its own addresses are still tried */
	waited(d);
	snprintf(text, sizeof(text), "no transport to %s could be made: %s", sg_pk_short(&d->pk, key), why);
	direct_failed(d, SG_ENOROUTE, text);
}

static void link_timeout(void *arg)
{
	struct dial *d = arg;
	struct sg_peer_state st;
	int err = SG_ENOROUTE;
	const char *why = st.why;

	if (links_peer_state(d->r->links, &d->pk, &st) < 0) {
		why = "there is no link to it, and none could be made";
	} else if (st.linked) {
		err = -ENOTSUP;
		why = "the other end is a visor of 2024, which knows no direct streams; routes to it need a setup node "
		      "(config deployment: list setup_node)";
	}
	waited(d);
	direct_failed(d, err, why);
}

static void answer_timeout(void *arg)
{
	struct vstream *s = arg;
	char why[64];

	snprintf(why, sizeof(why), "no answer from port %u within %d s", s->port, SG_VSTREAM_OPEN_MS / 1000);
	vstream_end(s, true, -ETIMEDOUT, why);
}
