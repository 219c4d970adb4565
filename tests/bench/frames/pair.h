/*
 * Visors in one thread that a benchmark sends between: links over socket pairs in place of a carrier, and a stream at whose
 * one end as much is sent as is taken and at whose other end it is counted. What goes wrong ends the program.
 */
#ifndef SG_BENCH_PAIR_H
#define SG_BENCH_PAIR_H

#include "crypto/keys.h"
#include "route/route.h"

#define PAIR_PORT 44

struct pair_visor {
	struct pair_visor *next; /* whom its dials reach */
	struct sg_links *links;
	struct sg_route *route;
	struct sg_sk sk;
	struct sg_pk pk;
};

struct pair {
	struct sg_stream *out, *in; /* NULL until each is there */
	bool blocked;               /* @out takes no more for now */
	uint64_t records, bytes;    /* that came in */
};

void pair_need(bool ok, const char *what);
/** pair_visor_init - end it with pair_visor_fini. @next NULL: it dials nobody. */
void pair_visor_init(struct pair_visor *v, struct sg_loop *loop, const struct sg_crypto *c, struct pair_visor *next);
void pair_visor_fini(struct pair_visor *v);
/** pair_peer - makes @v dial its next one, from now on. */
void pair_peer(struct pair_visor *v);
/** pair_listen - what is dialled at PAIR_PORT becomes @in. */
void pair_listen(struct pair *p, struct pair_visor *v);
/** pair_dialed - sg_dialed_fn that makes the stream @out; arg: the pair. */
void pair_dialed(void *arg, struct sg_stream *s, int err, const char *why);
/** pair_fill - sends records of that size until none is taken. */
void pair_fill(struct pair *p, size_t record);
void pair_close(struct pair *p);

#endif
