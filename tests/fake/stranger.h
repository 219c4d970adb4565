/*
 * A visor that is not ours, played by hand on one connection of a fake world: every message of the handshake is a call,
 * so that a test can stop, lie or wait anywhere. It shares codecs with the code under test, and no state machine.
 */
#ifndef SG_TESTS_FAKE_STRANGER_H
#define SG_TESTS_FAKE_STRANGER_H

#include "crypto/frame.h"
#include "crypto/noise.h"
#include "fake/world.h"
#include "wire/settle.h"
#include "wire/stcp.h"

struct stranger {
	struct fake_world *w;
	int fd; /* -1: closed by the other end */
	struct sg_sk sk;
	struct sg_pk pk, remote;
	struct sg_noise noise;
	struct sg_frame_key tx, rx;
	struct sg_signed_entry entry; /* what was received */
	uint8_t nonce[SG_STCP_NONCE];
	uint8_t in[256 * 1024];
	size_t in_len;
	uint8_t plain[256 * 1024];
	size_t plain_at, plain_len; /* not looked at yet: from plain_at on */
};

/** stranger_new - with the keys of node @as, which is not booted, toward node @to. No connection yet. */
struct stranger *stranger_new(struct fake_world *w, size_t as, size_t to);
void stranger_free(struct stranger *s);
/** stranger_hang_up - closes the connection. */
void stranger_hang_up(struct stranger *s);
/** stranger_call - connects to the node. */
void stranger_call(struct stranger *s);
/** stranger_expect - the node's next dial of this address ends here. */
void stranger_expect(struct stranger *s);

/* As the caller. Each returns false when the other end closed or what it said is not what belongs here. */
bool stranger_f0(struct stranger *s);
bool stranger_f2(struct stranger *s);
bool stranger_msg1(struct stranger *s, size_t offer_len);
bool stranger_entry(struct stranger *s, bool marked);
/** stranger_answered - the answer byte, -1: none. */
int stranger_answered(struct stranger *s);
/** stranger_link - all of it: the answer byte. */
int stranger_link(struct stranger *s, bool marked, size_t offer_len);

/* As the called one. */
bool stranger_f1(struct stranger *s);
bool stranger_f3(struct stranger *s);
bool stranger_msg2(struct stranger *s, size_t answer_len);
bool stranger_settle(struct stranger *s, uint8_t answer);
/** stranger_serve - all of it. */
bool stranger_serve(struct stranger *s);

void stranger_raw(struct stranger *s, const void *p, size_t len);
/** stranger_seal - sends @len bytes in frames. */
void stranger_seal(struct stranger *s, const void *p, size_t len);
void stranger_packet(struct stranger *s, uint8_t type, uint32_t route_id, const void *p, size_t len);
/** stranger_got - the next packet that arrived; its payload is valid until the next call. False: none. */
bool stranger_got(struct stranger *s, struct sg_packet *out);
/** stranger_is_cut - the other end has closed. */
bool stranger_is_cut(struct stranger *s);

#endif
