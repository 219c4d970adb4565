/*
 * dmsg port 136: what others install at this visor. Setup nodes of the configuration give rules for any route; a neighbour
 * gives, once per stream, the two rules of a route from itself to us over a transport that is up between us. Everybody else
 * is turned away. Each caller is bounded in streams, time and bytes; nothing it sends ends more than its stream.
 */
#ifndef SG_NET_AWAIT_H
#define SG_NET_AWAIT_H

#include "crypto/crypto.h"
#include "link/link.h"
#include "route/route.h"

struct await;

struct await_conf {
	struct sg_loop *loop;    /* kept, like all of them */
	const struct sg_pk *own; /* our key */
	struct sg_links *links;  /* which neighbours there are */
	struct sg_route *route;  /* keeps the rules */
};

/** await_new - NULL when memory is out. */
struct await *await_new(const struct await_conf *conf);
/** await_free - ends what is under way. Accepts NULL. */
void await_free(struct await *a);
/** await_setup_nodes - whom we take any rules from; copied, at most SG_SETUP_NODES_MAX. */
void await_setup_nodes(struct await *a, const struct sg_pk *nodes, size_t n);
/** await_network - listens there from now on; @ops NULL: the network is gone, and every stream with it. */
void await_network(struct await *a, const struct sg_network_ops *ops, void *ctx);

#endif
