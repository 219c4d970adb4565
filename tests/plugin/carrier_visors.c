/* Two visors for the tests of carriers; see carrier.h. */
#include "carrier.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

const struct carrier *carrier;
struct visor visors[2];

struct visor *visor_of(const struct sg_inst *inst)
{
	return &visors[inst->host == visors[1].h];
}

/* ---- the host table's part that every carrier uses ---- */

static void host_accepted(struct sg_inst *inst, const char *name, int fd, const struct sg_addr *from)
{
	assert_string_equal(name, carrier->name);
	assert_true(carrier->nowhere ? !from : from->len > 0);
	links_accepted(visor_of(inst)->links, name, fd, from);
}

static void host_accepted_stream(struct sg_inst *inst, const char *name, struct sg_stream *stream)
{
	assert_string_equal(name, carrier->name);
	links_accepted_stream(visor_of(inst)->links, name, stream);
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

uint16_t free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	return ntohs(a.sin_port);
}

void visor_conf(struct visor *v, const char *more)
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

int visor_start(struct visor *v)
{
	int ret = fake_start(v->h, carrier->plugin);

	v->running = ret == 0;
	return ret;
}

void visor_stop(struct visor *v)
{
	v->running = false;
	links_carrier_stop(v->links, carrier->name);
	fake_stop(v->h);
}

void visor_net_new(struct visor *v)
{
	v->links = links_new(&(struct sg_links_conf){
		.loop = v->h->loop, .crypto = v->crypto, .sk = v->sk, .pk = v->pk, .host = &links_host, .host_arg = v});
	v->route = route_new(v->links);
}

void visor_net_free(struct visor *v)
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
	v->h->table.identity = host_identity;
	if (carrier->host)
		carrier->host(&v->h->table);
	v->crypto = sg_crypto_new(sg_random_system());
	sg_sk_generate(v->crypto, &v->sk);
	assert_int_equal(sg_pk_of(v->crypto, &v->sk, &v->pk), 0);
	v->id = (struct sg_identity){sizeof(v->id), v->crypto, &v->pk, &v->sk};
	visor_net_new(v);
	v->port = free_port();
	v->in_order = true;
	visor_conf(v, "");
}

static void visor_free(struct visor *v)
{
	visor_net_free(v);
	fake_host_free(v->h);
	sg_crypto_free(v->crypto);
}

int visors_setup(void **state)
{
	(void)state;
	visor_new(&visors[0]);
	visor_new(&visors[1]);
	if (carrier->around)
		carrier->around(true);
	return 0;
}

int visors_teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		if (visors[i].running)
			visor_stop(&visors[i]);
	}
	if (carrier->around)
		carrier->around(false);
	visor_free(&visors[0]);
	visor_free(&visors[1]);
	return 0;
}

/* Real sockets need real time; the deadline is for a test that would fail. */
bool turn_until(bool (*is)(void))
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

void dial_peer(struct visor *v, const struct visor *to)
{
	char url[64];
	const char *urls[] = {url};
	const struct sg_peer_conf conf = {.name = "other", .pk = to->pk, .addresses = urls, .n_addresses = 1};

	snprintf(url, sizeof(url), carrier->by_key ? "%s" : "%s://127.0.0.1:%u", carrier->name, to->port);
	assert_int_equal(links_peers_set(v->links, &conf, 1), 0);
}

struct sg_peer_state state_of(const struct visor *v, const struct visor *other)
{
	struct sg_peer_state st = {0};

	(void)links_peer_state(v->links, &other->pk, &st);
	return st;
}

bool both_linked(void)
{
	return state_of(&visors[0], &visors[1]).linked && state_of(&visors[1], &visors[0]).linked;
}

bool none_linked(void)
{
	return !state_of(&visors[0], &visors[1]).linked && !state_of(&visors[1], &visors[0]).linked;
}

bool failed_once(void)
{
	return state_of(&visors[0], &visors[1]).attempts > 0;
}

bool first_lost_it(void)
{
	return !state_of(&visors[0], &visors[1]).linked;
}

bool all_found(void)
{
	return !carrier->is_found || (carrier->is_found(&visors[0]) && carrier->is_found(&visors[1]));
}

void link_up(void)
{
	for (int i = 0; i < 2; i++) {
		if (!visors[i].running)
			assert_int_equal(visor_start(&visors[i]), 0);
	}
	assert_true(turn_until(all_found));
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(both_linked));
}

/* ---- streams ---- */

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 11 + (at >> 9));
}

static void on_data(void *arg, struct sg_view in)
{
	struct visor *v = arg;

	assert_false(v->deaf);
	for (size_t i = 0; i < in.len; i++)
		v->in_order = v->in_order && in.p[i] == pattern(v->got + i);
	v->got += in.len;
	if (v->echo)
		assert_int_equal(v->st->ops->send(v->st, &(struct iovec){(void *)(uintptr_t)in.p, in.len}, 1), 0);
}

static void on_writable(void *arg)
{
	((struct visor *)arg)->writable++;
}

static void on_close(void *arg, int err, const char *why)
{
	struct visor *v = arg;

	(void)err;
	(void)why;
	assert_false(v->ended);
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

bool both_have_streams(void)
{
	return visors[0].st && visors[1].st;
}

void streams_up(struct visor *from)
{
	struct visor *to = &visors[from == visors];
	int err = route_listen(to->route, 44, &listener, to);

	assert_true(err == 0 || err == -EADDRINUSE);
	for (int i = 0; i < 2; i++) {
		struct visor *v = &visors[i];

		assert_null(v->st);
		v->sent = v->got = v->writable = 0;
		v->ended = v->deaf = false;
	}
	assert_int_equal(route_dial(from->route, &to->pk, 44, on_dialed, from), 0);
	assert_true(turn_until(both_have_streams));
}

bool send_up_to(struct visor *v, uint64_t total)
{
	static uint8_t buf[50000];

	while (v->sent < total) {
		size_t n = SG_MIN(sizeof(buf), (size_t)(total - v->sent));
		int err;

		for (size_t k = 0; k < n; k++)
			buf[k] = pattern(v->sent + k);
		err = v->st->ops->send(v->st, &(struct iovec){buf, n}, 1);
		if (err < 0) {
			assert_int_equal(err, -EAGAIN);
			return false;
		}
		v->sent += n;
	}
	return true;
}

void end_stream(struct visor *v)
{
	v->st->ops->close(v->st);
	v->st = NULL;
}
