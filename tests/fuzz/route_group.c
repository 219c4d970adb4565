/*
 * A route group's other end that says anything: Handshake packets, Noise messages true and false, frames whole and in
 * pieces, pings, errors, closes, time that passes, an app that reads, stops reading and closes. The input is a program:
 *
 *	bits 0-1 of the first byte: the group is dialled by us; its handshake is done first
 *	0 a packet for one of its rules · 1 a sealed record, in pieces · 2 a Noise message · 3 time · 4 the app acts
 */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "fake/stranger.h"
#include "fake/log.h"
#include "fuzz.h"
#include "wire/tpid.h"

#define PORT     44
#define THEIR_ID 777

static struct fake_world world;
static struct stranger *stranger;
static struct sg_stream *stream;
static struct sg_route *route;
static uint32_t ids[3]; /* of the reverse rule, the forward rule, of a rule that lets pass */
static struct sg_noise noise;
static struct sg_frame_key tx;

/* ---- the app ---- */

static void on_data(void *arg, struct sg_view in)
{
	(void)arg;
	must(stream && in.len > 0 && in.len <= SG_FRAME_PLAIN_MAX);
	if (in.p[0] == 1) {
		struct sg_stream *st = stream;

		stream = NULL;
		st->ops->close(st);
	} else if (in.p[0] == 2) {
		stream->ops->want(stream, false);
	} else if (in.p[0] == 3) {
		(void)stream->ops->send(stream, &(struct iovec){(void *)(uintptr_t)in.p, in.len}, 1);
	}
}

static void on_writable(void *arg)
{
	(void)arg;
	must(stream);
}

static void on_close(void *arg, int err, const char *why)
{
	(void)arg;
	must(stream && err < 0 && why);
	stream = NULL;
}

static const struct sg_stream_user user = {sizeof(user), on_data, on_writable, on_close, on_writable};

static int on_stream(void *arg, struct sg_stream *st)
{
	(void)arg;
	if (stream)
		return SG_EFULL;
	stream = st;
	st->user = &user;
	return 0;
}

static const struct sg_listener_ops listener = {sizeof(listener), on_stream};

static void on_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	must((st == NULL) == (err < 0) && why);
	if (st)
		(void)on_stream(arg, st);
}

static void act(uint8_t what)
{
	static uint8_t bytes[SG_GROUP_RECORD_MAX + 1];
	struct sg_stream *st = stream;

	if (what % 5 == 0)
		group_dial_cancel(route, NULL);
	else if (!st)
		return;
	else if (what % 5 == 1)
		st->ops->want(st, false);
	else if (what % 5 == 2)
		st->ops->want(st, true);
	else if (what % 5 == 3)
		(void)st->ops->send(st, &(struct iovec){bytes, sizeof(bytes) - (what & 1)}, 1);
	else {
		stream = NULL;
		st->ops->close(st);
	}
}

/* ---- the world ---- */

static struct sg_edge_rules edge_of(uint16_t our_port, uint16_t their_port)
{
	struct sg_edge_rules e = {.desc = {stranger->pk, world.node[0].pk, their_port, our_port}};
	struct sg_rule pass = {.type = SG_RULE_INTERMEDIARY, .next_id = 5};
	char why[128];

	must(route_reserve_ids(route, 3, ids, why, sizeof(why)) == 0);
	e.reverse = (struct sg_rule){.type = SG_RULE_REVERSE, .key = ids[0], .desc = e.desc};
	e.forward = (struct sg_rule){.type = SG_RULE_FORWARD, .key = ids[1], .next_id = THEIR_ID};
	e.reverse.keep_alive_ns = e.forward.keep_alive_ns = pass.keep_alive_ns = 30000000000;
	sg_tpid_make(&stranger->pk, &world.node[0].pk, "stcp", &e.forward.next_tp);
	pass.key = ids[2];
	pass.next_tp = e.forward.next_tp;
	must(route_add_intermediary(route, &pass, 1, why, sizeof(why)) == 0);
	return e;
}

static int ask(void *arg, const struct sg_route_want *want, sg_route_asked_fn *fn, void *fn_arg)
{
	struct sg_edge_rules e = edge_of(want->desc.src_port, want->desc.dst_port);

	(void)arg;
	fn(fn_arg, &e, 0, "");
	return 0;
}

static void cancel(void *arg, void *fn_arg)
{
	(void)arg;
	(void)fn_arg;
}

static const struct sg_route_setup setup = {ask, cancel};

static void init(void)
{
	sg_log_set_sink(fake_log_quiet, NULL);
	world_new(&world);
	must(world_boot(&world, 0));
	route = world.node[0].route;
	must(route_listen(route, PORT, &listener, NULL) == 0);
	route_set_setup(route, &setup, NULL);
	stranger = stranger_new(&world, 2, 0);
}

static void link_up(void)
{
	if (stranger->fd >= 0 && !stranger_is_cut(stranger))
		return;
	stranger_call(stranger);
	must(stranger_link(stranger, false, 0) == SG_SETTLE_OK);
}

static void hear(void)
{
	struct sg_packet p;

	while (stranger_got(stranger, &p))
		must(p.route_id == THEIR_ID || p.route_id == 5 || p.route_id == 0);
}

/* ---- what the other end says ---- */

static void say(uint8_t type, uint32_t id, const void *bytes, size_t len)
{
	stranger_packet(stranger, type, id, bytes, len);
	world_step(&world, 3);
}

static void say_message(uint8_t extra)
{
	static const uint8_t payload[255];
	uint8_t framed[2 + SG_NOISE_MSG_MIN + sizeof(payload)];
	int len = sg_noise_write(&noise, (struct sg_view){payload, extra}, framed + 2, sizeof(framed) - 2);

	if (len < 0)
		return;
	sg_put_u16(framed, (uint16_t)len);
	say(SG_PACKET_DATA, ids[0], framed, 2 + (size_t)len);
}

/* The one message that the other end has to read, where it comes. */
static void hear_message(void)
{
	struct sg_packet p;

	while (stranger_got(stranger, &p)) {
		if (p.type == SG_PACKET_DATA && p.payload.len > 2 && !sg_noise_done(&noise))
			(void)sg_noise_read(&noise, (struct sg_view){p.payload.p + 2, p.payload.len - 2}, NULL, 0);
	}
}

static void keys_take(void)
{
	struct sg_noise_keys k;

	if (tx.ops || !sg_noise_done(&noise))
		return;
	sg_noise_split(&noise, &k);
	must(sg_frame_key_init(&tx, sg_crypto_aead(world.crypto), k.tx) == 0);
}

static void say_record(struct sg_reader *r)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG], byte = sg_read_u8(r), piece = sg_read_u8(r);
	size_t len = sg_read_u16(r) % (SG_FRAME_PLAIN_MAX + 1), at = 0, n;

	if (!tx.ops)
		return;
	memset(slot + SG_FRAME_HEAD, byte, len);
	len = sg_frame_seal(&tx, slot, len);
	for (; at < len; at += n) {
		n = SG_MIN(len - at, (size_t)piece * 16 + 16);
		say(SG_PACKET_DATA, ids[0], slot + at, n);
	}
}

static void step(struct sg_reader *r)
{
	uint8_t what = sg_read_u8(r), type, id;
	struct sg_view bytes;

	switch (what % 5) {
	case 0:
		type = sg_read_u8(r);
		id = sg_read_u8(r);
		bytes = sg_read_view(r, SG_MIN(sg_reader_left(r), (size_t)sg_read_u8(r)));
		say(type, id % 4 == 3 ? id : ids[id % 4], bytes.p, bytes.len);
		break;
	case 1:
		say_record(r);
		break;
	case 2:
		say_message(sg_read_u8(r));
		hear_message();
		keys_take();
		break;
	case 3:
		fake_clock_add_ms(&world.clock, (int64_t)sg_read_u8(r) * 50);
		break;
	default:
		act(sg_read_u8(r));
	}
	world_step(&world, 3);
}

static void begin(uint8_t kind)
{
	struct sg_edge_rules e;
	char why[128];
	bool ours = kind & 1;

	must(sg_noise_kk_init(&noise, world.crypto, !ours, &stranger->sk, &stranger->remote) == 0);
	if (ours) {
		must(group_dial(route, &stranger->pk, PORT, 0, on_dialed, NULL) == 0);
		world_step(&world, 3);
	} else {
		e = edge_of(PORT, 50000);
		must(route_accept_edge(route, &e, why, sizeof(why)) == 0);
	}
	if (!(kind & 2))
		return;
	say(SG_PACKET_HANDSHAKE, ids[0], "\1\0", 3);
	if (ours)
		hear_message();
	say_message(0);
	if (!ours)
		hear_message();
	keys_take();
	must(stream);
}

static bool count(void *arg, const struct sg_route_rule_info *info)
{
	(void)info;
	++*(size_t *)arg;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_reader r = sg_reader((struct sg_view){data, size});
	size_t rules = 0;

	if (!route)
		init();
	link_up();
	begin(sg_read_u8(&r));
	while (sg_reader_left(&r) && !r.err) {
		step(&r);
		hear();
	}
	/* Whatever was said, everything is over some time after the last packet. */
	for (int i = 0; i < 40; i++) {
		fake_clock_add_ms(&world.clock, 1000);
		world_step(&world, 3);
		hear();
	}
	/* A stream whose end lies behind what its user does not want stays as long as that. */
	while (stream) {
		stream->ops->want(stream, true);
		world_step(&world, 3);
		must(++rules < 1000);
	}
	rules = 0;
	route_each_rule(route, count, &rules);
	must(!stream && rules == 0);
	sg_noise_fini(&noise);
	sg_frame_key_fini(&tx);
	return 0;
}
