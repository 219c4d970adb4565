/*
 * The host table under a plugin that misbehaves: it leaves dials, ports and questions behind, calls after its
 * end, hands over descriptors when it should not. Nothing of it survives, and the log says what was left.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct world {
	struct core core;
	struct plugin *plugin;
	int netd; /* netd's end, -1: none */
	char last_warning[256];
	unsigned dialed, tuned, stopped;
	bool stop_at_once;
};

static struct world *world; /* for the plugin, which has no other way to it */

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t cap)
{
	(void)host;
	(void)why;
	(void)cap;
	*ctx = inst;
	return 0;
}

static void stop(void *ctx)
{
	if (world->stop_at_once)
		core_host.stopped(ctx);
}

static int no_dial(
	void *ctx, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *dial)
{
	(void)ctx;
	(void)carrier;
	(void)pk;
	(void)to;
	(void)dial;
	return -ENOTSUP;
}

static void no_cancel(void *ctx, struct sg_dial *dial)
{
	(void)ctx;
	(void)dial;
}

static const struct sg_carrier_ops carrier_ops = {sizeof(carrier_ops), 0, no_dial, no_cancel};
static const struct sg_provide provides[] = {{SG_CARRIER, "owl", &carrier_ops}, {0}};
static const struct sg_plugin careless = {SG_PLUGIN_HEAD, .name = "careless", .version = "1", .summary = "x",
	.provides = provides, .start = start, .stop = stop};
static const struct sg_plugin *const builtin[] = {&careless, NULL};

static void sink(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	struct world *w = arg;

	(void)topic;
	if (level <= SG_LOG_WARN)
		snprintf(w->last_warning, sizeof(w->last_warning), "%s", line);
}

static int setup_with(void **state, bool with_netd)
{
	struct world *w = calloc(1, sizeof(*w));
	struct core_options opt = {.plugin_dir = "/nonexistent", .netd_fd = -1, .builtin = builtin};
	struct sg_links_conf links = {.host = &core_links_host};
	char why[CORE_WHY_MAX];
	int pair[2];

	world = w;
	w->netd = -1;
	w->stop_at_once = true;
	core_init(&w->core, &opt);
	w->core.crypto = sg_crypto_new(sg_random_system());
	w->core.loop = sg_loop_new(sg_clock_system());
	w->core.conf = sg_calloc(1, sizeof(struct conf));
	links.loop = w->core.loop;
	links.crypto = w->core.crypto;
	links.sk.b[31] = 7;
	assert_int_equal(sg_pk_of(w->core.crypto, &links.sk, &links.pk), 0);
	links.host_arg = &w->core;
	w->core.foreign = foreign_new("/nonexistent");
	assert_non_null(w->core.foreign);
	w->core.links = links_new(&links);
	w->core.route = route_new(w->core.links);
	if (with_netd) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
		w->netd = pair[0];
		assert_int_equal(netd_new(&w->core, pair[1], &w->core.netd), 0);
	}
	sg_log_set_sink(sink, w);
	assert_int_equal(plugin_load(&w->core, "careless", &w->plugin, why, sizeof(why)), 0);
	assert_int_equal(inst_start(&w->plugin->inst), 0);
	*state = w;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, true);
}

static int setup_alone(void **state)
{
	return setup_with(state, false);
}

static int teardown(void **state)
{
	struct world *w = *state;

	core_fini(&w->core);
	sg_log_set_sink(NULL, NULL);
	if (w->netd >= 0)
		close(w->netd);
	free(w);
	return 0;
}

static void on_stopped(void *arg, struct sg_inst *inst)
{
	(void)inst;
	((struct world *)arg)->stopped++;
}

static void stop_it(struct world *w)
{
	inst_stop(&w->plugin->inst, on_stopped, w);
	/* Never inside the call. */
	assert_int_equal(w->stopped, 0);
	for (int i = 0; i < 10 && !w->stopped; i++)
		sg_loop_step(w->core.loop, 0);
	assert_int_equal(w->stopped, 1);
}

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why)
{
	(void)stream;
	(void)err;
	(void)why;
	((struct world *)arg)->dialed++;
}

static void on_tuned(void *arg, int err)
{
	(void)err;
	((struct world *)arg)->tuned++;
}

static int refuse_stream(void *arg, struct sg_stream *stream)
{
	(void)arg;
	(void)stream;
	return -1;
}

static const struct sg_listener_ops listener = {sizeof(listener), refuse_stream};

/* A peer that has to connect to us: dials to it wait. */
static struct sg_pk silent_peer(struct world *w)
{
	struct sg_peer_conf peer = {.name = "silent"};
	struct sg_sk sk = {{1}};

	assert_int_equal(sg_pk_of(w->core.crypto, &sk, &peer.pk), 0);
	assert_int_equal(links_peers_set(w->core.links, &peer, 1), 0);
	return peer.pk;
}

static void test_left_behind(void **state)
{
	struct world *w = *state;
	struct sg_inst *inst = &w->plugin->inst;
	struct sg_pk pk = silent_peer(w);

	assert_int_equal(core_host.listen(inst, 9, &listener, w), 0);
	assert_int_equal(core_host.listen(inst, 9, &listener, w), -EADDRINUSE);
	assert_int_equal(core_host.dial(inst, &pk, 44, 0, on_dialed, w), 0);
	assert_int_equal(core_host.tune_socket(inst, w->netd, on_tuned, w), 0);
	assert_int_equal(core_host.lease_set(inst, 1, 2, on_tuned, w), 0);
	stop_it(w);
	assert_string_equal(w->last_warning, "careless left 1 dial and 2 questions behind");
	for (int i = 0; i < 5; i++)
		sg_loop_step(w->core.loop, 0);
	assert_int_equal(w->dialed + w->tuned, 0);
	/* The port is free again for whoever starts next. */
	assert_int_equal(route_listen(w->core.route, 9, &listener, w), 0);
}

static void test_tidy(void **state)
{
	struct world *w = *state;
	struct sg_inst *inst = &w->plugin->inst;
	struct sg_pk pk = silent_peer(w);

	assert_int_equal(core_host.dial(inst, &pk, 44, 0, on_dialed, w), 0);
	assert_int_equal(core_host.dial(inst, &pk, 45, 0, on_dialed, w), 0);
	core_host.dial_cancel(inst, w);
	stop_it(w);
	assert_string_equal(w->last_warning, "");
	/* It can be started again. */
	assert_int_equal(inst_start(inst), 0);
	assert_int_equal(inst->state, INST_RUNNING);
	w->stopped = 0;
	stop_it(w);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* A descriptor that is handed over by somebody who may not is closed, not lost. */
static void test_descriptors(void **state)
{
	struct world *w = *state;
	struct sg_inst *inst = &w->plugin->inst;
	struct sg_addr from = {0};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	core_host.accepted(inst, "eagle", pair[0], &from);
	assert_false(is_open(pair[0]));
	close(pair[1]);
	stop_it(w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	core_host.accepted(inst, "owl", pair[0], &from);
	assert_false(is_open(pair[0]));
	close(pair[1]);
	assert_int_equal(core_host.dial(inst, &w->core.pk, 1, 0, on_dialed, w), SG_ESTATE);
}

/* Nobody can say where it came from: it is taken, and is "somebody" until it has shown its key. */
static void test_accepted_from_nowhere(void **state)
{
	struct world *w = *state;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	core_host.accepted(&w->plugin->inst, "owl", pair[0], NULL);
	assert_true(is_open(pair[0]));
	assert_int_equal(write(pair[1], "garbage, and more of it", 23), 23);
	for (int i = 0; i < 100 && links_counters(w->core.links)->handshake_failed == 0; i++)
		sg_loop_step(w->core.loop, 10);
	assert_int_equal(links_counters(w->core.links)->handshake_failed, 1);
	assert_false(is_open(pair[0]));
	close(pair[1]);
}

/* Whoever was built with another version of the struct gets what both know. */
static void test_peer_state_of_other_sizes(void **state)
{
	struct world *w = *state;
	struct sg_pk pk = silent_peer(w);
	struct {
		struct sg_peer_state st;
		uint8_t more[8];
	} newer;
	struct sg_peer_state older;

	memset(&newer, 0xaa, sizeof(newer));
	memset(&older, 0xaa, sizeof(older));
	assert_int_equal(core_host.peer_state(&w->plugin->inst, &pk, &newer.st, sizeof(newer)), 0);
	assert_memory_equal(&newer.st.pk, &pk, sizeof(pk));
	assert_string_equal(newer.st.why, "it has no address: it has to connect to us");
	assert_memory_equal(newer.more, ((uint8_t[8]){0}), 8);
	assert_int_equal(core_host.peer_state(&w->plugin->inst, &pk, &older, offsetof(struct sg_peer_state, why)), 0);
	assert_int_equal(older.attempts, newer.st.attempts);
	assert_int_equal((uint8_t)older.why[0], 0xaa);
	assert_int_equal(core_host.peer_state(&w->plugin->inst, &w->core.pk, &older, sizeof(older)), -ENOENT);
}

static void test_stopped_unasked(void **state)
{
	struct world *w = *state;

	core_host.stopped(&w->plugin->inst);
	assert_string_equal(w->last_warning, "careless says that it stopped, but nobody told it to");
	assert_int_equal(w->plugin->inst.state, INST_RUNNING);
	stop_it(w);
	core_host.stopped(&w->plugin->inst);
	assert_int_equal(w->plugin->inst.state, INST_STOPPED);
}

static void test_without_netd(void **state)
{
	struct world *w = *state;
	struct sg_inst *inst = &w->plugin->inst;

	assert_int_equal(core_host.tun_open(inst, SG_TUN_CLIENT, NULL, NULL), -ENOTSUP);
	assert_int_equal(core_host.tune_socket(inst, 0, on_tuned, w), -ENOTSUP);
	assert_int_equal(core_host.lease_set(inst, 1, 2, on_tuned, w), -ENOTSUP);
	assert_int_equal(core_host.path_set(inst, true), -ENOTSUP);
	assert_int_equal(core_host.want_set(inst, SG_WANT_VPN), -ENOTSUP);
	stop_it(w);
}

static void expect_path(struct world *w, uint8_t path)
{
	struct sg_netd_msg m;
	int pass;

	do {
		assert_int_equal(sg_netd_recv(w->netd, true, &m, &pass), 0);
	} while (m.type == SG_NETD_HEARTBEAT);
	assert_int_equal(m.type, SG_NETD_PATH);
	assert_int_equal(m.u.path, path);
}

/* What netd is told decides about blocking: word by word. */
static void test_paths(void **state)
{
	struct world *w = *state;
	struct sg_inst *inst = &w->plugin->inst;

	assert_int_equal(core_host.want_set(inst, SG_WANT_VPN), 0);
	expect_path(w, SG_PATH_DOWN);
	assert_int_equal(core_host.path_set(inst, true), 0);
	expect_path(w, SG_PATH_UP);
	assert_int_equal(core_host.path_set(inst, false), 0);
	expect_path(w, SG_PATH_DOWN);
	assert_int_equal(core_host.want_set(inst, SG_WANT_NOT), 0);
	expect_path(w, SG_PATH_UNWANTED);
	assert_int_equal(core_host.want_set(inst, SG_WANT_OPEN), 0);
	expect_path(w, SG_PATH_OPEN);
	stop_it(w);
	/* Nobody waits for the answers to these, so they are nothing left behind. */
	assert_string_equal(w->last_warning, "");
}

static void nothing(void *arg)
{
	(void)arg;
}

/* What is on the loop when everything else is gone was forgotten by a plugin, and the log says how much. */
static void test_leaks_are_told(void **state)
{
	struct world *w = *state;
	struct sg_timer timers[2];
	struct sg_watch *watch;

	for (size_t i = 0; i < SG_ARRAY_LEN(timers); i++) {
		sg_timer_init(&timers[i], w->core.loop, nothing, NULL);
		assert_int_equal(sg_timer_start(&timers[i], 1000), 0);
	}
	assert_int_equal(sg_watch_new(w->core.loop, w->netd, NULL, NULL, &watch), 0);
	stop_it(w);
	core_fini(&w->core);
	assert_string_equal(w->last_warning, "leaked 2 timers and 1 watch");
	core_init(&w->core, &(struct core_options){.netd_fd = -1});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_left_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tidy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_accepted_from_nowhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peer_state_of_other_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stopped_unasked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_netd, setup_alone, teardown),
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leaks_are_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
