/*
 * The way of a packet from its link to the user of a stream, in the order of the functions:
 *
 *	receive_packet → receive_routed → forward                                       route/forward.c
 *	               |                → group_packet                                  route/group_receive.c
 *	               → receive_stream → receive_syn → receive_counted → receive_data → receive_answer | receive_port | deliver
 *	               |                                                → receive_fin
 *	               → receive_credit
 *	               → receive_foreign
 *	receive_batch_end: credits go out, users may flush
 */
#include "route/internal.h"

static void receive_routed(struct line *line, const struct sg_packet *p);
static void receive_stream(struct line *line, struct sg_view payload);
static struct vstream *receive_syn(struct line *line, const struct sg_vstream_msg *m);
static bool receive_counted(struct vstream *s, size_t len);
static void receive_data(struct vstream *s, struct sg_view data);
static void receive_fin(struct vstream *s);
static void receive_credit(struct line *line, struct sg_view payload);
static void receive_foreign(struct line *line, const struct sg_packet *p);

void receive_packet(void *arg, struct sg_link *l, const struct sg_packet *p)
{
	struct line *line = *link_user(l);

	(void)arg;
	if (!line)
		return; /* memory was out when it came up; it is about to end */
	if (p->route_id != 0)
		receive_routed(line, p);
	else if (p->type <= SG_PACKET_ERROR)
		route_drop(line, ROUTE_DROP_RULE);
	else if (p->type == SG_PACKET_APP_DIRECT)
		receive_stream(line, p->payload);
	else if (p->type == SG_PACKET_CREDIT && line->credits)
		receive_credit(line, p->payload);
	else if (p->type >= SG_PACKET_SETUP_STREAM && p->type <= SG_PACKET_FORWARD_STREAM)
		receive_foreign(line, p);
	else
		route_drop(line, ROUTE_DROP_TYPE);
}

/* ---- packets with a route id: they follow the rule of that id ---- */

static void receive_routed(struct line *line, const struct sg_packet *p)
{
	struct rule *rule = rules_find(&line->r->rules, p->route_id, sg_loop_now(line->r->loop));
	uint8_t scratch[SG_PACKET_PING_LEN];
	struct sg_view payload;

	if (!rule)
		route_drop(line, ROUTE_DROP_RULE);
	else if (sg_packet_pass(p, scratch, &payload) < 0)
		route_drop(line, ROUTE_DROP_MALFORMED);
	else if (!rule_accepts(rule, link_id(line->link)))
		route_drop(line, ROUTE_DROP_TRANSPORT);
	else if (rule->group)
		group_packet(rule->group, line, p->type, payload);
	else
		forward(line, rule, p->type, payload);
}

/* ---- packets of a stream on this link ---- */

static void receive_stream(struct line *line, struct sg_view payload)
{
	struct sg_vstream_msg m;
	struct vstream *s;

	if (sg_vstream_decode(payload, &m) < 0) {
		route_drop(line, ROUTE_DROP_MALFORMED);
		return;
	}
	/* The link's Noise proves who sends; a header that says otherwise is a relayed or a forged one. */
	if (!sg_pk_equal(&m.sender, link_remote(line->link))) {
		route_drop(line, ROUTE_DROP_SENDER);
		return;
	}
	s = m.flags & SG_VSTREAM_SYN ? receive_syn(line, &m) : vstream_find(line, m.id);
	if (!s) {
		if (!(m.flags & (SG_VSTREAM_SYN | SG_VSTREAM_FIN)))
			route_drop(line, ROUTE_DROP_STREAM);
		return;
	}
	vstream_hold(s);
	if (m.data.len && receive_counted(s, m.data.len))
		receive_data(s, m.data);
	if ((m.flags & SG_VSTREAM_FIN) && s->state != VS_ENDED)
		receive_fin(s);
	vstream_release(s);
}

/* ---- a new stream ---- */

/* Ids of the end with the larger key are odd, of the other even. */
static bool may_give(const struct line *line, uint64_t id)
{
	return (id & 1) == (sg_pk_cmp(link_remote(line->link), &line->r->own) > 0);
}

static struct vstream *refuse(struct line *line, uint64_t id, enum route_drop reason)
{
	route_drop(line, reason);
	send_message(line, id, SG_VSTREAM_FIN, NULL, 0);
	return NULL;
}

static void port_timeout(void *arg)
{
	vstream_end(arg, true, -ETIMEDOUT, "");
}

static struct vstream *receive_syn(struct line *line, const struct sg_vstream_msg *m)
{
	struct vstream *s;

	if (m->flags & SG_VSTREAM_RELAY)
		return refuse(line, m->id, ROUTE_DROP_RELAY);
	if (!may_give(line, m->id))
		return refuse(line, m->id, ROUTE_DROP_ID);
	if (vstream_find(line, m->id)) {
		route_drop(line, ROUTE_DROP_ID); /* a FIN would end the stream that has this id */
		return NULL;
	}
	s = vstream_new(line, m->id, false);
	if (!s)
		return refuse(line, m->id, ROUTE_DROP_LIMIT);
	s->state = VS_PORT;
	sg_timer_init(&s->timer, line->r->loop, port_timeout, s);
	if (sg_timer_start(&s->timer, SG_VSTREAM_OPEN_MS) < 0) {
		vstream_end(s, true, -ENOMEM, "");
		return NULL;
	}
	return s;
}

/* ---- its data ---- */

/* False: the other end sent more than it was allowed, and the stream is gone. */
static bool receive_counted(struct vstream *s, size_t len)
{
	s->rx_total += len;
	if (!s->line->credits)
		vstream_ration(s);
	if (!s->line->credits || s->rx_total <= s->rx_allowed)
		return true;
	route_drop(s->line, ROUTE_DROP_CREDIT);
	vstream_end(s, true, SG_EMALF, "the other end sent more than it was allowed to");
	return false;
}

/* ---- the first bytes: an answer, or a port ---- */

static void receive_answer(struct vstream *s, uint8_t answer)
{
	struct dial *d = s->dial;
	char why[64];

	if (answer != SG_VSTREAM_ACCEPTED) {
		snprintf(why, sizeof(why), "nobody listens on port %u there", s->port);
		vstream_end(s, true, SG_EREFUSED, why);
		return;
	}
	sg_timer_stop(&s->timer);
	s->dial = NULL;
	s->state = VS_OPEN;
	s->r->count.streams_out++;
	dial_answered(d, 0, "");
	if (s->state == VS_OPEN && !s->pub.user)
		vstream_end(s, true, SG_ESTATE, "");
}

static void answer_send(struct vstream *s, uint8_t answer)
{
	s->tx_total += sizeof(answer);
	send_message(s->line, s->id, 0, &answer, sizeof(answer));
}

/* The listener decides inside its call; what it sends there waits until our answer is on its way. */
static void offer(struct vstream *s)
{
	const struct listener *lis = listener_find(s->r, s->port);
	struct line *line = s->line;

	sg_timer_stop(&s->timer);
	s->state = VS_OFFERED;
	if (lis && lis->ops->on_stream(lis->arg, &s->pub) == 0 && s->state == VS_OFFERED && s->pub.user) {
		s->state = VS_OPEN;
		s->r->count.streams_in++;
		answer_send(s, SG_VSTREAM_ACCEPTED);
		if (s->wait_answer)
			send_resume(s);
		return;
	}
	route_drop(line, ROUTE_DROP_PORT);
	if (s->state == VS_OFFERED) {
		answer_send(s, SG_VSTREAM_NO_LISTENER);
		vstream_detach(s);
	}
}

static struct sg_view receive_port(struct vstream *s, struct sg_view data)
{
	while (data.len && s->port_len < sizeof(uint16_t)) {
		s->port = (uint16_t)(s->port << 8 | data.p[0]);
		s->port_len++;
		data.p++;
		data.len--;
	}
	if (s->port_len == sizeof(uint16_t))
		offer(s);
	return data;
}

/* ---- the rest belongs to the user ---- */

static void deliver(struct vstream *s, struct sg_view data)
{
	if (s->want && s->rxq_len == 0) {
		turn_take(&s->line->touched, &s->touched);
		s->pub.user->on_data(s->pub.user_arg, data);
	} else if (vstream_queue(s, data) < 0) {
		route_drop(s->line, ROUTE_DROP_QUEUE);
		vstream_end(s, true, SG_EFULL, "too many bytes wait for slow readers");
	}
}

static void receive_data(struct vstream *s, struct sg_view data)
{
	if (s->state == VS_ASKED) {
		receive_answer(s, data.p[0]);
		data.p++;
		data.len--;
	} else if (s->state == VS_PORT) {
		data = receive_port(s, data);
	}
	if (s->state == VS_OPEN && data.len)
		deliver(s, data);
}

/* ---- the end of a stream, and of a batch ---- */

static void receive_fin(struct vstream *s)
{
	if (s->rxq_len)
		s->state = VS_FINISHED; /* its end comes behind what is queued */
	else
		vstream_end(s, false, SG_ECLOSED, "");
}

void receive_batch_end(void *arg, struct sg_link *l)
{
	struct line *line = *link_user(l);

	(void)arg;
	while (line && !sg_list_empty(&line->touched)) {
		struct turn *t = sg_container_of(line->touched.next, struct turn, node);

		sg_list_remove(&t->node);
		t->fn(t->arg);
		line = *link_user(l); /* a user may have ended the link */
	}
}

/* ---- credits ---- */

static void receive_credit(struct line *line, struct sg_view payload)
{
	struct sg_credit c;
	struct vstream *s;

	if (sg_credit_decode(payload, &c) < 0) {
		route_drop(line, ROUTE_DROP_MALFORMED);
		return;
	}
	s = vstream_find(line, c.id);
	if (!s || c.allowed <= s->tx_allowed)
		return; /* the stream ended meanwhile, or an older word */
	s->tx_allowed = c.allowed;
	if (s->wait_credit)
		send_resume(s);
}

/* ---- streams of services that we do not offer: whoever asks is told at once, and need not wait ---- */

static void receive_foreign(struct line *line, const struct sg_packet *p)
{
	struct sg_vstream_msg m;

	route_drop(line, ROUTE_DROP_TYPE);
	if (sg_vstream_decode(p->payload, &m) == 0 && (m.flags & SG_VSTREAM_SYN) &&
		sg_pk_equal(&m.sender, link_remote(line->link)))
		send_refusal(line, p->type, m.id);
}
