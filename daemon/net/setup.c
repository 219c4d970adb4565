/*
 * The asking side of route setup.
 *
 *	a node:       dial :36 → DialRouteGroup → rules                          fails → the next node
 *	a neighbour:  dial :136 → ReserveIDs → AddEdgeRules → our own two rules
 *
 * What comes back is compared with what was asked: a node decides route ids and nothing else.
 */
#include "net/setup.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"

SG_LOG_TOPIC("setup");

#define NODE_PORT   36
#define VISOR_PORT  136
#define NODE_LAST_S 60 /* so long a node that failed is asked last */

struct node {
	struct sg_pk pk;
	int64_t last_until_ms;
};

struct setup_client {
	struct setup_conf conf;
	const struct sg_network_ops *ops;
	void *ctx;
	struct node nodes[SG_SETUP_NODES_MAX];
	size_t n_nodes;
	struct sg_list calls;
};

struct setup_call {
	struct sg_list node;
	struct setup_client *s;
	bool direct;
	struct sg_pk order[SG_SETUP_NODES_MAX]; /* whom to ask */
	size_t n_order, at;
	struct sg_rpc_route route;
	struct sg_stream *stream;
	bool dialing, reserved, has_head;
	struct sg_timer limit; /* also begins the call */
	struct sg_rpc_in in;
	struct sg_rpc_out out;
	struct sg_rpc_head head;
	uint8_t *tx;
	size_t tx_len;
	struct sg_edge_rules ours; /* direct: what we keep when the neighbour took its own */
	sg_route_asked_fn *fn;
	void *arg;
	char why[400];
};

/* ---- the end of a call, and of one attempt ------------------------------------------------------------------------------ */

static void hang_up(struct setup_call *c)
{
	sg_timer_stop(&c->limit);
	if (c->dialing)
		c->s->ops->dial_cancel(c->s->ctx, c);
	if (c->stream)
		c->stream->ops->close(c->stream);
	sg_rpc_in_fini(&c->in);
	sg_free(c->tx);
	c->tx = NULL;
	c->tx_len = 0;
	c->stream = NULL;
	c->dialing = c->has_head = c->reserved = false;
}

static void call_free(struct setup_call *c)
{
	hang_up(c);
	sg_list_remove(&c->node);
	sg_free(c);
}

void setup_cancel(struct setup_call *c)
{
	call_free(c);
}

static void ended(struct setup_call *c, const struct sg_edge_rules *rules, int err)
{
	sg_route_asked_fn *fn = c->fn;
	struct sg_edge_rules copy;
	void *arg = c->arg;
	char why[sizeof(c->why)];

	if (rules)
		copy = *rules;
	snprintf(why, sizeof(why), "%s", c->why);
	call_free(c);
	fn(arg, rules ? &copy : NULL, err, why);
}

static void begin(void *arg);

static int64_t now_ms(const struct setup_client *s)
{
	return sg_loop_now(s->conf.loop).ns / SG_NS_PER_MS;
}

/* This one did not do it: the next node, or the end. @final: another node would say the same. */
static void failed(struct setup_call *c, int err, bool final, const char *what)
{
	const struct sg_pk *pk = &c->order[c->at];
	char key[SG_PK_SHORT];

	snprintf(c->why, sizeof(c->why), "%s %s: %s", c->direct ? "neighbour" : "setup node", sg_pk_short(pk, key),
		what);
	hang_up(c);
	for (size_t i = 0; !c->direct && !final && i < c->s->n_nodes; i++) {
		if (sg_pk_equal(&c->s->nodes[i].pk, pk))
			c->s->nodes[i].last_until_ms = now_ms(c->s) + NODE_LAST_S * 1000;
	}
	c->at++;
	if (final || c->at >= c->n_order) {
		ended(c, NULL, err);
		return;
	}
	log_info("%s; asking the next one", c->why);
	sg_timer_init(&c->limit, c->s->conf.loop, begin, c);
	if (sg_timer_start(&c->limit, 0) < 0)
		ended(c, NULL, -ENOMEM);
}

static void on_limit(void *arg)
{
	char text[64];

	snprintf(text, sizeof(text), "no answer for %d s", SG_SETUP_NODE_MS / 1000);
	failed(arg, -ETIMEDOUT, false, text);
}

/* ---- what is said ------------------------------------------------------------------------------------------------------- */

/* False: the call went on to another node, or ended. */
static bool push(struct setup_call *c)
{
	struct iovec iov = {c->tx, c->tx_len};
	int err = c->tx_len ? c->stream->ops->send(c->stream, &iov, 1) : 0;

	if (err == 0)
		c->tx_len = 0;
	if (err == 0 || err == -EAGAIN)
		return true;
	failed(c, err, false, sg_strerror(err));
	return false;
}

static bool say(struct setup_call *c, const struct sg_writer *w)
{
	if (w->err) {
		failed(c, SG_ELONG, true, "the route is too long");
		return false;
	}
	c->tx_len = sg_writer_len(w);
	return push(c);
}

static bool ask_node(struct setup_call *c)
{
	struct sg_writer w = sg_writer(c->tx, SG_RPC_WRITE_MAX);

	sg_rpc_write_request(&c->out, &w, SG_RPC_DIAL_GROUP, 0);
	sg_rpc_write_route(&c->out, &w, &c->route);
	return say(c, &w);
}

static bool ask_ids(struct setup_call *c)
{
	struct sg_writer w = sg_writer(c->tx, SG_RPC_WRITE_MAX);

	sg_rpc_write_request(&c->out, &w, SG_RPC_RESERVE_IDS, 0);
	sg_rpc_write_count(&w, 2);
	return say(c, &w);
}

static struct sg_rule make(const struct setup_call *c, enum sg_rule_type type, uint32_t key, uint32_t next)
{
	return (struct sg_rule){.keep_alive_ns = c->route.keep_alive_ns,
		.type = (uint8_t)type,
		.key = key,
		.next_id = next,
		.next_tp = c->route.forward[0].tp};
}

/* Its ids are known: the rules of both ends, its own to it. */
static bool give_rules(struct setup_call *c, const uint32_t its[2])
{
	struct sg_writer w = sg_writer(c->tx, SG_RPC_WRITE_MAX);
	uint8_t forward[SG_RULE_MAX], reverse[SG_RULE_MAX];
	struct sg_rpc_edge e = {.forward.p = forward, .reverse.p = reverse};
	struct sg_rule rule;
	char text[128] = "";
	uint32_t own[2];

	if (route_reserve_ids(c->s->conf.route, 2, own, text, sizeof(text)) < 0) {
		failed(c, SG_EFULL, true, text);
		return false;
	}
	sg_route_desc_invert(&c->route.desc, &c->ours.desc);
	c->ours.forward = make(c, SG_RULE_FORWARD, own[0], its[0]);
	c->ours.forward.desc = c->route.desc;
	c->ours.reverse = make(c, SG_RULE_REVERSE, own[1], 0);
	c->ours.reverse.desc = c->ours.desc;

	sg_route_desc_encode(&c->route.desc, e.desc);
	rule = make(c, SG_RULE_FORWARD, its[1], own[1]);
	rule.desc = c->ours.desc;
	e.forward.len = sg_rule_encode(&rule, forward);
	rule = make(c, SG_RULE_REVERSE, its[0], 0);
	rule.desc = c->route.desc;
	e.reverse.len = sg_rule_encode(&rule, reverse);
	sg_rpc_write_request(&c->out, &w, SG_RPC_ADD_EDGE, 1);
	sg_rpc_write_edge(&c->out, &w, &e);
	c->reserved = true;
	return say(c, &w);
}

/* ---- what is answered ----------------------------------------------------------------------------------------------------- */

/* What a node may not decide. NULL: nothing is wrong. */
static const char *fault_of(const struct setup_call *c, const struct sg_edge_rules *e)
{
	struct sg_route_desc back;

	sg_route_desc_invert(&c->route.desc, &back);
	if (e->forward.type != SG_RULE_FORWARD || e->reverse.type != SG_RULE_REVERSE)
		return "its rules are of the wrong types";
	if (!sg_route_desc_equal(&e->desc, &back) || !sg_route_desc_equal(&e->reverse.desc, &back) ||
		!sg_route_desc_equal(&e->forward.desc, &c->route.desc))
		return "its rules are of another route";
	if (!sg_tpid_equal(&e->forward.next_tp, &c->route.forward[0].tp))
		return "its rules begin with another transport";
	return NULL;
}

/* These go on; false is said by all that end the attempt. */
static bool take_rules(struct setup_call *c, const struct sg_gob_value *v)
{
	char text[SG_RPC_ERROR_MAX] = "";
	struct sg_edge_rules rules;
	struct sg_rpc_edge e;
	const char *fault;

	if (sg_rpc_read_edge(v, &e, text) < 0 || sg_rpc_edge_rules(&e, &rules) < 0)
		fault = "its answer cannot be read";
	else
		fault = fault_of(c, &rules);
	if (fault)
		failed(c, SG_EMALF, false, fault);
	else
		ended(c, &rules, 0);
	return false;
}

static bool take_ids(struct setup_call *c, const struct sg_gob_value *v)
{
	char text[SG_RPC_ERROR_MAX] = "";
	uint32_t ids[2];
	size_t n;

	if (sg_rpc_read_ids(v, ids, SG_ARRAY_LEN(ids), &n, text) < 0 || n != 2 || ids[0] == 0 || ids[1] == 0 ||
		ids[0] == ids[1]) {
		failed(c, SG_EMALF, true, "its answer cannot be read");
		return false;
	}
	return give_rules(c, ids);
}

static bool take_yes(struct setup_call *c, const struct sg_gob_value *v)
{
	char text[SG_RPC_ERROR_MAX] = "";
	struct sg_edge_rules rules = c->ours;
	bool yes = false;

	if (sg_rpc_read_bool(v, &yes, text) < 0 || !yes)
		failed(c, SG_EREFUSED, true, "it did not take the rules");
	else
		ended(c, &rules, 0);
	return false;
}

/* A node that cannot reach a visor of the path may be alone with that; all else every node would say. */
static bool is_its_own(const char *error)
{
	return strstr(error, "dial attempt failed") || strstr(error, "dmsg") || strstr(error, "deadline");
}

/* False: the call went on to another node, or ended. */
static bool take(struct setup_call *c, const struct sg_gob_value *v)
{
	if (!c->has_head) {
		if (sg_rpc_read_head(v, &c->head) < 0) {
			failed(c, SG_EMALF, c->direct, "its answer cannot be read");
			return false;
		}
		c->has_head = true;
		return true;
	}
	c->has_head = false;
	if (c->head.error[0]) {
		failed(c, SG_EREFUSED, c->direct || !is_its_own(c->head.error), c->head.error);
		return false;
	}
	if (!c->direct)
		return take_rules(c, v);
	return c->reserved ? take_yes(c, v) : take_ids(c, v);
}

/* ---- the stream ------------------------------------------------------------------------------------------------------------ */

static void on_data(void *arg, struct sg_view in)
{
	struct setup_call *c = arg;
	struct sg_gob_value v;
	struct sg_reader r;
	int ret = sg_rpc_in_feed(&c->in, in);

	while (ret == 0 && (ret = sg_rpc_in_next(&c->in, &r, &v)) == 1) {
		if (!take(c, &v))
			return;
		ret = 0;
	}
	if (ret < 0)
		failed(c, ret, c->direct, "its answer cannot be read");
}

static void on_writable(void *arg)
{
	push(arg);
}

static void on_close(void *arg, int err, const char *why)
{
	struct setup_call *c = arg;

	c->stream = NULL;
	if (c->direct && !c->reserved && !c->has_head)
		failed(c, -ENOTSUP, true, "it takes no routes from neighbours");
	else
		failed(c, err < 0 ? err : SG_ECLOSED, c->direct, why && *why ? why : "closed without an answer");
}

static const struct sg_stream_user stream_user = {
	.size = sizeof(stream_user), .on_data = on_data, .on_writable = on_writable, .on_close = on_close};

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct setup_call *c = arg;

	c->dialing = false;
	if (!stream) {
		failed(c, err, c->direct, why && *why ? why : sg_strerror(err));
		return;
	}
	stream->user = &stream_user;
	stream->user_arg = c;
	c->stream = stream;
	if (c->direct)
		ask_ids(c);
	else
		ask_node(c);
}

static void begin(void *arg)
{
	struct setup_call *c = arg;
	struct setup_client *s = c->s;
	int err = -ENOMEM;

	sg_rpc_in_init(&c->in);
	sg_rpc_out_init(&c->out, SG_GOB_ID_FIRST);
	c->tx = sg_malloc(SG_RPC_WRITE_MAX);
	sg_timer_init(&c->limit, s->conf.loop, on_limit, c);
	if (c->tx && sg_timer_start(&c->limit, SG_SETUP_NODE_MS) == 0) {
		err = s->ops ? s->ops->dial(s->ctx, &c->order[c->at], c->direct ? VISOR_PORT : NODE_PORT, on_dialed, c)
			     : SG_ENOROUTE;
		c->dialing = err == 0;
	}
	if (err < 0)
		failed(c, err, c->direct || !s->ops,
			s->ops ? sg_strerror(err)
			       : "it is asked over dmsg, which is not there: list plugin 'transport-dmsg'");
}

/* ---- asking ---------------------------------------------------------------------------------------------------------------- */

static struct setup_call *call_new(
	struct setup_client *s, const struct sg_rpc_route *route, sg_route_asked_fn *fn, void *arg)
{
	struct setup_call *c = sg_calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->s = s;
	c->route = *route;
	c->fn = fn;
	c->arg = arg;
	sg_timer_init(&c->limit, s->conf.loop, begin, c);
	if (sg_timer_start(&c->limit, 0) < 0) {
		sg_free(c);
		return NULL;
	}
	sg_list_add_tail(&s->calls, &c->node);
	return c;
}

int setup_by_nodes(struct setup_client *s, const struct sg_rpc_route *route, sg_route_asked_fn *fn, void *arg,
	struct setup_call **out)
{
	struct setup_call *c = s->n_nodes ? call_new(s, route, fn, arg) : NULL;

	if (!c)
		return s->n_nodes ? -ENOMEM : SG_ENOROUTE;
	for (int last = 0; last < 2; last++) {
		for (size_t i = 0; i < s->n_nodes; i++) {
			if ((s->nodes[i].last_until_ms > now_ms(s)) == (last == 1))
				c->order[c->n_order++] = s->nodes[i].pk;
		}
	}
	*out = c;
	return 0;
}

int setup_direct(struct setup_client *s, const struct sg_rpc_route *route, sg_route_asked_fn *fn, void *arg,
	struct setup_call **out)
{
	struct setup_call *c = call_new(s, route, fn, arg);

	if (!c)
		return -ENOMEM;
	c->direct = true;
	c->order[0] = route->desc.dst;
	c->n_order = 1;
	*out = c;
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------ */

struct setup_client *setup_client_new(const struct setup_conf *conf)
{
	struct setup_client *s = sg_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->conf = *conf;
	sg_list_init(&s->calls);
	return s;
}

void setup_client_free(struct setup_client *s)
{
	if (!s)
		return;
	while (!sg_list_empty(&s->calls))
		call_free(sg_container_of(s->calls.next, struct setup_call, node));
	sg_free(s);
}

void setup_nodes_set(struct setup_client *s, const struct sg_pk *nodes, size_t n)
{
	s->n_nodes = SG_MIN(n, (size_t)SG_SETUP_NODES_MAX);
	for (size_t i = 0; i < s->n_nodes; i++)
		s->nodes[i] = (struct node){.pk = nodes[i]};
}

size_t setup_nodes_count(const struct setup_client *s)
{
	return s->n_nodes;
}

void setup_network(struct setup_client *s, const struct sg_network_ops *ops, void *ctx)
{
	/* What is under way belongs to the network that goes: it is ended first, then anew, and finds none or another. */
	sg_list_for (it, &s->calls) {
		struct setup_call *c = sg_container_of(it, struct setup_call, node);

		hang_up(c);
		sg_timer_init(&c->limit, s->conf.loop, begin, c);
		(void)sg_timer_start(&c->limit, 0);
	}
	s->ops = ops;
	s->ctx = ctx;
}
