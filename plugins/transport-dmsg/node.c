/*
 * The visor on dmsg: as many sessions as wanted, each with another server; what listens on which port; dials by key.
 *
 * A dial asks the discovery which servers the key is a client of, uses a session with one of them if there is one, opens
 * one otherwise, and as a last resort asks through any session, for today's servers forward among themselves.
 */
#include "dmsg.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"

SG_LOG_TOPIC("dmsg");

#define LOOK_AGAIN_MS     60000 /* servers are asked for anew (spec) */
#define BACKOFF_MIN_MS    1000
#define BACKOFF_MAX_MS    60000 /* (spec) */
#define STABLE_MS         10000 /* a session that lived as long ends the back-off */
#define DIAL_MS           10000 /* of everything together */
#define PORT_FIRST        49152
#define SESSIONS_MAX      8
#define LOOKED_BY_NODE(d) ((void *)&(d)->look)

enum dial_step { DIAL_ENTRY, DIAL_SERVER, DIAL_SESSION, DIAL_STREAM };

struct dial {
	struct sg_list node;
	struct dmsg *d;
	struct sg_pk pk;
	uint16_t port;
	enum dial_step step;
	size_t n_servers, at; /* the key's servers, and which is tried */
	struct sg_pk servers[16];
	struct sg_pk waits_for; /* DIAL_SESSION: the server of the session under way */
	bool any_tried;
	struct sg_defer begin;
	struct sg_timer limit;
	sg_dialed_fn *done;
	void *arg;
	char why[200];
};

static struct session *session_with(const struct dmsg *d, const struct sg_pk *server, bool up)
{
	sg_list_for (it, &d->sessions) {
		struct session *s = sg_container_of(it, struct session, node);

		if (sg_pk_equal(&s->server, server) && (!up || s->state == SESSION_UP) && !s->dead)
			return s;
	}
	return NULL;
}

static size_t sessions(const struct dmsg *d, bool up)
{
	size_t n = 0;

	sg_list_for (it, &d->sessions) {
		struct session *s = sg_container_of(it, struct session, node);

		n += !s->dead && (!up || s->state == SESSION_UP);
	}
	return n;
}

uint16_t dmsg_node_port(struct dmsg *d)
{
	if (d->next_port < PORT_FIRST || d->next_port == UINT16_MAX)
		d->next_port = PORT_FIRST;
	return d->next_port++;
}

const struct listen *dmsg_node_listener(const struct dmsg *d, uint16_t port)
{
	sg_list_for (it, &d->listens) {
		const struct listen *l = sg_container_of(it, struct listen, node);

		if (l->port == port)
			return l;
	}
	return NULL;
}

/* ---- which servers ------------------------------------------------------------------------------------------------- */

/* Too few sessions: servers are looked at anew after a pause, which grows once per look, however many of them failed. */
static void look_again(struct dmsg *d)
{
	uint32_t jitter;

	if (d->retrying)
		return;
	d->retrying = true;
	sg_random_system()->fill(sg_random_system(), &jitter, sizeof(jitter));
	sg_timer_start(&d->look, d->backoff_ms - jitter % (d->backoff_ms / 4));
	d->backoff_ms = SG_MIN(d->backoff_ms + d->backoff_ms / 3, BACKOFF_MAX_MS);
}

/* Sessions up to the wanted number, from a random place in the list so that visors spread. */
static void fill(struct dmsg *d)
{
	size_t tries = 0;
	uint32_t from;

	sg_random_system()->fill(sg_random_system(), &from, sizeof(from));
	for (size_t i = 0; i < d->n_servers && tries < SESSIONS_MAX && sessions(d, false) < d->wanted; i++) {
		const struct sg_disc_entry *e = &d->servers[(from + i) % d->n_servers];

		if (!e->address[0] || session_with(d, &e->pk, false))
			continue;
		(void)dmsg_session_new(d, e);
		tries++;
	}
	/* A list that is too short, too: a discovery that has just begun may not know the other servers yet. */
	if (sessions(d, false) < d->wanted)
		look_again(d);
	else if (!d->retrying)
		sg_timer_start(&d->look, LOOK_AGAIN_MS);
}

static void on_servers(void *arg, int err, const struct sg_disc_entry *entries, size_t n, const char *why)
{
	struct dmsg *d = sg_container_of((struct sg_timer *)arg, struct dmsg, look);

	d->looking = false;
	if (err < 0) {
		snprintf(d->why, sizeof(d->why), "no dmsg server is known: %s", why);
	} else {
		d->n_servers = SG_MIN(n, SG_ARRAY_LEN(d->servers));
		memcpy(d->servers, entries, d->n_servers * sizeof(*entries));
		if (n == 0)
			snprintf(d->why, sizeof(d->why),
				"no dmsg server is known: neither the configuration nor a discovery names one");
	}
	fill(d);
}

static void on_look(void *arg)
{
	struct dmsg *d = arg;

	d->retrying = false;
	if (d->looking || d->stopping)
		return;
	if (sessions(d, false) >= d->wanted) {
		sg_timer_start(&d->look, LOOK_AGAIN_MS);
		return;
	}
	d->looking = true;
	if (d->host->disc_servers(d->inst, on_servers, LOOKED_BY_NODE(d)) < 0) {
		d->looking = false;
		look_again(d);
	}
}

/* Our entry names the servers where others find us. */
static void on_changed(void *arg)
{
	struct dmsg *d = arg;
	struct sg_pk up[SESSIONS_MAX];
	size_t n = 0;

	sg_list_for (it, &d->sessions) {
		struct session *s = sg_container_of(it, struct session, node);

		if (s->state == SESSION_UP && !s->dead && n < SESSIONS_MAX)
			up[n++] = s->server;
	}
	d->host->disc_update(d->inst, up, n);
}

/* ---- dials ----------------------------------------------------------------------------------------------------------- */

static void dial_go(struct dial *dl);

/* What it asked for would call it back. */
static void forget_stream(struct dial *dl)
{
	sg_list_for_safe (it, &dl->d->streams) {
		struct stream *st = sg_container_of(it, struct stream, node);

		if (st->state == STREAM_ASKED && st->done_arg == dl)
			dmsg_stream_forget(st);
	}
}

static void dial_free(struct dial *dl)
{
	forget_stream(dl);
	sg_list_remove(&dl->node);
	sg_defer_stop(&dl->begin);
	sg_timer_stop(&dl->limit);
	if (dl->step == DIAL_ENTRY || dl->step == DIAL_SERVER)
		dl->d->host->disc_cancel(dl->d->inst, dl);
	sg_free(dl);
}

static void dial_done(struct dial *dl, struct sg_stream *stream, int err, const char *why)
{
	sg_dialed_fn *done = dl->done;
	void *arg = dl->arg;
	char text[200];

	snprintf(text, sizeof(text), "%s", why);
	dial_free(dl);
	done(arg, stream, err, text);
}

static void on_dial_limit(void *arg)
{
	struct dial *dl = arg;

	dial_done(dl, NULL, -ETIMEDOUT, dl->why[0] ? dl->why : "no answer in time");
}

static void on_stream(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct dial *dl = arg;

	if (stream) {
		dial_done(dl, stream, 0, "");
		return;
	}
	snprintf(dl->why, sizeof(dl->why), "%s", why);
	(void)err;
	dl->at++;
	dial_go(dl);
}

static void dial_by(struct dial *dl, struct session *s)
{
	int err;

	dl->step = DIAL_STREAM;
	err = dmsg_stream_dial(s, &dl->pk, dl->port, on_stream, dl);
	if (err < 0)
		dial_done(dl, NULL, err, sg_strerror(err));
}

static void on_server(void *arg, int err, const struct sg_disc_entry *entries, size_t n, const char *why)
{
	struct dial *dl = arg;

	if (err == 0 && (n == 0 || !entries[0].is_server))
		err = SG_ENOROUTE;
	/* Another dial may have begun the session since we asked. */
	if (err == 0 && !session_with(dl->d, &entries[0].pk, false)) {
		err = sessions(dl->d, false) < SESSIONS_MAX ? dmsg_session_new(dl->d, &entries[0]) : SG_ENOROUTE;
		if (err == 0 && !session_with(dl->d, &entries[0].pk, false))
			err = -ENETUNREACH; /* over already: no route to its address */
	}
	if (err < 0) {
		snprintf(dl->why, sizeof(dl->why), "its server cannot be reached: %s",
			why && *why ? why : sg_strerror(err));
		dl->at++;
	}
	dial_go(dl);
}

/* The next way that is left. */
static void dial_go(struct dial *dl)
{
	struct dmsg *d = dl->d;

	for (; dl->at < dl->n_servers; dl->at++) {
		struct session *s = session_with(d, &dl->servers[dl->at], true);

		if (s) {
			dial_by(dl, s);
			return;
		}
		if (session_with(d, &dl->servers[dl->at], false)) {
			dl->waits_for = dl->servers[dl->at];
			dl->step = DIAL_SESSION;
			return;
		}
		dl->step = DIAL_SERVER;
		if (d->host->disc_entry(d->inst, &dl->servers[dl->at], on_server, dl) == 0)
			return;
	}
	if (!dl->any_tried) {
		dl->any_tried = true;
		sg_list_for (it, &d->sessions) {
			struct session *s = sg_container_of(it, struct session, node);

			if (s->state == SESSION_UP && !s->dead) {
				dial_by(dl, s);
				return;
			}
		}
	}
	dial_done(dl, NULL, SG_ENOROUTE,
		dl->why[0]                        ? dl->why
		: d->why[0] && !sessions(d, true) ? d->why
						  : "no dmsg server has a session with it");
}

static void on_entry(void *arg, int err, const struct sg_disc_entry *entries, size_t n, const char *why)
{
	struct dial *dl = arg;

	if (err < 0)
		snprintf(dl->why, sizeof(dl->why), "%s", why);
	else if (n)
		dl->n_servers = SG_MIN(entries[0].n_servers, SG_ARRAY_LEN(dl->servers));
	if (err == 0 && n)
		memcpy(dl->servers, entries[0].servers, dl->n_servers * sizeof(dl->servers[0]));
	dl->step = DIAL_SESSION;
	memset(&dl->waits_for, 0, sizeof(dl->waits_for));
	dial_go(dl);
}

static void dial_begin(void *arg)
{
	struct dial *dl = arg;
	int err = dl->d->host->disc_entry(dl->d->inst, &dl->pk, on_entry, dl);

	if (err < 0)
		on_entry(dl, err, NULL, 0, sg_strerror(err));
}

static int network_dial(void *ctx, const struct sg_pk *pk, uint16_t port, sg_dialed_fn *done, void *arg)
{
	struct dmsg *d = ctx;
	struct dial *dl = sg_calloc(1, sizeof(*dl));

	if (!dl)
		return -ENOMEM;
	dl->d = d;
	dl->pk = *pk;
	dl->port = port;
	dl->done = done;
	dl->arg = arg;
	sg_list_init(&dl->node);
	sg_defer_init(&dl->begin, dial_begin, dl);
	sg_timer_init(&dl->limit, d->loop, on_dial_limit, dl);
	dl->step = DIAL_SESSION;
	if (sg_timer_start(&dl->limit, DIAL_MS) < 0) {
		sg_free(dl);
		return -ENOMEM;
	}
	dl->step = DIAL_ENTRY;
	sg_list_add_tail(&d->dials, &dl->node);
	sg_defer_start(d->loop, &dl->begin);
	return 0;
}

static void network_dial_cancel(void *ctx, void *arg)
{
	struct dmsg *d = ctx;

	sg_list_for_safe (it, &d->dials) {
		struct dial *dl = sg_container_of(it, struct dial, node);

		if (dl->arg == arg)
			dial_free(dl);
	}
}

static int network_listen(void *ctx, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	struct dmsg *d = ctx;
	struct listen *l;

	if (dmsg_node_listener(d, port))
		return -EADDRINUSE;
	l = sg_calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->port = port;
	l->ops = ops;
	l->arg = arg;
	sg_list_add_tail(&d->listens, &l->node);
	return 0;
}

static void network_unlisten(void *ctx, uint16_t port)
{
	struct listen *l = (struct listen *)(uintptr_t)dmsg_node_listener(ctx, port);

	if (l) {
		sg_list_remove(&l->node);
		sg_free(l);
	}
}

const struct sg_network_ops dmsg_network_ops = {.size = sizeof(dmsg_network_ops),
	.dial = network_dial,
	.dial_cancel = network_dial_cancel,
	.listen = network_listen,
	.unlisten = network_unlisten};

/* ---- sessions come and go -------------------------------------------------------------------------------------------- */

/* Dials that waited for this session. Each may end others, so the list is looked at anew. */
static void wake(struct dmsg *d, const struct sg_pk *server)
{
	bool found = true;

	while (found) {
		found = false;
		sg_list_for (it, &d->dials) {
			struct dial *dl = sg_container_of(it, struct dial, node);

			if (dl->step != DIAL_SESSION || !sg_pk_equal(&dl->waits_for, server))
				continue;
			memset(&dl->waits_for, 0, sizeof(dl->waits_for));
			if (!session_with(d, server, true))
				dl->at++;
			dial_go(dl);
			found = true;
			break;
		}
	}
}

void dmsg_node_session_up(struct session *s)
{
	struct dmsg *d = s->d;
	char pk[SG_PK_SHORT];

	log_info("session with server %s at %s", sg_pk_short(&s->server, pk), sg_log_addr(s->address));
	d->why[0] = '\0';
	sg_defer_start(d->loop, &d->changed);
	wake(d, &s->server);
	/* Whoever has another address than before has another session. */
	dmsg_stream_ask_address(s);
}

void dmsg_node_session_down(struct session *s, const char *why)
{
	struct dmsg *d = s->d;
	char pk[SG_PK_SHORT];

	if (s->state != SESSION_UP)
		d->count.sessions_failed++;
	snprintf(d->why, sizeof(d->why), "server %s at %s: %s", sg_pk_short(&s->server, pk), s->address, why);
	if (d->stopping)
		return;
	log_warn("session with server %s at %s ended: %s", pk, sg_log_addr(s->address), why);
	if (s->state == SESSION_UP)
		sg_defer_start(d->loop, &d->changed);
	/* One that comes up and goes at once is as good as none. */
	if (s->state == SESSION_UP && sg_mono_ms_since(sg_loop_now(d->loop), s->since) >= STABLE_MS)
		d->backoff_ms = BACKOFF_MIN_MS;
	look_again(d);
	wake(d, &s->server);
}

void dmsg_node_start(struct dmsg *d)
{
	uint16_t port;

	/* Not from the first one after each start: the other end may hold streams of our life before. */
	sg_random_system()->fill(sg_random_system(), &port, sizeof(port));
	d->next_port = (uint16_t)(PORT_FIRST + port % (UINT16_MAX - PORT_FIRST));
	d->backoff_ms = BACKOFF_MIN_MS;
	sg_timer_init(&d->look, d->loop, on_look, d);
	sg_defer_init(&d->changed, on_changed, d);
	sg_timer_start(&d->look, 0);
}

void dmsg_node_stop(struct dmsg *d)
{
	d->stopping = true;
	sg_timer_stop(&d->look);
	d->host->disc_cancel(d->inst, LOOKED_BY_NODE(d));
	while (!sg_list_empty(&d->dials))
		dial_done(
			sg_container_of(d->dials.next, struct dial, node), NULL, SG_ECLOSED, "the network dmsg stops");
	while (!sg_list_empty(&d->sessions))
		dmsg_session_end(
			sg_container_of(d->sessions.next, struct session, node), SG_ECLOSED, "the network dmsg stops");
	sg_defer_stop(&d->changed);
	while (!sg_list_empty(&d->listens)) {
		struct listen *l = sg_container_of(d->listens.next, struct listen, node);

		sg_list_remove(&l->node);
		sg_free(l);
	}
}
