#include "bench/frames/pair.h"
#include "base/limits.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static uint8_t data[65536];

void pair_need(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "sg-bench: %s\n", what);
		exit(1);
	}
}

static int dial(void *arg, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *d)
{
	struct pair_visor *v = arg;
	int fds[2];

	(void)pk;
	pair_need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "no socket pair");
	links_accepted(v->next->links, carrier, fds[1], to);
	links_dial_done(d, fds[0], NULL);
	return 0;
}

static void dial_cancel(void *arg, const char *carrier, struct sg_dial *d)
{
	(void)arg;
	(void)carrier;
	(void)d;
}

static const struct sg_links_host host = {.dial = dial, .dial_cancel = dial_cancel};

void pair_visor_init(struct pair_visor *v, struct sg_loop *loop, const struct sg_crypto *c, struct pair_visor *next)
{
	struct sg_links_conf conf = {.loop = loop, .crypto = c, .host = &host, .host_arg = v};

	v->next = next;
	sg_sk_generate(c, &v->sk);
	pair_need(sg_pk_of(c, &v->sk, &v->pk) == 0, "no key");
	conf.sk = v->sk;
	conf.pk = v->pk;
	v->links = links_new(&conf);
	pair_need(v->links != NULL, "no links");
	v->route = route_new(v->links);
	pair_need(v->route != NULL, "no routes");
}

void pair_visor_fini(struct pair_visor *v)
{
	route_free(v->route);
	links_free(v->links);
}

void pair_peer(struct pair_visor *v)
{
	const char *address = "stcp://127.0.0.1:7777";
	struct sg_peer_conf peer = {.name = "next", .pk = v->next->pk, .addresses = &address, .n_addresses = 1};

	pair_need(links_peers_set(v->links, &peer, 1) == 0, "the peer is not taken");
}

static void on_data(void *arg, struct sg_view in)
{
	struct pair *p = arg;

	p->records++;
	p->bytes += in.len;
}

static void on_writable(void *arg)
{
	struct pair *p = arg;

	p->blocked = false;
}

static void on_close(void *arg, int err, const char *why)
{
	(void)arg;
	(void)err;
	pair_need(false, why);
}

static const struct sg_stream_user user = {
	.size = sizeof(user), .on_data = on_data, .on_writable = on_writable, .on_close = on_close};

static int on_stream(void *arg, struct sg_stream *s)
{
	struct pair *p = arg;

	s->user = &user;
	s->user_arg = p;
	p->in = s;
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

void pair_listen(struct pair *p, struct pair_visor *v)
{
	pair_need(route_listen(v->route, PAIR_PORT, &listener, p) == 0, "the port is taken");
}

void pair_dialed(void *arg, struct sg_stream *s, int err, const char *why)
{
	struct pair *p = arg;

	(void)err;
	pair_need(s != NULL, why);
	s->user = &user;
	s->user_arg = p;
	p->out = s;
}

void pair_fill(struct pair *p, size_t record)
{
	struct iovec iov = {data, record};

	pair_need(record <= sizeof(data), "no record is that large");
	while (!p->blocked) {
		int err = p->out->ops->send(p->out, &iov, 1);

		pair_need(err == 0 || err == -EAGAIN, "the stream takes nothing");
		p->blocked = err == -EAGAIN;
	}
}

void pair_close(struct pair *p)
{
	p->out->ops->close(p->out);
	p->in->ops->close(p->in);
}
