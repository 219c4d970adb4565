/*
 * Every allocation fails once: while a configuration is loaded, while its plugins start and stop on real links and
 * streams, while the control socket answers. Each time: a clean error, nothing left behind.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"
#include "fake/alloc.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

extern const struct sg_plugin sg_plugin_transport_tcp, sg_plugin_transport_dmsg, sg_plugin_app_vpn, sg_plugin_skeleton;

static const struct sg_plugin *const plugins[] = {
	&sg_plugin_transport_tcp, &sg_plugin_transport_dmsg, &sg_plugin_app_vpn, &sg_plugin_skeleton, NULL};

static const char conf_text[] =
	"config visor 'main'\n\toption identity '/id.key'\n\toption user '64001'\n"
	"\tlist plugin 'transport-tcp'\n\tlist plugin 'transport-dmsg'\n\tlist plugin 'app-vpn'\n\tlist plugin "
	"'skeleton'\n"
	"config interface 'home'\n\toption role 'lan'\n\tlist device 'br-lan'\n"
	"config peer 'a'\n\toption pk '0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'\n"
	"\tlist address 'stcp://127.0.0.1:1'\n\tlist address 'stcp://[::1]:1'\n"
	"config carrier 'stcp'\n\tlist listen '127.0.0.1:0'\n"
	"config vpn_client 'vpn'\n\toption mode 'vpn'\n\tlist exit 'a'\n\tlist probe '198.51.100.10'\n"
	"config deployment\n\toption dmsg_discovery 'http://127.0.0.1:1'\n"
	"\tlist dmsg_server '0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798@127.0.0.1:1'\n"
	"config skeleton\n\toption port '9'\n";

static const char bad_text[] = "config visor 'main'\n\toption identity 'id.key'\n\toption usr '64001'\n"
			       "\tlist plugin 'skeletn'\nconfig peer\n\tlist address 'x'\n";

struct place {
	char dir[64], config[80];
	struct sg_crypto *crypto;
	struct sg_loop *loop;
	struct core core;
	bool bad;
};

static void write_conf(const struct place *p, const char *text)
{
	FILE *f = fopen(p->config, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void no_event(void *arg, int fd, unsigned events)
{
	(void)arg;
	(void)fd;
	(void)events;
}

/* libuv aborts when memory is out, so its own tables grow before any failure is injected. */
static struct sg_loop *grown_loop(void)
{
	struct sg_loop *loop = sg_loop_new(sg_clock_system());
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 400), pair[2];
	struct sg_timer timers[128];
	struct sg_watch *w;

	assert_non_null(loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(dup2(pair[0], fd), fd);
	assert_int_equal(sg_watch_new(loop, fd, no_event, NULL, &w), 0);
	sg_watch_set(w, SG_READABLE);
	for (size_t i = 0; i < SG_ARRAY_LEN(timers); i++) {
		sg_timer_init(&timers[i], loop, nothing, NULL);
		assert_int_equal(sg_timer_start(&timers[i], 1000), 0);
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(timers); i++)
		sg_timer_stop(&timers[i]);
	sg_watch_free(w);
	sg_loop_step(loop, 0);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	return loop;
}

/* Thousands of starts would drown the result. */
static void no_log(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	(void)arg;
	(void)level;
	(void)topic;
	(void)line;
}

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->dir, sizeof(p->dir), "/tmp/sg-alloc-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->config, sizeof(p->config), "%s/conf", p->dir);
	p->crypto = sg_crypto_new(sg_random_system());
	assert_non_null(p->crypto);
	p->loop = grown_loop();
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	char left[sizeof(p->dir) + 20];

	sg_loop_free(p->loop);
	sg_crypto_free(p->crypto);
	unlink(p->config);
	snprintf(left, sizeof(left), "%s/skygated.foreign", p->dir);
	unlink(left);
	rmdir(p->dir);
	free(p);
	return 0;
}

static void begin(struct place *p)
{
	struct core_options opt = {.config = p->config,
		.run_dir = p->dir,
		.state_dir = p->dir,
		.plugin_dir = "/nonexistent",
		.netd_fd = -1,
		.builtin = plugins};

	core_init(&p->core, &opt);
	p->core.crypto = p->crypto;
	p->core.loop = p->loop;
}

static void end(struct place *p)
{
	p->core.crypto = NULL;
	p->core.loop = NULL;
	core_fini(&p->core);
	/* Closed watches give their memory back from the loop. */
	for (int i = 0; i < 3; i++)
		sg_loop_step(p->loop, 0);
}

/* ---- configuration ------------------------------------------------------------------------------------------------ */

static bool load(void *arg)
{
	struct place *p = arg;
	struct findings f;
	int err;

	begin(p);
	findings_init(&f);
	err = conf_load(&p->core, &f, &p->core.conf);
	if (p->bad) {
		/* A finding that found no memory is missed in the list, never in the count. */
		assert_true(err == -ENOMEM || (err == SG_ECONF && f.n > 0));
	} else {
		assert_true(err == 0 || err == -ENOMEM);
	}
	findings_fini(&f);
	end(p);
	return err != -ENOMEM;
}

static void test_configuration(void **state)
{
	struct place *p = *state;

	write_conf(p, conf_text);
	assert_true(fake_alloc_each("configuration", load, p) > 0);
	write_conf(p, bad_text);
	p->bad = true;
	assert_true(fake_alloc_each("configuration with errors", load, p) > 0);
}

/* In a child, for root becomes another user by it. Exit status 0 of --check is said of a configuration that is valid only. */
static int check_with_failure_at(struct place *p, size_t nth)
{
	int status = -1, null = open("/dev/null", O_WRONLY);
	pid_t child = fork();

	assert_true(null >= 0 && child >= 0);
	if (child == 0) {
		begin(p);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		fake_alloc_fail_at(nth);
		status = core_check(&p->core);
		_exit(fake_alloc_failed() ? 2 + (status != 0) : status != 0);
	}
	close(null);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_check(void **state)
{
	struct place *p = *state;
	size_t n = 1;
	int said;

	write_conf(p, bad_text);
	for (; (said = check_with_failure_at(p, n)) >= 2; n++)
		assert_int_equal(said, 3);
	assert_int_equal(said, 1);
	assert_true(n > 1);
}

/* ---- plugins ------------------------------------------------------------------------------------------------------ */

static bool make_links(struct core *core)
{
	struct sg_links_conf conf = {
		.loop = core->loop, .crypto = core->crypto, .host = &core_links_host, .host_arg = core};

	conf.sk.b[31] = 7;
	if (sg_pk_of(core->crypto, &conf.sk, &conf.pk) < 0)
		return false;
	core->pk = conf.pk;
	core->store = store_new(core->loop, store_wall_s);
	core->net_keys = (struct store_space){core->store, core, "net"};
	core->foreign = core->store ? foreign_new(core->opt.run_dir) : NULL;
	core->links = core->foreign ? links_new(&conf) : NULL;
	core->route = core->links ? route_new(core->links) : NULL;
	core->net = core->route ? net_new(&(struct sg_net_conf){.loop = core->loop,
					  .crypto = core->crypto,
					  .pk = conf.pk,
					  .sk = conf.sk,
					  .keys = &core->net_keys})
				: NULL;
	core->identity = (struct sg_identity){sizeof(core->identity), core->crypto, &core->pk, &core->sk};
	core->sk = conf.sk;
	if (core->net)
		net_configure(core->net, core->conf->doc);
	core->routing = core->net ? routing_new(core->net, core->links, core->route) : NULL;
	return core->routing != NULL;
}

static void on_stopped(void *arg, struct sg_inst *inst)
{
	(void)inst;
	--*(unsigned *)arg;
}

static void stop_all(struct core *core)
{
	unsigned left = 0;

	sg_list_for (it, &core->plugins) {
		left++;
		inst_stop(&sg_container_of(it, struct plugin, node)->inst, on_stopped, &left);
	}
	for (int i = 0; i < 1000 && left; i++)
		sg_loop_step(core->loop, i ? 1 : 0);
	assert_int_equal(left, 0);
}

static bool start_stop(void *arg)
{
	struct place *p = arg;
	struct core *core = &p->core;
	struct findings f;
	bool ok;

	begin(p);
	findings_init(&f);
	ok = conf_load(core, &f, &core->conf) == 0 && make_links(core);
	for (size_t i = 0; ok && i < core->conf->n_plugins; i++) {
		struct sg_inst *inst = &core->conf->plugins[i]->inst;

		ok = inst_start(inst) == 0;
		/* Whatever failed says so in words. */
		assert_true(ok || inst->why[0]);
	}
	ok = ok && peers_apply(core, core->conf) == 0;
	/* Dials begin, and fail: nobody listens there. */
	for (int i = 0; ok && i < 5; i++)
		sg_loop_step(core->loop, 1);
	stop_all(core);
	findings_fini(&f);
	end(p);
	return ok;
}

static void test_plugins(void **state)
{
	struct place *p = *state;

	write_conf(p, conf_text);
	assert_true(fake_alloc_each("plugin start", start_stop, p) > 0);
}

/* ---- control ------------------------------------------------------------------------------------------------------ */

static void ask(struct core *core, int fd, const char *request)
{
	char answer[65536];

	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		return;
	for (int i = 0; i < 20; i++) {
		sg_loop_step(core->loop, 0);
		if (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) >= 0)
			return;
	}
}

static bool serve(void *arg)
{
	struct place *p = arg;
	struct core *core = &p->core;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct findings f;
	char why[CORE_WHY_MAX];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok;

	begin(p);
	findings_init(&f);
	ok = conf_load(core, &f, &core->conf) == 0 && make_links(core) &&
	     control_new(core, &core->control, why, sizeof(why)) == 0;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control.sock", p->dir);
	if (ok && connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0) {
		ask(core, fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"visor.status\"}\n");
		ask(core, fd, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"counter.list\"}\n{}\n");
		ask(core, fd, "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"config.reload\"}\n");
		ask(core, fd,
			"{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"transport.add\",\"params\":{\"pk\":"
			"\"02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5\",\"address\":"
			"\"stcp://127.0.0.1:1\"}}\n");
	}
	close(fd);
	sg_loop_step(core->loop, 0);
	stop_all(core);
	findings_fini(&f);
	end(p);
	return ok;
}

static void test_control(void **state)
{
	struct place *p = *state;

	write_conf(p, conf_text);
	assert_true(fake_alloc_each("control", serve, p) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_configuration, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plugins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_control, setup, teardown),
	};

	json_set_alloc_funcs(sg_malloc, sg_free);
	sg_log_set_sink(no_log, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
