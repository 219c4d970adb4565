/*
 * The other end of a route group, played by hand: the handshake as visors of 2024 and 2026 have it, frames however they are
 * cut, and what a group does not put up with.
 */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "crypto/noise.h"
#include "fake/stranger.h"
#include "wire/tpid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define PORT     44
#define THEIR_ID 777 /* the route id under which the stranger hears of the group */
#define OFFER    1184

/* The app at our end. */
struct app {
	struct sg_stream *st;
	unsigned opened, records, closed, dialed;
	size_t lens[8];
	int err;
	char why[200];
};

static void on_data(void *arg, struct sg_view in)
{
	struct app *a = arg;

	a->lens[a->records++ % SG_ARRAY_LEN(a->lens)] = in.len;
}

static void on_writable(void *arg)
{
	(void)arg;
}

static void on_close(void *arg, int err, const char *why)
{
	struct app *a = arg;

	a->st = NULL;
	a->closed++;
	a->err = err;
	snprintf(a->why, sizeof(a->why), "%s", why);
}

static const struct sg_stream_user user = {sizeof(user), on_data, on_writable, on_close, NULL};

static int on_stream(void *arg, struct sg_stream *st)
{
	struct app *a = arg;

	a->st = st;
	a->opened++;
	st->user = &user;
	st->user_arg = a;
	return 0;
}

static const struct sg_listener_ops accepting = {sizeof(accepting), on_stream};

static void on_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	struct app *a = arg;

	a->dialed++;
	a->err = err;
	snprintf(a->why, sizeof(a->why), "%s", why);
	if (st)
		(void)on_stream(a, st);
}

/* ---- the stranger's end ---- */

struct peer {
	struct fake_world w;
	struct stranger *s;
	struct app app;
	uint32_t ids[2]; /* of our reverse and forward rules */
	bool dials;      /* the stranger does */
	struct sg_noise noise;
	struct sg_frame_key tx, rx;
	struct sg_packet got; /* the last packet */
};

static struct sg_edge_rules edge_of(struct peer *p, uint16_t our_port, uint16_t their_port)
{
	struct sg_edge_rules e = {
		.desc = {.src = p->s->pk, .dst = p->w.node[0].pk, .src_port = their_port, .dst_port = our_port}};
	char why[128];

	assert_int_equal(route_reserve_ids(p->w.node[0].route, 2, p->ids, why, sizeof(why)), 0);
	e.reverse = (struct sg_rule){
		.keep_alive_ns = 600000000000, .type = SG_RULE_REVERSE, .key = p->ids[0], .desc = e.desc};
	e.forward = (struct sg_rule){
		.keep_alive_ns = 600000000000, .type = SG_RULE_FORWARD, .key = p->ids[1], .next_id = THEIR_ID};
	sg_route_desc_invert(&e.desc, &e.forward.desc);
	sg_tpid_make(&p->s->pk, &p->w.node[0].pk, "stcp", &e.forward.next_tp);
	return e;
}

static int ask(void *arg, const struct sg_route_want *want, sg_route_asked_fn *fn, void *fn_arg)
{
	struct peer *p = arg;
	struct sg_edge_rules e = edge_of(p, want->desc.src_port, want->desc.dst_port);

	fn(fn_arg, &e, 0, "");
	return 0;
}

static void cancel(void *arg, void *fn_arg)
{
	(void)arg;
	(void)fn_arg;
}

static const struct sg_route_setup setup_ops = {ask, cancel};

static struct peer *peer_new(bool dials)
{
	struct peer *p = calloc(1, sizeof(*p));
	struct sg_edge_rules e;
	char why[128];

	p->dials = dials;
	world_new(&p->w);
	assert_true(world_boot(&p->w, 0));
	p->s = stranger_new(&p->w, 2, 0);
	stranger_call(p->s);
	assert_int_equal(stranger_link(p->s, false, 0), SG_SETTLE_OK);
	assert_int_equal(route_listen(p->w.node[0].route, PORT, &accepting, &p->app), 0);
	assert_int_equal(sg_noise_kk_init(&p->noise, p->w.crypto, dials, &p->s->sk, &p->s->remote), 0);
	if (dials) {
		e = edge_of(p, PORT, 50000);
		assert_int_equal(route_accept_edge(p->w.node[0].route, &e, why, sizeof(why)), 0);
	} else {
		route_set_setup(p->w.node[0].route, &setup_ops, p);
		assert_int_equal(group_dial(p->w.node[0].route, &p->s->pk, PORT, 0, on_dialed, &p->app), 0);
		world_settle(&p->w);
	}
	return p;
}

static void peer_free(struct peer *p)
{
	world_free(&p->w);
	stranger_free(p->s);
	sg_noise_fini(&p->noise);
	sg_frame_key_fini(&p->tx);
	sg_frame_key_fini(&p->rx);
	free(p);
}

static void say(struct peer *p, uint8_t type, const void *bytes, size_t len)
{
	stranger_packet(p->s, type, p->ids[0], bytes, len);
	world_settle(&p->w);
}

/* The next packet of the group, which has to be of that type. */
static void hear(struct peer *p, uint8_t type)
{
	assert_true(stranger_got(p->s, &p->got));
	assert_int_equal(p->got.type, type);
	assert_int_equal(p->got.route_id, THEIR_ID);
}

static void hear_nothing(struct peer *p)
{
	assert_false(stranger_got(p->s, &p->got));
}

static size_t message(struct peer *p, size_t payload, uint8_t *framed)
{
	static const uint8_t offer[OFFER];
	int len = sg_noise_write(&p->noise, (struct sg_view){offer, payload}, framed + 2, 2048);

	assert_int_equal(len, SG_NOISE_MSG_MIN + payload);
	sg_put_u16(framed, (uint16_t)len);
	return 2 + (size_t)len;
}

static void hear_message(struct peer *p)
{
	hear(p, SG_PACKET_DATA);
	assert_int_equal(sg_get_u16(p->got.payload.p), p->got.payload.len - 2);
	assert_true(
		sg_noise_read(&p->noise, (struct sg_view){p->got.payload.p + 2, p->got.payload.len - 2}, NULL, 0) >= 0);
}

static void keys(struct peer *p)
{
	struct sg_noise_keys k;

	assert_true(sg_noise_done(&p->noise));
	sg_noise_split(&p->noise, &k);
	assert_int_equal(sg_frame_key_init(&p->tx, sg_crypto_aead(p->w.crypto), k.tx), 0);
	assert_int_equal(sg_frame_key_init(&p->rx, sg_crypto_aead(p->w.crypto), k.rx), 0);
}

/* From the Handshake packets to an open group; a Noise message with @payload comes in pieces of @piece bytes. */
static void open_group(struct peer *p, const char *greeting, size_t greeting_len, size_t payload, size_t piece)
{
	uint8_t framed[2048 + 2];
	size_t len;

	if (!p->dials)
		hear(p, SG_PACKET_HANDSHAKE);
	say(p, SG_PACKET_HANDSHAKE, greeting, greeting_len);
	if (p->dials)
		hear(p, SG_PACKET_HANDSHAKE);
	if (!p->dials)
		hear_message(p);
	len = message(p, payload, framed);
	for (size_t at = 0; at < len; at += piece)
		say(p, SG_PACKET_DATA, framed + at, SG_MIN(piece, len - at));
	if (p->dials)
		hear_message(p);
	keys(p);
	assert_int_equal(p->app.opened, 1);
	assert_non_null(p->app.st);
}

static size_t seal(struct peer *p, uint8_t *slot, size_t len)
{
	memset(slot + SG_FRAME_HEAD, 'x', len);
	return sg_frame_seal(&p->tx, slot, len);
}

/* ---- the handshake ---- */

static void both_generations_are_understood(void **state)
{
	/* 2026 with a KK message for a Noise of each frame, which ours does not answer: both go on with that of the stream. */
	static const char with_message[3 + 1233] = "\1\333\3";
	static const struct {
		const char *greeting;
		size_t len, payload, piece;
	} forms[] = {
		{"\1", 1, 0, 2048},          /* 2024 */
		{"\1\0\0", 3, OFFER, 2048},  /* 2026 */
		{"\1\323\3", 3, OFFER, 100}, /* all that it can do, cut on the way */
		{with_message, sizeof(with_message), OFFER, 2048},
		{"\1", 1, 0, 1},
	};

	(void)state;
	for (size_t i = 0; i < 2 * SG_ARRAY_LEN(forms); i++) {
		struct peer *p = peer_new(i % 2);
		uint8_t plain[SG_FRAME_PLAIN_MAX];
		size_t len;

		open_group(p, forms[i / 2].greeting, forms[i / 2].len, forms[i / 2].payload, forms[i / 2].piece);
		assert_int_equal(p->app.st->ops->send(p->app.st, &(struct iovec){(char[]){"hello"}, 5}, 1), 0);
		world_settle(&p->w);
		hear(p, SG_PACKET_DATA);
		assert_int_equal(sg_frame_open(&p->rx, p->got.payload, plain, &len), p->got.payload.len);
		assert_int_equal(len, 5);
		assert_memory_equal(plain, "hello", 5);
		peer_free(p);
	}
}

static void every_greeting_is_answered_by_the_listener(void **state)
{
	struct peer *p = peer_new(true);

	(void)state;
	for (int i = 0; i < 3; i++) {
		say(p, SG_PACKET_HANDSHAKE, "\1", 1);
		hear(p, SG_PACKET_HANDSHAKE);
		assert_int_equal(p->got.payload.len, 1);
		assert_int_equal(p->got.payload.p[0], 1);
	}
	hear_nothing(p);
	open_group(p, "\1", 1, 0, 2048);
	say(p, SG_PACKET_HANDSHAKE, "\1\0\0", 3);
	hear(p, SG_PACKET_HANDSHAKE);
	assert_non_null(p->app.st);
	peer_free(p);
}

static void a_dialler_repeats_its_greeting(void **state)
{
	struct peer *p = peer_new(false);

	(void)state;
	/* 40, 80 … 640 ms, then every second. */
	hear(p, SG_PACKET_HANDSHAKE);
	for (int ms = SG_GROUP_GREET_MS; ms < SG_GROUP_RESEND_MS; ms *= 2) {
		world_pass(&p->w, ms - 10);
		hear_nothing(p);
		world_pass(&p->w, 10);
		hear(p, SG_PACKET_HANDSHAKE);
	}
	for (int i = 0; i < 3; i++) {
		hear_nothing(p);
		world_pass(&p->w, SG_GROUP_RESEND_MS);
		if (i < 2)
			hear(p, SG_PACKET_HANDSHAKE);
	}
	open_group(p, "\1", 1, 0, 2048);
	world_pass(&p->w, 2000);
	hear_nothing(p);
	peer_free(p);
}

static void hear_greeting_if(struct peer *p, bool it)
{
	if (it)
		hear(p, SG_PACKET_HANDSHAKE);
}

static void plaintext_is_refused(void **state)
{
	(void)state;
	for (int dials = 0; dials < 2; dials++) {
		struct peer *p = peer_new(dials);

		hear_greeting_if(p, !dials);
		say(p, SG_PACKET_DATA, "plain", 5);
		assert_int_equal(world_counter(&p->w, 0, "route.drop.group"), 1);
		hear_nothing(p);
		say(p, SG_PACKET_HANDSHAKE, "\0", 1);
		hear(p, SG_PACKET_CLOSE);
		hear_nothing(p);
		assert_int_equal(p->app.opened, 0);
		assert_int_equal(p->app.dialed, !dials);
		if (!dials)
			assert_string_equal(p->app.why, "the other end wants no encryption");
		assert_int_equal(world_counter(&p->w, 0, "route.groups_failed"), 1);
		peer_free(p);
	}
}

static void plaintext_is_spoken_where_it_is_allowed(void **state)
{
	(void)state;
	for (int dials = 0; dials < 2; dials++) {
		struct peer *p = peer_new(dials);
		static uint8_t big[60000];

		route_allow_plain(p->w.node[0].route, true);
		hear_greeting_if(p, !dials);
		say(p, SG_PACKET_HANDSHAKE, "\0", 1);
		hear_greeting_if(p, dials);
		assert_int_equal(p->app.opened, 1);
		say(p, SG_PACKET_DATA, "plain", 5);
		say(p, SG_PACKET_DATA, NULL, 0);
		say(p, SG_PACKET_DATA, big, sizeof(big));
		assert_int_equal(p->app.records, 2);
		assert_int_equal(p->app.lens[0], 5);
		assert_int_equal(p->app.lens[1], sizeof(big));
		assert_int_equal(p->app.st->ops->send(p->app.st, &(struct iovec){big, sizeof(big)}, 1), 0);
		world_settle(&p->w);
		hear(p, SG_PACKET_DATA);
		assert_int_equal(p->got.payload.len, sizeof(big));
		peer_free(p);
	}
}

static void another_key_is_refused(void **state)
{
	struct peer *p = peer_new(true);
	uint8_t framed[2048 + 2];
	size_t len;

	(void)state;
	sg_noise_fini(&p->noise);
	assert_int_equal(sg_noise_kk_init(&p->noise, p->w.crypto, true, &p->w.node[3].sk, &p->s->remote), 0);
	say(p, SG_PACKET_HANDSHAKE, "\1", 1);
	hear(p, SG_PACKET_HANDSHAKE);
	len = message(p, 0, framed);
	say(p, SG_PACKET_DATA, framed, len);
	hear(p, SG_PACKET_CLOSE);
	assert_int_equal(p->app.opened, 0);
	peer_free(p);
}

/* Of what anybody may begin no more is kept than a frame has. */
static void a_noise_message_is_no_longer_than_a_frame(void **state)
{
	static uint8_t framed[2 + SG_FRAME_PREFIX_MAX + 1];

	(void)state;
	for (size_t len = SG_FRAME_PREFIX_MAX; len <= SG_FRAME_PREFIX_MAX + 1; len++) {
		struct peer *p = peer_new(true);

		say(p, SG_PACKET_HANDSHAKE, "\1", 1);
		hear(p, SG_PACKET_HANDSHAKE);
		sg_put_u16(framed, (uint16_t)len);
		say(p, SG_PACKET_DATA, framed, 100);
		if (len > SG_FRAME_PREFIX_MAX)
			hear(p, SG_PACKET_CLOSE);
		else
			hear_nothing(p);
		peer_free(p);
	}
}

static void a_full_link_delays_the_handshake_only(void **state)
{
	static uint8_t filler[32768];
	const struct iovec iov = {filler, sizeof(filler)};

	(void)state;
	for (int dials = 0; dials < 2; dials++) {
		struct peer *p = peer_new(dials);
		struct sg_link *l = links_find(p->w.node[0].links, &p->s->pk);
		uint8_t framed[2048 + 2];
		size_t len = 0;

		if (dials) {
			say(p, SG_PACKET_HANDSHAKE, "\1", 1);
			hear(p, SG_PACKET_HANDSHAKE);
			len = message(p, 0, framed);
		} else {
			hear(p, SG_PACKET_HANDSHAKE);
		}
		do {
			while (link_reserve_far(l, sizeof(filler) + SG_PACKET_HEAD) == 0)
				link_put(l, SG_PACKET_DATA, THEIR_ID + 1, &iov, 1);
			world_settle(&p->w);
		} while (link_reserve_far(l, 1) == 0);
		if (dials)
			say(p, SG_PACKET_DATA, framed, len);
		else
			say(p, SG_PACKET_HANDSHAKE, "\1", 1);
		assert_int_equal(p->app.dialed + p->app.opened, 0);
		assert_int_equal(world_counter(&p->w, 0, "route.groups_failed"), 0);
		do {
			while (!stranger_got(p->s, &p->got))
				world_settle(&p->w);
		} while (p->got.route_id != THEIR_ID);
		assert_int_equal(p->got.type, SG_PACKET_DATA);
		assert_int_equal(sg_get_u16(p->got.payload.p), SG_NOISE_MSG_MIN);
		assert_int_equal(
			sg_noise_read(&p->noise, (struct sg_view){p->got.payload.p + 2, SG_NOISE_MSG_MIN}, NULL, 0), 0);
		if (!dials) {
			len = message(p, 0, framed);
			say(p, SG_PACKET_DATA, framed, len);
		}
		assert_int_equal(p->app.opened, 1);
		peer_free(p);
	}
}

static void half_a_handshake_ends_in_time(void **state)
{
	struct peer *p = peer_new(true);

	(void)state;
	say(p, SG_PACKET_HANDSHAKE, "\1", 1);
	hear(p, SG_PACKET_HANDSHAKE);
	world_pass(&p->w, 5100);
	hear(p, SG_PACKET_CLOSE);
	assert_int_equal(world_counter(&p->w, 0, "route.groups_failed"), 1);
	peer_free(p);
}

static void a_dial_that_is_turned_away_says_why(void **state)
{
	struct peer *p = peer_new(false);

	(void)state;
	say(p, SG_PACKET_ERROR, "we are\nfull", 11);
	say(p, SG_PACKET_CLOSE, "\7", 1);
	assert_int_equal(p->app.dialed, 1);
	assert_int_equal(p->app.err, SG_EREFUSED);
	assert_string_equal(p->app.why, "we are?full");
	hear(p, SG_PACKET_HANDSHAKE);
	hear(p, SG_PACKET_CLOSE);
	assert_int_equal(p->got.payload.p[0], 7);
	peer_free(p);
}

/* ---- frames ---- */

static void frames_may_be_cut_and_joined(void **state)
{
	struct peer *p = peer_new(true);
	uint8_t bytes[3 * 4096];
	size_t a, b, c;

	(void)state;
	open_group(p, "\1", 1, 0, 2048);
	/* Two in one packet, an empty one between them. */
	a = seal(p, bytes, 100);
	b = a + seal(p, bytes + a, 0);
	c = b + seal(p, bytes + b, 200);
	say(p, SG_PACKET_DATA, bytes, c);
	assert_int_equal(p->app.records, 2);
	assert_int_equal(p->app.lens[0], 100);
	assert_int_equal(p->app.lens[1], 200);
	/* One and a half, then the rest; then one byte at a time. */
	a = seal(p, bytes, SG_FRAME_PLAIN_MAX);
	b = a + seal(p, bytes + a, 300);
	say(p, SG_PACKET_DATA, bytes, a + 1);
	assert_int_equal(p->app.records, 3);
	assert_int_equal(p->app.lens[2], SG_FRAME_PLAIN_MAX);
	say(p, SG_PACKET_DATA, bytes + a + 1, b - a - 1);
	assert_int_equal(p->app.records, 4);
	assert_int_equal(p->app.lens[3], 300);
	a = seal(p, bytes, 20);
	for (size_t i = 0; i < a; i++)
		stranger_packet(p->s, SG_PACKET_DATA, p->ids[0], bytes + i, 1);
	say(p, SG_PACKET_DATA, NULL, 0); /* of others one ends the reading; ours ignores it */
	assert_int_equal(p->app.records, 5);
	assert_int_equal(p->app.lens[4], 20);
	assert_int_equal(p->app.closed, 0);
	peer_free(p);
}

static void what_is_not_authentic_ends_the_group(void **state)
{
	(void)state;
	for (int what = 0; what < 4; what++) {
		struct peer *p = peer_new(true);
		uint8_t bytes[4096];
		size_t len;

		open_group(p, "\1", 1, 0, 2048);
		len = seal(p, bytes, 100);
		if (what == 0)
			bytes[50] ^= 1;
		else if (what == 1)
			say(p, SG_PACKET_DATA, bytes, len); /* and again below */
		else if (what == 2)
			sg_put_u16(bytes, SG_FRAME_PREFIX_MAX + 1);
		else
			sg_put_u16(bytes, 23);
		say(p, SG_PACKET_DATA, bytes, len);
		assert_int_equal(p->app.records, what == 1);
		assert_int_equal(p->app.closed, 1);
		assert_true(p->app.err < 0 && p->app.why[0]);
		hear(p, SG_PACKET_CLOSE);
		peer_free(p);
	}
}

static void a_gap_between_frames_is_none_of_our_business(void **state)
{
	struct peer *p = peer_new(true);
	uint8_t bytes[4096];
	size_t len;

	(void)state;
	open_group(p, "\1", 1, 0, 2048);
	(void)seal(p, bytes, 100); /* lost on the way */
	len = seal(p, bytes, 10);
	say(p, SG_PACKET_DATA, bytes, len);
	assert_int_equal(p->app.records, 1);
	assert_int_equal(p->app.closed, 0);
	peer_free(p);
}

/* ---- pings, and the end ---- */

static void pings_are_sent_and_answered(void **state)
{
	struct peer *p = peer_new(true);
	struct sg_packet_ping ping;
	uint8_t stamp[16];
	unsigned pings = 0, keepalives = 0;

	(void)state;
	open_group(p, "\1", 1, 0, 2048);
	say(p, SG_PACKET_PING, "stamp123\0\0\0\0\0\0\1\0", 16);
	hear(p, SG_PACKET_PONG);
	assert_int_equal(p->got.payload.len, 16);
	assert_memory_equal(p->got.payload.p, "stamp123\0\0\0\0\0\0\0\0", 16);
	/* 33 s in which nobody else says anything but answers. */
	for (int s = 0; s < 33; s++) {
		world_pass(&p->w, 1000);
		while (stranger_got(p->s, &p->got)) {
			keepalives += p->got.type == SG_PACKET_KEEPALIVE;
			if (p->got.type != SG_PACKET_PING)
				continue;
			pings++;
			assert_int_equal(sg_packet_ping_decode(p->got.payload, &ping), 0);
			assert_true(ping.timestamp_ms > 1500000000000);
			memcpy(stamp, p->got.payload.p, 8);
			say(p, SG_PACKET_PONG, stamp, 8); /* as short as today's */
		}
	}
	assert_int_equal(pings, 11);
	assert_int_equal(keepalives, 2);
	assert_int_equal(p->app.closed, 0);
	world_pass(&p->w, 20000);
	assert_int_equal(p->app.closed, 1);
	assert_int_equal(p->app.err, -ETIMEDOUT);
	peer_free(p);
}

static void closes_are_answered_with_their_code(void **state)
{
	struct peer *p = peer_new(true);

	(void)state;
	open_group(p, "\1", 1, 0, 2048);
	say(p, SG_PACKET_ERROR, "out of coffee", 13);
	say(p, SG_PACKET_CLOSE, "\5\6", 2);
	hear(p, SG_PACKET_CLOSE);
	assert_int_equal(p->got.payload.len, 1);
	assert_int_equal(p->got.payload.p[0], 5);
	assert_int_equal(p->app.closed, 1);
	assert_string_equal(p->app.why, "out of coffee");
	say(p, SG_PACKET_DATA, "late", 4);
	assert_int_equal(world_counter(&p->w, 0, "route.drop.rule"), 1);
	peer_free(p);
}

static void a_close_without_answer_ends_after_2_s(void **state)
{
	struct peer *p = peer_new(true);

	(void)state;
	open_group(p, "\1", 1, 0, 2048);
	p->app.st->ops->close(p->app.st);
	world_settle(&p->w);
	hear(p, SG_PACKET_CLOSE);
	say(p, SG_PACKET_DATA, "still on its way", 16); /* not counted as anybody's fault */
	assert_int_equal(world_counter(&p->w, 0, "route.drop.rule"), 0);
	world_pass(&p->w, 2100);
	say(p, SG_PACKET_DATA, "late", 4);
	assert_int_equal(world_counter(&p->w, 0, "route.drop.rule"), 1);
	assert_int_equal(p->app.closed, 0);
	peer_free(p);
}

/* A ping that met our Close on the way was answered behind it: "routing table: rule not found" at every visor from there on. */
static void nothing_is_said_behind_a_close(void **state)
{
	(void)state;
	for (int ours = 0; ours < 2; ours++) {
		struct peer *p = peer_new(true);
		uint8_t ping[SG_PACKET_PING_LEN] = {0};

		open_group(p, "\1", 1, 0, 2048);
		if (ours)
			p->app.st->ops->close(p->app.st);
		else
			say(p, SG_PACKET_CLOSE, "\0", 1);
		world_settle(&p->w);
		hear(p, SG_PACKET_CLOSE);
		say(p, SG_PACKET_PING, ping, sizeof(ping));
		say(p, SG_PACKET_HANDSHAKE, "\1", 1);
		say(p, SG_PACKET_DATA, "late", 4);
		say(p, SG_PACKET_PONG, ping, sizeof(ping));
		world_pass(&p->w, 1000);
		hear_nothing(p);
		say(p, SG_PACKET_CLOSE, "\0", 1);
		world_settle(&p->w);
		hear_nothing(p);
		peer_free(p);
	}
}

static void a_dialler_that_was_started_anew_replaces_its_old_route(void **state)
{
	struct peer *p = peer_new(true);
	struct sg_edge_rules e;
	uint32_t old;
	char why[128];

	(void)state;
	open_group(p, "\1", 1, 0, 2048);
	old = p->ids[0];
	e = edge_of(p, PORT, 50000);
	assert_int_equal(route_accept_edge(p->w.node[0].route, &e, why, sizeof(why)), SG_EDUP);
	assert_int_equal(p->app.closed, 0);
	world_pass(&p->w, SG_GROUP_FRESH_MS);
	while (stranger_got(p->s, &p->got)) {
	}
	assert_int_equal(route_accept_edge(p->w.node[0].route, &e, why, sizeof(why)), 0);
	assert_int_equal(p->app.closed, 1);
	assert_string_equal(p->app.why, "the other end dialled anew");
	/* Not a word on the old route, and the new one opens. */
	world_settle(&p->w);
	hear_nothing(p);
	assert_true(p->ids[0] != old);
	assert_int_equal(sg_noise_kk_init(&p->noise, p->w.crypto, true, &p->s->sk, &p->s->remote), 0);
	p->app.opened = 0;
	sg_frame_key_fini(&p->tx);
	sg_frame_key_fini(&p->rx);
	open_group(p, "\1", 1, 0, 2048);
	peer_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_generations_are_understood),
		cmocka_unit_test(every_greeting_is_answered_by_the_listener),
		cmocka_unit_test(a_dialler_repeats_its_greeting),
		cmocka_unit_test(plaintext_is_refused),
		cmocka_unit_test(plaintext_is_spoken_where_it_is_allowed),
		cmocka_unit_test(another_key_is_refused),
		cmocka_unit_test(a_noise_message_is_no_longer_than_a_frame),
		cmocka_unit_test(a_full_link_delays_the_handshake_only),
		cmocka_unit_test(half_a_handshake_ends_in_time),
		cmocka_unit_test(a_dial_that_is_turned_away_says_why),
		cmocka_unit_test(frames_may_be_cut_and_joined),
		cmocka_unit_test(what_is_not_authentic_ends_the_group),
		cmocka_unit_test(a_gap_between_frames_is_none_of_our_business),
		cmocka_unit_test(pings_are_sent_and_answered),
		cmocka_unit_test(closes_are_answered_with_their_code),
		cmocka_unit_test(a_close_without_answer_ends_after_2_s),
		cmocka_unit_test(nothing_is_said_behind_a_close),
		cmocka_unit_test(a_dialler_that_was_started_anew_replaces_its_old_route),
	};

	return cmocka_run_group_tests_name("route/group, peers", tests, NULL, NULL);
}
