/* The rule table: a hash by key, for keys are spread as if by chance. */
#include "route/rules.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "crypto/crypto.h"

#define BUCKETS_FIRST 64
#define ROUNDS        6

void rules_init(struct rules *t, const uint8_t secret[RULES_SECRET])
{
	*t = (struct rules){0};
	memcpy(t->secret, secret, RULES_SECRET);
}

void rules_fini(struct rules *t)
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		sg_list_for_safe (it, &t->buckets[i])
			rules_remove(t, sg_container_of(it, struct rule, node));
	}
	sg_free(t->buckets);
	*t = (struct rules){0};
}

/* ---- ids: the numbers 0, 1, 2 … through a keyed permutation of 32 bits, a Feistel network over halves of 16 ---- */

static uint16_t mix(const struct rules *t, unsigned round, uint16_t half)
{
	const uint8_t in[3] = {(uint8_t)round, (uint8_t)(half >> 8), (uint8_t)half};
	const struct sg_view parts[] = {{t->secret, RULES_SECRET}, {in, sizeof(in)}};
	uint8_t hash[32];

	sg_sha256(parts, SG_ARRAY_LEN(parts), hash);
	return sg_get_u16(hash);
}

static uint32_t id_of(const struct rules *t, uint32_t number)
{
	uint16_t left = (uint16_t)(number >> 16), right = (uint16_t)number;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint16_t was = right;

		right = (uint16_t)(left ^ mix(t, round, right));
		left = was;
	}
	return (uint32_t)left << 16 | right;
}

static uint32_t number_of(const struct rules *t, uint32_t id)
{
	uint16_t left = (uint16_t)(id >> 16), right = (uint16_t)id;

	for (unsigned round = ROUNDS; round-- > 0;) {
		uint16_t was = left;

		left = (uint16_t)(right ^ mix(t, round, left));
		right = was;
	}
	return (uint32_t)left << 16 | right;
}

int rules_reserve(struct rules *t, size_t n, uint32_t *out)
{
	/* One more than asked for: the number whose id is 0 is passed over. */
	if (n >= UINT32_MAX - t->n_ids)
		return SG_EFULL;
	for (size_t i = 0; i < n; i++) {
		do {
			out[i] = id_of(t, t->n_ids++);
		} while (out[i] == 0);
	}
	return 0;
}

static struct sg_list *bucket(const struct rules *t, uint32_t key)
{
	return &t->buckets[key & (t->n_buckets - 1)];
}

static struct rule *find(const struct rules *t, uint32_t key)
{
	if (!t->n)
		return NULL;
	sg_list_for (it, bucket(t, key)) {
		struct rule *rule = sg_container_of(it, struct rule, node);

		if (rule->r.key == key)
			return rule;
	}
	return NULL;
}

/* Twice as many buckets. Without memory for them the old ones do. */
static void grow(struct rules *t)
{
	struct rules old = *t;
	size_t n = t->n_buckets ? 2 * t->n_buckets : BUCKETS_FIRST;
	struct sg_list *buckets = sg_malloc(n * sizeof(*buckets));

	if (!buckets)
		return;
	t->buckets = buckets;
	t->n_buckets = n;
	for (size_t i = 0; i < n; i++)
		sg_list_init(&buckets[i]);
	for (size_t i = 0; i < old.n_buckets; i++) {
		sg_list_for_safe (it, &old.buckets[i]) {
			sg_list_remove(it);
			sg_list_add_tail(bucket(t, sg_container_of(it, struct rule, node)->r.key), it);
		}
	}
	sg_free(old.buckets);
}

/*
 * Routes through us come back by the transport that they came by, so a neighbour that has setup nodes make them without
 * end fills what goes on by its own. The table is looked through only where one transport's share could be full.
 */
static bool share_is_full(const struct rules *t, const struct sg_rule *r)
{
	size_t same = 0;

	if (r->type != SG_RULE_INTERMEDIARY || t->n < SG_RULES_PER_LINK)
		return false;
	for (size_t i = 0; i < t->n_buckets; i++) {
		sg_list_for (it, &t->buckets[i]) {
			const struct rule *rule = sg_container_of(it, struct rule, node);

			same += rule->r.type == SG_RULE_INTERMEDIARY && sg_tpid_equal(&rule->r.next_tp, &r->next_tp);
		}
	}
	return same >= SG_RULES_PER_LINK;
}

int rules_add(struct rules *t, const struct sg_rule *r, struct sg_mono now, struct rule **out)
{
	struct rule *rule;

	if (r->key == 0 || number_of(t, r->key) >= t->n_ids)
		return SG_ESTATE;
	if (find(t, r->key))
		return SG_EDUP;
	if (t->n >= SG_RULES_MAX || share_is_full(t, r))
		return SG_EFULL;
	if (t->n >= t->n_buckets)
		grow(t);
	rule = t->n_buckets ? sg_calloc(1, sizeof(*rule)) : NULL;
	if (!rule)
		return -ENOMEM;
	rule->r = *r;
	rule->since = rule->used_at = now;
	rule->life_ns = sg_rule_life_ns(r);
	sg_list_add_tail(bucket(t, r->key), &rule->node);
	t->n++;
	*out = rule;
	return 0;
}

void rules_remove(struct rules *t, struct rule *rule)
{
	if (!rule)
		return;
	sg_list_remove(&rule->node);
	t->n--;
	sg_free(rule);
}

bool rule_is_dead(const struct rule *rule, struct sg_mono now)
{
	return now.ns - rule->used_at.ns > rule->life_ns;
}

struct rule *rules_find(const struct rules *t, uint32_t key, struct sg_mono now)
{
	struct rule *rule = find(t, key);

	return rule && !rule_is_dead(rule, now) ? rule : NULL;
}

bool rule_accepts(struct rule *rule, const struct sg_tpid *from)
{
	if (rule->r.type == SG_RULE_FORWARD)
		return false;
	if (!rule->bound) {
		rule->bound = true;
		rule->from = *from;
	}
	return memcmp(rule->from.b, from->b, SG_TPID_LEN) == 0;
}

static bool leads_back(const struct rule *back, const struct rule *rule, const struct sg_tpid *from)
{
	return back != rule && back->r.type == SG_RULE_INTERMEDIARY && sg_tpid_equal(&back->r.next_tp, from) &&
	       (!back->bound || sg_tpid_equal(&back->from, &rule->r.next_tp));
}

/* By how many their ids were given out one after the other. */
static uint32_t apart(const struct rules *t, const struct rule *a, const struct rule *b)
{
	uint32_t x = number_of(t, a->r.key), y = number_of(t, b->r.key);

	return x > y ? x - y : y - x;
}

struct rule *rules_back(const struct rules *t, const struct rule *rule, const struct sg_tpid *from)
{
	struct rule *nearest = NULL;

	for (size_t i = 0; i < t->n_buckets; i++) {
		sg_list_for (it, &t->buckets[i]) {
			struct rule *back = sg_container_of(it, struct rule, node);

			if (leads_back(back, rule, from) &&
				(!nearest || apart(t, back, rule) < apart(t, nearest, rule)))
				nearest = back;
		}
	}
	return nearest;
}

void rules_sweep(struct rules *t, struct sg_mono now)
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		sg_list_for_safe (it, &t->buckets[i]) {
			struct rule *rule = sg_container_of(it, struct rule, node);

			if (!rule->group && rule_is_dead(rule, now))
				rules_remove(t, rule);
		}
	}
}

void rules_each(const struct rules *t, struct sg_mono now, bool (*fn)(void *arg, const struct rule *rule), void *arg)
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		sg_list_for (it, &t->buckets[i]) {
			const struct rule *rule = sg_container_of(it, struct rule, node);

			if (!rule_is_dead(rule, now) && !fn(arg, rule))
				return;
		}
	}
}

void rules_forget_line(struct rules *t, const struct line *line)
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		sg_list_for (it, &t->buckets[i]) {
			struct rule *rule = sg_container_of(it, struct rule, node);

			if (rule->out == line)
				rule->out = NULL;
		}
	}
}
