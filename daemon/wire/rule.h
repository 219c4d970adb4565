/*
 * What is said about routes: descriptors, the three types of rules, hops. A rule belongs to the visor that keeps it under
 * its key, a route id; packets with that id follow it. Source: daemon/doc/wire.md, "Rules"; tests/data/routing.json.
 */
#ifndef SG_WIRE_RULE_H
#define SG_WIRE_RULE_H

#include "base/limits.h"
#include <skygate/types.h>

/* Both ends of a route in one direction. At an end, the group is known by the descriptor of its reverse rule: dst is us. */
struct sg_route_desc {
	struct sg_pk src, dst;
	uint16_t src_port, dst_port;
};

#define SG_ROUTE_DESC_LEN 70

enum sg_rule_type {
	SG_RULE_REVERSE = 0,     /* packets end here, in the group of the descriptor */
	SG_RULE_FORWARD = 1,     /* where packets that begin here go */
	SG_RULE_INTERMEDIARY = 2 /* packets pass through; no descriptor */
};

struct sg_rule {
	int64_t keep_alive_ns; /* as received: sg_rule_life_ns says how long it lives */
	uint8_t type;
	uint32_t key;              /* never 0 */
	struct sg_route_desc desc; /* reverse, forward */
	uint32_t next_id;          /* forward, intermediary; never 0 */
	struct sg_tpid next_tp;
};

#define SG_RULE_FORWARD_LEN 120
#define SG_RULE_MAX         SG_RULE_FORWARD_LEN

/* What an end gets: its two rules, and the descriptor of its group. */
struct sg_edge_rules {
	struct sg_route_desc desc;
	struct sg_rule forward, reverse;
};

/* A step of a path. */
struct sg_hop {
	struct sg_tpid tp;
	struct sg_pk from, to;
};

SG_BEGIN_DECLS

/** sg_route_desc_decode - exactly 70 bytes: 0 or SG_EMALF. Whether the keys are keys is not looked at. */
int sg_route_desc_decode(struct sg_view in, struct sg_route_desc *out);
void sg_route_desc_encode(const struct sg_route_desc *d, uint8_t out[SG_ROUTE_DESC_LEN]);
/** sg_route_desc_invert - the other direction; @out may be @d. */
void sg_route_desc_invert(const struct sg_route_desc *d, struct sg_route_desc *out);
bool sg_route_desc_equal(const struct sg_route_desc *a, const struct sg_route_desc *b);

/**
 * sg_rule_decode - 0, or SG_EMALF: shorter than its type needs (83, 103, 33 bytes), an unknown type, or a route id of 0,
 * which no rule may have: packets for it concern the link. Longer ones are taken, the rest ignored.
 */
int sg_rule_decode(struct sg_view in, struct sg_rule *out);
/** sg_rule_encode - with the padding that others expect; a negative keep-alive as 0. Length: 83, 120 or 50. */
size_t sg_rule_encode(const struct sg_rule *rule, uint8_t out[SG_RULE_MAX]);
/** sg_rule_life_ns - how long the rule lives without a packet: what it asks for, within SG_RULE_LIFE_MIN_MS and _MAX_MS. */
int64_t sg_rule_life_ns(const struct sg_rule *rule);

SG_END_DECLS
#endif
