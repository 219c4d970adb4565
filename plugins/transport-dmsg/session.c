/*
 * A session with one server.
 *
 *	RESOLVE → CONNECT → NOISE → PAUSE → UP      any of them → down
 *
 * TCP, then Noise XK as initiator, then yamux in clear; the keys of the handshake seal only the objects that open streams.
 * Servers of 2024 end a session on bytes that arrive together with the handshake's last message, hence the pause.
 */
#include "dmsg.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "wire/url.h"

#include <unistd.h>

#define CONNECT_MS   10000
#define HANDSHAKE_MS 5000
#define PAUSE_MS     150
#define TICK_MS      1000
#define READ_SIZE    65536
#define OUT_HIGH     (1024 * 1024)
#define OUT_LOW      (256 * 1024)
#define OUT_MAX      (8 * 1024 * 1024)
#define OBJECT_HEAD  10 /* length and counter */

static void session_free(struct session *s)
{
	sg_connect_cancel(s->connect);
	sg_timer_stop(&s->timer);
	sg_defer_stop(&s->flush);
	sg_watch_free(s->watch);
	if (s->fd >= 0)
		close(s->fd);
	sg_noise_fini(&s->noise);
	sg_crypto_aead(s->d->id->crypto)->free_key(s->tx);
	sg_crypto_aead(s->d->id->crypto)->free_key(s->rx);
	sg_yamux_free(s->yamux);
	sg_free(s->out);
	sg_free(s);
}

/* The first live stream of a session that was not visited in this round; round 0: any. */
static struct stream *stream_of(struct session *s, unsigned round)
{
	sg_list_for (it, &s->d->streams) {
		struct stream *st = sg_container_of(it, struct stream, node);

		if (st->s == s && st->state != STREAM_ENDED && (!round || st->round != round)) {
			st->round = round;
			return st;
		}
	}
	return NULL;
}

void dmsg_session_end(struct session *s, int err, const char *why)
{
	if (s->dead)
		return;
	s->dead = true;
	s->busy++;
	/* Each end may close other streams too, so the list is looked at anew after each. */
	for (struct stream *st = stream_of(s, 0); st; st = stream_of(s, 0))
		dmsg_stream_fail(st, err, why);
	dmsg_node_session_down(s, why);
	sg_list_remove(&s->node);
	if (--s->busy == 0)
		session_free(s);
}

/* Between these two the session's memory stays, whatever happens inside. */
static void enter(struct session *s)
{
	s->busy++;
}

static bool leave(struct session *s)
{
	bool alive = !s->dead;

	if (--s->busy == 0 && !alive)
		session_free(s);
	return alive;
}

/* ---- bytes out ----------------------------------------------------------------------------------------------------- */

static bool put(struct session *s, struct sg_view v)
{
	if (!v.len)
		return true;
	if (s->out_at == s->out_len)
		s->out_at = s->out_len = 0;
	if (v.len > s->out_cap - s->out_len) {
		size_t cap;
		uint8_t *out;

		if (s->out_at) {
			memmove(s->out, s->out + s->out_at, s->out_len - s->out_at);
			s->out_len -= s->out_at;
			s->out_at = 0;
		}
		cap = SG_MAX(s->out_cap, (size_t)4096);
		while (cap - s->out_len < v.len)
			cap *= 2;
		out = cap > OUT_MAX ? NULL : cap == s->out_cap ? s->out : sg_realloc(s->out, cap);
		if (!out)
			return false;
		s->out = out;
		s->out_cap = cap;
	}
	memcpy(s->out + s->out_len, v.p, v.len);
	s->out_len += v.len;
	return true;
}

static void watch_update(struct session *s)
{
	sg_watch_set(s->watch, SG_READABLE | (s->out_at < s->out_len ? SG_WRITABLE : 0U));
}

static void flush(void *arg)
{
	struct session *s = arg;
	ssize_t n;

	if (s->out_at < s->out_len) {
		n = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			dmsg_session_end(s, -errno, strerror(errno));
			return;
		}
		if (n > 0)
			s->out_at += (size_t)n;
	}
	watch_update(s);
	if (!s->out_full || s->out_len - s->out_at > OUT_LOW)
		return;
	s->out_full = false;
	enter(s);
	if (++s->d->round == 0)
		s->d->round = 1;
	for (struct stream *st = stream_of(s, s->d->round); st && !s->dead; st = stream_of(s, s->d->round))
		dmsg_stream_on_writable(st);
	leave(s);
}

bool dmsg_session_full(const struct session *s)
{
	return s->out_full;
}

static void on_send(void *arg, struct sg_view head, struct sg_view body)
{
	struct session *s = arg;

	if (s->dead)
		return;
	if (!put(s, head) || !put(s, body)) {
		/* Not here, inside the multiplexer: the socket is cut, and the next event ends the session. */
		shutdown(s->fd, SHUT_RDWR);
		return;
	}
	if (s->out_len - s->out_at > OUT_HIGH)
		s->out_full = true;
	sg_defer_start(s->d->loop, &s->flush);
}

/* ---- session objects ------------------------------------------------------------------------------------------------ */

int dmsg_session_seal(struct session *s, struct sg_view object, uint8_t *out, size_t cap)
{
	size_t len = OBJECT_HEAD + object.len + SG_AEAD_TAG_LEN;

	if (len > cap || len - 2 > UINT16_MAX)
		return SG_ELONG;
	s->tx_counter++;
	sg_put_u16(out, (uint16_t)(len - 2));
	sg_put_u64(out + 2, s->tx_counter);
	sg_crypto_aead(s->d->id->crypto)
		->seal(s->tx, s->tx_counter, (struct sg_view){NULL, 0}, object.p, object.len, out + OBJECT_HEAD);
	return (int)len;
}

int dmsg_session_unseal(struct session *s, uint8_t *frame, size_t len, struct sg_view *object)
{
	uint64_t counter;
	int err;

	if (len < 8 + SG_AEAD_TAG_LEN)
		return SG_EMALF;
	counter = sg_get_u64(frame);
	if (!sg_replay_ok(&s->replay, counter)) {
		s->d->count.replayed++;
		return SG_EREPLAY;
	}
	len -= 8 + SG_AEAD_TAG_LEN;
	err = sg_crypto_aead(s->d->id->crypto)
		      ->open(s->rx, counter, (struct sg_view){NULL, 0}, frame + 8, len, frame + 8);
	if (err < 0)
		return err;
	sg_replay_mark(&s->replay, counter);
	*object = (struct sg_view){frame + 8, len};
	return 0;
}

/* ---- the multiplexer ------------------------------------------------------------------------------------------------ */

static int on_stream(void *arg, struct sg_yamux_stream *y)
{
	return dmsg_stream_offered(arg, y);
}

static void on_data(void *arg, struct sg_yamux_stream *y, struct sg_view data)
{
	(void)arg;
	dmsg_stream_on_data(y->user, data);
}

static void on_writable(void *arg, struct sg_yamux_stream *y)
{
	(void)arg;
	dmsg_stream_on_writable(y->user);
}

static void on_end(void *arg, struct sg_yamux_stream *y, int err)
{
	(void)arg;
	dmsg_stream_on_end(y->user, err);
}

static const struct sg_yamux_ops mux_ops = {
	.send = on_send, .on_stream = on_stream, .on_data = on_data, .on_writable = on_writable, .on_end = on_end};

/* ---- the handshake --------------------------------------------------------------------------------------------------- */

static void pause_over(struct session *s)
{
	s->yamux = sg_yamux_new(true, &mux_ops, s, sg_loop_now(s->d->loop));
	if (!s->yamux || sg_timer_start(&s->timer, TICK_MS) < 0) {
		dmsg_session_end(s, -ENOMEM, "out of memory");
		return;
	}
	s->state = SESSION_UP;
	s->since = sg_loop_now(s->d->loop);
	s->d->count.sessions_up++;
	dmsg_node_session_up(s);
}

static int send_message(struct session *s)
{
	uint8_t msg[2 + 128];
	int len = sg_noise_write(&s->noise, (struct sg_view){NULL, 0}, msg + 2, sizeof(msg) - 2);

	if (len < 0)
		return len;
	sg_put_u16(msg, (uint16_t)len);
	if (!put(s, (struct sg_view){msg, 2 + (size_t)len}))
		return -ENOMEM;
	sg_defer_start(s->d->loop, &s->flush);
	return 0;
}

static int handshake_done(struct session *s)
{
	const struct sg_aead_ops *ops = sg_crypto_aead(s->d->id->crypto);
	struct sg_noise_keys keys;

	sg_noise_split(&s->noise, &keys);
	s->tx = ops->new_key(keys.tx);
	s->rx = ops->new_key(keys.rx);
	sg_wipe(&keys, sizeof(keys));
	sg_replay_init(&s->replay);
	s->state = SESSION_PAUSE;
	return s->tx && s->rx ? sg_timer_start(&s->timer, PAUSE_MS) : -ENOMEM;
}

/* The server's one message. Whatever is behind it has no place there. */
static void noise_in(struct session *s, struct sg_view in)
{
	size_t len;
	int err;

	if (s->state != SESSION_NOISE || in.len > sizeof(s->hs) - s->hs_len) {
		dmsg_session_end(s, SG_EMALF, "the server sent something else than a handshake");
		return;
	}
	memcpy(s->hs + s->hs_len, in.p, in.len);
	s->hs_len += in.len;
	if (s->hs_len < 2)
		return;
	len = sg_get_u16(s->hs);
	if (s->hs_len < 2 + len && 2 + len <= sizeof(s->hs))
		return;
	err = s->hs_len == 2 + len ? sg_noise_read(&s->noise, (struct sg_view){s->hs + 2, len}, NULL, 0) : SG_EMALF;
	if (err >= 0)
		err = send_message(s);
	if (err == 0)
		err = handshake_done(s);
	if (err < 0)
		dmsg_session_end(s, err,
			err == SG_EAUTH ? "the server does not have the key that its entry names" : sg_strerror(err));
}

static void read_some(struct session *s)
{
	uint8_t buf[READ_SIZE];
	const char *why;
	ssize_t n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT);
	int err;

	if (n == 0) {
		dmsg_session_end(s, SG_ECLOSED, "the server closed the session");
	} else if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			dmsg_session_end(s, -errno, strerror(errno));
	} else if (s->state != SESSION_UP) {
		noise_in(s, (struct sg_view){buf, (size_t)n});
	} else {
		enter(s);
		err = sg_yamux_feed(s->yamux, (struct sg_view){buf, (size_t)n}, &why);
		if (err < 0)
			dmsg_session_end(s, err, why);
		leave(s);
	}
}

static void on_socket(void *arg, int fd, unsigned events)
{
	struct session *s = arg;

	(void)fd;
	enter(s);
	if (events & SG_WRITABLE)
		flush(s);
	if (!s->dead && (events & SG_READABLE))
		read_some(s);
	leave(s);
}

static void connected(struct session *s)
{
	const struct sg_identity *id = s->d->id;
	int err = sg_noise_xk_init(&s->noise, id->crypto, true, id->sk, &s->server);

	if (err == 0)
		err = send_message(s);
	if (err == 0)
		err = sg_timer_start(&s->timer, HANDSHAKE_MS);
	s->state = SESSION_NOISE;
	if (err < 0)
		dmsg_session_end(s, err, sg_strerror(err));
	else
		watch_update(s);
}

static void on_connected(void *arg, int fd_or_error, const char *why)
{
	struct session *s = arg;
	int err;

	s->connect = NULL;
	if (fd_or_error < 0) {
		dmsg_session_end(s, fd_or_error, why);
		return;
	}
	s->fd = fd_or_error;
	err = sg_watch_new(s->d->loop, s->fd, on_socket, s, &s->watch);
	if (err < 0)
		dmsg_session_end(s, err, sg_strerror(err));
	else
		connected(s);
}

static void on_timer(void *arg)
{
	struct session *s = arg;
	const char *why = "";

	switch (s->state) {
	case SESSION_CONNECT:
		dmsg_session_end(s, -ETIMEDOUT, "the server does not answer");
		return;
	case SESSION_NOISE:
		dmsg_session_end(s, -ETIMEDOUT, "the server did not finish the handshake in time");
		return;
	case SESSION_PAUSE:
		pause_over(s);
		return;
	case SESSION_UP:
		break;
	}
	enter(s);
	if (sg_yamux_tick(s->yamux, sg_loop_now(s->d->loop), &why) < 0)
		dmsg_session_end(s, -ETIMEDOUT, why);
	else
		sg_timer_start(&s->timer, TICK_MS);
	leave(s);
}

static int begin(struct session *s)
{
	const char *colon = strrchr(s->address, ':');
	bool brackets = s->address[0] == '[';
	struct sg_addr numeric;
	struct sg_url url;
	char text[80];

	if (sg_addr_parse(s->address, &numeric) == 0) {
		snprintf(text, sizeof(text), "%.*s", (int)(colon - s->address) - 2 * brackets, s->address + brackets);
		return sg_connect(s->d->loop, text, sg_addr_port(&numeric), on_connected, s, &s->connect);
	}
	snprintf(text, sizeof(text), "tcp://%s", s->address);
	if (sg_url_split(text, &url) < 0 || !url.port_given)
		return SG_EMALF;
	return sg_connect(s->d->loop, url.host, url.port, on_connected, s, &s->connect);
}

int dmsg_session_new(struct dmsg *d, const struct sg_disc_entry *server)
{
	struct session *s = sg_calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->d = d;
	s->server = server->pk;
	s->fd = -1;
	snprintf(s->address, sizeof(s->address), "%s", server->address);
	sg_timer_init(&s->timer, d->loop, on_timer, s);
	sg_defer_init(&s->flush, flush, s);
	sg_list_init(&s->node);
	err = begin(s);
	if (sg_timer_start(&s->timer, CONNECT_MS) < 0) {
		session_free(s);
		return -ENOMEM;
	}
	sg_list_add_tail(&d->sessions, &s->node);
	if (err < 0)
		dmsg_session_end(s, err, sg_strerror(err));
	return 0;
}
