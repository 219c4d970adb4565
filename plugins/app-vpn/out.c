/* Sending to the other end of the tunnel. */
#include "out.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "gso.h"

#include <sys/uio.h>

static int enqueue(struct out *o, const struct iovec *iov, int n)
{
	uint32_t len = 0;

	for (int i = 0; i < n; i++)
		len += (uint32_t)iov[i].iov_len;
	if (!o->q)
		o->q = sg_malloc(o->max);
	if (o->q && o->max - o->tail < sizeof(len) + len && o->head) {
		memmove(o->q, o->q + o->head, o->tail - o->head);
		o->tail -= o->head;
		o->head = 0;
	}
	if (!o->q || o->max - o->tail < sizeof(len) + len) {
		(*o->dropped)++;
		return -ENOBUFS;
	}
	memcpy(o->q + o->tail, &len, sizeof(len));
	o->tail += sizeof(len);
	for (int i = 0; i < n; i++) {
		memcpy(o->q + o->tail, iov[i].iov_base, iov[i].iov_len);
		o->tail += iov[i].iov_len;
	}
	return -EAGAIN;
}

static int send_or_wait(struct out *o, const struct iovec *iov, int n)
{
	if (!o->blocked) {
		int err = o->stream->ops->send(o->stream, iov, n);

		if (err != -EAGAIN)
			return err;
		o->blocked = true;
	}
	return enqueue(o, iov, n);
}

static int send_record(struct out *o, const struct sg_vpn_record *r, const uint8_t *body)
{
	uint8_t head[SG_VPN_RECORD_HEAD];
	struct iovec iov[2] = {{head, sizeof(head)}, {(void *)(uintptr_t)body, r->len}};

	sg_vpn_record_encode(r, head);
	return send_or_wait(o, iov, r->len ? 2 : 1);
}

/* One finished packet in the form that the other end takes. The worst result of a super-packet's segments is kept. */
struct cut {
	struct out *o;
	int result;
};

static int send_finished(void *arg, struct sg_view packet)
{
	struct cut *cut = arg;
	struct iovec iov = {(void *)(uintptr_t)packet.p, packet.len};
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET, .len = (uint32_t)packet.len};
	int err = cut->o->rec ? send_record(cut->o, &r, packet.p) : send_or_wait(cut->o, &iov, 1);

	if (err == SG_ELONG) {
		(*cut->o->dropped)++;
		err = -ENOBUFS;
	}
	if (err && cut->result != -ENOBUFS)
		cut->result = err;
	return err == SG_ECLOSED ? err : 0;
}

int out_packet(struct out *o, const struct sg_vpn_record *r, uint8_t *packet)
{
	struct cut cut = {.o = o};
	int err;

	if (o->rec) {
		err = send_record(o, r, packet);
		/* A network with records of its own may be too narrow for a super-packet. */
		if (err != SG_ELONG || r->gso == SG_GSO_NONE) {
			*o->dropped += err == SG_ELONG;
			return err == SG_ELONG ? -ENOBUFS : err;
		}
	}
	if (r->gso != SG_GSO_NONE) {
		gso_cut(r, (struct sg_view){packet, r->len}, o->scratch, send_finished, &cut);
		return cut.result;
	}
	if (r->flags & SG_VPN_F_NEEDS_CSUM)
		gso_csum(r, packet, r->len);
	send_finished(&cut, (struct sg_view){packet, r->len});
	return cut.result;
}

int out_bytes(struct out *o, const void *bytes, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, len};

	return send_or_wait(o, &iov, 1);
}

int out_control(struct out *o, enum sg_vpn_record_kind kind, struct sg_view body)
{
	struct sg_vpn_record r = {.kind = (uint8_t)kind, .len = (uint32_t)body.len};

	return o->rec ? send_record(o, &r, body.p) : 0;
}

bool out_writable(struct out *o)
{
	o->blocked = false;
	while (o->head < o->tail) {
		uint32_t len;
		struct iovec iov;

		memcpy(&len, o->q + o->head, sizeof(len));
		iov = (struct iovec){o->q + o->head + sizeof(len), len};
		if (o->stream->ops->send(o->stream, &iov, 1) == -EAGAIN) {
			o->blocked = true;
			return false;
		}
		o->head += sizeof(len) + len;
	}
	out_fini(o);
	return true;
}

void out_fini(struct out *o)
{
	sg_free(o->q);
	o->q = NULL;
	o->head = o->tail = 0;
}
