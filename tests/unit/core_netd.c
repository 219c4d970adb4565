/* Core's end of the line to netd, with the test as netd: heartbeats, questions and answers in any order, and its loss. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"
#include "fake/clock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct world {
	struct fake_clock clock;
	struct core core;
	struct conf conf;
	int fd; /* netd's end */
	/* What the call-backs said. */
	int errs[4], fd_got;
	size_t n_answers;
	struct sg_tun tun;
	char why[SG_NETD_TEXT_MAX];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct core_options opt = {.netd_fd = -1};
	int pair[2];

	fake_clock_init(&w->clock);
	core_init(&w->core, &opt);
	w->core.loop = sg_loop_new(&w->clock.base);
	w->core.conf = sg_calloc(1, sizeof(struct conf));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	w->fd = pair[0];
	w->fd_got = -1;
	assert_int_equal(netd_new(&w->core, pair[1], &w->core.netd), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	if (w->fd >= 0)
		close(w->fd);
	if (w->fd_got >= 0)
		close(w->fd_got);
	core_fini(&w->core);
	free(w);
	return 0;
}

static void expect_type(struct world *w, uint8_t type, struct sg_netd_msg *m)
{
	int pass;

	assert_int_equal(sg_netd_recv(w->fd, true, m, &pass), 0);
	assert_int_equal(m->type, type);
	assert_int_equal(pass, -1);
}

static void expect_silence(struct world *w)
{
	struct sg_netd_msg m;
	int pass;

	assert_int_equal(sg_netd_recv(w->fd, true, &m, &pass), -EAGAIN);
}

static void test_heartbeat(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg m;

	expect_type(w, SG_NETD_HEARTBEAT, &m);
	expect_silence(w);
	for (int i = 0; i < 3; i++) {
		fake_clock_add_ms(&w->clock, SG_HEARTBEAT_MS);
		sg_loop_step(w->core.loop, 0);
		expect_type(w, SG_NETD_HEARTBEAT, &m);
		expect_silence(w);
	}
}

struct question {
	struct world *w;
};

static void on_answer(void *arg, int err, const struct sg_netd_msg *answer, int fd)
{
	struct world *w = ((struct question *)arg)->w;

	w->errs[w->n_answers++] = err;
	if (fd >= 0)
		w->fd_got = fd;
	snprintf(w->why, sizeof(w->why), "%s", answer ? answer->text : "gone");
}

static uint32_t ask(struct world *w, uint8_t type, const void *owner)
{
	struct sg_netd_msg m = {.type = type}, seen;
	struct question *q = sg_calloc(1, sizeof(*q));

	q->w = w;
	assert_int_equal(netd_ask(w->core.netd, &m, -1, owner, on_answer, q), 0);
	do {
		int pass;

		assert_int_equal(sg_netd_recv(w->fd, true, &seen, &pass), 0);
	} while (seen.type == SG_NETD_HEARTBEAT);
	assert_int_equal(seen.type, type);
	assert_int_equal(seen.id, m.id);
	return m.id;
}

static void answer(struct world *w, uint8_t type, uint32_t id, int err, const char *text, int pass)
{
	struct sg_netd_msg m = {.type = type | SG_NETD_ANSWER, .id = id, .err = err};

	snprintf(m.text, sizeof(m.text), "%s", text);
	if (type == SG_NETD_TUN_OPEN) {
		m.u.tun.mtu = 1500;
		snprintf(m.u.tun.name, sizeof(m.u.tun.name), "sky0");
	}
	assert_int_equal(sg_netd_send(w->fd, &m, pass), 0);
	sg_loop_step(w->core.loop, 0);
}

static void test_answers_in_any_order(void **state)
{
	struct world *w = *state;
	uint32_t first = ask(w, SG_NETD_APPLY, NULL), second = ask(w, SG_NETD_COUNTERS, NULL);

	answer(w, SG_NETD_COUNTERS, second, 0, "", -1);
	assert_int_equal(w->n_answers, 1);
	assert_int_equal(w->errs[0], 0);
	/* An id that was never given, a type that was not asked under it: nobody's. */
	answer(w, SG_NETD_APPLY, 999, 0, "", -1);
	answer(w, SG_NETD_COUNTERS, first, 0, "", -1);
	assert_int_equal(w->n_answers, 1);
	answer(w, SG_NETD_APPLY, first, -22, "line 3 is wrong", -1);
	assert_int_equal(w->n_answers, 2);
	assert_int_equal(w->errs[1], -22);
	assert_string_equal(w->why, "line 3 is wrong");
	/* Once. */
	answer(w, SG_NETD_APPLY, first, 0, "", -1);
	assert_int_equal(w->n_answers, 2);
}

static void test_descriptor(void **state)
{
	struct world *w = *state;
	int fds[2];
	char c = 0;

	assert_int_equal(pipe(fds), 0);
	answer(w, SG_NETD_TUN_OPEN, ask(w, SG_NETD_TUN_OPEN, NULL), 0, "", fds[1]);
	assert_int_equal(w->n_answers, 1);
	assert_true(w->fd_got >= 0);
	assert_int_equal(write(w->fd_got, "x", 1), 1);
	assert_int_equal(read(fds[0], &c, 1), 1);
	/* Nobody asked for this one: it is closed, so the pipe ends. */
	answer(w, SG_NETD_TUN_OPEN, 77, 0, "", fds[1]);
	close(fds[1]);
	close(w->fd_got);
	w->fd_got = -1;
	assert_int_equal(read(fds[0], &c, 1), 0);
	close(fds[0]);
}

static void test_forget(void **state)
{
	struct world *w = *state;
	int mine = 0, other = 0;
	uint32_t a = ask(w, SG_NETD_APPLY, &mine), b = ask(w, SG_NETD_APPLY, &other);

	assert_int_equal(netd_forget(w->core.netd, &mine), 1);
	assert_int_equal(netd_forget(w->core.netd, &mine), 0);
	answer(w, SG_NETD_APPLY, a, 0, "", -1);
	assert_int_equal(w->n_answers, 0);
	answer(w, SG_NETD_APPLY, b, 0, "", -1);
	assert_int_equal(w->n_answers, 1);
}

static void test_nonsense_is_skipped(void **state)
{
	struct world *w = *state;
	uint32_t id = ask(w, SG_NETD_APPLY, NULL);

	assert_int_equal(send(w->fd, "\x99nonsense", 9, 0), 9);
	answer(w, SG_NETD_APPLY, id, 0, "", -1);
	assert_int_equal(w->n_answers, 1);
	assert_false(w->core.stopping);
}

/* Without netd there is no kill switch: every question ends, and so does core. */
static void test_loss(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg m = {.type = SG_NETD_COUNTERS};

	ask(w, SG_NETD_APPLY, NULL);
	ask(w, SG_NETD_COUNTERS, NULL);
	close(w->fd);
	w->fd = -1;
	sg_loop_step(w->core.loop, 0);
	assert_int_equal(w->n_answers, 2);
	assert_int_equal(w->errs[0], -EPIPE);
	assert_string_equal(w->why, "gone");
	assert_true(w->core.stopping);
	assert_int_equal(w->core.status, 1);
	assert_int_equal(netd_ask(w->core.netd, &m, -1, NULL, NULL, NULL), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_heartbeat, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answers_in_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forget, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense_is_skipped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loss, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
