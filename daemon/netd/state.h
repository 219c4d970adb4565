/*
 * Which of the four states holds, from the owner's configuration and what core says. Pure: time is passed in.
 *
 *	off        no rules
 *	armed      rules in, the VPN is not asked for: steered traffic is blocked
 *	blocking   asked for, no proven path: blocked, silently for 30 s, refused after that
 *	connected  a probe came back: steered traffic goes into the TUN
 *
 *	mode off, disarmed, opened by the owner's word         → off
 *	kill switch off: connected, or off                      (no path: traffic leaves as if we were not there)
 *	kill switch on:  unwanted → armed, down → blocking, up with a lease → connected
 */
#ifndef SG_NETD_STATE_H
#define SG_NETD_STATE_H

#include "base/clock.h"
#include "netd/conf.h"
#include "wire/netd.h"

#define NETD_HOST_WAIT_MS 5000 /* mode host: core may look up its exits for so long before we close */

enum netd_word { NETD_IS_OFF, NETD_IS_ARMED, NETD_IS_BLOCKING, NETD_IS_CONNECTED };

struct netd_state {
	uint8_t path;    /* enum sg_netd_path, as core said last */
	bool path_known; /* core or the owner said something since we started, or the rules were in when we came */
	uint32_t lease;  /* address in host order, 0: none */
	bool disarmed;   /* by --disarm, until --arm or the next start */
	bool stopping;   /* we end, and the rules stay as the kill switch says */
	struct sg_mono started;
	bool closed; /* armed or blocking … */
	struct sg_mono closed_since;
};

/* What the rules are to be. */
struct netd_gate {
	enum netd_word word;
	bool refuse; /* closed for long enough: say no instead of nothing */
	bool server; /* the exit's side */
	uint32_t lease;
};

void netd_state_init(struct netd_state *st, struct sg_mono now, bool rules_found);
/**
 * netd_state_gate - the state at @now. *next_ms: when it has to be asked again without an event, -1: never.
 */
struct netd_gate netd_state_gate(
	struct netd_state *st, const struct netd_conf *conf, struct sg_mono now, int64_t *next_ms);
/** netd_state_core_gone - core ended: what it had proven is no longer so. */
void netd_state_core_gone(struct netd_state *st);
const char *netd_word_str(enum netd_word w);

#endif
