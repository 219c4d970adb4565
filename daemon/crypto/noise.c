/*
 * Noise KK, one message each way:
 *
 *	initiator  -> e, es, ss, payload ->  responder
 *	           <- e, ee, se, payload <-
 *
 * The differences from the Noise specification are two: curve secp256k1, and a DH output of 33 bytes (32 hashed ones and
 * a zero). Our payloads are empty; a peer may offer a post-quantum key in its own, which is authenticated and left alone.
 */
#include "crypto/noise.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"

#include <sodium.h>

#define PROTOCOL_KK "Noise_KK_Secp256k1_ChaChaPoly_SHA256"
#define STEP_DONE   2
#define STEP_FAILED 0xff

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

/* The two DH operations that follow the ephemeral key of message @step (0 or 1). */
static int mix_keys(struct sg_noise *n, uint8_t step)
{
	int ret;

	if (step == 0) {
		ret = n->initiator ? mix_dh(n, &n->e, &n->rs) : mix_dh(n, &n->s, &n->re); /* es */
		return ret < 0 ? ret : mix_dh(n, &n->s, &n->rs);                          /* ss */
	}
	ret = mix_dh(n, &n->e, &n->re); /* ee */
	if (ret < 0)
		return ret;
	return n->initiator ? mix_dh(n, &n->s, &n->re) : mix_dh(n, &n->e, &n->rs); /* se */
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

int sg_noise_kk_init(struct sg_noise *n, const struct sg_crypto *c, bool initiator, const struct sg_sk *own,
	const struct sg_pk *remote)
{
	const struct sg_view name = {(const uint8_t *)PROTOCOL_KK, sizeof(PROTOCOL_KK) - 1};
	int ret;

	memset(n, 0, sizeof(*n));
	n->c = c;
	n->initiator = initiator;
	n->s = *own;
	n->rs = *remote;
	sg_sk_generate(c, &n->e);
	ret = sg_pk_check(c, remote);
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
	mix_hash(n, initiator ? n->s_pub.b : n->rs.b, SG_PK_LEN);
	mix_hash(n, initiator ? n->rs.b : n->s_pub.b, SG_PK_LEN);
	return 0;
}

static bool our_turn_to_write(const struct sg_noise *n)
{
	return n->initiator ? n->step == 0 : n->step == 1;
}

static bool our_turn_to_read(const struct sg_noise *n)
{
	return n->initiator ? n->step == 1 : n->step == 0;
}

int sg_noise_write(struct sg_noise *n, struct sg_view payload, uint8_t *out, size_t cap)
{
	int ret;

	if (!our_turn_to_write(n))
		return SG_ESTATE;
	if (payload.len > SG_NOISE_MSG_MAX - SG_NOISE_MSG_MIN || cap < SG_NOISE_MSG_MIN + payload.len)
		return SG_ELONG;
	memcpy(out, n->e_pub.b, SG_PK_LEN);
	mix_hash(n, n->e_pub.b, SG_PK_LEN);
	ret = mix_keys(n, n->step);
	if (ret == 0)
		ret = encrypt_and_hash(n, payload, out + SG_PK_LEN);
	n->step = ret < 0 ? STEP_FAILED : (uint8_t)(n->step + 1);
	return ret < 0 ? ret : (int)(SG_NOISE_MSG_MIN + payload.len);
}

static int read_message(struct sg_noise *n, struct sg_view msg, uint8_t *plain)
{
	const struct sg_view sealed = {msg.p + SG_PK_LEN, msg.len - SG_PK_LEN};
	int ret;

	memcpy(n->re.b, msg.p, SG_PK_LEN);
	ret = sg_pk_check(n->c, &n->re);
	if (ret < 0)
		return ret;
	mix_hash(n, n->re.b, SG_PK_LEN);
	ret = mix_keys(n, n->step);
	return ret < 0 ? ret : decrypt_and_hash(n, sealed, plain);
}

int sg_noise_read(struct sg_noise *n, struct sg_view msg, uint8_t *payload, size_t payload_cap)
{
	uint8_t *plain;
	size_t len;
	int ret;

	if (!our_turn_to_read(n))
		return SG_ESTATE;
	if (msg.len < SG_NOISE_MSG_MIN || msg.len > SG_NOISE_MSG_MAX) {
		n->step = STEP_FAILED;
		return SG_EMALF;
	}
	len = msg.len - SG_NOISE_MSG_MIN;
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
	return n->step == STEP_DONE;
}

void sg_noise_split(const struct sg_noise *n, struct sg_noise_keys *out)
{
	/* The first key is for the initiator's direction. */
	if (n->initiator)
		hkdf2(n->ck, NULL, 0, out->tx, out->rx);
	else
		hkdf2(n->ck, NULL, 0, out->rx, out->tx);
}

void sg_noise_fini(struct sg_noise *n)
{
	sg_wipe(n, sizeof(*n));
	n->step = STEP_FAILED;
}
