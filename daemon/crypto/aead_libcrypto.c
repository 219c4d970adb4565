/*
 * ChaCha20-Poly1305 by libcrypto. The context is made and keyed once; a record then costs one init (nonce, and tag when
 * opening), one update, one final, and one read of the tag when sealing: at 1,400 bytes the calls around the cipher
 * weigh as much as the cipher, so there are no others.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/log.h"
#include "crypto/internal.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define NONCE_LEN 12

struct sg_aead {
	EVP_CIPHER_CTX *ctx;
};

static void free_key(struct sg_aead *a)
{
	if (!a)
		return;
	EVP_CIPHER_CTX_free(a->ctx); /* wipes the key */
	sg_free(a);
}

static struct sg_aead *new_key(const uint8_t key[SG_AEAD_KEY_LEN])
{
	struct sg_aead *a = sg_malloc(sizeof(*a));

	if (!a)
		return NULL;
	a->ctx = EVP_CIPHER_CTX_new();
	if (!a->ctx || EVP_CipherInit_ex2(a->ctx, EVP_chacha20_poly1305(), key, NULL, 1, NULL) != 1) {
		free_key(a);
		return NULL;
	}
	return a;
}

/* The key stays in the context when only the nonce, the direction and the tag are given. */
static bool begin(struct sg_aead *a, uint64_t counter, struct sg_view ad, int enc, const OSSL_PARAM *tag)
{
	uint8_t nonce[NONCE_LEN] = {0};
	int n;

	sg_put_u64_le(nonce + 4, counter);
	if (EVP_CipherInit_ex2(a->ctx, NULL, NULL, nonce, enc, tag) != 1)
		return false;
	return ad.len == 0 || EVP_CipherUpdate(a->ctx, NULL, &n, ad.p, (int)ad.len) == 1;
}

static void seal(struct sg_aead *a, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out)
{
	OSSL_PARAM tag[] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, out + len, SG_AEAD_TAG_LEN),
		OSSL_PARAM_END,
	};
	int n;

	if (!begin(a, counter, ad, 1, NULL) || (len && EVP_EncryptUpdate(a->ctx, out, &n, in, (int)len) != 1) ||
		EVP_EncryptFinal_ex(a->ctx, out + len, &n) != 1 || EVP_CIPHER_CTX_get_params(a->ctx, tag) != 1)
		sg_bug("libcrypto cannot seal %zu bytes", len);
}

static int unseal(struct sg_aead *a, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t copy[SG_AEAD_TAG_LEN];
	OSSL_PARAM tag[] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, copy, SG_AEAD_TAG_LEN),
		OSSL_PARAM_END,
	};
	int n;

	memcpy(copy, in + len, sizeof(copy));
	if (!begin(a, counter, ad, 0, tag) || (len && EVP_DecryptUpdate(a->ctx, out, &n, in, (int)len) != 1) ||
		EVP_DecryptFinal_ex(a->ctx, out + len, &n) != 1) {
		sg_wipe(out, len); /* bytes that nobody vouches for */
		return SG_EAUTH;
	}
	return 0;
}

const struct sg_aead_ops sg_aead_libcrypto = {
	.name = "libcrypto",
	.new_key = new_key,
	.free_key = free_key,
	.seal = seal,
	.open = unseal,
};
