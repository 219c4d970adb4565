/* sg-bench-codecs: what a packet costs besides its cipher: frames, packets, virtual streams, each on its own. */
#include "bench/measure.h"
#include "crypto/frame.h"
#include "wire/packet.h"
#include "wire/vstream.h"
#include <string.h>

#define PACKETS 64

struct work {
	struct sg_frame_key tx, rx;
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];
	size_t plain, framed;
	uint8_t run[PACKETS * 128]; /* packets of 64 bytes payload, one after the other */
	size_t run_len;
};

static void seal(void *arg)
{
	struct work *w = arg;

	w->framed = sg_frame_seal(&w->tx, w->slot, w->plain);
}

static void seal_and_open(void *arg)
{
	struct work *w = arg;
	size_t got;

	seal(w);
	if (sg_frame_open(&w->rx, (struct sg_view){w->slot, w->framed}, w->slot + SG_FRAME_HEAD, &got) <= 0 ||
		got != w->plain)
		abort();
}

static void decode(void *arg)
{
	struct work *w = arg;
	size_t at = 0;

	while (at < w->run_len) {
		struct sg_packet p;
		struct sg_vstream_msg m;
		int n = sg_packet_decode((struct sg_view){w->run + at, w->run_len - at}, &p);

		if (n <= 0 || sg_vstream_decode(p.payload, &m) != 0)
			abort();
		at += (size_t)n;
	}
}

static void fill_run(struct work *w)
{
	static const struct sg_pk sender = {.b = {2}};

	for (int i = 0; i < PACKETS; i++) {
		uint8_t *p = w->run + w->run_len;

		sg_packet_head(SG_PACKET_APP_DIRECT, 0, 64, p);
		sg_vstream_head(7, &sender, 0, p + SG_PACKET_HEAD);
		w->run_len += SG_PACKET_HEAD + 64;
	}
}

int main(void)
{
	static const size_t sizes[] = {64, 1400, SG_FRAME_PLAIN_MAX};
	static const uint8_t key[SG_AEAD_KEY_LEN] = {1};
	static struct work w;
	const struct sg_aead_ops *ops = sg_aead_measure();
	char name[64];

	if (sg_frame_key_init(&w.tx, ops, key) != 0 || sg_frame_key_init(&w.rx, ops, key) != 0)
		return 1;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		w.plain = sizes[i];
		w.rx.counter = w.tx.counter;
		snprintf(name, sizeof(name), "frames.seal.%zu", w.plain);
		bench_print(name, bench_rate(seal, &w) * (double)w.plain * 8 / 1e6, "Mbit/s");
		snprintf(name, sizeof(name), "frames.seal_and_open.%zu", w.plain);
		bench_print(name, bench_rate(seal_and_open, &w) * (double)w.plain * 8 / 1e6, "Mbit/s");
	}
	fill_run(&w);
	bench_print("frames.packet_and_vstream_decode", bench_rate(decode, &w) * PACKETS / 1e6, "million/s");
	sg_frame_key_fini(&w.tx);
	sg_frame_key_fini(&w.rx);
	return 0;
}
