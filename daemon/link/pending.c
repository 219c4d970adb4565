/*
 * A connection in handshake: moves bytes between its line and the machine of link/handshake.c, keeps the deadlines of
 * its phases, and asks the manager at the two points where it must not decide alone. Whoever fails here costs this
 * connection and nothing else, and no time of the loop: a step of the machine, which may compute shared secrets, is the
 * worker's, and its line is not read meanwhile.
 *
 *	bytes → keep → (worker: run) → stepped → pump: out, the manager, the next
 */
#include "link/internal.h"
#include "base/alloc.h"

#include <sys/socket.h>

SG_LOG_TOPIC("link");

#define READ_SIZE 4096

static void pump(struct pending *p);

static void release(struct pending *p)
{
	link_hs_fini(&p->hs);
	sg_free(p);
}

/* Frees all but what was handed on. What the worker has in hand goes when it comes back. */
void pending_free(struct pending *p)
{
	struct sg_links *ls = p->ls;

	sg_list_remove(&p->node);
	ls->n_pendings--;
	if (p->peer)
		p->peer->pending = NULL;
	sg_timer_stop(&p->timer);
	line_close(&p->line);
	p->ls = NULL;
	if (!p->working || sg_task_cancel(ls->conf.worker, &p->step))
		release(p);
}

void pending_cancel(struct pending *p)
{
	pending_free(p);
}

const char *pending_from_text(const struct pending *p, char buf[SG_ADDR_TEXT])
{
	return p->addr.len                 ? sg_log_addr(sg_addr_str(&p->addr, buf))
	       : sg_pk_is_null(&p->remote) ? "somebody"
					   : sg_pk_short(&p->remote, buf);
}

static void failed(struct pending *p, const char *reason)
{
	struct sg_links *ls = p->ls;
	struct peer *peer = p->peer;
	char buf[SG_ADDR_TEXT], carrier[sizeof(p->carrier)], why[sizeof(p->hs.why)];
	const char *who = pending_from_text(p, buf);

	/* What the sentence is made of goes with the connection. */
	memcpy(carrier, p->carrier, sizeof(carrier));
	snprintf(why, sizeof(why), "%s", reason);
	if (!peer) {
		ls->count.handshake_failed++;
		log_info_rl(&ls->rl_failed, "a caller from %s: %s handshake failed: %s", who, carrier, why);
		pending_free(p);
		return;
	}
	pending_free(p);
	peer_failed(peer, "%s handshake with %s failed: %s", carrier, who, why);
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

static void on_timeout(void *arg)
{
	struct pending *p = arg;

	if (p->working) {
		/* It is us who is late. */
		if (sg_timer_start(&p->timer, phase_limit_ms(p->phase)) < 0)
			failed(p, "out of memory");
		return;
	}
	switch (p->phase) {
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

/* False: the connection is gone. */
static bool send_out(struct pending *p)
{
	for (;;) {
		struct sg_view out = link_hs_out(&p->hs);
		const struct iovec iov = {(void *)(uintptr_t)out.p, out.len};
		ssize_t n = out.len ? line_send(&p->line, &iov, 1) : 0;

		if (n == 0)
			return true;
		if (n < 0) {
			link_hs_eof(&p->hs);
			return false;
		}
		link_hs_sent(&p->hs, (size_t)n);
	}
}

static bool all_sent(const struct pending *p)
{
	return link_hs_out(&p->hs).len == 0;
}

static void step(struct pending *p)
{
	p->working = true;
	/* Our own dials first: whom we want to reach must not wait for strangers who want to reach us. */
	sg_task_start(p->ls->conf.worker, &p->step, p->peer != NULL);
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
	struct line line = p->line;

	p->line = LINE_NONE;
	sg_watch_free(line.watch); /* the link makes its own */
	line.watch = NULL;
	links_settled(p->ls, p, line);
}

/* READY: our dial may pass its point of no return, has to wait, or is pointless. False: @p waits for nothing here. */
static bool go_on(struct pending *p)
{
	int64_t wait_ms = links_may_go(p->ls, p->peer, p->carrier);

	if (wait_ms > 0 && sg_timer_start(&p->timer, wait_ms) == 0)
		return true;
	if (wait_ms != 0) {
		called_off(p);
		return false;
	}
	p->go = true;
	p->phase = LINK_HS_NOISE;
	line_watch(&p->line, false, false);
	step(p);
	return false;
}

/* What the machine waits for us to do. */
static void pump(struct pending *p)
{
	if (p->phase == LINK_HS_READY && !go_on(p))
		return;
	if (p->phase == LINK_HS_DECIDE) {
		link_hs_answer(&p->hs, links_decide(p->ls, p));
		p->phase = p->hs.phase;
		(void)sg_timer_start(&p->timer, phase_limit_ms(p->phase));
	}
	if (!send_out(p) || p->hs.phase == LINK_HS_FAILED) {
		failed(p, p->hs.why);
		return;
	}
	line_watch(&p->line, true, !all_sent(p));
	if (p->phase == LINK_HS_DONE && all_sent(p))
		settled(p);
}

static void run_step(void *arg)
{
	struct pending *p = arg;

	if (p->go)
		link_hs_go(&p->hs);
	else
		link_hs_run(&p->hs);
}

/* A step was taken, or the last one. A phase has a time of its own. */
static void stepped(struct pending *p)
{
	bool on = p->go || p->hs.phase != p->phase;

	p->go = false;
	p->remote = p->hs.remote;
	if (on && p->hs.phase != LINK_HS_FAILED && p->hs.phase != LINK_HS_READY &&
		sg_timer_start(&p->timer, phase_limit_ms(p->hs.phase)) < 0)
		link_hs_eof(&p->hs);
	p->phase = p->hs.phase;
	pump(p);
}

static void on_step(void *arg)
{
	struct pending *p = arg;

	p->working = false;
	if (p->ls)
		stepped(p);
	else
		release(p);
}

/* One read per event. The machine keeps what lies behind the message that it waits for. */
static void read_in(struct pending *p)
{
	uint8_t buf[READ_SIZE];
	ssize_t n;

	do {
		n = recv(p->line.fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		pump(p);
	} else if (n <= 0 || link_hs_keep(&p->hs, (struct sg_view){buf, (size_t)n}) < 0) {
		link_hs_eof(&p->hs);
		stepped(p);
	} else {
		line_watch(&p->line, false, false);
		step(p);
	}
}

static void on_events(void *arg, int fd, unsigned events)
{
	struct pending *p = arg;

	(void)fd;
	if (events & SG_READABLE)
		read_in(p);
	else
		pump(p);
}

/* Of keys there is little left to compute: the carrier has secured the stream. */
static void on_stream_data(void *arg, struct sg_view in)
{
	struct pending *p = arg;

	link_hs_feed(&p->hs, in);
	stepped(p);
}

static void on_stream_writable(void *arg)
{
	pump(arg);
}

static void on_stream_close(void *arg, int err, const char *why)
{
	struct pending *p = arg;

	(void)err;
	(void)why;
	p->line = LINE_NONE; /* gone after this call */
	link_hs_eof(&p->hs);
	failed(p, p->hs.why);
}

static const struct sg_stream_user stream_user = {.size = sizeof(stream_user),
	.on_data = on_stream_data,
	.on_writable = on_stream_writable,
	.on_close = on_stream_close};

static int listen_to(struct pending *p)
{
	int err;

	if (p->line.stream) {
		p->line.stream->user = &stream_user;
		p->line.stream->user_arg = p;
		return 0;
	}
	err = sg_watch_new(p->ls->conf.loop, p->line.fd, on_events, p, &p->line.watch);
	if (err == 0)
		sg_watch_control(p->line.watch);
	return err;
}

/* Skywire ports of our own count up as the reference's do; they mean nothing to the other end. */
static uint16_t next_port(struct sg_links *ls)
{
	ls->next_port = ls->next_port < UINT16_MAX ? (uint16_t)(ls->next_port + 1) : 49152;
	return ls->next_port;
}

void pending_start(struct sg_links *ls, struct peer *peer, const char *carrier, struct line line,
	const struct sg_addr *addr, const struct sg_pk *caller)
{
	struct pending *p = sg_calloc(1, sizeof(*p));

	if (!p) {
		line_close(&line);
		if (peer)
			peer_failed(peer, "out of memory");
		return;
	}
	p->ls = ls;
	p->line = line;
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
				     .secured = line.stream != NULL,
				     .caller = caller,
			     });
	p->phase = p->hs.phase;
	p->remote = p->hs.remote;
	sg_task_init(&p->step, run_step, on_step, p);
	sg_timer_init(&p->timer, ls->conf.loop, on_timeout, p);
	if (sg_timer_start(&p->timer, phase_limit_ms(p->hs.phase)) < 0 || listen_to(p) < 0) {
		failed(p, "out of memory");
		return;
	}
	pump(p);
}
