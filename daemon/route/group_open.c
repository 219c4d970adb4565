/*
 * The beginning of a route group. Both ends send a Handshake packet; the dialler repeats its own until it is answered, for
 * today's visors answer every one and a lost one would cost the dial. Then Noise KK between the visors' keys, which nobody
 * on the way can do without or replay. An end that wants no encryption is refused unless the owner allows it.
 */
#include "base/alloc.h"
#include "base/cursor.h"
#include "route/group.h"

SG_LOG_TOPIC("route");

#define NOISE_PREFIX 2
#define ENCRYPTED    1

static void greeting_timeout(void *arg);
static int64_t greeting_pause(const struct group *g);
static void noise_timeout(void *arg);

static bool greet(struct group *g)
{
	static const uint8_t encrypted = ENCRYPTED;

	return group_say(g, SG_PACKET_HANDSHAKE, &encrypted, sizeof(encrypted));
}
/* ---- the beginning ---- */

static struct group *find_open(const struct sg_route *r, const struct sg_route_desc *desc)
{
	sg_list_for (it, &r->groups) {
		struct group *g = sg_container_of(it, struct group, node);

		if (g->state == GROUP_OPEN && sg_route_desc_equal(&g->desc, desc))
			return g;
	}
	return NULL;
}

/*
 * Setup nodes let anybody name anybody as the dialler, so rules prove nothing: a group whose other end is heard from is not
 * replaced. A dialler that was started anew, and takes the same ports, is not heard from by the old route.
 */
static bool is_alive(const struct group *g)
{
	return g->dialled || sg_mono_ms_since(sg_loop_now(g->r->loop), g->heard_at) < SG_GROUP_FRESH_MS;
}

/*
 * Room for one more that somebody opens in the name of @pk. The first come of those whose handshake is not done makes it: their
 * key is not proven, so that a crowd of them must not keep out who has it, and a handshake takes less time than the crowd
 * needs to be replaced. Those that we dialled do not count: nobody else decides how many these are.
 */
static bool make_room(const struct sg_route *r, const struct sg_pk *pk)
{
	size_t unfinished = 0, its = 0, its_unfinished = 0;
	struct group *first = NULL, *its_first = NULL;

	sg_list_for (it, &r->groups) {
		struct group *g = sg_container_of(it, struct group, node);
		bool begins = g->state == GROUP_GREETING || g->state == GROUP_NOISE;
		bool is_its = sg_pk_equal(&g->desc.src, pk);

		if (g->dialled)
			continue;
		if (begins && ++unfinished == 1)
			first = g;
		if (begins && is_its && ++its_unfinished == 1)
			its_first = g;
		its += is_its;
	}
	if (its - its_unfinished >= SG_GROUPS_PER_KEY)
		return false;
	if (its_unfinished >= SG_GROUPS_UNFINISHED)
		group_end(its_first, false, SG_EFULL, "");
	else if (unfinished >= SG_GROUPS_MAX / 2)
		group_end(first, false, SG_EFULL, "");
	return true;
}

static int check(struct sg_route *r, const struct sg_edge_rules *e, bool dialled, char *why, size_t cap)
{
	const struct group *old = find_open(r, &e->desc);
	const char *said = NULL;
	int err = SG_EMALF;

	if (e->forward.type != SG_RULE_FORWARD || e->reverse.type != SG_RULE_REVERSE ||
		!sg_route_desc_equal(&e->desc, &e->reverse.desc)) {
		said = "these are not the two rules of one end";
	} else if (!sg_pk_equal(&e->desc.dst, &r->own)) {
		said = "this visor is no end of that route";
	} else if (sg_pk_check(links_crypto(r->links), &e->desc.src) < 0) {
		said = "the key of the other end is not a key";
	} else if (old && is_alive(old)) {
		err = SG_EDUP;
		said = "a route between these two ports is open";
	} else if (r->stopping || r->n_groups >= SG_GROUPS_MAX || (!dialled && !make_room(r, &e->desc.src))) {
		err = SG_EFULL;
		said = "this visor has as many route groups as it may";
	} else {
		return 0;
	}
	snprintf(why, cap, "%s", said);
	return err;
}

static void init(struct group *g, struct sg_route *r, const struct sg_route_desc *desc, bool dialled)
{
	g->pub.ops = &group_ops;
	g->r = r;
	g->desc = *desc;
	g->dialled = dialled;
	g->want = true;
	g->rtt_us = -1;
	g->heard_at = g->sent_at = sg_loop_now(r->loop);
	turn_init(&g->wait, group_writable, g);
	turn_init(&g->touched, group_batch_end, g);
	sg_list_init(&g->rxq);
	sg_defer_init(&g->drain, group_drain, g);
	sg_timer_init(&g->timer, r->loop, greeting_timeout, g);
	sg_timer_init(&g->tick, r->loop, group_tick, g);
	sg_list_init(&g->node);
	sg_list_add_tail(&r->groups, &g->node);
	r->n_groups++;
}

/* What both ends begin with. An error leaves the group to be detached. */
static int begin(struct group *g, const struct sg_edge_rules *e, char *why, size_t cap)
{
	struct sg_route *r = g->r;
	struct line *line;
	int err = rule_keep(r, &e->reverse, &g->reverse, why, cap);

	if (err == 0)
		err = rule_keep(r, &e->forward, &g->forward, why, cap);
	if (err < 0)
		return err;
	g->forward->group = g->reverse->group = g;
	line = rule_line(r, g->forward);
	if (!line) {
		snprintf(why, cap, "the transport that the route begins with is not up");
		return SG_ENOROUTE;
	}
	snprintf(g->carrier, sizeof(g->carrier), "%s", link_carrier(line->link));
	g->noise = sg_malloc(sizeof(*g->noise));
	err = g->noise && sg_timer_start(&g->timer, greeting_pause(g)) == 0 ? 0 : -ENOMEM;
	if (err == 0)
		err = sg_noise_kk_init(
			g->noise, links_crypto(r->links), g->dialled, links_own_sk(r->links), &g->desc.src);
	if (err < 0)
		snprintf(why, cap, "%s", sg_strerror(err));
	return err;
}

int group_new(
	struct sg_route *r, const struct sg_edge_rules *rules, bool dialled, struct group **out, char *why, size_t cap)
{
	int err = check(r, rules, dialled, why, cap);
	struct group *g, *old;

	if (err < 0)
		return err;
	g = sg_calloc(1, sizeof(*g));
	if (!g) {
		snprintf(why, cap, "%s", sg_strerror(-ENOMEM));
		return -ENOMEM;
	}
	old = find_open(r, &rules->desc);
	init(g, r, &rules->desc, dialled);
	group_hold(g);
	err = begin(g, rules, why, cap);
	if (err < 0) {
		group_detach(g);
		group_release(g);
		return err;
	}
	/* Not a word on the old route: where the other end has restarted, that would end at the new group there. */
	if (old)
		group_end(old, false, SG_ECLOSED, "the other end dialled anew");
	if (g->state == GROUP_ENDED) {
		snprintf(why, cap, "%s", sg_strerror(-ECANCELED));
		err = -ECANCELED;
	} else if (dialled) {
		(void)greet(g);
	}
	group_release(g);
	*out = g;
	return err;
}

int route_accept_edge(struct sg_route *r, const struct sg_edge_rules *rules, char *why, size_t why_cap)
{
	struct group *g;

	return group_new(r, rules, false, &g, why, why_cap);
}

/* ---- Handshake packets ---- */

/*
 * Doubled up to a second: the other end may know its rules only milliseconds after whoever set up the route was told so, and
 * drops the first packet then.
 */
static int64_t greeting_pause(const struct group *g)
{
	return SG_MIN((int64_t)SG_GROUP_GREET_MS << SG_MIN(g->greetings, 8U), SG_GROUP_RESEND_MS);
}

static void greeting_timeout(void *arg)
{
	struct group *g = arg;

	g->greeted_ms += greeting_pause(g);
	g->greetings++;
	if (g->greeted_ms >= SG_GROUP_HANDSHAKE_MS || sg_timer_start(&g->timer, greeting_pause(g)) < 0)
		group_end(g, true, -ETIMEDOUT, "the route is there, but its other end does not answer");
	else if (g->dialled)
		(void)greet(g);
}

static void noise_timeout(void *arg)
{
	group_end(arg, true, -ETIMEDOUT, "the other end of the route did not finish the encryption handshake");
}

/* Framed, as a Data packet. */
static int noise_say(struct group *g)
{
	uint8_t frame[NOISE_PREFIX + SG_NOISE_MSG_MIN];
	int len = sg_noise_write(g->noise, (struct sg_view){0}, frame + NOISE_PREFIX, SG_NOISE_MSG_MIN);

	if (len < 0)
		return len;
	sg_put_u16(frame, (uint16_t)len);
	return group_say(g, SG_PACKET_DATA, frame, NOISE_PREFIX + (size_t)len) ? 0 : SG_ECLOSED;
}

static int keys_make(struct group *g);
static void opened(struct group *g);

/*
 * Our message, and what comes after it. While the link is full it waits for its turn: a visor of 2024 that has our
 * Handshake and gets no message takes no route groups from anybody until it is started anew.
 */
static void noise_turn(struct group *g)
{
	struct line *line = rule_line(g->r, g->forward);
	int err = line ? link_reserve(line->link, SG_PACKET_HEAD + NOISE_PREFIX + SG_NOISE_MSG_MIN) : SG_ECLOSED;

	g->speaks = err == -EAGAIN;
	if (g->speaks) {
		turn_take(&line->waiting, &g->wait);
		return;
	}
	if (err == 0)
		err = noise_say(g);
	if (err == 0 && !g->dialled)
		err = keys_make(g);
	if (err < 0)
		group_end(g, true, err, sg_strerror(err));
	else if (!g->dialled)
		opened(g);
}

void group_noise_turn(struct group *g)
{
	if (g->speaks)
		noise_turn(g);
}

/* Its Handshake came: encryption can begin. */
static void noise_start(struct group *g)
{
	g->state = GROUP_NOISE;
	sg_timer_stop(&g->timer);
	sg_timer_init(&g->timer, g->r->loop, noise_timeout, g);
	if (sg_timer_start(&g->timer, SG_GROUP_NOISE_MS) < 0)
		group_end(g, true, -ENOMEM, sg_strerror(-ENOMEM));
	else if (g->dialled)
		noise_turn(g);
}

static void plain_start(struct group *g)
{
	char key[SG_PK_SHORT];

	log_warn("%s: a route without encryption between its ends", sg_pk_short(&g->desc.src, key));
	group_noise_free(g);
	g->plain = true;
	opened(g);
}

void group_greeted(struct group *g, uint8_t flag)
{
	if (g->state == GROUP_GREETING && flag == 0 && !g->r->allow_plain) {
		group_end(g, true, SG_EREFUSED, "the other end wants no encryption");
		return;
	}
	/* The dialler repeats its own until it has ours, which may have been lost. */
	if (!g->dialled && g->state != GROUP_CLOSING)
		(void)greet(g);
	if (g->state == GROUP_GREETING && flag == 0)
		plain_start(g);
	else if (g->state == GROUP_GREETING)
		noise_start(g);
}

void route_allow_plain(struct sg_route *r, bool allow)
{
	r->allow_plain = allow;
}

/* ---- Noise ---- */

static int keys_make(struct group *g)
{
	const struct sg_aead_ops *aead = sg_crypto_aead(links_crypto(g->r->links));
	struct sg_noise_keys keys;
	int err;

	sg_noise_split(g->noise, &keys);
	err = sg_frame_key_init(&g->tx, aead, keys.tx);
	if (err == 0)
		err = sg_frame_key_init(&g->rx, aead, keys.rx);
	sg_wipe(&keys, sizeof(keys));
	group_noise_free(g);
	return err;
}

static const char *app_of(uint16_t port)
{
	static const struct {
		uint16_t port;
		const char *app;
	} apps[] = {{1, "skychat"}, {3, "skysocks"}, {13, "skysocks-client"}, {43, "vpn-client"}, {44, "vpn-server"}};

	for (size_t i = 0; i < SG_ARRAY_LEN(apps); i++) {
		if (apps[i].port == port)
			return apps[i].app;
	}
	return "service";
}

/* To whoever listens on its port. The other end learns from an Error that nobody does, for its dial is done by now. */
static void offer(struct group *g)
{
	const struct listener *lis = listener_find(g->r, g->desc.dst_port);
	char text[64];
	int len;

	if (lis && lis->ops->on_stream(lis->arg, &g->pub) == 0 && (g->pub.user || g->state != GROUP_OPEN)) {
		g->r->count.groups_in++;
		return;
	}
	group_drop(g, ROUTE_DROP_PORT);
	if (g->state != GROUP_OPEN)
		return;
	if (!lis) {
		len = snprintf(text, sizeof(text), "no listener on port %u, %s offline", g->desc.dst_port,
			app_of(g->desc.dst_port));
		(void)group_say(g, SG_PACKET_ERROR, text, (size_t)len);
	}
	g->pub.user = NULL;
	group_end(g, true, SG_EREFUSED, "");
}

static void opened(struct group *g)
{
	struct group_dial *d = g->dial;

	sg_timer_stop(&g->timer);
	g->state = GROUP_OPEN;
	g->opened_at = sg_loop_now(g->r->loop);
	if (sg_timer_start(&g->tick, SG_GROUP_PING_MS) < 0) {
		group_end(g, true, -ENOMEM, sg_strerror(-ENOMEM));
		return;
	}
	if (!g->dialled) {
		offer(g);
		return;
	}
	if (d) {
		g->r->count.groups_out++;
		g->dial = NULL;
		group_dial_end(d, g, 0, "");
	}
	if (g->state == GROUP_OPEN && !g->pub.user)
		group_end(g, true, SG_ESTATE, "");
}

void group_noise(struct group *g, struct sg_view message)
{
	int err = sg_noise_read(g->noise, message, NULL, 0);

	if (err >= 0 && !g->dialled) {
		noise_turn(g);
		return;
	}
	if (err >= 0)
		err = keys_make(g);
	if (err == 0)
		opened(g);
	else
		group_end(g, true, err, "the encryption handshake with the other end of the route failed");
}
