/*
 * Makes the kernel as wanted, by comparing: what is missing is added, what is ours and no longer wanted is removed, the
 * ruleset is replaced as a whole. Doing it twice changes nothing, so the same call arms, restores what somebody else
 * removed, and disarms.
 */
#ifndef SG_NETD_APPLY_H
#define SG_NETD_APPLY_H

#include "base/log.h"
#include "netd/lans.h"
#include "netd/saved.h"

struct applier {
	struct kernel *kernel; /* borrowed */
	struct rundir *run;    /* borrowed */
	struct lans lans;
	char *text;            /* the ruleset as handed over last, NULL: none */
	char *seen;            /* as the kernel listed it afterwards */
	uint32_t gen;          /* of the kernel's ruleset when it was as in @seen */
	bool guards;           /* whether the guard's table is wanted: of who stays, for it goes with its process */
	char *guard;           /* its text as tried last, NULL: none */
	unsigned guard_tries;  /* of that text, refused so often; 0: it stands */
	struct netd_gate gate; /* of the last call */
	bool settled;          /* the last call ended well: what differs next time was changed by somebody else */
	struct sg_log_limit rl_table, rl_rules;
	struct k_counts base, last; /* of tables that are gone, of the one that is there */
};

void applier_init(struct applier *a, struct kernel *kernel, struct rundir *run);
void applier_fini(struct applier *a);

/**
 * applier_apply - 0: table, rules, routes, addresses and sysctls were read back or written just now. A negative code:
 * the first thing that failed; the rest was done. It never opens what was closed because of an error: the ruleset goes
 * in first, and an old one stays when the new one is refused. The caller holds rundir_apply_lock since it made @gate.
 */
int applier_apply(struct applier *a, const struct netd_conf *given, const struct netd_gate *gate);

/** applier_counts - since netd started. */
struct k_counts applier_counts(struct applier *a);

/** applier_found - whether rules of ours are in the kernel already. */
bool applier_found(struct kernel *k);

#endif
