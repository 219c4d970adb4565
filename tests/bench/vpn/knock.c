/*
 * sg-bench-knock: strangers at the door, all in one process. They come in bursts, each as far as the message that costs the
 * visor most, all of a burst at the same moment, and leave; only the visor has computed a shared secret.
 *
 *	sg-bench-knock ADDRESS:PORT SECONDS COUNT PAUSE_MS [SOURCE]...
 *
 * COUNT callers a burst from each source address. Prints their number and how many of them came to the end.
 */
#include "base/common.h"
#include "bench/measure.h"
#include "crypto/keys.h"
#include "wire/stcp.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BURST_MAX 256

static struct sockaddr_in there;
static struct sg_crypto *crypto;
static struct sg_sk sk;
static struct sg_pk pk;
static unsigned long came, done;

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "sg-bench-knock: %s\n", what);
	exit(1);
}

static int call(const char *source)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	const struct timeval patience = {.tv_sec = 2};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	need(fd >= 0, "no socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (source) {
		need(inet_pton(AF_INET, source, &from.sin_addr) == 1, "a source is a numeric address");
		need(bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0, "a source is no address of ours");
	}
	came++;
	if (connect(fd, (struct sockaddr *)&there, sizeof(there)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* False: the connection is closed. */
static bool tell(int *fd, const void *p, size_t len)
{
	if (*fd >= 0 && send(*fd, p, len, MSG_NOSIGNAL) == (ssize_t)len)
		return true;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return false;
}

static size_t hear(int *fd, char *in, size_t cap)
{
	ssize_t n = *fd >= 0 ? recv(*fd, in, cap, 0) : 0;

	if (n > 0)
		return (size_t)n;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return 0;
}

/* Their answers to f1, made before any of them is sent. */
static int f2_to(int *fd, char *out, size_t cap)
{
	struct sg_stcp_f2 f2 = {.src = pk, .dst = pk, .src_port = 49153, .dst_port = SG_STCP_TP_PORT};
	char in[SG_STCP_LINE_MAX];
	size_t len = hear(fd, in, sizeof(in));

	if (len == 0 || sg_stcp_f1_decode((struct sg_view){(uint8_t *)in, len}, f2.nonce) <= 0)
		return 0;
	return sg_stcp_f2_encode(crypto, &sk, NULL, &f2, out, cap);
}

static void burst(char **sources, size_t n_sources, size_t count)
{
	static char f2[BURST_MAX][SG_STCP_LINE_MAX];
	uint8_t noise[2 + SG_PK_LEN + 16] = {0, SG_PK_LEN + 16};
	int fd[BURST_MAX], len[BURST_MAX];
	char in[SG_STCP_LINE_MAX];
	size_t n = SG_MIN(count * SG_MAX(n_sources, (size_t)1), (size_t)BURST_MAX);

	memcpy(noise + 2, pk.b, SG_PK_LEN);
	for (size_t i = 0; i < n; i++) {
		fd[i] = call(n_sources ? sources[i % n_sources] : NULL);
		tell(&fd[i], SG_STCP_F0, SG_STCP_F0_LEN);
	}
	for (size_t i = 0; i < n; i++)
		len[i] = f2_to(&fd[i], f2[i], sizeof(f2[i]));
	for (size_t i = 0; i < n; i++) {
		if (len[i] > 0)
			tell(&fd[i], f2[i], (size_t)len[i]);
	}
	for (size_t i = 0; i < n; i++)
		hear(&fd[i], in, sizeof(in));
	for (size_t i = 0; i < n; i++)
		done += tell(&fd[i], noise, sizeof(noise));
	for (size_t i = 0; i < n; i++) {
		hear(&fd[i], in, sizeof(in));
		if (fd[i] >= 0)
			close(fd[i]);
	}
}

int main(int argc, char **argv)
{
	char *colon = argc >= 5 ? strrchr(argv[1], ':') : NULL;
	struct timespec pause;
	double end;

	need(colon, "usage: sg-bench-knock ADDRESS:PORT SECONDS COUNT PAUSE_MS [SOURCE]...");
	*colon = '\0';
	there = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
	need(inet_pton(AF_INET, argv[1], &there.sin_addr) == 1, "a numeric address is wanted");
	crypto = sg_crypto_new(sg_random_system());
	need(crypto, "no memory");
	sg_sk_generate(crypto, &sk);
	need(sg_pk_of(crypto, &sk, &pk) == 0, "no key");
	pause = (struct timespec){.tv_sec = atoi(argv[4]) / 1000, .tv_nsec = atoi(argv[4]) % 1000 * 1000000L};
	end = bench_now() + atof(argv[2]);
	while (bench_now() < end) {
		burst(argv + 5, (size_t)(argc - 5), (size_t)atoi(argv[3]));
		nanosleep(&pause, NULL);
	}
	printf("%lu callers, %lu to the end\n", came, done);
	sg_crypto_free(crypto);
	return 0;
}
