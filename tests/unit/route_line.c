/*
 * A stream over a line with a rate and a delay, in virtual time: between the two visors stands a relay that takes so many
 * bytes a millisecond and gives each on after 20 ms. Credits and windows must not be what limits it.
 */
#include "base/common.h"
#include "base/err.h"
#include "fake/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define PORT     44
#define DELAY_MS 20

/* One direction: what was taken in each of the last milliseconds. */
struct way {
	int from, to;
	size_t rate; /* bytes a millisecond */
	size_t len[DELAY_MS + 1];
	uint8_t *bytes[DELAY_MS + 1];
	size_t at;
};

struct line {
	struct fake_world w;
	struct way there, back;
};

static void way_new(struct way *y, int from, int to, size_t rate)
{
	*y = (struct way){.from = from, .to = to, .rate = rate};
	for (size_t i = 0; i <= DELAY_MS; i++)
		y->bytes[i] = malloc(rate);
}

static void way_free(struct way *y)
{
	for (size_t i = 0; i <= DELAY_MS; i++)
		free(y->bytes[i]);
}

/* A millisecond passes: the oldest slot goes out as far as it is taken, a new one comes in when it is empty. */
static void way_tick(struct way *y)
{
	ssize_t n;

	if (y->len[y->at]) {
		n = send(y->to, y->bytes[y->at], y->len[y->at], MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			y->len[y->at] -= (size_t)n;
			memmove(y->bytes[y->at], y->bytes[y->at] + n, y->len[y->at]);
		}
		if (y->len[y->at])
			return; /* the reader is slow: the line stands */
	}
	n = recv(y->from, y->bytes[y->at], y->rate, MSG_DONTWAIT);
	y->len[y->at] = n > 0 ? (size_t)n : 0;
	y->at = (y->at + 1) % (DELAY_MS + 1);
}

static void tick(struct line *l, int64_t ms)
{
	while (ms--) {
		fake_clock_add_ms(&l->w.clock, 1);
		way_tick(&l->there);
		way_tick(&l->back);
		sg_loop_step(l->w.loop, 0);
		sg_loop_step(l->w.loop, 0);
	}
}

static struct line *line_new(size_t rate)
{
	struct line *l = calloc(1, sizeof(*l));
	int fd[2], far;

	world_new(&l->w);
	assert_true(world_boot(&l->w, 0) && world_boot(&l->w, 1));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	l->w.node[1].outside_fd = fd[1];
	far = world_accept(&l->w, 1);
	way_new(&l->there, fd[0], far, rate);
	way_new(&l->back, far, fd[0], rate);
	return l;
}

static void line_free(struct line *l)
{
	world_free(&l->w);
	close(l->there.from);
	close(l->there.to);
	way_free(&l->there);
	way_free(&l->back);
	free(l);
}

/* ---- ends of streams ---- */

struct end {
	struct sg_stream *st;
	uint64_t got;
	size_t record; /* sends such records whenever it may; 0: none */
};

static void send_all(struct end *e)
{
	static uint8_t bytes[65551];

	while (e->record && e->st->ops->send(e->st, &(struct iovec){bytes, e->record}, 1) == 0)
		;
}

static void on_data(void *arg, struct sg_view in)
{
	((struct end *)arg)->got += in.len;
}

static void on_writable(void *arg)
{
	send_all(arg);
}

static void on_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	((struct end *)arg)->st = NULL;
}

static const struct sg_stream_user user = {sizeof(user), on_data, on_writable, on_close, NULL};

static int on_stream(void *arg, struct sg_stream *st)
{
	((struct end *)arg)->st = st;
	st->user = &user;
	st->user_arg = arg;
	return 0;
}

static const struct sg_listener_ops listener = {sizeof(listener), on_stream};

static void on_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	(void)why;
	assert_int_equal(err, 0);
	on_stream(arg, st);
}

static void open_stream(struct line *l, struct end *a, struct end *b)
{
	assert_int_equal(world_peer(&l->w, 0, 1, false), 0);
	assert_int_equal(route_listen(l->w.node[1].route, PORT, &listener, b), 0);
	assert_int_equal(route_dial(l->w.node[0].route, &l->w.node[1].pk, PORT, on_dialed, a), 0);
	tick(l, 1000);
	assert_non_null(a->st);
	assert_non_null(b->st);
}

/* Share of the line that a stream of these records uses, in per mille, after a second to find its pace. */
static unsigned share(size_t rate, size_t record, bool both_ways)
{
	struct line *l = line_new(rate);
	struct end a = {.record = record}, b = {.record = both_ways ? record : 0};
	uint64_t before;
	unsigned permille;

	open_stream(l, &a, &b);
	send_all(&a);
	send_all(&b);
	tick(l, 1000);
	before = b.got;
	tick(l, 1000);
	permille = (unsigned)((b.got - before) / rate);
	a.record = b.record = 0;
	line_free(l);
	return permille;
}

static void a_stream_fills_the_line(void **state)
{
	static const struct {
		const char *name;
		size_t rate, record;
		bool both_ways;
	} lines[] = {
		{"20 Mbit/s, records of 1,400 bytes", 2500, 1400, false},
		{"100 Mbit/s, records of 1,400 bytes", 12500, 1400, false},
		{"100 Mbit/s, records of 64 KiB", 12500, 65551, false},
		{"100 Mbit/s, records of 64 KiB, both ways", 12500, 65551, true},
		{"300 Mbit/s, records of 64 KiB", 37500, 65551, false},
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(lines); i++) {
		/* 26 bytes of frame for 4,032, and 49 of packet for each record. */
		unsigned most = (unsigned)(1000 * 4032 / 4058 * lines[i].record / (lines[i].record + 49));
		unsigned used = share(lines[i].rate, lines[i].record, lines[i].both_ways);

		print_message("%s, 40 ms: %u of %u per mille\n", lines[i].name, used, most);
		assert_in_range(used, most * 97 / 100, 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_stream_fills_the_line)};

	return cmocka_run_group_tests_name("route/line", tests, NULL, NULL);
}
