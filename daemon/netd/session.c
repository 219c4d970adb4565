/*
 * What core may ask. Each message is hostile until shown otherwise: sizes and values were checked by the codec, here it
 * is checked whether it may be asked now, how often, and with which descriptor. Nothing in it names an interface, a
 * prefix, a user or a path.
 */
#include "netd/netd.h"
#include "base/err.h"
#include "base/log.h"
#include "base/memory.h"
#include "wire/netd.h"

#include <unistd.h>

SG_LOG_TOPIC("netd");

#define MALFORMED_MAX 16 /* of one core, then it is killed: it is broken or captured */
#define PER_ROUND     64 /* messages, before other work has its turn */
#define RATE_MS       1000

/* How many of each kind within RATE_MS: each costs netlink transactions, TUNE only system calls. */
static const unsigned rate_max[] = {
	[SG_NETD_HEARTBEAT] = 100,
	[SG_NETD_TUN_OPEN] = 10,
	[SG_NETD_LEASE_SET] = 10,
	[SG_NETD_PATH] = 20,
	[SG_NETD_TUNE] = 500,
	[SG_NETD_COUNTERS] = 20,
	[SG_NETD_APPLY] = 5,
};
_Static_assert(SG_ARRAY_LEN(rate_max) <= SG_ARRAY_LEN(((struct session *)0)->rate), "a rate for each type");

static bool rate_ok(struct netd *n, uint8_t type)
{
	struct sg_mono now = sg_loop_now(n->loop);

	if (sg_mono_ms_since(now, n->session.rate[type].since) >= RATE_MS) {
		n->session.rate[type].since = now;
		n->session.rate[type].used = 0;
	}
	return n->session.rate[type].used++ < rate_max[type];
}

static int set_lease(struct netd *n, uint32_t address, char *why, size_t cap)
{
	uint32_t before = n->state.lease;
	int err;

	if (n->conf.mode == NETD_OFF && address) {
		snprintf(why, cap, "the mode of vpn_client is 'off'");
		return SG_ESTATE;
	}
	err = address ? netd_lease_ok(n, address, why, cap) : 0;
	if (err < 0)
		return err;
	n->state.lease = address;
	err = netd_reconcile(n);
	if (err < 0) {
		snprintf(why, cap, "the lease could not be set: %s", sg_strerror(err));
		n->state.lease = before;
	}
	return err;
}

static int set_path(struct netd *n, uint8_t path, char *why, size_t cap)
{
	int err;

	if (path == SG_PATH_UP && n->state.lease == 0) {
		snprintf(why, cap, "no path without a lease");
		return SG_ESTATE;
	}
	if (path == SG_PATH_UP)
		supervisor_proven(&n->supervisor);
	if (path == SG_PATH_OPEN && n->state.path != SG_PATH_OPEN)
		log_warn("opened at the owner's word (skygate vpn stop --open)");
	n->state.path = path;
	n->state.path_known = true;
	err = netd_reconcile(n);
	if (err < 0)
		snprintf(why, cap, "the rules could not be set: %s", sg_strerror(err));
	return err;
}

static void fill_status(struct netd *n, struct sg_netd_status *s)
{
	/* Read back just now: what was missing was put in place by the same call. */
	int err = netd_reconcile(n);
	struct k_counts c = applier_counts(&n->applier);

	*s = (struct sg_netd_status){.mode = (uint8_t)(n->state.disarmed ? NETD_OFF : n->conf.mode),
		.kill_switch = n->conf.kill_switch,
		.rules_in_place = err == 0 && n->word != NETD_IS_OFF,
		.path = n->state.path,
		.blocked = c.blocked,
		.refused = c.refused,
		.forged = c.forged,
		.restarts = n->supervisor.restarts,
		.memory = sg_memory_pss()};
}

/* Does what is asked; fills the answer. *reply is a descriptor to send along and close. */
static void handle(struct netd *n, const struct sg_netd_msg *q, int pass, struct sg_netd_msg *a, int *reply)
{
	switch (q->type) {
	case SG_NETD_TUN_OPEN:
		a->err = netd_tun_open(n, q->u.role, &a->u.tun, reply, a->text, sizeof(a->text));
		break;
	case SG_NETD_LEASE_SET:
		a->err = set_lease(n, q->u.lease.address, a->text, sizeof(a->text));
		break;
	case SG_NETD_PATH:
		a->err = set_path(n, q->u.path, a->text, sizeof(a->text));
		break;
	case SG_NETD_TUNE:
		a->err = pass < 0 ? -EBADF : kernel_tune(n->kernel, pass);
		if (a->err < 0)
			snprintf(
				a->text, sizeof(a->text), "%s", pass < 0 ? "no socket came along" : "not a TCP socket");
		break;
	case SG_NETD_COUNTERS:
		fill_status(n, &a->u.status);
		break;
	case SG_NETD_APPLY:
		a->err = netd_reload(n, a->text, sizeof(a->text));
		break;
	default:
		a->err = SG_EMALF;
	}
}

static void answer(struct netd *n, const struct sg_netd_msg *q, int pass)
{
	struct sg_netd_msg a = {.type = q->type | SG_NETD_ANSWER, .id = q->id};
	int reply = -1, err;

	if (rate_ok(n, q->type)) {
		handle(n, q, pass, &a, &reply);
	} else {
		log_warn_rl(&n->session.rl_rate, "core asks too often (message %u): refused", q->type);
		a.err = -EBUSY;
		snprintf(a.text, sizeof(a.text), "asked too often");
	}
	err = sg_netd_send(n->session.fd, &a, reply);
	if (err < 0)
		log_warn_rl(&n->session.rl_send, "an answer to core was lost: %s", sg_strerror(err));
	if (reply >= 0)
		close(reply);
}

/* False: the session is over. */
static bool receive_one(struct netd *n)
{
	struct sg_netd_msg q;
	int pass, err = sg_netd_recv(n->session.fd, true, &q, &pass);

	if (err == -EAGAIN)
		return false;
	if (err == SG_EMALF) {
		log_warn_rl(&n->session.rl_malformed, "a malformed message from core");
		if (++n->session.malformed < MALFORMED_MAX)
			return true;
		supervisor_kill(&n->supervisor, "sends what it should not");
		session_close(n);
		return false;
	}
	if (err < 0) {
		/* It closed its end: it is dying, or it is of no use any more. */
		supervisor_hung_up(&n->supervisor);
		session_close(n);
		return false;
	}
	if (q.type == SG_NETD_HEARTBEAT)
		supervisor_heard(&n->supervisor);
	else
		answer(n, &q, pass);
	if (pass >= 0)
		close(pass);
	return n->session.fd >= 0;
}

static void on_readable(void *arg, int fd, unsigned events)
{
	struct netd *n = arg;

	(void)fd;
	(void)events;
	for (int i = 0; i < PER_ROUND && receive_one(n); i++)
		;
}

int session_open(struct netd *n, int fd)
{
	int err;

	session_close(n);
	memset(&n->session, 0, sizeof(n->session));
	n->session.fd = fd;
	err = sg_watch_new(n->loop, fd, on_readable, n, &n->session.watch);
	if (err < 0) {
		session_close(n);
		return err;
	}
	sg_watch_set(n->session.watch, SG_READABLE);
	return 0;
}

void session_close(struct netd *n)
{
	sg_watch_free(n->session.watch);
	n->session.watch = NULL;
	if (n->session.fd >= 0)
		close(n->session.fd);
	n->session.fd = -1;
}

void session_changed(struct netd *n, unsigned what)
{
	struct sg_netd_msg m = {.type = SG_NETD_CHANGED, .u.what = (uint8_t)what};

	/* When core does not read, the next change tells it again. */
	if (n->session.fd >= 0)
		(void)sg_netd_send(n->session.fd, &m, -1);
}
