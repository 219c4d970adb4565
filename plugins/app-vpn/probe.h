/*
 * Proof that a path carries traffic: a record that our own other end answers, and ICMP echo from the leased address to
 * hosts beyond it. Pure: it makes and recognises packets and keeps the time; sending is the client's.
 */
#ifndef VPN_PROBE_H
#define VPN_PROBE_H

#include "wire/vpn.h"
#include <skygate/types.h>

#define PROBE_TARGETS_MAX 8
#define PROBE_BODY        8  /* bytes: nonce u32 | number u32 */
#define PROBE_ICMP        36 /* IPv4 and ICMP headers and the body */

struct probe {
	uint32_t nonce;  /* random per session: nobody else's echo is taken for ours */
	uint32_t number; /* of the last round */
	uint32_t lease;  /* source of the echoes */
	size_t n_targets;
	uint32_t targets[PROBE_TARGETS_MAX];
	int64_t sent_ms[8]; /* of the last rounds, by number */
	bool want_record, want_echo;
	bool got_record, got_echo;
	int64_t end_ms, path_ms; /* last sign of life of the other end, and of what lies beyond */
	int64_t rtt_ms;          /* of the last answer; the echo's where there are echoes. -1: none yet */
};

/** probe_begin - a new session. @record: the other end answers records. */
void probe_begin(struct probe *p, uint32_t nonce, uint32_t lease, bool record, int64_t now_ms);
/** probe_round - begins a round; @body is what the record carries. */
void probe_round(struct probe *p, int64_t now_ms, uint8_t body[PROBE_BODY]);
/** probe_echo - the echo request of this round to one target. */
void probe_echo(const struct probe *p, size_t target, uint8_t packet[PROBE_ICMP]);
/** probe_answer - is this the body of an answer record to one of ours? */
bool probe_answer(struct probe *p, struct sg_view body, int64_t now_ms);
/** probe_echo_answer - is this packet the reply to one of our echoes? Then it is not the LAN's. */
bool probe_echo_answer(struct probe *p, struct sg_view packet, int64_t now_ms);
/** probe_traffic - a packet of the LAN came back: a sign of life, too. */
void probe_traffic(struct probe *p, struct sg_view packet, int64_t now_ms);
/** probe_proven - everything that can be asked for came back. */
bool probe_proven(const struct probe *p);
/** probe_alive_ms - when the last sign of life came that the proof asks for. */
int64_t probe_alive_ms(const struct probe *p);

#endif
