/*
 * The way out to the other end: packets that wait in the fair queue, in the form the other end takes, as fast as the
 * stream takes them. Hello and probes go before packets.
 */
#ifndef VPN_OUT_H
#define VPN_OUT_H

#include "fairq.h"
#include "wire/vpn.h"
#include <skygate/stream.h>

struct out {
	struct sg_stream *stream; /* borrowed */
	bool rec;
	bool parts;          /* what is too long for a record of the network goes in parts */
	bool uso;            /* the other end takes super-packets of UDP */
	uint32_t number;     /* of the last record in parts */
	bool blocked;        /* the stream said -EAGAIN; ends with out_writable */
	uint8_t *scratch;    /* borrowed: twice SG_VPN_PACKET_MAX bytes to cut super-packets in */
	struct fairq *queue; /* borrowed */
	struct fairq_class waiting;
	uint8_t *first; /* hello and probes that wait, each: length u32 in host order | bytes */
	size_t head, tail;
	uint64_t cost;     /* bytes that packets took of the line so far, with what goes around them */
	uint64_t *dropped; /* borrowed counter: what found no place, or was too long for the stream */
};

/** out_init - a stream without records of ours yet. */
void out_init(struct out *o, struct sg_stream *stream, struct fairq *queue, uint64_t *dropped);
/** out_packet - a finished packet of our own. 0; -EAGAIN: taken, but now the stream is full; -ENOBUFS; SG_ECLOSED. */
int out_packet(struct out *o, struct sg_view packet);
/** out_bytes - as they are: a hello. As out_packet. */
int out_bytes(struct out *o, const void *bytes, size_t len);
/** out_control - a record without a packet, only toward ends that have records. As out_packet. */
int out_control(struct out *o, enum sg_vpn_record_kind kind, struct sg_view body);
/** out_pump - sends what waits until the stream is full, at most @budget bytes. True: more could be sent. */
bool out_pump(struct out *o, struct sg_mono now, size_t budget);
/** out_resume - the stream takes again: hello and probes go; packets wait for out_pump. */
void out_resume(struct out *o);
/** out_writable - the stream takes again: sends what waits. */
void out_writable(struct out *o, struct sg_mono now);
/** out_cost - bytes of a line that a packet of @len takes. */
size_t out_cost(size_t len);
/** out_fini - forgets what waits. Also of one that is all zero bytes. */
void out_fini(struct out *o);

#endif
