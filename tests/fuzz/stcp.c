/*
 * The handshake in clear. First byte: which frame (modulo 3). What is accepted must be accepted again after encoding,
 * with the same meaning, and arriving in two pieces must not change anything.
 */
#include "base/common.h"
#include "base/err.h"
#include "fake/random.h"
#include "fuzz.h"
#include "wire/stcp.h"

static struct fake_random random_source;
static struct sg_crypto *crypto;

static void check_used(int used, size_t len)
{
	must(used <= (int)len);
	must(used >= 0 || used == SG_EMALF || used == SG_ELONG || used == SG_EKEY);
	must(used != 0 || len < SG_STCP_LINE_MAX);
}

static void f1(struct sg_view in)
{
	uint8_t nonce[SG_STCP_NONCE], again[SG_STCP_NONCE];
	char line[SG_STCP_LINE_MAX];
	int used = sg_stcp_f1_decode(in, nonce), len;

	check_used(used, in.len);
	if (used <= 0)
		return;
	len = sg_stcp_f1_encode(nonce, line, sizeof(line));
	must(len > 0);
	must(sg_stcp_f1_decode((struct sg_view){(uint8_t *)line, (size_t)len}, again) == len);
	must(memcmp(nonce, again, sizeof(nonce)) == 0);
}

static void f2(struct sg_view in)
{
	struct sg_stcp_f2 f, again;
	char line[SG_STCP_LINE_MAX];
	int used = sg_stcp_f2_decode(crypto, in, &f), len;

	check_used(used, in.len);
	if (used <= 0)
		return;
	len = sg_stcp_f2_format(&f, line, sizeof(line));
	must(len > 0);
	must(sg_stcp_f2_decode(crypto, (struct sg_view){(uint8_t *)line, (size_t)len}, &again) == len);
	must(memcmp(&f.src, &again.src, sizeof(f.src)) == 0 && memcmp(&f.dst, &again.dst, sizeof(f.dst)) == 0);
	must(f.src_port == again.src_port && f.dst_port == again.dst_port);
	must(memcmp(f.nonce, again.nonce, sizeof(f.nonce)) == 0 && memcmp(&f.sig, &again.sig, sizeof(f.sig)) == 0);
	must(sg_stcp_f2_verify(crypto, &f, f.nonce) == sg_stcp_f2_verify(crypto, &again, f.nonce));
}

static void f3(struct sg_view in)
{
	struct sg_stcp_f3 f, again;
	char line[SG_STCP_LINE_MAX];
	int used = sg_stcp_f3_decode(in, &f), len;

	check_used(used, in.len);
	if (used <= 0)
		return;
	must(memchr(f.err, 0, sizeof(f.err)));
	len = sg_stcp_f3_encode(&f, line, sizeof(line));
	must(len > 0);
	must(sg_stcp_f3_decode((struct sg_view){(uint8_t *)line, (size_t)len}, &again) == len && again.ok == f.ok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const frames[])(struct sg_view) = {f1, f2, f3};

	if (!crypto) {
		fake_random_init(&random_source);
		crypto = sg_crypto_new(&random_source.base);
		must(crypto);
	}
	if (size)
		frames[data[0] % 3]((struct sg_view){data + 1, size - 1});
	return 0;
}
