/*
 * Streams by key and port. The network `direct`: virtual streams on the link to a neighbour (packet type 16), with credits
 * between our own ends and bounded queues toward others. The network `skynet`: route groups, encrypted end to end, over
 * any number of hops; and the rules by which packets of others pass through.
 *
 * A packet's way:  link → route/receive.c → stream user        stream user → route/send.c → link
 */
#ifndef SG_ROUTE_ROUTE_H
#define SG_ROUTE_ROUTE_H

#include "link/link.h"
#include "wire/rule.h"
#include <skygate/plugin.h>

struct sg_route;

struct sg_route_stream_info {
	struct sg_stream_info info;
	bool dialled; /* by us */
	uint64_t id;
	uint64_t rx_bytes, tx_bytes;
	size_t rx_waiting; /* bytes that its user does not want yet */
	int64_t up_ms;
};

/** route_new - makes itself the user of @links, which is kept and must outlive it. NULL when memory
 * is out. */
struct sg_route *route_new(struct sg_links *links);
/** route_set_small - how much may wait for slow readers and how far windows grow: a little, or as limits.h has it. */
void route_set_small(struct sg_route *r, bool small);
/** route_free - ends every stream (on_close) and dial (its call-back). Accepts NULL. */
void route_free(struct sg_route *r);

/** route_listen - 0, -EADDRINUSE or -ENOMEM. @ops and @arg are kept. */
int route_listen(struct sg_route *r, uint16_t port, const struct sg_listener_ops *ops, void *arg);
/** route_unlisten - streams that are open stay. Listeners serve virtual streams and route groups alike. */
void route_unlisten(struct sg_route *r, uint16_t port);

/**
 * route_dial - a stream to a port of a key, direct or over a route group, whichever is there first (route/dial.c). Waits
 * at most SG_ROUTE_DIAL_MS for a link. Ends in @done once, never inside this call. 0 or -ENOMEM.
 */
int route_dial(struct sg_route *r, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg);
/** route_dial_hops - the same over at least @min_hops; above 1 never direct. */
int route_dial_hops(
	struct sg_route *r, const struct sg_pk *pk, uint16_t port, unsigned min_hops, sg_dialed_fn *done, void *arg);
/** route_allow_plain - whether route groups may do without encryption between their ends. Not at first. */
void route_allow_plain(struct sg_route *r, bool allow);
/** route_set_min_hops - what every dial asks for at least, group_dial too. */
void route_set_min_hops(struct sg_route *r, unsigned n);
unsigned route_min_hops(const struct sg_route *r);
/** route_set_direct - whether dials may take a direct stream, as they may at first; otherwise groups only. */
void route_set_direct(struct sg_route *r, bool on);
/** route_dial_cancel - all dials with this @arg; their call-backs do not follow. */
void route_dial_cancel(struct sg_route *r, const void *arg);

/* ---- rules and route groups --------------------------------------------------------------------------------------- */

/*
 * What others ask of us on dmsg port 136; net/ has checked who asks. Each returns 0 or a negative code with a sentence in
 * @why, and then has changed nothing.
 */

/** route_reserve_ids - @n route ids into @out; nothing is kept under them yet. SG_EFULL: there are no more. */
int route_reserve_ids(struct sg_route *r, size_t n, uint32_t *out, char *why, size_t why_cap);
/** route_add_intermediary - all of these rules or none. Their keys were reserved and are not in use. */
int route_add_intermediary(struct sg_route *r, const struct sg_rule *rules, size_t n, char *why, size_t why_cap);
/**
 * route_accept_edge - we are the far end of a new route: its rules are kept from now on, its group waits for the dialler's
 * handshake and then goes to the listener of desc.dst_port.
 */
int route_accept_edge(struct sg_route *r, const struct sg_edge_rules *rules, char *why, size_t why_cap);

/* What a dial wants: a route to desc.dst. desc.src is us. */
struct sg_route_want {
	struct sg_route_desc desc;
	unsigned min_hops;     /* at least so many; 0 and 1: any */
	int64_t keep_alive_ns; /* for the rules */
};

/* @rules: borrowed, ours as the dialler's (desc is the inverse of what was wanted); or an error and a sentence. */
typedef void sg_route_asked_fn(void *arg, const struct sg_edge_rules *rules, int err, const char *why);

/* How routes are set up: net/ finds a path and has the rules made along it. */
struct sg_route_setup {
	/* Ends in @fn once, never inside the call. 0 or a negative code. @want: borrowed. */
	int (*ask)(void *arg, const struct sg_route_want *want, sg_route_asked_fn *fn, void *fn_arg);
	/* The one question with that @fn_arg; @fn does not follow. */
	void (*cancel)(void *arg, void *fn_arg);
};

/** route_set_setup - @ops and @arg are kept; NULL: none any more, what was asked is forgotten. */
void route_set_setup(struct sg_route *r, const struct sg_route_setup *ops, void *arg);

/**
 * group_dial - a stream to a port of a key over a route group, network "skynet": asks for a route, then shakes hands at
 * its ends, together at most SG_GROUP_DIAL_MS. Ends in @done once, never inside this call. 0 or a negative code: -ENOMEM,
 * SG_EFULL.
 */
int group_dial(
	struct sg_route *r, const struct sg_pk *pk, uint16_t port, unsigned min_hops, sg_dialed_fn *done, void *arg);
/** group_ping - asks the other end of a group's stream for an answer, now. Nothing when it is not open. */
void group_ping(struct sg_stream *stream);
/** group_rtt_us - how long the answer to the last ping took; -1: none came yet. */
int64_t group_rtt_us(const struct sg_stream *stream);
/** group_dial_cancel - all group dials with this @arg; their call-backs do not follow. */
void group_dial_cancel(struct sg_route *r, const void *arg);

struct sg_route_rule_info {
	struct sg_rule rule;
	bool next_up;            /* its next transport */
	bool bound;              /* its first packet came */
	struct sg_tpid from;     /* by this transport; others are refused */
	int64_t age_ms, left_ms; /* left: until it is dead, should no packet use it */
	uint64_t packets, bytes; /* of payload */
	/* Of the rules of a route group. */
	const char *state; /* "opening", "open" or "closing"; "" for what only passes through; static */
	struct sg_pk peer; /* the other end */
	uint16_t port;     /* the listening one */
	bool dialled;
	int64_t rtt_us;           /* from end to end; -1: no ping answered yet */
	int64_t up_bps, down_bps; /* bytes a second, as of the last pings */
};

/** route_each_rule - @fn for every rule that is alive, until it returns false. */
void route_each_rule(const struct sg_route *r, bool (*fn)(void *arg, const struct sg_route_rule_info *info), void *arg);

/** route_each_stream - @fn for every open stream, until it returns false. */
void route_each_stream(
	const struct sg_route *r, bool (*fn)(void *arg, const struct sg_route_stream_info *s), void *arg);

/* X(member, name, help) */
#define SG_ROUTE_COUNTERS(X)                                                                                           \
	X(streams_in, "route.streams_in", "streams that others opened")                                                \
	X(streams_out, "route.streams_out", "streams that we opened")                                                  \
	X(groups_in, "route.groups_in", "route groups that others opened")                                             \
	X(groups_out, "route.groups_out", "route groups that we opened")                                               \
	X(groups_failed, "route.groups_failed", "route groups whose handshake failed")                                 \
	X(forwarded, "route.forwarded", "packets of others that passed through")                                       \
	X(forwarded_bytes, "route.forwarded_bytes", "bytes of their payloads")                                         \
	X(held, "route.held", "times that a link was not read because the next link of a packet was full")

/* Why something was dropped or refused: a counter and a rate-limited line each. X(reason, name, help) */
#define SG_ROUTE_DROPS(X)                                                                                              \
	X(ROUTE_DROP_PORT, "route.refused.port", "streams refused: nobody listens on that port, or takes it")          \
	X(ROUTE_DROP_LIMIT, "route.refused.limit", "streams refused: too many on that link, or memory is out")         \
	X(ROUTE_DROP_ID, "route.refused.id", "streams refused: an id that is in use or not the other end's to give")   \
	X(ROUTE_DROP_RELAY, "route.refused.relay", "streams refused: we do not relay")                                 \
	X(ROUTE_DROP_RULE, "route.drop.rule", "packets dropped: no rule for their route id")                           \
	X(ROUTE_DROP_TRANSPORT, "route.drop.transport",                                                                \
		"packets dropped: they came by another transport than their rule's")                                   \
	X(ROUTE_DROP_TRANSPORT_DOWN, "route.drop.transport_down",                                                      \
		"packets dropped: the transport that they should leave by is down")                                    \
	X(ROUTE_DROP_STUCK, "route.drop.stuck", "routes closed: the transport that they leave by takes nothing more")  \
	X(ROUTE_DROP_GROUP, "route.drop.group", "packets dropped: their group is not open yet, or no longer")          \
	X(ROUTE_DROP_TYPE, "route.drop.type", "packets skipped: a type that has no use here")                          \
	X(ROUTE_DROP_MALFORMED, "route.drop.malformed", "packets dropped: shorter than their type needs")              \
	X(ROUTE_DROP_SENDER, "route.drop.sender", "packets dropped: the sender's key is not the link's")               \
	X(ROUTE_DROP_STREAM, "route.drop.stream", "packets dropped: no such stream, or no longer")                     \
	X(ROUTE_DROP_CREDIT, "route.drop.credit", "streams closed: more was sent than was allowed")                    \
	X(ROUTE_DROP_QUEUE, "route.drop.queue", "streams closed: too many bytes wait for slow readers")                \
	X(ROUTE_DROP_STALL, "route.drop.stall", "streams closed: a reader held up the whole link for too long")

enum route_drop {
#define SG_ROUTE_DROP_ENUM(reason, name, help) reason,
	SG_ROUTE_DROPS(SG_ROUTE_DROP_ENUM)
#undef SG_ROUTE_DROP_ENUM
		ROUTE_DROPS
};

struct sg_route_counters {
#define SG_ROUTE_COUNTER_MEMBER(member, name, help) uint64_t member;
	SG_ROUTE_COUNTERS(SG_ROUTE_COUNTER_MEMBER)
#undef SG_ROUTE_COUNTER_MEMBER
	uint64_t drop[ROUTE_DROPS];
};

/* Offsets are into route_counters(). */
extern const struct sg_counter route_counter_table[];
const struct sg_route_counters *route_counters(const struct sg_route *r);

#endif
