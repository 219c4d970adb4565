/* The VPN client from inside: what its files share. */
#ifndef VPN_CLIENT_H
#define VPN_CLIENT_H

#include "loop/loop.h"
#include "out.h"
#include "probe.h"
#include "records.h"
#include "tun.h"
#include "vpn.h"

#include <time.h>

#define EXITS_MAX 16
#define AVOID_MAX 16
#define NETD_MS   5000 /* for an answer of netd */
#define PROVE_MS  500  /* between probes until the path is proven */

enum mode { MODE_OFF, MODE_VPN, MODE_HOST };
enum phase { IDLE, WAIT, TUN, DIAL, HELLO, LEASE, PROVE, UP };

struct exit {
	char name[64];   /* of a peer's section; of a bare key: shortened, for people */
	bool bare;       /* named by its key */
	struct sg_pk pk; /* then */
	bool was_linked; /* when it failed last */
	bool tried;      /* in this round through the list */
};

struct client_conf {
	enum mode mode;
	bool kill_switch;
	unsigned min_hops;
	size_t n_exits, n_targets;
	struct exit exits[EXITS_MAX];
	uint32_t targets[PROBE_TARGETS_MAX];
	char passcode[SG_VPN_PASSCODE_MAX + 1];
};

struct client {
	struct vpn *v;
	struct client_conf conf, file; /* in force; as configured: exit use changes the former */
	enum sg_want want;
	enum phase phase;
	struct sg_timer timer; /* of the phase: deadline, pause, or next look at the probes */

	size_t at; /* the exit in use or to be tried next */
	struct sg_pk exit_pk;
	uint32_t attempts, rounds; /* failures since it was up; rounds through the list that ended */
	int64_t next_try_ms;       /* WAIT: on the loop's clock */
	char why[256];             /* the last failure, a sentence */
	int64_t changed_ms;        /* the state as people see it changed */
	time_t changed_at;

	struct fairq *queue; /* from the TUN to the stream */
	struct tun *tun;
	bool tun_asked, lease_asked; /* netd has not answered yet */
	struct sg_tun info;          /* its fd is the TUN's now */
	uint32_t lease, gateway, lease_in_place;
	uint32_t avoid[AVOID_MAX]; /* leased once, and of no use here */
	size_t n_avoid;

	struct sg_stream *stream;
	struct sg_stream_info via;
	struct sg_vpn_hello_in hello;
	struct records_in in;
	struct out out;
	struct probe probe;
	int64_t next_probe_ms;
	uint64_t up_bytes, down_bytes; /* since it is up */
};

static inline int64_t client_now_ms(const struct client *c)
{
	return sg_loop_now(c->v->loop).ns / SG_NS_PER_MS;
}

static inline const char *client_exit(const struct client *c)
{
	return c->conf.n_exits ? c->conf.exits[c->at].name : "";
}

/* client.c */

/**
 * client_enter - into a phase; @ms is its deadline, 0: none. 0 or -ENOMEM, which only leaving IDLE can give: a timer
 * that is set again keeps its place.
 */
int client_enter(struct client *c, enum phase phase, int64_t ms);
/** client_fail - the attempt or the path failed: on to the next exit. @bye: the stream still lives. */
void client_fail(struct client *c, bool bye, const char *fmt, ...) SG_PRINTF(3, 4);
/** client_go - the next step, once what netd was asked for is there. */
void client_go(struct client *c);

/* session.c: from the dialled stream to its end. */

/** session_begin - takes the stream; says hello. */
void session_begin(struct client *c, struct sg_stream *stream);
/** session_prove - the lease is in place: begins to ask for proof. */
void session_prove(struct client *c);
/** session_avoid - the lease lies in a network of this machine: fails, and the next hello asks for another one. */
void session_avoid(struct client *c);
/** session_tick - PROVE and UP: the next probes, or the end of patience. */
void session_tick(struct client *c);
/** session_end - leaves the stream, if there is one. @bye: it still lives. */
void session_end(struct client *c, bool bye);
extern const struct tun_user session_tun_user;

/* settings.c */

/** client_conf_read - 0, or SG_ECONF with a sentence. */
int client_conf_read(struct client_conf *conf, const struct sg_uci_section *s, char *why, size_t why_cap);
/** client_exit_bare - an exit named by its key. */
void client_exit_bare(struct exit *e, const struct sg_pk *pk);
bool client_conf_same(const struct client_conf *a, const struct client_conf *b);

#endif
