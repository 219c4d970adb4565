/*
 * From wanted to done, in an order that never opens a gap: ruleset, sysctls, addresses, routes, rules; then the
 * connections of what is newly steered are forgotten, for a flowtable or an old translation would bypass us.
 */
#include "netd/apply.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"

SG_LOG_TOPIC("netd");

#define WHY_ROOM    512
#define NFT_TRIES   3
#define GUARD_TRIES 3 /* of one text: what three times was refused will be the fourth time */

void applier_init(struct applier *a, struct kernel *kernel, struct rundir *run)
{
	*a = (struct applier){.kernel = kernel, .run = run};
}

void applier_fini(struct applier *a)
{
	sg_free(a->text);
	sg_free(a->seen);
	sg_free(a->guard);
	a->text = a->seen = a->guard = NULL;
}

bool applier_found(struct kernel *k)
{
	char *text = NULL;
	int err = kernel_nft_list(k, &text);

	sg_free(text);
	return err == 0;
}

/* ---- counters -------------------------------------------------------------------------------------------------- */

static void keep(uint64_t *base, uint64_t last, uint64_t now, bool gone)
{
	if (gone || now < last)
		*base += last;
}

static void read_counts(struct applier *a, bool replacing)
{
	struct k_counts now = {0};

	/* A table that somebody removed took its last figures along; those read before stand. */
	(void)kernel_counts(a->kernel, &now);
	keep(&a->base.blocked, a->last.blocked, now.blocked, false);
	keep(&a->base.refused, a->last.refused, now.refused, false);
	keep(&a->base.forged, a->last.forged, now.forged, false);
	a->last = now;
	if (!replacing)
		return;
	keep(&a->base.blocked, now.blocked, 0, true);
	keep(&a->base.refused, now.refused, 0, true);
	keep(&a->base.forged, now.forged, 0, true);
	a->last = (struct k_counts){0};
}

struct k_counts applier_counts(struct applier *a)
{
	read_counts(a, false);
	return (struct k_counts){.blocked = a->base.blocked + a->last.blocked,
		.refused = a->base.refused + a->last.refused,
		.forged = a->base.forged + a->last.forged};
}

/* ---- the ruleset ----------------------------------------------------------------------------------------------- */

/* Whether the kernel still holds what we handed over. */
static bool nft_in_place(struct applier *a, const char *text)
{
	uint32_t gen;
	char *now = NULL;
	bool same;

	if (!a->text || !a->seen || strcmp(a->text, text) != 0 || kernel_nft_gen(a->kernel, &gen) < 0)
		return false;
	if (gen == a->gen)
		return true;
	same = kernel_nft_list(a->kernel, &now) == 0 && strcmp(now, a->seen) == 0;
	sg_free(now);
	if (same)
		a->gen = gen;
	else if (a->settled)
		log_warn_rl(
			&a->rl_table, "table inet skygate: changed by somebody else (nft flush ruleset?): put back");
	return same;
}

static void forget_text(struct applier *a)
{
	sg_free(a->text);
	sg_free(a->seen);
	a->text = a->seen = NULL;
}

static int nft_run(struct applier *a, const char *text)
{
	char why[WHY_ROOM] = "";
	int err = kernel_nft_run(a->kernel, text, why, sizeof(why));

	if (err < 0)
		log_error("table inet skygate: not accepted: %s", why[0] ? why : sg_strerror(err));
	return err;
}

static int nft_remove(struct applier *a)
{
	int err;

	forget_text(a);
	if (!applier_found(a->kernel))
		return 0;
	read_counts(a, true);
	err = nft_run(a, "add table inet skygate\ndelete table inet skygate\n");
	return err;
}

/*
 * Replaces the table and remembers how the kernel lists it. When somebody else's transaction came in between, what was
 * listed may be theirs: again.
 */
static int nft_replace(struct applier *a, const char *text)
{
	char *copy = sg_strdup(text);
	int err = copy ? 0 : -ENOMEM;

	if (err < 0)
		return err;
	for (int i = 0; i < NFT_TRIES && err == 0; i++) {
		uint32_t before = 0, after = 0;

		forget_text(a);
		read_counts(a, true);
		err = kernel_nft_gen(a->kernel, &before);
		if (err == 0)
			err = nft_run(a, text);
		if (err == 0)
			err = kernel_nft_gen(a->kernel, &after);
		if (err == 0)
			err = kernel_nft_list(a->kernel, &a->seen);
		if (err == 0 && after == before + 1) {
			a->gen = after;
			break;
		}
	}
	if (err < 0) {
		sg_free(copy);
		forget_text(a);
		return err;
	}
	a->text = copy;
	return 0;
}

static int apply_nft(struct applier *a, const char *text)
{
	if (!text)
		return nft_remove(a);
	return nft_in_place(a, text) ? 0 : nft_replace(a, text);
}

/*
 * The guard's table. It is a third layer where the kernel has it: without it the other two hold as they did. Nobody
 * else can change it, so it is not read back.
 */
static void apply_guard(struct applier *a, const char *text)
{
	char why[WHY_ROOM] = "", *copy;
	bool same = text ? a->guard && strcmp(a->guard, text) == 0 : !a->guard;

	if (!a->guards || (same && (a->guard_tries == 0 || a->guard_tries >= GUARD_TRIES)))
		return;
	copy = text ? sg_strdup(text) : NULL;
	if (text && !copy)
		return;
	a->guard_tries = same ? a->guard_tries + 1 : 1;
	sg_free(a->guard);
	a->guard = copy;
	if (kernel_guard(a->kernel, text, why, sizeof(why)) == 0)
		a->guard_tries = 0;
	else if (a->guard_tries == GUARD_TRIES)
		log_info("table inet " NETD_GUARD
			 ": not accepted: %s. While somebody flushes the ruleset, policy rules "
			 "alone keep what they can; Linux 5.12 has what it needs",
			why[0] ? why : "out of memory");
}

/* ---- rules, routes, addresses ------------------------------------------------------------------------------------ */

static bool same_rule(const struct k_rule *a, const struct k_rule *b)
{
	return a->family == b->family && a->prio == b->prio && a->table == b->table && a->by_uid == b->by_uid &&
	       a->uid == b->uid && a->verdict == b->verdict && a->go_on == b->go_on && strcmp(a->iif, b->iif) == 0 &&
	       k_prefix_equal(&a->from, &b->from) && k_prefix_equal(&a->to, &b->to);
}

static bool same_route(const struct k_route *a, const struct k_route *b)
{
	return k_prefix_equal(&a->dst, &b->dst) && a->unreachable == b->unreachable && a->foreign == b->foreign &&
	       a->metric == b->metric && a->table == b->table && strcmp(a->dev, b->dev) == 0;
}

static bool same_addr(const struct k_addr *a, const struct k_addr *b)
{
	return k_prefix_equal(&a->p, &b->p) && strcmp(a->dev, b->dev) == 0;
}

/* Of one pass over the kernel. */
struct pass {
	struct applier *a;
	int err;         /* the first */
	unsigned mended; /* rules and routes that were not as wanted */
	bool steered;    /* a rule that steers was added */
};

/* A kernel without IPv6 has nothing that could leak over it. */
static void note(struct pass *p, int err, uint8_t family, const char *what)
{
	if (family == AF_INET6 && (err == -EAFNOSUPPORT || err == -EOPNOTSUPP || err == -EPROTONOSUPPORT))
		err = 0;
	if (err < 0) {
		log_error("%s: %s", what, sg_strerror(err));
		p->err = p->err ? p->err : err;
	}
}

/* Our TUNs up, with their sizes, whoever changed them. */
static void apply_links(struct pass *p, const struct k_view *v)
{
	static const char *const ours[] = {SG_TUN_CLIENT_NAME, SG_TUN_SERVER_NAME};

	for (size_t i = 0; i < SG_ARRAY_LEN(ours); i++) {
		const struct k_link *l = k_view_link(v, ours[i]);

		if (l && (!l->up || l->mtu != SG_VPN_MTU || l->queue != NETD_TUN_QUEUE))
			note(p, kernel_link_up(p->a->kernel, ours[i], SG_VPN_MTU, NETD_TUN_QUEUE), AF_INET,
				"the TUN could not be brought up");
	}
}

static void apply_addrs(struct pass *p, const struct want *w, const struct k_view *v)
{
	for (size_t i = 0; i < v->n_addrs; i++) {
		const struct k_addr *have = &v->addrs[i];
		bool keep_it = have->p.family != AF_INET || (strcmp(have->dev, SG_TUN_CLIENT_NAME) != 0 &&
								    strcmp(have->dev, SG_TUN_SERVER_NAME) != 0);

		for (size_t n = 0; n < w->n_addrs && !keep_it; n++)
			keep_it = same_addr(have, &w->addrs[n]);
		if (!keep_it)
			note(p, kernel_addr(p->a->kernel, false, have), AF_INET, "an address could not be removed");
	}
	for (size_t n = 0; n < w->n_addrs; n++) {
		bool there = false;

		for (size_t i = 0; i < v->n_addrs && !there; i++)
			there = same_addr(&v->addrs[i], &w->addrs[n]);
		if (there)
			continue;
		note(p, kernel_addr(p->a->kernel, true, &w->addrs[n]), AF_INET, "an address could not be set");
	}
}

static void add_routes(struct pass *p, const struct want *w, const struct k_view *v)
{
	for (size_t n = 0; n < w->n_routes; n++) {
		bool there = false;

		for (size_t i = 0; i < v->n_routes && !there; i++)
			there = same_route(&v->routes[i], &w->routes[n]);
		if (there)
			continue;
		p->mended++;
		note(p, kernel_route(p->a->kernel, true, &w->routes[n]), w->routes[n].dst.family,
			"a route could not be added to our table");
	}
}

/* A stranger's route in our table could let traffic out. */
static void remove_routes(struct pass *p, const struct want *w, const struct k_view *v, bool strangers)
{
	for (size_t i = 0; i < v->n_routes; i++) {
		bool wanted = false;

		for (size_t n = 0; n < w->n_routes && !wanted; n++)
			wanted = same_route(&v->routes[i], &w->routes[n]);
		if (wanted || v->routes[i].foreign != strangers)
			continue;
		p->mended++;
		note(p, kernel_route(p->a->kernel, false, &v->routes[i]), v->routes[i].dst.family,
			"a route could not be removed from our table");
	}
}

static void add_rules(struct pass *p, const struct want *w, const struct k_view *v)
{
	for (size_t n = 0; n < w->n_rules; n++) {
		bool there = false;

		for (size_t i = 0; i < v->n_rules && !there; i++)
			there = same_rule(&v->rules[i], &w->rules[n]);
		if (there)
			continue;
		p->mended++;
		p->steered = p->steered || w->rules[n].prio == w->steer;
		note(p, kernel_rule(p->a->kernel, true, &w->rules[n]), w->rules[n].family,
			"a policy rule could not be added");
	}
}

static void remove_rules(struct pass *p, const struct want *w, const struct k_view *v)
{
	for (size_t i = 0; i < v->n_rules; i++) {
		bool wanted = false;

		for (size_t n = 0; n < w->n_rules && !wanted; n++)
			wanted = same_rule(&v->rules[i], &w->rules[n]);
		if (wanted)
			continue;
		p->mended++;
		note(p, kernel_rule(p->a->kernel, false, &v->rules[i]), v->rules[i].family,
			"a policy rule could not be removed");
	}
}

static void apply_view(struct pass *p, const struct netd_conf *conf, const struct want *w, const struct k_view *v)
{
	int err;

	note(p, apply_nft(p->a, w->nft), AF_INET, "the ruleset could not be set");
	apply_guard(p->a, w->guard);
	err = saved_apply(p->a->kernel, p->a->run, w);
	if (err < 0)
		note(p, err, AF_INET, "sysctls could not be set");
	apply_links(p, v);
	apply_addrs(p, w, v);
	/* A stranger's route goes first: it may stand where ours belongs. */
	remove_routes(p, w, v, true);
	add_routes(p, w, v);
	add_rules(p, w, v);
	remove_rules(p, w, v);
	remove_routes(p, w, v, false);
	if (p->steered)
		note(p, kernel_flush(p->a->kernel, w->lans.p, w->lans.n, conf->mode == NETD_HOST), AF_INET,
			"open connections could not be forgotten");
}

int applier_apply(struct applier *a, const struct netd_conf *given, const struct netd_gate *gate)
{
	struct netd_conf now = *given;
	const struct netd_conf *conf = &now;
	struct pass p = {.a = a};
	struct k_view view;
	struct want want;

	p.err = kernel_read(a->kernel, conf->table, &view);
	if (p.err == 0) {
		lans_follow(&a->lans, a->run, &view, &now);
		p.err = want_build(conf, gate, &view, &want);
		if (p.err == 0) {
			apply_view(&p, conf, &want, &view);
			want_fini(&want);
		}
		k_view_fini(&view);
	}
	if (p.mended && a->settled && a->gate.word == gate->word && a->gate.lease == gate->lease)
		log_info_rl(
			&a->rl_rules, "rules: %u rules and routes were not as they should be: put in order", p.mended);
	a->gate = *gate;
	if (p.err < 0 && a->settled)
		log_error("rules: not as they should be: %s; trying again every second", sg_strerror(p.err));
	a->settled = p.err == 0;
	return p.err;
}
