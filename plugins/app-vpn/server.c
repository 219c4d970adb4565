/*
 * The VPN server: any number of clients on one TUN. Who they are is proven by the stream; what they may do is decided
 * here once, at the hello, and for every packet: a client sends from its leased address and nothing else.
 *
 *	stream → hello → white list, passcode → lease → records ⇄ TUN        packets of the TUN find their client by lease
 */
#include "server.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/hex.h"

SG_LOG_TOPIC("vpn");

#define PENDING_MAX  32 /* streams without a lease at once */
#define TUN_RETRY_MS 5000
#define TELLING      110         /* bytes of the line: one segment with nothing but what a client may send */
#define TURN         (64 * 1024) /* bytes that one client is sent before the next has its turn */

static void unready(struct peer *p)
{
	p->s->n_ready -= !sg_list_empty(&p->ready);
	sg_list_remove(&p->ready);
}

/* Ends a session; @close: its stream still lives. */
static void peer_free(struct peer *p, bool close)
{
	struct server *s = p->s;

	sg_timer_stop(&p->deadline);
	sg_list_remove(&p->node);
	unready(p);
	ration_leave(&p->ration);
	if (p->lease) {
		s->n_clients--;
		lease_leave(&s->leases, p->lease, server_now_ms(s));
		kept_left(s, p->lease);
	} else {
		s->n_pending--;
	}
	if (close) {
		if (p->lease)
			out_control(&p->out, SG_VPN_BYE, (struct sg_view){NULL, 0});
		p->stream->ops->close(p->stream);
	}
	records_fini(&p->in);
	out_fini(&p->out);
	sg_free(p->hello);
	sg_free(p);
}

/* ---- packets --------------------------------------------------------------------------------------------------- */

/* Where a client's packet must not go, whatever netd's rules say: to many, to this machine by the pool, to nowhere. */
static bool dest_refused(const struct server *s, uint32_t ip)
{
	uint32_t top = ip >> 24;

	return top >= 224 || top == 127 || top == 0 || leases_in_pool(&s->leases, ip);
}

static void packet_in(struct peer *p, const struct sg_vpn_record *r, struct sg_view packet)
{
	struct vpn_counters *count = &p->s->v->count;

	p->ration.around += (int64_t)out_cost(packet.len);
	if (packet.p[0] >> 4 != 4 || sg_get_u32(packet.p + 12) != lease_client_ip(p->lease)) {
		count->drop_source++;
		return;
	}
	if (dest_refused(p->s, sg_get_u32(packet.p + 16))) {
		count->drop_dest++;
		return;
	}
	p->up_bytes += packet.len;
	count->down_packets++;
	count->down_bytes += packet.len;
	tun_write(p->s->tun, r, packet);
}

static int on_record(void *arg, const struct sg_vpn_record *r, struct sg_view body)
{
	struct peer *p = arg;

	switch (r->kind) {
	case SG_VPN_PACKET:
		packet_in(p, r, body);
		return 0;
	case SG_VPN_PROBE:
		if (body.len <= 64)
			out_control(&p->out, SG_VPN_ANSWER, body);
		return 0;
	case SG_VPN_ANSWER:
		return 0;
	default:
		peer_free(p, true);
		return SG_ECLOSED;
	}
}

static void next_turn(struct peer *p)
{
	int64_t turn = p->s->shaper.rate ? SHAPER_TURN : TURN;

	p->deficit = SG_MIN(p->deficit + turn, turn);
	p->turn = ++p->s->turns;
}

/* It takes turns with the others. What it used too much is remembered, but no longer than it would have taken to wait for it. */
static void ready(struct peer *p)
{
	struct server *s = p->s;

	if (!sg_list_empty(&p->ready))
		return;
	if ((s->turns - p->turn) / SG_MAX(s->n_ready, 1U) * (uint64_t)SHAPER_TURN >
		(uint64_t)SG_MAX(-p->deficit, (int64_t)0))
		p->deficit = 0;
	sg_list_add_tail(&s->ready, &p->ready);
	s->n_ready++;
}

/* Clients take turns by bytes of the line until their streams are full, nothing waits, or all of them sent enough for now. */
static void serve(struct server *s)
{
	while (!sg_list_empty(&s->ready)) {
		struct peer *p = sg_container_of(s->ready.next, struct peer, ready);
		struct sg_mono now = sg_loop_now(s->v->loop);
		int64_t wait_ms = shaper_wait_ms(&s->shaper, now);
		uint64_t before = p->out.cost;
		bool more = true;

		/* Without memory for a timer the next packet is one. */
		if (wait_ms) {
			(void)sg_timer_start(&s->turn, wait_ms);
			return;
		}
		unready(p);
		if (p->deficit <= 0)
			next_turn(p);
		if (p->deficit > 0)
			more = out_pump(&p->out, now, (size_t)p->deficit);
		p->deficit -= (int64_t)(p->out.cost - before);
		shaper_take(&s->shaper, now, p->out.cost - before);
		if (more)
			ready(p);
	}
}

static void on_turn(void *arg)
{
	serve(arg);
}

/* From the TUN to the client that has the address. */
static struct fairq_class *on_tun_packet(void *arg, const struct sg_vpn_record *r, const uint8_t *packet)
{
	struct server *s = arg;
	struct vpn_counters *count = &s->v->count;
	struct lease *l = packet[0] >> 4 == 4 ? lease_find(&s->leases, sg_get_u32(packet + 16)) : NULL;
	struct peer *p = l ? l->holder : NULL;

	if (!p) {
		count->drop_no_client++;
		return NULL;
	}
	p->down_bytes += r->len;
	count->up_packets++;
	count->up_bytes += r->len;
	ready(p);
	return &p->out.waiting;
}

static void on_tun_batch_end(void *arg)
{
	serve(arg);
}

/* ---- what clients may send ------------------------------------------------------------------------------------- */

static bool is_rationed(const struct peer *p)
{
	return p->s->conf.download_kbit && p->lease;
}

static int64_t allow(struct peer *p, size_t more)
{
	const struct sg_stream_ops *ops = p->stream->ops;

	return SG_HAS(ops, allow) && ops->allow ? ops->allow(p->stream, more) : INT64_MIN;
}

static void listen_to(struct peer *p, bool on)
{
	if (p->unheard == on)
		p->stream->ops->want(p->stream, on);
	p->unheard = !on;
}

/* A network that cannot tell its end is not listened to while nothing is left. */
static void tell(struct peer *p)
{
	int64_t left = allow(p, (size_t)p->ration.given);

	p->ration.given = 0;
	if (left == INT64_MIN)
		listen_to(p, p->ration.left > 0);
	else
		p->ration.left = left;
}

static void give(struct server *s)
{
	struct sg_mono now = sg_loop_now(s->v->loop);
	int64_t wait_ms = rations_give(&s->rations, now);

	for (struct ration *r; (r = rations_due(&s->rations));) {
		tell(sg_container_of(r, struct peer, ration));
		shaper_take(&s->shaper, now, TELLING);
	}
	/* Without memory for a timer the next bytes are one. */
	if (wait_ms)
		(void)sg_timer_start(&s->giving, wait_ms);
}

static void on_giving(void *arg)
{
	give(arg);
}

/* From now on it may send only what it is told. */
static void ration(struct peer *p)
{
	struct sg_stream_info info = {.rtt_us = 0};
	int64_t left = allow(p, 0);

	p->stream->ops->info(p->stream, &info, sizeof(info));
	ration_init(&p->ration, left == INT64_MIN ? 0 : left);
	p->ration.rtt_us = info.rtt_us;
	ration_look(&p->s->rations, &p->ration);
}

static void ration_no_more(struct peer *p)
{
	ration_leave(&p->ration);
	if (allow(p, SG_STREAM_ALLOW_ALL) == INT64_MIN)
		listen_to(p, true);
}

/* The owner says another number. */
static void ration_anew(struct server *s, uint64_t before)
{
	shaper_init(&s->rations.shaper, s->conf.download_kbit);
	sg_list_for (it, &s->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (p->lease && !before && s->conf.download_kbit)
			ration(p);
		else if (p->lease && before && !s->conf.download_kbit)
			ration_no_more(p);
	}
	if (s->conf.download_kbit)
		give(s);
	else
		sg_timer_stop(&s->giving);
}

/* ---- the TUN ------------------------------------------------------------------------------------------------------ */

static void tun_ask(struct server *s);

static void close_all(struct server *s)
{
	while (!sg_list_empty(&s->peers))
		peer_free(sg_container_of(s->peers.next, struct peer, node), true);
}

/* Where others look for exits, while it can take whoever comes. */
static void announce(const struct server *s)
{
	bool open = !s->conf.n_allow && !s->conf.passcode[0];

	/* Without memory for that it is found by those who know its key. */
	(void)s->v->host->offer(s->v->inst, "vpn", s->tun && s->conf.announce && open ? SG_VPN_PORT : 0);
}

static void on_tun_gone(void *arg)
{
	struct server *s = arg;

	log_error("server: the device %s was deleted by somebody", s->tun_name);
	close_all(s);
	tun_close(s->tun);
	s->tun = NULL;
	announce(s);
	leases_fini(&s->leases);
	snprintf(s->tun_why, sizeof(s->tun_why), "the device %s was deleted by somebody", s->tun_name);
	/* Another one at once, unless somebody deletes them as fast as they come. */
	if (server_now_ms(s) - s->tun_ms >= TUN_RETRY_MS)
		tun_ask(s);
	else
		sg_timer_start(&s->tun_retry, TUN_RETRY_MS);
}

static const struct tun_user tun_user = {
	.on_packet = on_tun_packet, .on_batch_end = on_tun_batch_end, .on_gone = on_tun_gone};

/* Takes the TUN and lays out the pool around the networks of this machine. */
static int tun_take(struct server *s, const struct sg_tun *tun)
{
	struct net4 busy[SG_ARRAY_LEN(s->leases.busy)];
	int err = tun_open(s->v->loop, tun, s->queue, &s->v->count.drop_kernel, &tun_user, s, &s->tun);

	if (err < 0)
		return err;
	for (size_t i = 0; i < tun->n_busy && i < SG_ARRAY_LEN(busy); i++)
		busy[i] = (struct net4){tun->busy[i].net, tun->busy[i].bits};
	err = leases_init(&s->leases, s->conf.pool, busy, SG_MIN(tun->n_busy, SG_ARRAY_LEN(busy)), s->conf.max_clients);
	if (err < 0) {
		tun_close(s->tun);
		s->tun = NULL;
		return err;
	}
	snprintf(s->tun_name, sizeof(s->tun_name), "%s", tun->name);
	s->tun_why[0] = '\0';
	s->tun_ms = server_now_ms(s);
	kept_load(s);
	tun_resume(s->tun);
	announce(s);
	log_info("server: %u addresses on %s, at most %zu clients%s", s->leases.usable, tun->name, s->conf.max_clients,
		s->conf.n_allow || s->conf.passcode[0] ? "" : ", open to all");
	return 0;
}

static void on_tun(void *arg, int err, const struct sg_tun *tun, const char *why)
{
	struct server *s = arg;

	s->tun_asked = false;
	if (err == 0)
		err = tun_take(s, tun);
	if (s->v->stopping) {
		vpn_idle(s->v);
		return;
	}
	if (err == SG_EFULL)
		why = "every block of the pool overlaps a network of this machine. Choose another  option pool";
	if (err < 0) {
		why = why && *why ? why : sg_strerror(err);
		/* Once for each reason, however long it lasts. */
		if (strncmp(s->tun_why, why, sizeof(s->tun_why) - 1) != 0)
			log_error("server: no TUN device: %s", why);
		snprintf(s->tun_why, sizeof(s->tun_why), "%s", why);
		sg_timer_start(&s->tun_retry, TUN_RETRY_MS);
	}
}

static void tun_ask(struct server *s)
{
	int err;

	s->tun_asked = true;
	err = s->v->host->tun_open(s->v->inst, SG_TUN_SERVER, on_tun, s);
	if (err < 0)
		on_tun(s, err, NULL,
			err == -ENOTSUP ? "skygated runs alone. Start skygate-netd, which starts it" : NULL);
}

static void on_tun_retry(void *arg)
{
	tun_ask(arg);
}

/* ---- the hello ---------------------------------------------------------------------------------------------------- */

static bool key_ok(const struct server_conf *conf, const struct sg_pk *pk)
{
	for (size_t i = 0; i < conf->n_allow; i++) {
		if (sg_pk_equal(&conf->allow[i], pk))
			return true;
	}
	return conf->n_allow == 0;
}

/* The answer to a hello, in the order of the Go server; SG_VPN_OK comes with p->lease. */
static int judge(struct peer *p, const struct sg_vpn_client_hello *h)
{
	struct server *s = p->s;
	enum sg_vpn_status status = sg_vpn_client_hello_status(h, s->conf.passcode);
	struct lease *l;

	if (!key_ok(&s->conf, &p->via.remote))
		return SG_VPN_FORBIDDEN;
	if (status != SG_VPN_OK)
		return status;
	if (!s->tun)
		return SG_VPN_INTERNAL;
	/* Of two sessions of one key the newest counts: the older is one that its client has lost. */
	l = lease_of(&s->leases, &p->via.remote);
	if (l && l->holder)
		peer_free(l->holder, true);
	if (s->n_clients >= s->conf.max_clients ||
		lease_get(&s->leases, &p->via.remote, h->ips, h->n_ips, server_now_ms(s), &p->lease) < 0)
		return SG_VPN_NO_FREE_IPS;
	p->lease->holder = p;
	kept_held(s, p->lease);
	s->n_pending--;
	s->n_clients++;
	s->v->count.clients++;
	return SG_VPN_OK;
}

/* Answers the hello. False: the session is over. */
static bool hello_done(struct peer *p)
{
	struct server *s = p->s;
	struct sg_vpn_client_hello h;
	struct sg_vpn_server_hello answer = {0};
	struct sg_view in = {p->hello->b, p->hello->len};
	char text[1024], pk[SG_PK_SHORT], ip[SG_IP4_TEXT];
	int used = sg_vpn_client_hello_decode(in, &h), len;

	if (used <= 0) {
		log_info_rl(&s->rl_refused, "client %s: its hello is malformed", sg_pk_short(&p->via.remote, pk));
		s->v->count.refused++;
		peer_free(p, true);
		return false;
	}
	answer.status = judge(p, &h);
	sg_wipe(h.passcode, sizeof(h.passcode));
	if (answer.status == SG_VPN_OK) {
		answer.tun_ip = lease_client_ip(p->lease);
		answer.tun_gateway = lease_client_gateway(p->lease);
		answer.rec = p->in.rec = h.rec;
	}
	len = sg_vpn_server_hello_encode(&answer, text, sizeof(text));
	if (len > 0)
		len = out_bytes(&p->out, text, (size_t)len);
	if ((len < 0 && len != -EAGAIN) || answer.status != SG_VPN_OK) {
		log_info_rl(&s->rl_refused, "client %s: refused with status %d", sg_pk_short(&p->via.remote, pk),
			answer.status);
		s->v->count.refused++;
		peer_free(p, true);
		return false;
	}
	p->out.rec = h.rec;
	p->out.parts = h.parts && p->via.records;
	p->out.uso = h.uso;
	p->out.scratch = tun_scratch(s->tun);
	sg_timer_stop(&p->deadline);
	sg_free(p->hello);
	p->hello = NULL;
	if (is_rationed(p))
		ration(p);
	log_info_rl(
		&s->rl_clients, "client %s: %s leased", sg_pk_short(&p->via.remote, pk), sg_ip4_str(answer.tun_ip, ip));
	return true;
}

static void on_data(void *arg, struct sg_view in)
{
	struct peer *p = arg;
	char pk[SG_PK_SHORT];
	size_t used = 0;
	int err;

	if (p->hello) {
		err = sg_vpn_hello_take(p->hello, p->via.records, in, &used);
		if (err == 0)
			return;
		if (err < 0)
			p->hello->len = 0; /* what is empty is malformed */
		if (!hello_done(p))
			return;
	}
	err = records_feed(&p->in, (struct sg_view){in.p + used, in.len - used}, on_record, p);
	if (err < 0 && err != SG_ECLOSED) {
		log_info_rl(&p->s->rl_refused, "client %s: what it sends is no IP packet (%s)",
			sg_pk_short(&p->via.remote, pk), sg_strerror(err));
		peer_free(p, true);
	}
	if (err == 0 && is_rationed(p))
		ration_came(&p->s->rations, &p->ration, sg_loop_now(p->s->v->loop), in.len);
}

static void on_writable(void *arg)
{
	struct peer *p = arg;

	out_resume(&p->out);
	ready(p);
	serve(p->s);
}

static void on_close(void *arg, int err, const char *why)
{
	struct peer *p = arg;
	char pk[SG_PK_SHORT];

	/* Whoever comes and goes without a word is told of no more often than others who are refused. */
	log_info_rl(p->lease ? &p->s->rl_clients : &p->s->rl_refused, "client %s: the connection ended: %s",
		sg_pk_short(&p->via.remote, pk), why && *why ? why : sg_strerror(err));
	peer_free(p, false);
}

static void on_batch_end(void *arg)
{
	struct peer *p = arg;

	records_rest(&p->in);
	if (!is_rationed(p))
		return;
	ration_look(&p->s->rations, &p->ration);
	if (p->ration.left <= 0)
		tell(p);
	give(p->s);
}

static const struct sg_stream_user stream_user = {.size = sizeof(stream_user),
	.on_data = on_data,
	.on_writable = on_writable,
	.on_close = on_close,
	.on_batch_end = on_batch_end};

static void on_deadline(void *arg)
{
	struct peer *p = arg;
	char pk[SG_PK_SHORT];

	log_info_rl(&p->s->rl_refused, "client %s: no hello for %d s", sg_pk_short(&p->via.remote, pk),
		SG_VPN_HELLO_MS / 1000);
	peer_free(p, true);
}

static int on_stream(void *arg, struct sg_stream *stream)
{
	struct server *s = arg;
	struct peer *p;

	if (s->v->stopping || s->n_pending >= PENDING_MAX)
		return SG_EFULL;
	p = sg_calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->hello = sg_calloc(1, sizeof(*p->hello));
	sg_timer_init(&p->deadline, s->v->loop, on_deadline, p);
	if (!p->hello || sg_timer_start(&p->deadline, SG_VPN_HELLO_MS) < 0) {
		sg_free(p->hello);
		sg_free(p);
		return -ENOMEM;
	}
	p->s = s;
	p->stream = stream;
	p->in.bad = &s->v->count.drop_record;
	out_init(&p->out, stream, s->queue, &s->v->count.drop_out);
	sg_list_init(&p->ready);
	ration_init(&p->ration, 0);
	p->since_ms = server_now_ms(s);
	stream->ops->info(stream, &p->via, sizeof(p->via));
	p->in.whole = p->via.records;
	stream->user = &stream_user;
	stream->user_arg = p;
	sg_list_add_tail(&s->peers, &p->node);
	s->n_pending++;
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

/* ---- life --------------------------------------------------------------------------------------------------------- */

int server_start(struct vpn *v, const struct sg_uci_section *section, char *why, size_t why_cap)
{
	struct server *s = sg_calloc(1, sizeof(*s));
	int err = s ? server_conf_read(&s->conf, section, why, why_cap) : -ENOMEM;

	if (err < 0) {
		sg_free(s);
		return err;
	}
	s->v = v;
	s->queue = vpn_queue(v);
	if (!s->queue) {
		server_free(s);
		return -ENOMEM;
	}
	sg_list_init(&s->peers);
	sg_list_init(&s->ready);
	sg_timer_init(&s->tun_retry, v->loop, on_tun_retry, s);
	sg_timer_init(&s->turn, v->loop, on_turn, s);
	sg_timer_init(&s->giving, v->loop, on_giving, s);
	shaper_init(&s->shaper, s->conf.upload_kbit);
	rations_init(&s->rations, s->conf.download_kbit);
	err = v->host->listen(v->inst, SG_VPN_PORT, &listener, s);
	if (err < 0) {
		snprintf(why, why_cap, "port %d: %s", SG_VPN_PORT,
			err == -EADDRINUSE ? "another plugin answers there" : sg_strerror(err));
		server_free(s);
		return err;
	}
	v->server = s;
	tun_ask(s);
	return 0;
}

/* White list and passcode change under way; whoever is not welcome any more leaves. */
int server_reload(struct server *s, const struct sg_uci_section *section)
{
	uint64_t download_kbit = s->conf.download_kbit;
	struct server_conf conf;
	char why[128];

	if (server_conf_read(&conf, section, why, sizeof(why)) < 0)
		return -ENOTSUP; /* the start that follows says it */
	if (conf.pool.net != s->conf.pool.net || conf.pool.bits != s->conf.pool.bits ||
		conf.max_clients != s->conf.max_clients) {
		server_conf_fini(&conf);
		return -ENOTSUP;
	}
	server_conf_fini(&s->conf);
	if (conf.upload_kbit != s->conf.upload_kbit)
		shaper_init(&s->shaper, conf.upload_kbit);
	s->conf = conf;
	announce(s);
	sg_list_for_safe (it, &s->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (!key_ok(&s->conf, &p->via.remote))
			peer_free(p, true);
	}
	serve(s); /* what waits for the rate of before */
	if (download_kbit != s->conf.download_kbit)
		ration_anew(s, download_kbit);
	return 0;
}

bool server_stop(struct server *s)
{
	close_all(s);
	kept_stop(s);
	sg_timer_stop(&s->turn);
	sg_timer_stop(&s->giving);
	sg_timer_stop(&s->tun_retry);
	return !s->tun_asked;
}

void server_free(struct server *s)
{
	tun_close(s->tun);
	fairq_free(s->queue);
	leases_fini(&s->leases);
	server_conf_fini(&s->conf);
	sg_free(s);
}
