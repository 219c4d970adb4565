/*
 * What a peer of 2026 sends on a transport and a visor has to live with, a row each. After each packet comes a transport ping:
 * its pong proves that the transport goes on, and what arrived before it is the visor's answer to the packet.
 */
#include "base/common.h"
#include "base/hex.h"
#include "interop/peer.h"
#include "wire/vstream.h"
#include <stdio.h>
#include <string.h>

#define UNKNOWN_ROUTE 0x01020304 /* nobody was given it */
#define TRAIN         50

enum answer {
	NOTHING,
	ECHO,              /* a pong with the same payload */
	STREAM_END,        /* FIN of the same stream, of the same packet type */
	STREAM_NO_LISTENER /* the byte 1 on the same stream */
};

/* A payload is bytes and zeros behind them; of a virtual stream, flags and data behind its head. */
struct row {
	const char *name;
	uint8_t type;
	uint32_t route;
	enum answer answer;
	const char *bytes;
	size_t n_bytes, zeros;
	bool stream, ours; /* ours: a stream id that only the visor may give */
	uint8_t flags;
};

#define BYTES(s)  .bytes = (s), .n_bytes = sizeof(s) - 1
#define STREAM(f) .stream = true, .flags = (f)

static const struct row rows[] = {
	{"SACK of an unknown group", 7, UNKNOWN_ROUTE, NOTHING, BYTES("\0\0\0\5\1\0\0\0\0\0\0\0\3")},
	{"SACK, older form", 7, UNKNOWN_ROUTE, NOTHING, .zeros = 12},
	{"SACK on route 0", 7, 0, NOTHING, .zeros = 13},
	{"transport ping", 8, 0, ECHO, BYTES("\x18\x7f\0\1\2\3\4\5")},
	{"transport ping, short", 8, 0, NOTHING, .zeros = 7},
	{"transport pong nobody asked for", 9, 0, NOTHING, .zeros = 8},
	{"cascade setup", 10, 0, NOTHING, .zeros = 300},
	{"cascade answer", 11, 0, NOTHING, .zeros = 80},
	{"DHT stream, SYN", 12, 0, NOTHING, STREAM(SG_VSTREAM_SYN)},
	{"setup stream, SYN", 13, 0, STREAM_END, STREAM(SG_VSTREAM_SYN)},
	{"visor RPC stream, SYN", 14, 0, STREAM_END, STREAM(SG_VSTREAM_SYN)},
	{"forwarding stream, SYN", 15, 0, STREAM_END, STREAM(SG_VSTREAM_SYN)},
	{"forwarding stream, SYN with data", 15, 0, STREAM_END, STREAM(SG_VSTREAM_SYN), BYTES("{\"port\":80}")},
	{"forwarding stream, data without SYN", 15, 0, NOTHING, STREAM(0), BYTES("x")},
	{"forwarding stream, FIN", 15, 0, NOTHING, STREAM(SG_VSTREAM_FIN)},
	{"setup stream, cut short", 13, 0, NOTHING, .zeros = 41},
	{"application stream, SYN, port and no listener", 16, 0, STREAM_NO_LISTENER, STREAM(SG_VSTREAM_SYN),
		BYTES("\x27\x0f")},
	{"application stream, SYN that asks to relay", 16, 0, STREAM_END, STREAM(SG_VSTREAM_SYN | SG_VSTREAM_RELAY),
		.zeros = 106},
	{"application stream, an id that is not the peer's to give", 16, 0, STREAM_END, STREAM(SG_VSTREAM_SYN),
		.ours = true},
	{"application stream, data without SYN", 16, 0, NOTHING, STREAM(0), BYTES("abc")},
	{"application stream, FIN of none", 16, 0, NOTHING, STREAM(SG_VSTREAM_FIN)},
	{"application stream, cut short", 16, 0, NOTHING, .zeros = 41},
	{"application stream, empty", 16, 0, NOTHING, .zeros = 0},
	{"application stream with a route", 16, UNKNOWN_ROUTE, NOTHING, STREAM(SG_VSTREAM_SYN)},
	{"datagram of an unknown group", 17, UNKNOWN_ROUTE, NOTHING, .zeros = 1300},
	{"datagram on route 0", 17, 0, NOTHING, .zeros = 1300},
	{"bandwidth probe", 18, 0, NOTHING, BYTES("\0\0\0\1\0\0\0\1"), .zeros = 1385},
	{"bandwidth probe, cut short", 18, 0, NOTHING, .zeros = 3},
	{"bandwidth answer", 19, 0, NOTHING, BYTES("\0\0\0\1\0\0\0\0\0\x98\x96\x80")},
	{"repair (FEC)", 20, UNKNOWN_ROUTE, NOTHING, BYTES("\0\0\0\1\1\4\0"), .zeros = 1024},
	{"leg state", 21, UNKNOWN_ROUTE, NOTHING, BYTES("\1")},
	{"direction", 22, UNKNOWN_ROUTE, NOTHING, BYTES("\2")},
	{"leg re-home", 23, UNKNOWN_ROUTE, NOTHING, .zeros = 13},
	{"repair on route 0", 20, 0, NOTHING, .zeros = 40},
	{"leg state on route 0", 21, 0, NOTHING, .zeros = 0},
	{"direction on route 0", 22, 0, NOTHING, .zeros = 0},
	{"leg re-home on route 0", 23, 0, NOTHING, .zeros = 13},
	{"handshake of three bytes, unknown group", 3, UNKNOWN_ROUTE, NOTHING, BYTES("\1\xd3\3")},
	{"handshake with a KK message, unknown group", 3, UNKNOWN_ROUTE, NOTHING, BYTES("\1\xdb\3"), .zeros = 1233},
	{"handshake of three bytes on route 0", 3, 0, NOTHING, BYTES("\1\xd3\3")},
	{"a type not yet known", 99, UNKNOWN_ROUTE, NOTHING, .zeros = 64},
	{"a type not yet known on route 0", 200, 0, NOTHING, .zeros = 64},
	{"the longest packet of a type not yet known", 24, 0, NOTHING, .zeros = SG_PACKET_PAYLOAD_MAX},
	{"the last type", 255, UNKNOWN_ROUTE, NOTHING, .zeros = 0},
};

/* Ids of the end with the larger key are odd; a new one for each row. */
static uint64_t stream_id(const struct peer *p, const struct row *row)
{
	bool odd = (sg_pk_cmp(&p->pk, &p->remote) > 0) != row->ours;

	return 2 * (uint64_t)(row - rows) + 1000 + odd;
}

static size_t payload_of(const struct peer *p, const struct row *row, uint8_t *out)
{
	size_t n = 0;

	if (row->stream) {
		sg_vstream_head(stream_id(p, row), &p->pk, row->flags, out);
		n = SG_VSTREAM_HEAD;
	}
	if (row->n_bytes)
		memcpy(out + n, row->bytes, row->n_bytes);
	memset(out + n + row->n_bytes, 0, row->zeros);
	return n + row->n_bytes + row->zeros;
}

static bool is_answer(const struct peer *p, const struct row *row, struct sg_view sent, const struct sg_packet *in)
{
	struct sg_vstream_msg m;

	if (row->answer == ECHO)
		return in->type == SG_PACKET_TRANSPORT_PONG && in->payload.len == sent.len &&
		       memcmp(in->payload.p, sent.p, sent.len) == 0;
	if (row->answer == NOTHING || in->type != row->type || in->route_id != 0 ||
		sg_vstream_decode(in->payload, &m) < 0 || m.id != stream_id(p, row) ||
		!sg_pk_equal(&m.sender, &p->remote))
		return false;
	return row->answer == STREAM_END ? (m.flags & SG_VSTREAM_FIN) != 0
					 : m.data.len == 1 && m.data.p[0] == SG_VSTREAM_NO_LISTENER;
}

static void try_row(struct peer *p, const struct row *row)
{
	static uint8_t payload[SG_PACKET_PAYLOAD_MAX];
	uint8_t token[8];
	struct sg_view sent = {payload, payload_of(p, row, payload)};
	struct sg_packet in;
	bool right = row->answer == NOTHING;

	peer_packet(p, row->type, row->route, payload, sent.len);
	sg_crypto_random(p->c, token, sizeof(token));
	peer_packet(p, SG_PACKET_TRANSPORT_PING, 0, token, sizeof(token));
	for (;;) {
		in = peer_receive(p);
		if (in.type == SG_PACKET_TRANSPORT_PONG && in.payload.len == 8 && memcmp(in.payload.p, token, 8) == 0)
			break;
		if (in.type == SG_PACKET_TRANSPORT_PING)
			continue;
		right = is_answer(p, row, sent, &in);
		if (!right) {
			fprintf(stderr, "%s: the visor sent a packet of type %u, route %u, %zu bytes\n", row->name,
				in.type, in.route_id, in.payload.len);
			need(false, "that is not the answer it should be");
		}
	}
	if (!right)
		fprintf(stderr, "%s:\n", row->name);
	need(right, "no answer");
	printf("  type %3u: %s\n", row->type, row->name);
}

/* Once one pong was sent, a peer of 2026 closes when some are missing: each of many at once is answered, in order. */
static void ping_train(struct peer *p)
{
	uint8_t token[8] = {0};
	struct sg_packet in;

	for (uint8_t i = 0; i < TRAIN; i++) {
		token[7] = i;
		peer_packet(p, SG_PACKET_TRANSPORT_PING, 0, token, sizeof(token));
	}
	for (uint8_t i = 0; i < TRAIN; i++) {
		do
			in = peer_receive(p);
		while (in.type == SG_PACKET_TRANSPORT_PING);
		token[7] = i;
		need(in.type == SG_PACKET_TRANSPORT_PONG && in.payload.len == 8 && memcmp(in.payload.p, token, 8) == 0,
			"of many pings at once not each is answered in its turn");
	}
	printf("  %d transport pings at once, each answered\n", TRAIN);
}

static void probe_train(struct peer *p)
{
	uint8_t probe[1400 - SG_PACKET_HEAD] = {0, 0, 0, 7, 0, 0, 0, TRAIN};

	for (uint8_t i = 0; i < TRAIN; i++) {
		probe[5] = i;
		peer_packet(p, 18, 0, probe, sizeof(probe));
	}
	printf("  a train of %d bandwidth probes\n", TRAIN);
}

void tolerates(struct peer *p)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(rows); i++)
		try_row(p, &rows[i]);
	probe_train(p);
	ping_train(p);
}

void pings(struct peer *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct sg_packet in;

		do
			in = peer_receive(p);
		while (in.type != SG_PACKET_TRANSPORT_PING);
		need(in.route_id == 0 && in.payload.len == 8, "the visor's transport ping is not 8 bytes on route 0");
		peer_packet(p, SG_PACKET_TRANSPORT_PONG, 0, in.payload.p, in.payload.len);
		printf("  a transport ping of the visor, %u of %u\n", i + 1, n);
		fflush(stdout);
	}
}
