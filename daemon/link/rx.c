/*
 * The socket to frames to packets. One read brings many frames; their plaintexts are opened one behind the other into one
 * buffer (decryption is the copy), where every packet is one view:
 *
 *	socket → scratch: | rest of a frame | frames … | part of a frame |      the manager's, for one read
 *	         plain:   | delivered | packets … | part of a packet |          the link's while it holds a part
 */
#include "link/internal.h"
#include "base/alloc.h"

#include <sys/socket.h>

static void resume(void *arg);

void rx_init(struct sg_link *l)
{
	sg_defer_init(&l->rx.resume, resume, l);
}

static void plain_release(struct sg_link *l)
{
	struct sg_links *ls = l->ls;

	if (ls->spare_plain)
		sg_free(l->rx.plain);
	else
		ls->spare_plain = l->rx.plain;
	l->rx.plain = NULL;
}

void rx_fini(struct sg_link *l)
{
	sg_defer_stop(&l->rx.resume);
	if (l->rx.plain)
		plain_release(l);
}

/* A buffer with room for the plaintext of one read. */
static bool plain_ready(struct sg_link *l)
{
	struct rx_plain *p = l->rx.plain;

	if (!p) {
		p = l->ls->spare_plain ? l->ls->spare_plain : sg_malloc(sizeof(*p));
		l->ls->spare_plain = NULL;
		l->rx.plain = p;
		if (!p)
			return false;
		p->head = p->tail = 0;
	}
	if (p->tail + SG_LINK_RX_READ > RX_PLAIN_ROOM) {
		memmove(p->b, p->b + p->head, p->tail - p->head);
		p->tail -= p->head;
		p->head = 0;
	}
	return true;
}

/* Packets that are whole, until the user wants no more. */
static void deliver(struct sg_link *l)
{
	struct rx_plain *plain = l->rx.plain;

	while (!l->closed && !l->rx.paused) {
		struct sg_packet p;
		int used = sg_packet_decode((struct sg_view){plain->b + plain->head, plain->tail - plain->head}, &p);

		if (used <= 0)
			break;
		plain->head += (size_t)used;
		l->rx_packets++;
		if (!link_is_own_talk(p.type, p.route_id))
			l->rx_payload += p.payload.len;
		l->ls->count.rx_packets++;
		l->rx.put_back = false;
		link_packet(l, &p);
		if (l->rx.put_back && !l->closed) {
			plain->head -= (size_t)used;
			l->rx_packets--;
			l->rx_payload -= p.payload.len; /* of a stream: own talk is never put back */
			l->ls->count.rx_packets--;
			break;
		}
	}
	if (l->closed)
		return;
	l->rx.held = l->rx.paused && plain->head < plain->tail;
	if (plain->head == plain->tail)
		plain_release(l);
}

static void frame_bad(struct sg_link *l, int err)
{
	char why[128];

	l->ls->count.frame_bad++;
	snprintf(why, sizeof(why), "a frame was refused: %s", sg_strerror(err));
	link_close(l, why);
}

/* Opens the frames in scratch; what is left of it is a part of the next one. Returns 0 or the error of a frame. */
static int open_frames(struct sg_link *l, size_t len)
{
	struct rx_plain *plain = l->rx.plain;
	struct sg_view in = {l->ls->scratch, len};
	int used;

	for (;;) {
		size_t got;

		used = sg_frame_open(&l->rx_key, in, plain->b + plain->tail, &got);
		if (used <= 0)
			break;
		plain->tail += got;
		in.p += used;
		in.len -= (size_t)used;
	}
	if (used < 0)
		return used;
	memcpy(l->rx.raw, in.p, in.len);
	l->rx.raw_len = in.len;
	return 0;
}

/* @got bytes were read behind the rest of the last read. The link may be closed afterwards. */
static void take(struct sg_link *l, size_t got)
{
	int err;

	l->rx_bytes += got;
	l->ls->count.rx_bytes += got;
	l->last_rx = sg_loop_now(l->ls->conf.loop);
	err = open_frames(l, l->rx.raw_len + got);
	deliver(l);
	if (!l->closed)
		l->ls->user->on_batch_end(l->ls->user_arg, l);
	if (err < 0 && !l->closed)
		frame_bad(l, err);
}

static void socket_failed(struct sg_link *l, int err)
{
	char why[128];

	if (err == 0)
		snprintf(why, sizeof(why), "the other end closed the connection");
	else
		snprintf(why, sizeof(why), "receiving failed: %s", sg_strerror(-err));
	link_close(l, why);
}

/* One read. Returns bytes read, 0 when there is no more for now or the link is gone. */
static size_t read_once(struct sg_link *l)
{
	ssize_t n;

	if (!plain_ready(l)) {
		link_close(l, "out of memory for its packets");
		return 0;
	}
	memcpy(l->ls->scratch, l->rx.raw, l->rx.raw_len);
	do {
		n = recv(l->line.fd, l->ls->scratch + l->rx.raw_len, SG_LINK_RX_READ - l->rx.raw_len, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0) {
		take(l, (size_t)n);
		return l->closed ? 0 : (size_t)n;
	}
	if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		socket_failed(l, n == 0 ? 0 : errno);
	else if (l->rx.plain->head == l->rx.plain->tail)
		plain_release(l);
	return 0;
}

void rx_on_readable(struct sg_link *l)
{
	size_t total = 0, n;

	l->busy++;
	if (l->rx.plain)
		deliver(l); /* what waited while nobody wanted it */
	/* Who wanted no more may want it again before this is back here; then resume() comes first. */
	while (!l->closed && !l->rx.paused && !l->rx.held && total < SG_LINK_RX_ROUND) {
		n = read_once(l);
		/* A short read has emptied the socket: the next event saves asking it again. */
		if (n < SG_LINK_RX_READ / 2)
			break;
		total += n;
	}
	l->busy--;
	if (l->closed && !l->busy)
		link_free(l);
}

/* No more comes while nobody wants it, so what is there already is what one packet lacks. */
static void take_stream(struct sg_link *l, struct sg_view in)
{
	if (!plain_ready(l)) {
		link_close(l, "out of memory for its packets");
		return;
	}
	if (in.len > RX_PLAIN_ROOM - l->rx.plain->tail) {
		link_close(l, "its carrier delivers more than fits at once");
		return;
	}
	memcpy(l->rx.plain->b + l->rx.plain->tail, in.p, in.len);
	l->rx.plain->tail += in.len;
	l->rx_bytes += in.len;
	l->ls->count.rx_bytes += in.len;
	l->last_rx = sg_loop_now(l->ls->conf.loop);
	deliver(l);
}

void rx_on_stream(struct sg_link *l, struct sg_view in)
{
	l->busy++;
	take_stream(l, in);
	l->busy--;
	if (l->closed && !l->busy)
		link_free(l);
}

void rx_on_stream_batch(struct sg_link *l)
{
	l->busy++;
	l->ls->user->on_batch_end(l->ls->user_arg, l);
	l->busy--;
	if (l->closed && !l->busy)
		link_free(l);
}

void rx_first(struct sg_link *l, struct sg_view plain, struct sg_view raw)
{
	if (raw.len + plain.len == 0)
		return;
	l->busy++;
	if (l->line.stream) {
		take_stream(l, plain);
		if (!l->closed)
			take_stream(l, raw);
		if (!l->closed)
			l->ls->user->on_batch_end(l->ls->user_arg, l);
	} else if (!plain_ready(l)) {
		link_close(l, "out of memory for its packets");
	} else {
		memcpy(l->rx.plain->b, plain.p, plain.len);
		l->rx.plain->tail = plain.len;
		memcpy(l->ls->scratch, raw.p, raw.len);
		take(l, raw.len);
	}
	l->busy--;
	if (l->closed && !l->busy)
		link_free(l);
}

static void resume(void *arg)
{
	struct sg_link *l = arg;

	l->busy++;
	if (l->rx.plain)
		deliver(l);
	if (!l->closed)
		l->ls->user->on_batch_end(l->ls->user_arg, l);
	if (!l->closed)
		link_watch_update(l);
	l->busy--;
	if (l->closed && !l->busy)
		link_free(l);
}

void link_put_back(struct sg_link *l)
{
	l->rx.put_back = true;
}

void link_resume(struct sg_link *l)
{
	/* While a call of its own is on the stack it waits for its turn. */
	if (l->closed || l->busy || l->rx.paused)
		return;
	sg_defer_stop(&l->rx.resume);
	resume(l);
}

void link_want(struct sg_link *l, bool read)
{
	if (!read) {
		l->rx.paused++;
	} else if (l->rx.paused && --l->rx.paused == 0 && !l->closed) {
		sg_defer_start(l->ls->conf.loop, &l->rx.resume);
	}
	if (!l->closed && l->rx.paused == 1 && !read)
		link_watch_update(l);
}
