/*
 * Asking for the rules of a route: a setup node (dmsg port 36) has them made along the whole path; a neighbour takes them
 * from us itself (port 136), which needs no third visor. Any number of questions at once; each ends once, within its time.
 */
#ifndef SG_NET_SETUP_H
#define SG_NET_SETUP_H

#include "crypto/crypto.h"
#include "loop/loop.h"
#include "route/route.h"
#include "wire/rpc.h"

struct setup_client;
struct setup_call;

struct setup_conf {
	struct sg_loop *loop;   /* kept, like all of them */
	struct sg_route *route; /* our own route ids */
};

/** setup_client_new - NULL when memory is out. */
struct setup_client *setup_client_new(const struct setup_conf *conf);
/** setup_client_free - call-backs do not follow. Accepts NULL. */
void setup_client_free(struct setup_client *s);
/** setup_nodes_set - whom to ask, in that order; copied, at most SG_SETUP_NODES_MAX. */
void setup_nodes_set(struct setup_client *s, const struct sg_pk *nodes, size_t n);
size_t setup_nodes_count(const struct setup_client *s);
/** setup_network - how they are reached; @ops NULL: not at all, and what is under way fails. */
void setup_network(struct setup_client *s, const struct sg_network_ops *ops, void *ctx);

/**
 * setup_by_nodes - the first setup node that answers within SG_SETUP_NODE_MS; one that failed is asked last for a while.
 * setup_direct - the neighbour that is desc.dst, over one hop. -ENOTSUP: it does not do this (remembered by the caller).
 * Each 0 and *out, for setup_cancel, or a negative code: then @fn does not follow. @route is copied. @fn: as
 * sg_route_asked_fn, never inside the call.
 */
int setup_by_nodes(struct setup_client *s, const struct sg_rpc_route *route, sg_route_asked_fn *fn, void *arg,
	struct setup_call **out);
int setup_direct(struct setup_client *s, const struct sg_rpc_route *route, sg_route_asked_fn *fn, void *arg,
	struct setup_call **out);
void setup_cancel(struct setup_call *c);

#endif
