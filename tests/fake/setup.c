#include "fake/setup.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"
#include "wire/tpid.h"

static struct fake_node *node(struct fake_setup *s, size_t i)
{
	return &s->w->node[s->path[i]];
}

static int id_of(struct fake_setup *s, size_t i, uint32_t *out)
{
	char why[128];

	*out = 0;
	return node(s, i)->route ? route_reserve_ids(node(s, i)->route, 1, out, why, sizeof(why)) : SG_ENOROUTE;
}

/* One direction, from place @at of the path to its other end: the forward rule, the reverse rule. */
static int way(struct fake_setup *s, const struct sg_route_desc *desc, bool back, struct sg_rule *forward,
	struct sg_rule *reverse)
{
	struct sg_rule rule = {.keep_alive_ns = s->keep_alive_ns ? s->keep_alive_ns : s->want.keep_alive_ns};
	size_t at = back ? s->n - 1 : 0;
	uint32_t key, next = 0;
	char why[128];
	int err = id_of(s, at, &key);

	for (size_t hop = 0; err == 0 && hop + 1 < s->n; hop++) {
		size_t to = back ? at - 1 : at + 1;

		err = id_of(s, to, &next);
		rule.type = hop ? SG_RULE_INTERMEDIARY : SG_RULE_FORWARD;
		rule.key = key;
		rule.next_id = next;
		rule.desc = *desc;
		sg_tpid_make(&node(s, at)->pk, &node(s, to)->pk, "stcp", &rule.next_tp);
		if (hop == 0)
			*forward = rule;
		else if (err == 0)
			err = route_add_intermediary(node(s, at)->route, &rule, 1, why, sizeof(why));
		key = next;
		at = to;
	}
	rule.type = SG_RULE_REVERSE;
	rule.key = key;
	rule.next_id = 0;
	rule.desc = *desc;
	*reverse = rule;
	return err;
}

int setup_rules(struct fake_setup *s, const struct sg_route_desc *desc, struct sg_edge_rules *near_end)
{
	struct sg_route_desc back;
	int err;

	sg_route_desc_invert(desc, &back);
	near_end->desc = back;
	s->far_end.desc = *desc;
	err = way(s, desc, false, &near_end->forward, &s->far_end.reverse);
	return err < 0 ? err : way(s, &back, true, &s->far_end.forward, &near_end->reverse);
}

static int tell_far_end(struct fake_setup *s)
{
	char why[128];

	return route_accept_edge(node(s, s->n - 1)->route, &s->far_end, why, sizeof(why));
}

static void answer(void *arg)
{
	struct fake_setup *s = arg;
	sg_route_asked_fn *fn = s->fn;
	struct sg_edge_rules mine;
	int err = s->refuses ? SG_ENOROUTE : setup_rules(s, &s->want.desc, &mine);

	if (err == 0 && !s->late)
		err = tell_far_end(s);
	s->fn = NULL;
	fn(s->fn_arg, err < 0 ? NULL : &mine, err, s->refuses ? s->refuses : err < 0 ? "the setup failed" : "");
}

static int ask(void *arg, const struct sg_route_want *want, sg_route_asked_fn *fn, void *fn_arg)
{
	struct fake_setup *s = arg;

	if (s->fn)
		return -EBUSY;
	s->asked++;
	s->want = *want;
	s->fn = fn;
	s->fn_arg = fn_arg;
	if (!s->holds)
		sg_defer_start(s->w->loop, &s->answer);
	return 0;
}

static void cancel(void *arg, void *fn_arg)
{
	struct fake_setup *s = arg;

	if (s->fn_arg != fn_arg || !s->fn)
		sg_bug("setup: nothing to be cancelled");
	s->cancelled++;
	s->fn = NULL;
	sg_defer_stop(&s->answer);
}

static const struct sg_route_setup ops = {ask, cancel};

void setup_new(struct fake_setup *s, struct fake_world *w, const size_t *path, size_t n)
{
	*s = (struct fake_setup){.w = w, .n = n};
	memcpy(s->path, path, n * sizeof(*path));
	sg_defer_init(&s->answer, answer, s);
	for (size_t i = 0; i < WORLD_NODES; i++) {
		if (w->node[i].route)
			route_set_setup(w->node[i].route, &ops, s);
	}
}

void setup_release(struct fake_setup *s)
{
	s->holds = false;
	if (s->fn)
		sg_defer_start(s->w->loop, &s->answer);
	else if (s->late)
		(void)tell_far_end(s);
}
