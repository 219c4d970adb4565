/*
 * secp256k1 as the existing network uses it. libsecp256k1 treats a recovery id outside 0..3 as a bug of the caller and
 * ends the process, so that is checked before it sees a signature.
 */
#include "crypto/keys.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "crypto/internal.h"

#include <secp256k1_ecdh.h>
#include <secp256k1_recovery.h>

#define S_OFFSET     32 /* of S in a signature */
#define RECID_OFFSET 64

int sg_pk_check(const struct sg_crypto *c, const struct sg_pk *pk)
{
	secp256k1_pubkey point;

	return secp256k1_ec_pubkey_parse(c->ctx, &point, pk->b, SG_PK_LEN) ? 0 : SG_EKEY;
}

int sg_pk_parse(const struct sg_crypto *c, const char *text, size_t len, struct sg_pk *out)
{
	struct sg_pk pk;

	if (sg_hex_parse(text, len, pk.b, SG_PK_LEN) < 0 || sg_pk_check(c, &pk) < 0)
		return SG_EKEY;
	*out = pk;
	return 0;
}

int sg_pk_parse_json(const struct sg_crypto *c, const char *text, size_t len, struct sg_pk *out)
{
	size_t zeros = 0;

	while (zeros < len && text[zeros] == '0')
		zeros++;
	if (zeros < len)
		return sg_pk_parse(c, text, len, out);
	memset(out, 0, sizeof(*out));
	return 0;
}

int sg_sk_check(const struct sg_crypto *c, const struct sg_sk *sk)
{
	return secp256k1_ec_seckey_verify(c->ctx, sk->b) ? 0 : SG_EKEY;
}

int sg_sk_parse(const struct sg_crypto *c, const char *text, size_t len, struct sg_sk *out)
{
	int ret = 0;

	if (len != 2 * SG_SK_LEN) {
		uint8_t digit;

		/* Whole bytes, but not 32 of them: said apart, for a person may have lost some while pasting. */
		for (size_t i = 0; i + 1 < len; i += 2) {
			if (sg_hex_parse(text + i, 2, &digit, 1) < 0)
				return SG_EKEY;
		}
		return len % 2 ? SG_EKEY : SG_EMALF;
	}
	if (sg_hex_parse(text, len, out->b, SG_SK_LEN) < 0 || sg_sk_check(c, out) < 0) {
		sg_wipe(out, sizeof(*out));
		ret = SG_EKEY;
	}
	return ret;
}

void sg_sk_generate(const struct sg_crypto *c, struct sg_sk *out)
{
	do
		sg_crypto_random(c, out->b, SG_SK_LEN);
	while (sg_sk_check(c, out) < 0);
}

static void serialize(const struct sg_crypto *c, const secp256k1_pubkey *point, struct sg_pk *out)
{
	size_t len = SG_PK_LEN;

	secp256k1_ec_pubkey_serialize(c->ctx, out->b, &len, point, SECP256K1_EC_COMPRESSED);
}

int sg_pk_of(const struct sg_crypto *c, const struct sg_sk *sk, struct sg_pk *out)
{
	secp256k1_pubkey point;

	if (!secp256k1_ec_pubkey_create(c->ctx, &point, sk->b))
		return SG_EKEY;
	serialize(c, &point, out);
	return 0;
}

int sg_ecdh(const struct sg_crypto *c, const struct sg_sk *sk, const struct sg_pk *pk, uint8_t out[32])
{
	secp256k1_pubkey point;

	if (!secp256k1_ec_pubkey_parse(c->ctx, &point, pk->b, SG_PK_LEN) ||
		!secp256k1_ecdh(c->ctx, out, &point, sk->b, NULL, NULL))
		return SG_EKEY;
	return 0;
}

/* Gives the caller's 32 bytes once; if they yield no signature there is none. */
static int fixed_nonce(unsigned char *nonce32, const unsigned char *msg32, const unsigned char *key32,
	const unsigned char *algo16, void *data, unsigned int attempt)
{
	(void)msg32;
	(void)key32;
	(void)algo16;
	if (attempt > 0)
		return 0;
	memcpy(nonce32, data, 32);
	return 1;
}

static bool is_zero(const uint8_t hash[32])
{
	static const uint8_t zero[32];

	return memcmp(hash, zero, sizeof(zero)) == 0;
}

int sg_sign(const struct sg_crypto *c, const struct sg_sk *sk, struct sg_view payload, const uint8_t *nonce,
	struct sg_sig *out)
{
	secp256k1_ecdsa_recoverable_signature sig;
	uint8_t hash[32], k[32];
	int recid, ok;

	if (sg_sk_check(c, sk) < 0)
		return SG_EKEY;
	sg_sha256(&payload, 1, hash);
	if (is_zero(hash))
		return SG_ESIG;
	if (nonce) {
		memcpy(k, nonce, sizeof(k));
		ok = secp256k1_ecdsa_sign_recoverable(c->ctx, &sig, hash, sk->b, fixed_nonce, k);
		sg_wipe(k, sizeof(k));
	} else {
		ok = secp256k1_ecdsa_sign_recoverable(c->ctx, &sig, hash, sk->b, NULL, NULL);
	}
	if (!ok)
		return SG_ESIG;
	secp256k1_ecdsa_recoverable_signature_serialize_compact(c->ctx, out->b, &recid, &sig);
	out->b[RECID_OFFSET] = (uint8_t)recid;
	return 0;
}

int sg_recover(const struct sg_crypto *c, struct sg_view payload, const struct sg_sig *sig, struct sg_pk *out)
{
	secp256k1_ecdsa_recoverable_signature parsed;
	secp256k1_pubkey point;
	uint8_t hash[32];

	if (sig->b[RECID_OFFSET] > 3 || (sig->b[S_OFFSET] & 0x80))
		return SG_ESIG;
	if (!secp256k1_ecdsa_recoverable_signature_parse_compact(c->ctx, &parsed, sig->b, sig->b[RECID_OFFSET]))
		return SG_ESIG;
	sg_sha256(&payload, 1, hash);
	if (is_zero(hash) || !secp256k1_ecdsa_recover(c->ctx, &point, &parsed, hash))
		return SG_ESIG;
	serialize(c, &point, out);
	return 0;
}

int sg_verify(const struct sg_crypto *c, const struct sg_pk *pk, struct sg_view payload, const struct sg_sig *sig)
{
	struct sg_pk signer;

	if (sg_pk_check(c, pk) < 0)
		return SG_EKEY;
	if (sg_recover(c, payload, sig, &signer) < 0 || !sg_pk_equal(&signer, pk))
		return SG_ESIG;
	return 0;
}
