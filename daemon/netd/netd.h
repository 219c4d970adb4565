/* The parts of netd together: one object, passed to each of them. */
#ifndef SG_NETD_NETD_H
#define SG_NETD_NETD_H

#include "netd/apply.h"
#include "netd/conf.h"
#include "netd/kernel.h"
#include "netd/rundir.h"
#include "netd/state.h"
#include "netd/supervisor.h"
#include "base/log.h"

#define NETD_WHY 512 /* bytes of a sentence */

/* As given on the command line; strings are borrowed from there. */
struct netd_options {
	const char *config, *run, *state, *plugins; /* plugins: NULL, core's default */
	const char *core;                           /* path of skygated */
};

struct session {
	int fd; /* our end of the socketpair, -1: none */
	struct sg_watch *watch;
	unsigned malformed;
	struct {
		struct sg_mono since;
		unsigned used;
	} rate[8]; /* by type of message */
	struct sg_log_limit rl_malformed, rl_rate, rl_send;
};

struct netd {
	struct sg_loop *loop;  /* borrowed */
	struct kernel *kernel; /* borrowed */
	struct netd_options opt;
	struct rundir *run; /* borrowed */
	struct netd_conf conf;
	struct netd_state state;
	enum netd_word word; /* as applied last */
	struct applier applier;
	struct session session;
	struct supervisor supervisor;
	int tun[2]; /* by role: our duplicate, -1: none */
	bool tun_offload[2];
	struct sg_watch *events[K_EVENT_FDS];
	struct sg_timer again;     /* refusals, a failed apply */
	struct sg_timer settle;    /* events are looked at together */
	unsigned changed;          /* enum k_changed, since the last look */
	struct sg_mono nft_looked; /* when the ruleset was last looked at because of an event */
};

/* netd.c */

/**
 * netd_init - copies conf, keeps run; nothing is changed in the kernel yet. 0 or a negative code; on an error
 * netd_fini still is to be called.
 */
int netd_init(struct netd *n, struct sg_loop *loop, struct kernel *kernel, const struct netd_options *opt,
	const struct netd_conf *conf, struct rundir *run);
void netd_fini(struct netd *n);
/** netd_reconcile - the kernel as state and configuration want it now. 0 or the first error (it is tried again). */
int netd_reconcile(struct netd *n);
/** netd_reload - reads the configuration again; when it is not valid nothing changes and @why says why. */
int netd_reload(struct netd *n, char *why, size_t cap);
/** netd_look_again - the disarmed file may have changed. */
void netd_look_again(struct netd *n);
/** netd_stopping - core has ended: leaves the rules as the kill switch says, and says how to open. */
void netd_stopping(struct netd *n);

/* tun.c */

/** netd_tun_open - the device for a role, filled for the answer; *pass is a duplicate for core, to be closed. */
int netd_tun_open(struct netd *n, uint8_t role, struct sg_tun *tun, int *pass, char *why, size_t cap);
/**
 * netd_tun_settle - opens the devices that the configuration needs before core asks: what is missing (a kernel module,
 * a right) is then said where the owner looks first. A failure is no end; core asks again. Lets go of those that it
 * does not need any more.
 */
void netd_tun_settle(struct netd *n);
/** netd_lease_ok - whether an address that an exit leased can be ours. */
int netd_lease_ok(struct netd *n, uint32_t address, char *why, size_t cap);
/** netd_pool_ok - whether the pool of leases clashes with a network of this machine. */
int netd_pool_ok(struct kernel *k, const struct netd_conf *conf, char *why, size_t cap);

/* session.c */

/** session_open - takes @fd. 0 or a negative errno (then it is closed). */
int session_open(struct netd *n, int fd);
void session_close(struct netd *n);
/** session_changed - tells core; enum k_changed. */
void session_changed(struct netd *n, unsigned what);

/* spawn.c */

/** spawn_core - starts skygated as the configured user; *sock is our end of its socketpair. */
int spawn_core(const struct netd_options *opt, const struct netd_conf *conf, pid_t *pid, int *sock);

/* privilege.c */

/** privilege_check - what we need is there; otherwise a sentence. */
int privilege_check(char *why, size_t cap);
/**
 * privilege_follow - for root that comes to the run directory of a netd with a user of its own: becomes that user and
 * keeps what privilege_check asks for. As root its files would be foreign to that netd, and that netd's to us. Does
 * nothing for others, or when the directory is root's or not there yet.
 */
int privilege_follow(const char *run, char *why, size_t cap);
/** privilege_reduce - keeps NET_ADMIN, SETUID, SETGID, KILL and nothing else. */
int privilege_reduce(char *why, size_t cap);
/** privilege_none - of a child, after its change of user. */
int privilege_none(void);

#endif
