/*
 * The control socket: JSON-RPC, one object per line, one request of a client at a time. What a client may do follows
 * from who it is (SO_PEERCRED): uid 0 is admin; our own user and members of our own group are viewers; others are told
 * so and closed. A client that does not read is not written to: answers wait in a bounded queue, log lines are
 * skipped and counted. One that may only look and asks without a pause is read more slowly.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "core/core.h"
#include "wire/jsonrpc.h"
#include "wire/methods.h"

#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

SG_LOG_TOPIC("control");

#define TX_HIGH    SG_CONTROL_LINE_MAX       /* bytes waiting for one client; above it no more requests are read */
#define TX_MAX     (3 * SG_CONTROL_LINE_MAX) /* it is closed above */
#define TX_FOLLOW  (SG_CONTROL_LINE_MAX / 2) /* log lines are added below this only */
#define GROUPS_MAX 256

struct control {
	struct core *core;
	int fd;
	struct sg_watch *watch;
	struct sg_list clients;
	struct sg_list calls; /* under way */
	struct sg_log_limit rl_refused;
	unsigned credit; /* requests at once, of all viewers: each new connection would bring its own */
	struct sg_mono credit_at;
	bool made; /* the socket's file is ours to remove */
	struct sockaddr_un sun;
};

struct client {
	struct sg_list node;
	struct control *control;
	int fd;
	struct sg_watch *watch;
	enum sg_role role;
	struct call *call; /* under way; nothing more is read */
	bool ended;        /* closed once its queue is empty */
	bool serving;      /* its lines are being worked on, further up the stack */
	bool follows;
	struct sg_timer rest; /* of a viewer, the credit being used up: nothing is read meanwhile */
	uint64_t log_seq;
	size_t rx_len;
	char *tx;
	size_t tx_len, tx_cap;
	char rx[SG_CONTROL_LINE_MAX + 1];
};

struct call {
	struct sg_list node;
	struct control *control;
	struct client *client; /* NULL: gone */
	json_t *id;            /* NULL: a notification */
	const struct sg_method_row *row;
	uint64_t note;
	struct sg_pk pk;
};

static void client_free(struct client *c)
{
	if (c->call)
		c->call->client = NULL;
	sg_list_remove(&c->node);
	sg_timer_stop(&c->rest);
	sg_watch_free(c->watch);
	close(c->fd);
	sg_free(c->tx);
	sg_free(c);
}

static bool takes_requests(const struct client *c)
{
	return !c->call && !c->ended && c->tx_len < TX_HIGH && !sg_timer_active(&c->rest);
}

static void client_events(struct client *c)
{
	sg_watch_set(c->watch, (takes_requests(c) ? SG_READABLE : 0) | (c->tx_len ? SG_WRITABLE : 0));
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

/* Takes @line (NULL: memory is out). False: the client cannot be served any more. */
static bool queue_line(struct client *c, char *line)
{
	size_t len = line ? strlen(line) : 0, cap;
	char *tx;

	if (!line || c->tx_len + len > TX_MAX) {
		sg_free(line);
		return false;
	}
	if (c->tx_len + len > c->tx_cap) {
		cap = SG_MAX(c->tx_len + len, (size_t)4096);
		tx = sg_realloc(c->tx, cap);
		if (!tx) {
			sg_free(line);
			return false;
		}
		c->tx = tx;
		c->tx_cap = cap;
	}
	memcpy(c->tx + c->tx_len, line, len);
	c->tx_len += len;
	sg_free(line);
	return true;
}

static bool queue_logs(struct client *c)
{
	bool ok = true;

	while (c->follows && ok && c->tx_len < TX_FOLLOW) {
		uint64_t lost;
		json_t *line = logs_next(c->control->core->logs, &c->log_seq, &lost);

		if (lost) {
			json_t *params = json_pack("{s:I}", "lines", (json_int_t)lost);

			ok = queue_line(c, sg_rpc_notify("log.dropped", params));
			json_decref(params);
		}
		if (!line)
			break;
		ok = ok && queue_line(c, sg_rpc_notify("log.line", line));
		json_decref(line);
	}
	return ok;
}

/* Writes what the socket takes; false: the client is gone. */
static bool flush(struct client *c)
{
	while (c->tx_len) {
		ssize_t n = send(c->fd, c->tx, c->tx_len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return false;
		memmove(c->tx, c->tx + n, c->tx_len - (size_t)n);
		c->tx_len -= (size_t)n;
		if (c->tx_len == 0 && !queue_logs(c))
			return false;
	}
	if (c->tx_len == 0) {
		sg_free(c->tx);
		c->tx = NULL;
		c->tx_cap = 0;
	}
	return c->tx_len || !c->ended;
}

static void push(struct client *c)
{
	if (flush(c))
		client_events(c);
	else
		client_free(c);
}

static void push_line(struct client *c, char *line)
{
	if (queue_line(c, line))
		push(c);
	else
		client_free(c);
}

void control_logs_wake(void *arg)
{
	struct core *core = arg;

	if (!core->control)
		return;
	sg_list_for_safe (it, &core->control->clients) {
		struct client *c = sg_container_of(it, struct client, node);

		if (!c->follows || c->call)
			continue;
		if (queue_logs(c))
			push(c);
		else
			client_free(c);
	}
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

static void serve(struct client *c);

static struct client *alive(struct control *control, const struct client *wanted)
{
	sg_list_for (it, &control->clients) {
		struct client *c = sg_container_of(it, struct client, node);

		if (c == wanted)
			return c;
	}
	return NULL;
}

/* Takes @line; NULL: memory is out, or a notification, which has no answer. */
static void call_end(struct call *call, char *line)
{
	struct control *control = call->control;
	struct client *c = call->client;
	bool answer = call->id != NULL;

	sg_list_remove(&call->node);
	json_decref(call->id);
	sg_free(call);
	if (!c) {
		sg_free(line);
		return;
	}
	c->call = NULL;
	if (answer)
		push_line(c, line);
	else
		sg_free(line);
	/* Lines that came meanwhile. */
	c = alive(control, c);
	if (c && !c->serving)
		serve(c);
}

static char *too_long(const struct call *call)
{
	return sg_rpc_error(call->id, SG_RPC_INTERNAL, "the answer is longer than a line may be");
}

void call_done(struct call *call, json_t *result)
{
	char *line = NULL;

	if (call->id && result)
		line = sg_rpc_result(call->id, result);
	json_decref(result);
	if (line && strlen(line) > SG_CONTROL_LINE_MAX) {
		sg_free(line);
		line = too_long(call);
	}
	call_end(call, line);
}

struct sg_json_out call_answer(const struct call *call)
{
	return sg_rpc_answer(call->id, SG_CONTROL_LINE_MAX);
}

void call_answered(struct call *call, struct sg_json_out *out)
{
	char *line = sg_rpc_answered(out);

	if (out->err == SG_ELONG)
		line = too_long(call);
	call_end(call, line);
}

void call_fail(struct call *call, int code, const char *fmt, ...)
{
	char text[4096];
	struct sg_text t = sg_text(text, sizeof(text));
	json_t *clean;
	va_list ap;

	va_start(ap, fmt);
	sg_text_vaddf(&t, fmt, ap);
	va_end(ap);
	clean = core_text(text);
	call_end(call, clean && call->id ? sg_rpc_error(call->id, code, json_string_value(clean)) : NULL);
	json_decref(clean);
}

void call_follow_logs(struct call *call, uint64_t seq)
{
	if (call->client) {
		call->client->follows = true;
		call->client->log_seq = seq;
	}
}

struct core *call_core(const struct call *call)
{
	return call->control->core;
}

uint64_t *call_note(struct call *call)
{
	return &call->note;
}

struct sg_pk *call_pk(struct call *call)
{
	return &call->pk;
}

const char *call_method(const struct call *call)
{
	return call->row->name;
}

static method_fn *find_method(const struct sg_method_row *row)
{
	if (row->plugin)
		return method_plugin_call;
	for (const struct method *m = core_methods; m->name; m++) {
		if (strcmp(m->name, row->name) == 0)
			return m->fn;
	}
	return NULL;
}

static void dispatch(struct client *c, struct call *call, const struct sg_rpc_request *r)
{
	struct core *core = c->control->core;
	char why[256];
	json_t *params;
	method_fn *fn;

	call->row = sg_method_find(r->method);
	fn = call->row ? find_method(call->row) : NULL;
	if (!fn) {
		call_fail(call, SG_RPC_NO_METHOD, "there is no method '%.40s'", r->method);
		return;
	}
	if (c->role < call->row->role) {
		call_fail(call, SG_RPC_FORBIDDEN,
			"%s is for the administrator; you may only look\n  run it as root (sudo)", call->row->name);
		return;
	}
	params = r->params ? json_incref(r->params) : json_object();
	if (!params)
		call_end(call, NULL);
	else if (sg_rpc_check(call->row, params, why, sizeof(why)) != 0)
		call_fail(call, SG_RPC_PARAMS, "%s", why);
	else
		fn(core, call, params);
	json_decref(params);
}

/* One line. The client may be gone afterwards. */
static void on_line(struct client *c, struct sg_view line)
{
	struct sg_rpc_request r;
	struct call *call;
	char why[160];
	int code = 0;

	if (sg_rpc_parse(line, &r, &code, why, sizeof(why)) != 0) {
		char *answer = sg_rpc_error(r.id, code, why);

		sg_rpc_request_fini(&r);
		push_line(c, answer);
		return;
	}
	call = sg_calloc(1, sizeof(*call));
	if (!call) {
		sg_rpc_request_fini(&r);
		client_free(c);
		return;
	}
	call->control = c->control;
	call->client = c;
	call->id = json_incref(r.id);
	c->call = call;
	sg_list_add_tail(&c->control->calls, &call->node);
	dispatch(c, call, &r);
	sg_rpc_request_fini(&r);
}

/* ---- input ------------------------------------------------------------------------------------------------------- */

/*
 * Looking costs the loop time that the LAN's packets wait for; the owner is not made to wait. Without credit each viewer is
 * read once in a while: one that asks without a pause keeps no other from asking.
 */
static void spend(struct client *c, unsigned requests)
{
	struct control *control = c->control;
	struct sg_mono now = sg_loop_now(control->core->loop);
	int64_t grown = sg_mono_ms_since(now, control->credit_at) * SG_CONTROL_LOOKS_S / 1000;

	if (c->role != SG_ROLE_VIEWER)
		return;
	if (grown > 0) {
		control->credit = (unsigned)SG_MIN(control->credit + grown, (int64_t)SG_CONTROL_LOOKS);
		control->credit_at = now;
	}
	control->credit -= SG_MIN(control->credit, requests);
	/* Without memory for the timer it goes on unbounded. */
	if (control->credit == 0)
		(void)sg_timer_start(&c->rest, 1000 / SG_CONTROL_LOOKS_S);
}

/* Whole lines of what was read, as long as no call is under way. */
static void serve(struct client *c)
{
	struct control *control = c->control;

	while (c && takes_requests(c)) {
		char *nl = memchr(c->rx, '\n', c->rx_len);
		size_t len;
		char *line;

		if (!nl && c->rx_len > SG_CONTROL_LINE_MAX) {
			c->ended = true;
			push_line(c, sg_rpc_error(NULL, SG_RPC_INVALID, "the request is longer than 65536 bytes"));
			return;
		}
		if (!nl)
			break;
		len = (size_t)(nl - c->rx);
		line = sg_malloc(len);
		if (!line) {
			client_free(c);
			return;
		}
		memcpy(line, c->rx, len);
		c->rx_len -= len + 1;
		memmove(c->rx, nl + 1, c->rx_len);
		c->serving = true;
		spend(c, 1);
		if (len)
			on_line(c, (struct sg_view){(const uint8_t *)line, len});
		sg_free(line);
		c = alive(control, c);
		if (c)
			c->serving = false;
	}
	if (c)
		client_events(c);
}

static void on_rested(void *arg)
{
	serve(arg);
}

static void on_client(void *arg, int fd, unsigned events)
{
	struct client *c = arg;
	struct control *control = c->control;
	ssize_t n;

	if (events & SG_WRITABLE) {
		push(c);
		c = alive(control, c);
		/* Requests that waited until the answers before them were taken. */
		if (c)
			serve(c);
		c = alive(control, c);
	}
	if (!c || !(events & SG_READABLE) || !takes_requests(c))
		return;
	n = recv(fd, c->rx + c->rx_len, sizeof(c->rx) - c->rx_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_free(c);
		return;
	}
	c->rx_len += (size_t)n;
	serve(c);
}

/* ---- who comes --------------------------------------------------------------------------------------------------- */

static bool in_our_group(int fd, const struct ucred *cred)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (cred->gid == getegid())
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++) {
		if (groups[i] == getegid())
			return true;
	}
	return false;
}

/* 0: nobody whom we know. */
static int role_of(int fd, struct ucred *cred)
{
	socklen_t len = sizeof(*cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, cred, &len) < 0)
		return 0;
	if (cred->uid == 0)
		return SG_ROLE_ADMIN;
	return cred->uid == geteuid() || in_our_group(fd, cred) ? SG_ROLE_VIEWER : 0;
}

static void refuse(int fd, const char *why)
{
	char *line = sg_rpc_error(NULL, SG_RPC_FORBIDDEN, why);

	if (line && send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("a refused caller was gone already");
	sg_free(line);
	close(fd);
}

/* By role, for those who may only look must not keep the owner from stopping the VPN. */
static size_t clients_of(const struct control *control, enum sg_role role)
{
	size_t n = 0;

	sg_list_for (it, &control->clients)
		n += sg_container_of(it, struct client, node)->role == role;
	return n;
}

static void on_accept(void *arg, int listen_fd, unsigned events)
{
	struct control *control = arg;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred = {0};
	struct client *c;
	int role;

	(void)events;
	if (fd < 0)
		return;
	role = role_of(fd, &cred);
	if (!role) {
		log_warn_rl(
			&control->rl_refused, "user %u is neither root nor in our group: refused", (unsigned)cred.uid);
		refuse(fd, "you are neither root nor in the group of skygated");
		return;
	}
	if (clients_of(control, (enum sg_role)role) >= SG_CONTROL_CLIENTS) {
		refuse(fd, "too many clients are connected");
		return;
	}
	c = sg_calloc(1, sizeof(*c));
	if (!c || sg_watch_new(control->core->loop, fd, on_client, c, &c->watch) < 0) {
		sg_free(c);
		close(fd);
		return;
	}
	c->control = control;
	c->fd = fd;
	c->role = (enum sg_role)role;
	sg_watch_control(c->watch);
	sg_timer_init(&c->rest, control->core->loop, on_rested, c);
	sg_list_add_tail(&control->clients, &c->node);
	spend(c, 0);
	client_events(c);
}

/* ---- the socket -------------------------------------------------------------------------------------------------- */

/* core.c holds the lock of the directory: what lies there is left over. */
static int open_socket(struct control *control, char *why, size_t cap)
{
	const char *path = control->sun.sun_path;
	int err;

	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0) {
		err = -errno;
		snprintf(why, cap, "%s: no socket: %s", path, strerror(errno));
		return err;
	}
	unlink(path);
	if (bind(control->fd, (const struct sockaddr *)&control->sun, sizeof(control->sun)) < 0 ||
		chmod(path, 0660) < 0 || listen(control->fd, 16) < 0) {
		err = -errno;
		snprintf(why, cap, "%s: cannot listen there: %s\n  user %u must be able to write into the directory",
			path, strerror(errno), (unsigned)geteuid());
		return err;
	}
	control->made = true;
	return 0;
}

int control_new(struct core *core, struct control **out, char *why, size_t cap)
{
	struct control *control = sg_calloc(1, sizeof(*control));
	int err;

	*out = NULL;
	if (!control) {
		snprintf(why, cap, "memory is out");
		return -ENOMEM;
	}
	control->core = core;
	control->credit = SG_CONTROL_LOOKS;
	control->credit_at = sg_loop_now(core->loop);
	control->fd = -1;
	sg_list_init(&control->clients);
	sg_list_init(&control->calls);
	control->sun.sun_family = AF_UNIX;
	if (snprintf(control->sun.sun_path, sizeof(control->sun.sun_path), "%s/control.sock", core->opt.run_dir) >=
		(int)sizeof(control->sun.sun_path)) {
		snprintf(why, cap, "--run %s: too long for the name of a socket (at most %zu bytes)", core->opt.run_dir,
			sizeof(control->sun.sun_path) - sizeof("/control.sock"));
		sg_free(control);
		return SG_ELONG;
	}
	err = open_socket(control, why, cap);
	if (err == 0) {
		err = sg_watch_new(core->loop, control->fd, on_accept, control, &control->watch);
		if (err < 0)
			snprintf(why, cap, "%s", sg_strerror(err));
	}
	if (err < 0) {
		control_free(control);
		return err;
	}
	sg_watch_control(control->watch);
	sg_watch_set(control->watch, SG_READABLE);
	*out = control;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	sg_list_for_safe (it, &control->clients)
		client_free(sg_container_of(it, struct client, node));
	sg_list_for_safe (it, &control->calls) {
		struct call *call = sg_container_of(it, struct call, node);

		/* Whoever holds it was told to forget before this. */
		sg_list_remove(&call->node);
		json_decref(call->id);
		sg_free(call);
	}
	sg_watch_free(control->watch);
	if (control->made)
		unlink(control->sun.sun_path);
	if (control->fd >= 0)
		close(control->fd);
	sg_free(control);
}
