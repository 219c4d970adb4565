/* Paths from the route finder: what is asked, what is taken of an answer, what becomes of each failure. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/net.h"
#include "wire/tpid.h"
#include <jansson.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEYS 4 /* a, middle, middle, b */

struct world {
	struct fake_net us; /* first */
	struct sg_pk pk[KEYS], service;
	char text[KEYS][SG_PK_TEXT];
	int status;
	const char *unknown; /* 404 for questions that hold this */
	char body[16384], asked[2000];
	size_t answers;
	int err;
	struct sg_paths paths;
	char why[400];
};

static void serve(void *arg, struct web_request *r)
{
	struct world *w = arg;

	assert_true(sg_pk_equal(r->service, &w->service));
	assert_string_equal(r->method, "POST");
	assert_string_equal(r->target, "/routes");
	assert_null(sg_http_header(r->msg, "SW-Sig"));
	assert_string_equal(sg_http_header(r->msg, "Content-Type"), "application/json");
	snprintf(w->asked, sizeof(w->asked), "%.*s", (int)r->body.len, (const char *)r->body.p);
	r->status = w->unknown && strstr(w->asked, w->unknown) ? 404 : w->status;
	snprintf(r->out, sizeof(r->out), "%s", w->body);
}

static void run(struct world *w, int64_t ms)
{
	fake_net_run(&w->us, ms);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char pk[SG_PK_TEXT];

	fake_net_init(&w->us, serve, w);
	for (size_t i = 0; i < KEYS; i++) {
		fake_net_key(&w->us, NULL, &w->pk[i]);
		sg_pk_str(&w->pk[i], w->text[i]);
	}
	fake_net_key(&w->us, NULL, &w->service);
	fake_net_configure(&w->us, "\toption route_finder 'dmsg://%s:80'\n\tlist setup_node '%s'\n",
		sg_pk_str(&w->service, pk), w->text[1]);
	*state = w;
	return 0;
}

static void answered(void *arg, int err, const struct sg_paths *paths, const char *why)
{
	struct world *w = arg;

	w->answers++;
	w->err = err;
	if (paths)
		w->paths = *paths;
	snprintf(w->why, sizeof(w->why), "%s", why);
}

static struct net_routes_query *ask_hops(struct world *w, uint16_t min_hops)
{
	struct net_routes_ask a = {.src = w->pk[0], .dst = w->pk[3], .min_hops = min_hops, .max_hops = 8};
	struct net_routes_query *q;

	assert_int_equal(net_routes(w->us.net, &a, answered, w, &q), 0);
	return q;
}

static struct net_routes_query *ask(struct world *w)
{
	return ask_hops(w, 1);
}

/* A path as text, by the numbers of its visors. */
static void path(struct world *w, struct sg_text *t, const char *visors)
{
	sg_text_add(t, "[");
	for (size_t i = 0; visors[i + 1]; i++) {
		const char *a = w->text[visors[i] - '0'], *b = w->text[visors[i + 1] - '0'];
		struct sg_tpid id;
		char tp[SG_TPID_TEXT];

		sg_tpid_make(&w->pk[visors[i] - '0'], &w->pk[visors[i + 1] - '0'], "stcpr", &id);
		sg_text_addf(t, "%s{\"TpID\":\"%s\",\"From\":\"%s\",\"To\":\"%s\"}", i ? "," : "", sg_tpid_str(&id, tp),
			a, b);
	}
	sg_text_add(t, "]");
}

/* Lists of paths, separated by spaces. */
static void answer(struct world *w, const char *const *forward, const char *const *reverse)
{
	struct sg_text t = sg_text(w->body, sizeof(w->body));

	sg_text_addf(&t, "{\"%s:%s\":[", w->text[0], w->text[3]);
	for (size_t i = 0; forward[i]; i++) {
		sg_text_add(&t, i ? "," : "");
		path(w, &t, forward[i]);
	}
	sg_text_addf(&t, "],\"%s:%s\":[", w->text[3], w->text[0]);
	for (size_t i = 0; reverse[i]; i++) {
		sg_text_add(&t, i ? "," : "");
		path(w, &t, reverse[i]);
	}
	sg_text_add(&t, "]}");
	assert_false(t.err);
	w->status = 200;
}

static void paths_both_ways(void **state)
{
	struct world *w = *state;
	char want[600];
	size_t n;

	answer(w, (const char *[]){"013", "0123", NULL}, (const char *[]){"310", NULL});
	ask(w);
	assert_int_equal(w->answers, 0);
	run(w, 500);
	assert_int_equal(w->answers, 1);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->paths.n_forward, 2);
	assert_int_equal(w->paths.forward[0].n, 2);
	assert_int_equal(w->paths.forward[1].n, 3);
	assert_int_equal(w->paths.n_reverse, 1);
	assert_true(sg_pk_equal(&w->paths.forward[0].hops[1].to, &w->pk[3]));
	snprintf(want, sizeof(want), "{\"Edges\":[\"%s:%s\",\"%s:%s\"],\"Opts\":{\"MinHops\":1,\"MaxHops\":8}}",
		w->text[0], w->text[3], w->text[3], w->text[0]);
	assert_string_equal(w->asked, want);
	assert_true(sg_pk_equal(net_setup_nodes(w->us.net, &n), &w->pk[1]));
	assert_int_equal(n, 1);
}

static void what_leads_nowhere_is_left_out(void **state)
{
	struct world *w = *state;

	/* not from us, not to there, a gap's neighbour, a loop */
	answer(w, (const char *[]){"123", "012", "01213", "0103", "03", NULL}, (const char *[]){"30", NULL});
	ask(w);
	run(w, 500);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->paths.n_forward, 1);
	assert_int_equal(w->paths.forward[0].n, 1);
	/* Nothing left in one direction is no route. */
	answer(w, (const char *[]){"03", NULL}, (const char *[]){"03", NULL});
	ask(w);
	run(w, 500);
	assert_int_equal(w->err, SG_ENOROUTE);
	snprintf(w->body, sizeof(w->body), "{}");
	ask(w);
	run(w, 500);
	assert_int_equal(w->err, SG_ENOROUTE);
	snprintf(w->body, sizeof(w->body), "[[]]");
	ask(w);
	run(w, 500);
	assert_int_equal(w->err, SG_EMALF);
}

/* Found beside a Go route finder: with three hops there and two back it says that it knows none of three. */
static void a_way_back_may_be_shorter(void **state)
{
	struct world *w = *state;

	answer(w, (const char *[]){"013", "0123", NULL}, (const char *[]){"310", NULL});
	w->unknown = "\"MinHops\":3";
	ask_hops(w, 3);
	run(w, 500);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->us.web.requests, 2);
	assert_int_equal(w->paths.n_forward, 1);
	assert_int_equal(w->paths.forward[0].n, 3);
	/* And where there is none: */
	answer(w, (const char *[]){"013", NULL}, (const char *[]){"310", NULL});
	ask_hops(w, 3);
	run(w, 500);
	assert_int_equal(w->err, SG_ENOROUTE);
	assert_non_null(strstr(w->why, "min_hops"));
	w->unknown = "MinHops";
	ask_hops(w, 3);
	run(w, 500);
	assert_int_equal(w->err, SG_ENOROUTE);
	assert_int_equal(w->us.web.requests, 6);
}

static void failures(void **state)
{
	struct world *w = *state;

	w->status = 404;
	snprintf(w->body, sizeof(w->body), "{\"error\":{\"message\":\"no route to destination\",\"code\":404}}");
	ask(w);
	run(w, 500);
	assert_int_equal(w->err, SG_ENOROUTE);
	assert_non_null(strstr(w->why, "no route to destination"));
	assert_int_equal(w->us.web.requests, 1);
	w->status = 500;
	ask(w);
	run(w, 3000);
	assert_int_equal(w->answers, 2);
	assert_int_equal(w->err, SG_EREFUSED);
	assert_in_range(w->us.web.requests, 3, 6);
	w->us.web.dead = true;
	ask(w);
	run(w, 3000);
	assert_int_equal(w->answers, 3);
	assert_true(w->err < 0 && w->why[0]);
	w->us.web.dead = false;
	w->status = 0;
	ask(w);
	run(w, 5000);
	assert_int_equal(w->answers, 4);
	assert_int_equal(w->err, -ETIMEDOUT);
	/* Given up in each state: nothing follows. */
	net_routes_cancel(ask(w));
	struct net_routes_query *q = ask(w);
	run(w, 300);
	net_routes_cancel(q);
	run(w, 5000);
	assert_int_equal(w->answers, 4);
}

static void the_last_answer_serves_meanwhile(void **state)
{
	struct world *w = *state;

	answer(w, (const char *[]){"013", NULL}, (const char *[]){"310", NULL});
	ask(w);
	run(w, 500);
	w->us.web.dead = true;
	memset(&w->paths, 0, sizeof(w->paths));
	ask(w);
	run(w, 500);
	assert_int_equal(w->answers, 2);
	assert_int_equal(w->err, 0);
	assert_int_equal(w->paths.n_forward, 1);
	w->us.web.dead = false;
	w->status = 404;
	ask(w);
	run(w, 500);
	w->us.web.dead = true;
	ask(w);
	run(w, 4000);
	assert_int_equal(w->answers, 4);
	assert_true(w->err < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(paths_both_ways, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(what_leads_nowhere_is_left_out, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(a_way_back_may_be_shorter, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(failures, setup, fake_net_teardown),
		cmocka_unit_test_setup_teardown(the_last_answer_serves_meanwhile, setup, fake_net_teardown),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	return cmocka_run_group_tests_name("routes", tests, NULL, NULL);
}
