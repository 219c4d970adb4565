/*
 * A dmsg of two visors of ours, linked to one another, and of two setup nodes whose answers the test gives. For cmocka
 * programs: who dials another port than is meant for that fails the test.
 */
#ifndef SG_TESTS_FAKE_MESH_H
#define SG_TESTS_FAKE_MESH_H

#include "fake/world.h"
#include "net/routing.h"
#include "wire/rpc.h"

#define MESH_HALVES 256

struct mesh;

/* One end of a stream. */
struct mesh_half {
	struct sg_stream pub; /* first */
	struct mesh *m;
	struct mesh_half *other;
	struct sg_pk remote;
	bool open, closing; /* closing: the other end has closed */
	uint8_t in[4096];
	size_t len;
	struct sg_defer deliver;
};

/* A visor, or a setup node whose answers the test gives. */
struct mesh_node {
	struct mesh *m;
	struct fake_node *visor;
	struct store_space keys;
	struct sg_net *net;
	struct routing *routing;
	const struct sg_listener_ops *ops; /* on port 136 */
	void *arg;
	/* A dial of it. */
	const struct mesh_node *to;
	sg_dialed_fn *done;
	void *done_arg;
	struct sg_defer dialled;
	/* A setup node. */
	struct sg_rpc_in in;
	struct mesh_half *caller;
	unsigned asked;
	bool dead;         /* takes streams and says nothing */
	bool babbles;      /* what it answers is no answer */
	const char *error; /* its answer to everything; NULL: rules */
};

struct mesh {
	struct fake_world w;
	struct store *store;
	struct mesh_node node[4]; /* 0, 1: visors; 2, 3: setup nodes */
	struct mesh_half half[MESH_HALVES];
	size_t n_halves;
};

extern const struct sg_network_ops mesh_ops; /* ctx: the mesh_node */

/** mesh_setup, mesh_teardown - for cmocka: the state is the struct mesh. */
int mesh_setup(void **state);
int mesh_teardown(void **state);
/** mesh_call - a stream from @from to @to: the caller's end, which is the test's. */
struct mesh_half *mesh_call(struct mesh *m, const struct sg_pk *from, struct mesh_node *to);

#endif
