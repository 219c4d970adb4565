/* Routing packets: type u8 | route id u32 | payload length u16 | payload. */
#ifndef SG_WIRE_PACKET_H
#define SG_WIRE_PACKET_H

#include "base/limits.h"
#include <skygate/types.h>

enum sg_packet_type {
	SG_PACKET_DATA = 0,
	SG_PACKET_CLOSE = 1,
	SG_PACKET_KEEPALIVE = 2,
	SG_PACKET_HANDSHAKE = 3,
	SG_PACKET_PING = 4,
	SG_PACKET_PONG = 5,
	SG_PACKET_ERROR = 6,
	SG_PACKET_TRANSPORT_PING = 8, /* route id 0, 8 bytes to be echoed */
	SG_PACKET_TRANSPORT_PONG = 9,
	SG_PACKET_SETUP_STREAM = 13, /* 13 to 15: route id 0, virtual streams of services that we do not offer (2026) */
	SG_PACKET_FORWARD_STREAM = 15,
	SG_PACKET_APP_DIRECT = 16,   /* route id 0, a virtual stream: wire/vstream.h */
	SG_PACKET_LINK_HELLO = 0xe0, /* route id 0, only to peers that bear our mark: wire/linkhello.h */
	SG_PACKET_CREDIT = 0xe1
};

struct sg_packet {
	uint8_t type;
	uint32_t route_id;
	struct sg_view payload; /* view into the input */
};

SG_BEGIN_DECLS

/**
 * sg_packet_decode - one packet from the front of a byte run, which may hold several or part of one.
 * Returns bytes used (7 + payload length), 0 if more are needed. An unknown type is no error.
 */
int sg_packet_decode(struct sg_view in, struct sg_packet *out);
/** sg_packet_head - the 7 bytes in front of @len bytes of payload. 0 or SG_ELONG (above 65,535). */
int sg_packet_head(uint8_t type, uint32_t route_id, size_t len, uint8_t out[SG_PACKET_HEAD]);

#define SG_PACKET_PING_LEN 16

/**
 * sg_packet_pass - the payload with which a packet goes on to the next visor: control packets cut to what their type has,
 * everything else untouched. *@out views the payload of @in or @scratch. 0, or SG_EMALF: shorter than its type needs, which
 * would end a visor of 2024.
 */
int sg_packet_pass(const struct sg_packet *in, uint8_t scratch[SG_PACKET_PING_LEN], struct sg_view *out);

/* Payloads of the small types; each decoder returns 0 or SG_EMALF and takes longer payloads (newer peers). */
struct sg_packet_ping {
	int64_t timestamp_ms, throughput; /* bytes per second; 0 in a pong */
};
void sg_packet_ping_encode(const struct sg_packet_ping *p, uint8_t out[SG_PACKET_PING_LEN]);
int sg_packet_ping_decode(struct sg_view in, struct sg_packet_ping *out);

SG_END_DECLS
#endif
