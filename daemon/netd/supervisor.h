/*
 * Keeps core running: starts it, listens to its heart, kills it when it hangs, starts it again with growing pauses. How
 * a process is made and killed is passed in, so that tests run on a clock of their own.
 */
#ifndef SG_NETD_SUPERVISOR_H
#define SG_NETD_SUPERVISOR_H

#include "loop/loop.h"

#include <sys/types.h>

struct supervisor_ops {
	int (*spawn)(void *arg, pid_t *pid);
	void (*kill)(void *arg, pid_t pid, int signum);
	void (*gone)(void *arg);    /* core ended, before it is started again */
	void (*stopped)(void *arg); /* after supervisor_stop, once */
};

struct supervisor {
	const struct supervisor_ops *ops;
	void *arg;
	struct sg_loop *loop;
	pid_t pid; /* 0: not running */
	struct sg_mono started, heard;
	int64_t pause_ms; /* before the next start */
	struct sg_timer beat, restart, deadline;
	uint32_t restarts;
	bool stopping;
	bool proven; /* this run had a proven path */
};

void supervisor_init(struct supervisor *s, struct sg_loop *loop, const struct supervisor_ops *ops, void *arg);
void supervisor_fini(struct supervisor *s);
void supervisor_start(struct supervisor *s);
/** supervisor_hurry - starts core now, should it be waiting for that: the configuration may be another one. */
void supervisor_hurry(struct supervisor *s);
/** supervisor_heard - a heartbeat came. */
void supervisor_heard(struct supervisor *s);
/** supervisor_proven - core does its work: a path was proven. Should it end, it is soon back. */
void supervisor_proven(struct supervisor *s);
/** supervisor_ended - the child was reaped; @status as of waitpid. */
void supervisor_ended(struct supervisor *s, int status);
/** supervisor_kill - core cannot be talked to any more. */
void supervisor_kill(struct supervisor *s, const char *why);
/** supervisor_hung_up - core closed its socket; it is killed unless it ends within a second. */
void supervisor_hung_up(struct supervisor *s);
/** supervisor_stop - asks core to end, insists after 5 s; ops->stopped follows. */
void supervisor_stop(struct supervisor *s);

#endif
