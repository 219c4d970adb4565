/*
 * The life of a route group once it is there: pings, its end, and what ends many at once. How it begins is in group_open.c.
 */
#include "route/group.h"
#include "base/alloc.h"

#define TICKS_KEEPALIVE (SG_GROUP_KEEPALIVE_MS / SG_GROUP_PING_MS)

static void close_timeout(void *arg);

void groups_start(struct sg_route *r)
{
	sg_list_init(&r->groups);
	sg_list_init(&r->group_dials);
	sg_crypto_random(links_crypto(r->links), &r->next_port, sizeof(r->next_port));
}

void group_hold(struct group *g)
{
	g->busy++;
}

void group_release(struct group *g)
{
	if (--g->busy == 0 && g->state == GROUP_ENDED)
		sg_free(g);
}

bool group_is_open(const struct group *g)
{
	return g->state == GROUP_OPEN || g->state == GROUP_FINISHED;
}

void group_drop(struct group *g, enum route_drop reason)
{
	char key[SG_PK_SHORT];

	route_drop_of(g->r, sg_pk_short(&g->desc.src, key), reason);
}

/* ---- the end ---- */

void group_noise_free(struct group *g)
{
	if (g->noise)
		sg_noise_fini(g->noise);
	sg_free(g->noise);
	g->noise = NULL;
}

/* Nothing of it happens any more except, while it is CLOSING, the end of its rules. */
static void quiet(struct group *g)
{
	sg_timer_stop(&g->timer);
	sg_timer_stop(&g->tick);
	sg_defer_stop(&g->drain);
	g->rationed = false;
	group_ration(g, NULL);
	sg_list_remove(&g->wait.node);
	sg_list_remove(&g->touched.node);
	sg_list_for_safe (it, &g->rxq) {
		sg_list_remove(it);
		sg_free(sg_container_of(it, struct record, node));
	}
	g->r->rx_queued -= g->rxq_len;
	g->rxq_len = 0;
	sg_free(g->part);
	g->part = NULL;
	g->part_len = 0;
	group_noise_free(g);
	sg_frame_key_fini(&g->tx);
	sg_frame_key_fini(&g->rx);
}

static void rules_drop(struct group *g)
{
	rules_remove(&g->r->rules, g->forward);
	rules_remove(&g->r->rules, g->reverse);
	g->forward = g->reverse = NULL;
}

void group_detach(struct group *g)
{
	if (g->state == GROUP_ENDED)
		return;
	quiet(g);
	rules_drop(g);
	sg_list_remove(&g->node);
	g->r->n_groups--;
	g->state = GROUP_ENDED;
}

/* Our Close goes out; the rules stay for its answer. */
static void shut(struct group *g)
{
	quiet(g);
	g->state = GROUP_CLOSING;
	sg_timer_init(&g->timer, g->r->loop, close_timeout, g);
	if (!group_say_close(g, 0) || sg_timer_start(&g->timer, SG_GROUP_CLOSE_MS) < 0)
		group_detach(g);
}

void group_end(struct group *g, bool tell, int err, const char *why)
{
	const struct sg_stream_user *user = group_is_open(g) ? g->pub.user : NULL;
	struct group_dial *d = g->dial;

	if (g->state == GROUP_ENDED)
		return;
	group_hold(g);
	if (!group_is_open(g) && g->state != GROUP_CLOSING)
		g->r->count.groups_failed++;
	g->dial = NULL;
	if (tell && g->state != GROUP_FINISHED && g->state != GROUP_CLOSING)
		shut(g);
	else
		group_detach(g);
	if (d)
		group_dial_end(d, NULL, err, why);
	else if (user)
		user->on_close(g->pub.user_arg, err, why);
	group_release(g);
}

static void close_timeout(void *arg)
{
	struct group *g = arg;

	group_hold(g);
	group_detach(g);
	group_release(g);
}

void group_closed(struct group *g, uint8_t code)
{
	bool said = g->error[0];

	if (g->state == GROUP_CLOSING) {
		group_detach(g);
		return;
	}
	(void)group_say_close(g, code);
	rules_drop(g);
	if (g->state == GROUP_OPEN && !sg_list_empty(&g->rxq)) {
		sg_timer_stop(&g->tick);
		g->rationed = false;
		group_ration(g, NULL);
		g->state = GROUP_FINISHED; /* its end comes behind what is queued */
		return;
	}
	group_end(g, false, said ? SG_EREFUSED : SG_ECLOSED,
		said               ? g->error
		: group_is_open(g) ? ""
				   : "the other end closed the route before it was open");
}

/* ---- pings ---- */

static void ping(struct group *g, struct sg_mono now)
{
	int64_t ms = SG_MAX(sg_mono_ms_since(now, g->ping_at.ns ? g->ping_at : g->opened_at), (int64_t)1);
	struct sg_packet_ping p = {
		sg_wall_ns() / SG_NS_PER_MS, (int64_t)((g->rx_bytes - g->ping_rx_bytes) * 1000 / (uint64_t)ms)};
	uint8_t payload[SG_PACKET_PING_LEN];

	g->down_bps = p.throughput;
	g->ping_rx_bytes = g->rx_bytes;
	g->ping_at = now;
	g->ping_stamp = p.timestamp_ms;
	sg_packet_ping_encode(&p, payload);
	(void)group_say(g, SG_PACKET_PING, payload, sizeof(payload));
}

void group_ping(struct sg_stream *stream)
{
	struct group *g = group_of(stream);

	g->rtt_us = -1;
	if (group_is_open(g))
		ping(g, sg_loop_now(g->r->loop));
}

int64_t group_rtt_us(const struct sg_stream *stream)
{
	return sg_container_of(stream, const struct group, pub)->rtt_us;
}

void group_tick(void *arg)
{
	struct group *g = arg;
	struct sg_mono now = sg_loop_now(g->r->loop);
	char why[96];

	if (sg_mono_ms_since(now, g->heard_at) >= SG_GROUP_DEAD_MS) {
		snprintf(why, sizeof(why), "nothing came over the route for %lld s",
			(long long)sg_mono_ms_since(now, g->heard_at) / 1000);
		group_end(g, true, -ETIMEDOUT, why);
		return;
	}
	if (sg_timer_start(&g->tick, SG_GROUP_PING_MS) < 0) {
		group_end(g, true, -ENOMEM, sg_strerror(-ENOMEM));
		return;
	}
	ping(g, now);
	if (++g->ticks % TICKS_KEEPALIVE == 0 && sg_mono_ms_since(now, g->sent_at) >= SG_GROUP_KEEPALIVE_MS)
		(void)group_say(g, SG_PACKET_KEEPALIVE, NULL, 0);
}

/* ---- all of them ---- */

void groups_sweep(struct sg_route *r)
{
	struct sg_mono now = sg_loop_now(r->loop);
	struct sg_list *it = r->groups.next;

	while (it != &r->groups) {
		struct group *g = sg_container_of(it, struct group, node);

		if (g->state != GROUP_CLOSING && g->reverse && rule_is_dead(g->reverse, now)) {
			group_end(g, true, -ETIMEDOUT, "nothing came over the route for as long as its rules live");
			it = r->groups.next; /* its call-back may have ended others */
		} else {
			it = it->next;
		}
	}
}

static bool goes_by(const struct group *g, const struct line *line)
{
	const struct sg_tpid *id = link_id(line->link);

	return (g->forward && (g->forward->out == line || sg_tpid_equal(&g->forward->r.next_tp, id))) ||
	       (g->reverse && g->reverse->bound && sg_tpid_equal(&g->reverse->from, id));
}

void groups_line_down(struct line *line, const char *why)
{
	struct sg_list *it = line->r->groups.next;

	while (it != &line->r->groups) {
		struct group *g = sg_container_of(it, struct group, node);

		if (goes_by(g, line)) {
			group_end(g, false, -ENETDOWN, why);
			it = line->r->groups.next; /* its call-back may have ended others */
		} else {
			it = it->next;
		}
	}
}

void groups_farewell(struct sg_route *r)
{
	sg_list_for (it, &r->groups) {
		struct group *g = sg_container_of(it, struct group, node);

		if (g->state != GROUP_CLOSING)
			(void)group_say_close(g, 0);
	}
}

void groups_stop(struct sg_route *r)
{
	while (!sg_list_empty(&r->groups))
		group_end(sg_container_of(r->groups.next, struct group, node), false, -ECANCELED, "we are stopping");
	while (!sg_list_empty(&r->group_dials))
		group_dial_end(sg_container_of(r->group_dials.next, struct group_dial, node), NULL, -ECANCELED,
			"we are stopping");
}

void groups_each_stream(
	const struct sg_route *r, bool (*fn)(void *arg, const struct sg_route_stream_info *s), void *arg)
{
	sg_list_for (it, &r->groups) {
		struct group *g = sg_container_of(it, struct group, node);
		struct sg_route_stream_info info = {.dialled = g->dialled,
			.id = g->reverse ? g->reverse->r.key : 0,
			.rx_bytes = g->rx_bytes,
			.tx_bytes = g->tx_bytes,
			.rx_waiting = g->rxq_len,
			.up_ms = sg_mono_ms_since(sg_loop_now(r->loop), g->opened_at)};

		g->pub.ops->info(&g->pub, &info.info, sizeof(info.info));
		if (group_is_open(g) && !fn(arg, &info))
			return;
	}
}

void group_info(const struct group *g, struct sg_route_rule_info *out)
{
	out->state = group_is_open(g) ? "open" : g->state == GROUP_CLOSING ? "closing" : "opening";
	out->peer = g->desc.src;
	out->port = g->dialled ? g->desc.src_port : g->desc.dst_port;
	out->dialled = g->dialled;
	out->rtt_us = g->rtt_us;
	out->up_bps = g->up_bps;
	out->down_bps = g->down_bps;
}
