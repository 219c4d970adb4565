/*
 * Transports at the transport discovery: registered as today's visors do or, where that is not known, as those of 2024 do;
 * deleted when they end; compared every few minutes. The discovery is a fake one that does either.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/net.h"
#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define STORED 16

struct world {
	struct fake_net us; /* first */
	struct sg_pk service, peer;
	struct sg_sk peer_sk;
	bool v3, left;
	int fail;
	uint64_t nonce;
	size_t n, posts, deletes, compares;
	struct sg_entry stored[STORED];
};

static void put(struct world *w, const struct sg_entry *e)
{
	for (size_t i = 0; i < w->n; i++) {
		if (memcmp(&w->stored[i].id, &e->id, sizeof(e->id)) == 0)
			return;
	}
	assert_true(w->n < STORED);
	w->stored[w->n++] = *e;
}

static void take_signed(struct world *w, struct web_request *r)
{
	struct sg_signed_entry e;
	int used = sg_settle_decode(w->us.crypto, (struct sg_view){r->body.p + 1, r->body.len - 1}, &e);
	char again[SG_SETTLE_LINE_MAX];
	int len;

	/* One entry, both signatures, and byte for byte as the existing visors write it. */
	assert_true(used > 0);
	assert_int_equal((size_t)used + 3, r->body.len);
	assert_memory_equal(r->body.p + r->body.len - 2, "]\n", 2);
	assert_int_equal(sg_entry_verify(w->us.crypto, &e, &w->us.conf.pk), 0);
	assert_int_equal(sg_entry_verify(w->us.crypto, &e, &w->peer), 0);
	len = sg_settle_encode(&e, false, again, sizeof(again));
	assert_int_equal(len, used);
	assert_memory_equal(again, r->body.p + 1, (size_t)len);
	put(w, &e.entry);
	r->status = 201;
}

static void take_bare(struct world *w, struct web_request *r)
{
	struct sg_entry list[STORED];
	int n = sg_entry_list_decode(w->us.crypto, r->body, list, STORED);

	assert_true(n > 0);
	assert_non_null(sg_http_header(r->msg, "SW-Visor-Version"));
	for (int i = 0; i < n; i++)
		put(w, &list[i]);
	r->status = 200;
}

static void list(struct world *w, struct web_request *r)
{
	struct sg_text t = sg_text(r->out, sizeof(r->out));
	char one[1000];

	r->status = 200;
	for (size_t i = 0; i < w->n; i++) {
		assert_true(sg_entry_encode(&w->stored[i], one, sizeof(one)) > 0);
		sg_text_addf(&t, "%s%s", i ? "," : "[", one);
	}
	sg_text_add(&t, w->n ? "]\n" : "null\n");
}

static void take_away(struct world *w, struct web_request *r)
{
	struct sg_tpid id;

	w->deletes++;
	assert_int_equal(sg_tpid_parse(r->target + 15, strlen(r->target) - 15, &id), 0);
	r->status = 404;
	for (size_t i = 0; i < w->n; i++) {
		if (memcmp(&w->stored[i].id, &id, sizeof(id)) == 0) {
			w->stored[i] = w->stored[--w->n];
			r->status = 200;
		}
	}
}

static void serve(void *arg, struct web_request *r)
{
	struct world *w = arg;
	struct sg_pk who;
	uint64_t nonce;

	if (web_nonce(r, w->nonce))
		return;
	assert_int_equal(web_signed(r, w->us.crypto, &who, &nonce), 0);
	assert_int_equal(nonce, w->nonce);
	if (w->fail) {
		r->status = w->fail;
		snprintf(r->out, sizeof(r->out), "{\"error\":\"no\"}\n");
	} else if (strcmp(r->target, "/v3/transports/") == 0 && !w->v3) {
		r->status = 404;
	} else if (strcmp(r->target, "/v3/transports/") == 0) {
		take_bare(w, r);
		w->posts++;
	} else if (strcmp(r->target, "/transports/") == 0) {
		take_signed(w, r);
		w->posts++;
	} else if (strncmp(r->target, "/transports/id:", 15) == 0) {
		assert_string_equal(r->method, "DELETE");
		take_away(w, r);
	} else {
		assert_int_equal(strncmp(r->target, "/transports/edge:", 17), 0);
		w->compares++;
		list(w, r);
	}
	w->nonce += r->status == 200;
}

static void run(struct world *w, int64_t ms)
{
	fake_net_run(&w->us, ms);
}

static void configure(struct world *w, bool there)
{
	fake_net_service(&w->us, "transport_discovery", there ? &w->service : NULL);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	fake_net_init(&w->us, serve, w);
	fake_net_key(&w->us, NULL, &w->service);
	fake_net_key(&w->us, &w->peer_sk, &w->peer);
	configure(w, true);
	*state = w;
	return 0;
}

static struct net_transport transport(struct world *w, const char *type, bool dialled)
{
	struct net_transport t = {.remote = w->peer, .type = type, .dialled = dialled};
	struct sg_signed_entry e = {0};

	assert_int_equal(sg_entry_make(&w->us.conf.pk, &w->peer, type, &e.entry), 0);
	assert_int_equal(sg_entry_sign(w->us.crypto, &w->peer_sk, NULL, &e), 0);
	if (!dialled)
		t.remote_sig = e.sigs[sg_pk_equal(&e.entry.edges[0], &w->peer) ? 0 : 1];
	return t;
}

static void as_in_2024(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false), out = transport(w, "dmsg", true);

	net_transport_up(w->us.net, &in);
	net_transport_up(w->us.net, &out);
	run(w, 1000);
	assert_int_equal(w->n, 1);
	assert_string_equal(w->stored[0].type, "stcpr");
	run(w, 200000);
	assert_int_equal(w->posts, 1);
	/* Either end deletes, and it does not matter that the other was faster. */
	net_transport_down(w->us.net, &out);
	net_transport_down(w->us.net, &in);
	run(w, 1000);
	assert_int_equal(w->n, 0);
	assert_int_equal(w->deletes, 2);
	run(w, 100000);
	assert_int_equal(w->deletes, 2);
}

static void as_today(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false), out = transport(w, "dmsg", true);

	w->v3 = true;
	net_transport_up(w->us.net, &in);
	net_transport_up(w->us.net, &out);
	run(w, 1000);
	assert_int_equal(w->n, 2);
	assert_int_equal(w->posts, 1);
	/* Ten minutes: six or seven times again. It forgets: right within two minutes. */
	run(w, 600000);
	assert_in_range(w->posts, 6, 9);
	w->n = 0;
	run(w, 120000);
	assert_int_equal(w->n, 2);
	net_transport_down(w->us.net, &out);
	run(w, 120000);
	assert_int_equal(w->n, 1);
	assert_string_equal(w->stored[0].type, "stcpr");
}

/* Down and up again within one request: what counts is how it ends. */
static void up_and_down(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false);

	net_transport_up(w->us.net, &in);
	run(w, 1000);
	net_transport_down(w->us.net, &in);
	net_transport_up(w->us.net, &in);
	run(w, 1000);
	assert_int_equal(w->n, 1);
	net_transport_down(w->us.net, &in);
	fake_clock_add_ms(&w->us.clock, 150);
	sg_loop_step(w->us.loop, 0);
	net_transport_up(w->us.net, &in);
	run(w, 2000);
	assert_int_equal(w->n, 1);
	net_transport_up(w->us.net, &in);
	net_transport_down(w->us.net, &in);
	run(w, 2000);
	assert_int_equal(w->n, 0);
}

static void compared(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false);
	struct sg_entry old;

	/* One of a former life; one that the discovery lost. */
	assert_int_equal(sg_entry_make(&w->us.conf.pk, &w->peer, "stcp", &old), 0);
	put(w, &old);
	net_transport_up(w->us.net, &in);
	run(w, 1000);
	assert_int_equal(w->n, 2);
	memset(w->stored, 0, sizeof(w->stored));
	w->n = 0;
	put(w, &old);
	/* Nobody's to take away: an id that is not that of its edges. */
	old.id.b[0] ^= 1;
	put(w, &old);
	run(w, 345000);
	assert_in_range(w->compares, 1, 2);
	assert_int_equal(w->n, 2);
	assert_string_equal(w->stored[0].type, "stcpr");
	assert_int_equal(w->deletes, 1);
}

static void a_dead_discovery_is_not_pestered(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false), out = transport(w, "dmsg", true);

	w->us.web.dead = true;
	net_transport_up(w->us.net, &in);
	net_transport_up(w->us.net, &out);
	run(w, 300000);
	net_transport_down(w->us.net, &out);
	run(w, 300000);
	assert_int_equal(w->us.web.requests, 0);
	w->us.web.dead = false;
	run(w, 70000);
	assert_int_equal(w->n, 1);
	/* One that refuses what we say is asked again only with the comparison. */
	net_transport_down(w->us.net, &in);
	run(w, 1000);
	w->fail = 403;
	net_transport_up(w->us.net, &in);
	w->us.web.requests = 0;
	run(w, 50000);
	assert_in_range(w->us.web.requests, 1, 4);
}

/* A thousand deletions that nobody hears keep no new transport from its place. */
static void away_for_long(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false), gone = {.type = "stcpr"};

	w->v3 = true;
	w->us.web.dead = true;
	gone.remote.b[0] = 2;
	for (unsigned i = 1; i < 2500; i++) {
		gone.remote.b[1] = (uint8_t)(i >> 8);
		gone.remote.b[2] = (uint8_t)i;
		net_transport_up(w->us.net, &gone);
		net_transport_down(w->us.net, &gone);
	}
	net_transport_up(w->us.net, &in);
	run(w, 1000);
	w->us.web.dead = false;
	run(w, 4000);
	assert_int_equal(w->n, 1);
	assert_true(w->deletes < 100);
}

static void on_left(void *arg)
{
	struct world *w = arg;

	w->left = true;
}

/* Who ended while the discovery answered with errors left its transports there: it was taken for a service that is away. */
static void deleted_though_it_failed_before(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false), out = transport(w, "dmsg", false);

	net_transport_up(w->us.net, &in);
	net_transport_up(w->us.net, &out);
	run(w, 1000);
	assert_int_equal(w->n, 2);
	/* So often that the next attempt is far away. */
	w->fail = 500;
	net_transport_down(w->us.net, &out);
	run(w, 100000);
	w->fail = 0;
	net_leave(w->us.net, on_left, w);
	run(w, 500);
	assert_int_equal(w->n, 0);
	assert_true(w->left);
}

static void the_end_does_not_wait_for_who_is_away(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false), out = transport(w, "dmsg", false);

	net_transport_up(w->us.net, &in);
	net_transport_up(w->us.net, &out);
	run(w, 1000);
	w->us.web.dead = true;
	net_transport_down(w->us.net, &out);
	run(w, 1000);
	net_leave(w->us.net, on_left, w);
	run(w, 500);
	assert_true(w->left);
}

static void without_a_discovery(void **state)
{
	struct world *w = *state;
	struct net_transport in = transport(w, "stcpr", false);

	configure(w, false);
	net_transport_up(w->us.net, &in);
	run(w, 10000);
	assert_int_equal(w->us.web.requests, 0);
	configure(w, true);
	run(w, 1000);
	assert_int_equal(w->n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(as_in_2024, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(as_today, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(up_and_down, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(compared, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(a_dead_discovery_is_not_pestered, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(away_for_long, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(deleted_though_it_failed_before, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(the_end_does_not_wait_for_who_is_away, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(without_a_discovery, setup, fake_net_teardown),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("transports", tests, NULL, NULL);
}
