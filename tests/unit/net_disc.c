/*
 * Our entry in the dmsg discovery: read, written with the next sequence, kept up to date, never written after an error. The
 * discovery is a fake one behind a dmsg:// URL, so time and bytes are the test's.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/clock.h"
#include "net/internal.h"
#include "wire/entry.h"
#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct world;

/* The discovery's end of one request. */
struct talk {
	struct sg_stream pub; /* first */
	struct world *w;
	struct sg_defer dialled, answered;
	struct sg_http *in;
	bool closed;
	sg_dialed_fn *done;
	void *arg;
};

struct world {
	struct fake_clock clock;
	struct sg_loop *loop;
	struct sg_crypto *c;
	struct store_space keys;
	struct sg_net_conf conf;
	struct sg_net *net;
	struct sg_sk sk;
	struct sg_pk pk, discovery;
	struct talk talks[64];
	size_t n_talks, reads, writes;
	int fail; /* status of every answer instead */
	bool has;
	char stored[SG_ENTRY_JSON_MAX];
	struct sg_disc_entry_full entry;
};

static void store(struct world *w, struct sg_view body)
{
	json_t *json = sg_json_parse(body, NULL);

	assert_non_null(json);
	assert_int_equal(sg_disc_entry_decode(w->c, json, &w->entry), 0);
	assert_int_equal(sg_disc_entry_verify(w->c, &w->entry, body), 0);
	assert_true(sg_pk_equal(&w->entry.pk, &w->pk));
	snprintf(w->stored, sizeof(w->stored), "%.*s", (int)body.len, (const char *)body.p);
	w->has = true;
	json_decref(json);
}

static void answer(void *arg)
{
	struct talk *t = arg;
	struct world *w = t->w;
	bool post = strcmp(sg_http_method(t->in), "POST") == 0;
	struct sg_view body = {NULL, 0};
	int status = w->fail ? w->fail : post || w->has ? 200 : 404;
	size_t len;
	char *out;

	*(post ? &w->writes : &w->reads) += 1;
	if (post && status == 200)
		store(w, sg_http_body(t->in));
	else if (status == 200)
		body = (struct sg_view){(const uint8_t *)w->stored, strlen(w->stored)};
	out = sg_http_response(status, (const struct sg_http_header[]){{0}}, body, &len);
	t->pub.user->on_data(t->pub.user_arg, (struct sg_view){(const uint8_t *)out, len});
	sg_free(out);
}

static int talk_send(struct sg_stream *s, const struct iovec *iov, int n)
{
	struct talk *t = sg_container_of(s, struct talk, pub);
	const char *why;
	size_t used;

	for (int i = 0; i < n; i++) {
		if (sg_http_feed(t->in, (struct sg_view){iov[i].iov_base, iov[i].iov_len}, &used, &why) == 1)
			sg_defer_start(t->w->loop, &t->answered);
	}
	return 0;
}

static void talk_want(struct sg_stream *s, bool read)
{
	(void)s;
	(void)read;
}

static void talk_close(struct sg_stream *s)
{
	struct talk *t = sg_container_of(s, struct talk, pub);

	t->closed = true;
	sg_defer_stop(&t->answered);
}

static const struct sg_stream_ops talk_ops = {
	.size = sizeof(talk_ops), .send = talk_send, .want = talk_want, .close = talk_close};

static void dialled(void *arg)
{
	struct talk *t = arg;

	t->done(t->arg, &t->pub, 0, "");
}

static int net_dial(void *ctx, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	struct world *w = ctx;
	struct talk *t = &w->talks[w->n_talks++];

	assert_true(w->n_talks < SG_ARRAY_LEN(w->talks));
	assert_true(sg_pk_equal(pk, &w->discovery));
	assert_int_equal(port, 80);
	*t = (struct talk){.pub = {.ops = &talk_ops}, .w = w, .done = done, .arg = arg, .in = sg_http_new(true, 10000)};
	sg_defer_init(&t->dialled, dialled, t);
	sg_defer_init(&t->answered, answer, t);
	sg_defer_start(w->loop, &t->dialled);
	return 0;
}

static void net_dial_cancel(void *ctx, void *arg)
{
	struct world *w = ctx;

	for (size_t i = 0; i < w->n_talks; i++) {
		if (w->talks[i].arg == arg)
			sg_defer_stop(&w->talks[i].dialled);
	}
}

static int net_listen(void *ctx, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	(void)ctx;
	(void)ops;
	(void)arg;
	return port == 80 ? 0 : -EADDRINUSE;
}

static void net_unlisten(void *ctx, uint16_t port)
{
	(void)ctx;
	(void)port;
}

static const struct sg_network_ops net_ops = {.size = sizeof(net_ops),
	.dial = net_dial,
	.dial_cancel = net_dial_cancel,
	.listen = net_listen,
	.unlisten = net_unlisten};

static void run(struct world *w, int64_t ms)
{
	for (int64_t at = 0; at < ms; at += 100) {
		fake_clock_add_ms(&w->clock, 100);
		for (int i = 0; i < 6; i++)
			sg_loop_step(w->loop, 0);
	}
}

static void configure(struct world *w, bool discovery)
{
	char text[300], pk[SG_PK_TEXT];
	struct sg_uci *doc;
	int len = snprintf(text, sizeof(text), "config deployment\n");

	if (discovery)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "\toption dmsg_discovery 'dmsg://%s:80'\n",
			sg_pk_str(&w->discovery, pk));
	assert_int_equal(sg_uci_parse(text, (size_t)len, "conf", NULL, NULL, &doc), 0);
	net_configure(w->net, doc);
	sg_uci_free(doc);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sg_sk sk;

	fake_clock_init(&w->clock);
	w->loop = sg_loop_new(&w->clock.base);
	w->c = sg_crypto_new(sg_random_system());
	sg_sk_generate(w->c, &w->sk);
	assert_int_equal(sg_pk_of(w->c, &w->sk, &w->pk), 0);
	sg_sk_generate(w->c, &sk);
	assert_int_equal(sg_pk_of(w->c, &sk, &w->discovery), 0);
	w->keys = (struct store_space){store_new(w->loop, store_wall_s), w, "net"};
	assert_non_null(w->keys.store);
	w->conf = (struct sg_net_conf){.loop = w->loop, .crypto = w->c, .pk = w->pk, .sk = w->sk, .keys = &w->keys};
	w->net = net_new(&w->conf);
	assert_non_null(w->net);
	net_network_set(w->net, "dmsg", &net_ops, w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	net_network_set(w->net, "dmsg", NULL, NULL);
	net_free(w->net);
	store_free(w->keys.store);
	for (size_t i = 0; i < w->n_talks; i++)
		sg_http_free(w->talks[i].in);
	sg_crypto_free(w->c);
	sg_loop_free(w->loop);
	free(w);
	return 0;
}

static void written_and_refreshed(void **state)
{
	struct world *w = *state;

	configure(w, true);
	net_disc_update(w->net, &w->discovery, 1);
	run(w, 1000);
	assert_int_equal(w->writes, 1);
	assert_int_equal(w->entry.sequence, 0);
	assert_int_equal(w->entry.n_servers, 1);
	run(w, 260000);
	assert_int_equal(w->writes, 1);
	run(w, 80000);
	assert_int_equal(w->writes, 2);
	assert_int_equal(w->entry.sequence, 1);
	/* Two changes at once are one write. */
	net_disc_update(w->net, &w->discovery, 1);
	net_disc_update(w->net, NULL, 0);
	run(w, 1000);
	assert_int_equal(w->writes, 3);
	assert_int_equal(w->entry.sequence, 2);
	assert_int_equal(w->entry.n_servers, 0);
}

/* As a restart of the process: nothing is left but the store. */
static void restart(struct world *w)
{
	net_network_set(w->net, "dmsg", NULL, NULL);
	net_free(w->net);
	run(w, 10);
	w->net = net_new(&w->conf);
	assert_non_null(w->net);
	net_network_set(w->net, "dmsg", &net_ops, w);
	configure(w, true);
}

static void sequence_outlives_a_restart(void **state)
{
	struct world *w = *state;
	uint64_t used;

	configure(w, true);
	net_disc_update(w->net, &w->discovery, 1);
	run(w, 340000);
	used = w->entry.sequence;
	/* A discovery that shows something older, as one of several may. */
	w->has = false;
	restart(w);
	net_disc_update(w->net, &w->discovery, 1);
	run(w, 1000);
	assert_int_equal(w->writes, 3);
	assert_true(w->entry.sequence > used);
}

static void answers_outlive_a_restart(void **state)
{
	struct world *w = *state;
	struct sg_view got;

	cache_put(w->net->cache, "ar/stcpr/02", (struct sg_view){(const uint8_t *)"kept", 4});
	cache_put(w->net->cache, "rf/1", (struct sg_view){(const uint8_t *)"old", 3});
	cache_put(w->net->cache, "gone", (struct sg_view){(const uint8_t *)"x", 1});
	cache_drop(w->net->cache, "gone");
	restart(w);
	/* What came meanwhile is newer. */
	cache_put(w->net->cache, "rf/1", (struct sg_view){(const uint8_t *)"new", 3});
	run(w, 10);
	assert_true(cache_get(w->net->cache, "ar/stcpr/02", &got));
	assert_memory_equal(got.p, "kept", 4);
	assert_true(cache_get(w->net->cache, "rf/1", &got));
	assert_memory_equal(got.p, "new", 3);
	assert_false(cache_get(w->net->cache, "gone", &got));
}

/* Story: a discovery's list of servers has new times in it every minute, and a router's flash wears out. */
static void answers_that_always_change_are_written_now_and_then(void **state)
{
	struct world *w = *state;
	struct sg_view got;

	for (int minute = 0; minute < 15; minute++) {
		const uint8_t body[2] = {'m', (uint8_t)minute};

		cache_put(w->net->cache, "dd/servers", (struct sg_view){body, sizeof(body)});
		run(w, 60000);
	}
	restart(w);
	run(w, 10);
	assert_true(cache_get(w->net->cache, "dd/servers", &got));
	assert_int_equal(got.p[1], 0);
	cache_put(w->net->cache, "dd/servers", (struct sg_view){(const uint8_t *)"mx", 2});
	run(w, 16 * 60000);
	cache_put(w->net->cache, "dd/servers", (struct sg_view){(const uint8_t *)"my", 2});
	restart(w);
	run(w, 10);
	assert_true(cache_get(w->net->cache, "dd/servers", &got));
	assert_int_equal(got.p[1], 'y');
}

/* A liar, or another visor's entry, does not drive our sequence to where no honest discovery could follow. */
static void no_sequence_from_a_liar(void **state)
{
	struct world *w = *state;

	configure(w, true);
	w->has = true;
	w->entry.sequence = 9223372036854775806ULL;
	snprintf(w->stored, sizeof(w->stored),
		"{\"version\":\"0.0.1\",\"sequence\":9223372036854775806,\"timestamp\":1,\"static\":"
		"\"02e6645e1c408793ddeb5e9ec081ca3075ad2be30ca922cd537299e56337432a28\",\"client\":"
		"{\"delegated_servers\":[]},\"signature\":\"\"}");
	net_disc_update(w->net, &w->discovery, 1);
	run(w, 30000);
	assert_int_equal(w->writes, 0);
	assert_true(w->reads > 2);
}

/* A sequence that starts anew would lose against the stored one: what was not read is not written. */
static void nothing_written_after_an_error(void **state)
{
	struct world *w = *state;

	configure(w, true);
	w->fail = 500;
	net_disc_update(w->net, &w->discovery, 1);
	run(w, 120000);
	assert_int_equal(w->writes, 0);
	assert_in_range(w->reads, 6, 9); /* 1, 2, 4, … 60 s apart */
	w->fail = 0;
	run(w, 70000); /* the longest pause, and what chance adds */
	assert_int_equal(w->writes, 1);
}

struct heard {
	int n, err;
	size_t count;
	struct sg_disc_entry e;
};

static void on_entries(void *arg, int err, const struct sg_disc_entry *entries, size_t n, const char *why)
{
	struct heard *h = arg;

	(void)why;
	*h = (struct heard){.n = h->n + 1, .err = err, .count = n};
	if (n)
		h->e = entries[0];
}

/* What it said last of a key and of servers serves while it does not answer; that it knows a key no more ends that. */
static void the_last_answers_serve_meanwhile(void **state)
{
	struct world *w = *state;
	struct heard h = {0};

	configure(w, true);
	net_disc_update(w->net, &w->discovery, 1);
	run(w, 1000);
	assert_int_equal(net_disc_entry(w->net, w, &w->pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.err, 0);
	w->fail = 500;
	assert_int_equal(net_disc_entry(w->net, w, &w->pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.n, 2);
	assert_int_equal(h.err, 0);
	assert_true(sg_pk_equal(&h.e.pk, &w->pk));
	/* Nor does another key's entry in its place take the memory away. */
	w->fail = 0;
	snprintf(w->stored, sizeof(w->stored), "{\"version\":\"0.0.1\"}");
	assert_int_equal(net_disc_entry(w->net, w, &w->pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.n, 3);
	assert_int_equal(h.err, 0);
	assert_true(sg_pk_equal(&h.e.pk, &w->pk));
	w->fail = 404;
	assert_int_equal(net_disc_entry(w->net, w, &w->pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.err, -ENOENT);
	w->fail = 500;
	assert_int_equal(net_disc_entry(w->net, w, &w->pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.n, 5);
	assert_int_equal(h.err, SG_EMALF);
	/* Servers likewise. */
	w->fail = 0;
	snprintf(w->stored, sizeof(w->stored),
		"[{\"version\":\"0.0.1\",\"static\":"
		"\"02e6645e1c408793ddeb5e9ec081ca3075ad2be30ca922cd537299e56337432a28\","
		"\"server\":{\"address\":\"192.0.2.1:8081\"}}]");
	assert_int_equal(net_disc_servers(w->net, w, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.count, 1);
	w->fail = 503;
	h.count = 0;
	assert_int_equal(net_disc_servers(w->net, w, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.count, 1);
	assert_string_equal(h.e.address, "192.0.2.1:8081");
}

/* A discovery that a reload brought was not told of us until sessions changed, for its timer had run out without one. */
static void a_discovery_by_reload(void **state)
{
	struct world *w = *state;

	configure(w, false);
	net_disc_update(w->net, &w->discovery, 1);
	run(w, 10000);
	assert_int_equal(w->n_talks, 0);
	configure(w, true);
	run(w, 1000);
	assert_int_equal(w->writes, 1);
	configure(w, true); /* the same again changes nothing */
	run(w, 1000);
	assert_int_equal(w->writes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(written_and_refreshed, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_written_after_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(sequence_outlives_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(no_sequence_from_a_liar, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_outlive_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_that_always_change_are_written_now_and_then, setup, teardown),
		cmocka_unit_test_setup_teardown(the_last_answers_serve_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(a_discovery_by_reload, setup, teardown),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("disc", tests, NULL, NULL);
}
