/*
 * The answering side of route setup.
 *
 *	on_stream → who is it? → take: header, argument → reserve | intermediary | edge → reply
 *
 * Calls of a stream are answered in order. Errors are worded as the existing visors word them, for setup nodes hand the
 * text on to whoever dials.
 */
#include "net/await.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "wire/rpc.h"

SG_LOG_TOPIC("setup");

#define PORT              136
#define CALLER_MS         60000 /* of one stream (spec, 2026) */
#define CALLERS_MAX       64    /* streams at once (own) */
#define CALLERS_PER_KEY   16    /* of one key (own) */
#define NEIGHBOURS_MAX    32    /* of these streams, so that neighbours do not keep setup nodes out (own) */
#define NEIGHBOUR_IDS_MAX 4     /* (spec, 2026) */
#define WAITING_MAX       65536 /* bytes of answers that the caller does not read */

enum failure { FAILURE_ADD_RULES = 1, FAILURE_RESERVE = 4 };

struct await {
	struct await_conf conf;
	struct sg_pk nodes[SG_SETUP_NODES_MAX];
	size_t n_nodes;
	const struct sg_network_ops *ops;
	void *ctx;
	struct sg_list callers;
	size_t n_callers;
	struct sg_log_limit rl_refused;
};

struct caller {
	struct sg_list node;
	struct await *a;
	struct sg_stream *stream;
	struct sg_pk pk;
	bool is_node; /* a setup node; otherwise a neighbour */
	struct sg_timer limit;
	struct sg_rpc_in in;
	struct sg_rpc_out out;
	bool has_head;
	struct sg_rpc_head head;
	uint8_t *tx; /* answers that the stream has not taken */
	size_t tx_len;
	/* Of a neighbour. */
	uint32_t ids[NEIGHBOUR_IDS_MAX];
	size_t n_ids;
	bool reserved, installed;
};

static void caller_free(struct caller *c, bool close)
{
	sg_list_remove(&c->node);
	c->a->n_callers--;
	sg_timer_stop(&c->limit);
	if (close)
		c->stream->ops->close(c->stream);
	sg_rpc_in_fini(&c->in);
	sg_free(c->tx);
	sg_free(c);
}

static void on_limit(void *arg)
{
	caller_free(arg, true);
}

SG_PRINTF(3, 4)
static int fail(char *why, enum failure code, const char *fmt, ...)
{
	char text[SG_RPC_ERROR_MAX - 24];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(why, SG_RPC_ERROR_MAX, "failure code %d (%s)", code, text);
	return SG_EREFUSED;
}

/* ---- the three calls: 0 with an answer behind the header, or a negative code and the error in @why ---------------------- */

static int reserve(struct caller *c, const struct sg_gob_value *v, struct sg_writer *w, char *why)
{
	uint32_t ids[SG_RULES_RESERVE_MAX];
	char text[160] = "";
	uint8_t n = 0;
	int err = sg_rpc_read_count(v, &n, why);

	if (err < 0)
		return err;
	if (!c->is_node && (c->reserved || n > NEIGHBOUR_IDS_MAX))
		return fail(why, FAILURE_RESERVE, "a neighbour reserves once, at most %d", NEIGHBOUR_IDS_MAX);
	if (n && route_reserve_ids(c->a->conf.route, n, ids, text, sizeof(text)) < 0)
		return fail(why, FAILURE_RESERVE, "no available routeIDs");
	if (!c->is_node) {
		memcpy(c->ids, ids, n * sizeof(*ids));
		c->n_ids = n;
		c->reserved = true;
	}
	sg_rpc_write_response(&c->out, w, c->head.method, c->head.seq, "");
	sg_rpc_write_ids(&c->out, w, ids, n);
	return 0;
}

struct taken {
	struct sg_rule *rules; /* SG_RULES_RESERVE_MAX of them */
	size_t n;
	char *why;
};

static int take_rule(void *arg, struct sg_view in)
{
	struct taken *t = arg;

	if (t->n == SG_RULES_RESERVE_MAX)
		return fail(t->why, FAILURE_ADD_RULES, "more than %d rules", SG_RULES_RESERVE_MAX);
	if (sg_rule_decode(in, &t->rules[t->n]) < 0)
		return fail(t->why, FAILURE_ADD_RULES, "rule %zu is malformed", t->n);
	if (t->rules[t->n].type != SG_RULE_INTERMEDIARY)
		return fail(t->why, FAILURE_ADD_RULES, "rule %zu is no intermediary rule", t->n);
	t->n++;
	return 0;
}

static int intermediary(struct caller *c, const struct sg_gob_value *v, struct sg_writer *w, char *why)
{
	struct taken t = {.why = why};
	char text[160] = "";
	int err;

	if (!c->is_node)
		return fail(why, FAILURE_ADD_RULES, "only setup nodes give intermediary rules");
	t.rules = sg_calloc(SG_RULES_RESERVE_MAX, sizeof(*t.rules));
	if (!t.rules)
		return fail(why, FAILURE_ADD_RULES, "out of memory");
	err = sg_rpc_read_rules(v, take_rule, &t, why);
	if (err == 0 && t.n && route_add_intermediary(c->a->conf.route, t.rules, t.n, text, sizeof(text)) < 0)
		err = fail(why, FAILURE_ADD_RULES, "%s", text);
	sg_free(t.rules);
	if (err < 0)
		return err;
	sg_rpc_write_response(&c->out, w, c->head.method, c->head.seq, "");
	sg_rpc_write_bool(w, true);
	return 0;
}

static bool is_reserved(const struct caller *c, uint32_t id)
{
	for (size_t i = 0; i < c->n_ids; i++) {
		if (c->ids[i] == id)
			return true;
	}
	return false;
}

/* What is wrong with the rules of an end, whoever gives them; NULL: nothing. */
static const char *edge_fault(const struct caller *c, const struct sg_edge_rules *e)
{
	const struct await_conf *conf = &c->a->conf;
	struct sg_link *l = links_by_id(conf->links, &e->forward.next_tp);
	struct sg_route_desc back;

	sg_route_desc_invert(&e->desc, &back);
	if (e->forward.type != SG_RULE_FORWARD || e->reverse.type != SG_RULE_REVERSE)
		return "not a forward and a reverse rule";
	if (!sg_pk_equal(&e->desc.dst, conf->own))
		return "the route does not end here";
	if (!sg_route_desc_equal(&e->reverse.desc, &e->desc) || !sg_route_desc_equal(&e->forward.desc, &back))
		return "the rules are not of that route";
	if (!l)
		return "the transport of the way back is not up here";
	if (c->is_node)
		return NULL;
	if (!sg_pk_equal(&e->desc.src, &c->pk))
		return "the route does not begin at its caller";
	if (!sg_pk_equal(link_remote(l), &c->pk))
		return "the way back does not go to its caller";
	if (c->installed)
		return "a neighbour installs once";
	if (e->forward.key == e->reverse.key || !is_reserved(c, e->forward.key) || !is_reserved(c, e->reverse.key))
		return "its route ids were not reserved for it";
	return NULL;
}

static int edge(struct caller *c, const struct sg_gob_value *v, struct sg_writer *w, char *why)
{
	struct sg_edge_rules rules;
	struct sg_rpc_edge e;
	char text[160] = "";
	const char *fault;
	int err = sg_rpc_read_edge(v, &e, why);

	if (err < 0)
		return err;
	if (sg_rpc_edge_rules(&e, &rules) < 0)
		return fail(why, FAILURE_ADD_RULES, "malformed rules");
	fault = edge_fault(c, &rules);
	if (fault)
		return fail(why, FAILURE_ADD_RULES, "%s", fault);
	if (route_accept_edge(c->a->conf.route, &rules, text, sizeof(text)) < 0)
		return fail(why, FAILURE_ADD_RULES, "%s", text);
	c->installed = true;
	sg_rpc_write_response(&c->out, w, c->head.method, c->head.seq, "");
	sg_rpc_write_bool(w, true);
	return 0;
}

static int unknown(const struct caller *c, char *why)
{
	const char *dot = strrchr(c->head.method, '.');
	static const char service[] = "RPCGateway";

	if (!dot)
		snprintf(why, SG_RPC_ERROR_MAX, "rpc: service/method request ill-formed: %s", c->head.method);
	else if ((size_t)(dot - c->head.method) == sizeof(service) - 1 &&
		 strncmp(c->head.method, service, sizeof(service) - 1) == 0)
		snprintf(why, SG_RPC_ERROR_MAX, "rpc: can't find method %s", c->head.method);
	else
		snprintf(why, SG_RPC_ERROR_MAX, "rpc: can't find service %s", c->head.method);
	return SG_EREFUSED;
}

/* ---- the stream ------------------------------------------------------------------------------------------------------ */

/* What waits goes out as far as the stream takes it. False: the caller is gone. */
static bool push(struct caller *c)
{
	struct iovec iov = {c->tx, c->tx_len};
	int err = c->tx_len ? c->stream->ops->send(c->stream, &iov, 1) : 0;

	if (err == 0)
		c->tx_len = 0;
	if (err == 0 || err == -EAGAIN)
		return true;
	caller_free(c, true);
	return false;
}

/* False: the caller is gone. */
static bool reply(struct caller *c, const uint8_t *b, size_t len)
{
	uint8_t *tx = len > WAITING_MAX - c->tx_len ? NULL : sg_realloc(c->tx, c->tx_len + len);

	if (!tx) {
		caller_free(c, true);
		return false;
	}
	memcpy(tx + c->tx_len, b, len);
	c->tx = tx;
	c->tx_len += len;
	return push(c);
}

static bool answer(struct caller *c, const struct sg_gob_value *v)
{
	uint8_t b[2048];
	struct sg_writer w = sg_writer(b, sizeof(b));
	char why[SG_RPC_ERROR_MAX] = "", pk[SG_PK_SHORT];
	const char *method = c->head.method;
	int err = strcmp(method, SG_RPC_RESERVE_IDS) == 0        ? reserve(c, v, &w, why)
		  : strcmp(method, SG_RPC_ADD_EDGE) == 0         ? edge(c, v, &w, why)
		  : strcmp(method, SG_RPC_ADD_INTERMEDIARY) == 0 ? intermediary(c, v, &w, why)
								 : unknown(c, why);

	if (err < 0) {
		log_info_rl(&c->a->rl_refused, "%s %s: %s refused: %s", c->is_node ? "setup node" : "neighbour",
			sg_pk_short(&c->pk, pk), method, why);
		sg_rpc_write_response(&c->out, &w, method, c->head.seq, why);
	}
	return reply(c, b, sg_writer_len(&w));
}

static void on_data(void *arg, struct sg_view in)
{
	struct caller *c = arg;
	struct sg_gob_value v;
	struct sg_reader r;
	int ret = sg_rpc_in_feed(&c->in, in);

	while (ret == 0 && (ret = sg_rpc_in_next(&c->in, &r, &v)) == 1) {
		if (c->has_head) {
			c->has_head = false;
			if (!answer(c, &v))
				return;
			ret = 0;
		} else {
			ret = sg_rpc_read_head(&v, &c->head);
			c->has_head = ret == 0;
		}
	}
	if (ret < 0)
		caller_free(c, true);
}

static void on_writable(void *arg)
{
	push(arg);
}

static void on_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	caller_free(arg, false);
}

static const struct sg_stream_user stream_user = {
	.size = sizeof(stream_user), .on_data = on_data, .on_writable = on_writable, .on_close = on_close};

static bool is_node(const struct await *a, const struct sg_pk *pk)
{
	for (size_t i = 0; i < a->n_nodes; i++) {
		if (sg_pk_equal(&a->nodes[i], pk))
			return true;
	}
	return false;
}

static bool is_crowd(const struct await *a, const struct sg_pk *pk, bool node)
{
	size_t its = 0, neighbours = 0;

	sg_list_for (it, &a->callers) {
		const struct caller *c = sg_container_of(it, struct caller, node);

		its += sg_pk_equal(&c->pk, pk);
		neighbours += !c->is_node;
	}
	return a->n_callers >= CALLERS_MAX || its >= CALLERS_PER_KEY || (!node && neighbours >= NEIGHBOURS_MAX);
}

static int on_stream(void *arg, struct sg_stream *stream)
{
	struct await *a = arg;
	struct sg_stream_info info;
	struct caller *c;
	char pk[SG_PK_SHORT];
	bool node;

	stream->ops->info(stream, &info, sizeof(info));
	node = is_node(a, &info.remote);
	if (!node && !links_find(a->conf.links, &info.remote)) {
		log_info_rl(&a->rl_refused, "%s wants to set up a route; it is neither a setup node nor a neighbour",
			sg_pk_short(&info.remote, pk));
		return SG_EREFUSED;
	}
	if (is_crowd(a, &info.remote, node))
		return SG_EFULL;
	c = sg_calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	sg_timer_init(&c->limit, a->conf.loop, on_limit, c);
	if (sg_timer_start(&c->limit, CALLER_MS) < 0) {
		sg_free(c);
		return -ENOMEM;
	}
	c->a = a;
	c->stream = stream;
	c->pk = info.remote;
	c->is_node = node;
	sg_rpc_in_init(&c->in);
	sg_rpc_out_init(&c->out, SG_GOB_ID_FIRST);
	stream->user = &stream_user;
	stream->user_arg = c;
	sg_list_add_tail(&a->callers, &c->node);
	a->n_callers++;
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

/* ---- life ------------------------------------------------------------------------------------------------------------- */

struct await *await_new(const struct await_conf *conf)
{
	struct await *a = sg_calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->conf = *conf;
	sg_list_init(&a->callers);
	return a;
}

void await_free(struct await *a)
{
	if (!a)
		return;
	await_network(a, NULL, NULL);
	sg_free(a);
}

void await_setup_nodes(struct await *a, const struct sg_pk *nodes, size_t n)
{
	a->n_nodes = SG_MIN(n, (size_t)SG_SETUP_NODES_MAX);
	if (a->n_nodes)
		memcpy(a->nodes, nodes, a->n_nodes * sizeof(*nodes));
	/* Who is not one any more is no neighbour with rights either, until it calls again. */
	sg_list_for_safe (it, &a->callers) {
		struct caller *c = sg_container_of(it, struct caller, node);

		if (c->is_node && !is_node(a, &c->pk))
			caller_free(c, true);
	}
}

void await_network(struct await *a, const struct sg_network_ops *ops, void *ctx)
{
	while (!sg_list_empty(&a->callers))
		caller_free(sg_container_of(a->callers.next, struct caller, node), true);
	if (a->ops)
		a->ops->unlisten(a->ctx, PORT);
	a->ops = ops;
	a->ctx = ctx;
	if (ops && ops->listen(ctx, PORT, &listener, a) < 0)
		a->ops = NULL;
}
