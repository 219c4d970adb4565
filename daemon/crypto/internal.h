/* What the files of this folder share and nobody else sees. */
#ifndef SG_CRYPTO_INTERNAL_H
#define SG_CRYPTO_INTERNAL_H

#include "crypto/aead.h"
#include "crypto/crypto.h"

#include <secp256k1.h>

struct sg_crypto {
	secp256k1_context *ctx; /* in the same allocation as this struct */
	struct sg_random *random;
	const struct sg_aead_ops *aead;
};

extern const struct sg_aead_ops sg_aead_libcrypto, sg_aead_libsodium;

#endif
