/*
 * sg-judge: watches one interface and says what passed, by an allow list (classify.h). It reads commands from standard
 * input, one per line, and answers each with one line of JSON:
 *
 *	report    what was seen since the start or the last reset
 *	reset     the same, then begins anew
 *
 * The end of its input ends it. "out" is what the interface receives (it stands at the provider's end of the router's
 * cable), "in" what it sends. "lost" counts frames that the kernel could not hand over: a report with lost > 0 proves
 * nothing and its reader must say so.
 */
#include "classify.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A block goes over when it is full or RETIRE_MS old: 5 s may pass on a busy machine before frames are lost. */
#define BLOCK_SIZE (128u << 10)
#define BLOCKS     512
#define RETIRE_MS  10
#define SAMPLES    16

struct side {
	uint64_t packets, bytes, by[V_COUNT];
};

struct judge {
	int fd;
	uint8_t *ring;
	unsigned block;
	struct classify rules;
	const char *marker;
	struct side out, in;
	uint64_t probes[PROBE_COUNT], marked, lost;
	char sample[SAMPLES][192];
	unsigned samples;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "sg-judge: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void open_ring(struct judge *j, const char *interface)
{
	j->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: nothing arrives before bind */
	if (j->fd < 0)
		die("cannot open a packet socket");
	int version = TPACKET_V3;
	if (setsockopt(j->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)))
		die("PACKET_VERSION");
	struct tpacket_req3 req = {.tp_block_size = BLOCK_SIZE,
		.tp_block_nr = BLOCKS,
		.tp_frame_size = 2048,
		.tp_frame_nr = BLOCK_SIZE / 2048 * BLOCKS,
		.tp_retire_blk_tov = RETIRE_MS};
	if (setsockopt(j->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		die("PACKET_RX_RING");
	j->ring = mmap(NULL, (size_t)BLOCK_SIZE * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);
	if (j->ring == MAP_FAILED)
		die("mmap of the ring");
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(interface)};
	if (!at.sll_ifindex)
		die(interface);
	struct packet_mreq all = {.mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
	if (setsockopt(j->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)))
		die("promiscuous mode");
	if (bind(j->fd, (struct sockaddr *)&at, sizeof(at)))
		die("bind");
}

static void one_frame(struct judge *j, const uint8_t *frame, size_t len, bool whole, bool from_router)
{
	struct opinion o;
	struct side *side = from_router ? &j->out : &j->in;
	classify(&j->rules, frame, len, from_router, now_ns(), &o);
	side->packets++;
	side->bytes += len;
	side->by[o.verdict]++;
	if (!whole)
		j->lost++; /* what was cut off was not looked at */
	if (from_router && o.kind >= 0) {
		j->probes[o.kind]++;
	}
	if (j->marker && memmem(frame, len, j->marker, strlen(j->marker)))
		j->marked++;
	if (from_router && o.verdict == V_FOREIGN && j->samples < SAMPLES)
		snprintf(j->sample[j->samples++], sizeof(j->sample[0]), "%s", o.text);
}

/* Takes every block that the kernel has given over. */
static void drain(struct judge *j)
{
	for (;;) {
		struct tpacket_block_desc *b = (void *)(j->ring + (size_t)j->block * BLOCK_SIZE);
		if (!(__atomic_load_n(&b->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			return;
		uint8_t *at = (uint8_t *)b + b->hdr.bh1.offset_to_first_pkt;
		for (uint32_t i = 0; i < b->hdr.bh1.num_pkts; i++) {
			struct tpacket3_hdr *h = (void *)at;
			struct sockaddr_ll *from = (void *)(at + TPACKET_ALIGN(sizeof(*h)));
			one_frame(j, at + h->tp_mac, h->tp_snaplen, h->tp_snaplen == h->tp_len,
				from->sll_pkttype != PACKET_OUTGOING);
			at += h->tp_next_offset;
		}
		__atomic_store_n(&b->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		j->block = (j->block + 1) % BLOCKS;
	}
}

static void print_side(const char *name, const struct side *s)
{
	printf("\"%s\":{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64, name, s->packets, s->bytes);
	for (int v = 0; v < V_COUNT; v++)
		printf(",\"%s\":%" PRIu64, verdict_names[v], s->by[v]);
	printf("},");
}

static void report(struct judge *j)
{
	static const char *const names[PROBE_COUNT] = {
#define X(name, text) text,
		PROBE_KINDS(X)
#undef X
	};
	struct tpacket_stats_v3 stats;
	socklen_t len = sizeof(stats);
	if (getsockopt(j->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len))
		die("PACKET_STATISTICS");
	j->lost += stats.tp_drops;
	printf("{");
	print_side("out", &j->out);
	print_side("in", &j->in);
	printf("\"probes\":{");
	for (int k = 0; k < PROBE_COUNT; k++)
		printf("%s\"%s\":%" PRIu64, k ? "," : "", names[k], j->probes[k]);
	printf("},\"marked\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"samples\":[", j->marked, j->lost);
	for (unsigned i = 0; i < j->samples; i++) /* the texts are ours and hold nothing to escape */
		printf("%s\"%s\"", i ? "," : "", j->sample[i]);
	printf("]}\n");
	fflush(stdout);
}

static void begin_anew(struct judge *j)
{
	memset(&j->out, 0, sizeof(j->out));
	memset(&j->in, 0, sizeof(j->in));
	memset(j->probes, 0, sizeof(j->probes));
	j->marked = j->lost = 0;
	j->samples = 0;
}

/* What was on the line before the question belongs into the answer: the kernel keeps a block for up to RETIRE_MS. */
static void settle(struct judge *j)
{
	uint64_t end = now_ns() + 3 * RETIRE_MS * 1000000ull;
	while (now_ns() < end) {
		struct pollfd p = {.fd = j->fd, .events = POLLIN};
		poll(&p, 1, RETIRE_MS);
		drain(j);
	}
}

static void command(struct judge *j, const char *line)
{
	if (!strcmp(line, "report") || !strcmp(line, "reset")) {
		settle(j);
		report(j);
		if (!strcmp(line, "reset"))
			begin_anew(j);
	} else {
		fprintf(stderr, "sg-judge: %s: not a command; accepted: report, reset\n", line);
	}
}

/* One read of standard input, cut into lines. Returns false at its end. */
static bool commands(struct judge *j)
{
	static char text[256];
	static size_t have;
	ssize_t n = read(STDIN_FILENO, text + have, sizeof(text) - 1 - have);
	if (n <= 0)
		return false;
	have += (size_t)n;
	text[have] = 0;
	for (char *end; (end = strchr(text, '\n'));) {
		*end = 0;
		command(j, text);
		have -= (size_t)(end + 1 - text);
		memmove(text, end + 1, have + 1);
	}
	return have < sizeof(text) - 1;
}

static const char usage[] =
	"usage: sg-judge [--carrier ADDRESS:PORT]... [--router ADDRESS]... [--marker TEXT] INTERFACE\n";

static uint32_t parse_address(const char *text)
{
	struct in_addr a;
	if (inet_pton(AF_INET, text, &a) != 1) {
		fprintf(stderr, "sg-judge: %s is not an IPv4 address\n%s", text, usage);
		exit(2);
	}
	return ntohl(a.s_addr);
}

static void options(struct judge *j, int argc, char **argv)
{
	static const struct option table[] = {{"carrier", required_argument, NULL, 'c'},
		{"router", required_argument, NULL, 'r'}, {"marker", required_argument, NULL, 'm'}, {0}};
	for (int o; (o = getopt_long(argc, argv, "", table, NULL)) != -1;) {
		char *colon = o == 'c' ? strrchr(optarg, ':') : NULL;
		if (o == 'c' && colon && j->rules.carriers < CLASSIFY_CARRIERS) {
			*colon = 0;
			j->rules.carrier[j->rules.carriers] = parse_address(optarg);
			j->rules.carrier_port[j->rules.carriers++] = (uint16_t)atoi(colon + 1);
		} else if (o == 'r' && j->rules.routers < CLASSIFY_ROUTERS) {
			j->rules.router[j->rules.routers++] = parse_address(optarg);
		} else if (o == 'm') {
			j->marker = optarg;
		} else {
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind != argc - 1) {
		fputs(usage, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct judge j;
	options(&j, argc, argv);
	open_ring(&j, argv[optind]);
	(void)setpriority(PRIO_PROCESS, 0, -10); /* what it does not get to see proves nothing */
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct pollfd p[2] = {{.fd = j.fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			die("poll");
		drain(&j);
		if (p[1].revents && !commands(&j))
			return 0;
	}
}
