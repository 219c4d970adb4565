/*
 * Handshake frames. What is signed and verified is always the canonical encoding made here, never the bytes received:
 * white space, order and case of members in a stranger's frame do not matter.
 */
#include "wire/stcp.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "wire/json.h"

static int line_end(struct sg_text *t)
{
	sg_text_add(t, "\n");
	return t->err ? SG_ELONG : (int)t->len;
}

static void nonce_add(struct sg_text *t, const uint8_t nonce[SG_STCP_NONCE])
{
	for (size_t i = 0; i < SG_STCP_NONCE; i++)
		sg_text_addf(t, "%c%u", i ? ',' : '[', nonce[i]);
	sg_text_add(t, "]");
}

/* A fixed array as Go decodes it: what is missing is zero, what is too much is ignored. */
static int nonce_decode(const json_t *root, uint8_t nonce[SG_STCP_NONCE])
{
	const json_t *list;
	int ret = sg_json_get_array(root, "Nonce", &list);

	memset(nonce, 0, SG_STCP_NONCE);
	for (size_t i = 0; ret == 0 && list && i < SG_MIN(json_array_size(list), (size_t)SG_STCP_NONCE); i++) {
		const json_t *v = json_array_get(list, i);

		if (json_is_null(v))
			continue;
		if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT8_MAX)
			return SG_EMALF;
		nonce[i] = (uint8_t)json_integer_value(v);
	}
	return ret;
}

int sg_stcp_f1_encode(const uint8_t nonce[SG_STCP_NONCE], char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);

	sg_text_add(&t, "{\"Nonce\":");
	nonce_add(&t, nonce);
	sg_text_add(&t, "}");
	return line_end(&t);
}

int sg_stcp_f1_decode(struct sg_view in, uint8_t nonce[SG_STCP_NONCE])
{
	json_t *root = NULL;
	int used = sg_json_object(in, SG_STCP_LINE_MAX, &root);

	if (used > 0 && nonce_decode(root, nonce) < 0)
		used = SG_EMALF;
	json_decref(root);
	return used;
}

static void address_add(struct sg_text *t, const char *name, const struct sg_pk *pk, uint16_t port)
{
	char text[SG_PK_TEXT];

	sg_text_addf(t, "\"%s\":{\"public_key\":\"%s\",\"port\":%u},", name, sg_pk_str(pk, text), port);
}

int sg_stcp_f2_format(const struct sg_stcp_f2 *f, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);
	char text[2 * SG_SIG_LEN + 1];

	sg_text_add(&t, "{");
	address_add(&t, "SrcAddr", &f->src, f->src_port);
	address_add(&t, "DstAddr", &f->dst, f->dst_port);
	sg_text_add(&t, "\"Nonce\":");
	nonce_add(&t, f->nonce);
	sg_text_addf(&t, ",\"Sig\":\"%s\"}", sg_hex_format(f->sig.b, SG_SIG_LEN, text, sizeof(text)));
	return line_end(&t);
}

int sg_stcp_f2_signed(const struct sg_stcp_f2 *f, char *out, size_t cap)
{
	struct sg_stcp_f2 blank = *f;

	memset(&blank.sig, 0, sizeof(blank.sig));
	return sg_stcp_f2_format(&blank, out, cap);
}

int sg_stcp_f2_encode(const struct sg_crypto *c, const struct sg_sk *sk, const uint8_t *k, struct sg_stcp_f2 *f,
	char *out, size_t cap)
{
	char line[SG_STCP_LINE_MAX];
	int len = sg_stcp_f2_signed(f, line, sizeof(line));
	int ret;

	if (len < 0)
		return len;
	ret = sg_sign(c, sk, (struct sg_view){(const uint8_t *)line, (size_t)len}, k, &f->sig);
	if (ret < 0)
		return ret;
	return sg_stcp_f2_format(f, out, cap);
}

static int address_decode(
	const struct sg_crypto *c, const json_t *root, const char *name, struct sg_pk *pk, uint16_t *port)
{
	const json_t *addr = sg_json_get(root, name);
	struct sg_view text;
	uint64_t number;

	memset(pk, 0, sizeof(*pk));
	*port = 0;
	if (!addr || json_is_null(addr))
		return 0;
	if (!json_is_object(addr) || sg_json_get_text(addr, "public_key", &text) < 0 ||
		sg_json_get_uint(addr, "port", UINT16_MAX, &number) < 0)
		return SG_EMALF;
	*port = (uint16_t)number;
	return sg_pk_parse_json(c, (const char *)text.p, text.len, pk);
}

static int sig_decode(const json_t *root, struct sg_sig *out)
{
	struct sg_view text;

	memset(out, 0, sizeof(*out));
	if (sg_json_get_text(root, "Sig", &text) < 0)
		return SG_EMALF;
	return text.len ? sg_hex_parse((const char *)text.p, text.len, out->b, SG_SIG_LEN) : 0;
}

static int f2_read(const struct sg_crypto *c, const json_t *root, struct sg_stcp_f2 *out)
{
	int ret = address_decode(c, root, "SrcAddr", &out->src, &out->src_port);

	if (ret == 0)
		ret = address_decode(c, root, "DstAddr", &out->dst, &out->dst_port);
	if (ret == 0)
		ret = nonce_decode(root, out->nonce);
	if (ret == 0)
		ret = sig_decode(root, &out->sig);
	return ret;
}

int sg_stcp_f2_decode(const struct sg_crypto *c, struct sg_view in, struct sg_stcp_f2 *out)
{
	json_t *root = NULL;
	int used = sg_json_object(in, SG_STCP_LINE_MAX, &root);

	if (used > 0) {
		int ret = f2_read(c, root, out);

		if (ret < 0)
			used = ret;
	}
	json_decref(root);
	return used;
}

int sg_stcp_f2_verify(const struct sg_crypto *c, const struct sg_stcp_f2 *f, const uint8_t nonce[SG_STCP_NONCE])
{
	char line[SG_STCP_LINE_MAX];
	int len = sg_stcp_f2_signed(f, line, sizeof(line));

	if (len < 0 || memcmp(f->nonce, nonce, SG_STCP_NONCE) != 0)
		return SG_ESIG;
	return sg_verify(c, &f->src, (struct sg_view){(const uint8_t *)line, (size_t)len}, &f->sig) < 0 ? SG_ESIG : 0;
}

int sg_stcp_f3_encode(const struct sg_stcp_f3 *f, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);

	sg_text_addf(&t, "{\"OK\":%s,\"ErrMsg\":", f->ok ? "true" : "false");
	sg_json_text_add(&t, f->err);
	sg_text_add(&t, "}");
	return line_end(&t);
}

int sg_stcp_f3_decode(struct sg_view in, struct sg_stcp_f3 *out)
{
	json_t *root = NULL;
	int used = sg_json_object(in, SG_STCP_LINE_MAX, &root);
	struct sg_view err;

	if (used > 0) {
		const json_t *ok = sg_json_get(root, "OK");

		if (sg_json_get_text(root, "ErrMsg", &err) < 0 || (ok && !json_is_null(ok) && !json_is_boolean(ok))) {
			used = SG_EMALF;
		} else {
			out->ok = json_is_true(ok);
			snprintf(out->err, sizeof(out->err), "%s", (const char *)err.p);
		}
	}
	json_decref(root);
	return used;
}
