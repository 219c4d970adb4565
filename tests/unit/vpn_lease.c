/* The pool of addresses: order, reuse, reservations, busy networks, pressure. Known orders are run by sg-vectors. */
#include "base/err.h"
#include "base/limits.h"
#include "lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const struct net4 usual = {IP(172, 16, 0, 0), 12};

static struct sg_pk key(unsigned n)
{
	struct sg_pk pk = {{2}};

	pk.b[8] = (uint8_t)n;
	pk.b[9] = (uint8_t)(n >> 8);
	pk.b[30] = (uint8_t)(n >> 16);
	return pk;
}

/* The block of key @n, held; 0 when there is none. */
static uint32_t take(struct leases *ls, unsigned n, int64_t now_ms)
{
	struct sg_pk pk = key(n);
	struct lease *l;

	if (lease_get(ls, &pk, NULL, 0, now_ms, &l) < 0)
		return 0;
	l->holder = ls;
	assert_ptr_equal(lease_of(ls, &pk), l);
	assert_ptr_equal(lease_find(ls, lease_client_ip(l)), l);
	assert_int_equal(lease_client_gateway(l), l->block + 3);
	return l->block;
}

static void leave(struct leases *ls, unsigned n, int64_t now_ms)
{
	struct sg_pk pk = key(n);

	lease_leave(ls, lease_of(ls, &pk), now_ms);
}

static void go_order_without_its_repeats(void **state)
{
	struct leases ls;

	(void)state;
	assert_int_equal(leases_init(&ls, usual, NULL, 0, 9000), 0);
	for (unsigned n = 0; n < 8448; n++) {
		uint32_t want = IP(172, 16, n / 32, (n % 32 + 1) % 32 * 8);

		/* Go stays below 172.17; ours goes on to the end of the pool. */
		want = IP(172, 16, 0, 0) + n / 32 * 256 + (want & 255);
		assert_int_equal(take(&ls, n, 0), want);
	}
	assert_null(lease_find(&ls, IP(172, 16, 0, 11)));
	assert_null(lease_find(&ls, IP(172, 31, 0, 12)));
	assert_true(leases_in_pool(&ls, IP(172, 31, 255, 255)));
	assert_false(leases_in_pool(&ls, IP(172, 32, 0, 0)));
	leases_fini(&ls);
}

static void a_key_gets_its_block_again_for_ten_minutes(void **state)
{
	struct leases ls;
	uint32_t first;

	(void)state;
	assert_int_equal(leases_init(&ls, usual, NULL, 0, 10), 0);
	first = take(&ls, 1, 0);
	leave(&ls, 1, 1000);
	assert_int_not_equal(take(&ls, 2, 1000), first);
	assert_int_equal(take(&ls, 1, 1000 + SG_VPN_LEASE_KEEP_MS - 1), first);
	leave(&ls, 1, 2000);
	leave(&ls, 2, 2000);
	/* Somebody else's call finds it expired. */
	take(&ls, 3, 2000 + SG_VPN_LEASE_KEEP_MS);
	assert_null(lease_of(&ls, &(struct sg_pk){{2, 0, 0, 0, 0, 0, 0, 0, 1}}));
	assert_int_equal(ls.n_leased, 1);
	leases_fini(&ls);
}

static void addresses_of_the_client_are_avoided_for_it_alone(void **state)
{
	struct leases ls;
	struct sg_pk a = key(1), b = key(2);
	uint32_t avoid[] = {IP(192, 168, 1, 1), IP(172, 16, 0, 10), IP(172, 16, 0, 23)};
	struct lease *l;

	(void)state;
	assert_int_equal(leases_init(&ls, usual, NULL, 0, 10), 0);
	assert_int_equal(lease_get(&ls, &a, avoid, 3, 0, &l), 0);
	assert_int_equal(l->block, IP(172, 16, 0, 24));
	/* A Go client that comes back has its old address still on its TUN, and says so. */
	lease_leave(&ls, l, 0);
	avoid[0] = IP(172, 16, 0, 28);
	assert_int_equal(lease_get(&ls, &a, avoid, 1, 0, &l), 0);
	assert_int_equal(l->block, IP(172, 16, 0, 32));
	assert_int_equal(ls.n_leased, 1);
	/* Others get what it would not have. */
	leases_fini(&ls);
	assert_int_equal(leases_init(&ls, (struct net4){IP(10, 0, 0, 0), 28}, NULL, 0, 2), 0);
	avoid[0] = IP(10, 0, 0, 12);
	assert_int_equal(lease_get(&ls, &a, avoid, 1, 0, &l), 0);
	assert_int_equal(l->block, IP(10, 0, 0, 0));
	l->holder = &ls;
	assert_int_equal(lease_get(&ls, &b, NULL, 0, 0, &l), 0);
	assert_int_equal(l->block, IP(10, 0, 0, 8));
	leases_fini(&ls);
}

static void networks_of_this_machine_are_left_out(void **state)
{
	static const struct net4 busy[] = {{IP(172, 17, 0, 0), 16}, {IP(172, 16, 0, 8), 30}, {IP(172, 16, 0, 31), 32},
		{IP(192, 0, 2, 0), 24}, {0, 0}};
	struct leases ls;

	(void)state;
	assert_int_equal(leases_init(&ls, usual, busy, 4, 9000), 0);
	assert_int_equal(take(&ls, 0, 0), IP(172, 16, 0, 16));
	assert_int_equal(take(&ls, 1, 0), IP(172, 16, 0, 32));
	for (unsigned n = 2; n < 8500; n++)
		assert_int_not_equal(take(&ls, n, 0) >> 16, IP(172, 17, 0, 0) >> 16);
	leases_fini(&ls);
	assert_int_equal(leases_init(&ls, usual, busy, 5, 10), SG_EFULL);
}

static void exhaustion_and_pressure(void **state)
{
	struct leases ls;

	(void)state;
	assert_int_equal(leases_init(&ls, (struct net4){IP(10, 0, 0, 0), 27}, NULL, 0, 10), 0);
	for (unsigned n = 0; n < 4; n++)
		assert_int_not_equal(take(&ls, n, 0), 0);
	assert_int_equal(take(&ls, 4, 0), 0);
	/* What is only kept goes when it must, the longest gone first. */
	leave(&ls, 2, 100);
	leave(&ls, 1, 200);
	assert_int_equal(take(&ls, 4, 300), IP(10, 0, 0, 24));
	assert_int_equal(take(&ls, 1, 300), IP(10, 0, 0, 16));
	assert_int_equal(take(&ls, 2, 300), 0);
	leases_fini(&ls);
	/* More keys than places: as many are kept as clients are allowed, no more. */
	assert_int_equal(leases_init(&ls, usual, NULL, 0, 2), 0);
	for (unsigned n = 0; n < 1000; n++) {
		assert_int_not_equal(take(&ls, n, n), 0);
		leave(&ls, n, n);
	}
	assert_true(ls.n_leased <= 4);
	leases_fini(&ls);
	assert_int_equal(leases_init(&ls, (struct net4){IP(10, 0, 0, 8), 29}, NULL, 0, 2), 0);
	assert_int_equal(take(&ls, 0, 0), IP(10, 0, 0, 8));
	assert_int_equal(take(&ls, 1, 0), 0);
	leases_fini(&ls);
}

/* Any order of coming and going: nobody shares a block, whoever returns soon keeps his. */
static void random_comings_and_goings(void **state)
{
	enum { KEYS = 60, MAX = 40 };
	struct leases ls;
	uint32_t block[KEYS] = {0}, seed = 1;
	bool held[KEYS] = {false};
	unsigned n_held = 0;

	(void)state;
	assert_int_equal(leases_init(&ls, (struct net4){IP(10, 1, 0, 0), 22}, NULL, 0, MAX), 0);
	for (int64_t now = 0; now < 20000; now++) {
		unsigned n;

		seed = seed * 1103515245 + 12345;
		n = (seed >> 16) % KEYS;
		if (held[n]) {
			leave(&ls, n, now);
			held[n] = false;
			n_held--;
		} else if (n_held < MAX) {
			block[n] = take(&ls, n, now);
			assert_int_not_equal(block[n], 0);
			held[n] = true;
			n_held++;
			for (unsigned i = 0; i < KEYS; i++)
				assert_true(i == n || !held[i] || block[i] != block[n]);
		}
	}
	leases_fini(&ls);
}

/* What a store of before a restart says is looked at like a stranger's. */
static void restored(void **state)
{
	struct net4 busy = {IP(172, 16, 5, 0), 24};
	struct leases ls;
	struct sg_pk a = key(1), b = key(2);

	(void)state;
	assert_int_equal(leases_init(&ls, usual, &busy, 1, 2), 0);
	assert_null(lease_restore(&ls, &a, IP(172, 16, 0, 9), 0));
	assert_null(lease_restore(&ls, &a, IP(10, 0, 0, 8), 0));
	assert_null(lease_restore(&ls, &a, IP(172, 16, 5, 8), 0));
	assert_non_null(lease_restore(&ls, &a, IP(172, 16, 9, 8), 0));
	assert_null(lease_restore(&ls, &b, IP(172, 16, 9, 8), 0));
	assert_null(lease_restore(&ls, &a, IP(172, 16, 9, 16), 0));
	assert_int_equal(take(&ls, 1, 1000), IP(172, 16, 9, 8));
	/* As long as if its client had just left. */
	assert_non_null(lease_restore(&ls, &b, IP(172, 16, 9, 16), 1000));
	take(&ls, 3, 1000 + SG_VPN_LEASE_KEEP_MS - 1);
	assert_non_null(lease_of(&ls, &b));
	take(&ls, 4, 1000 + SG_VPN_LEASE_KEEP_MS);
	assert_null(lease_of(&ls, &b));
	leases_fini(&ls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restored),
		cmocka_unit_test(go_order_without_its_repeats),
		cmocka_unit_test(a_key_gets_its_block_again_for_ten_minutes),
		cmocka_unit_test(addresses_of_the_client_are_avoided_for_it_alone),
		cmocka_unit_test(networks_of_this_machine_are_left_out),
		cmocka_unit_test(exhaustion_and_pressure),
		cmocka_unit_test(random_comings_and_goings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
