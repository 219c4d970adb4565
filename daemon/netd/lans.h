/*
 * LAN interfaces go by name in the configuration. One that is renamed stays what it was: it is followed by its index,
 * over a restart of netd too, until the configuration or an interface that took its name says otherwise.
 */
#ifndef SG_NETD_LANS_H
#define SG_NETD_LANS_H

#include "netd/conf.h"
#include "netd/rundir.h"

struct lans {
	struct lan_seen {
		char name[IFNAMSIZ]; /* of the configuration */
		char now[IFNAMSIZ];  /* as it is called */
		uint32_t index;
	} e[SG_LANS_MAX];
	size_t n;
	bool loaded;
};

/** lans_follow - puts into @conf the names by which its LAN interfaces go now. */
void lans_follow(struct lans *l, const struct rundir *run, const struct k_view *view, struct netd_conf *conf);

#endif
