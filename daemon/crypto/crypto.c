/*
 * The objects that live as long as the process: the secp256k1 context, the random source, the chosen AEAD. Hashing is
 * libsodium's: it allocates nothing and cannot fail, and only handshakes hash.
 */
#include "crypto/crypto.h"
#include "base/alloc.h"
#include "base/common.h"
#include "crypto/internal.h"

#include <secp256k1_preallocated.h>
#include <sodium.h>

static void system_fill(struct sg_random *r, void *out, size_t len)
{
	(void)r;
	randombytes_buf(out, len);
}

struct sg_random *sg_random_system(void)
{
	static struct sg_random system = {system_fill};

	return &system;
}

/* Where the context begins behind the struct: aligned for any type. */
static size_t context_offset(void)
{
	size_t align = _Alignof(max_align_t);

	return (sizeof(struct sg_crypto) + align - 1) / align * align;
}

struct sg_crypto *sg_crypto_new(struct sg_random *random)
{
	/* NOLINTNEXTLINE(misc-redundant-expression): the library's macros share a bit */
	const unsigned flags = SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY;
	struct sg_crypto *c;
	uint8_t seed[32];

	if (sodium_init() < 0)
		return NULL;
	c = sg_malloc(context_offset() + secp256k1_context_preallocated_size(flags));
	if (!c)
		return NULL;
	c->ctx = secp256k1_context_preallocated_create((uint8_t *)c + context_offset(), flags);
	c->random = random;
	c->aead = sg_aead_measure();

	/* Blinding against side channels; no result depends on it, so it takes nothing from an injected source. */
	randombytes_buf(seed, sizeof(seed));
	(void)!secp256k1_context_randomize(c->ctx, seed);
	sg_wipe(seed, sizeof(seed));
	return c;
}

void sg_crypto_free(struct sg_crypto *c)
{
	if (!c)
		return;
	secp256k1_context_preallocated_destroy(c->ctx);
	sg_free(c);
}

void sg_crypto_random(const struct sg_crypto *c, void *out, size_t len)
{
	c->random->fill(c->random, out, len);
}

const struct sg_aead_ops *sg_crypto_aead(const struct sg_crypto *c)
{
	return c->aead;
}

void sg_sha256(const struct sg_view *parts, size_t n, uint8_t out[32])
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	for (size_t i = 0; i < n; i++) {
		if (parts[i].len)
			crypto_hash_sha256_update(&st, parts[i].p, parts[i].len);
	}
	crypto_hash_sha256_final(&st, out);
	sg_wipe(&st, sizeof(st));
}
