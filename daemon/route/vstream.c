/*
 * The life of a virtual stream, its queue and its window.
 *
 *	dialled: ASKED ── answer ──▶ OPEN        called: PORT ── port ──▶ OFFERED ──▶ OPEN
 *	OPEN ── FIN, bytes queued ──▶ FINISHED ── queue empty ──▶ ENDED;  every state ── end, close, link down ──▶ ENDED
 *
 * With credits the other end may send as much as the window holds beyond what our user took; the window doubles while it
 * turns out too small for the line, that is, when it is used up in less than two round trips, or nearly used up within
 * one batch. Without credits a full queue stops the reading of the whole link, as it does at today's peers.
 */
#include "route/internal.h"
#include "base/alloc.h"

#define BLOCK_MIN 16384 /* bytes of a queue's block: small packets share one */

static void drain(void *arg);

static void writable(void *arg)
{
	send_resume(arg);
}

static void batch_end(void *arg)
{
	struct vstream *s = arg;

	vstream_hold(s);
	vstream_consumed(s);
	if (s->state == VS_OPEN && s->pub.user->on_batch_end)
		s->pub.user->on_batch_end(s->pub.user_arg);
	vstream_release(s);
}

static struct sg_list *bucket(struct line *line, uint64_t id)
{
	return &line->streams[(id >> 1) % LINE_BUCKETS];
}

struct vstream *vstream_find(const struct line *line, uint64_t id)
{
	sg_list_for (it, bucket((struct line *)line, id)) {
		struct vstream *s = sg_container_of(it, struct vstream, node);

		if (s->id == id)
			return s;
	}
	return NULL;
}

struct vstream *vstream_new(struct line *line, uint64_t id, bool dialled)
{
	struct vstream *s;

	if (line->n_streams >= SG_VSTREAMS_PER_LINK)
		return NULL;
	s = sg_calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->pub.ops = &vstream_ops;
	turn_init(&s->wait, writable, s);
	turn_init(&s->touched, batch_end, s);
	sg_list_init(&s->rxq);
	sg_defer_init(&s->drain, drain, s);
	s->line = line;
	s->r = line->r;
	s->id = id;
	s->remote = *link_remote(line->link);
	snprintf(s->carrier, sizeof(s->carrier), "%s", link_carrier(line->link));
	s->dialled = dialled;
	s->want = true;
	s->opened_at = s->granted_at = sg_loop_now(s->r->loop);
	s->window = SG_VSTREAM_CREDIT_FIRST;
	s->tx_allowed = s->rx_allowed = SG_VSTREAM_CREDIT_FIRST;
	sg_vstream_head(id, &s->r->own, 0, s->head);
	sg_list_add_tail(bucket(line, id), &s->node);
	line->n_streams++;
	return s;
}

void vstream_hold(struct vstream *s)
{
	s->busy++;
}

void vstream_release(struct vstream *s)
{
	if (--s->busy == 0 && s->state == VS_ENDED)
		sg_free(s);
}

bool vstream_is_open(const struct vstream *s)
{
	return s->state == VS_OPEN || s->state == VS_FINISHED;
}

/* ---- the queue ---- */

static void pause_link(struct vstream *s, bool pause);

static void block_free(struct vstream *s, struct rx_block *b)
{
	s->rxq_len -= b->tail - b->head;
	s->r->rx_queued -= b->tail - b->head;
	sg_list_remove(&b->node);
	sg_free(b);
}

static void queue_put(struct vstream *s, struct rx_block *b, struct sg_view data)
{
	memcpy(b->b + b->tail, data.p, data.len);
	b->tail += data.len;
	s->rxq_len += data.len;
	s->r->rx_queued += data.len;
}

/* The last block if it has room for @len bytes, else a new one; NULL when memory is out. */
static struct rx_block *block_for(struct vstream *s, size_t len)
{
	size_t cap = SG_MAX(len, (size_t)BLOCK_MIN);
	struct rx_block *b;

	if (!sg_list_empty(&s->rxq)) {
		b = sg_container_of(s->rxq.prev, struct rx_block, node);
		if (b->cap - b->tail >= len)
			return b;
	}
	b = sg_malloc(sizeof(*b) + cap);
	if (!b)
		return NULL;
	b->head = b->tail = 0;
	b->cap = cap;
	sg_list_add_tail(&s->rxq, &b->node);
	return b;
}

int vstream_queue(struct vstream *s, struct sg_view data)
{
	struct rx_block *b;

	if (s->r->rx_queued + data.len > s->r->rx_most)
		return SG_EFULL;
	b = block_for(s, data.len);
	if (!b)
		return -ENOMEM;
	queue_put(s, b, data);
	if (!s->line->credits && !s->pausing && s->rxq_len >= SG_VSTREAM_RX_QUEUE_BYTES)
		pause_link(s, true);
	return 0;
}

static void stalled(void *arg)
{
	struct vstream *s = arg;

	route_drop(s->line, ROUTE_DROP_STALL);
	vstream_end(s, true, -ETIMEDOUT, "its bytes were not taken for so long that the whole link waited");
}

static void pause_link(struct vstream *s, bool pause)
{
	if (s->pausing == pause)
		return;
	s->pausing = pause;
	link_want(s->line->link, !pause);
	if (pause) {
		sg_timer_init(&s->timer, s->r->loop, stalled, s);
		(void)sg_timer_start(&s->timer, SG_VSTREAM_STALL_MS);
	} else {
		sg_timer_stop(&s->timer);
	}
}

/* What waited, to a user who wants it again. */
static void drain(void *arg)
{
	struct vstream *s = arg;

	vstream_hold(s);
	while (vstream_is_open(s) && s->want && s->rxq_len) {
		struct rx_block *b = sg_container_of(s->rxq.next, struct rx_block, node);

		/* Out of the queue first: the user may close inside. */
		s->rxq_len -= b->tail - b->head;
		s->r->rx_queued -= b->tail - b->head;
		sg_list_remove(&b->node);
		s->pub.user->on_data(s->pub.user_arg, (struct sg_view){b->b + b->head, b->tail - b->head});
		sg_free(b);
	}
	if (vstream_is_open(s)) {
		if (s->rxq_len < SG_VSTREAM_RX_QUEUE_BYTES / 2)
			pause_link(s, false);
		vstream_consumed(s);
		if (s->pub.user->on_batch_end)
			s->pub.user->on_batch_end(s->pub.user_arg);
	}
	if (s->state == VS_FINISHED && s->rxq_len == 0)
		vstream_end(s, false, SG_ECLOSED, "");
	vstream_release(s);
}

/* ---- the window ---- */

static bool is_too_small(const struct vstream *s)
{
	/* A ping of an idle moment may have taken a third of what those take that are under way. */
	int64_t rtt_us = link_rtt_busy_us(s->line->link);
	int64_t since_us = (sg_loop_now(s->r->loop).ns - s->granted_at.ns) / 1000;

	return (rtt_us > 0 && since_us < 2 * rtt_us) || s->rx_allowed - s->rx_total < s->window / 4;
}

static void window_grow(struct vstream *s)
{
	size_t more;

	if (s->window >= s->r->window_most)
		return;
	more = SG_MIN(s->window, s->r->window_most - s->window);
	if (s->r->window_more + more > s->r->rx_most)
		return;
	s->window += more;
	s->r->window_more += more;
}

void vstream_consumed(struct vstream *s)
{
	uint64_t consumed = s->rx_total - s->rxq_len;

	if (s->state != VS_OPEN || !s->line->credits || s->rationed ||
		consumed + s->window < s->rx_allowed + s->window / 2)
		return;
	if (is_too_small(s))
		window_grow(s);
	s->rx_allowed = consumed + s->window;
	s->granted_at = sg_loop_now(s->r->loop);
	send_credit(s);
}

void vstream_ration(struct vstream *s)
{
	bool hold = s->rationed && !s->line->credits && s->rx_total >= s->rx_allowed;

	if (s->held != hold)
		link_want(s->line->link, !hold);
	s->held = hold;
}

/* ---- the end ---- */

void vstream_detach(struct vstream *s)
{
	if (s->state == VS_ENDED)
		return;
	pause_link(s, false);
	s->rationed = false;
	vstream_ration(s);
	sg_timer_stop(&s->timer);
	sg_defer_stop(&s->drain);
	sg_list_for_safe (it, &s->rxq)
		block_free(s, sg_container_of(it, struct rx_block, node));
	sg_list_remove(&s->node);
	sg_list_remove(&s->wait.node);
	sg_list_remove(&s->touched.node);
	s->r->window_more -= s->window - SG_VSTREAM_CREDIT_FIRST;
	s->line->n_streams--;
	s->line = NULL;
	s->state = VS_ENDED;
}

void vstream_end(struct vstream *s, bool fin, int err, const char *why)
{
	const struct sg_stream_user *user = vstream_is_open(s) ? s->pub.user : NULL;
	struct dial *d = s->dial;

	if (s->state == VS_ENDED)
		return;
	vstream_hold(s);
	if (fin)
		send_message(s->line, s->id, SG_VSTREAM_FIN, NULL, 0);
	s->dial = NULL;
	vstream_detach(s);
	if (d)
		dial_answered(d, err, why);
	else if (user)
		user->on_close(s->pub.user_arg, err, why);
	vstream_release(s);
}
