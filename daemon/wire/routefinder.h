/*
 * The route finder's question and answer: paths between two visors, both directions. Source: daemon/doc/wire.md, "Route
 * finder"; tests/data/routing.json.
 */
#ifndef SG_WIRE_ROUTEFINDER_H
#define SG_WIRE_ROUTEFINDER_H

#include "crypto/crypto.h"
#include "wire/rule.h"

#define SG_PATHS_MAX      5  /* of each direction (spec) */
#define SG_PATH_HOPS_MAX  16 /* longer ones are left out (own) */
#define SG_ROUTES_ASK_MAX 512

struct sg_path {
	size_t n;
	struct sg_hop hops[SG_PATH_HOPS_MAX];
};

struct sg_paths {
	size_t n_forward, n_reverse;
	struct sg_path forward[SG_PATHS_MAX], reverse[SG_PATHS_MAX];
};

SG_BEGIN_DECLS

/** sg_routes_ask - the body of POST /routes. Length or SG_ELONG. */
int sg_routes_ask(
	const struct sg_pk *src, const struct sg_pk *dst, uint16_t min_hops, uint16_t max_hops, char *out, size_t cap);
/**
 * sg_routes_answer - the body of a 200. Paths that do not lead from one end to the other hop by hop, or that touch a
 * visor twice, are left out. 0 (maybe without any path) or SG_EMALF.
 */
int sg_routes_answer(const struct sg_crypto *c, struct sg_view body, const struct sg_pk *src, const struct sg_pk *dst,
	struct sg_paths *out);

SG_END_DECLS
#endif
