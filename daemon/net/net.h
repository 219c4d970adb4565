/*
 * The network's directory services, seen by this visor. One object per daemon, on its loop.
 *
 * Configuration: config deployment: URLs of the services, list dmsg_server ('KEY@HOST:PORT'), list setup_node. Servers that
 * are configured are used without any discovery, so that dmsg comes up when nothing answers yet. A service that is down
 * stops nothing: what it answered last is used, and it is asked again with growing pauses.
 */
#ifndef SG_NET_NET_H
#define SG_NET_NET_H

#include "crypto/keys.h"
#include "net/http.h"
#include "store/store.h"
#include "wire/jsonout.h"
#include "wire/routefinder.h"
#include "wire/servicedisc.h"
#include "wire/settle.h"
#include "wire/uci.h"

struct sg_net;

struct sg_net_conf {
	struct sg_loop *loop;           /* kept */
	struct sg_worker *worker;       /* kept: reads long lists; NULL: the loop does */
	const struct sg_crypto *crypto; /* kept */
	struct sg_pk pk;
	struct sg_sk sk;
	const struct store_space *keys; /* kept: where answers and sequences outlive a restart */
};

/** net_new - NULL when memory is out. Free with net_free. */
struct sg_net *net_new(const struct sg_net_conf *conf);
/**
 * net_leave - we are about to end: what is registered of us is taken back as far as services answer. @done once, within
 * about 2 s, never inside the call.
 */
void net_leave(struct sg_net *n, void (*done)(void *arg), void *arg);
/** net_free - call-backs do not follow. Accepts NULL. */
void net_free(struct sg_net *n);
/** net_options - what net/ reads from the configuration. Static. */
const struct sg_option *net_options(void);
/** net_check - what a table cannot say: URLs and servers. Reports; returns the number of findings. */
size_t net_check(const struct sg_crypto *c, const struct sg_uci *doc, sg_uci_report_fn *report, void *arg);
/**
 * net_check_files - the files that it names can be read: what a start only warns of, for they may come later. Reports as
 * net_check does.
 */
size_t net_check_files(const struct sg_crypto *c, const struct sg_uci *doc, sg_uci_report_fn *report, void *arg);
/** net_configure - takes over a checked configuration. */
void net_configure(struct sg_net *n, const struct sg_uci *doc);
/** net_network_set - the plugin that provides a network started (@ops) or stops (NULL). */
void net_network_set(struct sg_net *n, const char *name, const struct sg_network_ops *ops, void *ctx);

/* For network plugins; see struct sg_host. @owner and @arg together name a question for net_disc_cancel. */
int net_disc_entry(struct sg_net *n, const void *owner, const struct sg_pk *pk, sg_disc_fn *fn, void *arg);
int net_disc_servers(struct sg_net *n, const void *owner, sg_disc_fn *fn, void *arg);
/** net_disc_cancel - @any: all questions of the owner, else those with that @arg. Returns how many there were. */
size_t net_disc_cancel(struct sg_net *n, const void *owner, bool any, const void *arg);
/** net_disc_update - the servers where others find us, from now on in our entry; @servers may be NULL when there are none. */
void net_disc_update(struct sg_net *n, const struct sg_pk *servers, size_t count);

/* The address resolver; see struct sg_host. @owner and @arg as above. */
int net_resolve(
	struct sg_net *n, const void *owner, const char *type, const struct sg_pk *pk, sg_resolved_fn *fn, void *arg);
size_t net_resolve_cancel(struct sg_net *n, const void *owner, bool any, const void *arg);
/** net_bind - keeps @port of that carrier bound from now on; 0: not any more. 0, -ENOTSUP or -ENOMEM. */
int net_bind(struct sg_net *n, const char *type, uint16_t port);

/* The route finder. Paths borrowed for the call, shortest first, at least one in each direction when @err is 0. */
struct net_routes_query;
struct net_routes_ask {
	struct sg_pk src, dst;
	uint16_t min_hops, max_hops; /* as it counts them: a direct transport is one hop */
};
/* @err: SG_ENOROUTE, it knows no way; others, it could not be asked. @why: a sentence. */
typedef void net_routes_fn(void *arg, int err, const struct sg_paths *paths, const char *why);
/** net_routes - 0 and *out (for net_routes_cancel; may be NULL). Ends in @fn once, never inside the call, within 5 s. */
int net_routes(struct sg_net *n, const struct net_routes_ask *ask, net_routes_fn *fn, void *arg,
	struct net_routes_query **out);
void net_routes_cancel(struct net_routes_query *q);
/** net_setup_nodes - the configured ones, in the order to ask them. Borrowed until the next net_configure. */
const struct sg_pk *net_setup_nodes(const struct sg_net *n, size_t *count);

/* The transport discovery: links tell what is up; it is registered, kept so, and deleted. */
struct net_transport {
	struct sg_pk remote;
	const char *type;         /* "stcpr" */
	bool dialled;             /* by us: then the other end may be the one to register it */
	struct sg_sig remote_sig; /* it dialled: its signature of the entry */
};
void net_transport_up(struct sg_net *n, const struct net_transport *info);
void net_transport_down(struct sg_net *n, const struct net_transport *info);
/** net_traffic - bytes of payload on a connection of that transport since it is up; @ended: it is not any more. */
void net_traffic(struct sg_net *n, const struct sg_tpid *id, uint64_t recv, uint64_t sent, bool ended);

/* The service discovery. */
struct net_offers_ask {
	const char *type, *version, *country; /* "vpn"; "" for any */
	unsigned quantity;                    /* so many by chance; 0: all */
	bool remembered;                      /* the last answer will do, if there is one */
	size_t from, most;                    /* of the list only this part; most 0: all of it */
};
struct net_offers_query;
/* Borrowed for the call. @err 0 with a sentence in @why: the service does not answer, this is what it said last. */
typedef void net_offers_fn(void *arg, int err, const struct sg_offer *offers, size_t n, const char *why);
/** net_offers - 0 and *out (for net_offers_cancel; may be NULL), SG_EMALF: no such value. Ends in @fn once, never inside. */
int net_offers(struct sg_net *n, const struct net_offers_ask *ask, net_offers_fn *fn, void *arg,
	struct net_offers_query **out);
/** net_offers_known - those of @type that are remembered from the last answer: @fn for each. */
void net_offers_known(struct sg_net *n, const char *type, void (*fn)(void *arg, const struct sg_pk *pk), void *arg);
void net_offers_cancel(struct net_offers_query *q);
/** net_offer - lists @port of ours as "vpn" or "visor" from now on; 0: not any more. 0, -ENOTSUP or -ENOMEM. */
int net_offer(struct sg_net *n, const char *type, uint16_t port);
/** net_seen_at - others see our connections come from there; unless the configuration says another address, that is ours. */
void net_seen_at(struct sg_net *n, const struct sg_addr *addr);
/** net_services - puts [{"name", "url", "state": none, up, down or not asked yet, "answer_ms_ago", "reason"}]. */
void net_services(const struct sg_net *n, struct sg_json_out *out, const char *name);

/** net_status - how it stands with each service. Returns new; NULL when memory is out. */
json_t *net_status(const struct sg_net *n);

#endif
