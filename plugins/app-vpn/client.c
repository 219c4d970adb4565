/*
 * The VPN client: reaches an exit, gets a lease, proves the path, then lets traffic through.
 *
 *	IDLE → TUN → DIAL → HELLO → LEASE → PROVE → UP         off or armed: IDLE
 *	        ↑ WAIT ←───────── any failure ←──────┘         blocking: all between; connected: UP
 *
 * A failure goes on to the next exit of the list; after each round through the list it waits longer. Nothing passes
 * before UP, which a hello alone does not reach: what lies beyond the exit has to answer.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/hex.h"
#include "base/log.h"
#include "crypto/crypto.h"
#include "loop/loop.h"
#include "out.h"
#include "probe.h"
#include "records.h"
#include "tun.h"
#include "vpn.h"

#include <inttypes.h>
#include <time.h>

SG_LOG_TOPIC("vpn");

#define EXITS_MAX      16
#define AVOID_MAX      16
#define WAIT_STEP_MS   200  /* while waiting: how soon a link that came up is noticed */
#define NETD_MS        5000 /* for an answer of netd */
#define PROVE_MS       500  /* between probes until the path is proven */
#define OUT_WAITING    (128 * 1024)
#define PRIVATE_IP(ip) ((ip) >> 24 == 10 || (ip) >> 20 == 0xac1 || (ip) >> 16 == 0xc0a8)

enum mode { MODE_OFF, MODE_VPN, MODE_HOST };
enum phase { IDLE, WAIT, TUN, DIAL, HELLO, LEASE, PROVE, UP };

struct exit {
	char name[64];
	bool was_linked; /* when it failed last */
};

struct client_conf {
	enum mode mode;
	bool kill_switch;
	size_t n_exits, n_targets;
	struct exit exits[EXITS_MAX];
	uint32_t targets[PROBE_TARGETS_MAX];
	char passcode[SG_VPN_PASSCODE_MAX + 1];
};

struct client {
	struct vpn *v;
	struct client_conf conf;
	enum sg_want want;
	enum phase phase;
	struct sg_timer timer; /* of the phase: deadline, pause, or next look at the probes */

	size_t at; /* the exit in use or to be tried next */
	struct sg_pk exit_pk;
	uint32_t attempts;   /* failures since it was up */
	int64_t next_try_ms; /* WAIT: on the loop's clock */
	char why[256];       /* the last failure, a sentence */
	int64_t changed_ms;  /* the state as people see it changed */
	time_t changed_at;

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

static void client_go(struct client *c);

static int64_t now_ms(const struct client *c)
{
	return sg_loop_now(c->v->loop).ns / SG_NS_PER_MS;
}

static const char *exit_name(const struct client *c)
{
	return c->conf.n_exits ? c->conf.exits[c->at].name : "";
}

static const char *state_word(const struct client *c)
{
	if (c->conf.mode == MODE_OFF)
		return "off";
	if (c->want == SG_WANT_OPEN)
		return "off";
	return c->want == SG_WANT_NOT ? "armed" : c->phase == UP ? "connected" : "blocking";
}

/*
 * Enters a phase; @ms is its deadline, 0: none. 0 or -ENOMEM, which only leaving IDLE can give: a timer that is set
 * again keeps its place.
 */
static int enter(struct client *c, enum phase phase, int64_t ms)
{
	if ((phase == UP) != (c->phase == UP) || (phase == IDLE) != (c->phase == IDLE)) {
		c->changed_ms = now_ms(c);
		c->changed_at = time(NULL);
	}
	c->phase = phase;
	if (ms)
		return sg_timer_start(&c->timer, ms);
	sg_timer_stop(&c->timer);
	return 0;
}

/* Leaves the stream, if there is one; @bye: it still lives. */
static void disconnect(struct client *c, bool bye)
{
	struct sg_stream *stream = c->stream;

	if (c->phase == DIAL)
		c->v->host->dial_cancel(c->v->inst, c);
	if (c->tun)
		tun_pause(c->tun);
	if (c->phase == UP)
		c->v->host->path_set(c->v->inst, false);
	c->stream = NULL;
	if (stream && bye) {
		if (c->phase > HELLO)
			out_control(&c->out, SG_VPN_BYE, (struct sg_view){NULL, 0});
		stream->ops->close(stream);
	}
	records_fini(&c->in);
	out_fini(&c->out);
	memset(&c->in, 0, sizeof(c->in));
	memset(&c->out, 0, sizeof(c->out));
	c->hello.len = 0;
}

/* The attempt or the path failed: on to the next exit, at once or after a pause that grows from round to round. */
static void fail(struct client *c, bool bye, const char *fmt, ...) SG_PRINTF(3, 4);
static void fail(struct client *c, bool bye, const char *fmt, ...)
{
	struct sg_peer_state peer;
	struct exit *e = &c->conf.exits[c->at];
	uint32_t round = ++c->attempts / (uint32_t)c->conf.n_exits, jitter;
	int64_t pause = 1;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	log_warn("%s", c->why);
	c->v->count.dial_failed += c->phase != UP;
	c->v->count.lost += c->phase == UP;
	e->was_linked = c->v->host->peer_state(c->v->inst, &c->exit_pk, &peer) == 0 && peer.linked;
	disconnect(c, bye);
	c->at = (c->at + 1) % c->conf.n_exits;
	if (c->attempts % c->conf.n_exits == 0) {
		/* Up to a quarter less, so that the clients of an exit that restarts do not return as one. */
		sg_random_system()->fill(sg_random_system(), &jitter, sizeof(jitter));
		pause = SG_MIN((int64_t)SG_DIAL_BACKOFF_MIN_MS << SG_MIN(round - 1, 8U), SG_DIAL_BACKOFF_MAX_MS);
		pause -= jitter % (pause / 4);
	}
	c->next_try_ms = now_ms(c) + pause;
	enter(c, WAIT, SG_MIN(pause, WAIT_STEP_MS));
}

/* ---- the tunnel ------------------------------------------------------------------------------------------------ */

static void proven(struct client *c)
{
	char ip[SG_IP4_TEXT];

	log_info("exit %s: connected by %s %s, lease %s, %" PRId64 " ms", exit_name(c), c->via.network, c->via.carrier,
		sg_ip4_str(c->lease, ip), c->probe.rtt_ms);
	c->attempts = 0;
	c->up_bytes = c->down_bytes = 0;
	c->why[0] = '\0';
	enter(c, UP, PROVE_MS);
	c->v->host->path_set(c->v->inst, true);
	if (!c->out.blocked)
		tun_resume(c->tun);
}

static void send_probes(struct client *c)
{
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET, .len = PROBE_ICMP};
	uint8_t body[PROBE_BODY], echo[PROBE_ICMP];

	probe_round(&c->probe, now_ms(c), body);
	if (c->probe.want_record)
		out_control(&c->out, SG_VPN_PROBE, (struct sg_view){body, sizeof(body)});
	for (size_t i = 0; i < c->probe.n_targets; i++) {
		probe_echo(&c->probe, i, echo);
		out_packet(&c->out, &r, echo);
	}
	c->v->count.probes += c->probe.want_record + c->probe.n_targets;
}

/* PROVE and UP: the next probes, and the end of patience. */
static void look_at_probes(struct client *c)
{
	int64_t now = now_ms(c), silent = now - probe_alive_ms(&c->probe);

	if (silent >= SG_VPN_PROBE_DEAD_MS && c->phase == PROVE && c->probe.want_echo && c->probe.got_record) {
		fail(c, true, "exit %s answers, but nothing beyond it does: no echo from any 'probe' for %" PRId64 " s",
			exit_name(c), silent / 1000);
		return;
	}
	if (silent >= SG_VPN_PROBE_DEAD_MS) {
		fail(c, true, "no answer from exit %s for %" PRId64 " s", exit_name(c), silent / 1000);
		return;
	}
	if (now >= c->next_probe_ms) {
		send_probes(c);
		c->next_probe_ms = now + (c->phase == UP ? SG_VPN_PROBE_MS : PROVE_MS);
	}
	enter(c, c->phase, SG_MIN(c->next_probe_ms - now, SG_VPN_PROBE_DEAD_MS - silent));
}

static bool on_tun_packet(void *arg, const struct sg_vpn_record *r, uint8_t *packet)
{
	struct client *c = arg;
	struct vpn_counters *count = &c->v->count;

	/* An exit takes only what comes from the leased address; IPv6 has none. */
	if (packet[0] >> 4 != 4 || sg_get_u32(packet + 12) != c->lease) {
		count->drop_source++;
		return true;
	}
	count->up_packets++;
	count->up_bytes += r->len;
	c->up_bytes += r->len;
	out_packet(&c->out, r, packet);
	return !c->out.blocked;
}

static void on_tun_gone(void *arg)
{
	struct client *c = arg;

	tun_close(c->tun);
	c->tun = NULL;
	c->lease_in_place = 0;
	fail(c, true, "the device %s was deleted by somebody", c->info.name);
}

static const struct tun_user tun_user = {.on_packet = on_tun_packet, .on_gone = on_tun_gone};

/* A packet that came through the tunnel. */
static void packet_in(struct client *c, const struct sg_vpn_record *r, struct sg_view packet)
{
	struct vpn_counters *count = &c->v->count;
	int64_t now = now_ms(c);

	if (c->phase < PROVE) {
		count->drop_unproven++;
		return;
	}
	if (probe_echo_answer(&c->probe, packet, now)) {
		count->probes_answered++;
		return;
	}
	/* An exit that sends to other addresses tries to get into the LAN past its translation. */
	if (packet.p[0] >> 4 != 4 || sg_get_u32(packet.p + 16) != c->lease) {
		count->drop_dest++;
		return;
	}
	probe_traffic(&c->probe, packet, now);
	if (c->phase != UP) {
		count->drop_unproven++;
		return;
	}
	count->down_packets++;
	count->down_bytes += packet.len;
	c->down_bytes += packet.len;
	count->drop_kernel += tun_write(c->tun, r, packet) < 0;
}

static int on_record(void *arg, const struct sg_vpn_record *r, struct sg_view body)
{
	struct client *c = arg;

	switch (r->kind) {
	case SG_VPN_PACKET:
		packet_in(c, r, body);
		break;
	case SG_VPN_ANSWER:
		c->v->count.probes_answered += c->phase >= PROVE && probe_answer(&c->probe, body, now_ms(c));
		break;
	case SG_VPN_PROBE:
		if (body.len <= 64)
			out_control(&c->out, SG_VPN_ANSWER, body);
		break;
	default:
		fail(c, true, "exit %s ended the session", exit_name(c));
		return SG_ECLOSED;
	}
	if (c->phase == PROVE && probe_proven(&c->probe))
		proven(c);
	return 0;
}

/* ---- towards it ------------------------------------------------------------------------------------------------ */

static void on_tun(void *arg, int err, const struct sg_tun *tun, const char *why)
{
	struct client *c = arg;

	c->tun_asked = false;
	if (err == 0)
		err = tun_open(c->v->loop, tun, &tun_user, c, &c->tun);
	if (err == 0)
		c->info = *tun;
	if (c->v->stopping) {
		vpn_idle(c->v);
		return;
	}
	if (c->phase != TUN)
		return;
	if (err < 0)
		fail(c, true, "no TUN device: %s", why && *why ? why : sg_strerror(err));
	else
		client_go(c);
}

static int lease_put(struct client *c, uint32_t lease, uint32_t gateway);

static void on_lease_set(void *arg, int err)
{
	struct client *c = arg;

	c->lease_asked = false;
	if (c->v->stopping) {
		vpn_idle(c->v);
		return;
	}
	if (err < 0) {
		/* Perhaps because the device is gone: the next attempt asks for one anew. */
		c->lease_in_place = 0;
		tun_close(c->tun);
		c->tun = NULL;
	}
	if (c->phase == IDLE && c->lease_in_place)
		lease_put(c, 0, 0);
	if (c->phase != LEASE)
		return;
	if (err < 0)
		fail(c, true, "skygate-netd could not use the leased address: %s", sg_strerror(err));
	else
		client_go(c);
}

/* Puts a lease in place, or takes it back with 0. The answer comes to on_lease_set. */
static int lease_put(struct client *c, uint32_t lease, uint32_t gateway)
{
	int err;

	c->lease_asked = true;
	c->lease_in_place = lease;
	err = c->v->host->lease_set(c->v->inst, lease, gateway, on_lease_set, c);
	if (err < 0) {
		c->lease_asked = false;
		c->lease_in_place = 0;
	}
	return err;
}

static void begin_proof(struct client *c)
{
	uint32_t nonce;

	if (!c->in.rec && !c->conf.n_targets) {
		fail(c, true,
			"exit %s has no records of ours, so only what lies beyond it can prove the path. Name a host "
			"there "
			"that answers ping:  list probe 'ADDRESS'",
			exit_name(c));
		return;
	}
	sg_random_system()->fill(sg_random_system(), &nonce, sizeof(nonce));
	memcpy(c->probe.targets, c->conf.targets, sizeof(c->probe.targets));
	c->probe.n_targets = c->conf.n_targets;
	probe_begin(&c->probe, nonce, c->lease, c->in.rec, now_ms(c));
	c->next_probe_ms = now_ms(c);
	enter(c, PROVE, PROVE_MS);
	look_at_probes(c);
}

static const char *refusal(const struct client *c, int status, char *buf, size_t cap)
{
	char pk[SG_PK_TEXT];

	if (status == SG_VPN_FORBIDDEN && c->conf.passcode[0])
		return "our passcode is not the one it wants, or our key is not on its white list (status 4)";
	if (status == SG_VPN_FORBIDDEN) {
		snprintf(buf, cap,
			"our key is not on its white list, or it wants a passcode (status 4). Ask its owner to add  "
			"list "
			"allow_pk '%s'",
			sg_pk_str(c->v->host->own_pk(c->v->inst), pk));
		return buf;
	}
	if (status == SG_VPN_NO_FREE_IPS)
		return "it serves as many clients as it can (status 2)";
	if (status == SG_VPN_BAD_REQUEST)
		return "it did not understand our hello (status 1)";
	snprintf(buf, cap, "it has a fault of its own (status %d)", status);
	return buf;
}

/* A lease inside a network of this machine would cut one of them off. */
static bool lease_clashes(struct client *c)
{
	for (size_t i = 0; i < c->info.n_busy; i++) {
		uint8_t bits = SG_MIN(c->info.busy[i].bits, 29);

		if (((c->lease ^ c->info.busy[i].net) & (bits ? 0xffffffffU << (32 - bits) : 0)) == 0)
			return true;
	}
	return false;
}

static void hello_done(struct client *c)
{
	struct sg_vpn_server_hello h;
	int used = sg_vpn_server_hello_decode((struct sg_view){c->hello.b, c->hello.len}, &h);
	char buf[256], ip[SG_IP4_TEXT];

	if (used <= 0 || (h.status == SG_VPN_OK && (!h.tun_ip || !h.tun_gateway))) {
		fail(c, true, "exit %s: its hello is malformed", exit_name(c));
		return;
	}
	if (h.status != SG_VPN_OK) {
		fail(c, true, "exit %s: refused: %s", exit_name(c), refusal(c, h.status, buf, sizeof(buf)));
		return;
	}
	c->lease = h.tun_ip;
	c->gateway = h.tun_gateway;
	c->in.rec = c->out.rec = h.rec;
	if (lease_clashes(c)) {
		if (c->n_avoid < AVOID_MAX)
			c->avoid[c->n_avoid++] = c->lease;
		fail(c, true, "exit %s leased %s, which lies in a network of this machine; asking for another",
			exit_name(c), sg_ip4_str(c->lease, ip));
		return;
	}
	enter(c, LEASE, NETD_MS);
	client_go(c);
}

static void on_data(void *arg, struct sg_view in)
{
	struct client *c = arg;
	size_t used = 0;
	int err;

	if (c->phase == HELLO) {
		err = sg_vpn_hello_take(&c->hello, c->via.records, in, &used);
		if (err < 0)
			fail(c, true, "exit %s: its hello is malformed", exit_name(c));
		if (err <= 0)
			return;
		hello_done(c);
		if (c->phase < LEASE)
			return;
	}
	err = records_feed(&c->in, (struct sg_view){in.p + used, in.len - used}, on_record, c);
	/* SG_ECLOSED: on_record has ended the session already. */
	if (err < 0 && err != SG_ECLOSED)
		fail(c, true, "exit %s: what it sends is no IP packet (%s)", exit_name(c), sg_strerror(err));
}

static void on_writable(void *arg)
{
	struct client *c = arg;

	if (out_writable(&c->out) && c->phase == UP)
		tun_resume(c->tun);
}

static void on_close(void *arg, int err, const char *why)
{
	struct client *c = arg;

	fail(c, false, "exit %s: the connection ended: %s", exit_name(c), why && *why ? why : sg_strerror(err));
}

static void on_batch_end(void *arg)
{
	records_rest(&((struct client *)arg)->in);
}

static const struct sg_stream_user stream_user = {.size = sizeof(stream_user),
	.on_data = on_data,
	.on_writable = on_writable,
	.on_close = on_close,
	.on_batch_end = on_batch_end};

static int hello_send(struct client *c)
{
	struct sg_vpn_client_hello h = {.rec = true};
	char text[1024];
	int len;

	for (size_t i = 0; i < c->n_avoid; i++)
		h.ips[h.n_ips++] = c->avoid[i];
	/* Only what an exit may lease at all: it learns our networks from this. */
	for (size_t i = 0; i < c->info.n_busy && h.n_ips < 2 * AVOID_MAX; i++) {
		if (PRIVATE_IP(c->info.busy[i].net))
			h.ips[h.n_ips++] = c->info.busy[i].net;
	}
	h.null_ips = h.n_ips == 0;
	memcpy(h.passcode, c->conf.passcode, sizeof(h.passcode));
	len = sg_vpn_client_hello_encode(&h, text, sizeof(text));
	sg_wipe(h.passcode, sizeof(h.passcode));
	if (len < 0)
		return len;
	len = out_bytes(&c->out, text, (size_t)len);
	sg_wipe(text, sizeof(text));
	return len == -EAGAIN ? 0 : len;
}

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct client *c = arg;

	c->phase = HELLO; /* no dial is under way any more that could be cancelled */
	if (!stream) {
		fail(c, false, "exit %s: %s", exit_name(c), why && *why ? why : sg_strerror(err));
		return;
	}
	stream->user = &stream_user;
	stream->user_arg = c;
	c->stream = stream;
	stream->ops->info(stream, &c->via);
	c->in.bad = &c->v->count.drop_record;
	c->out = (struct out){.stream = stream,
		.max = OUT_WAITING,
		.scratch = tun_scratch(c->tun),
		.dropped = &c->v->count.drop_queue};
	enter(c, HELLO, SG_VPN_HELLO_MS);
	err = hello_send(c);
	if (err < 0)
		fail(c, true, "exit %s: the hello could not be sent: %s", exit_name(c), sg_strerror(err));
}

static void begin_dial(struct client *c)
{
	int err;

	c->v->count.dials++;
	if (c->v->host->peer_find(c->v->inst, exit_name(c), &c->exit_pk) < 0) {
		fail(c, false, "exit %s: there is no section  config peer '%s'", exit_name(c), exit_name(c));
		return;
	}
	enter(c, DIAL, 2 * SG_VSTREAM_OPEN_MS);
	err = c->v->host->dial(c->v->inst, &c->exit_pk, SG_VPN_PORT, on_dialed, c);
	if (err < 0)
		on_dialed(c, NULL, err, NULL);
}

/* The next step, once what netd was asked for is there. */
static void client_go(struct client *c)
{
	int err;

	if (c->phase == TUN && c->tun) {
		begin_dial(c);
	} else if (c->phase == TUN && !c->tun_asked) {
		c->tun_asked = true;
		err = c->v->host->tun_open(c->v->inst, SG_TUN_CLIENT, on_tun, c);
		if (err < 0) {
			c->tun_asked = false;
			fail(c, false, "no TUN device: %s",
				err == -ENOTSUP ? "skygated runs alone. Start skygate-netd, which starts it"
						: sg_strerror(err));
		}
	} else if (c->phase == LEASE && !c->lease_asked && c->lease_in_place == c->lease) {
		begin_proof(c);
	} else if (c->phase == LEASE && !c->lease_asked) {
		err = lease_put(c, c->lease, c->gateway);
		if (err < 0)
			fail(c, true, "skygate-netd could not be asked to use the leased address: %s",
				sg_strerror(err));
	}
}

/* A link that has come up since its exit failed is tried before the pause is over. */
static bool link_came_up(struct client *c)
{
	for (size_t i = 0; i < c->conf.n_exits; i++) {
		struct exit *e = &c->conf.exits[i];
		struct sg_peer_state peer;
		struct sg_pk pk;

		if (e->was_linked || c->v->host->peer_find(c->v->inst, e->name, &pk) < 0 ||
			c->v->host->peer_state(c->v->inst, &pk, &peer) < 0 || !peer.linked)
			continue;
		e->was_linked = true;
		c->at = i;
		return true;
	}
	return false;
}

static void on_timer(void *arg)
{
	struct client *c = arg;
	int64_t left = c->next_try_ms - now_ms(c);

	switch (c->phase) {
	case IDLE:
		break;
	case WAIT:
		if (left > 0 && !link_came_up(c)) {
			enter(c, WAIT, SG_MIN(left, WAIT_STEP_MS));
			break;
		}
		enter(c, TUN, NETD_MS);
		client_go(c);
		break;
	case TUN:
	case LEASE:
		fail(c, true, "no answer from skygate-netd for %d s", NETD_MS / 1000);
		break;
	case DIAL:
		fail(c, false, "exit %s: no answer to the dial for %d s", exit_name(c), 2 * SG_VSTREAM_OPEN_MS / 1000);
		break;
	case HELLO:
		fail(c, true, "exit %s: no answer to our hello for %d s", exit_name(c), SG_VPN_HELLO_MS / 1000);
		break;
	case PROVE:
	case UP:
		look_at_probes(c);
		break;
	}
}

/* ---- the owner --------------------------------------------------------------------------------------------------- */

int client_want(struct client *c, enum sg_want want)
{
	int err;

	if (c->conf.mode == MODE_OFF && want == SG_WANT_VPN)
		return SG_ESTATE;
	err = c->v->host->want_set(c->v->inst, want);
	if (err == -ENOTSUP)
		err = 0; /* no netd: nothing is blocked, and fail() says what is missing */
	if (want == SG_WANT_VPN && c->phase == IDLE) {
		c->attempts = 0;
		c->next_try_ms = now_ms(c);
		if (enter(c, WAIT, 1) < 0) {
			enter(c, IDLE, 0);
			return -ENOMEM;
		}
	} else if (want != SG_WANT_VPN && c->phase != IDLE) {
		disconnect(c, true);
		enter(c, IDLE, 0);
		if (c->lease_in_place && !c->lease_asked)
			lease_put(c, 0, 0);
	}
	c->want = want;
	return err;
}

static int conf_read(struct client_conf *conf, const struct sg_uci_section *s, char *why, size_t why_cap)
{
	const struct sg_uci_option *exits = sg_uci_option(s, "exit"), *probes = sg_uci_option(s, "probe");
	const char *mode = sg_uci_get(s, "mode", "off");

	memset(conf, 0, sizeof(*conf));
	conf->mode = strcmp(mode, "vpn") == 0 ? MODE_VPN : strcmp(mode, "host") == 0 ? MODE_HOST : MODE_OFF;
	conf->kill_switch = sg_uci_bool(s, "kill_switch", true);
	if (snprintf(conf->passcode, sizeof(conf->passcode), "%s", sg_uci_get(s, "passcode", "")) >
		SG_VPN_PASSCODE_MAX) {
		snprintf(why, why_cap, "vpn_client '%s': option passcode: at most %d bytes", s->name,
			SG_VPN_PASSCODE_MAX);
		return SG_ECONF;
	}
	if (exits) {
		sg_list_for (it, &exits->values) {
			if (conf->n_exits == EXITS_MAX) {
				snprintf(why, why_cap, "more than %d exits", EXITS_MAX);
				return SG_ECONF;
			}
			snprintf(conf->exits[conf->n_exits++].name, sizeof(conf->exits[0].name), "%s",
				sg_container_of(it, struct sg_uci_value, node)->text);
		}
	}
	if (probes) {
		sg_list_for (it, &probes->values) {
			if (conf->n_targets == PROBE_TARGETS_MAX ||
				sg_ip4_parse(sg_container_of(it, struct sg_uci_value, node)->text,
					&conf->targets[conf->n_targets++]) < 0) {
				snprintf(why, why_cap, "probe: at most %d IPv4 addresses", PROBE_TARGETS_MAX);
				return SG_ECONF;
			}
		}
	}
	if (conf->mode != MODE_OFF && !conf->n_exits) {
		snprintf(why, why_cap, "vpn_client '%s': no exit is named. Add  list exit 'PEER'", s->name);
		return SG_ECONF;
	}
	return 0;
}

int client_start(struct vpn *v, const struct sg_uci_section *s, char *why, size_t why_cap)
{
	struct client *c = sg_calloc(1, sizeof(*c));
	int err = c ? conf_read(&c->conf, s, why, why_cap) : -ENOMEM;

	if (err < 0) {
		sg_free(c);
		return err;
	}
	c->v = v;
	c->probe.rtt_ms = -1;
	sg_timer_init(&c->timer, v->loop, on_timer, c);
	c->changed_ms = now_ms(c);
	c->changed_at = time(NULL);
	/* Modes vpn and host start by themselves. */
	if (c->conf.mode != MODE_OFF)
		err = client_want(c, SG_WANT_VPN);
	if (err < 0) {
		snprintf(why, why_cap, "the VPN could not be asked for: %s", sg_strerror(err));
		client_free(c);
		return err;
	}
	v->client = c;
	return 0;
}

int client_reload(struct client *c, const struct sg_uci_section *s)
{
	struct client_conf conf;
	char why[128];
	bool same;

	if (conf_read(&conf, s, why, sizeof(why)) < 0)
		return -ENOTSUP; /* the start that follows says it */
	same = conf.mode == c->conf.mode && conf.kill_switch == c->conf.kill_switch &&
	       conf.n_exits == c->conf.n_exits && conf.n_targets == c->conf.n_targets &&
	       strcmp(conf.passcode, c->conf.passcode) == 0 &&
	       memcmp(conf.targets, c->conf.targets, sizeof(conf.targets)) == 0;
	for (size_t i = 0; i < conf.n_exits && same; i++)
		same = strcmp(conf.exits[i].name, c->conf.exits[i].name) == 0;
	return same ? 0 : -ENOTSUP;
}

bool client_stop(struct client *c)
{
	disconnect(c, true);
	enter(c, IDLE, 0);
	return !c->tun_asked && !c->lease_asked;
}

static json_t *link_status(const struct client *c)
{
	struct sg_peer_state p;

	if (sg_pk_is_null(&c->exit_pk) || c->v->host->peer_state(c->v->inst, &c->exit_pk, &p) < 0)
		return json_null();
	return json_pack("{s:b,s:s,s:s,s:i,s:I,s:s}", "linked", p.linked, "carrier", p.carrier, "address", p.address,
		"attempts", (int)p.attempts, "next_try_ms", (json_int_t)p.next_try_ms, "why", p.why);
}

int client_status(const struct client *c, json_t *out)
{
	int64_t now = now_ms(c), wait = c->phase == WAIT ? SG_MAX(c->next_try_ms - now, 0) : -1;
	const char *proof = c->probe.want_echo ? (c->probe.want_record ? "record and echo" : "echo") : "record";
	char since[32], ip[SG_IP4_TEXT], pk[SG_PK_TEXT];
	bool up = c->phase == UP;
	json_t *members, *up_members = NULL;
	struct tm tm;
	int err;

	strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&c->changed_at, &tm));
	members = json_pack("{s:s,s:s,s:b,s:b,s:s,s:I,s:s,s:i,s:I,s:{s:s,s:s},s:o}", "state", state_word(c), "mode",
		c->conf.mode == MODE_VPN    ? "vpn"
		: c->conf.mode == MODE_HOST ? "host"
					    : "off",
		"kill_switch", c->conf.kill_switch, "open", c->want == SG_WANT_OPEN, "since", since, "since_ms",
		(json_int_t)(now - c->changed_ms), "reason", c->why, "attempts", (int)c->attempts, "next_try_ms",
		(json_int_t)wait, "exit", "name", exit_name(c), "pk",
		sg_pk_is_null(&c->exit_pk) ? "" : sg_pk_str(&c->exit_pk, pk), "link", link_status(c));
	if (up)
		up_members = json_pack("{s:s,s:s,s:b,s:s,s:I,s:I,s:s,s:s,s:I,s:I}", "network", c->via.network,
			"carrier", c->via.carrier, "records", c->in.rec, "proof", proof, "rtt_ms",
			(json_int_t)c->probe.rtt_ms, "last_proof_ms", (json_int_t)(now - probe_alive_ms(&c->probe)),
			"device", c->info.name, "lease", sg_ip4_str(c->lease, ip), "up_bytes", (json_int_t)c->up_bytes,
			"down_bytes", (json_int_t)c->down_bytes);
	err = members && (!up || up_members) ? json_object_update(out, members) : -1;
	if (err == 0 && up)
		err = json_object_update(out, up_members);
	json_decref(members);
	json_decref(up_members);
	return err < 0 ? -ENOMEM : 0;
}

void client_free(struct client *c)
{
	sg_timer_stop(&c->timer);
	tun_close(c->tun);
	sg_wipe(c->conf.passcode, sizeof(c->conf.passcode));
	sg_free(c);
}
