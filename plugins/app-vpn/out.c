/* Sending to the other end of the tunnel. */
#include "out.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "gso.h"

#define FIRST_WAITING 4096 /* bytes: a hello and some probes */
#define ALONE         64   /* bytes around a packet, however small */
#define PART_IOV      (2 + SG_VPN_PART_MAX / FAIRQ_BLOCK + 1)

void out_init(struct out *o, struct sg_stream *stream, struct fairq *queue, uint64_t *dropped)
{
	*o = (struct out){.stream = stream, .queue = queue, .dropped = dropped};
	fairq_class_init(queue, &o->waiting);
}

static int send_now(struct out *o, const struct iovec *iov, int n)
{
	int err = o->blocked ? -EAGAIN : o->stream->ops->send(o->stream, iov, n);

	if (err == -EAGAIN)
		o->blocked = true;
	return err;
}

/* ---- hello and probes ---- */

static int wait_first(struct out *o, const struct iovec *iov, int n)
{
	uint32_t len = 0;

	for (int i = 0; i < n; i++)
		len += (uint32_t)iov[i].iov_len;
	if (!o->first)
		o->first = sg_malloc(FIRST_WAITING);
	if (o->first && FIRST_WAITING - o->tail < sizeof(len) + len && o->head) {
		memmove(o->first, o->first + o->head, o->tail - o->head);
		o->tail -= o->head;
		o->head = 0;
	}
	if (!o->first || FIRST_WAITING - o->tail < sizeof(len) + len) {
		(*o->dropped)++;
		return -ENOBUFS;
	}
	memcpy(o->first + o->tail, &len, sizeof(len));
	o->tail += sizeof(len);
	for (int i = 0; i < n; i++) {
		memcpy(o->first + o->tail, iov[i].iov_base, iov[i].iov_len);
		o->tail += iov[i].iov_len;
	}
	return -EAGAIN;
}

static int send_or_wait(struct out *o, const struct iovec *iov, int n)
{
	int err = send_now(o, iov, n);

	return err == -EAGAIN ? wait_first(o, iov, n) : err;
}

static int send_record(struct out *o, enum sg_vpn_record_kind kind, struct sg_view body)
{
	struct sg_vpn_record r = {.kind = (uint8_t)kind, .len = (uint32_t)body.len};
	uint8_t head[SG_VPN_RECORD_HEAD];
	struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)body.p, body.len}};

	sg_vpn_record_encode(&r, head);
	return send_or_wait(o, iov, body.len ? 2 : 1);
}

int out_packet(struct out *o, struct sg_view packet)
{
	return o->rec ? send_record(o, SG_VPN_PACKET, packet) : out_bytes(o, packet.p, packet.len);
}

int out_bytes(struct out *o, const void *bytes, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, len};

	return send_or_wait(o, &iov, 1);
}

int out_control(struct out *o, enum sg_vpn_record_kind kind, struct sg_view body)
{
	return o->rec ? send_record(o, kind, body) : 0;
}

static void send_first(struct out *o)
{
	while (o->head < o->tail) {
		uint32_t len;
		struct iovec iov;

		memcpy(&len, o->first + o->head, sizeof(len));
		iov = (struct iovec){o->first + o->head + sizeof(len), len};
		if (send_now(o, &iov, 1) == -EAGAIN)
			return;
		o->head += sizeof(len) + len;
	}
	sg_free(o->first);
	o->first = NULL;
	o->head = o->tail = 0;
}

/* ---- packets ---- */

/* One finished packet of the front in the form that the other end takes. */
static int send_finished(void *arg, struct sg_view packet)
{
	struct out *o = arg;
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET, .len = (uint32_t)packet.len};
	uint8_t head[SG_VPN_RECORD_HEAD];
	struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)packet.p, packet.len}};
	int err;

	if (o->rec)
		sg_vpn_record_encode(&r, head);
	err = o->rec ? send_now(o, iov, 2) : send_now(o, iov + 1, 1);
	if (err == SG_ELONG)
		(*o->dropped)++;
	if (err == 0 || err == SG_ELONG)
		o->waiting.sent++;
	return err == SG_ELONG ? 0 : err;
}

/* The front as finished, single packets; goes on where it stopped. */
static int send_cut(struct out *o, const struct fairq_packet *p)
{
	struct sg_view whole = {p->iov[0].iov_base, p->r->len};
	uint8_t *at = o->scratch;

	if (p->n > 1) {
		for (int i = 0; i < p->n; at += p->iov[i++].iov_len)
			memcpy(at, p->iov[i].iov_base, p->iov[i].iov_len);
		whole.p = o->scratch;
	}
	if (p->r->gso != SG_GSO_NONE)
		return gso_cut(p->r, whole, o->waiting.sent, o->scratch + SG_VPN_PACKET_MAX, send_finished, o);
	if (p->r->flags & SG_VPN_F_NEEDS_CSUM)
		gso_csum(p->r, p->n > 1 ? o->scratch : p->iov[0].iov_base, p->r->len);
	if (p->n == 1)
		p->r->flags = 0; /* done where it lies: another attempt finds it so */
	return send_finished(o, whole);
}

static int send_whole(struct out *o, const struct fairq_packet *p)
{
	uint8_t head[SG_VPN_RECORD_HEAD];
	struct iovec iov[1 + FAIRQ_IOV] = {{head, sizeof(head)}};

	sg_vpn_record_encode(p->r, head);
	memcpy(iov + 1, p->iov, (size_t)p->n * sizeof(*iov));
	return send_now(o, iov, 1 + p->n);
}

/* @len bytes at @at of what @from describes. How many of @to they are. */
static int slice(const struct iovec *from, size_t at, size_t len, struct iovec *to)
{
	int n = 0;

	for (; len; from++) {
		size_t take = at < from->iov_len ? SG_MIN(from->iov_len - at, len) : 0;

		if (take)
			to[n++] = (struct iovec){(uint8_t *)from->iov_base + at, take};
		at -= take ? at : from->iov_len;
		len -= take;
	}
	return n;
}

/* The front as a record in parts; goes on where it stopped. */
static int send_parts(struct out *o, const struct fairq_packet *p)
{
	struct sg_vpn_part part = {.total = SG_VPN_RECORD_HEAD + p->r->len};
	uint8_t head[SG_VPN_RECORD_HEAD], part_head[SG_VPN_RECORD_HEAD];
	struct iovec whole[1 + FAIRQ_IOV] = {{head, sizeof(head)}};
	struct iovec iov[1 + PART_IOV] = {{part_head, sizeof(part_head)}};

	sg_vpn_record_encode(p->r, head);
	memcpy(whole + 1, p->iov, (size_t)p->n * sizeof(*whole));
	if (o->waiting.sent == 0)
		o->number++;
	part.number = o->number;
	for (;;) {
		size_t n;
		int err;

		part.offset = o->waiting.sent * SG_VPN_PART_MAX;
		if (part.offset >= part.total)
			return 0;
		n = SG_MIN(part.total - part.offset, (uint32_t)SG_VPN_PART_MAX);
		sg_vpn_part_encode(&part, part_head);
		err = send_now(o, iov, 1 + slice(whole, part.offset, n, iov + 1));
		if (err == SG_ELONG) {
			(*o->dropped)++;
			return 0;
		}
		if (err < 0)
			return err;
		o->waiting.sent++;
	}
}

/* Heads of records, frames, and of the segments of an ordinary line. */
size_t out_cost(size_t len)
{
	return len + len / 16 + ALONE;
}

bool out_pump(struct out *o, struct sg_mono now, size_t budget)
{
	struct fairq_packet p;
	bool known;
	int err;

	for (size_t done = 0; done < budget;) {
		if (o->blocked || !fairq_front(o->queue, &o->waiting, now, &p))
			return false;
		done += p.r->len;
		known = p.r->gso != SG_GSO_UDP || o->uso;
		err = o->rec && known && o->waiting.sent == 0 ? send_whole(o, &p) : SG_ELONG;
		/* Without records of ours, or a network with records of its own that are too narrow for a super-packet. */
		if (err == SG_ELONG)
			err = o->parts && known ? send_parts(o, &p) : send_cut(o, &p);
		if (err < 0)
			return false;
		o->cost += out_cost(p.r->len);
		fairq_pop(o->queue, &o->waiting);
	}
	return true;
}

void out_resume(struct out *o)
{
	o->blocked = false;
	send_first(o);
}

void out_writable(struct out *o, struct sg_mono now)
{
	out_resume(o);
	out_pump(o, now, SIZE_MAX);
}

void out_fini(struct out *o)
{
	sg_free(o->first);
	o->first = NULL;
	o->head = o->tail = 0;
	if (o->queue)
		fairq_class_clear(o->queue, &o->waiting);
}
