/*
 * Which way a route takes: what route/ asks when it dials. Over the transport to the neighbour itself where there is one,
 * else by the paths of the route finder, shortest first, one after the other until one can be set up.
 */
#ifndef SG_NET_PATH_H
#define SG_NET_PATH_H

#include "net/setup.h"
#include "wire/routefinder.h"

struct path;
struct sg_net;

struct path_conf {
	struct sg_loop *loop; /* kept, like all of them */
	const struct sg_pk *own;
	struct sg_links *links;
	struct setup_client *setup;
	struct sg_net *net; /* asks the route finder */
};

/** path_new - NULL when memory is out. */
struct path *path_new(const struct path_conf *conf);
/** path_free - call-backs do not follow. Accepts NULL. */
void path_free(struct path *p);
/** path_ops - for route_set_setup, with the path as its argument. */
extern const struct sg_route_setup path_ops;

/** path_last - the way that the last route to a visor took. False: there was none lately. */
bool path_last(const struct path *p, const struct sg_pk *dst, struct sg_path *out);

/** path_ok - one of the route finder's leads from @own over a transport that is up here and has at least @min hops. */
bool path_ok(struct sg_links *links, const struct sg_pk *own, const struct sg_path *path, unsigned min);

#endif
