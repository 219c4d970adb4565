/*
 * The table that plugins call. Most of it hands through to links, streams and netd; dials, listening ports and
 * questions to netd are noted per instance, so that none outlives the plugin that asked.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <unistd.h>

SG_LOG_TOPIC("plugin");

struct host_dial {
	struct sg_list node;
	struct sg_inst *inst;
	sg_dialed_fn *fn;
	void *arg;
};

struct host_listen {
	struct sg_list node;
	uint16_t port;
};

static struct sg_loop *host_loop(struct sg_inst *inst)
{
	return inst->core->loop;
}

static const struct sg_uci *host_conf(struct sg_inst *inst)
{
	return inst->core->conf->doc;
}

static const struct sg_pk *host_own_pk(struct sg_inst *inst)
{
	return &inst->core->pk;
}

/* ---- carriers ---------------------------------------------------------------------------------------------------- */

static void host_accepted(struct sg_inst *inst, const char *carrier, int fd, const struct sg_addr *from)
{
	if (inst->state == INST_RUNNING && plugin_carrier_ops(inst->plugin, carrier))
		links_accepted(inst->core->links, carrier, fd, from);
	else
		close(fd);
}

static void host_accepted_stream(struct sg_inst *inst, const char *carrier, struct sg_stream *stream)
{
	if (inst->state == INST_RUNNING && plugin_carrier_ops(inst->plugin, carrier))
		links_accepted_stream(inst->core->links, carrier, stream);
	else
		stream->ops->close(stream);
}

static void host_dial_done(struct sg_dial *dial, int fd_or_error, const char *why)
{
	links_dial_done(dial, fd_or_error, why);
}

struct tune {
	sg_done_fn *done;
	void *arg;
};

static void on_done_answer(void *arg, int err, const struct sg_netd_msg *answer, int fd)
{
	struct tune *t = arg;

	(void)answer;
	if (fd >= 0)
		close(fd);
	t->done(t->arg, err);
}

/* A question that is answered by a code alone. */
static int ask(struct sg_inst *inst, struct sg_netd_msg *m, int pass, sg_done_fn *done, void *arg)
{
	struct tune *t;
	int err;

	if (!inst->core->netd)
		return -ENOTSUP;
	if (!done)
		return netd_ask(inst->core->netd, m, pass, inst, NULL, NULL);
	t = sg_calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->done = done;
	t->arg = arg;
	err = netd_ask(inst->core->netd, m, pass, inst, on_done_answer, t);
	if (err < 0)
		sg_free(t);
	return err;
}

static int host_tune_socket(struct sg_inst *inst, int fd, sg_done_fn *done, void *arg)
{
	struct sg_netd_msg m = {.type = SG_NETD_TUNE};

	return ask(inst, &m, fd, done, arg);
}

static struct plugin *running_carrier(struct core *core, const char *carrier)
{
	sg_list_for (it, &core->plugins) {
		struct plugin *p = sg_container_of(it, struct plugin, node);

		if (p->inst.state == INST_RUNNING && p->inst.ctx && plugin_carrier_ops(p, carrier))
			return p;
	}
	return NULL;
}

static bool on_link_is_secured(void *arg, const char *carrier)
{
	struct plugin *p = running_carrier(arg, carrier);

	return p && plugin_carrier_ops(p, carrier)->flags & SG_CARRIER_SECURED;
}

static int on_link_dial(
	void *arg, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *dial)
{
	struct plugin *p = running_carrier(arg, carrier);

	if (!p)
		return -ENOTSUP;
	return plugin_carrier_ops(p, carrier)->dial(p->inst.ctx, carrier, pk, to, dial);
}

static void on_link_dial_cancel(void *arg, const char *carrier, struct sg_dial *dial)
{
	struct core *core = arg;

	/* Also one that is just stopping: links_carrier_stop cancels its dials. */
	sg_list_for (it, &core->plugins) {
		struct plugin *p = sg_container_of(it, struct plugin, node);
		const struct sg_carrier_ops *ops = plugin_carrier_ops(p, carrier);

		if (ops && p->inst.ctx)
			ops->cancel(p->inst.ctx, dial);
	}
}

static bool on_link_is_foreign(void *arg, const struct sg_pk *pk)
{
	return foreign_is(((struct core *)arg)->foreign, pk);
}

static void on_link_set_foreign(void *arg, const struct sg_pk *pk, bool foreign)
{
	foreign_set(((struct core *)arg)->foreign, pk, foreign);
}

static struct net_transport transport_of(const struct sg_link_info *i)
{
	return (struct net_transport){
		.remote = i->remote, .type = i->carrier, .dialled = i->dialled, .remote_sig = i->remote_sig};
}

static void on_link_up(void *arg, const struct sg_link_info *info)
{
	struct net_transport t = transport_of(info);

	net_transport_up(((struct core *)arg)->net, &t);
}

/* A connection that a newer one of the same two visors replaced: the transport is still up. */
static void on_link_down(void *arg, const struct sg_link_info *info, const char *why)
{
	struct core *core = arg;
	struct net_transport t = transport_of(info);

	(void)why;
	if (core->net)
		net_traffic(core->net, &info->id, info->rx_payload, info->tx_payload, true);
	if (core->net && !links_by_id(core->links, &info->id))
		net_transport_down(core->net, &t);
}

static int on_link_tune(void *arg, int fd)
{
	struct core *core = arg;
	struct sg_netd_msg m = {.type = SG_NETD_TUNE};

	return core->netd ? netd_ask(core->netd, &m, fd, NULL, NULL, NULL) : -ENOTSUP;
}

const struct sg_links_host core_links_host = {
	.dial = on_link_dial,
	.is_secured = on_link_is_secured,
	.dial_cancel = on_link_dial_cancel,
	.is_foreign = on_link_is_foreign,
	.set_foreign = on_link_set_foreign,
	.up = on_link_up,
	.down = on_link_down,
	.tune = on_link_tune,
};

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static int host_listen(struct sg_inst *inst, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	struct host_listen *l = sg_calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	l->port = port;
	err = route_listen(inst->core->route, port, ops, arg);
	if (err < 0)
		sg_free(l);
	else
		sg_list_add_tail(&inst->listens, &l->node);
	return err;
}

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct host_dial *d = arg;
	sg_dialed_fn *fn = d->fn;
	void *fn_arg = d->arg;

	sg_list_remove(&d->node);
	sg_free(d);
	fn(fn_arg, stream, err, why);
}

static int host_dial(
	struct sg_inst *inst, const struct sg_pk *pk, uint16_t port, unsigned min_hops, sg_dialed_fn *fn, void *arg)
{
	struct host_dial *d;
	int err;

	if (inst->state != INST_RUNNING)
		return SG_ESTATE;
	d = sg_calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->inst = inst;
	d->fn = fn;
	d->arg = arg;
	sg_list_add_tail(&inst->dials, &d->node);
	err = route_dial_hops(inst->core->route, pk, port, min_hops, on_dialed, d);
	if (err < 0) {
		sg_list_remove(&d->node);
		sg_free(d);
	}
	return err;
}

static void forget_dial(struct host_dial *d)
{
	route_dial_cancel(d->inst->core->route, d);
	sg_list_remove(&d->node);
	sg_free(d);
}

static void host_dial_cancel(struct sg_inst *inst, void *arg)
{
	sg_list_for_safe (it, &inst->dials) {
		struct host_dial *d = sg_container_of(it, struct host_dial, node);

		if (d->arg == arg)
			forget_dial(d);
	}
}

static int host_peer_find(struct sg_inst *inst, const char *section, struct sg_pk *out)
{
	return links_peer_find(inst->core->links, section, out);
}

static int host_peer_state(struct sg_inst *inst, const struct sg_pk *pk, struct sg_peer_state *out, size_t size)
{
	struct sg_peer_state st;
	int err = links_peer_state(inst->core->links, pk, &st);

	if (err == 0)
		sg_fill(out, size, &st, sizeof(st));
	return err;
}

/* ---- the kernel, through netd ------------------------------------------------------------------------------------ */

struct tun_question {
	sg_tun_fn *fn;
	void *arg;
};

static void on_tun_answer(void *arg, int err, const struct sg_netd_msg *answer, int fd)
{
	struct tun_question *q = arg;
	struct sg_tun tun;

	if (err == 0 && fd < 0)
		err = SG_EMALF;
	if (err == 0) {
		tun = answer->u.tun;
		tun.size = sizeof(tun);
		tun.fd = fd;
		q->fn(q->arg, 0, &tun, "");
	} else {
		if (fd >= 0)
			close(fd);
		q->fn(q->arg, err, NULL, answer ? answer->text : "skygate-netd went away");
	}
}

static int host_tun_open(struct sg_inst *inst, enum sg_tun_role role, sg_tun_fn *fn, void *arg)
{
	struct sg_netd_msg m = {.type = SG_NETD_TUN_OPEN, .u.role = (uint8_t)role};
	struct tun_question *q;
	int err;

	if (!inst->core->netd)
		return -ENOTSUP;
	q = sg_calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->fn = fn;
	q->arg = arg;
	err = netd_ask(inst->core->netd, &m, -1, inst, on_tun_answer, q);
	if (err < 0)
		sg_free(q);
	return err;
}

static int host_lease_set(struct sg_inst *inst, uint32_t address, uint32_t gateway, sg_done_fn *done, void *arg)
{
	struct sg_netd_msg m = {.type = SG_NETD_LEASE_SET, .u.lease = {address, gateway}};

	return ask(inst, &m, -1, done, arg);
}

static int send_path(struct sg_inst *inst, enum sg_netd_path path)
{
	struct sg_netd_msg m = {.type = SG_NETD_PATH, .u.path = (uint8_t)path};

	return ask(inst, &m, -1, NULL, NULL);
}

static int host_path_set(struct sg_inst *inst, bool up)
{
	return send_path(inst, up ? SG_PATH_UP : SG_PATH_DOWN);
}

static int host_want_set(struct sg_inst *inst, enum sg_want want)
{
	static const enum sg_netd_path paths[] = {
		[SG_WANT_NOT] = SG_PATH_UNWANTED,
		[SG_WANT_VPN] = SG_PATH_DOWN,
		[SG_WANT_OPEN] = SG_PATH_OPEN,
	};

	return send_path(inst, paths[want]);
}

/* ---- the end of an instance -------------------------------------------------------------------------------------- */

static void host_stopped(struct sg_inst *inst)
{
	inst_stopped(inst);
}

void host_unlisten(struct sg_inst *inst)
{
	sg_list_for_safe (it, &inst->listens) {
		struct host_listen *l = sg_container_of(it, struct host_listen, node);

		route_unlisten(inst->core->route, l->port);
		sg_list_remove(&l->node);
		sg_free(l);
	}
	for (const struct sg_provide *v = inst->plugin->desc->provides; v->kind != SG_PROVIDE_END; v++) {
		if (v->kind == SG_CARRIER && inst->core->net)
			(void)net_bind(inst->core->net, v->name, 0);
		if (v->kind == SG_APP && inst->core->net)
			(void)net_offer(inst->core->net, v->name, 0);
	}
}

void host_release(struct sg_inst *inst)
{
	size_t dials = 0, questions = 0;

	host_unlisten(inst);
	sg_list_for_safe (it, &inst->dials) {
		forget_dial(sg_container_of(it, struct host_dial, node));
		dials++;
	}
	if (inst->core->netd)
		questions = netd_forget(inst->core->netd, inst);
	if (inst->core->net)
		questions += net_disc_cancel(inst->core->net, inst, true, NULL) +
			     net_resolve_cancel(inst->core->net, inst, true, NULL);
	if (inst->keys.store) {
		questions += store_cancel(&inst->keys, true, NULL);
		if (plugin_store_ops(inst->plugin))
			questions += store_abandon(inst->core->store);
	}
	if (dials || questions)
		log_warn("%s left %zu dial%s and %zu question%s behind", inst->plugin->desc->name, dials,
			dials == 1 ? "" : "s", questions, questions == 1 ? "" : "s");
}

/* ---- networks ---------------------------------------------------------------------------------------------------- */

static const struct sg_identity *host_identity(struct sg_inst *inst)
{
	return &inst->core->identity;
}

static int host_disc_entry(struct sg_inst *inst, const struct sg_pk *pk, sg_disc_fn *fn, void *arg)
{
	return net_disc_entry(inst->core->net, inst, pk, fn, arg);
}

static int host_disc_servers(struct sg_inst *inst, sg_disc_fn *fn, void *arg)
{
	return net_disc_servers(inst->core->net, inst, fn, arg);
}

static void host_disc_cancel(struct sg_inst *inst, void *arg)
{
	net_disc_cancel(inst->core->net, inst, false, arg);
}

static void host_disc_update(struct sg_inst *inst, const struct sg_pk *servers, size_t n)
{
	net_disc_update(inst->core->net, servers, n);
}

static int host_resolve(
	struct sg_inst *inst, const char *carrier, const struct sg_pk *pk, sg_resolved_fn *fn, void *arg)
{
	return net_resolve(inst->core->net, inst, carrier, pk, fn, arg);
}

static void host_resolve_cancel(struct sg_inst *inst, void *arg)
{
	net_resolve_cancel(inst->core->net, inst, false, arg);
}

static int host_resolve_bind(struct sg_inst *inst, const char *carrier, uint16_t port)
{
	return net_bind(inst->core->net, carrier, port);
}

static void host_seen_at(struct sg_inst *inst, const struct sg_addr *addr)
{
	net_seen_at(inst->core->net, addr);
}

static int host_offer(struct sg_inst *inst, const char *type, uint16_t port)
{
	return net_offer(inst->core->net, type, port);
}

/* ---- the store --------------------------------------------------------------------------------------------------- */

static int host_store_get(struct sg_inst *inst, struct sg_view key, sg_store_fn *fn, void *arg)
{
	return store_get(&inst->keys, key, fn, arg);
}

static int host_store_scan(
	struct sg_inst *inst, struct sg_view prefix, struct sg_view from, size_t limit, sg_store_fn *fn, void *arg)
{
	return store_scan(&inst->keys, prefix, from, limit, fn, arg);
}

static int host_store_write(struct sg_inst *inst, const struct sg_store_change *changes, size_t n, unsigned flags,
	sg_done_fn *done, void *arg)
{
	return store_write(&inst->keys, changes, n, flags, done, arg);
}

static int host_store_watch(struct sg_inst *inst, struct sg_view prefix, sg_store_watch_fn *fn, void *arg)
{
	return store_watch(&inst->keys, prefix, fn, arg);
}

static void host_store_cancel(struct sg_inst *inst, void *arg)
{
	store_cancel(&inst->keys, false, arg);
}

static const char *host_state_dir(struct sg_inst *inst)
{
	return inst->core->opt.state_dir;
}

static void host_store_done(
	struct sg_inst *inst, uint64_t id, int err, struct sg_store_pair *pairs, size_t n, bool more)
{
	store_done(inst->core->store, id, err, pairs, n, more);
}

const struct sg_host core_host = {
	.size = sizeof(struct sg_host),
	.loop = host_loop,
	.conf = host_conf,
	.own_pk = host_own_pk,
	.accepted = host_accepted,
	.dial_done = host_dial_done,
	.accepted_stream = host_accepted_stream,
	.dial_done_stream = links_dial_done_stream,
	.tune_socket = host_tune_socket,
	.listen = host_listen,
	.dial = host_dial,
	.dial_cancel = host_dial_cancel,
	.peer_find = host_peer_find,
	.peer_state = host_peer_state,
	.tun_open = host_tun_open,
	.lease_set = host_lease_set,
	.path_set = host_path_set,
	.want_set = host_want_set,
	.identity = host_identity,
	.disc_entry = host_disc_entry,
	.disc_servers = host_disc_servers,
	.disc_cancel = host_disc_cancel,
	.disc_update = host_disc_update,
	.resolve = host_resolve,
	.resolve_cancel = host_resolve_cancel,
	.resolve_bind = host_resolve_bind,
	.seen_at = host_seen_at,
	.offer = host_offer,
	.store_get = host_store_get,
	.store_scan = host_store_scan,
	.store_write = host_store_write,
	.store_watch = host_store_watch,
	.store_cancel = host_store_cancel,
	.state_dir = host_state_dir,
	.store_done = host_store_done,
	.stopped = host_stopped,
};
