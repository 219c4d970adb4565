/*
 * What the files of net/ share.
 *
 *	net.c          life, configuration           deployment.c   where the services are
 *	service.c      requests to one of them       cache.c        last good answers    keep.c  over a restart
 *	http.c         one request
 *
 *	disc.c         the dmsg discovery            disc_own.c     our own entry there
 *	transports.c   the transport discovery       resolver.c     the address resolver
 *	offers.c       the service discovery         uptime.c       the uptime tracker
 *	routefinder.c  the route finder              listing.c      what keeps a port of ours known to one
 *
 *	serve.c        what we answer                tplog.c        the transport log, which it serves
 *	address.c      which addresses are ours
 */
#ifndef SG_NET_INTERNAL_H
#define SG_NET_INTERNAL_H

#include "base/list.h"
#include "net/cache.h"
#include "net/net.h"
#include "net/serve.h"
#include "net/service.h"
#include "wire/deployment.h"
#include "wire/resolver.h"

#define NET_SERVERS_MAX 64
#define NET_URL_MAX     300
#define NET_VERSION     "skygate-" SG_VERSION

struct resolver;
struct transports;
struct deployment;
struct offers;
struct uptime;

/* Our own entry in the dmsg discovery. */
struct own_entry {
	struct sg_pk servers[16];
	size_t n;
	bool wanted; /* a network asked for it at least once */
	struct sg_timer timer;
	struct http_call *call;
	struct backoff backoff;
	uint64_t sequence;
	uint64_t floor;    /* the next one is not below: it was used, perhaps before a restart */
	uint64_t reserved; /* what the store has */
	bool registered;
	char why[300];
};

struct sg_net {
	struct sg_net_conf conf;
	struct sg_http_client *http;
	struct sg_serve *serve;
	struct tplog *log;
	struct service_env env;
	char public_ip[SG_IP_TEXT]; /* "" when unknown */
	bool public_ip_given;       /* by the configuration */
	struct service *ar, *rf, *tpd, *sd, *ut;
	struct offers *offers;
	struct uptime *uptime;
	struct deployment *deployment;
	struct transports *transports;
	struct cache *cache;
	bool keep_loading;     /* what was kept is put into the cache */
	struct sg_list routes; /* struct net_routes_query */
	size_t n_routes;
	struct resolver *resolver;
	struct sg_timer leave;
	struct sg_mono leaving; /* since then; 0: it stays */
	void (*left)(void *arg);
	void *left_arg;
	size_t n_setup_nodes;
	struct sg_pk setup_nodes[16];

	/* The dmsg discovery. */
	char discovery[NET_URL_MAX];           /* URL, "" when there is none */
	struct sg_pk service_pks[SG_DEPLOYED]; /* of dmsg:// URLs; null: none */
	size_t n_servers;
	struct sg_disc_entry servers[NET_SERVERS_MAX]; /* configured */
	struct sg_list queries;
	enum { DISC_UNTRIED, DISC_UP, DISC_DOWN } disc_state;
	struct sg_mono disc_answered;
	char disc_why[300];
	struct own_entry own;
};

/* ---- disc.c ---- */

#define DISC_PREFIX "/dmsg-discovery"
#define DISC_ASK_MS 10000

void disc_init(struct sg_net *n);
void disc_fini(struct sg_net *n);
/** disc_configure - URL, servers and services are those of @d from now on. */
void disc_configure(struct sg_net *n, const struct sg_deployment *d);
/** disc_heard - of it, for people: how it stands. */
void disc_heard(struct sg_net *n, const struct http_answer *a);
/** disc_server_parse - "KEY@HOST:PORT". 0 or SG_EMALF. */
int disc_server_parse(const struct sg_crypto *c, const char *text, struct sg_disc_entry *out);

/* ---- disc_own.c ---- */

void own_init(struct sg_net *n);
void own_fini(struct sg_net *n);
/** own_moved - another discovery, which does not know us. */
void own_moved(struct sg_net *n);

/* ---- keep.c ---- */

/** keep_start - brings back what was kept, and keeps what comes. */
void keep_start(struct sg_net *n);
void keep_stop(struct sg_net *n);
/** keep_sequence - of our entry: this one was used. */
void keep_sequence(struct sg_net *n, uint64_t used);

/* ---- resolver.c ---- */

/** resolver_new - NULL when memory is out. */
struct resolver *resolver_new(struct sg_net *n);
void resolver_free(struct resolver *r);
/** resolver_moved - its URL or our public address changed: what is bound is bound again. */
void resolver_moved(struct resolver *r);

/** resolver_leave - nothing is bound any more. True once that is so. */
bool resolver_leave(struct resolver *r);

/* ---- routefinder.c ---- */

/** routefinder_fini - ends what is under way; call-backs do not follow. */
void routefinder_fini(struct sg_net *n);

/* ---- transports.c ---- */

/** transports_new - NULL when memory is out. */
struct transports *transports_new(struct sg_net *n);
void transports_free(struct transports *ts);
/** transports_moved - another discovery, or none: it knows nothing of us yet. */
void transports_moved(struct transports *ts);
/** transports_leave - nothing is registered any more. True once that is so. */
bool transports_leave(struct transports *ts);

/* ---- offers.c ---- */

/** offers_new - NULL when memory is out. */
struct offers *offers_new(struct sg_net *n);
void offers_free(struct offers *o);
/** offers_moved - another service discovery, or our public address changed. */
void offers_moved(struct offers *o);
/** offers_leave - nothing is listed any more. True once that is so. */
bool offers_leave(struct offers *o);

/* ---- uptime.c ---- */

/** uptime_new - NULL when memory is out. */
struct uptime *uptime_new(struct sg_net *n);
void uptime_free(struct uptime *u);
/** uptime_moved - another tracker, or none. */
void uptime_moved(struct uptime *u);

/* ---- listing.c ---- */

#define LISTING_PATH_MAX 200
#define LISTING_BODY_MAX SG_MAX(SG_BIND_MAX, SG_OFFER_JSON_MAX)

struct listing;

/* What it is where. */
struct listing_kind {
	const char *listed; /* "bound" */
	/* The request for what is wanted now: its path, and its body, whose length is returned, or a negative code. */
	int (*compose)(const struct listing *l, char path[LISTING_PATH_MAX], char body[LISTING_BODY_MAX]);
	/* Behind "port 7777 of", for people. */
	const char *(*whose)(const struct listing *l);
};

struct listing {
	struct sg_net *n;
	struct service *service;
	const struct listing_kind *kind;
	const char *type;
	uint16_t port;   /* wanted; 0: nothing */
	uint16_t told;   /* what the service has, or had before it failed */
	uint16_t asked;  /* in the request that is under way */
	unsigned denied; /* how often it was to be taken back and was not */
	bool leaving;
	struct sg_timer timer;
	struct service_call *call;
	struct backoff backoff;
	char why[200];
};

/** listing_init - @kind and @type are kept. */
void listing_init(struct listing *l, struct sg_net *n, struct service *service, const struct listing_kind *kind,
	const char *type);
void listing_fini(struct listing *l);
/** listing_set - @port from now on; 0: nothing. 0 or -ENOMEM. */
int listing_set(struct listing *l, uint16_t port);
/** listing_moved - another service, which knows nothing of us, or another address of ours. */
void listing_moved(struct listing *l);
/** listing_leave - nothing from now on. True once the service knows, does not answer, or has been asked often enough. */
bool listing_leave(struct listing *l);

/* ---- deployment.c ---- */

/** deployment_new - NULL when memory is out. */
struct deployment *deployment_new(struct sg_net *n);
void deployment_free(struct deployment *d);
/** deployment_configure - @s may be NULL: no network. net_deployed follows, inside and whenever a source says more. */
void deployment_configure(struct deployment *d, const struct sg_uci_section *s);
/** deployment_kept - what an earlier process learned is in the cache now. */
void deployment_kept(struct deployment *d);
/** deployment_file_why - what is wrong with a file that is to be a source, NULL: nothing. Static. */
const char *deployment_file_why(const struct sg_crypto *c, const char *path, const char *part);
/** deployment_source_ok - a text that can be a source. */
bool deployment_source_ok(const char *source);
/** net_deployed - these services from now on. */
void net_deployed(struct sg_net *n, const struct sg_deployment *d);
/* The public network's description: public.json. */
extern const uint8_t net_public_json[];
extern const size_t net_public_json_len;

/* ---- address.c ---- */

/** address_list - of our interfaces, loopback too, link-local not. Returns how many. */
size_t address_list(char (*out)[SG_IP_TEXT], size_t max);
/** address_public - IPv4 that others can reach: not private, loopback or link-local. */
bool address_public(const char *ip);

#endif
