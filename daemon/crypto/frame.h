/*
 * Noise transport frames: len16 | counter u64 | ciphertext | tag 16, both integers big endian; the counter starts at
 * 1 and only increases. Source: daemon/doc/wire.md, "Frames"; tests/data/dmsg.json noise_frame_negative.
 */
#ifndef SG_CRYPTO_FRAME_H
#define SG_CRYPTO_FRAME_H

#include "base/limits.h"
#include "crypto/aead.h"

#define SG_FRAME_FRONT (SG_AEAD_FRONT - SG_FRAME_HEAD)

struct sg_frame_key {
	const struct sg_aead_ops *ops; /* borrowed, static */
	struct sg_aead *key;
	uint64_t counter; /* tx: of the last frame sealed; rx: of the last frame seen */
};

SG_BEGIN_DECLS

/** sg_frame_key_init - 0 or -ENOMEM. */
int sg_frame_key_init(struct sg_frame_key *k, const struct sg_aead_ops *ops, const uint8_t key[SG_AEAD_KEY_LEN]);
void sg_frame_key_fini(struct sg_frame_key *k);

/**
 * sg_frame_seal - seals in place a slot of SG_FRAME_HEAD free bytes, @len plaintext bytes (1..SG_FRAME_PLAIN_MAX) and
 * SG_FRAME_TAG free bytes. Returns the length of the frame at @slot. Allocates nothing.
 */
size_t sg_frame_seal(struct sg_frame_key *tx, uint8_t *slot, size_t len);

/**
 * sg_frame_seal_behind - the same, faster, where SG_FRAME_FRONT bytes in front of @slot may be written meanwhile; they are put
 * back.
 */
size_t sg_frame_seal_behind(struct sg_frame_key *tx, uint8_t *slot, size_t len);

/**
 * sg_frame_open - opens the frame at the front of @in into @out (room for SG_FRAME_PLAIN_MAX bytes; may be where its
 * ciphertext lies: in.p + SG_FRAME_HEAD).
 * Returns bytes used, 0 if more are needed, SG_ELONG (prefix above 4094), SG_EMALF (below the overhead), SG_EREPLAY or
 * SG_EAUTH; errors are permanent. *@out_len may be 0: an empty frame, to be skipped. Allocates nothing.
 */
int sg_frame_open(struct sg_frame_key *rx, struct sg_view in, uint8_t *out, size_t *out_len);

SG_END_DECLS
#endif
