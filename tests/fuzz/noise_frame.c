/*
 * The frame reader on a byte run, in place, as links use it. The last 8 bytes of the input are the last counter seen.
 * Both providers must agree on every frame. So that the cipher is passed too, input beginning with 'S' is sealed first.
 */
#include "base/common.h"
#include "base/cursor.h"
#include "crypto/frame.h"
#include "fuzz.h"

#include <stdlib.h>

static const uint8_t key[SG_AEAD_KEY_LEN] = {7};

/* Follows the run to its end and adds up what came out. */
static uint64_t read_all(const struct sg_aead_ops *ops, uint64_t counter, struct sg_view in)
{
	struct sg_frame_key rx;
	uint8_t *copy = malloc(in.len + 1);
	uint64_t sum = 0;
	size_t at = 0;
	int used;

	must(copy && sg_frame_key_init(&rx, ops, key) == 0);
	memcpy(copy, in.p, in.len);
	rx.counter = counter;
	do {
		uint8_t *frame = copy + at, *plain = frame + SG_FRAME_HEAD;
		size_t len;

		used = sg_frame_open(&rx, (struct sg_view){frame, in.len - at}, plain, &len);
		must(used <= 0 || ((size_t)used == len + SG_FRAME_HEAD + SG_FRAME_TAG && (size_t)used <= in.len - at));
		must(used > 0 || len == 0);
		must(len <= SG_FRAME_PLAIN_MAX && rx.counter >= counter);
		for (size_t i = 0; i < len; i++)
			sum = sum * 31 + plain[i];
		sum += (uint64_t)(int64_t)used;
		at += used > 0 ? (size_t)used : 0;
	} while (used > 0);
	sg_frame_key_fini(&rx);
	free(copy);
	return sum;
}

/* A genuine frame with this plaintext, followed by the rest of the input. */
static void sealed(struct sg_view in)
{
	size_t plain = SG_MIN(in.len, (size_t)SG_FRAME_PLAIN_MAX), len;
	uint8_t *wire = malloc(in.len + SG_FRAME_HEAD + SG_FRAME_TAG);
	struct sg_frame_key tx;
	uint64_t first = 0;

	must(wire && sg_frame_key_init(&tx, sg_aead_providers()[0], key) == 0);
	memcpy(wire + SG_FRAME_HEAD, in.p, plain);
	len = sg_frame_seal(&tx, wire, plain);
	must(len == plain + SG_FRAME_HEAD + SG_FRAME_TAG);
	memcpy(wire + len, in.p + plain, in.len - plain);
	for (const struct sg_aead_ops *const *ops = sg_aead_providers(); *ops; ops++) {
		uint64_t sum = read_all(*ops, 0, (struct sg_view){wire, len + in.len - plain});

		must(*ops == sg_aead_providers()[0] || sum == first);
		first = sum;
	}
	sg_frame_key_fini(&tx);
	free(wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t counter, sums[2] = {0};

	if (size && data[0] == 'S') {
		sealed((struct sg_view){data + 1, size - 1});
		return 0;
	}
	if (size < 8)
		return 0;
	counter = sg_get_u64(data + size - 8);
	for (size_t i = 0; i < 2; i++)
		sums[i] = read_all(sg_aead_providers()[i], counter, (struct sg_view){data, size - 8});
	must(sums[0] == sums[1]);
	return 0;
}
