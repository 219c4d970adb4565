/*
 * ChaCha20-Poly1305 (RFC 8439) behind one narrow face; nonce = 4 zero bytes | counter u64 little endian.
 * Providers: libcrypto and libsodium; sg_aead_measure picks the faster one on this machine.
 */
#ifndef SG_CRYPTO_AEAD_H
#define SG_CRYPTO_AEAD_H

#include <skygate/types.h>

#define SG_AEAD_KEY_LEN 32
#define SG_AEAD_TAG_LEN 16
#define SG_AEAD_FRONT   64

struct sg_aead; /* a key ready for use, with whatever context the provider keeps */

struct sg_aead_ops {
	const char *name;                                               /* "libcrypto", "libsodium" */
	struct sg_aead *(*new_key)(const uint8_t key[SG_AEAD_KEY_LEN]); /* NULL: memory is out. Returns new. */
	void (*free_key)(struct sg_aead *);                             /* wipes; accepts NULL */
	/* @out: len + 16 bytes, may equal @in. */
	void (*seal)(
		struct sg_aead *, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out);
	/* In place, faster: the SG_AEAD_FRONT bytes before @p are written meanwhile; afterwards they are as they were. */
	void (*seal_behind)(struct sg_aead *, uint64_t counter, struct sg_view ad, uint8_t *p, size_t len);
	/* @in: len + 16 bytes; @out: len bytes, may equal @in. 0 or SG_EAUTH (then @out is wiped or untouched). */
	int (*open)(struct sg_aead *, uint64_t counter, struct sg_view ad, const uint8_t *in, size_t len, uint8_t *out);
};

SG_BEGIN_DECLS

/** sg_aead_providers - NULL-terminated. Static, any thread. */
const struct sg_aead_ops *const *sg_aead_providers(void);
/** sg_aead_measure - the provider that seals 1,400 and 4,032 bytes fastest, by a few milliseconds of trial. */
const struct sg_aead_ops *sg_aead_measure(void);

SG_END_DECLS
#endif
