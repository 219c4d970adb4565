/* A link from its first packet to its end, and the packets that concern the link itself. */
#include "link/internal.h"
#include "base/alloc.h"
#include "wire/linkhello.h"
#include "wire/tpid.h"

#include <sys/socket.h>

SG_LOG_TOPIC("link");

#define OUR_CAPS SG_CAP_CREDITS

static void on_events(void *arg, int fd, unsigned events)
{
	struct sg_link *l = arg;

	(void)fd;
	l->busy++;
	if ((events & SG_WRITABLE) && l->tx.blocked)
		tx_on_writable(l);
	/* Not asked for while reading is paused: then this event is an error, which a read names. */
	if ((events & SG_READABLE) && !l->closed)
		rx_on_readable(l);
	l->busy--;
	if (l->closed && !l->busy)
		link_free(l);
}

static void on_stream_data(void *arg, struct sg_view in)
{
	rx_on_stream(arg, in);
}

static void on_stream_batch_end(void *arg)
{
	rx_on_stream_batch(arg);
}

void link_writable(struct sg_link *l)
{
	l->busy++;
	if (l->tx.blocked)
		tx_on_writable(l);
	l->busy--;
	if (l->closed && !l->busy)
		link_free(l);
}

static void on_stream_writable(void *arg)
{
	link_writable(arg);
}

static void on_stream_close(void *arg, int err, const char *reason)
{
	struct sg_link *l = arg;
	char why[160];

	snprintf(why, sizeof(why), "%s", reason[0] ? reason : sg_strerror(err));
	l->line = LINE_NONE; /* gone after this call */
	l->tx.blocked = true;
	link_close(l, why);
}

static const struct sg_stream_user stream_user = {.size = sizeof(stream_user),
	.on_data = on_stream_data,
	.on_writable = on_stream_writable,
	.on_close = on_stream_close,
	.on_batch_end = on_stream_batch_end};

void link_watch_update(struct sg_link *l)
{
	line_watch(&l->line, !l->rx.paused, l->tx.blocked);
}

static void flush(void *arg)
{
	struct sg_link *l = arg;

	l->busy++;
	tx_flush(l);
	l->busy--;
	if (l->closed && !l->busy)
		link_free(l);
}

static void end(void *arg)
{
	struct sg_link *l = arg;

	link_close(l, l->end_why);
}

void link_end_later(struct sg_link *l, const char *why)
{
	if (l->end_why[0] || l->closed)
		return;
	snprintf(l->end_why, sizeof(l->end_why), "%s", why);
	l->tx.blocked = true; /* nothing more is given to a line that failed */
	sg_defer_start(l->ls->conf.loop, &l->end);
}

static void hello_send(struct sg_link *l)
{
	uint8_t payload[SG_LINKHELLO_LEN];

	sg_linkhello_encode(&(struct sg_linkhello){.version = SG_LINKHELLO_VERSION, .caps = OUR_CAPS}, payload);
	link_send_control(l, SG_PACKET_LINK_HELLO, 0, payload, sizeof(payload));
}

struct sg_link *link_new(struct sg_links *ls, const struct pending *p, struct line line, struct link_hs_result *hs)
{
	struct sg_link *l = sg_calloc(1, sizeof(*l));

	if (!l || (!line.stream && sg_watch_new(ls->conf.loop, line.fd, on_events, l, &line.watch) < 0)) {
		sg_free(l);
		return NULL;
	}
	if (line.stream) {
		line.stream->user = &stream_user;
		line.stream->user_arg = l;
	}
	l->ls = ls;
	l->line = line;
	l->remote = hs->remote;
	sg_tpid_make(&ls->conf.pk, &hs->remote, p->carrier, &l->id);
	snprintf(l->carrier, sizeof(l->carrier), "%s", p->carrier);
	if (p->addr.len)
		sg_addr_str(&p->addr, l->address);
	links_person(ls, &l->remote, l->name, sizeof(l->name));
	l->dialled = p->hs.dialler;
	l->automatic = p->peer && p->peer->automatic;
	l->own = hs->marked;
	l->newer = hs->marked || hs->newer;
	l->remote_sig = hs->remote_sig;
	l->up_at = sg_loop_now(ls->conf.loop);
	l->tx_key = hs->tx;
	l->rx_key = hs->rx;
	memset(&hs->tx, 0, sizeof(hs->tx));
	memset(&hs->rx, 0, sizeof(hs->rx));
	sg_defer_init(&l->tx.flush, flush, l);
	sg_defer_init(&l->end, end, l);
	tx_init(l);
	rx_init(l);
	sg_list_add_tail(&ls->links, &l->node);
	ls->n_links++;
	link_watch_update(l);
	if (l->own)
		hello_send(l); /* before anything else: the dialler learns from it that we are its like */
	alive_start(l);
	return l;
}

void link_free(struct sg_link *l)
{
	tx_fini(l);
	rx_fini(l);
	sg_frame_key_fini(&l->tx_key);
	sg_frame_key_fini(&l->rx_key);
	sg_free(l);
}

/*
 * Bytes left unread would make the kernel send RST instead of FIN, and throw away what is still to be sent: the last
 * words of a stream, for example. Those that are there are read for nothing; whoever sends on and on is cut.
 */
static void hang_up(struct sg_link *l)
{
	for (int i = 0; i < 8 && l->line.fd >= 0; i++) {
		if (recv(l->line.fd, l->ls->scratch, SG_LINK_RX_READ, MSG_DONTWAIT) <= 0)
			break;
	}
	line_close(&l->line);
}

/* Without a farewell of our own: a peer that can be reached sees the end of the connection at once. */
void link_close(struct sg_link *l, const char *why)
{
	struct sg_links *ls = l->ls;
	struct sg_link_info info;

	if (l->closed)
		return;
	tx_push(l);
	l->closed = true;
	l->busy++;
	link_get_info(l, &info);
	sg_list_remove(&l->node);
	ls->n_links--;
	ls->count.down++;
	alive_stop(l);
	sg_defer_stop(&l->tx.flush);
	sg_defer_stop(&l->end);
	sg_defer_stop(&l->rx.resume);
	hang_up(l);
	log_info_rl(links_log_limit(l, &ls->rl_down), "%s: %s%s%s is down: %s", l->name, l->carrier,
		l->address[0] ? " to " : "", sg_log_addr(l->address), why);
	ls->user->on_down(ls->user_arg, l, why);
	if (ls->conf.host->down)
		ls->conf.host->down(ls->conf.host_arg, &info, why);
	links_closed(ls, l);
	if (!ls->stopping)
		peers_unlinked(ls, l, why);
	l->busy--;
	if (!l->busy)
		link_free(l);
}

/* ---- packets of the link itself ---- */

static void became_own(struct sg_link *l)
{
	l->own = l->newer = true;
	peers_kind(l->ls, l);
	alive_kind_changed(l);
}

/*
 * The dialler's mark went out with its entry, so whoever sends it a hello has read it and is one of ours. A caller
 * without the mark has no business with our types.
 */
static void hello(struct sg_link *l, struct sg_view payload)
{
	struct sg_linkhello h;

	if (!l->own && !l->dialled) {
		links_drop(l->ls, LINK_DROP_UNMARKED, l->name);
		return;
	}
	if (sg_linkhello_decode(payload, &h) < 0) {
		links_drop(l->ls, LINK_DROP_MALFORMED, l->name);
		return;
	}
	if (l->hello)
		return; /* said once; a later one changes nothing that is already in use */
	l->hello = true;
	l->caps = h.caps & OUR_CAPS;
	if (!l->own) {
		hello_send(l);
		became_own(l);
	}
	l->ls->user->on_hello(l->ls->user_arg, l);
}

static void newer_seen(struct sg_link *l)
{
	if (l->newer)
		return;
	l->newer = true;
	alive_kind_changed(l);
	l->ls->user->on_hello(l->ls->user_arg, l);
}

void link_packet(struct sg_link *l, const struct sg_packet *p)
{
	/* With a route id it comes from somebody behind the other end, and says nothing about that. */
	if (p->route_id != 0) {
		l->ls->user->on_packet(l->ls->user_arg, l, p);
		return;
	}
	if (p->type > SG_PACKET_ERROR && p->type != SG_PACKET_LINK_HELLO) {
		newer_seen(l);
		if (l->closed)
			return;
	}
	switch (p->type) {
	case SG_PACKET_TRANSPORT_PING:
		alive_on_ping(l, p->payload);
		break;
	case SG_PACKET_TRANSPORT_PONG:
		alive_on_pong(l, p->payload);
		break;
	case SG_PACKET_LINK_HELLO:
		hello(l, p->payload);
		break;
	default:
		l->ls->user->on_packet(l->ls->user_arg, l, p);
	}
}

/* ---- what others ask ---- */

const struct sg_pk *link_remote(const struct sg_link *l)
{
	return &l->remote;
}

const struct sg_tpid *link_id(const struct sg_link *l)
{
	return &l->id;
}

const char *link_carrier(const struct sg_link *l)
{
	return l->carrier;
}

const char *link_name(const struct sg_link *l)
{
	return l->name;
}

uint32_t link_caps(const struct sg_link *l)
{
	return l->caps;
}

bool link_is_own(const struct sg_link *l)
{
	return l->own;
}

bool link_knows_streams(const struct sg_link *l)
{
	/* Our own end says first what it can: what a stream may rely on is settled before it begins. */
	return l->own ? l->hello : l->newer;
}

bool link_ping_waits(const struct sg_link *l)
{
	return l->ping_open;
}

int64_t link_rtt_us(const struct sg_link *l)
{
	return l->rtt_us;
}

int64_t link_rtt_busy_us(const struct sg_link *l)
{
	return SG_MAX(l->rtt_us, l->pace.rtt_us ? (int64_t)l->pace.rtt_us : -1);
}

void **link_user(struct sg_link *l)
{
	return &l->user;
}

void link_get_info(const struct sg_link *l, struct sg_link_info *out)
{
	const struct peer *peer = peer_find(l->ls, &l->remote);

	*out = (struct sg_link_info){
		.id = l->id,
		.remote = l->remote,
		.dialled = l->dialled,
		.label = l->automatic ? "automatic" : "user",
		.remote_sig = l->remote_sig,
		.kind = l->own     ? "own"
			: l->newer ? "2026"
				   : "2024",
		.up_ms = sg_mono_ms_since(sg_loop_now(l->ls->conf.loop), l->up_at),
		.rtt_us = l->rtt_us,
		.rx_bytes = l->rx_bytes,
		.tx_bytes = l->tx_bytes,
		.rx_packets = l->rx_packets,
		.tx_packets = l->tx_packets,
		.rx_payload = l->rx_payload,
		.tx_payload = l->tx_payload,
		.tx_waiting = tx_waiting(l),
	};
	snprintf(out->carrier, sizeof(out->carrier), "%s", l->carrier);
	snprintf(out->address, sizeof(out->address), "%s", l->address);
	snprintf(out->peer, sizeof(out->peer), "%s", peer && !peer->once ? peer->name : "");
}
