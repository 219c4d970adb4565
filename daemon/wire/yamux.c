/*
 * yamux. What the other end gets wrong and the specification calls fatal ends the session with a sentence; everything
 * about one stream costs that stream only.
 */
#include "wire/yamux.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"

enum { T_DATA, T_WINDOW, T_PING, T_GOAWAY };
enum { F_SYN = 1, F_ACK = 2, F_FIN = 4, F_RST = 8 };

struct sg_yamux {
	const struct sg_yamux_ops *ops;
	void *arg;
	struct sg_list streams;
	size_t n_streams;
	uint32_t next_id;
	bool remote_away;

	uint8_t head[SG_YAMUX_HEAD];
	size_t head_len;
	/* Of a Data frame whose payload is arriving. */
	uint32_t body_left;
	struct sg_yamux_stream *body_of; /* NULL: discarded */
	uint16_t body_flags;

	struct sg_mono now;
	struct sg_mono next_ping, ping_sent;
	uint32_t ping_id;
	bool ping_waits;
	int64_t rtt_us;
};

struct sg_yamux *sg_yamux_new(bool client, const struct sg_yamux_ops *ops, void *arg, struct sg_mono now)
{
	struct sg_yamux *y = sg_calloc(1, sizeof(*y));

	if (!y)
		return NULL;
	y->ops = ops;
	y->arg = arg;
	sg_list_init(&y->streams);
	y->next_id = client ? 1 : 2;
	y->now = now;
	y->next_ping = sg_mono_add_ms(now, SG_YAMUX_PING_MS);
	y->rtt_us = -1;
	return y;
}

static void forget(struct sg_yamux_stream *s)
{
	struct sg_yamux *y = s->session;

	if (y->body_of == s)
		y->body_of = NULL;
	sg_list_remove(&s->node);
	y->n_streams--;
	sg_free(s);
}

void sg_yamux_free(struct sg_yamux *y)
{
	if (!y)
		return;
	while (!sg_list_empty(&y->streams))
		forget(sg_container_of(y->streams.next, struct sg_yamux_stream, node));
	sg_free(y);
}

/* ---- out ---------------------------------------------------------------------------------------------------------- */

static void send_frame(
	struct sg_yamux *y, uint8_t type, uint16_t flags, uint32_t id, uint32_t length, struct sg_view body)
{
	uint8_t head[SG_YAMUX_HEAD] = {0, type};

	sg_put_u16(head + 2, flags);
	sg_put_u32(head + 4, id);
	sg_put_u32(head + 8, length);
	y->ops->send(y->arg, (struct sg_view){head, sizeof(head)}, body);
}

static void send_window(struct sg_yamux_stream *s, uint16_t flags, uint32_t increment)
{
	send_frame(s->session, T_WINDOW, flags, s->id, increment, (struct sg_view){NULL, 0});
}

static struct sg_yamux_stream *add(struct sg_yamux *y, uint32_t id)
{
	struct sg_yamux_stream *s = sg_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->session = y;
	s->id = id;
	s->tx_window = s->rx_window = SG_YAMUX_WINDOW;
	s->since = y->now;
	sg_list_add_tail(&y->streams, &s->node);
	y->n_streams++;
	return s;
}

int sg_yamux_open(struct sg_yamux *y, void *user, struct sg_mono now, struct sg_yamux_stream **out)
{
	struct sg_yamux_stream *s;

	y->now = now;
	if (y->remote_away)
		return SG_ECLOSED;
	if (y->n_streams >= SG_YAMUX_STREAMS_MAX || y->next_id > UINT32_MAX - 2)
		return SG_EFULL;
	s = add(y, y->next_id);
	if (!s)
		return -ENOMEM;
	y->next_id += 2;
	s->user = user;
	send_window(s, F_SYN, 0);
	*out = s;
	return 0;
}

int sg_yamux_send(struct sg_yamux_stream *s, struct sg_view data)
{
	uint32_t n = (uint32_t)SG_MIN(data.len, (size_t)s->tx_window);

	if (s->fin_sent)
		return SG_ECLOSED;
	s->wait = n < data.len;
	if (n) {
		s->tx_window -= n;
		send_frame(s->session, T_DATA, 0, s->id, n, (struct sg_view){data.p, n});
	}
	return (int)n;
}

void sg_yamux_consumed(struct sg_yamux_stream *s, uint32_t len)
{
	uint32_t delta;

	s->rx_held -= SG_MIN(len, s->rx_held);
	delta = SG_YAMUX_WINDOW - s->rx_held - s->rx_window;
	if (delta >= SG_YAMUX_WINDOW / 2 && !s->fin_seen) {
		s->rx_window += delta;
		send_window(s, 0, delta);
	}
}

void sg_yamux_close(struct sg_yamux_stream *s, struct sg_mono now)
{
	s->session->now = now;
	s->user = NULL;
	if (!s->fin_sent) {
		s->fin_sent = true;
		s->since = now;
		send_window(s, F_FIN, 0);
	}
	if (s->fin_seen)
		forget(s);
}

void sg_yamux_reset(struct sg_yamux_stream *s)
{
	send_window(s, F_RST, 0);
	forget(s);
}

/* ---- in ----------------------------------------------------------------------------------------------------------- */

static struct sg_yamux_stream *find(struct sg_yamux *y, uint32_t id)
{
	sg_list_for (it, &y->streams) {
		struct sg_yamux_stream *s = sg_container_of(it, struct sg_yamux_stream, node);

		if (s->id == id)
			return s;
	}
	return NULL;
}

/* Closed by its owner: it lives on only until the other end's FIN. */
static bool orphan(const struct sg_yamux_stream *s)
{
	return s->fin_sent && !s->user;
}

static int incoming(struct sg_yamux *y, uint32_t id, const char **why)
{
	struct sg_yamux_stream *s;

	if (find(y, id)) {
		*why = "a stream id was opened twice";
		return SG_EMALF;
	}
	s = y->n_streams < SG_YAMUX_STREAMS_MAX ? add(y, id) : NULL;
	if (!s) {
		send_frame(y, T_WINDOW, F_RST, id, 0, (struct sg_view){NULL, 0});
		return 0;
	}
	s->acked = true;
	if (y->ops->on_stream(y->arg, s) < 0) {
		sg_yamux_reset(s);
		return 0;
	}
	send_window(s, F_ACK, 0);
	return 0;
}

/* FIN and RST of a frame whose window or data were taken. The stream may be gone afterwards. */
static int finish(struct sg_yamux_stream *s, uint16_t flags, const char **why)
{
	struct sg_yamux *y = s->session;

	if (flags & F_RST) {
		if (!orphan(s))
			y->ops->on_end(y->arg, s, -ECONNRESET);
		forget(s);
		return 0;
	}
	if (!(flags & F_FIN))
		return 0;
	if (s->fin_seen) {
		*why = "a stream was ended twice";
		return SG_EMALF;
	}
	s->fin_seen = true;
	if (orphan(s))
		forget(s);
	else
		y->ops->on_end(y->arg, s, 0);
	return 0;
}

static int window_in(struct sg_yamux *y, uint32_t id, uint16_t flags, uint32_t increment, const char **why)
{
	struct sg_yamux_stream *s = find(y, id);

	if (!s)
		return 0;
	if (flags & F_ACK)
		s->acked = true;
	if (increment > UINT32_MAX - s->tx_window) {
		*why = "a stream's window overflowed";
		return SG_EMALF;
	}
	s->tx_window += increment;
	if (increment && s->wait && !s->fin_sent && !(flags & F_RST)) {
		s->wait = false;
		y->ops->on_writable(y->arg, s);
		s = find(y, id); /* its owner may have ended it */
	}
	return s ? finish(s, flags, why) : 0;
}

static int data_head(struct sg_yamux *y, uint32_t id, uint16_t flags, uint32_t length, const char **why)
{
	struct sg_yamux_stream *s = find(y, id);

	if (s && (flags & F_ACK))
		s->acked = true;
	if (s && length > s->rx_window) {
		*why = "more was sent than the window allows";
		return SG_EMALF;
	}
	if (s) {
		s->rx_window -= length;
		s->rx_held += length;
	}
	y->body_left = length;
	y->body_of = s;
	y->body_flags = flags;
	return 0;
}

static void ping_in(struct sg_yamux *y, uint16_t flags, uint32_t id)
{
	if (flags & F_SYN) {
		send_frame(y, T_PING, F_ACK, 0, id, (struct sg_view){NULL, 0});
	} else if (y->ping_waits && id == y->ping_id) {
		y->ping_waits = false;
		y->rtt_us = (y->now.ns - y->ping_sent.ns) / 1000;
	}
}

static int head_in(struct sg_yamux *y, const char **why)
{
	uint8_t type = y->head[1];
	uint16_t flags = sg_get_u16(y->head + 2);
	uint32_t id = sg_get_u32(y->head + 4), length = sg_get_u32(y->head + 8);
	int err = 0;

	if (y->head[0] != 0 || type > T_GOAWAY) {
		*why = y->head[0] != 0 ? "another version of the multiplexer" : "a frame of unknown type";
		return SG_EMALF;
	}
	if (type == T_PING) {
		ping_in(y, flags, length);
		return 0;
	}
	if (type == T_GOAWAY) {
		y->remote_away = true;
		*why = "the other end reports an error of the multiplexer";
		return length == 0 ? 0 : SG_ECLOSED;
	}
	if (flags & F_SYN)
		err = incoming(y, id, why);
	if (err < 0)
		return err;
	return type == T_DATA ? data_head(y, id, flags, length, why) : window_in(y, id, flags, length, why);
}

/* Payload, as it arrives. */
static struct sg_view body_in(struct sg_yamux *y, struct sg_view in)
{
	uint32_t n = (uint32_t)SG_MIN(in.len, (size_t)y->body_left);
	struct sg_yamux_stream *s = y->body_of;

	y->body_left -= n;
	if (s && orphan(s)) {
		/* Nobody will read it: the credit goes back so that the other end can come to its FIN. */
		sg_yamux_consumed(s, n);
	} else if (s && n) {
		y->ops->on_data(y->arg, s, (struct sg_view){in.p, n});
	}
	return (struct sg_view){in.p + n, in.len - n};
}

int sg_yamux_feed(struct sg_yamux *y, struct sg_view in, const char **why)
{
	int err = 0;

	*why = "";
	while (in.len && err == 0) {
		size_t n;

		if (y->body_left) {
			in = body_in(y, in);
			if (y->body_left == 0 && y->body_of)
				err = finish(y->body_of, y->body_flags, why);
			continue;
		}
		n = SG_MIN(in.len, SG_YAMUX_HEAD - y->head_len);
		memcpy(y->head + y->head_len, in.p, n);
		y->head_len += n;
		in.p += n;
		in.len -= n;
		if (y->head_len < SG_YAMUX_HEAD)
			break;
		y->head_len = 0;
		y->body_of = NULL;
		err = head_in(y, why);
		if (err == 0 && y->head[1] == T_DATA && y->body_left == 0 && y->body_of)
			err = finish(y->body_of, y->body_flags, why);
	}
	return err;
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

int sg_yamux_tick(struct sg_yamux *y, struct sg_mono now, const char **why)
{
	y->now = now;
	if (y->ping_waits && sg_mono_ms_since(now, y->ping_sent) >= SG_YAMUX_PING_WAIT_MS) {
		*why = "no answer to a ping";
		return -ETIMEDOUT;
	}
	if (!y->ping_waits && !sg_mono_before(now, y->next_ping)) {
		y->ping_id++;
		y->ping_waits = true;
		y->ping_sent = now;
		y->next_ping = sg_mono_add_ms(now, SG_YAMUX_PING_MS);
		send_frame(y, T_PING, F_SYN, 0, y->ping_id, (struct sg_view){NULL, 0});
	}
	sg_list_for_safe (it, &y->streams) {
		struct sg_yamux_stream *s = sg_container_of(it, struct sg_yamux_stream, node);
		int64_t age = sg_mono_ms_since(now, s->since);

		if (!s->acked && age >= SG_YAMUX_OPEN_MS) {
			*why = "a stream that was opened got no answer";
			return -ETIMEDOUT;
		}
		if (orphan(s) && age >= SG_YAMUX_CLOSE_MS)
			sg_yamux_reset(s);
	}
	return 0;
}

size_t sg_yamux_streams(const struct sg_yamux *y)
{
	return y->n_streams;
}

int64_t sg_yamux_rtt_us(const struct sg_yamux *y)
{
	return y->rtt_us;
}
