/* The route object: its lines, listeners and counters. The data path is in receive.c and send.c, and in group_*.c. */
#include "route/route.h"
#include "base/alloc.h"
#include "route/internal.h"

SG_LOG_TOPIC("route");

#define COUNTER_ROW(member, name, help) {name, offsetof(struct sg_route_counters, member), help},
#define DROP_ROW(reason, name, help)                                                                                   \
	{name, offsetof(struct sg_route_counters, drop) + (reason) * sizeof(uint64_t), help},

/* clang-format off */
const struct sg_counter route_counter_table[] = {
	SG_ROUTE_COUNTERS(COUNTER_ROW)
	SG_ROUTE_DROPS(DROP_ROW)
	{NULL, 0, NULL},
};
/* clang-format on */

void turn_init(struct turn *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct turn){.fn = fn, .arg = arg};
	sg_list_init(&t->node);
}

void turn_take(struct sg_list *list, struct turn *t)
{
	if (sg_list_empty(&t->node))
		sg_list_add_tail(list, &t->node);
}

void route_drop(struct line *line, enum route_drop reason)
{
	route_drop_of(line->r, link_name(line->link), reason);
}

void route_drop_of(struct sg_route *r, const char *who, enum route_drop reason)
{
	static const char *const texts[] = {
#define DROP_TEXT(reason, name, help) [reason] = (help),
		SG_ROUTE_DROPS(DROP_TEXT)};

	r->count.drop[reason]++;
	log_info_rl(&r->rl_drop[reason], "%s: %s", who, texts[reason]);
}

/* ---- lines ---- */

/* Our ids are odd when our key is the larger one. */
static uint64_t first_id(const struct sg_route *r, struct sg_link *l)
{
	return sg_pk_cmp(&r->own, link_remote(l)) > 0 ? 3 : 2;
}

static void on_up(void *arg, struct sg_link *l)
{
	struct sg_route *r = arg;
	struct line *line = sg_calloc(1, sizeof(*line));

	if (!line) {
		link_close(l, "out of memory for its streams");
		return;
	}
	line->r = r;
	line->link = l;
	line->next_id = first_id(r, l);
	for (size_t i = 0; i < LINE_BUCKETS; i++)
		sg_list_init(&line->streams[i]);
	sg_list_init(&line->waiting);
	sg_list_init(&line->touched);
	forward_init(line);
	sg_list_add_tail(&r->lines, &line->node);
	*link_user(l) = line;
	if (link_knows_streams(l))
		dial_line_ready(r, l);
	else
		dial_line_up(r, l);
}

static void on_hello(void *arg, struct sg_link *l)
{
	struct line *line = *link_user(l);

	if (!line)
		return;
	line->credits = link_caps(l) & SG_CAP_CREDITS;
	if (link_knows_streams(l))
		dial_line_ready(arg, l);
}

static void line_free(struct line *line, const char *why)
{
	char text[160];

	snprintf(text, sizeof(text), "the link is down: %s", why);
	for (size_t i = 0; i < LINE_BUCKETS; i++) {
		while (!sg_list_empty(&line->streams[i]))
			vstream_end(
				sg_container_of(line->streams[i].next, struct vstream, node), false, -ENETDOWN, text);
	}
	groups_line_down(line, text);
	rules_line_down(line);
	forward_line_down(line);
	rules_forget_line(&line->r->rules, line);
	sg_list_remove(&line->node);
	*link_user(line->link) = NULL;
	sg_free(line);
}

static void on_down(void *arg, struct sg_link *l, const char *why)
{
	struct line *line = *link_user(l);

	(void)arg;
	if (line)
		line_free(line, why);
}

static const struct sg_links_user links_user = {
	.on_up = on_up,
	.on_down = on_down,
	.on_hello = on_hello,
	.on_packet = receive_packet,
	.on_batch_end = receive_batch_end,
	.on_writable = send_writable,
};

/* ---- the object ---- */

struct sg_route *route_new(struct sg_links *links)
{
	struct sg_route *r = sg_calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->links = links;
	r->loop = links_loop(links);
	r->own = *links_own_pk(links);
	sg_list_init(&r->lines);
	sg_list_init(&r->listeners);
	sg_list_init(&r->dials);
	route_set_small(r, false);
	rules_start(r);
	groups_start(r);
	links_set_user(links, &links_user, r);
	return r;
}

void route_set_small(struct sg_route *r, bool small)
{
	r->rx_most = small ? SG_ROUTE_RX_SMALL : SG_ROUTE_RX_BYTES;
	r->window_most = small ? SG_VSTREAM_CREDIT_SMALL : SG_VSTREAM_CREDIT_MAX;
}

void route_free(struct sg_route *r)
{
	if (!r)
		return;
	r->stopping = true; /* whoever dials anew in an on_close is refused */
	groups_farewell(r);
	links_set_user(r->links, NULL, NULL);
	while (!sg_list_empty(&r->lines))
		line_free(sg_container_of(r->lines.next, struct line, node), "we are stopping");
	while (!sg_list_empty(&r->dials))
		dial_end(sg_container_of(r->dials.next, struct dial, node), -ECANCELED, "we are stopping");
	groups_stop(r);
	rules_stop(r);
	sg_list_for_safe (it, &r->listeners)
		sg_free(sg_container_of(it, struct listener, node));
	sg_free(r);
}

const struct sg_route_counters *route_counters(const struct sg_route *r)
{
	return &r->count;
}

/* ---- listeners ---- */

struct listener *listener_find(const struct sg_route *r, uint16_t port)
{
	sg_list_for (it, &r->listeners) {
		struct listener *lis = sg_container_of(it, struct listener, node);

		if (lis->port == port)
			return lis;
	}
	return NULL;
}

int route_listen(struct sg_route *r, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	struct listener *lis;

	if (listener_find(r, port))
		return -EADDRINUSE;
	lis = sg_calloc(1, sizeof(*lis));
	if (!lis)
		return -ENOMEM;
	lis->port = port;
	lis->ops = ops;
	lis->arg = arg;
	sg_list_add_tail(&r->listeners, &lis->node);
	return 0;
}

void route_unlisten(struct sg_route *r, uint16_t port)
{
	struct listener *lis = listener_find(r, port);

	if (!lis)
		return;
	sg_list_remove(&lis->node);
	sg_free(lis);
}

/* ---- what the control API asks ---- */

static void info_of(const struct vstream *s, struct sg_route_stream_info *out)
{
	s->pub.ops->info((struct sg_stream *)&s->pub, &out->info, sizeof(out->info));
	out->dialled = s->dialled;
	out->id = s->id;
	out->rx_bytes = s->rx_total;
	out->tx_bytes = s->tx_total;
	out->rx_waiting = s->rxq_len;
	out->up_ms = sg_mono_ms_since(sg_loop_now(s->r->loop), s->opened_at);
}

void route_each_stream(const struct sg_route *r, bool (*fn)(void *arg, const struct sg_route_stream_info *s), void *arg)
{
	sg_list_for (it, &r->lines) {
		const struct line *line = sg_container_of(it, struct line, node);

		for (size_t i = 0; i < LINE_BUCKETS; i++) {
			sg_list_for (sit, &line->streams[i]) {
				const struct vstream *s = sg_container_of(sit, struct vstream, node);
				struct sg_route_stream_info info;

				if (!vstream_is_open(s))
					continue;
				info_of(s, &info);
				if (!fn(arg, &info))
					return;
			}
		}
	}
	groups_each_stream(r, fn, arg);
}
