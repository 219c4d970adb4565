/* Edges and transport ids: one id per pair of keys and transport type. */
#ifndef SG_WIRE_TPID_H
#define SG_WIRE_TPID_H

#include <skygate/types.h>

SG_BEGIN_DECLS

/** sg_edges_sort - the smaller key, as a big-endian number, is edge 0. */
void sg_edges_sort(const struct sg_pk *a, const struct sg_pk *b, struct sg_pk edges[2]);
/** sg_tpid_make - first 16 bytes of SHA-256(16 zeros | edge 0 | edge 1 | type), with UUID version 0 and variant bits. */
void sg_tpid_make(const struct sg_pk *a, const struct sg_pk *b, const char *type, struct sg_tpid *out);

SG_END_DECLS
#endif
