/* The real kernel: sockets, sysctls, the TUN device, tuning of TCP sockets. */
#include "netd/kernel_linux.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define EVENT_ROOM (1 << 20) /* bytes of socket buffer: a burst of routes must not make us lose events */

static const int route_groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
	RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE};
static const int nft_groups[] = {NFNLGRP_NFTABLES};

static int open_socket(int bus, const int *groups, size_t n_groups, struct mnl_socket **out)
{
	struct mnl_socket *s = mnl_socket_open2(bus, SOCK_CLOEXEC | (n_groups ? SOCK_NONBLOCK : 0));
	int room = EVENT_ROOM, on = 1, ret;

	if (!s)
		return -errno;
	ret = mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID);
	for (size_t i = 0; ret == 0 && i < n_groups; i++) {
		int group = groups[i];

		ret = mnl_socket_setsockopt(s, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
	}
	if (ret < 0) {
		ret = -errno;
		mnl_socket_close(s);
		return ret;
	}
	if (n_groups)
		setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	else
		/* Lets a dump be bound to one table; older kernels dump all, which is filtered again. */
		(void)mnl_socket_setsockopt(s, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	*out = s;
	return 0;
}

int kernel_open(struct kernel **out, char *why, size_t cap)
{
	struct kernel *k = sg_calloc(1, sizeof(*k));
	int err;

	if (!k) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	err = open_socket(NETLINK_ROUTE, NULL, 0, &k->route);
	if (err == 0)
		err = open_socket(NETLINK_ROUTE, route_groups, SG_ARRAY_LEN(route_groups), &k->events[0]);
	if (err == 0)
		err = open_socket(NETLINK_NETFILTER, NULL, 0, &k->nft);
	if (err == 0)
		err = open_socket(NETLINK_NETFILTER, nft_groups, SG_ARRAY_LEN(nft_groups), &k->events[1]);
	if (err < 0) {
		snprintf(why, cap,
			"the kernel's netlink does not answer: %s. nftables is missing:  opkg install kmod-nft-core"
			"  (Debian: modprobe nf_tables)",
			sg_strerror(err));
		kernel_close(k);
		return err;
	}
	*out = k;
	return 0;
}

void kernel_close(struct kernel *k)
{
	if (!k)
		return;
	(void)kernel_guard(k, NULL, NULL, 0);
	if (k->route)
		mnl_socket_close(k->route);
	if (k->nft)
		mnl_socket_close(k->nft);
	for (size_t i = 0; i < K_EVENT_FDS; i++) {
		if (k->events[i])
			mnl_socket_close(k->events[i]);
	}
	sg_free(k);
}

int kernel_talk(struct kernel *k, struct mnl_socket *s, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg)
{
	/* A dump's parts are as large as the kernel likes, up to 32 KiB. */
	static const size_t room = 32768;
	unsigned int seq = nlh->nlmsg_seq = ++k->seq;
	uint8_t *buf = sg_malloc(room);
	ssize_t n;
	int ret = 1;

	if (!buf)
		return -ENOMEM;
	if (mnl_socket_sendto(s, nlh, nlh->nlmsg_len) < 0) {
		ret = -errno;
		sg_free(buf);
		return ret;
	}
	while (ret > 0) {
		n = mnl_socket_recvfrom(s, buf, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			ret = -errno;
			break;
		}
		/* What an interrupted talk left behind has another number. */
		if ((size_t)n >= sizeof(struct nlmsghdr) && ((struct nlmsghdr *)buf)->nlmsg_seq != seq)
			continue;
		ret = mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(s), cb, arg);
		if (ret < 0)
			ret = -errno;
	}
	sg_free(buf);
	return ret;
}

/* ---- sysctls --------------------------------------------------------------------------------------------------- */

static int sysctl_open(const char *key, int flags)
{
	char path[160];
	int n = snprintf(path, sizeof(path), "/proc/sys/%s", key);
	int fd;

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int kernel_sysctl_get(struct kernel *k, const char *key, char *out, size_t cap)
{
	int fd = sysctl_open(key, O_RDONLY);
	ssize_t n;

	(void)k;
	if (fd < 0)
		return fd;
	n = read(fd, out, cap - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return (int)n;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return 0;
}

int kernel_sysctl_set(struct kernel *k, const char *key, const char *value)
{
	int fd = sysctl_open(key, O_WRONLY);
	int ret = 0;

	(void)k;
	if (fd < 0)
		return fd;
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* ---- TUN and sockets ------------------------------------------------------------------------------------------- */

static void tun_sentence(int err, const char *name, char *why, size_t cap)
{
	if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
		snprintf(why, cap,
			"/dev/net/tun: no such device. The kernel module is missing:  opkg install kmod-tun"
			"  (Debian: modprobe tun)");
	else if (err == -EPERM || err == -EACCES)
		snprintf(why, cap,
			"/dev/net/tun: not allowed. CAP_NET_ADMIN and read and write access to it are needed:  "
			"systemctl start skygate  (the unit grants them), or start as root");
	else if (err == -EBUSY)
		snprintf(why, cap, "%s is in use by another program. Look which:  fuser -v /dev/net/tun", name);
	else
		snprintf(why, cap, "%s could not be created: %s. Look for messages of the kernel:  dmesg | tail", name,
			sg_strerror(err));
}

int kernel_tun_open(struct kernel *k, const char *name, int *fd, bool *offload, char *why, size_t cap)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), err;

	(void)k;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &ifr) < 0) {
		err = -errno;
		tun_sentence(err, name, why, cap);
		if (tun >= 0)
			close(tun);
		return err;
	}
	/* Only asked; whoever reads the device switches it on, when it is ready for super-packets. */
	*offload = ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) == 0;
	ioctl(tun, TUNSETOFFLOAD, 0);
	*fd = tun;
	return 0;
}

static bool sockopt_is(int fd, int option, int value)
{
	int got = -1;
	socklen_t len = sizeof(got);

	return getsockopt(fd, SOL_SOCKET, option, &got, &len) == 0 && got == value;
}

int kernel_tune(struct kernel *k, int fd)
{
	int lowat = SG_LINK_NOTSENT_LOWAT;

	(void)k;
	if (!sockopt_is(fd, SO_DOMAIN, AF_INET) && !sockopt_is(fd, SO_DOMAIN, AF_INET6))
		return -EINVAL;
	if (!sockopt_is(fd, SO_TYPE, SOCK_STREAM) || !sockopt_is(fd, SO_PROTOCOL, IPPROTO_TCP))
		return -EINVAL;
	/* A kernel without BBR keeps what it has. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
	if (setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat)) < 0)
		return -errno;
	return 0;
}

int kernel_event_fd(struct kernel *k, size_t which)
{
	return mnl_socket_get_fd(k->events[which]);
}
