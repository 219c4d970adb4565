/*
 * A few visors in one process: link managers and routes on one loop with a fake clock, whose carrier makes socket pairs
 * instead of connections. Node i is stcp://192.0.2.<i + 1>:7777; node 0 has the smallest key and is edge 0 toward all. In a
 * secured world they find each other by key instead, over streams, as by dmsg.
 */
#ifndef SG_TESTS_FAKE_WORLD_H
#define SG_TESTS_FAKE_WORLD_H

#include "fake/clock.h"
#include "link/link.h"
#include "loop/worker.h"
#include "route/route.h"

#define WORLD_NODES 4

struct fake_world;

struct fake_node {
	struct fake_world *w;
	size_t index;
	struct sg_sk sk;
	struct sg_pk pk;
	char url[40];
	struct sg_links *links;
	struct sg_route *route;
	/* What the carrier does with dials of this node. */
	bool refuses;   /* calls to this node fail */
	bool holds;     /* dials of this node wait for world_release */
	int outside_fd; /* calls to this node end here instead (the test plays it); -1 */
	struct sg_dial *dial;
	struct sg_addr dial_to;
	struct sg_pk dial_pk;
	struct sg_defer dial_defer;
	unsigned dials, cancels, ups, downs;
	char down_why[160];
	struct sg_pk foreign; /* what its host remembers: one such peer, or none */
};

struct fake_world {
	struct fake_clock clock;
	struct sg_loop *loop;
	struct sg_crypto *crypto; /* of all worlds of the process */
	int64_t quiet_ms;         /* of nodes that are booted from now on */
	bool secured;
	struct sg_worker *worker; /* owned; of nodes that are booted from now on; NULL: the loop computes */
	struct fake_node node[WORLD_NODES];
};

/** world_new - @w is the caller's. Ends the test when memory is out. */
void world_new(struct fake_world *w);
void world_free(struct fake_world *w);
/** world_setup, world_teardown - for cmocka: a world with nodes 0 and 1 booted, 2 and 3 for strangers. */
int world_setup(void **state);
int world_setup_with_worker(void **state);
int world_teardown(void **state);
/** world_boot - node @i gets manager and route; false when memory is out. */
bool world_boot(struct fake_world *w, size_t i);
void world_kill(struct fake_world *w, size_t i);
/** world_peer - node @from is configured with @to as its only peer, with @to's address unless @silent. */
int world_peer(struct fake_world *w, size_t from, size_t to, bool silent);
/** world_settle - steps until nothing happens any more, time standing still. */
void world_settle(struct fake_world *w);
/** world_step - @n steps of the loop, time standing still; after each, what the worker was given is done. */
void world_step(struct fake_world *w, int n);
/** world_pass - lets @ms pass in small steps. */
void world_pass(struct fake_world *w, int64_t ms);
/** world_release - lets held dials of node @i go on. */
void world_release(struct fake_world *w, size_t i);
/** world_linked - how node @a sees the link to @b, in @info; false when there is none. */
bool world_linked(struct fake_world *w, size_t a, size_t b, struct sg_link_info *info);
/** world_accept - gives node @i the other end of a new socket pair; returns ours, non-blocking. */
int world_accept(struct fake_world *w, size_t i);
/** world_accept_from - the same, from an address of its own. */
int world_accept_from(struct fake_world *w, size_t i, const char *address);
/** world_counter - of node @i, by the name that counter.list shows. */
uint64_t world_counter(struct fake_world *w, size_t i, const char *name);

#endif
