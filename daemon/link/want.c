/*
 * Links on demand: somebody needs a neighbour that nobody keeps connected. A peer is made that is dialled once, by the
 * carriers that find a visor by its key; all who want the same key wait for the same round.
 */
#include "link/internal.h"
#include "base/alloc.h"

/* The direct one first: a relayed link is the last resort. */
static const char *const by_key[] = {"stcpr", "dmsg"};

static struct peer *find_once(struct sg_links *ls, const struct sg_pk *pk, size_t *n)
{
	struct peer *found = NULL;

	*n = 0;
	sg_list_for (it, &ls->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		if (!p->once || p->over)
			continue;
		++*n;
		if (sg_pk_equal(&p->pk, pk))
			found = p;
	}
	return found;
}

static struct peer *once_new(struct sg_links *ls, const struct sg_pk *pk, const char *const *carriers, size_t n)
{
	char name[SG_PK_SHORT];
	struct peer *p = peer_new(ls, &(struct sg_peer_conf){.name = sg_pk_short(pk, name),
					      .pk = *pk,
					      .addresses = carriers,
					      .n_addresses = n,
					      .automatic = true});

	if (p) {
		p->once = true;
		sg_list_add_tail(&ls->peers, &p->node);
	}
	return p;
}

static int want(struct sg_links *ls, const struct sg_pk *pk, const char *const *carriers, size_t n, links_wanted_fn *fn,
	void *arg)
{
	size_t wanted;
	struct peer *p = find_once(ls, pk, &wanted);
	struct want *w;

	if (sg_pk_equal(pk, &ls->conf.pk))
		return SG_ENOROUTE;
	if (!p && wanted >= SG_LINK_WANTS_MAX)
		return SG_EFULL;
	w = sg_calloc(1, sizeof(*w));
	if (w && !p)
		p = once_new(ls, pk, carriers, n);
	if (!w || !p) {
		sg_free(w);
		return -ENOMEM;
	}
	w->fn = fn;
	w->arg = arg;
	sg_list_add_tail(&p->wants, &w->node);
	return 0;
}

int links_want(struct sg_links *ls, const struct sg_pk *pk, links_wanted_fn *fn, void *arg)
{
	return want(ls, pk, by_key, SG_ARRAY_LEN(by_key), fn, arg);
}

int links_want_by(struct sg_links *ls, const struct sg_pk *pk, const char *carrier, links_wanted_fn *fn, void *arg)
{
	return want(ls, pk, &carrier, 1, fn, arg);
}

void links_want_cancel(struct sg_links *ls, void *arg)
{
	sg_list_for (it, &ls->peers) {
		struct peer *p = sg_container_of(it, struct peer, node);

		sg_list_for_safe (at, &p->wants) {
			struct want *w = sg_container_of(at, struct want, node);

			if (w->arg != arg)
				continue;
			sg_list_remove(&w->node);
			sg_free(w);
		}
	}
}

void want_ended(struct peer *p, int err, const char *why)
{
	char text[sizeof(p->why)];

	snprintf(text, sizeof(text), "%s", why);
	/* Who is told may want the same key again: that begins a new round. */
	p->over = true;
	while (!sg_list_empty(&p->wants)) {
		struct want *w = sg_container_of(p->wants.next, struct want, node);
		links_wanted_fn *fn = w->fn;
		void *arg = w->arg;

		sg_list_remove(&w->node);
		sg_free(w);
		fn(arg, err, text);
	}
	peer_free(p);
}
