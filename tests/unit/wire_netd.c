/* Messages between netd and core: every type there and back, every wrong length and value refused, descriptors. */
#include "base/common.h"
#include "base/err.h"
#include "wire/netd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static const struct sg_netd_msg questions[] = {
	{.type = SG_NETD_HEARTBEAT, .id = 1},
	{.type = SG_NETD_TUN_OPEN, .id = 2, .u.role = SG_TUN_SERVER},
	{.type = SG_NETD_LEASE_SET, .id = 0xffffffff, .u.lease = {0xac10000c, 0xac10000b}},
	{.type = SG_NETD_PATH, .id = 4, .u.path = SG_PATH_OPEN},
	{.type = SG_NETD_TUNE, .id = 5},
	{.type = SG_NETD_COUNTERS, .id = 6},
	{.type = SG_NETD_APPLY, .id = 7},
};

static const struct sg_netd_msg replies[] = {
	{.type = SG_NETD_CHANGED, .u.what = 7},
	{.type = SG_NETD_TUN_OPEN | SG_NETD_ANSWER,
		.id = 2,
		.u.tun = {.fd = -1,
			.name = "sky0",
			.mtu = 1500,
			.offload = true,
			.n_busy = 2,
			.busy = {{0x0a000000, 8}, {0xc0a84d00, 24}}}},
	{.type = SG_NETD_TUN_OPEN | SG_NETD_ANSWER, .id = 3, .err = -ENODEV, .text = "/dev/net/tun: no such device"},
	{.type = SG_NETD_LEASE_SET | SG_NETD_ANSWER, .id = 4},
	{.type = SG_NETD_PATH | SG_NETD_ANSWER, .id = 4, .err = SG_ESTATE, .text = "no path without a lease"},
	{.type = SG_NETD_COUNTERS | SG_NETD_ANSWER,
		.id = 5,
		.u.status = {.mode = 1,
			.kill_switch = true,
			.rules_in_place = true,
			.path = SG_PATH_UP,
			.blocked = 1,
			.refused = 0x100000000,
			.forged = UINT64_MAX,
			.restarts = 3,
			.memory = 0x123456789}},
	{.type = SG_NETD_APPLY | SG_NETD_ANSWER, .id = 6, .text = "taken over"},
};

static void there_and_back(const struct sg_netd_msg *m, bool from_core)
{
	uint8_t bytes[SG_NETD_MSG_MAX], longer[SG_NETD_MSG_MAX + 1];
	struct sg_netd_msg got;
	int len = sg_netd_encode(m, bytes, sizeof(bytes));

	assert_in_range(len, SG_NETD_HEAD, sizeof(bytes));
	assert_int_equal(sg_netd_decode((struct sg_view){bytes, (size_t)len}, from_core, &got), 0);
	assert_memory_equal(&got, m, sizeof(got));
	/* Not a byte less, not a byte more, not from the other side. */
	for (int cut = 0; cut < len; cut++)
		assert_int_equal(sg_netd_decode((struct sg_view){bytes, (size_t)cut}, from_core, &got), SG_EMALF);
	memcpy(longer, bytes, sizeof(bytes));
	longer[len] = 0;
	assert_int_equal(sg_netd_decode((struct sg_view){longer, (size_t)len + 1}, from_core, &got), SG_EMALF);
	assert_int_equal(sg_netd_decode((struct sg_view){bytes, (size_t)len}, !from_core, &got), SG_EMALF);
	for (int room = 0; room < len; room++)
		assert_int_equal(sg_netd_encode(m, longer, (size_t)room), SG_ELONG);
	/* The unused bytes of the head are zero. */
	for (int i = 1; i < 4; i++) {
		bytes[i] = 1;
		assert_int_equal(sg_netd_decode((struct sg_view){bytes, (size_t)len}, from_core, &got), SG_EMALF);
		bytes[i] = 0;
	}
}

static void test_round_trips(void **state)
{
	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(questions); i++)
		there_and_back(&questions[i], true);
	for (size_t i = 0; i < SG_ARRAY_LEN(replies); i++)
		there_and_back(&replies[i], false);
}

/* One byte of a good message changed to something that no sender says. */
static void refused(const struct sg_netd_msg *m, bool from_core, size_t at, uint8_t value)
{
	uint8_t bytes[SG_NETD_MSG_MAX];
	struct sg_netd_msg got;
	int len = sg_netd_encode(m, bytes, sizeof(bytes));

	assert_true((size_t)len > at);
	bytes[at] = value;
	assert_int_equal(sg_netd_decode((struct sg_view){bytes, (size_t)len}, from_core, &got), SG_EMALF);
}

static void test_values(void **state)
{
	const struct sg_netd_msg *tun = &replies[1], *why = &replies[2], *status = &replies[5];

	(void)state;
	refused(&questions[0], true, 0, 0);
	refused(&questions[0], true, 0, SG_NETD_CHANGED);
	refused(&questions[0], true, 0, SG_NETD_HEARTBEAT | SG_NETD_ANSWER);
	refused(&questions[1], true, SG_NETD_HEAD, 2);
	refused(&questions[3], true, SG_NETD_HEAD, SG_PATH_OPEN + 1);
	refused(tun, false, SG_NETD_HEAD + 4 + 18, 2);  /* offload is no boolean */
	refused(tun, false, SG_NETD_HEAD + 4 + 19, 65); /* more networks than there is room for */
	refused(tun, false, SG_NETD_HEAD + 4 + 24, 33); /* a prefix of 33 bits */
	refused(why, false, SG_NETD_HEAD, 0x7f);        /* a positive error */
	refused(why, false, SG_NETD_HEAD + 4, 0x02);    /* a text of 512 bytes and more */
	refused(why, false, SG_NETD_HEAD + 6, 0);       /* a text that ends before its length */
	refused(status, false, SG_NETD_HEAD + 4, 3);    /* no such mode */
	refused(status, false, SG_NETD_HEAD + 7, 4);    /* no such path */
}

static void test_name_without_end(void **state)
{
	uint8_t bytes[SG_NETD_MSG_MAX];
	struct sg_netd_msg got;
	int len = sg_netd_encode(&replies[1], bytes, sizeof(bytes));

	(void)state;
	memset(bytes + SG_NETD_HEAD + 4, 'x', 16);
	assert_int_equal(sg_netd_decode((struct sg_view){bytes, (size_t)len}, false, &got), SG_EMALF);
}

static size_t open_descriptors(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_datagrams(void **state)
{
	struct sg_netd_msg got;
	int pair[2], pass;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(sg_netd_recv(pair[1], true, &got, &pass), -EAGAIN);
	assert_int_equal(sg_netd_send(pair[0], &questions[2], -1), 0);
	assert_int_equal(sg_netd_send(pair[0], &questions[4], pair[0]), 0);
	assert_int_equal(sg_netd_recv(pair[1], true, &got, &pass), 0);
	assert_int_equal(got.u.lease.address, 0xac10000c);
	assert_int_equal(pass, -1);
	assert_int_equal(sg_netd_recv(pair[1], true, &got, &pass), 0);
	assert_int_equal(got.type, SG_NETD_TUNE);
	assert_true(pass >= 0);
	assert_int_equal(fcntl(pass, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(pass);
	close(pair[0]);
	assert_int_equal(sg_netd_recv(pair[1], true, &got, &pass), -EPIPE);
	assert_int_equal(sg_netd_send(pair[1], &replies[0], -1), -EPIPE);
	close(pair[1]);
}

static void send_raw(int fd, const void *bytes, size_t len, const int *fds, size_t n_fds)
{
	union {
		char room[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} ctl = {{0}};
	struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds) {
		struct cmsghdr *c;

		mh.msg_control = ctl.room;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &mh, 0), len);
}

/* What a captured core may send: nothing of it may stay open here. */
static void test_hostile_descriptors(void **state)
{
	uint8_t big[SG_NETD_MSG_MAX + 2] = {SG_NETD_HEARTBEAT}, beat[SG_NETD_HEAD] = {SG_NETD_HEARTBEAT};
	struct sg_netd_msg got;
	int pair[2], pass, many[8];
	size_t before;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	for (size_t i = 0; i < SG_ARRAY_LEN(many); i++)
		many[i] = pair[0];
	before = open_descriptors();
	for (size_t n = 2; n <= SG_ARRAY_LEN(many); n++) {
		send_raw(pair[0], beat, sizeof(beat), many, n);
		assert_int_equal(sg_netd_recv(pair[1], true, &got, &pass), SG_EMALF);
		assert_int_equal(pass, -1);
	}
	send_raw(pair[0], "\xff garbage", 9, many, 1);
	assert_int_equal(sg_netd_recv(pair[1], true, &got, &pass), SG_EMALF);
	send_raw(pair[0], big, sizeof(big), many, 1);
	assert_int_equal(sg_netd_recv(pair[1], true, &got, &pass), SG_EMALF);
	send_raw(pair[0], big, SG_NETD_HEAD - 1, NULL, 0);
	assert_int_equal(sg_netd_recv(pair[1], true, &got, &pass), SG_EMALF);
	assert_int_equal(open_descriptors(), before);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_name_without_end),
		cmocka_unit_test(test_datagrams),
		cmocka_unit_test(test_hostile_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
