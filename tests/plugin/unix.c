/* A carrier by somebody else, as small as can be; it passes the contract. Unix sockets, an abstract name for each port. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "loop/loop.h"
#include "wire/uci.h"
#include <skygate/plugin.h>

#include <sys/un.h>
#include <unistd.h>

struct carrier {
	const struct sg_host *host;
	struct sg_inst *inst;
	struct sg_watch *ports[4];
	int fds[4];
	size_t n;
	struct sg_dial *dial; /* one at a time; NULL: none */
	struct sg_addr to;
	struct sg_defer defer; /* a dial is answered from the loop, never inside the call that asks */
};

static socklen_t name_of(const struct sg_addr *a, struct sockaddr_un *un)
{
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "skygate-test-%u", sg_addr_port(a));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(un->sun_path + 1));
}

static void connect_now(void *arg)
{
	struct carrier *c = arg;
	struct sg_dial *dial = c->dial;
	struct sockaddr_un un;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	c->dial = NULL;
	if (fd >= 0 && connect(fd, (struct sockaddr *)&un, name_of(&c->to, &un)) < 0) {
		close(fd);
		fd = -ECONNREFUSED;
	}
	c->host->dial_done(dial, fd, fd < 0 ? "nobody listens there" : NULL);
}

static int dial(void *ctx, const char *name, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *d)
{
	struct carrier *c = ctx;

	(void)name;
	(void)pk;
	if (!to || c->dial)
		return to ? -EBUSY : -ENOTSUP;
	c->dial = d;
	c->to = *to;
	sg_defer_start(c->host->loop(c->inst), &c->defer);
	return 0;
}

static void cancel(void *ctx, struct sg_dial *d)
{
	struct carrier *c = ctx;

	if (c->dial == d)
		sg_defer_stop(&c->defer);
	c->dial = NULL;
}

static void on_caller(void *arg, int fd, unsigned events)
{
	struct carrier *c = arg;
	int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (conn >= 0)
		c->host->accepted(c->inst, "unix", conn, NULL);
}

static void close_ports(struct carrier *c)
{
	while (c->n) {
		sg_watch_free(c->ports[--c->n]);
		c->ports[c->n] = NULL;
		close(c->fds[c->n]);
	}
}

static int open_port(struct carrier *c, const char *text)
{
	struct sg_addr addr;
	struct sockaddr_un un;
	int fd;

	if (c->n == SG_ARRAY_LEN(c->ports) || sg_addr_parse(text, &addr) < 0 ||
		(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		return SG_ECONF;
	c->fds[c->n] = fd; /* close_ports() closes it, whatever comes */
	if (sg_watch_new(c->host->loop(c->inst), fd, on_caller, c, &c->ports[c->n++]) < 0 ||
		bind(fd, (struct sockaddr *)&un, name_of(&addr, &un)) < 0 || listen(fd, 64) < 0)
		return SG_ECONF;
	sg_watch_set(c->ports[c->n - 1], SG_READABLE);
	return 0;
}

/* Listens where the configuration says now, and nowhere else. Links live on: they are not ours any more. */
static int reload(void *ctx)
{
	struct carrier *c = ctx;
	const struct sg_uci_section *s = sg_uci_find(c->host->conf(c->inst), "carrier", "unix");
	const struct sg_uci_option *o = s ? sg_uci_option(s, "listen") : NULL;
	int err = 0;

	close_ports(c);
	for (struct sg_list *it = o ? o->values.next : NULL; it && it != &o->values && !err; it = it->next)
		err = open_port(c, sg_container_of(it, struct sg_uci_value, node)->text);
	return err;
}

static void stop(void *ctx)
{
	struct carrier *c = ctx;

	close_ports(c);
	c->host->stopped(c->inst);
	sg_free(c);
}

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap)
{
	struct carrier *c = *ctx = sg_calloc(1, sizeof(*c));

	snprintf(why, why_cap, "unix: no memory, or a port that is no port or taken");
	if (!c)
		return -ENOMEM;
	*c = (struct carrier){.host = host, .inst = inst};
	sg_defer_init(&c->defer, connect_now, c);
	if (reload(c) == 0)
		return 0;
	close_ports(c);
	sg_free(c);
	return SG_ECONF;
}

static const struct sg_carrier_ops ops = {.size = sizeof(ops), .dial = dial, .cancel = cancel};
static const struct sg_provide provides[] = {{SG_CARRIER, "unix", &ops}, {0}};
static const struct sg_option options[] = {{"carrier", .flags = SG_OPT_LIST, .help = "its name is the carrier's"},
	{"carrier", "listen", SG_OPT_ADDR, SG_OPT_LIST, .help = "only the port counts"}, {0}};

SG_PLUGIN(unix) = {SG_PLUGIN_HEAD, .name = "unix", .version = "1", .summary = "links within a machine",
	.provides = provides, .options = options, .start = start, .reload = reload, .stop = stop};
