/* dmsg.json: keys, ECDH, signatures, Noise KK and its frames. The rest waits for the code that speaks dmsg. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "crypto/noise.h"
#include "run.h"

#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <stdlib.h>

/* Lets secp256k1_ecdh give the point itself, which the library never does outside of tests. */
static int point_as_is(unsigned char *out, const unsigned char *x, const unsigned char *y, void *data)
{
	(void)data;
	out[0] = (uint8_t)(2 + (y[31] & 1));
	memcpy(out + 1, x, 32);
	return 1;
}

static bool multiply(const struct sg_sk *sk, const struct sg_pk *pk, struct sg_pk *out)
{
	secp256k1_pubkey point;

	return secp256k1_ec_pubkey_parse(secp256k1_context_static, &point, pk->b, SG_PK_LEN) &&
	       secp256k1_ecdh(secp256k1_context_static, out->b, &point, sk->b, point_as_is, NULL);
}

static void hash2(struct sg_view a, struct sg_view b, uint8_t out[32])
{
	const struct sg_view parts[] = {a, b};

	sg_sha256(parts, 2, out);
}

/* Hashes until the result is a secret key. */
static void step(const struct run *r, const uint8_t from[32], struct sg_sk *out)
{
	memcpy(out->b, from, 32);
	do
		hash2((struct sg_view){out->b, 32}, (struct sg_view){0}, out->b);
	while (sg_sk_check(r->c, out) < 0);
}

/* How the existing implementation makes keys from text for its fixtures. */
void keys_of_seed(const struct run *r, struct sg_view seed, struct sg_sk *sk, uint8_t hash[32], uint8_t seed2[32])
{
	struct sg_sk sk1, sk2;
	struct sg_pk pk2, shared;
	uint8_t h[32], h2[32];

	hash2(seed, (struct sg_view){0}, h);
	step(r, h, &sk1);
	hash2((struct sg_view){h, 32}, (struct sg_view){0}, h2);
	step(r, h2, &sk2);
	if (sg_pk_of(r->c, &sk2, &pk2) < 0 || !multiply(&sk1, &pk2, &shared))
		abort();
	hash2((struct sg_view){h, 32}, (struct sg_view){shared.b, SG_PK_LEN}, hash);
	hash2(seed, (struct sg_view){hash, 32}, seed2);
	step(r, seed2, sk);
}

static bool has_items(const struct value *v)
{
	return value_list(v, "items") != NULL;
}

static void key_item(struct run *r, const struct value *item)
{
	const struct value *seed = value_get(item, "seed_utf8");
	uint8_t hash[32], seed2[32];
	struct sg_sk sk;
	struct sg_pk pk;

	if (!seed || seed->kind != VALUE_STRING) {
		expect_true(r, "seed_utf8", false, "text", "nothing");
		return;
	}
	keys_of_seed(r, (struct sg_view){(const uint8_t *)seed->text, seed->len}, &sk, hash, seed2);
	expect_hex_of(r, item, "intermediate_secp256k1_hash", hash, sizeof(hash));
	expect_hex_of(r, item, "intermediate_seed2_sha256", seed2, sizeof(seed2));
	expect_hex(r, "seckey", value_text(item, "seckey"), sk.b, SG_SK_LEN);
	expect_outcome(r, "public key", true, sg_pk_of(r->c, &sk, &pk));
	expect_hex(r, "pubkey", value_text(item, "pubkey"), pk.b, SG_PK_LEN);
}

static void keys(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", key_item);
}

static void fixed_item(struct run *r, const struct value *item)
{
	const char *text = value_text(item, "seckey");
	struct sg_sk sk;
	struct sg_pk pk = {{0}};

	expect_outcome(r, "seckey", true, text ? sg_sk_parse(r->c, text, strlen(text), &sk) : SG_EMALF);
	if (r->failed)
		return;
	expect_outcome(r, "public key", true, sg_pk_of(r->c, &sk, &pk));
	expect_hex(r, "pubkey", value_text(item, "pubkey"), pk.b, SG_PK_LEN);
}

static void fixed_keys(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", fixed_item);
}

static void bad_seckey_item(struct run *r, const struct value *item)
{
	const char *text = value_text(item, "seckey"), *got = NULL;
	struct sg_sk sk;
	int err;

	expect_true(r, "seckey", text != NULL, "text", "nothing");
	if (!text)
		return;
	err = sg_sk_parse(r->c, text, strlen(text), &sk);
	if (err < 0)
		got = err == SG_EMALF ? "Invalid secret key length" : "Invalid secret key";
	if (value_get(item, "panic"))
		expect_outcome(r, "error", false, err);
	else
		expect_text(r, "error", value_text(item, "error"), got);
}

static void invalid_seckeys(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", bad_seckey_item);
}

static void bad_pubkey_item(struct run *r, const struct value *item)
{
	const char *text = value_text(item, "pubkey");
	bool panics = value_get(item, "panic") != NULL;
	struct sg_pk pk;
	int err;

	expect_true(r, "pubkey", text != NULL, "text", "nothing");
	if (!text)
		return;
	if (panics || value_get(item, "error_from_hex")) {
		err = sg_pk_parse(r->c, text, strlen(text), &pk);
		expect_outcome(r, "error_from_hex", !panics && value_is_null(item, "error_from_hex"), err);
	}
	if (panics || value_get(item, "error_unmarshal_text")) {
		bool want_ok = !panics && value_is_null(item, "error_unmarshal_text");

		err = sg_pk_parse_json(r->c, text, strlen(text), &pk);
		expect_outcome(r, "error_unmarshal_text", want_ok, err);
		if (want_ok && strspn(text, "0") == strlen(text))
			expect_true(r, "error_unmarshal_text", sg_pk_is_null(&pk), "the null key", "another");
	}
}

static void invalid_pubkeys(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", bad_pubkey_item);
}

static void ecdh_item(struct run *r, const struct value *item)
{
	struct sg_sk sk;
	struct sg_pk pk, point = {{0}};
	uint8_t shared[32] = {0}, dh[SG_NOISE_DH_LEN] = {0};

	if (!hex_fixed(r, item, "seckey", sk.b, SG_SK_LEN) || !hex_fixed(r, item, "peer_pubkey", pk.b, SG_PK_LEN))
		return;
	expect_true(r, "compressed_point", multiply(&sk, &pk, &point), "a point", "none");
	expect_hex(r, "compressed_point", value_text(item, "compressed_point"), point.b, SG_PK_LEN);
	expect_outcome(r, "ecdh", true, sg_ecdh(r->c, &sk, &pk, shared));
	expect_hex(r, "ecdh_sha256", value_text(item, "ecdh_sha256"), shared, sizeof(shared));
	expect_outcome(r, "dh", true, sg_noise_dh(r->c, &sk, &pk, dh));
	expect_hex(r, "noise_dh_33", value_text(item, "noise_dh_33"), dh, sizeof(dh));
}

static void ecdh(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", ecdh_item);
}

static struct sg_view payload_of(struct run *r, const struct value *item)
{
	const struct value *m = value_get(item, "payload_utf8");

	if (m && m->kind == VALUE_STRING)
		return (struct sg_view){(const uint8_t *)m->text, m->len};
	expect_true(r, "payload_utf8", false, "text", "nothing");
	return (struct sg_view){0};
}

static void signature_item(struct run *r, const struct value *item)
{
	struct sg_view payload = payload_of(r, item);
	struct sg_sig recorded, made = {{0}};
	struct sg_pk signer = {{0}}, own = {{0}};
	struct sg_sk sk;
	uint64_t recid;
	uint8_t hash[32], k[32];

	if (r->failed || !hex_fixed(r, item, "sig", recorded.b, SG_SIG_LEN))
		return;
	sg_sha256(&payload, 1, hash);
	expect_hex_of(r, item, "sha256", hash, sizeof(hash));
	if (value_text(item, "seckey")) {
		if (!hex_fixed(r, item, "seckey", sk.b, SG_SK_LEN))
			return;
		expect_outcome(r, "seckey", true, sg_pk_of(r->c, &sk, &own));
		if (value_text(item, "nonce_k")) {
			if (!hex_fixed(r, item, "nonce_k", k, sizeof(k)))
				return;
			expect_outcome(r, "signature", true, sg_sign(r->c, &sk, payload, k, &made));
			expect_hex(r, "sig", value_text(item, "sig"), made.b, SG_SIG_LEN);
		}
		expect_outcome(r, "sig by that key", true, sg_verify(r->c, &own, payload, &recorded));
	}
	if (value_u64(item, "recid", &recid))
		expect_number(r, "recid", recid, recorded.b[SG_SIG_LEN - 1]);
	expect_outcome(r, "recovery", true, sg_recover(r->c, payload, &recorded, &signer));
	expect_hex_of(r, item, "recovered_pubkey", signer.b, SG_PK_LEN);
	expect_outcome(r, "sig by the recovered key", true, sg_verify(r->c, &signer, payload, &recorded));
}

static void signatures(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", signature_item);
}

static void signature_negative_item(struct run *r, const struct value *item)
{
	struct sg_view payload = payload_of(r, item);
	const char *pk_text = value_text(item, "pubkey"), *sig_text = value_text(item, "sig");
	bool want_ok = value_is_null(item, "error") && !value_get(item, "panic");
	struct sg_sig sig;
	struct sg_pk pk;
	int err;

	expect_true(r, "pubkey and sig", pk_text && sig_text, "text", "nothing");
	if (r->failed || !pk_text || !sig_text)
		return;
	err = sg_hex_parse(pk_text, strlen(pk_text), pk.b, SG_PK_LEN);
	if (err == 0)
		err = sg_hex_parse(sig_text, strlen(sig_text), sig.b, SG_SIG_LEN);
	if (err == 0)
		err = sg_verify(r->c, &pk, payload, &sig);
	expect_outcome(r, "error", want_ok, err);
}

static void signature_negative(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", signature_negative_item);
}

static bool is_whole_messages(const struct value *v)
{
	const struct value *items = value_list(v, "items");

	return items && items->count && value_get(&items->items[0].value, "message");
}

static bool is_dmsg_entries(const struct value *v)
{
	const struct value *items = value_list(v, "items");

	return items && items->count && value_get(&items->items[0].value, "full_json");
}

const struct section dmsg_sections[] = {
	{"keys", has_items, keys, NULL},
	{"deterministic_keys", NULL, keys, NULL},
	{"fixed_keys", NULL, fixed_keys, NULL},
	{"invalid_seckeys", NULL, invalid_seckeys, NULL},
	{"invalid_pubkeys", NULL, invalid_pubkeys, NULL},
	{"ecdh", NULL, ecdh, NULL},
	{"signatures", NULL, signatures, NULL},
	{"signature_negative", NULL, signature_negative, NULL},
	{"noise_xk", is_dmsg_noise, dmsg_noise_pair, NULL},
	{"noise_kk", is_dmsg_noise, dmsg_noise_pair, NULL},
	{"fragmentation", NULL, dmsg_fragmentation, NULL},
	{"noise_frame_negative", NULL, dmsg_noise_frame_negative, NULL},
	{"gob_primitives", is_whole_messages, dmsg_gob_primitives, NULL},
	{"stream_objects", NULL, dmsg_stream_objects, NULL},
	{"stream_object_negative", NULL, dmsg_stream_object_negative, NULL},
	{"entries", is_dmsg_entries, dmsg_entries, NULL},
	{"dmsghttp_plaintext", NULL, services_dmsghttp, NULL},
	{"discovery_http", NULL, NULL, NO_CODE},
	{"session_transcript", NULL, NULL, NO_CODE},
	{"dmsgpty_rpc", NULL, NULL, NO_CODE},
	{"yamux_probes", NULL, NULL, RECORDING},
	{"behaviour_probes", NULL, NULL, RECORDING},
	{0},
};
