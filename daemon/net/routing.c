/* Makes the parts of route setup and keeps them together. */
#include "net/routing.h"
#include "base/alloc.h"
#include "net/await.h"
#include "net/internal.h"
#include "net/path.h"

struct routing {
	struct sg_net *net;
	struct sg_route *route;
	struct await *await;
	struct setup_client *setup;
	struct path *path;
	struct pings *pings;
};

struct routing *routing_new(struct sg_net *net, struct sg_links *links, struct sg_route *route)
{
	struct routing *r = sg_calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->net = net;
	r->route = route;
	r->await = await_new(
		&(struct await_conf){.loop = net->conf.loop, .own = &net->conf.pk, .links = links, .route = route});
	r->setup = setup_client_new(&(struct setup_conf){.loop = net->conf.loop, .route = route});
	r->path = r->setup ? path_new(&(struct path_conf){.loop = net->conf.loop,
				     .own = &net->conf.pk,
				     .links = links,
				     .setup = r->setup,
				     .net = net})
			   : NULL;
	r->pings = pings_new(net->conf.loop, links, route);
	if (!r->await || !r->path || !r->pings) {
		routing_free(r);
		return NULL;
	}
	route_set_setup(route, &path_ops, r->path);
	return r;
}

void routing_free(struct routing *r)
{
	if (!r)
		return;
	pings_free(r->pings);
	if (r->path)
		route_set_setup(r->route, NULL, NULL);
	path_free(r->path);
	setup_client_free(r->setup);
	await_free(r->await);
	sg_free(r);
}

void routing_configure(struct routing *r, const struct sg_uci *doc)
{
	const struct sg_uci_section *visor = sg_uci_next(doc, "visor", NULL);
	size_t n;
	const struct sg_pk *nodes = net_setup_nodes(r->net, &n);

	setup_nodes_set(r->setup, nodes, n);
	await_setup_nodes(r->await, nodes, n);
	route_set_small(r->route, visor && strcmp(sg_uci_get(visor, "memory", "normal"), "small") == 0);
	route_allow_plain(r->route, visor && sg_uci_bool(visor, "allow_plaintext", false));
	route_set_min_hops(r->route, visor ? (unsigned)sg_uci_uint(visor, "min_hops", 0) : 0);
	route_set_direct(r->route, !visor || sg_uci_bool(visor, "direct_streams", true));
}

int routing_ping(struct routing *r, const struct sg_pk *pk, unsigned min_hops, ping_fn *fn, void *arg)
{
	return ping_start(r->pings, pk, min_hops, fn, arg);
}

bool routing_last(const struct routing *r, const struct sg_pk *dst, struct sg_path *out)
{
	return path_last(r->path, dst, out);
}

void routing_network(struct routing *r, const char *name, const struct sg_network_ops *ops, void *ctx)
{
	if (strcmp(name, "dmsg") != 0)
		return;
	setup_network(r->setup, ops, ctx);
	await_network(r->await, ops, ctx);
}
