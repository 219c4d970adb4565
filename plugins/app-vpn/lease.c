/* The address pool of the VPN server. */
#include "lease.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/limits.h"

#define BLOCK 8U

static uint32_t mask_of(uint8_t bits)
{
	return bits ? 0xffffffffU << (32 - bits) : 0;
}

static bool net_has(struct net4 n, uint32_t ip)
{
	return ((ip ^ n.net) & mask_of(n.bits)) == 0;
}

/* Within every 256 addresses: .8, .16 … .248, and .0 last. */
static uint32_t block_at(const struct leases *ls, uint32_t index)
{
	uint32_t per = SG_MIN(ls->n_blocks, 32U);

	return ls->pool.net + index / per * 256 + (index % per + 1) % per * BLOCK;
}

static bool is_busy(const struct leases *ls, uint32_t block)
{
	for (size_t i = 0; i < ls->n_busy; i++) {
		if (net_has(ls->busy[i], block) || (ls->busy[i].bits > 29 && (ls->busy[i].net & ~7U) == block))
			return true;
	}
	return false;
}

static struct sg_list *key_bucket(const struct leases *ls, const struct sg_pk *pk)
{
	uint32_t h = 0;

	/* Strangers choose their keys, but each try costs them a key pair and the chain is as long as the pool at most. */
	memcpy(&h, pk->b + 8, sizeof(h));
	return &ls->by_key[h & (ls->n_buckets - 1)];
}

static struct sg_list *block_bucket(const struct leases *ls, uint32_t block)
{
	return &ls->by_block[(block / BLOCK) & (ls->n_buckets - 1)];
}

static struct lease *find_block(const struct leases *ls, uint32_t block)
{
	sg_list_for (it, block_bucket(ls, block)) {
		struct lease *l = sg_container_of(it, struct lease, by_block);

		if (l->block == block)
			return l;
	}
	return NULL;
}

struct lease *lease_of(const struct leases *ls, const struct sg_pk *pk)
{
	sg_list_for (it, key_bucket(ls, pk)) {
		struct lease *l = sg_container_of(it, struct lease, by_key);

		if (sg_pk_equal(&l->pk, pk))
			return l;
	}
	return NULL;
}

int leases_init(struct leases *ls, struct net4 pool, const struct net4 *busy, size_t n_busy, size_t max)
{
	size_t n_slots = 2 * max;

	memset(ls, 0, sizeof(*ls));
	sg_list_init(&ls->idle);
	sg_list_init(&ls->free);
	ls->pool = pool;
	ls->n_blocks = 1U << (29 - SG_MIN(pool.bits, 29));
	ls->n_busy = SG_MIN(n_busy, SG_ARRAY_LEN(ls->busy));
	for (size_t i = 0; i < ls->n_busy; i++)
		ls->busy[i] = busy[i];
	for (uint32_t i = 0; i < ls->n_blocks; i++)
		ls->usable += !is_busy(ls, block_at(ls, i));
	if (!ls->usable)
		return SG_EFULL;
	for (ls->n_buckets = 64; ls->n_buckets < 2 * n_slots;)
		ls->n_buckets *= 2;
	ls->slots = sg_calloc(n_slots, sizeof(*ls->slots));
	ls->by_key = sg_malloc(ls->n_buckets * sizeof(*ls->by_key));
	ls->by_block = sg_malloc(ls->n_buckets * sizeof(*ls->by_block));
	if (!ls->slots || !ls->by_key || !ls->by_block) {
		leases_fini(ls);
		return -ENOMEM;
	}
	for (size_t i = 0; i < ls->n_buckets; i++) {
		sg_list_init(&ls->by_key[i]);
		sg_list_init(&ls->by_block[i]);
	}
	for (size_t i = 0; i < n_slots; i++)
		sg_list_add_tail(&ls->free, &ls->slots[i].idle);
	return 0;
}

void leases_fini(struct leases *ls)
{
	sg_free(ls->slots);
	sg_free(ls->by_key);
	sg_free(ls->by_block);
	memset(ls, 0, sizeof(*ls));
}

static void forget(struct leases *ls, struct lease *l)
{
	sg_list_remove(&l->by_key);
	sg_list_remove(&l->by_block);
	sg_list_remove(&l->idle);
	sg_list_add_tail(&ls->free, &l->idle);
	ls->n_leased--;
}

static struct lease *oldest_idle(const struct leases *ls)
{
	return sg_list_empty(&ls->idle) ? NULL : sg_container_of(ls->idle.next, struct lease, idle);
}

static bool touches(uint32_t block, const uint32_t *avoid, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((avoid[i] & ~7U) == block)
			return true;
	}
	return false;
}

/* The next block that nobody has; from where the last search ended, so that a block is reused late. */
static bool next_block(struct leases *ls, const uint32_t *avoid, size_t n_avoid, uint32_t *out)
{
	if (ls->n_leased >= ls->usable)
		return false;
	for (uint32_t tried = 0; tried < ls->n_blocks; tried++) {
		uint32_t block = block_at(ls, ls->next);

		ls->next = (ls->next + 1) % ls->n_blocks;
		if (find_block(ls, block) || touches(block, avoid, n_avoid) || is_busy(ls, block))
			continue;
		*out = block;
		return true;
	}
	return false;
}

/* There is a free place, and nobody has the block. */
static struct lease *fill(struct leases *ls, const struct sg_pk *pk, uint32_t block)
{
	struct lease *l = sg_container_of(ls->free.next, struct lease, idle);

	sg_list_remove(&l->idle);
	l->pk = *pk;
	l->block = block;
	l->holder = NULL;
	sg_list_add_tail(key_bucket(ls, pk), &l->by_key);
	sg_list_add_tail(block_bucket(ls, block), &l->by_block);
	ls->n_leased++;
	return l;
}

int lease_get(struct leases *ls, const struct sg_pk *pk, const uint32_t *avoid, size_t n_avoid, int64_t now_ms,
	struct lease **out)
{
	struct lease *l = lease_of(ls, pk), *old;
	uint32_t block;

	if (l && !touches(l->block, avoid, n_avoid)) {
		sg_list_remove(&l->idle);
		*out = l;
		return 0;
	}
	if (l)
		forget(ls, l);
	while ((old = oldest_idle(ls)) && now_ms - old->idle_ms >= SG_VPN_LEASE_KEEP_MS)
		forget(ls, old);
	/* Under pressure what is only kept goes first, the longest gone of them. */
	while (sg_list_empty(&ls->free) || !next_block(ls, avoid, n_avoid, &block)) {
		old = oldest_idle(ls);
		if (!old)
			return SG_EFULL;
		forget(ls, old);
	}
	*out = fill(ls, pk, block);
	return 0;
}

struct lease *lease_restore(struct leases *ls, const struct sg_pk *pk, uint32_t block, int64_t now_ms)
{
	struct lease *l;

	if ((block & (BLOCK - 1)) || !net_has(ls->pool, block) || is_busy(ls, block) || find_block(ls, block) ||
		lease_of(ls, pk) || sg_list_empty(&ls->free))
		return NULL;
	l = fill(ls, pk, block);
	lease_leave(ls, l, now_ms);
	return l;
}

void lease_leave(struct leases *ls, struct lease *l, int64_t now_ms)
{
	l->holder = NULL;
	l->idle_ms = now_ms;
	sg_list_remove(&l->idle);
	sg_list_add_tail(&ls->idle, &l->idle);
}

struct lease *lease_find(const struct leases *ls, uint32_t client_ip)
{
	return (client_ip & 7) == 4 ? find_block(ls, client_ip - 4) : NULL;
}

bool leases_in_pool(const struct leases *ls, uint32_t ip)
{
	return net_has(ls->pool, ip);
}
