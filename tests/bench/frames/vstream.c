/*
 * sg-bench-vstream: one virtual stream between two visors of ours over a socket pair, both ends in one thread: handshake,
 * settlement, credits, frames and cipher as they are in the product, without TUN and without TCP. What it prints is what
 * one core does for both ends together. Arguments: sizes of records instead of the usual ones.
 */
#include "base/common.h"
#include "base/limits.h"
#include "bench/frames/pair.h"
#include "bench/measure.h"

static struct {
	struct sg_loop *loop;
	struct pair_visor a, b;
	struct pair pair;
} bench;

static void connect_ends(void)
{
	double start = bench_now();

	pair_listen(&bench.pair, &bench.b);
	pair_peer(&bench.a);
	pair_need(route_dial(bench.a.route, &bench.b.pk, PAIR_PORT, pair_dialed, &bench.pair) == 0, "no dial");
	while (!bench.pair.out || !bench.pair.in) {
		sg_loop_step(bench.loop, 10);
		pair_need(bench_now() - start < 5, "no stream within 5 s");
	}
	bench_print("vstream.open", (bench_now() - start) * 1e3, "ms");
}

static void measure(size_t record)
{
	double best = 0, seconds = bench_seconds() * 4;
	char name[64];

	for (int i = 0; i < BENCH_TRIALS; i++) {
		uint64_t before = bench.pair.bytes;
		double start = bench_now(), took;

		do {
			pair_fill(&bench.pair, record);
			sg_loop_step(bench.loop, 100);
			took = bench_now() - start;
		} while (took < seconds);
		if ((double)(bench.pair.bytes - before) / took > best)
			best = (double)(bench.pair.bytes - before) / took;
	}
	snprintf(name, sizeof(name), "vstream.send.%zu", record);
	bench_print(name, best * 8 / 1e6, "Mbit/s");
}

int main(int argc, char **argv)
{
	static const size_t records[] = {64, 1400, 16384, SG_VSTREAM_DATA_MAX};
	struct sg_crypto *c = sg_crypto_new(sg_random_system());

	pair_need(c != NULL, "no memory");
	bench.loop = sg_loop_new(sg_clock_system());
	pair_need(bench.loop != NULL, "no loop");
	pair_visor_init(&bench.b, bench.loop, c, NULL);
	pair_visor_init(&bench.a, bench.loop, c, &bench.b);
	connect_ends();
	for (size_t i = 0; argc < 2 && i < SG_ARRAY_LEN(records); i++)
		measure(records[i]);
	for (int i = 1; i < argc; i++)
		measure(SG_MIN(strtoul(argv[i], NULL, 10), (size_t)SG_VSTREAM_DATA_MAX));
	pair_close(&bench.pair);
	pair_visor_fini(&bench.a);
	pair_visor_fini(&bench.b);
	sg_loop_free(bench.loop);
	sg_crypto_free(c);
	return 0;
}
