/*
 * Dialling over a route: a port of ours, the edge rules from whoever sets up routes, the group's handshake. Dials do not
 * wait for one another. Each ends in its call-back once, from the loop, never inside group_dial.
 */
#include "base/alloc.h"
#include "route/group.h"

static void begin(void *arg);
static void timeout(void *arg);
static void on_asked(void *arg, const struct sg_edge_rules *rules, int err, const char *why);

static void end_free(struct group_dial *d)
{
	if (d->asked && d->r->setup)
		d->r->setup->cancel(d->r->setup_arg, d);
	sg_list_remove(&d->node);
	sg_timer_stop(&d->timer);
	sg_defer_stop(&d->begin);
	sg_free(d);
}

void group_dial_end(struct group_dial *d, struct group *g, int err, const char *why)
{
	sg_dialed_fn *done = d->done;
	void *arg = d->arg;

	end_free(d);
	done(arg, g ? &g->pub : NULL, err, why);
}

/* ---- ports ---- */

static bool is_taken(const struct sg_route *r, uint16_t port)
{
	sg_list_for (it, &r->groups) {
		if (sg_container_of(it, struct group, node)->desc.dst_port == port)
			return true;
	}
	sg_list_for (it, &r->group_dials) {
		if (sg_container_of(it, struct group_dial, node)->want.desc.src_port == port)
			return true;
	}
	return listener_find(r, port) != NULL;
}

/*
 * Begins at random: a peer may still hold the groups of the process before this one, and takes a new one from the same
 * port for the old. 0: all are taken.
 */
static uint16_t port_take(struct sg_route *r)
{
	for (size_t i = 0; i <= UINT16_MAX - SG_GROUP_PORT_FIRST; i++) {
		uint16_t port =
			(uint16_t)(SG_GROUP_PORT_FIRST + r->next_port++ % (UINT16_MAX + 1 - SG_GROUP_PORT_FIRST));

		if (!is_taken(r, port))
			return port;
	}
	return 0;
}

/* ---- a dial ---- */

int group_dial(
	struct sg_route *r, const struct sg_pk *pk, uint16_t port, unsigned min_hops, sg_dialed_fn *done, void *arg)
{
	uint16_t own = port_take(r);
	struct group_dial *d = r->stopping ? NULL : sg_calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->r = r;
	d->want = (struct sg_route_want){.desc = {r->own, *pk, own, port},
		.min_hops = SG_MAX(min_hops, r->min_hops),
		.keep_alive_ns = (int64_t)SG_RULE_LIFE_OWN_MS * SG_NS_PER_MS};
	d->done = done;
	d->arg = arg;
	sg_defer_init(&d->begin, begin, d);
	sg_timer_init(&d->timer, r->loop, timeout, d);
	if (own == 0 || sg_timer_start(&d->timer, SG_GROUP_DIAL_MS) < 0) {
		sg_free(d);
		return own == 0 ? SG_EFULL : -ENOMEM;
	}
	sg_list_init(&d->node);
	sg_list_add_tail(&r->group_dials, &d->node);
	sg_defer_start(r->loop, &d->begin);
	return 0;
}

/*
 * A group that nobody waits for any more still finishes its handshake, and is closed then: a visor of 2024 that got a
 * Handshake packet and no Noise message takes no route groups from anybody until it is started anew.
 */
void group_dial_cancel(struct sg_route *r, const void *arg)
{
	sg_list_for_safe (it, &r->group_dials) {
		struct group_dial *d = sg_container_of(it, struct group_dial, node);

		if (d->arg != arg)
			continue;
		if (d->group)
			d->group->dial = NULL; /* as above */
		end_free(d);
	}
}

static void begin(void *arg)
{
	struct group_dial *d = arg;
	int err;

	if (!d->r->setup) {
		group_dial_end(d, NULL, SG_ENOROUTE, "nobody here sets up routes: no route setup node is configured");
		return;
	}
	err = d->r->setup->ask(d->r->setup_arg, &d->want, on_asked, d);
	if (err < 0)
		group_dial_end(d, NULL, err, sg_strerror(err));
	else
		d->asked = true;
}

static void on_asked(void *arg, const struct sg_edge_rules *rules, int err, const char *why)
{
	struct group_dial *d = arg;
	struct sg_route_desc wanted;
	char text[160] = "";

	d->asked = false;
	if (err < 0) {
		group_dial_end(d, NULL, err, why);
		return;
	}
	sg_route_desc_invert(&d->want.desc, &wanted);
	if (!sg_route_desc_equal(&rules->desc, &wanted)) {
		group_dial_end(d, NULL, SG_EMALF, "the setup node answered with another route than was asked for");
		return;
	}
	err = group_new(d->r, rules, true, &d->group, text, sizeof(text));
	if (err < 0)
		group_dial_end(d, NULL, err, text);
	else
		d->group->dial = d;
}

static void timeout(void *arg)
{
	struct group_dial *d = arg;

	if (d->group)
		d->group->dial = NULL;
	group_dial_end(
		d, NULL, -ETIMEDOUT, d->group ? "the route was not open in time" : "no route was set up in time");
}

void route_set_setup(struct sg_route *r, const struct sg_route_setup *ops, void *arg)
{
	if (!ops) {
		sg_list_for (it, &r->group_dials)
			sg_container_of(it, struct group_dial, node)->asked = false;
	}
	r->setup = ops;
	r->setup_arg = arg;
}
