/*
 * Dialling a port of a key: wait for the link and for what its other end is, ask, wait for the answer. Every dial ends in
 * its call-back once, from the loop, never inside route_dial.
 */
#include "route/internal.h"
#include "base/alloc.h"
#include "base/cursor.h"

static void begin(void *arg);
static void link_timeout(void *arg);
static void answer_timeout(void *arg);

void dial_free(struct dial *d)
{
	sg_list_remove(&d->node);
	sg_timer_stop(&d->timer);
	sg_defer_stop(&d->begin);
	sg_free(d);
}

void dial_answered(struct dial *d, int err, const char *why)
{
	sg_dialed_fn *done = d->done;
	void *arg = d->arg;
	struct sg_stream *st = d->stream && err == 0 ? &d->stream->pub : NULL;

	dial_free(d);
	done(arg, st, err, why);
}

int route_dial(struct sg_route *r, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	struct dial *d = r->stopping ? NULL : sg_calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->r = r;
	d->pk = *pk;
	d->port = port;
	d->done = done;
	d->arg = arg;
	sg_defer_init(&d->begin, begin, d);
	sg_timer_init(&d->timer, r->loop, link_timeout, d);
	if (sg_timer_start(&d->timer, SG_ROUTE_DIAL_MS) < 0) {
		sg_free(d);
		return -ENOMEM;
	}
	sg_list_add_tail(&r->dials, &d->node);
	sg_defer_start(r->loop, &d->begin);
	return 0;
}

void route_dial_cancel(struct sg_route *r, const void *arg)
{
	sg_list_for_safe (it, &r->dials) {
		struct dial *d = sg_container_of(it, struct dial, node);

		if (d->arg != arg)
			continue;
		if (d->stream) {
			d->stream->dial = NULL;
			vstream_end(d->stream, true, -ECANCELED, "");
		}
		dial_free(d);
	}
}

/* ---- waiting for the link ---- */

static void ask(struct dial *d, struct line *line)
{
	struct vstream *s = vstream_new(line, line->next_id, true);
	uint8_t port[sizeof(uint16_t)];

	if (!s) {
		dial_answered(d, SG_EFULL, "too many streams on this link, or memory is out");
		return;
	}
	line->next_id += 2;
	s->state = VS_ASKED;
	s->port = d->port;
	s->dial = d;
	d->stream = s;
	sg_timer_stop(&d->timer);
	sg_timer_init(&s->timer, d->r->loop, answer_timeout, s);
	if (sg_timer_start(&s->timer, SG_VSTREAM_OPEN_MS) < 0) {
		vstream_end(s, false, -ENOMEM, "out of memory");
		return;
	}
	sg_put_u16(port, d->port);
	s->tx_total = sizeof(port);
	send_message(line, s->id, SG_VSTREAM_SYN, NULL, 0);
	send_message(line, s->id, 0, port, sizeof(port));
}

static void begin(void *arg)
{
	struct dial *d = arg;
	struct sg_link *l = links_find(d->r->links, &d->pk);
	struct line *line = l ? *link_user(l) : NULL;
	char why[96], key[SG_PK_SHORT];
	struct sg_peer_state st;

	if (line && link_knows_streams(l)) {
		ask(d, line);
		return;
	}
	if (links_peer_state(d->r->links, &d->pk, &st) == 0)
		return; /* until it is there, or the time is up */
	snprintf(why, sizeof(why), "no peer with the key %s is configured or connected", sg_pk_short(&d->pk, key));
	dial_answered(d, SG_ENOROUTE, why);
}

/* From the loop: a dial that fails tells somebody who may cancel others. */
void dial_line_ready(struct sg_route *r, struct sg_link *l)
{
	sg_list_for (it, &r->dials) {
		struct dial *d = sg_container_of(it, struct dial, node);

		if (!d->stream && sg_pk_equal(&d->pk, link_remote(l)))
			sg_defer_start(r->loop, &d->begin);
	}
}

static void link_timeout(void *arg)
{
	struct dial *d = arg;
	struct sg_peer_state st;

	if (links_peer_state(d->r->links, &d->pk, &st) < 0)
		dial_answered(d, SG_ENOROUTE, "its peer is not configured any more");
	else if (st.linked)
		dial_answered(d, -ENOTSUP, "the other end is a visor of 2024, which knows no direct streams");
	else
		dial_answered(d, SG_ENOROUTE, st.why);
}

static void answer_timeout(void *arg)
{
	struct vstream *s = arg;
	char why[64];

	snprintf(why, sizeof(why), "no answer from port %u within %d s", s->port, SG_VSTREAM_OPEN_MS / 1000);
	vstream_end(s, true, -ETIMEDOUT, why);
}
