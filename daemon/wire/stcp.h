/*
 * The exchange in clear on a fresh stcp or stcpr connection: f0 "get_nonce", f1 nonce, f2 signed addresses, f3 verdict.
 * Pure codecs; who sends when is link/'s business. The reader at the far end discards what arrives together with a
 * frame, so the next message may only be sent after the answer to the one before.
 */
#ifndef SG_WIRE_STCP_H
#define SG_WIRE_STCP_H

#include "base/limits.h"
#include "crypto/keys.h"

#define SG_STCP_F0            "get_nonce"
#define SG_STCP_F0_LEN        9
#define SG_STCP_NONCE         16
#define SG_STCP_TP_PORT       45 /* where visors listen for transports */
#define SG_STCP_NOT_LISTENING "not listening on given port"

struct sg_stcp_f2 {
	struct sg_pk src, dst;
	uint16_t src_port, dst_port;
	uint8_t nonce[SG_STCP_NONCE];
	struct sg_sig sig;
};

struct sg_stcp_f3 {
	bool ok;
	char err[128]; /* cut when longer */
};

SG_BEGIN_DECLS

/* Encoders write a JSON line with its newline to @out. Return its length, SG_ELONG or SG_EKEY. */
int sg_stcp_f1_encode(const uint8_t nonce[SG_STCP_NONCE], char *out, size_t cap);
/** sg_stcp_f2_encode - signs @f with @sk (and @k, a nonce for ECDSA, or NULL) and fills f->sig. */
int sg_stcp_f2_encode(const struct sg_crypto *c, const struct sg_sk *sk, const uint8_t *k, struct sg_stcp_f2 *f,
	char *out, size_t cap);
/** sg_stcp_f2_format - the line as it stands, with f->sig. */
int sg_stcp_f2_format(const struct sg_stcp_f2 *f, char *out, size_t cap);
/** sg_stcp_f2_signed - the bytes that the signature covers: the line with a null signature. */
int sg_stcp_f2_signed(const struct sg_stcp_f2 *f, char *out, size_t cap);
int sg_stcp_f3_encode(const struct sg_stcp_f3 *f, char *out, size_t cap);

/*
 * Decoders take a byte run that may hold only part of the value. Return bytes used (through the closing brace and the
 * newline when it is there), 0 if more are needed, SG_EMALF or SG_ELONG (above SG_STCP_LINE_MAX).
 */
int sg_stcp_f1_decode(struct sg_view in, uint8_t nonce[SG_STCP_NONCE]);
/** sg_stcp_f2_decode - also SG_EKEY. Does not verify. */
int sg_stcp_f2_decode(const struct sg_crypto *c, struct sg_view in, struct sg_stcp_f2 *out);
/** sg_stcp_f2_verify - nonce as sent, signature by f->src over the canonical re-encoding. 0 or SG_ESIG. */
int sg_stcp_f2_verify(const struct sg_crypto *c, const struct sg_stcp_f2 *f, const uint8_t nonce[SG_STCP_NONCE]);
int sg_stcp_f3_decode(struct sg_view in, struct sg_stcp_f3 *out);

SG_END_DECLS
#endif
