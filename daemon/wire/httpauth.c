/* Signatures of requests, the nonce, and what a service says when they do not fit. */
#include "wire/httpauth.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "wire/json.h"

#define MISMATCH "SW-Nonce does not match"

/* What is signed, as one run (sg_free). NULL: memory is out. */
static uint8_t *payload(struct sg_view body, const char *nonce, size_t *len)
{
	size_t digits = strlen(nonce);
	uint8_t *out = sg_malloc(body.len + digits + 1);

	if (!out)
		return NULL;
	if (body.len)
		memcpy(out, body.p, body.len);
	memcpy(out + body.len, nonce, digits + 1); /* its end is not signed */
	*len = body.len + digits;
	return out;
}

int sg_httpauth_sign(const struct sg_crypto *c, const struct sg_pk *pk, const struct sg_sk *sk, struct sg_view body,
	uint64_t nonce, struct sg_httpauth *out)
{
	struct sg_sig sig;
	uint8_t *bytes;
	size_t len;
	int err;

	if (body.len > SG_HTTPAUTH_BODY_MAX)
		return SG_ELONG;
	snprintf(out->nonce, sizeof(out->nonce), "%llu", (unsigned long long)nonce);
	sg_pk_str(pk, out->pk);
	bytes = payload(body, out->nonce, &len);
	if (!bytes)
		return -ENOMEM;
	err = sg_sign(c, sk, (struct sg_view){bytes, len}, NULL, &sig);
	sg_free(bytes);
	if (err == 0)
		sg_hex_format(sig.b, sizeof(sig.b), out->sig, sizeof(out->sig));
	return err;
}

int sg_httpauth_verify(const struct sg_crypto *c, const char *pk, const char *nonce, const char *sig,
	struct sg_view body, struct sg_pk *who, uint64_t *number)
{
	struct sg_sig s;
	uint8_t *bytes;
	size_t len;
	int err;

	if (!pk || !nonce || !sig || body.len > SG_HTTPAUTH_BODY_MAX)
		return SG_EMALF;
	if (sg_pk_parse(c, pk, strlen(pk), who) < 0)
		return SG_EKEY;
	if (sg_parse_u64(nonce, UINT64_MAX, number) < 0 || sg_hex_parse(sig, strlen(sig), s.b, sizeof(s.b)) < 0)
		return SG_EMALF;
	bytes = payload(body, nonce, &len);
	if (!bytes)
		return -ENOMEM;
	err = sg_verify(c, who, (struct sg_view){bytes, len}, &s);
	sg_free(bytes);
	return err;
}

int sg_httpauth_nonce(struct sg_view body, uint64_t *out)
{
	json_t *root = body.len ? sg_json_parse_peer(body) : NULL;
	int err = json_is_object(root) && sg_json_get(root, "next_nonce")
			  ? sg_json_get_uint(root, "next_nonce", INT64_MAX, out)
			  : SG_EMALF;

	json_decref(root);
	return err;
}

bool sg_httpauth_refused(int status, struct sg_view body)
{
	json_t *root = (status >= 200 && status < 300) || !body.len ? NULL : sg_json_parse_peer(body);
	const json_t *error = json_is_object(root) ? sg_json_get(root, "error") : NULL;
	struct sg_view message = {NULL, 0};
	uint64_t code = 0;
	bool refused = status == 401;

	if (json_is_object(error) && sg_json_get_uint(error, "code", 999, &code) == 0)
		refused = refused || code == 401;
	if (json_is_object(error) && sg_json_get_text(error, "message", &message) == 0)
		refused = refused || (message.len == strlen(MISMATCH) && memcmp(message.p, MISMATCH, message.len) == 0);
	json_decref(root);
	return refused;
}
