/*
 * The sections of whole handshakes once more, through the very machine that links run on (daemon/link/handshake.c). Where
 * a signature of ours is part of a message it differs from the recorded one, and is verified instead.
 */
#include "base/common.h"
#include "base/err.h"
#include "link/handshake.h"
#include "machine.h"

#include <stdlib.h>

/* Some key: the one that the section does not tell. */
static void any_key(struct run *r, struct sg_sk *sk, struct sg_pk *pk)
{
	memset(sk->b, 0x5a, sizeof(sk->b));
	expect_outcome(r, "key", true, sg_pk_of(r->c, sk, pk));
}

static void machine_init(struct run *r, struct link_hs *hs, const char *type, const struct sg_sk *sk,
	const struct sg_pk *pk, const struct sg_pk *remote)
{
	link_hs_init(hs, &(struct link_hs_conf){
				 .crypto = r->c, .sk = sk, .pk = pk, .type = type, .remote = remote, .port = 49153});
}

/* What the machine has to say now, taken as sent (a view into it). */
static struct sg_view say(struct link_hs *hs)
{
	struct sg_view out = link_hs_out(hs);

	link_hs_sent(hs, out.len);
	return out;
}

static void expect_said(struct run *r, const char *field, struct link_hs *hs, struct sg_view want)
{
	expect_bytes(r, field, want, say(hs));
}

bool machine_respond(struct run *r, struct sg_view f0, struct sg_view f2, const uint8_t nonce[SG_STCP_NONCE],
	void (*wrote)(void *arg, struct sg_view bytes), void *arg)
{
	struct link_hs *hs = calloc(1, sizeof(*hs));
	const struct sg_view in[] = {f0, f2};
	struct sg_sk sk;
	struct sg_pk pk;
	bool ok;

	if (!hs)
		abort();
	any_key(r, &sk, &pk);
	machine_init(r, hs, "stcp", &sk, &pk, NULL);
	fake_random_put(r->random, nonce, SG_STCP_NONCE);
	for (size_t i = 0; i < SG_ARRAY_LEN(in); i++) {
		struct sg_view out;

		if (in[i].len && hs->phase != LINK_HS_FAILED)
			link_hs_feed(hs, in[i]);
		out = say(hs);
		if (out.len)
			wrote(arg, out);
	}
	ok = hs->phase == LINK_HS_NOISE; /* behind f3 */
	link_hs_eof(hs);
	link_hs_fini(hs);
	free(hs);
	r->random->used = r->random->len; /* a nonce that was not asked for must not reach the next case */
	return ok;
}

void machine_dial(struct run *r, const struct sg_stcp_f2 *recorded, struct sg_view f0, struct sg_view f1,
	struct sg_view f3, bool want_ok)
{
	struct link_hs *hs = calloc(1, sizeof(*hs));
	struct sg_stcp_f2 f2;
	struct sg_sk sk;
	struct sg_pk pk;

	if (!hs)
		abort();
	any_key(r, &sk, &pk);
	machine_init(r, hs, "stcp", &sk, &pk, &recorded->dst);
	expect_said(r, "f0 of the link", hs, f0);
	expect_outcome(r, "f1 to the link", true, link_hs_feed(hs, f1));
	expect_outcome(r, "f2 of the link", true, sg_stcp_f2_decode(r->c, say(hs), &f2));
	if (!r->failed) {
		expect_outcome(r, "f2 of the link", true, sg_stcp_f2_verify(r->c, &f2, recorded->nonce));
		(void)link_hs_feed(hs, f3);
		expect_true(r, "f3 to the link", (hs->phase == LINK_HS_READY) == want_ok,
			want_ok ? "accepted" : "refused", want_ok ? hs->why : "accepted");
	}
	link_hs_fini(hs);
	free(hs);
}

/* ---- a whole session ---- */

static void give(struct run *r, const char *field, struct link_hs *hs, struct sg_view all, size_t *at, size_t len)
{
	len = SG_MIN(len, all.len - *at);
	expect_outcome(r, field, true, r->failed ? 0 : link_hs_feed(hs, (struct sg_view){all.p + *at, len}));
	*at += len;
}

/* Bytes of one handshake message or frame with its length in front. */
static size_t framed(struct sg_view all, size_t at)
{
	return all.len - at < 2 ? all.len - at : 2 + ((size_t)all.p[at] << 8 | all.p[at + 1]);
}

static size_t line_len(struct sg_view all, size_t at)
{
	const uint8_t *end = memchr(all.p + at, '\n', all.len - at);

	return end ? (size_t)(end - all.p) - at + 1 : all.len - at;
}

static void expect_next_said(
	struct run *r, const char *field, struct link_hs *hs, struct sg_view all, size_t *at, size_t len)
{
	len = SG_MIN(len, all.len - *at);
	expect_said(r, field, hs, (struct sg_view){all.p + *at, len});
	*at += len;
}

/* Everything behind the handshake: frames of ours sealed to the same bytes, frames of theirs opened. */
static void finish(struct run *r, struct link_hs *hs, struct sg_view sent, size_t at)
{
	struct link_hs_result res;
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG], plain[SG_FRAME_PLAIN_MAX];
	struct sg_frame_key own;

	if (r->failed)
		return;
	link_hs_take(hs, &res);
	/* Opened with the key that seals: what was recorded is what we would have sent. */
	own = res.tx;
	own.counter = 1;
	while (at < sent.len && !r->failed) {
		size_t len, sealed;
		int used = sg_frame_open(&own, (struct sg_view){sent.p + at, sent.len - at}, plain, &len);

		expect_true(r, "recorded frame", used > 0, "a whole frame", sg_errname(used));
		if (used <= 0)
			break;
		memcpy(slot + SG_FRAME_HEAD, plain, len);
		sealed = sg_frame_seal(&res.tx, slot, len);
		expect_bytes(r, "frame of the link", (struct sg_view){sent.p + at, (size_t)used},
			(struct sg_view){slot, sealed});
		at += (size_t)used;
	}
	sg_frame_key_fini(&res.tx);
	sg_frame_key_fini(&res.rx);
}

void machine_session_responder(struct run *r, const char *type, const struct sg_sk *sk, const struct sg_pk *pk,
	const struct sg_sk *ephemeral, const uint8_t nonce[SG_STCP_NONCE], struct sg_view heard, struct sg_view said)
{
	struct link_hs *hs = calloc(1, sizeof(*hs));
	size_t in = 0, out = 0;

	if (!hs)
		abort();
	machine_init(r, hs, type, sk, pk, NULL);
	fake_random_put(r->random, nonce, SG_STCP_NONCE);
	fake_random_put(r->random, ephemeral->b, SG_SK_LEN);
	give(r, "f0 to the link", hs, heard, &in, SG_STCP_F0_LEN);
	expect_next_said(r, "f1 of the link", hs, said, &out, line_len(said, out));
	give(r, "f2 to the link", hs, heard, &in, line_len(heard, in));
	expect_next_said(r, "f3 of the link", hs, said, &out, line_len(said, out));
	give(r, "Noise message to the link", hs, heard, &in, framed(heard, in));
	expect_next_said(r, "Noise message of the link", hs, said, &out, framed(said, out));
	give(r, "settlement to the link", hs, heard, &in, framed(heard, in));
	expect_true(r, "settlement", hs->phase == LINK_HS_DECIDE, "accepted", hs->why);
	expect_outcome(r, "answer", true, r->failed ? 0 : link_hs_answer(hs, SG_SETTLE_OK));
	expect_next_said(r, "answer of the link", hs, said, &out, framed(said, out));
	finish(r, hs, said, out);
	link_hs_fini(hs);
	free(hs);
	r->random->used = r->random->len;
}

void machine_session_dialler(struct run *r, const char *type, const struct sg_sk *sk, const struct sg_pk *pk,
	const struct sg_sk *ephemeral, const struct sg_pk *remote, struct sg_view heard, struct sg_view said)
{
	struct link_hs *hs = calloc(1, sizeof(*hs));
	size_t in = 0, out = 0;
	struct sg_stcp_f2 f2;

	if (!hs)
		abort();
	machine_init(r, hs, type, sk, pk, remote);
	fake_random_put(r->random, ephemeral->b, SG_SK_LEN);
	expect_next_said(r, "f0 of the link", hs, said, &out, SG_STCP_F0_LEN);
	give(r, "f1 to the link", hs, heard, &in, line_len(heard, in));
	expect_outcome(r, "f2 of the link", true, sg_stcp_f2_decode(r->c, say(hs), &f2));
	out += line_len(said, out);
	give(r, "f3 to the link", hs, heard, &in, line_len(heard, in));
	expect_outcome(r, "Noise begins", true, r->failed ? 0 : link_hs_go(hs));
	expect_next_said(r, "Noise message of the link", hs, said, &out, framed(said, out));
	give(r, "Noise message to the link", hs, heard, &in, framed(heard, in));
	expect_true(r, "settlement of the link", say(hs).len > 0, "an entry", "nothing");
	out += framed(said, out);
	give(r, "answer to the link", hs, heard, &in, framed(heard, in));
	expect_true(r, "answer", hs->phase == LINK_HS_DONE, "accepted", hs->why);
	finish(r, hs, said, out);
	link_hs_fini(hs);
	free(hs);
	r->random->used = r->random->len;
}
