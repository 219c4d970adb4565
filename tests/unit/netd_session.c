/*
 * What core may ask of netd, over a real socketpair, with a kernel in memory and a clock that the test moves: good
 * conversations, hostile ones, events, reload, disarming, the end.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "fake/kernel.h"
#include "netd/netd.h"
#include "wire/netd.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define LEASE 0xac10000c /* 172.16.0.12 */
#define VISOR "config visor 'main'\n\toption user '64011'\n"
#define LAN   "config interface 'home'\n\toption role 'lan'\n\tlist device 'br-lan'\n"
#define VPN   VISOR LAN "config vpn_client 'vpn'\n\toption mode 'vpn'\n"
#define HOST  VISOR "config vpn_client 'vpn'\n\toption mode 'host'\n"
#define EXIT  VISOR "config vpn_server 'exit'\n\toption uplink 'wan0'\n"

struct world {
	struct sg_clock clock; /* first */
	struct sg_mono now;
	char dir[32], conf[64];
	struct rundir run;
	struct kernel *k;
	struct sg_loop *loop;
	struct netd n;
	int core; /* core's end */
	unsigned lines;
	char log[8192];
};

static struct sg_mono now(struct sg_clock *c)
{
	return ((struct world *)c)->now;
}

static void keep_log(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	struct world *w = arg;
	size_t len = strlen(w->log);

	(void)level;
	snprintf(w->log + len, sizeof(w->log) - len, "%s: %s\n", topic, line);
	w->lines++;
}

static void write_conf(struct world *w, const char *text)
{
	FILE *f = fopen(w->conf, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(w->conf, 0644), 0);
}

static void no_finding(void *arg, unsigned line, const char *message)
{
	(void)arg;
	fail_msg("line %u: %s", line, message);
}

static void connect_core(struct world *w)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	if (w->core >= 0)
		close(w->core);
	w->core = pair[1];
	assert_int_equal(session_open(&w->n, pair[0]), 0);
}

static void begin(struct world *w, const char *conf)
{
	const struct netd_options opt = {.config = w->conf, .run = w->dir, .state = w->dir, .core = "/nonexistent"};
	struct netd_conf c;

	write_conf(w, conf);
	assert_int_equal(netd_conf_load(w->conf, no_finding, NULL, &c), 0);
	assert_int_equal(netd_init(&w->n, w->loop, w->k, &opt, &c, &w->run), 0);
	assert_int_equal(netd_reconcile(&w->n), 0);
	connect_core(w);
}

static int setup(void **state)
{
	static struct world w;
	char why[256];

	w = (struct world){.clock = {now}, .dir = "/tmp/netd_session.XXXXXX", .k = fake_kernel_new(), .core = -1};
	fake_link(w.k, "br-lan");
	fake_link(w.k, "wan0");
	fake_addr(w.k, "br-lan", "192.168.77.1", 24);
	fake_addr(w.k, "wan0", "192.0.2.2", 24);
	w.loop = sg_loop_new(&w.clock);
	if (!w.loop || !mkdtemp(w.dir) || rundir_open(&w.run, w.dir, getegid(), why, sizeof(why)) < 0)
		return -1;
	snprintf(w.conf, sizeof(w.conf), "%s/conf", w.dir);
	sg_log_set_sink(keep_log, &w);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	netd_fini(&w->n);
	sg_loop_free(w->loop);
	close(w->core);
	rundir_close(&w->run);
	fake_kernel_free(w->k);
	return fake_remove_dir(w->dir);
}

static void step(struct world *w)
{
	for (int i = 0; i < 3; i++)
		sg_loop_step(w->loop, 0);
}

static void pass(struct world *w, int64_t ms)
{
	for (; ms > 0; ms -= 50) {
		w->now = sg_mono_add_ms(w->now, SG_MIN(ms, 50));
		sg_loop_step(w->loop, 0);
	}
}

/* Asks and waits for the answer; *got is a descriptor that came along, or -1. Changes told in between are passed over. */
static struct sg_netd_msg ask_with(struct world *w, struct sg_netd_msg q, int give, int *got)
{
	static uint32_t id;
	struct sg_netd_msg a;

	q.id = ++id;
	assert_int_equal(sg_netd_send(w->core, &q, give), 0);
	step(w);
	do
		assert_int_equal(sg_netd_recv(w->core, false, &a, got), 0);
	while (a.type == SG_NETD_CHANGED);
	assert_int_equal(a.type, q.type | SG_NETD_ANSWER);
	assert_int_equal(a.id, q.id);
	return a;
}

static struct sg_netd_msg ask(struct world *w, struct sg_netd_msg q)
{
	struct sg_netd_msg a;
	int got;

	a = ask_with(w, q, -1, &got);
	assert_int_equal(got, -1);
	return a;
}

static struct sg_netd_msg path(uint8_t p)
{
	return (struct sg_netd_msg){.type = SG_NETD_PATH, .u.path = p};
}

static struct sg_netd_msg lease(uint32_t address)
{
	return (struct sg_netd_msg){.type = SG_NETD_LEASE_SET, .u.lease = {address, 0}};
}

static int open_tun(struct world *w, uint8_t role, struct sg_netd_msg *a)
{
	int fd;

	*a = ask_with(w, (struct sg_netd_msg){.type = SG_NETD_TUN_OPEN, .u.role = role}, -1, &fd);
	return fd;
}

static void test_client(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg a;
	int tun;

	begin(w, VPN);
	assert_int_equal(w->n.word, NETD_IS_ARMED);
	tun = open_tun(w, SG_TUN_CLIENT, &a);
	assert_int_equal(a.err, 0);
	assert_true(tun >= 0);
	assert_string_equal(a.u.tun.name, "sky0");
	assert_int_equal(a.u.tun.mtu, SG_VPN_MTU);
	assert_int_equal(a.u.tun.n_busy, 2);
	assert_int_equal(a.u.tun.busy[0].net, 0xc0a84d00);
	assert_true(k_view_link(&w->k->view, "sky0")->up);

	/* No path without a lease, and no lease that is no address of ours. */
	a = ask(w, path(SG_PATH_UP));
	assert_int_equal(a.err, SG_ESTATE);
	assert_string_equal(a.text, "no path without a lease");
	assert_int_equal(ask(w, path(SG_PATH_DOWN)).err, 0);
	assert_int_equal(w->n.word, NETD_IS_BLOCKING);
	a = ask(w, lease(0xc0a84d05));
	assert_int_equal(a.err, SG_EDUP);
	assert_string_equal(
		a.text, "the exit leased 192.168.77.5, which lies in 192.168.77.0/24, a network of this machine");
	a = ask(w, lease(0x7f000001));
	assert_int_equal(a.err, SG_EMALF);
	assert_string_equal(a.text, "the exit leased 127.0.0.1, which is no address of a host");
	assert_int_equal(ask(w, lease(0xe0000001)).err, SG_EMALF);
	assert_int_equal(w->n.state.lease, 0);

	assert_int_equal(ask(w, lease(LEASE)).err, 0);
	assert_int_equal(ask(w, path(SG_PATH_UP)).err, 0);
	assert_int_equal(w->n.word, NETD_IS_CONNECTED);
	assert_non_null(strstr(w->k->nft, "oifname \"sky0\" meta nfproto ipv4 accept"));
	w->k->counts.blocked = 12;
	a = ask(w, (struct sg_netd_msg){.type = SG_NETD_COUNTERS});
	assert_int_equal(a.u.status.mode, NETD_VPN);
	assert_true(a.u.status.rules_in_place);
	assert_int_equal(a.u.status.path, SG_PATH_UP);
	assert_int_equal(a.u.status.blocked, 12);
	assert_int_equal(ask(w, path(SG_PATH_OPEN)).err, 0);
	assert_null(w->k->nft);
	assert_false(ask(w, (struct sg_netd_msg){.type = SG_NETD_COUNTERS}).u.status.rules_in_place);
	assert_int_equal(ask(w, path(SG_PATH_UP)).err, 0);
	assert_int_equal(ask(w, lease(0)).err, 0);
	assert_int_equal(w->n.word, NETD_IS_BLOCKING);
	close(tun);
}

/* Somebody deletes the device: whoever asks again gets a living one, set up like the first. */
static void test_tun_deleted(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg a;
	int before, after;

	begin(w, VPN);
	before = open_tun(w, SG_TUN_CLIENT, &a);
	snprintf(w->k->view.links[w->k->view.n_links - 1].name, sizeof(w->k->view.links[0].name), "gone0");
	close(w->k->tun_far[SG_TUN_CLIENT]);
	after = open_tun(w, SG_TUN_CLIENT, &a);
	assert_int_equal(a.err, 0);
	assert_true(after >= 0);
	assert_int_equal(write(w->k->tun_far[SG_TUN_CLIENT], "x", 1), 1);
	assert_int_equal(read(after, &a, sizeof(a)), 1);
	assert_true(k_view_link(&w->k->view, "sky0")->up);
	assert_non_null(strstr(w->log, "sky0 was deleted by somebody"));
	close(before);
	close(after);
}

/* core dies: blocked at once; its TUN stays, and is empty when the next core gets it. */
static void test_core_dies(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg a;
	char packet[100] = {0};
	int tun;

	begin(w, VPN);
	close(open_tun(w, SG_TUN_CLIENT, &a));
	assert_int_equal(ask(w, lease(LEASE)).err, 0);
	assert_int_equal(ask(w, path(SG_PATH_UP)).err, 0);
	w->n.supervisor.pid = 1;
	supervisor_ended(&w->n.supervisor, SIGKILL);
	assert_int_equal(w->n.word, NETD_IS_BLOCKING);
	assert_non_null(strstr(w->k->nft, "counter name blocked drop"));
	assert_non_null(k_view_link(&w->k->view, "sky0"));
	assert_int_equal(w->n.state.lease, LEASE);
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(w->k->tun_far[0], packet, sizeof(packet), 0), sizeof(packet));
	connect_core(w);
	tun = open_tun(w, SG_TUN_CLIENT, &a);
	assert_int_equal(a.err, 0);
	assert_true(a.u.tun.offload);
	assert_int_equal(read(tun, packet, sizeof(packet)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(ask(w, path(SG_PATH_UP)).err, 0);
	assert_int_equal(w->n.word, NETD_IS_CONNECTED);
	/* The flows of before go on: their connections were not forgotten. */
	assert_int_equal(w->k->flushes, 1);
	close(tun);
}

static void test_exit(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg a;
	int tun;

	begin(w, EXIT);
	tun = open_tun(w, SG_TUN_CLIENT, &a);
	assert_int_equal(tun, -1);
	assert_int_equal(a.err, SG_ESTATE);
	assert_non_null(strstr(a.text, "no section vpn_client with a mode other than 'off'"));
	assert_int_equal(ask(w, lease(LEASE)).err, SG_ESTATE);
	tun = open_tun(w, SG_TUN_SERVER, &a);
	assert_string_equal(a.u.tun.name, "skyx0");
	assert_int_equal(a.u.tun.n_busy, 0);
	close(tun);
	/* What lies in the pool is told, for leases to keep away from it; no more than there is room for. */
	fake_link(w->k, "docker0");
	fake_addr(w->k, "docker0", "172.17.0.1", 16);
	close(open_tun(w, SG_TUN_SERVER, &a));
	assert_int_equal(a.u.tun.n_busy, 1);
	assert_int_equal(a.u.tun.busy[0].net, 0xac110000);
	assert_int_equal(a.u.tun.busy[0].bits, 16);
	for (unsigned i = 0; i < 80; i++) {
		char address[32];

		snprintf(address, sizeof(address), "172.18.%u.1", i);
		fake_addr(w->k, "docker0", address, 24);
	}
	close(open_tun(w, SG_TUN_SERVER, &a));
	assert_int_equal(a.err, 0);
	assert_int_equal(a.u.tun.n_busy, 64);
	assert_non_null(strstr(w->log, "more than 64 networks of this machine lie where leases are to be"));
	fake_addr(w->k, "docker0", "172.16.0.1", 16);
	tun = open_tun(w, SG_TUN_SERVER, &a);
	assert_int_equal(tun, -1);
	assert_int_equal(a.err, SG_ECONF);
	assert_string_equal(a.text,
		"vpn_server: option pool: 172.16.0.0/12 clashes with 172.16.0.0/16, a network of this "
		"machine\n  choose another one, such as:  option pool '10.64.0.0/10'");
}

static void test_no_tun_device(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg a;

	begin(w, VPN);
	w->k->tun_error = -ENOENT;
	assert_int_equal(open_tun(w, SG_TUN_CLIENT, &a), -1);
	assert_int_equal(a.err, -ENOENT);
	assert_non_null(strstr(a.text, "/dev/net/tun: "));
	w->k->tun_error = 0;
	close(open_tun(w, SG_TUN_CLIENT, &a));
	assert_int_equal(a.err, 0);
}

static void test_tune(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg q = {.type = SG_NETD_TUNE}, a;
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), got;

	begin(w, VPN);
	assert_int_equal(ask_with(w, q, tcp, &got).err, 0);
	assert_int_equal(w->k->tuned, 1);
	a = ask_with(w, q, udp, &got);
	assert_int_equal(a.err, -EINVAL);
	assert_string_equal(a.text, "not a TCP socket");
	a = ask(w, q);
	assert_int_equal(a.err, -EBADF);
	assert_string_equal(a.text, "no socket came along");
	assert_int_equal(w->k->tuned, 1);
	close(tcp);
	close(udp);
}

static size_t open_descriptors(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Descriptors that nobody asked for, and floods: no descriptor stays, the answer is no, work goes on. */
static void test_flood(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg q = path(SG_PATH_DOWN), a;
	unsigned done = 0, refused = 0;
	size_t before;
	int got;

	begin(w, VPN);
	before = open_descriptors();
	for (int i = 0; i < 100; i++) {
		a = ask_with(w, q, w->core, &got);
		assert_int_equal(got, -1);
		done += a.err == 0;
		refused += a.err == -EBUSY;
	}
	assert_int_equal(done, 20);
	assert_int_equal(refused, 80);
	assert_string_equal(a.text, "asked too often");
	assert_int_equal(open_descriptors(), before);
	pass(w, 1000);
	assert_int_equal(ask(w, q).err, 0);
}

/* A child that does nothing, in core's place: what netd does to it is seen by its end. */
static pid_t sleeper(struct world *w)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	w->n.supervisor.pid = pid;
	return pid;
}

static void killed(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_garbage(void **state)
{
	struct world *w = *state;
	uint8_t bytes[SG_NETD_MSG_MAX];
	unsigned char seed = 1;
	pid_t pid;

	begin(w, VPN);
	pid = sleeper(w);
	for (int i = 0; i < 15; i++) {
		size_t len = 1 + (size_t)i * 37 % 200;

		for (size_t b = 0; b < len; b++)
			bytes[b] = seed = (unsigned char)(seed * 181 + 101);
		bytes[0] |= 0x40; /* no type of ours */
		assert_int_equal(send(w->core, bytes, len, 0), len);
		step(w);
	}
	assert_int_equal(ask(w, path(SG_PATH_DOWN)).err, 0);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	/* Once more, and it is not listened to any longer. */
	assert_int_equal(send(w->core, bytes, 1, 0), 1);
	step(w);
	assert_int_equal(w->n.session.fd, -1);
	assert_non_null(strstr(w->log, "sends what it should not: killed"));
	killed(pid);
	assert_int_equal(w->n.word, NETD_IS_BLOCKING);
}

static void test_socket_closed(void **state)
{
	struct world *w = *state;
	pid_t pid;

	begin(w, VPN);
	close(w->core);
	w->core = -1;
	pid = sleeper(w);
	step(w);
	assert_int_equal(w->n.session.fd, -1);
	/* It may be ending by itself, with a status that tells why. */
	pass(w, 800);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	pass(w, 400);
	assert_non_null(strstr(w->log, "closed its socket and did not end: killed"));
	killed(pid);
	w->core = open("/dev/null", O_RDONLY);
}

static void test_reload(void **state)
{
	struct world *w = *state;
	const struct sg_netd_msg q = {.type = SG_NETD_APPLY};
	struct sg_netd_msg a;
	char *was;

	begin(w, VPN);
	was = strdup(w->k->nft);
	write_conf(w, VISOR LAN "config vpn_client 'vpn'\n\toption mode 'vpm'\n");
	a = ask(w, q);
	assert_int_equal(a.err, SG_ECONF);
	assert_non_null(strstr(a.text,
		"conf:7: vpn_client 'vpn': option mode: 'vpm' is none of its values\n  accepted: off, vpn, host"));
	assert_string_equal(w->k->nft, was);
	write_conf(w, "config visor 'main'\n\toption user '64012'\n" LAN);
	a = ask(w, q);
	assert_int_equal(a.err, SG_ECONF);
	assert_non_null(strstr(a.text, "core's user cannot change while it runs:  systemctl restart skygate"));
	assert_string_equal(w->k->nft, was);
	write_conf(w, VPN "\toption kill_switch '0'\n");
	assert_int_equal(ask(w, q).err, 0);
	assert_null(w->k->nft);
	write_conf(w, VPN);
	assert_int_equal(ask(w, q).err, 0);
	assert_string_equal(w->k->nft, was);
	/* The TUN is there as soon as the file asks for it, and is let go when it does not. */
	assert_true(w->n.tun[0] >= 0);
	write_conf(w, VISOR LAN);
	assert_int_equal(ask(w, q).err, 0);
	assert_int_equal(w->n.tun[0], -1);
	assert_null(w->k->nft);
	free(was);
}

/* How often core was told of changes since it was asked last. */
static unsigned told(struct world *w)
{
	struct sg_netd_msg m;
	unsigned n = 0;
	int got;

	for (; sg_netd_recv(w->core, false, &m, &got) == 0; n++)
		assert_int_equal(m.type, SG_NETD_CHANGED);
	return n;
}

/* Somebody else's flush is mended at once, and core is told of addresses and links. */
static void test_events(void **state)
{
	struct world *w = *state;
	struct sg_netd_msg m;
	int got;

	begin(w, VPN);
	fake_nft_flush(w->k);
	step(w);
	assert_non_null(w->k->nft);
	assert_non_null(strstr(w->log, "table inet skygate: changed by somebody else"));
	pass(w, 200);
	fake_addr(w->k, "br-lan", "10.3.0.1", 16);
	fake_event(w->k, 0, K_ADDRS);
	step(w);
	assert_non_null(strstr(w->k->nft, "ip saddr != { 192.168.77.0/24, 10.3.0.0/16 }"));
	assert_int_equal(sg_netd_recv(w->core, false, &m, &got), 0);
	assert_int_equal(m.type, SG_NETD_CHANGED);
	assert_int_equal(m.u.what, K_ADDRS);
	/* A storm of routes is looked at ten times a second, one of rulesets every 10 ms. */
	pass(w, 200);
	for (int i = 0; i < 100; i++) {
		fake_event(w->k, 0, K_ROUTES);
		pass(w, 10);
	}
	assert_in_range(told(w), 9, 12);
	pass(w, 200);
	w->k->changes = 0;
	for (int i = 0; i < 100; i++) {
		fake_nft_flush(w->k);
		pass(w, 1);
	}
	pass(w, 200);
	assert_in_range(w->k->changes, 9, 12);
	assert_non_null(w->k->nft);
}

static void test_refusal_after_30_s(void **state)
{
	struct world *w = *state;

	begin(w, VPN);
	assert_null(strstr(w->k->nft, "icmpx"));
	pass(w, SG_VPN_REFUSE_AFTER_MS - 100);
	assert_null(strstr(w->k->nft, "icmpx"));
	pass(w, 200);
	assert_non_null(strstr(w->k->nft, "reject with icmpx admin-prohibited"));
}

/* A change that fails is tried again every second. */
static void test_tried_again(void **state)
{
	struct world *w = *state;

	begin(w, VPN);
	w->k->fail_at = 1;
	assert_true(ask(w, path(SG_PATH_OPEN)).err < 0);
	assert_non_null(w->k->nft);
	pass(w, 1100);
	assert_null(w->k->nft);
}

static void test_disarmed_and_armed(void **state)
{
	struct world *w = *state;

	begin(w, VPN);
	assert_int_equal(rundir_set_disarmed(&w->run, true), 0);
	netd_look_again(&w->n);
	assert_null(w->k->nft);
	assert_int_equal(w->k->view.n_rules, 0);
	assert_int_equal(ask(w, path(SG_PATH_DOWN)).err, 0);
	assert_null(w->k->nft);
	assert_int_equal(ask(w, (struct sg_netd_msg){.type = SG_NETD_COUNTERS}).u.status.mode, NETD_OFF);
	assert_int_equal(rundir_set_disarmed(&w->run, false), 0);
	netd_look_again(&w->n);
	assert_non_null(w->k->nft);
	assert_non_null(strstr(w->log, "disarmed by the owner, until skygate-netd --arm or a restart"));
}

/*
 * --arm removes the owner's word, makes the rules and says that they are there, all under the lock. A netd that had read the
 * word before it waited for the lock took them away again, until the kernel told it that they had changed.
 */
static void test_the_word_is_read_under_the_lock(void **state)
{
	const struct timespec some = {.tv_nsec = 300000000};
	struct world *w = *state;
	int ready[2], status = -1;
	char byte;
	pid_t child;

	begin(w, VPN);
	assert_int_equal(rundir_set_disarmed(&w->run, true), 0);
	netd_look_again(&w->n);
	assert_null(w->k->nft);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		int lock = rundir_apply_lock(&w->run);

		close(ready[1]);
		nanosleep(&some, NULL);
		status = rundir_set_disarmed(&w->run, false);
		rundir_apply_unlock(lock);
		_exit(lock >= 0 && status == 0 ? 0 : 1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0);
	close(ready[0]);
	assert_int_equal(netd_reconcile(&w->n), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_non_null(w->k->nft);
}

/* Mode host waits for core before it closes; who armed is not kept waiting. */
static void test_host_armed_by_the_owner(void **state)
{
	struct world *w = *state;

	assert_int_equal(rundir_disarm_next(&w->run), 0);
	assert_int_equal(rundir_started(&w->run), 0);
	begin(w, HOST);
	assert_null(w->k->nft);
	assert_int_equal(rundir_set_disarmed(&w->run, false), 0);
	netd_look_again(&w->n);
	assert_non_null(w->k->nft);
}

static void test_end(void **state)
{
	struct world *w = *state;

	begin(w, VPN);
	netd_stopping(&w->n);
	assert_non_null(w->k->nft);
	assert_non_null(strstr(w->log, "the kill switch stays closed and steered traffic blocked. To open:  "
				       "skygate-netd --disarm"));
	w->log[0] = '\0';
	w->n.conf.kill_switch = false;
	netd_stopping(&w->n);
	assert_null(w->k->nft);
	assert_null(strstr(w->log, "--disarm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tun_deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_core_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_tun_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tune, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusal_after_30_s, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tried_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disarmed_and_armed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_word_is_read_under_the_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_host_armed_by_the_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
