/*
 * sg-bench-forward: a route group over two hops between visors of ours, over socket pairs in one thread. The one in the
 * middle has a loop of its own, and the processor's time is taken around its steps: what one packet costs that passes
 * through, read, opened, sealed anew and written. Arguments: sizes of records instead of the usual ones.
 */
#include "base/common.h"
#include "base/limits.h"
#include "bench/frames/pair.h"
#include "bench/measure.h"
#include "wire/tpid.h"

static struct {
	struct sg_loop *ends, *middle;
	struct pair_visor a, m, b;
	struct pair pair;
	double middle_cpu;
} bench;

/* ---- the route ---- */

static struct sg_rule rule(
	uint8_t type, uint32_t key, uint32_t next, const struct pair_visor *x, const struct pair_visor *y)
{
	struct sg_rule r = {
		.keep_alive_ns = (int64_t)SG_RULE_LIFE_OWN_MS * 1000000, .type = type, .key = key, .next_id = next};

	sg_tpid_make(&x->pk, &y->pk, "stcp", &r.next_tp);
	return r;
}

static int ask(void *arg, const struct sg_route_want *want, sg_route_asked_fn *fn, void *fn_arg)
{
	struct pair_visor *a = &bench.a, *m = &bench.m, *b = &bench.b;
	struct sg_edge_rules near = {.desc = want->desc}, far = {.desc = want->desc};
	uint32_t ia[2], im[2], ib[2];
	struct sg_rule passing[2];
	char why[128];

	(void)arg;
	pair_need(route_reserve_ids(a->route, 2, ia, why, sizeof(why)) == 0, why);
	pair_need(route_reserve_ids(m->route, 2, im, why, sizeof(why)) == 0, why);
	pair_need(route_reserve_ids(b->route, 2, ib, why, sizeof(why)) == 0, why);
	passing[0] = rule(SG_RULE_INTERMEDIARY, im[0], ib[1], m, b);
	passing[1] = rule(SG_RULE_INTERMEDIARY, im[1], ia[1], m, a);
	pair_need(route_add_intermediary(m->route, passing, 2, why, sizeof(why)) == 0, why);
	sg_route_desc_invert(&want->desc, &near.desc);
	near.forward = rule(SG_RULE_FORWARD, ia[0], im[0], a, m);
	near.reverse = rule(SG_RULE_REVERSE, ia[1], 0, a, m);
	near.reverse.desc = near.desc;
	far.forward = rule(SG_RULE_FORWARD, ib[0], im[1], b, m);
	far.reverse = rule(SG_RULE_REVERSE, ib[1], 0, b, m);
	far.reverse.desc = far.desc;
	pair_need(route_accept_edge(b->route, &far, why, sizeof(why)) == 0, why);
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

static void connect_to_next(struct pair_visor *v)
{
	double start = bench_now();

	pair_peer(v);
	while (!links_find(v->links, &v->next->pk) || !links_find(v->next->links, &v->pk)) {
		turn();
		pair_need(bench_now() - start < 5, "no link within 5 s");
	}
}

static void open_group(void)
{
	double start = bench_now();

	pair_listen(&bench.pair, &bench.b);
	route_set_setup(bench.a.route, &setup, NULL);
	pair_need(group_dial(bench.a.route, &bench.b.pk, PAIR_PORT, 0, pair_dialed, &bench.pair) == 0, "no dial");
	while (!bench.pair.out || !bench.pair.in) {
		turn();
		pair_need(bench_now() - start < 5, "no group within 5 s");
	}
	bench_print("group.open", (bench_now() - start) * 1e3, "ms");
}

static void measure(size_t record)
{
	double best = 0, cost = 0, seconds = bench_seconds() * 4;
	char name[64];

	for (int i = 0; i < BENCH_TRIALS; i++) {
		uint64_t before = bench.pair.records, passed = route_counters(bench.m.route)->forwarded;
		double start = bench_now(), cpu = bench.middle_cpu, took;

		do {
			pair_fill(&bench.pair, record);
			turn();
			took = bench_now() - start;
		} while (took < seconds);
		passed = route_counters(bench.m.route)->forwarded - passed;
		cpu = (bench.middle_cpu - cpu) / (double)passed;
		if (i == 0 || cpu < cost)
			cost = cpu;
		if ((double)(bench.pair.records - before) / took > best)
			best = (double)(bench.pair.records - before) / took;
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

	pair_need(c != NULL, "no memory");
	bench.ends = sg_loop_new(sg_clock_system());
	bench.middle = sg_loop_new(sg_clock_system());
	pair_need(bench.ends && bench.middle, "no loop");
	pair_visor_init(&bench.b, bench.ends, c, NULL);
	pair_visor_init(&bench.m, bench.middle, c, &bench.b);
	pair_visor_init(&bench.a, bench.ends, c, &bench.m);
	connect_to_next(&bench.a);
	connect_to_next(&bench.m);
	open_group();
	for (size_t i = 0; argc < 2 && i < SG_ARRAY_LEN(records); i++)
		measure(records[i]);
	for (int i = 1; i < argc; i++)
		measure(SG_MIN(strtoul(argv[i], NULL, 10), (size_t)SG_GROUP_RECORD_MAX));
	pair_close(&bench.pair);
	pair_visor_fini(&bench.a);
	pair_visor_fini(&bench.m);
	pair_visor_fini(&bench.b);
	sg_loop_free(bench.ends);
	sg_loop_free(bench.middle);
	sg_crypto_free(c);
	return 0;
}
