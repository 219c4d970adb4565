/*
 * A peer, kept connected: resolve, dial, handshake, and again after a while.
 *
 *	wait ── timer ──▶ resolve ──▶ dial (the carrier's) ──▶ handshake ──▶ linked
 *	  ▲                  │             │                      │            │
 *	  └──────────────────┴─────────────┴── failed, back-off ──┴── down ────┘
 *
 * Addresses are tried in the order of the configuration, without a pause; after the last one the pause doubles.
 */
#include "link/internal.h"
#include "base/alloc.h"
#include "wire/uci.h"

#include <stdarg.h>
#include <sys/socket.h>

SG_LOG_TOPIC("link");

/* A link that lived shorter counts as a failed attempt: else two ends that cannot agree would dial without a pause. */
#define STABLE_MS 5000
/* While there is nothing to do: whether that is still so. */
#define LOOK_MS 60000
/* A visor of ours that we called has sent its hello by then. */
#define HELLO_MS 3000

static void attempt(void *arg);

/* ---- addresses ---- */

/* "stcp://host:port", "stcp://[::1]:port", "dmsg": @host is sg_malloc'ed or NULL. 0, SG_EMALF or -ENOMEM. */
static int address_parse(const char *url, struct peer_addr *out)
{
	const char *host = strstr(url, "://"), *port = strrchr(url, ':');
	size_t carrier_len, host_len;
	uint64_t number;

	memset(out, 0, sizeof(*out));
	if (sg_carrier_by_key(url)) {
		snprintf(out->carrier, sizeof(out->carrier), "%s", url);
		return 0;
	}
	if (!host || port <= host)
		return SG_EMALF;
	carrier_len = (size_t)(host - url);
	host += strlen("://");
	if (port < host)
		return SG_EMALF;
	host_len = (size_t)(port - host);
	if (carrier_len == 0 || carrier_len >= sizeof(out->carrier) || host_len == 0 || host_len > 255)
		return SG_EMALF;
	if (sg_parse_u64(port + 1, UINT16_MAX, &number) < 0 || number == 0)
		return SG_EMALF;
	if (host[0] == '[' && host[host_len - 1] == ']') {
		host++;
		host_len -= 2;
	} else if (memchr(host, ':', host_len)) {
		return SG_EMALF;
	}
	memcpy(out->carrier, url, carrier_len);
	out->carrier[carrier_len] = 0;
	out->port = (uint16_t)number;
	out->host = sg_strndup(host, host_len);
	return out->host ? 0 : -ENOMEM;
}

int links_address_ok(const char *url)
{
	struct peer_addr a;
	int ret = address_parse(url, &a);

	if (ret == 0)
		sg_free(a.host);
	return ret;
}

/* ---- what happened ---- */

static int64_t backoff_ms(const struct peer *p)
{
	int64_t ms = SG_DIAL_BACKOFF_MIN_MS;
	uint8_t random;

	for (uint32_t i = 1; i < p->attempts && ms < SG_DIAL_BACKOFF_MAX_MS; i++)
		ms *= 2;
	ms = SG_MIN(ms, (int64_t)SG_DIAL_BACKOFF_MAX_MS);
	/* A fifth up or down would exceed the limit: only down, so that two ends fall out of step. */
	sg_crypto_random(p->ls->conf.crypto, &random, sizeof(random));
	return ms - ms * random / (5 * UINT8_MAX);
}

/*
 * The timer of a peer with addresses never stops: a running one is moved without memory, so that a moment without any
 * cannot silence the peer for ever.
 */
static void attempt_in(struct peer *p, int64_t ms)
{
	p->planned = p->n_addrs > 0;
	if (p->n_addrs)
		(void)sg_timer_start(&p->timer, ms);
}

static void look_again(struct peer *p, int64_t ms)
{
	attempt_in(p, ms);
	p->planned = false;
}

void peer_retry(struct peer *p, int64_t ms)
{
	attempt_in(p, ms);
}

/* Moves on to the next address; true when the last one had its turn. */
static bool next_address(struct peer *p)
{
	if (++p->at_resolved < p->n_resolved)
		return false;
	p->n_resolved = p->at_resolved = 0;
	if (++p->at < p->n_addrs)
		return false;
	p->at = 0;
	return true;
}

void peer_failed(struct peer *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->why, sizeof(p->why), fmt, ap);
	va_end(ap);
	p->ls->count.dial_failed++;
	if (!next_address(p)) {
		attempt_in(p, 0);
		return;
	}
	p->attempts++;
	if (p->once) {
		want_ended(p, SG_ENOROUTE, p->why);
		return;
	}
	if (p->attempts == 1)
		log_warn("%s: %s", p->name, p->why);
	else
		log_debug("%s: attempt %u: %s", p->name, (unsigned)p->attempts, p->why);
	attempt_in(p, backoff_ms(p));
}

bool peer_serves(const struct peer *p, const struct sg_link *l)
{
	bool wanted = !p->exact && sg_pk_equal(&p->pk, &l->remote);

	for (size_t i = 0; i < p->n_addrs && !wanted; i++)
		wanted = sg_pk_equal(&p->pk, &l->remote) && strcmp(p->addrs[i].carrier, l->carrier) == 0;
	return wanted;
}

struct sg_link *peer_link(const struct peer *p)
{
	sg_list_for (it, &p->ls->links) {
		struct sg_link *l = sg_container_of(it, struct sg_link, node);

		if (peer_serves(p, l))
			return l;
	}
	return NULL;
}

/* A caller shows by its mark what it is; whom we called, by its hello, or by having none when the link is looked at again. */
static void peer_kind(struct peer *p, const struct sg_link *l)
{
	const struct sg_links_host *host = p->ls->conf.host;

	if (p->foreign == !l->own)
		return;
	p->foreign = !l->own;
	if (host->set_foreign)
		host->set_foreign(p->ls->conf.host_arg, &p->pk, p->foreign);
}

static void peer_linked(struct peer *p, const struct sg_link *l)
{
	look_again(p, p->once ? 0 : HELLO_MS);
	p->why[0] = 0;
	p->linked_at = l->up_at;
	if (!l->dialled)
		peer_kind(p, l);
}

/*
 * A visor of 2024 forgets a closed transport within a second, and must not be called before (link.h, quiet_ms). Our own
 * ends take a new connection for a link that they do not have any more at any time.
 */
static void peer_unlinked(struct peer *p, const struct sg_link *l, const char *why)
{
	int64_t ms;

	if (p->once)
		return; /* it was dialled once; a dial under way is another one's */
	if (l->own || sg_mono_ms_since(sg_loop_now(p->ls->conf.loop), l->up_at) >= HELLO_MS)
		peer_kind(p, l);
	if (peer_link(p))
		return;
	snprintf(p->why, sizeof(p->why), "the link is down: %s", why);
	if (sg_mono_ms_since(sg_loop_now(p->ls->conf.loop), p->linked_at) >= STABLE_MS)
		p->attempts = 0;
	p->attempts++;
	ms = backoff_ms(p);
	p->at = p->at_resolved = p->n_resolved = 0;
	attempt_in(p, l->own ? ms : SG_MAX(ms, (int64_t)SG_LINK_QUIET_MS));
}

void peers_linked(struct sg_links *ls, const struct sg_link *l)
{
	sg_list_for (it, &ls->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (peer_serves(p, l))
			peer_linked(p, l);
	}
}

void peers_unlinked(struct sg_links *ls, const struct sg_link *l, const char *why)
{
	sg_list_for (it, &ls->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (peer_serves(p, l))
			peer_unlinked(p, l, why);
	}
}

void peers_kind(struct sg_links *ls, const struct sg_link *l)
{
	sg_list_for (it, &ls->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (sg_pk_equal(&p->pk, &l->remote))
			peer_kind(p, l);
	}
}

/* ---- dialling ---- */

/* What is dialled, for people: an address, hidden when that is wished, or the carrier that finds it by its key. */
static const char *target(const struct peer *p, char buf[SG_ADDR_TEXT])
{
	if (!p->addrs[p->at].host)
		return p->addrs[p->at].carrier;
	return sg_log_addr(sg_addr_str(&p->resolved[p->at_resolved], buf));
}

static void dial_resolved(struct peer *p)
{
	const struct sg_links_host *host = p->ls->conf.host;
	const char *carrier = p->addrs[p->at].carrier;
	char addr[SG_ADDR_TEXT];
	int ret;

	p->dial.secured = host->is_secured && host->is_secured(p->ls->conf.host_arg, carrier);
	if (p->dial.secured) {
		int64_t wait_ms = links_may_go(p->ls, p, carrier);

		if (wait_ms) {
			peer_retry(p, wait_ms > 0 ? wait_ms : SG_DIAL_BACKOFF_MIN_MS);
			return;
		}
	}
	p->ls->count.dials++;
	p->dial.active = true;
	log_debug("%s: dialling %s by %s", p->name, target(p, addr), carrier);
	ret = host->dial(p->ls->conf.host_arg, carrier, &p->pk,
		p->addrs[p->at].host ? &p->resolved[p->at_resolved] : NULL, &p->dial);
	if (ret == 0)
		return;
	p->dial.active = false;
	if (ret == -ENOTSUP)
		peer_failed(p, "no plugin provides the carrier '%s' (list plugin 'transport-%s' brings %s)", carrier,
			strcmp(carrier, "dmsg") == 0 ? "dmsg" : "tcp", strcmp(carrier, "dmsg") == 0 ? "dmsg" : "stcp");
	else
		peer_failed(p, "%s could not be dialled: %s", target(p, addr), sg_strerror(ret));
}

static void on_resolved(void *arg, const struct sg_addr *addrs, size_t n, const char *why)
{
	struct resolving *r = arg;
	struct peer *p = r->peer;

	sg_free(r);
	if (!p)
		return;
	p->resolving = NULL;
	if (n == 0) {
		peer_failed(p, "the name %s could not be resolved: %s", sg_log_addr(p->addrs[p->at].host), why);
		return;
	}
	p->n_resolved = SG_MIN(n, (size_t)PEER_RESOLVED_MAX);
	p->at_resolved = 0;
	memcpy(p->resolved, addrs, p->n_resolved * sizeof(p->resolved[0]));
	dial_resolved(p);
}

static void resolve(struct peer *p)
{
	const struct peer_addr *a = &p->addrs[p->at];
	char text[300];
	int ret = -ENOMEM;

	if (!a->host) {
		p->n_resolved = 1;
		p->at_resolved = 0;
		p->resolved[0] = (struct sg_addr){0};
		dial_resolved(p);
		return;
	}
	snprintf(text, sizeof(text), strchr(a->host, ':') ? "[%s]:%u" : "%s:%u", a->host, a->port);
	if (sg_addr_parse(text, &p->resolved[0]) == 0) {
		p->n_resolved = 1;
		p->at_resolved = 0;
		dial_resolved(p);
		return;
	}
	p->resolving = sg_calloc(1, sizeof(*p->resolving));
	if (p->resolving) {
		p->resolving->peer = p;
		ret = sg_resolve(p->ls->conf.loop, a->host, a->port, on_resolved, p->resolving);
	}
	if (ret < 0) {
		sg_free(p->resolving);
		p->resolving = NULL;
		peer_failed(p, "the name %s could not be resolved: %s", sg_log_addr(a->host), sg_strerror(ret));
	}
}

/* The dial that a departed peer stayed for: once it has ended, so does what it brought. */
static void leave(struct peer *p)
{
	if (p->dial.active || p->pending)
		return;
	peers_close_departed(p->ls, p);
	want_ended(p, 0, "");
}

/* Never beside a link or an attempt of the same peer and carrier; who calls us meanwhile is judged when the dial would commit. */
static void attempt(void *arg)
{
	struct peer *p = arg;
	int64_t quiet_ms = links_quiet_ms(p->ls, &p->pk);

	const struct sg_link *l = peer_link(p);

	look_again(p, LOOK_MS);
	if (p->over) {
		leave(p);
		return;
	}
	if (l)
		peer_kind(p, l);
	if (l && p->once)
		want_ended(p, 0, "");
	else if (l || p->dial.active || p->pending || p->resolving)
		return;
	else if (quiet_ms > 0)
		attempt_in(p, quiet_ms);
	else if (p->at_resolved < p->n_resolved)
		dial_resolved(p);
	else
		resolve(p);
}

/* Where a carrier that found it by its key has connected to. */
static void note_address(struct sg_addr *addr, int fd)
{
	addr->len = sizeof(addr->ss);
	if (getpeername(fd, (struct sockaddr *)&addr->ss, &addr->len) < 0)
		*addr = (struct sg_addr){0};
}

void links_dial_done(struct sg_dial *dial, int fd_or_error, const char *why)
{
	struct peer *p = dial->peer;

	dial->active = false;
	if (fd_or_error < 0) {
		peer_failed(p, "%s", why);
		return;
	}
	if (!p->addrs[p->at].host)
		note_address(&p->resolved[p->at_resolved], fd_or_error);
	pending_start(p->ls, p, p->addrs[p->at].carrier, (struct line){.fd = fd_or_error}, &p->resolved[p->at_resolved],
		NULL);
}

void links_dial_done_stream(struct sg_dial *dial, struct sg_stream *stream)
{
	struct peer *p = dial->peer;

	dial->active = false;
	pending_start(p->ls, p, p->addrs[p->at].carrier, (struct line){.fd = -1, .stream = stream},
		&(struct sg_addr){0}, NULL);
}

void peer_dial_cancel(struct peer *p)
{
	if (!p->dial.active)
		return;
	p->dial.active = false;
	p->ls->conf.host->dial_cancel(p->ls->conf.host_arg, p->addrs[p->at].carrier, &p->dial);
}

void links_carrier_stop(struct sg_links *ls, const char *carrier)
{
	sg_list_for (it, &ls->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (p->dial.active && strcmp(p->addrs[p->at].carrier, carrier) == 0) {
			peer_dial_cancel(p);
			attempt_in(p, SG_DIAL_BACKOFF_MIN_MS);
		}
	}
}

/* ---- life ---- */

void peer_free(struct peer *p)
{
	if (!p)
		return;
	sg_list_remove(&p->node);
	sg_list_for_safe (it, &p->wants)
		sg_free(sg_container_of(it, struct want, node));
	peer_dial_cancel(p);
	if (p->pending)
		pending_cancel(p->pending);
	if (p->resolving)
		p->resolving->peer = NULL;
	sg_timer_stop(&p->timer);
	for (size_t i = 0; i < p->n_addrs; i++)
		sg_free(p->addrs[i].host);
	sg_free(p->addrs);
	sg_free(p->name);
	sg_free(p);
}

struct peer *peer_new(struct sg_links *ls, const struct sg_peer_conf *conf)
{
	struct peer *p = sg_calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	sg_list_init(&p->node);
	sg_list_init(&p->wants);
	p->ls = ls;
	p->pk = conf->pk;
	p->exact = conf->exact;
	p->automatic = conf->automatic;
	p->dial.peer = p;
	p->name = sg_strdup(conf->name);
	p->addrs = sg_calloc(SG_MAX(conf->n_addresses, (size_t)1), sizeof(*p->addrs));
	sg_timer_init(&p->timer, ls->conf.loop, attempt, p);
	if (!p->name || !p->addrs) {
		peer_free(p);
		return NULL;
	}
	for (size_t i = 0; i < conf->n_addresses; i++) {
		int ret = address_parse(conf->addresses[i], &p->addrs[p->n_addrs]);

		if (ret == -ENOMEM) {
			peer_free(p);
			return NULL;
		}
		if (ret == 0)
			p->n_addrs++;
	}
	p->foreign = ls->conf.host->is_foreign && ls->conf.host->is_foreign(ls->conf.host_arg, &p->pk);
	p->planned = p->n_addrs > 0;
	if (p->planned && sg_timer_start(&p->timer, 0) < 0) {
		peer_free(p);
		return NULL;
	}
	return p;
}

bool peer_is(const struct peer *p, const struct sg_peer_conf *conf)
{
	if (!sg_pk_equal(&p->pk, &conf->pk) || strcmp(p->name, conf->name) != 0 || p->n_addrs != conf->n_addresses ||
		p->once || p->exact != conf->exact)
		return false;
	for (size_t i = 0; i < p->n_addrs; i++) {
		struct peer_addr a;
		bool same;

		if (address_parse(conf->addresses[i], &a) < 0)
			return false;
		same = strcmp(a.carrier, p->addrs[i].carrier) == 0 && a.port == p->addrs[i].port &&
		       !a.host == !p->addrs[i].host && (!a.host || strcmp(a.host, p->addrs[i].host) == 0);
		sg_free(a.host);
		if (!same)
			return false;
	}
	return true;
}
