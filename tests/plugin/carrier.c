/*
 * The contract of a carrier, one suite for each of them, over loopback: what it brings carries links (connect, echo,
 * order, close), it follows its configuration (reload), and strangers (garbage) and failures cost one connection or one
 * sentence. Two visors, each a plugin under a host table whose links are the real ones; those of dmsg meet at a relay. What
 * only a carrier with sockets of its own can show is asked of those alone.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/text.h"
#include "crypto/keys.h"
#include "fake/host.h"
#include "fake/relay.h"
#include "link/link.h"
#include "route/route.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

extern const struct sg_plugin sg_plugin_transport_dmsg, sg_plugin_transport_tcp;
extern const struct sg_plugin sg_plugin_unix; /* unix_carrier.c: one by somebody else */

static const struct carrier {
	const char *name;
	const struct sg_plugin *plugin;
	bool by_key;  /* it finds the other end itself */
	bool relayed; /* through a server; otherwise by sockets of its own */
	bool local;   /* of the family AF_UNIX; otherwise by TCP */
} carriers[] = {{"stcp", &sg_plugin_transport_tcp, false, false, false},
	{"stcpr", &sg_plugin_transport_tcp, true, false, false}, {"dmsg", &sg_plugin_transport_dmsg, true, true, false},
	{"unix", &sg_plugin_unix, false, false, true}};

enum tune { TUNE_NONE, TUNE_OK, TUNE_HOLD };

struct visor {
	struct fake_host *h;
	struct sg_crypto *crypto;
	struct sg_sk sk;
	struct sg_pk pk;
	struct sg_identity id;
	uint16_t bound; /* at the address resolver */
	unsigned binds;
	size_t n_servers; /* where others find it, as it told the discovery */
	struct sg_pk servers[8];
	struct sg_links *links;
	struct sg_route *route;
	uint16_t port;
	bool running;
	enum tune tune;
	sg_done_fn *tune_fn; /* the last question, not answered */
	void *tune_arg;
	unsigned tuned;
	struct sg_stream *st;
	uint64_t got;
	bool in_order, echo, ended;
};

static const struct carrier *carrier;
static struct visor visors[2];
static struct relay *relay;

static struct visor *visor_of(const struct sg_inst *inst)
{
	return &visors[inst->host == visors[1].h];
}

/* ---- the host table's part that carriers use ---- */

static void host_accepted(struct sg_inst *inst, const char *name, int fd, const struct sg_addr *from)
{
	assert_string_equal(name, carrier->name);
	assert_true(carrier->local ? !from : from->len > 0);
	links_accepted(visor_of(inst)->links, name, fd, from);
}

static void host_accepted_stream(struct sg_inst *inst, const char *name, struct sg_stream *stream)
{
	assert_string_equal(name, carrier->name);
	links_accepted_stream(visor_of(inst)->links, name, stream);
}

static int host_tune_socket(struct sg_inst *inst, int fd, sg_done_fn *done, void *arg)
{
	struct visor *v = visor_of(inst);

	assert_true(fd >= 0);
	v->tuned++;
	if (v->tune == TUNE_NONE)
		return -ENOTSUP;
	if (v->tune == TUNE_OK) {
		done(arg, v->tuned % 2 ? 0 : -EPERM);
		return 0;
	}
	v->tune_fn = done;
	v->tune_arg = arg;
	return 0;
}

static void tune_answer(struct visor *v, int err)
{
	sg_done_fn *fn = v->tune_fn;

	assert_non_null(fn);
	v->tune_fn = NULL;
	fn(v->tune_arg, err);
}

/* ---- the discovery ---- */

struct question {
	struct visor *v; /* NULL: called off */
	struct sg_pk pk; /* null: the servers */
	sg_disc_fn *fn;
	void *arg;
};

static struct question questions[8];

static struct sg_disc_entry entry_of_relay(void)
{
	struct sg_disc_entry e = {.pk = *relay_pk(relay), .is_server = true};

	snprintf(e.address, sizeof(e.address), "%s", relay_address(relay));
	return e;
}

static void disc_answer(void *arg)
{
	struct question q = *(struct question *)arg;
	struct sg_disc_entry e = entry_of_relay();

	*(struct question *)arg = (struct question){0};
	if (!q.v)
		return;
	for (int i = 0; i < 2; i++) {
		if (!sg_pk_equal(&q.pk, &visors[i].pk))
			continue;
		e = (struct sg_disc_entry){.pk = q.pk, .n_servers = visors[i].n_servers};
		memcpy(e.servers, visors[i].servers, sizeof(visors[i].servers));
	}
	q.fn(q.arg, 0, &e, 1, "");
}

static int disc_entry(struct sg_inst *inst, const struct sg_pk *pk, sg_disc_fn *fn, void *arg)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(questions); i++) {
		if (questions[i].fn)
			continue;
		questions[i] = (struct question){.v = visor_of(inst), .pk = *pk, .fn = fn, .arg = arg};
		return sg_post(inst->host->loop, disc_answer, &questions[i]);
	}
	return -ENOMEM;
}

static int disc_servers(struct sg_inst *inst, sg_disc_fn *fn, void *arg)
{
	return disc_entry(inst, &(struct sg_pk){0}, fn, arg);
}

static void disc_cancel(struct sg_inst *inst, void *arg)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(questions); i++) {
		if (questions[i].v == visor_of(inst) && questions[i].arg == arg)
			questions[i].v = NULL;
	}
}

static void disc_update(struct sg_inst *inst, const struct sg_pk *servers, size_t n)
{
	struct visor *v = visor_of(inst);

	v->n_servers = n;
	memcpy(v->servers, servers, n * sizeof(*servers));
}

/* ---- the address resolver ---- */

struct resolve {
	sg_resolved_fn *fn;
	void *arg;
	struct sg_pk pk;
};

static struct resolve resolve;
static unsigned resolves;
static bool resolve_silent, resolve_fails, resolve_two; /* two: the first of both addresses is nobody's */

static void resolve_answer(void *arg)
{
	struct resolve q = resolve;
	struct sg_addr to[2];
	char text[32];

	(void)arg;
	resolve.fn = NULL;
	if (!q.fn || resolve_silent)
		return;
	if (resolve_fails) {
		q.fn(q.arg, -ENOENT, NULL, 0, "the address resolver does not know where it listens");
		return;
	}
	assert_int_equal(sg_addr_parse("127.0.0.1:1", &to[0]), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", visors[sg_pk_equal(&q.pk, &visors[1].pk)].port);
	assert_int_equal(sg_addr_parse(text, &to[1]), 0);
	q.fn(q.arg, 0, resolve_two ? to : to + 1, resolve_two ? 2 : 1, "");
}

static int host_resolve(struct sg_inst *inst, const char *name, const struct sg_pk *pk, sg_resolved_fn *fn, void *arg)
{
	assert_string_equal(name, "stcpr");
	assert_null(resolve.fn);
	resolve = (struct resolve){fn, arg, *pk};
	resolves++;
	return sg_post(inst->host->loop, resolve_answer, NULL);
}

static void host_resolve_cancel(struct sg_inst *inst, void *arg)
{
	(void)inst;
	if (resolve.arg == arg)
		resolve.fn = NULL;
}

static int host_bind(struct sg_inst *inst, const char *name, uint16_t port)
{
	assert_string_equal(name, "stcpr");
	visor_of(inst)->bound = port;
	visor_of(inst)->binds++;
	return 0;
}

static const struct sg_identity *host_identity(struct sg_inst *inst)
{
	return &visor_of(inst)->id;
}

/* ---- what links ask for ---- */

static const struct sg_carrier_ops *carrier_ops(void)
{
	for (const struct sg_provide *p = carrier->plugin->provides; p->kind != SG_PROVIDE_END; p++) {
		if (p->kind == SG_CARRIER && strcmp(p->name, carrier->name) == 0)
			return p->ops;
	}
	fail_msg("the plugin does not provide %s", carrier->name);
	return NULL;
}

static int links_dial(
	void *arg, const char *name, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *dial)
{
	struct visor *v = arg;

	return v->running && strcmp(name, carrier->name) == 0 ? carrier_ops()->dial(v->h->ctx, name, pk, to, dial)
							      : -ENOTSUP;
}

static void links_dial_cancel(void *arg, const char *name, struct sg_dial *dial)
{
	struct visor *v = arg;

	(void)name;
	carrier_ops()->cancel(v->h->ctx, dial);
}

static bool links_is_secured(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return carrier_ops()->flags & SG_CARRIER_SECURED;
}

static const struct sg_links_host links_host = {
	.dial = links_dial, .dial_cancel = links_dial_cancel, .is_secured = links_is_secured};

/* ---- visors ---- */

static uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

static void conf_listen(struct visor *v, const char *more)
{
	char text[512];

	if (carrier->relayed) {
		fake_conf(v->h, "config dmsg\n\toption sessions '1'\n");
		return;
	}
	snprintf(text, sizeof(text), "config carrier '%s'\n\tlist listen '127.0.0.1:%u'\n%s", carrier->name, v->port,
		more);
	fake_conf(v->h, text);
}

static int start(struct visor *v)
{
	int ret = fake_start(v->h, carrier->plugin);

	v->running = ret == 0;
	return ret;
}

static void stop(struct visor *v)
{
	v->running = false;
	links_carrier_stop(v->links, carrier->name);
	fake_stop(v->h);
}

static void net_new(struct visor *v)
{
	v->links = links_new(&(struct sg_links_conf){
		.loop = v->h->loop, .crypto = v->crypto, .sk = v->sk, .pk = v->pk, .host = &links_host, .host_arg = v});
	v->route = route_new(v->links);
}

static void net_free(struct visor *v)
{
	route_free(v->route);
	links_free(v->links);
}

static void visor_new(struct visor *v)
{
	memset(v, 0, sizeof(*v));
	v->h = fake_host_new("");
	v->h->table.accepted = host_accepted;
	v->h->table.dial_done = links_dial_done;
	v->h->table.accepted_stream = host_accepted_stream;
	v->h->table.dial_done_stream = links_dial_done_stream;
	v->h->table.tune_socket = host_tune_socket;
	v->h->table.identity = host_identity;
	v->h->table.resolve = host_resolve;
	v->h->table.resolve_cancel = host_resolve_cancel;
	v->h->table.resolve_bind = host_bind;
	v->h->table.disc_entry = disc_entry;
	v->h->table.disc_servers = disc_servers;
	v->h->table.disc_cancel = disc_cancel;
	v->h->table.disc_update = disc_update;
	v->crypto = sg_crypto_new(sg_random_system());
	sg_sk_generate(v->crypto, &v->sk);
	assert_int_equal(sg_pk_of(v->crypto, &v->sk, &v->pk), 0);
	v->id = (struct sg_identity){sizeof(v->id), v->crypto, &v->pk, &v->sk};
	net_new(v);
	v->port = free_port();
	v->in_order = true;
	conf_listen(v, "");
}

static void visor_free(struct visor *v)
{
	if (v->running)
		stop(v);
	net_free(v);
	fake_host_free(v->h);
	sg_crypto_free(v->crypto);
}

static int setup(void **state)
{
	(void)state;
	visor_new(&visors[0]);
	visor_new(&visors[1]);
	resolve_silent = resolve_fails = resolve_two = false;
	relay = carrier->relayed ? relay_new(visors[1].h->loop, visors[1].crypto) : NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (visors[0].running)
		stop(&visors[0]);
	if (visors[1].running)
		stop(&visors[1]);
	if (relay)
		relay_free(relay);
	visor_free(&visors[0]);
	visor_free(&visors[1]);
	return 0;
}

/* Real sockets need real time; the deadline is for a test that would fail. */
static bool turn_until(bool (*is)(void))
{
	for (int i = 0; i < 5000; i++) {
		if (is())
			return true;
		sg_loop_step(visors[0].h->loop, 0);
		sg_loop_step(visors[1].h->loop, 1);
		/* Pauses of its own are no failures here. */
		visors[0].h->ms += carrier->relayed ? 10 : 0;
		visors[1].h->ms += carrier->relayed ? 10 : 0;
	}
	return false;
}

static void dial_peer(struct visor *v, const struct visor *to)
{
	char url[64];
	const char *urls[] = {url};
	const struct sg_peer_conf conf = {.name = "other", .pk = to->pk, .addresses = urls, .n_addresses = 1};

	snprintf(url, sizeof(url), carrier->by_key ? "%s" : "%s://127.0.0.1:%u", carrier->name, to->port);
	assert_int_equal(links_peers_set(v->links, &conf, 1), 0);
}

static struct sg_peer_state state_of(const struct visor *v, const struct visor *other)
{
	struct sg_peer_state st = {0};

	(void)links_peer_state(v->links, &other->pk, &st);
	return st;
}

static bool both_linked(void)
{
	return state_of(&visors[0], &visors[1]).linked && state_of(&visors[1], &visors[0]).linked;
}

static bool none_linked(void)
{
	return !state_of(&visors[0], &visors[1]).linked && !state_of(&visors[1], &visors[0]).linked;
}

static bool failed_once(void)
{
	return state_of(&visors[0], &visors[1]).attempts > 0;
}

static bool both_can_be_found(void)
{
	return visors[0].n_servers && visors[1].n_servers;
}

static void link_up(void)
{
	for (int i = 0; i < 2; i++) {
		if (!visors[i].running)
			assert_int_equal(start(&visors[i]), 0);
	}
	assert_true(!carrier->relayed || turn_until(both_can_be_found));
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(both_linked));
}

/* ---- connect, echo, order, close ---- */

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 11 + (at >> 9));
}

static void on_data(void *arg, struct sg_view in)
{
	struct visor *v = arg;

	for (size_t i = 0; i < in.len; i++)
		v->in_order = v->in_order && in.p[i] == pattern(v->got + i);
	v->got += in.len;
}

static void on_writable(void *arg)
{
	(void)arg;
}

static void on_close(void *arg, int err, const char *why)
{
	struct visor *v = arg;

	(void)err;
	(void)why;
	v->st = NULL;
	v->ended = true;
}

static const struct sg_stream_user user = {sizeof(user), on_data, on_writable, on_close, NULL};

static int on_stream(void *arg, struct sg_stream *st)
{
	struct visor *v = arg;

	v->st = st;
	st->user = &user;
	st->user_arg = arg;
	return 0;
}

static const struct sg_listener_ops listener = {sizeof(listener), on_stream};

static void on_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	(void)why;
	assert_int_equal(err, 0);
	on_stream(arg, st);
}

static bool both_have_streams(void)
{
	return visors[0].st && visors[1].st;
}

#define TOTAL (3 * 1024 * 1024)

static bool all_arrived(void)
{
	static uint8_t buf[50000];

	for (int i = 0; i < 2; i++) {
		struct visor *v = &visors[i];
		static uint64_t sent[2];

		if (v->got == 0 && visors[!i].got == 0)
			sent[i] = 0;
		while (sent[i] < TOTAL) {
			size_t n = SG_MIN(sizeof(buf), (size_t)(TOTAL - sent[i]));

			for (size_t k = 0; k < n; k++)
				buf[k] = pattern(sent[i] + k);
			if (v->st->ops->send(v->st, &(struct iovec){buf, n}, 1) < 0)
				break;
			sent[i] += n;
		}
	}
	return visors[0].got == TOTAL && visors[1].got == TOTAL;
}

static bool one_ended(void)
{
	return visors[1].ended;
}

static void what_it_brings_carries_bytes_in_order_both_ways(void **state)
{
	(void)state;
	link_up();
	assert_int_equal(route_listen(visors[1].route, 44, &listener, &visors[1]), 0);
	assert_int_equal(route_dial(visors[0].route, &visors[1].pk, 44, on_dialed, &visors[0]), 0);
	assert_true(turn_until(both_have_streams));
	assert_true(turn_until(all_arrived));
	assert_true(visors[0].in_order && visors[1].in_order);
	visors[0].st->ops->close(visors[0].st);
	visors[0].st = NULL;
	assert_true(turn_until(one_ended));
}

static bool address_is_ours(void *arg, const struct sg_link_info *info)
{
	char want[SG_ADDR_TEXT];

	(void)arg;
	if (info->dialled) {
		snprintf(want, sizeof(want), "127.0.0.1:%u", visors[1].port);
		assert_string_equal(info->address, want);
	} else {
		assert_memory_equal(info->address, "127.0.0.1:", 10);
	}
	return true;
}

static void both_ends_know_the_others_address(void **state)
{
	(void)state;
	link_up();
	links_each(visors[0].links, address_is_ours, NULL);
	links_each(visors[1].links, address_is_ours, NULL);
}

static void an_end_that_goes_away_is_noticed_and_redialled(void **state)
{
	(void)state;
	link_up();
	net_free(&visors[1]);
	net_new(&visors[1]);
	assert_true(turn_until(none_linked));
	fake_pass(visors[0].h, 1000);
	assert_true(turn_until(both_linked));
}

static bool first_lost_it(void)
{
	return !state_of(&visors[0], &visors[1]).linked;
}

/* Bytes that it leaves unread must not turn its end into a reset, which would throw away its own last words. */
static void an_end_that_stops_while_the_other_talks_ends_in_order(void **state)
{
	static uint8_t talk[100000];

	(void)state;
	link_up();
	assert_int_equal(route_listen(visors[1].route, 44, &listener, &visors[1]), 0);
	assert_int_equal(route_dial(visors[0].route, &visors[1].pk, 44, on_dialed, &visors[0]), 0);
	assert_true(turn_until(both_have_streams));
	assert_int_equal(visors[0].st->ops->send(visors[0].st, &(struct iovec){talk, sizeof(talk)}, 1), 0);
	for (int i = 0; i < 20; i++)
		sg_loop_step(visors[0].h->loop, 1);
	assert_int_equal(visors[1].got, 0);
	net_free(&visors[1]);
	net_new(&visors[1]);
	assert_true(turn_until(first_lost_it));
	assert_string_equal(state_of(&visors[0], &visors[1]).why,
		carrier->relayed ? "the link is down: the other end closed the stream"
				 : "the link is down: the other end closed the connection");
}

/* ---- configuration ---- */

/* As a stranger does it; below 0: nobody is there. */
static int call_port(uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			    (size_t)snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "skygate-test-%u", port));
	int fd = socket(carrier->local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int err = carrier->local ? connect(fd, (struct sockaddr *)&un, len)
				 : connect(fd, (struct sockaddr *)&a, sizeof(a));

	if (err == 0)
		return fd;
	close(fd);
	return -1;
}

static bool connects(uint16_t port)
{
	int fd = call_port(port);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void a_reload_moves_listeners_and_leaves_links_alone(void **state)
{
	uint16_t old = visors[1].port;
	char both[64];

	(void)state;
	link_up();
	/* The same again, then one more, then only the new one. */
	assert_int_equal(visors[1].h->plugin->reload(visors[1].h->ctx), 0);
	assert_true(connects(old));
	visors[1].port = free_port();
	snprintf(both, sizeof(both), "\tlist listen '127.0.0.1:%u'\n", old);
	conf_listen(&visors[1], both);
	assert_int_equal(visors[1].h->plugin->reload(visors[1].h->ctx), 0);
	assert_true(connects(old));
	assert_true(connects(visors[1].port));
	conf_listen(&visors[1], "");
	assert_int_equal(visors[1].h->plugin->reload(visors[1].h->ctx), 0);
	assert_false(connects(old));
	assert_true(connects(visors[1].port));
	assert_true(both_linked());
	fake_conf(visors[1].h, "");
	assert_int_equal(visors[1].h->plugin->reload(visors[1].h->ctx), 0);
	assert_false(connects(visors[1].port));
	assert_true(both_linked());
}

static int occupy(uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void an_occupied_port_is_a_sentence_with_its_cure(void **state)
{
	uint16_t old = visors[0].port;
	char want[128];
	int fd = occupy(old);

	(void)state;
	assert_int_equal(start(&visors[0]), -EADDRINUSE);
	snprintf(want, sizeof(want),
		"127.0.0.1:%u: another program listens on port %u. Find it:  ss -ltnp 'sport = :%u'", old, old, old);
	assert_string_equal(visors[0].h->why, want);
	close(fd);
	assert_int_equal(start(&visors[0]), 0);
	/* A reload that cannot have the new port changes nothing. */
	visors[0].port = free_port();
	fd = occupy(visors[0].port);
	conf_listen(&visors[0], "");
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), -EADDRINUSE);
	assert_true(connects(old));
	close(fd);
}

static void an_address_of_another_machine_is_a_sentence(void **state)
{
	char conf[128];

	(void)state;
	snprintf(conf, sizeof(conf), "config carrier '%s'\n\tlist listen '192.0.2.77:7777'\n", carrier->name);
	fake_conf(visors[0].h, conf);
	assert_int_equal(start(&visors[0]), -EADDRNOTAVAIL);
	assert_string_equal(
		visors[0].h->why, "192.0.2.77:7777: this machine does not have that address. See:  ip -br address");
}

static void both_families_may_have_the_same_port(void **state)
{
	char conf[160];
	int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	if (probe < 0)
		skip();
	close(probe);
	snprintf(conf, sizeof(conf), "config carrier '%s'\n\tlist listen '0.0.0.0:%u'\n\tlist listen '[::]:%u'\n",
		carrier->name, visors[0].port, visors[0].port);
	fake_conf(visors[0].h, conf);
	assert_int_equal(start(&visors[0]), 0);
	assert_true(connects(visors[0].port));
}

/* ---- dialling ---- */

static void a_refused_dial_is_a_sentence(void **state)
{
	char want[128];

	(void)state;
	assert_int_equal(start(&visors[0]), 0);
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(failed_once));
	snprintf(want, sizeof(want), "127.0.0.1:%u refuses connections. Is skygated running there?", visors[1].port);
	assert_string_equal(state_of(&visors[0], &visors[1]).why, want);
}

static char log_text[8192];

static void keep_log(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	size_t len = strlen(log_text);

	(void)arg;
	(void)level;
	(void)topic;
	snprintf(log_text + len, sizeof(log_text) - len, "%s\n", line);
}

/* Whoever asks for it finds no address in the log: of listening, of failures, of links up and down. */
static void addresses_are_hidden_on_request(void **state)
{
	(void)state;
	log_text[0] = '\0';
	sg_log_set_sink(keep_log, NULL);
	sg_log_hide_addresses(true);
	assert_int_equal(start(&visors[0]), 0);
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(failed_once));
	assert_int_equal(start(&visors[1]), 0);
	fake_pass(visors[0].h, 5000);
	assert_true(turn_until(both_linked));
	net_free(&visors[1]);
	net_new(&visors[1]);
	assert_true(turn_until(first_lost_it));
	sg_log_hide_addresses(false);
	sg_log_set_sink(NULL, NULL);
	assert_non_null(strstr(log_text, "listening on hidden"));
	assert_non_null(strstr(log_text, "hidden refuses connections"));
	assert_non_null(strstr(log_text, "is up"));
	assert_non_null(strstr(log_text, "is down"));
	assert_null(strstr(log_text, "127.0.0"));
}

static bool asked(void)
{
	return visors[0].tune_fn != NULL;
}

static void a_dial_has_one_deadline_for_all_of_it(void **state)
{
	(void)state;
	fake_conf(visors[0].h, "");
	visors[0].tune = TUNE_HOLD; /* netd does not answer */
	assert_int_equal(start(&visors[0]), 0);
	assert_int_equal(start(&visors[1]), 0);
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(asked));
	fake_pass(visors[0].h, 4900);
	assert_false(failed_once());
	fake_pass(visors[0].h, 200);
	assert_true(failed_once());
	assert_non_null(strstr(state_of(&visors[0], &visors[1]).why, "does not answer"));
	/* The answer that comes too late disturbs nothing. */
	tune_answer(&visors[0], 0);
	fake_pass(visors[0].h, 500);
	assert_true(turn_until(asked));
	tune_answer(&visors[0], 0);
	assert_true(turn_until(both_linked));
}

static void sockets_are_tuned_before_they_are_used(void **state)
{
	(void)state;
	for (int mode = TUNE_NONE; mode <= TUNE_OK; mode++) {
		setup(state);
		visors[0].tune = visors[1].tune = (enum tune)mode;
		link_up();
		assert_true(visors[0].tuned >= 2); /* the listener and the dial */
		assert_int_equal(visors[1].tuned, 1);
		assert_int_equal(fake_counter(visors[1].h, "tcp.untuned"), mode == TUNE_NONE);
		assert_int_equal(fake_counter(visors[1].h, "tcp.accepted"), 1);
		teardown(state);
	}
}

static void nothing_is_accepted_before_the_listener_is_tuned(void **state)
{
	(void)state;
	visors[1].tune = TUNE_HOLD;
	assert_int_equal(start(&visors[0]), 0);
	assert_int_equal(start(&visors[1]), 0);
	dial_peer(&visors[0], &visors[1]);
	for (int i = 0; i < 100; i++) {
		sg_loop_step(visors[0].h->loop, 0);
		sg_loop_step(visors[1].h->loop, 0);
	}
	assert_int_equal(fake_counter(visors[1].h, "tcp.accepted"), 0);
	tune_answer(&visors[1], 0);
	assert_true(turn_until(both_linked));
}

static void a_stop_waits_for_open_questions(void **state)
{
	(void)state;
	visors[0].tune = TUNE_HOLD;
	assert_int_equal(start(&visors[0]), 0);
	stop(&visors[0]);
	assert_false(visors[0].h->stopped);
	assert_false(connects(visors[0].port));
	tune_answer(&visors[0], 0);
	assert_true(visors[0].h->stopped);

	/* And the question of a dial. */
	fake_conf(visors[0].h, "");
	assert_int_equal(start(&visors[0]), 0);
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(asked));
	stop(&visors[0]);
	assert_false(visors[0].h->stopped);
	tune_answer(&visors[0], -EPIPE);
	assert_true(visors[0].h->stopped);
}

static void it_may_stop_and_start_again_and_links_stay(void **state)
{
	(void)state;
	link_up();
	for (int i = 0; i < 3; i++) {
		stop(&visors[1]);
		assert_true(visors[1].h->stopped);
		assert_false(connects(visors[1].port));
		assert_int_equal(start(&visors[1]), 0);
		assert_true(connects(visors[1].port));
	}
	assert_true(both_linked());
}

/* ---- strangers ---- */

static int stranger(const char *says, size_t len)
{
	int fd = call_port(visors[1].port);

	assert_true(fd >= 0);
	if (len)
		assert_int_equal(send(fd, says, len, MSG_NOSIGNAL), (ssize_t)len);
	return fd;
}

static int stranger_fds[4];

static bool strangers_are_cut(void)
{
	char c[64];

	for (int i = 0; i < 4; i++) {
		ssize_t n = recv(stranger_fds[i], c, sizeof(c), MSG_DONTWAIT);

		if (n > 0 || (n < 0 && errno == EAGAIN))
			return false;
	}
	return true;
}

static void garbage_costs_one_connection_each(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", zeros[512], almost[] = "get_noncX";

	(void)state;
	link_up();
	stranger_fds[0] = stranger(get, sizeof(get));
	stranger_fds[1] = stranger(zeros, sizeof(zeros));
	stranger_fds[2] = stranger(almost, sizeof(almost));
	stranger_fds[3] = stranger("\x16\x03\x01", 3);
	assert_true(turn_until(strangers_are_cut));
	for (int i = 0; i < 4; i++)
		close(stranger_fds[i]);
	assert_true(both_linked());
	assert_int_equal(links_counters(visors[1].links)->handshake_failed, 4);
	assert_int_equal(links_counters(visors[1].links)->down, 0);
}

/* ---- by key, through a server ---- */

static bool no_address(void *arg, const struct sg_link_info *info)
{
	(void)arg;
	assert_string_equal(info->address, "");
	assert_string_equal(info->carrier, carrier->name);
	assert_string_equal(info->label, "user");
	return true;
}

static void a_link_by_key_has_no_address(void **state)
{
	(void)state;
	link_up();
	links_each(visors[0].links, no_address, NULL);
	links_each(visors[1].links, no_address, NULL);
}

static void its_network_takes_the_links_along(void **state)
{
	(void)state;
	link_up();
	relay_cut(relay);
	assert_true(turn_until(none_linked));
	assert_true(turn_until(both_can_be_found));
	for (int i = 0; i < 100 && !both_linked(); i++) {
		fake_pass(visors[0].h, 100);
		fake_pass(visors[1].h, 100);
		(void)turn_until(both_linked);
	}
	assert_true(both_linked());
	stop(&visors[1]);
	assert_true(turn_until(none_linked));
	assert_int_equal(start(&visors[1]), 0);
	for (int i = 0; i < 100 && !both_linked(); i++) {
		fake_pass(visors[0].h, 100);
		fake_pass(visors[1].h, 100);
		(void)turn_until(both_linked);
	}
	assert_true(both_linked());
}

static void a_key_that_is_not_there_is_a_sentence(void **state)
{
	struct visor other;

	(void)state;
	assert_int_equal(start(&visors[0]), 0);
	memset(&other, 0, sizeof(other));
	other.pk = visors[1].pk; /* it does not run */
	dial_peer(&visors[0], &other);
	assert_true(turn_until(failed_once));
	assert_memory_equal(state_of(&visors[0], &visors[1]).why, "no stream by dmsg: ", 19);
}

/* ---- strangers on the port of transports ---- */

#define CROWD   (getenv("SG_CROWD") ? atoi(getenv("SG_CROWD")) : 600)
#define AT_ONCE 48 /* more than one key may have in handshake */

struct guest {
	struct sg_stream *st;
	bool dialling;
};

static struct guest guests[AT_ONCE];
static int came, gone;

static void guest_data(void *arg, struct sg_view in)
{
	(void)arg;
	(void)in;
}

static void guest_close(void *arg, int err, const char *why)
{
	(void)err;
	(void)why;
	((struct guest *)arg)->st = NULL;
	gone++;
}

static const struct sg_stream_user guest_user = {
	.size = sizeof(guest_user), .on_data = guest_data, .on_writable = on_writable, .on_close = guest_close};

/* Says nothing, something that is no entry, or the beginning of one. */
static void guest_comes(void *arg, struct sg_stream *st, int err, const char *why)
{
	static const char garbage[] = "\xff\x00 no JSON at all", half[] = "{\"entry\":{\"t_id\":\"";
	const struct iovec say[] = {
		{0}, {(void *)(uintptr_t)garbage, sizeof(garbage)}, {(void *)(uintptr_t)half, sizeof(half) - 1}};
	struct guest *g = arg;

	(void)why;
	g->dialling = false;
	if (err < 0) {
		gone++;
		return;
	}
	g->st = st;
	st->user = &guest_user;
	st->user_arg = g;
	if (came % 3)
		assert_int_equal(st->ops->send(st, &say[came % 3], 1), 0);
}

static void a_crowd_costs_no_link_and_no_memory(void **state)
{
	const struct sg_network_ops *net = sg_plugin_transport_dmsg.provides[0].ops;
	size_t before, peak = 0;

	(void)state;
	link_up();
	before = sg_alloc_live();
	came = gone = 0;
	while (gone < CROWD) {
		for (int i = 0; i < AT_ONCE && came < CROWD; i++) {
			if (guests[i].st || guests[i].dialling)
				continue;
			guests[i].dialling = true;
			came++;
			assert_int_equal(net->dial(visors[0].h->ctx, &visors[1].pk, 45, guest_comes, &guests[i]), 0);
		}
		sg_loop_step(visors[0].h->loop, 0);
		sg_loop_step(visors[1].h->loop, 1);
		visors[0].h->ms += 20;
		visors[1].h->ms += 20;
		peak = SG_MAX(peak, sg_alloc_live());
	}
	print_message("%d strangers, at most %zu KiB more at once\n", gone, (peak - before) / 1024);
	assert_true(peak - before < 4 * 1024 * 1024);
	assert_true(both_linked());
	assert_int_equal(links_counters(visors[1].links)->down, 0);
	assert_true(links_counters(visors[1].links)->handshake_failed > 0);
}

/* ---- by key, at the address that a resolver tells ---- */

static void others_find_where_it_listens(void **state)
{
	(void)state;
	assert_int_equal(start(&visors[0]), 0);
	assert_int_equal(visors[0].bound, visors[0].port);
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), 0);
	assert_int_equal(visors[0].binds, 1);
	visors[0].port = free_port();
	conf_listen(&visors[0], "");
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), 0);
	assert_int_equal(visors[0].bound, visors[0].port);
	fake_conf(visors[0].h, "");
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), 0);
	assert_int_equal(visors[0].bound, 0);
	conf_listen(&visors[0], "");
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), 0);
	stop(&visors[0]);
	assert_int_equal(visors[0].bound, 0);
}

static void each_dial_asks_anew_and_tries_all_addresses(void **state)
{
	unsigned before = resolves;

	(void)state;
	resolve_fails = true;
	assert_int_equal(start(&visors[0]), 0);
	assert_int_equal(start(&visors[1]), 0);
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(failed_once));
	assert_string_equal(
		state_of(&visors[0], &visors[1]).why, "the address resolver does not know where it listens");
	resolve_fails = false;
	resolve_two = true;
	fake_pass(visors[0].h, 1000);
	assert_true(turn_until(both_linked));
	assert_int_equal(resolves - before, 2);
	net_free(&visors[1]);
	net_new(&visors[1]);
	assert_true(turn_until(first_lost_it));
	fake_pass(visors[0].h, 1000);
	assert_true(turn_until(both_linked));
	assert_int_equal(resolves - before, 3);
}

static void a_resolver_that_is_silent_holds_up_nobody(void **state)
{
	(void)state;
	assert_int_equal(start(&visors[0]), 0);
	resolve_silent = true;
	dial_peer(&visors[0], &visors[1]);
	fake_pass(visors[0].h, 11000);
	assert_true(failed_once());
	assert_string_equal(state_of(&visors[0], &visors[1]).why, "the address resolver does not answer");
}

/* Whoever wants a link by key alone gets one that nobody keeps. */
static int wanted_err = 1;

static void on_wanted(void *arg, int err, const char *why)
{
	(void)arg;
	(void)why;
	wanted_err = err;
}

static bool wanted_is_over(void)
{
	return wanted_err != 1;
}

static bool automatic(void *arg, const struct sg_link_info *info)
{
	(void)arg;
	assert_string_equal(info->label, "automatic");
	assert_string_equal(info->peer, "");
	return true;
}

static void a_link_on_demand(void **state)
{
	int given_up = 0;

	(void)state;
	assert_int_equal(start(&visors[0]), 0);
	assert_int_equal(start(&visors[1]), 0);
	assert_true(!carrier->relayed || turn_until(both_can_be_found));
	wanted_err = 1;
	assert_int_equal(links_want(visors[0].links, &visors[1].pk, on_wanted, &given_up), 0);
	links_want_cancel(visors[0].links, &given_up);
	assert_int_equal(links_want(visors[0].links, &visors[1].pk, on_wanted, NULL), 0);
	assert_int_equal(wanted_err, 1); /* never inside the call */
	assert_true(turn_until(wanted_is_over));
	assert_int_equal(wanted_err, 0);
	assert_true(turn_until(both_linked));
	links_each(visors[0].links, automatic, NULL);
	/* One that is there already. */
	wanted_err = 1;
	assert_int_equal(links_want(visors[1].links, &visors[0].pk, on_wanted, NULL), 0);
	assert_true(turn_until(wanted_is_over));
	assert_int_equal(wanted_err, 0);
	/* Nobody keeps it, and a key that is not there fails once. */
	stop(&visors[1]);
	net_free(&visors[1]);
	net_new(&visors[1]);
	assert_true(turn_until(first_lost_it));
	wanted_err = 1;
	assert_int_equal(links_want(visors[0].links, &visors[1].pk, on_wanted, NULL), 0);
	/* The relay says nothing. */
	for (int i = 0; i < 3 && !wanted_is_over(); i++)
		(void)turn_until(wanted_is_over);
	assert_true(wanted_err < 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest any[] = {
		TEST(what_it_brings_carries_bytes_in_order_both_ways),
		TEST(an_end_that_goes_away_is_noticed_and_redialled),
		TEST(an_end_that_stops_while_the_other_talks_ends_in_order),
	};
	const struct CMUnitTest relayed[] = {
		TEST(a_link_by_key_has_no_address),
		TEST(its_network_takes_the_links_along),
		TEST(a_key_that_is_not_there_is_a_sentence),
		TEST(a_crowd_costs_no_link_and_no_memory),
		TEST(a_link_on_demand),
	};
	const struct CMUnitTest resolved[] = {
		TEST(others_find_where_it_listens),
		TEST(each_dial_asks_anew_and_tries_all_addresses),
		TEST(a_resolver_that_is_silent_holds_up_nobody),
		TEST(a_link_on_demand),
	};
	const struct CMUnitTest listening[] = {
		TEST(a_reload_moves_listeners_and_leaves_links_alone),
		TEST(it_may_stop_and_start_again_and_links_stay),
		TEST(garbage_costs_one_connection_each),
	};
	const struct CMUnitTest sockets[] = {
		TEST(both_ends_know_the_others_address),
		TEST(an_occupied_port_is_a_sentence_with_its_cure),
		TEST(an_address_of_another_machine_is_a_sentence),
		TEST(both_families_may_have_the_same_port),
		TEST(a_refused_dial_is_a_sentence),
		TEST(addresses_are_hidden_on_request),
		TEST(a_dial_has_one_deadline_for_all_of_it),
		cmocka_unit_test(sockets_are_tuned_before_they_are_used),
		TEST(nothing_is_accepted_before_the_listener_is_tuned),
		TEST(a_stop_waits_for_open_questions),
	};
	int failed = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(carriers); i++) {
		carrier = &carriers[i];
		failed += cmocka_run_group_tests_name(carrier->name, any, NULL, NULL);
		if (carrier->relayed)
			failed += cmocka_run_group_tests_name(carrier->name, relayed, NULL, NULL);
		else
			failed += cmocka_run_group_tests_name(carrier->name, listening, NULL, NULL);
		if (!carrier->relayed && !carrier->local)
			failed += cmocka_run_group_tests_name(carrier->name, sockets, NULL, NULL);
		if (carrier->by_key && !carrier->relayed)
			failed += cmocka_run_group_tests_name(carrier->name, resolved, NULL, NULL);
	}
	return failed;
}
