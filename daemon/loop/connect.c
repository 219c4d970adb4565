/* A TCP connection to a host by its name: looked up, then its addresses in turn, until one takes it. */
#include "loop/loop.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define ADDRS_MAX 8

struct sg_connect {
	struct sg_loop *loop;
	struct lookup *lookup; /* under way, or NULL */
	struct sg_addr addrs[ADDRS_MAX];
	size_t n, at;
	int fd;
	struct sg_watch *watch;
	sg_connect_fn *done;
	void *arg;
};

/* Outlives the connection: a look-up cannot be cancelled. */
struct lookup {
	struct sg_connect *c;
};

static void close_socket(struct sg_connect *c)
{
	sg_watch_free(c->watch);
	c->watch = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

void sg_connect_cancel(struct sg_connect *c)
{
	if (!c)
		return;
	if (c->lookup)
		c->lookup->c = NULL;
	close_socket(c);
	sg_free(c);
}

static void finish(struct sg_connect *c, int fd_or_error, const char *why)
{
	sg_connect_fn *done = c->done;
	void *arg = c->arg;

	if (fd_or_error >= 0)
		c->fd = -1; /* it is theirs */
	sg_connect_cancel(c);
	done(arg, fd_or_error, why);
}

static void try_next(struct sg_connect *c, int err);

static void on_writable(void *arg, int fd, unsigned events)
{
	struct sg_connect *c = arg;
	int err = 0;
	socklen_t len = sizeof(err);

	(void)events;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err) {
		try_next(c, -err);
		return;
	}
	sg_watch_free(c->watch);
	c->watch = NULL;
	finish(c, fd, "");
}

static int try_one(struct sg_connect *c, const struct sg_addr *a)
{
	int one = 1;

	c->fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (const struct sockaddr *)&a->ss, a->len) < 0 && errno != EINPROGRESS)
		return -errno;
	return sg_watch_new(c->loop, c->fd, on_writable, c, &c->watch);
}

/* @err: what the address before said. */
static void try_next(struct sg_connect *c, int err)
{
	close_socket(c);
	while (c->at < c->n) {
		err = try_one(c, &c->addrs[c->at++]);
		if (err == 0) {
			sg_watch_set(c->watch, SG_WRITABLE);
			return;
		}
		close_socket(c);
	}
	finish(c, err, sg_strerror(err));
}

static void on_looked_up(void *arg, const struct sg_addr *addrs, size_t n, const char *why)
{
	struct lookup *l = arg;
	struct sg_connect *c = l->c;

	sg_free(l);
	if (!c)
		return;
	c->lookup = NULL;
	c->n = SG_MIN(n, (size_t)ADDRS_MAX);
	memcpy(c->addrs, addrs, c->n * sizeof(*addrs));
	if (n == 0)
		finish(c, -EHOSTUNREACH, why);
	else
		try_next(c, -EHOSTUNREACH);
}

static int look_up(struct sg_connect *c, const char *host, uint16_t port)
{
	int err;

	c->lookup = sg_calloc(1, sizeof(*c->lookup));
	if (!c->lookup)
		return -ENOMEM;
	c->lookup->c = c;
	err = sg_resolve(c->loop, host, port, on_looked_up, c->lookup);
	if (err < 0) {
		sg_free(c->lookup);
		c->lookup = NULL;
	}
	return err;
}

int sg_connect(
	struct sg_loop *loop, const char *host, uint16_t port, sg_connect_fn *done, void *arg, struct sg_connect **out)
{
	struct sg_connect *c = sg_calloc(1, sizeof(*c));
	char numeric[300];
	int err = 0;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->fd = -1;
	c->done = done;
	c->arg = arg;
	snprintf(numeric, sizeof(numeric), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	if (sg_addr_parse(numeric, &c->addrs[0]) == 0) {
		err = try_one(c, &c->addrs[0]);
		if (err == 0)
			sg_watch_set(c->watch, SG_WRITABLE);
	} else {
		err = look_up(c, host, port);
	}
	if (err < 0)
		sg_connect_cancel(c);
	else
		*out = c;
	return err;
}
