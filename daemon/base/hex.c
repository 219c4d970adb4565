/* Keys and ids as text. Whether a key is valid is crypto's question, not asked here. */
#include "base/hex.h"
#include "base/common.h"
#include "base/err.h"

char *sg_hex_format(const void *in, size_t len, char *out, size_t cap)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = in;

	if (cap < 2 * len + 1) {
		if (cap)
			out[0] = '\0';
		return out;
	}
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
	return out;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int sg_hex_parse(const char *text, size_t text_len, void *out, size_t len)
{
	uint8_t *p = out;

	if (text_len != 2 * len)
		return SG_EMALF;
	for (size_t i = 0; i < len; i++) {
		int hi = digit(text[2 * i]), lo = digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return SG_EMALF;
		p[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

char *sg_pk_str(const struct sg_pk *pk, char buf[SG_PK_TEXT])
{
	return sg_hex_format(pk->b, SG_PK_LEN, buf, SG_PK_TEXT);
}

char *sg_pk_short(const struct sg_pk *pk, char buf[SG_PK_SHORT])
{
	char full[SG_PK_TEXT];

	sg_pk_str(pk, full);
	snprintf(buf, SG_PK_SHORT, "%.8s\xe2\x80\xa6%s", full, full + 2 * SG_PK_LEN - 4);
	return buf;
}

char *sg_tpid_str(const struct sg_tpid *id, char buf[SG_TPID_TEXT])
{
	char h[2 * SG_TPID_LEN + 1];

	sg_hex_format(id->b, SG_TPID_LEN, h, sizeof(h));
	snprintf(buf, SG_TPID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", h, h + 8, h + 12, h + 16, h + 20);
	return buf;
}

int sg_tpid_parse(const char *text, size_t text_len, struct sg_tpid *out)
{
	char h[2 * SG_TPID_LEN];
	size_t n = 0;

	if (text_len != SG_TPID_TEXT - 1)
		return SG_EMALF;
	for (size_t i = 0; i < text_len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash != (text[i] == '-'))
			return SG_EMALF;
		if (!dash)
			h[n++] = text[i];
	}
	return sg_hex_parse(h, n, out->b, SG_TPID_LEN);
}

bool sg_tpid_equal(const struct sg_tpid *a, const struct sg_tpid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool sg_pk_equal(const struct sg_pk *a, const struct sg_pk *b)
{
	return memcmp(a->b, b->b, SG_PK_LEN) == 0;
}

bool sg_pk_is_null(const struct sg_pk *pk)
{
	static const struct sg_pk null;

	return sg_pk_equal(pk, &null);
}

int sg_pk_cmp(const struct sg_pk *a, const struct sg_pk *b)
{
	return memcmp(a->b, b->b, SG_PK_LEN);
}
