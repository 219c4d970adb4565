/* See core_fixture.h. */
#include "core_fixture.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- plugins ------------------------------------------------------------------------------------------------------ */

struct app {
	const struct sg_host *host;
	struct sg_inst *inst;
	const char *section;
	uint64_t starts, reloads;
	struct sg_timer slow; /* ends stop() later */
};

static const struct sg_uci_section *conf_of(const struct app *a)
{
	return sg_uci_next(a->host->conf(a->inst), a->section, NULL);
}

static void end(void *arg)
{
	struct app *a = arg;
	const struct sg_host *host = a->host;
	struct sg_inst *inst = a->inst;

	sg_free(a);
	host->stopped(inst);
}

static int start(
	const char *section, const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t cap)
{
	struct app *a = sg_calloc(1, sizeof(*a));
	const struct sg_uci_section *s;

	if (!a)
		return -ENOMEM;
	*a = (struct app){.host = host, .inst = inst, .section = section, .starts = 1};
	s = conf_of(a);
	if (s && sg_uci_bool(s, "fail", false)) {
		snprintf(why, cap, "it was told to fail");
		sg_free(a);
		return SG_ESTATE;
	}
	sg_timer_init(&a->slow, host->loop(inst), end, a);
	*ctx = a;
	return 0;
}

static int start_alpha(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t cap)
{
	return start("alpha", host, inst, ctx, why, cap);
}

static int start_beta(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t cap)
{
	return start("beta", host, inst, ctx, why, cap);
}

/* Alpha takes a new configuration over, unless it says restart. Beta cannot. */
static int reload_alpha(void *ctx)
{
	struct app *a = ctx;
	const struct sg_uci_section *s = conf_of(a);

	if (s && sg_uci_bool(s, "restart", false))
		return -ENOTSUP;
	a->reloads++;
	return 0;
}

/* One that does not end in time is lost, as it would be to a real daemon; LeakSanitizer is not to count it. */
static struct app *volatile stuck;

static void stop(void *ctx)
{
	struct app *a = ctx;
	const struct sg_uci_section *s = conf_of(a);

	stuck = a;
	if (sg_timer_start(&a->slow, s ? (int64_t)sg_uci_uint(s, "stop_ms", 0) : 0) < 0)
		end(a);
}

static const struct sg_option options_alpha[] = {
	{.section = "alpha", .help = "of a test"},
	{.section = "alpha", .name = "fail", .type = SG_OPT_BOOL, .help = "does not start"},
	{.section = "alpha", .name = "restart", .type = SG_OPT_BOOL, .help = "cannot reload"},
	{.section = "alpha", .name = "stop_ms", .type = SG_OPT_UINT, .max = 60000, .help = "how long stopping takes"},
	{0},
};

static const struct sg_option options_beta[] = {
	{.section = "beta", .help = "of a test"},
	{.section = "beta", .name = "fail", .type = SG_OPT_BOOL, .help = "does not start"},
	{0},
};

static const struct sg_counter counters_alpha[] = {
	{"alpha.starts", offsetof(struct app, starts), "starts"},
	{"alpha.reloads", offsetof(struct app, reloads), "reloads"},
	{0},
};

static const struct sg_counter counters_beta[] = {
	{"beta.starts", offsetof(struct app, starts), "starts"},
	{0},
};

static const struct sg_provide provides[] = {{SG_APP, "test", NULL}, {0}};

static const struct sg_plugin alpha = {SG_PLUGIN_HEAD, .name = "alpha", .version = "1", .summary = "first",
	.provides = provides, .options = options_alpha, .counters = counters_alpha, .start = start_alpha,
	.reload = reload_alpha, .stop = stop};
static const struct sg_plugin beta = {SG_PLUGIN_HEAD, .name = "beta", .version = "2", .summary = "second",
	.provides = provides, .options = options_beta, .counters = counters_beta, .start = start_beta, .stop = stop};

const struct sg_plugin *const fixture_plugins[] = {&alpha, &beta, NULL};

/* ---- the daemon --------------------------------------------------------------------------------------------------- */

struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));
	FILE *key;

	assert_non_null(f);
	f->netd = f->ours = -1;
	snprintf(f->dir, sizeof(f->dir), "/tmp/sg-core-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->config, sizeof(f->config), "%s/conf", f->dir);
	snprintf(f->socket, sizeof(f->socket), "%s/control.sock", f->dir);
	snprintf(f->identity, sizeof(f->identity), "%s/id.key", f->dir);
	umask(077);
	key = fopen(f->identity, "w");
	assert_non_null(key);
	fputs("1111111111111111111111111111111111111111111111111111111111111111\n", key);
	fclose(key);
	return f;
}

void fixture_conf(struct fixture *f, const char *visor, const char *rest)
{
	FILE *out = fopen(f->config, "w");

	assert_non_null(out);
	/* Sanitizers look for leaks with calls that the sandbox ends the process for. */
	fprintf(out, "config visor 'main'\n\toption identity '%s'\n\toption user '64001'\n\toption sandbox '0'\n%s%s",
		f->identity, visor, rest);
	fclose(out);
}

struct core_options fixture_options(const struct fixture *f)
{
	return (struct core_options){.config = f->config,
		.run_dir = f->dir,
		.state_dir = f->dir,
		.plugin_dir = f->dir,
		.netd_fd = f->netd,
		.builtin = fixture_plugins};
}

static void run_daemon(const struct fixture *f)
{
	struct core_options opt = fixture_options(f);
	struct core core;
	int status;

	if (f->ours >= 0)
		close(f->ours);
	signal(SIGPIPE, SIG_IGN);
	json_set_alloc_funcs(sg_malloc, sg_free);
	/* Its log is not the test's output. */
	if (!freopen("/dev/null", "w", stderr))
		_exit(99);
	core_init(&core, &opt);
	status = core_run(&core);
	core_fini(&core);
	exit(status);
}

static int try_connect(const struct fixture *f)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", f->socket);
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	close(fd);
	return -1;
}

void fixture_start(struct fixture *f)
{
	json_t *answer;

	fflush(NULL);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0)
		run_daemon(f);
	if (f->netd >= 0)
		close(f->netd);
	for (int i = 0; i < 1000; i++) {
		int fd = try_connect(f);

		if (fd >= 0) {
			close(fd);
			break;
		}
		if (waitpid(f->pid, NULL, WNOHANG) == f->pid)
			fail_msg("the daemon ended at its start");
		poll(NULL, 0, 10);
	}
	/* The socket is there before the plugins are; an answer comes from the loop, after them. */
	answer = fixture_ask(f, "plugin.list", NULL);
	assert_non_null(json_object_get(answer, "result"));
	json_decref(answer);
}

int fixture_wait(struct fixture *f)
{
	int status = -1;

	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int fixture_stop(struct fixture *f)
{
	if (!f->pid)
		return -1;
	kill(f->pid, SIGTERM);
	return fixture_wait(f);
}

void fixture_free(struct fixture *f)
{
	DIR *dir = opendir(f->dir);
	struct dirent *e;

	if (f->pid) {
		kill(f->pid, SIGKILL);
		waitpid(f->pid, NULL, 0);
	}
	assert_non_null(dir);
	while ((e = readdir(dir)))
		unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
}

/* ---- its socket --------------------------------------------------------------------------------------------------- */

int fixture_connect(const struct fixture *f)
{
	int fd = try_connect(f);

	assert_true(fd >= 0);
	return fd;
}

void fixture_send(int fd, const char *bytes)
{
	size_t len = strlen(bytes);

	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			return; /* the other end may close early; what it said can still be read */
		bytes += n;
		len -= (size_t)n;
	}
}

const char *fixture_line(struct fixture *f, int fd)
{
	f->len = 0;
	for (;;) {
		struct pollfd p = {fd, POLLIN, 0};
		char *at = f->buf + f->len, *nl;
		ssize_t n;

		if (poll(&p, 1, 10000) <= 0)
			fail_msg("no line within 10 s");
		/* What is behind the line stays in the socket. */
		n = recv(fd, at, sizeof(f->buf) - f->len, MSG_PEEK);
		if (n <= 0)
			return NULL;
		nl = memchr(at, '\n', (size_t)n);
		n = recv(fd, at, nl ? (size_t)(nl - at) + 1 : (size_t)n, 0);
		assert_true(n > 0);
		if (nl) {
			*nl = '\0';
			return f->buf;
		}
		f->len += (size_t)n;
		assert_true(f->len < sizeof(f->buf));
	}
}

json_t *fixture_ask(struct fixture *f, const char *method, const char *params)
{
	int fd = fixture_connect(f);
	char request[1024];
	const char *line;
	json_t *answer;

	snprintf(request, sizeof(request), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"%s%s}\n", method,
		params ? ",\"params\":" : "", params ? params : "");
	fixture_send(fd, request);
	line = fixture_line(f, fd);
	assert_non_null(line);
	answer = json_loads(line, 0, NULL);
	assert_non_null(answer);
	close(fd);
	return answer;
}
