/*
 * sg-scripted-peer: one stcp transport with a visor, spoken by hand, with a payload in our Noise message as the peers of
 * 2026 send it (1,184 bytes of an ML-KEM key). It proves that the transport works by a transport ping that comes back.
 *
 *	sg-scripted-peer dial ADDRESS PORT PK PAYLOAD_BYTES
 *	sg-scripted-peer listen PORT PAYLOAD_BYTES		prints its public key, then waits for one caller
 */
#include "base/hex.h"
#include "crypto/frame.h"
#include "crypto/noise.h"
#include "wire/packet.h"
#include "wire/settle.h"
#include "wire/stcp.h"
#include "wire/tpid.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PAYLOAD_MAX 8192

struct peer {
	struct sg_crypto *c;
	int fd;
	struct sg_sk sk;
	struct sg_pk pk, remote;
	size_t payload;
	struct sg_frame_key tx, rx;
	uint8_t in[65536]; /* plaintext received and not used yet */
	size_t have;
};

static void fail(const char *what)
{
	fprintf(stderr, "sg-scripted-peer: %s\n", what);
	exit(1);
}

static void need(bool ok, const char *what)
{
	if (!ok)
		fail(what);
}

static void write_all(struct peer *p, const void *data, size_t len)
{
	need(send(p->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len, "the other end does not take what is sent");
}

static void read_all(struct peer *p, void *out, size_t len)
{
	need(recv(p->fd, out, len, MSG_WAITALL) == (ssize_t)len, "the other end closed, or was silent for 5 s");
}

/* A JSON line of the handshake: byte by byte to its newline, for what follows belongs to somebody else. */
static struct sg_view read_line(struct peer *p, char *out, size_t cap)
{
	size_t n = 0;

	do {
		need(n < cap, "a handshake line is too long");
		read_all(p, out + n, 1);
	} while (out[n++] != '\n');
	return (struct sg_view){(const uint8_t *)out, n};
}

static void stcp_dial(struct peer *p)
{
	struct sg_stcp_f2 f2 = {.src = p->pk, .dst = p->remote, .src_port = 49153, .dst_port = SG_STCP_TP_PORT};
	struct sg_stcp_f3 f3;
	char line[SG_STCP_LINE_MAX];
	int n;

	write_all(p, SG_STCP_F0, SG_STCP_F0_LEN);
	need(sg_stcp_f1_decode(read_line(p, line, sizeof(line)), f2.nonce) > 0, "f1 is not a nonce");
	n = sg_stcp_f2_encode(p->c, &p->sk, NULL, &f2, line, sizeof(line));
	need(n > 0, "f2 cannot be encoded");
	write_all(p, line, (size_t)n);
	need(sg_stcp_f3_decode(read_line(p, line, sizeof(line)), &f3) > 0 && f3.ok, "f3 is no consent");
}

static void stcp_accept(struct peer *p)
{
	uint8_t nonce[SG_STCP_NONCE], f0[SG_STCP_F0_LEN];
	struct sg_stcp_f3 f3 = {.ok = true};
	struct sg_stcp_f2 f2;
	char line[SG_STCP_LINE_MAX];
	int n;

	read_all(p, f0, sizeof(f0));
	need(memcmp(f0, SG_STCP_F0, sizeof(f0)) == 0, "f0 is not get_nonce");
	sg_crypto_random(p->c, nonce, sizeof(nonce));
	n = sg_stcp_f1_encode(nonce, line, sizeof(line));
	write_all(p, line, (size_t)n);
	need(sg_stcp_f2_decode(p->c, read_line(p, line, sizeof(line)), &f2) > 0, "f2 is malformed");
	need(sg_stcp_f2_verify(p->c, &f2, nonce) == 0, "f2 is not signed by its sender");
	p->remote = f2.src;
	n = sg_stcp_f3_encode(&f3, line, sizeof(line));
	write_all(p, line, (size_t)n);
}

static void noise_send(struct peer *p, struct sg_noise *noise)
{
	uint8_t payload[PAYLOAD_MAX], out[2 + PAYLOAD_MAX + 256];
	int n;

	sg_crypto_random(p->c, payload, p->payload);
	n = sg_noise_write(noise, (struct sg_view){payload, p->payload}, out + 2, sizeof(out) - 2);
	need(n > 0, "the Noise message cannot be made");
	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	write_all(p, out, (size_t)n + 2);
}

static void noise_receive(struct peer *p, struct sg_noise *noise)
{
	uint8_t in[SG_NOISE_MSG_MAX];
	size_t n;

	read_all(p, in, 2);
	n = (size_t)in[0] << 8 | in[1];
	read_all(p, in, n);
	need(sg_noise_read(noise, (struct sg_view){in, n}, NULL, 0) >= 0,
		"the other end's Noise message does not open");
}

static void secure(struct peer *p, bool initiator)
{
	struct sg_noise noise;
	struct sg_noise_keys keys;

	need(sg_noise_kk_init(&noise, p->c, initiator, &p->sk, &p->remote) == 0, "Noise does not start");
	if (initiator) {
		noise_send(p, &noise);
		noise_receive(p, &noise);
	} else {
		noise_receive(p, &noise);
		noise_send(p, &noise);
	}
	sg_noise_split(&noise, &keys);
	sg_noise_fini(&noise);
	need(sg_frame_key_init(&p->tx, sg_crypto_aead(p->c), keys.tx) == 0 &&
			sg_frame_key_init(&p->rx, sg_crypto_aead(p->c), keys.rx) == 0,
		"no memory for keys");
}

static void send_plain(struct peer *p, const void *data, size_t len)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];

	memcpy(slot + SG_FRAME_HEAD, data, len);
	write_all(p, slot, sg_frame_seal(&p->tx, slot, len));
}

/* One more frame to the end of p->in. */
static void receive_plain(struct peer *p)
{
	uint8_t frame[2 + SG_FRAME_PREFIX_MAX];
	size_t n, got;

	read_all(p, frame, 2);
	n = 2 + ((size_t)frame[0] << 8 | frame[1]);
	need(n <= sizeof(frame) && p->have + n <= sizeof(p->in), "a frame is too long");
	read_all(p, frame + 2, n - 2);
	need(sg_frame_open(&p->rx, (struct sg_view){frame, n}, p->in + p->have, &got) > 0, "a frame does not open");
	p->have += got;
}

static void used(struct peer *p, size_t n)
{
	p->have -= n;
	memmove(p->in, p->in + n, p->have);
}

static void settle_dial(struct peer *p)
{
	struct sg_signed_entry e = {0};
	char line[SG_SETTLE_LINE_MAX];
	int n;

	need(sg_entry_make(&p->pk, &p->remote, "stcp", &e.entry) == 0, "no entry");
	need(sg_entry_sign(p->c, &p->sk, NULL, &e) == 0, "the entry cannot be signed");
	n = sg_settle_encode(&e, true, line, sizeof(line));
	need(n > 0, "the entry cannot be encoded");
	send_plain(p, line, (size_t)n);
	receive_plain(p);
	need(p->in[0] == SG_SETTLE_OK, "the settlement was refused");
	used(p, 1);
}

static void settle_accept(struct peer *p)
{
	static const uint8_t ok = SG_SETTLE_OK;
	struct sg_signed_entry e;
	int n;

	while ((n = sg_settle_decode(p->c, (struct sg_view){p->in, p->have}, &e)) == 0)
		receive_plain(p);
	need(n > 0 && sg_settle_check(p->c, &e, &p->pk, &p->remote, "stcp") == 0, "the settlement is not right");
	used(p, (size_t)n);
	send_plain(p, &ok, 1);
}

/* The transport is up when our ping comes back; what else arrives is skipped, as any peer would. */
static void ping(struct peer *p)
{
	uint8_t out[SG_PACKET_HEAD + 8];
	struct sg_packet in;

	sg_packet_head(SG_PACKET_TRANSPORT_PING, 0, 8, out);
	sg_crypto_random(p->c, out + SG_PACKET_HEAD, 8);
	send_plain(p, out, sizeof(out));
	for (;;) {
		int n = sg_packet_decode((struct sg_view){p->in, p->have}, &in);

		if (n == 0) {
			receive_plain(p);
			continue;
		}
		if (in.type == SG_PACKET_TRANSPORT_PONG) {
			need(in.payload.len == 8 && memcmp(in.payload.p, out + SG_PACKET_HEAD, 8) == 0,
				"the pong is not our ping");
			return;
		}
		used(p, (size_t)n);
	}
}

static int tcp_dial(const char *host, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	need(inet_pton(AF_INET, host, &a.sin_addr) == 1, "ADDRESS is not an IPv4 address");
	need(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "nobody accepts the connection");
	return fd;
}

static int tcp_accept(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	need(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 4) == 0, "the port is taken");
	return accept(fd, NULL, NULL);
}

int main(int argc, char **argv)
{
	static struct peer p;
	bool dials = argc == 6 && strcmp(argv[1], "dial") == 0;
	struct timeval patience = {.tv_sec = 5};
	char text[SG_PK_TEXT];

	if (!dials && !(argc == 4 && strcmp(argv[1], "listen") == 0)) {
		fprintf(stderr,
			"usage: sg-scripted-peer dial ADDRESS PORT PK PAYLOAD_BYTES | listen PORT PAYLOAD_BYTES\n");
		return 2;
	}
	p.c = sg_crypto_new(sg_random_system());
	need(p.c != NULL, "no memory");
	p.payload = strtoul(argv[argc - 1], NULL, 10);
	need(p.payload <= PAYLOAD_MAX, "the payload is too long for this program");
	sg_sk_generate(p.c, &p.sk);
	need(sg_pk_of(p.c, &p.sk, &p.pk) == 0, "no key");
	printf("%s\n", sg_pk_str(&p.pk, text));
	fflush(stdout);
	if (dials)
		need(sg_pk_parse(p.c, argv[4], strlen(argv[4]), &p.remote) == 0, "PK is no key");
	p.fd = dials ? tcp_dial(argv[2], argv[3]) : tcp_accept(argv[2]);
	setsockopt(p.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (dials)
		stcp_dial(&p);
	else
		stcp_accept(&p);
	secure(&p, dials);
	if (dials)
		settle_dial(&p);
	else
		settle_accept(&p);
	ping(&p);
	printf("a payload of %zu bytes was accepted, the transport works\n", p.payload);
	close(p.fd);
	sg_frame_key_fini(&p.tx);
	sg_frame_key_fini(&p.rx);
	sg_crypto_free(p.c);
	return 0;
}
