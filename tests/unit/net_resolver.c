/*
 * Signed requests and the address resolver. The service behind the dmsg:// URL checks signatures and counts nonces as the
 * existing ones do: up by one for each answer of 200, refused with 401 otherwise.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/net.h"
#include "wire/resolver.h"
#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct world {
	struct fake_net us; /* first */
	struct sg_pk service, peer;
	uint64_t nonce;
	size_t nonces, refused, binds, unbinds, resolves;
	int status; /* of bind and resolve */
	int nonce_status;
	char bound[SG_BIND_MAX];
	const char *data; /* what resolve answers */
	size_t answers;
	int err;
	size_t n;
	struct sg_addr addrs[SG_VISOR_ADDRS_MAX];
	char why[300];
};

static bool is_signed(struct world *w, struct web_request *r)
{
	struct sg_pk who;
	uint64_t nonce;
	int err = web_signed(r, w->us.crypto, &who, &nonce);

	if (err == 0 && nonce == w->nonce) {
		assert_true(sg_pk_equal(&who, &w->us.conf.pk));
		return true;
	}
	w->refused++;
	r->status = 401;
	snprintf(r->out, sizeof(r->out), "{\"error\":{\"message\":\"SW-Nonce does not match\",\"code\":401}}\n");
	return false;
}

static void serve(void *arg, struct web_request *r)
{
	struct world *w = arg;
	char pk[SG_PK_TEXT], path[200];

	assert_true(sg_pk_equal(r->service, &w->service));
	snprintf(path, sizeof(path), "/security/nonces/%s", sg_pk_str(&w->us.conf.pk, pk));
	if (strcmp(r->target, path) == 0) {
		w->nonces++;
		r->status = w->nonce_status;
		snprintf(r->out, sizeof(r->out), "{\"edge\":\"%s\",\"next_nonce\":%d}\n", pk, (int)w->nonce);
		return;
	}
	if (!is_signed(w, r))
		return;
	r->status = w->status;
	if (strcmp(r->target, "/bind/stcpr") == 0 && strcmp(r->method, "POST") == 0) {
		w->binds++;
		snprintf(w->bound, sizeof(w->bound), "%.*s", (int)r->body.len, (const char *)r->body.p);
	} else if (strcmp(r->target, "/bind/stcpr") == 0) {
		assert_string_equal(r->method, "DELETE");
		assert_int_equal(r->body.len, 3);
		w->unbinds++;
	} else {
		snprintf(path, sizeof(path), "/resolve/stcpr/%s", sg_pk_str(&w->peer, pk));
		assert_string_equal(r->target, path);
		w->resolves++;
		if (r->status == 200)
			snprintf(r->out, sizeof(r->out), "%s", w->data);
	}
	w->nonce += r->status == 200;
}

static void run(struct world *w, int64_t ms)
{
	fake_net_run(&w->us, ms);
}

static void configure(struct world *w, const char *ip)
{
	char pk[SG_PK_TEXT];

	fake_net_configure(&w->us, "\toption address_resolver 'dmsg://%s:80'\n\toption public_ip '%s'\n",
		sg_pk_str(&w->service, pk), ip);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	fake_net_init(&w->us, serve, w);
	fake_net_key(&w->us, NULL, &w->service);
	fake_net_key(&w->us, NULL, &w->peer);
	w->status = w->nonce_status = 200;
	configure(w, "198.51.100.7");
	*state = w;
	return 0;
}

static void resolved(void *arg, int err, const struct sg_addr *addrs, size_t n, const char *why)
{
	struct world *w = arg;

	w->answers++;
	w->err = err;
	w->n = n;
	memcpy(w->addrs, addrs, n * sizeof(*addrs));
	snprintf(w->why, sizeof(w->why), "%s", why);
}

static void ask(struct world *w)
{
	assert_int_equal(net_resolve(w->us.net, w, "stcpr", &w->peer, resolved, w), 0);
}

static void bound_and_repeated(void **state)
{
	struct world *w = *state;

	assert_int_equal(net_bind(w->us.net, "stcpr", 7777), 0);
	run(w, 1000);
	assert_int_equal(w->binds, 1);
	assert_non_null(strstr(w->bound, "{\"port\":\"7777\",\"addresses\":["));
	assert_non_null(strstr(w->bound, "\"198.51.100.7\"],\"public_ip\":\"198.51.100.7\"}\n"));
	run(w, 400000);
	assert_in_range(w->binds, 4, 6);
	assert_int_equal(w->nonces, 1);
	assert_int_equal(w->refused, 0);
	/* The resolver forgot everything: one refusal, then right. */
	w->nonce = 0;
	run(w, 110000);
	assert_int_equal(w->refused, 1);
	assert_int_equal(w->nonces, 2);
	assert_true(w->nonce > 0);
	assert_int_equal(net_bind(w->us.net, "stcpr", 0), 0);
	run(w, 1000);
	assert_int_equal(w->unbinds, 1);
	w->binds = 0;
	run(w, 400000);
	assert_int_equal(w->binds, 0);
	assert_int_equal(w->unbinds, 1);
}

static void a_dead_resolver_is_not_pestered(void **state)
{
	struct world *w = *state;

	w->us.web.dead = true;
	assert_int_equal(net_bind(w->us.net, "stcpr", 7777), 0);
	run(w, 600000);
	assert_int_equal(w->binds, 0);
	w->us.web.dead = false;
	run(w, 70000);
	assert_int_equal(w->binds, 1);
	/* One that answers with errors is not pestered either. */
	w->status = 500;
	run(w, 600000);
	assert_in_range(w->binds, 8, 24);
	w->status = 200;
	w->binds = 0;
	run(w, 70000);
	assert_int_equal(w->binds, 1);
}

static void bound_again_elsewhere(void **state)
{
	struct world *w = *state;

	assert_int_equal(net_bind(w->us.net, "stcpr", 7777), 0);
	run(w, 1000);
	configure(w, "198.51.100.9");
	run(w, 1000);
	assert_int_equal(w->binds, 2);
	assert_non_null(strstr(w->bound, "198.51.100.9"));
	configure(w, "198.51.100.9");
	run(w, 1000);
	assert_int_equal(w->binds, 2);
	/* Not given any more: not told any more. */
	configure(w, "");
	run(w, 1000);
	assert_int_equal(w->binds, 3);
	assert_null(strstr(w->bound, "198.51.100.9"));
	assert_int_equal(net_bind(w->us.net, "sudph", 1), -ENOTSUP);
}

static void signed_requests_wait_for_their_turn(void **state)
{
	struct world *w = *state;

	w->data = "{\"remote_addr\":\"203.0.113.5\",\"port\":\"5555\",\"addresses\":[\"127.0.0.1\",\"10.0.0.2\"]}";
	for (int i = 0; i < 20; i++)
		ask(w);
	assert_int_equal(w->answers, 0);
	run(w, 3000);
	assert_int_equal(w->answers, 20);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->resolves, 20);
	assert_int_equal(w->refused, 0);
	assert_int_equal(w->nonces, 1);
	assert_int_equal(w->us.web.open_max, 1);
	assert_int_equal(w->n, 1);
	assert_int_equal(sg_addr_port(&w->addrs[0]), 5555);
	/* Given up half way: the number is read again, nothing follows. */
	w->status = 0;
	ask(w);
	run(w, 300);
	assert_int_equal(net_resolve_cancel(w->us.net, w, false, w), 1);
	w->status = 200;
	ask(w);
	run(w, 2000);
	assert_int_equal(w->answers, 21);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->nonces, 2);
}

static void the_last_answer_stays_good(void **state)
{
	struct world *w = *state;

	w->data = "{\"remote_addr\":\"203.0.113.5:6000\",\"port\":\"5555\",\"addresses\":null}";
	ask(w);
	run(w, 1000);
	assert_int_equal(w->err, 0);
	assert_int_equal(sg_addr_port(&w->addrs[0]), 6000);
	w->us.web.dead = true;
	ask(w);
	run(w, 1000);
	assert_int_equal(w->answers, 2);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->n, 1);
	w->us.web.dead = false;
	w->status = 404;
	ask(w);
	run(w, 1000);
	assert_int_equal(w->err, -ENOENT);
	w->status = 500;
	ask(w);
	run(w, 1000);
	assert_true(w->err < 0 && w->why[0]);
	assert_int_equal(w->answers, 4);
	/* That it gives no nonce, or that something else answers, says nothing of the key. */
	w->status = 200;
	ask(w);
	run(w, 1000);
	w->status = 500;
	ask(w);
	run(w, 1000);
	assert_int_equal(w->err, 0);
	w->nonce_status = 404;
	ask(w);
	run(w, 1000);
	assert_int_equal(w->err, 0);
	w->nonce_status = w->status = 200;
	w->data = "<html>sign in first</html>";
	ask(w);
	run(w, 1000);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->n, 1);
	assert_int_equal(w->answers, 8);
	w->status = 404;
	ask(w);
	run(w, 1000);
	/* No answer at all ends too. */
	w->status = 0;
	ask(w);
	run(w, 11000);
	assert_int_equal(w->answers, 10);
	assert_int_equal(w->err, -ETIMEDOUT);
}

/* What one network said is not taken for what another one would say, also when it answers late. */
static void another_resolver_another_memory(void **state)
{
	struct world *w = *state;
	struct sg_pk first = w->service;
	struct sg_sk sk;

	w->data = "{\"remote_addr\":\"203.0.113.5:6000\",\"port\":\"5555\",\"addresses\":null}";
	ask(w);
	run(w, 1000);
	assert_int_equal(w->err, 0);
	w->status = 0;
	ask(w);
	run(w, 300);
	sg_sk_generate(w->us.crypto, &sk);
	assert_int_equal(sg_pk_of(w->us.crypto, &sk, &w->service), 0);
	configure(w, "198.51.100.7");
	w->us.web.dead = true;
	run(w, 11000);
	assert_int_equal(w->answers, 2);
	ask(w);
	run(w, 1000);
	assert_int_equal(w->answers, 3);
	assert_true(w->err < 0);
	w->service = first;
	configure(w, "198.51.100.7");
	ask(w);
	run(w, 1000);
	assert_int_equal(w->answers, 4);
	assert_int_equal(w->err, 0);
}

static size_t addrs_of(const char *json, const char *own, struct sg_addr out[SG_VISOR_ADDRS_MAX])
{
	struct sg_visor_data v;

	if (sg_visor_data_decode((struct sg_view){(const uint8_t *)json, strlen(json)}, &v) < 0)
		return 99;
	return sg_visor_addrs(&v, own, out);
}

static void what_to_dial(void **state)
{
	static const char near[] = "{\"remote_addr\":\"203.0.113.5\",\"is_local\":true,\"port\":\"5\",\"addresses\":"
				   "[\"127.0.0.1\",\"10.0.0.2\",\"fe80::1\",\"::1\",\"zz\",7,\"10.0.0.2\"]}";
	struct sg_addr a[SG_VISOR_ADDRS_MAX];
	char text[SG_ADDR_TEXT];

	(void)state;
	assert_int_equal(addrs_of(near, "", a), 2);
	assert_string_equal(sg_addr_str(&a[0], text), "10.0.0.2:5");
	assert_string_equal(sg_addr_str(&a[1], text), "203.0.113.5:5");
	assert_int_equal(addrs_of("{\"remote_addr\":\"203.0.113.5\",\"port\":\"5\",\"addresses\":[\"10.0.0.2\"]}",
				 "203.0.113.5", a),
		2);
	assert_int_equal(addrs_of("{\"remote_addr\":\"203.0.113.5\",\"port\":\"5\",\"addresses\":[\"10.0.0.2\"]}",
				 "203.0.113.50", a),
		1);
	assert_int_equal(addrs_of("{\"remote_addr\":\"2001:db8::1\",\"port\":\"5\"}", "", a), 1);
	assert_string_equal(sg_addr_str(&a[0], text), "[2001:db8::1]:5");
	assert_int_equal(addrs_of("{\"remote_addr\":\"127.0.0.1\",\"port\":\"5\"}", "", a), 0);
	assert_int_equal(addrs_of("{\"remote_addr\":\"::ffff:127.0.0.1\",\"port\":\"5\"}", "", a), 0);
	assert_int_equal(addrs_of("{\"remote_addr\":\"[::ffff:127.0.0.1]:80\",\"port\":\"5\"}", "", a), 0);
	assert_int_equal(addrs_of("{\"remote_addr\":\"169.254.169.254\",\"port\":\"80\"}", "", a), 0);
	assert_int_equal(addrs_of("{\"remote_addr\":\"203.0.113.5\",\"port\":\"0\"}", "", a), 0);
	assert_int_equal(addrs_of("{\"remote_addr\":\"203.0.113.5\",\"port\":\"70000\"}", "", a), 99);
	assert_int_equal(addrs_of("[]", "", a), 99);
	assert_int_equal(addrs_of("", "", a), 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bound_and_repeated, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(a_dead_resolver_is_not_pestered, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(bound_again_elsewhere, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(signed_requests_wait_for_their_turn, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(the_last_answer_stays_good, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(another_resolver_another_memory, setup, fake_net_teardown),
		cmocka_unit_test(what_to_dial),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("resolver", tests, NULL, NULL);
}
