/*
 * ChaCha20-Poly1305 (RFC 8439) from libcrypto's ChaCha20 and Poly1305. Its own composition of the two looks up parameters by
 * name for each nonce and each tag, and lets nobody between the two (vectors_done): up to 0.1 µs more per record. Contexts
 * are made and keyed once.
 *
 * What a call costs depends on how its length fits what libcrypto computes side by side, so a record is cut to fit (figures in
 * doc/performance.md). Its key stream: the key of the tag and the first bytes | whole blocks | what is left, rounded up.
 * Its tag: a multiple of TAG_WIDE | a block | what is left, and the lengths.
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

#define BLOCK    64   /* bytes of key stream */
#define WIDE     1024 /* as many as libcrypto makes side by side, in little more than twice the time of one block */
#define TAG_WIDE 128  /* the same of the tag; a multiple of half of it takes a slow way from the first byte on */
#define IV_LEN   16   /* number of the block, u32 little endian, and the nonce */
#define MAC_KEY  32
#define PAD      16

_Static_assert(SG_AEAD_FRONT == BLOCK, "seal_behind borrows a block");

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

static size_t round_up(size_t len, size_t to)
{
	return (len + to - 1) / to * to;
}

/* Whole blocks, in both directions the same: key stream added to them. */
static bool run(struct sg_aead *a, const uint8_t *in, size_t len, uint8_t *out)
{
	int n;
	bool ok = len == 0 || EVP_EncryptUpdate(a->stream, out, &n, in, (int)len) == 1;

	vectors_done();
	return ok;
}

/* The end of a record. A broken block would be made alone, and bytewise: the blocks before it and a whole one cost less. */
static bool run_end(struct sg_aead *a, const uint8_t *in, size_t len, uint8_t *out)
{
	size_t rest = len % BLOCK ? len % WIDE : 0, whole = len - rest;
	uint8_t last[WIDE];

	if (!run(a, in, whole, out))
		return false;
	if (rest == 0)
		return true;
	memcpy(last, in + whole, rest);
	memset(last + rest, 0, round_up(rest, BLOCK) - rest);
	if (!run(a, last, round_up(rest, BLOCK), last))
		return false;
	memcpy(out + whole, last, rest);
	return true;
}

/* The record of that number from its first block on, which is the key of the tag. */
static bool begin(struct sg_aead *a, uint64_t counter)
{
	uint8_t iv[IV_LEN] = {0};

	sg_put_u64_le(iv + 8, counter);
	return EVP_EncryptInit_ex2(a->stream, NULL, NULL, iv, NULL) == 1;
}

static bool mac_add(struct sg_aead *a, const uint8_t *p, size_t len)
{
	bool ok = len == 0 || EVP_MAC_update(a->mac, p, len) == 1;

	vectors_done();
	return ok;
}

static bool tag(struct sg_aead *a, const uint8_t key[MAC_KEY], struct sg_view ad, const uint8_t *sealed, size_t len,
	uint8_t out[SG_AEAD_TAG_LEN])
{
	static const uint8_t zeros[PAD];
	size_t wide = len / TAG_WIDE * TAG_WIDE, blocks = len / BLOCK * BLOCK, rest = len - blocks,
	       n = round_up(rest, PAD);
	uint8_t end[BLOCK + 2 * sizeof(uint64_t)];
	bool ok = EVP_MAC_init(a->mac, key, MAC_KEY, NULL) == 1;

	vectors_done();
	if (ok && ad.len)
		ok = mac_add(a, ad.p, ad.len) && mac_add(a, zeros, round_up(ad.len, PAD) - ad.len);
	if (rest)
		memcpy(end, sealed + blocks, rest);
	memset(end + rest, 0, n - rest);
	sg_put_u64_le(end + n, ad.len);
	sg_put_u64_le(end + n + sizeof(uint64_t), len);
	ok = ok && mac_add(a, sealed, wide) && mac_add(a, sealed + wide, blocks - wide) &&
	     mac_add(a, end, n + 2 * sizeof(uint64_t)) && EVP_MAC_final(a->mac, out, &n, SG_AEAD_TAG_LEN) == 1;
	vectors_done();
	return ok;
}

static void sealed_or_bug(bool ok, size_t len)
{
	if (!ok)
		sg_bug("libcrypto cannot seal %zu bytes", len);
}

static void seal(struct sg_aead *a, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t first[WIDE];
	size_t n = len <= WIDE - BLOCK ? len : 0; /* of a long one the two copies would cost what it saves */
	bool ok;

	memset(first, 0, BLOCK);
	memset(first + BLOCK + n, 0, round_up(n, BLOCK) - n);
	if (n)
		memcpy(first + BLOCK, in, n);
	ok = begin(a, counter) && run(a, first, round_up(BLOCK + n, BLOCK), first);
	if (n)
		memcpy(out, first + BLOCK, n);
	ok = ok && (len == n || run_end(a, in + n, len - n, out + n));
	sealed_or_bug(ok && tag(a, first, ad, out, len, out + len), len);
	sg_wipe(first, MAC_KEY);
}

/* The bytes in front become the first block, in the same call as the others: 64 and 4,032 bytes are four times WIDE. */
static void seal_behind(struct sg_aead *a, uint64_t counter, struct sg_view ad, uint8_t *p, size_t len)
{
	uint8_t before[BLOCK], first[BLOCK], *front = p - BLOCK;
	bool ok;

	if (len <= WIDE - BLOCK) {
		seal(a, counter, ad, p, len, p);
		return;
	}
	memcpy(before, front, BLOCK);
	memset(front, 0, BLOCK);
	ok = begin(a, counter) && run_end(a, front, BLOCK + len, front);
	memcpy(first, front, BLOCK);
	memcpy(front, before, BLOCK);
	sealed_or_bug(ok && tag(a, first, ad, p, len, p + len), len);
	sg_wipe(first, MAC_KEY);
}

static void add_stream(const uint8_t *stream, const uint8_t *in, size_t len, uint8_t *out)
{
	uint64_t x[2], y[2];

	for (; len >= sizeof(x); len -= sizeof(x), in += sizeof(x), stream += sizeof(x), out += sizeof(x)) {
		memcpy(x, in, sizeof(x));
		memcpy(y, stream, sizeof(y));
		x[0] ^= y[0];
		x[1] ^= y[1];
		memcpy(out, x, sizeof(x));
	}
	for (size_t i = 0; i < len; i++)
		out[i] = in[i] ^ stream[i];
}

/* Key stream may be made before the tag is known to be right; it is added to nothing. */
static int unseal(struct sg_aead *a, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out)
{
	static const uint8_t zeros[WIDE];
	uint8_t first[WIDE], expected[SG_AEAD_TAG_LEN];
	size_t n = SG_MIN(len, (size_t)WIDE - BLOCK);
	bool ok = begin(a, counter) && run(a, zeros, round_up(BLOCK + n, BLOCK), first) &&
		  tag(a, first, ad, in, len, expected) && CRYPTO_memcmp(expected, in + len, sizeof(expected)) == 0;

	if (ok && n) {
		add_stream(first + BLOCK, in, n, out);
		ok = run_end(a, in + n, len - n, out + n);
	}
	sg_wipe(first, BLOCK + n);
	sg_wipe(expected, sizeof(expected));
	return ok ? 0 : SG_EAUTH;
}

const struct sg_aead_ops sg_aead_libcrypto = {
	.name = "libcrypto",
	.new_key = new_key,
	.free_key = free_key,
	.seal = seal,
	.seal_behind = seal_behind,
	.open = unseal,
};
