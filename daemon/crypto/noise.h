/*
 * Noise KK and XK over secp256k1, ChaChaPoly, SHA-256, as the existing network speaks them: DH output is 33 bytes, payloads
 * of any length are accepted and ignored, the keys of the transport phase go by who wrote the last message. Source:
 * daemon/doc/wire.md, "Noise".
 */
#ifndef SG_CRYPTO_NOISE_H
#define SG_CRYPTO_NOISE_H

#include "crypto/aead.h"
#include "crypto/keys.h"

#define SG_NOISE_MSG_MIN 49 /* of KK and of the first two of XK: ephemeral key and tag, no payload */
#define SG_NOISE_DH_LEN  33

struct sg_noise_pattern;

struct sg_noise {
	const struct sg_crypto *c; /* borrowed */
	const struct sg_noise_pattern *pattern;
	bool initiator;
	uint8_t step; /* messages written and read so far */
	struct sg_sk s, e;
	struct sg_pk s_pub, e_pub, rs, re;
	uint8_t h[32], ck[32], k[32];
	bool has_k;
	uint64_t n;
};

/* Keys for the transport phase, from our point of view. */
struct sg_noise_keys {
	uint8_t tx[SG_AEAD_KEY_LEN], rx[SG_AEAD_KEY_LEN];
};

SG_BEGIN_DECLS

/** sg_noise_dh - the 33 bytes that go into the key schedule. 0 or SG_EKEY. */
int sg_noise_dh(
	const struct sg_crypto *c, const struct sg_sk *sk, const struct sg_pk *pk, uint8_t out[SG_NOISE_DH_LEN]);
/** sg_noise_kk_init - the ephemeral key comes from the random source. 0 or SG_EKEY. */
int sg_noise_kk_init(struct sg_noise *n, const struct sg_crypto *c, bool initiator, const struct sg_sk *own,
	const struct sg_pk *remote);
/** sg_noise_xk_init - @remote is the responder's key; unused for a responder, who finds the initiator's in n->rs once done. */
int sg_noise_xk_init(struct sg_noise *n, const struct sg_crypto *c, bool initiator, const struct sg_sk *own,
	const struct sg_pk *remote);
/** sg_noise_msg_min - length of the next message, read or written, with an empty payload. */
size_t sg_noise_msg_min(const struct sg_noise *n);
/** sg_noise_write - our next message with @payload to @out (cap bytes). Length, -ENOMEM, SG_ELONG, SG_ESTATE or SG_EKEY. */
int sg_noise_write(struct sg_noise *n, struct sg_view payload, uint8_t *out, size_t cap);
/**
 * sg_noise_read - the other end's next message. @payload (may be NULL) gets up to @payload_cap bytes of its payload;
 * returns the payload's full length, SG_EMALF, SG_EKEY, SG_EAUTH, SG_ESTATE or -ENOMEM. After an error only
 * sg_noise_fini may follow.
 */
int sg_noise_read(struct sg_noise *n, struct sg_view msg, uint8_t *payload, size_t payload_cap);
bool sg_noise_done(const struct sg_noise *n);
/** sg_noise_split - once done. */
void sg_noise_split(const struct sg_noise *n, struct sg_noise_keys *out);
/** sg_noise_fini - wipes. */
void sg_noise_fini(struct sg_noise *n);

SG_END_DECLS
#endif
