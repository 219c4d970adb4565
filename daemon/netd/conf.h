/*
 * What netd takes from the configuration file, by itself: who core is, what is steered, whether it stays closed. The
 * rest of the file is core's to check. Fixed size: a configuration that netd cannot hold is refused, not cut.
 */
#ifndef SG_NETD_CONF_H
#define SG_NETD_CONF_H

#include "netd/kernel.h"
#include "wire/schema.h"

#include <sys/types.h>

/* Tables below are the system's own; rules must come before those of main, 32766. */
#define NETD_TABLE_MIN    256
#define NETD_PRIORITY_MAX 32000

enum netd_mode { NETD_OFF = 0, NETD_VPN = 1, NETD_HOST = 2 };

struct netd_conf {
	uid_t uid; /* of core, never 0 */
	gid_t gid;
	enum netd_mode mode;
	bool kill_switch;
	char lan[SG_LANS_MAX][IFNAMSIZ];
	size_t n_lans;
	uint32_t table, priority; /* our routing table, the first of our rules */

	bool server;
	char uplink[IFNAMSIZ];
	struct k_prefix pool;
	struct k_prefix allow[SG_ALLOW_NETS_MAX]; /* networks of the exit that clients may reach */
	size_t n_allow;
};

/** netd_conf_init - the defaults: nothing steered, no exit. */
void netd_conf_init(struct netd_conf *c);
/** netd_conf_load - 0; SG_ECONF after each finding went to @report, or -ENOMEM. *out is then not to be used. */
int netd_conf_load(const char *path, sg_uci_report_fn *report, void *arg, struct netd_conf *out);
/** netd_conf_is_lan - whether the device is steered. */
bool netd_conf_is_lan(const struct netd_conf *c, const char *dev);
/** netd_conf_server_addr - the exit's own address on its TUN: the third of the pool, with the pool's length. */
struct k_prefix netd_conf_server_addr(const struct netd_conf *c);

#endif
