/*
 * Virtual streams: payload of packet type 16 on route id 0: stream id u64 | sender key 33 | flags u8 | data.
 * Dialler: SYN; data: port u16. Listener: data: one byte, 0 accepted or 1 no listener. Then bytes; FIN closes.
 */
#ifndef SG_WIRE_VSTREAM_H
#define SG_WIRE_VSTREAM_H

#include "base/limits.h"
#include <skygate/types.h>

enum { SG_VSTREAM_SYN = 1, SG_VSTREAM_FIN = 2, SG_VSTREAM_RELAY = 4, SG_VSTREAM_RELAYED = 8 };
enum { SG_VSTREAM_ACCEPTED = 0, SG_VSTREAM_NO_LISTENER = 1 };

struct sg_vstream_msg {
	uint64_t id;
	struct sg_pk sender;
	uint8_t flags;
	struct sg_view data; /* view into the input */
};

/* Packet type 0xE1: this many bytes of data are allowed on the stream in total, since it began. */
struct sg_credit {
	uint64_t id, allowed;
};
#define SG_CREDIT_LEN 16

SG_BEGIN_DECLS

/** sg_vstream_decode - 0 or SG_EMALF (shorter than its header). Unknown flags are kept. */
int sg_vstream_decode(struct sg_view payload, struct sg_vstream_msg *out);
void sg_vstream_head(uint64_t id, const struct sg_pk *sender, uint8_t flags, uint8_t out[SG_VSTREAM_HEAD]);
/** sg_credit_decode - 0 or SG_EMALF. Longer payloads are taken, their rest ignored. */
int sg_credit_decode(struct sg_view payload, struct sg_credit *out);
void sg_credit_encode(const struct sg_credit *c, uint8_t out[SG_CREDIT_LEN]);

SG_END_DECLS
#endif
