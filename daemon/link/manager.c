/*
 * The manager: who may connect, which of two connections of one transport stays, what core and the control API ask.
 *
 * Double dial. Both ends may dial at the same time, and there is one transport id per pair of keys and carrier. Between
 * our own ends the link that edge 0 dialled stays. A visor of 2024 is less forgiving. As the called one:
 *
 *   - it holds such a transport, and is edge 0: it keeps the old one, closes the new one, and its accept loop ends for the
 *     life of the process; and is edge 1: it closes the old one, then loses both;
 *   - the caller leaves between the first Noise message and a valid entry: its accept loop ends likewise.
 *
 * As the caller it takes a refused settlement calmly, and tries again later. Hence:
 *
 *   - a dial has a point of no return, the first Noise message (LINK_HS_READY in handshake.h). Before it, the dial is
 *     called off when a link is live or a caller of the same transport has proven its key;
 *   - beyond it, the dial is carried through, and a caller of the same transport is refused by the answer byte, so that
 *     the other end never holds a transport when our entry arrives. The exception is a caller with our mark that is edge
 *     0 while we are edge 1: it refuses our dial by this same rule, and one of both has to win;
 *   - over a carrier that secures its streams, the other end expects an entry from the moment it accepts one: the point
 *     of no return lies before the carrier's dial;
 *   - a link that is live, and a caller that came after it was up: the caller does not hold that link any more (nobody
 *     dials beside a live one), so it replaces it. A caller that came before it was up dialled at the same time as we
 *     did; then our dial stays, unless the caller is edge 0 and ours.
 */
#include "link/internal.h"
#include "base/alloc.h"

#include <netinet/in.h>
#include <unistd.h>

SG_LOG_TOPIC("link");

static void no_link(void *arg, struct sg_link *l)
{
	(void)arg;
	(void)l;
}

static void no_down(void *arg, struct sg_link *l, const char *why)
{
	(void)arg;
	(void)l;
	(void)why;
}

static void no_packet(void *arg, struct sg_link *l, const struct sg_packet *p)
{
	(void)arg;
	(void)l;
	(void)p;
}

static const struct sg_links_user nobody = {
	.on_up = no_link,
	.on_down = no_down,
	.on_hello = no_link,
	.on_packet = no_packet,
	.on_batch_end = no_link,
	.on_writable = no_link,
};

#define COUNTER_ROW(member, name, help) {name, offsetof(struct sg_link_counters, member), help},
#define DROP_ROW(reason, name, help)                                                                                   \
	{name, offsetof(struct sg_link_counters, drop) + (reason) * sizeof(uint64_t), help},

/* clang-format off */
const struct sg_counter link_counter_table[] = {
	SG_LINK_COUNTERS(COUNTER_ROW)
	SG_LINK_DROPS(DROP_ROW)
	{NULL, 0, NULL},
};
/* clang-format on */

void links_drop(struct sg_links *ls, enum link_drop reason, const char *who)
{
	static const char *const texts[] = {
#define DROP_TEXT(reason, name, help) [reason] = (help),
		SG_LINK_DROPS(DROP_TEXT)};

	ls->count.drop[reason]++;
	log_info_rl(&ls->rl_drop[reason], "%s: %s", who, texts[reason]);
}

struct sg_links *links_new(const struct sg_links_conf *conf)
{
	struct sg_links *ls = sg_calloc(1, sizeof(*ls));

	if (!ls)
		return NULL;
	ls->conf = *conf;
	ls->user = &nobody;
	ls->next_port = 49152;
	ls->quiet_until = sg_mono_add_ms(sg_loop_now(conf->loop), conf->quiet_ms);
	sg_list_init(&ls->links);
	sg_list_init(&ls->pendings);
	sg_list_init(&ls->peers);
	sg_list_init(&ls->spare_chunks);
	ls->scratch = sg_malloc(SG_LINK_RX_READ);
	if (!ls->scratch) {
		links_free(ls);
		return NULL;
	}
	return ls;
}

void links_free(struct sg_links *ls)
{
	if (!ls)
		return;
	ls->stopping = true;
	while (!sg_list_empty(&ls->links))
		link_close(sg_container_of(ls->links.next, struct sg_link, node), "we are stopping");
	while (!sg_list_empty(&ls->pendings))
		pending_free(sg_container_of(ls->pendings.next, struct pending, node));
	sg_list_for_safe (it, &ls->peers)
		peer_free(sg_container_of(it, struct peer, node));
	sg_list_for_safe (it, &ls->spare_chunks)
		sg_free(sg_container_of(it, struct tx_chunk, node));
	sg_free(ls->spare_plain);
	sg_free(ls->scratch);
	sg_wipe(&ls->conf.sk, sizeof(ls->conf.sk));
	sg_free(ls);
}

struct sg_loop *links_loop(const struct sg_links *ls)
{
	return ls->conf.loop;
}

const struct sg_pk *links_own_pk(const struct sg_links *ls)
{
	return &ls->conf.pk;
}

const struct sg_sk *links_own_sk(const struct sg_links *ls)
{
	return &ls->conf.sk;
}

const struct sg_crypto *links_crypto(const struct sg_links *ls)
{
	return ls->conf.crypto;
}

void links_set_user(struct sg_links *ls, const struct sg_links_user *user, void *arg)
{
	ls->user = user ? user : &nobody;
	ls->user_arg = arg;
}

const struct sg_link_counters *links_counters(const struct sg_links *ls)
{
	return &ls->count;
}

size_t links_buffers(const struct sg_links *ls)
{
	return ls->n_chunks * sizeof(struct tx_chunk);
}

void links_person(const struct sg_links *ls, const struct sg_pk *pk, char *buf, size_t cap)
{
	const struct peer *peer = peer_find(ls, pk);
	char key[SG_PK_SHORT];

	snprintf(buf, cap, "%s", peer && !peer->once ? peer->name : sg_pk_short(pk, key));
}

struct sg_log_limit *links_log_limit(const struct sg_link *l, struct sg_log_limit *rl)
{
	return l->dialled || peer_find(l->ls, &l->remote) ? NULL : rl;
}

/* The newest first: while one link replaces another, both are there. */
struct sg_link *links_find(struct sg_links *ls, const struct sg_pk *pk)
{
	for (struct sg_list *it = ls->links.prev; it != &ls->links; it = it->prev) {
		struct sg_link *l = sg_container_of(it, struct sg_link, node);

		if (sg_pk_equal(&l->remote, pk))
			return l;
	}
	return NULL;
}

struct sg_link *links_by_id(struct sg_links *ls, const struct sg_tpid *id)
{
	for (struct sg_list *it = ls->links.prev; it != &ls->links; it = it->prev) {
		struct sg_link *l = sg_container_of(it, struct sg_link, node);

		if (sg_tpid_equal(&l->id, id))
			return l;
	}
	return NULL;
}

static struct sg_link *find_carrier(struct sg_links *ls, const struct sg_pk *pk, const char *carrier)
{
	sg_list_for (it, &ls->links) {
		struct sg_link *l = sg_container_of(it, struct sg_link, node);

		if (sg_pk_equal(&l->remote, pk) && strcmp(l->carrier, carrier) == 0)
			return l;
	}
	return NULL;
}

size_t links_close(struct sg_links *ls, const struct sg_pk *pk, const char *carrier, const char *why)
{
	struct sg_link *l;
	size_t n = 0;

	/* Anew each time: whoever hears of one may close others. */
	while ((l = carrier[0] ? find_carrier(ls, pk, carrier) : links_find(ls, pk))) {
		link_close(l, why);
		n++;
	}
	return n;
}

void links_each(const struct sg_links *ls, bool (*fn)(void *arg, const struct sg_link_info *info), void *arg)
{
	sg_list_for (it, &ls->links) {
		struct sg_link_info info;

		link_get_info(sg_container_of(it, struct sg_link, node), &info);
		if (!fn(arg, &info))
			return;
	}
}

size_t links_count(const struct sg_links *ls)
{
	return ls->n_links;
}

/* ---- connections from carriers ---- */

/* One address of IPv4, or the /64 of IPv6 that one customer has. */
static bool same_site(const struct sg_addr *a, const struct sg_addr *b)
{
	const struct sockaddr_in6 *a6 = (const void *)&a->ss, *b6 = (const void *)&b->ss;

	if (a->ss.ss_family == AF_INET6 && b->ss.ss_family == AF_INET6)
		return memcmp(&a6->sin6_addr, &b6->sin6_addr, 8) == 0;
	return sg_addr_same_host(a, b);
}

/* Callers in handshake from one address, or, where only keys are known, with one key. */
static size_t pending_from(const struct sg_links *ls, const struct sg_addr *from, const struct sg_pk *caller)
{
	size_t n = 0;

	sg_list_for (it, &ls->pendings) {
		const struct pending *p = sg_container_of(it, struct pending, node);

		if (!p->peer && (caller ? !p->addr.len && sg_pk_equal(&p->remote, caller)
					: p->addr.len && same_site(&p->addr, from)))
			n++;
	}
	return n;
}

/*
 * The first come of the callers that are in handshake, of those with their key still to show, or of all. Who waits for our
 * worker is not idle: to cut it would throw away what it is about to be given.
 */
static bool cut_oldest(struct sg_links *ls, bool all)
{
	sg_list_for (it, &ls->pendings) {
		struct pending *p = sg_container_of(it, struct pending, node);
		char addr[SG_ADDR_TEXT];

		if (p->peer || p->working || (!all && p->phase != LINK_HS_STREAM))
			continue;
		links_drop(ls, LINK_DROP_PENDING, pending_from_text(p, addr));
		pending_cancel(p);
		return true;
	}
	return false;
}

/*
 * Room for one more in handshake. Whoever came first and is not done makes it: a crowd of idle callers holds up nobody
 * who speaks, for a handshake takes less time than the crowd needs to be replaced. A key is made in no time, so those
 * that showed one come next, else a crowd with keys would keep the door shut.
 */
static bool make_room(struct sg_links *ls)
{
	return ls->n_pendings < SG_HS_PENDING_MAX || cut_oldest(ls, false) || cut_oldest(ls, true);
}

static void called(struct sg_links *ls, const char *carrier, struct line line, const struct sg_addr *from,
	const struct sg_pk *caller)
{
	enum link_drop reason;
	char who[SG_ADDR_TEXT];

	if (pending_from(ls, from, caller) >= SG_HS_PENDING_PER_IP)
		reason = LINK_DROP_PENDING_IP;
	else if (ls->n_links >= SG_LINKS_MAX)
		reason = LINK_DROP_LINKS;
	else if (!make_room(ls))
		reason = LINK_DROP_PENDING;
	else {
		pending_start(ls, NULL, carrier, line, from, caller);
		return;
	}
	links_drop(ls, reason,
		caller      ? sg_pk_short(caller, who)
		: from->len ? sg_log_addr(sg_addr_str(from, who))
			    : "somebody");
	line_close(&line);
}

void links_accepted(struct sg_links *ls, const char *carrier, int fd, const struct sg_addr *from)
{
	called(ls, carrier, (struct line){.fd = fd}, from ? from : &(struct sg_addr){0}, NULL);
}

/* Whoever calls with our own key is ourselves, or has stolen it: neither is a neighbour. */
void links_accepted_stream(struct sg_links *ls, const char *carrier, struct sg_stream *stream)
{
	struct sg_stream_info info;

	stream->ops->info(stream, &info, sizeof(info));
	if (sg_pk_equal(&info.remote, &ls->conf.pk))
		stream->ops->close(stream);
	else
		called(ls, carrier, (struct line){.fd = -1, .stream = stream}, &(struct sg_addr){0}, &info.remote);
}

/* ---- the double-dial rule ---- */

static bool same_transport(const struct pending *a, const struct sg_pk *remote, const char *carrier)
{
	return strcmp(a->carrier, carrier) == 0 && sg_pk_equal(&a->remote, remote);
}

/* The point of no return lies behind it. */
static bool is_committed(const struct pending *p)
{
	return p->phase > LINK_HS_READY && p->phase < LINK_HS_FAILED;
}

/* Our own dial to a neighbour by a carrier that secures its streams, not connected yet. */
static struct peer *find_secured_dial(const struct sg_links *ls, const struct sg_pk *pk, const char *carrier)
{
	sg_list_for (it, &ls->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (p->dial.active && p->dial.secured && sg_pk_equal(&p->pk, pk) &&
			strcmp(p->addrs[p->at].carrier, carrier) == 0)
			return p;
	}
	return NULL;
}

static struct pending *find_dial(const struct sg_links *ls, const struct pending *caller)
{
	sg_list_for (it, &ls->pendings) {
		struct pending *p = sg_container_of(it, struct pending, node);

		if (p->peer && same_transport(p, &caller->remote, caller->carrier))
			return p;
	}
	return NULL;
}

static bool has_proven_caller(const struct sg_links *ls, const struct sg_pk *pk, const char *carrier)
{
	sg_list_for (it, &ls->pendings) {
		const struct pending *p = sg_container_of(it, struct pending, node);

		if (!p->peer && p->phase > LINK_HS_NOISE && p->phase < LINK_HS_FAILED && same_transport(p, pk, carrier))
			return true;
	}
	return false;
}

void links_closed(struct sg_links *ls, const struct sg_link *l)
{
	for (size_t i = 0; i < CLOSED_KEPT; i++) {
		if (sg_pk_equal(&ls->closed[i].pk, &l->remote))
			ls->closed[i] = (struct closed){0};
	}
	if (l->own)
		return;
	ls->closed[ls->closed_at].pk = l->remote;
	ls->closed[ls->closed_at].quiet_until = sg_mono_add_ms(sg_loop_now(ls->conf.loop), SG_LINK_QUIET_MS);
	ls->closed_at = (ls->closed_at + 1) % CLOSED_KEPT;
}

int64_t links_quiet_ms(const struct sg_links *ls, const struct sg_pk *pk)
{
	for (size_t i = 0; i < CLOSED_KEPT; i++) {
		if (sg_pk_equal(&ls->closed[i].pk, pk))
			return SG_MAX(
				sg_mono_ms_since(ls->closed[i].quiet_until, sg_loop_now(ls->conf.loop)), (int64_t)0);
	}
	return 0;
}

/* Two peers of the configuration may have the same key. */
static bool has_committed_twin(const struct sg_links *ls, const struct peer *peer, const char *carrier)
{
	sg_list_for (it, &ls->pendings) {
		const struct pending *p = sg_container_of(it, struct pending, node);

		if (p->peer && p->peer != peer && is_committed(p) && same_transport(p, &peer->pk, carrier))
			return true;
	}
	return find_secured_dial(ls, &peer->pk, carrier) != NULL;
}

int64_t links_may_go(struct sg_links *ls, const struct peer *peer, const char *carrier)
{
	int64_t quiet_ms = -sg_mono_ms_since(sg_loop_now(ls->conf.loop), ls->quiet_until);

	if (find_carrier(ls, &peer->pk, carrier) || has_proven_caller(ls, &peer->pk, carrier) ||
		has_committed_twin(ls, peer, carrier))
		return -1;
	return peer->foreign && quiet_ms > 0 ? quiet_ms : 0;
}

static bool we_are_edge_0(const struct sg_links *ls, const struct pending *p)
{
	return sg_pk_cmp(&ls->conf.pk, &p->remote) < 0;
}

enum sg_settle_answer links_decide(struct sg_links *ls, struct pending *p)
{
	const bool theirs_wins = p->hs.marked && !we_are_edge_0(ls, p);
	const struct sg_link *l = find_carrier(ls, &p->remote, p->carrier);
	struct pending *dial = find_dial(ls, p);
	struct peer *dialling = find_secured_dial(ls, &p->remote, p->carrier);
	char who[64];

	links_person(ls, &p->remote, who, sizeof(who));
	if (ls->n_links >= SG_LINKS_MAX && !l) {
		links_drop(ls, LINK_DROP_LINKS, who);
		return SG_SETTLE_FAIL;
	}
	if ((((dial && is_committed(dial)) || dialling) && !theirs_wins) ||
		(l && l->dialled && !sg_mono_before(l->up_at, p->since) && !theirs_wins)) {
		links_drop(ls, LINK_DROP_DOUBLE, who);
		return SG_SETTLE_FAIL;
	}
	if (dial) {
		struct peer *peer = dial->peer;

		pending_cancel(dial);
		peer_retry(peer, SG_DIAL_BACKOFF_MIN_MS);
	}
	if (dialling) {
		peer_dial_cancel(dialling);
		peer_retry(dialling, SG_DIAL_BACKOFF_MIN_MS);
	}
	return SG_SETTLE_OK;
}

void links_settled(struct sg_links *ls, struct pending *p, struct line line)
{
	struct sg_link *old = find_carrier(ls, &p->remote, p->carrier);
	struct link_hs_result hs;
	struct sg_link_info info;
	struct peer *peer;
	struct sg_link *l;

	link_hs_take(&p->hs, &hs);
	l = link_new(ls, p, line, &hs);
	if (!l) {
		line_close(&line);
		sg_frame_key_fini(&hs.tx);
		sg_frame_key_fini(&hs.rx);
		peer = p->peer;
		pending_free(p);
		if (peer)
			peer_failed(peer, "out of memory");
		return;
	}
	ls->count.up++;
	log_info_rl(links_log_limit(l, &ls->rl_up), "%s: %s%s%s is up (%s)", l->name, l->carrier,
		l->address[0] ? " to " : "", sg_log_addr(l->address), l->dialled ? "we dialled" : "it dialled");
	peers_linked(ls, l);
	l->busy++;
	ls->user->on_up(ls->user_arg, l);
	link_get_info(l, &info);
	if (ls->conf.host->up && !l->closed)
		ls->conf.host->up(ls->conf.host_arg, &info);
	if (old) {
		ls->count.replaced++;
		link_close(old, "a newer connection of the same peer replaces it");
	}
	l->busy--;
	if (l->closed)
		link_free(l);
	else
		rx_first(l, hs.plain, hs.raw);
	pending_free(p);
}
