/*
 * The machine that links shake hands with, both roles. First byte: how many genuine messages pass before the stranger
 * speaks in place of the next one (bits 0..2), and whether what it says is sealed with the right key where there is one
 * already (bit 3); bit 4: over a stream that is secured, where the messages are entry and answer. Second byte: in pieces of how many bytes it arrives.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "fake/random.h"
#include "fuzz.h"
#include "link/handshake.h"

#include <jansson.h>
#include <stdlib.h>

static struct fake_random random_source;
static struct sg_crypto *crypto;
static struct sg_sk sk[2];
static struct sg_pk pk[2];

static void init(void)
{
	json_set_alloc_funcs(sg_malloc, sg_free);
	fake_random_init(&random_source);
	crypto = sg_crypto_new(&random_source.base);
	must(crypto);
	for (int i = 0; i < 2; i++) {
		sg_sk_generate(crypto, &sk[i]);
		must(sg_pk_of(crypto, &sk[i], &pk[i]) == 0);
	}
}

/* One genuine message from @from to the other end. */
static void pass(struct link_hs hs[2], int from)
{
	struct sg_view out;

	if (hs[from].phase == LINK_HS_READY)
		must(link_hs_go(&hs[from]) == 0);
	if (hs[from].phase == LINK_HS_DECIDE)
		must(link_hs_answer(&hs[from], SG_SETTLE_OK) == 0);
	out = link_hs_out(&hs[from]);
	must(out.len > 0);
	must(link_hs_feed(&hs[!from], out) == 0);
	link_hs_sent(&hs[from], out.len);
}

static void check(const struct link_hs *hs)
{
	must(hs->phase <= LINK_HS_FAILED);
	must((hs->phase == LINK_HS_FAILED) == (hs->err < 0));
	must(memchr(hs->why, 0, sizeof(hs->why)));
	must(hs->out_off + link_hs_out(hs).len <= sizeof(hs->out));
	must(hs->plain_len <= sizeof(hs->plain));
}

static void feed(struct link_hs *hs, struct sg_view in, size_t piece)
{
	size_t at = 0;

	while (at < in.len && hs->phase != LINK_HS_FAILED && hs->phase != LINK_HS_DONE) {
		struct sg_view part = {in.p + at, SG_MIN(piece, in.len - at)};

		link_hs_feed(hs, part);
		check(hs);
		if (hs->phase == LINK_HS_READY)
			must(link_hs_go(hs) == 0);
		if (hs->phase == LINK_HS_DECIDE)
			must(link_hs_answer(hs, SG_SETTLE_OK) == 0);
		link_hs_sent(hs, link_hs_out(hs).len);
		at += part.len;
	}
}

/* The input as one frame of the other end. */
static void feed_sealed(struct link_hs hs[2], int reader, struct sg_view in, size_t piece)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];
	size_t len = SG_MIN(in.len, (size_t)SG_FRAME_PLAIN_MAX);

	memcpy(slot + SG_FRAME_HEAD, in.p, len);
	len = sg_frame_seal(&hs[!reader].tx, slot, len);
	feed(&hs[reader], (struct sg_view){slot, len}, piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct link_hs *hs = calloc(2, sizeof(*hs)); /* 0 the dialler */
	size_t before, piece;
	bool secured = size && data[0] & 16;
	int reader;

	must(hs);
	if (!crypto)
		init();
	before = sg_alloc_live();
	for (int i = 0; i < 2; i++)
		link_hs_init(&hs[i], &(struct link_hs_conf){.crypto = crypto,
					     .sk = &sk[i],
					     .pk = &pk[i],
					     .type = "stcp",
					     .remote = i ? NULL : &pk[1],
					     .secured = secured,
					     .caller = &pk[0],
					     .port = 49153});
	if (size >= 2) {
		int genuine = data[0] & (secured ? 1 : 7);

		for (int i = 0; i < genuine; i++)
			pass(hs, i & 1);
		reader = !(genuine & 1);
		piece = (size_t)data[1] + 1;
		if (data[0] & 8 && !secured && genuine >= 6)
			feed_sealed(hs, reader, (struct sg_view){data + 2, size - 2}, piece);
		else
			feed(&hs[reader], (struct sg_view){data + 2, size - 2}, piece);
		link_hs_eof(&hs[reader]);
		check(&hs[reader]);
	}
	link_hs_fini(&hs[0]);
	link_hs_fini(&hs[1]);
	must(sg_alloc_live() == before);
	free(hs);
	return 0;
}
