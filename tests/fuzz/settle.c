/* The settlement line. What is accepted must survive encoding; a part of it must never be taken for the whole. */
#include "base/common.h"
#include "base/err.h"
#include "fake/random.h"
#include "fuzz.h"
#include "wire/settle.h"

static struct fake_random random_source;
static struct sg_crypto *crypto;

static void check_entry(const struct sg_signed_entry *e)
{
	char line[SG_SETTLE_LINE_MAX];
	struct sg_signed_entry again;
	uint8_t binary[SG_ENTRY_BINARY_MAX];
	int len = sg_settle_encode(e, true, line, sizeof(line));

	must(memchr(e->entry.type, 0, sizeof(e->entry.type)) && memchr(e->entry.label, 0, sizeof(e->entry.label)));
	must(sg_entry_binary(&e->entry, binary) <= sizeof(binary));
	must(len > 0);
	must(sg_settle_decode(crypto, (struct sg_view){(uint8_t *)line, (size_t)len}, &again) == len);
	must(memcmp(&e->entry.id, &again.entry.id, sizeof(again.entry.id)) == 0 && e->marked == again.marked);
	must(memcmp(e->entry.edges, again.entry.edges, sizeof(again.entry.edges)) == 0);
	must(memcmp(e->sigs, again.sigs, sizeof(again.sigs)) == 0);
	for (int i = 0; i < 2; i++)
		(void)sg_settle_check(crypto, e, &e->entry.edges[i], &e->entry.edges[!i], e->entry.type);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_signed_entry e;
	int used;

	if (!crypto) {
		fake_random_init(&random_source);
		crypto = sg_crypto_new(&random_source.base);
		must(crypto);
	}
	used = sg_settle_decode(crypto, (struct sg_view){data, size}, &e);
	must(used <= (int)size && (used != 0 || size < SG_SETTLE_LINE_MAX));
	must(used >= 0 || used == SG_EMALF || used == SG_EKEY || used == SG_ELONG);
	if (used > 0) {
		check_entry(&e);
		/* Only the newline may be missing from the end. */
		must(sg_settle_decode(crypto, (struct sg_view){data, (size_t)used - 2}, &e) == 0 ||
			data[used - 1] != '\n');
	}
	return 0;
}
