/*
 * Directory services with the n-th allocation failing: bound, registered, listed, asked. Whatever fails is told or done
 * later; nothing is lost, nothing stays behind.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "fake/alloc.h"
#include "fake/clock.h"
#include "fake/web.h"
#include "net/net.h"
#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct world {
	struct fake_clock clock;
	struct sg_crypto *c;
	struct sg_net_conf conf;
	struct sg_pk service, peer;
	struct sg_sk peer_sk;
	struct sg_uci *doc;
	char pk[SG_PK_TEXT];
	size_t bound, registered, listed, answers, good;
};

static void paths(struct world *w, struct web_request *r)
{
	char a[SG_PK_TEXT], b[SG_PK_TEXT];
	const char *id = "4c6fd8e8-86c8-08db-b4d9-47e980b19da0";

	sg_pk_str(&w->conf.pk, a);
	sg_pk_str(&w->peer, b);
	snprintf(r->out, sizeof(r->out),
		"{\"%s:%s\":[[{\"TpID\":\"%s\",\"From\":\"%s\",\"To\":\"%s\"}]],"
		"\"%s:%s\":[[{\"TpID\":\"%s\",\"From\":\"%s\",\"To\":\"%s\"}]]}",
		a, b, id, a, b, b, a, id, b, a);
}

static void serve(void *arg, struct web_request *r)
{
	struct world *w = arg;

	r->status = 200;
	if (strncmp(r->target, "/security/nonces/", 17) == 0)
		snprintf(r->out, sizeof(r->out), "{\"next_nonce\":1}");
	else if (strcmp(r->target, "/bind/stcpr") == 0)
		w->bound++;
	else if (strcmp(r->target, "/v3/transports/") == 0)
		w->registered++;
	else if (strcmp(r->target, "/api/services") == 0)
		w->listed++;
	else if (strcmp(r->target, "/routes") == 0)
		paths(w, r);
	else if (strncmp(r->target, "/resolve/", 9) == 0)
		snprintf(r->out, sizeof(r->out), "{\"remote_addr\":\"203.0.113.5\",\"port\":\"5\"}");
	else
		snprintf(r->out, sizeof(r->out), "[]");
}

static void answered(struct world *w, int err)
{
	w->answers++;
	w->good += err == 0;
}

static void on_addrs(void *arg, int err, const struct sg_addr *addrs, size_t n, const char *why)
{
	(void)addrs;
	(void)n;
	(void)why;
	answered(arg, err);
}

static void on_paths(void *arg, int err, const struct sg_paths *p, const char *why)
{
	(void)p;
	(void)why;
	answered(arg, err);
}

static void on_offers(void *arg, int err, const struct sg_offer *o, size_t n, const char *why)
{
	(void)o;
	(void)n;
	(void)why;
	answered(arg, err);
}

/* How many of the questions were taken: each of those must be answered. */
static size_t ask(struct world *w, struct sg_net *net)
{
	struct net_routes_ask routes = {.src = w->conf.pk, .dst = w->peer, .min_hops = 1, .max_hops = 4};
	struct net_offers_ask offers = {.type = "vpn", .version = "", .country = ""};
	size_t asked = 0;

	asked += net_resolve(net, w, "stcpr", &w->peer, on_addrs, w) == 0;
	asked += net_routes(net, &routes, on_paths, w, NULL) == 0;
	asked += net_offers(net, &offers, on_offers, w, NULL) == 0;
	return asked;
}

static bool live(void *arg)
{
	struct world *w = arg;
	struct net_transport t = {.remote = w->peer, .type = "stcpr"};
	struct sg_loop *loop = w->conf.loop;
	struct store_space keys = {.owner = w, .name = "net"};
	struct web web;
	struct sg_net *net = NULL;
	size_t asked = 0;
	bool done = false;

	w->bound = w->registered = w->listed = w->answers = w->good = 0;
	keys.store = store_new(loop, store_wall_s);
	w->conf.keys = &keys;
	if (keys.store)
		net = net_new(&w->conf);
	if (net) {
		web_init(&web, loop, serve, w);
		net_network_set(net, "dmsg", &web_ops, &web);
		net_configure(net, w->doc);
		(void)net_bind(net, "stcpr", 7777);
		(void)net_offer(net, "vpn", 44);
		net_transport_up(net, &t);
		asked = ask(w, net);
		for (int i = 0; i < 150; i++) {
			fake_clock_add_ms(&w->clock, 100);
			for (int k = 0; k < 10; k++)
				sg_loop_step(loop, 0);
		}
		assert_int_equal(w->answers, asked);
		done = w->good == 3 && w->bound && w->registered && w->listed;
		net_network_set(net, "dmsg", NULL, NULL);
		net_free(net);
		web_fini(&web);
	}
	store_free(keys.store);
	return done;
}

static void registration(void **state)
{
	struct world *w = *state;

	/* The loop's own room has grown before the first failure. */
	assert_true(live(w));
	assert_true(fake_alloc_each("registration", live, w) > 40);
}

static int setup(void **state)
{
	static const char *const names[] = {
		"address_resolver", "transport_discovery", "route_finder", "service_discovery"};
	struct world *w = calloc(1, sizeof(*w));
	char text[1000];
	struct sg_text t = sg_text(text, sizeof(text));
	struct sg_sk sk;

	fake_clock_init(&w->clock);
	w->conf.loop = sg_loop_new(&w->clock.base);
	w->c = sg_crypto_new(sg_random_system());
	w->conf.crypto = w->c;
	sg_sk_generate(w->c, &w->conf.sk);
	assert_int_equal(sg_pk_of(w->c, &w->conf.sk, &w->conf.pk), 0);
	sg_sk_generate(w->c, &sk);
	assert_int_equal(sg_pk_of(w->c, &sk, &w->service), 0);
	sg_sk_generate(w->c, &w->peer_sk);
	assert_int_equal(sg_pk_of(w->c, &w->peer_sk, &w->peer), 0);
	sg_text_add(&t, "config deployment\n");
	for (size_t i = 0; i < SG_ARRAY_LEN(names); i++)
		sg_text_addf(&t, "\toption %s 'dmsg://%s:80'\n", names[i], sg_pk_str(&w->service, w->pk));
	assert_int_equal(sg_uci_parse(text, t.len, "conf", NULL, NULL, &w->doc), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	sg_uci_free(w->doc);
	sg_crypto_free(w->c);
	sg_loop_free(w->conf.loop);
	free(w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(registration, setup, teardown)};

	sg_log_set_level(NULL, "error");
	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("net, memory", tests, NULL, NULL);
}
