/* sg-bench-crypto: sealing and opening per provider and size, what a handshake costs, and which provider was chosen. */
#include "bench/measure.h"
#include "crypto/noise.h"
#include <string.h>

static const size_t sizes[] = {64, 1400, 4032};

struct work {
	const struct sg_aead_ops *ops;
	struct sg_aead *key;
	size_t len;
	uint64_t counter;
	uint8_t plain[4096], sealed[SG_AEAD_FRONT + 4096 + SG_AEAD_TAG_LEN];
};

/* As links do it. */
static void seal(void *arg)
{
	struct work *w = arg;

	w->ops->seal_behind(w->key, ++w->counter, (struct sg_view){0}, w->sealed + SG_AEAD_FRONT, w->len);
}

static void open_sealed(void *arg)
{
	struct work *w = arg;

	if (w->ops->open(w->key, 1, (struct sg_view){0}, w->sealed + SG_AEAD_FRONT, w->len, w->plain) != 0)
		abort();
}

static void provider(const struct sg_aead_ops *ops)
{
	static const uint8_t key[SG_AEAD_KEY_LEN] = {1};
	struct work w = {.ops = ops, .key = ops->new_key(key)};
	char name[64];

	if (!w.key)
		abort();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		w.len = sizes[i];
		snprintf(name, sizeof(name), "crypto.%s.seal.%zu", ops->name, w.len);
		bench_print(name, bench_rate(seal, &w) * (double)w.len * 8 / 1e6, "Mbit/s");
		w.counter = 0;
		seal(&w);
		snprintf(name, sizeof(name), "crypto.%s.open.%zu", ops->name, w.len);
		bench_print(name, bench_rate(open_sealed, &w) * (double)w.len * 8 / 1e6, "Mbit/s");
	}
	ops->free_key(w.key);
}

struct ends {
	struct sg_crypto *c;
	struct sg_sk sk[2];
	struct sg_pk pk[2];
};

/* Both roles, both messages, as far as the keys of the transport phase. */
static void handshake(void *arg)
{
	struct ends *e = arg;
	struct sg_noise n[2];
	uint8_t msg[SG_NOISE_MSG_MIN];

	for (int i = 0; i < 2; i++) {
		if (sg_noise_kk_init(&n[i], e->c, i == 0, &e->sk[i], &e->pk[1 - i]) != 0)
			abort();
	}
	for (int i = 0; i < 2; i++) {
		int len = sg_noise_write(&n[i], (struct sg_view){0}, msg, sizeof(msg));

		if (len < 0 || sg_noise_read(&n[1 - i], (struct sg_view){msg, (size_t)len}, NULL, 0) < 0)
			abort();
	}
	if (!sg_noise_done(&n[0]) || !sg_noise_done(&n[1]))
		abort();
	sg_noise_fini(&n[0]);
	sg_noise_fini(&n[1]);
}

int main(void)
{
	struct ends e = {.c = sg_crypto_new(sg_random_system())};

	if (!e.c)
		return 1;
	for (const struct sg_aead_ops *const *p = sg_aead_providers(); *p; p++)
		provider(*p);
	for (int i = 0; i < 2; i++) {
		sg_sk_generate(e.c, &e.sk[i]);
		if (sg_pk_of(e.c, &e.sk[i], &e.pk[i]) != 0)
			return 1;
	}
	bench_print("crypto.noise_kk.both_ends", bench_rate(handshake, &e), "handshakes/s");
	printf("crypto.chosen\t%s\n", sg_crypto_aead(e.c)->name);
	sg_crypto_free(e.c);
	return 0;
}
