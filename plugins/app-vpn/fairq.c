/*
 * The fair queue. Blocks, flows and packets are numbers into arrays of the arena; a packet bears the number of its first
 * block. Blocks that were used last are used next, so that a short queue stays in the cache and touches little memory.
 */
#include "fairq.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/log.h"

#define NONE    UINT32_MAX
#define QUANTUM 1514 /* bytes of a flow's turn */
#define MTU     1514 /* so little waiting is no queue */
#define SMALL   256  /* bytes: a packet that delays nobody who lets it pass */
/*
 * A packet may always wait for the target; longer waits are borne for the interval. Twice what RFC 8289 says for a
 * line: our line is a TCP connection, which stands still for a round trip or two when it repeats a frame.
 */
#define TARGET_NS   (10 * SG_NS_PER_MS)
#define INTERVAL_NS (200 * SG_NS_PER_MS)
#define STALE_NS    (2000 * SG_NS_PER_MS) /* its sender has sent it again long ago */

/* What CoDel remembers of a flow. */
struct codel {
	int64_t first_above, next; /* instants in ns; first_above 0: not above the target */
	uint32_t count, last_count;
	bool dropping;
};

struct flow {
	struct sg_list node; /* of a list of its class */
	struct fairq_class *c;
	uint64_t key;
	uint32_t next; /* of its bucket, or of the free ones */
	uint32_t head, tail;
	size_t bytes;
	int32_t deficit;
	uint32_t turn; /* the number of its last one */
	bool old;      /* on that list of its class */
	struct codel codel;
};

struct packet {
	struct sg_vpn_record r;
	uint32_t next; /* of its flow */
	int64_t at;    /* when it came, ns */
};

struct fairq {
	uint64_t seed, salts;
	struct fairq_count *count;
	uint32_t n; /* blocks, packets, flows and buckets: as many of each */
	uint32_t free_block, fresh_block, n_free;
	uint32_t free_flow, fresh_flow;
	uint8_t *blocks;
	uint32_t *next_block;
	struct packet *packets;
	struct flow *flows;
	uint32_t *buckets;        /* number of the flow plus one, so that zeros are an empty table */
	uint32_t room[FAIRQ_IOV]; /* blocks of the packet being written */
	struct iovec iov[FAIRQ_IOV];
};

static size_t blocks_of(const struct sg_vpn_record *r)
{
	return (r->len + FAIRQ_BLOCK - 1) / FAIRQ_BLOCK;
}

static uint8_t *block(const struct fairq *q, uint32_t b)
{
	return q->blocks + (size_t)b * FAIRQ_BLOCK;
}

struct fairq *fairq_new(size_t bytes, uint64_t seed, struct fairq_count *count)
{
	struct fairq *q = sg_calloc(1, sizeof(*q));
	uint32_t n = (uint32_t)SG_MAX(bytes / FAIRQ_BLOCK, (size_t)2 * FAIRQ_IOV);

	if (!q)
		return NULL;
	q->n = q->n_free = n;
	q->blocks = sg_malloc((size_t)n * FAIRQ_BLOCK);
	q->next_block = sg_malloc(n * sizeof(*q->next_block));
	q->packets = sg_malloc(n * sizeof(*q->packets));
	q->flows = sg_malloc(n * sizeof(*q->flows));
	q->buckets = sg_calloc(n, sizeof(*q->buckets));
	if (!q->blocks || !q->next_block || !q->packets || !q->flows || !q->buckets) {
		fairq_free(q);
		return NULL;
	}
	q->seed = seed;
	q->count = count;
	q->free_block = q->free_flow = NONE;
	for (size_t i = 0; i < FAIRQ_IOV; i++)
		q->room[i] = NONE;
	return q;
}

void fairq_free(struct fairq *q)
{
	if (!q)
		return;
	sg_free(q->blocks);
	sg_free(q->next_block);
	sg_free(q->packets);
	sg_free(q->flows);
	sg_free(q->buckets);
	sg_free(q);
}

/* ---- blocks ---- */

static uint32_t block_take(struct fairq *q)
{
	uint32_t b = q->free_block;

	q->n_free--;
	if (b == NONE)
		return q->fresh_block++;
	q->free_block = q->next_block[b];
	return b;
}

static void block_give(struct fairq *q, uint32_t b)
{
	q->next_block[b] = q->free_block;
	q->free_block = b;
	q->n_free++;
}

static void packet_free(struct fairq *q, uint32_t p)
{
	uint32_t b = p;

	for (size_t i = blocks_of(&q->packets[p].r); i; i--) {
		uint32_t next = q->next_block[b];

		block_give(q, b);
		b = next;
	}
}

/* ---- flows ---- */

static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15U;
	return h ^ h >> 29;
}

/* Ports are where they are said to be only in a packet that is no fragment, nor the first of some. */
static uint64_t flow_key(const struct fairq *q, const struct fairq_class *c, const uint8_t *p, size_t len)
{
	bool six = p[0] >> 4 == 6;
	size_t head = six ? 40 : (size_t)(p[0] & 15) * 4;
	uint8_t proto = six ? p[6] : p[9];
	bool whole = six || (sg_get_u16(p + 6) & 0x3fff) == 0;
	uint64_t h = mix(q->seed ^ c->salt, proto);

	if (six) {
		for (size_t i = 8; i < 40; i += 8)
			h = mix(h, sg_get_u64(p + i));
	} else {
		h = mix(h, sg_get_u64(p + 12));
	}
	if ((proto == 6 || proto == 17) && whole && len >= head + 4)
		h = mix(h, sg_get_u32(p + head));
	return mix(h, h >> 32);
}

static uint32_t *bucket(struct fairq *q, uint64_t key)
{
	return &q->buckets[key % q->n];
}

static void flow_free(struct fairq *q, struct flow *flow)
{
	uint32_t f = (uint32_t)(flow - q->flows), *at = bucket(q, flow->key);

	while (*at != f + 1)
		at = &q->flows[*at - 1].next;
	*at = flow->next;
	sg_list_remove(&flow->node);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a flow that is listed has its class */
	flow->c->n_old -= flow->old;
	flow->c = NULL;
	flow->next = q->free_flow;
	q->free_flow = f;
}

/* There are as many flows as blocks, and blocks that are in no flow: one of the flows is empty. Freed and taken. */
static uint32_t flow_reap(struct fairq *q)
{
	uint32_t f = 0;

	while (q->flows[f].head != NONE)
		f++;
	flow_free(q, &q->flows[f]);
	q->free_flow = q->flows[f].next;
	return f;
}

static struct flow *flow_new(struct fairq *q, struct fairq_class *c, uint64_t key)
{
	uint32_t *b = bucket(q, key), f = q->free_flow;
	struct flow *flow;

	if (f != NONE) {
		q->free_flow = q->flows[f].next;
	} else if (q->fresh_flow < q->n) {
		f = q->fresh_flow++;
	} else {
		f = flow_reap(q);
		b = bucket(q, key);
	}
	flow = &q->flows[f];
	*flow = (struct flow){
		.c = c, .key = key, .next = *b, .head = NONE, .tail = NONE, .deficit = QUANTUM, .turn = c->turns};
	sg_list_add_tail(&c->fresh, &flow->node);
	*b = f + 1;
	return flow;
}

static struct flow *flow_of(struct fairq *q, struct fairq_class *c, uint64_t key)
{
	for (uint32_t f = *bucket(q, key); f; f = q->flows[f - 1].next) {
		if (q->flows[f - 1].key == key && q->flows[f - 1].c == c)
			return &q->flows[f - 1];
	}
	return flow_new(q, c, key);
}

/* Forgets its oldest packet. */
static void flow_drop(struct fairq *q, struct flow *flow)
{
	struct packet *p = &q->packets[flow->head];
	uint32_t number = flow->head;

	flow->head = p->next;
	flow->bytes -= p->r.len;
	flow->c->bytes -= p->r.len;
	flow->c->packets--;
	if (flow->c->front == (uint32_t)(flow - q->flows) + 1)
		flow->c->front = 0;
	packet_free(q, number);
}

void fairq_class_init(struct fairq *q, struct fairq_class *c)
{
	*c = (struct fairq_class){.salt = mix(q->seed, ++q->salts)};
	sg_list_init(&c->quick);
	sg_list_init(&c->fresh);
	sg_list_init(&c->old);
}

static void list_clear(struct fairq *q, struct sg_list *list)
{
	while (!sg_list_empty(list)) {
		struct flow *flow = sg_container_of(list->next, struct flow, node);

		while (flow->head != NONE)
			flow_drop(q, flow);
		flow_free(q, flow);
	}
}

void fairq_class_clear(struct fairq *q, struct fairq_class *c)
{
	list_clear(q, &c->quick);
	list_clear(q, &c->fresh);
	list_clear(q, &c->old);
}

/* ---- in ---- */

static bool drop_from_fattest(struct fairq *q)
{
	struct flow *fattest = NULL;

	for (uint32_t f = 0; f < q->fresh_flow; f++) {
		if (q->flows[f].c && (!fattest || q->flows[f].bytes > fattest->bytes))
			fattest = &q->flows[f];
	}
	if (!fattest || fattest->head == NONE)
		return false;
	flow_drop(q, fattest);
	q->count->full++;
	return true;
}

const struct iovec *fairq_room(struct fairq *q)
{
	for (size_t i = 0; i < FAIRQ_IOV; i++) {
		if (q->room[i] != NONE)
			continue;
		while (q->n_free == 0) {
			if (!drop_from_fattest(q))
				sg_bug("fairq: the arena is full of nothing");
		}
		q->room[i] = block_take(q);
		q->iov[i] = (struct iovec){block(q, q->room[i]), FAIRQ_BLOCK};
	}
	return q->iov;
}

/* The blocks that the packet fills leave the room as its chain. */
static uint32_t chain(struct fairq *q, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++)
		q->next_block[q->room[i]] = q->room[i + 1];
	return q->room[0];
}

static void to_the_end(struct flow *flow, struct sg_list *list)
{
	struct fairq_class *c = flow->c;
	bool old = list == &c->old;

	sg_list_remove(&flow->node);
	sg_list_add_tail(list, &flow->node);
	c->n_old = c->n_old - flow->old + old;
	flow->old = old;
}

static void next_turn(struct flow *flow)
{
	flow->deficit = SG_MIN(flow->deficit + QUANTUM, QUANTUM);
	flow->turn = ++flow->c->turns;
	to_the_end(flow, &flow->c->old);
}

/*
 * A packet of @len comes to a flow that had none. While it uses less than its turns it need not wait for one: a ping among
 * hundreds of downloads, and none of these, whose packets come singly too. Many of them begin or begin again at any time, so
 * what is small goes before these as well.
 */
static void wake(struct flow *flow, uint32_t len)
{
	struct fairq_class *c = flow->c;
	uint32_t missed = (c->turns - flow->turn) / SG_MAX(c->n_old, 1U);

	if (missed) {
		flow->deficit = (int32_t)SG_MIN(flow->deficit + (int64_t)missed * QUANTUM, (int64_t)QUANTUM);
		flow->turn = c->turns;
	}
	if ((int64_t)flow->deficit >= len)
		to_the_end(flow, len <= SMALL ? &c->quick : &c->fresh);
}

void fairq_put(struct fairq *q, struct fairq_class *c, const struct sg_vpn_record *r, struct sg_mono now)
{
	uint32_t p = chain(q, blocks_of(r));
	struct flow *flow = flow_of(q, c, flow_key(q, c, block(q, p), r->len));

	for (size_t i = 0; i < blocks_of(r); i++)
		q->room[i] = NONE;
	q->packets[p] = (struct packet){.r = *r, .next = NONE, .at = now.ns};
	if (flow->head == NONE) {
		flow->head = p;
		wake(flow, r->len);
	} else {
		q->packets[flow->tail].next = p;
	}
	flow->tail = p;
	flow->bytes += r->len;
	c->bytes += r->len;
	c->packets++;
}

/* ---- out ---- */

/* INTERVAL / sqrt(count), by integers: no processor is asked for a square root of a float. */
static int64_t control_law(int64_t from, uint32_t count)
{
	uint64_t square = (uint64_t)count << 20, root = 0;

	for (uint64_t bit = 1ULL << 26; bit; bit >>= 1) {
		if ((root | bit) * (root | bit) <= square)
			root |= bit;
	}
	return from + (int64_t)((uint64_t)INTERVAL_NS * 1024 / root);
}

/* Says "slow down" without a loss, where the sender understands that (RFC 3168). */
static bool mark(uint8_t *p)
{
	bool six = p[0] >> 4 == 6;
	uint16_t ecn = six ? 0x0030 : 0x0003, before = sg_get_u16(p), after = before | ecn;
	uint32_t sum;

	if (!(before & ecn))
		return false;
	sg_put_u16(p, after);
	if (six || after == before)
		return true;
	sum = (uint32_t)(uint16_t)~sg_get_u16(p + 10) + (uint16_t)~before + after; /* RFC 1624 */
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sg_put_u16(p + 10, (uint16_t)~sum);
	return true;
}

/* True: the flow's oldest packet was dropped for it. */
static bool punish(struct fairq *q, struct flow *flow)
{
	if (mark(block(q, flow->head))) {
		q->count->marked++;
		return false;
	}
	flow_drop(q, flow);
	q->count->late++;
	return true;
}

static bool is_late(const struct fairq *q, struct flow *flow, int64_t now)
{
	struct codel *d = &flow->codel;

	if (now - q->packets[flow->head].at < TARGET_NS || flow->c->bytes <= MTU) {
		d->first_above = 0;
		return false;
	}
	if (d->first_above == 0)
		d->first_above = now + INTERVAL_NS;
	return now >= d->first_above;
}

/* Drops what CoDel drops now. False: the flow is empty then. */
static bool flow_ready(struct fairq *q, struct flow *flow, int64_t now)
{
	struct codel *d = &flow->codel;
	bool dropped = true;

	while (dropped && flow->head != NONE) {
		dropped = now - q->packets[flow->head].at > STALE_NS;
		if (dropped) {
			flow_drop(q, flow);
			q->count->stale++;
		} else if (!is_late(q, flow, now)) {
			d->dropping = false;
		} else if (!d->dropping) {
			uint32_t more = d->count - d->last_count;

			dropped = punish(q, flow);
			d->dropping = true;
			d->count = more > 1 && now - d->next < 16 * INTERVAL_NS ? more : 1;
			d->last_count = d->count;
			d->next = control_law(now, d->count);
		} else if (now >= d->next) {
			dropped = punish(q, flow);
			d->count++;
			d->next = control_law(d->next, d->count);
		}
	}
	return flow->head != NONE;
}

static void give(const struct fairq *q, uint32_t p, struct fairq_packet *out)
{
	size_t left = q->packets[p].r.len;

	out->r = &q->packets[p].r;
	for (out->n = 0; left; out->n++, p = q->next_block[p]) {
		out->iov[out->n] = (struct iovec){block(q, p), SG_MIN(left, (size_t)FAIRQ_BLOCK)};
		left -= out->iov[out->n].iov_len;
	}
}

static struct flow *first(struct fairq_class *c)
{
	struct sg_list *list = &c->quick;

	if (sg_list_empty(list))
		list = sg_list_empty(&c->fresh) ? &c->old : &c->fresh;
	return sg_list_empty(list) ? NULL : sg_container_of(list->next, struct flow, node);
}

static struct flow *choose(struct fairq *q, struct fairq_class *c, int64_t now)
{
	for (;;) {
		struct flow *flow = first(c);

		if (!flow)
			return NULL;
		if (flow->deficit > 0 && flow_ready(q, flow, now))
			return flow;
		if (flow->deficit > 0 && !flow->old)
			to_the_end(flow, &c->old);
		else if (flow->deficit < QUANTUM)
			next_turn(flow); /* what it used is remembered until all others had theirs */
		else
			flow_free(q, flow);
	}
}

static unsigned wait_class(int64_t ns)
{
	static const int64_t below_ms[FAIRQ_WAITS - 1] = {1, 5, 20, 100};
	unsigned i = 0;

	while (i < SG_ARRAY_LEN(below_ms) && ns >= below_ms[i] * SG_NS_PER_MS)
		i++;
	return i;
}

bool fairq_front(struct fairq *q, struct fairq_class *c, struct sg_mono now, struct fairq_packet *out)
{
	if (!c->front) {
		struct flow *flow = choose(q, c, now.ns);

		if (!flow)
			return false;
		c->front = (uint32_t)(flow - q->flows) + 1;
		c->sent = 0;
		q->count->wait[wait_class(now.ns - q->packets[flow->head].at)]++;
	}
	give(q, q->flows[c->front - 1].head, out);
	return true;
}

void fairq_pop(struct fairq *q, struct fairq_class *c)
{
	struct flow *flow = &q->flows[c->front - 1];

	flow->deficit -= (int32_t)q->packets[flow->head].r.len;
	flow_drop(q, flow);
}
