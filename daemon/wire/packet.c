/* Routing packets and the payloads of the small types. */
#include "wire/packet.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"

int sg_packet_decode(struct sg_view in, struct sg_packet *out)
{
	struct sg_reader r = sg_reader(in);

	out->type = sg_read_u8(&r);
	out->route_id = sg_read_u32(&r);
	out->payload = sg_read_view(&r, sg_read_u16(&r));
	return r.err ? 0 : (int)(r.p - in.p);
}

int sg_packet_head(uint8_t type, uint32_t route_id, size_t len, uint8_t out[SG_PACKET_HEAD])
{
	if (len > SG_PACKET_PAYLOAD_MAX)
		return SG_ELONG;
	out[0] = type;
	sg_put_u32(out + 1, route_id);
	sg_put_u16(out + 5, (uint16_t)len);
	return 0;
}

#define STAMP_LEN 8 /* what of a pong means anything */

int sg_packet_pass(const struct sg_packet *in, uint8_t scratch[SG_PACKET_PING_LEN], struct sg_view *out)
{
	static const uint8_t need[] = {
		[SG_PACKET_CLOSE] = 1,
		[SG_PACKET_HANDSHAKE] = 1,
		[SG_PACKET_PING] = SG_PACKET_PING_LEN,
		[SG_PACKET_PONG] = STAMP_LEN,
	};

	*out = in->payload;
	if (in->type < SG_ARRAY_LEN(need) && in->payload.len < need[in->type])
		return SG_EMALF;
	switch (in->type) {
	case SG_PACKET_CLOSE:
	case SG_PACKET_PING:
		out->len = need[in->type];
		break;
	case SG_PACKET_KEEPALIVE:
		out->len = 0;
		break;
	case SG_PACKET_PONG:
		memset(scratch, 0, SG_PACKET_PING_LEN);
		memcpy(scratch, in->payload.p, STAMP_LEN);
		*out = (struct sg_view){scratch, SG_PACKET_PING_LEN};
		break;
	default:
		break;
	}
	return 0;
}

void sg_packet_ping_encode(const struct sg_packet_ping *p, uint8_t out[SG_PACKET_PING_LEN])
{
	sg_put_u64(out, (uint64_t)p->timestamp_ms);
	sg_put_u64(out + 8, (uint64_t)p->throughput);
}

int sg_packet_ping_decode(struct sg_view in, struct sg_packet_ping *out)
{
	struct sg_reader r = sg_reader(in);

	out->timestamp_ms = (int64_t)sg_read_u64(&r);
	out->throughput = (int64_t)sg_read_u64(&r);
	return r.err ? SG_EMALF : 0;
}
