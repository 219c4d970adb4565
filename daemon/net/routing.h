/*
 * Where net/ and route/ meet: route/ asks for routes to be set up (path.h, setup.h), others install rules in it (await.h).
 */
#ifndef SG_NET_ROUTING_H
#define SG_NET_ROUTING_H

#include "net/net.h"
#include "net/ping.h"
#include "route/route.h"

struct routing;

/** routing_new - everything is kept and must outlive it. NULL when memory is out. */
struct routing *routing_new(struct sg_net *net, struct sg_links *links, struct sg_route *route);
/** routing_free - ends what is under way; call-backs do not follow. Accepts NULL. */
void routing_free(struct routing *r);
/** routing_configure - takes over a checked configuration, after net_configure. */
void routing_configure(struct routing *r, const struct sg_uci *doc);
/** routing_ping - as ping_start. */
int routing_ping(struct routing *r, const struct sg_pk *pk, unsigned min_hops, ping_fn *fn, void *arg);
/** routing_last - as path_last. */
bool routing_last(const struct routing *r, const struct sg_pk *dst, struct sg_path *out);
/** routing_network - as net_network_set. */
void routing_network(struct routing *r, const char *name, const struct sg_network_ops *ops, void *ctx);

#endif
