/*
 * What the tests of carriers share: two visors, each a plugin under a host table whose links and routes are the real ones,
 * and what the tests know of a carrier besides the plugin interface.
 */
#ifndef SG_TESTS_CARRIER_H
#define SG_TESTS_CARRIER_H

#include "base/common.h"
#include "base/err.h"
#include "crypto/keys.h"
#include "fake/host.h"
#include "link/link.h"
#include "route/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum tune { TUNE_NONE, TUNE_OK, TUNE_HOLD };

struct visor {
	struct fake_host *h;
	struct sg_crypto *crypto;
	struct sg_sk sk;
	struct sg_pk pk;
	struct sg_identity id;
	struct sg_links *links;
	struct sg_route *route;
	uint16_t port; /* where it listens */
	bool running;

	/* What the fakes behind its host table noted. */
	uint16_t bound; /* at the address resolver */
	unsigned binds;
	size_t n_servers; /* where others find it, as it told the discovery */
	struct sg_pk servers[8];
	enum tune tune;
	sg_done_fn *tune_fn; /* the last question, not answered */
	void *tune_arg;
	unsigned tuned;

	/* Its end of a stream. */
	struct sg_stream *st;
	uint64_t sent, got;
	unsigned writable;
	bool in_order, ended;
	bool echo; /* sends back what it gets */
	bool deaf; /* nothing may come */
};

#define STRANGERS 4

/* A carrier under test. */
struct carrier {
	const char *name;
	const struct sg_plugin *plugin;
	bool by_key;  /* it finds the other end itself */
	bool relayed; /* by a server; then fake time passes as the loops turn: pauses of its own are no failures */
	bool nowhere; /* nobody can say where a connection came from */
	/* What it asks of its host besides the common part; what both visors need around them. May be NULL. */
	void (*host)(struct sg_host *table);
	void (*around)(bool there);
	/* Others find it now. NULL: at once. */
	bool (*is_found)(const struct visor *v);
	/* As a stranger does it: a connection to this port, below 0: nobody is there. NULL: it has none. */
	int (*call)(uint16_t port);
	/* Without call: a stranger comes to the second visor, in the carrier's own way, and says this. */
	void (*stranger)(size_t i, const void *says, size_t len);
	bool (*stranger_is_cut)(size_t i);
	/* What the carrier has besides the contract. */
	const struct CMUnitTest *tests;
	size_t n_tests;
};

extern const struct carrier carrier_stcp, carrier_stcpr, carrier_dmsg, carrier_unix;

extern const struct carrier *carrier; /* the one that is tested */
extern struct visor visors[2];

#define CARRIER_TEST(name) cmocka_unit_test_setup_teardown(name, visors_setup, visors_teardown)

int visors_setup(void **state);
int visors_teardown(void **state);
struct visor *visor_of(const struct sg_inst *inst);
/** visor_conf - it listens on its port and, @more lines, elsewhere. */
void visor_conf(struct visor *v, const char *more);
/** visor_start - what the plugin's start() returned; the reason in v->h->why. */
int visor_start(struct visor *v);
void visor_stop(struct visor *v);
/** visor_net_new - links and routes, the plugin stays. Free with visor_net_free, which ends them. */
void visor_net_new(struct visor *v);
void visor_net_free(struct visor *v);
/** free_port - of 127.0.0.1 that nobody has now. */
uint16_t free_port(void);

/** turn_until - both loops turn. Real sockets need real time: false after some seconds. */
bool turn_until(bool (*is)(void));
/** dial_peer - @to becomes a peer of @v. */
void dial_peer(struct visor *v, const struct visor *to);
struct sg_peer_state state_of(const struct visor *v, const struct visor *other);
bool both_linked(void);
bool none_linked(void);
bool failed_once(void);
bool first_lost_it(void);
bool all_found(void);
/** link_up - both run, the first has dialled the second. */
void link_up(void);

/** streams_up - a stream from this visor to the other one; both ends count anew. */
void streams_up(struct visor *from);
bool both_have_streams(void);
/** send_up_to - goes on with the pattern up to this many bytes. False: no more is taken now. */
bool send_up_to(struct visor *v, uint64_t total);
/** end_stream - this end closes it. */
void end_stream(struct visor *v);

#endif
