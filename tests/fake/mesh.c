#include "fake/mesh.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define NODE_PORT 36
#define PORT      136

/* ---- the network ---- */

static int half_send(struct sg_stream *st, const struct iovec *iov, int n)
{
	struct mesh_half *h = sg_container_of(st, struct mesh_half, pub);

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
	struct mesh_half *h = sg_container_of(st, struct mesh_half, pub);

	h->open = false;
	sg_defer_stop(&h->deliver);
	if (h->other->open) {
		h->other->closing = true;
		sg_defer_start(h->m->w.loop, &h->other->deliver);
	}
}

static void half_info(struct sg_stream *st, struct sg_stream_info *out, size_t size)
{
	const struct sg_stream_info info = {
		.remote = sg_container_of(st, struct mesh_half, pub)->remote, .network = "dmsg"};

	sg_fill(out, size, &info, sizeof(info));
}

static const struct sg_stream_ops half_ops = {
	.size = sizeof(half_ops), .send = half_send, .want = half_want, .close = half_close, .info = half_info};

static void deliver(void *arg)
{
	struct mesh_half *h = arg;
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

static struct mesh_half *half_new(struct mesh *m, const struct sg_pk *remote)
{
	struct mesh_half *h = &m->half[m->n_halves++];

	assert_true(m->n_halves <= MESH_HALVES);
	*h = (struct mesh_half){.pub.ops = &half_ops, .m = m, .remote = *remote, .open = true};
	sg_defer_init(&h->deliver, deliver, h);
	return h;
}

static void node_data(void *arg, struct sg_view in);

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

static const struct sg_stream_user node_user = {
	.size = sizeof(node_user), .on_data = node_data, .on_writable = ignore_writable, .on_close = ignore_close};

struct mesh_half *mesh_call(struct mesh *m, const struct sg_pk *from, struct mesh_node *to)
{
	struct mesh_half *a = half_new(m, &to->visor->pk), *b = half_new(m, from);

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
	struct mesh_node *n = arg;
	struct mesh_half *h = mesh_call(n->m, &n->visor->pk, (struct mesh_node *)n->to);

	n->done(n->done_arg, &h->pub, 0, "");
	if (h->open && !h->pub.user)
		half_close(&h->pub);
}

static int mesh_dial(void *ctx, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	struct mesh_node *n = ctx;

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
	struct mesh_node *n = ctx;

	if (n->done_arg == arg)
		sg_defer_stop(&n->dialled);
}

static int mesh_listen(void *ctx, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	struct mesh_node *n = ctx;

	assert_int_equal(port, PORT);
	n->ops = ops;
	n->arg = arg;
	return 0;
}

static void mesh_unlisten(void *ctx, uint16_t port)
{
	(void)port;
	((struct mesh_node *)ctx)->ops = NULL;
}

const struct sg_network_ops mesh_ops = {sizeof(mesh_ops), mesh_dial, mesh_cancel, mesh_listen, mesh_unlisten};

/* ---- setup nodes ---- */

/* One hop from visor 0 to visor 1: both get their rules. */
static bool make_rules(struct mesh_node *n, const struct sg_rpc_route *route, struct sg_edge_rules *near_end)
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

static void node_answer(struct mesh_node *n, const struct sg_rpc_head *head, const struct sg_rpc_route *route)
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
	struct mesh_node *n = arg;
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

/* ---- the world ---- */

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

int mesh_setup(void **state)
{
	struct mesh *m = calloc(1, sizeof(*m));
	struct sg_link_info info;

	world_new(&m->w);
	m->store = store_new(m->w.loop, wall_s);
	for (size_t i = 0; i < 4; i++) {
		struct mesh_node *n = &m->node[i];

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

int mesh_teardown(void **state)
{
	struct mesh *m = *state;

	for (size_t i = 0; i < 4; i++) {
		struct mesh_node *n = &m->node[i];

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
