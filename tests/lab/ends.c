/* See ends.h. */
#include "ends.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ETHERNET 14u
#define VLAN_TAG 4u

/* Older headers lack it. */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

__attribute__((format(printf, 1, 2))) static _Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "wire: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

/* Splits [tap:][NAMESPACE:]INTERFACE, and moves this thread into the namespace. Returns the way home, or -1. */
static int enter(struct end *e, const char *spec)
{
	char path[128], space[64] = "";
	const char *colon;

	snprintf(e->spec, sizeof(e->spec), "%s", spec);
	e->tap = !strncmp(spec, "tap:", 4);
	spec += e->tap ? 4 : 0;
	colon = strchr(spec, ':');
	if (colon) {
		snprintf(space, sizeof(space), "%.*s", (int)(colon - spec), spec);
		spec = colon + 1;
	}
	if (!*spec || strlen(spec) >= sizeof(e->interface))
		die("%s: no interface name; expected [tap:][NAMESPACE:]INTERFACE", e->spec);
	snprintf(e->interface, sizeof(e->interface), "%s", spec);
	if (!colon)
		return -1;
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	snprintf(path, sizeof(path), "/run/netns/%s", space);
	int there = open(path, O_RDONLY | O_CLOEXEC);

	if (there < 0)
		die("%s: no network namespace %s (ip netns add %s)", e->spec, space, space);
	if (home < 0 || setns(there, CLONE_NEWNET))
		die("%s: cannot enter the namespace: %s", e->spec, strerror(errno));
	close(there);
	return home;
}

static void go_home(int home)
{
	if (home >= 0 && setns(home, CLONE_NEWNET))
		die("cannot come back from a namespace: %s", strerror(errno));
	if (home >= 0)
		close(home);
}

static void offload_off(const struct end *e, int control)
{
	static const struct {
		uint32_t set, get;
		const char *name;
	} what[] = {
		{ETHTOOL_STSO, ETHTOOL_GTSO, "tso"},
		{ETHTOOL_SGSO, ETHTOOL_GGSO, "gso"},
		{ETHTOOL_SGRO, ETHTOOL_GGRO, "gro"},
		{ETHTOOL_STXCSUM, ETHTOOL_GTXCSUM, "tx"},
	};

	for (size_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) {
		struct ethtool_value v = {.cmd = what[i].set};
		struct ifreq r = {.ifr_data = (char *)&v};

		memcpy(r.ifr_name, e->interface, sizeof(e->interface));
		if (ioctl(control, SIOCETHTOOL, &r) && errno != EOPNOTSUPP)
			die("%s: cannot switch %s off: %s", e->spec, what[i].name, strerror(errno));
		v.cmd = what[i].get;
		v.data = 0;
		if (!ioctl(control, SIOCETHTOOL, &r) && v.data)
			die("%s: %s stays on (ethtool -K %s %s off)", e->spec, what[i].name, e->interface,
				what[i].name);
	}
}

static void open_tap(struct end *e)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	e->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (e->fd < 0)
		die("/dev/net/tun: %s (modprobe tun)", strerror(errno));
	memcpy(r.ifr_name, e->interface, sizeof(e->interface));
	if (ioctl(e->fd, TUNSETIFF, &r))
		die("%s: cannot make the TAP: %s", e->spec, strerror(errno));
}

static void open_packet(struct end *e)
{
	int one = 1;
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(e->interface)};
	struct packet_mreq all = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
	int room = 8 << 20;

	if (!at.sll_ifindex)
		die("%s: no such interface", e->spec);
	e->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (e->fd < 0)
		die("%s: cannot open a packet socket: %s", e->spec, strerror(errno));
	setsockopt(e->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(e->fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	if (setsockopt(e->fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) ||
		setsockopt(e->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
		setsockopt(e->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) ||
		bind(e->fd, (struct sockaddr *)&at, sizeof(at)))
		die("%s: cannot watch the interface: %s", e->spec, strerror(errno));
}

static void settle_interface(struct end *e, int control, unsigned mtu)
{
	struct ifreq r = {.ifr_mtu = (int)mtu};

	memcpy(r.ifr_name, e->interface, sizeof(e->interface));
	if (mtu && ioctl(control, SIOCSIFMTU, &r))
		die("%s: an MTU of %u is refused: %s", e->spec, mtu, strerror(errno));
	if (ioctl(control, SIOCGIFMTU, &r))
		die("%s: %s", e->spec, strerror(errno));
	e->mtu = (unsigned)r.ifr_mtu;
	if (e->mtu + ETHERNET + VLAN_TAG > END_FRAME_MAX)
		die("%s: an MTU of %u is above what wire carries (%u)", e->spec, e->mtu,
			END_FRAME_MAX - ETHERNET - VLAN_TAG);
	if (ioctl(control, SIOCGIFFLAGS, &r))
		die("%s: %s", e->spec, strerror(errno));
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP);
	if (ioctl(control, SIOCSIFFLAGS, &r))
		die("%s: cannot be brought up: %s", e->spec, strerror(errno));
}

static int control_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("cannot open a socket: %s", strerror(errno));
	return fd;
}

void end_open(struct end *e, const char *spec, unsigned mtu)
{
	memset(e, 0, sizeof(*e));
	int home = enter(e, spec), control = control_socket();

	if (e->tap)
		open_tap(e);
	else
		open_packet(e);
	offload_off(e, control);
	settle_interface(e, control, mtu);
	close(control);
	go_home(home);
	e->buffer = malloc((size_t)END_BATCH * END_FRAME_MAX);
	if (!e->buffer)
		die("out of memory");
}

void end_offload_off(const char *spec)
{
	struct end e = {.fd = -1};
	int home = enter(&e, spec), control = control_socket();

	offload_off(&e, control);
	close(control);
	go_home(home);
}

static void check_size(const struct end *e, const uint8_t *frame, size_t len)
{
	size_t head = ETHERNET;

	if (len > ETHERNET && frame[12] == 0x81 && frame[13] == 0x00)
		head += VLAN_TAG;
	if (len > head + e->mtu)
		die("%s: a frame of %zu bytes, the MTU is %u: segmentation offload is on somewhere in front\n"
		    "  for the far side of a veth:  wire --offload-off NAMESPACE:INTERFACE",
			e->spec, len, e->mtu);
}

static unsigned read_tap(struct end *e)
{
	unsigned n = 0;

	while (n < END_BATCH) {
		uint8_t *at = e->buffer + (size_t)n * END_FRAME_MAX;
		ssize_t len = read(e->fd, at, END_FRAME_MAX);

		if (len < 0 && errno != EAGAIN && errno != EINTR)
			die("%s: read: %s", e->spec, strerror(errno));
		if (len <= 0)
			break;
		check_size(e, at, (size_t)len);
		e->len[n++] = (size_t)len;
	}
	return n;
}

/* A frame whose checksum the kernel left to a card would reach the other end broken. */
static void check_checksum(const struct end *e, struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (aux.tp_status & TP_STATUS_CSUMNOTREADY)
			die("%s: a frame without its checksum: checksum offload is on in front\n"
			    "  for the far side of a veth:  wire --offload-off NAMESPACE:INTERFACE",
				e->spec);
		if (aux.tp_status & TP_STATUS_VLAN_VALID)
			die("%s: VLAN tags are not carried", e->spec);
	}
}

static unsigned read_packet(struct end *e)
{
	static union {
		char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
		struct cmsghdr align;
	} control[END_BATCH];
	struct mmsghdr batch[END_BATCH];
	struct iovec iov[END_BATCH];

	memset(batch, 0, sizeof(batch));
	for (unsigned i = 0; i < END_BATCH; i++) {
		iov[i] = (struct iovec){e->buffer + (size_t)i * END_FRAME_MAX, END_FRAME_MAX};
		batch[i].msg_hdr.msg_iov = &iov[i];
		batch[i].msg_hdr.msg_iovlen = 1;
		batch[i].msg_hdr.msg_control = &control[i];
		batch[i].msg_hdr.msg_controllen = sizeof(control[i]);
	}
	int n = recvmmsg(e->fd, batch, END_BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENETDOWN))
		return 0;
	if (n < 0)
		die("%s: recvmmsg: %s", e->spec, strerror(errno));
	for (int i = 0; i < n; i++) {
		e->len[i] = batch[i].msg_len;
		check_size(e, iov[i].iov_base, batch[i].msg_len);
		check_checksum(e, &batch[i].msg_hdr);
	}
	return (unsigned)n;
}

unsigned end_read(struct end *e)
{
	return e->tap ? read_tap(e) : read_packet(e);
}

void end_write(struct end *e, const uint8_t *const *frames, const size_t *lens, unsigned count)
{
	if (e->tap) {
		for (unsigned i = 0; i < count; i++)
			if (write(e->fd, frames[i], lens[i]) < 0)
				e->refused++;
		return;
	}
	struct mmsghdr batch[END_BATCH];
	struct iovec iov[END_BATCH];

	memset(batch, 0, sizeof(batch));
	for (unsigned i = 0; i < count; i++) {
		iov[i] = (struct iovec){(void *)(uintptr_t)frames[i], lens[i]};
		batch[i].msg_hdr.msg_iov = &iov[i];
		batch[i].msg_hdr.msg_iovlen = 1;
	}
	for (unsigned done = 0; done < count;) {
		int n = sendmmsg(e->fd, batch + done, count - done, MSG_DONTWAIT);

		if (n <= 0) {
			e->refused++;
			n = 1; /* that one is gone; go on behind it */
		}
		done += (unsigned)n;
	}
}

void end_close(struct end *e)
{
	close(e->fd);
	free(e->buffer);
}
