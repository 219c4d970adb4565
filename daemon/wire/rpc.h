/*
 * Remote calls as visors and setup nodes make them: Go's net/rpc over gob, and the arguments and answers of route setup. A
 * call is two gob values, a header and an argument; an answer likewise. Source: daemon/doc/wire.md, "Route setup";
 * tests/data/routing.json rpc, gob_acceptance.
 */
#ifndef SG_WIRE_RPC_H
#define SG_WIRE_RPC_H

#include "crypto/keys.h"
#include "wire/gob.h"
#include "wire/rule.h"

#define SG_RPC_MESSAGE_MAX 65536 /* bytes of one gob message that we take (own; a path of 64 hops has 12 KiB) */
#define SG_RPC_WRITE_MAX   16384 /* bytes of a call or an answer of ours, definitions included */
#define SG_RPC_METHOD_MAX  64
#define SG_RPC_ERROR_MAX   320
#define SG_RPC_HOPS_MAX    64 /* of one direction (own) */

#define SG_RPC_RESERVE_IDS      "RPCGateway.ReserveIDs"
#define SG_RPC_ADD_INTERMEDIARY "RPCGateway.AddIntermediaryRules"
#define SG_RPC_ADD_EDGE         "RPCGateway.AddEdgeRules"
#define SG_RPC_DIAL_GROUP       "SetupRPCGateway.DialRouteGroup"

/* ---- one direction, reading ---- */

struct sg_rpc_in {
	struct sg_gob_types types;
	uint8_t *b; /* what came and was not taken yet: at..len */
	size_t at, len, cap;
};

/* Of a call, or of an answer: then @error says whether it failed. */
struct sg_rpc_head {
	char method[SG_RPC_METHOD_MAX]; /* "" when longer than any of ours */
	uint64_t seq;
	char error[SG_RPC_ERROR_MAX]; /* printable, cut */
};

/* Both rules of an end as they stand on the wire. */
struct sg_rpc_edge {
	uint8_t desc[SG_ROUTE_DESC_LEN];
	struct sg_view forward, reverse; /* borrowed */
};

/* What a setup node is asked for. */
struct sg_rpc_route {
	struct sg_route_desc desc;
	int64_t keep_alive_ns;
	size_t n_forward, n_reverse;
	struct sg_hop forward[SG_RPC_HOPS_MAX], reverse[SG_RPC_HOPS_MAX];
};

/* ---- one direction, writing ---- */

enum sg_rpc_type {
	SG_RPC_T_REQUEST,
	SG_RPC_T_RESPONSE,
	SG_RPC_T_EMPTY,
	SG_RPC_T_IDS,
	SG_RPC_T_EDGE,
	SG_RPC_T_DESC,
	SG_RPC_T_ROUTE,
	SG_RPC_T_HOPS,
	SG_RPC_T_HOP,
	SG_RPC_T_UUID,
	SG_RPC_T_PK,
	SG_RPC_TYPES
};

/* Types get their ids at their first use; one whose id is set before keeps it. */
struct sg_rpc_out {
	int64_t next;
	int64_t id[SG_RPC_TYPES];
	bool defined[SG_RPC_TYPES];
};

SG_BEGIN_DECLS

void sg_rpc_in_init(struct sg_rpc_in *in);
void sg_rpc_in_fini(struct sg_rpc_in *in);
/** sg_rpc_in_feed - 0, SG_ELONG or -ENOMEM. */
int sg_rpc_in_feed(struct sg_rpc_in *in, struct sg_view data);
/**
 * sg_rpc_in_next - the next value, valid until the next call on @in. 1, 0 when more must come first, or a negative code:
 * the stream cannot be followed any more.
 */
int sg_rpc_in_next(struct sg_rpc_in *in, struct sg_reader *r, struct sg_gob_value *out);

/** sg_rpc_read_head - of a call or an answer. 0 or SG_EMALF: the stream ends. */
int sg_rpc_read_head(const struct sg_gob_value *v, struct sg_rpc_head *out);

/*
 * Arguments and answers: 0, or SG_EMALF with the words of the existing implementation in @why (SG_RPC_ERROR_MAX). Only this
 * value is spoilt then.
 */
int sg_rpc_read_count(const struct sg_gob_value *v, uint8_t *out, char *why);
int sg_rpc_read_bool(const struct sg_gob_value *v, bool *out, char *why);
/** sg_rpc_read_ids - at most @max of them. */
int sg_rpc_read_ids(const struct sg_gob_value *v, uint32_t *out, size_t max, size_t *n, char *why);
/** sg_rpc_read_rules - a list of rules, each to @fn as it stands; what @fn returns ends the reading unless 0. */
typedef int sg_rpc_rule_fn(void *arg, struct sg_view rule);
int sg_rpc_read_rules(const struct sg_gob_value *v, sg_rpc_rule_fn *fn, void *arg, char *why);
int sg_rpc_read_edge(const struct sg_gob_value *v, struct sg_rpc_edge *out, char *why);
/** sg_rpc_edge_rules - what stands in it: 0 or SG_EMALF. That both rules fit the descriptor is not looked at. */
int sg_rpc_edge_rules(const struct sg_rpc_edge *e, struct sg_edge_rules *out);
int sg_rpc_read_route(const struct sg_crypto *c, const struct sg_gob_value *v, struct sg_rpc_route *out, char *why);

/** sg_rpc_out_init - ids from @base (64 or more). */
void sg_rpc_out_init(struct sg_rpc_out *o, int64_t base);
/* All of them write into @w, whose err says whether there was room. */
void sg_rpc_write_request(struct sg_rpc_out *o, struct sg_writer *w, const char *method, uint64_t seq);
/** sg_rpc_write_response - the header; with an @error (not "") also the body that belongs to it. */
void sg_rpc_write_response(
	struct sg_rpc_out *o, struct sg_writer *w, const char *method, uint64_t seq, const char *error);
void sg_rpc_write_count(struct sg_writer *w, uint8_t n);
void sg_rpc_write_bool(struct sg_writer *w, bool v);
void sg_rpc_write_ids(struct sg_rpc_out *o, struct sg_writer *w, const uint32_t *ids, size_t n);
void sg_rpc_write_edge(struct sg_rpc_out *o, struct sg_writer *w, const struct sg_rpc_edge *e);
void sg_rpc_write_route(struct sg_rpc_out *o, struct sg_writer *w, const struct sg_rpc_route *route);

SG_END_DECLS
#endif
