/*
 * sg-bench-counts: what a packet costs that does not depend on the machine: allocations and system calls on the way TUN → fair
 * queue → stream → link → socket → link → stream → records → TUN, both ends in one process. Counts, not times; what rises above
 * its bound fails. A child does the work, its parent counts its system calls (ptrace), without those that play the kernel's
 * side of the TUNs.
 *
 * Lines of name, number, unit with tabs between. Exit status 1: a bound was broken; 77: nothing can be traced here.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/log.h"
#include "fake/world.h"
#include "out.h"
#include "records.h"
#include "tun.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT   44
#define ROUNDS 200
#define BURST  60 /* packets of a round; of super-packets as many as lie in 192 KiB */

struct phase {
	const char *name;
	size_t len;
	bool super;
	double most_calls; /* system calls of both ends per MB; of super-packets, or per packet otherwise */
};

/* A tenth above what was counted when they were set: some depend on how bursts fall together. */
static const struct phase phases[] = {
	{"super", 61492, true, 90},
	{"udp1400", 1428, false, 2.4},
	{"udp200", 228, false, 2.4},
};

/* What child and parent share. */
struct counted {
	uint64_t packets, bytes, allocs, calls;
	uint64_t by_call[512];
};

static struct counted *counted;
static uint64_t allocs;

void *__real_sg_malloc(size_t size);
void *__real_sg_calloc(size_t n, size_t size);
void *__real_sg_realloc(void *p, size_t size);
void *__wrap_sg_malloc(size_t size);
void *__wrap_sg_calloc(size_t n, size_t size);
void *__wrap_sg_realloc(void *p, size_t size);

void *__wrap_sg_malloc(size_t size)
{
	allocs++;
	return __real_sg_malloc(size);
}

void *__wrap_sg_calloc(size_t n, size_t size)
{
	allocs++;
	return __real_sg_calloc(n, size);
}

void *__wrap_sg_realloc(void *p, size_t size)
{
	allocs++;
	return __real_sg_realloc(p, size);
}

static void need(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "sg-bench-counts: %s\n", what);
		exit(2);
	}
}

/* ---- the child: two visors with a TUN each ------------------------------------------------------------------------ */

struct end {
	struct sg_stream *stream;
	struct fairq *queue;
	struct fairq_count queue_count;
	struct out out;
	struct records_in in;
	struct tun *tun;
	int kernel;
	uint64_t dropped, bad;
	struct sg_loop *loop;
};

static struct fake_world world;
static struct end ends[2];
static uint8_t buffers[BURST][SG_VPN_PACKET_MAX + 10];

static struct fairq_class *on_tun_packet(void *arg, const struct sg_vpn_record *r, const uint8_t *packet)
{
	(void)r;
	(void)packet;
	return &((struct end *)arg)->out.waiting;
}

static void on_tun_batch_end(void *arg)
{
	struct end *e = arg;

	out_pump(&e->out, sg_loop_now(e->loop), SIZE_MAX);
}

static void on_tun_gone(void *arg)
{
	(void)arg;
	need(false, "a TUN is gone");
}

static const struct tun_user tun_user = {on_tun_packet, on_tun_batch_end, on_tun_gone};

static int on_record(void *arg, const struct sg_vpn_record *r, struct sg_view body)
{
	tun_write(((struct end *)arg)->tun, r, body);
	return 0;
}

static void on_data(void *arg, struct sg_view in)
{
	struct end *e = arg;

	need(records_feed(&e->in, in, on_record, e) == 0, "what arrives are no records");
}

static void on_writable(void *arg)
{
	struct end *e = arg;

	out_writable(&e->out, sg_loop_now(e->loop));
}

static void on_close(void *arg, int err, const char *why)
{
	(void)arg;
	(void)err;
	need(false, why);
}

static const struct sg_stream_user user = {
	.size = sizeof(user), .on_data = on_data, .on_writable = on_writable, .on_close = on_close};

static void adopt(struct end *e, struct sg_stream *s)
{
	struct sg_tun info = {.name = "sky0", .mtu = SG_VPN_MTU, .offload = true};
	int fds[2];

	need(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0, "no socket pair");
	e->loop = world.loop;
	e->stream = s;
	s->user = &user;
	s->user_arg = e;
	e->kernel = fds[0];
	info.fd = fds[1];
	e->queue = fairq_new(1024 * 1024, 1, &e->queue_count);
	need(e->queue && tun_open(world.loop, &info, e->queue, &e->dropped, &tun_user, e, &e->tun) == 0, "no TUN");
	out_init(&e->out, s, e->queue, &e->dropped);
	e->out.scratch = tun_scratch(e->tun);
	e->out.rec = e->in.rec = true;
	e->in.bad = &e->bad;
	tun_resume(e->tun);
}

static int on_stream(void *arg, struct sg_stream *s)
{
	adopt(arg, s);
	return 0;
}

static void on_dialed(void *arg, struct sg_stream *s, int err, const char *why)
{
	(void)err;
	need(s != NULL, why);
	adopt(arg, s);
}

static const struct sg_listener_ops listener = {.size = sizeof(listener), .on_stream = on_stream};

static void connect_ends(void)
{
	world_new(&world);
	need(world_boot(&world, 0) && world_boot(&world, 1) && world_peer(&world, 0, 1, false) == 0, "no visors");
	need(route_listen(world.node[1].route, PORT, &listener, &ends[1]) == 0, "the port is taken");
	world_settle(&world);
	need(route_dial(world.node[0].route, &world.node[1].pk, PORT, on_dialed, &ends[0]) == 0, "no dial");
	world_settle(&world);
	need(ends[0].stream && ends[1].stream, "no stream");
}

/* A packet as the kernel gives it, with its virtio_net_hdr. */
static size_t build(const struct phase *ph, uint8_t *b)
{
	uint8_t *p = b + 10;
	uint16_t vnet[4] = {52, 1448, 20, 16};

	memset(b, 0, 10 + ph->len);
	p[0] = 0x45;
	sg_put_u16(p + 2, (uint16_t)ph->len);
	p[8] = 64;
	p[9] = ph->super ? 6 : 17;
	sg_put_u32(p + 12, 0xac10000c);
	sg_put_u32(p + 16, 0xc633640a);
	p[32] = 0x80;
	p[33] = 0x10;
	if (ph->super) {
		b[0] = SG_VPN_F_NEEDS_CSUM;
		b[1] = SG_GSO_TCP4;
		memcpy(b + 2, vnet, sizeof(vnet));
	}
	return 10 + ph->len;
}

static struct mmsghdr messages[BURST];
static struct iovec pieces[BURST];

/* The kernel's side: sends as many as it can, takes what came. Returns packets. */
static int kernel_side(int fd, int n, size_t len, bool sends)
{
	for (int i = 0; i < n; i++) {
		pieces[i] = (struct iovec){buffers[i], len};
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[i], .msg_iovlen = 1}};
	}
	n = sends ? sendmmsg(fd, messages, (unsigned)n, 0) : recvmmsg(fd, messages, (unsigned)n, 0, NULL);
	return n < 0 ? 0 : n;
}

static void carry(const struct phase *ph, int rounds, struct counted *c)
{
	size_t len = build(ph, buffers[0]);
	int burst = (int)SG_MIN((size_t)BURST, 192 * 1024 / len);

	for (int round = 0; round < rounds; round++) {
		int sent, got = 0;

		for (int i = 0; i < burst; i++)
			build(ph, buffers[i]);
		sent = kernel_side(ends[0].kernel, burst, len, true);
		need(sent > 0, "the TUN takes nothing");
		for (int step = 0; got < sent && step < 1000; step++) {
			sg_loop_step(world.loop, 0);
			got += kernel_side(ends[1].kernel, BURST, sizeof(buffers[0]), false);
		}
		need(got == sent, "packets were lost");
		c->packets += (uint64_t)got;
		c->bytes += (uint64_t)got * ph->len;
	}
}

static void child(void)
{
	struct counted warm = {0};

	sg_log_set_level(NULL, "error");
	connect_ends();
	for (size_t i = 0; i < SG_ARRAY_LEN(phases); i++) {
		carry(&phases[i], 20, &warm);
		allocs = 0;
		raise(SIGUSR1); /* the parent counts from here */
		carry(&phases[i], ROUNDS, &counted[i]);
		raise(SIGUSR2);
		counted[i].allocs = allocs;
	}
	_exit(0);
}

/* ---- the parent ---------------------------------------------------------------------------------------------------- */

static void count_call(struct counted *c, pid_t pid)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	if (info.entry.nr == SYS_sendmmsg || info.entry.nr == SYS_recvmmsg)
		return;
	if (info.entry.nr == SYS_rt_sigprocmask || info.entry.nr == SYS_tgkill || info.entry.nr == SYS_gettid ||
		info.entry.nr == SYS_getpid)
		return; /* of raise() */
	c->calls++;
	if (info.entry.nr < SG_ARRAY_LEN(c->by_call))
		c->by_call[info.entry.nr]++;
}

static int watch(pid_t pid)
{
	size_t phase = 0;
	bool counting = false;
	int status;

	if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
		return 77;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (int sig = 0;;) {
		ptrace(PTRACE_SYSCALL, pid, NULL, sig);
		if (waitpid(pid, &status, 0) < 0)
			return 2;
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (!WIFSTOPPED(status))
			return 2;
		sig = WSTOPSIG(status);
		if (sig == (SIGTRAP | 0x80) && counting)
			count_call(&counted[phase], pid);
		if (sig == SIGUSR1)
			counting = true;
		if (sig == SIGUSR2) {
			counting = false;
			phase++;
		}
		if (sig == (SIGTRAP | 0x80) || sig == SIGUSR1 || sig == SIGUSR2)
			sig = 0;
	}
}

static int judge(void)
{
	int broken = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(phases); i++) {
		const struct phase *ph = &phases[i];
		const struct counted *c = &counted[i];
		double per_mb = (double)c->calls * 1e6 / (double)c->bytes,
		       per_packet = (double)c->calls / (double)c->packets;
		double calls = ph->super ? per_mb : per_packet;

		printf("%s.allocations\t%.2f\tper 1000 packets\n", ph->name,
			(double)c->allocs * 1000 / (double)c->packets);
		printf("%s.system_calls\t%.2f\tper %s\n", ph->name, calls, ph->super ? "MB" : "packet");
		for (size_t nr = 0; nr < SG_ARRAY_LEN(c->by_call); nr++) {
			if (c->by_call[nr] * 100 > c->calls)
				printf("%s.system_call.%zu\t%.3f\tper packet\n", ph->name, nr,
					(double)c->by_call[nr] / (double)c->packets);
		}
		if (c->allocs) {
			printf("%s: %llu allocations for %llu packets; the bound is 0\n", ph->name,
				(unsigned long long)c->allocs, (unsigned long long)c->packets);
			broken = 1;
		}
		if (calls > ph->most_calls) {
			printf("%s: %.2f system calls per %s; the bound is %.2f\n", ph->name, calls,
				ph->super ? "MB" : "packet", ph->most_calls);
			broken = 1;
		}
	}
	return broken;
}

int main(void)
{
	pid_t pid;
	int status;

	counted = mmap(NULL, sizeof(*counted) * SG_ARRAY_LEN(phases), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(counted != MAP_FAILED, "no memory");
	pid = fork();
	need(pid >= 0, "no process");
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		child();
	}
	status = watch(pid);
	if (status == 77)
		printf("SKIP: nothing can be traced here\n");
	return status ? status : judge();
}
