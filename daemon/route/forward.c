/*
 * Packets of others that pass: rule, next link. Nobody sends again what a route loses, and there is no word by which its
 * end could be asked to wait, so where the next link is full the one that the packet came by is not read until there is
 * room: then TCP asks the visor before us to wait, which asks the one before it, and so on to the end that sends.
 *
 *	forward → room ─▶ link_put
 *	        → hold: the packet stays with its link, which is not read; so memory is bounded by what links hold anyway
 *	             ── room ─▶ release ─▶ forward again
 *	             ── SG_FORWARD_STUCK_MS without progress ─▶ cut: the routes that want to go on there are closed
 *
 * A line waits for the socket of another one, and never for a line that waits. Where routes lead in a ring, though,
 * the visors of the ring may wait for one another; cut ends that, too.
 */
#include "route/internal.h"

#define LOOK_MS 1000 /* how often a link that others wait for is looked at */

static void release(void *arg);
static void look(void *arg);

void forward_init(struct line *line)
{
	turn_init(&line->held, release, line);
	sg_timer_init(&line->stuck, line->r->loop, look, line);
}

/* ---- waiting ---- */

/* False: memory is out. */
static bool watch(struct line *to)
{
	to->stuck_due = sg_mono_add_ms(sg_loop_now(to->r->loop), LOOK_MS);
	return sg_timer_start(&to->stuck, LOOK_MS) == 0;
}

static bool hold(struct line *line, struct line *to)
{
	if (to->is_stuck || (to->holds == 0 && !watch(to)))
		return false;
	if (to->holds == 0) {
		to->sent = link_sent(to->link);
		to->stuck_ms = 0;
	}
	link_put_back(line->link);
	link_want(line->link, false);
	line->held_by = to;
	turn_take(&to->waiting, &line->held);
	to->holds++;
	line->r->count.held++;
	return true;
}

/* It waits for nobody any more, and has no place among those who do. */
static void let_go(struct line *line)
{
	struct line *to = line->held_by;

	sg_list_remove(&line->held.node);
	line->held_by = NULL;
	if (--to->holds == 0)
		sg_timer_stop(&to->stuck);
	link_want(line->link, true);
}

/* Its turn has come, and it is read before others get theirs: otherwise whoever is first would take all the room again. */
static void release(void *arg)
{
	struct line *line = arg;
	struct sg_route *r = line->r;

	let_go(line);
	r->in_turn = line;
	link_resume(line->link); /* may end it */
	r->in_turn = NULL;
}

/* All that wait for @to; their packets come again from the loop. */
static void release_all(struct line *to)
{
	sg_list_for (it, &to->r->lines) {
		struct line *line = sg_container_of(it, struct line, node);

		if (line->held_by == to)
			let_go(line);
	}
}

/* A timer that fires late says that this process was stopped: that is not the other end's fault. */
static void look(void *arg)
{
	struct line *to = arg;
	bool late = sg_mono_ms_since(sg_loop_now(to->r->loop), to->stuck_due) >= LOOK_MS;

	if (link_sent(to->link) - to->sent >= SG_FORWARD_MOVED) {
		to->sent = link_sent(to->link);
		to->stuck_ms = 0;
	} else if (!late) {
		to->stuck_ms += LOOK_MS;
	}
	if (to->stuck_ms < SG_FORWARD_STUCK_MS && watch(to))
		return;
	to->is_stuck = true;
	release_all(to);
}

void forward_writable(struct line *line)
{
	line->is_stuck = false;
}

void forward_line_down(struct line *line)
{
	if (line->held_by)
		let_go(line);
	release_all(line);
}

/* ---- closing ---- */

/* Toward both sides. */
static void cut(struct line *line, struct line *to, struct rule *rule)
{
	static const uint8_t code = 0;
	struct rule *back = rules_back(&line->r->rules, rule, link_id(line->link));

	route_drop(to, ROUTE_DROP_STUCK);
	link_send_control(to->link, SG_PACKET_CLOSE, rule->r.next_id, &code, sizeof(code));
	if (back)
		link_send_control(line->link, SG_PACKET_CLOSE, back->r.next_id, &code, sizeof(code));
	rules_remove(&line->r->rules, back);
	rules_remove(&line->r->rules, rule);
}

/* ---- the way ---- */

static void pass(struct line *to, struct rule *rule, uint8_t type, struct sg_view payload)
{
	struct sg_route *r = to->r;
	const struct iovec iov = {(void *)(uintptr_t)payload.p, payload.len};

	link_put(to->link, type, rule->r.next_id, &iov, 1);
	rule->used_at = sg_loop_now(r->loop);
	rule->packets++;
	rule->bytes += payload.len;
	r->count.forwarded++;
	r->count.forwarded_bytes += payload.len;
}

/* Whoever waits already comes first, or a flood of others would keep our own packets from the link. */
static int room(const struct line *line, struct line *to, size_t len)
{
	if (!sg_list_empty(&to->waiting) && line->r->in_turn != line)
		return -EAGAIN;
	return link_reserve(to->link, SG_PACKET_HEAD + len);
}

static void forward_close(struct line *to, struct rule *rule, struct sg_view payload)
{
	link_send_control(to->link, SG_PACKET_CLOSE, rule->r.next_id, payload.p, payload.len);
	to->r->count.forwarded++;
	to->r->count.forwarded_bytes += payload.len;
}

void forward(struct line *line, struct rule *rule, uint8_t type, struct sg_view payload)
{
	struct line *to = rule_line(line->r, rule);
	int err = SG_ECLOSED;

	if (type == SG_PACKET_CLOSE) {
		if (to)
			forward_close(to, rule, payload);
		else
			route_drop(line, ROUTE_DROP_TRANSPORT_DOWN);
		rules_remove(&line->r->rules, rule);
		return;
	}
	if (to)
		err = room(line, to, payload.len);
	if (err == 0)
		pass(to, rule, type, payload);
	else if (err != -EAGAIN)
		route_drop(line, ROUTE_DROP_TRANSPORT_DOWN);
	else if (!hold(line, to))
		cut(line, to, rule);
}
