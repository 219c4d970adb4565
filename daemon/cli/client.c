/* One connection to skygated: lines out, lines in, and a sentence when that is not possible. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "wire/jsonrpc.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_S 20 /* a reload waits for plugins that stop, 5 s each */

struct client {
	int fd;
	const char *path; /* borrowed */
	int next_id;
	size_t len;
	char buf[SG_CONTROL_LINE_MAX + 2];
};

static bool openwrt(void)
{
	return access("/etc/openwrt_release", F_OK) == 0;
}

static void say_not_running(const char *path)
{
	fprintf(stderr, "skygate: skygated is not running (no answer on %s)\n", path);
	fputs(openwrt() ? "  start it:  service skygate start      look why it ended:  logread -e skygate\n"
			: "  start it:  systemctl start skygate      look why it ended:  journalctl -u skygate -n 20\n",
		stderr);
}

struct client *client_open(const char *path, int *status)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = ANSWER_S};
	struct client *c;

	*status = EXIT_FAILED;
	if (snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path) >= (int)sizeof(sun.sun_path)) {
		fprintf(stderr, "skygate: %s: too long for the name of a socket\n", path);
		*status = EXIT_WRONG;
		return NULL;
	}
	c = sg_calloc(1, sizeof(*c));
	if (!c) {
		fputs("skygate: memory is out\n", stderr);
		return NULL;
	}
	c->path = path;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd >= 0 && connect(c->fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0) {
		setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		return c;
	}
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) {
		*status = EXIT_NOT_RUNNING;
		say_not_running(path);
	} else if (errno == EACCES || errno == EPERM) {
		fprintf(stderr,
			"skygate: you may not talk to skygated (%s is closed to you)\n"
			"  run it as root (sudo), or, to look only, join its group:  adduser \"$USER\" skygate\n",
			path);
	} else {
		fprintf(stderr, "skygate: %s: %s\n", path, strerror(errno));
	}
	client_close(c);
	return NULL;
}

void client_close(struct client *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	sg_free(c);
}

static bool send_all(struct client *c, const char *line)
{
	size_t len = strlen(line), done = 0;

	while (done < len) {
		ssize_t n = send(c->fd, line + done, len - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

/* One line as JSON (new); NULL: the end, a time-out (errno EAGAIN), or no JSON. */
static json_t *read_line(struct client *c)
{
	for (;;) {
		char *nl = memchr(c->buf, '\n', c->len);
		ssize_t n;

		if (nl) {
			struct sg_view line = {(const uint8_t *)c->buf, (size_t)(nl - c->buf)};
			json_t *obj = sg_json_parse(line, NULL);

			c->len -= line.len + 1;
			memmove(c->buf, nl + 1, c->len);
			errno = EPROTO;
			return obj;
		}
		errno = EPROTO;
		if (c->len == sizeof(c->buf))
			return NULL;
		n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ECONNRESET;
		if (n <= 0)
			return NULL;
		c->len += (size_t)n;
	}
}

static int status_of(int64_t code)
{
	return code == SG_RPC_PARAMS || code == SG_RPC_NO_METHOD || code == SG_RPC_INVALID ? EXIT_WRONG : EXIT_FAILED;
}

static json_t *say_lost(const struct client *c)
{
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		fprintf(stderr, "skygate: skygated does not answer (%d s, %s); it is busy or stuck\n", ANSWER_S,
			c->path);
	else if (errno == EPROTO)
		fprintf(stderr, "skygate: what answers on %s is not skygated of this version\n", c->path);
	else
		fprintf(stderr, "skygate: skygated ended while it was asked (%s)\n", c->path);
	return NULL;
}

static json_t *call_once(struct client *c, const char *method, json_t *params, int *status)
{
	char *line = sg_rpc_call(++c->next_id, method, params);
	json_t *answer = NULL, *result, *error;
	bool sent = line && send_all(c, line);

	sg_free(line);
	*status = EXIT_FAILED;
	/* A refusal may wait to be read although nothing could be sent. */
	answer = read_line(c);
	if (!answer)
		return sent ? say_lost(c) : (errno = ECONNRESET, say_lost(c));
	result = json_object_get(answer, "result");
	error = json_object_get(answer, "error");
	if (result) {
		json_incref(result);
		*status = EXIT_DONE;
	} else {
		fprintf(stderr, "skygate: %s\n", error ? get_str(error, "message") : "an answer without a result");
		*status = status_of(get_int(error, "code"));
	}
	json_decref(answer);
	return result;
}

/* Appends the list of the next page to the first one's. */
static bool join(json_t *first, json_t *page)
{
	const char *name;
	json_t *value, *next = json_object_get(page, "next");
	bool ok = true;

	json_object_foreach(page, name, value)
	{
		json_t *list = json_object_get(first, name);

		if (json_is_array(list) && json_is_array(value))
			ok = ok && json_array_extend(list, value) == 0;
	}
	if (next)
		return ok && json_object_set(first, "next", next) == 0;
	json_object_del(first, "next");
	return ok;
}

json_t *client_call(struct client *c, const char *method, json_t *params, int *status)
{
	json_t *first = call_once(c, method, params, status), *next;

	while (first && (next = json_object_get(first, "next"))) {
		json_t *page;
		bool ok;

		json_object_set(params, "from", next);
		page = call_once(c, method, params, status);
		ok = page && join(first, page);
		json_decref(page);
		if (!ok) {
			json_decref(first);
			return NULL;
		}
	}
	return first;
}

json_t *client_next(struct client *c)
{
	const struct timeval never = {0};

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof(never));
	return read_line(c);
}

const char *get_str(const json_t *obj, const char *name)
{
	const char *s = json_string_value(json_object_get(obj, name));

	return s ? s : "";
}

int64_t get_int(const json_t *obj, const char *name)
{
	return json_integer_value(json_object_get(obj, name));
}

bool get_bool(const json_t *obj, const char *name)
{
	return json_is_true(json_object_get(obj, name));
}
