/* Rules that setup nodes and neighbours ask us to keep, and their end. */
#include "base/common.h"
#include "base/err.h"
#include "crypto/crypto.h"
#include "route/internal.h"

static void sweep(void *arg);

void rules_start(struct sg_route *r)
{
	uint8_t secret[RULES_SECRET];

	sg_crypto_random(links_crypto(r->links), secret, sizeof(secret));
	rules_init(&r->rules, secret);
	sg_timer_init(&r->sweep, r->loop, sweep, r);
}

void rules_stop(struct sg_route *r)
{
	sg_timer_stop(&r->sweep);
	rules_fini(&r->rules);
}

static void sweep(void *arg)
{
	struct sg_route *r = arg;

	groups_sweep(r);
	rules_sweep(&r->rules, sg_loop_now(r->loop));
	if (r->rules.n)
		(void)sg_timer_start(&r->sweep, SG_RULES_SWEEP_MS); /* else the next rule starts it */
}

/*
 * Whoever waits at the other end of a route for packets that came by this link would wait until its rules die: it is told that
 * the route is closed, and may dial another one.
 */
void rules_line_down(struct line *line)
{
	static const uint8_t code = 0;
	struct sg_route *r = line->r;

	for (size_t i = 0; i < r->rules.n_buckets; i++) {
		sg_list_for_safe (it, &r->rules.buckets[i]) {
			struct rule *rule = sg_container_of(it, struct rule, node);
			struct line *to;

			if (rule->r.type != SG_RULE_INTERMEDIARY || !rule->bound ||
				!sg_tpid_equal(&rule->from, link_id(line->link)))
				continue;
			to = rule_line(r, rule);
			if (to && to != line)
				link_send_control(to->link, SG_PACKET_CLOSE, rule->r.next_id, &code, sizeof(code));
			rules_remove(&r->rules, rule);
		}
	}
}

struct line *rule_line(struct sg_route *r, struct rule *rule)
{
	struct sg_link *l;

	if (!rule->out) {
		l = links_by_id(r->links, &rule->r.next_tp);
		rule->out = l ? *link_user(l) : NULL;
	}
	return rule->out;
}

int rule_keep(struct sg_route *r, const struct sg_rule *rule, struct rule **out, char *why, size_t why_cap)
{
	int err = rules_add(&r->rules, rule, sg_loop_now(r->loop), out);

	if (err == 0 && !sg_timer_active(&r->sweep) && sg_timer_start(&r->sweep, SG_RULES_SWEEP_MS) < 0) {
		rules_remove(&r->rules, *out);
		err = -ENOMEM;
	}
	if (err == SG_ESTATE)
		snprintf(why, why_cap, "route id %u was not reserved", (unsigned)rule->key);
	else if (err == SG_EDUP)
		snprintf(why, why_cap, "route id %u is in use", (unsigned)rule->key);
	else if (err == SG_EFULL)
		snprintf(why, why_cap, "this visor keeps as many rules as it may, in all or of that transport");
	else if (err < 0)
		snprintf(why, why_cap, "%s", sg_strerror(err));
	return err;
}

int route_reserve_ids(struct sg_route *r, size_t n, uint32_t *out, char *why, size_t why_cap)
{
	int err = n <= SG_RULES_RESERVE_MAX ? rules_reserve(&r->rules, n, out) : SG_EFULL;

	if (err < 0)
		snprintf(why, why_cap, "no available routeIDs"); /* as the existing implementation has it */
	return err;
}

int route_add_intermediary(struct sg_route *r, const struct sg_rule *rules, size_t n, char *why, size_t why_cap)
{
	uint32_t keys[SG_RULES_RESERVE_MAX];
	struct sg_mono now = sg_loop_now(r->loop);
	size_t kept = 0;
	int err = 0;

	if (n > SG_ARRAY_LEN(keys)) {
		snprintf(why, why_cap, "%zu rules at once are more than %zu", n, SG_ARRAY_LEN(keys));
		return SG_EFULL;
	}
	while (kept < n && err == 0) {
		struct rule *rule;

		if (rules[kept].type != SG_RULE_INTERMEDIARY) {
			snprintf(why, why_cap, "rule %u is none of an intermediary", (unsigned)rules[kept].key);
			err = SG_EMALF;
			break;
		}
		err = rule_keep(r, &rules[kept], &rule, why, why_cap);
		if (err == 0) {
			keys[kept] = rules[kept].key;
			kept++;
		}
	}
	while (err < 0 && kept)
		rules_remove(&r->rules, rules_find(&r->rules, keys[--kept], now));
	return err;
}

/* ---- what the control API asks ---- */

struct each {
	const struct sg_route *r;
	bool (*fn)(void *arg, const struct sg_route_rule_info *info);
	void *arg;
};

static bool one(void *arg, const struct rule *rule)
{
	const struct each *e = arg;
	struct sg_mono now = sg_loop_now(e->r->loop);
	struct sg_route_rule_info info = {.rule = rule->r,
		.next_up = rule->r.type != SG_RULE_REVERSE && links_by_id(e->r->links, &rule->r.next_tp),
		.bound = rule->bound,
		.from = rule->from,
		.age_ms = sg_mono_ms_since(now, rule->since),
		.left_ms = rule->life_ns / SG_NS_PER_MS - sg_mono_ms_since(now, rule->used_at),
		.packets = rule->packets,
		.bytes = rule->bytes,
		.state = "",
		.rtt_us = -1};

	if (rule->group)
		group_info(rule->group, &info);
	return e->fn(e->arg, &info);
}

void route_each_rule(const struct sg_route *r, bool (*fn)(void *arg, const struct sg_route_rule_info *info), void *arg)
{
	struct each e = {r, fn, arg};

	rules_each(&r->rules, sg_loop_now(r->loop), one, &e);
}
