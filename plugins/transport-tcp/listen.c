/*
 * Listening sockets. Each is tuned by netd (congestion control, queue limits), which takes a moment; what is accepted
 * inherits that, so accepting begins when the answer is there, whatever it says.
 */
#include "tcp.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"
#include "wire/uci.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

SG_LOG_TOPIC("tcp");

#define BACKLOG        128
#define ACCEPT_ROUND   4    /* connections of one event before others get their turn */
#define ACCEPT_REST_MS 1000 /* after an error that passes, such as being out of descriptors */

struct listener {
	struct sg_list node;
	struct tcp *t;
	const char *carrier; /* static */
	struct sg_addr addr;
	int fd; /* -1: closed, only its question is still open */
	struct sg_watch *watch;
	struct sg_timer rest;
	struct sg_log_limit rl;
	bool asking; /* tune_socket has not answered */
	bool keep;   /* the new configuration has it, too */
};

static void listener_close(struct listener *l)
{
	sg_list_remove(&l->node);
	sg_timer_stop(&l->rest);
	sg_watch_free(l->watch);
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	l->watch = NULL;
	if (!l->asking)
		sg_free(l);
}

/* ---- accepting ---- */

static void rest(struct listener *l, int err)
{
	char text[SG_ADDR_TEXT];

	l->t->accept_failed++;
	log_warn_rl(&l->rl, "%s: accepting failed, trying again in %d s: %s", sg_log_addr(sg_addr_str(&l->addr, text)),
		ACCEPT_REST_MS / 1000, sg_strerror(-err));
	if (sg_timer_start(&l->rest, ACCEPT_REST_MS) == 0)
		sg_watch_set(l->watch, 0);
}

static void on_rested(void *arg)
{
	struct listener *l = arg;

	sg_watch_set(l->watch, SG_READABLE);
}

/* Errors of the connection that was to be accepted; the next one may be sound. */
static bool is_callers_error(int err)
{
	return err == ECONNABORTED || err == EINTR || err == EPROTO || err == ENETDOWN || err == EHOSTUNREACH ||
	       err == ENETUNREACH || err == EPERM;
}

static void on_readable(void *arg, int fd, unsigned events)
{
	struct listener *l = arg;
	struct tcp *t = l->t;

	(void)events;
	for (int i = 0; i < ACCEPT_ROUND && l->fd >= 0; i++) {
		struct sg_addr from = {.len = sizeof(from.ss)};
		int conn = accept4(fd, (struct sockaddr *)&from.ss, &from.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (conn < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (conn < 0 && is_callers_error(errno))
			continue;
		if (conn < 0) {
			rest(l, errno);
			return;
		}
		t->accepted++;
		tcp_socket_options(conn);
		t->host->accepted(t->inst, l->carrier, conn, &from);
	}
}

/* ---- opening ---- */

static int refused(const struct sg_addr *addr, int err, char *why, size_t why_cap)
{
	char text[SG_ADDR_TEXT];
	unsigned port = sg_addr_port(addr);

	sg_addr_str(addr, text);
	if (err == EADDRINUSE)
		snprintf(why, why_cap, "%s: another program listens on port %u. Find it:  ss -ltnp 'sport = :%u'", text,
			port, port);
	else if (err == EADDRNOTAVAIL)
		snprintf(why, why_cap, "%s: this machine does not have that address. See:  ip -br address", text);
	else if (err == EACCES)
		snprintf(why, why_cap, "%s: ports below 1024 are not for ordinary users. Choose another; 7777 is usual",
			text);
	else
		snprintf(why, why_cap, "%s: listening failed: %s", text, sg_strerror(-err));
	return -err;
}

static int socket_listen(const struct sg_addr *addr, char *why, size_t why_cap)
{
	const int on = 1;
	int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return refused(addr, errno, why, why_cap);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* Else [::] would take the IPv4 port, too, and 0.0.0.0 beside it were in use. */
	if (addr->ss.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&addr->ss, addr->len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	err = errno;
	close(fd);
	return refused(addr, err, why, why_cap);
}

static void on_tuned(void *arg, int err)
{
	struct listener *l = arg;
	struct tcp *t = l->t;
	char text[SG_ADDR_TEXT];

	l->asking = false;
	if (err < 0)
		log_warn("%s: netd could not tune this socket, it goes on without: %s",
			sg_log_addr(sg_addr_str(&l->addr, text)), sg_strerror(err));
	if (l->fd >= 0)
		sg_watch_set(l->watch, SG_READABLE);
	else
		sg_free(l);
	tcp_answered(t, err);
}

static void tune(struct listener *l)
{
	int ret;

	l->asking = true;
	l->t->asked++;
	ret = l->t->host->tune_socket(l->t->inst, l->fd, on_tuned, l);
	if (ret == 0)
		return;
	/* Without netd (-ENOTSUP) this is how it is; accepting need not wait. */
	l->asking = false;
	l->t->asked--;
	l->t->untuned++;
	sg_watch_set(l->watch, SG_READABLE);
}

static int listener_open(
	struct tcp *t, const char *carrier, const struct sg_addr *addr, struct sg_list *into, char *why, size_t why_cap)
{
	struct listener *l = sg_calloc(1, sizeof(*l));
	int ret;

	if (!l) {
		snprintf(why, why_cap, "out of memory");
		return -ENOMEM;
	}
	sg_list_init(&l->node);
	l->t = t;
	l->carrier = carrier;
	l->addr = *addr;
	l->keep = true;
	sg_timer_init(&l->rest, t->host->loop(t->inst), on_rested, l);
	l->fd = socket_listen(addr, why, why_cap);
	if (l->fd < 0) {
		ret = l->fd;
		sg_free(l);
		return ret;
	}
	ret = sg_watch_new(t->host->loop(t->inst), l->fd, on_readable, l, &l->watch);
	if (ret < 0) {
		snprintf(why, why_cap, "out of memory");
		listener_close(l);
		return ret;
	}
	sg_list_add_tail(into, &l->node);
	return 0;
}

/* ---- as configured ---- */

static struct listener *find(struct sg_list *listeners, const char *carrier, const struct sg_addr *addr)
{
	sg_list_for (it, listeners) {
		struct listener *l = sg_container_of(it, struct listener, node);

		if (l->carrier == carrier && sg_addr_same_host(&l->addr, addr) &&
			sg_addr_port(&l->addr) == sg_addr_port(addr))
			return l;
	}
	return NULL;
}

static int open_missing(struct tcp *t, const char *carrier, struct sg_list *fresh, char *why, size_t why_cap)
{
	const struct sg_uci_section *section = sg_uci_find(t->host->conf(t->inst), "carrier", carrier);
	const struct sg_uci_option *o = section ? sg_uci_option(section, "listen") : NULL;

	if (!o)
		return 0;
	sg_list_for (it, &o->values) {
		const struct sg_uci_value *v = sg_container_of(it, struct sg_uci_value, node);
		struct listener *l;
		struct sg_addr addr;
		int ret;

		if (sg_addr_parse(v->text, &addr) < 0)
			continue; /* the host has checked it: its table says SG_OPT_ADDR */
		l = find(&t->listeners, carrier, &addr);
		if (l) {
			l->keep = true;
			continue;
		}
		if (find(fresh, carrier, &addr))
			continue;
		ret = listener_open(t, carrier, &addr, fresh, why, why_cap);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static void close_all(struct sg_list *listeners)
{
	sg_list_for_safe (it, listeners)
		listener_close(sg_container_of(it, struct listener, node));
}

/* Others find the first address that stcpr listens at. The resolver knows our host's address, or sees it. */
static void bind_first(struct tcp *t)
{
	uint16_t port = 0;

	sg_list_for (it, &t->listeners) {
		const struct listener *l = sg_container_of(it, struct listener, node);

		if (strcmp(l->carrier, TCP_BY_KEY) == 0 && !port)
			port = sg_addr_port(&l->addr);
	}
	if (port != t->bound && t->host->resolve_bind(t->inst, TCP_BY_KEY, port) == 0)
		t->bound = port;
}

int tcp_listen_apply(struct tcp *t, char *why, size_t why_cap)
{
	struct sg_list fresh;
	int ret;

	sg_list_init(&fresh);
	sg_list_for (it, &t->listeners)
		sg_container_of(it, struct listener, node)->keep = false;
	ret = open_missing(t, TCP_BY_ADDRESS, &fresh, why, why_cap);
	if (ret == 0)
		ret = open_missing(t, TCP_BY_KEY, &fresh, why, why_cap);
	if (ret < 0) {
		close_all(&fresh);
		return ret;
	}
	sg_list_for_safe (it, &t->listeners) {
		struct listener *l = sg_container_of(it, struct listener, node);

		if (!l->keep)
			listener_close(l);
	}
	while (!sg_list_empty(&fresh)) {
		struct listener *l = sg_container_of(fresh.next, struct listener, node);
		char text[SG_ADDR_TEXT];

		sg_list_remove(&l->node);
		sg_list_add_tail(&t->listeners, &l->node);
		tune(l);
		log_info("listening on %s for %s", sg_log_addr(sg_addr_str(&l->addr, text)), l->carrier);
	}
	bind_first(t);
	return 0;
}

void tcp_listen_close(struct tcp *t)
{
	close_all(&t->listeners);
	bind_first(t);
}
