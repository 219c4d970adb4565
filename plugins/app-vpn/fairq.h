/*
 * Packets that wait for a stream: fair among flows, and short. Every flow (addresses, protocol, ports) has a queue of its
 * own and they take turns by bytes, so that a ping does not wait behind a download (deficit round robin, RFC 8290); a flow
 * whose packets wait too long for too long loses one now and then, so that its sender slows down (CoDel, RFC 8289).
 *
 *	fairq ── blocks: one arena of fixed size, no allocation per packet; a packet is a chain of blocks
 *	  └ class: one receiver; an exit has one per client ── flows ── packets
 *
 * A packet is read from the kernel straight into blocks and sent from there. When the arena is full, the fattest flow of
 * all classes loses its oldest packets.
 */
#ifndef VPN_FAIRQ_H
#define VPN_FAIRQ_H

#include "base/clock.h"
#include "base/list.h"
#include "wire/vpn.h"

#include <sys/uio.h>

#define FAIRQ_BLOCK 2048 /* bytes: an ordinary packet with its headers lies in one */
#define FAIRQ_IOV   ((SG_VPN_PACKET_MAX + FAIRQ_BLOCK - 1) / FAIRQ_BLOCK)

#define FAIRQ_WAITS 5

/* What became of packets. */
struct fairq_count {
	uint64_t late;              /* dropped: their flow waited too long for too long */
	uint64_t full;              /* dropped: the arena was full */
	uint64_t stale;             /* dropped: nobody expects them any more */
	uint64_t marked;            /* told their receiver of the congestion instead */
	uint64_t wait[FAIRQ_WAITS]; /* went on after less than 1, 5, 20, 100 ms, or later */
};

/* Packets for one receiver. */
struct fairq_class {
	struct sg_list quick;      /* flows within a turn of theirs with one small packet, */
	struct sg_list fresh, old; /* with others; flows that had their turn */
	size_t bytes, packets;     /* waiting */
	uint32_t n_old, turns;     /* flows of that list; turns that were given */
	uint32_t front;            /* the flow whose oldest packet fairq_front gave, plus one; 0: none */
	unsigned sent;             /* the user's: segments of the front that were sent; 0 for a new front */
	uint64_t salt;             /* two classes have no flow in common */
};

struct fairq;

/** fairq_new - an arena of @bytes, at least two packets of 64 KiB. @seed: random. @count is kept. NULL: no memory. */
struct fairq *fairq_new(size_t bytes, uint64_t seed, struct fairq_count *count);
/** fairq_free - classes are the caller's. Accepts NULL. */
void fairq_free(struct fairq *q);
void fairq_class_init(struct fairq *q, struct fairq_class *c);
/** fairq_class_clear - forgets what waits there. */
void fairq_class_clear(struct fairq *q, struct fairq_class *c);

/**
 * fairq_room - where the next packet may be written, in order: FAIRQ_IOV blocks of FAIRQ_BLOCK bytes each, good until
 * fairq_put or the next fairq_room. Drops what is needed for that.
 */
const struct iovec *fairq_room(struct fairq *q);
/** fairq_put - the packet that was written there, @r->len bytes, checked by sg_vpn_record_check, joins @c. */
void fairq_put(struct fairq *q, struct fairq_class *c, const struct sg_vpn_record *r, struct sg_mono now);

struct fairq_packet {
	struct sg_vpn_record *r; /* may be changed as the packet is finished where it lies */
	int n;                   /* of iov */
	struct iovec iov[FAIRQ_IOV];
};

/** fairq_front - @c's next packet, the same one until fairq_pop or until it had to make room. False: nothing waits. */
bool fairq_front(struct fairq *q, struct fairq_class *c, struct sg_mono now, struct fairq_packet *out);
/** fairq_pop - the front was sent, or thrown away. */
void fairq_pop(struct fairq *q, struct fairq_class *c);

#endif
