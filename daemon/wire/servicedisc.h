/*
 * Entries of the service discovery: who offers what on which port. Source: daemon/doc/wire.md, "Service discovery".
 */
#ifndef SG_WIRE_SERVICEDISC_H
#define SG_WIRE_SERVICEDISC_H

#include "crypto/crypto.h"
#include "wire/resolver.h"

#define SG_OFFER_JSON_MAX 2048

struct sg_offer {
	struct sg_pk pk;
	uint16_t port;
	char type[16], version[40], country[8], region[40]; /* "" when absent; of others: as they say */
	size_t n_ips;
	char ips[8][SG_IP_TEXT]; /* local_ips; more are left out */
};

SG_BEGIN_DECLS

/** sg_offer_encode - a JSON object as the existing visors register it: without country and region. Length or SG_ELONG. */
int sg_offer_encode(const struct sg_offer *o, char *out, size_t cap);
/**
 * sg_offer_list_decode - an array, or null: up to @max of those that name a key and a port; strangers' texts with control
 * bytes are left empty. Their number or SG_EMALF.
 */
int sg_offer_list_decode(const struct sg_crypto *c, struct sg_view in, struct sg_offer *out, size_t max);

SG_END_DECLS
#endif
