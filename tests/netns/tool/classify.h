/*
 * The judge's opinion of one Ethernet frame on the provider's line. An allow list: what is not the carrier's TCP
 * connection, ARP or neighbour discovery is foreign, whoever sent it and whatever its source address says
 * (translation hides a client's address, so its absence proves nothing). Pure: no clock, no socket.
 */
#ifndef CLASSIFY_H
#define CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe.h"

enum verdict {
	V_ARP,
	V_ND,      /* neighbour and router discovery: ICMPv6 133..137, hop limit 255, not forwardable */
	V_MLD,     /* the kernel's own group reports: link scope, hop limit 1 */
	V_CARRIER, /* TCP between a router address and the carrier's end, its handshake seen or not */
	V_ANSWER,  /* a bare TCP reset of the router itself to a segment that came in from outside */
	V_FOREIGN,
	V_COUNT
};
extern const char *const verdict_names[V_COUNT];

#define CLASSIFY_ROUTERS  8
#define CLASSIFY_CARRIERS 16
#define CLASSIFY_SEEN     4096

struct classify {
	uint32_t carrier[CLASSIFY_CARRIERS]; /* addresses in host order of ends that are allowed */
	uint16_t carrier_port[CLASSIFY_CARRIERS];
	size_t carriers;
	uint32_t router[CLASSIFY_ROUTERS];
	unsigned routers;
	struct {
		uint32_t src, dst, ports;
		uint64_t at_ns;
	} seen[CLASSIFY_SEEN]; /* TCP that came in lately, by hash */
};

struct opinion {
	enum verdict verdict;
	int kind;       /* enum probe_kind, or -1: no probe */
	char text[160]; /* what it is, for people */
};

/**
 * classify - one whole frame
 * @from_router: it leaves the router (false: it comes in from outside)
 * @now_ns: any monotonic clock; an answer is allowed for one second
 */
void classify(
	struct classify *c, const uint8_t *frame, size_t len, bool from_router, uint64_t now_ns, struct opinion *out);

#endif
