/* The two TUN devices, and which addresses may go with them. */
#include "netd/netd.h"
#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

SG_LOG_TOPIC("netd");

static const char *const names[] = {SG_TUN_CLIENT_NAME, SG_TUN_SERVER_NAME};

/* The IPv4 networks of this machine, those of @except left out. */
static int busy_nets(struct kernel *k, const char *except, struct nets *out)
{
	struct k_view view;
	int err = kernel_read(k, 0, &view);

	memset(out, 0, sizeof(*out));
	if (err < 0)
		return err;
	for (size_t i = 0; i < view.n_addrs && err == 0; i++) {
		const struct k_addr *a = &view.addrs[i];
		const struct k_link *link = k_view_link(&view, a->dev);

		if (a->p.family == AF_INET && link && !link->loopback && strcmp(a->dev, except) != 0)
			err = nets_add(out, &a->p);
	}
	k_view_fini(&view);
	if (err < 0)
		sg_free(out->p);
	return err;
}

int netd_pool_ok(struct kernel *k, const struct netd_conf *conf, char *why, size_t cap)
{
	struct k_prefix ours = netd_conf_server_addr(conf);
	char pool[K_PREFIX_TEXT], net[K_PREFIX_TEXT];
	struct nets busy;
	int err = busy_nets(k, SG_TUN_SERVER_NAME, &busy);

	if (err < 0) {
		snprintf(why, cap, "the machine's addresses could not be read: %s", sg_strerror(err));
		return err;
	}
	ours.bits = 32;
	for (size_t i = 0; i < busy.n && err == 0; i++) {
		if (!k_prefix_has(&busy.p[i], &ours) && !k_prefix_has(&busy.p[i], &conf->pool))
			continue;
		snprintf(why, cap,
			"vpn_server: option pool: %s clashes with %s, a network of this machine\n  choose another one, "
			"such as:  option pool '%s'",
			k_prefix_str(&conf->pool, pool), k_prefix_str(&busy.p[i], net),
			conf->pool.b[0] == 10 ? "172.16.0.0/12" : "10.64.0.0/10");
		err = SG_ECONF;
	}
	sg_free(busy.p);
	return err;
}

/* What lies in the queue is from before: its connections have sent it again meanwhile. */
static void empty(int fd)
{
	uint8_t *room = sg_malloc(SG_VPN_PACKET_MAX + 32);
	ssize_t n;

	if (!room)
		return;
	do
		n = read(fd, room, SG_VPN_PACKET_MAX + 32);
	while (n > 0 || (n < 0 && errno == EINTR));
	sg_free(room);
}

/* At the exit only those within the pool: nothing else can overlap a lease, and there is room for 64. */
static int fill_busy(struct netd *n, uint8_t role, struct sg_tun *tun)
{
	struct nets busy;
	int err = busy_nets(n->kernel, names[role], &busy);

	if (err < 0)
		return err;
	for (size_t i = 0; i < busy.n; i++) {
		uint32_t be;

		if (role == SG_TUN_SERVER && !k_prefix_has(&n->conf.pool, &busy.p[i]))
			continue;
		if (tun->n_busy == SG_ARRAY_LEN(tun->busy)) {
			log_warn("more than %" PRIu32
				 " networks of this machine lie where leases are to be: choose another "
				 "pool",
				tun->n_busy);
			break;
		}
		memcpy(&be, busy.p[i].b, sizeof(be));
		tun->busy[tun->n_busy].net = ntohl(be);
		tun->busy[tun->n_busy++].bits = busy.p[i].bits;
	}
	sg_free(busy.p);
	return 0;
}

/* Somebody deleted the device: what we hold of it is dead. */
static bool is_deleted(struct netd *n, uint8_t role)
{
	struct k_view view;
	bool deleted;

	if (kernel_read(n->kernel, 0, &view) < 0)
		return false;
	deleted = !k_view_link(&view, names[role]);
	k_view_fini(&view);
	return deleted;
}

static int open_once(struct netd *n, uint8_t role, bool *offload, char *why, size_t cap)
{
	int err;

	if (n->tun[role] >= 0 && is_deleted(n, role)) {
		log_warn("%s was deleted by somebody; making another", names[role]);
		close(n->tun[role]);
		n->tun[role] = -1;
	}
	if (n->tun[role] >= 0) {
		empty(n->tun[role]);
		*offload = n->tun_offload[role];
		return 0;
	}
	err = kernel_tun_open(n->kernel, names[role], &n->tun[role], offload, why, cap);
	if (err < 0) {
		n->tun[role] = -1;
		return err;
	}
	n->tun_offload[role] = *offload;
	/* First its sysctls and up, then the routes over it. */
	err = netd_reconcile(n);
	if (err == 0)
		err = netd_reconcile(n);
	if (err < 0)
		snprintf(why, cap, "%s: could not be set up: %s. The log of skygate-netd says more", names[role],
			sg_strerror(err));
	return err;
}

int netd_tun_open(struct netd *n, uint8_t role, struct sg_tun *tun, int *pass, char *why, size_t cap)
{
	int err;

	memset(tun, 0, sizeof(*tun));
	*pass = tun->fd = -1;
	if (role == SG_TUN_CLIENT ? n->conf.mode == NETD_OFF : !n->conf.server) {
		snprintf(why, cap, "%s: the configuration that skygate-netd read has %s", names[role],
			role == SG_TUN_CLIENT ? "no section vpn_client with a mode other than 'off'"
					      : "no section vpn_server");
		return SG_ESTATE;
	}
	if (role == SG_TUN_SERVER) {
		err = netd_pool_ok(n->kernel, &n->conf, why, cap);
		if (err < 0)
			return err;
	}
	err = open_once(n, role, &tun->offload, why, cap);
	if (err == 0)
		err = fill_busy(n, role, tun);
	if (err == 0) {
		*pass = fcntl(n->tun[role], F_DUPFD_CLOEXEC, 0);
		err = *pass < 0 ? -errno : 0;
	}
	if (err < 0) {
		if (!why[0])
			snprintf(why, cap, "%s: %s", names[role], sg_strerror(err));
		return err;
	}
	snprintf(tun->name, sizeof(tun->name), "%s", names[role]);
	tun->mtu = SG_VPN_MTU;
	return 0;
}

int netd_lease_ok(struct netd *n, uint32_t address, char *why, size_t cap)
{
	struct k_prefix lease = k_prefix4(address, 32);
	char text[SG_IP4_TEXT], net[K_PREFIX_TEXT];
	struct nets busy;
	uint8_t first = (uint8_t)(address >> 24);
	int err;

	sg_ip4_str(address, text);
	if (first == 0 || first == 127 || first >= 224) {
		snprintf(why, cap, "the exit leased %s, which is no address of a host", text);
		return SG_EMALF;
	}
	err = busy_nets(n->kernel, SG_TUN_CLIENT_NAME, &busy);
	for (size_t i = 0; err == 0 && i < busy.n; i++) {
		if (!k_prefix_has(&busy.p[i], &lease))
			continue;
		snprintf(why, cap, "the exit leased %s, which lies in %s, a network of this machine", text,
			k_prefix_str(&busy.p[i], net));
		err = SG_EDUP;
	}
	sg_free(busy.p);
	return err;
}

void netd_tun_settle(struct netd *n)
{
	const bool wanted[] = {n->conf.mode != NETD_OFF, n->conf.server};
	char why[NETD_WHY] = "";
	struct sg_tun tun;
	int pass;

	for (size_t i = 0; i < SG_ARRAY_LEN(wanted); i++) {
		uint8_t role = (uint8_t)i;

		if (!wanted[role] && n->tun[role] >= 0) {
			close(n->tun[role]);
			n->tun[role] = -1;
		}
		if (!wanted[role] || n->tun[role] >= 0)
			continue;
		if (netd_tun_open(n, role, &tun, &pass, why, sizeof(why)) < 0)
			log_error("%s", why);
		else
			close(pass);
	}
}
