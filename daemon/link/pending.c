/*
 * A connection in handshake: moves bytes between a socket and the machine of link/handshake.c, keeps the deadlines of
 * its phases, and asks the manager at the two points where it must not decide alone. Whoever fails here costs this
 * connection and nothing else.
 */
#include "link/internal.h"
#include "base/alloc.h"

#include <sys/socket.h>
#include <unistd.h>

SG_LOG_TOPIC("link");

#define READ_SIZE 4096

static void pump(struct pending *p);

/* Frees all but what was handed on. */
void pending_free(struct pending *p)
{
	sg_list_remove(&p->node);
	p->ls->n_pendings--;
	if (p->peer)
		p->peer->pending = NULL;
	sg_timer_stop(&p->timer);
	sg_watch_free(p->watch);
	if (p->fd >= 0)
		close(p->fd);
	link_hs_fini(&p->hs);
	sg_free(p);
}

void pending_cancel(struct pending *p)
{
	pending_free(p);
}

static void failed(struct pending *p, const char *reason)
{
	struct sg_links *ls = p->ls;
	struct peer *peer = p->peer;
	char addr[SG_ADDR_TEXT], carrier[sizeof(p->carrier)], why[sizeof(p->hs.why)];

	/* What the sentence is made of goes with the connection. */
	sg_addr_str(&p->addr, addr);
	memcpy(carrier, p->carrier, sizeof(carrier));
	snprintf(why, sizeof(why), "%s", reason);
	if (!peer) {
		ls->count.handshake_failed++;
		log_info_rl(
			&ls->rl_failed, "a caller from %s: %s handshake failed: %s", sg_log_addr(addr), carrier, why);
		pending_free(p);
		return;
	}
	pending_free(p);
	peer_failed(peer, "%s handshake with %s failed: %s", carrier, sg_log_addr(addr), why);
}

static void on_timeout(void *arg)
{
	struct pending *p = arg;

	switch (p->hs.phase) {
	case LINK_HS_READY:
		pump(p);
		break;
	case LINK_HS_NOISE:
		failed(p, "no answer during the Noise handshake");
		break;
	case LINK_HS_SETTLE:
		failed(p, p->peer ? "no answer to our transport entry" : "no transport entry came");
		break;
	default:
		failed(p, "no answer in time");
	}
}

static int64_t phase_limit_ms(enum link_hs_phase phase)
{
	switch (phase) {
	case LINK_HS_NOISE:
		return SG_HS_NOISE_TIMEOUT_MS;
	case LINK_HS_SETTLE:
		return SG_HS_SETTLE_TIMEOUT_MS;
	default:
		return SG_HS_STCP_TIMEOUT_MS;
	}
}

/* False: the connection is gone. */
static bool send_out(struct pending *p)
{
	for (;;) {
		struct sg_view out = link_hs_out(&p->hs);
		ssize_t n;

		if (out.len == 0)
			return true;
		n = send(p->fd, out.p, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			link_hs_sent(&p->hs, (size_t)n);
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return true;
		} else if (errno != EINTR) {
			link_hs_eof(&p->hs);
			return false;
		}
	}
}

static bool all_sent(const struct pending *p)
{
	return link_hs_out(&p->hs).len == 0;
}

/* READY: our dial may pass its point of no return, has to wait, or is pointless. False: the connection is gone. */
static bool go_on(struct pending *p)
{
	int64_t wait_ms = links_may_go(p->ls, p);

	if (wait_ms > 0)
		return sg_timer_start(&p->timer, wait_ms) == 0;
	if (wait_ms == 0) {
		link_hs_go(&p->hs);
		return true;
	}
	return false;
}

static void called_off(struct pending *p)
{
	struct peer *peer = p->peer;

	log_debug("%s: our dial gives way to theirs", peer->name);
	pending_free(p);
	peer_retry(peer, SG_DIAL_BACKOFF_MIN_MS);
}

static void settled(struct pending *p)
{
	int fd = p->fd;

	p->fd = -1;
	sg_watch_free(p->watch); /* the link makes its own */
	p->watch = NULL;
	links_settled(p->ls, p, fd);
}

/* What the machine waits for us to do. */
static void pump(struct pending *p)
{
	enum link_hs_phase before = p->hs.phase;

	if (p->hs.phase == LINK_HS_READY && !go_on(p)) {
		called_off(p);
		return;
	}
	if (p->hs.phase == LINK_HS_DECIDE)
		link_hs_answer(&p->hs, links_decide(p->ls, p));
	if (!send_out(p) || p->hs.phase == LINK_HS_FAILED) {
		failed(p, p->hs.why);
		return;
	}
	sg_watch_set(p->watch, SG_READABLE | (all_sent(p) ? 0 : SG_WRITABLE));
	if (p->hs.phase == LINK_HS_DONE && all_sent(p))
		settled(p);
	else if (p->hs.phase != before && p->hs.phase != LINK_HS_READY)
		(void)sg_timer_start(&p->timer, phase_limit_ms(p->hs.phase));
}

/* One read per event; the machine keeps what lies behind the message that it waits for. */
static void read_in(struct pending *p)
{
	enum link_hs_phase before = p->hs.phase;
	uint8_t buf[READ_SIZE];
	ssize_t n;

	do {
		n = recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	if (n <= 0)
		link_hs_eof(&p->hs);
	else
		link_hs_feed(&p->hs, (struct sg_view){buf, (size_t)n});
	if (p->hs.phase != before && p->hs.phase != LINK_HS_FAILED && p->hs.phase != LINK_HS_READY &&
		sg_timer_start(&p->timer, phase_limit_ms(p->hs.phase)) < 0)
		link_hs_eof(&p->hs);
}

static void on_events(void *arg, int fd, unsigned events)
{
	struct pending *p = arg;

	(void)fd;
	if (events & SG_READABLE)
		read_in(p);
	pump(p);
}

/* Skywire ports of our own count up as the reference's do; they mean nothing to the other end. */
static uint16_t next_port(struct sg_links *ls)
{
	ls->next_port = ls->next_port < UINT16_MAX ? (uint16_t)(ls->next_port + 1) : 49152;
	return ls->next_port;
}

void pending_start(struct sg_links *ls, struct peer *peer, const char *carrier, int fd, const struct sg_addr *addr)
{
	struct pending *p = sg_calloc(1, sizeof(*p));

	if (!p) {
		close(fd);
		if (peer)
			peer_failed(peer, "out of memory");
		return;
	}
	p->ls = ls;
	p->fd = fd;
	p->addr = *addr;
	p->since = sg_loop_now(ls->conf.loop);
	snprintf(p->carrier, sizeof(p->carrier), "%s", carrier);
	sg_list_add_tail(&ls->pendings, &p->node);
	ls->n_pendings++;
	p->peer = peer;
	if (peer)
		peer->pending = p;
	link_hs_init(&p->hs, &(struct link_hs_conf){
				     .crypto = ls->conf.crypto,
				     .sk = &ls->conf.sk,
				     .pk = &ls->conf.pk,
				     .type = carrier,
				     .remote = peer ? &peer->pk : NULL,
				     .port = peer ? next_port(ls) : 0,
			     });
	sg_timer_init(&p->timer, ls->conf.loop, on_timeout, p);
	if (sg_timer_start(&p->timer, SG_HS_STCP_TIMEOUT_MS) < 0 ||
		sg_watch_new(ls->conf.loop, fd, on_events, p, &p->watch) < 0) {
		failed(p, "out of memory");
		return;
	}
	pump(p);
}
