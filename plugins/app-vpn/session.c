/*
 * A session with one exit, from the dialled stream to its end: hello, lease, proof, packets. What comes before it and
 * what follows is client.c's.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/hex.h"
#include "base/log.h"
#include "client.h"
#include "crypto/crypto.h"

#include <inttypes.h>

SG_LOG_TOPIC("vpn");

#define PRIVATE_IP(ip) ((ip) >> 24 == 10 || (ip) >> 20 == 0xac1 || (ip) >> 16 == 0xc0a8)

/* ---- packets and probes ---------------------------------------------------------------------------------------- */

static void proven(struct client *c)
{
	char ip[SG_IP4_TEXT];

	log_info("exit %s: connected by %s %s, lease %s, %" PRId64 " ms", client_exit(c), c->via.network,
		c->via.carrier, sg_ip4_str(c->lease, ip), c->probe.rtt_ms);
	c->attempts = 0;
	for (size_t i = 0; i < c->conf.n_exits; i++)
		c->conf.exits[i].tried = false;
	c->up_bytes = c->down_bytes = 0;
	c->why[0] = '\0';
	client_enter(c, UP, PROVE_MS);
	c->v->host->path_set(c->v->inst, true);
	tun_resume(c->tun);
}

static void send_probes(struct client *c)
{
	uint8_t body[PROBE_BODY], echo[PROBE_ICMP];

	probe_round(&c->probe, client_now_ms(c), body);
	if (c->probe.want_record)
		out_control(&c->out, SG_VPN_PROBE, (struct sg_view){body, sizeof(body)});
	for (size_t i = 0; i < c->probe.n_targets; i++) {
		probe_echo(&c->probe, i, echo);
		out_packet(&c->out, (struct sg_view){echo, sizeof(echo)});
	}
	c->v->count.probes += c->probe.want_record + c->probe.n_targets;
}

void session_tick(struct client *c)
{
	int64_t now = client_now_ms(c), silent = now - probe_alive_ms(&c->probe);

	if (silent >= SG_VPN_PROBE_DEAD_MS && c->phase == PROVE && c->probe.want_echo && c->probe.got_record) {
		client_fail(c, true,
			"exit %s answers, but nothing beyond it does: no echo from any 'probe' for %" PRId64 " s",
			client_exit(c), silent / 1000);
		return;
	}
	if (silent >= SG_VPN_PROBE_DEAD_MS) {
		client_fail(c, true, "no answer from exit %s for %" PRId64 " s", client_exit(c), silent / 1000);
		return;
	}
	if (now >= c->next_probe_ms) {
		send_probes(c);
		c->next_probe_ms = now + (c->phase == UP ? SG_VPN_PROBE_MS : PROVE_MS);
	}
	client_enter(c, c->phase, SG_MIN(c->next_probe_ms - now, SG_VPN_PROBE_DEAD_MS - silent));
}

static struct fairq_class *on_tun_packet(void *arg, const struct sg_vpn_record *r, const uint8_t *packet)
{
	struct client *c = arg;
	struct vpn_counters *count = &c->v->count;

	/* An exit takes only what comes from the leased address; IPv6 has none. */
	if (packet[0] >> 4 != 4 || sg_get_u32(packet + 12) != c->lease) {
		count->drop_source++;
		return NULL;
	}
	count->up_packets++;
	count->up_bytes += r->len;
	c->up_bytes += r->len;
	return &c->out.waiting;
}

static void on_tun_batch_end(void *arg)
{
	struct client *c = arg;

	out_pump(&c->out, sg_loop_now(c->v->loop), SIZE_MAX);
}

static void on_tun_gone(void *arg)
{
	struct client *c = arg;

	tun_close(c->tun);
	c->tun = NULL;
	c->lease_in_place = 0;
	client_fail(c, true, "the device %s was deleted by somebody", c->info.name);
}

const struct tun_user session_tun_user = {
	.on_packet = on_tun_packet, .on_batch_end = on_tun_batch_end, .on_gone = on_tun_gone};

/* A packet that came through the tunnel. */
static void packet_in(struct client *c, const struct sg_vpn_record *r, struct sg_view packet)
{
	struct vpn_counters *count = &c->v->count;
	int64_t now = client_now_ms(c);

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
	tun_write(c->tun, r, packet);
}

static int on_record(void *arg, const struct sg_vpn_record *r, struct sg_view body)
{
	struct client *c = arg;

	switch (r->kind) {
	case SG_VPN_PACKET:
		packet_in(c, r, body);
		break;
	case SG_VPN_ANSWER:
		c->v->count.probes_answered += c->phase >= PROVE && probe_answer(&c->probe, body, client_now_ms(c));
		break;
	case SG_VPN_PROBE:
		if (body.len <= 64)
			out_control(&c->out, SG_VPN_ANSWER, body);
		break;
	default:
		client_fail(c, true, "exit %s ended the session", client_exit(c));
		return SG_ECLOSED;
	}
	if (c->phase == PROVE && probe_proven(&c->probe))
		proven(c);
	return 0;
}

void session_prove(struct client *c)
{
	uint32_t nonce;

	if (!c->in.rec && !c->conf.n_targets) {
		client_fail(c, true,
			"exit %s has no records of ours, so only what lies beyond it can prove the path. Name a host "
			"there "
			"that answers ping:  list probe 'ADDRESS'",
			client_exit(c));
		return;
	}
	sg_random_system()->fill(sg_random_system(), &nonce, sizeof(nonce));
	memcpy(c->probe.targets, c->conf.targets, sizeof(c->probe.targets));
	c->probe.n_targets = c->conf.n_targets;
	probe_begin(&c->probe, nonce, c->lease, c->in.rec, client_now_ms(c));
	c->next_probe_ms = client_now_ms(c);
	client_enter(c, PROVE, PROVE_MS);
	session_tick(c);
}

/* ---- the hello --------------------------------------------------------------------------------------------------- */

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

void session_avoid(struct client *c)
{
	char ip[SG_IP4_TEXT];

	if (c->n_avoid < AVOID_MAX)
		c->avoid[c->n_avoid++] = c->lease;
	client_fail(c, true, "exit %s leased %s, which lies in a network of this machine; asking for another",
		client_exit(c), sg_ip4_str(c->lease, ip));
}

static void hello_done(struct client *c)
{
	struct sg_vpn_server_hello h;
	int used = sg_vpn_server_hello_decode((struct sg_view){c->hello.b, c->hello.len}, &h);
	char buf[256];

	if (used <= 0 || (h.status == SG_VPN_OK && (!h.tun_ip || !h.tun_gateway))) {
		client_fail(c, true, "exit %s: its hello is malformed", client_exit(c));
		return;
	}
	if (h.status != SG_VPN_OK) {
		client_fail(c, true, "exit %s: refused: %s", client_exit(c), refusal(c, h.status, buf, sizeof(buf)));
		return;
	}
	c->lease = h.tun_ip;
	c->gateway = h.tun_gateway;
	c->in.rec = c->out.rec = h.rec;
	c->out.parts = h.parts && c->via.records;
	c->out.uso = h.uso;
	if (lease_clashes(c)) {
		session_avoid(c);
		return;
	}
	client_enter(c, LEASE, NETD_MS);
	client_go(c);
}

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

/* ---- the stream -------------------------------------------------------------------------------------------------- */

static void on_data(void *arg, struct sg_view in)
{
	struct client *c = arg;
	size_t used = 0;
	int err;

	if (c->phase == HELLO) {
		err = sg_vpn_hello_take(&c->hello, c->via.records, in, &used);
		if (err < 0)
			client_fail(c, true, "exit %s: its hello is malformed", client_exit(c));
		if (err <= 0)
			return;
		hello_done(c);
		if (c->phase < LEASE)
			return;
	}
	err = records_feed(&c->in, (struct sg_view){in.p + used, in.len - used}, on_record, c);
	/* SG_ECLOSED: on_record has ended the session already. */
	if (err < 0 && err != SG_ECLOSED)
		client_fail(c, true, "exit %s: what it sends is no IP packet (%s)", client_exit(c), sg_strerror(err));
}

static void on_writable(void *arg)
{
	struct client *c = arg;

	out_writable(&c->out, sg_loop_now(c->v->loop));
}

static void on_close(void *arg, int err, const char *why)
{
	struct client *c = arg;

	client_fail(
		c, false, "exit %s: the connection ended: %s", client_exit(c), why && *why ? why : sg_strerror(err));
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

void session_begin(struct client *c, struct sg_stream *stream)
{
	int err;

	stream->user = &stream_user;
	stream->user_arg = c;
	c->stream = stream;
	stream->ops->info(stream, &c->via, sizeof(c->via));
	c->in.bad = &c->v->count.drop_record;
	c->in.whole = c->via.records;
	out_init(&c->out, stream, c->queue, &c->v->count.drop_out);
	c->out.scratch = tun_scratch(c->tun);
	client_enter(c, HELLO, SG_VPN_HELLO_MS);
	err = hello_send(c);
	if (err < 0)
		client_fail(c, true, "exit %s: the hello could not be sent: %s", client_exit(c), sg_strerror(err));
}

void session_end(struct client *c, bool bye)
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
	memset(&c->hello.scan, 0, sizeof(c->hello.scan));
}
