/*
 * The network `direct`: streams to a neighbour's ports as virtual streams on its link (packet type
 * 16), with credits between our own ends and bounded queues toward others. Routing rules and route
 * groups join here when they come.
 *
 * A packet's way:  link → route/receive.c → stream user        stream user → route/send.c → link
 */
#ifndef SG_ROUTE_ROUTE_H
#define SG_ROUTE_ROUTE_H

#include "link/link.h"
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
/** route_free - ends every stream (on_close) and dial (its call-back). Accepts NULL. */
void route_free(struct sg_route *r);

/** route_listen - 0, -EADDRINUSE or -ENOMEM. @ops and @arg are kept. */
int route_listen(struct sg_route *r, uint16_t port, const struct sg_listener_ops *ops, void *arg);
/** route_unlisten - streams that are open stay. */
void route_unlisten(struct sg_route *r, uint16_t port);

/**
 * route_dial - a stream to a port of a key: waits for the link if there is none yet, then for the
 * answer, together at most SG_ROUTE_DIAL_MS. Ends in @done once, never inside this call. 0 or
 * -ENOMEM.
 */
int route_dial(struct sg_route *r, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg);
/** route_dial_cancel - all dials with this @arg; their call-backs do not follow. */
void route_dial_cancel(struct sg_route *r, const void *arg);

/** route_each_stream - @fn for every open stream, until it returns false. */
void route_each_stream(
	const struct sg_route *r, bool (*fn)(void *arg, const struct sg_route_stream_info *s), void *arg);

/* X(member, name, help) */
#define SG_ROUTE_COUNTERS(X)                                                                                           \
	X(streams_in, "route.streams_in", "streams that others opened")                                                \
	X(streams_out, "route.streams_out", "streams that we opened")

/* Why something was dropped or refused: a counter and a rate-limited line each. X(reason, name, help) */
#define SG_ROUTE_DROPS(X)                                                                                              \
	X(ROUTE_DROP_PORT, "route.refused.port", "streams refused: nobody listens on that port, or takes it")          \
	X(ROUTE_DROP_LIMIT, "route.refused.limit", "streams refused: too many on that link, or memory is out")         \
	X(ROUTE_DROP_ID, "route.refused.id", "streams refused: an id that is in use or not the other end's to give")   \
	X(ROUTE_DROP_RELAY, "route.refused.relay", "streams refused: we do not relay")                                 \
	X(ROUTE_DROP_RULE, "route.drop.rule", "packets dropped: no rule for their route id")                           \
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
