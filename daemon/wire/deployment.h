/*
 * A network's description: its dmsg servers, its services, its setup nodes. As the existing network ships it in a file and
 * as its configuration service answers. Source: daemon/doc/wire.md, "Deployment".
 */
#ifndef SG_WIRE_DEPLOYMENT_H
#define SG_WIRE_DEPLOYMENT_H

#include "crypto/crypto.h"

#define SG_DEPLOYMENT_URL         300
#define SG_DEPLOYMENT_SERVERS_MAX 64
#define SG_DEPLOYMENT_SETUP_MAX   16

enum sg_deployed {
	SG_DEPLOYED_DMSG_DISCOVERY,
	SG_DEPLOYED_TRANSPORT_DISCOVERY,
	SG_DEPLOYED_ADDRESS_RESOLVER,
	SG_DEPLOYED_ROUTE_FINDER,
	SG_DEPLOYED_SERVICE_DISCOVERY,
	SG_DEPLOYED_UPTIME_TRACKER,
	SG_DEPLOYED
};

struct sg_deployment {
	char urls[SG_DEPLOYED][SG_DEPLOYMENT_URL]; /* "dmsg://KEY:80" or "http://…"; "" when there is none */
	size_t n_servers, n_setup_nodes;           /* what is too much is left out */
	struct {
		struct sg_pk pk;
		char address[64];
	} servers[SG_DEPLOYMENT_SERVERS_MAX];
	struct sg_pk setup_nodes[SG_DEPLOYMENT_SETUP_MAX];
};

SG_BEGIN_DECLS

/**
 * sg_deployment_decode - the part "prod" or "test" of a file, or one part alone. A service that is given both ways is
 * taken by dmsg. 0, SG_EMALF, or -ENOENT: no such part, or nothing in it that is known here.
 */
int sg_deployment_decode(const struct sg_crypto *c, struct sg_view in, const char *part, struct sg_deployment *out);
/** sg_deployed_name - "dmsg_discovery": member of the file and option of the configuration. Static. */
const char *sg_deployed_name(enum sg_deployed which);

SG_END_DECLS
#endif
