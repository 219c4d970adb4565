/*
 * transport-dmsg: two visors and a relaying server on loopback. Sessions, streams both ways in any size, refusals that end
 * soon, a server that dies under them, an end that never reads, servers that cannot be reached.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/clock.h"
#include "fake/relay.h"
#include "loop/loop.h"
#include "wire/uci.h"
#include <jansson.h>
#include <skygate/plugin.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

extern const struct sg_plugin sg_plugin_transport_dmsg;

#define VISORS 2

struct world;

/* What the host gives a network plugin, for one visor. */
struct sg_inst {
	struct world *w;
	struct sg_identity id;
	struct sg_pk pk;
	struct sg_sk sk;
	void *ctx;
	size_t n_own; /* delegated servers as last told */
	struct sg_pk own[8];
	char seen_at[SG_ADDR_TEXT];
	bool stopped;
};

struct question {
	struct sg_inst *inst;
	struct sg_pk pk;
	bool list;
	sg_disc_fn *fn;
	void *arg;
	bool cancelled;
	struct sg_list node;
};

struct world {
	struct sg_loop *loop;
	struct sg_crypto *c;
	struct relay *relay;
	struct sg_uci *conf;
	struct sg_inst visor[VISORS];
	struct sg_list questions;
	struct fake_clock clock;
	struct sg_disc_entry servers[2];
	size_t n_servers, lists; /* lists: how often the servers were asked for */
	const struct sg_network_ops *net;
};

static struct sg_loop *host_loop(struct sg_inst *i)
{
	return i->w->loop;
}

static const struct sg_uci *host_conf(struct sg_inst *i)
{
	return i->w->conf;
}

static const struct sg_identity *host_identity(struct sg_inst *i)
{
	return &i->id;
}

/* The discovery: servers as the world has them, clients are whoever told us so. */
static void answer_entry(struct question *q)
{
	struct world *w = q->inst->w;
	struct sg_disc_entry e = {.pk = q->pk};
	bool found = false;

	for (size_t i = 0; i < w->n_servers && !found; i++) {
		found = sg_pk_equal(&w->servers[i].pk, &q->pk);
		if (found)
			e = w->servers[i];
	}
	for (int i = 0; i < VISORS && !found; i++) {
		found = sg_pk_equal(&w->visor[i].pk, &q->pk);
		if (found) {
			e.n_servers = w->visor[i].n_own;
			memcpy(e.servers, w->visor[i].own, sizeof(w->visor[i].own));
		}
	}
	q->fn(q->arg, found ? 0 : -ENOENT, found ? &e : NULL, found ? 1 : 0, found ? "" : "the key is not known");
}

static void answer(void *arg)
{
	struct question *q = arg;
	struct world *w = q->inst->w;

	sg_list_remove(&q->node);
	if (!q->cancelled && q->list) {
		w->lists++;
		q->fn(q->arg, 0, w->servers, w->n_servers, "");
	} else if (!q->cancelled) {
		answer_entry(q);
	}
	sg_free(q);
}

static int ask(struct sg_inst *i, const struct sg_pk *pk, sg_disc_fn *fn, void *arg)
{
	struct question *q = sg_calloc(1, sizeof(*q));

	*q = (struct question){.inst = i, .list = !pk, .fn = fn, .arg = arg};
	if (pk)
		q->pk = *pk;
	sg_list_add_tail(&i->w->questions, &q->node);
	return sg_post(i->w->loop, answer, q);
}

static int host_disc_servers(struct sg_inst *i, sg_disc_fn *fn, void *arg)
{
	return ask(i, NULL, fn, arg);
}

static void host_disc_cancel(struct sg_inst *i, void *arg)
{
	sg_list_for (it, &i->w->questions) {
		struct question *q = sg_container_of(it, struct question, node);

		if (q->inst == i && q->arg == arg)
			q->cancelled = true;
	}
}

static void host_seen_at(struct sg_inst *i, const struct sg_addr *addr)
{
	sg_addr_str(addr, i->seen_at);
}

static void host_disc_update(struct sg_inst *i, const struct sg_pk *servers, size_t n)
{
	i->n_own = n;
	memcpy(i->own, servers, n * sizeof(*servers));
}

static void host_stopped(struct sg_inst *i)
{
	i->stopped = true;
}

static const struct sg_host host = {.size = sizeof(host),
	.loop = host_loop,
	.conf = host_conf,
	.identity = host_identity,
	.disc_entry = ask,
	.disc_servers = host_disc_servers,
	.disc_cancel = host_disc_cancel,
	.disc_update = host_disc_update,
	.seen_at = host_seen_at,
	.stopped = host_stopped};

/*
 * Time passes only when the sockets have had their turn: on a busy machine the pause behind a handshake was over before the
 * relay had read, which then ended the session, and one question too many was counted.
 */
static void turn(struct world *w)
{
	fake_clock_add_ms(&w->clock, 5);
	sg_loop_step(w->loop, 5);
}

/* Until it holds, at most some seconds: these are real sockets. */
#define until(w, condition)                                                                                            \
	do {                                                                                                           \
		for (int tries_ = 0; tries_ < 2000 && !(condition); tries_++)                                          \
			turn(w);                                                                                       \
		assert_true(condition);                                                                                \
	} while (0)

/* @pk NULL: any. */
static void add_server(struct world *w, const struct sg_pk *pk, const char *address)
{
	struct sg_disc_entry *e = &w->servers[w->n_servers++];
	struct sg_sk sk;

	*e = (struct sg_disc_entry){.is_server = true};
	snprintf(e->address, sizeof(e->address), "%s", address);
	sg_sk_generate(w->c, &sk);
	assert_int_equal(sg_pk_of(w->c, &sk, &e->pk), 0);
	if (pk)
		e->pk = *pk;
}

static struct world *world_new(bool relay)
{
	static const char text[] = "config dmsg\n\toption sessions '1'\n";
	struct world *w = calloc(1, sizeof(*w));

	fake_clock_init(&w->clock);
	w->loop = sg_loop_new(&w->clock.base);
	w->c = sg_crypto_new(sg_random_system());
	sg_list_init(&w->questions);
	assert_int_equal(sg_uci_parse(text, sizeof(text) - 1, "conf", NULL, NULL, &w->conf), 0);
	w->net = sg_plugin_transport_dmsg.provides[0].ops;
	if (relay) {
		w->relay = relay_new(w->loop, w->c);
		assert_non_null(w->relay);
		add_server(w, relay_pk(w->relay), relay_address(w->relay));
	}
	return w;
}

static void start(struct world *w)
{
	char why[128];

	for (int i = 0; i < VISORS; i++) {
		struct sg_inst *v = &w->visor[i];

		v->w = w;
		sg_sk_generate(w->c, &v->sk);
		assert_int_equal(sg_pk_of(w->c, &v->sk, &v->pk), 0);
		v->id = (struct sg_identity){sizeof(v->id), w->c, &v->pk, &v->sk};
		assert_int_equal(sg_plugin_transport_dmsg.start(&host, v, &v->ctx, why, sizeof(why)), 0);
	}
}

static int setup(void **state)
{
	struct world *w = world_new(true);

	start(w);
	until(w, w->visor[0].n_own == 1 && w->visor[1].n_own == 1);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < VISORS; i++) {
		sg_plugin_transport_dmsg.stop(w->visor[i].ctx);
		assert_true(w->visor[i].stopped);
	}
	until(w, sg_list_empty(&w->questions));
	if (w->relay)
		relay_free(w->relay);
	sg_uci_free(w->conf);
	sg_crypto_free(w->c);
	sg_loop_free(w->loop);
	free(w);
	return 0;
}

/* In another network nothing of the old one may stay: the plugin asks to be started anew. Other options are none of it. */
static void another_network(void **state)
{
	static const char *const texts[] = {
		"config dmsg\n\toption sessions '1'\nconfig deployment\n\toption route_finder 'http://192.0.2.1'\n",
		"config dmsg\n\toption sessions '1'\nconfig deployment\n\toption dmsg_discovery 'http://192.0.2.1'\n",
		"config dmsg\n\toption sessions '1'\nconfig deployment\n\toption source 'public'\n"};
	struct world *w = *state;

	for (size_t i = 0; i < SG_ARRAY_LEN(texts); i++) {
		sg_uci_free(w->conf);
		assert_int_equal(sg_uci_parse(texts[i], strlen(texts[i]), "conf", NULL, NULL, &w->conf), 0);
		assert_int_equal(sg_plugin_transport_dmsg.reload(w->visor[0].ctx), i ? -ENOTSUP : 0);
	}
}

/* ---- one end of a stream ---- */

struct end {
	struct sg_stream *s;
	int err, dialled;
	char why[200];
	uint8_t *got;
	size_t len, writable;
	bool echo, refuse, closed;
	struct world *w;
};

static void end_data(void *arg, struct sg_view in)
{
	struct end *e = arg;

	e->got = realloc(e->got, e->len + in.len);
	memcpy(e->got + e->len, in.p, in.len);
	e->len += in.len;
	if (e->echo) {
		struct iovec iov = {(void *)(uintptr_t)in.p, in.len};

		assert_int_equal(e->s->ops->send(e->s, &iov, 1), 0);
	}
}

static void end_writable(void *arg)
{
	((struct end *)arg)->writable++;
}

static void end_close(void *arg, int err, const char *why)
{
	struct end *e = arg;

	(void)why;
	e->closed = true;
	e->err = err;
	e->s = NULL;
}

static const struct sg_stream_user user = {
	.size = sizeof(user), .on_data = end_data, .on_writable = end_writable, .on_close = end_close};

static int on_stream(void *arg, struct sg_stream *s)
{
	struct end *e = arg;

	if (e->refuse)
		return SG_EREFUSED;
	e->s = s;
	s->user = &user;
	s->user_arg = e;
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

static void on_dialed(void *arg, struct sg_stream *s, int err, const char *why)
{
	struct end *e = arg;

	e->dialled++;
	e->err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
	if (s) {
		e->s = s;
		s->user = &user;
		s->user_arg = e;
	}
}

static void dial(struct world *w, struct end *e, const struct sg_pk *pk, uint16_t port)
{
	assert_int_equal(w->net->dial(w->visor[0].ctx, pk, port, on_dialed, e), 0);
	assert_int_equal(e->dialled, 0); /* never inside the call */
	until(w, e->dialled == 1);
}

/* ---- tests ---- */

static void echo_of_every_size(void **state)
{
	static uint8_t block[100000];
	struct world *w = *state;
	struct end a = {0}, b = {.echo = true};
	struct sg_stream_info info;
	size_t sent = 0;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 7);
	assert_int_equal(w->net->listen(w->visor[1].ctx, 80, &listener, &b), 0);
	assert_int_equal(w->net->listen(w->visor[1].ctx, 80, &listener, &b), -EADDRINUSE);
	dial(w, &a, &w->visor[1].pk, 80);
	assert_int_equal(a.err, 0);
	assert_int_equal(relay_streams(w->relay), 1);
	a.s->ops->info(a.s, &info, sizeof(info));
	assert_true(sg_pk_equal(&info.remote, &w->visor[1].pk));
	assert_string_equal(info.network, "dmsg");
	assert_false(info.records);
	until(w, b.s != NULL);
	b.s->ops->info(b.s, &info, sizeof(info));
	assert_true(sg_pk_equal(&info.remote, &w->visor[0].pk));
	assert_int_equal(info.port, 80);
	for (size_t n = 1; n <= sizeof(block); n = n * 3 + 1) {
		struct iovec iov[2] = {{block, n / 2}, {block + n / 2, n - n / 2}};

		a.len = 0;
		assert_int_equal(a.s->ops->send(a.s, iov, 2), 0);
		until(w, a.len == n);
		assert_memory_equal(a.got, block, n);
		sent += n;
	}
	assert_true(sent > 0);
	a.s->ops->close(a.s);
	until(w, b.closed);
	w->net->unlisten(w->visor[1].ctx, 80);
	free(a.got);
	free(b.got);
}

static void refusals(void **state)
{
	struct world *w = *state;
	struct end a = {0}, b = {.refuse = true}, c = {0}, d = {0};
	struct sg_sk sk;
	struct sg_pk nobody;

	/* Nobody listens: the other end closes, the relay ends it, no 20 s of waiting. */
	dial(w, &a, &w->visor[1].pk, 81);
	assert_true(a.err < 0 && a.why[0]);
	/* A key that is not on the network. */
	sg_sk_generate(w->c, &sk);
	assert_int_equal(sg_pk_of(w->c, &sk, &nobody), 0);
	dial(w, &c, &nobody, 80);
	assert_true(c.err < 0);
	assert_true(c.why[0]);
	/* A listener that wants none: the dial succeeds and the stream ends, as in the existing network. */
	assert_int_equal(w->net->listen(w->visor[1].ctx, 82, &listener, &b), 0);
	dial(w, &d, &w->visor[1].pk, 82);
	until(w, d.err < 0 || d.closed);
	w->net->unlisten(w->visor[1].ctx, 82);
}

/* A stream that is not there yet took all that a stranger sent behind a request: 256 KiB of each of 2,048. */
static void nothing_may_follow_a_request(void **state)
{
	static const size_t behind[] = {200000, 1};
	struct world *w = *state;

	for (size_t i = 0; i < SG_ARRAY_LEN(behind); i++) {
		struct end a = {0}, b = {0};

		assert_int_equal(w->net->listen(w->visor[1].ctx, 80, &listener, &b), 0);
		relay_behind(w->relay, behind[i]);
		dial(w, &a, &w->visor[1].pk, 80);
		assert_true(a.err < 0);
		assert_true(!b.s && !b.closed); /* nobody was offered anything */
		w->net->unlisten(w->visor[1].ctx, 80);
	}
}

static void a_dial_given_up(void **state)
{
	static struct end a, b; /* streams of dials that were given up may end with the visor only */
	struct world *w = *state;

	assert_int_equal(w->net->listen(w->visor[1].ctx, 80, &listener, &b), 0);
	for (int steps = 0; steps < 12; steps++) {
		assert_int_equal(w->net->dial(w->visor[0].ctx, &w->visor[1].pk, 80, on_dialed, &a), 0);
		for (int i = 0; i < steps; i++)
			sg_loop_step(w->loop, 0);
		if (a.dialled) {
			if (a.s)
				a.s->ops->close(a.s);
			a = (struct end){0};
			continue;
		}
		w->net->dial_cancel(w->visor[0].ctx, &a);
		for (int i = 0; i < 40; i++)
			turn(w);
		assert_int_equal(a.dialled, 0);
	}
	w->net->unlisten(w->visor[1].ctx, 80);
}

/* The session or the visor ends at any step of a request: before, while and after the worker has it. */
static void the_end_while_a_request_is_answered(void **state)
{
	for (int steps = 0; steps < 32; steps++) {
		static struct end a, b;
		struct world *w;

		assert_int_equal(setup(state), 0);
		w = *state;
		a = b = (struct end){0};
		assert_int_equal(w->net->listen(w->visor[1].ctx, 80, &listener, &b), 0);
		assert_int_equal(w->net->dial(w->visor[0].ctx, &w->visor[1].pk, 80, on_dialed, &a), 0);
		for (int i = 0; i < steps / 2; i++)
			sg_loop_step(w->loop, 0);
		if (steps % 2) {
			relay_cut(w->relay);
			until(w, w->visor[0].n_own == 0 && w->visor[1].n_own == 0);
			assert_true(!b.s);
		}
		teardown(state);
		assert_true(!a.s && !b.s);
	}
}

static void the_server_dies(void **state)
{
	struct world *w = *state;
	struct end a = {0}, b = {0}, again = {0};

	assert_int_equal(w->net->listen(w->visor[1].ctx, 80, &listener, &b), 0);
	dial(w, &a, &w->visor[1].pk, 80);
	until(w, a.s && b.s);
	relay_cut(w->relay);
	until(w, a.closed && b.closed && w->visor[0].n_own == 0 && w->visor[1].n_own == 0);
	/* Sessions come back by themselves. */
	until(w, w->visor[0].n_own == 1 && w->visor[1].n_own == 1);
	dial(w, &again, &w->visor[1].pk, 80);
	assert_int_equal(again.err, 0);
	again.s->ops->close(again.s);
	until(w, b.closed);
	w->net->unlisten(w->visor[1].ctx, 80);
	free(a.got);
	free(b.got);
}

/* Backpressure ends at the sender, other streams go on, and everything arrives once it is wanted. */
static void one_end_does_not_read(void **state)
{
	static uint8_t block[50000];
	struct world *w = *state;
	struct end a = {0}, b = {0}, c = {0}, d = {.echo = true};
	struct iovec iov = {block, sizeof(block)};
	size_t sent = 0;
	int err;

	assert_int_equal(w->net->listen(w->visor[1].ctx, 80, &listener, &b), 0);
	assert_int_equal(w->net->listen(w->visor[1].ctx, 90, &listener, &d), 0);
	dial(w, &a, &w->visor[1].pk, 80);
	until(w, a.s && b.s);
	b.s->ops->want(b.s, false);
	for (int i = 0; i < 2000; i++) {
		err = a.s->ops->send(a.s, &iov, 1);
		if (err == -EAGAIN)
			break;
		assert_int_equal(err, 0);
		sent += sizeof(block);
		sg_loop_step(w->loop, 0);
	}
	assert_int_equal(err, -EAGAIN);
	assert_int_equal(b.len, 0);
	dial(w, &c, &w->visor[1].pk, 90);
	iov.iov_len = 10;
	assert_int_equal(c.s->ops->send(c.s, &iov, 1), 0);
	until(w, c.len == 10);
	b.s->ops->want(b.s, true);
	until(w, b.len == sent);
	until(w, a.writable == 1);
	a.s->ops->close(a.s);
	c.s->ops->close(c.s);
	until(w, b.closed && d.closed);
	w->net->unlisten(w->visor[1].ctx, 80);
	w->net->unlisten(w->visor[1].ctx, 90);
	free(b.got);
	free(c.got);
	free(d.got);
}

/*
 * A server that refused was tried again every second for ever: each attempt began the back-off anew. In ten minutes of a
 * clock of our own, the pauses have to grow to a minute.
 */
static void attempts_back_off(void **state)
{
	struct world *w = world_new(false);
	size_t first;

	*state = w;
	add_server(w, NULL, "127.0.0.1:1");
	start(w);
	for (int i = 0; i < 6000; i++) {
		fake_clock_add_ms(&w->clock, 100);
		sg_loop_step(w->loop, 0);
		sg_loop_step(w->loop, 0);
		if (i == 99)
			first = w->lists;
	}
	print_message("%zu questions in 10 s, %zu in 10 min, by two visors\n", first, w->lists);
	assert_in_range(first, 2 * 4, 2 * 9);
	assert_in_range(w->lists, 2 * 15, 2 * 35);
	teardown(state);
}

/*
 * Where there is no route to a server's address, connect() fails at once. Such a server was counted as a session under way,
 * and a dial that depended on it waited for its end, which had come already.
 */
static void no_route_to_a_server(void **state)
{
	for (int round = 0; round < 4; round++) {
		struct world *w = world_new(true);
		struct end a = {0}, b = {0};

		*state = w;
		add_server(w, NULL, "255.255.255.255:1");
		start(w);
		until(w, w->visor[0].n_own == 1 && w->visor[1].n_own == 1);
		/* Found in the first look, whichever server was tried first. */
		assert_int_equal(w->lists, 2);
		assert_int_equal(w->net->listen(w->visor[1].ctx, 80, &listener, &b), 0);
		w->visor[1].own[0] = w->servers[1].pk;
		dial(w, &a, &w->visor[1].pk, 80);
		assert_int_equal(a.err, 0);
		a.s->ops->close(a.s);
		until(w, b.closed);
		w->net->unlisten(w->visor[1].ctx, 80);
		teardown(state);
	}
}

/* A discovery that has just begun names one server of two. Who has a session with that one asks for the other soon. */
static void a_list_too_short(void **state)
{
	static const char text[] = "config dmsg\n\toption sessions '2'\n";
	struct world *w = world_new(true);

	*state = w;
	sg_uci_free(w->conf);
	assert_int_equal(sg_uci_parse(text, sizeof(text) - 1, "conf", NULL, NULL, &w->conf), 0);
	start(w);
	until(w, w->visor[0].n_own == 1 && w->visor[1].n_own == 1);
	until(w, w->lists > VISORS * 2);
	assert_int_equal(relay_streams(w->relay), 0);
	teardown(state);
}

/* Asked on each session, without a stream to anybody. */
static void the_server_says_where_it_sees_us(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < VISORS; i++)
		until(w, strcmp(w->visor[i].seen_at, "198.51.100.7:0") == 0);
	assert_int_equal(relay_streams(w->relay), 0);
	w->visor[0].seen_at[0] = '\0';
	relay_cut(w->relay);
	until(w, strcmp(w->visor[0].seen_at, "198.51.100.7:0") == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(another_network, setup, teardown),
		cmocka_unit_test_setup_teardown(echo_of_every_size, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(the_server_says_where_it_sees_us, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_may_follow_a_request, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dial_given_up, setup, teardown),
		cmocka_unit_test(the_end_while_a_request_is_answered),
		cmocka_unit_test_setup_teardown(the_server_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(one_end_does_not_read, setup, teardown),
		cmocka_unit_test(attempts_back_off),
		cmocka_unit_test(no_route_to_a_server),
		cmocka_unit_test(a_list_too_short),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("dmsg", tests, NULL, NULL);
}
