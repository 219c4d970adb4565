/*
 * sg-bench-ceiling: how fast a program of our shape can be here. No product: keys are fixed, nobody shakes hands.
 *
 *	sg-bench-ceiling -l|-r ADDRESS:PORT -d DEVICE [-1]
 *
 *	TUN with segmentation offload → ChaCha20-Poly1305 twice → one TCP connection → opened twice → TUN
 *
 *	stream  u32 length | virtio header | packet (up to 64 KiB), one after the other
 *	frame   u16 length | u64 counter | sealed { u8[7] | u16 length | u64 counter | sealed { stream } tag } tag
 *	        as a link carries it               as a route group carries it: at most 4,096 bytes in all
 *
 * One thread for each direction. -l listens, -r calls. -1: one layer, as a direct stream has.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME    4096
#define HEAD     10
#define TAG      16
#define ROUTE    7
#define OVERHEAD (HEAD + TAG)
#define PACKET   (66 * 1024)  /* the largest packet with its headers */
#define BATCH    (256 * 1024) /* plaintext gathered before one write */

struct ends {
	int tun, tcp;
	bool twice;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void bad(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

/* ---- one layer ---- */

static EVP_CIPHER_CTX *key_new(int seals)
{
	static const uint8_t key[32] = "the ceiling needs no secret key";
	EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();

	if (!x || EVP_CipherInit_ex(x, EVP_chacha20_poly1305(), NULL, key, NULL, seals) != 1)
		bad("no ChaCha20-Poly1305");
	return x;
}

/* @n bytes of @in to a whole frame at @out; @in may be out + HEAD. */
static size_t seal(EVP_CIPHER_CTX *x, uint64_t counter, const uint8_t *in, size_t n, uint8_t *out)
{
	size_t len = HEAD - 2 + n + TAG;
	uint8_t nonce[12] = {0};
	int got, rest;

	for (int i = 0; i < 8; i++)
		nonce[4 + i] = out[2 + i] = (uint8_t)(counter >> (56 - 8 * i));
	out[0] = (uint8_t)(len >> 8);
	out[1] = (uint8_t)len;
	if (EVP_EncryptInit_ex(x, NULL, NULL, NULL, nonce) != 1 ||
		EVP_EncryptUpdate(x, out + HEAD, &got, in, (int)n) != 1 ||
		EVP_EncryptFinal_ex(x, out + HEAD + got, &rest) != 1 ||
		EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, TAG, out + HEAD + n) != 1)
		bad("sealing failed");
	return len + 2;
}

/* What was sealed in the @len bytes at @frame, to @out; @out may be frame + HEAD. */
static size_t open_frame(EVP_CIPHER_CTX *x, uint8_t *frame, size_t len, uint8_t *out)
{
	uint8_t nonce[12] = {0};
	size_t n = len - OVERHEAD;
	int got, rest;

	memcpy(nonce + 4, frame + 2, 8);
	if (len < OVERHEAD || EVP_DecryptInit_ex(x, NULL, NULL, NULL, nonce) != 1 ||
		EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, TAG, frame + HEAD + n) != 1 ||
		EVP_DecryptUpdate(x, out, &got, frame + HEAD, (int)n) != 1 ||
		EVP_DecryptFinal_ex(x, out + got, &rest) != 1)
		bad("a frame does not open");
	return n;
}

/* ---- TUN to TCP ---- */

static void write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno != EINTR)
			die("write");
		p += w < 0 ? 0 : w;
		n -= w < 0 ? 0 : (size_t)w;
	}
}

/* All packets that wait, up to a batch; 0: none does. */
static size_t read_packets(int tun, uint8_t *stream)
{
	size_t used = 0;

	while (used < BATCH) {
		ssize_t n = read(tun, stream + used + 4, PACKET - 4);
		uint32_t len = htonl((uint32_t)n);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0)
			die("read tun");
		memcpy(stream + used, &len, 4);
		used += 4 + (size_t)n;
	}
	return used;
}

static void *tun_to_tcp(void *arg)
{
	static uint8_t stream[BATCH + PACKET], sealed[2 * (BATCH + PACKET)];
	const struct ends *e = arg;
	const size_t room = FRAME - OVERHEAD - (e->twice ? ROUTE + OVERHEAD : 0);
	EVP_CIPHER_CTX *inner = key_new(1), *outer = key_new(1);
	uint64_t counter = 0;

	for (;;) {
		struct pollfd p = {.fd = e->tun, .events = POLLIN};
		size_t used, out = 0;

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			die("poll");
		used = read_packets(e->tun, stream);
		for (size_t at = 0, n; at < used; at += n) {
			uint8_t *text = sealed + out + HEAD;
			size_t m;

			n = used - at < room ? used - at : room;
			counter++;
			if (e->twice) {
				memset(text, 0, ROUTE);
				m = seal(inner, counter, stream + at, n, text + ROUTE);
				out += seal(outer, counter, text, ROUTE + m, sealed + out);
			} else {
				out += seal(outer, counter, stream + at, n, sealed + out);
			}
		}
		write_all(e->tcp, sealed, out);
	}
	return NULL;
}

/* ---- TCP to TUN ---- */

/* Whole packets to the TUN; how many bytes they took. What the TUN's queue does not take is lost, as at a router. */
static size_t write_packets(int tun, const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (n - at >= 4) {
		uint32_t len;

		memcpy(&len, p + at, 4);
		len = ntohl(len);
		if (len > PACKET)
			bad("a packet is too long");
		if (n - at < 4 + (size_t)len)
			break;
		if (write(tun, p + at + 4, len) < 0 && errno != EAGAIN && errno != EINVAL && errno != EIO &&
			errno != ENOBUFS)
			die("write tun");
		at += 4 + len;
	}
	return at;
}

static void *tcp_to_tun(void *arg)
{
	static uint8_t in[BATCH + FRAME], stream[BATCH + 2 * PACKET];
	const struct ends *e = arg;
	EVP_CIPHER_CTX *inner = key_new(0), *outer = key_new(0);
	size_t have = 0, used = 0;

	for (;;) {
		ssize_t n = read(e->tcp, in + have, sizeof(in) - have);
		size_t at = 0, done;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			exit(0);
		have += (size_t)n;
		while (have - at >= 2) {
			size_t len = 2 + ((size_t)in[at] << 8 | in[at + 1]), m;

			if (len > FRAME)
				bad("a frame is too long");
			if (have - at < len)
				break;
			if (e->twice) {
				m = open_frame(outer, in + at, len, in + at + HEAD);
				used += open_frame(inner, in + at + HEAD + ROUTE, m - ROUTE, stream + used);
			} else {
				used += open_frame(outer, in + at, len, stream + used);
			}
			at += len;
		}
		memmove(in, in + at, have - at);
		have -= at;
		done = write_packets(e->tun, stream, used);
		memmove(stream, stream + done, used - done);
		used -= done;
	}
	return NULL;
}

/* ---- up ---- */

static int open_tun(const char *name)
{
	struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0 ||
		ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0)
		die(name);
	return fd;
}

static int connection(char *address, bool listens)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, s;
	char *colon = strrchr(address, ':');

	if (fd < 0)
		die("socket");
	if (!colon)
		bad("ADDRESS:PORT is wanted");
	*colon = '\0';
	a.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
		bad("a numeric address is wanted");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listens) {
		if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0)
			die("listen");
		s = accept(fd, NULL, NULL);
		close(fd);
		fd = s;
	} else if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		die("connect");
	}
	if (fd < 0)
		die("accept");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int main(int argc, char **argv)
{
	struct ends e = {.twice = true};
	char *address = NULL, *device = NULL;
	bool listens = false;
	pthread_t t;
	int c;

	while ((c = getopt(argc, argv, "l:r:d:1")) != -1) {
		if (c == 'l' || c == 'r')
			address = optarg;
		if (c == 'd')
			device = optarg;
		listens = listens || c == 'l';
		e.twice = e.twice && c != '1';
	}
	if (!address || !device || optind < argc)
		bad("usage: sg-bench-ceiling -l|-r ADDRESS:PORT -d DEVICE [-1]");
	e.tcp = connection(address, listens);
	e.tun = open_tun(device);
	if (pthread_create(&t, NULL, tcp_to_tun, &e) != 0)
		die("pthread_create");
	tun_to_tcp(&e);
	return 0;
}
