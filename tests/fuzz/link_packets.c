/*
 * Everything behind the handshake, with its state: a stranger's packets on a live link, virtual streams that open, fill,
 * stall and end, an app that closes or stops reading inside its call-backs, and time. The input is a program of steps:
 *
 *	bits 0-2 of the first byte: bears our mark, made a post-quantum offer, was dialled by us
 *	0 raw plaintext · 1 message of a virtual stream · 2 credit · 3 a small packet of any type · 4 time · 5 the app acts
 *
 * Frames are sealed with a key that the target knows, so that nothing is lost on authentication.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "fake/clock.h"
#include "fake/random.h"
#include "fake/log.h"
#include "fuzz.h"
#include "link/internal.h"
#include "route/route.h"
#include "wire/vstream.h"

#include <sys/socket.h>
#include <unistd.h>

#define PORT    44
#define STREAMS 4

static struct fake_clock fuzz_clock;
static struct fake_random random_source;
static struct sg_loop *loop;
static struct sg_crypto *crypto;
static struct sg_links *links;
static struct sg_route *route;
static struct sg_pk theirs;
static struct sg_frame_key seal_key;
static int their_fd = -1;
static struct sg_stream *streams[STREAMS];

/* ---- an app ---- */

static void forget(struct sg_stream *st)
{
	for (size_t i = 0; i < STREAMS; i++) {
		if (streams[i] == st)
			streams[i] = NULL;
	}
}

/* What arrives tells it what to do. */
static void on_data(void *arg, struct sg_view in)
{
	struct sg_stream **slot = arg, *st = *slot;

	must(st && in.len > 0);
	switch (in.p[0]) {
	case 1:
		forget(st);
		st->ops->close(st);
		break;
	case 2:
		st->ops->want(st, false);
		break;
	case 3:
		(void)st->ops->send(st, &(struct iovec){(void *)in.p, in.len}, 1);
		break;
	case 4:
		must(!sg_list_empty(&links->links));
		link_close(sg_container_of(links->links.next, struct sg_link, node), "the app says so");
		break;
	default:
		break;
	}
}

static void on_writable(void *arg)
{
	struct sg_stream **slot = arg;

	must(*slot);
}

static void on_close(void *arg, int err, const char *why)
{
	struct sg_stream **slot = arg;

	must(*slot && err < 0 && why);
	*slot = NULL;
}

static const struct sg_stream_user user = {sizeof(user), on_data, on_writable, on_close, on_writable};

static int adopt(struct sg_stream *st)
{
	for (size_t i = 0; i < STREAMS; i++) {
		if (!streams[i]) {
			streams[i] = st;
			st->user = &user;
			st->user_arg = &streams[i];
			return 0;
		}
	}
	return SG_EFULL;
}

static int on_stream(void *arg, struct sg_stream *st)
{
	(void)arg;
	return adopt(st);
}

static void on_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	(void)arg;
	must((st == NULL) == (err < 0) && why);
	if (st)
		(void)adopt(st);
}

static void act(uint8_t what)
{
	static uint8_t bytes[70000];
	struct sg_stream *st = streams[what >> 3 & (STREAMS - 1)];

	if ((what & 7) == 0) {
		(void)route_dial(route, &theirs, PORT, on_dialed, NULL);
	} else if ((what & 7) == 1) {
		route_dial_cancel(route, NULL);
	} else if (!st) {
		return;
	} else if ((what & 7) == 2) {
		st->ops->want(st, false);
	} else if ((what & 7) == 3) {
		st->ops->want(st, true);
	} else if ((what & 7) == 4) {
		forget(st);
		st->ops->close(st);
	} else {
		(void)st->ops->send(st, &(struct iovec){bytes, (what & 7) == 5 ? 100 : sizeof(bytes)}, 1);
	}
}

/* ---- the world ---- */

static int no_dial(void *arg, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *d)
{
	(void)pk;
	(void)arg;
	(void)carrier;
	(void)to;
	(void)d;
	return -ENOTSUP;
}

static const struct sg_links_host host = {.dial = no_dial};
static const struct sg_listener_ops listener = {sizeof(listener), on_stream};

static void init(void)
{
	struct sg_links_conf conf = {.host = &host};
	struct sg_sk sk;

	sg_log_set_sink(fake_log_quiet, NULL);
	fake_clock_init(&fuzz_clock);
	fake_random_init(&random_source);
	loop = sg_loop_new(&fuzz_clock.base);
	crypto = sg_crypto_new(&random_source.base);
	must(loop && crypto);
	conf.loop = loop;
	conf.crypto = crypto;
	sg_sk_generate(crypto, &conf.sk);
	sg_sk_generate(crypto, &sk);
	must(sg_pk_of(crypto, &conf.sk, &conf.pk) == 0 && sg_pk_of(crypto, &sk, &theirs) == 0);
	links = links_new(&conf);
	must(links);
	route = route_new(links);
	must(route && route_listen(route, PORT, &listener, NULL) == 0);
}

/* A link as a finished handshake leaves it. */
static void link_make(uint8_t kind)
{
	static const uint8_t key[SG_AEAD_KEY_LEN] = {1};
	struct pending *p = sg_calloc(1, sizeof(*p));
	int fd[2];

	must(p && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0);
	must(sg_addr_parse("192.0.2.1:7777", &p->addr) == 0);
	snprintf(p->carrier, sizeof(p->carrier), "stcp");
	p->ls = links;
	p->line.fd = -1;
	p->hs.phase = LINK_HS_DONE;
	p->hs.remote = theirs;
	p->hs.marked = kind & 1;
	p->hs.newer = kind >> 1 & 1;
	p->hs.dialler = kind >> 2 & 1;
	must(sg_frame_key_init(&p->hs.tx, sg_crypto_aead(crypto), key) == 0);
	must(sg_frame_key_init(&p->hs.rx, sg_crypto_aead(crypto), key) == 0);
	must(sg_frame_key_init(&seal_key, sg_crypto_aead(crypto), key) == 0);
	sg_timer_init(&p->timer, loop, NULL, NULL);
	sg_list_add_tail(&links->pendings, &p->node);
	links->n_pendings++;
	their_fd = fd[0];
	links_settled(links, p, (struct line){.fd = fd[1]});
}

static void turn(void)
{
	for (int i = 0; i < 3; i++)
		sg_loop_step(loop, 0);
}

/* The other end hears what there is to hear. */
static void hear(void)
{
	static uint8_t sink[65536];

	while (recv(their_fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

static void say(const void *p, size_t len)
{
	const uint8_t *at = p;

	while (len) {
		uint8_t slot[FRAME_SLOT];
		size_t n = SG_MIN(len, (size_t)SG_FRAME_PLAIN_MAX);

		memcpy(slot + SG_FRAME_HEAD, at, n);
		if (send(their_fd, slot, sg_frame_seal(&seal_key, slot, n), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return;
		at += n;
		len -= n;
	}
}

static void say_packet(uint8_t type, uint32_t route_id, const void *payload, size_t len)
{
	static uint8_t packet[SG_PACKET_HEAD + SG_PACKET_PAYLOAD_MAX];

	must(sg_packet_head(type, route_id, len, packet) == 0);
	memcpy(packet + SG_PACKET_HEAD, payload, len);
	say(packet, SG_PACKET_HEAD + len);
}

/* Its data is repeated up to a length of its own, so that a short input fills queues. */
static void say_stream(struct sg_reader *r)
{
	static uint8_t message[SG_PACKET_PAYLOAD_MAX];
	uint8_t id = sg_read_u8(r), flags = sg_read_u8(r), byte = sg_read_u8(r);
	size_t len = sg_read_u16(r) % (SG_VSTREAM_DATA_MAX + 1);

	sg_vstream_head(id, &theirs, flags & 7, message);
	memset(message + SG_VSTREAM_HEAD, byte, len);
	if (len == 2)
		sg_put_u16(message + SG_VSTREAM_HEAD, PORT);
	say_packet(SG_PACKET_APP_DIRECT, 0, message, SG_VSTREAM_HEAD + len);
}

static void step(struct sg_reader *r)
{
	uint8_t what = sg_read_u8(r), credit[SG_CREDIT_LEN];
	struct sg_view bytes;

	switch (what % 6) {
	case 0:
		bytes = sg_read_view(r, SG_MIN(sg_reader_left(r), (size_t)sg_read_u8(r)));
		say(bytes.p, bytes.len);
		break;
	case 1:
		say_stream(r);
		break;
	case 2:
		sg_credit_encode(&(struct sg_credit){sg_read_u8(r), (uint64_t)sg_read_u32(r) << (what & 31)}, credit);
		say_packet(SG_PACKET_CREDIT, 0, credit, sizeof(credit));
		break;
	case 3:
		bytes = sg_read_view(r, SG_MIN(sg_reader_left(r), (size_t)(what >> 3)));
		say_packet(sg_read_u8(r), sg_read_u8(r) & 1, bytes.p, bytes.len);
		break;
	case 4:
		fake_clock_add_ms(&fuzz_clock, (int64_t)sg_read_u8(r) * 50);
		break;
	default:
		act(sg_read_u8(r));
	}
	turn();
	if (what & 0x40)
		hear();
}

static bool any(void *arg, const struct sg_route_stream_info *s)
{
	(void)arg;
	(void)s;
	must(false);
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_reader r = sg_reader((struct sg_view){data, size});

	if (!links)
		init();
	link_make(sg_read_u8(&r));
	turn();
	while (sg_reader_left(&r) && !r.err)
		step(&r);
	close(their_fd);
	sg_frame_key_fini(&seal_key);
	/* Every dial and every stream comes to its end, whatever was said. */
	for (int i = 0; i < 45 && !(sg_list_empty(&links->links) && i > 12); i++) {
		fake_clock_add_ms(&fuzz_clock, 1000);
		turn();
	}
	while (!sg_list_empty(&links->links))
		link_close(sg_container_of(links->links.next, struct sg_link, node), "the input is at its end");
	turn();
	route_each_stream(route, any, NULL);
	for (size_t i = 0; i < STREAMS; i++)
		must(!streams[i]);
	must(links->n_links == 0 && links->n_pendings == 0);
	return 0;
}
