/*
 * The run directory (/run/skygate) and netd's own files in it: who runs, the owner's word that all is to stay open, the
 * sysctls as they were. core makes its control socket in it, so it is writable by core's group and sticky; what core
 * may have put there under our names is not believed (see rundir_read).
 *
 *	netd.lock   held while netd runs; its process id
 *	apply.lock  held from reading the owner's word until the rules are as it says, so that --arm, --disarm and a living
 *	            netd do not mix
 *	disarmed    present: do not arm
 *	saved       original sysctls
 *	lans        index of each LAN interface
 */
#ifndef SG_NETD_RUNDIR_H
#define SG_NETD_RUNDIR_H

#include "base/common.h"

#include <sys/types.h>

struct rundir {
	int fd;      /* of the directory; -1: not open */
	int lock_fd; /* netd.lock, -1: not held */
	uid_t owner; /* of the directory */
	char path[256];
};

/** rundir_open - creates what is missing; @core_gid is its group. On an error @why holds a sentence. */
int rundir_open(struct rundir *r, const char *path, gid_t core_gid, char *why, size_t cap);
void rundir_close(struct rundir *r);

/** rundir_lock - there can be one netd. -EEXIST and its process id, or another negative errno. */
int rundir_lock(struct rundir *r, pid_t *holder);
/** rundir_holder - the process id of the living netd, 0: none. */
pid_t rundir_holder(struct rundir *r);

bool rundir_disarmed(const struct rundir *r);
int rundir_set_disarmed(struct rundir *r, bool disarmed);
/** rundir_disarm_next - the living netd has to be ended: the next one shall start disarmed, once. 0 or a negative errno. */
int rundir_disarm_next(const struct rundir *r);
/** rundir_started - a netd starts: armed again, unless rundir_disarm_next says otherwise. 0 or a negative errno. */
int rundir_started(struct rundir *r);

/** rundir_apply_lock - waits at most 2 s, then goes on without: a stopped process must not keep --disarm from its work. */
int rundir_apply_lock(const struct rundir *r);
void rundir_apply_unlock(int lock);

/** rundir_read - the whole text of a file of ours; -ENOENT, -EPERM when it is not ours, -E2BIG. */
int rundir_read(const struct rundir *r, const char *name, char *out, size_t cap);
/** rundir_write - the file in one piece, or as it was. */
int rundir_write(const struct rundir *r, const char *name, const char *text);
int rundir_remove(const struct rundir *r, const char *name);

#endif
