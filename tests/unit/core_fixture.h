/*
 * A skygated in a process of its own with plugins of the test, in a directory of its own, and a line to its control
 * socket.
 */
#ifndef SG_TESTS_CORE_FIXTURE_H
#define SG_TESTS_CORE_FIXTURE_H

#include "core/core.h"

#include <sys/types.h>

struct fixture {
	char dir[64], config[96], socket[96], identity[96];
	pid_t pid; /* of the daemon; 0: none */
	int netd;  /* the daemon's end of a line to netd, for fixture_start; -1: none */
	int ours;  /* the other end of it, which the daemon must not hold open; -1: none */
	char buf[1 << 20];
	size_t len;
};

/** fixture_new - directory with a key; @conf is the rest of the configuration behind section visor's plugins. */
struct fixture *fixture_new(void);
void fixture_free(struct fixture *f);
/** fixture_conf - writes the configuration: @visor is added to section visor, @rest behind it. */
void fixture_conf(struct fixture *f, const char *visor, const char *rest);
/** fixture_options - as the daemon gets them. */
struct core_options fixture_options(const struct fixture *f);
/** fixture_start - a daemon in a child, up when this returns. */
void fixture_start(struct fixture *f);
/** fixture_stop - SIGTERM; its exit status. */
int fixture_stop(struct fixture *f);
/** fixture_wait - for its own end; its exit status. */
int fixture_wait(struct fixture *f);
/** fixture_connect - to the control socket; ends the test when that fails. */
int fixture_connect(const struct fixture *f);
/** fixture_send - bytes as they are. */
void fixture_send(int fd, const char *bytes);
/** fixture_line - the next line without its newline, borrowed until the next call; NULL: closed. 10 s at most. */
const char *fixture_line(struct fixture *f, int fd);
/** fixture_ask - one request on a connection of its own; its answer (new). */
json_t *fixture_ask(struct fixture *f, const char *method, const char *params);

/* Plugins of the test: "alpha" and "beta" are apps with sections of their name. */
extern const struct sg_plugin *const fixture_plugins[];

#endif
