/*
 * Is the other end still there? By what it showed it is:
 *
 *	own     a ping after SG_LINK_PING_OWN_MS of silence, gone after SG_LINK_DEAD_OWN_MS
 *	2026    a ping every SG_LINK_PING_2026_MS, gone after SG_LINK_DEAD_2026_MS without a byte
 *	2024    knows no pings and logs a warning for each: TCP keep-alive and TCP_USER_TIMEOUT, set for all but our own
 *
 * On TCP the first ones follow one another, each at once when the one before was answered, until the line is known to be uneven
 * (link/uneven.c).
 * Pings of others are always answered: whoever got one answer counts on all of them. While a link is not read its pings are
 * not either, so an own end hears an answer unasked instead.
 * Silence counts only while we were awake to hear: a timer that fires late says that this process was stopped.
 */
#include "link/internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#define PING_LEN    sizeof(((struct sg_link *)0)->ping_token)
#define LATE_MS     1000
#define KEEPALIVE_N 3
#define FIRST_PINGS 48U         /* in a row, until the line is known to be uneven */
#define QUIET       1400        /* bytes each way, 11 ms at 1 Mbit/s: no uneven line is made of these */
#define PONG_EXTRA  (64 * 1024) /* bytes waiting above the mark: whoever pings so much does not read */

static void tick(void *arg);

static struct sg_mono now(const struct sg_link *l)
{
	return sg_loop_now(l->ls->conf.loop);
}

static void tick_in(struct sg_link *l, int64_t ms)
{
	l->tick_due = sg_mono_add_ms(now(l), ms);
	if (sg_timer_start(&l->alive, ms) < 0)
		link_end_later(l, "out of memory for its timer");
}

/* A line that is no TCP refuses these; then its carrier has its own ways. */
static void keepalive_set(struct sg_link *l, bool on)
{
	const int value = on, idle = SG_LINK_KEEPALIVE_S, probes = KEEPALIVE_N;
	const unsigned timeout = on ? SG_LINK_USER_TIMEOUT_MS : 0;

	(void)setsockopt(l->line.fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(l->line.fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
	(void)setsockopt(l->line.fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(l->line.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
	(void)setsockopt(l->line.fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof(value));
}

void alive_start(struct sg_link *l)
{
	sg_timer_init(&l->alive, l->ls->conf.loop, tick, l);
	l->last_rx = now(l);
	l->rtt_us = -1;
	l->pings_more = FIRST_PINGS;
	alive_kind_changed(l);
}

void alive_stop(struct sg_link *l)
{
	sg_timer_stop(&l->alive);
}

/* Next to nothing came and went since the last ping. */
static bool is_quiet(const struct sg_link *l)
{
	return l->tx_bytes - l->ping_tx < QUIET && l->rx_bytes - l->ping_rx < QUIET;
}

/* The reference sends its clock; only the echo counts, and random bytes tell nobody how long this machine is up. */
static void ping(struct sg_link *l)
{
	l->ping_at = now(l);
	l->ping_open = true;
	l->ping_quiet = is_quiet(l);
	l->ping_tx = l->tx_bytes;
	l->ping_rx = l->rx_bytes;
	sg_crypto_random(l->ls->conf.crypto, l->ping_token, sizeof(l->ping_token));
	link_send_control(l, SG_PACKET_TRANSPORT_PING, 0, l->ping_token, sizeof(l->ping_token));
}

void link_ping(struct sg_link *l)
{
	l->pings_more = 0; /* whoever asked waits until none is under way */
	ping(l);
}

void alive_kind_changed(struct sg_link *l)
{
	keepalive_set(l, !l->own);
	if (l->own) {
		ping(l); /* for the round-trip time: credits grow by it */
		tick_in(l, SG_LINK_PING_OWN_MS);
	} else if (l->newer) {
		tick_in(l, SG_LINK_PING_2026_MS);
	}
}

static void dead(struct sg_link *l, int64_t silent_ms)
{
	char why[96];

	l->ls->count.dead++;
	snprintf(why, sizeof(why), "nothing heard from it for %d s", (int)(silent_ms / 1000));
	link_close(l, why);
}

static void tick_own(struct sg_link *l, int64_t silent_ms)
{
	if (silent_ms >= SG_LINK_DEAD_OWN_MS) {
		dead(l, silent_ms);
		return;
	}
	if (silent_ms >= SG_LINK_PING_OWN_MS)
		ping(l);
	/* Next when it will have been silent for long enough, and often enough once it is. */
	tick_in(l, silent_ms >= SG_LINK_PING_OWN_MS ? SG_LINK_PING_OWN_MS / 2 : SG_LINK_PING_OWN_MS - silent_ms);
}

static void tick_2026(struct sg_link *l, int64_t silent_ms)
{
	if (silent_ms >= SG_LINK_DEAD_2026_MS) {
		dead(l, silent_ms);
		return;
	}
	ping(l);
	tick_in(l, SG_LINK_PING_2026_MS);
}

/* We do not read it, so it hears no answers: it must not take us for dead. */
static void sign_of_life(struct sg_link *l)
{
	static const uint8_t nobodys[PING_LEN];

	link_send_control(l, SG_PACKET_TRANSPORT_PONG, 0, nobodys, sizeof(nobodys));
}

static void tick(void *arg)
{
	struct sg_link *l = arg;

	/* While its packets wait for a slow reader of ours, silence is of our own making. */
	if (sg_mono_ms_since(now(l), l->tick_due) > LATE_MS || l->rx.paused)
		l->last_rx = now(l);
	if (l->own && l->rx.paused)
		sign_of_life(l);
	if (l->own)
		tick_own(l, sg_mono_ms_since(now(l), l->last_rx));
	else
		tick_2026(l, sg_mono_ms_since(now(l), l->last_rx));
}

void alive_on_ping(struct sg_link *l, struct sg_view payload)
{
	if (payload.len < PING_LEN)
		links_drop(l->ls, LINK_DROP_MALFORMED, l->name);
	else if (tx_waiting(l) >= SG_LINK_TX_HIGH + PONG_EXTRA)
		links_drop(l->ls, LINK_DROP_FULL, l->name);
	else
		link_send_control(l, SG_PACKET_TRANSPORT_PONG, 0, payload.p, PING_LEN);
}

void alive_on_pong(struct sg_link *l, struct sg_view payload)
{
	if (payload.len < PING_LEN) {
		links_drop(l->ls, LINK_DROP_MALFORMED, l->name);
		return;
	}
	if (!l->ping_open || memcmp(payload.p, l->ping_token, PING_LEN) != 0)
		return; /* of an earlier ping */
	l->ping_open = false;
	l->rtt_us = (now(l).ns - l->ping_at.ns) / 1000;
	if (!l->pace.at.ns)
		return; /* no TCP of ours */
	if (l->ping_quiet && is_quiet(l))
		uneven_add(&l->uneven, (uint32_t)SG_MIN(l->rtt_us, (int64_t)UINT32_MAX / 2));
	if (l->pings_more && !l->uneven.is) {
		l->pings_more--;
		ping(l);
	}
}
