/*
 * A dmsg server for tests, on loopback: sessions by Noise XK and yamux, streams relayed between two sessions of its own,
 * session objects sealed anew for the next hop. As the existing server it says nothing when it cannot relay.
 */
#ifndef SG_FAKE_RELAY_H
#define SG_FAKE_RELAY_H

#include "crypto/keys.h"
#include "loop/loop.h"

struct relay;

/** relay_new - listens on a free port of 127.0.0.1. NULL: it cannot. */
struct relay *relay_new(struct sg_loop *loop, const struct sg_crypto *c);
void relay_free(struct relay *r);
const struct sg_pk *relay_pk(const struct relay *r);
/** relay_address - "127.0.0.1:PORT". Borrowed. */
const char *relay_address(const struct relay *r);
size_t relay_streams(const struct relay *r); /* pairs that were joined so far */
/** relay_behind - so many zero bytes follow each request that is passed on, as from who does not wait for the answer. */
void relay_behind(struct relay *r, size_t len);
/** relay_cut - ends every session, as a server does that is killed. */
void relay_cut(struct relay *r);

#endif
