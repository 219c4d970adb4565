/*
 * Route groups between visors of ours, over one to three hops: records, every way to end, and what must not pass. What
 * others say to a group is in route_group_peer.c.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "fake/setup.h"
#include "wire/tpid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define PORT 44

/* One end of a group, as an app has it. Records are told apart by their first byte. */
struct end {
	struct sg_stream *st; /* NULL: not open, or ended */
	unsigned records, batches, writable, closed;
	size_t bytes, last_len;
	bool echo, in_order;
	size_t ration; /* allowed at the end of each batch */
	bool dialed;
	int err;
	char why[200];
};

static struct end ends[16];

static void on_data(void *arg, struct sg_view in)
{
	struct end *e = arg;

	e->in_order = e->in_order && in.p[0] == (uint8_t)e->records;
	e->records++;
	e->bytes += in.len;
	e->last_len = in.len;
	if (e->echo)
		assert_int_equal(e->st->ops->send(e->st, &(struct iovec){(void *)in.p, in.len}, 1), 0);
}

static void on_writable(void *arg)
{
	((struct end *)arg)->writable++;
}

static void on_close(void *arg, int err, const char *why)
{
	struct end *e = arg;

	e->st = NULL;
	e->closed++;
	e->err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void on_batch_end(void *arg)
{
	struct end *e = arg;

	e->batches++;
	if (e->ration)
		(void)e->st->ops->allow(e->st, e->ration);
}

static const struct sg_stream_user user = {sizeof(user), on_data, on_writable, on_close, on_batch_end};

static int on_stream(void *arg, struct sg_stream *st)
{
	struct end *e = arg;

	e->st = st;
	e->in_order = true;
	st->user = &user;
	st->user_arg = e;
	return 0;
}

static const struct sg_listener_ops accepting = {sizeof(accepting), on_stream};

static void on_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	struct end *e = arg;

	assert_false(e->dialed);
	assert_true((st == NULL) == (err < 0));
	e->dialed = true;
	e->err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
	if (st)
		on_stream(e, st);
}

static int send_record(struct end *e, uint8_t first, size_t len)
{
	static uint8_t bytes[8192];

	bytes[0] = first;
	return e->st->ops->send(e->st, (struct iovec[]){{bytes, 1}, {bytes + 1, len - 1}}, 2);
}

/* ---- a world in which the nodes of a chain are linked ---- */

struct chain {
	struct fake_world w;
	struct fake_setup s;
};

static void link_up(struct fake_world *w, size_t a, size_t b)
{
	struct sg_link_info info;

	assert_int_equal(world_peer(w, a, b, false), 0);
	world_settle(w);
	assert_true(world_linked(w, a, b, &info));
}

static struct chain *chain_new(size_t nodes)
{
	static const size_t path[WORLD_NODES] = {0, 1, 2, 3};
	struct chain *c = calloc(1, sizeof(*c));

	memset(ends, 0, sizeof(ends));
	world_new(&c->w);
	for (size_t i = 0; i < WORLD_NODES; i++)
		assert_true(world_boot(&c->w, i));
	for (size_t i = 0; i + 1 < nodes; i++)
		link_up(&c->w, i, i + 1);
	setup_new(&c->s, &c->w, path, nodes);
	return c;
}

static void chain_free(struct chain *c)
{
	world_free(&c->w);
	free(c);
}

static size_t far(const struct chain *c)
{
	return c->s.path[c->s.n - 1];
}

static void dial(struct chain *c, struct end *e)
{
	assert_int_equal(group_dial(c->w.node[0].route, &c->w.node[far(c)].pk, PORT, 0, on_dialed, e), 0);
	assert_false(e->dialed); /* never inside the call */
}

static void open_group(struct chain *c, struct end *a, struct end *b)
{
	assert_int_equal(route_listen(c->w.node[far(c)].route, PORT, &accepting, b), 0);
	dial(c, a);
	world_settle(&c->w);
	assert_int_equal(a->err, 0);
	assert_non_null(a->st);
	assert_non_null(b->st);
}

struct rules_seen {
	unsigned n[3];
	struct sg_route_rule_info of[3]; /* the last of each type */
	struct sg_route_rule_info first; /* of all */
};

static bool see(void *arg, const struct sg_route_rule_info *info)
{
	struct rules_seen *s = arg;

	if (!s->n[0] && !s->n[1] && !s->n[2])
		s->first = *info;
	s->n[info->rule.type]++;
	s->of[info->rule.type] = *info;
	return true;
}

static struct rules_seen rules_at(struct chain *c, size_t i)
{
	struct rules_seen s = {.n = {0}};

	route_each_rule(c->w.node[i].route, see, &s);
	return s;
}

static unsigned rules_in_all(struct chain *c)
{
	unsigned n = 0;

	for (size_t i = 0; i < WORLD_NODES; i++) {
		struct rules_seen s = rules_at(c, i);

		n += s.n[0] + s.n[1] + s.n[2];
	}
	return n;
}

/* ---- records ---- */

static void records_arrive_as_they_were_sent(void **state)
{
	(void)state;
	for (size_t nodes = 2; nodes <= 4; nodes++) {
		struct chain *c = chain_new(nodes);
		struct end *a = &ends[0], *b = &ends[1];
		struct sg_stream_info info;
		size_t sent = 0;
		unsigned n = 0;

		b->echo = true;
		open_group(c, a, b);
		b->st->ops->info(b->st, &info, sizeof(info));
		assert_memory_equal(&info.remote, &c->w.node[0].pk, sizeof(info.remote));
		assert_int_equal(info.port, PORT);
		assert_string_equal(info.network, "skynet");
		assert_string_equal(info.carrier, "stcp");
		assert_true(info.records);
		a->st->ops->info(a->st, &info, sizeof(info));
		assert_memory_equal(&info.remote, &c->w.node[nodes - 1].pk, sizeof(info.remote));
		assert_int_equal(info.port, PORT);
		for (size_t len = 1; len <= SG_GROUP_RECORD_MAX; len = len * 2 + 1, n++) {
			assert_int_equal(send_record(a, (uint8_t)n, len), 0);
			world_settle(&c->w);
			assert_int_equal(b->last_len, len);
			assert_int_equal(a->last_len, len);
			sent += len;
		}
		assert_int_equal(send_record(a, (uint8_t)n++, SG_GROUP_RECORD_MAX), 0);
		assert_int_equal(send_record(a, (uint8_t)n++, 7), 0);
		world_settle(&c->w);
		sent += SG_GROUP_RECORD_MAX + 7;
		assert_int_equal(a->records, n);
		assert_int_equal(b->records, n);
		assert_int_equal(a->bytes, sent);
		assert_true(a->in_order && b->in_order);
		assert_true(b->batches > 0);
		assert_int_equal(send_record(a, 0, SG_GROUP_RECORD_MAX + 1), SG_ELONG);
		assert_int_equal(a->st->ops->send(a->st, NULL, 0), 0);
		for (size_t i = 1; i + 1 < nodes; i++)
			assert_true(world_counter(&c->w, i, "route.forwarded") >= 2 * n);
		assert_int_equal(world_counter(&c->w, 0, "route.groups_out"), 1);
		assert_int_equal(world_counter(&c->w, nodes - 1, "route.groups_in"), 1);
		chain_free(c);
	}
}

static void a_close_takes_every_rule_with_it(void **state)
{
	(void)state;
	for (int who = 0; who < 3; who++) {
		struct chain *c = chain_new(3);
		struct end *a = &ends[0], *b = &ends[1];

		open_group(c, a, b);
		assert_int_equal(rules_in_all(c), 6);
		if (who != 1)
			a->st->ops->close(a->st);
		if (who != 0)
			b->st->ops->close(b->st);
		world_settle(&c->w);
		assert_int_equal(rules_in_all(c), 0);
		/* Nothing follows a close of one's own; the other one hears of it once. */
		assert_int_equal(a->closed, who == 1);
		assert_int_equal(b->closed, who == 0);
		if (who == 0)
			assert_int_equal(b->err, SG_ECLOSED);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(world_counter(&c->w, i, "route.drop.rule"), 0);
		chain_free(c);
	}
}

static void what_was_sent_before_a_close_arrives(void **state)
{
	struct chain *c = chain_new(3);
	struct end *a = &ends[0], *b = &ends[1];

	(void)state;
	open_group(c, a, b);
	b->st->ops->want(b->st, false);
	for (uint8_t i = 0; i < 5; i++)
		assert_int_equal(send_record(a, i, 1000), 0);
	a->st->ops->close(a->st);
	world_settle(&c->w);
	assert_int_equal(b->records, 0);
	assert_int_equal(b->closed, 0);
	b->st->ops->want(b->st, true);
	world_settle(&c->w);
	assert_int_equal(b->records, 5);
	assert_true(b->in_order);
	assert_int_equal(b->closed, 1);
	chain_free(c);
}

static void nobody_listens(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0];

	(void)state;
	dial(c, a);
	world_settle(&c->w);
	/* The dial is done before the other end can say so, as others have it. */
	assert_true(a->dialed);
	assert_int_equal(a->closed, 1);
	assert_int_equal(a->err, SG_EREFUSED);
	assert_string_equal(a->why, "no listener on port 44, vpn-server offline");
	assert_int_equal(rules_in_all(c), 0);
	chain_free(c);
}

/* ---- a slow reader, a full link ---- */

static void a_slow_reader_ends_its_own_group_only(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1], *a2 = &ends[2], *b2 = &ends[3];

	(void)state;
	open_group(c, a, b);
	assert_int_equal(route_listen(c->w.node[1].route, 45, &accepting, b2), 0);
	assert_int_equal(group_dial(c->w.node[0].route, &c->w.node[1].pk, 45, 0, on_dialed, a2), 0);
	world_settle(&c->w);
	assert_non_null(b2->st);
	b->st->ops->want(b->st, false);
	for (unsigned i = 0; i < 300 && a->st; i++) {
		(void)send_record(a, (uint8_t)i, 4000);
		if (i % 16 == 0)
			world_settle(&c->w);
	}
	world_settle(&c->w);
	assert_int_equal(b->closed, 1);
	assert_int_equal(b->err, SG_EFULL);
	assert_int_equal(a->closed, 1);
	assert_int_equal(world_counter(&c->w, 1, "route.drop.queue"), 1);
	assert_int_equal(send_record(a2, 0, 100), 0);
	world_settle(&c->w);
	assert_int_equal(b2->records, 1);
	chain_free(c);
}

/* Its user says what may come: the link is not read when that came, and is when the group ends. */
static void what_may_come_is_what_its_user_says(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1], *a2 = &ends[2], *b2 = &ends[3];

	(void)state;
	open_group(c, a, b);
	assert_int_equal(route_listen(c->w.node[1].route, 45, &accepting, b2), 0);
	assert_int_equal(group_dial(c->w.node[0].route, &c->w.node[1].pk, 45, 0, on_dialed, a2), 0);
	world_settle(&c->w);
	assert_int_equal(b->st->ops->allow(b->st, 0), 0);
	assert_int_equal(b->st->ops->allow(b->st, 2500), 2500);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(send_record(a, (uint8_t)i, 1000), 0);
	world_settle(&c->w);
	assert_int_equal(b->records, 3); /* a record is not cut */
	assert_int_equal(b->st->ops->allow(b->st, 500), 0);
	world_settle(&c->w);
	assert_int_equal(b->records, 3);
	assert_int_equal(b->st->ops->allow(b->st, 1), 1);
	world_settle(&c->w);
	assert_int_equal(b->records, 4);
	assert_int_equal(send_record(a2, 0, 100), 0);
	world_settle(&c->w);
	assert_int_equal(b2->records, 0);
	b->st->ops->close(b->st);
	world_settle(&c->w);
	assert_int_equal(b2->records, 1);
	/* What the network decides again, it lets through. */
	assert_int_equal(b2->st->ops->allow(b2->st, 0), 0);
	assert_int_equal(send_record(a2, 1, 100), 0);
	assert_int_equal(send_record(a2, 2, 100), 0);
	world_settle(&c->w);
	assert_int_equal(b2->records, 2);
	assert_true(b2->st->ops->allow(b2->st, SG_STREAM_ALLOW_ALL) > 0);
	world_settle(&c->w);
	assert_int_equal(b2->records, 3);
	chain_free(c);
}

/* It allows more as soon as it has had something, so that the link is held and let go within each read. */
static void a_ration_that_is_renewed_at_once(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1];
	unsigned sent = 0;

	(void)state;
	open_group(c, a, b);
	assert_int_equal(b->st->ops->allow(b->st, 1), 1);
	b->ration = 4000;
	for (int i = 0; i < 1000 && b->records < 3000; i++) {
		while (sent < 3000 && send_record(a, (uint8_t)sent, 4000) == 0)
			sent++;
		world_settle(&c->w);
	}
	assert_int_equal(b->records, 3000);
	assert_true(b->in_order);
	chain_free(c);
}

/* Records of a byte cost far more than that byte. */
static void short_records_count_with_their_heads(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1];
	unsigned sent = 0;

	(void)state;
	open_group(c, a, b);
	b->st->ops->want(b->st, false);
	while (!b->closed && sent < 2 * SG_GROUP_RX_BYTES / sizeof(void *)) {
		if (a->st && send_record(a, (uint8_t)sent, 1) == 0)
			sent++;
		else
			world_settle(&c->w);
	}
	assert_int_equal(b->err, SG_EFULL);
	assert_true(sent < SG_GROUP_RX_BYTES / (2 * sizeof(void *)) + 2048);
	chain_free(c);
}

static void a_full_link_asks_its_senders_to_wait(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1];
	unsigned sent = 0;

	(void)state;
	open_group(c, a, b);
	while (send_record(a, (uint8_t)sent, 4000) == 0)
		sent++;
	assert_true(sent > 10 && sent < 1000);
	world_settle(&c->w);
	assert_int_equal(a->writable, 1);
	assert_int_equal(b->records, sent);
	assert_true(b->in_order);
	chain_free(c);
}

/* ---- death ---- */

static void a_link_that_ends_takes_its_groups_along(void **state)
{
	struct chain *c = chain_new(3);
	struct end *a = &ends[0], *b = &ends[1];

	(void)state;
	open_group(c, a, b);
	link_close(links_find(c->w.node[0].links, &c->w.node[1].pk), "a test");
	assert_int_equal(a->closed, 1);
	assert_int_equal(a->err, -ENETDOWN);
	assert_string_equal(a->why, "the link is down: a test");
	/* The middle tells who waits behind it. */
	world_settle(&c->w);
	assert_int_equal(b->closed, 1);
	assert_int_equal(b->err, SG_ECLOSED);
	chain_free(c);
}

/* Story: who compares the two ways wants a neighbour of ours by a route. */
static void no_direct_stream_where_none_is_wanted(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1];

	(void)state;
	route_set_direct(c->w.node[0].route, false);
	assert_int_equal(route_listen(c->w.node[1].route, PORT, &accepting, b), 0);
	assert_int_equal(route_dial(c->w.node[0].route, &c->w.node[1].pk, PORT, on_dialed, a), 0);
	world_settle(&c->w);
	assert_non_null(a->st);
	assert_int_equal(c->s.asked, 1);
	assert_int_equal(rules_at(c, 0).n[SG_RULE_FORWARD], 1);
	chain_free(c);
}

static void pings_keep_a_group_alive(void **state)
{
	struct chain *c = chain_new(3);
	struct end *a = &ends[0], *b = &ends[1];
	struct rules_seen s;

	(void)state;
	c->s.keep_alive_ns = 30000000000;
	open_group(c, a, b);
	world_pass(&c->w, 10 * 60000);
	assert_non_null(a->st);
	assert_non_null(b->st);
	s = rules_at(c, 0);
	assert_true(s.of[SG_RULE_REVERSE].rtt_us >= 0);
	assert_true(s.of[SG_RULE_REVERSE].left_ms > 20000);
	assert_string_equal(s.of[SG_RULE_REVERSE].state, "open");
	assert_int_equal(send_record(a, 0, 100), 0);
	world_settle(&c->w);
	assert_int_equal(b->records, 1);
	chain_free(c);
}

static void dead_rules_are_not_followed(void **state)
{
	struct chain *c = chain_new(3);
	struct sg_route_desc desc = {
		.src = c->w.node[0].pk, .dst = c->w.node[2].pk, .src_port = 50000, .dst_port = PORT};
	struct sg_edge_rules mine;
	struct sg_link *l = links_find(c->w.node[0].links, &c->w.node[1].pk);

	(void)state;
	c->s.keep_alive_ns = 2000000000;
	assert_int_equal(setup_rules(&c->s, &desc, &mine), 0);
	assert_int_equal(rules_at(c, 1).n[SG_RULE_INTERMEDIARY], 2);
	link_send_control(l, SG_PACKET_DATA, mine.forward.next_id, "x", 1);
	world_settle(&c->w);
	assert_int_equal(world_counter(&c->w, 1, "route.forwarded"), 1);
	/* Each packet that went on prolongs its life; the other rule is not used. */
	world_pass(&c->w, 1500);
	link_send_control(l, SG_PACKET_DATA, mine.forward.next_id, "x", 1);
	world_pass(&c->w, 1500);
	assert_int_equal(rules_at(c, 1).n[SG_RULE_INTERMEDIARY], 1);
	link_send_control(l, SG_PACKET_DATA, mine.forward.next_id, "x", 1);
	world_pass(&c->w, 2100);
	assert_int_equal(world_counter(&c->w, 1, "route.forwarded"), 3);
	link_send_control(l, SG_PACKET_DATA, mine.forward.next_id, "x", 1);
	world_settle(&c->w);
	assert_int_equal(world_counter(&c->w, 1, "route.forwarded"), 3);
	assert_int_equal(world_counter(&c->w, 1, "route.drop.rule"), 1);
	assert_int_equal(rules_in_all(c), 0);
	chain_free(c);
}

/* ---- what must not pass ---- */

static void packets_from_another_transport_are_refused(void **state)
{
	static const uint8_t types[] = {SG_PACKET_DATA, SG_PACKET_CLOSE, SG_PACKET_HANDSHAKE, SG_PACKET_ERROR, 20};
	struct chain *c = chain_new(3);
	struct end *a = &ends[0], *b = &ends[1];
	struct sg_link *l;
	uint64_t forwarded;
	uint32_t ids[2];
	size_t n = 0;

	(void)state;
	open_group(c, a, b);
	/* Node 3 is a neighbour of the middle and, by it, of nobody else; it knows every id there is. */
	link_up(&c->w, 3, 1);
	l = links_find(c->w.node[3].links, &c->w.node[1].pk);
	forwarded = world_counter(&c->w, 1, "route.forwarded");
	ids[n++] = rules_at(c, 1).of[SG_RULE_INTERMEDIARY].rule.key;
	ids[n++] = rules_at(c, 1).first.rule.key;
	assert_true(ids[0] != ids[1]);
	for (size_t t = 0; t < SG_ARRAY_LEN(types); t++) {
		for (size_t i = 0; i < n; i++)
			link_send_control(l, types[t], ids[i], "\1abc", 4);
	}
	world_settle(&c->w);
	assert_int_equal(world_counter(&c->w, 1, "route.forwarded"), forwarded);
	assert_int_equal(world_counter(&c->w, 1, "route.drop.transport"), 2 * SG_ARRAY_LEN(types));
	assert_int_equal(rules_at(c, 1).n[SG_RULE_INTERMEDIARY], 2);
	/* The same at an end, whose forward rule takes no packets from anybody. */
	link_up(&c->w, 3, 2);
	l = links_find(c->w.node[3].links, &c->w.node[2].pk);
	link_send_control(l, SG_PACKET_CLOSE, rules_at(c, 2).of[SG_RULE_REVERSE].rule.key, "\1", 1);
	l = links_find(c->w.node[1].links, &c->w.node[2].pk);
	link_send_control(l, SG_PACKET_CLOSE, rules_at(c, 2).of[SG_RULE_FORWARD].rule.key, "\1", 1);
	world_settle(&c->w);
	assert_int_equal(world_counter(&c->w, 2, "route.drop.transport"), 2);
	assert_int_equal(send_record(a, 0, 100), 0);
	world_settle(&c->w);
	assert_int_equal(b->records, 1);
	assert_int_equal(b->closed, 0);
	chain_free(c);
}

static void short_control_packets_go_no_further(void **state)
{
	static const struct {
		uint8_t type;
		size_t len;
	} packets[] = {{SG_PACKET_CLOSE, 0}, {SG_PACKET_HANDSHAKE, 0}, {SG_PACKET_PING, 15}, {SG_PACKET_PONG, 7}};
	struct chain *c = chain_new(3);
	struct end *a = &ends[0], *b = &ends[1];
	struct sg_link *l;
	uint64_t forwarded;
	uint32_t id;

	(void)state;
	open_group(c, a, b);
	l = links_find(c->w.node[0].links, &c->w.node[1].pk);
	id = rules_at(c, 0).of[SG_RULE_FORWARD].rule.next_id;
	forwarded = world_counter(&c->w, 1, "route.forwarded");
	for (size_t i = 0; i < SG_ARRAY_LEN(packets); i++)
		link_send_control(l, packets[i].type, id, "0123456789abcdef", packets[i].len);
	world_settle(&c->w);
	assert_int_equal(world_counter(&c->w, 1, "route.drop.malformed"), SG_ARRAY_LEN(packets));
	assert_int_equal(world_counter(&c->w, 1, "route.forwarded"), forwarded);
	assert_int_equal(b->closed, 0);
	/* Types that we do not know pass, and are ignored at the end. */
	link_send_control(l, 23, id, "0123456789abc", 13);
	link_send_control(l, SG_PACKET_TRANSPORT_PING, id, "12345678", 8);
	world_settle(&c->w);
	assert_int_equal(world_counter(&c->w, 1, "route.forwarded"), forwarded + 2);
	assert_int_equal(world_counter(&c->w, 2, "route.drop.type"), 2);
	chain_free(c);
}

static void rules_that_were_not_asked_for_are_refused(void **state)
{
	struct chain *c = chain_new(2);
	struct sg_route *r = c->w.node[1].route;
	struct sg_rule rule = {.type = SG_RULE_INTERMEDIARY, .next_id = 7}, pair[2];
	struct sg_edge_rules e = {.desc = {.src = c->w.node[0].pk, .dst = c->w.node[1].pk}};
	uint32_t ids[3];
	char why[128] = "";

	(void)state;
	assert_int_equal(route_reserve_ids(r, 3, ids, why, sizeof(why)), 0);
	assert_true(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
	rule.key = 0;
	assert_int_equal(route_add_intermediary(r, &rule, 1, why, sizeof(why)), SG_ESTATE);
	for (rule.key = 1; rule.key == ids[0] || rule.key == ids[1] || rule.key == ids[2];)
		rule.key++;
	assert_int_equal(route_add_intermediary(r, &rule, 1, why, sizeof(why)), SG_ESTATE);
	assert_non_null(strstr(why, "was not reserved"));
	rule.key = ids[0];
	pair[0] = pair[1] = rule;
	assert_int_equal(route_add_intermediary(r, pair, 2, why, sizeof(why)), SG_EDUP);
	assert_int_equal(rules_in_all(c), 0); /* all or none */
	pair[1].key = ids[1];
	pair[1].type = SG_RULE_FORWARD;
	assert_int_equal(route_add_intermediary(r, pair, 2, why, sizeof(why)), SG_EMALF);
	assert_int_equal(rules_in_all(c), 0);
	assert_int_equal(route_add_intermediary(r, &rule, 1, why, sizeof(why)), 0);
	assert_int_equal(route_add_intermediary(r, &rule, 1, why, sizeof(why)), SG_EDUP);
	/* An edge: of the right types, for us, over a transport that is there. */
	e.reverse = (struct sg_rule){.type = SG_RULE_REVERSE, .key = ids[1], .desc = e.desc};
	e.forward = (struct sg_rule){.type = SG_RULE_REVERSE, .key = ids[2], .next_id = 5};
	assert_int_equal(route_accept_edge(r, &e, why, sizeof(why)), SG_EMALF);
	e.forward.type = SG_RULE_FORWARD;
	assert_int_equal(route_accept_edge(r, &e, why, sizeof(why)), SG_ENOROUTE);
	assert_string_equal(why, "the transport that the route begins with is not up");
	sg_tpid_make(&c->w.node[0].pk, &c->w.node[1].pk, "stcp", &e.forward.next_tp);
	assert_int_equal(route_accept_edge(c->w.node[0].route, &e, why, sizeof(why)), SG_EMALF);
	assert_int_equal(route_accept_edge(r, &e, why, sizeof(why)), 0);
	assert_int_equal(rules_in_all(c), 3);
	chain_free(c);
}

/* ---- dials ---- */

static void a_lost_greeting_is_repeated(void **state)
{
	struct chain *c = chain_new(3);
	struct end *a = &ends[0], *b = &ends[1];

	(void)state;
	assert_int_equal(route_listen(c->w.node[2].route, PORT, &accepting, b), 0);
	c->s.late = true;
	dial(c, a);
	world_pass(&c->w, 2500);
	assert_false(a->dialed);
	setup_release(&c->s);
	world_pass(&c->w, 1100);
	assert_true(a->dialed);
	assert_non_null(a->st);
	assert_non_null(b->st);
	chain_free(c);
}

static void dials_that_fail_say_why(void **state)
{
	struct chain *c = chain_new(3);
	struct end *a = &ends[0];

	(void)state;
	c->s.refuses = "there is no route";
	dial(c, a);
	world_settle(&c->w);
	assert_int_equal(a->err, SG_ENOROUTE);
	assert_string_equal(a->why, "there is no route");
	/* The far end never hears of it. */
	c->s.refuses = NULL;
	c->s.late = true;
	a = &ends[1];
	dial(c, a);
	world_pass(&c->w, 11000);
	assert_int_equal(a->err, -ETIMEDOUT);
	assert_string_equal(a->why, "the route is there, but its other end does not answer");
	/* The setup node never answers. */
	c->s.holds = true;
	a = &ends[2];
	dial(c, a);
	world_pass(&c->w, 31000);
	assert_int_equal(a->err, -ETIMEDOUT);
	assert_int_equal(c->s.cancelled, 1);
	world_pass(&c->w, 3000);
	assert_int_equal(rules_at(c, 0).n[0] + rules_at(c, 0).n[1], 0);
	chain_free(c);
}

static void dials_are_cancelled_wherever_they_are(void **state)
{
	struct chain *c = chain_new(3);
	struct end *a = &ends[0];

	(void)state;
	dial(c, a);
	group_dial_cancel(c->w.node[0].route, a);
	world_settle(&c->w);
	assert_int_equal(c->s.asked, 0);
	c->s.holds = true;
	dial(c, a);
	world_settle(&c->w);
	assert_int_equal(c->s.asked, 1);
	group_dial_cancel(c->w.node[0].route, a);
	assert_int_equal(c->s.cancelled, 1);
	c->s.holds = false;
	c->s.late = true;
	dial(c, a);
	world_settle(&c->w);
	group_dial_cancel(c->w.node[0].route, a);
	world_pass(&c->w, 13000);
	assert_false(a->dialed);
	assert_int_equal(rules_at(c, 0).n[0] + rules_at(c, 0).n[1], 0);
	chain_free(c);
}

/* Story: a visor of 2024 that got a Handshake packet and then no Noise message takes no groups any more. */
static void a_handshake_that_was_begun_is_finished(void **state)
{
	struct chain *c = chain_new(3);
	struct end *a = &ends[0], *b = &ends[1];

	(void)state;
	assert_int_equal(route_listen(c->w.node[2].route, PORT, &accepting, b), 0);
	c->s.late = true;
	dial(c, a);
	world_settle(&c->w);
	group_dial_cancel(c->w.node[0].route, a);
	setup_release(&c->s);
	world_pass(&c->w, 1100);
	assert_false(a->dialed);
	assert_int_equal(world_counter(&c->w, 2, "route.groups_in"), 1);
	assert_int_equal(world_counter(&c->w, 2, "route.groups_failed"), 0);
	assert_int_equal(b->closed, 1);
	assert_int_equal(rules_in_all(c), 0);
	chain_free(c);
}

/* However many are begun in somebody's name: who has the key gets through, for theirs is the latest. */
static void handshakes_of_one_other_end_are_limited(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1];
	struct sg_route_desc desc = {.src = c->w.node[0].pk, .dst = c->w.node[1].pk, .dst_port = PORT};
	struct sg_edge_rules mine;
	char why[128];

	(void)state;
	c->s.want.keep_alive_ns = 30000000000;
	for (desc.src_port = 1; desc.src_port < 1000; desc.src_port++) {
		assert_int_equal(setup_rules(&c->s, &desc, &mine), 0);
		assert_int_equal(route_accept_edge(c->w.node[1].route, &c->s.far_end, why, sizeof(why)), 0);
	}
	assert_int_equal(rules_at(c, 1).n[SG_RULE_REVERSE], SG_GROUPS_UNFINISHED);
	assert_int_equal(rules_at(c, 1).n[SG_RULE_FORWARD], SG_GROUPS_UNFINISHED);
	open_group(c, a, b);
	world_pass(&c->w, 13000);
	assert_int_equal(rules_at(c, 1).n[SG_RULE_REVERSE], 1);
	assert_non_null(b->st);
	chain_free(c);
}

/* Open ones as well; and whoever begins many in somebody's name keeps us from dialling nobody. */
static void groups_of_one_other_end_are_limited(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1];
	struct sg_route_desc desc = {.dst_port = PORT};
	char why[128];

	(void)state;
	assert_int_equal(route_listen(c->w.node[1].route, PORT, &accepting, b), 0);
	for (unsigned i = 0; i < SG_GROUPS_PER_KEY; i++) {
		dial(c, a);
		world_settle(&c->w);
		assert_int_equal(a->err, 0);
		a->dialed = false;
	}
	dial(c, a);
	world_settle(&c->w);
	assert_int_equal(a->err, SG_EFULL);
	chain_free(c);

	c = chain_new(2);
	desc.src = c->w.node[1].pk;
	desc.dst = c->w.node[0].pk;
	assert_int_equal(route_listen(c->w.node[1].route, PORT, &accepting, b), 0);
	for (desc.src_port = 1; desc.src_port < 1000; desc.src_port++) {
		struct sg_edge_rules e = {.desc = desc};
		uint32_t ids[2];

		assert_int_equal(route_reserve_ids(c->w.node[0].route, 2, ids, why, sizeof(why)), 0);
		e.reverse = (struct sg_rule){
			.keep_alive_ns = 30000000000, .type = SG_RULE_REVERSE, .key = ids[0], .desc = desc};
		e.forward = (struct sg_rule){
			.keep_alive_ns = 30000000000, .type = SG_RULE_FORWARD, .key = ids[1], .next_id = 1};
		sg_route_desc_invert(&desc, &e.forward.desc);
		sg_tpid_make(&c->w.node[0].pk, &c->w.node[1].pk, "stcp", &e.forward.next_tp);
		assert_int_equal(route_accept_edge(c->w.node[0].route, &e, why, sizeof(why)), 0);
	}
	dial(c, a);
	world_settle(&c->w);
	assert_int_equal(a->err, 0);
	assert_non_null(a->st);
	chain_free(c);
}

/* Whoever has rules made, and says that it is somebody else, ends nothing of that one. */
static void an_open_route_is_not_taken_over(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1];
	struct rules_seen s;
	struct sg_edge_rules mine;
	struct sg_route_desc there, back;
	char why[128];

	(void)state;
	open_group(c, a, b);
	world_pass(&c->w, 20000);
	s = rules_at(c, 1);
	there = s.of[SG_RULE_REVERSE].rule.desc;
	c->s.want.keep_alive_ns = 30000000000;
	assert_int_equal(setup_rules(&c->s, &there, &mine), 0);
	assert_int_equal(route_accept_edge(c->w.node[1].route, &c->s.far_end, why, sizeof(why)), SG_EDUP);
	assert_string_equal(why, "a route between these two ports is open");
	/* At the dialler, too, whom its other end would call with the ports changed about. */
	sg_route_desc_invert(&there, &back);
	mine.desc = mine.reverse.desc = back;
	mine.forward.desc = there;
	assert_int_equal(route_accept_edge(c->w.node[0].route, &mine, why, sizeof(why)), SG_EDUP);
	assert_int_equal(rules_in_all(c), 4);
	assert_int_equal(send_record(a, 0, 100), 0);
	world_settle(&c->w);
	assert_int_equal(b->records, 1);
	assert_int_equal(b->closed, 0);
	chain_free(c);
}

static void the_end_of_a_visor_ends_everything(void **state)
{
	struct chain *c = chain_new(2);
	struct end *a = &ends[0], *b = &ends[1], *d = &ends[2];

	(void)state;
	open_group(c, a, b);
	c->s.holds = true;
	dial(c, d);
	world_settle(&c->w);
	world_kill(&c->w, 0);
	assert_int_equal(a->closed, 1);
	assert_true(d->dialed);
	assert_int_equal(d->err, -ECANCELED);
	assert_int_equal(c->s.cancelled, 1);
	world_settle(&c->w);
	/* It heard of it, for the links end behind the closes. */
	assert_int_equal(b->closed, 1);
	assert_int_equal(b->err, SG_ECLOSED);
	chain_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_arrive_as_they_were_sent),
		cmocka_unit_test(a_close_takes_every_rule_with_it),
		cmocka_unit_test(what_was_sent_before_a_close_arrives),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(a_slow_reader_ends_its_own_group_only),
		cmocka_unit_test(what_may_come_is_what_its_user_says),
		cmocka_unit_test(a_ration_that_is_renewed_at_once),
		cmocka_unit_test(short_records_count_with_their_heads),
		cmocka_unit_test(a_full_link_asks_its_senders_to_wait),
		cmocka_unit_test(a_link_that_ends_takes_its_groups_along),
		cmocka_unit_test(no_direct_stream_where_none_is_wanted),
		cmocka_unit_test(pings_keep_a_group_alive),
		cmocka_unit_test(dead_rules_are_not_followed),
		cmocka_unit_test(packets_from_another_transport_are_refused),
		cmocka_unit_test(short_control_packets_go_no_further),
		cmocka_unit_test(rules_that_were_not_asked_for_are_refused),
		cmocka_unit_test(a_lost_greeting_is_repeated),
		cmocka_unit_test(dials_that_fail_say_why),
		cmocka_unit_test(dials_are_cancelled_wherever_they_are),
		cmocka_unit_test(a_handshake_that_was_begun_is_finished),
		cmocka_unit_test(handshakes_of_one_other_end_are_limited),
		cmocka_unit_test(groups_of_one_other_end_are_limited),
		cmocka_unit_test(an_open_route_is_not_taken_over),
		cmocka_unit_test(the_end_of_a_visor_ends_everything),
	};

	return cmocka_run_group_tests_name("route/group", tests, NULL, NULL);
}
