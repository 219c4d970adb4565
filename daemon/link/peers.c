/*
 * The set of peers: those that the configuration names, in its order, and behind them those that are wanted once
 * (link/want.c). One that left it is let go with its links, unless others want these.
 */
#include "base/alloc.h"
#include "link/internal.h"

struct peer *peer_find(const struct sg_links *ls, const struct sg_pk *pk)
{
	sg_list_for (it, &ls->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (sg_pk_equal(&p->pk, pk))
			return p;
	}
	return NULL;
}

/* ---- another configuration ---- */

static struct peer *find_unchanged(struct sg_list *peers, const struct sg_peer_conf *conf)
{
	sg_list_for (it, peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (peer_is(p, conf))
			return p;
	}
	return NULL;
}

/*
 * Whom a dial has reached beyond the point of no return expects it to be carried through: a visor of 2024 would accept
 * nobody any more. Such a peer stays until that dial has ended, and dials no other.
 */
static bool must_stay(const struct peer *p)
{
	return (p->dial.active && p->dial.secured) ||
	       (p->pending && p->pending->phase > LINK_HS_READY && p->pending->phase < LINK_HS_FAILED);
}

static void last_dial(struct peer *p)
{
	p->once = p->over = true;
	while (p->n_addrs > p->at + 1)
		sg_free(p->addrs[--p->n_addrs].host);
	p->n_resolved = p->at_resolved + 1;
}

static bool is_kept(const struct sg_links *ls, const struct sg_link *l)
{
	sg_list_for (it, &ls->peers) {
		const struct peer *p = sg_container_of(it, struct peer, node);

		if (!p->once && peer_serves(p, l))
			return true;
	}
	return false;
}

static struct sg_link *find_departed(struct sg_links *ls, const struct peer *gone)
{
	sg_list_for (it, &ls->links) {
		struct sg_link *l = sg_container_of(it, struct sg_link, node);

		if (peer_serves(gone, l) && !is_kept(ls, l))
			return l;
	}
	return NULL;
}

void peers_close_departed(struct sg_links *ls, const struct peer *gone)
{
	struct sg_link *l;

	while ((l = find_departed(ls, gone)))
		link_close(l, "this peer is not configured any more");
}

static void move_all(struct sg_list *from, struct sg_list *to)
{
	while (!sg_list_empty(from)) {
		struct sg_list *first = from->next;

		sg_list_remove(first);
		sg_list_add_tail(to, first);
	}
}

int links_peers_set(struct sg_links *ls, const struct sg_peer_conf *peers, size_t n)
{
	struct sg_list fresh, old;

	sg_list_init(&fresh);
	sg_list_init(&old);
	for (size_t i = 0; i < n; i++) {
		struct peer *p;

		if (find_unchanged(&ls->peers, &peers[i]))
			continue;
		p = peer_new(ls, &peers[i]);
		if (!p) {
			sg_list_for_safe (it, &fresh)
				peer_free(sg_container_of(it, struct peer, node));
			return -ENOMEM;
		}
		sg_list_add_tail(&fresh, &p->node);
	}
	move_all(&ls->peers, &old);
	for (size_t i = 0; i < n; i++) {
		struct peer *p = find_unchanged(&old, &peers[i]);

		if (p) {
			sg_list_remove(&p->node);
			sg_list_add_tail(&ls->peers, &p->node);
		}
	}
	move_all(&fresh, &ls->peers);
	sg_list_for_safe (it, &old) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (p->once) {
			sg_list_remove(&p->node);
			sg_list_add_tail(&ls->peers, &p->node);
			continue;
		}
		peers_close_departed(ls, p);
		if (must_stay(p)) {
			last_dial(p);
			sg_list_remove(&p->node);
			sg_list_add_tail(&ls->peers, &p->node);
		} else {
			peer_free(p);
		}
	}
	return 0;
}

/* ---- how they stand ---- */

int links_peer_find(const struct sg_links *ls, const char *name, struct sg_pk *out)
{
	sg_list_for (it, &ls->peers) {
		const struct peer *p = sg_container_of(it, struct peer, node);

		if (strcmp(p->name, name) == 0) {
			*out = p->pk;
			return 0;
		}
	}
	return -ENOENT;
}

static void state_without_link(const struct peer *p, struct sg_peer_state *out)
{
	*out = (struct sg_peer_state){.pk = p->pk, .attempts = p->attempts, .next_try_ms = -1};
	if (p->n_addrs) {
		const struct peer_addr *a = &p->addrs[p->at];

		snprintf(out->carrier, sizeof(out->carrier), "%s", a->carrier);
		if (a->host)
			snprintf(out->address, sizeof(out->address), strchr(a->host, ':') ? "[%s]:%u" : "%s:%u",
				a->host, a->port);
	}
	if (p->planned)
		out->next_try_ms = SG_MAX(sg_mono_ms_since(p->timer.due, sg_loop_now(p->ls->conf.loop)), (int64_t)0);
	snprintf(out->why, sizeof(out->why), "%s",
		p->why[0]    ? p->why
		: p->n_addrs ? "not dialled yet"
			     : "it has no address: it has to connect to us");
}

void links_waiting(
	const struct sg_links *ls, bool (*fn)(void *arg, const char *name, const struct sg_peer_state *st), void *arg)
{
	sg_list_for (it, &ls->peers) {
		const struct peer *p = sg_container_of(it, struct peer, node);
		struct sg_peer_state st;

		if (p->once || peer_link(p))
			continue;
		state_without_link(p, &st);
		if (!fn(arg, p->name, &st))
			return;
	}
}

int links_peer_state(const struct sg_links *ls, const struct sg_pk *pk, struct sg_peer_state *out)
{
	const struct peer *p = peer_find(ls, pk);
	const struct sg_link *l = NULL;

	sg_list_for (it, &ls->links) {
		const struct sg_link *each = sg_container_of(it, struct sg_link, node);

		if (sg_pk_equal(&each->remote, pk))
			l = each;
	}
	if (!p && !l)
		return -ENOENT;
	if (!l) {
		state_without_link(p, out);
		return 0;
	}
	*out = (struct sg_peer_state){.pk = *pk, .linked = true, .next_try_ms = -1};
	snprintf(out->carrier, sizeof(out->carrier), "%s", l->carrier);
	snprintf(out->address, sizeof(out->address), "%s", l->address);
	return 0;
}
