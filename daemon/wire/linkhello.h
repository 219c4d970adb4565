/* LinkHello, packet type 0xE0 on route id 0, between ends that bear our mark: version u8 | caps u32. */
#ifndef SG_WIRE_LINKHELLO_H
#define SG_WIRE_LINKHELLO_H

#include <skygate/types.h>

#define SG_LINKHELLO_VERSION 1
#define SG_LINKHELLO_LEN     5
enum { SG_CAP_CREDITS = 1 };

struct sg_linkhello {
	uint8_t version;
	uint32_t caps;
};

SG_BEGIN_DECLS

void sg_linkhello_encode(const struct sg_linkhello *h, uint8_t out[SG_LINKHELLO_LEN]);
/** sg_linkhello_decode - 0 or SG_EMALF. Longer payloads are taken, their rest ignored. */
int sg_linkhello_decode(struct sg_view payload, struct sg_linkhello *out);

SG_END_DECLS
#endif
