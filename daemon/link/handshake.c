/*
 * Both roles of the handshake, in the order of its messages. Every step reads one message from the front of what arrived
 * and writes at most one; a step that needs more bytes says so, and nothing else happens.
 *
 * A message is read leniently (white space, order of members, a post-quantum offer of any length), written exactly as
 * the existing implementation writes it, and bounded before it is parsed.
 */
#include "link/handshake.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"

#include <stdarg.h>

#define LEN16        2
#define PQ_OFFER_LEN 1184 /* an ML-KEM-768 encapsulation key */
#define IN_FIRST     1024 /* bytes; grows when a message says that it is longer */

enum { STEP_F0, STEP_F1, STEP_F2, STEP_F3 };

/* What a step answers besides bytes used and errors. */
#define NEED_MORE 0

static int fail(struct link_hs *hs, int err, const char *fmt, ...) SG_PRINTF(3, 4);

static int fail(struct link_hs *hs, int err, const char *fmt, ...)
{
	va_list ap;

	hs->phase = LINK_HS_FAILED;
	hs->err = err;
	va_start(ap, fmt);
	vsnprintf(hs->why, sizeof(hs->why), fmt, ap);
	va_end(ap);
	return err;
}

static struct sg_view front(const struct link_hs *hs)
{
	return (struct sg_view){hs->in, hs->in_len};
}

static bool put_out(struct link_hs *hs, int len)
{
	if (len < 0)
		return false;
	hs->out_off = 0;
	hs->out_len = (size_t)len;
	return true;
}

static int entry_write(struct link_hs *hs);

/* The carrier has done all that comes before. */
static void begin_secured(struct link_hs *hs, const struct link_hs_conf *conf)
{
	hs->secured = true;
	hs->phase = LINK_HS_SETTLE;
	if (hs->dialler)
		(void)entry_write(hs);
	else
		hs->remote = *conf->caller;
}

void link_hs_init(struct link_hs *hs, const struct link_hs_conf *conf)
{
	memset(hs, 0, sizeof(*hs));
	hs->crypto = conf->crypto;
	hs->sk = *conf->sk;
	hs->pk = *conf->pk;
	hs->port = conf->port;
	snprintf(hs->type, sizeof(hs->type), "%s", conf->type);
	hs->phase = LINK_HS_STREAM;
	hs->step = STEP_F0;
	if (conf->remote) {
		hs->dialler = true;
		hs->remote = *conf->remote;
		memcpy(hs->out, SG_STCP_F0, SG_STCP_F0_LEN);
		hs->out_len = SG_STCP_F0_LEN;
		hs->step = STEP_F1;
	}
	if (conf->secured)
		begin_secured(hs, conf);
}

void link_hs_fini(struct link_hs *hs)
{
	sg_free(hs->in);
	sg_frame_key_fini(&hs->tx);
	sg_frame_key_fini(&hs->rx);
	sg_noise_fini(&hs->noise);
	sg_wipe(hs, sizeof(*hs));
}

/* ---- f0 to f3 ---- */

/*
 * The reference takes f0 from one read and refuses a split one. A network may split anything, so here only a wrong byte
 * is refused, and that at once: an HTTP request on this port is another protocol's, not worth a wait.
 */
static int responder_f0(struct link_hs *hs)
{
	size_t have = SG_MIN(hs->in_len, (size_t)SG_STCP_F0_LEN);

	if (memcmp(hs->in, SG_STCP_F0, have) != 0)
		return fail(hs, SG_EMALF, "it does not speak the %s handshake", hs->type);
	if (have < SG_STCP_F0_LEN)
		return NEED_MORE;
	sg_crypto_random(hs->crypto, hs->nonce, sizeof(hs->nonce));
	if (!put_out(hs, sg_stcp_f1_encode(hs->nonce, (char *)hs->out, sizeof(hs->out))))
		return fail(hs, SG_ELONG, "our nonce does not fit");
	hs->step = STEP_F2;
	return SG_STCP_F0_LEN;
}

static int dialler_f1(struct link_hs *hs)
{
	struct sg_stcp_f2 f2 = {.src = hs->pk, .dst = hs->remote, .src_port = hs->port, .dst_port = SG_STCP_TP_PORT};
	int used = sg_stcp_f1_decode(front(hs), f2.nonce);
	int len;

	if (used < 0)
		return fail(hs, used, "it does not speak the %s handshake", hs->type);
	if (used == 0)
		return NEED_MORE;
	len = sg_stcp_f2_encode(hs->crypto, &hs->sk, NULL, &f2, (char *)hs->out, sizeof(hs->out));
	if (!put_out(hs, len))
		return fail(hs, len, "our address could not be signed");
	hs->step = STEP_F3;
	return used;
}

/*
 * f2.dst is not compared with our key, as in the reference: nothing here is made from it, and Noise KK, which mixes in
 * the keys that both ends believe in, fails on a different one. The settlement entry is checked against our own key.
 */
static int responder_f2(struct link_hs *hs)
{
	struct sg_stcp_f3 f3 = {.ok = true};
	struct sg_stcp_f2 f2;
	int used = sg_stcp_f2_decode(hs->crypto, front(hs), &f2);
	int ret;

	if (used < 0)
		return fail(hs, used, "its signed address is malformed");
	if (used == 0)
		return NEED_MORE;
	ret = sg_stcp_f2_verify(hs->crypto, &f2, hs->nonce);
	if (ret < 0)
		return fail(hs, ret, "its signed address carries a wrong nonce or a bad signature");
	if (sg_pk_equal(&f2.src, &hs->pk))
		return fail(hs, SG_EDUP, "it uses our own key; one key must not run twice");
	if (f2.dst_port != SG_STCP_TP_PORT) {
		f3.ok = false;
		snprintf(f3.err, sizeof(f3.err), "%s", SG_STCP_NOT_LISTENING);
	}
	if (!put_out(hs, sg_stcp_f3_encode(&f3, (char *)hs->out, sizeof(hs->out))))
		return fail(hs, SG_ELONG, "our verdict does not fit");
	if (!f3.ok)
		return fail(
			hs, SG_EREFUSED, "it asked for port %u, transports are on %u", f2.dst_port, SG_STCP_TP_PORT);
	hs->remote = f2.src;
	ret = sg_noise_kk_init(&hs->noise, hs->crypto, false, &hs->sk, &hs->remote);
	if (ret < 0)
		return fail(hs, ret, "its key is not valid");
	hs->phase = LINK_HS_NOISE;
	return used;
}

/* A stranger's text on its way to our log: only what cannot do harm there. */
static void make_printable(char *s)
{
	for (; *s; s++) {
		if (*s < ' ' || *s > '~')
			*s = '?';
	}
}

static int dialler_f3(struct link_hs *hs)
{
	struct sg_stcp_f3 f3;
	int used = sg_stcp_f3_decode(front(hs), &f3);
	int ret;

	if (used < 0)
		return fail(hs, used, "its verdict on our address is malformed");
	if (used == 0)
		return NEED_MORE;
	make_printable(f3.err);
	if (!f3.ok)
		return fail(hs, SG_EREFUSED, "it refuses our connection: %s", f3.err[0] ? f3.err : "no reason given");
	ret = sg_noise_kk_init(&hs->noise, hs->crypto, true, &hs->sk, &hs->remote);
	if (ret < 0)
		return fail(hs, ret, "the key that we were given for it is not valid");
	hs->phase = LINK_HS_READY;
	return used;
}

/* ---- Noise ---- */

/* A Noise message with its length in front, to out. */
static int noise_write(struct link_hs *hs)
{
	int len = sg_noise_write(&hs->noise, (struct sg_view){0}, hs->out + LEN16, sizeof(hs->out) - LEN16);

	if (len < 0)
		return fail(hs, len, "our Noise message could not be made: %s", sg_strerror(len));
	sg_put_u16(hs->out, (uint16_t)len);
	put_out(hs, LEN16 + len);
	return 0;
}

static int keys_split(struct link_hs *hs)
{
	const struct sg_aead_ops *aead = sg_crypto_aead(hs->crypto);
	struct sg_noise_keys keys;
	int ret;

	sg_noise_split(&hs->noise, &keys);
	ret = sg_frame_key_init(&hs->tx, aead, keys.tx);
	if (ret == 0)
		ret = sg_frame_key_init(&hs->rx, aead, keys.rx);
	sg_wipe(&keys, sizeof(keys));
	return ret < 0 ? fail(hs, ret, "out of memory") : 0;
}

int link_hs_go(struct link_hs *hs)
{
	if (hs->phase != LINK_HS_READY)
		return SG_ESTATE;
	hs->phase = LINK_HS_NOISE;
	return noise_write(hs);
}

static int wrong_key(struct link_hs *hs)
{
	char pk[SG_PK_SHORT];

	return fail(hs, SG_EKEYMISMATCH, "the other end has a different key than configured (expected %s)",
		sg_pk_short(&hs->remote, pk));
}

/* Where a message of the settlement is put. */
static uint8_t *settle_room(struct link_hs *hs)
{
	return hs->out + (hs->secured ? 0 : SG_FRAME_HEAD);
}

/* What was put there, to out: sealed, unless the stream does that. */
static void settle_put(struct link_hs *hs, size_t len)
{
	put_out(hs, (int)(hs->secured ? len : sg_frame_seal(&hs->tx, hs->out, len)));
}

/* The entry of our transport, to out. Our mark goes to everybody: whoever does not know it ignores it. */
static int entry_write(struct link_hs *hs)
{
	struct sg_signed_entry e = {.marked = true};
	int len = sg_entry_make(&hs->pk, &hs->remote, hs->type, &e.entry);

	if (len == 0)
		len = sg_entry_sign(hs->crypto, &hs->sk, NULL, &e);
	if (len == 0)
		len = sg_settle_encode(&e, true, (char *)settle_room(hs), SG_SETTLE_LINE_MAX);
	if (len < 0)
		return fail(hs, len, "our entry could not be made: %s", sg_strerror(len));
	settle_put(hs, (size_t)len);
	return 0;
}

static int noise_step(struct link_hs *hs)
{
	size_t len;
	int payload, ret;

	if (hs->in_len < LEN16)
		return NEED_MORE;
	len = sg_get_u16(hs->in);
	if (len < SG_NOISE_MSG_MIN)
		return fail(hs, SG_EMALF, "its Noise message is too short");
	if (hs->in_len < LEN16 + len)
		return NEED_MORE;
	payload = sg_noise_read(&hs->noise, (struct sg_view){hs->in + LEN16, len}, NULL, 0);
	if (payload == SG_EAUTH && hs->dialler)
		return wrong_key(hs);
	if (payload < 0)
		return fail(hs, payload, "its Noise message was refused: %s", sg_strerror(payload));
	hs->newer = payload == PQ_OFFER_LEN;
	ret = hs->dialler ? 0 : noise_write(hs);
	if (ret == 0)
		ret = keys_split(hs);
	if (ret == 0 && hs->dialler)
		ret = entry_write(hs);
	sg_noise_fini(&hs->noise);
	if (ret < 0)
		return ret;
	hs->phase = LINK_HS_SETTLE;
	return (int)(LEN16 + len);
}

/* ---- settlement ---- */

static int answer_write(struct link_hs *hs, enum sg_settle_answer answer)
{
	*settle_room(hs) = (uint8_t)answer;
	settle_put(hs, 1);
	return 0;
}

/*
 * The entry. Its reader in the reference forgets what follows it in the same read, and so do we: a caller has nothing to
 * say before our answer.
 */
static int responder_entry(struct link_hs *hs)
{
	struct sg_signed_entry e;
	int ret = sg_settle_decode(hs->crypto, (struct sg_view){hs->plain, hs->plain_len}, &e);

	/* A stream may bring the newline by itself; taken for a packet's head it would cost the link. */
	if (ret > 0 && hs->secured && hs->plain[ret - 1] != '\n')
		ret = 0;
	if (ret == 0 && hs->plain_len < SG_SETTLE_LINE_MAX)
		return 0;
	if (ret == 0)
		ret = SG_ELONG;
	if (ret > 0)
		ret = sg_settle_check(hs->crypto, &e, &hs->pk, &hs->remote, hs->type);
	hs->plain_len = 0;
	if (ret < 0) {
		answer_write(hs, SG_SETTLE_INVALID);
		return fail(hs, ret, "its transport entry was refused: %s", sg_strerror(ret));
	}
	hs->marked = e.marked;
	hs->remote_sig = e.sigs[sg_pk_equal(&e.entry.edges[0], &hs->remote) ? 0 : 1];
	hs->phase = LINK_HS_DECIDE;
	return 0;
}

static int dialler_answer(struct link_hs *hs)
{
	static const char *const texts[] = {
		[SG_SETTLE_FAIL] = "it refuses the transport",
		[SG_SETTLE_SIG] = "it could not sign the transport entry",
		[SG_SETTLE_INVALID] = "it says that our transport entry is invalid",
	};
	uint8_t answer = hs->plain[0];

	if (answer != SG_SETTLE_OK)
		return fail(hs, SG_EREFUSED, "%s",
			answer < SG_ARRAY_LEN(texts) ? texts[answer] : "its answer to our transport entry is unknown");
	memmove(hs->plain, hs->plain + 1, --hs->plain_len);
	hs->phase = LINK_HS_DONE;
	return 0;
}

/* What arrived, to plain. Bytes used, 0 if more are needed, or an error; *@got bytes came out of it. */
static int settle_open(struct link_hs *hs, size_t *got)
{
	if (!hs->secured)
		return sg_frame_open(&hs->rx, front(hs), hs->plain + hs->plain_len, got);
	*got = SG_MIN(hs->in_len, sizeof(hs->plain) - hs->plain_len);
	memcpy(hs->plain + hs->plain_len, hs->in, *got);
	return (int)*got;
}

static int settle_step(struct link_hs *hs)
{
	size_t got;
	int used, ret;

	used = settle_open(hs, &got);
	if (used == 0)
		return NEED_MORE;
	if (used < 0)
		return fail(hs, used, "its frame was refused: %s", sg_strerror(used));
	hs->plain_len += got;
	if (got == 0)
		return used; /* an empty frame says nothing */
	ret = hs->dialler ? dialler_answer(hs) : responder_entry(hs);
	return ret < 0 ? ret : used;
}

int link_hs_answer(struct link_hs *hs, enum sg_settle_answer answer)
{
	if (hs->phase != LINK_HS_DECIDE)
		return SG_ESTATE;
	answer_write(hs, answer);
	if (answer != SG_SETTLE_OK)
		return fail(hs, SG_EREFUSED, "we refused the transport");
	hs->phase = LINK_HS_DONE;
	return 0;
}

/* ---- bytes in, bytes out ---- */

static int step(struct link_hs *hs)
{
	switch (hs->phase) {
	case LINK_HS_STREAM:
		if (hs->dialler)
			return hs->step == STEP_F1 ? dialler_f1(hs) : dialler_f3(hs);
		return hs->step == STEP_F0 ? responder_f0(hs) : responder_f2(hs);
	case LINK_HS_NOISE:
		return noise_step(hs);
	case LINK_HS_SETTLE:
		return settle_step(hs);
	default:
		return NEED_MORE; /* READY, DECIDE and DONE wait for us */
	}
}

/* What one message may need; bytes behind the handshake come on top, one read's worth. */
static size_t in_max(void)
{
	return LEN16 + SG_NOISE_MSG_MAX + SG_FRAME_PREFIX_MAX;
}

static bool keep(struct link_hs *hs, struct sg_view in)
{
	size_t cap = hs->in_cap ? hs->in_cap : IN_FIRST;
	uint8_t *p;

	if (in.len > in_max() - hs->in_len)
		return false;
	while (cap < hs->in_len + in.len)
		cap *= 2;
	if (cap != hs->in_cap) {
		p = sg_realloc(hs->in, cap);
		if (!p)
			return false;
		hs->in = p;
		hs->in_cap = cap;
	}
	memcpy(hs->in + hs->in_len, in.p, in.len);
	hs->in_len += in.len;
	return true;
}

static void consume(struct link_hs *hs, size_t n)
{
	hs->in_len -= n;
	memmove(hs->in, hs->in + n, hs->in_len);
}

/* A JSON frame whose newline had not arrived yet: it is not the start of the next message. */
static void skip_newline(struct link_hs *hs)
{
	if (hs->skip_newline && hs->in_len) {
		if (hs->in[0] == '\n')
			consume(hs, 1);
		hs->skip_newline = false;
	}
}

static int run(struct link_hs *hs)
{
	for (;;) {
		bool json;
		int used;

		skip_newline(hs);
		if (hs->in_len == 0)
			return 0;
		json = hs->phase == LINK_HS_STREAM && hs->step != STEP_F0;
		used = step(hs);
		if (used <= 0)
			return used;
		hs->skip_newline = json && hs->in[used - 1] != '\n';
		consume(hs, (size_t)used);
	}
}

int link_hs_keep(struct link_hs *hs, struct sg_view in)
{
	if (hs->phase == LINK_HS_FAILED)
		return hs->err;
	if (!keep(hs, in))
		return fail(hs, SG_ELONG, "it sent more than a handshake may hold, or memory is out");
	return 0;
}

int link_hs_run(struct link_hs *hs)
{
	return hs->phase == LINK_HS_FAILED ? hs->err : run(hs);
}

int link_hs_feed(struct link_hs *hs, struct sg_view in)
{
	int err = in.len ? link_hs_keep(hs, in) : 0;

	return err < 0 ? err : link_hs_run(hs);
}

int link_hs_eof(struct link_hs *hs)
{
	switch (hs->phase) {
	case LINK_HS_FAILED:
		return hs->err;
	case LINK_HS_NOISE:
		if (hs->dialler)
			return wrong_key(hs);
		return fail(hs, SG_ECLOSED, "it left during the Noise handshake");
	case LINK_HS_SETTLE:
		return fail(hs, SG_ECLOSED, "it left before the transport was settled");
	default:
		return fail(hs, SG_ECLOSED, "it left during the %s handshake", hs->type);
	}
}

struct sg_view link_hs_out(const struct link_hs *hs)
{
	return (struct sg_view){hs->out + hs->out_off, hs->out_len - hs->out_off};
}

void link_hs_sent(struct link_hs *hs, size_t n)
{
	hs->out_off += n;
}

void link_hs_take(struct link_hs *hs, struct link_hs_result *out)
{
	*out = (struct link_hs_result){
		.remote = hs->remote,
		.marked = hs->marked,
		.newer = hs->newer,
		.remote_sig = hs->remote_sig,
		.tx = hs->tx,
		.rx = hs->rx,
		.raw = front(hs),
		.plain = {hs->plain, hs->plain_len},
	};
	memset(&hs->tx, 0, sizeof(hs->tx));
	memset(&hs->rx, 0, sizeof(hs->rx));
}
