/*
 * sg-bench-packets: the highest rate of UDP packets that arrives with at most 1 % lost.
 *
 *	sg-bench-packets -s ADDRESS:PORT                             counts what arrives, prints nothing
 *	sg-bench-packets -c ADDRESS:PORT -n SIZE [-t SECONDS] [-g]   SIZE: of the whole IPv4 packet; SECONDS: of one trial;
 *	                                                             -g: the kernel cuts them from long ones (UDP_SEGMENT)
 *
 * The receiver answers an empty question with its count, so that both may live anywhere. The offered rate doubles until too
 * much is lost; then the interval is halved. What is still queued 20 ms after the last packet counts as lost: a deep queue is
 * no packet rate. Prints the best rate and what arrived at the first rate that was too high, in packets per second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BATCH       32
#define SIZE_MAX_IP 9000
#define HEADERS     28
#define LOST        0.01
#define SUPER_MAX   64    /* datagrams of one UDP_SEGMENT */
#define SUPER_BYTES 65507 /* of their payload */

#ifndef UDP_SEGMENT /* Linux 4.18 */
#define UDP_SEGMENT 103
#endif

struct word {
	uint32_t trial, asks; /* asks: answer with the count of this trial */
	uint64_t count;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void usage(void)
{
	fprintf(stderr, "usage: sg-bench-packets -s ADDRESS:PORT | -c ADDRESS:PORT -n SIZE [-t SECONDS] [-g]\n");
	exit(2);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_ms(double ms)
{
	struct timespec t = {(time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000};

	nanosleep(&t, NULL);
}

/* ---- the receiver ---- */

static void count_packets(int s)
{
	static uint8_t buf[BATCH][SIZE_MAX_IP];
	struct sockaddr_in from[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr msg[BATCH];
	struct word w, own = {0};
	int room = 8 << 20;

	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	for (;;) {
		int n;

		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){buf[i], SIZE_MAX_IP};
			msg[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i],
							  .msg_namelen = sizeof(from[i]),
							  .msg_iov = &iov[i],
							  .msg_iovlen = 1}};
		}
		n = recvmmsg(s, msg, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++) {
			memcpy(&w, buf[i], sizeof(w));
			if (w.trial != own.trial)
				own = (struct word){.trial = w.trial};
			own.count += !w.asks;
			if (w.asks)
				(void)sendto(s, &own, sizeof(own), 0, (struct sockaddr *)&from[i], sizeof(from[i]));
		}
	}
}

/* ---- the sender ---- */

struct sender {
	int s;
	size_t len; /* of the payload */
	uint32_t trial;
	double seconds;
	bool super;
};

/* How many of this trial have arrived by now. */
static uint64_t ask(struct sender *t)
{
	struct word w = {.trial = t->trial, .asks = 1}, a;

	for (int tries = 0; tries < 50; tries++) {
		(void)send(t->s, &w, sizeof(w), 0);
		while (recv(t->s, &a, sizeof(a), 0) == sizeof(a)) {
			if (a.trial == t->trial)
				return a.count;
		}
		if (errno == ECONNREFUSED)
			sleep_ms(50); /* it has only been started */
	}
	fprintf(stderr, "the receiver does not answer\n");
	exit(1);
}

/* @n packets, or fewer. How many, or -1. */
static int send_packets(struct sender *t, const struct word *w, unsigned n)
{
	static uint8_t buf[SUPER_BYTES];
	struct iovec iov = {buf, t->len};
	struct mmsghdr msg[BATCH];
	unsigned most = SUPER_BYTES / (unsigned)t->len;

	if (t->super) {
		n = n < SUPER_MAX ? n : SUPER_MAX;
		n = n < most ? n : most;
		for (unsigned i = 0; i < n; i++)
			memcpy(buf + i * t->len, w, sizeof(*w));
		return send(t->s, buf, n * t->len, 0) < 0 ? -1 : (int)n;
	}
	memcpy(buf, w, sizeof(*w));
	for (int i = 0; i < BATCH; i++)
		msg[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	return sendmmsg(t->s, msg, n < BATCH ? n : BATCH, 0);
}

/* Offers @rate packets per second; how many were sent, and how many arrived. */
static uint64_t offer(struct sender *t, double rate, uint64_t *got)
{
	const struct word w = {.trial = ++t->trial};
	uint64_t start = now_ns(), all = (uint64_t)(t->seconds * 1e9), sent = 0;

	for (uint64_t at = start; at - start < all; at = now_ns()) {
		double due = (double)(at - start) * rate / 1e9 - (double)sent;
		int n;

		if (due < 1) {
			sleep_ms(0.02);
			continue;
		}
		/* One that fell far behind does not catch up in one burst: that would measure buffers. */
		n = send_packets(t, &w, due > SUPER_MAX ? SUPER_MAX : (unsigned)due);
		if (n < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED)
			die("sending");
		sent += n < 0 ? 0 : (uint64_t)n;
	}
	sleep_ms(20);
	*got = ask(t);
	sleep_ms(150); /* queues run empty before the next trial */
	return sent;
}

static bool all_came(uint64_t sent, uint64_t got)
{
	return got >= (uint64_t)((double)sent * (1 - LOST));
}

static void search(struct sender *t)
{
	double low = 0, high = 0, overload = 0, rate = 10000;
	uint64_t got, sent;

	while (rate < 4e6 && high <= 0) {
		sent = offer(t, rate, &got);
		if (all_came(sent, got)) {
			low = (double)got / t->seconds;
		} else {
			high = (double)sent / t->seconds;
			overload = (double)got / t->seconds;
		}
		if ((double)sent / t->seconds < 0.9 * rate)
			break; /* the sender is the limit */
		rate *= 2;
	}
	for (int i = 0; i < 5 && high > low * 1.03; i++) {
		rate = low > 0 ? (low + high) / 2 : high / 2;

		sent = offer(t, rate, &got);
		if (all_came(sent, got))
			low = (double)got / t->seconds;
		else
			high = rate;
	}
	printf("%.0f %.0f\n", low, overload);
}

/* A socket of that address, or toward it. */
static int open_socket(char *text, bool receives)
{
	const struct timeval patience = {.tv_usec = 100000};
	struct sockaddr_in a = {.sin_family = AF_INET};
	char *colon = strrchr(text, ':');
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!colon)
		usage();
	*colon = '\0';
	a.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
		usage();
	if ((receives ? bind : connect)(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(text);
	if (!receives)
		setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return s;
}

int main(int argc, char **argv)
{
	struct sender t = {.s = -1, .seconds = 0.5};
	size_t size = 0;
	int c;

	while ((c = getopt(argc, argv, "s:c:n:t:g")) != -1) {
		if (c == 's')
			count_packets(open_socket(optarg, true));
		if (c == 'c')
			t.s = open_socket(optarg, false);
		if (c == 'n')
			size = (size_t)atoi(optarg);
		if (c == 't')
			t.seconds = atof(optarg);
		if (c == 'g')
			t.super = true;
	}
	if (t.s < 0 || size < HEADERS + sizeof(struct word) || size > SIZE_MAX_IP || t.seconds <= 0)
		usage();
	t.len = size - HEADERS;
	if (t.super && setsockopt(t.s, IPPROTO_UDP, UDP_SEGMENT, &(int){(int)t.len}, sizeof(int)) < 0)
		die("UDP_SEGMENT");
	search(&t);
	return 0;
}
