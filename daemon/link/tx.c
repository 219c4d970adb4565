/*
 * Packets to frames to the line. Packets are appended to the plaintext of the frame being filled, across frame bounds:
 *
 *	chunk   | frame | frame | frame | head . plaintext so far … | free |
 *	         sent ^          sealed ^ tail
 *
 * A full frame is sealed where it lies; the last, partial one when the round of events ends. So many small packets share a
 * frame, a large one fills its frames to the brim, and one sendmsg takes all of them: frames in a chunk have no gaps.
 * Chunks return to the manager's spare ones; nothing is allocated per packet. Toward a stream that its carrier secures, a
 * "frame" is plaintext alone.
 */
#include "link/internal.h"
#include "base/alloc.h"

#define FRAME_OVERHEAD (SG_FRAME_HEAD + SG_FRAME_TAG)
/*
 * What is put into a frame, whole blocks of the cipher: the 38 bytes that it could hold besides cost as much time as 300
 * of the others. A packet that was sealed where it lies (link_place) may use them.
 */
#define FRAME_FILL   (SG_FRAME_PLAIN_MAX / 64 * 64)
#define FILL_SLOT    (FRAME_FILL + FRAME_OVERHEAD)
#define SLIVER       640 /* plaintext bytes that are worth a frame of their own at a chunk's end */
#define IOV_MAX_OURS 16
/* Control packets are taken so far above the mark; a peer that reads none of them is not worth its link. */
#define CONTROL_EXTRA (1024 * 1024)

/* In front of the first frame, too, is what sealing borrows. */
static uint8_t *tx_at(struct tx_chunk *c, size_t offset)
{
	return c->b + SG_FRAME_FRONT + offset;
}

/* Bytes in front of the plaintext of a frame. */
static size_t frame_head(const struct sg_link *l)
{
	return l->line.stream ? 0 : SG_FRAME_HEAD;
}

/* Plaintext bytes that @space bytes at the end of a chunk hold. */
static size_t plain_room(const struct sg_link *l, size_t space)
{
	size_t rest = space % FILL_SLOT;

	if (l->line.stream)
		return space;
	return space / FILL_SLOT * FRAME_FILL + (rest >= FRAME_OVERHEAD + SLIVER ? rest - FRAME_OVERHEAD : 0);
}

/* What the frame that begins at the tail can hold. */
static size_t frame_room(const struct sg_link *l, const struct tx_chunk *c)
{
	size_t space = TX_CHUNK - c->tail;

	if (l->line.stream)
		return space;
	if (space < FRAME_OVERHEAD + SLIVER)
		return 0;
	return SG_MIN(space - FRAME_OVERHEAD, (size_t)SG_FRAME_PLAIN_MAX);
}

/* With what it is full. */
static size_t frame_fill(const struct sg_link *l, const struct tx_chunk *c)
{
	size_t room = frame_room(l, c);

	return l->line.stream ? room : SG_MIN(room, (size_t)FRAME_FILL);
}

void tx_init(struct sg_link *l)
{
	sg_list_init(&l->tx.chunks);
}

static void chunk_release(struct sg_links *ls, struct tx_chunk *c)
{
	sg_list_remove(&c->node);
	if (ls->n_spare_chunks >= TX_SPARE) {
		sg_free(c);
		ls->n_chunks--;
		return;
	}
	sg_list_add_tail(&ls->spare_chunks, &c->node);
	ls->n_spare_chunks++;
}

void tx_fini(struct sg_link *l)
{
	sg_list_for_safe (it, &l->tx.chunks)
		chunk_release(l->ls, sg_container_of(it, struct tx_chunk, node));
	l->tx.filling = NULL;
}

static bool chunk_add(struct sg_link *l)
{
	struct sg_links *ls = l->ls;
	struct tx_chunk *c;

	if (ls->n_spare_chunks) {
		c = sg_container_of(ls->spare_chunks.prev, struct tx_chunk, node); /* still in the cache */
		sg_list_remove(&c->node);
		ls->n_spare_chunks--;
	} else {
		c = sg_malloc(sizeof(*c));
		if (!c)
			return false;
		ls->n_chunks++;
		sg_list_init(&c->node);
	}
	c->head = c->tail = 0;
	sg_list_add_tail(&l->tx.chunks, &c->node);
	if (!l->tx.filling)
		l->tx.filling = c;
	l->tx.room += plain_room(l, TX_CHUNK);
	return true;
}

size_t tx_waiting(const struct sg_link *l)
{
	return l->tx.sealed + l->tx.plain;
}

/* ---- packets in ---- */

static void seal(struct sg_link *l)
{
	struct link_tx *tx = &l->tx;
	struct tx_chunk *c = tx->filling;
	size_t before = plain_room(l, TX_CHUNK - c->tail) - tx->plain;
	size_t len = l->line.stream ? tx->plain : sg_frame_seal_behind(&l->tx_key, tx_at(c, c->tail), tx->plain);

	c->tail += len;
	tx->sealed += len;
	tx->plain = 0;
	tx->room -= before - plain_room(l, TX_CHUNK - c->tail);
	if (frame_room(l, c) == 0 && c->node.next != &tx->chunks)
		tx->filling = sg_container_of(c->node.next, struct tx_chunk, node);
}

/* Into the frame being filled, which has the room. */
static void add(struct sg_link *l, const uint8_t *p, size_t len)
{
	struct link_tx *tx = &l->tx;
	uint8_t *to = tx_at(tx->filling, tx->filling->tail) + frame_head(l) + tx->plain;

	if (p && p != to)
		memcpy(to, p, len);
	tx->plain += len;
	tx->room -= len;
}

static void append(struct sg_link *l, const uint8_t *p, size_t len)
{
	struct link_tx *tx = &l->tx;

	while (len) {
		size_t full = frame_fill(l, tx->filling), n = SG_MIN(len, full - tx->plain);

		add(l, p, n);
		p += n;
		len -= n;
		if (tx->plain == full)
			seal(l);
	}
}

static void send_sealed(struct sg_link *l);

/* The room for @bytes of packets, one byte more so that there is always a frame to fill. */
static bool make_room(struct sg_link *l, size_t bytes)
{
	while (l->tx.room <= bytes) {
		if (!chunk_add(l))
			return false;
	}
	if (frame_room(l, l->tx.filling) == 0)
		l->tx.filling = sg_container_of(l->tx.filling->node.next, struct tx_chunk, node);
	return true;
}

static int reserve(struct sg_link *l, size_t bytes)
{
	if (make_room(l, bytes))
		return 0;
	link_end_later(l, "out of memory for its packets");
	return -EAGAIN;
}

/* While the line is full little more is taken: what waits here waits in front of everything, a ping too. */
static bool is_full(const struct sg_link *l)
{
	size_t waiting = tx_waiting(l);

	return waiting >= SG_LINK_TX_HIGH || (l->tx.blocked && l->pace.at.ns && waiting >= l->pace.held);
}

int link_reserve(struct sg_link *l, size_t bytes)
{
	if (l->closed)
		return SG_ECLOSED;
	if (is_full(l)) {
		l->tx.refused = true;
		return -EAGAIN;
	}
	return reserve(l, bytes);
}

int link_reserve_far(struct sg_link *l, size_t bytes)
{
	if (l->closed)
		return SG_ECLOSED;
	return tx_waiting(l) >= SG_LINK_TX_FAR ? SG_EFULL : reserve(l, bytes);
}

uint64_t link_sent(const struct sg_link *l)
{
	return l->tx_bytes;
}

uint8_t *link_place(struct sg_link *l, size_t len)
{
	const struct link_tx *tx = &l->tx;
	struct tx_chunk *c = tx->filling;

	if (frame_room(l, c) - tx->plain < SG_PACKET_HEAD + len)
		return NULL;
	return tx_at(c, c->tail) + frame_head(l) + tx->plain + SG_PACKET_HEAD;
}

/* So much is sent in one go. A slow line is asked earlier whether it takes more, or all of it would wait in front of it. */
static size_t burst(const struct sg_link *l)
{
	return l->pace.at.ns ? (size_t)SG_MIN(l->pace.held, (uint64_t)SG_LINK_TX_BURST) : SG_LINK_TX_BURST;
}

void link_put(struct sg_link *l, uint8_t type, uint32_t route_id, const struct iovec *iov, int n)
{
	uint8_t head[SG_PACKET_HEAD];
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (sg_packet_head(type, route_id, len, head) < 0)
		sg_bug("link: a packet of %zu bytes was put", len);
	if (n == 1 && len && iov[0].iov_base == link_place(l, len)) {
		add(l, head, sizeof(head));
		add(l, iov[0].iov_base, len);
		if (l->tx.plain >= frame_fill(l, l->tx.filling))
			seal(l);
	} else {
		append(l, head, sizeof(head));
		for (int i = 0; i < n; i++)
			append(l, iov[i].iov_base, iov[i].iov_len);
	}
	l->tx_packets++;
	if (!link_is_own_talk(type, route_id))
		l->tx_payload += len;
	l->ls->count.tx_packets++;
	if (!l->tx.blocked && l->tx.sealed >= burst(l))
		send_sealed(l);
	sg_defer_start(l->ls->conf.loop, &l->tx.flush);
}

void link_send_control(struct sg_link *l, uint8_t type, uint32_t route_id, const void *payload, size_t len)
{
	const struct iovec iov = {(void *)payload, len};

	if (l->closed || l->end_why[0])
		return;
	if (tx_waiting(l) >= SG_LINK_TX_HIGH + CONTROL_EXTRA)
		link_end_later(l, "the other end sends and does not read");
	else if (!make_room(l, SG_PACKET_HEAD + len))
		link_end_later(l, "out of memory for its packets");
	else
		link_put(l, type, route_id, &iov, 1);
}

/* ---- frames out ---- */

/* At most @room bytes. */
static int gather(struct sg_link *l, struct iovec *iov, size_t room)
{
	int n = 0;

	sg_list_for (it, &l->tx.chunks) {
		struct tx_chunk *c = sg_container_of(it, struct tx_chunk, node);
		size_t len = SG_MIN(c->tail - c->head, room);

		if (len && n < IOV_MAX_OURS)
			iov[n++] = (struct iovec){tx_at(c, c->head), len};
		room -= len;
	}
	return n;
}

/* A chunk that was sent: the one being filled starts again at its front unless a frame is begun, the others are spare. */
static void chunk_sent(struct sg_link *l, struct tx_chunk *c)
{
	struct link_tx *tx = &l->tx;

	if (c != tx->filling) {
		chunk_release(l->ls, c);
	} else if (tx->plain == 0) {
		tx->room += plain_room(l, TX_CHUNK) - plain_room(l, TX_CHUNK - c->tail);
		c->head = c->tail = 0;
	}
}

static void sent(struct sg_link *l, size_t n)
{
	l->tx.sealed -= n;
	l->tx_bytes += n;
	l->ls->count.tx_bytes += n;
	sg_list_for_safe (it, &l->tx.chunks) {
		struct tx_chunk *c = sg_container_of(it, struct tx_chunk, node);
		size_t here = SG_MIN(n, c->tail - c->head);

		c->head += here;
		n -= here;
		if (c->head < c->tail || c->tail == 0)
			break;
		chunk_sent(l, c);
	}
}

/* Everything sealed, as far as the line takes it. */
static void send_sealed(struct sg_link *l)
{
	while (l->tx.sealed) {
		struct iovec iov[IOV_MAX_OURS];
		int n_iov = gather(l, iov, pace_room(l));
		ssize_t n = n_iov ? line_send(&l->line, iov, n_iov) : 0;
		size_t want = 0;

		if (n < 0) {
			char why[128];

			snprintf(why, sizeof(why), "sending failed: %s", sg_strerror((int)n));
			link_end_later(l, why);
			return;
		}
		for (int i = 0; i < n_iov; i++)
			want += iov[i].iov_len;
		if (n > 0)
			sent(l, (size_t)n);
		if (n_iov == 0 || n < (ssize_t)want) {
			l->tx.blocked = true;
			link_watch_update(l);
			return;
		}
	}
}

/* Back to the manager what an idle link does not need. */
static void give_back(struct sg_link *l)
{
	if (l->tx.sealed || l->tx.plain)
		return;
	tx_fini(l);
	l->tx.room = 0;
}

/* While the line is blocked the last frame stays open, so that it fills. */
void tx_push(struct sg_link *l)
{
	if (l->tx.blocked || l->closed)
		return;
	if (l->tx.plain)
		seal(l);
	send_sealed(l);
	pace_tick(l);
	give_back(l);
}

void tx_flush(struct sg_link *l)
{
	tx_push(l);
	if (l->tx.refused && !l->closed && tx_waiting(l) < SG_LINK_TX_LOW && !is_full(l)) {
		l->tx.refused = false;
		l->ls->user->on_writable(l->ls->user_arg, l);
	}
}

void tx_on_writable(struct sg_link *l)
{
	l->tx.blocked = false;
	link_watch_update(l);
	tx_flush(l);
}
