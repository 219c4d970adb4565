/*
 * What this visor answers by HTTP on dmsg port 80, where others look for it: GET /health, and the transport log, GET /DAY.csv and
 * /transport_logs/DAY.csv, which the existing visors show to everybody too. One request per stream, as the
 * existing network has it; whoever asks is known by the stream's key.
 */
#ifndef SG_NET_SERVE_H
#define SG_NET_SERVE_H

#include "crypto/crypto.h"
#include "loop/loop.h"
#include "net/tplog.h"
#include <skygate/plugin.h>

struct sg_serve;

/** serve_new - @own and @log are kept. NULL when memory is out. */
struct sg_serve *serve_new(struct sg_loop *loop, const struct sg_pk *own, struct tplog *log);
/** serve_free - ends what is under way. Accepts NULL. */
void serve_free(struct sg_serve *s);
/** serve_network - listens there from now on; @ops NULL: the network is gone, and every stream with it. */
void serve_network(struct sg_serve *s, const struct sg_network_ops *ops, void *ctx);

#endif
