/*
 * The way out to the other end: packets into the form it takes, and a bounded place to wait while the stream is full.
 */
#ifndef VPN_OUT_H
#define VPN_OUT_H

#include "wire/vpn.h"
#include <skygate/stream.h>

struct out {
	struct sg_stream *stream; /* borrowed */
	bool rec;
	bool blocked;     /* the stream said -EAGAIN; ends with out_writable */
	size_t max;       /* bytes that may wait */
	uint8_t *scratch; /* borrowed: SG_VPN_PACKET_MAX bytes to cut super-packets in */
	uint8_t *q;       /* waiting, each: length u32 in host order | bytes */
	size_t head, tail;
	uint64_t *dropped; /* borrowed counter: packets that found no place, or were too long for the stream */
};

/**
 * out_packet - one packet as the kernel gave it, checked by sg_vpn_record_check; may finish its checksum in place.
 * 0; -EAGAIN: taken, but now the stream is full; -ENOBUFS: all or part of it was dropped; SG_ECLOSED.
 */
int out_packet(struct out *o, const struct sg_vpn_record *r, uint8_t *packet);
/** out_bytes - as they are: a hello. As out_packet. */
int out_bytes(struct out *o, const void *bytes, size_t len);
/** out_control - a record without a packet, only toward ends that have records. As out_packet. */
int out_control(struct out *o, enum sg_vpn_record_kind kind, struct sg_view body);
/** out_writable - the stream takes again: sends what waited. True when nothing waits any more. */
bool out_writable(struct out *o);
void out_fini(struct out *o);

#endif
