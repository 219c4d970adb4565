/*
 * The way of bytes from the user of a stream to its link, in the order of the functions:
 *
 *	stream_send → credit? → link_reserve → put_data → link_put
 *	send_writable: the link has room again, the stream that waited longest comes first → send_resume
 *
 * What else a stream says: SYN, port, answer, FIN (send_message), what the other end may send (send_credit), that no service
 * here takes it (send_refusal).
 */
#include "route/internal.h"

#define DATA_HEAD (SG_PACKET_HEAD + SG_VSTREAM_HEAD)
/*
 * Half of the first window: the other end grants anew when half a window was taken, so a larger record could wait for
 * credit that never comes.
 */
#define SEND_MAX (SG_VSTREAM_CREDIT_FIRST / 2)

static int stream_send(struct sg_stream *st, const struct iovec *iov, int n);
static void put_data(struct vstream *s, const struct iovec *iov, int n, size_t total);
static void stream_want(struct sg_stream *st, bool read);
static void stream_close(struct sg_stream *st);
static void stream_info(struct sg_stream *st, struct sg_stream_info *out, size_t size);
static int64_t stream_allow(struct sg_stream *st, size_t more);

const struct sg_stream_ops vstream_ops = {
	.size = sizeof(vstream_ops),
	.send = stream_send,
	.want = stream_want,
	.close = stream_close,
	.info = stream_info,
	.allow = stream_allow,
};

/* ---- data ---- */

static int stream_send(struct sg_stream *st, const struct iovec *iov, int n)
{
	struct vstream *s = vstream_of(st);
	size_t total = 0;
	int ret;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	if (n > SG_STREAM_IOV || total > SEND_MAX)
		return SG_ELONG;
	if (s->state == VS_OFFERED) {
		s->wait_answer = true;
		return -EAGAIN;
	}
	if (s->state != VS_OPEN)
		return SG_ECLOSED;
	if (s->line->credits && total > s->tx_allowed - s->tx_total) {
		s->wait_credit = true;
		return -EAGAIN;
	}
	ret = link_reserve(s->line->link, total + (total / SG_VSTREAM_DATA_MAX + 1) * DATA_HEAD);
	if (ret == -EAGAIN)
		turn_take(&s->line->waiting, &s->wait);
	if (ret < 0)
		return ret;
	s->tx_total += total;
	put_data(s, iov, n, total);
	return 0;
}

/* As many packets as it takes: a stream keeps no records, so a cut does no harm. */
static void put_data(struct vstream *s, const struct iovec *iov, int n, size_t total)
{
	size_t at = 0; /* within iov[0] */

	while (total) {
		struct iovec v[1 + SG_STREAM_IOV] = {{s->head, sizeof(s->head)}};
		size_t left = SG_MIN(total, (size_t)SG_VSTREAM_DATA_MAX);
		int k = 1;

		total -= left;
		while (left) {
			size_t take = SG_MIN(left, iov->iov_len - at);

			if (take)
				v[k++] = (struct iovec){(uint8_t *)iov->iov_base + at, take};
			left -= take;
			at += take;
			if (at == iov->iov_len && n > 1) {
				iov++;
				n--;
				at = 0;
			}
		}
		link_put(s->line->link, SG_PACKET_APP_DIRECT, 0, v, k);
	}
}

/* ---- room again ---- */

/*
 * Until the link is full again: a stream that is turned away anew goes to the end, so all get their turn. The last
 * question also tells the link that somebody still waits.
 */
void send_writable(void *arg, struct sg_link *l)
{
	struct line *line = *link_user(l);

	(void)arg;
	if (line)
		forward_writable(line);
	while (line && !sg_list_empty(&line->waiting) && link_reserve(l, 1) == 0) {
		struct turn *t = sg_container_of(line->waiting.next, struct turn, node);

		sg_list_remove(&t->node);
		t->fn(t->arg);
		line = *link_user(l);
	}
}

void send_resume(struct vstream *s)
{
	s->wait_credit = s->wait_answer = false;
	if (s->state == VS_OPEN)
		s->pub.user->on_writable(s->pub.user_arg);
}

/* ---- what else is said ---- */

void send_message(struct line *line, uint64_t id, uint8_t flags, const void *data, size_t len)
{
	uint8_t message[SG_VSTREAM_HEAD + sizeof(uint16_t)];

	sg_vstream_head(id, &line->r->own, flags, message);
	if (len)
		memcpy(message + SG_VSTREAM_HEAD, data, len);
	link_send_control(line->link, SG_PACKET_APP_DIRECT, 0, message, SG_VSTREAM_HEAD + len);
}

void send_credit(struct vstream *s)
{
	const struct sg_credit c = {.id = s->id, .allowed = s->rx_allowed};
	uint8_t payload[SG_CREDIT_LEN];

	sg_credit_encode(&c, payload);
	link_send_control(s->line->link, SG_PACKET_CREDIT, 0, payload, sizeof(payload));
}

void send_refusal(struct line *line, uint8_t type, uint64_t id)
{
	uint8_t message[SG_VSTREAM_HEAD];

	sg_vstream_head(id, &line->r->own, SG_VSTREAM_FIN, message);
	link_send_control(line->link, type, 0, message, sizeof(message));
}

/* ---- what else its user asks for ---- */

static void stream_want(struct sg_stream *st, bool read)
{
	struct vstream *s = vstream_of(st);

	s->want = read;
	if (read && s->rxq_len && s->state != VS_ENDED)
		sg_defer_start(s->r->loop, &s->drain);
}

static void stream_close(struct sg_stream *st)
{
	struct vstream *s = vstream_of(st);
	const uint8_t refused = SG_VSTREAM_NO_LISTENER;

	if (s->state == VS_ENDED)
		return;
	vstream_hold(s);
	if (s->state == VS_OFFERED)
		send_message(s->line, s->id, 0, &refused, sizeof(refused));
	else if (s->state == VS_OPEN)
		send_message(s->line, s->id, SG_VSTREAM_FIN, NULL, 0);
	vstream_detach(s);
	vstream_release(s);
}

static void stream_info(struct sg_stream *st, struct sg_stream_info *out, size_t size)
{
	const struct vstream *s = vstream_of(st);
	struct sg_stream_info info = {.remote = s->remote, .port = s->port, .network = "direct", .records = false};

	snprintf(info.carrier, sizeof(info.carrier), "%s", s->carrier);
	if (s->line)
		info.rtt_us = SG_MAX(link_rtt_us(s->line->link), (int64_t)0);
	sg_fill(out, size, &info, sizeof(info));
}

static int64_t stream_allow(struct sg_stream *st, size_t more)
{
	struct vstream *s = vstream_of(st);

	if (s->state == VS_ENDED)
		return 0;
	if (more == SG_STREAM_ALLOW_ALL) {
		s->rationed = false;
		vstream_ration(s);
		vstream_consumed(s);
		return INT64_MAX;
	}
	if (!s->rationed && !s->line->credits)
		s->rx_allowed = s->rx_total;
	s->rationed = true;
	s->rx_allowed += more;
	if (more && s->line->credits)
		send_credit(s);
	vstream_ration(s);
	return (int64_t)(s->rx_allowed - s->rx_total);
}
