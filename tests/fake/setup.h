/*
 * Who sets up routes in a fake world: keeps to a path that the test gives, and makes the rules along it as a setup node
 * does, there and back the same way.
 */
#ifndef SG_TESTS_FAKE_SETUP_H
#define SG_TESTS_FAKE_SETUP_H

#include "fake/world.h"

struct fake_setup {
	struct fake_world *w;
	size_t path[WORLD_NODES], n; /* nodes from the dialler to the far end */
	int64_t keep_alive_ns;       /* 0: what was asked for */
	bool holds;                  /* questions wait for setup_release */
	bool late;                   /* the far end hears of it at setup_release only */
	const char *refuses;         /* the sentence of every answer */
	unsigned asked, cancelled;
	struct sg_edge_rules far_end; /* what it was given, or will be */
	/* The one question under way. */
	struct sg_route_want want;
	sg_route_asked_fn *fn;
	void *fn_arg;
	struct sg_defer answer;
};

/** setup_new - serves all nodes that are booted; @path: @n nodes. */
void setup_new(struct fake_setup *s, struct fake_world *w, const size_t *path, size_t n);
/** setup_rules - makes the rules along the path at all nodes but the ends, whose rules are the caller's to use. */
int setup_rules(struct fake_setup *s, const struct sg_route_desc *desc, struct sg_edge_rules *near_end);
void setup_release(struct fake_setup *s);

#endif
