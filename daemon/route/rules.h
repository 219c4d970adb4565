/*
 * The rules that this visor keeps, under their keys. A rule is dead when no packet used it for as long as it asked to live:
 * nobody finds it any more, and the next sweep removes it. It accepts packets from one transport only, that by which its
 * first packet came; forward rules accept none, for what they are for begins here. Until that first packet whoever knows the
 * key may send it, so keys tell nobody what others are: a neighbour that guessed those of routes about to begin would take
 * them away by being first.
 */
#ifndef SG_ROUTE_RULES_H
#define SG_ROUTE_RULES_H

#include "base/clock.h"
#include "base/list.h"
#include "wire/rule.h"

struct line;
struct group;

struct rule {
	struct sg_list node;
	struct sg_rule r;
	struct sg_mono since, used_at;
	int64_t life_ns;
	bool bound;          /* its first packet came */
	struct sg_tpid from; /* by this transport */
	struct line *out;    /* the live link to r.next_tp, NULL: to be looked for */
	struct group *group; /* whose it is; NULL: intermediary */
	uint64_t packets, bytes;
};

#define RULES_SECRET 16

struct rules {
	struct sg_list *buckets; /* owned, n_buckets of them, a power of two; none before the first rule */
	size_t n_buckets, n;
	uint32_t n_ids; /* given out */
	uint8_t secret[RULES_SECRET];
};

/** rules_init - @secret: random, decides in which order ids are given out. */
void rules_init(struct rules *t, const uint8_t secret[RULES_SECRET]);
/** rules_fini - groups have taken theirs out before. */
void rules_fini(struct rules *t);
/** rules_reserve - ids that no rule has had, never 0. 0, or SG_EFULL: there are no more. */
int rules_reserve(struct rules *t, size_t n, uint32_t *out);
/** rules_add - 0, SG_ESTATE: its key was not given out, SG_EDUP: it is in use, SG_EFULL, -ENOMEM. */
int rules_add(struct rules *t, const struct sg_rule *r, struct sg_mono now, struct rule **out);
/** rules_remove - and frees. Accepts NULL. */
void rules_remove(struct rules *t, struct rule *rule);
/** rules_find - alive, or NULL. */
struct rule *rules_find(const struct rules *t, uint32_t key, struct sg_mono now);
bool rule_is_dead(const struct rule *rule, struct sg_mono now);
/**
 * rules_back - the rule for the way back of a route whose packets come by @from and go on by @rule. NULL: none. Setup nodes
 * ask for the ids of both ways at once, so of those that lead from there to here it is the one whose id was given out next
 * to that of @rule.
 */
struct rule *rules_back(const struct rules *t, const struct rule *rule, const struct sg_tpid *from);
/** rule_accepts - whether its packets come by that transport, to which the first one binds it. */
bool rule_accepts(struct rule *rule, const struct sg_tpid *from);
/** rules_sweep - removes those that are dead and of no group. */
void rules_sweep(struct rules *t, struct sg_mono now);
/** rules_each - @fn for every rule that is alive, until it returns false. */
void rules_each(const struct rules *t, struct sg_mono now, bool (*fn)(void *arg, const struct rule *rule), void *arg);
/** rules_forget_line - the link ends. */
void rules_forget_line(struct rules *t, const struct line *line);

#endif
