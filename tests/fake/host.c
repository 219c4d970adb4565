/* The host table of tests/fake/host.h. */
#include "host.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/limits.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct sg_mono now(struct sg_clock *c)
{
	return (struct sg_mono){((struct fake_host *)c)->ms * SG_NS_PER_MS};
}

static struct sg_loop *host_loop(struct sg_inst *i)
{
	return i->host->loop;
}

static const struct sg_uci *host_conf(struct sg_inst *i)
{
	return i->host->conf;
}

static const struct sg_pk *host_own_pk(struct sg_inst *i)
{
	return &i->host->own;
}

static int host_listen(struct sg_inst *i, uint16_t port, const struct sg_listener_ops *ops, void *arg)
{
	if (i->host->listen_err)
		return i->host->listen_err;
	i->host->listener = ops;
	i->host->listener_arg = arg;
	i->host->listen_port = port;
	return 0;
}

static int host_dial(
	struct sg_inst *i, const struct sg_pk *pk, uint16_t port, unsigned min_hops, sg_dialed_fn *fn, void *arg)
{
	struct fake_host *h = i->host;

	assert_int_equal(port, 44);
	assert_null(h->dialed);
	h->dials++;
	h->dial_pk = *pk;
	h->dial_min_hops = min_hops;
	if (h->dial_err)
		return h->dial_err;
	h->dialed = fn;
	h->dial_arg = arg;
	return 0;
}

static void host_dial_cancel(struct sg_inst *i, void *arg)
{
	i->host->dial_cancels++;
	if (i->host->dial_arg == arg)
		i->host->dialed = NULL;
}

static struct fake_peer *peer_by_name(struct fake_host *h, const char *name)
{
	for (size_t i = 0; i < FAKE_PEERS; i++) {
		if (strcmp(h->peers[i].name, name) == 0)
			return &h->peers[i];
	}
	return NULL;
}

static struct fake_peer *peer_by_key(struct fake_host *h, const struct sg_pk *pk)
{
	for (size_t i = 0; i < FAKE_PEERS; i++) {
		if (memcmp(&h->peers[i].pk, pk, sizeof(*pk)) == 0)
			return &h->peers[i];
	}
	return NULL;
}

static int host_peer_find(struct sg_inst *i, const char *name, struct sg_pk *out)
{
	struct fake_peer *p = peer_by_name(i->host, name);

	if (!p)
		return -ENOENT;
	*out = p->pk;
	return 0;
}

static int host_peer_state(struct sg_inst *i, const struct sg_pk *pk, struct sg_peer_state *out, size_t size)
{
	struct fake_peer *p = peer_by_key(i->host, pk);

	assert_int_equal(size, sizeof(*out));
	memset(out, 0, size);
	if (!p)
		return -ENOENT;
	out->pk = *pk;
	out->linked = p->linked;
	out->next_try_ms = -1;
	snprintf(out->carrier, sizeof(out->carrier), "stcp");
	snprintf(out->why, sizeof(out->why), "%s", p->linked ? "" : "192.0.2.10:7777 refuses connections");
	return 0;
}

void fake_tun_answer(struct fake_host *h, int err, const char *why)
{
	sg_tun_fn *fn = h->tun_fn;
	int fd[2];

	assert_non_null(fn);
	h->tun_fn = NULL;
	if (err == 0) {
		if (h->tun_kernel[h->tun_role] >= 0)
			close(h->tun_kernel[h->tun_role]);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
		h->tun_kernel[h->tun_role] = fd[0];
		h->tun.fd = fd[1];
	}
	fn(h->tun_arg, err, err ? NULL : &h->tun, why);
}

static int host_tun_open(struct sg_inst *i, enum sg_tun_role role, sg_tun_fn *fn, void *arg)
{
	struct fake_host *h = i->host;

	h->tun_opens++;
	if (h->tun_err)
		return h->tun_err;
	assert_null(h->tun_fn);
	h->tun_fn = fn;
	h->tun_arg = arg;
	h->tun_role = role;
	if (!h->tun_hold)
		fake_tun_answer(h, 0, "");
	return 0;
}

void fake_lease_answer(struct fake_host *h, int err)
{
	sg_done_fn *fn = h->lease_fn;

	assert_non_null(fn);
	h->lease_fn = NULL;
	fn(h->lease_arg, err);
}

static int host_lease_set(struct sg_inst *i, uint32_t address, uint32_t gateway, sg_done_fn *fn, void *arg)
{
	struct fake_host *h = i->host;

	assert_null(h->lease_fn);
	h->lease_sets++;
	h->lease = address;
	h->gateway = gateway;
	h->lease_fn = fn;
	h->lease_arg = arg;
	if (!h->lease_hold)
		fake_lease_answer(h, h->lease_err);
	return 0;
}

static int host_path_set(struct sg_inst *i, bool up)
{
	assert_true(i->host->path_up != up);
	i->host->path_up = up;
	i->host->blocking = !up;
	i->host->path_changes++;
	return 0;
}

static void host_seen_at(struct sg_inst *i, const struct sg_addr *addr)
{
	(void)i;
	(void)addr;
}

static int host_offer(struct sg_inst *i, const char *type, uint16_t port)
{
	assert_string_equal(type, "vpn");
	i->host->offered = port;
	return 0;
}

static int host_want_set(struct sg_inst *i, enum sg_want want)
{
	i->host->want = want;
	i->host->blocking = want == SG_WANT_VPN;
	return 0;
}

static int host_store_get(struct sg_inst *i, struct sg_view key, sg_store_fn *fn, void *arg)
{
	return store_get(&i->host->keys, key, fn, arg);
}

static int host_store_scan(
	struct sg_inst *i, struct sg_view prefix, struct sg_view from, size_t limit, sg_store_fn *fn, void *arg)
{
	return store_scan(&i->host->keys, prefix, from, limit, fn, arg);
}

static int host_store_write(
	struct sg_inst *i, const struct sg_store_change *changes, size_t n, unsigned flags, sg_done_fn *done, void *arg)
{
	return store_write(&i->host->keys, changes, n, flags, done, arg);
}

static void host_store_cancel(struct sg_inst *i, void *arg)
{
	store_cancel(&i->host->keys, false, arg);
}

static void host_stopped(struct sg_inst *i)
{
	assert_false(i->host->stopped);
	i->host->stopped = true;
}

struct fake_host *fake_host_new(const char *conf)
{
	struct fake_host *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	h->clock.now = now;
	h->ms = 1000000;
	h->loop = sg_loop_new(&h->clock);
	assert_non_null(h->loop);
	h->inst.host = h;
	h->store = store_new(h->loop, store_wall_s);
	assert_non_null(h->store);
	h->keys = (struct store_space){h->store, h, "plugin"};
	h->tun_kernel[0] = h->tun_kernel[1] = -1;
	h->tun.mtu = 1500;
	snprintf(h->tun.name, sizeof(h->tun.name), "sky0");
	memset(h->own.b, 0x33, sizeof(h->own.b));
	h->own.b[0] = 3;
	for (size_t i = 0; i < FAKE_PEERS; i++) {
		h->peers[i].name[0] = (char)('a' + i);
		h->peers[i].linked = true;
		memset(h->peers[i].pk.b, (int)i + 1, SG_PK_LEN);
		h->peers[i].pk.b[0] = 2;
	}
	h->table = (struct sg_host){.size = sizeof(h->table),
		.loop = host_loop,
		.conf = host_conf,
		.own_pk = host_own_pk,
		.listen = host_listen,
		.dial = host_dial,
		.dial_cancel = host_dial_cancel,
		.peer_find = host_peer_find,
		.peer_state = host_peer_state,
		.tun_open = host_tun_open,
		.lease_set = host_lease_set,
		.path_set = host_path_set,
		.want_set = host_want_set,
		.offer = host_offer,
		.seen_at = host_seen_at,
		.store_get = host_store_get,
		.store_scan = host_store_scan,
		.store_write = host_store_write,
		.store_cancel = host_store_cancel,
		.stopped = host_stopped};
	fake_conf(h, conf);
	return h;
}

static void report(void *arg, unsigned line, const char *message)
{
	(void)arg;
	print_error("line %u: %s\n", line, message);
}

void fake_conf(struct fake_host *h, const char *text)
{
	sg_uci_free(h->conf);
	assert_int_equal(sg_uci_parse(text, strlen(text), "test.conf", report, NULL, &h->conf), 0);
}

void fake_host_free(struct fake_host *h)
{
	char byte;

	fake_turn(h);
	for (int role = 0; role < 2; role++) {
		if (h->tun_kernel[role] < 0)
			continue;
		/* End of file, after what was written: the plugin has closed its end. */
		while (recv(h->tun_kernel[role], &byte, 1, 0) > 0)
			;
		assert_int_equal(recv(h->tun_kernel[role], &byte, 1, 0), 0);
		close(h->tun_kernel[role]);
	}
	store_free(h->store);
	sg_loop_free(h->loop);
	sg_uci_free(h->conf);
	free(h);
}

int fake_start(struct fake_host *h, const struct sg_plugin *plugin)
{
	h->plugin = plugin;
	h->stopped = false;
	return plugin->start(&h->table, &h->inst, &h->ctx, h->why, sizeof(h->why));
}

void fake_stop(struct fake_host *h)
{
	h->plugin->stop(h->ctx);
	fake_turn(h);
}

struct json_t *fake_call(struct fake_host *h, const char *method, const char *params)
{
	json_t *in = json_loads(params, 0, NULL), *result = NULL;

	if (!in) { /* the memory of the host was out, then; the plugin is not asked */
		snprintf(h->why, sizeof(h->why), "out of memory");
		return NULL;
	}
	for (const struct sg_method *m = h->plugin->methods; m->name; m++) {
		if (strcmp(m->name, method) == 0 && m->call(h->ctx, in, &result, h->why, sizeof(h->why)) < 0)
			assert_null(result);
	}
	json_decref(in);
	return result;
}

uint64_t fake_counter(const struct fake_host *h, const char *name)
{
	uint64_t value;

	for (const struct sg_counter *c = h->plugin->counters; c->name; c++) {
		if (strcmp(c->name, name) == 0) {
			memcpy(&value, (const char *)h->ctx + c->offset, sizeof(value));
			return value;
		}
	}
	fail_msg("no counter %s", name);
	return 0;
}

void fake_turn(struct fake_host *h)
{
	for (int i = 0; i < 4; i++)
		sg_loop_step(h->loop, 0);
}

void fake_pass(struct fake_host *h, int64_t ms)
{
	while (ms > 0) {
		int64_t step = SG_MIN(ms, 50);

		h->ms += step;
		ms -= step;
		fake_turn(h);
	}
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

static int stream_send(struct sg_stream *s, const struct iovec *iov, int n)
{
	struct fake_stream *f = (struct fake_stream *)s;
	size_t len = 0;

	assert_false(f->closed);
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	assert_true(len > 0);
	if (f->longest && len > f->longest)
		return SG_ELONG;
	if (f->tx_len >= f->room)
		return -EAGAIN;
	if (f->tx_len + len > f->tx_cap) {
		f->tx_cap = 2 * (f->tx_len + len);
		f->tx = realloc(f->tx, f->tx_cap);
		assert_non_null(f->tx);
	}
	for (int i = 0; i < n; i++) {
		memcpy(f->tx + f->tx_len, iov[i].iov_base, iov[i].iov_len);
		f->tx_len += iov[i].iov_len;
	}
	f->sends++;
	return 0;
}

static void stream_want(struct sg_stream *s, bool read)
{
	((struct fake_stream *)s)->unheard = !read;
}

static void stream_close(struct sg_stream *s)
{
	struct fake_stream *f = (struct fake_stream *)s;

	assert_false(f->closed);
	f->closed = true;
}

static void stream_info(struct sg_stream *s, struct sg_stream_info *out, size_t size)
{
	sg_fill(out, size, &((struct fake_stream *)s)->info, sizeof(*out));
}

static int64_t stream_allow(struct sg_stream *s, size_t more)
{
	struct fake_stream *f = (struct fake_stream *)s;

	f->rationed = more != SG_STREAM_ALLOW_ALL;
	f->may += f->rationed ? (int64_t)more : 0;
	return f->rationed ? f->may : INT64_MAX;
}

static const struct sg_stream_ops stream_ops = {.size = sizeof(stream_ops),
	.send = stream_send,
	.want = stream_want,
	.close = stream_close,
	.info = stream_info,
	.allow = stream_allow};

static const struct sg_stream_ops stream_ops_1_0 = {.size = offsetof(struct sg_stream_ops, allow),
	.send = stream_send,
	.want = stream_want,
	.close = stream_close,
	.info = stream_info};

void fake_stream_of_1_0(struct fake_stream *s)
{
	s->s.ops = &stream_ops_1_0;
}

struct fake_stream *fake_stream_new(struct fake_host *h, const struct sg_pk *remote, bool records)
{
	struct fake_stream *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->s.ops = &stream_ops;
	f->host = h;
	f->room = SIZE_MAX;
	f->may = SG_VSTREAM_CREDIT_FIRST;
	f->info = (struct sg_stream_info){
		.remote = *remote, .port = 44, .network = "direct", .carrier = "stcp", .records = records};
	return f;
}

void fake_stream_free(struct fake_stream *s)
{
	free(s->tx);
	free(s);
}

int fake_incoming(struct fake_host *h, struct fake_stream *s)
{
	int err = h->listener->on_stream(h->listener_arg, &s->s);

	assert_true(err < 0 || s->s.user);
	return err;
}

void fake_dialed(struct fake_host *h, struct fake_stream *s, int err, const char *why)
{
	sg_dialed_fn *fn = h->dialed;

	assert_non_null(fn);
	h->dialed = NULL;
	fn(h->dial_arg, s ? &s->s : NULL, err, why);
	assert_true(!s || s->s.user);
}

void fake_deliver(struct fake_stream *s, const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	assert_false(s->closed);
	memcpy(copy, bytes, len);
	s->may -= (int64_t)len;
	s->s.user->on_data(s->s.user_arg, (struct sg_view){copy, len});
	free(copy);
	if (!s->closed && s->s.user->on_batch_end)
		s->s.user->on_batch_end(s->s.user_arg);
}

void fake_tun_send(struct fake_host *h, enum sg_tun_role role, const uint8_t vnet[10], const uint8_t *p, size_t len)
{
	uint8_t b[10 + 65536] = {0};

	assert_true(len <= sizeof(b) - 10);
	if (vnet)
		memcpy(b, vnet, 10);
	memcpy(b + 10, p, len);
	assert_int_equal(send(h->tun_kernel[role], b, 10 + len, 0), (ssize_t)(10 + len));
}

size_t fake_tun_recv(struct fake_host *h, enum sg_tun_role role, uint8_t *p, size_t cap)
{
	uint8_t b[70000];
	ssize_t n = recv(h->tun_kernel[role], b, sizeof(b), 0);

	if (n < 10)
		return 0;
	assert_true((size_t)n - 10 <= cap);
	memcpy(p, b + 10, (size_t)n - 10);
	return (size_t)n - 10;
}

size_t fake_udp(uint8_t *p, uint32_t src, uint32_t dst, size_t len)
{
	memset(p, 0, len);
	p[0] = 0x45;
	sg_put_u16(p + 2, (uint16_t)len);
	p[8] = 64;
	p[9] = 17;
	sg_put_u32(p + 12, src);
	sg_put_u32(p + 16, dst);
	return len;
}
