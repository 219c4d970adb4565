/*
 * sg-bench-crowd: visors that hold a transport with one of ours and do nothing else, all in one process.
 *
 *	sg-bench-crowd ADDRESS:PORT PK COUNT [MS]
 *
 * Prints "up" when all are, then keeps them until it is killed. MS: each so many milliseconds the oldest leaves for good,
 * a visor that was never seen before takes its place, and "replaced" is printed. Three times as many have come and gone before
 * "up", so that what is kept of the last few (lines of the log) is full.
 */
#include "base/common.h"
#include "bench/measure.h"
#include "crypto/keys.h"
#include "link/link.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

struct visor {
	struct sg_links *links;
	struct sg_sk sk;
	struct sg_pk pk;
};

static struct sockaddr_in there;

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "sg-bench-crowd: %s\n", what);
	exit(1);
}

static int dial(void *arg, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *d)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)arg;
	(void)carrier;
	(void)pk;
	(void)to;
	need(fd >= 0 && connect(fd, (struct sockaddr *)&there, sizeof(there)) == 0, "it does not listen there");
	need(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "no socket");
	links_dial_done(d, fd, NULL);
	return 0;
}

static void dial_cancel(void *arg, const char *carrier, struct sg_dial *d)
{
	(void)arg;
	(void)carrier;
	(void)d;
}

static const struct sg_links_host host = {.dial = dial, .dial_cancel = dial_cancel};

static void add(struct visor *v, struct sg_loop *loop, const struct sg_crypto *c, const struct sg_pk *pk)
{
	const char *address = "stcp://127.0.0.1:1"; /* dial() knows where */
	struct sg_peer_conf peer = {.name = "it", .pk = *pk, .addresses = &address, .n_addresses = 1};
	struct sg_links_conf conf = {.loop = loop, .crypto = c, .host = &host};
	double start = bench_now();

	sg_sk_generate(c, &v->sk);
	need(sg_pk_of(c, &v->sk, &v->pk) == 0, "no key");
	conf.sk = v->sk;
	conf.pk = v->pk;
	v->links = links_new(&conf);
	need(v->links && links_peers_set(v->links, &peer, 1) == 0, "no memory");
	while (!links_find(v->links, pk)) {
		sg_loop_step(loop, 10);
		need(bench_now() - start < 10, "no transport within 10 s");
	}
}

static void replace(struct visor *v, struct sg_loop *loop, const struct sg_crypto *c, const struct sg_pk *pk)
{
	links_free(v->links);
	add(v, loop, c, pk);
}

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sg_crypto *c = sg_crypto_new(sg_random_system());
	struct sg_loop *loop = sg_loop_new(sg_clock_system());
	bool used_well = argc == 4 || argc == 5;
	size_t count = used_well ? strtoul(argv[3], NULL, 10) : 0, oldest = 0;
	double period = argc == 5 ? atof(argv[4]) / 1000 : 0, due;
	struct visor *all = calloc(count + 1, sizeof(*all));
	char *colon = used_well ? strrchr(argv[1], ':') : NULL;
	struct sg_pk pk;

	need(c && loop && all, "no memory");
	need(colon && count > 0 && sg_pk_parse(c, argv[2], strlen(argv[2]), &pk) == 0,
		"usage: sg-bench-crowd ADDRESS:PORT PK COUNT [MS]");
	*colon = '\0';
	there = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
	need(inet_pton(AF_INET, argv[1], &there.sin_addr) == 1, "a numeric address is wanted");
	for (size_t i = 0; i < count; i++)
		add(&all[i], loop, c, &pk);
	for (size_t i = 0; period > 0 && i < 3 * count; i++)
		replace(&all[i % count], loop, c, &pk);
	say("up");
	due = bench_now();
	for (;;) {
		due += period;
		while (period <= 0 || bench_now() < due)
			sg_loop_step(loop, period <= 0 ? 1000 : 10);
		replace(&all[oldest], loop, c, &pk);
		oldest = (oldest + 1) % count;
		say("replaced");
	}
}
