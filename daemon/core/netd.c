/*
 * Client of the privileged parent (wire/netd.h): questions with ids, their answers, a heartbeat. Without netd there is
 * no kill switch to trust, so when it goes away core ends; netd's successor starts a new one.
 */
#include "core/core.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"

#include <fcntl.h>
#include <unistd.h>

SG_LOG_TOPIC("netd");

#define PENDING_MAX  256
#define RECV_A_ROUND 32

struct netd {
	struct core *core;
	int fd;
	struct sg_watch *watch;
	struct sg_timer heartbeat;
	uint32_t next_id;
	struct sg_list pending;
	size_t n_pending;
	bool lost;
};

struct question {
	struct sg_list node;
	uint32_t id;
	uint8_t type;
	const void *owner;
	netd_answer_fn *fn;
	void *arg;
};

static void forget(struct netd *n, struct question *q)
{
	sg_list_remove(&q->node);
	n->n_pending--;
	sg_free(q->arg);
	sg_free(q);
}

static void lose(struct netd *n, const char *why)
{
	if (n->lost)
		return;
	n->lost = true;
	sg_watch_set(n->watch, 0);
	sg_timer_stop(&n->heartbeat);
	/* At an orderly end netd closes first or we do; neither is news. */
	if (!n->core->stopping)
		log_error("%s; without it the rules of the kernel cannot be kept, so skygated ends", why);
	while (!sg_list_empty(&n->pending)) {
		struct question *q = sg_container_of(n->pending.next, struct question, node);
		struct question copy = *q;

		/* Off the list first: the call-back may ask or forget. */
		sg_list_remove(&q->node);
		n->n_pending--;
		sg_free(q);
		if (copy.fn)
			copy.fn(copy.arg, -EPIPE, NULL, -1);
		sg_free(copy.arg);
	}
	core_stop(n->core, 1);
}

static void on_answer(struct netd *n, const struct sg_netd_msg *m, int fd)
{
	sg_list_for_safe (it, &n->pending) {
		struct question *q = sg_container_of(it, struct question, node);
		struct question copy = *q;

		if (q->id != m->id || (q->type | SG_NETD_ANSWER) != m->type)
			continue;
		sg_list_remove(&q->node);
		n->n_pending--;
		sg_free(q);
		if (copy.fn)
			copy.fn(copy.arg, m->err, m, fd);
		else if (m->err < 0)
			log_warn("%s", m->text[0] ? m->text : sg_strerror(m->err));
		if (!copy.fn && fd >= 0)
			close(fd);
		sg_free(copy.arg);
		return;
	}
	/* Its owner stopped meanwhile. */
	if (fd >= 0)
		close(fd);
}

static void on_readable(void *arg, int fd, unsigned events)
{
	struct netd *n = arg;

	(void)events;
	for (int i = 0; i < RECV_A_ROUND && !n->lost; i++) {
		struct sg_netd_msg m;
		int pass = -1, err = sg_netd_recv(fd, false, &m, &pass);

		if (err == -EAGAIN)
			return;
		if (err == SG_EMALF) {
			log_warn("a message that makes no sense; skygate-netd and skygated of one version belong "
				 "together");
			continue;
		}
		if (err < 0) {
			lose(n, "skygate-netd went away");
			return;
		}
		if (m.type & SG_NETD_ANSWER) {
			on_answer(n, &m, pass);
		} else {
			log_debug("links, addresses or routes of this machine changed (%u)", m.u.what);
			if (pass >= 0)
				close(pass);
		}
	}
}

static void on_heartbeat(void *arg)
{
	struct netd *n = arg;
	struct sg_netd_msg m = {.type = SG_NETD_HEARTBEAT};
	int err = sg_netd_send(n->fd, &m, -1);

	if (err < 0 && err != -EAGAIN) {
		lose(n, "skygate-netd does not take messages any more");
		return;
	}
	/* Without memory for a timer the parent would kill us in six seconds: better an end that says why. */
	if (sg_timer_start(&n->heartbeat, SG_HEARTBEAT_MS) < 0)
		lose(n, "memory is out, no heartbeat to skygate-netd");
}

int netd_new(struct core *core, int fd, struct netd **out)
{
	struct netd *n = sg_calloc(1, sizeof(*n));
	int err;

	*out = NULL;
	if (!n) {
		close(fd);
		return -ENOMEM;
	}
	n->core = core;
	n->fd = fd;
	sg_list_init(&n->pending);
	sg_timer_init(&n->heartbeat, core->loop, on_heartbeat, n);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		err = -errno;
	else
		err = sg_watch_new(core->loop, fd, on_readable, n, &n->watch);
	if (err < 0) {
		netd_free(n);
		return err;
	}
	sg_watch_control(n->watch);
	sg_watch_set(n->watch, SG_READABLE);
	*out = n;
	on_heartbeat(n);
	return 0;
}

void netd_free(struct netd *n)
{
	if (!n)
		return;
	sg_timer_stop(&n->heartbeat);
	sg_watch_free(n->watch);
	close(n->fd);
	while (!sg_list_empty(&n->pending))
		forget(n, sg_container_of(n->pending.next, struct question, node));
	sg_free(n);
}

int netd_ask(struct netd *n, struct sg_netd_msg *m, int pass, const void *owner, netd_answer_fn *fn, void *arg)
{
	struct question *q;
	int err;

	if (n->lost)
		return -EPIPE;
	if (n->n_pending >= PENDING_MAX)
		return SG_EFULL;
	q = sg_calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	m->id = q->id = ++n->next_id;
	q->type = m->type;
	q->owner = owner;
	q->fn = fn;
	q->arg = arg;
	err = sg_netd_send(n->fd, m, pass);
	if (err < 0) {
		sg_free(q);
		return err;
	}
	sg_list_add_tail(&n->pending, &q->node);
	n->n_pending++;
	return 0;
}

size_t netd_forget(struct netd *n, const void *owner)
{
	size_t count = 0;

	sg_list_for_safe (it, &n->pending) {
		struct question *q = sg_container_of(it, struct question, node);

		if (q->owner != owner)
			continue;
		count += q->fn != NULL;
		forget(n, q);
	}
	return count;
}
