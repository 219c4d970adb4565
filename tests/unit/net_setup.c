/*
 * Route setup between visors of ours on a dmsg that is played (fake/mesh.h): neighbours that give one another rules, setup nodes that
 * answer, refuse or say nothing, and what nobody but a setup node may do on port 136.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/alloc.h"
#include "fake/end.h"
#include "fake/mesh.h"
#include "wire/rpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define APP_PORT 44

/* ---- dialling ---- */

static void dial(struct mesh *m, struct fake_end *e, int64_t ms)
{
	memset(e, 0, sizeof(*e));
	assert_int_equal(
		group_dial(m->node[0].visor->route, &m->node[1].visor->pk, APP_PORT, 0, fake_end_dialed, e), 0);
	world_settle(&m->w);
	world_pass(&m->w, ms);
}

static void neighbours_give_one_another_rules(void **state)
{
	struct mesh *m = *state;
	static struct fake_end a, b = {0};

	assert_int_equal(route_listen(m->node[1].visor->route, APP_PORT, &fake_end_listener, &b), 0);
	dial(m, &a, 10);
	assert_true(a.dialed);
	assert_non_null(a.st);
	assert_non_null(b.st);
	assert_string_equal(a.network, "skynet");
	assert_int_equal(a.st->ops->send(a.st, &(struct iovec){(void *)"hello", 5}, 1), 0);
	world_pass(&m->w, 10);
	assert_int_equal(b.got, 5);
	assert_int_equal(m->node[2].asked, 0);
}

static void a_neighbour_that_takes_no_routes_is_remembered(void **state)
{
	struct mesh *m = *state;
	static struct fake_end a, b = {0};

	assert_int_equal(route_listen(m->node[1].visor->route, APP_PORT, &fake_end_listener, &b), 0);
	routing_network(m->node[1].routing, "dmsg", NULL, NULL);
	dial(m, &a, 10);
	assert_non_null(a.st);
	assert_int_equal(m->node[2].asked, 1);
	/* It would now; nobody asks it for half an hour. */
	routing_network(m->node[1].routing, "dmsg", &mesh_ops, &m->node[1]);
	dial(m, &a, 10);
	assert_non_null(a.st);
	assert_int_equal(m->node[2].asked, 2);
}

static void a_setup_node_that_is_silent_is_followed_by_the_next(void **state)
{
	struct mesh *m = *state;
	static struct fake_end a, b = {0};

	assert_int_equal(route_listen(m->node[1].visor->route, APP_PORT, &fake_end_listener, &b), 0);
	routing_network(m->node[1].routing, "dmsg", NULL, NULL);
	m->node[2].dead = true;
	dial(m, &a, SG_SETUP_NODE_MS - 500);
	assert_false(a.dialed);
	world_pass(&m->w, 1000);
	assert_non_null(a.st);
	assert_int_equal(m->node[2].asked, 1);
	assert_int_equal(m->node[3].asked, 1);
	/* And now comes first. */
	dial(m, &a, 10);
	assert_non_null(a.st);
	assert_int_equal(m->node[2].asked, 1);
}

/* Found beside Go setup nodes that were stopped: the same silent nodes were asked for each path, 30 s without a word. */
static void setup_nodes_that_are_all_silent_end_the_dial(void **state)
{
	struct mesh *m = *state;
	static struct fake_end a;

	routing_network(m->node[1].routing, "dmsg", NULL, NULL);
	m->node[2].dead = m->node[3].dead = true;
	dial(m, &a, 2 * SG_SETUP_NODE_MS - 500);
	assert_false(a.dialed);
	world_pass(&m->w, 1000);
	assert_true(a.dialed);
	assert_int_equal(a.dial_err, -ETIMEDOUT);
	assert_non_null(strstr(a.why, "no answer for"));
	assert_int_equal(m->node[2].asked, 1);
	assert_int_equal(m->node[3].asked, 1);
}

static void what_setup_nodes_say_is_told(void **state)
{
	struct mesh *m = *state;
	static struct fake_end a;

	routing_network(m->node[1].routing, "dmsg", NULL, NULL);
	m->node[2].error = "bidirectional route has an invalid route description";
	dial(m, &a, 3000);
	assert_true(a.dialed);
	assert_int_equal(a.dial_err, SG_EREFUSED);
	assert_non_null(strstr(a.why, m->node[2].error));
	assert_int_equal(m->node[3].asked, 0);

	/* That one it may be alone with. */
	m->node[2].error =
		"failed to instantiate route id reserver: a dial attempt failed with: dial x@136: dmsg error 202";
	m->node[3].error = m->node[2].error;
	dial(m, &a, 3000);
	assert_true(a.dialed);
	assert_non_null(strstr(a.why, "dial attempt failed"));
	assert_int_equal(m->node[3].asked, 1);
}

static void what_cannot_be_read_is_no_answer(void **state)
{
	struct mesh *m = *state;
	static struct fake_end a;

	routing_network(m->node[1].routing, "dmsg", NULL, NULL);
	m->node[2].babbles = m->node[3].babbles = true;
	dial(m, &a, 3000);
	assert_true(a.dialed);
	assert_int_equal(a.dial_err, SG_EMALF);
	assert_non_null(strstr(a.why, "its answer cannot be read"));
	assert_int_equal(m->node[2].asked, 1);
	assert_int_equal(m->node[3].asked, 1);
}

struct pinged {
	bool done;
	int err;
	unsigned answered;
	bool by_link;
	char why[400];
};

static void on_ping(void *arg, const struct ping_result *result, int err, const char *why)
{
	struct pinged *p = arg;

	assert_false(p->done);
	p->done = true;
	p->err = err;
	p->answered = result ? (unsigned)result->answered : 0;
	p->by_link = result && result->by_link;
	snprintf(p->why, sizeof(p->why), "%s", result ? result->why : why);
}

static void a_visor_is_pinged_over_a_route(void **state)
{
	struct mesh *m = *state;
	struct sg_path path;
	struct pinged p = {0};

	assert_int_equal(routing_ping(m->node[0].routing, &m->node[1].visor->pk, 0, on_ping, &p), 0);
	world_pass(&m->w, 2000);
	assert_true(p.done);
	assert_int_equal(p.err, 0);
	assert_int_equal(p.answered, PING_TIMES);
	assert_false(p.by_link);
	assert_true(routing_last(m->node[0].routing, &m->node[1].visor->pk, &path));
	assert_int_equal(path.n, 1);
	assert_false(routing_last(m->node[0].routing, &m->node[2].visor->pk, &path));

	/* One that no route leads to. */
	memset(&p, 0, sizeof(p));
	assert_int_equal(routing_ping(m->node[0].routing, &m->node[3].visor->pk, 0, on_ping, &p), 0);
	world_pass(&m->w, 31000);
	assert_true(p.done);
	assert_int_equal(p.answered, 0);
	assert_string_not_equal(p.why, "");
}

/* Rules for a route are asked for over dmsg. A neighbour that could not be pinged for want of it is asked over the transport. */
static void without_dmsg_a_neighbour_is_pinged_over_the_transport(void **state)
{
	struct mesh *m = *state;
	struct sg_links *links = m->node[0].visor->links;
	const struct sg_pk *pk = &m->node[1].visor->pk;
	struct pinged p = {0};

	routing_network(m->node[0].routing, "dmsg", NULL, NULL);
	assert_int_equal(routing_ping(m->node[0].routing, pk, 0, on_ping, &p), 0);
	world_pass(&m->w, 2000);
	assert_true(p.done);
	assert_int_equal(p.answered, PING_TIMES);
	assert_true(p.by_link);
	assert_non_null(strstr(p.why, "list plugin 'transport-dmsg'"));

	/* One hop is not what was asked for. */
	memset(&p, 0, sizeof(p));
	assert_int_equal(routing_ping(m->node[0].routing, pk, 2, on_ping, &p), 0);
	world_pass(&m->w, 31000);
	assert_true(p.done);
	assert_int_equal(p.answered, 0);
	route_set_min_hops(m->node[0].visor->route, 2);
	memset(&p, 0, sizeof(p));
	assert_int_equal(routing_ping(m->node[0].routing, pk, 0, on_ping, &p), 0);
	world_pass(&m->w, 31000);
	assert_true(p.done);
	assert_int_equal(p.answered, 0);
	route_set_min_hops(m->node[0].visor->route, 0);

	/* The transport ends meanwhile. */
	memset(&p, 0, sizeof(p));
	assert_int_equal(routing_ping(m->node[0].routing, pk, 0, on_ping, &p), 0);
	world_pass(&m->w, 100);
	assert_false(p.done);
	assert_int_equal(links_close(links, pk, "", "by the test"), 1);
	world_pass(&m->w, 1000);
	assert_true(p.done);
	assert_int_equal(p.err, SG_ECLOSED);
}

/* ---- port 136 ---- */

/* A caller that the test plays. */
struct caller {
	struct mesh *m;
	struct mesh_half *h;
	struct sg_rpc_in in;
	struct sg_rpc_out out;
	uint64_t seq;
	uint32_t ids[4];
};

static void caller_data(void *arg, struct sg_view in)
{
	assert_int_equal(sg_rpc_in_feed(&((struct caller *)arg)->in, in), 0);
}

static void ignore_writable(void *arg)
{
	(void)arg;
}

static void ignore_close(void *arg, int err, const char *why)
{
	(void)arg;
	(void)err;
	(void)why;
}

static const struct sg_stream_user caller_user = {
	.size = sizeof(caller_user), .on_data = caller_data, .on_writable = ignore_writable, .on_close = ignore_close};

static void caller_new(struct caller *c, struct mesh *m, size_t from)
{
	memset(c, 0, sizeof(*c));
	c->m = m;
	c->h = mesh_call(m, &m->node[from].visor->pk, &m->node[1]);
	c->h->pub.user = &caller_user;
	c->h->pub.user_arg = c;
	sg_rpc_in_init(&c->in);
	sg_rpc_out_init(&c->out, SG_GOB_ID_FIRST);
	world_settle(&m->w);
}

static void caller_free(struct caller *c)
{
	if (c->h->open)
		c->h->pub.ops->close(&c->h->pub);
	sg_rpc_in_fini(&c->in);
	world_settle(&c->m->w);
}

static uint8_t said[SG_RPC_WRITE_MAX];

/* Says what stands in @w; the answer's error, "" when there is none, NULL when there is no answer. */
static const char *exchange(struct caller *c, const struct sg_writer *w)
{
	static struct sg_rpc_head head;
	char why[SG_RPC_ERROR_MAX];
	struct sg_gob_value v;
	struct sg_reader r;
	size_t n;
	bool yes;

	c->seq++;
	c->h->pub.ops->send(&c->h->pub, &(struct iovec){said, sg_writer_len(w)}, 1);
	world_settle(&c->m->w);
	if (sg_rpc_in_next(&c->in, &r, &v) != 1)
		return NULL;
	assert_int_equal(sg_rpc_read_head(&v, &head), 0);
	assert_true(head.seq == c->seq - 1);
	assert_int_equal(sg_rpc_in_next(&c->in, &r, &v), 1);
	if (head.error[0])
		return head.error;
	if (strcmp(head.method, SG_RPC_RESERVE_IDS) == 0)
		assert_int_equal(sg_rpc_read_ids(&v, c->ids, SG_ARRAY_LEN(c->ids), &n, why), 0);
	else
		assert_true(sg_rpc_read_bool(&v, &yes, why) == 0 && yes);
	return "";
}

static const char *reserve(struct caller *c, uint8_t n)
{
	struct sg_writer w = sg_writer(said, sizeof(said));

	sg_rpc_write_request(&c->out, &w, SG_RPC_RESERVE_IDS, c->seq);
	sg_rpc_write_count(&w, n);
	return exchange(c, &w);
}

static const char *install(struct caller *c, const struct sg_edge_rules *rules)
{
	struct sg_writer w = sg_writer(said, sizeof(said));
	uint8_t forward[SG_RULE_MAX], reverse[SG_RULE_MAX];
	struct sg_rpc_edge e;

	sg_route_desc_encode(&rules->desc, e.desc);
	e.forward = (struct sg_view){forward, sg_rule_encode(&rules->forward, forward)};
	e.reverse = (struct sg_view){reverse, sg_rule_encode(&rules->reverse, reverse)};
	sg_rpc_write_request(&c->out, &w, SG_RPC_ADD_EDGE, c->seq);
	sg_rpc_write_edge(&c->out, &w, &e);
	return exchange(c, &w);
}

static const char *plain_call(struct caller *c, const char *method)
{
	struct sg_writer w = sg_writer(said, sizeof(said));

	sg_rpc_write_request(&c->out, &w, method, c->seq);
	sg_rpc_write_count(&w, 1);
	return exchange(c, &w);
}

/* What node 0 may install at node 1 after a reservation. */
static struct sg_edge_rules good_rules(const struct caller *c)
{
	struct sg_edge_rules e = {.desc = {c->m->node[0].visor->pk, c->m->node[1].visor->pk, 50000, APP_PORT}};
	struct sg_link_info info;

	assert_true(world_linked(&c->m->w, 0, 1, &info));
	e.forward = (struct sg_rule){.keep_alive_ns = 30000000000,
		.type = SG_RULE_FORWARD,
		.key = c->ids[0],
		.next_id = 7,
		.next_tp = info.id};
	sg_route_desc_invert(&e.desc, &e.forward.desc);
	e.reverse = (struct sg_rule){
		.keep_alive_ns = 30000000000, .type = SG_RULE_REVERSE, .key = c->ids[1], .desc = e.desc};
	return e;
}

static void refused(const char *error, const char *what)
{
	assert_non_null(error);
	assert_non_null(strstr(error, what));
}

static void a_neighbour_installs_its_own_route_once(void **state)
{
	struct mesh *m = *state;
	struct sg_edge_rules e;
	struct caller c;

	caller_new(&c, m, 0);
	refused(reserve(&c, 5), "failure code 4");
	assert_string_equal(reserve(&c, 4), "");
	refused(reserve(&c, 1), "failure code 4 (a neighbour reserves once");
	e = good_rules(&c);

	e.desc.src = m->node[2].visor->pk;
	refused(install(&c, &e), "failure code 1 (the rules are not of that route)");
	e.reverse.desc = e.desc;
	sg_route_desc_invert(&e.desc, &e.forward.desc);
	refused(install(&c, &e), "does not begin at its caller");
	e = good_rules(&c);
	e.desc.dst = e.reverse.desc.dst = m->node[2].visor->pk;
	sg_route_desc_invert(&e.desc, &e.forward.desc);
	refused(install(&c, &e), "does not end here");
	e = good_rules(&c);
	e.forward.next_tp.b[3] ^= 1;
	refused(install(&c, &e), "the transport of the way back is not up here");
	e = good_rules(&c);
	e.forward.key += 10;
	refused(install(&c, &e), "were not reserved for it");
	e = good_rules(&c);
	e.reverse.key = e.forward.key;
	refused(install(&c, &e), "were not reserved for it");
	e = good_rules(&c);
	e.reverse.type = SG_RULE_INTERMEDIARY;
	refused(install(&c, &e), "failure code 1");
	refused(plain_call(&c, SG_RPC_ADD_INTERMEDIARY), "only setup nodes give intermediary rules");
	refused(plain_call(&c, "RPCGateway.Crash"), "rpc: can't find method RPCGateway.Crash");
	refused(plain_call(&c, "Other.ReserveIDs"), "rpc: can't find service Other.ReserveIDs");
	refused(plain_call(&c, "ReserveIDs"), "rpc: service/method request ill-formed: ReserveIDs");

	e = good_rules(&c);
	assert_string_equal(install(&c, &e), "");
	e.forward.key = c.ids[2];
	e.reverse.key = c.ids[3];
	refused(install(&c, &e), "a neighbour installs once");
	assert_true(c.h->open);
	caller_free(&c);
}

static void a_caller_has_a_minute(void **state)
{
	struct mesh *m = *state;
	struct caller c;

	caller_new(&c, m, 0);
	world_pass(&m->w, 59000);
	assert_true(c.h->open);
	world_pass(&m->w, 2000);
	assert_false(c.h->open);
	caller_free(&c);
}

static void strangers_and_crowds_are_turned_away(void **state)
{
	struct mesh *m = *state;
	struct caller c, many[17];

	for (size_t i = 0; i < 16; i++) {
		caller_new(&many[i], m, 0);
		assert_true(many[i].h->open);
	}
	caller_new(&many[16], m, 0);
	assert_false(many[16].h->open);
	caller_new(&c, m, 2);
	assert_true(c.h->open);
	caller_free(&c);
	/* Neither a setup node nor a neighbour: we ourselves. */
	caller_new(&c, m, 1);
	assert_false(c.h->open);
	caller_free(&c);
	for (size_t i = 0; i < 17; i++)
		caller_free(&many[i]);
}

/* However many neighbours there are, a setup node gets through. */
static void neighbours_leave_room_for_setup_nodes(void **state)
{
	static const size_t from[] = {0, 2, 3};
	struct mesh *m = *state;
	struct caller c, many[3][16];
	struct sg_uci *doc;
	struct sg_pk node;
	struct sg_sk sk;
	char text[160], hex[SG_PK_TEXT];
	size_t open = 0;
	int len;

	sg_sk_generate(m->w.crypto, &sk);
	assert_int_equal(sg_pk_of(m->w.crypto, &sk, &node), 0);
	len = snprintf(text, sizeof(text), "config deployment\n\tlist setup_node '%s'\n", sg_pk_str(&node, hex));
	assert_int_equal(sg_uci_parse(text, (size_t)len, "conf", NULL, NULL, &doc), 0);
	net_configure(m->node[1].net, doc);
	routing_configure(m->node[1].routing, doc);
	sg_uci_free(doc);
	for (size_t i = 2; i < 4; i++) {
		assert_true(world_boot(&m->w, i));
		assert_int_equal(world_peer(&m->w, i, 1, false), 0);
		world_settle(&m->w);
	}
	for (size_t i = 0; i < 3; i++) {
		for (size_t k = 0; k < 16; k++) {
			caller_new(&many[i][k], m, from[i]);
			open += many[i][k].h->open;
		}
	}
	assert_int_equal(open, 32);
	memset(&c, 0, sizeof(c));
	c.m = m;
	c.h = mesh_call(m, &node, &m->node[1]);
	world_settle(&m->w);
	assert_true(c.h->open);
	caller_free(&c);
	for (size_t i = 0; i < 3; i++) {
		for (size_t k = 0; k < 16; k++)
			caller_free(&many[i][k]);
	}
}

static void garbage_ends_the_stream_only(void **state)
{
	struct mesh *m = *state;
	struct caller c;

	caller_new(&c, m, 2);
	c.h->pub.ops->send(&c.h->pub, &(struct iovec){(void *)"\x05GET / HTTP/1.1\r\n", 18}, 1);
	world_settle(&m->w);
	assert_false(c.h->open);
	caller_free(&c);
	caller_new(&c, m, 2);
	assert_string_equal(reserve(&c, 2), "");
	caller_free(&c);
}

static void each_allocation_of_a_setup_may_fail(void **state)
{
	struct mesh *m = *state;
	static struct fake_end a, b = {0};
	size_t n = 0;
	bool failed = true;

	assert_int_equal(route_listen(m->node[1].visor->route, APP_PORT, &fake_end_listener, &b), 0);
	while (failed) {
		memset(&a, 0, sizeof(a));
		m->n_halves = 0;
		fake_alloc_fail_at(++n);
		if (group_dial(m->node[0].visor->route, &m->node[1].visor->pk, APP_PORT, 0, fake_end_dialed, &a) == 0) {
			world_settle(&m->w);
			world_pass(&m->w, 31000);
			assert_true(a.dialed);
		}
		failed = fake_alloc_failed();
		fake_alloc_fail_at(0);
		if (a.st)
			a.st->ops->close(a.st);
		world_pass(&m->w, 61000);
	}
	assert_true(n > 8);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, mesh_setup, mesh_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(neighbours_give_one_another_rules),
		TEST(a_neighbour_that_takes_no_routes_is_remembered),
		TEST(a_setup_node_that_is_silent_is_followed_by_the_next),
		TEST(setup_nodes_that_are_all_silent_end_the_dial),
		TEST(what_setup_nodes_say_is_told),
		TEST(what_cannot_be_read_is_no_answer),
		TEST(a_visor_is_pinged_over_a_route),
		TEST(without_dmsg_a_neighbour_is_pinged_over_the_transport),
		TEST(a_neighbour_installs_its_own_route_once),
		TEST(a_caller_has_a_minute),
		TEST(strangers_and_crowds_are_turned_away),
		TEST(neighbours_leave_room_for_setup_nodes),
		TEST(garbage_ends_the_stream_only),
		TEST(each_allocation_of_a_setup_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
