/* A run of packets, as a link hands it on, with the payloads of the small types. */
#include "base/common.h"
#include "fuzz.h"
#include "wire/linkhello.h"
#include "wire/packet.h"

static void payload(const struct sg_packet *p)
{
	struct sg_packet_ping ping;
	struct sg_linkhello hello;
	uint8_t out[SG_PACKET_PING_LEN];

	if (sg_packet_ping_decode(p->payload, &ping) == 0) {
		sg_packet_ping_encode(&ping, out);
		must(memcmp(out, p->payload.p, sizeof(out)) == 0);
	} else {
		must(p->payload.len < sizeof(out));
	}
	if (sg_linkhello_decode(p->payload, &hello) == 0) {
		sg_linkhello_encode(&hello, out);
		must(memcmp(out, p->payload.p, SG_LINKHELLO_LEN) == 0);
	} else {
		must(p->payload.len < SG_LINKHELLO_LEN);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_packet p;
	uint8_t head[SG_PACKET_HEAD];
	size_t at = 0;
	int used;

	while ((used = sg_packet_decode((struct sg_view){data + at, size - at}, &p)) > 0) {
		must((size_t)used == SG_PACKET_HEAD + p.payload.len && (size_t)used <= size - at);
		must(sg_packet_head(p.type, p.route_id, p.payload.len, head) == 0);
		must(memcmp(head, data + at, sizeof(head)) == 0);
		payload(&p);
		at += (size_t)used;
	}
	must(used == 0);
	return 0;
}
