/* The VPN server from inside: what its files share. */
#ifndef VPN_SERVER_H
#define VPN_SERVER_H

#include "base/log.h"
#include "lease.h"
#include "loop/loop.h"
#include "out.h"
#include "rations.h"
#include "records.h"
#include "shaper.h"
#include "tun.h"
#include "vpn.h"

struct peer {
	struct sg_list node;
	struct server *s;
	struct sg_stream *stream;
	struct sg_stream_info via;
	struct sg_timer deadline;      /* of the hello */
	struct sg_vpn_hello_in *hello; /* NULL once it is done */
	struct lease *lease;           /* NULL before that */
	struct records_in in;
	struct out out;
	struct sg_list ready; /* of those who have packets and a stream that takes them */
	int64_t deficit;      /* bytes of the line that are left of its turn; below 0: it has used more */
	uint32_t turn;        /* the number of its last one */
	struct ration ration; /* what it may send */
	bool unheard;         /* the stream is not listened to, for nothing is left of that */
	int64_t since_ms;
	uint64_t up_bytes, down_bytes; /* from it, to it */
};

struct server_conf {
	struct net4 pool;
	bool announce;
	size_t max_clients, n_allow;
	uint64_t upload_kbit;   /* that the line toward the clients takes; 0: unknown */
	uint64_t download_kbit; /* that it brings from them */
	struct sg_pk *allow;
	char passcode[SG_VPN_PASSCODE_MAX + 1];
};

struct server {
	struct vpn *v;
	struct server_conf conf;
	struct fairq *queue; /* from the TUN to the streams */
	struct tun *tun;     /* NULL: netd has not given one yet */
	bool tun_asked;
	int64_t tun_ms; /* when it came */
	struct sg_timer tun_retry;
	char tun_why[160];
	char tun_name[16];
	struct leases leases; /* from when the TUN is there: it tells which networks are taken */
	struct sg_list peers, ready;
	struct shaper shaper;
	struct sg_timer turn; /* until the shaper lets something through */
	uint32_t n_ready, turns;
	struct rations rations;
	struct sg_timer giving; /* until the next turn of what clients may send */
	size_t n_pending, n_clients;
	struct sg_log_limit rl_refused, rl_clients;
};

static inline int64_t server_now_ms(const struct server *s)
{
	return sg_loop_now(s->v->loop).ns / SG_NS_PER_MS;
}

/* kept.c */

/** kept_load - leases of before the start, once there is a TUN. */
void kept_load(struct server *s);
void kept_stop(struct server *s);
/** kept_held, kept_left - a client came, or left: its lease outlives a restart. */
void kept_held(struct server *s, const struct lease *l);
void kept_left(struct server *s, const struct lease *l);

/* settings.c */

/** server_conf_read - 0, -ENOMEM, or SG_ECONF with a sentence. Free with server_conf_fini. */
int server_conf_read(struct server_conf *conf, const struct sg_uci_section *s, char *why, size_t why_cap);
void server_conf_fini(struct server_conf *conf);

#endif
