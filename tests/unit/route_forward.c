/*
 * Packets that pass through a visor whose next link is slower than the one they come by: none is lost, little is held, who is
 * behind neither starves nor is taken for dead, and a next link that takes nothing costs the routes that lead there. Links
 * with a rate are socket pairs with a relay of the test's between them.
 */
#include "base/common.h"
#include "base/err.h"
#include "fake/setup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define PORT   44
#define RECORD 4000
#define RATE   3000  /* bytes a millisecond, of slow links */
#define SNDBUF 32768 /* of links with a rate: a large one moves in lumps */

/* ---- a world of links with rates ---- */

/* One direction of a link. */
struct way {
	int from, to;
	size_t rate; /* bytes a millisecond */
	uint8_t b[65536];
	size_t len;
};

struct net {
	struct fake_world w;
	struct fake_setup s;
	struct way way[2 * WORLD_NODES]; /* those of a link in a row */
	size_t n_ways;
	size_t waited; /* the most that waited before a link of a visor in the middle */
};

/* What was taken and not given on yet is given on first; then as much as the rate allows is taken. */
static void way_tick(struct way *y)
{
	ssize_t n;

	if (y->len) {
		n = send(y->to, y->b, y->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			y->len -= (size_t)n;
			memmove(y->b, y->b + n, y->len);
		}
	}
	if (y->len)
		return; /* its reader is slow: the line stands */
	n = recv(y->from, y->b, y->rate, MSG_DONTWAIT);
	y->len = n > 0 ? (size_t)n : 0;
}

static bool look_waiting(void *arg, const struct sg_link_info *info)
{
	struct net *net = arg;

	net->waited = SG_MAX(net->waited, info->tx_waiting);
	return true;
}

static void pass_ms(struct net *net, int64_t ms)
{
	while (ms--) {
		fake_clock_add_ms(&net->w.clock, 1);
		for (size_t i = 0; i < net->n_ways; i++)
			way_tick(&net->way[i]);
		sg_loop_step(net->w.loop, 0);
		sg_loop_step(net->w.loop, 0);
		if (net->w.node[1].links)
			links_each(net->w.node[1].links, look_waiting, net);
	}
}

/* @a calls @b; @rate 0: by a socket pair alone. */
static void link_up(struct net *net, size_t a, size_t b, size_t rate)
{
	struct sg_link_info info;
	int fd[2], far;

	if (rate) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
		assert_int_equal(setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &(int){SNDBUF}, sizeof(int)), 0);
		net->w.node[b].outside_fd = fd[1];
		far = world_accept(&net->w, b);
		net->way[net->n_ways++] = (struct way){.from = fd[0], .to = far, .rate = rate};
		net->way[net->n_ways++] = (struct way){.from = far, .to = fd[0], .rate = rate};
	}
	assert_int_equal(world_peer(&net->w, a, b, false), 0);
	pass_ms(net, 200);
	assert_true(world_linked(&net->w, a, b, &info));
}

/* A row of @n nodes; rates[i] is that of the link between i and i + 1. */
static struct net *net_new(size_t n, const size_t *rates)
{
	static const size_t path[WORLD_NODES] = {0, 1, 2, 3};
	struct net *net = calloc(1, sizeof(*net));

	world_new(&net->w);
	for (size_t i = 0; i < WORLD_NODES; i++)
		assert_true(world_boot(&net->w, i));
	for (size_t i = 0; i + 1 < n; i++)
		link_up(net, i, i + 1, rates[i]);
	setup_new(&net->s, &net->w, path, n);
	return net;
}

static void net_free(struct net *net)
{
	world_free(&net->w);
	for (size_t i = 0; i < net->n_ways; i++)
		close(net->way[i].from);
	free(net);
}

/* ---- ends of routes: records are numbered ---- */

struct end {
	struct sg_stream *st;
	bool sends;
	uint32_t sent, got;
	unsigned wrong, closed;
};

static void send_all(struct end *e)
{
	uint8_t record[RECORD] = {0};

	while (e->sends && e->st) {
		memcpy(record, &e->sent, sizeof(e->sent));
		if (e->st->ops->send(e->st, &(struct iovec){record, sizeof(record)}, 1) != 0)
			return;
		e->sent++;
	}
}

static void on_data(void *arg, struct sg_view in)
{
	struct end *e = arg;

	e->wrong += in.len != RECORD || memcmp(in.p, &e->got, sizeof(e->got)) != 0;
	e->got++;
}

static void on_writable(void *arg)
{
	send_all(arg);
}

static void on_close(void *arg, int err, const char *why)
{
	struct end *e = arg;

	(void)err;
	(void)why;
	e->st = NULL;
	e->closed++;
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
	assert_string_equal(why, "");
	assert_int_equal(err, 0);
	on_stream(arg, st);
}

static void open_route(struct net *net, struct end *a, struct end *b, uint16_t port)
{
	size_t from = net->s.path[0], to = net->s.path[net->s.n - 1];

	assert_int_equal(route_listen(net->w.node[to].route, port, &listener, b), 0);
	assert_int_equal(group_dial(net->w.node[from].route, &net->w.node[to].pk, port, 0, on_dialed, a), 0);
	pass_ms(net, 1000);
	assert_non_null(a->st);
	assert_non_null(b->st);
}

static void start(struct end *e)
{
	e->sends = true;
	send_all(e);
}

static uint64_t drops(struct net *net, size_t i)
{
	const struct sg_route_counters *c = route_counters(net->w.node[i].route);
	uint64_t n = 0;

	for (size_t k = 0; k < ROUTE_DROPS; k++)
		n += c->drop[k];
	return n;
}

/* ---- the tests ---- */

/* An intermediary used to drop what its next link had no room for: every byte stream over it broke. */
static void nothing_is_lost_before_a_slow_link(void **state)
{
	struct net *net = net_new(3, (size_t[]){0, RATE});
	struct end a = {0}, b = {0};

	(void)state;
	open_route(net, &a, &b, PORT);
	start(&a);
	pass_ms(net, 3000);
	assert_in_range(b.got, 3000 * RATE / (RECORD + 60) * 9 / 10, UINT32_MAX);
	a.sends = false;
	pass_ms(net, 1000);
	assert_int_equal(b.got, a.sent);
	assert_int_equal(b.wrong, 0);
	assert_int_equal(drops(net, 1), 0);
	assert_true(world_counter(&net->w, 1, "route.held") > 10);
	assert_in_range(net->waited, 1, SG_LINK_TX_HIGH + 2 * RECORD);
	net_free(net);
}

/* So slow that the link before it is hardly ever read: that is not dead for it, at neither end. */
static void a_crawling_link_is_waited_for(void **state)
{
	struct net *net = net_new(3, (size_t[]){0, RATE});
	struct end a = {0}, b = {0};
	struct sg_link_info info;
	(void)state;
	open_route(net, &a, &b, PORT);
	net->way[0].rate = 20;
	start(&a);
	for (int i = 0; i < 30; i++) {
		/* A word now and then: its pings wait for longer than groups do. */
		assert_int_equal(b.st->ops->send(b.st, &(struct iovec){(uint8_t[1]){0}, 1}, 1), 0);
		pass_ms(net, 1000);
	}
	assert_true(world_linked(&net->w, 0, 1, &info) && info.up_ms > 30000);
	assert_true(world_linked(&net->w, 1, 0, &info) && info.up_ms > 30000);
	assert_int_equal(a.closed + b.closed, 0);
	assert_int_equal(b.wrong, 0);
	assert_int_equal(drops(net, 1), 0);
	net_free(net);
}

static void a_link_that_takes_nothing_costs_its_routes(void **state)
{
	struct net *net = net_new(3, (size_t[]){0, RATE});
	struct end a = {0}, b = {0}, c = {0}, d = {0};

	(void)state;
	open_route(net, &a, &b, PORT);
	net->s.n = 2; /* another one ends at the middle, by the link that will not be read */
	open_route(net, &c, &d, PORT + 1);
	start(&a);
	pass_ms(net, 10);
	net->way[0].rate = 1; /* hardly anything: the visor there lives */
	pass_ms(net, 4800);
	assert_int_equal(a.closed, 0);
	assert_int_equal(world_counter(&net->w, 1, "route.drop.stuck"), 0);
	start(&c);
	pass_ms(net, 1600);
	assert_int_equal(a.closed, 1);
	assert_int_equal(world_counter(&net->w, 1, "route.drop.stuck"), 1);
	assert_int_equal(c.closed, 0);
	assert_true(d.got > 100);
	net->way[0].rate = RATE;
	c.sends = false;
	pass_ms(net, 1000);
	assert_int_equal(b.closed, 1);
	assert_int_equal(b.wrong, 0);
	assert_int_equal(d.got, c.sent);
	assert_int_equal(d.wrong, 0);
	net_free(net);
}

static void opposite_directions_do_not_wait_for_each_other(void **state)
{
	(void)state;
	for (size_t n = 3; n <= 4; n++) {
		struct net *net = net_new(n, (size_t[]){RATE, RATE, RATE});
		struct end a = {0}, b = {0}, c = {0}, d = {0};
		uint32_t least = 3000 * RATE / (RECORD + 60) * 9 / 10;

		open_route(net, &a, &b, PORT);
		open_route(net, &c, &d, PORT + 1);
		start(&a);
		start(&d);
		pass_ms(net, 3000);
		assert_in_range(b.got, least, UINT32_MAX);
		assert_in_range(c.got, least, UINT32_MAX);
		start(&b);
		start(&c);
		pass_ms(net, 3000);
		assert_in_range(b.got + d.got, 2 * least, UINT32_MAX);
		assert_in_range(a.got + c.got, 2 * least, UINT32_MAX);
		a.sends = b.sends = c.sends = d.sends = false;
		pass_ms(net, 1000);
		assert_int_equal(a.got + b.got + c.got + d.got, a.sent + b.sent + c.sent + d.sent);
		assert_int_equal(a.wrong + b.wrong + c.wrong + d.wrong, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(drops(net, i), 0);
		assert_in_range(net->waited, 0, SG_LINK_TX_HIGH + 2 * RECORD);
		net_free(net);
	}
}

static void links_that_wait_get_their_turns(void **state)
{
	struct net *net = net_new(3, (size_t[]){0, RATE});
	struct end a = {0}, b = {0}, c = {0}, d = {0};

	(void)state;
	open_route(net, &a, &b, PORT);
	link_up(net, 3, 1, 0);
	net->s.path[0] = 3;
	open_route(net, &c, &d, PORT + 1);
	start(&a);
	start(&c);
	pass_ms(net, 4000);
	print_message("%u and %u records\n", b.got, d.got);
	assert_in_range(b.got, d.got * 2 / 3, d.got * 3 / 2);
	assert_int_equal(b.wrong + d.wrong, 0);
	assert_int_equal(drops(net, 1), 0);
	net_free(net);
}

/* Others who send through us more than a line takes leave room for what is our own. */
static void a_flood_that_passes_starves_nobody(void **state)
{
	struct net *net = net_new(3, (size_t[]){0, RATE});
	struct end a = {0}, b = {0}, c = {0}, d = {0};

	(void)state;
	open_route(net, &a, &b, PORT);
	net->s.path[0] = 1;
	net->s.path[1] = 2;
	net->s.n = 2;
	open_route(net, &c, &d, PORT + 1);
	start(&a);
	pass_ms(net, 500);
	start(&c);
	pass_ms(net, 3000);
	print_message("%u passed, %u of our own\n", b.got, d.got);
	assert_in_range(d.got, b.got / 3, b.got * 3);
	assert_int_equal(drops(net, 1), 0);
	net_free(net);
}

static void a_link_that_ends_lets_go_who_waits(void **state)
{
	struct net *net = net_new(3, (size_t[]){0, RATE});
	struct end a = {0}, b = {0}, c = {0}, d = {0};

	(void)state;
	open_route(net, &a, &b, PORT);
	net->s.n = 2;
	open_route(net, &c, &d, PORT + 1);
	net->way[0].rate = 0;
	start(&a);
	pass_ms(net, 1000);
	assert_int_equal(links_close(net->w.node[1].links, &net->w.node[2].pk, "", "a test"), 1);
	start(&c);
	pass_ms(net, 500);
	assert_int_equal(a.closed, 1);
	assert_true(d.got > 100);
	/* And the one that waits may end first. */
	net_free(net);
	net = net_new(3, (size_t[]){0, RATE});
	a = b = (struct end){0};
	open_route(net, &a, &b, PORT);
	net->way[0].rate = 0;
	start(&a);
	pass_ms(net, 1000);
	assert_int_equal(links_close(net->w.node[1].links, &net->w.node[0].pk, "", "a test"), 1);
	net->way[0].rate = RATE;
	pass_ms(net, 8000);
	assert_int_equal(world_counter(&net->w, 1, "route.drop.stuck"), 0);
	assert_int_equal(b.closed, 1);
	net_free(net);
}

static void a_visor_stops_while_links_wait(void **state)
{
	struct net *net = net_new(3, (size_t[]){0, RATE});
	struct end a = {0}, b = {0};

	(void)state;
	open_route(net, &a, &b, PORT);
	net->way[0].rate = 0;
	start(&a);
	pass_ms(net, 1000);
	world_kill(&net->w, 1);
	pass_ms(net, 500);
	assert_int_equal(a.closed, 1);
	net_free(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_before_a_slow_link),
		cmocka_unit_test(a_crawling_link_is_waited_for),
		cmocka_unit_test(a_link_that_takes_nothing_costs_its_routes),
		cmocka_unit_test(opposite_directions_do_not_wait_for_each_other),
		cmocka_unit_test(links_that_wait_get_their_turns),
		cmocka_unit_test(a_flood_that_passes_starves_nobody),
		cmocka_unit_test(a_link_that_ends_lets_go_who_waits),
		cmocka_unit_test(a_visor_stops_while_links_wait),
	};

	return cmocka_run_group_tests_name("route/forward", tests, NULL, NULL);
}
