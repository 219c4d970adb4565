/*
 * secp256k1 keys with exactly the acceptance rules of the existing network, ECDH and recoverable signatures.
 * Source: daemon/doc/wire.md, "Keys"; tests/data/dmsg.json.
 */
#ifndef SG_CRYPTO_KEYS_H
#define SG_CRYPTO_KEYS_H

#include "crypto/crypto.h"

SG_BEGIN_DECLS

/** sg_pk_check - 02/03, X < p, on the curve. 0 or SG_EKEY. */
int sg_pk_check(const struct sg_crypto *c, const struct sg_pk *pk);
/** sg_pk_parse - 66 hex digits of a valid key; the null key is refused. 0 or SG_EKEY. */
int sg_pk_parse(const struct sg_crypto *c, const char *text, size_t len, struct sg_pk *out);
/** sg_pk_parse_json - as sg_pk_parse, but "" and any number of '0' is the null key. 0 or SG_EKEY. */
int sg_pk_parse_json(const struct sg_crypto *c, const char *text, size_t len, struct sg_pk *out);
/** sg_sk_check - 0 < k < n. 0 or SG_EKEY. */
int sg_sk_check(const struct sg_crypto *c, const struct sg_sk *sk);
/** sg_sk_parse - 64 hex digits of a valid key. 0, SG_EMALF (hex, but not 32 bytes of it) or SG_EKEY. */
int sg_sk_parse(const struct sg_crypto *c, const char *text, size_t len, struct sg_sk *out);
/** sg_sk_generate - a new key from the random source. */
void sg_sk_generate(const struct sg_crypto *c, struct sg_sk *out);
/** sg_pk_of - public key of a valid secret key. 0 or SG_EKEY. */
int sg_pk_of(const struct sg_crypto *c, const struct sg_sk *sk, struct sg_pk *out);

/** sg_ecdh - SHA-256 of the compressed shared point. 0 or SG_EKEY. */
int sg_ecdh(const struct sg_crypto *c, const struct sg_sk *sk, const struct sg_pk *pk, uint8_t out[32]);

/**
 * sg_sign - recoverable signature over SHA-256(@payload): R | S | recid, S low.
 * @nonce: 32 bytes to use as k, or NULL for RFC 6979. 0, SG_EKEY, or SG_ESIG when that nonce gives none.
 */
int sg_sign(const struct sg_crypto *c, const struct sg_sk *sk, struct sg_view payload, const uint8_t *nonce,
	struct sg_sig *out);
/** sg_verify - recovers the key and compares; recid < 4 and the top bit of S clear. 0, SG_ESIG or SG_EKEY. */
int sg_verify(const struct sg_crypto *c, const struct sg_pk *pk, struct sg_view payload, const struct sg_sig *sig);
/** sg_recover - the key that made @sig over SHA-256(@payload). 0 or SG_ESIG. */
int sg_recover(const struct sg_crypto *c, struct sg_view payload, const struct sg_sig *sig, struct sg_pk *out);

SG_END_DECLS
#endif
