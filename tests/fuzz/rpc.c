/* Remote calls: a stream of calls and answers from strangers, read by every reader in turn; a route that can be read can be
 * written and read again. */
#include "base/common.h"
#include "fuzz.h"
#include "wire/rpc.h"

static const struct sg_crypto *crypto(void)
{
	static struct sg_crypto *c;

	if (!c)
		c = sg_crypto_new(sg_random_system());
	return c;
}

static int rule(void *arg, struct sg_view in)
{
	struct sg_rule r;

	(void)arg;
	sg_rule_decode(in, &r);
	return 0;
}

static void again(const struct sg_rpc_route *route)
{
	static struct sg_rpc_route same;
	static uint8_t b[2 * SG_RPC_WRITE_MAX];
	struct sg_writer w = sg_writer(b, sizeof(b));
	struct sg_gob_value v;
	struct sg_rpc_out o;
	struct sg_rpc_in in;
	struct sg_reader r;
	char why[SG_RPC_ERROR_MAX];

	sg_rpc_out_init(&o, SG_GOB_ID_FIRST);
	sg_rpc_write_route(&o, &w, route);
	must(!w.err);
	sg_rpc_in_init(&in);
	must(sg_rpc_in_feed(&in, (struct sg_view){b, sg_writer_len(&w)}) == 0);
	must(sg_rpc_in_next(&in, &r, &v) == 1);
	must(sg_rpc_read_route(crypto(), &v, &same, why) == 0);
	must(same.n_forward == route->n_forward && same.n_reverse == route->n_reverse);
	sg_rpc_in_fini(&in);
}

/* What a value is taken for depends on its turn, so that every reader meets every type. */
static void read_as(unsigned turn, const struct sg_gob_value *v)
{
	static struct sg_rpc_route route;
	char why[SG_RPC_ERROR_MAX] = "";
	struct sg_edge_rules rules;
	struct sg_rpc_edge edge;
	struct sg_rpc_head head;
	uint32_t ids[8];
	uint8_t count;
	size_t n;
	bool b;

	switch (turn % 8) {
	case 1:
		sg_rpc_read_count(v, &count, why);
		break;
	case 2:
		sg_rpc_read_rules(v, rule, NULL, why);
		break;
	case 3:
		if (sg_rpc_read_edge(v, &edge, why) == 0)
			sg_rpc_edge_rules(&edge, &rules);
		break;
	case 4:
		if (sg_rpc_read_ids(v, ids, SG_ARRAY_LEN(ids), &n, why) == 0)
			must(n <= SG_ARRAY_LEN(ids));
		break;
	case 5:
		sg_rpc_read_bool(v, &b, why);
		break;
	case 6:
		if (sg_rpc_read_route(crypto(), v, &route, why) == 0) /* hops without keys are no hops */
			must(route.n_forward <= SG_RPC_HOPS_MAX);
		break;
	case 7:
		if (sg_rpc_read_route(crypto(), v, &route, why) == 0 && route.n_forward == 1 && route.n_reverse == 1 &&
			sg_pk_check(crypto(), &route.forward[0].from) == 0 &&
			sg_pk_check(crypto(), &route.forward[0].to) == 0 &&
			sg_pk_check(crypto(), &route.reverse[0].from) == 0 &&
			sg_pk_check(crypto(), &route.reverse[0].to) == 0)
			again(&route);
		break;
	default:
		sg_rpc_read_head(v, &head);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned turn = 0; turn < 8; turn++) {
		struct sg_gob_value v;
		struct sg_reader r;
		struct sg_rpc_in in;

		sg_rpc_in_init(&in);
		if (sg_rpc_in_feed(&in, (struct sg_view){data, size}) == 0) {
			for (unsigned n = 0; sg_rpc_in_next(&in, &r, &v) == 1; n++)
				read_as(n % 2 ? turn : 0, &v);
		}
		sg_rpc_in_fini(&in);
	}
	return 0;
}
