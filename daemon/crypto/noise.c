/*
 * Noise KK and XK:
 *
 *	KK  initiator  -> e, es, ss, payload ->  responder        XK  -> e, es, payload ->
 *	               <- e, ee, se, payload <-                       <- e, ee, payload <-
 *	                                                              -> s, se, payload ->
 *
 * The differences from the Noise specification are three: curve secp256k1, a DH output of 33 bytes (32 hashed ones and a
 * zero), and keys of the transport phase that go by who wrote the last message, not by who began. Our payloads are empty; a
 * peer may offer a post-quantum key in its own, which is authenticated and left alone.
 */
#include "crypto/noise.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"

#include <sodium.h>

#define STEP_FAILED 0xff
#define STEPS_MAX   3

enum token { END, E, S, EE, ES, SE, SS };

struct sg_noise_pattern {
	const char *name;
	bool responder_known; /* the initiator's static key is mixed in at the start too */
	uint8_t steps;
	enum token tokens[STEPS_MAX][4];
};

static const struct sg_noise_pattern kk = {
	"Noise_KK_Secp256k1_ChaChaPoly_SHA256", true, 2, {{E, ES, SS, END}, {E, EE, SE, END}}};
static const struct sg_noise_pattern xk = {
	"Noise_XK_Secp256k1_ChaChaPoly_SHA256", false, 3, {{E, ES, END}, {E, EE, END}, {S, SE, END}}};

static void mix_hash(struct sg_noise *n, const void *p, size_t len)
{
	const struct sg_view parts[] = {{n->h, sizeof(n->h)}, {p, len}};

	sg_sha256(parts, SG_ARRAY_LEN(parts), n->h);
}

static void hmac(const uint8_t key[32], const struct sg_view *parts, size_t count, uint8_t out[32])
{
	crypto_auth_hmacsha256_state st;

	crypto_auth_hmacsha256_init(&st, key, 32);
	for (size_t i = 0; i < count; i++)
		crypto_auth_hmacsha256_update(&st, parts[i].p, parts[i].len);
	crypto_auth_hmacsha256_final(&st, out);
	sg_wipe(&st, sizeof(st));
}

/* @out1 may be @ck. */
static void hkdf2(const uint8_t ck[32], const uint8_t *ikm, size_t len, uint8_t out1[32], uint8_t out2[32])
{
	static const uint8_t one = 1, two = 2;
	const struct sg_view first[] = {{ikm, len}}, second[] = {{&one, 1}}, third[] = {{out1, 32}, {&two, 1}};
	uint8_t t[32];

	hmac(ck, first, len ? 1 : 0, t);
	hmac(t, second, 1, out1);
	hmac(t, third, 2, out2);
	sg_wipe(t, sizeof(t));
}

int sg_noise_dh(const struct sg_crypto *c, const struct sg_sk *sk, const struct sg_pk *pk, uint8_t out[SG_NOISE_DH_LEN])
{
	out[SG_NOISE_DH_LEN - 1] = 0;
	return sg_ecdh(c, sk, pk, out);
}

static int mix_dh(struct sg_noise *n, const struct sg_sk *sk, const struct sg_pk *pk)
{
	uint8_t dh[SG_NOISE_DH_LEN];
	int ret = sg_noise_dh(n->c, sk, pk, dh);

	if (ret == 0) {
		hkdf2(n->ck, dh, sizeof(dh), n->ck, n->k);
		n->has_k = true;
		n->n = 0;
	}
	sg_wipe(dh, sizeof(dh));
	return ret;
}

static int mix_token(struct sg_noise *n, enum token t)
{
	switch (t) {
	case EE:
		return mix_dh(n, &n->e, &n->re);
	case ES:
		return n->initiator ? mix_dh(n, &n->e, &n->rs) : mix_dh(n, &n->s, &n->re);
	case SE:
		return n->initiator ? mix_dh(n, &n->s, &n->re) : mix_dh(n, &n->e, &n->rs);
	case SS:
		return mix_dh(n, &n->s, &n->rs);
	default:
		return SG_ESTATE;
	}
}

static int encrypt_and_hash(struct sg_noise *n, struct sg_view payload, uint8_t *out)
{
	const struct sg_aead_ops *ops = sg_crypto_aead(n->c);
	struct sg_aead *key = ops->new_key(n->k);

	if (!key)
		return -ENOMEM;
	ops->seal(key, n->n++, (struct sg_view){n->h, sizeof(n->h)}, payload.p, payload.len, out);
	ops->free_key(key);
	mix_hash(n, out, payload.len + SG_AEAD_TAG_LEN);
	return 0;
}

/* @sealed is at least a tag long; @out has room for the rest. */
static int decrypt_and_hash(struct sg_noise *n, struct sg_view sealed, uint8_t *out)
{
	const struct sg_aead_ops *ops = sg_crypto_aead(n->c);
	struct sg_aead *key = ops->new_key(n->k);
	int ret;

	if (!key)
		return -ENOMEM;
	ret = ops->open(key, n->n++, (struct sg_view){n->h, sizeof(n->h)}, sealed.p, sealed.len - SG_AEAD_TAG_LEN, out);
	ops->free_key(key);
	if (ret == 0)
		mix_hash(n, sealed.p, sealed.len);
	return ret;
}

static int init(struct sg_noise *n, const struct sg_noise_pattern *pattern, const struct sg_crypto *c, bool initiator,
	const struct sg_sk *own, const struct sg_pk *remote)
{
	const struct sg_view name = {(const uint8_t *)pattern->name, strlen(pattern->name)};
	int ret = 0;

	memset(n, 0, sizeof(*n));
	n->c = c;
	n->pattern = pattern;
	n->initiator = initiator;
	n->s = *own;
	sg_sk_generate(c, &n->e);
	if (remote) {
		n->rs = *remote;
		ret = sg_pk_check(c, remote);
	}
	if (ret == 0)
		ret = sg_pk_of(c, &n->s, &n->s_pub);
	if (ret == 0)
		ret = sg_pk_of(c, &n->e, &n->e_pub);
	if (ret < 0) {
		sg_noise_fini(n);
		return ret;
	}
	sg_sha256(&name, 1, n->h);
	memcpy(n->ck, n->h, sizeof(n->ck));
	mix_hash(n, NULL, 0); /* the empty prologue */
	if (pattern->responder_known)
		mix_hash(n, initiator ? n->s_pub.b : n->rs.b, SG_PK_LEN);
	mix_hash(n, initiator ? n->rs.b : n->s_pub.b, SG_PK_LEN);
	return 0;
}

int sg_noise_kk_init(struct sg_noise *n, const struct sg_crypto *c, bool initiator, const struct sg_sk *own,
	const struct sg_pk *remote)
{
	return init(n, &kk, c, initiator, own, remote);
}

int sg_noise_xk_init(struct sg_noise *n, const struct sg_crypto *c, bool initiator, const struct sg_sk *own,
	const struct sg_pk *remote)
{
	return init(n, &xk, c, initiator, own, initiator ? remote : NULL);
}

/* Messages are written in turn, the initiator's first. */
static bool in_turn(const struct sg_noise *n, bool writing)
{
	return n->step < n->pattern->steps && (n->step % 2 == 0) == (n->initiator == writing);
}

size_t sg_noise_msg_min(const struct sg_noise *n)
{
	const enum token *t = n->pattern->tokens[n->step < n->pattern->steps ? n->step : 0];
	size_t len = SG_AEAD_TAG_LEN;

	for (; *t != END; t++) {
		if (*t == E)
			len += SG_PK_LEN;
		else if (*t == S)
			len += SG_PK_LEN + SG_AEAD_TAG_LEN;
	}
	return len;
}

static int write_message(struct sg_noise *n, struct sg_view payload, uint8_t *out)
{
	int ret = 0;

	for (const enum token *t = n->pattern->tokens[n->step]; ret == 0 && *t != END; t++) {
		if (*t == E) {
			memcpy(out, n->e_pub.b, SG_PK_LEN);
			mix_hash(n, n->e_pub.b, SG_PK_LEN);
			out += SG_PK_LEN;
		} else if (*t == S) {
			ret = encrypt_and_hash(n, (struct sg_view){n->s_pub.b, SG_PK_LEN}, out);
			out += SG_PK_LEN + SG_AEAD_TAG_LEN;
		} else {
			ret = mix_token(n, *t);
		}
	}
	return ret < 0 ? ret : encrypt_and_hash(n, payload, out);
}

int sg_noise_write(struct sg_noise *n, struct sg_view payload, uint8_t *out, size_t cap)
{
	size_t min;
	int ret;

	if (n->step == STEP_FAILED || !in_turn(n, true))
		return SG_ESTATE;
	min = sg_noise_msg_min(n);
	if (payload.len > SG_NOISE_MSG_MAX - min || cap < min + payload.len)
		return SG_ELONG;
	ret = write_message(n, payload, out);
	n->step = ret < 0 ? STEP_FAILED : (uint8_t)(n->step + 1);
	return ret < 0 ? ret : (int)(min + payload.len);
}

static int read_ephemeral(struct sg_noise *n, const uint8_t *p)
{
	int ret;

	memcpy(n->re.b, p, SG_PK_LEN);
	ret = sg_pk_check(n->c, &n->re);
	if (ret == 0)
		mix_hash(n, n->re.b, SG_PK_LEN);
	return ret;
}

static int read_static(struct sg_noise *n, const uint8_t *p)
{
	int ret = decrypt_and_hash(n, (struct sg_view){p, SG_PK_LEN + SG_AEAD_TAG_LEN}, n->rs.b);

	return ret < 0 ? ret : sg_pk_check(n->c, &n->rs);
}

static int read_message(struct sg_noise *n, struct sg_view msg, uint8_t *plain)
{
	int ret = 0;

	for (const enum token *t = n->pattern->tokens[n->step]; ret == 0 && *t != END; t++) {
		size_t used = *t == E ? SG_PK_LEN : *t == S ? SG_PK_LEN + SG_AEAD_TAG_LEN : 0;

		ret = *t == E ? read_ephemeral(n, msg.p) : *t == S ? read_static(n, msg.p) : mix_token(n, *t);
		msg.p += used;
		msg.len -= used;
	}
	return ret < 0 ? ret : decrypt_and_hash(n, msg, plain);
}

int sg_noise_read(struct sg_noise *n, struct sg_view msg, uint8_t *payload, size_t payload_cap)
{
	uint8_t *plain;
	size_t len, min;
	int ret;

	if (n->step == STEP_FAILED || !in_turn(n, false))
		return SG_ESTATE;
	min = sg_noise_msg_min(n);
	if (msg.len < min || msg.len > SG_NOISE_MSG_MAX) {
		n->step = STEP_FAILED;
		return SG_EMALF;
	}
	len = msg.len - min;
	plain = sg_malloc(len);
	ret = plain ? read_message(n, msg, plain) : -ENOMEM;
	if (ret == 0 && payload && payload_cap)
		memcpy(payload, plain, SG_MIN(len, payload_cap));
	sg_free(plain);
	n->step = ret < 0 ? STEP_FAILED : (uint8_t)(n->step + 1);
	return ret < 0 ? ret : (int)len;
}

bool sg_noise_done(const struct sg_noise *n)
{
	return n->step != STEP_FAILED && n->step == n->pattern->steps;
}

void sg_noise_split(const struct sg_noise *n, struct sg_noise_keys *out)
{
	bool wrote_last = (n->pattern->steps % 2 == 1) == n->initiator;

	/* The first key is for what the last message's writer receives. */
	if (wrote_last)
		hkdf2(n->ck, NULL, 0, out->rx, out->tx);
	else
		hkdf2(n->ck, NULL, 0, out->tx, out->rx);
}

void sg_noise_fini(struct sg_noise *n)
{
	sg_wipe(n, sizeof(*n));
	n->step = STEP_FAILED;
}
