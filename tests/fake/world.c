#include "fake/world.h"
#include "fake/pipe.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "crypto/keys.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sg_addr address_of(size_t i)
{
	struct sg_addr a;
	char text[32];

	snprintf(text, sizeof(text), "192.0.2.%zu:7777", i + 1);
	if (sg_addr_parse(text, &a) < 0)
		sg_bug("world: %s", text);
	return a;
}

static void pair(int fd[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
		sg_bug("world: socketpair: %s", sg_strerror(-errno));
}

/* ---- the carrier ---- */

static void connect_now(void *arg)
{
	struct fake_node *n = arg;
	struct sg_dial *dial = n->dial;
	struct fake_node *to = NULL;
	struct sg_addr own = address_of(n->index);
	int fd[2];

	for (size_t i = 0; i < WORLD_NODES; i++) {
		struct sg_addr a = address_of(i);

		if (sg_addr_same_host(&a, &n->dial_to))
			to = &n->w->node[i];
	}
	n->dial = NULL;
	if (!to || to->refuses || (!to->links && to->outside_fd < 0)) {
		links_dial_done(dial, -ECONNREFUSED, "the address refuses connections. Is skygated running there?");
		return;
	}
	if (to->outside_fd >= 0) {
		int taken = to->outside_fd;

		to->outside_fd = -1;
		links_dial_done(dial, taken, "");
		return;
	}
	pair(fd);
	links_accepted(to->links, "stcp", fd[1], &own);
	links_dial_done(dial, fd[0], "");
}

static void connect_secured(void *arg)
{
	struct fake_node *n = arg, *to = NULL;
	struct sg_dial *dial = n->dial;
	struct sg_stream *end[2];

	for (size_t i = 0; i < WORLD_NODES; i++) {
		if (sg_pk_equal(&n->w->node[i].pk, &n->dial_pk))
			to = &n->w->node[i];
	}
	n->dial = NULL;
	if (!to || to->refuses || !to->links) {
		links_dial_done(dial, -ECONNREFUSED, "no dmsg server has a session with it");
		return;
	}
	pipe_new(n->w->loop, (const struct sg_pk *const[]){&n->pk, &to->pk}, end);
	links_accepted_stream(to->links, "dmsg", end[1]);
	links_dial_done_stream(dial, end[0]);
}

static void connect_any(void *arg)
{
	struct fake_node *n = arg;

	if (n->w->secured)
		connect_secured(n);
	else
		connect_now(n);
}

static bool host_is_secured(void *arg, const char *carrier)
{
	(void)arg;
	return strcmp(carrier, "dmsg") == 0;
}

static int host_dial(
	void *arg, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *dial)
{
	struct fake_node *n = arg;

	if (strcmp(carrier, n->w->secured ? "dmsg" : "stcp") != 0)
		return -ENOTSUP;
	n->dials++;
	if (n->dial) { /* one waits at a time */
		sg_defer_stop(&n->dial_defer);
		connect_any(n);
	}
	n->dial = dial;
	n->dial_pk = *pk;
	if (to)
		n->dial_to = *to;
	if (!n->holds)
		sg_defer_start(n->w->loop, &n->dial_defer);
	return 0;
}

static void host_dial_cancel(void *arg, const char *carrier, struct sg_dial *dial)
{
	struct fake_node *n = arg;

	(void)carrier;
	(void)dial;
	n->cancels++;
	n->dial = NULL;
	sg_defer_stop(&n->dial_defer);
}

static void host_up(void *arg, const struct sg_link_info *info)
{
	(void)info;
	((struct fake_node *)arg)->ups++;
}

static void host_down(void *arg, const struct sg_link_info *info, const char *why)
{
	struct fake_node *n = arg;

	(void)info;
	n->downs++;
	snprintf(n->down_why, sizeof(n->down_why), "%s", why);
}

static bool host_is_foreign(void *arg, const struct sg_pk *pk)
{
	return sg_pk_equal(&((struct fake_node *)arg)->foreign, pk);
}

static void host_set_foreign(void *arg, const struct sg_pk *pk, bool foreign)
{
	struct fake_node *n = arg;

	n->foreign = foreign ? *pk : (struct sg_pk){0};
}

static const struct sg_links_host host = {
	.dial = host_dial,
	.dial_cancel = host_dial_cancel,
	.is_secured = host_is_secured,
	.up = host_up,
	.down = host_down,
	.is_foreign = host_is_foreign,
	.set_foreign = host_set_foreign,
};

void world_release(struct fake_world *w, size_t i)
{
	w->node[i].holds = false;
	if (w->node[i].dial)
		sg_defer_start(w->loop, &w->node[i].dial_defer);
}

/* ---- nodes ---- */

static void swap_keys(struct fake_node *a, struct fake_node *b)
{
	struct sg_sk sk = a->sk;
	struct sg_pk pk = a->pk;

	a->sk = b->sk;
	a->pk = b->pk;
	b->sk = sk;
	b->pk = pk;
}

void world_new(struct fake_world *w)
{
	static struct sg_crypto *shared; /* measures its ciphers, once is enough */

	if (!shared)
		shared = sg_crypto_new(sg_random_system());
	memset(w, 0, sizeof(*w));
	fake_clock_init(&w->clock);
	w->loop = sg_loop_new(&w->clock.base);
	w->crypto = shared;
	if (!w->loop || !w->crypto)
		sg_bug("world: out of memory");
	for (size_t i = 0; i < WORLD_NODES; i++) {
		struct fake_node *n = &w->node[i];

		n->w = w;
		n->index = i;
		n->outside_fd = -1;
		snprintf(n->url, sizeof(n->url), "stcp://192.0.2.%zu:7777", i + 1);
		sg_defer_init(&n->dial_defer, connect_any, n);
		sg_sk_generate(w->crypto, &n->sk);
		if (sg_pk_of(w->crypto, &n->sk, &n->pk) < 0)
			sg_bug("world: no key");
		for (size_t j = i; j > 0 && sg_pk_cmp(&w->node[j].pk, &w->node[j - 1].pk) < 0; j--)
			swap_keys(&w->node[j], &w->node[j - 1]);
	}
}

bool world_boot(struct fake_world *w, size_t i)
{
	struct fake_node *n = &w->node[i];

	n->links = links_new(&(struct sg_links_conf){
		.loop = w->loop,
		.worker = w->worker,
		.crypto = w->crypto,
		.sk = n->sk,
		.pk = n->pk,
		.host = &host,
		.host_arg = n,
		.quiet_ms = w->quiet_ms,
	});
	n->route = n->links ? route_new(n->links) : NULL;
	if (n->route)
		return true;
	world_kill(w, i);
	return false;
}

void world_kill(struct fake_world *w, size_t i)
{
	struct fake_node *n = &w->node[i];

	route_free(n->route);
	links_free(n->links);
	n->route = NULL;
	n->links = NULL;
}

void world_free(struct fake_world *w)
{
	for (size_t i = 0; i < WORLD_NODES; i++)
		world_kill(w, i);
	sg_worker_free(w->worker);
	sg_loop_free(w->loop);
}

static int set_up(void **state, bool threaded)
{
	struct fake_world *w = calloc(1, sizeof(*w));

	if (!w)
		return -1;
	*state = w;
	world_new(w);
	w->worker = threaded ? sg_worker_new(w->loop) : NULL;
	return (w->worker || !threaded) && world_boot(w, 0) && world_boot(w, 1) ? 0 : -1;
}

int world_setup(void **state)
{
	return set_up(state, false);
}

int world_setup_with_worker(void **state)
{
	return set_up(state, true);
}

int world_teardown(void **state)
{
	world_free(*state);
	free(*state);
	return 0;
}

int world_peer(struct fake_world *w, size_t from, size_t to, bool silent)
{
	const char *address = w->secured ? "dmsg" : w->node[to].url;
	char name[16];
	struct sg_peer_conf conf = {
		.name = name, .pk = w->node[to].pk, .addresses = &address, .n_addresses = silent ? 0 : 1};

	snprintf(name, sizeof(name), "node_%zu", to);
	return links_peers_set(w->node[from].links, &conf, 1);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void set_true(void *arg)
{
	*(bool *)arg = true;
}

/* All that the worker was given before. */
static void worker_idle(struct fake_world *w)
{
	struct sg_task last;
	bool reached = false;

	sg_task_init(&last, nothing, set_true, &reached);
	sg_task_start(w->worker, &last, false);
	while (!reached)
		sg_loop_step(w->loop, 1);
}

void world_step(struct fake_world *w, int n)
{
	while (n--) {
		sg_loop_step(w->loop, 0);
		worker_idle(w);
	}
}

void world_settle(struct fake_world *w)
{
	world_step(w, 60);
}

void world_pass(struct fake_world *w, int64_t ms)
{
	const int64_t step = ms > 60000 ? 250 : 50;

	while (ms > 0) {
		fake_clock_add_ms(&w->clock, SG_MIN(step, ms));
		ms -= step;
		world_step(w, 4);
	}
}

struct look {
	const struct sg_pk *pk;
	struct sg_link_info *info;
	unsigned found;
};

static bool look_at(void *arg, const struct sg_link_info *info)
{
	struct look *l = arg;

	if (sg_pk_equal(&info->remote, l->pk)) {
		*l->info = *info;
		l->found++;
	}
	return true;
}

bool world_linked(struct fake_world *w, size_t a, size_t b, struct sg_link_info *info)
{
	struct look l = {&w->node[b].pk, info, 0};

	links_each(w->node[a].links, look_at, &l);
	if (l.found > 1)
		sg_bug("world: %u links of one transport", l.found);
	return l.found == 1;
}

int world_accept_from(struct fake_world *w, size_t i, const char *address)
{
	struct sg_addr from;
	int fd[2];

	if (sg_addr_parse(address, &from) < 0)
		sg_bug("world: %s", address);
	pair(fd);
	links_accepted(w->node[i].links, "stcp", fd[1], &from);
	return fd[0];
}

int world_accept(struct fake_world *w, size_t i)
{
	return world_accept_from(w, i, "198.51.100.77:40000");
}

static uint64_t counter_in(const struct sg_counter *table, const void *base, const char *name, bool *known)
{
	for (; table->name; table++) {
		if (strcmp(table->name, name) == 0) {
			*known = true;
			return *(const uint64_t *)((const char *)base + table->offset);
		}
	}
	return 0;
}

uint64_t world_counter(struct fake_world *w, size_t i, const char *name)
{
	bool known = false;
	uint64_t v = counter_in(link_counter_table, links_counters(w->node[i].links), name, &known);

	if (!known)
		v = counter_in(route_counter_table, route_counters(w->node[i].route), name, &known);
	if (!known)
		sg_bug("world: no counter %s", name);
	return v;
}
