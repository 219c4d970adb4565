/*
 * Bodies of the address resolver: where a visor listens, told by itself and asked for by others. Source: daemon/doc/wire.md,
 * "Address resolver".
 */
#ifndef SG_WIRE_RESOLVER_H
#define SG_WIRE_RESOLVER_H

#include "base/text.h"

#define SG_VISOR_ADDRESSES 32 /* of one visor; more are left out (own) */
#define SG_VISOR_ADDRS_MAX 16 /* that sg_visor_addrs gives (own) */
#define SG_BIND_MAX        4096
#define SG_IP_TEXT         46

struct sg_visor_data {
	char remote[64], remote_v6[64]; /* "192.0.2.1" or with a port, as the resolver saw it; "" when absent */
	bool local;                     /* the resolver saw both of us at one address */
	uint16_t port;
	size_t n;
	char addresses[SG_VISOR_ADDRESSES][SG_IP_TEXT]; /* of its interfaces, as it says */
};

SG_BEGIN_DECLS

/** sg_bind_encode - a JSON line; @public_ip "" leaves it away. Length or SG_ELONG. */
int sg_bind_encode(
	uint16_t port, char (*addresses)[SG_IP_TEXT], size_t n, const char *public_ip, char *out, size_t cap);
/** sg_visor_data_decode - 0 or SG_EMALF. What is too much or no address is left out. */
int sg_visor_data_decode(struct sg_view in, struct sg_visor_data *out);
/**
 * sg_visor_addrs - what to dial, in order: its interfaces when it is local or behind our own address (@own_ip, may be
 * ""), then what the resolver saw. Loopback, unspecified and multicast addresses are left out. Returns how many.
 */
size_t sg_visor_addrs(const struct sg_visor_data *v, const char *own_ip, struct sg_addr out[SG_VISOR_ADDRS_MAX]);

SG_END_DECLS
#endif
