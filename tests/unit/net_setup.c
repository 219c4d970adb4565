/*
 * Route setup between visors of ours on a dmsg that is played here: neighbours that give one another rules, setup nodes that
 * answer, refuse or say nothing, and what nobody but a setup node may do on port 136.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/alloc.h"
#include "fake/world.h"
#include "net/routing.h"
#include "wire/rpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define APP_PORT  44
#define NODE_PORT 36
#define PORT      136
#define HALVES    256

/* ---- a dmsg of two visors and two setup nodes ------------------------------------------------------------------------ */

struct mesh;

/* One end of a stream. */
struct half {
	struct sg_stream pub; /* first */
	struct mesh *m;
	struct half *other;
	struct sg_pk remote;
	bool open, closing; /* closing: the other end has closed */
	uint8_t in[4096];
	size_t len;
	struct sg_defer deliver;
};

/* A visor, or a setup node whose answers the test gives. */
struct node {
	struct mesh *m;
	struct fake_node *visor;
	struct store_space keys;
	struct sg_net *net;
	struct routing *routing;
	const struct sg_listener_ops *ops; /* on port 136 */
	void *arg;
	/* A dial of it. */
	const struct node *to;
	sg_dialed_fn *done;
	void *done_arg;
	struct sg_defer dialled;
	/* A setup node. */
	struct sg_rpc_in in;
	struct half *caller;
	unsigned asked;
	bool dead;         /* takes streams and says nothing */
	bool babbles;      /* what it answers is no answer */
	const char *error; /* its answer to everything; NULL: rules */
};

struct mesh {
	struct fake_world w;
	struct store *store;
	struct node node[4]; /* 0, 1: visors; 2, 3: setup nodes */
	struct half half[HALVES];
	size_t n_halves;
};

static int half_send(struct sg_stream *st, const struct iovec *iov, int n)
{
	struct half *h = sg_container_of(st, struct half, pub);

	if (!h->open)
		return SG_ECLOSED;
	for (int i = 0; i < n; i++) {
		assert_true(h->other->len + iov[i].iov_len <= sizeof(h->other->in));
		memcpy(h->other->in + h->other->len, iov[i].iov_base, iov[i].iov_len);
		h->other->len += iov[i].iov_len;
	}
	sg_defer_start(h->m->w.loop, &h->other->deliver);
	return 0;
}

static void half_want(struct sg_stream *st, bool read)
{
	(void)st;
	(void)read;
}

static void half_close(struct sg_stream *st)
{
	struct half *h = sg_container_of(st, struct half, pub);

	h->open = false;
	sg_defer_stop(&h->deliver);
	if (h->other->open) {
		h->other->closing = true;
		sg_defer_start(h->m->w.loop, &h->other->deliver);
	}
}

static void half_info(struct sg_stream *st, struct sg_stream_info *out)
{
	*out = (struct sg_stream_info){.remote = sg_container_of(st, struct half, pub)->remote, .network = "dmsg"};
}

static const struct sg_stream_ops half_ops = {sizeof(half_ops), half_send, half_want, half_close, half_info};

static void deliver(void *arg)
{
	struct half *h = arg;
	static uint8_t copy[sizeof(h->in)];
	size_t len = h->len;

	memcpy(copy, h->in, len);
	h->len = 0;
	if (len && h->open && h->pub.user)
		h->pub.user->on_data(h->pub.user_arg, (struct sg_view){copy, len});
	if (h->closing && h->open) {
		h->open = false;
		if (h->pub.user)
			h->pub.user->on_close(h->pub.user_arg, SG_ECLOSED, "");
	}
}

static struct half *half_new(struct mesh *m, const struct sg_pk *remote)
{
	struct half *h = &m->half[m->n_halves++];

	assert_true(m->n_halves <= HALVES);
	*h = (struct half){.pub.ops = &half_ops, .m = m, .remote = *remote, .open = true};
	sg_defer_init(&h->deliver, deliver, h);
	return h;
}

static void node_data(void *arg, struct sg_view in);
static void ignore_writable(void *arg);
static void ignore_close(void *arg, int err, const char *why);

static const struct sg_stream_user node_user = {
	.size = sizeof(node_user), .on_data = node_data, .on_writable = ignore_writable, .on_close = ignore_close};

/* A stream from @from to @to: the caller's end. */
static struct half *call(struct mesh *m, const struct sg_pk *from, struct node *to)
{
	struct half *a = half_new(m, &to->visor->pk), *b = half_new(m, from);

	a->other = b;
	b->other = a;
	if (to >= &m->node[2]) {
		sg_rpc_in_fini(&to->in);
		sg_rpc_in_init(&to->in);
		to->caller = b;
		b->pub.user = &node_user;
		b->pub.user_arg = to;
	} else if (!to->ops || to->ops->on_stream(to->arg, &b->pub) < 0) {
		half_close(&b->pub);
	}
	return a;
}

static void on_dial(void *arg)
{
	struct node *n = arg;
	struct half *h = call(n->m, &n->visor->pk, (struct node *)n->to);

	n->done(n->done_arg, &h->pub, 0, "");
	if (h->open && !h->pub.user)
		half_close(&h->pub);
}

static int mesh_dial(void *ctx, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	struct node *n = ctx;

	for (size_t i = 0; i < SG_ARRAY_LEN(n->m->node); i++) {
		if (sg_pk_equal(&n->m->node[i].visor->pk, pk))
			n->to = &n->m->node[i];
	}
	assert_int_equal(port, n->to >= &n->m->node[2] ? NODE_PORT : PORT);
	n->done = done;
	n->done_arg = arg;
	sg_defer_start(n->m->w.loop, &n->dialled);
	return 0;
}

static void mesh_cancel(void *ctx, void *arg)
{
	struct node *n = ctx;

	if (n->done_arg == arg)
		sg_defer_stop(&n->dialled);
}

static int mesh_listen(void *ctx, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	struct node *n = ctx;

	assert_int_equal(port, PORT);
	n->ops = ops;
	n->arg = arg;
	return 0;
}

static void mesh_unlisten(void *ctx, uint16_t port)
{
	(void)port;
	((struct node *)ctx)->ops = NULL;
}

static const struct sg_network_ops mesh_ops = {sizeof(mesh_ops), mesh_dial, mesh_cancel, mesh_listen, mesh_unlisten};

/* ---- setup nodes ------------------------------------------------------------------------------------------------------ */

/* One hop from visor 0 to visor 1: both get their rules. */
static bool make_rules(struct node *n, const struct sg_rpc_route *route, struct sg_edge_rules *near_end)
{
	struct sg_route *a = n->m->node[0].visor->route, *b = n->m->node[1].visor->route;
	struct sg_edge_rules far_end = {.desc = route->desc};
	uint32_t ida[2], idb[2];
	char why[128];

	assert_int_equal(route->n_forward, 1);
	assert_memory_equal(&route->forward[0].tp, &route->reverse[0].tp, sizeof(route->forward[0].tp));
	assert_int_equal(route_reserve_ids(a, 2, ida, why, sizeof(why)), 0);
	assert_int_equal(route_reserve_ids(b, 2, idb, why, sizeof(why)), 0);
	sg_route_desc_invert(&route->desc, &near_end->desc);
	near_end->forward = (struct sg_rule){
		route->keep_alive_ns, SG_RULE_FORWARD, ida[0], route->desc, idb[0], route->forward[0].tp};
	near_end->reverse = (struct sg_rule){
		.keep_alive_ns = route->keep_alive_ns, .type = SG_RULE_REVERSE, .key = ida[1], .desc = near_end->desc};
	far_end.forward = (struct sg_rule){
		route->keep_alive_ns, SG_RULE_FORWARD, idb[1], near_end->desc, ida[1], route->reverse[0].tp};
	far_end.reverse = (struct sg_rule){
		.keep_alive_ns = route->keep_alive_ns, .type = SG_RULE_REVERSE, .key = idb[0], .desc = route->desc};
	return route_accept_edge(b, &far_end, why, sizeof(why)) == 0;
}

static void node_answer(struct node *n, const struct sg_rpc_head *head, const struct sg_rpc_route *route)
{
	static uint8_t b[SG_RPC_WRITE_MAX], forward[SG_RULE_MAX], reverse[SG_RULE_MAX];
	struct sg_writer w = sg_writer(b, sizeof(b));
	struct sg_edge_rules rules;
	struct sg_rpc_edge e;
	struct sg_rpc_out o;
	bool made;

	if (n->babbles) {
		sg_rpc_write_count(&w, 7);
		assert_int_equal(half_send(&n->caller->pub, &(struct iovec){b, sg_writer_len(&w)}, 1), 0);
		return;
	}
	sg_rpc_out_init(&o, 69);
	made = !n->error && make_rules(n, route, &rules);
	sg_rpc_write_response(&o, &w, head->method, head->seq, n->error ? n->error : made ? "" : "failure code 1 (x)");
	if (made) {
		sg_route_desc_encode(&rules.desc, e.desc);
		e.forward = (struct sg_view){forward, sg_rule_encode(&rules.forward, forward)};
		e.reverse = (struct sg_view){reverse, sg_rule_encode(&rules.reverse, reverse)};
		sg_rpc_write_edge(&o, &w, &e);
	}
	assert_int_equal(half_send(&n->caller->pub, &(struct iovec){b, sg_writer_len(&w)}, 1), 0);
}

static void node_data(void *arg, struct sg_view in)
{
	static struct sg_rpc_route route;
	struct node *n = arg;
	char why[SG_RPC_ERROR_MAX];
	struct sg_rpc_head head;
	struct sg_gob_value v;
	struct sg_reader r;

	n->asked++;
	if (n->dead)
		return;
	/* Its memory may be out, too. */
	if (sg_rpc_in_feed(&n->in, in) < 0 || sg_rpc_in_next(&n->in, &r, &v) != 1 || sg_rpc_read_head(&v, &head) < 0 ||
		strcmp(head.method, SG_RPC_DIAL_GROUP) != 0 || sg_rpc_in_next(&n->in, &r, &v) != 1 ||
		sg_rpc_read_route(n->m->w.crypto, &v, &route, why) < 0) {
		half_close(&n->caller->pub);
		return;
	}
	node_answer(n, &head, &route);
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

/* ---- the world ---------------------------------------------------------------------------------------------------------- */

static void configure(struct mesh *m, size_t i)
{
	char text[400], a[SG_PK_TEXT], b[SG_PK_TEXT];
	struct sg_uci *doc;
	int len = snprintf(text, sizeof(text), "config deployment\n\tlist setup_node '%s'\n\tlist setup_node '%s'\n",
		sg_pk_str(&m->node[2].visor->pk, a), sg_pk_str(&m->node[3].visor->pk, b));

	assert_int_equal(sg_uci_parse(text, (size_t)len, "conf", NULL, NULL, &doc), 0);
	net_configure(m->node[i].net, doc);
	routing_configure(m->node[i].routing, doc);
	sg_uci_free(doc);
}

static int64_t wall_s(void)
{
	return 1000000;
}

static int setup(void **state)
{
	struct mesh *m = calloc(1, sizeof(*m));
	struct sg_link_info info;

	world_new(&m->w);
	m->store = store_new(m->w.loop, wall_s);
	for (size_t i = 0; i < 4; i++) {
		struct node *n = &m->node[i];

		n->m = m;
		n->visor = &m->w.node[i];
		sg_defer_init(&n->dialled, on_dial, n);
		sg_rpc_in_init(&n->in);
		if (i > 1)
			continue;
		if (!n->visor->route)
			assert_true(world_boot(&m->w, i));
		n->keys = (struct store_space){m->store, n, "net"};
		n->net = net_new(&(struct sg_net_conf){.loop = m->w.loop,
			.crypto = m->w.crypto,
			.pk = n->visor->pk,
			.sk = n->visor->sk,
			.keys = &n->keys});
		n->routing = routing_new(n->net, n->visor->links, n->visor->route);
		routing_network(n->routing, "dmsg", &mesh_ops, n);
	}
	configure(m, 0);
	configure(m, 1);
	assert_int_equal(world_peer(&m->w, 0, 1, false), 0);
	world_settle(&m->w);
	assert_true(world_linked(&m->w, 0, 1, &info));
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct mesh *m = *state;

	for (size_t i = 0; i < 4; i++) {
		struct node *n = &m->node[i];

		sg_defer_stop(&n->dialled);
		sg_rpc_in_fini(&n->in);
		if (!n->routing)
			continue;
		routing_network(n->routing, "dmsg", NULL, NULL);
		routing_free(n->routing);
		net_free(n->net);
	}
	for (size_t i = 0; i < m->n_halves; i++)
		sg_defer_stop(&m->half[i].deliver);
	store_free(m->store);
	world_free(&m->w);
	free(m);
	return 0;
}

/* ---- dialling ------------------------------------------------------------------------------------------------------------ */

struct end {
	struct sg_stream *st;
	bool dialed;
	int err;
	size_t bytes;
	char why[400], network[16];
};

static void end_data(void *arg, struct sg_view in)
{
	((struct end *)arg)->bytes += in.len;
}

static void end_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	((struct end *)arg)->st = NULL;
}

static const struct sg_stream_user end_user = {
	.size = sizeof(end_user), .on_data = end_data, .on_writable = ignore_writable, .on_close = end_close};

static int on_stream(void *arg, struct sg_stream *st)
{
	struct end *e = arg;
	struct sg_stream_info info;

	st->ops->info(st, &info);
	snprintf(e->network, sizeof(e->network), "%s", info.network);
	e->st = st;
	st->user = &end_user;
	st->user_arg = e;
	st->ops->want(st, true);
	return 0;
}

static const struct sg_listener_ops accepting = {sizeof(accepting), on_stream};

static void on_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	struct end *e = arg;

	assert_false(e->dialed);
	e->dialed = true;
	e->err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
	if (st)
		on_stream(e, st);
}

static void dial(struct mesh *m, struct end *e, int64_t ms)
{
	memset(e, 0, sizeof(*e));
	assert_int_equal(group_dial(m->node[0].visor->route, &m->node[1].visor->pk, APP_PORT, 0, on_dialed, e), 0);
	world_settle(&m->w);
	world_pass(&m->w, ms);
}

static void neighbours_give_one_another_rules(void **state)
{
	struct mesh *m = *state;
	struct end a, b = {0};

	assert_int_equal(route_listen(m->node[1].visor->route, APP_PORT, &accepting, &b), 0);
	dial(m, &a, 10);
	assert_true(a.dialed);
	assert_non_null(a.st);
	assert_non_null(b.st);
	assert_string_equal(a.network, "skynet");
	assert_int_equal(a.st->ops->send(a.st, &(struct iovec){(void *)"hello", 5}, 1), 0);
	world_pass(&m->w, 10);
	assert_int_equal(b.bytes, 5);
	assert_int_equal(m->node[2].asked, 0);
}

static void a_neighbour_that_takes_no_routes_is_remembered(void **state)
{
	struct mesh *m = *state;
	struct end a, b = {0};

	assert_int_equal(route_listen(m->node[1].visor->route, APP_PORT, &accepting, &b), 0);
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
	struct end a, b = {0};

	assert_int_equal(route_listen(m->node[1].visor->route, APP_PORT, &accepting, &b), 0);
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
	struct end a;

	routing_network(m->node[1].routing, "dmsg", NULL, NULL);
	m->node[2].dead = m->node[3].dead = true;
	dial(m, &a, 2 * SG_SETUP_NODE_MS - 500);
	assert_false(a.dialed);
	world_pass(&m->w, 1000);
	assert_true(a.dialed);
	assert_int_equal(a.err, -ETIMEDOUT);
	assert_non_null(strstr(a.why, "no answer for"));
	assert_int_equal(m->node[2].asked, 1);
	assert_int_equal(m->node[3].asked, 1);
}

static void what_setup_nodes_say_is_told(void **state)
{
	struct mesh *m = *state;
	struct end a;

	routing_network(m->node[1].routing, "dmsg", NULL, NULL);
	m->node[2].error = "bidirectional route has an invalid route description";
	dial(m, &a, 3000);
	assert_true(a.dialed);
	assert_int_equal(a.err, SG_EREFUSED);
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
	struct end a;

	routing_network(m->node[1].routing, "dmsg", NULL, NULL);
	m->node[2].babbles = m->node[3].babbles = true;
	dial(m, &a, 3000);
	assert_true(a.dialed);
	assert_int_equal(a.err, SG_EMALF);
	assert_non_null(strstr(a.why, "its answer cannot be read"));
	assert_int_equal(m->node[2].asked, 1);
	assert_int_equal(m->node[3].asked, 1);
}

static void on_ping(void *arg, const struct ping_result *result, int err, const char *why)
{
	struct end *e = arg;

	assert_false(e->dialed);
	e->dialed = true;
	e->err = err;
	e->bytes = result ? result->answered : 0;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void a_visor_is_pinged_over_a_route(void **state)
{
	struct mesh *m = *state;
	struct sg_path path;
	struct end e = {0};

	assert_int_equal(routing_ping(m->node[0].routing, &m->node[1].visor->pk, 0, on_ping, &e), 0);
	world_pass(&m->w, 2000);
	assert_true(e.dialed);
	assert_int_equal(e.err, 0);
	assert_int_equal(e.bytes, PING_TIMES);
	assert_true(routing_last(m->node[0].routing, &m->node[1].visor->pk, &path));
	assert_int_equal(path.n, 1);
	assert_false(routing_last(m->node[0].routing, &m->node[2].visor->pk, &path));

	/* One that no route leads to. */
	memset(&e, 0, sizeof(e));
	assert_int_equal(routing_ping(m->node[0].routing, &m->node[3].visor->pk, 0, on_ping, &e), 0);
	world_pass(&m->w, 31000);
	assert_true(e.dialed);
	assert_int_equal(e.bytes, 0);
	assert_string_not_equal(e.why, "");
}

/* ---- port 136 -------------------------------------------------------------------------------------------------------------- */

/* A caller that the test plays. */
struct caller {
	struct mesh *m;
	struct half *h;
	struct sg_rpc_in in;
	struct sg_rpc_out out;
	uint64_t seq;
	uint32_t ids[4];
};

static void caller_data(void *arg, struct sg_view in)
{
	assert_int_equal(sg_rpc_in_feed(&((struct caller *)arg)->in, in), 0);
}

static const struct sg_stream_user caller_user = {
	.size = sizeof(caller_user), .on_data = caller_data, .on_writable = ignore_writable, .on_close = ignore_close};

static void caller_new(struct caller *c, struct mesh *m, size_t from)
{
	memset(c, 0, sizeof(*c));
	c->m = m;
	c->h = call(m, &m->node[from].visor->pk, &m->node[1]);
	c->h->pub.user = &caller_user;
	c->h->pub.user_arg = c;
	sg_rpc_in_init(&c->in);
	sg_rpc_out_init(&c->out, SG_GOB_ID_FIRST);
	world_settle(&m->w);
}

static void caller_free(struct caller *c)
{
	if (c->h->open)
		half_close(&c->h->pub);
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
	half_send(&c->h->pub, &(struct iovec){said, sg_writer_len(w)}, 1);
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
	c.h = call(m, &node, &m->node[1]);
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
	half_send(&c.h->pub, &(struct iovec){(void *)"\x05GET / HTTP/1.1\r\n", 18}, 1);
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
	struct end a, b = {0};
	size_t n = 0;
	bool failed = true;

	assert_int_equal(route_listen(m->node[1].visor->route, APP_PORT, &accepting, &b), 0);
	while (failed) {
		memset(&a, 0, sizeof(a));
		m->n_halves = 0;
		fake_alloc_fail_at(++n);
		if (group_dial(m->node[0].visor->route, &m->node[1].visor->pk, APP_PORT, 0, on_dialed, &a) == 0) {
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

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

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
		TEST(a_neighbour_installs_its_own_route_once),
		TEST(a_caller_has_a_minute),
		TEST(strangers_and_crowds_are_turned_away),
		TEST(neighbours_leave_room_for_setup_nodes),
		TEST(garbage_ends_the_stream_only),
		TEST(each_allocation_of_a_setup_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
