/* The recorded handshakes through the machine that links run on. @heard and @said: all bytes of the other end, and ours. */
#ifndef SG_TESTS_VECTORS_MACHINE_H
#define SG_TESTS_VECTORS_MACHINE_H

#include "run.h"
#include "wire/stcp.h"

/** machine_respond - a responder hears f0, f2 (none when empty) and the end. True: it accepted. */
bool machine_respond(struct run *r, struct sg_view f0, struct sg_view f2, const uint8_t nonce[SG_STCP_NONCE],
	void (*wrote)(void *arg, struct sg_view bytes), void *arg);
/** machine_dial - a dialler hears f1 and f3. */
void machine_dial(struct run *r, const struct sg_stcp_f2 *recorded, struct sg_view f0, struct sg_view f1,
	struct sg_view f3, bool want_ok);
void machine_session_responder(struct run *r, const char *type, const struct sg_sk *sk, const struct sg_pk *pk,
	const struct sg_sk *ephemeral, const uint8_t nonce[SG_STCP_NONCE], struct sg_view heard, struct sg_view said);
void machine_session_dialler(struct run *r, const char *type, const struct sg_sk *sk, const struct sg_pk *pk,
	const struct sg_sk *ephemeral, const struct sg_pk *remote, struct sg_view heard, struct sg_view said);

#endif
