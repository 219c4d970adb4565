#include "fake/stranger.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/log.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct stranger *stranger_new(struct fake_world *w, size_t as, size_t to)
{
	struct stranger *s = calloc(1, sizeof(*s));

	if (!s)
		sg_bug("stranger: out of memory");
	s->w = w;
	s->fd = -1;
	s->sk = w->node[as].sk;
	s->pk = w->node[as].pk;
	s->remote = w->node[to].pk;
	return s;
}

void stranger_hang_up(struct stranger *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	sg_frame_key_fini(&s->tx);
	sg_frame_key_fini(&s->rx);
	s->in_len = s->plain_at = s->plain_len = 0;
}

void stranger_free(struct stranger *s)
{
	stranger_hang_up(s);
	free(s);
}

static size_t node_of(const struct stranger *s, const struct sg_pk *pk)
{
	for (size_t i = 0; i < WORLD_NODES; i++) {
		if (memcmp(&s->w->node[i].pk, pk, sizeof(*pk)) == 0)
			return i;
	}
	sg_bug("stranger: an unknown key");
}

void stranger_call(struct stranger *s)
{
	stranger_hang_up(s);
	s->fd = world_accept(s->w, node_of(s, &s->remote));
}

void stranger_expect(struct stranger *s)
{
	struct fake_node *me = &s->w->node[node_of(s, &s->pk)];
	int fd[2];

	stranger_hang_up(s);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		sg_bug("stranger: no socket pair");
	if (me->outside_fd >= 0)
		close(me->outside_fd);
	me->outside_fd = fd[1];
	s->fd = fd[0];
}

/* ---- bytes ---- */

/* One message needs one step to be read and one to be answered. */
#define STEPS 4

static void listen_in(struct stranger *s)
{
	ssize_t n;

	world_step(s->w, STEPS);
	while (s->fd >= 0 && s->in_len < sizeof(s->in)) {
		n = read(s->fd, s->in + s->in_len, sizeof(s->in) - s->in_len);
		if (n > 0) {
			s->in_len += (size_t)n;
			world_step(s->w, STEPS);
		} else if (n == 0 || errno != EAGAIN) {
			close(s->fd);
			s->fd = -1;
		} else {
			return;
		}
	}
}

static bool drop_in(struct stranger *s, int used)
{
	if (used <= 0)
		return false;
	s->in_len -= (size_t)used;
	memmove(s->in, s->in + used, s->in_len);
	return true;
}

static struct sg_view heard(struct stranger *s)
{
	listen_in(s);
	return (struct sg_view){s->in, s->in_len};
}

void stranger_raw(struct stranger *s, const void *p, size_t len)
{
	const uint8_t *at = p;

	while (len && s->fd >= 0) {
		ssize_t n = send(s->fd, at, len, MSG_NOSIGNAL);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN) {
			return;
		}
		if (len)
			world_step(s->w, STEPS);
	}
}

bool stranger_is_cut(struct stranger *s)
{
	listen_in(s);
	return s->fd < 0;
}

/* ---- as the caller ---- */

bool stranger_f0(struct stranger *s)
{
	stranger_raw(s, SG_STCP_F0, SG_STCP_F0_LEN);
	return drop_in(s, sg_stcp_f1_decode(heard(s), s->nonce));
}

bool stranger_f2(struct stranger *s)
{
	struct sg_stcp_f2 f2 = {.src = s->pk, .dst = s->remote, .src_port = 49153, .dst_port = SG_STCP_TP_PORT};
	struct sg_stcp_f3 f3;
	char line[SG_STCP_LINE_MAX];
	int len;

	memcpy(f2.nonce, s->nonce, sizeof(f2.nonce));
	len = sg_stcp_f2_encode(s->w->crypto, &s->sk, NULL, &f2, line, sizeof(line));
	stranger_raw(s, line, (size_t)len);
	return drop_in(s, sg_stcp_f3_decode(heard(s), &f3)) && f3.ok;
}

static void keys_split(struct stranger *s)
{
	struct sg_noise_keys k;

	sg_noise_split(&s->noise, &k);
	if (sg_frame_key_init(&s->tx, sg_crypto_aead(s->w->crypto), k.tx) < 0 ||
		sg_frame_key_init(&s->rx, sg_crypto_aead(s->w->crypto), k.rx) < 0)
		sg_bug("stranger: out of memory");
}

static void noise_out(struct stranger *s, size_t payload_len)
{
	uint8_t *msg = calloc(1, SG_NOISE_MSG_MAX + 2), *payload = calloc(1, payload_len + 1);
	int len;

	if (!msg || !payload)
		sg_bug("stranger: out of memory");
	len = sg_noise_write(&s->noise, (struct sg_view){payload, payload_len}, msg + 2, SG_NOISE_MSG_MAX);
	sg_put_u16(msg, (uint16_t)len);
	stranger_raw(s, msg, (size_t)len + 2);
	world_settle(s->w); /* a long one takes many reads */
	free(msg);
	free(payload);
}

/* Payload length of the message that came, -1: none or a bad one. */
static int noise_in(struct stranger *s)
{
	struct sg_view in = heard(s);
	size_t len = in.len >= 2 ? sg_get_u16(in.p) : 0;
	int ret;

	if (len == 0 || in.len < 2 + len)
		return -1;
	ret = sg_noise_read(&s->noise, (struct sg_view){in.p + 2, len}, NULL, 0);
	drop_in(s, (int)len + 2);
	return ret;
}

bool stranger_msg1(struct stranger *s, size_t offer_len)
{
	sg_noise_kk_init(&s->noise, s->w->crypto, true, &s->sk, &s->remote);
	noise_out(s, offer_len);
	if (noise_in(s) < 0)
		return false;
	keys_split(s);
	return true;
}

bool stranger_entry(struct stranger *s, bool marked)
{
	struct sg_signed_entry e = {.marked = marked};
	char line[SG_SETTLE_LINE_MAX];
	int len;

	sg_entry_make(&s->pk, &s->remote, "stcp", &e.entry);
	sg_entry_sign(s->w->crypto, &s->sk, NULL, &e);
	len = sg_settle_encode(&e, true, line, sizeof(line));
	stranger_seal(s, line, (size_t)len);
	return !stranger_is_cut(s);
}

/* As many as there is room for; the others are still there next time. */
static void open_frames(struct stranger *s)
{
	size_t got;
	int used = 1;

	listen_in(s);
	memmove(s->plain, s->plain + s->plain_at, s->plain_len - s->plain_at);
	s->plain_len -= s->plain_at;
	s->plain_at = 0;
	while (used > 0 && s->plain_len + SG_FRAME_PLAIN_MAX <= sizeof(s->plain)) {
		used = sg_frame_open(&s->rx, (struct sg_view){s->in, s->in_len}, s->plain + s->plain_len, &got);
		s->plain_len += got;
		drop_in(s, used);
	}
	if (used < 0)
		sg_bug("stranger: a frame is not authentic");
}

int stranger_answered(struct stranger *s)
{
	int answer;

	open_frames(s);
	if (s->plain_len == 0)
		return -1;
	answer = s->plain[0];
	s->plain_at = 1;
	return answer;
}

int stranger_link(struct stranger *s, bool marked, size_t offer_len)
{
	if (!stranger_f0(s) || !stranger_f2(s) || !stranger_msg1(s, offer_len))
		return -1;
	stranger_entry(s, marked);
	return stranger_answered(s);
}

/* ---- as the called one ---- */

bool stranger_f1(struct stranger *s)
{
	char line[SG_STCP_LINE_MAX];
	struct sg_view in = heard(s);

	if (in.len != SG_STCP_F0_LEN || memcmp(in.p, SG_STCP_F0, SG_STCP_F0_LEN) != 0)
		return false;
	s->in_len = 0;
	sg_crypto_random(s->w->crypto, s->nonce, sizeof(s->nonce));
	stranger_raw(s, line, (size_t)sg_stcp_f1_encode(s->nonce, line, sizeof(line)));
	return true;
}

bool stranger_f3(struct stranger *s)
{
	struct sg_stcp_f3 f3 = {.ok = true};
	char line[SG_STCP_LINE_MAX];
	struct sg_stcp_f2 f2;

	if (!drop_in(s, sg_stcp_f2_decode(s->w->crypto, heard(s), &f2)) ||
		sg_stcp_f2_verify(s->w->crypto, &f2, s->nonce) < 0)
		return false;
	stranger_raw(s, line, (size_t)sg_stcp_f3_encode(&f3, line, sizeof(line)));
	return true;
}

bool stranger_msg2(struct stranger *s, size_t answer_len)
{
	sg_noise_kk_init(&s->noise, s->w->crypto, false, &s->sk, &s->remote);
	if (noise_in(s) < 0)
		return false;
	noise_out(s, answer_len);
	keys_split(s);
	return true;
}

bool stranger_settle(struct stranger *s, uint8_t answer)
{
	int used;

	open_frames(s);
	used = sg_settle_decode(s->w->crypto, (struct sg_view){s->plain, s->plain_len}, &s->entry);
	if (used <= 0)
		return false;
	s->plain_at = s->plain_len = 0;
	stranger_seal(s, &answer, 1);
	world_settle(s->w);
	return sg_settle_check(s->w->crypto, &s->entry, &s->pk, &s->remote, "stcp") == 0;
}

bool stranger_serve(struct stranger *s)
{
	return stranger_f1(s) && stranger_f3(s) && stranger_msg2(s, 0) && stranger_settle(s, SG_SETTLE_OK);
}

/* ---- packets ---- */

void stranger_seal(struct stranger *s, const void *p, size_t len)
{
	const uint8_t *at = p;

	while (len) {
		uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];
		size_t n = SG_MIN(len, (size_t)SG_FRAME_PLAIN_MAX);

		memcpy(slot + SG_FRAME_HEAD, at, n);
		stranger_raw(s, slot, sg_frame_seal(&s->tx, slot, n));
		at += n;
		len -= n;
	}
}

void stranger_packet(struct stranger *s, uint8_t type, uint32_t route_id, const void *p, size_t len)
{
	uint8_t *packet = malloc(SG_PACKET_HEAD + len);

	if (!packet || sg_packet_head(type, route_id, len, packet) < 0)
		sg_bug("stranger: no such packet");
	if (len)
		memcpy(packet + SG_PACKET_HEAD, p, len);
	stranger_seal(s, packet, SG_PACKET_HEAD + len);
	free(packet);
	world_step(s->w, STEPS);
}

bool stranger_got(struct stranger *s, struct sg_packet *out)
{
	struct sg_view rest;
	int used;

	rest = (struct sg_view){s->plain + s->plain_at, s->plain_len - s->plain_at};
	used = sg_packet_decode(rest, out);
	if (used <= 0) {
		open_frames(s);
		rest = (struct sg_view){s->plain + s->plain_at, s->plain_len - s->plain_at};
		used = sg_packet_decode(rest, out);
	}
	if (used > 0)
		s->plain_at += (size_t)used;
	return used > 0;
}
