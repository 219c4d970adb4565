/*
 * sg-scripted-peer: one stcp transport with a visor, spoken by hand as the peers of 2026 do it: a payload in our Noise message
 * (1,184 bytes of an ML-KEM key, or 1,088 of its answer), unknown members in our JSON, and packets no visor of 2024 knows.
 * Every command ends with a transport ping that comes back: whatever was sent, the transport works.
 *
 *	sg-scripted-peer dial ADDRESS PORT PK PAYLOAD_BYTES
 *	sg-scripted-peer listen PORT PAYLOAD_BYTES		prints its public key, then waits for one caller
 *	sg-scripted-peer tolerates ADDRESS PORT PK		the table in tolerates.c
 *	sg-scripted-peer pings ADDRESS PORT PK COUNT		waits for the visor's own pings
 */
#include "interop/peer.h"
#include "base/common.h"
#include "base/hex.h"
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

#define PAYLOAD_MAX   8192
#define PAYLOAD_KEY   1184 /* an ML-KEM-768 key, in the first Noise message */
#define PATIENCE_S    5
#define PING_PERIOD_S 60

void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "sg-scripted-peer: %s\n", what);
	exit(1);
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

/* Sends a line of JSON; with members of 2026 and later in front where that is wanted. */
static void write_line(struct peer *p, const char *line, size_t len)
{
	static const char more[] = "{\"carriers\":[\"quic\",{\"v\":1.5e3}],\"protocol\":null,";
	char out[sizeof(more) + SG_SETTLE_LINE_MAX];

	if (!p->members) {
		write_all(p, line, len);
		return;
	}
	memcpy(out, more, sizeof(more) - 1);
	memcpy(out + sizeof(more) - 1, line + 1, len - 1);
	write_all(p, out, sizeof(more) - 1 + len - 1);
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
	write_line(p, line, (size_t)n);
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
	write_line(p, line, (size_t)n);
	need(sg_stcp_f2_decode(p->c, read_line(p, line, sizeof(line)), &f2) > 0, "f2 is malformed");
	need(sg_stcp_f2_verify(p->c, &f2, nonce) == 0, "f2 is not signed by its sender");
	p->remote = f2.src;
	n = sg_stcp_f3_encode(&f3, line, sizeof(line));
	write_line(p, line, (size_t)n);
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

/* Plaintext, cut into frames. */
static void send_plain(struct peer *p, const void *data, size_t len)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];
	const uint8_t *at = data;

	while (len) {
		size_t n = len < SG_FRAME_PLAIN_MAX ? len : SG_FRAME_PLAIN_MAX;

		memcpy(slot + SG_FRAME_HEAD, at, n);
		write_all(p, slot, sg_frame_seal(&p->tx, slot, n));
		at += n;
		len -= n;
	}
}

void peer_packet(struct peer *p, uint8_t type, uint32_t route, const void *payload, size_t len)
{
	static uint8_t out[SG_PACKET_HEAD + SG_PACKET_PAYLOAD_MAX];

	need(sg_packet_head(type, route, len, out) == 0, "a packet is too long");
	if (len)
		memcpy(out + SG_PACKET_HEAD, payload, len);
	send_plain(p, out, SG_PACKET_HEAD + len);
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

struct sg_packet peer_receive(struct peer *p)
{
	static uint8_t packet[sizeof(p->in)];
	struct sg_packet in;
	int n;

	while ((n = sg_packet_decode((struct sg_view){p->in, p->have}, &in)) == 0)
		receive_plain(p);
	memcpy(packet, in.payload.p, in.payload.len);
	in.payload.p = packet;
	used(p, (size_t)n);
	return in;
}

/* In the settlement, members of 2026 stand inside the entry as well; what is signed is the entry's binary form. */
static size_t settle_members(char *line, size_t len)
{
	static const char begin[] = "{\"entry\":{",
			  top[] = "{\"version\":\"v1.3.101\",\"caps\":[1,2],\"entry\":{\"v6\":false,";

	need(memcmp(line, begin, sizeof(begin) - 1) == 0, "the settlement does not begin with its entry");
	memmove(line + sizeof(top) - 1, line + sizeof(begin) - 1, len - (sizeof(begin) - 1));
	memcpy(line, top, sizeof(top) - 1);
	return len + sizeof(top) - sizeof(begin);
}

static void settle_dial(struct peer *p)
{
	struct sg_signed_entry e = {0};
	char line[SG_SETTLE_LINE_MAX + 64];
	int n;

	need(sg_entry_make(&p->pk, &p->remote, "stcp", &e.entry) == 0, "no entry");
	need(sg_entry_sign(p->c, &p->sk, NULL, &e) == 0, "the entry cannot be signed");
	n = sg_settle_encode(&e, true, line, SG_SETTLE_LINE_MAX);
	need(n > 0, "the entry cannot be encoded");
	send_plain(p, line, p->members ? settle_members(line, (size_t)n) : (size_t)n);
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
	uint8_t token[8];
	struct sg_packet in;

	sg_crypto_random(p->c, token, sizeof(token));
	peer_packet(p, SG_PACKET_TRANSPORT_PING, 0, token, sizeof(token));
	do
		in = peer_receive(p);
	while (in.type != SG_PACKET_TRANSPORT_PONG);
	need(in.payload.len == 8 && memcmp(in.payload.p, token, 8) == 0, "the pong is not our ping");
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

static void patience(struct peer *p, time_t seconds)
{
	struct timeval t = {.tv_sec = seconds};

	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

static void transport(struct peer *p, const char *host, const char *port)
{
	p->fd = host ? tcp_dial(host, port) : tcp_accept(port);
	patience(p, PATIENCE_S);
	if (host)
		stcp_dial(p);
	else
		stcp_accept(p);
	secure(p, host != NULL);
	if (host)
		settle_dial(p);
	else
		settle_accept(p);
}

static bool is(int argc, char **argv, const char *command, int args)
{
	return argc == 2 + args && strcmp(argv[1], command) == 0;
}

int main(int argc, char **argv)
{
	static struct peer p;
	bool listens = is(argc, argv, "listen", 2), table = is(argc, argv, "tolerates", 3);
	bool waits = is(argc, argv, "pings", 4);
	char text[SG_PK_TEXT];

	if (!listens && !table && !waits && !is(argc, argv, "dial", 4)) {
		fprintf(stderr,
			"usage: sg-scripted-peer dial ADDRESS PORT PK PAYLOAD_BYTES | listen PORT PAYLOAD_BYTES |\n"
			"       tolerates ADDRESS PORT PK | pings ADDRESS PORT PK COUNT\n");
		return 2;
	}
	p.c = sg_crypto_new(sg_random_system());
	need(p.c != NULL, "no memory");
	p.payload = table || waits ? PAYLOAD_KEY : strtoul(argv[argc - 1], NULL, 10);
	p.members = p.payload == PAYLOAD_KEY || listens;
	need(p.payload <= PAYLOAD_MAX, "the payload is too long for this program");
	sg_sk_generate(p.c, &p.sk);
	need(sg_pk_of(p.c, &p.sk, &p.pk) == 0, "no key");
	printf("%s\n", sg_pk_str(&p.pk, text));
	fflush(stdout);
	if (!listens)
		need(sg_pk_parse(p.c, argv[4], strlen(argv[4]), &p.remote) == 0, "PK is no key");
	transport(&p, listens ? NULL : argv[2], listens ? argv[2] : argv[3]);
	if (table)
		tolerates(&p);
	if (waits) {
		patience(&p, PING_PERIOD_S + PATIENCE_S);
		pings(&p, (unsigned)strtoul(argv[5], NULL, 10));
	}
	ping(&p);
	printf("a payload of %zu bytes was accepted, the transport works\n", p.payload);
	close(p.fd);
	sg_frame_key_fini(&p.tx);
	sg_frame_key_fini(&p.rx);
	sg_crypto_free(p.c);
	return 0;
}
