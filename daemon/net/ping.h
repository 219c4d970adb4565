/*
 * How far a visor is: a route to it is opened, its other end is asked for an answer a few times, the route is closed again. Every
 * visor answers that, whatever runs there. A neighbour to which no route can be made (that takes dmsg) is asked over the transport.
 * And the port where ours lets itself be asked.
 */
#ifndef SG_NET_PING_H
#define SG_NET_PING_H

#include "route/route.h"

#define PING_TIMES 4

struct pings;

struct ping_result {
	size_t n, answered;
	int64_t rtt_us[PING_TIMES]; /* -1: no answer */
	bool by_link;               /* over the transport to it: no route could be made */
	struct sg_tpid link;        /* that transport */
	char why[300];              /* of the route: a sentence */
};

/* @result: NULL with an error and a sentence. */
typedef void ping_fn(void *arg, const struct ping_result *result, int err, const char *why);

/** pings_new - @route is kept. NULL when memory is out. */
struct pings *pings_new(struct sg_loop *loop, struct sg_links *links, struct sg_route *route);
/** pings_free - call-backs do not follow. Accepts NULL. */
void pings_free(struct pings *p);
/** ping_start - over at least @min_hops. Ends in @fn once, never inside the call. 0, SG_EFULL or -ENOMEM. */
int ping_start(struct pings *p, const struct sg_pk *pk, unsigned min_hops, ping_fn *fn, void *arg);

#endif
