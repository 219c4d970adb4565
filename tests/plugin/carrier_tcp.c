/*
 * The carriers of transport-tcp under test: stcp, whose addresses are in the configuration, and stcpr, which asks an address
 * resolver. What sockets show besides the contract: sentences, addresses in the log, netd's tuning.
 */
#include "carrier.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

extern const struct sg_plugin sg_plugin_transport_tcp;

/* ---- netd ---- */

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

static int host_resolve_bind(struct sg_inst *inst, const char *name, uint16_t port)
{
	assert_string_equal(name, "stcpr");
	visor_of(inst)->bound = port;
	visor_of(inst)->binds++;
	return 0;
}

static void around(bool there)
{
	(void)there;
	resolve_silent = resolve_fails = resolve_two = false;
}

static void host(struct sg_host *table)
{
	table->tune_socket = host_tune_socket;
	table->resolve = host_resolve;
	table->resolve_cancel = host_resolve_cancel;
	table->resolve_bind = host_resolve_bind;
}

/* ---- strangers ---- */

static int call(uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool connects(uint16_t port)
{
	int fd = call(port);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* ---- listening ---- */

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
	assert_int_equal(visor_start(&visors[0]), -EADDRINUSE);
	snprintf(want, sizeof(want),
		"127.0.0.1:%u: another program listens on port %u. Find it:  ss -ltnp 'sport = :%u'", old, old, old);
	assert_string_equal(visors[0].h->why, want);
	close(fd);
	assert_int_equal(visor_start(&visors[0]), 0);
	/* A reload that cannot have the new port changes nothing. */
	visors[0].port = free_port();
	fd = occupy(visors[0].port);
	visor_conf(&visors[0], "");
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
	assert_int_equal(visor_start(&visors[0]), -EADDRNOTAVAIL);
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
	assert_int_equal(visor_start(&visors[0]), 0);
	assert_true(connects(visors[0].port));
}

/* ---- dialling ---- */

static void a_refused_dial_is_a_sentence(void **state)
{
	char want[128];

	(void)state;
	assert_int_equal(visor_start(&visors[0]), 0);
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
	assert_int_equal(visor_start(&visors[0]), 0);
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(failed_once));
	assert_int_equal(visor_start(&visors[1]), 0);
	fake_pass(visors[0].h, 5000);
	assert_true(turn_until(both_linked));
	visor_net_free(&visors[1]);
	visor_net_new(&visors[1]);
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
	assert_int_equal(visor_start(&visors[0]), 0);
	assert_int_equal(visor_start(&visors[1]), 0);
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
		visors_setup(state);
		visors[0].tune = visors[1].tune = (enum tune)mode;
		link_up();
		assert_true(visors[0].tuned >= 2); /* the listener and the dial */
		assert_int_equal(visors[1].tuned, 1);
		assert_int_equal(fake_counter(visors[1].h, "tcp.untuned"), mode == TUNE_NONE);
		assert_int_equal(fake_counter(visors[1].h, "tcp.accepted"), 1);
		visors_teardown(state);
	}
}

static void nothing_is_accepted_before_the_listener_is_tuned(void **state)
{
	(void)state;
	visors[1].tune = TUNE_HOLD;
	assert_int_equal(visor_start(&visors[0]), 0);
	assert_int_equal(visor_start(&visors[1]), 0);
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
	assert_int_equal(visor_start(&visors[0]), 0);
	visor_stop(&visors[0]);
	assert_false(visors[0].h->stopped);
	assert_false(connects(visors[0].port));
	tune_answer(&visors[0], 0);
	assert_true(visors[0].h->stopped);

	/* And the question of a dial. */
	fake_conf(visors[0].h, "");
	assert_int_equal(visor_start(&visors[0]), 0);
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(asked));
	visor_stop(&visors[0]);
	assert_false(visors[0].h->stopped);
	tune_answer(&visors[0], -EPIPE);
	assert_true(visors[0].h->stopped);
}

/* ---- by key, at the address that a resolver tells ---- */

static void others_find_where_it_listens(void **state)
{
	(void)state;
	assert_int_equal(visor_start(&visors[0]), 0);
	assert_int_equal(visors[0].bound, visors[0].port);
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), 0);
	assert_int_equal(visors[0].binds, 1);
	visors[0].port = free_port();
	visor_conf(&visors[0], "");
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), 0);
	assert_int_equal(visors[0].bound, visors[0].port);
	fake_conf(visors[0].h, "");
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), 0);
	assert_int_equal(visors[0].bound, 0);
	visor_conf(&visors[0], "");
	assert_int_equal(visors[0].h->plugin->reload(visors[0].h->ctx), 0);
	visor_stop(&visors[0]);
	assert_int_equal(visors[0].bound, 0);
}

static void each_dial_asks_anew_and_tries_all_addresses(void **state)
{
	unsigned before = resolves;

	(void)state;
	resolve_fails = true;
	assert_int_equal(visor_start(&visors[0]), 0);
	assert_int_equal(visor_start(&visors[1]), 0);
	dial_peer(&visors[0], &visors[1]);
	assert_true(turn_until(failed_once));
	assert_string_equal(
		state_of(&visors[0], &visors[1]).why, "the address resolver does not know where it listens");
	resolve_fails = false;
	resolve_two = true;
	fake_pass(visors[0].h, 1000);
	assert_true(turn_until(both_linked));
	assert_int_equal(resolves - before, 2);
	visor_net_free(&visors[1]);
	visor_net_new(&visors[1]);
	assert_true(turn_until(first_lost_it));
	fake_pass(visors[0].h, 1000);
	assert_true(turn_until(both_linked));
	assert_int_equal(resolves - before, 3);
}

static void a_resolver_that_is_silent_holds_up_nobody(void **state)
{
	(void)state;
	assert_int_equal(visor_start(&visors[0]), 0);
	resolve_silent = true;
	dial_peer(&visors[0], &visors[1]);
	fake_pass(visors[0].h, 11000);
	assert_true(failed_once());
	assert_string_equal(state_of(&visors[0], &visors[1]).why, "the address resolver does not answer");
}

#define SOCKETS                                                                                                        \
	CARRIER_TEST(both_ends_know_the_others_address), CARRIER_TEST(an_occupied_port_is_a_sentence_with_its_cure),   \
		CARRIER_TEST(an_address_of_another_machine_is_a_sentence),                                             \
		CARRIER_TEST(both_families_may_have_the_same_port), CARRIER_TEST(a_refused_dial_is_a_sentence),        \
		CARRIER_TEST(addresses_are_hidden_on_request), CARRIER_TEST(a_dial_has_one_deadline_for_all_of_it),    \
		cmocka_unit_test(sockets_are_tuned_before_they_are_used),                                              \
		CARRIER_TEST(nothing_is_accepted_before_the_listener_is_tuned),                                        \
		CARRIER_TEST(a_stop_waits_for_open_questions)

static const struct CMUnitTest stcp_tests[] = {SOCKETS};
static const struct CMUnitTest stcpr_tests[] = {
	SOCKETS,
	CARRIER_TEST(others_find_where_it_listens),
	CARRIER_TEST(each_dial_asks_anew_and_tries_all_addresses),
	CARRIER_TEST(a_resolver_that_is_silent_holds_up_nobody),
};

const struct carrier carrier_stcp = {
	.name = "stcp",
	.plugin = &sg_plugin_transport_tcp,
	.host = host,
	.around = around,
	.call = call,
	.tests = stcp_tests,
	.n_tests = SG_ARRAY_LEN(stcp_tests),
};

const struct carrier carrier_stcpr = {
	.name = "stcpr",
	.plugin = &sg_plugin_transport_tcp,
	.by_key = true,
	.host = host,
	.around = around,
	.call = call,
	.tests = stcpr_tests,
	.n_tests = SG_ARRAY_LEN(stcpr_tests),
};
