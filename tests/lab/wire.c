/*
 * wire: a bad line between two ends, for kernels that have no netem.
 *
 *	wire --delay 20 --rate 100 --queue 256 --loss 0.1 tap:sg-router:wan0 tap:sg-wan:to_router
 *
 * Prints "ready" when frames flow; on SIGUSR1 and at the end (SIGTERM, SIGINT) one line per direction with what went
 * in, what came out, and what was dropped and why.
 */
#include "ends.h"
#include "impair.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1e6
#define MEMORY    (256u << 20)

static const char usage[] = "usage: wire [OPTION]... END END\n"
			    "END: [tap:][NAMESPACE:]INTERFACE      tap: makes the interface, else it must exist\n"
			    "  --delay MS          one way\n"
			    "  --jitter MS         delay varies by so much up and down, without reordering\n"
			    "  --loss PERCENT      of the frames, after they used the line\n"
			    "  --reorder PERCENT   of the frames are held back ...\n"
			    "  --reorder-by MS     ... for so long (2)\n"
			    "  --rate MBIT         of the line\n"
			    "  --queue KIB         in front of the line; what does not fit is dropped\n"
			    "  --hole BYTES        larger IP packets vanish, and nobody is told\n"
			    "  --ab, --ba, --both  the options behind are for this direction (both)\n"
			    "  --seed N            of the dice (1)\n"
			    "  --mtu BYTES         set at both ends\n"
			    "  --offload-off [NAMESPACE:]INTERFACE   of a third interface: the far side of a veth\n";

enum { AB, BA, DIRECTIONS };

struct wire {
	struct end end[DIRECTIONS];     /* 0: A, 1: B */
	struct impair line[DIRECTIONS]; /* AB reads end 0 and writes end 1 */
	struct impair_options options[DIRECTIONS];
	uint64_t dice[DIRECTIONS];
	unsigned mtu;
	uint64_t seed;
	int poll, timer, signals;
};

static _Noreturn void wrong(const char *what, const char *value)
{
	fprintf(stderr, "wire: %s%s%s\n%s", what, value ? ": " : "", value ? value : "", usage);
	exit(2);
}

static double number(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (!*text || *end || !(v >= 0) || v > 1e12)
		wrong("not a number of zero or more", text);
	return v;
}

static uint64_t scaled(const char *text, double unit)
{
	return (uint64_t)llround(number(text) * unit);
}

enum {
	O_DELAY = 256,
	O_JITTER,
	O_LOSS,
	O_REORDER,
	O_REORDER_BY,
	O_RATE,
	O_QUEUE,
	O_HOLE,
	O_AB,
	O_BA,
	O_BOTH,
	O_SEED,
	O_MTU,
	O_OFFLOAD
};

static const struct option table[] = {{"delay", required_argument, NULL, O_DELAY},
	{"jitter", required_argument, NULL, O_JITTER}, {"loss", required_argument, NULL, O_LOSS},
	{"reorder", required_argument, NULL, O_REORDER}, {"reorder-by", required_argument, NULL, O_REORDER_BY},
	{"rate", required_argument, NULL, O_RATE}, {"queue", required_argument, NULL, O_QUEUE},
	{"hole", required_argument, NULL, O_HOLE}, {"ab", no_argument, NULL, O_AB}, {"ba", no_argument, NULL, O_BA},
	{"both", no_argument, NULL, O_BOTH}, {"seed", required_argument, NULL, O_SEED},
	{"mtu", required_argument, NULL, O_MTU}, {"offload-off", required_argument, NULL, O_OFFLOAD},
	{"help", no_argument, NULL, 'h'}, {0}};

/* One option of a line; false: it is none. */
static bool line_option(struct impair_options *o, int which, const char *value)
{
	switch (which) {
	case O_DELAY:
		o->delay_ns = scaled(value, NS_PER_MS);
		break;
	case O_JITTER:
		o->jitter_ns = scaled(value, NS_PER_MS);
		break;
	case O_LOSS:
		o->loss_ppm = scaled(value, 1e4);
		break;
	case O_REORDER:
		o->reorder_ppm = scaled(value, 1e4);
		break;
	case O_REORDER_BY:
		o->reorder_ns = scaled(value, NS_PER_MS);
		break;
	case O_RATE:
		o->rate_bps = scaled(value, 1e6);
		break;
	case O_QUEUE:
		o->queue_bytes = scaled(value, 1024);
		break;
	case O_HOLE:
		o->hole = (size_t)scaled(value, 1);
		break;
	default:
		return false;
	}
	return true;
}

static void options(struct wire *w, int argc, char **argv)
{
	bool applies[DIRECTIONS] = {true, true};

	for (int o; (o = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
		bool known = false;

		for (int d = 0; d < DIRECTIONS; d++)
			if (applies[d])
				known |= line_option(&w->options[d], o, optarg);
		if (known)
			continue;
		if (o == O_AB || o == O_BA || o == O_BOTH) {
			applies[AB] = o != O_BA;
			applies[BA] = o != O_AB;
		} else if (o == O_SEED) {
			w->seed = scaled(optarg, 1);
		} else if (o == O_MTU) {
			w->mtu = (unsigned)scaled(optarg, 1);
		} else if (o == O_OFFLOAD) {
			end_offload_off(optarg);
		} else if (o == 'h') {
			fputs(usage, stdout);
			exit(0);
		} else {
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (argc - optind != 2)
		wrong("two ends are needed", NULL);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void report(const struct wire *w)
{
	for (int d = 0; d < DIRECTIONS; d++) {
		const struct impair *line = &w->line[d];

		printf("%s > %s: in %" PRIu64 ", out %" PRIu64 ", under way %zu, reordered %" PRIu64
		       ", longest queue %" PRIu64 " bytes; dropped:",
			w->end[d].spec, w->end[!d].spec, line->in, line->out, line->count, line->reordered,
			line->queue_max);
		for (int why = 0; why < IMPAIR_DROPS; why++)
			printf(" %s %" PRIu64 ",", impair_drop_names[why], line->dropped[why]);
		printf(" end %" PRIu64 "\n", w->end[!d].refused);
	}
	fflush(stdout);
}

static void watch(struct wire *w, int fd, uint32_t id)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = id};

	if (epoll_ctl(w->poll, EPOLL_CTL_ADD, fd, &e)) {
		fprintf(stderr, "wire: epoll: %s\n", strerror(errno));
		exit(1);
	}
}

enum { ID_TIMER = DIRECTIONS, ID_SIGNAL };

static void start(struct wire *w, char **ends)
{
	sigset_t set;

	for (int d = 0; d < DIRECTIONS; d++) {
		end_open(&w->end[d], ends[d], w->mtu);
		w->options[d].memory_bytes = MEMORY;
		w->dice[d] = w->seed + (uint64_t)d;
		impair_init(&w->line[d], &w->options[d], impair_splitmix, &w->dice[d]);
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	prctl(PR_SET_TIMERSLACK, 1ul);
	w->signals = signalfd(-1, &set, SFD_CLOEXEC);
	w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	w->poll = epoll_create1(EPOLL_CLOEXEC);
	for (int d = 0; d < DIRECTIONS; d++)
		watch(w, w->end[d].fd, (uint32_t)d);
	watch(w, w->timer, ID_TIMER);
	watch(w, w->signals, ID_SIGNAL);
	printf("ready\n");
	fflush(stdout);
}

static void take(struct wire *w, int d)
{
	struct end *e = &w->end[d];
	unsigned n = end_read(e);
	uint64_t now = now_ns();

	for (unsigned i = 0; i < n; i++)
		impair_push(&w->line[d], now, e->buffer + (size_t)i * END_FRAME_MAX, e->len[i]);
}

/* Hands over everything that is due. */
static void give(struct wire *w, int d)
{
	struct impair_frame *batch[END_BATCH];
	const uint8_t *bytes[END_BATCH];
	size_t lens[END_BATCH];
	unsigned n;

	do {
		uint64_t now = now_ns();

		for (n = 0; n < END_BATCH && (batch[n] = impair_pop(&w->line[d], now)); n++) {
			bytes[n] = batch[n]->bytes;
			lens[n] = batch[n]->len;
		}
		end_write(&w->end[!d], bytes, lens, n);
		for (unsigned i = 0; i < n; i++)
			free(batch[i]);
	} while (n == END_BATCH);
}

static void set_timer(struct wire *w)
{
	uint64_t next = impair_next_ns(&w->line[AB]), other = impair_next_ns(&w->line[BA]);
	struct itimerspec when = {0};

	if (other < next)
		next = other;
	if (next != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(next / 1000000000u);
		when.it_value.tv_nsec = (long)(next % 1000000000u);
	}
	timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Returns false when it is time to end. */
static bool on_signal(struct wire *w)
{
	struct signalfd_siginfo s;

	if (read(w->signals, &s, sizeof(s)) != sizeof(s))
		return true;
	report(w);
	return s.ssi_signo == SIGUSR1;
}

static void run(struct wire *w)
{
	for (;;) {
		struct epoll_event e[4];
		uint64_t fired;
		int n = epoll_wait(w->poll, e, 4, -1);

		for (int i = 0; i < n; i++) {
			if (e[i].data.u32 < DIRECTIONS)
				take(w, (int)e[i].data.u32);
			else if (e[i].data.u32 == ID_TIMER)
				(void)!read(w->timer, &fired, sizeof(fired));
			else if (!on_signal(w))
				return;
		}
		give(w, AB);
		give(w, BA);
		set_timer(w);
	}
}

int main(int argc, char **argv)
{
	static struct wire w = {.seed = 1};

	for (int d = 0; d < DIRECTIONS; d++)
		w.options[d].reorder_ns = 2000000;
	options(&w, argc, argv);
	start(&w, argv + optind);
	run(&w);
	for (int d = 0; d < DIRECTIONS; d++) {
		impair_fini(&w.line[d]);
		end_close(&w.end[d]);
	}
	return 0;
}
