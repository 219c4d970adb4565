/*
 * Dialling: ask the address resolver where the key is found (stcpr; each dial anew), then for each address: tune the socket
 * (netd's answer is awaited, for congestion control must be chosen before the connection), connect, and hand the descriptor
 * over. One deadline for each address, one for the question.
 */
#include "tcp.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"

#include <sys/socket.h>
#include <unistd.h>

#define ADDRS_MAX  8     /* of one key; it listens at one, or at a few of its own network */
#define RESOLVE_MS 10000 /* the resolver may have to be found on dmsg first */

struct attempt {
	struct sg_list node;
	struct tcp *t;
	struct sg_dial *dial; /* NULL: over, only the question to netd is still open */
	bool by_key;
	struct sg_pk pk;
	struct sg_addr to[ADDRS_MAX];
	size_t n, at;
	int fd;
	struct sg_watch *watch;
	struct sg_timer timer;
	struct sg_defer begin;
	bool asking;
};

static void socket_close(struct attempt *a)
{
	sg_watch_free(a->watch);
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
	a->watch = NULL;
}

static void attempt_close(struct attempt *a)
{
	sg_list_remove(&a->node);
	if (a->by_key)
		a->t->host->resolve_cancel(a->t->inst, a);
	sg_timer_stop(&a->timer);
	sg_defer_stop(&a->begin);
	socket_close(a);
	a->dial = NULL;
	if (!a->asking)
		sg_free(a);
}

static void give_up(struct attempt *a, int err, const char *why)
{
	const struct sg_host *host = a->t->host;
	struct sg_dial *dial = a->dial;

	attempt_close(a);
	host->dial_done(dial, err, why);
}

static void attempt_next(struct attempt *a);

/* One address; the next has its turn, unless netd still holds this one's socket. */
static void failed(struct attempt *a, int err)
{
	char addr[SG_ADDR_TEXT], why[192];
	const struct sg_addr *at = &a->to[a->at];
	const char *to = sg_log_addr(sg_addr_str(at, addr));

	if (!a->asking && a->at + 1 < a->n) {
		a->at++;
		socket_close(a);
		attempt_next(a);
		return;
	}
	switch (err) {
	case ECONNREFUSED:
		snprintf(why, sizeof(why), "%s refuses connections. Is skygated running there?", to);
		break;
	case ETIMEDOUT:
		snprintf(why, sizeof(why),
			"%s does not answer. Is the address right, and does its firewall let port %u in?", to,
			sg_addr_port(at));
		break;
	case ENETUNREACH:
	case EHOSTUNREACH:
		snprintf(
			why, sizeof(why), "%s cannot be reached: there is no route to it. Is this machine online?", to);
		break;
	case EACCES:
	case EPERM:
		snprintf(why, sizeof(why), "a firewall of this machine refuses connections to %s", to);
		break;
	default:
		snprintf(why, sizeof(why), "connecting to %s failed: %s", to, sg_strerror(-err));
	}
	give_up(a, -err, why);
}

static void connected(struct attempt *a)
{
	const struct sg_host *host = a->t->host;
	struct sg_dial *dial = a->dial;
	int fd = a->fd;

	sg_watch_free(a->watch);
	a->watch = NULL;
	a->fd = -1;
	attempt_close(a);
	host->dial_done(dial, fd, "");
}

static void on_timeout(void *arg)
{
	struct attempt *a = arg;

	if (a->n)
		failed(a, ETIMEDOUT);
	else
		give_up(a, -ETIMEDOUT, "the address resolver does not answer");
}

/* Begins to connect, or asks how that went: the second call answers what the first could not know yet. */
static void connect_on(struct attempt *a)
{
	const struct sg_addr *to = &a->to[a->at];

	if (connect(a->fd, (const struct sockaddr *)&to->ss, to->len) == 0 || errno == EISCONN)
		connected(a);
	else if (errno == EINPROGRESS || errno == EALREADY)
		sg_watch_set(a->watch, SG_WRITABLE);
	else
		failed(a, errno);
}

static void on_writable(void *arg, int fd, unsigned events)
{
	(void)fd;
	(void)events;
	connect_on(arg);
}

static void on_tuned(void *arg, int err)
{
	struct attempt *a = arg;
	struct tcp *t = a->t;

	a->asking = false;
	if (a->dial)
		connect_on(a); /* tuned or not: the link works either way */
	else
		sg_free(a);
	tcp_answered(t, err);
}

static void attempt_next(struct attempt *a)
{
	const struct sg_addr *to = &a->to[a->at];
	int err = sg_timer_start(&a->timer, SG_DIAL_TIMEOUT_MS);

	if (err == 0) {
		a->fd = socket(to->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		err = a->fd < 0 ? -errno : sg_watch_new(a->t->host->loop(a->t->inst), a->fd, on_writable, a, &a->watch);
	}
	if (err < 0) {
		failed(a, -err);
		return;
	}
	tcp_socket_options(a->fd);
	a->asking = true;
	a->t->asked++;
	if (a->t->host->tune_socket(a->t->inst, a->fd, on_tuned, a) == 0)
		return;
	a->asking = false;
	a->t->asked--;
	a->t->untuned++;
	connect_on(a);
}

static void on_resolved(void *arg, int err, const struct sg_addr *addrs, size_t n, const char *why)
{
	struct attempt *a = arg;

	if (err < 0) {
		give_up(a, err, why);
		return;
	}
	a->n = SG_MIN(n, (size_t)ADDRS_MAX);
	memcpy(a->to, addrs, a->n * sizeof(*addrs));
	attempt_next(a);
}

/* From the loop, so that dial_done never comes inside dial(). */
static void begin(void *arg)
{
	struct attempt *a = arg;
	int err;

	if (!a->by_key) {
		attempt_next(a);
		return;
	}
	err = a->t->host->resolve(a->t->inst, TCP_BY_KEY, &a->pk, on_resolved, a);
	if (err < 0)
		give_up(a, err, sg_strerror(err));
}

static int dial(void *ctx, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *d)
{
	struct tcp *t = ctx;
	struct sg_loop *loop = t->host->loop(t->inst);
	struct attempt *a;

	if (!to && strcmp(carrier, TCP_BY_KEY) != 0)
		return SG_ENOROUTE; /* stcp has addresses, or nothing */
	a = sg_calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->t = t;
	a->dial = d;
	a->fd = -1;
	a->pk = *pk;
	a->by_key = !to;
	if (to)
		a->to[a->n++] = *to;
	sg_list_init(&a->node);
	sg_timer_init(&a->timer, loop, on_timeout, a);
	sg_defer_init(&a->begin, begin, a);
	if (sg_timer_start(&a->timer, RESOLVE_MS) < 0) {
		sg_free(a);
		return -ENOMEM;
	}
	sg_list_add_tail(&t->dials, &a->node);
	sg_defer_start(loop, &a->begin);
	return 0;
}

static void cancel(void *ctx, struct sg_dial *d)
{
	struct tcp *t = ctx;

	sg_list_for_safe (it, &t->dials) {
		struct attempt *a = sg_container_of(it, struct attempt, node);

		if (a->dial == d)
			attempt_close(a);
	}
}

/* The host has cancelled its dials before it stops us; whatever is left has nobody to tell. */
void tcp_dial_close(struct tcp *t)
{
	sg_list_for_safe (it, &t->dials)
		attempt_close(sg_container_of(it, struct attempt, node));
}

const struct sg_carrier_ops tcp_carrier_ops = {
	.size = sizeof(tcp_carrier_ops),
	.dial = dial,
	.cancel = cancel,
};
