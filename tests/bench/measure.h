/*
 * Micro-benchmarks: a piece of work is repeated for a fixed time, several times over; the best counts, for what
 * disturbs only ever slows. Each figure is a line of name, number and unit with tabs between, for scripts.
 */
#ifndef SG_BENCH_MEASURE_H
#define SG_BENCH_MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BENCH_TRIALS 5

static inline double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds per trial; BENCH_SECONDS says others. */
static inline double bench_seconds(void)
{
	const char *text = getenv("BENCH_SECONDS");
	double s = text ? atof(text) : 0.1;

	return s > 0 ? s : 0.1;
}

/* Calls of @work per second. */
static inline double bench_rate(void (*work)(void *), void *arg)
{
	double best = 0, seconds = bench_seconds();

	for (int i = 0; i < BENCH_TRIALS; i++) {
		double start = bench_now(), took;
		uint64_t n = 0;

		do {
			for (int k = 0; k < 16; k++)
				work(arg);
			n += 16;
			took = bench_now() - start;
		} while (took < seconds);
		if ((double)n / took > best)
			best = (double)n / took;
	}
	return best;
}

static inline void bench_print(const char *name, double value, const char *unit)
{
	printf("%s\t%.1f\t%s\n", name, value, unit);
	fflush(stdout);
}

#endif
