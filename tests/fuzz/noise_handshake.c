/*
 * Handshake messages of a stranger, at both ends. First byte: which end reads (bit 0); whether the input is the raw
 * message or only the payload of a genuine one (bit 1), which must then arrive; whether a byte of it is changed (bit 2).
 */
#include "base/common.h"
#include "base/limits.h"
#include "crypto/noise.h"
#include "fake/random.h"
#include "fuzz.h"

#include <stdlib.h>

static struct fake_random random_source;
static struct sg_crypto *crypto;
static struct sg_sk sk[2];
static struct sg_pk pk[2];

static void init(void)
{
	fake_random_init(&random_source);
	crypto = sg_crypto_new(&random_source.base);
	must(crypto);
	for (int i = 0; i < 2; i++) {
		sg_sk_generate(crypto, &sk[i]);
		must(sg_pk_of(crypto, &sk[i], &pk[i]) == 0);
	}
}

static void read_message(struct sg_noise *reader, struct sg_view msg, const struct sg_view *want)
{
	uint8_t payload[64];
	int len = sg_noise_read(reader, msg, payload, sizeof(payload));

	if (want) {
		must(len == (int)want->len);
		must(!len || memcmp(payload, want->p, SG_MIN(want->len, sizeof(payload))) == 0);
	}
	must(len < 0 || msg.len == SG_NOISE_MSG_MIN + (size_t)len);
	/* Nothing may be read twice, nothing after an error. */
	must(sg_noise_read(reader, msg, NULL, 0) < 0);
}

/* @writer's message with that payload (free). */
static uint8_t *genuine(struct sg_noise *writer, struct sg_view payload, size_t *len)
{
	uint8_t *msg = malloc(SG_NOISE_MSG_MIN + payload.len);
	int n;

	must(msg);
	n = sg_noise_write(writer, payload, msg, SG_NOISE_MSG_MIN + payload.len);
	must(n == (int)(SG_NOISE_MSG_MIN + payload.len));
	*len = (size_t)n;
	return msg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_noise end[2];
	struct sg_view in;
	int reader;
	size_t len;
	uint8_t *msg;

	if (!crypto)
		init();
	if (size < 1 || size > SG_NOISE_MSG_MAX)
		return 0;
	in = (struct sg_view){data + 1, size - 1};
	reader = !(data[0] & 1); /* 1: the responder, who reads first */
	for (int i = 0; i < 2; i++)
		must(sg_noise_kk_init(&end[i], crypto, i == 0, &sk[i], &pk[!i]) == 0);
	if (reader == 0) {
		msg = genuine(&end[0], (struct sg_view){0}, &len);
		must(sg_noise_read(&end[1], (struct sg_view){msg, len}, NULL, 0) == 0);
		free(msg);
	}
	if (data[0] & 2 && in.len <= SG_NOISE_MSG_MAX - SG_NOISE_MSG_MIN) {
		msg = genuine(&end[!reader], in, &len);
		if (data[0] & 4) {
			msg[(data[0] >> 3) % len] ^= 0x40;
			must(sg_noise_read(&end[reader], (struct sg_view){msg, len}, NULL, 0) < 0);
		} else {
			read_message(&end[reader], (struct sg_view){msg, len}, &in);
		}
		free(msg);
	} else {
		read_message(&end[reader], in, NULL);
	}
	for (int i = 0; i < 2; i++)
		sg_noise_fini(&end[i]);
	return 0;
}
