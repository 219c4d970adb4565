/*
 * Which client has which addresses: blocks of eight, the order in which the Go server gives them on a fresh start.
 * Pure: time comes in, nothing is asked of the machine.
 *
 *	block B: server gateway B+1, server B+2, client gateway B+3, client B+4
 *
 * A lease is kept for its key after the client left, so that a client that returns keeps its flows.
 */
#ifndef VPN_LEASE_H
#define VPN_LEASE_H

#include "base/list.h"
#include <skygate/types.h>

struct net4 {
	uint32_t net;
	uint8_t bits;
};

struct lease {
	struct sg_list by_key, by_block; /* in their buckets */
	struct sg_list idle;             /* on leases.idle (client gone), or leases.free */
	struct sg_pk pk;
	uint32_t block;
	int64_t idle_ms; /* when the client left */
	void *holder;    /* the client; NULL: kept for the key only */
};

struct leases {
	struct net4 pool;
	struct net4 busy[64]; /* networks of this machine */
	size_t n_busy;
	uint32_t n_blocks, usable, next; /* usable: not overlapping busy; next: index where the search goes on */
	struct lease *slots;
	struct sg_list *by_key, *by_block; /* n_buckets each */
	size_t n_buckets, n_leased;
	struct sg_list idle, free; /* idle: longest gone first */
};

static inline uint32_t lease_client_ip(const struct lease *l)
{
	return l->block + 4;
}

static inline uint32_t lease_client_gateway(const struct lease *l)
{
	return l->block + 3;
}

/** leases_init - a pool of at most /29, for @max clients at once. 0, -ENOMEM, or SG_EFULL: no block is usable. */
int leases_init(struct leases *ls, struct net4 pool, const struct net4 *busy, size_t n_busy, size_t max);
/** leases_fini - accepts all zero bytes. */
void leases_fini(struct leases *ls);

/**
 * lease_get - the block of a key, the one it had if that is still kept and touches none of @avoid (addresses that the
 * client has in use itself). 0 and *out, whose holder is the caller's to set, or SG_EFULL.
 */
int lease_get(struct leases *ls, const struct sg_pk *pk, const uint32_t *avoid, size_t n_avoid, int64_t now_ms,
	struct lease **out);
/**
 * lease_restore - as if the client of this key had just left @block. NULL when that is none of the pool, or taken, or the key has
 * a lease, or there is no room.
 */
struct lease *lease_restore(struct leases *ls, const struct sg_pk *pk, uint32_t block, int64_t now_ms);
/** lease_of - the lease of a key, held or kept, or NULL. */
struct lease *lease_of(const struct leases *ls, const struct sg_pk *pk);
/** lease_leave - the client is gone; its block is kept for a while. */
void lease_leave(struct leases *ls, struct lease *l, int64_t now_ms);
/** lease_find - the lease whose client address this is, or NULL. */
struct lease *lease_find(const struct leases *ls, uint32_t client_ip);
/** leases_in_pool - is it an address of the pool, leased or not. */
bool leases_in_pool(const struct leases *ls, uint32_t ip);

#endif
