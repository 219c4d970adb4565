/* Virtual streams and their credits. */
#include "wire/vstream.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"

int sg_vstream_decode(struct sg_view payload, struct sg_vstream_msg *out)
{
	struct sg_reader r = sg_reader(payload);

	out->id = sg_read_u64(&r);
	sg_read_bytes(&r, out->sender.b, SG_PK_LEN);
	out->flags = sg_read_u8(&r);
	out->data = sg_read_view(&r, sg_reader_left(&r));
	return r.err ? SG_EMALF : 0;
}

void sg_vstream_head(uint64_t id, const struct sg_pk *sender, uint8_t flags, uint8_t out[SG_VSTREAM_HEAD])
{
	sg_put_u64(out, id);
	memcpy(out + 8, sender->b, SG_PK_LEN);
	out[8 + SG_PK_LEN] = flags;
}

int sg_credit_decode(struct sg_view payload, struct sg_credit *out)
{
	struct sg_reader r = sg_reader(payload);

	out->id = sg_read_u64(&r);
	out->allowed = sg_read_u64(&r);
	return r.err ? SG_EMALF : 0;
}

void sg_credit_encode(const struct sg_credit *c, uint8_t out[SG_CREDIT_LEN])
{
	sg_put_u64(out, c->id);
	sg_put_u64(out + 8, c->allowed);
}
