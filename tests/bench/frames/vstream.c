/*
 * sg-bench-vstream: one virtual stream between two visors of ours over a socket pair, both ends in one thread: handshake,
 * settlement, credits, frames and cipher as they are in the product, without TUN and without TCP. What it prints is what
 * one core does for both ends together. Arguments: sizes of records instead of the usual ones.
 */
#include "base/common.h"
#include "base/limits.h"
#include "bench/measure.h"
#include "crypto/keys.h"
#include "route/route.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define PORT 44

struct end {
	struct sg_links *links;
	struct sg_route *route;
	struct sg_sk sk;
	struct sg_pk pk;
};

struct bench {
	struct sg_loop *loop;
	struct end a, b;
	struct sg_stream *out, *in;
	bool blocked;
	size_t record;
	uint64_t received;
};

static struct bench bench;
static uint8_t data[65536];

static void need(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "sg-bench-vstream: %s\n", what);
		exit(1);
	}
}

/* Our carrier: the other end of the pair is accepted at once. */
static int dial(void *arg, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *d)
{
	int fds[2];

	(void)pk;
	(void)arg;
	need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "no socket pair");
	links_accepted(bench.b.links, carrier, fds[1], to);
	links_dial_done(d, fds[0], NULL);
	return 0;
}

static void dial_cancel(void *arg, const char *carrier, struct sg_dial *d)
{
	(void)arg;
	(void)carrier;
	(void)d;
}

static const struct sg_links_host host = {.dial = dial, .dial_cancel = dial_cancel};

static void on_data(void *arg, struct sg_view in)
{
	(void)arg;
	bench.received += in.len;
}

static void on_writable(void *arg)
{
	(void)arg;
	bench.blocked = false;
}

static void on_close(void *arg, int err, const char *why)
{
	(void)arg;
	(void)err;
	need(false, why);
}

static const struct sg_stream_user user = {
	.size = sizeof(user), .on_data = on_data, .on_writable = on_writable, .on_close = on_close};

static int on_stream(void *arg, struct sg_stream *s)
{
	(void)arg;
	s->user = &user;
	bench.in = s;
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

static void dialed(void *arg, struct sg_stream *s, int err, const char *why)
{
	(void)arg;
	(void)err;
	need(s != NULL, why);
	s->user = &user;
	bench.out = s;
}

static void make_end(struct end *e, const struct sg_crypto *c)
{
	struct sg_links_conf conf = {.loop = bench.loop, .crypto = c, .host = &host};

	sg_sk_generate(c, &e->sk);
	need(sg_pk_of(c, &e->sk, &e->pk) == 0, "no key");
	conf.sk = e->sk;
	conf.pk = e->pk;
	e->links = links_new(&conf);
	need(e->links != NULL, "no links");
	e->route = route_new(e->links);
	need(e->route != NULL, "no routes");
}

static void connect_ends(void)
{
	const char *address = "stcp://127.0.0.1:7777";
	struct sg_peer_conf peer = {.name = "b", .pk = bench.b.pk, .addresses = &address, .n_addresses = 1};
	double start = bench_now();

	need(route_listen(bench.b.route, PORT, &listener, NULL) == 0, "the port is taken");
	need(links_peers_set(bench.a.links, &peer, 1) == 0, "the peer is not taken");
	need(route_dial(bench.a.route, &bench.b.pk, PORT, dialed, NULL) == 0, "no dial");
	while (!bench.out || !bench.in) {
		sg_loop_step(bench.loop, 10);
		need(bench_now() - start < 5, "no stream within 5 s");
	}
	bench_print("vstream.open", (bench_now() - start) * 1e3, "ms");
}

/* Sends as much as is taken, then lets the loop carry it. */
static void round_of_events(void)
{
	struct iovec iov = {data, bench.record};

	while (!bench.blocked) {
		int err = bench.out->ops->send(bench.out, &iov, 1);

		need(err == 0 || err == -EAGAIN, "the stream takes nothing");
		bench.blocked = err == -EAGAIN;
	}
	sg_loop_step(bench.loop, 100);
}

static void measure(size_t record)
{
	double best = 0, seconds = bench_seconds() * 4;
	char name[64];

	bench.record = record;
	for (int i = 0; i < BENCH_TRIALS; i++) {
		uint64_t before = bench.received;
		double start = bench_now(), took;

		do {
			round_of_events();
			took = bench_now() - start;
		} while (took < seconds);
		if ((double)(bench.received - before) / took > best)
			best = (double)(bench.received - before) / took;
	}
	snprintf(name, sizeof(name), "vstream.send.%zu", record);
	bench_print(name, best * 8 / 1e6, "Mbit/s");
}

int main(int argc, char **argv)
{
	static const size_t records[] = {64, 1400, 16384, SG_VSTREAM_DATA_MAX};
	struct sg_crypto *c = sg_crypto_new(sg_random_system());

	need(c != NULL, "no memory");
	bench.loop = sg_loop_new(sg_clock_system());
	need(bench.loop != NULL, "no loop");
	make_end(&bench.a, c);
	make_end(&bench.b, c);
	connect_ends();
	for (size_t i = 0; argc < 2 && i < sizeof(records) / sizeof(records[0]); i++)
		measure(records[i]);
	for (int i = 1; i < argc; i++)
		measure(SG_MIN(strtoul(argv[i], NULL, 10), sizeof(data)));
	bench.out->ops->close(bench.out);
	bench.in->ops->close(bench.in);
	route_free(bench.a.route);
	route_free(bench.b.route);
	links_free(bench.a.links);
	links_free(bench.b.links);
	sg_loop_free(bench.loop);
	sg_crypto_free(c);
	return 0;
}
