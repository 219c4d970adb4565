/*
 * What the kernel leaves to a network card, done here when the other end takes single, finished packets only: the
 * checksum, and cutting a super-packet of TCP or UDP.
 */
#ifndef VPN_GSO_H
#define VPN_GSO_H

#include "wire/vpn.h"

/* One finished packet, borrowed; what it returns ends the cutting unless 0. */
typedef int gso_fn(void *arg, struct sg_view packet);

/** gso_csum - finishes the checksum of a packet whose record passed sg_vpn_record_check and says F_NEEDS_CSUM. */
void gso_csum(const struct sg_vpn_record *r, uint8_t *packet, size_t len);

/** gso_ip_csum_ok - the checksum of the IP header of @ip_hlen is right. */
bool gso_ip_csum_ok(struct sg_view packet, size_t ip_hlen);
/** gso_csum_ok - TCP or UDP right behind the IP header of @ip_hlen: all checksums are right. */
bool gso_csum_ok(struct sg_view packet, size_t ip_hlen);
/** gso_finish_super - IP length and checksum of a super-packet of @r; its other checksum is left to whoever cuts it. */
void gso_finish_super(const struct sg_vpn_record *r, uint8_t *packet);

/**
 * gso_cut - the segments of a super-packet that passed sg_vpn_record_check, with all their checksums, in order, without
 * the first @skip. @scratch: SG_VPN_PACKET_MAX bytes that hold the segment during @fn. 0 or what @fn returned.
 */
int gso_cut(
	const struct sg_vpn_record *r, struct sg_view packet, unsigned skip, uint8_t *scratch, gso_fn *fn, void *arg);

#endif
