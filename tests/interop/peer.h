/* What the scripted peer is made of: one stcp transport with a visor, spoken by hand. */
#ifndef SG_INTEROP_PEER_H
#define SG_INTEROP_PEER_H

#include "crypto/frame.h"
#include "crypto/noise.h"
#include "wire/packet.h"

struct peer {
	struct sg_crypto *c;
	int fd;
	struct sg_sk sk;
	struct sg_pk pk, remote;
	size_t payload; /* bytes in our Noise message */
	bool members;   /* JSON members that no visor of 2024 knows, in every line we send */
	struct sg_frame_key tx, rx;
	uint8_t in[SG_PACKET_HEAD + SG_PACKET_PAYLOAD_MAX +
		   SG_FRAME_PLAIN_MAX]; /* plaintext received and not used yet */
	size_t have;
};

/** need - ends the program with that sentence when something is not so. */
void need(bool ok, const char *what);
/** peer_packet - one packet of any size, sealed and sent. */
void peer_packet(struct peer *p, uint8_t type, uint32_t route, const void *payload, size_t len);
/** peer_receive - the next packet, valid until the next call. Waits as long as the socket is patient. */
struct sg_packet peer_receive(struct peer *p);

/** tolerates - each row of the table of 2026 in turn over a transport that is up. */
void tolerates(struct peer *p);
/** pings - waits for @n transport pings of the visor, which come every 60 s, and answers them. */
void pings(struct peer *p, unsigned n);

#endif
