/*
 * What dmsg clients and servers tell one another on a session: stream requests and responses, gob structs behind a
 * signature. Source: daemon/doc/wire.md, "dmsg"; tests/data/dmsg.json stream_objects.
 */
#ifndef SG_WIRE_DMSG_H
#define SG_WIRE_DMSG_H

#include "crypto/keys.h"

#define SG_DMSG_NOISE_MAX  1280 /* bytes of a Noise message in a request or response: 1,233 with a payload (2026) */
#define SG_DMSG_OBJECT_MAX 4096 /* signature and gob of what we send; received ones may be longer */

struct sg_dmsg_addr {
	struct sg_pk pk;
	uint16_t port;
};

struct sg_dmsg_request {
	int64_t timestamp; /* Unix nanoseconds, above 0 */
	struct sg_dmsg_addr src, dst;
	bool ip_info;         /* asks the server for our address as it sees it; then no Noise message */
	struct sg_view noise; /* decoded: view into the input */
};

struct sg_dmsg_response {
	uint8_t req_hash[32]; /* SHA-256 of the whole signed request */
	bool accepted;
	struct sg_view ip; /* 4 or 16 bytes */
	uint16_t err_code;
	struct sg_view noise;
};

SG_BEGIN_DECLS

/** sg_dmsg_request_encode - gob with ids from @base (64 or 65). Length or SG_ELONG. */
int sg_dmsg_request_encode(const struct sg_dmsg_request *q, int64_t base, uint8_t *out, size_t cap);
/** sg_dmsg_request_decode - by the types sent; unknown fields skipped. 0, SG_EMALF, SG_EKEY, SG_EFULL or -ENOMEM. */
int sg_dmsg_request_decode(const struct sg_crypto *c, struct sg_view gob, struct sg_dmsg_request *out);
int sg_dmsg_response_encode(const struct sg_dmsg_response *a, int64_t base, uint8_t *out, size_t cap);
int sg_dmsg_response_decode(struct sg_view gob, struct sg_dmsg_response *out);

/** sg_dmsg_object_sign - signature | gob into @out. Length, SG_ELONG, SG_EKEY or SG_ESIG. */
int sg_dmsg_object_sign(
	const struct sg_crypto *c, const struct sg_sk *sk, struct sg_view gob, uint8_t *out, size_t cap);
/** sg_dmsg_object_split - the gob behind the signature. 0 or SG_EMALF (shorter than 66 bytes). */
int sg_dmsg_object_split(struct sg_view object, struct sg_sig *sig, struct sg_view *gob);
/** sg_dmsg_object_verify - signed by @pk. 0, SG_ESIG, SG_EKEY or SG_EMALF. */
int sg_dmsg_object_verify(const struct sg_crypto *c, const struct sg_pk *pk, struct sg_view object);

SG_END_DECLS
#endif
