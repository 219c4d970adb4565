/* Addresses of services. */
#ifndef SG_WIRE_URL_H
#define SG_WIRE_URL_H

#include <skygate/types.h>

struct sg_url {
	char scheme[8], host[256], path[256]; /* path "" when absent, without a slash at its end */
	uint16_t port;
	bool port_given;
};

SG_BEGIN_DECLS

/** sg_url_split - "http://host[:port][/path]" or "dmsg://key[:port][/path]". 0 or SG_EMALF. Port 80 when absent. */
int sg_url_split(const char *text, struct sg_url *out);

SG_END_DECLS
#endif
