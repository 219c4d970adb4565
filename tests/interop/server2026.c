/*
 * sg-scripted-server: a dmsg server of 2026, behind it a discovery and a visor that asks ours, all spoken by hand. What differs
 * from 2024: payloads in every handshake (1,088 bytes of an ML-KEM answer in the session's second message and in the stream's, a
 * key of 1,184 in the stream's first), new fields in requests and responses, new members in entries.
 *
 *	sg-scripted-server PORT SECONDS
 *
 * Prints the server's and the discovery's key, then a line for each thing ours lived with. Its sessions end when SECONDS are over
 * or when all was seen; status 0 only in the latter case.
 */
#include "base/common.h"
#include "base/cursor.h"
#include "base/hex.h"
#include "crypto/frame.h"
#include "crypto/noise.h"
#include "wire/dmsg.h"
#include "wire/entry.h"
#include "wire/gob.h"
#include "wire/yamux.h"
#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD_KEY    1184
#define PAYLOAD_ANSWER 1088
#define HTTP_PORT      80
#define CLOSED_PORT    4711
#define GOB_BASE       70

struct key {
	struct sg_sk sk;
	struct sg_pk pk;
};

/* What is to be seen, in no particular order. */
enum seen { SESSION, STREAM_IN, ENTRY, ENTRY_AGAIN, SESSION_PING, STREAM_OUT, REFUSED, SEEN_COUNT };
static const char *const sentence[SEEN_COUNT] = {
	[SESSION] = "a session's second message with 1,088 bytes of payload",
	[STREAM_IN] = "a stream's response with fields of 2026 and a Noise message of 1,137 bytes",
	[ENTRY] = "a discovery that answers with members of 2026: our entry was posted",
	[ENTRY_AGAIN] = "its entry of us with members of 2026: the sequence was continued",
	[SESSION_PING] = "a ping of the session, answered",
	[STREAM_OUT] = "a stream request with fields of 2026 and a Noise message of 1,233 bytes: GET /health answered",
	[REFUSED] = "the same to a port where nobody listens, refused",
};

struct end {
	struct sg_yamux_stream *y;
	bool used, dialled, open, ping;
	uint16_t port; /* dialled: to which */
	struct sg_noise noise;
	struct sg_frame_key tx, rx;
	uint8_t hash[32]; /* of the request we sent */
	uint8_t in[65536];
	size_t have;
	char text[16384]; /* HTTP as far as it came */
	size_t text_len;
};

static struct {
	struct sg_crypto *c;
	struct key server, discovery, peer;
	int fd;
	struct sg_noise noise;
	struct sg_frame_key tx, rx;
	struct sg_yamux *mux;
	struct end ends[64];
	char entry[SG_ENTRY_JSON_MAX];
	bool seen[SEEN_COUNT], asked;
} g;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "sg-scripted-server: %s\n", what);
	exit(1);
}

static void need(bool ok, const char *what)
{
	if (!ok)
		fail(what);
}

static void saw(enum seen what)
{
	if (!g.seen[what])
		printf("  %s\n", sentence[what]);
	fflush(stdout);
	g.seen[what] = true;
}

static bool saw_all(void)
{
	for (int i = 0; i < SEEN_COUNT; i++)
		if (!g.seen[i])
			return false;
	return true;
}

static struct sg_mono now(void)
{
	return sg_clock_system()->now(sg_clock_system());
}

static void put(const void *p, size_t len)
{
	(void)!send(g.fd, p, len, MSG_NOSIGNAL);
}

static int noise_message(struct sg_noise *n, size_t payload, uint8_t *out, size_t cap)
{
	uint8_t bytes[PAYLOAD_KEY];
	int len;

	sg_crypto_random(g.c, bytes, payload);
	len = sg_noise_write(n, (struct sg_view){bytes, payload}, out, cap);
	need(len > 0, "a Noise message cannot be made");
	return len;
}

static void frame_keys(const struct sg_noise *n, struct sg_frame_key *tx, struct sg_frame_key *rx)
{
	struct sg_noise_keys keys;

	sg_noise_split(n, &keys);
	sg_frame_key_fini(tx);
	sg_frame_key_fini(rx);
	need(sg_frame_key_init(tx, sg_crypto_aead(g.c), keys.tx) == 0 &&
			sg_frame_key_init(rx, sg_crypto_aead(g.c), keys.rx) == 0,
		"no memory for keys");
}

/* ---- gob of 2026: what is new stands between what was there ---- */

static void write_addr(struct sg_writer *w, const struct sg_pk *pk, uint16_t port)
{
	sg_gob_write_uint(w, 1);
	sg_gob_write_bytes(w, pk->b, SG_PK_LEN);
	sg_gob_write_uint(w, 1);
	sg_gob_write_uint(w, port);
	sg_gob_write_uint(w, 0);
}

static size_t request(const struct sg_pk *to, uint16_t port, struct sg_view noise, uint8_t *out, size_t cap)
{
	static const struct sg_gob_field_def fields[] = {{"Timestamp", SG_GOB_INT}, {"SrcAddr", GOB_BASE + 1},
		{"DstAddr", GOB_BASE + 1}, {"IPinfo", SG_GOB_BOOL}, {"GeoInfo", SG_GOB_BOOL}, {"Hints", GOB_BASE + 3},
		{"NoiseMsg", SG_GOB_BYTES}};
	static const struct sg_gob_field_def addr[] = {{"PK", GOB_BASE + 2}, {"Port", SG_GOB_UINT}};
	struct sg_writer w = sg_writer(out, cap);
	struct sg_gob_out o;

	sg_gob_define_struct(&w, GOB_BASE, "StreamRequest", fields, SG_ARRAY_LEN(fields));
	sg_gob_define_struct(&w, GOB_BASE + 1, "Addr", addr, SG_ARRAY_LEN(addr));
	sg_gob_define_opaque(&w, GOB_BASE + 2, "PubKey");
	sg_gob_define_slice(&w, GOB_BASE + 3, "", SG_GOB_STRING);
	o = sg_gob_begin(&w, GOB_BASE);
	sg_gob_write_uint(&w, 1);
	sg_gob_write_int(&w, (int64_t)time(NULL) * 1000000000);
	sg_gob_write_uint(&w, 1);
	write_addr(&w, &g.peer.pk, 49200);
	sg_gob_write_uint(&w, 1);
	write_addr(&w, to, port);
	sg_gob_write_uint(&w, 2); /* GeoInfo */
	sg_gob_write_uint(&w, 1);
	sg_gob_write_uint(&w, 1); /* Hints */
	sg_gob_write_uint(&w, 2);
	sg_gob_write_bytes(&w, "quic", 4);
	sg_gob_write_bytes(&w, "wt", 2);
	sg_gob_write_uint(&w, 1);
	sg_gob_write_bytes(&w, noise.p, noise.len);
	sg_gob_write_uint(&w, 0);
	sg_gob_end(&o);
	need(!w.err, "a request is too long");
	return sg_writer_len(&w);
}

static size_t response(const uint8_t hash[32], struct sg_view noise, uint8_t *out, size_t cap)
{
	static const struct sg_gob_field_def fields[] = {{"ReqHash", GOB_BASE + 1}, {"Accepted", SG_GOB_BOOL},
		{"IP", SG_GOB_BYTES}, {"GeoCountry", SG_GOB_STRING}, {"GeoRegion", SG_GOB_STRING},
		{"GeoLat", SG_GOB_FLOAT}, {"GeoLon", SG_GOB_FLOAT}, {"ErrCode", SG_GOB_UINT},
		{"NoiseMsg", SG_GOB_BYTES}};
	struct sg_writer w = sg_writer(out, cap);
	struct sg_gob_out o;

	sg_gob_define_struct(&w, GOB_BASE, "StreamResponse", fields, SG_ARRAY_LEN(fields));
	sg_gob_define_array(&w, GOB_BASE + 1, "SHA256", SG_GOB_UINT, 32);
	o = sg_gob_begin(&w, GOB_BASE);
	sg_gob_write_uint(&w, 1);
	sg_gob_write_uint(&w, 32);
	for (int i = 0; i < 32; i++)
		sg_gob_write_uint(&w, hash[i]);
	sg_gob_write_uint(&w, 1);
	sg_gob_write_uint(&w, 1);
	sg_gob_write_uint(&w, 2); /* GeoCountry */
	sg_gob_write_bytes(&w, "NZ", 2);
	sg_gob_write_uint(&w, 2); /* GeoLat; a float is a number like any other here */
	sg_gob_write_uint(&w, 0x1440);
	sg_gob_write_uint(&w, 3); /* NoiseMsg */
	sg_gob_write_bytes(&w, noise.p, noise.len);
	sg_gob_write_uint(&w, 0);
	sg_gob_end(&o);
	need(!w.err, "a response is too long");
	return sg_writer_len(&w);
}

/* Signed, sealed for the session, and on the stream. hash: of the signed object, or NULL. */
static void send_object(struct end *e, const struct key *signer, struct sg_view gob, uint8_t *hash)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];
	int n = sg_dmsg_object_sign(g.c, &signer->sk, gob, slot + SG_FRAME_HEAD, SG_FRAME_PLAIN_MAX);

	need(n > 0, "an object cannot be signed");
	if (hash)
		sg_sha256(&(struct sg_view){slot + SG_FRAME_HEAD, (size_t)n}, 1, hash);
	sg_yamux_send(e->y, (struct sg_view){slot, sg_frame_seal(&g.tx, slot, (size_t)n)});
}

/* ---- HTTP on a stream ---- */

static void say(struct end *e, const char *text)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];
	const struct sg_view in = {(const uint8_t *)text, strlen(text)};

	need(in.len <= SG_FRAME_PLAIN_MAX, "an HTTP message is too long for one frame");
	memcpy(slot + SG_FRAME_HEAD, in.p, in.len);
	sg_yamux_send(e->y, (struct sg_view){slot, sg_frame_seal(&e->tx, slot, in.len)});
}

static void answer(struct end *e, int status, const char *body)
{
	char out[sizeof(g.entry) + 512]; /* say() refuses what does not fit a frame */

	snprintf(out, sizeof(out),
		"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nAlt-Svc: h3=\":443\"\r\nX-Request-Id: 7\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		status, strlen(body), body);
	say(e, out);
}

/* Our entry as the discovery of 2026 tells it: a member behind the signature, one inside the client. */
static void answer_entry(struct end *e)
{
	char out[sizeof(g.entry) + 128];
	const char *client = strstr(g.entry, "\"client\":{");
	size_t front = client ? (size_t)(client - g.entry) + strlen("\"client\":{") : 1;

	snprintf(out, sizeof(out), "%.*s\"relay\":[true,null,{\"a\":-1}],%.*s,\"protocol\":\"yamux\"}", (int)front,
		g.entry, (int)(strlen(g.entry) - front - 1), g.entry + front);
	answer(e, 200, out);
}

static void post_entry(struct end *e, const char *body)
{
	unsigned long long before = 0, after = 0;
	const char *at = strstr(g.entry, "\"sequence\":");

	if (at)
		before = strtoull(at + 11, NULL, 10);
	at = strstr(body, "\"sequence\":");
	if (!at || strlen(body) >= sizeof(g.entry))
		fail("what was posted is no entry");
	after = strtoull(at + 11, NULL, 10);
	if (g.entry[0]) {
		need(after == before + 1, "the sequence of our entry does not grow by one");
		saw(ENTRY_AGAIN);
	}
	snprintf(g.entry, sizeof(g.entry), "%s", body);
	answer(e, 200, "{\"code\":200,\"message\":\"wrote a new entry\",\"took_ms\":3}");
	saw(ENTRY);
}

static void http_request(struct end *e)
{
	char *body = strstr(e->text, "\r\n\r\n"), *length;
	size_t want = 0;

	if (!body)
		return;
	body += 4;
	length = strcasestr(e->text, "\r\ncontent-length:");
	if (length && length < body)
		want = strtoul(length + 17, NULL, 10);
	if (strlen(body) < want)
		return;
	if (strncmp(e->text, "POST /dmsg-discovery/entry", 26) == 0)
		post_entry(e, body);
	else if (strncmp(e->text, "GET /dmsg-discovery/entry/", 26) == 0 && g.entry[0])
		answer_entry(e);
	else
		answer(e, 404, "{\"code\":404,\"message\":\"entry of public key is not found\",\"hint\":null}");
	e->text_len = 0;
}

static void text_in(struct end *e, const uint8_t *p, size_t len)
{
	need(e->text_len + len < sizeof(e->text), "HTTP that is too long");
	memcpy(e->text + e->text_len, p, len);
	e->text_len += len;
	e->text[e->text_len] = '\0';
	if (!e->dialled) {
		http_request(e);
	} else if (strstr(e->text, "\r\n\r\n")) {
		need(strncmp(e->text, "HTTP/1.1 200", 12) == 0, "GET /health is not answered with 200");
		saw(STREAM_OUT);
	}
}

/* ---- streams ---- */

static struct end *end_new(void)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(g.ends); i++) {
		struct end *e = &g.ends[i];

		if (e->used)
			continue;
		memset(e, 0, sizeof(*e));
		e->used = true;
		return e;
	}
	need(false, "too many streams");
	return NULL;
}

static void end_free(struct end *e)
{
	sg_frame_key_fini(&e->tx);
	sg_frame_key_fini(&e->rx);
	e->used = false;
}

static void dial(uint16_t port)
{
	struct end *e = end_new();
	uint8_t noise[SG_DMSG_NOISE_MAX], gob[SG_DMSG_OBJECT_MAX];
	size_t len;

	e->dialled = true;
	e->port = port;
	need(sg_yamux_open(g.mux, e, now(), &e->y) == 0, "no stream");
	need(sg_noise_kk_init(&e->noise, g.c, true, &g.peer.sk, &g.noise.rs) == 0, "Noise does not start");
	len = (size_t)noise_message(&e->noise, PAYLOAD_KEY, noise, sizeof(noise));
	len = request(&g.noise.rs, port, (struct sg_view){noise, len}, gob, sizeof(gob));
	send_object(e, &g.peer, (struct sg_view){gob, len}, e->hash);
}

static void session_ping(void)
{
	struct end *e = end_new();

	e->dialled = e->ping = true;
	need(sg_yamux_open(g.mux, e, now(), &e->y) == 0, "no stream");
	sg_yamux_send(e->y, (struct sg_view){(const uint8_t *)"\0", 2});
}

static void take_request(struct end *e, struct sg_view object)
{
	uint8_t noise[SG_DMSG_NOISE_MAX], gob[SG_DMSG_OBJECT_MAX], hash[32];
	struct sg_dmsg_request q;
	struct sg_sig sig;
	struct sg_view in;
	size_t len;

	need(sg_dmsg_object_split(object, &sig, &in) == 0 && sg_dmsg_request_decode(g.c, in, &q) == 0,
		"a stream request does not decode");
	need(sg_dmsg_object_verify(g.c, &g.noise.rs, object) == 0, "a stream request is not signed by its sender");
	if (!sg_pk_equal(&q.dst.pk, &g.discovery.pk) || q.dst.port != HTTP_PORT) {
		sg_yamux_reset(e->y); /* a refused stream is simply closed */
		end_free(e);
		return;
	}
	need(sg_noise_kk_init(&e->noise, g.c, false, &g.discovery.sk, &q.src.pk) == 0 &&
			sg_noise_read(&e->noise, q.noise, NULL, 0) >= 0,
		"the Noise message of a stream request does not open");
	sg_sha256(&object, 1, hash);
	len = (size_t)noise_message(&e->noise, PAYLOAD_ANSWER, noise, sizeof(noise));
	len = response(hash, (struct sg_view){noise, len}, gob, sizeof(gob));
	send_object(e, &g.discovery, (struct sg_view){gob, len}, NULL);
	frame_keys(&e->noise, &e->tx, &e->rx);
	e->open = true;
}

static void take_response(struct end *e, struct sg_view object)
{
	struct sg_dmsg_response a;
	struct sg_sig sig;
	struct sg_view in;

	need(sg_dmsg_object_split(object, &sig, &in) == 0 && sg_dmsg_response_decode(in, &a) == 0,
		"a stream response does not decode");
	need(sg_dmsg_object_verify(g.c, &g.noise.rs, object) == 0, "a stream response is not signed by its sender");
	need(memcmp(a.req_hash, e->hash, sizeof(a.req_hash)) == 0, "a stream response is for another request");
	if (e->port == CLOSED_PORT) {
		need(!a.accepted, "a port where nobody listens was accepted");
		saw(REFUSED);
		return;
	}
	need(a.accepted && sg_noise_read(&e->noise, a.noise, NULL, 0) >= 0,
		"the response's Noise message does not open");
	frame_keys(&e->noise, &e->tx, &e->rx);
	e->open = true;
	say(e, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-New: 1\r\n\r\n");
}

static void used(struct end *e, size_t n)
{
	e->have -= n;
	memmove(e->in, e->in + n, e->have);
}

static void work(struct end *e)
{
	uint8_t plain[SG_FRAME_PLAIN_MAX];
	size_t len;
	int n;

	if (e->ping && e->have >= 2) {
		need(e->in[0] == 0 && e->in[1] == 0, "a ping of the session is answered with something else");
		saw(SESSION_PING);
		return;
	}
	while (e->used && !e->ping) {
		n = sg_frame_open(e->open ? &e->rx : &g.rx, (struct sg_view){e->in, e->have}, plain, &len);
		need(n >= 0, "a frame does not open");
		if (n == 0)
			return;
		used(e, (size_t)n);
		if (e->open) {
			saw(STREAM_IN);
			text_in(e, plain, len);
		} else if (e->dialled) {
			take_response(e, (struct sg_view){plain, len});
		} else {
			take_request(e, (struct sg_view){plain, len});
		}
	}
}

static void on_send(void *arg, struct sg_view head, struct sg_view body)
{
	(void)arg;
	put(head.p, head.len);
	if (body.len)
		put(body.p, body.len);
}

static int on_stream(void *arg, struct sg_yamux_stream *y)
{
	(void)arg;
	y->user = end_new();
	((struct end *)y->user)->y = y;
	return 0;
}

static void on_data(void *arg, struct sg_yamux_stream *y, struct sg_view data)
{
	struct end *e = y->user;

	(void)arg;
	sg_yamux_consumed(y, (uint32_t)data.len);
	if (!e || !e->used)
		return;
	need(e->have + data.len <= sizeof(e->in), "a stream brings more than its reader takes");
	memcpy(e->in + e->have, data.p, data.len);
	e->have += data.len;
	work(e);
}

static void on_writable(void *arg, struct sg_yamux_stream *y)
{
	(void)arg;
	(void)y;
}

static void on_end(void *arg, struct sg_yamux_stream *y, int err)
{
	struct end *e = y->user;

	(void)arg;
	if (e && e->dialled && e->port == CLOSED_PORT && !e->open)
		saw(REFUSED);
	if (err == 0)
		sg_yamux_close(y, now());
	if (e)
		end_free(e);
}

static const struct sg_yamux_ops mux_ops = {on_send, on_stream, on_data, on_writable, on_end};

/* ---- a session ---- */

static void read_all(void *out, size_t len)
{
	need(recv(g.fd, out, len, MSG_WAITALL) == (ssize_t)len, "the session ended in its handshake");
}

static void handshake(void)
{
	uint8_t msg[2 + SG_NOISE_MSG_MAX];

	need(sg_noise_xk_init(&g.noise, g.c, false, &g.server.sk, NULL) == 0, "Noise does not start");
	while (!sg_noise_done(&g.noise)) {
		int n;

		read_all(msg, 2);
		read_all(msg + 2, sg_get_u16(msg));
		need(sg_noise_read(&g.noise, (struct sg_view){msg + 2, sg_get_u16(msg)}, NULL, 0) >= 0,
			"a Noise message of the session does not open");
		if (sg_noise_done(&g.noise))
			break;
		n = noise_message(&g.noise, PAYLOAD_ANSWER, msg + 2, sizeof(msg) - 2);
		sg_put_u16(msg, (uint16_t)n);
		put(msg, 2 + (size_t)n);
	}
	frame_keys(&g.noise, &g.tx, &g.rx);
	g.mux = sg_yamux_new(false, &mux_ops, NULL, now());
	need(g.mux != NULL, "no memory");
	saw(SESSION);
}

/* Asks ours what a visor of 2026 asks, once its entry is there. */
static void ask_ours(void)
{
	if (!g.seen[ENTRY] || g.asked)
		return;
	g.asked = true;
	session_ping();
	dial(HTTP_PORT);
	dial(CLOSED_PORT);
}

static void session(time_t until)
{
	uint8_t buf[65536];
	const char *why = "";
	ssize_t n;

	handshake();
	while (time(NULL) < until && !saw_all()) {
		struct pollfd p = {.fd = g.fd, .events = POLLIN};

		if (poll(&p, 1, 500) == 0)
			continue;
		n = recv(g.fd, buf, sizeof(buf), 0);
		if (n <= 0)
			break;
		need(sg_yamux_feed(g.mux, (struct sg_view){buf, (size_t)n}, &why) == 0, why);
		ask_ours();
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(g.ends); i++)
		if (g.ends[i].used)
			end_free(&g.ends[i]);
	sg_yamux_free(g.mux);
	sg_noise_fini(&g.noise);
	close(g.fd);
}

static void key_new(struct key *k, const char *what)
{
	char text[SG_PK_TEXT];

	sg_sk_generate(g.c, &k->sk);
	need(sg_pk_of(g.c, &k->sk, &k->pk) == 0, "no key");
	printf("%s %s\n", what, sg_pk_str(&k->pk, text));
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	time_t until;

	if (argc != 3) {
		fprintf(stderr, "usage: sg-scripted-server PORT SECONDS\n");
		return 2;
	}
	a.sin_port = htons((uint16_t)atoi(argv[1]));
	until = time(NULL) + atoi(argv[2]);
	g.c = sg_crypto_new(sg_random_system());
	need(g.c != NULL, "no memory");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	need(bind(listener, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(listener, 4) == 0, "the port is taken");
	key_new(&g.server, "server");
	key_new(&g.discovery, "discovery");
	key_new(&g.peer, "peer");
	fflush(stdout);
	while (time(NULL) < until && !saw_all()) {
		struct pollfd p = {.fd = listener, .events = POLLIN};

		if (poll(&p, 1, 500) == 0)
			continue;
		g.fd = accept(listener, NULL, NULL);
		session(until);
	}
	for (int i = 0; i < SEEN_COUNT; i++)
		if (!g.seen[i])
			fprintf(stderr, "not seen: %s\n", sentence[i]);
	close(listener);
	sg_frame_key_fini(&g.tx);
	sg_frame_key_fini(&g.rx);
	sg_crypto_free(g.c);
	return saw_all() ? 0 : 1;
}
