/*
 * ChaCha20-Poly1305 (RFC 8439) from libcrypto's ChaCha20 and Poly1305. Its own composition of the two looks up parameters by
 * name for each nonce and each tag, and lets nobody between the two (vectors_done): up to 0.1 µs more per record. Contexts
 * are made and keyed once.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/log.h"
#include "crypto/internal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#define BLOCK   64 /* bytes of key stream that are made at once */
#define IV_LEN  16 /* number of the block, u32 little endian, and the nonce */
#define MAC_KEY 32
#define PAD     16

struct sg_aead {
	EVP_CIPHER_CTX *stream;
	EVP_MAC_CTX *mac;
};

/*
 * libcrypto's code for wide vectors leaves their upper halves in use after some lengths, and then each call's first
 * narrow instruction waits for 0.1 µs (Intel's of 2023): seven percent of a full frame.
 */
#ifdef __x86_64__
__attribute__((target("avx"))) static void clear_wide(void)
{
	__builtin_ia32_vzeroupper();
}

static void vectors_done(void)
{
	if (__builtin_cpu_supports("avx"))
		clear_wide();
}
#else
static void vectors_done(void)
{
}
#endif

static void free_key(struct sg_aead *a)
{
	if (!a)
		return;
	EVP_CIPHER_CTX_free(a->stream); /* wipes the key */
	EVP_MAC_CTX_free(a->mac);
	sg_free(a);
}

static struct sg_aead *new_key(const uint8_t key[SG_AEAD_KEY_LEN])
{
	static const uint8_t iv[IV_LEN];
	struct sg_aead *a = sg_calloc(1, sizeof(*a));
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);

	if (a && mac) {
		a->stream = EVP_CIPHER_CTX_new();
		a->mac = EVP_MAC_CTX_new(mac);
	}
	EVP_MAC_free(mac);
	if (!a || !a->stream || !a->mac || EVP_EncryptInit_ex2(a->stream, EVP_chacha20(), key, iv, NULL) != 1) {
		free_key(a);
		return NULL;
	}
	return a;
}

/* Both directions are the same: key stream added to it. */
static bool run(struct sg_aead *a, const uint8_t *in, size_t len, uint8_t *out)
{
	int n;
	bool ok = len == 0 || EVP_EncryptUpdate(a->stream, out, &n, in, (int)len) == 1;

	vectors_done();
	return ok;
}

/* The record of that number: the first block of its key stream is the key of its tag. */
static bool begin(struct sg_aead *a, uint64_t counter, uint8_t block[BLOCK])
{
	uint8_t iv[IV_LEN] = {0};

	memset(block, 0, BLOCK);
	sg_put_u64_le(iv + 8, counter);
	return EVP_EncryptInit_ex2(a->stream, NULL, NULL, iv, NULL) == 1 && run(a, block, BLOCK, block);
}

static bool mac_add(struct sg_aead *a, const uint8_t *p, size_t len)
{
	bool ok = EVP_MAC_update(a->mac, p, len) == 1;

	vectors_done();
	return ok;
}

static size_t padding(size_t len)
{
	return (PAD - len % PAD) % PAD;
}

static bool tag(struct sg_aead *a, const uint8_t key[MAC_KEY], struct sg_view ad, const uint8_t *sealed, size_t len,
	uint8_t out[SG_AEAD_TAG_LEN])
{
	uint8_t end[PAD + 2 * sizeof(uint64_t)] = {0};
	size_t pad = padding(len), n;
	bool ok = EVP_MAC_init(a->mac, key, MAC_KEY, NULL) == 1;

	vectors_done();
	if (ok && ad.len)
		ok = mac_add(a, ad.p, ad.len) && mac_add(a, end, padding(ad.len));
	sg_put_u64_le(end + pad, ad.len);
	sg_put_u64_le(end + pad + sizeof(uint64_t), len);
	ok = ok && mac_add(a, sealed, len) && mac_add(a, end, pad + 2 * sizeof(uint64_t)) &&
	     EVP_MAC_final(a->mac, out, &n, SG_AEAD_TAG_LEN) == 1;
	vectors_done();
	return ok;
}

static void seal(struct sg_aead *a, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t block[BLOCK];

	if (!begin(a, counter, block) || !run(a, in, len, out) || !tag(a, block, ad, out, len, out + len))
		sg_bug("libcrypto cannot seal %zu bytes", len);
	sg_wipe(block, MAC_KEY);
}

static int unseal(struct sg_aead *a, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t block[BLOCK], expected[SG_AEAD_TAG_LEN];
	bool ok = begin(a, counter, block) && tag(a, block, ad, in, len, expected) &&
		  CRYPTO_memcmp(expected, in + len, sizeof(expected)) == 0 && run(a, in, len, out);

	sg_wipe(block, MAC_KEY);
	sg_wipe(expected, sizeof(expected));
	return ok ? 0 : SG_EAUTH;
}

const struct sg_aead_ops sg_aead_libcrypto = {
	.name = "libcrypto",
	.new_key = new_key,
	.free_key = free_key,
	.seal = seal,
	.open = unseal,
};
