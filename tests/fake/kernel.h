/* A kernel in memory, behind the same calls as the real one (daemon/netd/kernel.h), and what tests do to it. */
#ifndef SG_TESTS_FAKE_KERNEL_H
#define SG_TESTS_FAKE_KERNEL_H

#include "netd/kernel.h"

#define FAKE_SYSCTLS 128

struct kernel {
	struct k_view view;
	char *nft;   /* the table as handed over; NULL: not there */
	char *guard; /* the table that others cannot flush, likewise */
	bool guard_refused;
	unsigned guard_asked; /* in vain */
	uint32_t gen;
	struct k_counts counts; /* of the table */
	struct {
		char key[80], value[8];
	} sysctls[FAKE_SYSCTLS];
	size_t n_sysctls;
	int events[K_EVENT_FDS][2]; /* pipes */
	unsigned pending[K_EVENT_FDS];
	unsigned flushes, tuned, changes; /* how often */
	bool flushed_all;
	unsigned fail_at; /* the n-th change from now fails with -EIO; 0: none */
	int tun_error;    /* of the next opening */
	int tun_far[2];   /* what the kernel holds of the two TUNs, -1: not open */
};

struct kernel *fake_kernel_new(void);
void fake_kernel_free(struct kernel *k);
/** fake_link - adds an interface that is up; returns its index. */
uint32_t fake_link(struct kernel *k, const char *name);
/** fake_addr - "192.0.2.1" with a length. */
void fake_addr(struct kernel *k, const char *dev, const char *address, unsigned bits);
void fake_sysctl(struct kernel *k, const char *key, const char *value);
const char *fake_sysctl_get(const struct kernel *k, const char *key);
/** fake_event - wakes whoever watches. */
void fake_event(struct kernel *k, size_t which, unsigned changed);
/** fake_nft_flush - somebody else's  nft flush ruleset. */
void fake_nft_flush(struct kernel *k);

/** fake_remove_dir - a test's own directory with its files. 0 or -1. */
int fake_remove_dir(const char *path);

#endif
