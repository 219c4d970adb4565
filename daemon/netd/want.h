/*
 * What the kernel shall hold: a pure function of configuration, state and what is there. apply.c makes it so, by
 * comparing; nothing else changes the kernel.
 */
#ifndef SG_NETD_WANT_H
#define SG_NETD_WANT_H

#include "netd/kernel.h"
#include "netd/state.h"

/* Prefixes none of which lies within another. */
struct nets {
	struct k_prefix *p;
	size_t n;
};

#define WANT_MTU_PROBING "net/ipv4/tcp_mtu_probing"
#define WANT_TCP_RETRIES "net/ipv4/tcp_retries1"

struct want_sysctl {
	char key[72], value[4];
	bool ours;     /* of a device of ours: nothing to put back */
	bool at_least; /* a higher number is as good: what the owner set stays */
};

struct want {
	struct k_rule *rules;
	struct k_route *routes;
	struct k_addr *addrs; /* of sky0 and skyx0 */
	struct want_sysctl *sysctls;
	size_t n_rules, n_routes, n_addrs, n_sysctls;
	char *nft;      /* NULL: no table */
	char *guard;    /* likewise: the table that others cannot flush */
	uint32_t steer; /* priority of the rules that steer */

	struct nets lan[SG_LANS_MAX];    /* by device, as in the configuration */
	struct nets lans;                /* all of them */
	uint32_t lan_index[SG_LANS_MAX]; /* likewise, 0: not there */
	struct nets own;                 /* of this machine, its uplink's too, our TUNs left out */
};

/** want_build - 0 or -ENOMEM (then *out is empty). Free with want_fini. */
int want_build(const struct netd_conf *conf, const struct netd_gate *gate, const struct k_view *view, struct want *out);
void want_fini(struct want *w);

/** nets_add - keeps the set free of overlaps. */
int nets_add(struct nets *set, const struct k_prefix *p);

/**
 * ruleset_build - the table as one transaction for nft, from @w's networks. Returns new in *out (sg_free), NULL when
 * there is nothing to say. 0, -ENOMEM, -E2BIG.
 */
int ruleset_build(const struct netd_conf *conf, const struct netd_gate *gate, const struct want *w, char **out);
/** guard_build - the same of the guard's table, NULL unless steered. */
int guard_build(const struct netd_conf *conf, const struct netd_gate *gate, const struct want *w, char **out);

#endif
