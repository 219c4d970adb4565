/*
 * The contract of a carrier, one suite for each of them, over loopback: what it brings carries links (connect, echo, order,
 * large, backpressure, close), it follows its configuration (reload), and strangers (garbage) cost one connection. It
 * runs the same for carriers with sockets, for streams through a server, and for one by somebody else (unix.c).
 *
 * What a carrier promises besides is in the file of its name; carrier_visors.c has the two visors.
 */
#include "carrier.h"
#include "base/alloc.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PART  (256 * 1024)
#define TOTAL (3 * 1024 * 1024)
#define LARGE (8 * 1024 * 1024)

/* ---- connect ---- */

static const struct visor *dialler;
static size_t n_links;

static bool link_is_of(void *arg, const struct sg_link_info *info)
{
	const struct visor *v = arg;

	assert_memory_equal(&info->remote, &visors[v == visors].pk, sizeof(info->remote));
	assert_string_equal(info->carrier, carrier->name);
	assert_int_equal(info->dialled, v == dialler);
	n_links++;
	return true;
}

static void each_side_may_connect(void **state)
{
	for (int i = 0; i < 2; i++) {
		visors_setup(state);
		assert_int_equal(visor_start(&visors[0]), 0);
		assert_int_equal(visor_start(&visors[1]), 0);
		assert_true(turn_until(all_found));
		dialler = &visors[i];
		dial_peer(&visors[i], &visors[!i]);
		assert_true(turn_until(both_linked));
		n_links = 0;
		links_each(visors[0].links, link_is_of, &visors[0]);
		links_each(visors[1].links, link_is_of, &visors[1]);
		assert_int_equal(n_links, 2);
		visors_teardown(state);
	}
}

static void an_end_that_goes_away_is_noticed_and_redialled(void **state)
{
	(void)state;
	link_up();
	visor_net_free(&visors[1]);
	visor_net_new(&visors[1]);
	assert_true(turn_until(none_linked));
	fake_pass(visors[0].h, 1000);
	assert_true(turn_until(both_linked));
}

/* ---- echo, order, large ---- */

static bool all_came_back(void)
{
	return visors[0].got == visors[0].sent;
}

static void what_is_sent_comes_back(void **state)
{
	(void)state;
	link_up();
	streams_up(&visors[0]);
	visors[1].echo = true;
	for (unsigned i = 0; i < 20; i++) {
		assert_true(send_up_to(&visors[0], visors[0].sent + 1 + i * 977 % 5000));
		assert_true(turn_until(all_came_back));
	}
	assert_true(visors[0].in_order && visors[1].in_order);
}

static bool all_arrived(void)
{
	send_up_to(&visors[0], TOTAL);
	send_up_to(&visors[1], TOTAL);
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
	streams_up(&visors[0]);
	assert_true(turn_until(all_arrived));
	assert_true(visors[0].in_order && visors[1].in_order);
	end_stream(&visors[0]);
	assert_true(turn_until(one_ended));
}

static bool large_arrived(void)
{
	send_up_to(&visors[0], LARGE);
	return visors[1].got == LARGE;
}

static void megabytes_go_one_way(void **state)
{
	(void)state;
	link_up();
	streams_up(&visors[0]);
	assert_true(turn_until(large_arrived));
	assert_true(visors[1].in_order);
	assert_int_equal(visors[0].got, 0);
	assert_int_equal(links_counters(visors[1].links)->down, 0);
}

/* ---- backpressure ---- */

#define SWALLOWED (32 * 1024 * 1024) /* more than all queues and the kernel's buffers hold */

static bool rest_arrived(void)
{
	return visors[1].got == visors[0].sent && visors[0].writable > 0;
}

/* Sends for a while; @both: the other end's loop turns, too. The sender has been stopped by then. */
static void send_into(bool both)
{
	uint64_t before = 0;

	for (int i = 0; i < 300; i++) {
		if (i == 200)
			before = visors[0].sent;
		send_up_to(&visors[0], SWALLOWED);
		sg_loop_step(visors[0].h->loop, 1);
		if (both)
			sg_loop_step(visors[1].h->loop, 0);
	}
	assert_true(visors[0].sent > 0 && visors[0].sent < SWALLOWED);
	assert_int_equal(visors[0].sent, before);
}

static void an_end_that_does_not_turn_stops_its_sender(void **state)
{
	(void)state;
	link_up();
	streams_up(&visors[0]);
	send_into(false);
	assert_int_equal(visors[1].got, 0);
	visors[0].writable = 0;
	assert_true(turn_until(rest_arrived));
	assert_int_equal(visors[0].writable, 1);
	assert_true(visors[1].in_order);
	assert_true(both_linked());
}

static void while_nobody_reads_nothing_comes(void **state)
{
	(void)state;
	link_up();
	streams_up(&visors[0]);
	visors[1].st->ops->want(visors[1].st, false);
	visors[1].deaf = true;
	send_into(true);
	visors[0].writable = 0;
	visors[1].deaf = false;
	visors[1].st->ops->want(visors[1].st, true);
	assert_true(turn_until(rest_arrived));
	assert_int_equal(visors[0].writable, 1);
	assert_true(visors[1].in_order);
	assert_true(both_linked());
}

static uint64_t packets_on_the_way;

static bool all_packets_arrived(void)
{
	return links_counters(visors[1].links)->rx_packets >= packets_on_the_way;
}

/*
 * Below streams and their credits: what the carrier itself does not take waits in the link until that says no. Nothing of it is
 * lost, and it costs no more memory than the link allows.
 */
static void a_carrier_that_takes_no_more_stops_the_link(void **state)
{
	static uint8_t data[4000];
	const struct iovec iov = {data, sizeof(data)};
	uint64_t sent = 0, before = 0;
	struct sg_link *l;
	size_t live;

	(void)state;
	link_up();
	l = links_find(visors[0].links, &visors[1].pk);
	assert_non_null(l);
	packets_on_the_way = links_counters(visors[1].links)->rx_packets;
	live = sg_alloc_live();
	for (int i = 0; i < 300; i++) {
		if (i == 200)
			before = sent;
		for (; sent < SWALLOWED / sizeof(data) && link_reserve(l, SG_PACKET_HEAD + sizeof(data)) == 0; sent++)
			link_put(l, SG_PACKET_DATA, 0x51ee7, &iov, 1); /* nobody's: the other end counts and drops it */
		sg_loop_step(visors[0].h->loop, 1);
	}
	assert_true(sent > 0 && sent < SWALLOWED / sizeof(data));
	assert_int_equal(sent, before);
	assert_true(sg_alloc_live() - live < 1024 * 1024);
	packets_on_the_way += sent;
	assert_true(turn_until(all_packets_arrived));
	assert_int_equal(links_counters(visors[0].links)->down + links_counters(visors[1].links)->down, 0);
}

/* ---- close ---- */

static struct visor *closing; /* the other end hears of it */

static bool other_ended(void)
{
	return visors[closing == visors].ended;
}

static bool some_arrived(void)
{
	send_up_to(&visors[0], TOTAL);
	send_up_to(&visors[1], TOTAL);
	return visors[0].got >= PART && visors[1].got >= PART;
}

/* What was there before costs the next stream nothing. */
static void a_new_stream_works(void)
{
	streams_up(&visors[0]);
	assert_true(turn_until(all_arrived));
	assert_true(visors[0].in_order && visors[1].in_order);
	end_stream(&visors[0]);
	assert_true(turn_until(one_ended));
}

static void each_side_may_close(void **state)
{
	(void)state;
	link_up();
	for (int i = 0; i < 2; i++) {
		streams_up(&visors[0]);
		closing = &visors[i];
		end_stream(closing);
		assert_true(turn_until(other_ended));
		assert_false(closing->ended);
	}
	assert_true(both_linked());
}

static bool closing_sent_all(void)
{
	return send_up_to(closing, 4 * PART);
}

static void what_was_sent_before_a_close_arrives(void **state)
{
	(void)state;
	link_up();
	for (int i = 0; i < 2; i++) {
		streams_up(&visors[0]);
		closing = &visors[i];
		assert_true(turn_until(closing_sent_all));
		end_stream(closing);
		assert_true(turn_until(other_ended));
		assert_int_equal(visors[!i].got, 4 * PART);
		assert_true(visors[!i].in_order);
	}
}

static void each_side_may_close_amid_a_transfer(void **state)
{
	(void)state;
	link_up();
	for (int i = 0; i < 2; i++) {
		streams_up(&visors[0]);
		assert_true(turn_until(some_arrived));
		closing = &visors[i];
		end_stream(closing);
		assert_true(turn_until(other_ended));
		assert_true(visors[!i].in_order);
	}
	a_new_stream_works();
	assert_int_equal(links_counters(visors[0].links)->down + links_counters(visors[1].links)->down, 0);
}

/* A visor ends while both talk: its own streams hear of it at once, the other end's when the link is down. */
static void each_side_may_go_away_amid_a_transfer(void **state)
{
	for (int i = 0; i < 2; i++) {
		visors_setup(state);
		link_up();
		streams_up(&visors[0]);
		assert_true(turn_until(some_arrived));
		closing = &visors[i];
		visor_net_free(closing);
		assert_true(closing->ended);
		visor_net_new(closing);
		assert_true(turn_until(none_linked));
		assert_true(other_ended());
		dial_peer(&visors[0], &visors[1]);
		fake_pass(visors[0].h, 1000);
		assert_true(turn_until(both_linked));
		a_new_stream_works();
		visors_teardown(state);
	}
}

/* Bytes that it leaves unread must not turn its end into a reset, which would throw away its own last words. */
static void an_end_that_stops_while_the_other_talks_ends_in_order(void **state)
{
	static uint8_t talk[100000];

	(void)state;
	link_up();
	streams_up(&visors[0]);
	assert_int_equal(visors[0].st->ops->send(visors[0].st, &(struct iovec){talk, sizeof(talk)}, 1), 0);
	for (int i = 0; i < 20; i++)
		sg_loop_step(visors[0].h->loop, 1);
	assert_int_equal(visors[1].got, 0);
	visor_net_free(&visors[1]);
	visor_net_new(&visors[1]);
	assert_true(turn_until(first_lost_it));
	assert_string_equal(state_of(&visors[0], &visors[1]).why,
		carrier->relayed ? "the link is down: the other end closed the stream"
				 : "the link is down: the other end closed the connection");
}

/* ---- reload ---- */

static void a_reload_leaves_what_is_open_alone(void **state)
{
	(void)state;
	link_up();
	streams_up(&visors[0]);
	assert_true(turn_until(some_arrived));
	for (int i = 0; i < 2; i++) {
		visor_conf(&visors[i], "");
		assert_int_equal(visors[i].h->plugin->reload(visors[i].h->ctx), 0);
	}
	assert_true(turn_until(all_arrived));
	assert_true(visors[0].in_order && visors[1].in_order);
	assert_int_equal(links_counters(visors[0].links)->down + links_counters(visors[1].links)->down, 0);
}

/* ---- garbage ---- */

static int fds[STRANGERS]; /* where they call a port; others have a way of their own */

static void stranger(size_t i, const void *says, size_t len)
{
	if (carrier->stranger) {
		carrier->stranger(i, says, len);
		return;
	}
	fds[i] = carrier->call(visors[1].port);
	assert_true(fds[i] >= 0);
	assert_int_equal(send(fds[i], says, len, MSG_NOSIGNAL), (ssize_t)len);
}

static bool is_cut(size_t i)
{
	char c[64];
	ssize_t n;

	if (carrier->stranger)
		return carrier->stranger_is_cut(i);
	n = recv(fds[i], c, sizeof(c), MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno != EAGAIN);
}

static bool strangers_are_cut(void)
{
	for (size_t i = 0; i < STRANGERS; i++) {
		if (!is_cut(i))
			return false;
	}
	return true;
}

static void garbage_costs_one_connection_each(void **state)
{
	static const char get[] = "GET / HTTP/1.1\r\n\r\n", zeros[512], almost[] = "get_noncX";

	(void)state;
	link_up();
	streams_up(&visors[0]);
	stranger(0, get, sizeof(get));
	stranger(1, zeros, sizeof(zeros));
	stranger(2, almost, sizeof(almost));
	stranger(3, "\x16\x03\x01", 3);
	assert_true(turn_until(strangers_are_cut));
	for (int i = 0; i < STRANGERS && !carrier->stranger; i++)
		close(fds[i]);
	assert_true(both_linked());
	assert_int_equal(links_counters(visors[1].links)->handshake_failed, STRANGERS);
	assert_int_equal(links_counters(visors[1].links)->down, 0);
	assert_true(turn_until(all_arrived));
	assert_true(visors[0].in_order && visors[1].in_order);
}

/* ---- those that listen at addresses ---- */

static bool connects(uint16_t port)
{
	int fd = carrier->call(port);

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
	visor_conf(&visors[1], both);
	assert_int_equal(visors[1].h->plugin->reload(visors[1].h->ctx), 0);
	assert_true(connects(old));
	assert_true(connects(visors[1].port));
	visor_conf(&visors[1], "");
	assert_int_equal(visors[1].h->plugin->reload(visors[1].h->ctx), 0);
	assert_false(connects(old));
	assert_true(connects(visors[1].port));
	assert_true(both_linked());
	fake_conf(visors[1].h, "");
	assert_int_equal(visors[1].h->plugin->reload(visors[1].h->ctx), 0);
	assert_false(connects(visors[1].port));
	assert_true(both_linked());
}

static void it_may_stop_and_start_again_and_links_stay(void **state)
{
	(void)state;
	link_up();
	for (int i = 0; i < 3; i++) {
		visor_stop(&visors[1]);
		assert_true(visors[1].h->stopped);
		assert_false(connects(visors[1].port));
		assert_int_equal(visor_start(&visors[1]), 0);
		assert_true(connects(visors[1].port));
	}
	assert_true(both_linked());
}

/* ---- those that find others by their key ---- */

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
	assert_int_equal(visor_start(&visors[0]), 0);
	assert_int_equal(visor_start(&visors[1]), 0);
	assert_true(turn_until(all_found));
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
	visor_stop(&visors[1]);
	visor_net_free(&visors[1]);
	visor_net_new(&visors[1]);
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
	static const struct carrier *const carriers[] = {&carrier_stcp, &carrier_stcpr, &carrier_dmsg, &carrier_unix};
	const struct CMUnitTest contract[] = {
		cmocka_unit_test(each_side_may_connect),
		CARRIER_TEST(an_end_that_goes_away_is_noticed_and_redialled),
		CARRIER_TEST(what_is_sent_comes_back),
		CARRIER_TEST(what_it_brings_carries_bytes_in_order_both_ways),
		CARRIER_TEST(megabytes_go_one_way),
		CARRIER_TEST(an_end_that_does_not_turn_stops_its_sender),
		CARRIER_TEST(while_nobody_reads_nothing_comes),
		CARRIER_TEST(a_carrier_that_takes_no_more_stops_the_link),
		CARRIER_TEST(each_side_may_close),
		CARRIER_TEST(what_was_sent_before_a_close_arrives),
		CARRIER_TEST(each_side_may_close_amid_a_transfer),
		cmocka_unit_test(each_side_may_go_away_amid_a_transfer),
		CARRIER_TEST(an_end_that_stops_while_the_other_talks_ends_in_order),
		CARRIER_TEST(a_reload_leaves_what_is_open_alone),
		CARRIER_TEST(garbage_costs_one_connection_each),
	};
	const struct CMUnitTest listening[] = {
		CARRIER_TEST(a_reload_moves_listeners_and_leaves_links_alone),
		CARRIER_TEST(it_may_stop_and_start_again_and_links_stay),
	};
	const struct CMUnitTest by_key[] = {
		CARRIER_TEST(a_link_on_demand),
	};
	int failed = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(carriers); i++) {
		carrier = carriers[i];
		failed += cmocka_run_group_tests_name(carrier->name, contract, NULL, NULL);
		if (carrier->call)
			failed += cmocka_run_group_tests_name(carrier->name, listening, NULL, NULL);
		if (carrier->by_key)
			failed += cmocka_run_group_tests_name(carrier->name, by_key, NULL, NULL);
		if (carrier->n_tests)
			failed += _cmocka_run_group_tests(carrier->name, carrier->tests, carrier->n_tests, NULL, NULL);
	}
	return failed;
}
