/*
 * The carrier dmsg: transports are streams to port 45 of the other visor, as secure as any stream of this network, so that
 * core only settles them. It is the way to a neighbour that no address leads to.
 */
#include "dmsg.h"
#include "base/alloc.h"
#include "base/common.h"

#include <errno.h>

struct carrier_dial {
	struct sg_list node;
	struct dmsg *d;
	struct sg_dial *dial;
};

static void carrier_dial_free(struct carrier_dial *c)
{
	sg_list_remove(&c->node);
	sg_free(c);
}

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct carrier_dial *c = arg;
	const struct sg_host *host = c->d->host;
	struct sg_dial *dial = c->dial;
	char text[256];

	carrier_dial_free(c);
	if (stream) {
		host->dial_done_stream(dial, stream);
		return;
	}
	snprintf(text, sizeof(text), "no stream by dmsg: %s", why);
	host->dial_done(dial, err, text);
}

/* An address would not help: the key is one. */
static int carrier_dial(
	void *ctx, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *dial)
{
	struct dmsg *d = ctx;
	struct carrier_dial *c = sg_calloc(1, sizeof(*c));
	int err;

	(void)carrier;
	(void)to;
	if (!c)
		return -ENOMEM;
	c->d = d;
	c->dial = dial;
	err = dmsg_network_ops.dial(d, pk, DMSG_PORT_TRANSPORT, on_dialed, c);
	if (err < 0) {
		sg_free(c);
		return err;
	}
	sg_list_add_tail(&d->carrier_dials, &c->node);
	return 0;
}

static void carrier_cancel(void *ctx, struct sg_dial *dial)
{
	struct dmsg *d = ctx;

	sg_list_for_safe (it, &d->carrier_dials) {
		struct carrier_dial *c = sg_container_of(it, struct carrier_dial, node);

		if (c->dial != dial)
			continue;
		dmsg_network_ops.dial_cancel(d, c);
		carrier_dial_free(c);
	}
}

static int on_stream(void *arg, struct sg_stream *stream)
{
	struct dmsg *d = arg;

	d->host->accepted_stream(d->inst, DMSG_CARRIER, stream);
	return 0;
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

int dmsg_carrier_start(struct dmsg *d)
{
	return dmsg_network_ops.listen(d, DMSG_PORT_TRANSPORT, &listener, d);
}

/* The host has cancelled its dials before it stops us; whatever is left has nobody to tell. */
void dmsg_carrier_stop(struct dmsg *d)
{
	while (!sg_list_empty(&d->carrier_dials))
		carrier_cancel(d, sg_container_of(d->carrier_dials.next, struct carrier_dial, node)->dial);
	dmsg_network_ops.unlisten(d, DMSG_PORT_TRANSPORT);
}

const struct sg_carrier_ops dmsg_carrier_ops = {
	.size = sizeof(dmsg_carrier_ops), .dial = carrier_dial, .flags = SG_CARRIER_SECURED, .cancel = carrier_cancel};
