/* What the files of transport-tcp share. */
#ifndef SG_TRANSPORT_TCP_H
#define SG_TRANSPORT_TCP_H

#include "base/list.h"
#include "base/text.h"
#include "loop/loop.h"
#include <skygate/plugin.h>

#define TCP_BY_ADDRESS "stcp"  /* neighbours whose addresses are configured */
#define TCP_BY_KEY     "stcpr" /* the same, found at the address resolver */

/* The running carrier: what start() returns. */
struct tcp {
	const struct sg_host *host;
	struct sg_inst *inst;
	struct sg_list listeners, dials;
	unsigned asked; /* questions to tune_socket that are not answered yet */
	uint16_t bound; /* at the address resolver; 0: not */
	bool stopping;
	uint64_t accepted, accept_failed, untuned;
};

/* ---- listen.c ---- */
/* Listens as the configuration says now; addresses that stay are not touched. All or nothing: a code and a sentence. */
int tcp_listen_apply(struct tcp *t, char *why, size_t why_cap);
void tcp_listen_close(struct tcp *t);

/* ---- dial.c ---- */
extern const struct sg_carrier_ops tcp_carrier_ops;
void tcp_dial_close(struct tcp *t);

/* ---- plugin.c ---- */
/* One question less is open; ends a stop that waited for it. */
void tcp_answered(struct tcp *t, int err);
/* What both ends of a connection want: small packets leave at once. */
void tcp_socket_options(int fd);

#endif
