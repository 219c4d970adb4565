/* When Reno is tried and kept, against lines and algorithms made of numbers; then what a socket is told. */
#include "base/common.h"
#include "link/internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define MSS         1448
#define SSTHRESH_NO 0x7fffffff

/* A line whose queue holds 200 ms, and what sends into it. */
struct model {
	double rate;          /* bytes per second that it takes */
	double min_s, way_s;  /* the shortest round trip, the usual one */
	double stands_s;      /* a queue of others */
	double queue;         /* of ours, bytes */
	double window, acked; /* packets, bytes */
	uint32_t ssthresh;    /* of BBR, so that it has to be cleared */
	double lost;          /* packets */
	uint32_t sent;
	unsigned lost_percent; /* of what is sent */
	double lossy_window;   /* packets that this leaves of Reno's window; 0: all */
	uint32_t usual_us;     /* what pings say of the line; 0: it is even */
	bool bbr, deaf;        /* deaf: whoever should bring BBR back does not */
	bool backlog, stuck, no_reno;
	unsigned begun, switches;
	double arrives; /* bytes per second in the last round trip */
	struct sg_mono now;
	struct link_trial t;
};

static struct model line_of(double mbit, double min_s, double way_s)
{
	return (struct model){.rate = mbit * 1e6 / 8,
		.min_s = min_s,
		.way_s = way_s,
		.window = 17,
		.ssthresh = SSTHRESH_NO,
		.bbr = true,
		.backlog = true,
		.stuck = true,
		.sent = UINT32_MAX - 100,
		.now = {SG_NS_PER_S}};
}

static void obey(struct model *m, enum trial_do what)
{
	m->switches += what != TRIAL_DO_NOTHING;
	switch (what) {
	case TRIAL_DO_NOTHING:
		break;
	case TRIAL_DO_FRESH:
		m->bbr = !m->deaf;
		m->ssthresh = SSTHRESH_NO;
		break;
	case TRIAL_DO_RENO:
		assert_true(m->bbr);
		assert_int_equal(m->ssthresh, SSTHRESH_NO);
		m->bbr = m->no_reno;
		m->begun++;
		break;
	case TRIAL_DO_BBR:
		m->bbr = !m->deaf;
		break;
	}
}

/* A round trip, and a look at its end. The pace drains what is longer than the floor, as link/pace.c does. */
static void step(struct model *m)
{
	double way = m->way_s + m->stands_s, rtt = way + m->queue / m->rate;
	double send = m->backlog ? m->window * MSS / rtt : 1000, floor_s = trial_floor_us(&m->t, 0) / 1e6;
	int64_t packets;

	if (trial_drains(&m->t))
		send = SG_MIN(send, m->arrives / 2);
	else if (floor_s > 0 && rtt > floor_s + 0.01)
		send = SG_MIN(send, m->arrives * 0.8);
	m->arrives = SG_MIN(m->rate, send + m->queue / rtt);
	m->queue = SG_MIN(m->queue + (send - m->arrives) * rtt, m->rate * 0.2);
	m->acked += m->arrives * rtt;
	packets = (int64_t)(m->arrives * rtt / MSS);
	m->sent += (uint32_t)packets;
	m->lost += (double)packets * m->lost_percent / 100;
	m->now.ns += (int64_t)(rtt * 1e9);
	if (m->bbr)
		m->window = SG_MIN(2 * m->arrives * m->min_s / MSS + 10, m->window);
	else if (m->window * MSS < 2 * m->rate * way)
		m->window *= 2; /* slow start */
	if (!m->bbr && m->lossy_window > 0)
		m->window = SG_MIN(m->window, m->lossy_window);
	obey(m, trial_look(&m->t, &(struct trial_look){.now = m->now,
					  .rtt_us = (uint32_t)(rtt * 1e6),
					  .min_us = (uint32_t)(m->min_s * 1e6),
					  .cwnd = (uint32_t)m->window,
					  .ssthresh = m->ssthresh,
					  .acked = (uint64_t)m->acked,
					  .sent = m->sent,
					  .lost = (uint32_t)m->lost,
					  .rate = (uint64_t)m->arrives,
					  .backlog = m->backlog,
					  .stuck = m->stuck,
					  .bbr = m->bbr,
					  .usual_us = m->usual_us}));
}

static void run(struct model *m, double seconds)
{
	for (int64_t end = m->now.ns + (int64_t)(seconds * 1e9); m->now.ns < end;)
		step(m);
}

static void an_uneven_line_gets_reno(void **state)
{
	static const uint32_t ssthresh[] = {SSTHRESH_NO, 6};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(ssthresh); i++) {
		struct model m = line_of(20, 0.03, 0.15);

		m.ssthresh = ssthresh[i];
		run(&m, 2);
		assert_int_equal(m.t.state, TRIAL_KEPT);
		assert_true(m.arrives > m.rate * 0.9);
		/* It stays so for as long as it brings something, whatever the drains in between. */
		run(&m, 300);
		assert_int_equal(m.t.state, TRIAL_KEPT);
		assert_int_equal(m.begun, 1);
	}
}

/* A line of 1 Mbit/s with nobody else on it looks the same at first; it is disturbed for a moment, and ever more seldom. */
static void a_full_line_is_disturbed_seldom(void **state)
{
	struct model m = line_of(1, 0.04, 0.04);
	double other_s = 0;
	unsigned expected = 0;

	(void)state;
	/* 60, 120, 240, 480, 600, 600 s apart. */
	for (int s = 0; s < 2000; s++) {
		int64_t before = m.now.ns;

		run(&m, 1);
		if (s == 0 || s == 70 || s == 200 || s == 450 || s == 950 || s == 1600)
			assert_int_equal(m.begun, ++expected);
		other_s += m.bbr ? 0 : (double)(m.now.ns - before) / 1e9;
	}
	assert_in_range(m.begun, 5, 7);
	assert_int_equal(m.t.state, TRIAL_WATCH);
	assert_true(other_s < 20);
}

static void nothing_is_tried_without_a_cause(void **state)
{
	struct model cases[6];

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++)
		cases[i] = line_of(20, 0.03, 0.15);
	cases[0].backlog = false;
	cases[1].stuck = false;
	cases[2].bbr = false;
	cases[3].min_s = 0.08;
	cases[4].window = 1000; /* BBR does well */
	cases[4].way_s = 0.04;
	cases[5].min_s = 0.0001; /* a busy machine */
	cases[5].way_s = 0.015;
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++) {
		run(&cases[i], 20);
		assert_int_equal(cases[i].switches, 0);
	}
}

static struct model kept(void)
{
	struct model m = line_of(20, 0.03, 0.15);

	run(&m, 2);
	assert_int_equal(m.t.state, TRIAL_KEPT);
	return m;
}

static void bbr_comes_back_when_it_would_do_better(void **state)
{
	struct model regular = kept(), lossy = kept(), slower = kept(), idle = kept();

	(void)state;
	regular.way_s = 0.03;
	run(&regular, 30);
	assert_true(regular.bbr);

	lossy.lost_percent = 5;
	run(&lossy, 20);
	assert_true(lossy.bbr);

	slower.rate = 0.8 * (double)slower.t.before;
	run(&slower, 20);
	assert_true(slower.bbr);

	/* Its pings go on. */
	idle.backlog = false;
	for (int64_t end = idle.now.ns + 11 * SG_NS_PER_S; idle.now.ns < end; step(&idle))
		assert_false(trial_drains(&idle.t));
	assert_true(idle.bbr);
	idle.backlog = true;
	/* And begins anew at once. */
	idle.window = 17;
	run(&idle, 2);
	assert_int_equal(idle.t.state, TRIAL_KEPT);
}

/* Story: somebody else's download filled the line when the trial began; it ends, and the queue is now ours alone. */
static void a_floor_that_is_a_queue_is_found(void **state)
{
	struct model m = line_of(20, 0.04, 0.04);

	(void)state;
	m.stands_s = 0.2;
	run(&m, 3);
	assert_int_equal(m.t.state, TRIAL_KEPT);
	m.stands_s = 0;
	m.window = m.rate * 0.24 / MSS;
	run(&m, 60);
	assert_true(m.bbr);
}

static void a_few_losses_of_the_start_are_borne(void **state)
{
	struct model m = kept();

	(void)state;
	m.lost_percent = 30;
	run(&m, 4);
	m.lost_percent = 1;
	run(&m, 60);
	assert_int_equal(m.t.state, TRIAL_KEPT);
}

/* Its pings say so before anything is sent. */
static struct model known(void)
{
	struct model m = line_of(20, 0.03, 0.15);

	m.usual_us = 170000;
	m.backlog = m.stuck = false;
	m.ssthresh = 6;
	run(&m, 0.5);
	assert_int_equal(m.t.state, TRIAL_KNOWN);
	assert_false(m.bbr);
	return m;
}

static void a_line_known_to_be_uneven_needs_no_trial(void **state)
{
	struct model m = known(), even = line_of(20, 0.03, 0.03), borne = line_of(20, 0.11, 0.15), lossy = even;

	(void)state;
	/* Idle or not, and less is never sent to see what happens. */
	run(&m, 100);
	m.backlog = true;
	run(&m, 2);
	assert_true(m.arrives > m.rate * 0.9);
	for (int64_t end = m.now.ns + 300 * SG_NS_PER_S; m.now.ns < end; step(&m))
		assert_false(trial_drains(&m.t));
	m.backlog = false;
	run(&m, 100);
	assert_int_equal(m.t.state, TRIAL_KNOWN);
	assert_int_equal(m.begun, 1);

	even.stuck = false;
	run(&even, 20);
	assert_int_equal(even.switches, 0);
	/* BBR keeps enough under way: the shortest round trip is not that short. */
	borne.usual_us = 165000;
	run(&borne, 20);
	assert_int_equal(borne.switches, 0);
	/* It is losses that make its pings vary. */
	lossy.usual_us = 240000;
	lossy.stuck = false;
	lossy.sent = 60;
	lossy.lost = 5;
	lossy.lost_percent = 5;
	run(&lossy, 20);
	assert_int_equal(lossy.switches, 0);
}

static void what_is_known_may_be_wrong(void **state)
{
	struct model lossy = known(), regular = known(), was = known(), refused = line_of(20, 0.03, 0.15);

	(void)state;
	/* Soon, and not again at once. */
	lossy.backlog = true;
	lossy.lost_percent = 6;
	lossy.lossy_window = 6;
	run(&lossy, 5);
	assert_true(lossy.bbr);
	run(&lossy, 50);
	assert_true(lossy.bbr);
	assert_int_equal(lossy.begun, 1);

	regular.way_s = 0.03;
	regular.backlog = true;
	run(&regular, 12);
	assert_true(regular.bbr);

	was.usual_us = 0;
	run(&was, 1);
	assert_true(was.bbr);
	was.usual_us = 170000;
	run(&was, 1);
	assert_int_equal(was.t.state, TRIAL_KNOWN);

	refused.usual_us = 170000;
	refused.no_reno = true;
	run(&refused, 50);
	assert_int_equal(refused.begun, 1);
	assert_int_equal(refused.t.state, TRIAL_WATCH);
}

/* Story: slow start lost 700 packets at once, for the line's queue was full. The window was large: it stays Reno's. */
static void what_slow_start_loses_is_borne_once(void **state)
{
	struct model m = known();

	(void)state;
	m.backlog = true;
	run(&m, 2);
	m.lost_percent = 30;
	run(&m, 2);
	m.lost_percent = 0;
	run(&m, 20);
	assert_int_equal(m.t.state, TRIAL_KNOWN);
	/* Again and again is another line. */
	m.lost_percent = 3;
	run(&m, 11);
	assert_true(m.bbr);
}

static void what_is_refused_is_borne(void **state)
{
	struct model m = kept(), refused = line_of(20, 0.03, 0.15), never = refused;

	(void)state;
	m.deaf = true;
	m.lost_percent = 5;
	run(&m, 20);
	assert_int_equal(m.t.state, TRIAL_BACK);
	m.deaf = false;
	run(&m, 2);
	assert_true(m.bbr);
	assert_int_equal(m.t.state, TRIAL_WATCH);

	/* Whoever may not use Reno stays as he is. */
	refused.no_reno = true;
	run(&refused, 50);
	assert_int_equal(refused.begun, 1);
	assert_true(refused.bbr);
	assert_int_equal(refused.t.state, TRIAL_WATCH);

	never.deaf = true;
	never.ssthresh = 6;
	run(&never, 10);
	assert_int_equal(never.begun, 0);
	assert_int_equal(never.t.state, TRIAL_BACK);
}

static void what_stands_is_measured_from_the_floor(void **state)
{
	struct model m = kept();

	(void)state;
	assert_int_equal(trial_floor_us(&m.t, 30000), 187500);
	assert_int_equal(trial_floor_us(&(struct link_trial){.state = TRIAL_TRY}, 30000), 0);
	m = known();
	assert_int_equal(trial_floor_us(&m.t, 30000), 212500);
	assert_int_equal(trial_floor_us(&(struct link_trial){0}, 30000), 30000);
}

/* ---- a socket ---- */

static int tuned_fd;

static int tune(void *arg, int fd)
{
	(void)arg;
	tuned_fd = fd;
	return 0;
}

static const char *algorithm(int fd, char name[16])
{
	socklen_t len = 16;

	memset(name, 0, len);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	return name;
}

/* An emulated machine takes no algorithm, or does not tell which one it has. */
static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char before[16], name[16];

	assert_true(fd >= 0);
	algorithm(fd, before);
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) < 0 || strcmp(algorithm(fd, name), "reno") != 0) {
		print_message("this machine is emulated, without TCP_CONGESTION\n");
		close(fd);
		skip();
	}
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, before, (socklen_t)strlen(before)), 0);
	return fd;
}

static void the_socket_is_told(void **state)
{
	const struct sg_links_host host = {.tune = tune};
	struct sg_links ls = {.conf.host = &host};
	struct sg_link l = {.ls = &ls, .line.fd = tcp_socket()};
	struct trial_look k = {.now = {SG_NS_PER_S},
		.rtt_us = 150000,
		.min_us = 30000,
		.cwnd = 17,
		.ssthresh = SSTHRESH_NO,
		.rate = 100000,
		.backlog = true,
		.stuck = true,
		.bbr = true};
	char name[16];

	(void)state;
	assert_false(trial_tick(&l, &k));
	k.now.ns += 150 * SG_NS_PER_MS;
	assert_string_equal(algorithm(l.line.fd, name), "reno");
	assert_int_equal(ls.count.trials, 1);
	/* Nothing more arrives: back, by ourselves or through netd. */
	tuned_fd = -1;
	k.bbr = false;
	for (int i = 0; i < 5; i++, k.now.ns += 150 * SG_NS_PER_MS)
		trial_tick(&l, &k);
	if (strcmp(algorithm(l.line.fd, name), "bbr") != 0)
		assert_int_equal(tuned_fd, l.line.fd);
	k.bbr = true;
	assert_true(trial_tick(&l, &k));
	assert_int_equal(ls.count.trials_kept, 0);
	close(l.line.fd);
}

/* Story: BBR is chosen anew, and netd does not answer. Nobody stays on Reno: it is asked again. */
static void a_renewal_ends_with_bbr(void **state)
{
	const struct sg_links_host host = {.tune = tune};
	struct sg_links ls = {.conf.host = &host};
	struct sg_link l = {.ls = &ls, .line.fd = tcp_socket()};
	struct trial_look k = {.now = {SG_NS_PER_S}, .rtt_us = 40000, .min_us = 40000, .ssthresh = SSTHRESH_NO};
	char name[16];

	(void)state;
	for (int i = 0; i < 3; i++) {
		tuned_fd = -1;
		if (i == 0)
			trial_renew(&l, &k);
		else
			assert_false(trial_tick(&l, &k));
		if (strcmp(algorithm(l.line.fd, name), "bbr") != 0)
			assert_int_equal(tuned_fd, l.line.fd);
		/* Seen on Reno as where netd has to do it. */
		assert_int_equal(setsockopt(l.line.fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
		k.now.ns += 1100 * SG_NS_PER_MS << i;
	}
	k.bbr = true;
	assert_true(trial_tick(&l, &k));
	assert_int_equal(l.trial.state, TRIAL_WATCH);
	assert_int_equal(ls.count.trials, 0);
	close(l.line.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_uneven_line_gets_reno),
		cmocka_unit_test(a_full_line_is_disturbed_seldom),
		cmocka_unit_test(nothing_is_tried_without_a_cause),
		cmocka_unit_test(bbr_comes_back_when_it_would_do_better),
		cmocka_unit_test(a_floor_that_is_a_queue_is_found),
		cmocka_unit_test(a_few_losses_of_the_start_are_borne),
		cmocka_unit_test(a_line_known_to_be_uneven_needs_no_trial),
		cmocka_unit_test(what_is_known_may_be_wrong),
		cmocka_unit_test(what_slow_start_loses_is_borne_once),
		cmocka_unit_test(what_is_refused_is_borne),
		cmocka_unit_test(what_stands_is_measured_from_the_floor),
		cmocka_unit_test(the_socket_is_told),
		cmocka_unit_test(a_renewal_ends_with_bbr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
