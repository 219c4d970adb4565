/* The relay: accept → XK as responder → yamux as server → first object names the other end → bytes both ways. */
#include "fake/relay.h"

#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "crypto/noise.h"
#include "wire/dmsg.h"
#include "wire/yamux.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#define OBJECT_HEAD 10

struct relay {
	struct sg_loop *loop;
	const struct sg_crypto *c;
	struct sg_sk sk;
	struct sg_pk pk;
	char address[32];
	int fd;
	struct sg_watch *watch;
	struct sg_list sessions, halves;
	size_t joined, behind;
};

struct session {
	struct sg_list node;
	struct relay *r;
	int fd;
	struct sg_watch *watch;
	struct sg_noise noise;
	struct sg_aead *tx, *rx;
	uint64_t counter;
	struct sg_yamux *yamux;
	uint8_t in[4096];
	size_t in_len;
	bool dead;
	struct sg_defer bury;
};

/* One direction's end: what arrives here goes to peer. */
struct half {
	struct sg_list node;
	struct session *s;
	struct sg_yamux_stream *y;
	struct half *peer;
	uint8_t in[8192];
	size_t in_len;
	bool first;    /* the object in front is still to come */
	uint32_t owed; /* bytes taken in whose credit waits until the peer's end has room */
	uint8_t out[400000];
	size_t out_len;
};

static const struct sg_aead_ops *aead(const struct relay *r)
{
	return sg_crypto_aead(r->c);
}

static void half_free(struct half *h)
{
	sg_list_remove(&h->node);
	if (h->peer)
		h->peer->peer = NULL;
	free(h);
}

/* The halves of a session that goes; the other ends see a FIN. */
static void halves_end(struct session *s)
{
	sg_list_for_safe (it, &s->r->halves) {
		struct half *h = sg_container_of(it, struct half, node), *peer = h->peer;

		if (h->s != s)
			continue;
		if (peer && peer->s != s && !peer->s->dead)
			sg_yamux_close(peer->y, sg_loop_now(s->r->loop));
		if (peer && peer->s != s)
			peer->y = NULL;
		half_free(h);
	}
}

static void session_free(struct session *s)
{
	s->dead = true;
	halves_end(s);
	sg_list_remove(&s->node);
	sg_defer_stop(&s->bury);
	sg_watch_free(s->watch);
	close(s->fd);
	sg_yamux_free(s->yamux);
	sg_noise_fini(&s->noise);
	aead(s->r)->free_key(s->tx);
	aead(s->r)->free_key(s->rx);
	free(s);
}

static void bury(void *arg)
{
	session_free(arg);
}

/* Streams of the session lose their other ends; those see a FIN. */
static void session_end(struct session *s)
{
	if (s->dead)
		return;
	s->dead = true;
	sg_watch_set(s->watch, 0);
	shutdown(s->fd, SHUT_RDWR);
	sg_defer_start(s->r->loop, &s->bury);
}

static void put(struct session *s, const void *p, size_t len)
{
	const uint8_t *at = p;

	/* Tests are small: the socket's own buffer holds what is written. */
	while (len && !s->dead) {
		ssize_t n = send(s->fd, at, len, MSG_NOSIGNAL);

		if (n <= 0) {
			session_end(s);
			return;
		}
		at += n;
		len -= (size_t)n;
	}
}

static void on_send(void *arg, struct sg_view head, struct sg_view body)
{
	put(arg, head.p, head.len);
	if (body.len)
		put(arg, body.p, body.len);
}

static void push(struct half *h)
{
	size_t at = 0;

	while (h->y && at < h->out_len) {
		int n = sg_yamux_send(h->y, (struct sg_view){h->out + at, h->out_len - at});

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	memmove(h->out, h->out + at, h->out_len - at);
	h->out_len -= at;
	if (h->out_len == 0 && h->peer && h->peer->owed && h->peer->y && !h->peer->s->dead) {
		sg_yamux_consumed(h->peer->y, h->peer->owed);
		h->peer->owed = 0;
	}
}

static void forward(struct half *to, const uint8_t *p, size_t len)
{
	if (len > sizeof(to->out) - to->out_len)
		sg_bug("relay: a test sends more than it has room for");
	memcpy(to->out + to->out_len, p, len);
	to->out_len += len;
	push(to);
}

/* The object as it goes on, sealed for the other session. */
static void forward_object(struct half *to, struct sg_view object)
{
	uint8_t frame[OBJECT_HEAD + 8192 + SG_AEAD_TAG_LEN];
	size_t len = OBJECT_HEAD + object.len + SG_AEAD_TAG_LEN;

	to->s->counter++;
	sg_put_u16(frame, (uint16_t)(len - 2));
	sg_put_u64(frame + 2, to->s->counter);
	aead(to->s->r)->seal(
		to->s->tx, to->s->counter, (struct sg_view){NULL, 0}, object.p, object.len, frame + OBJECT_HEAD);
	forward(to, frame, len);
}

static struct session *session_of(const struct relay *r, const struct sg_pk *pk)
{
	sg_list_for (it, &r->sessions) {
		struct session *s = sg_container_of(it, struct session, node);

		if (s->yamux && !s->dead && sg_pk_equal(&s->noise.rs, pk))
			return s;
	}
	return NULL;
}

/* Asked at which address it sees a visor, a server gives one where others could reach it. */
static void tell_address(struct half *h, struct sg_view request)
{
	static const uint8_t ip[16] = {[10] = 0xff, [11] = 0xff, [12] = 198, 51, 100, 7};
	struct sg_dmsg_response a = {.accepted = true, .ip = {ip, sizeof(ip)}};
	uint8_t gob[1024], object[1200];
	int len;

	sg_sha256(&request, 1, a.req_hash);
	len = sg_dmsg_response_encode(&a, 64, gob, sizeof(gob));
	if (len > 0)
		len = sg_dmsg_object_sign(
			h->s->r->c, &h->s->r->sk, (struct sg_view){gob, (size_t)len}, object, sizeof(object));
	if (len > 0)
		forward_object(h, (struct sg_view){object, (size_t)len});
}

static void join(struct half *h, struct sg_view object, struct sg_view gob)
{
	struct sg_dmsg_request q;
	struct session *to;
	struct half *other;

	if (sg_dmsg_request_decode(h->s->r->c, gob, &q) < 0 || !sg_pk_equal(&q.src.pk, &h->s->noise.rs))
		return;
	if (q.ip_info) {
		tell_address(h, object);
		return;
	}
	to = session_of(h->s->r, &q.dst.pk);
	other = to ? calloc(1, sizeof(*other)) : NULL;
	if (!other)
		return;
	sg_list_add_tail(&to->r->halves, &other->node);
	other->s = to;
	other->first = true;
	if (sg_yamux_open(to->yamux, other, sg_loop_now(to->r->loop), &other->y) < 0) {
		half_free(other);
		return;
	}
	other->peer = h;
	h->peer = other;
	h->s->r->joined++;
}

static void object_in(struct half *h)
{
	static const uint8_t zeros[200000];
	bool asked;
	size_t len;
	uint8_t *frame = h->in + 2;
	struct sg_sig sig;
	struct sg_view object, gob;

	if (h->in_len < 2)
		return;
	len = sg_get_u16(h->in);
	if (h->in_len < 2 + len || len < 8 + SG_AEAD_TAG_LEN)
		return;
	object = (struct sg_view){frame + 8, len - 8 - SG_AEAD_TAG_LEN};
	if (aead(h->s->r)->open(
		    h->s->rx, sg_get_u64(frame), (struct sg_view){NULL, 0}, frame + 8, object.len, frame + 8) < 0 ||
		sg_dmsg_object_split(object, &sig, &gob) < 0)
		return;
	asked = !h->peer;
	if (asked)
		join(h, object, gob);
	if (!h->peer)
		return;
	h->first = false;
	forward_object(h->peer, object);
	if (asked)
		forward(h->peer, zeros, h->s->r->behind);
	if (h->in_len > 2 + len)
		forward(h->peer, h->in + 2 + len, h->in_len - 2 - len);
	h->in_len = 0;
}

static int on_stream(void *arg, struct sg_yamux_stream *y)
{
	struct half *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->s = arg;
	sg_list_add_tail(&h->s->r->halves, &h->node);
	h->y = y;
	h->first = true;
	y->user = h;
	return 0;
}

static void on_data(void *arg, struct sg_yamux_stream *y, struct sg_view data)
{
	struct half *h = y->user;

	(void)arg;
	if (!h->first) {
		h->owed += (uint32_t)data.len;
		if (h->peer)
			forward(h->peer, data.p, data.len);
		return;
	}
	sg_yamux_consumed(y, (uint32_t)data.len);
	if (data.len > sizeof(h->in) - h->in_len)
		return;
	memcpy(h->in + h->in_len, data.p, data.len);
	h->in_len += data.len;
	object_in(h);
}

static void on_writable(void *arg, struct sg_yamux_stream *y)
{
	(void)arg;
	push(y->user);
}

/* The end of either direction ends both. */
static void on_end(void *arg, struct sg_yamux_stream *y, int err)
{
	struct half *h = y->user, *peer = h->peer;

	(void)arg;
	if (peer && peer->y && !peer->s->dead) {
		sg_yamux_close(peer->y, sg_loop_now(peer->s->r->loop));
		half_free(peer);
		h->peer = NULL;
	}
	if (err == 0)
		sg_yamux_close(y, sg_loop_now(h->s->r->loop));
	half_free(h);
}

static const struct sg_yamux_ops mux = {on_send, on_stream, on_data, on_writable, on_end};

/* ---- sessions ---- */

static void handshake(struct session *s)
{
	uint8_t msg[2 + 128];
	struct sg_noise_keys keys;
	size_t len;
	int n;

	while (!s->yamux && s->in_len >= 2 && s->in_len >= 2 + (len = sg_get_u16(s->in))) {
		if (sg_noise_read(&s->noise, (struct sg_view){s->in + 2, len}, NULL, 0) < 0) {
			session_end(s);
			return;
		}
		memmove(s->in, s->in + 2 + len, s->in_len - 2 - len);
		s->in_len -= 2 + len;
		if (sg_noise_done(&s->noise)) {
			/* As servers of 2024 do: more than the last message in one read ends it. */
			if (s->in_len) {
				session_end(s);
				return;
			}
			sg_noise_split(&s->noise, &keys);
			s->tx = aead(s->r)->new_key(keys.tx);
			s->rx = aead(s->r)->new_key(keys.rx);
			s->yamux = sg_yamux_new(false, &mux, s, sg_loop_now(s->r->loop));
			return;
		}
		n = sg_noise_write(&s->noise, (struct sg_view){NULL, 0}, msg + 2, sizeof(msg) - 2);
		if (n < 0) {
			session_end(s);
			return;
		}
		sg_put_u16(msg, (uint16_t)n);
		put(s, msg, 2 + (size_t)n);
	}
}

static void on_readable(void *arg, int fd, unsigned events)
{
	struct session *s = arg;
	uint8_t buf[65536];
	const char *why;
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	(void)events;
	if (n <= 0) {
		session_end(s);
	} else if (s->yamux) {
		if (sg_yamux_feed(s->yamux, (struct sg_view){buf, (size_t)n}, &why) < 0)
			session_end(s);
	} else if ((size_t)n <= sizeof(s->in) - s->in_len) {
		memcpy(s->in + s->in_len, buf, (size_t)n);
		s->in_len += (size_t)n;
		handshake(s);
	}
}

static void on_accept(void *arg, int fd, unsigned events)
{
	struct relay *r = arg;
	struct session *s = calloc(1, sizeof(*s));
	int size = 8 * 1024 * 1024;

	(void)events;
	s->r = r;
	s->fd = accept(fd, NULL, NULL);
	(void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	sg_defer_init(&s->bury, bury, s);
	sg_list_add_tail(&r->sessions, &s->node);
	if (sg_noise_xk_init(&s->noise, r->c, false, &r->sk, NULL) < 0 ||
		sg_watch_new(r->loop, s->fd, on_readable, s, &s->watch) < 0)
		sg_bug("relay: no session");
	sg_watch_set(s->watch, SG_READABLE);
}

struct relay *relay_new(struct sg_loop *loop, const struct sg_crypto *c)
{
	struct relay *r = calloc(1, sizeof(*r));
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);

	r->loop = loop;
	r->c = c;
	sg_list_init(&r->sessions);
	sg_list_init(&r->halves);
	sg_sk_generate(c, &r->sk);
	r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sg_pk_of(c, &r->sk, &r->pk) < 0 || bind(r->fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
		listen(r->fd, 64) < 0 || getsockname(r->fd, (struct sockaddr *)&sin, &len) < 0 ||
		sg_watch_new(loop, r->fd, on_accept, r, &r->watch) < 0) {
		close(r->fd);
		free(r);
		return NULL;
	}
	snprintf(r->address, sizeof(r->address), "127.0.0.1:%u", ntohs(sin.sin_port));
	sg_watch_set(r->watch, SG_READABLE);
	return r;
}

void relay_behind(struct relay *r, size_t len)
{
	r->behind = len;
}

void relay_cut(struct relay *r)
{
	sg_list_for_safe (it, &r->sessions)
		session_free(sg_container_of(it, struct session, node));
}

void relay_free(struct relay *r)
{
	relay_cut(r);
	sg_watch_free(r->watch);
	close(r->fd);
	free(r);
}

const struct sg_pk *relay_pk(const struct relay *r)
{
	return &r->pk;
}

const char *relay_address(const struct relay *r)
{
	return r->address;
}

size_t relay_streams(const struct relay *r)
{
	return r->joined;
}
