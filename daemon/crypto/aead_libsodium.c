/* ChaCha20-Poly1305 by libsodium: no context, the key is all there is. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "crypto/internal.h"

#include <sodium.h>

#define NONCE_LEN 12

struct sg_aead {
	uint8_t key[SG_AEAD_KEY_LEN];
};

static struct sg_aead *new_key(const uint8_t key[SG_AEAD_KEY_LEN])
{
	struct sg_aead *a = sg_malloc(sizeof(*a));

	if (a)
		memcpy(a->key, key, SG_AEAD_KEY_LEN);
	return a;
}

static void free_key(struct sg_aead *a)
{
	if (!a)
		return;
	sg_wipe(a, sizeof(*a));
	sg_free(a);
}

static void seal(struct sg_aead *a, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t nonce[NONCE_LEN] = {0};

	sg_put_u64_le(nonce + 4, counter);
	crypto_aead_chacha20poly1305_ietf_encrypt_detached(
		out, out + len, NULL, in, len, ad.p, ad.len, NULL, nonce, a->key);
}

static void seal_behind(struct sg_aead *a, uint64_t counter, struct sg_view ad, uint8_t *p, size_t len)
{
	seal(a, counter, ad, p, len, p);
}

static int unseal(struct sg_aead *a, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t nonce[NONCE_LEN] = {0};

	sg_put_u64_le(nonce + 4, counter);
	if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(
		    out, NULL, in, len, in + len, ad.p, ad.len, nonce, a->key) != 0)
		return SG_EAUTH;
	return 0;
}

const struct sg_aead_ops sg_aead_libsodium = {
	.name = "libsodium",
	.new_key = new_key,
	.free_key = free_key,
	.seal = seal,
	.seal_behind = seal_behind,
	.open = unseal,
};
