/*
 * The way of a record from the user of a group to the first link of its route:
 *
 *	stream_send → link_reserve → link_place → sg_frame_seal_behind → link_put one record, one frame, one Data packet
 *	group_say: what is no data, and waits for nobody
 */
#include "base/err.h"
#include "route/group.h"

static int stream_send(struct sg_stream *st, const struct iovec *iov, int n);
static void stream_want(struct sg_stream *st, bool read);
static void stream_close(struct sg_stream *st);
static void stream_info(struct sg_stream *st, struct sg_stream_info *out, size_t size);
static int64_t stream_allow(struct sg_stream *st, size_t more);

const struct sg_stream_ops group_ops = {
	.size = sizeof(group_ops),
	.send = stream_send,
	.want = stream_want,
	.close = stream_close,
	.info = stream_info,
	.allow = stream_allow,
};

static void went(struct group *g, size_t len)
{
	g->forward->used_at = sg_loop_now(g->r->loop);
	g->forward->packets++;
	g->forward->bytes += len;
}

static void gather(uint8_t *to, const struct iovec *iov, int n)
{
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len)
			memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
}

static int stream_send(struct sg_stream *st, const struct iovec *iov, int n)
{
	struct group *g = group_of(st);
	struct iovec frame;
	struct line *line;
	size_t total = 0;
	int ret;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	if (total > (g->plain ? SG_PACKET_PAYLOAD_MAX : SG_GROUP_RECORD_MAX))
		return SG_ELONG;
	line = g->state == GROUP_OPEN && g->forward ? rule_line(g->r, g->forward) : NULL;
	if (!line)
		return SG_ECLOSED;
	if (total == 0)
		return 0; /* an empty record ends the reading at the other end */
	ret = link_reserve(line->link, SG_PACKET_HEAD + SG_FRAME_HEAD + total + SG_FRAME_TAG);
	if (ret == -EAGAIN)
		turn_take(&line->waiting, &g->wait);
	if (ret < 0)
		return ret;
	if (g->plain) {
		link_put(line->link, SG_PACKET_DATA, g->forward->r.next_id, iov, n);
	} else {
		frame.iov_base = link_place(line->link, SG_FRAME_HEAD + total + SG_FRAME_TAG);
		if (!frame.iov_base)
			frame.iov_base = g->r->slot + SG_FRAME_FRONT;
		gather((uint8_t *)frame.iov_base + SG_FRAME_HEAD, iov, n);
		frame.iov_len = sg_frame_seal_behind(&g->tx, frame.iov_base, total);
		link_put(line->link, SG_PACKET_DATA, g->forward->r.next_id, &frame, 1);
	}
	g->tx_bytes += total;
	g->sent_at = sg_loop_now(g->r->loop);
	went(g, total);
	return 0;
}

bool group_say(struct group *g, uint8_t type, const void *payload, size_t len)
{
	const struct iovec iov = {(void *)(uintptr_t)payload, len};
	struct line *line = g->forward ? rule_line(g->r, g->forward) : NULL;

	if (!line || link_reserve_far(line->link, SG_PACKET_HEAD + len) < 0)
		return false;
	link_put(line->link, type, g->forward->r.next_id, &iov, len ? 1 : 0);
	went(g, len);
	return true;
}

bool group_say_close(struct group *g, uint8_t code)
{
	struct line *line = g->forward ? rule_line(g->r, g->forward) : NULL;

	if (!line)
		return false;
	link_send_control(line->link, SG_PACKET_CLOSE, g->forward->r.next_id, &code, sizeof(code));
	went(g, sizeof(code));
	return true;
}

void group_writable(void *arg)
{
	struct group *g = arg;

	group_hold(g);
	if (g->state == GROUP_OPEN)
		g->pub.user->on_writable(g->pub.user_arg);
	else if (g->state == GROUP_NOISE)
		group_noise_turn(g);
	group_release(g);
}

static void stream_want(struct sg_stream *st, bool read)
{
	struct group *g = group_of(st);

	g->want = read;
	if (read && !sg_list_empty(&g->rxq))
		sg_defer_start(g->r->loop, &g->drain);
}

static void stream_close(struct sg_stream *st)
{
	struct group *g = group_of(st);

	if (!group_is_open(g))
		return;
	g->pub.user = NULL;
	group_end(g, true, 0, "");
}

static void stream_info(struct sg_stream *st, struct sg_stream_info *out, size_t size)
{
	const struct group *g = group_of(st);
	struct sg_stream_info info = {.remote = g->desc.src,
		.port = g->dialled ? g->desc.src_port : g->desc.dst_port,
		.network = "skynet",
		.records = true,
		.rtt_us = SG_MAX(g->rtt_us, (int64_t)0)};

	snprintf(info.carrier, sizeof(info.carrier), "%s", g->carrier);
	sg_fill(out, size, &info, sizeof(info));
}

static int64_t stream_allow(struct sg_stream *st, size_t more)
{
	struct group *g = group_of(st);

	if (!group_is_open(g) || more == SG_STREAM_ALLOW_ALL) {
		g->rationed = false;
		group_ration(g, NULL);
		return INT64_MAX;
	}
	if (!g->rationed)
		g->rx_allowed = g->rx_bytes;
	g->rationed = true;
	g->rx_allowed += more;
	group_ration(g, NULL);
	return (int64_t)(g->rx_allowed - g->rx_bytes);
}
