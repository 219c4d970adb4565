/*
 * Single packets of a flow, joined to one super-packet before they enter the kernel, which then has one packet to route
 * instead of forty: what gso.c cuts, the other way round. Only what cutting would give back byte for byte is joined (the IP
 * identification of packets that must not be fragmented excepted, RFC 6864), and only packets whose checksums are right
 * or were left open by an end of ours.
 * A flow's packets keep their order; those of others may pass them within a batch.
 */
#ifndef VPN_GRO_H
#define VPN_GRO_H

#include "wire/vpn.h"

struct gro;

/* A packet to write, as a record. Borrowed. */
typedef void gro_fn(void *arg, const struct sg_vpn_record *r, struct sg_view packet);

/** gro_new - @udp: the kernel takes SG_GSO_UDP. Returns new; NULL when memory is out. Free with gro_free. */
struct gro *gro_new(bool udp, gro_fn *fn, void *arg);
/** gro_free - forgets what was not flushed. Accepts NULL. */
void gro_free(struct gro *g);
/** gro_push - a packet that passed sg_vpn_record_check. True: some wait for gro_flush. */
bool gro_push(struct gro *g, const struct sg_vpn_record *r, struct sg_view packet);
/** gro_flush - no more comes for now. */
void gro_flush(struct gro *g);

#endif
