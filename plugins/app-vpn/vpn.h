/* The two halves of the plugin and what they share. Each half exists when the configuration has its section. */
#ifndef VPN_VPN_H
#define VPN_VPN_H

#include "base/err.h"
#include "fairq.h"
#include "wire/uci.h"
#include "wire/vpn.h"
#include <jansson.h>
#include <skygate/plugin.h>

#define VPN_COUNTERS(X)                                                                                                \
	X(up_packets, "vpn.up.packets", "packets (of up to 64 KiB) from this machine's TUN into a tunnel")             \
	X(up_bytes, "vpn.up.bytes", "their bytes")                                                                     \
	X(down_packets, "vpn.down.packets", "packets out of a tunnel into this machine's TUN")                         \
	X(down_bytes, "vpn.down.bytes", "their bytes")                                                                 \
	X(dials, "vpn.dials", "attempts to reach an exit")                                                             \
	X(dial_failed, "vpn.dial_failed", "of these, failed before a path was proven")                                 \
	X(lost, "vpn.lost", "proven paths that were lost")                                                             \
	X(probes, "vpn.probes", "probes sent")                                                                         \
	X(probes_answered, "vpn.probes_answered", "answers to them")                                                   \
	X(clients, "vpn.clients", "clients that were given a lease")                                                   \
	X(refused, "vpn.refused", "clients that were refused")                                                         \
	X(drop_record, "vpn.drop.record", "records dropped: a field contradicts the packet")                           \
	X(drop_source, "vpn.drop.source", "packets dropped: the inner source is not the leased address")               \
	X(drop_dest, "vpn.drop.dest", "packets dropped: the inner destination is not allowed")                         \
	X(drop_no_client, "vpn.drop.no_client", "packets dropped: no client has that address")                         \
	X(drop_out, "vpn.drop.out", "records dropped: too long for the stream, or too many probes wait")               \
	X(drop_unproven, "vpn.drop.unproven", "packets dropped: the path is not proven")                               \
	X(drop_kernel, "vpn.drop.kernel",                                                                              \
		"packets dropped: the kernel refused them, or brought what no record describes")

/* Of struct fairq_count. */
#define VPN_QUEUE_COUNTERS(X)                                                                                          \
	X(full, "vpn.drop.queue", "packets dropped: the queue is full; those of its longest flow")                     \
	X(late, "vpn.drop.late", "packets dropped: their flow waits too long, its sender should slow down")            \
	X(stale, "vpn.drop.stale", "packets dropped: they waited for seconds")                                         \
	X(marked, "vpn.marked", "packets that told their receiver so without a loss (ECN)")                            \
	X(wait[0], "vpn.wait.1ms", "packets that waited for less than 1 ms before their stream")                       \
	X(wait[1], "vpn.wait.5ms", "packets that waited for 1 ms or more, less than 5 ms")                             \
	X(wait[2], "vpn.wait.20ms", "packets that waited for 5 ms or more, less than 20 ms")                           \
	X(wait[3], "vpn.wait.100ms", "packets that waited for 20 ms or more, less than 100 ms")                        \
	X(wait[4], "vpn.wait.more", "packets that waited for 100 ms or more")

struct vpn_counters {
#define VPN_COUNTER_MEMBER(member, name, help) uint64_t member;
	VPN_COUNTERS(VPN_COUNTER_MEMBER)
#undef VPN_COUNTER_MEMBER
};

/* The ctx of the plugin. */
struct vpn {
	const struct sg_host *host;
	struct sg_inst *inst;
	struct sg_loop *loop;
	struct vpn_counters count; /* offsets of the descriptor's counters count from the front of struct vpn */
	struct fairq_count queue_count;
	struct client *client; /* NULL: no section vpn_client */
	struct server *server; /* NULL: no section vpn_server */
	bool stopping;
};

/** vpn_queue - a fair queue of the configured size. Returns new; NULL when memory is out. */
struct fairq *vpn_queue(struct vpn *v);
/** vpn_idle - a half has nothing in flight any more; ends stop() when that holds for both. */
void vpn_idle(struct vpn *v);

/* client.c. start: 0 or a negative code with a sentence. stop: true when nothing is in flight, else vpn_idle follows. */
int client_start(struct vpn *v, const struct sg_uci_section *s, char *why, size_t why_cap);
int client_reload(struct client *c, const struct sg_uci_section *s);
bool client_stop(struct client *c);
void client_free(struct client *c);
/** client_want - the owner's word: SG_WANT_VPN connects, the others disconnect. 0 or a negative code. */
int client_want(struct client *c, enum sg_want want);
/** client_use - leaves at @pk and nowhere else, until the next start. 0, or SG_ESTATE: there is no VPN to be asked for. */
int client_use(struct client *c, const struct sg_pk *pk);
/** client_status - adds the client's members to @out. 0 or -ENOMEM. */
int client_status(const struct client *c, json_t *out);

/* server.c, likewise. */
int server_start(struct vpn *v, const struct sg_uci_section *section, char *why, size_t why_cap);
int server_reload(struct server *s, const struct sg_uci_section *section);
bool server_stop(struct server *s);
void server_free(struct server *s);
/** server_status - returns new; NULL when memory is out. */
json_t *server_status(const struct server *s);

#endif
