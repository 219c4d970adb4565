/*
 * Our entry in the dmsg discovery: read, written with the next sequence, kept up to date, never written after an error. The
 * discovery is a fake one behind a dmsg:// URL, so time and bytes are the test's.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/net.h"
#include "net/internal.h"
#include "wire/entry.h"
#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct world {
	struct fake_net us; /* first */
	struct sg_pk discovery;
	size_t reads, writes;
	int fail; /* status of every answer instead */
	bool has;
	char stored[SG_ENTRY_JSON_MAX];
	struct sg_disc_entry_full entry;
};

static void store(struct world *w, struct sg_view body)
{
	json_t *json = sg_json_parse(body, NULL);

	assert_non_null(json);
	assert_int_equal(sg_disc_entry_decode(w->us.crypto, json, &w->entry), 0);
	assert_int_equal(sg_disc_entry_verify(w->us.crypto, &w->entry, body), 0);
	assert_true(sg_pk_equal(&w->entry.pk, &w->us.conf.pk));
	snprintf(w->stored, sizeof(w->stored), "%.*s", (int)body.len, (const char *)body.p);
	w->has = true;
	json_decref(json);
}

static void serve(void *arg, struct web_request *r)
{
	struct world *w = arg;
	bool post = strcmp(r->method, "POST") == 0;

	assert_true(sg_pk_equal(r->service, &w->discovery));
	r->status = w->fail ? w->fail : post || w->has ? 200 : 404;
	*(post ? &w->writes : &w->reads) += 1;
	if (post && r->status == 200)
		store(w, r->body);
	else if (r->status == 200)
		snprintf(r->out, sizeof(r->out), "%s", w->stored);
}

static void run(struct world *w, int64_t ms)
{
	fake_net_run(&w->us, ms);
}

static void configure(struct world *w, bool there)
{
	fake_net_service(&w->us, "dmsg_discovery", there ? &w->discovery : NULL);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	fake_net_init(&w->us, serve, w);
	fake_net_key(&w->us, NULL, &w->discovery);
	*state = w;
	return 0;
}

static void written_and_refreshed(void **state)
{
	struct world *w = *state;

	configure(w, true);
	net_disc_update(w->us.net, &w->discovery, 1);
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
	net_disc_update(w->us.net, &w->discovery, 1);
	net_disc_update(w->us.net, NULL, 0);
	run(w, 1000);
	assert_int_equal(w->writes, 3);
	assert_int_equal(w->entry.sequence, 2);
	assert_int_equal(w->entry.n_servers, 0);
}

static void restart(struct world *w)
{
	fake_net_restart(&w->us);
	configure(w, true);
}

static void sequence_outlives_a_restart(void **state)
{
	struct world *w = *state;
	uint64_t used;

	configure(w, true);
	net_disc_update(w->us.net, &w->discovery, 1);
	run(w, 340000);
	used = w->entry.sequence;
	/* A discovery that shows something older, as one of several may. */
	w->has = false;
	restart(w);
	net_disc_update(w->us.net, &w->discovery, 1);
	run(w, 1000);
	assert_int_equal(w->writes, 3);
	assert_true(w->entry.sequence > used);
}

static void answers_outlive_a_restart(void **state)
{
	struct world *w = *state;
	struct sg_view got;

	cache_put(w->us.net->cache, "ar/stcpr/02", (struct sg_view){(const uint8_t *)"kept", 4});
	cache_put(w->us.net->cache, "rf/1", (struct sg_view){(const uint8_t *)"old", 3});
	cache_put(w->us.net->cache, "gone", (struct sg_view){(const uint8_t *)"x", 1});
	cache_drop(w->us.net->cache, "gone");
	restart(w);
	/* What came meanwhile is newer. */
	cache_put(w->us.net->cache, "rf/1", (struct sg_view){(const uint8_t *)"new", 3});
	run(w, 10);
	assert_true(cache_get(w->us.net->cache, "ar/stcpr/02", &got));
	assert_memory_equal(got.p, "kept", 4);
	assert_true(cache_get(w->us.net->cache, "rf/1", &got));
	assert_memory_equal(got.p, "new", 3);
	assert_false(cache_get(w->us.net->cache, "gone", &got));
}

/* Story: a discovery's list of servers has new times in it every minute, and a router's flash wears out. */
static void answers_that_always_change_are_written_now_and_then(void **state)
{
	struct world *w = *state;
	struct sg_view got;

	for (int minute = 0; minute < 15; minute++) {
		const uint8_t body[2] = {'m', (uint8_t)minute};

		cache_put(w->us.net->cache, "dd/servers", (struct sg_view){body, sizeof(body)});
		run(w, 60000);
	}
	restart(w);
	run(w, 10);
	assert_true(cache_get(w->us.net->cache, "dd/servers", &got));
	assert_int_equal(got.p[1], 0);
	cache_put(w->us.net->cache, "dd/servers", (struct sg_view){(const uint8_t *)"mx", 2});
	run(w, 16 * 60000);
	cache_put(w->us.net->cache, "dd/servers", (struct sg_view){(const uint8_t *)"my", 2});
	restart(w);
	run(w, 10);
	assert_true(cache_get(w->us.net->cache, "dd/servers", &got));
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
	net_disc_update(w->us.net, &w->discovery, 1);
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
	net_disc_update(w->us.net, &w->discovery, 1);
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
	net_disc_update(w->us.net, &w->discovery, 1);
	run(w, 1000);
	assert_int_equal(net_disc_entry(w->us.net, w, &w->us.conf.pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.err, 0);
	w->fail = 500;
	assert_int_equal(net_disc_entry(w->us.net, w, &w->us.conf.pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.n, 2);
	assert_int_equal(h.err, 0);
	assert_true(sg_pk_equal(&h.e.pk, &w->us.conf.pk));
	/* Nor does another key's entry in its place take the memory away. */
	w->fail = 0;
	snprintf(w->stored, sizeof(w->stored), "{\"version\":\"0.0.1\"}");
	assert_int_equal(net_disc_entry(w->us.net, w, &w->us.conf.pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.n, 3);
	assert_int_equal(h.err, 0);
	assert_true(sg_pk_equal(&h.e.pk, &w->us.conf.pk));
	w->fail = 404;
	assert_int_equal(net_disc_entry(w->us.net, w, &w->us.conf.pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.err, -ENOENT);
	w->fail = 500;
	assert_int_equal(net_disc_entry(w->us.net, w, &w->us.conf.pk, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.n, 5);
	assert_int_equal(h.err, SG_EMALF);
	/* Servers likewise. */
	w->fail = 0;
	snprintf(w->stored, sizeof(w->stored),
		"[{\"version\":\"0.0.1\",\"static\":"
		"\"02e6645e1c408793ddeb5e9ec081ca3075ad2be30ca922cd537299e56337432a28\","
		"\"server\":{\"address\":\"192.0.2.1:8081\"}}]");
	assert_int_equal(net_disc_servers(w->us.net, w, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.count, 1);
	w->fail = 503;
	h.count = 0;
	assert_int_equal(net_disc_servers(w->us.net, w, on_entries, &h), 0);
	run(w, 500);
	assert_int_equal(h.count, 1);
	assert_string_equal(h.e.address, "192.0.2.1:8081");
}

/* A discovery that a reload brought was not told of us until sessions changed, for its timer had run out without one. */
static void a_discovery_by_reload(void **state)
{
	struct world *w = *state;

	configure(w, false);
	net_disc_update(w->us.net, &w->discovery, 1);
	run(w, 10000);
	assert_true(sg_list_empty(&w->us.web.talks));
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
		cmocka_unit_test_setup_teardown(written_and_refreshed, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(nothing_written_after_an_error, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(sequence_outlives_a_restart, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(no_sequence_from_a_liar, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(answers_outlive_a_restart, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(
			answers_that_always_change_are_written_now_and_then, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(the_last_answers_serve_meanwhile, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(a_discovery_by_reload, setup, fake_net_teardown),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("disc", tests, NULL, NULL);
}
