/* The service discovery and the uptime tracker: what ours registers, and what it makes of others' entries. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/net.h"
#include "loop/worker.h"
#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct world {
	struct fake_net us; /* first */
	struct sg_pk sd, ut;
	uint64_t nonce[2];
	int status;
	int refusal; /* of deletions, for the first @refusals of them */
	size_t refusals;
	size_t posts, deletes, updates, answers, n;
	char body[3000], target[300], list[8000], why[300];
	int err;
	bool left;
	size_t deletes_then; /* when it had left */
	struct sg_offer first;
};

static void serve(void *arg, struct web_request *r)
{
	struct world *w = arg;
	uint64_t *nonce = &w->nonce[sg_pk_equal(r->service, &w->ut)], got;
	struct sg_pk who;

	if (web_nonce(r, *nonce))
		return;
	r->status = w->status;
	snprintf(w->target, sizeof(w->target), "%s", r->target);
	if (strncmp(r->target, "/api/services?", 14) == 0) {
		snprintf(r->out, sizeof(r->out), "%s", w->list);
		return;
	}
	assert_int_equal(web_signed(r, w->us.crypto, &who, &got), 0);
	assert_int_equal(got, *nonce);
	if (strcmp(r->method, "DELETE") == 0 && w->deletes < w->refusals)
		r->status = w->refusal;
	*nonce += r->status == 200;
	if (sg_pk_equal(r->service, &w->ut)) {
		w->updates++;
	} else if (strcmp(r->method, "POST") == 0) {
		assert_string_equal(r->target, "/api/services");
		w->posts++;
		snprintf(w->body, sizeof(w->body), "%.*s", (int)r->body.len, (const char *)r->body.p);
	} else {
		assert_string_equal(r->method, "DELETE");
		w->deletes++;
	}
}

static void run(struct world *w, int64_t ms)
{
	fake_net_run(&w->us, ms);
}

static void configure(struct world *w, bool uptime)
{
	char sd[SG_PK_TEXT], option[200] = "", pk[SG_PK_TEXT];

	if (uptime)
		snprintf(option, sizeof(option), "\toption uptime_tracker 'dmsg://%s:80'\n", sg_pk_str(&w->ut, pk));
	fake_net_configure(&w->us, "\toption public_ip '198.51.100.7'\n\toption service_discovery 'dmsg://%s:80'\n%s",
		sg_pk_str(&w->sd, sd), option);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	fake_net_init(&w->us, serve, w);
	fake_net_key(&w->us, NULL, &w->sd);
	fake_net_key(&w->us, NULL, &w->ut);
	w->status = 200;
	configure(w, false);
	*state = w;
	return 0;
}

static void listed_and_taken_back(void **state)
{
	struct world *w = *state;
	char want[400], pk[SG_PK_TEXT];

	assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
	run(w, 1000);
	assert_int_equal(w->posts, 1);
	snprintf(want, sizeof(want), "{\"address\":\"%s:44\",\"type\":\"vpn\",\"version\":\"skygate-" SG_VERSION "\"}",
		sg_pk_str(&w->us.conf.pk, pk));
	assert_string_equal(w->body, want);
	run(w, 400000);
	assert_in_range(w->posts, 4, 6);
	w->posts = 0;
	assert_int_equal(net_offer(w->us.net, "vpn", 0), 0);
	run(w, 400000);
	assert_int_equal(w->deletes, 1);
	assert_int_equal(w->posts, 0);
	snprintf(want, sizeof(want), "/api/services/%s:44?type=vpn", pk);
	assert_string_equal(w->target, want);
	assert_int_equal(net_offer(w->us.net, "visor", 7777), 0);
	run(w, 1000);
	assert_non_null(strstr(w->body, ":7777\",\"type\":\"visor\""));
	assert_non_null(strstr(w->body, "\"local_ips\":[\"198.51.100.7\""));
	assert_int_equal(net_offer(w->us.net, "skychat", 1), -ENOTSUP);
}

static void a_refusal_is_not_repeated_fast(void **state)
{
	struct world *w = *state;

	w->status = 403;
	assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
	run(w, 300000);
	assert_in_range(w->posts, 6, 14);
	w->status = 200;
	run(w, 70000);
	w->posts = 0;
	run(w, 100000);
	assert_in_range(w->posts, 1, 2);
}

static void uptime(void **state)
{
	struct world *w = *state;

	run(w, 600000);
	assert_int_equal(w->updates, 0);
	configure(w, true);
	run(w, 1000);
	assert_int_equal(w->updates, 1);
	assert_string_equal(w->target, "/v4/update?version=skygate-" SG_VERSION);
	run(w, 900000);
	assert_in_range(w->updates, 3, 5);
	configure(w, false);
	w->updates = 0;
	run(w, 900000);
	assert_int_equal(w->updates, 0);
}

static void found(void *arg, int err, const struct sg_offer *offers, size_t n, const char *why)
{
	struct world *w = arg;

	w->answers++;
	w->err = err;
	w->n = n;
	if (n)
		w->first = offers[0];
	snprintf(w->why, sizeof(w->why), "%s", why);
}

static void ask_for(struct world *w, const struct net_offers_ask *ask)
{
	w->answers = 0;
	assert_int_equal(net_offers(w->us.net, ask, found, w, NULL), 0);
	run(w, 500);
	for (int i = 0; i < 10000 && !w->answers; i++)
		sg_loop_step(w->us.loop, 1);
	assert_int_equal(w->answers, 1);
}

static void find(struct world *w, const char *country, bool remembered)
{
	struct net_offers_ask ask = {.type = "vpn", .country = country, .version = "", .remembered = remembered};

	ask_for(w, &ask);
}

/* As the first of a page, and as what is behind the last one. */
static void parts_of_a_list(void **state)
{
	static const struct {
		size_t from, most, n;
	} cases[] = {{0, 0, 5}, {0, 2, 2}, {1, 2, 2}, {4, 2, 1}, {5, 2, 0}, {SIZE_MAX, 1, 0}, {3, SIZE_MAX, 2}};
	struct world *w = *state;
	struct sg_pk pks[5];
	char pk[SG_PK_TEXT];
	size_t len = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(pks); i++) {
		fake_net_key(&w->us, NULL, &pks[i]);
		len += (size_t)snprintf(w->list + len, sizeof(w->list) - len, "%s{\"address\":\"%s:44\"}",
			i ? "," : "[", sg_pk_str(&pks[i], pk));
	}
	snprintf(w->list + len, sizeof(w->list) - len, "]");
	for (size_t i = 0; i < SG_ARRAY_LEN(cases); i++) {
		struct net_offers_ask ask = {
			.type = "vpn", .country = "", .version = "", .from = cases[i].from, .most = cases[i].most};

		ask_for(w, &ask);
		assert_int_equal(w->err, 0);
		assert_int_equal(w->n, cases[i].n);
		if (w->n)
			assert_true(sg_pk_equal(&w->first.pk, &pks[cases[i].from]));
	}
}

static void on_left(void *arg)
{
	struct world *w = arg;

	w->left = true;
	w->deletes_then = w->deletes;
}

/* Listed, and not again: refused, or nobody was there. It has us still. */
static void not_repeated(struct world *w, int status, bool dead)
{
	assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
	run(w, 1000);
	assert_int_equal(w->posts, 1);
	w->status = status;
	w->us.web.dead = dead;
	run(w, 110000);
	assert_true(dead || w->posts > 1);
	w->posts = 0;
}

/*
 * A visor that ended after a repetition failed, and before the next attempt, did not take itself back: others went on
 * finding it. Nor did it when the service was away and there again.
 */
static void taken_back_though_a_repetition_failed(void **state)
{
	struct world *w = *state;

	not_repeated(w, 403, false);
	w->status = 200;
	net_leave(w->us.net, on_left, w);
	run(w, 1000);
	assert_int_equal(w->posts, 0);
	assert_true(w->left);
	assert_int_equal(w->deletes_then, 1);
}

static void taken_back_from_a_service_that_was_away(void **state)
{
	struct world *w = *state;

	not_repeated(w, 200, true);
	w->us.web.dead = false;
	net_leave(w->us.net, on_left, w);
	run(w, 1000);
	assert_int_equal(w->posts, 0);
	assert_true(w->left);
	assert_int_equal(w->deletes_then, 1);
}

/*
 * A service that answered a deletion with anything but 200 was not asked again: others found the exit that had stopped until
 * its entry was too old.
 */
static void taken_back_though_it_was_refused(void **state)
{
	static const int status[] = {500, 403};
	struct world *w = *state;

	for (size_t i = 0; i < SG_ARRAY_LEN(status); i++) {
		w->refusal = status[i];
		w->refusals = 3;
		w->deletes = 0;
		assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
		run(w, 1000);
		assert_int_equal(net_offer(w->us.net, "vpn", 0), 0);
		run(w, 500);
		assert_int_equal(w->deletes, 1);
		run(w, 9000);
		assert_int_equal(w->deletes, 4);
		run(w, 300000);
		assert_int_equal(w->deletes, 4);
	}
}

/* Not for ever; and wanted again in between, it is listed and stays so. */
static void taking_back_has_an_end(void **state)
{
	struct world *w = *state;

	w->refusal = 403;
	w->refusals = 1000;
	assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
	run(w, 1000);
	assert_int_equal(net_offer(w->us.net, "vpn", 0), 0);
	run(w, 3000000);
	assert_int_equal(w->deletes, 8);
	w->posts = w->deletes = 0;
	assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
	run(w, 1000);
	assert_int_equal(net_offer(w->us.net, "vpn", 0), 0);
	run(w, 2000);
	assert_in_range(w->deletes, 1, 3);
	assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
	run(w, 1000);
	w->deletes = 0;
	run(w, 300000);
	assert_int_equal(w->deletes, 0);
	assert_in_range(w->posts, 4, 6);
}

/* Who ends has two seconds for it: asked once more within them, and not longer than until it is done. */
static void the_end_waits_for_another_answer(void **state)
{
	struct world *w = *state;

	w->refusal = 500;
	w->refusals = 1;
	assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
	run(w, 1000);
	net_leave(w->us.net, on_left, w);
	run(w, 500);
	assert_false(w->left);
	run(w, 1000);
	assert_true(w->left);
	assert_int_equal(w->deletes_then, 2);
}

/* What waits for its next turn is asked for at once when all ends. */
static void the_end_cuts_a_pause_short(void **state)
{
	struct world *w = *state;

	w->refusal = 500;
	w->refusals = 5;
	assert_int_equal(net_offer(w->us.net, "vpn", 44), 0);
	run(w, 1000);
	assert_int_equal(net_offer(w->us.net, "vpn", 0), 0);
	run(w, 20000);
	assert_int_equal(w->deletes, 5);
	net_leave(w->us.net, on_left, w);
	run(w, 500);
	assert_true(w->left);
	assert_int_equal(w->deletes_then, 6);
}

static void who_is_away_holds_up_no_end(void **state)
{
	struct world *w = *state;

	not_repeated(w, 200, true);
	net_leave(w->us.net, on_left, w);
	run(w, 500);
	assert_true(w->left);
}

static void what_others_offer(void **state)
{
	struct world *w = *state;
	struct net_offers_ask bad = {.type = "vpn", .country = "D&E", .version = ""};
	struct net_offers_query *q;
	char pk[SG_PK_TEXT];

	snprintf(w->list, sizeof(w->list),
		"[{\"address\":\"%s:44\",\"type\":\"vpn\",\"geo\":{\"lat\":1.5,\"country\":\"US\",\"region\":"
		"\"C\\u0007A\"},"
		"\"version\":\"v1.3.29\"},{\"address\":\"zz:44\"},7,{\"address\":\"%s:99999\"}]\n",
		sg_pk_str(&w->ut, pk), pk);
	find(w, "US", false);
	assert_string_equal(w->target, "/api/services?type=vpn&country=US");
	assert_int_equal(w->err, 0);
	assert_int_equal(w->n, 1);
	assert_true(sg_pk_equal(&w->first.pk, &w->ut));
	assert_string_equal(w->first.country, "US");
	assert_string_equal(w->first.region, ""); /* a control byte */
	assert_string_equal(w->first.version, "v1.3.29");
	assert_string_equal(w->why, "");
	/* The rest of a long list is not asked for again. */
	w->us.web.requests = 0;
	find(w, "US", true);
	assert_int_equal(w->n, 1);
	assert_int_equal(w->us.web.requests, 0);
	/* Dead: what it said last, and that it is late. */
	w->us.web.dead = true;
	find(w, "US", false);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->n, 1);
	assert_string_not_equal(w->why, "");
	find(w, "DE", false);
	assert_true(w->err < 0);
	w->us.web.dead = false;
	snprintf(w->list, sizeof(w->list), "null\n");
	find(w, "", false);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->n, 0);
	snprintf(w->list, sizeof(w->list), "{}\n");
	find(w, "", false);
	assert_int_equal(w->err, SG_EMALF);
	assert_int_equal(net_offers(w->us.net, &bad, found, w, NULL), SG_EMALF);
	bad.country = "";
	w->answers = 0;
	assert_int_equal(net_offers(w->us.net, &bad, found, w, &q), 0);
	net_offers_cancel(q);
	run(w, 500);
	assert_int_equal(w->answers, 0);
}

/* Before, while and after the worker reads the list; and the end of all while it does. */
static void a_question_is_called_off_in_any_step(void **state)
{
	struct world *w = *state;
	struct net_offers_ask ask = {.type = "vpn", .country = "", .version = ""};
	struct net_offers_query *q;
	char pk[SG_PK_TEXT];
	size_t len = 1;

	w->list[0] = '[';
	for (size_t i = 0; i < 40; i++)
		len += (size_t)snprintf(w->list + len, sizeof(w->list) - len, "%s{\"address\":\"%s:44\"}", i ? "," : "",
			sg_pk_str(&w->ut, pk));
	snprintf(w->list + len, sizeof(w->list) - len, "]");
	find(w, "", false);
	assert_int_equal(w->n, 40);
	for (int steps = 0; steps < 200; steps++) {
		w->answers = 0;
		ask.remembered = steps % 2;
		assert_int_equal(net_offers(w->us.net, &ask, found, w, &q), 0);
		for (int i = 0; i < steps && !w->answers; i++)
			sg_loop_step(w->us.loop, 0);
		if (!w->answers)
			net_offers_cancel(q);
	}
	w->answers = 0;
	run(w, 500);
	assert_int_equal(w->answers, 0);
	ask.remembered = true;
	assert_int_equal(net_offers(w->us.net, &ask, found, w, &q), 0);
	sg_loop_step(w->us.loop, 0);
}

static void how_services_stand(void **state)
{
	struct world *w = *state;
	json_t *list;

	find(w, "", false);
	list = fake_net_services(&w->us);
	assert_int_equal(json_array_size(list), 6);
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 4), "name")), "service discovery");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 4), "state")), "up");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 5), "state")), "none");
	json_decref(list);
}

static int setup_with_worker(void **state)
{
	int err = setup(state);
	struct world *w = *state;

	w->us.conf.worker = sg_worker_new(w->us.loop);
	fake_net_restart(&w->us);
	configure(w, false);
	return err || !w->us.conf.worker;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(listed_and_taken_back, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(a_refusal_is_not_repeated_fast, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(taken_back_though_a_repetition_failed, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(taken_back_from_a_service_that_was_away, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(taken_back_though_it_was_refused, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(taking_back_has_an_end, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(the_end_waits_for_another_answer, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(the_end_cuts_a_pause_short, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(who_is_away_holds_up_no_end, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(uptime, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(what_others_offer, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(what_others_offer, setup_with_worker, fake_net_teardown),
		cmocka_unit_test_setup_teardown(
			a_question_is_called_off_in_any_step, setup_with_worker, fake_net_teardown),
		cmocka_unit_test_setup_teardown(parts_of_a_list, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(parts_of_a_list, setup_with_worker, fake_net_teardown),
		cmocka_unit_test_setup_teardown(how_services_stand, setup, fake_net_teardown),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("offers", tests, NULL, NULL);
}
