/*
 * What all of crypto needs: the secp256k1 context, the source of random bytes, the AEAD provider chosen for this
 * machine. One per process, made at start, read-only afterwards and so for any thread.
 */
#ifndef SG_CRYPTO_CRYPTO_H
#define SG_CRYPTO_CRYPTO_H

#include <skygate/types.h>

struct sg_crypto;
struct sg_aead_ops;

/* Where random bytes come from; tests pass recorded ones. */
struct sg_random {
	void (*fill)(struct sg_random *r, void *out, size_t len);
};

SG_BEGIN_DECLS

/** sg_random_system - the kernel's generator, by libsodium. Static, any thread. */
struct sg_random *sg_random_system(void);

/** sg_crypto_new - @random is kept. The AEAD provider is measured (a few ms). NULL when memory is out. Free with sg_crypto_free. */
struct sg_crypto *sg_crypto_new(struct sg_random *random);
void sg_crypto_free(struct sg_crypto *c);

void sg_crypto_random(const struct sg_crypto *c, void *out, size_t len);
const struct sg_aead_ops *sg_crypto_aead(const struct sg_crypto *c);

/** sg_sha256 - of the concatenation of @n runs. Any thread. */
void sg_sha256(const struct sg_view *parts, size_t n, uint8_t out[32]);

SG_END_DECLS
#endif
