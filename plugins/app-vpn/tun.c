/* Reading and writing the TUN. */
#include "tun.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"
#include "gro.h"
#include "gso.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

SG_LOG_TOPIC("vpn");

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Of one batch; then what was read is sent, and others have their turn. The bytes stay in the second-level cache. */
#define BATCH_PACKETS 64
#define BATCH_BYTES   (256 * 1024)

/* struct virtio_net_hdr, in the byte order of the machine. */
struct vnet {
	uint8_t flags, gso;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

struct tun {
	int fd;
	struct sg_loop *loop;
	struct sg_watch *watch;
	struct fairq *queue; /* borrowed */
	const struct tun_user *user;
	void *arg;
	bool paused;
	bool udp;             /* the kernel knows super-packets of UDP */
	bool in_read, closed; /* closed inside a call-back: freed when the read loop is left */
	uint64_t *dropped;    /* borrowed */
	struct gro *gro;      /* NULL: the kernel takes no super-packets */
	struct sg_defer flush;
	uint8_t scratch[2 * SG_VPN_PACKET_MAX];
};

/* One packet, from the kernel into the queue. Its bytes; 0: no more for now. */
static size_t read_one(struct tun *t)
{
	struct vnet v;
	struct iovec iov[1 + FAIRQ_IOV] = {{&v, sizeof(v)}};
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET};
	const uint8_t *packet;
	struct fairq_class *class;
	ssize_t n;

	memcpy(iov + 1, fairq_room(t->queue), FAIRQ_IOV * sizeof(*iov));
	packet = iov[1].iov_base;
	do {
		n = readv(t->fd, iov, 1 + FAIRQ_IOV);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n <= 0) {
		sg_watch_set(t->watch, 0);
		t->user->on_gone(t->arg);
		return 0;
	}
	if ((size_t)n < sizeof(v)) {
		(*t->dropped)++;
		return (size_t)n;
	}
	r.flags = v.flags & SG_VPN_F_NEEDS_CSUM;
	r.len = (uint32_t)((size_t)n - sizeof(v));
	r.gso = v.gso;
	if (v.gso != SG_GSO_NONE) {
		r.hdr_len = v.hdr_len;
		r.gso_size = v.gso_size;
	}
	if (r.flags) {
		r.csum_start = v.csum_start;
		r.csum_offset = v.csum_offset;
	}
	/* All that is looked at are headers, and they lie in the first block. */
	if (sg_vpn_record_check(&r, (struct sg_view){packet, r.len}) < 0) {
		(*t->dropped)++;
		return (size_t)n;
	}
	class = t->user->on_packet(t->arg, &r, packet);
	if (class)
		fairq_put(t->queue, class, &r, sg_loop_now(t->loop));
	return (size_t)n;
}

static void tun_free(struct tun *t)
{
	gro_free(t->gro);
	sg_free(t);
}

static void on_readable(void *arg, int fd, unsigned events)
{
	struct tun *t = arg;
	size_t bytes = 0;

	(void)fd;
	(void)events;
	t->in_read = true;
	for (int i = 0; i < BATCH_PACKETS && bytes < BATCH_BYTES && !t->paused && !t->closed; i++) {
		size_t n = read_one(t);

		if (!n)
			break;
		bytes += n;
	}
	if (bytes && !t->closed)
		t->user->on_batch_end(t->arg);
	t->in_read = false;
	if (t->closed)
		tun_free(t);
}

/* One read then brings up to 64 KiB of a flow: four times the speed. Without it all still works. */
static int ask_offload(struct tun *t, const struct sg_tun *info)
{
	const unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

	t->udp = ioctl(info->fd, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0;
	if (t->udp || ioctl(info->fd, TUNSETOFFLOAD, tcp) == 0)
		return 0;
	log_warn("%s: no segmentation offload: %s", info->name, strerror(errno));
	return errno == EBADFD ? -ENODEV : 0; /* the device was deleted meanwhile */
}

static void write_now(void *arg, const struct sg_vpn_record *r, struct sg_view packet);
static void flush(void *arg);

int tun_open(struct sg_loop *loop, const struct sg_tun *info, struct fairq *queue, uint64_t *dropped,
	const struct tun_user *user, void *arg, struct tun **out)
{
	struct tun *t = sg_calloc(1, sizeof(*t));
	int err = t ? 0 : -ENOMEM;

	if (err == 0 && info->offload)
		err = ask_offload(t, info);
	if (err == 0 && info->offload) {
		t->gro = gro_new(t->udp, write_now, t);
		err = t->gro ? 0 : -ENOMEM;
	}
	if (err == 0)
		err = sg_watch_new(loop, info->fd, on_readable, t, &t->watch);

	if (err < 0) {
		if (t)
			gro_free(t->gro);
		sg_free(t);
		close(info->fd);
		return err;
	}
	t->dropped = dropped;
	sg_defer_init(&t->flush, flush, t);
	t->fd = info->fd;
	t->loop = loop;
	t->queue = queue;
	t->user = user;
	t->arg = arg;
	t->paused = true;
	sg_watch_set(t->watch, 0);
	*out = t;
	return 0;
}

void tun_close(struct tun *t)
{
	if (!t || t->closed)
		return;
	sg_defer_stop(&t->flush);
	sg_watch_free(t->watch);
	close(t->fd);
	t->closed = true;
	if (!t->in_read)
		tun_free(t);
}

void tun_pause(struct tun *t)
{
	if (t->closed)
		return;
	t->paused = true;
	sg_watch_set(t->watch, 0);
}

void tun_resume(struct tun *t)
{
	if (!t->paused)
		return;
	t->paused = false;
	sg_watch_set(t->watch, SG_READABLE);
}

static void write_now(void *arg, const struct sg_vpn_record *r, struct sg_view packet)
{
	struct tun *t = arg;
	struct vnet v = {.flags = r->flags & SG_VPN_F_NEEDS_CSUM, .gso = r->gso};
	struct iovec iov[2] = {{&v, sizeof(v)}, {(void *)(uintptr_t)packet.p, packet.len}};

	if (v.flags) {
		v.csum_start = r->csum_start;
		v.csum_offset = r->csum_offset;
	}
	if (r->gso != SG_GSO_NONE) {
		/* What the sender says is a hint of its kernel about its own memory; the headers are what counts. */
		v.hdr_len = (uint16_t)(r->csum_start +
				       (r->gso == SG_GSO_UDP ? 8 : (packet.p[r->csum_start + 12] >> 4) * 4));
		v.gso_size = r->gso_size;
	}
	*t->dropped += writev(t->fd, iov, 2) < 0;
}

static void flush(void *arg)
{
	gro_flush(((struct tun *)arg)->gro);
}

static int write_datagram(void *arg, struct sg_view packet)
{
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET, .len = (uint32_t)packet.len};

	write_now(arg, &r, packet);
	return 0;
}

void tun_write(struct tun *t, const struct sg_vpn_record *r, struct sg_view packet)
{
	if (r->gso == SG_GSO_UDP && !t->udp)
		(void)gso_cut(r, packet, 0, t->scratch, write_datagram, t);
	else if (!t->gro)
		write_now(t, r, packet);
	else if (gro_push(t->gro, r, packet))
		sg_defer_start(t->loop, &t->flush);
}

uint8_t *tun_scratch(struct tun *t)
{
	return t->scratch;
}
