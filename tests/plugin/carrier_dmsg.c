/*
 * The carrier dmsg under test: two visors meet at a relay, and find it and each other through a discovery. What it shows
 * besides the contract: links by key have no address, the network takes its links along, and a crowd costs nothing.
 */
#include "carrier.h"
#include "base/alloc.h"
#include "base/hex.h"
#include "fake/relay.h"

#include <stdlib.h>

extern const struct sg_plugin sg_plugin_transport_dmsg;

static struct relay *relay;

static void around(bool there)
{
	if (there) {
		relay = relay_new(visors[1].h->loop, visors[1].crypto);
		assert_non_null(relay);
	} else {
		relay_free(relay);
	}
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

static void host(struct sg_host *table)
{
	table->disc_entry = disc_entry;
	table->disc_servers = disc_servers;
	table->disc_cancel = disc_cancel;
	table->disc_update = disc_update;
}

static bool is_found(const struct visor *v)
{
	return v->n_servers > 0;
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
	assert_true(turn_until(all_found));
	for (int i = 0; i < 100 && !both_linked(); i++) {
		fake_pass(visors[0].h, 100);
		fake_pass(visors[1].h, 100);
		(void)turn_until(both_linked);
	}
	assert_true(both_linked());
	visor_stop(&visors[1]);
	assert_true(turn_until(none_linked));
	assert_int_equal(visor_start(&visors[1]), 0);
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
	assert_int_equal(visor_start(&visors[0]), 0);
	memset(&other, 0, sizeof(other));
	other.pk = visors[1].pk; /* it does not run */
	dial_peer(&visors[0], &other);
	assert_true(turn_until(failed_once));
	assert_memory_equal(state_of(&visors[0], &visors[1]).why, "no stream by dmsg: ", 19);
}

/* ---- strangers on the port of transports ---- */

#define AT_ONCE 48 /* more than one key may have in handshake */

struct guest {
	struct sg_stream *st;
	bool dialling, gone;
	const void *says;
	size_t len;
};

static struct guest guests[AT_ONCE];
static int came, gone;

static void guest_data(void *arg, struct sg_view in)
{
	(void)arg;
	(void)in;
}

static void guest_writable(void *arg)
{
	(void)arg;
}

static void guest_close(void *arg, int err, const char *why)
{
	struct guest *g = arg;

	(void)err;
	(void)why;
	g->st = NULL;
	g->gone = true;
	gone++;
}

static const struct sg_stream_user guest_user = {
	.size = sizeof(guest_user), .on_data = guest_data, .on_writable = guest_writable, .on_close = guest_close};

static void guest_comes(void *arg, struct sg_stream *st, int err, const char *why)
{
	struct guest *g = arg;

	(void)why;
	g->dialling = false;
	if (err < 0) {
		g->gone = true;
		gone++;
		return;
	}
	g->st = st;
	st->user = &guest_user;
	st->user_arg = g;
	if (g->len)
		assert_int_equal(st->ops->send(st, &(struct iovec){(void *)(uintptr_t)g->says, g->len}, 1), 0);
}

static void stranger(size_t i, const void *says, size_t len)
{
	const struct sg_network_ops *net = sg_plugin_transport_dmsg.provides[0].ops;

	guests[i] = (struct guest){.dialling = true, .says = says, .len = len};
	assert_int_equal(net->dial(visors[0].h->ctx, &visors[1].pk, 45, guest_comes, &guests[i]), 0);
}

static bool stranger_is_cut(size_t i)
{
	return guests[i].gone;
}

/* How many come: few in a short test. */
static int crowd(void)
{
	const char *text = getenv("SG_CROWD");

	return text ? (int)strtol(text, NULL, 10) : 600;
}

/* They say nothing, something that is no entry, or the beginning of one. */
static void a_crowd_costs_no_link_and_no_memory(void **state)
{
	static const char garbage[] = "\xff\x00 no JSON at all", half[] = "{\"entry\":{\"t_id\":\"";
	const struct sg_view says[] = {
		{NULL, 0}, {(const uint8_t *)garbage, sizeof(garbage)}, {(const uint8_t *)half, sizeof(half) - 1}};
	const int all = crowd();
	size_t before, peak = 0;

	(void)state;
	link_up();
	before = sg_alloc_live();
	came = gone = 0;
	memset(guests, 0, sizeof(guests));
	while (gone < all) {
		for (size_t i = 0; i < AT_ONCE && came < all; i++) {
			if (guests[i].st || guests[i].dialling)
				continue;
			came++;
			stranger(i, says[came % 3].p, says[came % 3].len);
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

static const struct CMUnitTest tests[] = {
	CARRIER_TEST(a_link_by_key_has_no_address),
	CARRIER_TEST(its_network_takes_the_links_along),
	CARRIER_TEST(a_key_that_is_not_there_is_a_sentence),
	CARRIER_TEST(a_crowd_costs_no_link_and_no_memory),
};

const struct carrier carrier_dmsg = {
	.name = "dmsg",
	.plugin = &sg_plugin_transport_dmsg,
	.by_key = true,
	.relayed = true,
	.host = host,
	.around = around,
	.is_found = is_found,
	.stranger = stranger,
	.stranger_is_cut = stranger_is_cut,
	.tests = tests,
	.n_tests = SG_ARRAY_LEN(tests),
};
