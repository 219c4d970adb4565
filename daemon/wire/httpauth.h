/*
 * Signed requests to directory services: three headers beside a body that says whose it is, and a number that only grows.
 * Method, path and query are not signed. Source: daemon/doc/wire.md, "Requests to services".
 */
#ifndef SG_WIRE_HTTPAUTH_H
#define SG_WIRE_HTTPAUTH_H

#include "crypto/keys.h"
#include "wire/http.h"

#define SG_HTTPAUTH_BODY_MAX 65536 /* bytes of a signed body (own) */

/* The headers of one request, as text. */
struct sg_httpauth {
	char pk[2 * SG_PK_LEN + 1], nonce[21], sig[2 * SG_SIG_LEN + 1];
};

SG_BEGIN_DECLS

/** sg_httpauth_sign - over @body followed by the decimal nonce. 0, SG_EKEY, SG_ESIG, SG_ELONG or -ENOMEM. */
int sg_httpauth_sign(const struct sg_crypto *c, const struct sg_pk *pk, const struct sg_sk *sk, struct sg_view body,
	uint64_t nonce, struct sg_httpauth *out);
/** sg_httpauth_verify - a service's view: headers as they arrived; NULL where one is missing. 0, SG_EMALF, SG_EKEY, SG_ESIG. */
int sg_httpauth_verify(const struct sg_crypto *c, const char *pk, const char *nonce, const char *sig,
	struct sg_view body, struct sg_pk *who, uint64_t *number);
/** sg_httpauth_nonce - of an answer to GET /security/nonces/KEY. 0 or SG_EMALF. */
int sg_httpauth_nonce(struct sg_view body, uint64_t *out);
/** sg_httpauth_refused - the answer says that the headers did not fit: read the nonce again, then once more. */
bool sg_httpauth_refused(int status, struct sg_view body);

SG_END_DECLS
#endif
