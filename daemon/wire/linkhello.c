/* LinkHello: what two ends of ours tell one another about a link. */
#include "wire/linkhello.h"
#include "base/cursor.h"
#include "base/err.h"

void sg_linkhello_encode(const struct sg_linkhello *h, uint8_t out[SG_LINKHELLO_LEN])
{
	out[0] = h->version;
	sg_put_u32(out + 1, h->caps);
}

int sg_linkhello_decode(struct sg_view payload, struct sg_linkhello *out)
{
	struct sg_reader r = sg_reader(payload);

	out->version = sg_read_u8(&r);
	out->caps = sg_read_u32(&r);
	return r.err ? SG_EMALF : 0;
}
