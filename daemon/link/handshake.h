/*
 * The handshake of a link as a machine without sockets: bytes in, bytes out, a phase. Both roles.
 *
 *	dialler    STREAM: f0 → ← f1, f2 → ← f3   READY: waits for link_hs_go   NOISE: msg 1 → ← msg 2
 *	           SETTLE: entry → ← answer   DONE
 *	responder  STREAM: ← f0, f1 → ← f2, f3 →   NOISE: ← msg 1, msg 2 →   SETTLE: ← entry
 *	           DECIDE: waits for link_hs_answer   DONE
 *	secured    both begin at SETTLE, and nothing is sealed: the carrier's stream does that, and proved both keys
 *
 * READY exists because a visor of 2024 ends its accept loop for good when a caller leaves between the first Noise message
 * and a valid entry: up to here a dial can be called off, from here it has to be carried through.
 * DECIDE exists because whether a second link is taken depends on what else is under way (link/manager.c).
 *
 * Each output is one message, to be sent with one send: the other end reads f0 with a single read and forgets what
 * arrives behind a frame. Sources: daemon/doc/wire.md, "stcp handshake", "Noise", "Settlement".
 */
#ifndef SG_LINK_HANDSHAKE_H
#define SG_LINK_HANDSHAKE_H

#include "base/limits.h"
#include "crypto/frame.h"
#include "crypto/noise.h"
#include "wire/settle.h"
#include "wire/stcp.h"

enum link_hs_phase {
	LINK_HS_STREAM,
	LINK_HS_READY,
	LINK_HS_NOISE,
	LINK_HS_SETTLE,
	LINK_HS_DECIDE,
	LINK_HS_DONE,
	LINK_HS_FAILED, /* what out still holds is to be sent before closing */
};

struct link_hs_conf {
	const struct sg_crypto *crypto; /* kept */
	const struct sg_sk *sk;         /* borrowed */
	const struct sg_pk *pk;
	const char *type;           /* of the transport: "stcp" */
	const struct sg_pk *remote; /* dialler: whom we call; NULL: responder */
	bool secured;               /* over a stream that its carrier secured: settlement at once */
	const struct sg_pk *caller; /* responder over such a stream: who it is */
	uint16_t port;              /* dialler: our own skywire port, 49153 and up; without meaning to the other end */
};

struct link_hs {
	const struct sg_crypto *crypto;
	struct sg_sk sk;
	struct sg_pk pk, remote; /* remote: known from f2 on, proven from DECIDE or SETTLE on */
	char type[16];
	bool dialler, secured;
	uint8_t step; /* message awaited within STREAM */
	bool skip_newline;
	uint16_t port;
	enum link_hs_phase phase;
	uint8_t nonce[SG_STCP_NONCE];
	struct sg_noise noise;
	struct sg_frame_key tx, rx;
	bool marked;              /* responder: the entry bears our mark */
	struct sg_sig remote_sig; /* responder: the dialler's, of the entry */
	bool newer;               /* the Noise payload was a post-quantum offer: a visor of 2026 */
	int err;
	char why[160];
	uint8_t *in; /* owned; not consumed yet */
	size_t in_len, in_cap;
	size_t plain_len;
	uint8_t plain[SG_SETTLE_LINE_MAX + SG_FRAME_PLAIN_MAX];
	size_t out_off, out_len;
	uint8_t out[SG_FRAME_HEAD + SG_SETTLE_LINE_MAX + SG_FRAME_TAG];
};

/* What a finished handshake leaves: moved out, the frame keys are the caller's. */
struct link_hs_result {
	struct sg_pk remote;
	bool marked, newer;
	struct sg_sig remote_sig; /* responder: the dialler's, of the entry; else zeros */
	struct sg_frame_key tx, rx;
	struct sg_view plain; /* plaintext behind the answer; borrowed until link_hs_fini */
	struct sg_view raw;   /* bytes behind that, not opened yet (secured: plaintext, too); borrowed likewise */
};

/** link_hs_init - in @hs, the caller's storage; a dialler's out holds f0 at once. Free with link_hs_fini. */
void link_hs_init(struct link_hs *hs, const struct link_hs_conf *conf);
/** link_hs_fini - wipes and frees. Harmless on all zero bytes. */
void link_hs_fini(struct link_hs *hs);

/** link_hs_feed - what arrived. 0, or the error that hs->err keeps (the phase is FAILED, hs->why a sentence). */
int link_hs_feed(struct link_hs *hs, struct sg_view in);
/*
 * The two halves of link_hs_feed: to keep costs nothing, to run is where keys are computed. Between them @hs may go to another
 * thread and back.
 */
int link_hs_keep(struct link_hs *hs, struct sg_view in);
int link_hs_run(struct link_hs *hs);
/** link_hs_eof - the other end closed before the handshake was done. Returns hs->err. */
int link_hs_eof(struct link_hs *hs);
/** link_hs_go - READY: sends the first Noise message. From here the other end counts on an entry. */
int link_hs_go(struct link_hs *hs);
/** link_hs_answer - DECIDE: SG_SETTLE_OK finishes; another answer ends in FAILED with SG_EREFUSED. */
int link_hs_answer(struct link_hs *hs, enum sg_settle_answer answer);

/** link_hs_out - what is to be sent now. */
struct sg_view link_hs_out(const struct link_hs *hs);
void link_hs_sent(struct link_hs *hs, size_t n);

/** link_hs_take - DONE and all sent. */
void link_hs_take(struct link_hs *hs, struct link_hs_result *out);

#endif
