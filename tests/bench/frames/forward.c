/*
 * sg-bench-forward: a route group over two hops between visors of ours, over socket pairs in one thread. The one in the
 * middle has a loop of its own, and the processor's time is taken around its steps: what one packet costs that passes
 * through, read, opened, sealed anew and written. Arguments: sizes of records instead of the usual ones.
 */
#include "base/common.h"
#include "base/limits.h"
#include "bench/measure.h"
#include "crypto/keys.h"
#include "route/route.h"
#include "wire/tpid.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define PORT 44

struct visor {
	struct sg_loop *loop;
	struct sg_links *links;
	struct sg_route *route;
	struct sg_sk sk;
	struct sg_pk pk;
};

static struct {
	struct sg_loop *ends, *middle;
	struct visor a, m, b;
	struct sg_stream *out, *in;
	bool blocked;
	size_t record;
	uint64_t received;
	double middle_cpu;
} bench;

static uint8_t data[SG_GROUP_RECORD_MAX];

static void need(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "sg-bench-forward: %s\n", what);
		exit(1);
	}
}

/* Our carrier: whom a visor dials is the next in the row. */
static int dial(void *arg, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *d)
{
	struct visor *next = arg == &bench.a ? &bench.m : &bench.b;
	int fds[2];

	(void)pk;
	need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "no socket pair");
	links_accepted(next->links, carrier, fds[1], to);
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

/* ---- the ends ---- */

static void on_data(void *arg, struct sg_view in)
{
	(void)arg;
	(void)in;
	bench.received++;
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

/* ---- the route ---- */

static struct sg_rule rule(uint8_t type, uint32_t key, uint32_t next, const struct visor *x, const struct visor *y)
{
	struct sg_rule r = {
		.keep_alive_ns = (int64_t)SG_RULE_LIFE_OWN_MS * 1000000, .type = type, .key = key, .next_id = next};

	sg_tpid_make(&x->pk, &y->pk, "stcp", &r.next_tp);
	return r;
}

static int ask(void *arg, const struct sg_route_want *want, sg_route_asked_fn *fn, void *fn_arg)
{
	struct visor *a = &bench.a, *m = &bench.m, *b = &bench.b;
	struct sg_edge_rules near = {.desc = want->desc}, far = {.desc = want->desc};
	uint32_t ia[2], im[2], ib[2];
	struct sg_rule passing[2];
	char why[128];

	(void)arg;
	need(route_reserve_ids(a->route, 2, ia, why, sizeof(why)) == 0, why);
	need(route_reserve_ids(m->route, 2, im, why, sizeof(why)) == 0, why);
	need(route_reserve_ids(b->route, 2, ib, why, sizeof(why)) == 0, why);
	passing[0] = rule(SG_RULE_INTERMEDIARY, im[0], ib[1], m, b);
	passing[1] = rule(SG_RULE_INTERMEDIARY, im[1], ia[1], m, a);
	need(route_add_intermediary(m->route, passing, 2, why, sizeof(why)) == 0, why);
	sg_route_desc_invert(&want->desc, &near.desc);
	near.forward = rule(SG_RULE_FORWARD, ia[0], im[0], a, m);
	near.reverse = rule(SG_RULE_REVERSE, ia[1], 0, a, m);
	near.reverse.desc = near.desc;
	far.forward = rule(SG_RULE_FORWARD, ib[0], im[1], b, m);
	far.reverse = rule(SG_RULE_REVERSE, ib[1], 0, b, m);
	far.reverse.desc = far.desc;
	need(route_accept_edge(b->route, &far, why, sizeof(why)) == 0, why);
	fn(fn_arg, &near, 0, "");
	return 0;
}

static void cancel(void *arg, void *fn_arg)
{
	(void)arg;
	(void)fn_arg;
}

static const struct sg_route_setup setup = {ask, cancel};

/* ---- running ---- */

static double cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void turn(void)
{
	double start;

	sg_loop_step(bench.ends, 0);
	start = cpu_now();
	sg_loop_step(bench.middle, 0);
	bench.middle_cpu += cpu_now() - start;
}

static void make(struct visor *v, struct sg_loop *loop, const struct sg_crypto *c)
{
	struct sg_links_conf conf = {.loop = loop, .crypto = c, .host = &host, .host_arg = v};

	sg_sk_generate(c, &v->sk);
	need(sg_pk_of(c, &v->sk, &v->pk) == 0, "no key");
	conf.sk = v->sk;
	conf.pk = v->pk;
	v->loop = loop;
	v->links = links_new(&conf);
	need(v->links != NULL, "no links");
	v->route = route_new(v->links);
	need(v->route != NULL, "no routes");
}

static void connect_to(struct visor *from, const struct visor *to)
{
	const char *address = "stcp://127.0.0.1:7777";
	struct sg_peer_conf peer = {.name = "next", .pk = to->pk, .addresses = &address, .n_addresses = 1};
	double start = bench_now();

	need(links_peers_set(from->links, &peer, 1) == 0, "the peer is not taken");
	while (!links_find(from->links, &to->pk) || !links_find(to->links, &from->pk)) {
		turn();
		need(bench_now() - start < 5, "no link within 5 s");
	}
}

static void open_group(void)
{
	double start = bench_now();

	need(route_listen(bench.b.route, PORT, &listener, NULL) == 0, "the port is taken");
	route_set_setup(bench.a.route, &setup, NULL);
	need(group_dial(bench.a.route, &bench.b.pk, PORT, 0, dialed, NULL) == 0, "no dial");
	while (!bench.out || !bench.in) {
		turn();
		need(bench_now() - start < 5, "no group within 5 s");
	}
	bench_print("group.open", (bench_now() - start) * 1e3, "ms");
}

static void send_some(void)
{
	struct iovec iov = {data, bench.record};

	while (!bench.blocked) {
		int err = bench.out->ops->send(bench.out, &iov, 1);

		need(err == 0 || err == -EAGAIN, "the group takes nothing");
		bench.blocked = err == -EAGAIN;
	}
	turn();
}

static void measure(size_t record)
{
	double best = 0, cost = 0, seconds = bench_seconds() * 4;
	char name[64];

	bench.record = record;
	for (int i = 0; i < BENCH_TRIALS; i++) {
		uint64_t before = bench.received, passed = route_counters(bench.m.route)->forwarded;
		double start = bench_now(), cpu = bench.middle_cpu, took;

		do {
			send_some();
			took = bench_now() - start;
		} while (took < seconds);
		passed = route_counters(bench.m.route)->forwarded - passed;
		cpu = (bench.middle_cpu - cpu) / (double)passed;
		if (i == 0 || cpu < cost)
			cost = cpu;
		if ((double)(bench.received - before) / took > best)
			best = (double)(bench.received - before) / took;
	}
	snprintf(name, sizeof(name), "forward.%zu", record);
	printf("%s\t%.3f\tus of processor per packet\n", name, cost * 1e6);
	snprintf(name, sizeof(name), "group.send.%zu", record);
	bench_print(name, best * (double)record * 8 / 1e6, "Mbit/s");
}

int main(int argc, char **argv)
{
	static const size_t records[] = {64, 1400, SG_GROUP_RECORD_MAX};
	struct sg_crypto *c = sg_crypto_new(sg_random_system());

	need(c != NULL, "no memory");
	bench.ends = sg_loop_new(sg_clock_system());
	bench.middle = sg_loop_new(sg_clock_system());
	need(bench.ends && bench.middle, "no loop");
	make(&bench.a, bench.ends, c);
	make(&bench.m, bench.middle, c);
	make(&bench.b, bench.ends, c);
	connect_to(&bench.a, &bench.m);
	connect_to(&bench.m, &bench.b);
	open_group();
	for (size_t i = 0; argc < 2 && i < SG_ARRAY_LEN(records); i++)
		measure(records[i]);
	for (int i = 1; i < argc; i++)
		measure(SG_MIN(strtoul(argv[i], NULL, 10), sizeof(data)));
	bench.out->ops->close(bench.out);
	bench.in->ops->close(bench.in);
	route_free(bench.a.route);
	route_free(bench.m.route);
	route_free(bench.b.route);
	links_free(bench.a.links);
	links_free(bench.m.links);
	links_free(bench.b.links);
	sg_loop_free(bench.ends);
	sg_loop_free(bench.middle);
	sg_crypto_free(c);
	return 0;
}
