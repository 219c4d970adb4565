/*
 * sg-prober: sends every kind of probe.h from one interface at a steady rate, as raw frames to the router's hardware
 * address, until its standard input ends. Prints "sending" when it begins and, as one line of JSON, how many of each
 * kind went out when it ends. Raw, because half of what a hostile or broken LAN sends could not be sent through sockets.
 *
 *	sg-prober --rate 1000 --kinds udp4,frag4 INTERFACE ROUTER_MAC
 *
 * The addresses are those of tests/netns/sglab/home.py.
 */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS   1  /* short: a burst would fill queues on the way, and the LAN whose flows share them would starve */
#define VARIANTS  4  /* frames of one kind, sent in turn */
#define PORTS     64 /* source ports used in turn: connection tracking must not overflow, that would hide leaks */
#define FRAME_MAX 256

#define LAN4  "192.168.77.10"
#define LAN6  "2001:db8:77::10"
#define WEB4  "198.51.100.10"
#define WEB6  "2001:db8:51::10"
#define EXIT4 "192.0.2.10"
#define EXIT6 "2001:db8:2::10"

struct frame {
	uint8_t b[FRAME_MAX];
	size_t len, ip, l4;
	uint8_t protocol;
};

static const char *const kind_names[PROBE_COUNT] = {
#define X(name, text) text,
	PROBE_KINDS(X)
#undef X
};
static struct frame frames[PROBE_COUNT][VARIANTS];
static unsigned variants[PROBE_COUNT];
static bool wanted[PROBE_COUNT];
static uint64_t sent[PROBE_COUNT];
static uint8_t my_mac[6], router_mac[6];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "sg-prober: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t sum(const uint8_t *p, size_t len, uint32_t s)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		s += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (len & 1)
		s += (uint32_t)p[len - 1] << 8;
	return s;
}

static unsigned fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return ~s & 0xffff;
}

/* Fills in the checksum of the transport header; fragments carry none that anybody checks. */
static void checksum(struct frame *f)
{
	static const uint8_t at_of[256] = {
		[IPPROTO_TCP] = 17, [IPPROTO_UDP] = 7, [IPPROTO_ICMP] = 3, [IPPROTO_ICMPV6] = 3};
	uint8_t *l4 = f->b + f->l4;
	size_t len = f->len - f->l4;
	if (!at_of[f->protocol])
		return;
	uint8_t *field = l4 + at_of[f->protocol] - 1;
	put16(field, 0);
	bool v4 = f->b[12] == 0x08 && f->b[13] == 0x00;
	uint32_t s = 0;
	if (f->protocol != IPPROTO_ICMP) {
		s = v4 ? sum(f->b + f->ip + 12, 8, 0) : sum(f->b + f->ip + 8, 32, 0);
		s += f->protocol + (uint32_t)len;
	}
	put16(field, fold(sum(l4, len, s)));
}

static void ethernet(struct frame *f, unsigned type)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->b, router_mac, 6);
	memcpy(f->b + 6, my_mac, 6);
	put16(f->b + 12, type);
	f->ip = 14;
}

static void mark(struct frame *f, enum probe_kind kind)
{
	memcpy(f->b + f->len, PROBE_MARK, PROBE_MARK_LEN);
	f->b[f->len + PROBE_MARK_LEN] = (uint8_t)(PROBE_BASE + kind);
	f->len += PROBE_MARK_LEN + 1;
	f->len += 3; /* to a multiple of 8 with the usual headers, as fragments want it */
}

static void transport(struct frame *f, unsigned protocol, unsigned dport)
{
	uint8_t *p = f->b + f->len;
	f->l4 = f->len;
	f->protocol = (uint8_t)protocol;
	put16(p, 40000);
	put16(p + 2, dport);
	if (protocol == IPPROTO_TCP) {
		p[7] = 1; /* sequence number */
		p[12] = 5 << 4;
		p[13] = 0x02; /* SYN; the data behind it is legal and carries the mark */
		put16(p + 14, 64240);
		f->len += 20;
	} else if (protocol == IPPROTO_UDP) {
		put16(p + 4, 8 + PROBE_MARK_LEN + 4);
		f->len += 8;
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		put16(p, 0);
		p[0] = protocol == IPPROTO_ICMP ? 8 : 128;
		f->len += 8;
	} else {
		f->len += 8;
	}
}

static void finish4(struct frame *f)
{
	uint8_t *ip = f->b + f->ip;
	size_t header = (size_t)(ip[0] & 15) * 4;
	put16(ip + 2, (unsigned)(f->len - f->ip));
	put16(ip + 10, 0);
	put16(ip + 10, fold(sum(ip, header, 0)));
	checksum(f);
}

static struct frame *next_frame(enum probe_kind kind)
{
	if (variants[kind] == VARIANTS)
		abort();
	return &frames[kind][variants[kind]++];
}

static struct frame *ip4(enum probe_kind kind, const char *src, const char *dst, unsigned protocol)
{
	struct frame *f = next_frame(kind);
	ethernet(f, 0x0800);
	uint8_t *ip = f->b + 14;
	ip[0] = 0x45;
	ip[8] = 16;
	ip[9] = (uint8_t)protocol;
	if (inet_pton(AF_INET, src, ip + 12) != 1 || inet_pton(AF_INET, dst, ip + 16) != 1)
		abort();
	f->len = 34;
	return f;
}

static struct frame *ip6(enum probe_kind kind, const char *src, const char *dst, unsigned next)
{
	struct frame *f = next_frame(kind);
	ethernet(f, 0x86dd);
	uint8_t *ip = f->b + 14;
	ip[0] = 0x60;
	ip[6] = (uint8_t)next;
	ip[7] = 16;
	if (inet_pton(AF_INET6, src, ip + 8) != 1 || inet_pton(AF_INET6, dst, ip + 24) != 1)
		abort();
	f->len = 54;
	return f;
}

static void finish6(struct frame *f)
{
	put16(f->b + f->ip + 4, (unsigned)(f->len - f->ip - 40));
	checksum(f);
}

static struct frame *simple4(enum probe_kind kind, const char *src, const char *dst, unsigned protocol, unsigned port)
{
	struct frame *f = ip4(kind, src, dst, protocol);
	transport(f, protocol, port);
	mark(f, kind);
	finish4(f);
	return f;
}

static void simple6(enum probe_kind kind, const char *src, const char *dst, unsigned protocol, unsigned port)
{
	struct frame *f = ip6(kind, src, dst, protocol);
	transport(f, protocol, port);
	mark(f, kind);
	finish6(f);
}

/* Two fragments of one datagram; both carry the mark. */
static void fragments4(void)
{
	for (int second = 0; second < 2; second++) {
		struct frame *f = ip4(PROBE_FRAG4, LAN4, WEB4, IPPROTO_UDP);
		put16(f->b + 18, 0x4747);
		put16(f->b + 20, second ? 3 : 0x2000); /* offset 24 bytes; more fragments */
		transport(f, IPPROTO_UDP, 9999);
		put16(f->b + f->l4 + 4, 48);
		mark(f, PROBE_FRAG4);
		f->protocol = 0; /* no checksum: 0 is legal for UDP */
		finish4(f);
	}
}

static void fragments6(void)
{
	for (int second = 0; second < 2; second++) {
		struct frame *f = ip6(PROBE_FRAG6, LAN6, WEB6, 44);
		uint8_t *p = f->b + f->len;
		p[0] = IPPROTO_UDP;
		put16(p + 2, second ? 24 : 1);
		p[7] = 0x47;
		f->len += 8;
		transport(f, IPPROTO_UDP, 9999);
		put16(f->b + f->l4 + 4, 48);
		mark(f, PROBE_FRAG6);
		f->protocol = 0;
		finish6(f);
	}
}

static void multicast(void)
{
	struct frame *f = simple4(PROBE_MCAST4, LAN4, "239.255.77.1", IPPROTO_UDP, 5353);
	memcpy(f->b, (const uint8_t[]){0x01, 0x00, 0x5e, 0x7f, 0x4d, 0x01}, 6);
	simple6(PROBE_MCAST6, LAN6, "ff0e::77:1", IPPROTO_UDP, 5353);
	memcpy(frames[PROBE_MCAST6][0].b, (const uint8_t[]){0x33, 0x33, 0x00, 0x77, 0x00, 0x01}, 6);
}

/* Loose source route by way of @first: 3 (LSRR), length 7, pointer 4, one address; padded to 8 bytes. */
static void source_routed(const char *first)
{
	struct frame *f = ip4(PROBE_ROUTED4, LAN4, first, IPPROTO_UDP);
	f->b[14] = 0x47;
	uint8_t *option = f->b + f->len;
	memcpy(option, (const uint8_t[]){131, 7, 4}, 3);
	inet_pton(AF_INET, WEB4, option + 3);
	f->len += 8;
	transport(f, IPPROTO_UDP, 9999);
	mark(f, PROBE_ROUTED4);
	f->protocol = 0;
	finish4(f);
}

static void build_all(void)
{
	simple4(PROBE_TCP4, LAN4, WEB4, IPPROTO_TCP, 80);
	simple4(PROBE_UDP4, LAN4, WEB4, IPPROTO_UDP, 9999);
	simple4(PROBE_ICMP4, LAN4, WEB4, IPPROTO_ICMP, 0);
	simple6(PROBE_TCP6, LAN6, WEB6, IPPROTO_TCP, 80);
	simple6(PROBE_UDP6, LAN6, WEB6, IPPROTO_UDP, 9999);
	simple6(PROBE_ICMP6, LAN6, WEB6, IPPROTO_ICMPV6, 0);
	simple4(PROBE_DNS4, LAN4, "198.51.100.53", IPPROTO_UDP, 53);
	simple6(PROBE_DNS6, LAN6, "2001:db8:51::53", IPPROTO_UDP, 53);
	simple4(PROBE_QUIC4, LAN4, WEB4, IPPROTO_UDP, 443);
	simple6(PROBE_QUIC6, LAN6, WEB6, IPPROTO_UDP, 443);
	simple4(PROBE_DOT4, LAN4, "198.51.100.53", IPPROTO_TCP, 853);
	simple6(PROBE_DOT6, LAN6, "2001:db8:51::53", IPPROTO_TCP, 853);
	fragments4();
	fragments6();
	multicast();
	simple4(PROBE_BCAST4, LAN4, "198.51.100.255", IPPROTO_UDP, 9);
	simple4(PROBE_BCAST4, LAN4, "192.0.2.255", IPPROTO_UDP, 9);
	simple4(PROBE_FORGED4, "10.9.9.9", WEB4, IPPROTO_UDP, 9999);
	simple4(PROBE_FORGED4, "203.0.113.5", WEB4, IPPROTO_TCP, 80);
	simple4(PROBE_FORGED4, EXIT4, WEB4, IPPROTO_UDP, 9999);
	simple4(PROBE_FORGED4, "192.168.78.1", WEB4, IPPROTO_ICMP, 0);
	simple6(PROBE_FORGED6, "2001:db8:99::1", WEB6, IPPROTO_UDP, 9999);
	simple6(PROBE_FORGED6, "2001:db8:2::2", WEB6, IPPROTO_TCP, 80);
	simple4(PROBE_EXIT4, LAN4, EXIT4, IPPROTO_TCP, 7777);
	simple4(PROBE_EXIT4, LAN4, EXIT4, IPPROTO_UDP, 7777);
	simple4(PROBE_EXIT4, LAN4, EXIT4, IPPROTO_ICMP, 0);
	simple4(PROBE_EXIT4, LAN4, EXIT4, IPPROTO_TCP, 22);
	simple6(PROBE_EXIT6, LAN6, EXIT6, IPPROTO_TCP, 7777);
	simple6(PROBE_EXIT6, LAN6, EXIT6, IPPROTO_UDP, 7777);
	source_routed("192.0.2.1");    /* the provider sends it on */
	source_routed("192.168.77.1"); /* our router itself does */
	simple4(PROBE_PROTO4, LAN4, WEB4, 47, 0);
	simple4(PROBE_PROTO4, LAN4, WEB4, 50, 0);
	simple4(PROBE_PROTO4, LAN4, WEB4, 132, 9);
}

/* Another source port, so that connection tracking sees many flows. */
static void vary(struct frame *f, enum probe_kind kind, uint64_t n)
{
	if (f->protocol != IPPROTO_TCP && f->protocol != IPPROTO_UDP)
		return;
	unsigned first = kind == PROBE_EXIT4 || kind == PROBE_EXIT6 ? PROBE_PORT_MIN : 20000 + 100 * kind;
	put16(f->b + f->l4, (unsigned)(first + n / variants[kind] % PORTS));
	checksum(f);
}

/* Sends n more frames of one kind. */
static void send_kind(int fd, enum probe_kind kind, unsigned n)
{
	static struct frame copy[VARIANTS * 16];
	struct mmsghdr batch[VARIANTS * 16];
	struct iovec iov[VARIANTS * 16];
	memset(batch, 0, sizeof(batch));
	while (n) {
		unsigned now = n < VARIANTS * 16 ? n : VARIANTS * 16;
		for (unsigned i = 0; i < now; i++) {
			copy[i] = frames[kind][(sent[kind] + i) % variants[kind]];
			vary(&copy[i], kind, sent[kind] + i);
			iov[i] = (struct iovec){copy[i].b, copy[i].len};
			batch[i].msg_hdr.msg_iov = &iov[i];
			batch[i].msg_hdr.msg_iovlen = 1;
		}
		int done = sendmmsg(fd, batch, now, 0);
		if (done < 0 && errno != ENOBUFS && errno != EAGAIN && errno != ENETDOWN)
			die("sendmmsg");
		if (done <= 0) /* no room: this tick's rest is not sent and not counted */
			return;
		sent[kind] += (unsigned)done;
		n -= (unsigned)done;
	}
}

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void run(int fd, unsigned rate)
{
	uint64_t start = now_us(), done = 0;
	for (;;) {
		struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
		char sink[64];
		if (poll(&p, 1, TICK_MS) > 0 && read(STDIN_FILENO, sink, sizeof(sink)) <= 0)
			return;
		uint64_t due = (now_us() - start) * rate / 1000000;
		for (int k = 0; k < PROBE_COUNT && due > done; k++)
			if (wanted[k])
				send_kind(fd, k, (unsigned)(due - done));
		done = due;
	}
}

static void choose(char *list)
{
	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		int k = 0;
		while (k < PROBE_COUNT && strcmp(kind_names[k], name))
			k++;
		if (k == PROBE_COUNT) {
			fprintf(stderr, "sg-prober: %s is not a kind of probe\n  accepted:", name);
			for (k = 0; k < PROBE_COUNT; k++)
				fprintf(stderr, " %s", kind_names[k]);
			fprintf(stderr, "\n");
			exit(2);
		}
		wanted[k] = true;
	}
}

static int open_interface(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("cannot open a packet socket");
	struct ifreq r = {0};
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &r))
		die(name);
	memcpy(my_mac, r.ifr_hwaddr.sa_data, 6);
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die("bind");
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option table[] = {
		{"rate", required_argument, NULL, 'r'}, {"kinds", required_argument, NULL, 'k'}, {0}};
	unsigned rate = 1000;
	bool some = false;
	for (int o; (o = getopt_long(argc, argv, "", table, NULL)) != -1;) {
		if (o == 'r') {
			rate = (unsigned)strtoul(optarg, NULL, 10);
		} else if (o == 'k') {
			choose(optarg);
			some = true;
		} else {
			return 2;
		}
	}
	if (optind != argc - 2 ||
		sscanf(argv[optind + 1], "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &router_mac[0], &router_mac[1],
			&router_mac[2], &router_mac[3], &router_mac[4], &router_mac[5]) != 6) {
		fprintf(stderr, "usage: sg-prober [--rate PER_SECOND] [--kinds A,B] INTERFACE ROUTER_MAC\n");
		return 2;
	}
	for (int k = 0; k < PROBE_COUNT && !some; k++)
		wanted[k] = true;
	int fd = open_interface(argv[optind]);
	build_all();
	(void)setpriority(PRIO_PROCESS, 0, -10); /* a steady rate on a busy machine too */
	printf("sending\n");
	fflush(stdout);
	run(fd, rate);
	printf("{");
	for (int k = 0; k < PROBE_COUNT; k++)
		printf("%s\"%s\":%" PRIu64, k ? "," : "", kind_names[k], sent[k]);
	printf("}\n");
	return 0;
}
