/*
 * The way of a packet from its reverse rule to the user of a group, in the order of the functions:
 *
 *	group_packet → on_greeting | on_close | on_ping | on_pong | on_error
 *	             → on_data → next_frame → group_noise            while the handshake lasts
 *	                                    → sg_frame_open → deliver
 *
 * Others send one frame a packet, but frames may be split over packets and share them, so Data is a stream of bytes.
 */
#include "base/alloc.h"
#include "base/cursor.h"
#include "route/group.h"

#define PREFIX   2
#define PART_CAP (PREFIX + SG_FRAME_PREFIX_MAX)

static void on_data(struct group *g, struct line *line, struct sg_view data);

/* Unauthenticated and from a stranger: what can be printed of it. */
static void on_error(struct group *g, struct sg_view text)
{
	size_t n = SG_MIN(text.len, sizeof(g->error) - 1);

	for (size_t i = 0; i < n; i++)
		g->error[i] = (char)(text.p[i] >= 0x20 && text.p[i] < 0x7f ? text.p[i] : '?');
	g->error[n] = '\0';
}

static void on_ping(struct group *g, struct sg_view payload)
{
	uint8_t pong[SG_PACKET_PING_LEN];
	struct sg_packet_ping p;

	/* Nothing follows our Close: the rules on its way are gone behind it. */
	if (g->state == GROUP_CLOSING || sg_packet_ping_decode(payload, &p) < 0)
		return;
	g->up_bps = p.throughput;
	p.throughput = 0;
	sg_packet_ping_encode(&p, pong);
	(void)group_say(g, SG_PACKET_PONG, pong, sizeof(pong));
}

static void on_pong(struct group *g, struct sg_view payload)
{
	struct sg_packet_ping p;

	/* Only our last one, so that nobody's clock but ours says how long it took. */
	if (sg_packet_ping_decode(payload, &p) == 0 && g->ping_stamp && p.timestamp_ms == g->ping_stamp) {
		g->rtt_us = (sg_loop_now(g->r->loop).ns - g->ping_at.ns) / 1000;
		g->ping_stamp = 0;
	}
}

void group_packet(struct group *g, struct line *line, uint8_t type, struct sg_view payload)
{
	g->heard_at = g->reverse->used_at = sg_loop_now(g->r->loop);
	g->reverse->packets++;
	g->reverse->bytes += payload.len;
	group_hold(g);
	switch (type) {
	case SG_PACKET_DATA:
		on_data(g, line, payload);
		break;
	case SG_PACKET_CLOSE:
		group_closed(g, payload.p[0]);
		break;
	case SG_PACKET_HANDSHAKE:
		group_greeted(g, payload.p[0]);
		break;
	case SG_PACKET_PING:
		on_ping(g, payload);
		break;
	case SG_PACKET_PONG:
		on_pong(g, payload);
		break;
	case SG_PACKET_ERROR:
		on_error(g, payload);
		break;
	case SG_PACKET_KEEPALIVE:
		break;
	default:
		route_drop(line, ROUTE_DROP_TYPE);
	}
	group_release(g);
}

/* ---- frames from bytes ---- */

/* Bytes of @in to the part, up to @want in all. */
static int part_put(struct group *g, struct sg_view *in, size_t want)
{
	size_t n = SG_MIN(in->len, want - g->part_len);

	if (!g->part)
		g->part = sg_malloc(PART_CAP);
	if (!g->part)
		return -ENOMEM;
	memcpy(g->part + g->part_len, in->p, n);
	g->part_len += n;
	in->p += n;
	in->len -= n;
	return 0;
}

static size_t frame_len(const uint8_t *prefix)
{
	return PREFIX + (size_t)sg_get_u16(prefix);
}

/* 1: *@frame is whole, in @in or in the part. 0: what there is of it is kept. Else what is wrong. */
static int next_frame(struct group *g, struct sg_view *in, struct sg_view *frame)
{
	int err = 0;

	if (!g->part_len && in->len >= PREFIX && in->len >= frame_len(in->p)) {
		*frame = (struct sg_view){in->p, frame_len(in->p)};
		in->p += frame->len;
		in->len -= frame->len;
		return 1;
	}
	if (g->part_len < PREFIX)
		err = part_put(g, in, PREFIX);
	if (err < 0 || g->part_len < PREFIX)
		return err;
	/* Noise messages as well: the reader of others takes none that is longer either. */
	if (sg_get_u16(g->part) > SG_FRAME_PREFIX_MAX)
		return SG_ELONG;
	err = part_put(g, in, frame_len(g->part));
	if (err < 0 || g->part_len < frame_len(g->part))
		return err;
	*frame = (struct sg_view){g->part, g->part_len};
	g->part_len = 0;
	return 1;
}

/* ---- records ---- */

/* What a record costs: a queue of short ones is mostly their heads. */
static size_t cost(size_t len)
{
	return sizeof(struct record) + len;
}

static int enqueue(struct group *g, struct sg_view data)
{
	struct record *rec;

	if (g->rxq_len + cost(data.len) > SG_GROUP_RX_BYTES || g->r->rx_queued + cost(data.len) > g->r->rx_most)
		return SG_EFULL;
	rec = sg_malloc(cost(data.len));
	if (!rec)
		return -ENOMEM;
	rec->len = data.len;
	memcpy(rec->b, data.p, data.len);
	sg_list_add_tail(&g->rxq, &rec->node);
	g->rxq_len += cost(data.len);
	g->r->rx_queued += cost(data.len);
	return 0;
}

void group_ration(struct group *g, struct line *line)
{
	bool hold = g->rationed && g->rx_bytes >= g->rx_allowed;

	if (hold && !g->held && line) {
		g->held = line;
		link_want(line->link, false);
	} else if (!hold && g->held) {
		link_want(g->held->link, true);
		g->held = NULL;
	}
}

static void deliver(struct group *g, struct line *line, struct sg_view data)
{
	g->rx_bytes += data.len;
	group_ration(g, line);
	if (g->want && sg_list_empty(&g->rxq)) {
		turn_take(&line->touched, &g->touched);
		g->pub.user->on_data(g->pub.user_arg, data);
	} else if (enqueue(g, data) < 0) {
		group_drop(g, ROUTE_DROP_QUEUE);
		group_end(g, true, SG_EFULL, "too many bytes wait for slow readers");
	}
}

static int open_frame(struct group *g, struct line *line, struct sg_view frame)
{
	size_t len;
	int used = sg_frame_open(&g->rx, frame, g->r->plain, &len);

	if (used < 0)
		return used;
	if (len) /* others send none, and skip them */
		deliver(g, line, (struct sg_view){g->r->plain, len});
	return 0;
}

static void on_data(struct group *g, struct line *line, struct sg_view data)
{
	struct sg_view frame;
	int ret;

	if (g->state != GROUP_NOISE && g->state != GROUP_OPEN) {
		if (g->state == GROUP_GREETING)
			group_drop(g, ROUTE_DROP_GROUP);
		return;
	}
	if (g->plain) {
		if (data.len)
			deliver(g, line, data);
		return;
	}
	do {
		ret = next_frame(g, &data, &frame);
		if (ret > 0 && g->state == GROUP_NOISE)
			group_noise(g, (struct sg_view){frame.p + PREFIX, frame.len - PREFIX});
		else if (ret > 0)
			ret = open_frame(g, line, frame) < 0 ? SG_EAUTH : 1;
	} while (ret > 0 && data.len && (g->state == GROUP_NOISE || g->state == GROUP_OPEN));
	if (ret == -ENOMEM)
		group_end(g, true, ret, "out of memory for what came over the route");
	else if (ret < 0)
		group_end(g, true, ret, "what came over the route is not authentic, or was lost in part");
}

void group_batch_end(void *arg)
{
	struct group *g = arg;

	group_hold(g);
	if (g->state == GROUP_OPEN && g->pub.user->on_batch_end)
		g->pub.user->on_batch_end(g->pub.user_arg);
	group_release(g);
}

/* What waited, to a user who wants it again. */
void group_drain(void *arg)
{
	struct group *g = arg;

	group_hold(g);
	while (group_is_open(g) && g->want && !sg_list_empty(&g->rxq)) {
		struct record *rec = sg_container_of(g->rxq.next, struct record, node);

		/* Out of the queue first: the user may close inside. */
		g->rxq_len -= cost(rec->len);
		g->r->rx_queued -= cost(rec->len);
		sg_list_remove(&rec->node);
		g->pub.user->on_data(g->pub.user_arg, (struct sg_view){rec->b, rec->len});
		sg_free(rec);
	}
	if (group_is_open(g) && g->pub.user->on_batch_end)
		g->pub.user->on_batch_end(g->pub.user_arg);
	if (g->state == GROUP_FINISHED && sg_list_empty(&g->rxq))
		group_end(g, false, g->error[0] ? SG_EREFUSED : SG_ECLOSED, g->error);
	group_release(g);
}
