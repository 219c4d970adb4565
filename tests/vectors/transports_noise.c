/* transports.json: Noise KK as transports use it, and whole sessions. */
#include "base/common.h"
#include "base/err.h"
#include "crypto/frame.h"
#include "crypto/noise.h"
#include "machine.h"
#include "wire/settle.h"
#include "wire/stcp.h"

#include <stdlib.h>

/* ---- Noise KK; index 0 is the initiator ---- */

static const char *const roles[] = {"initiator", "responder"};

struct side {
	struct sg_sk s, e;
	struct sg_pk pk;
	struct sg_noise noise;
	struct sg_noise_keys keys;
	uint8_t msg[SG_NOISE_MSG_MIN];
	struct sg_frame_key tx, rx;
};

static bool secret(struct run *r, const struct value *v, const char *role, const char *what, struct sg_sk *out)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_%s", role, what);
	return hex_fixed(r, v, name, out->b, SG_SK_LEN);
}

static bool sides_init(struct run *r, const struct value *v, const char *static_name, struct side s[2])
{
	for (int i = 0; i < 2; i++) {
		if (!secret(r, v, roles[i], static_name, &s[i].s) || !secret(r, v, roles[i], "ephemeral_sk", &s[i].e))
			return false;
		expect_outcome(r, "static key", true, sg_pk_of(r->c, &s[i].s, &s[i].pk));
	}
	for (int i = 0; i < 2 && !r->failed; i++) {
		fake_random_put(r->random, s[i].e.b, SG_SK_LEN);
		expect_outcome(r, "init", true, sg_noise_kk_init(&s[i].noise, r->c, i == 0, &s[i].s, &s[!i].pk));
	}
	return !r->failed;
}

static void sides_message(struct run *r, struct side s[2], int from)
{
	const struct sg_view msg = {s[from].msg, SG_NOISE_MSG_MIN};

	if (r->failed)
		return;
	expect_number(r, "message", SG_NOISE_MSG_MIN,
		(uint64_t)sg_noise_write(&s[from].noise, (struct sg_view){0}, s[from].msg, SG_NOISE_MSG_MIN));
	expect_outcome(r, "message", true, sg_noise_read(&s[!from].noise, msg, NULL, 0));
}

static void sides_split(struct run *r, struct side s[2])
{
	for (int i = 0; i < 2 && !r->failed; i++) {
		sg_noise_split(&s[i].noise, &s[i].keys);
		if (sg_frame_key_init(&s[i].tx, sg_crypto_aead(r->c), s[i].keys.tx) < 0 ||
			sg_frame_key_init(&s[i].rx, sg_crypto_aead(r->c), s[i].keys.rx) < 0)
			abort();
	}
}

static void sides_fini(struct side s[2])
{
	for (int i = 0; i < 2; i++) {
		sg_frame_key_fini(&s[i].tx);
		sg_frame_key_fini(&s[i].rx);
		sg_noise_fini(&s[i].noise);
	}
}

static void expect_mid(struct run *r, const struct value *v, const char *field, const void *got, size_t len)
{
	expect_hex_of(r, value_object(v, "intermediate"), field, got, len);
}

static void expect_mixed(
	struct run *r, const struct value *v, const char *field, const uint8_t h[32], const void *data, size_t len)
{
	uint8_t out[32];

	sg_sha256((const struct sg_view[]){{h, 32}, {data, len}}, 2, out);
	expect_mid(r, v, field, out, sizeof(out));
}

static void expect_dh(
	struct run *r, const struct value *v, const char *field, const struct sg_sk *sk, const struct sg_pk *pk)
{
	uint8_t dh[SG_NOISE_DH_LEN];

	expect_outcome(r, field, true, sg_noise_dh(r->c, sk, pk, dh));
	expect_mid(r, v, field, dh, sizeof(dh));
}

static void handshake_values(struct run *r, const struct value *v, struct side s[2])
{
	const char *name = value_text(v, "protocol_name");
	uint8_t h[32];

	for (int i = 0; i < 2; i++)
		expect_mid(r, v, "h_after_premessages", s[i].noise.h, 32);
	if (name) {
		sg_sha256(&(struct sg_view){(const uint8_t *)name, strlen(name)}, 1, h);
		expect_mid(r, v, "h_after_name", h, sizeof(h));
		expect_mixed(r, v, "h_after_prologue", h, NULL, 0);
	}
	expect_mixed(r, v, "h_ad_msg1", s[0].noise.h, s[0].noise.e_pub.b, SG_PK_LEN);
	sides_message(r, s, 0);
	expect_dh(r, v, "dh_es", &s[0].e, &s[1].pk);
	expect_dh(r, v, "dh_ss", &s[1].s, &s[0].pk);
	expect_mid(r, v, "k_msg1", s[0].noise.k, 32);
	expect_mixed(r, v, "h_ad_msg2", s[1].noise.h, s[1].noise.e_pub.b, SG_PK_LEN);
	sides_message(r, s, 1);
	expect_dh(r, v, "dh_ee", &s[0].e, &s[1].noise.e_pub);
	expect_dh(r, v, "dh_se", &s[0].s, &s[1].noise.e_pub);
	expect_mid(r, v, "k_msg2", s[1].noise.k, 32);
	for (int i = 0; i < 2; i++) {
		expect_mid(r, v, "ck_final", s[i].noise.ck, 32);
		expect_mid(r, v, "h_final", s[i].noise.h, 32);
	}
	sides_split(r, s);
	for (int i = 0; i < 2 && !r->failed; i++) {
		expect_mid(r, v, "key_initiator_to_responder", i ? s[i].keys.rx : s[i].keys.tx, 32);
		expect_mid(r, v, "key_responder_to_initiator", i ? s[i].keys.tx : s[i].keys.rx, 32);
	}
}

static void handshake_frames(struct run *r, const struct value *v, const struct side s[2])
{
	const struct value *list = value_list(v, "handshake_frames");
	uint8_t framed[2 + SG_NOISE_MSG_MIN] = {0, SG_NOISE_MSG_MIN};

	expect_true(r, "handshake_frames", list && list->count == 2, "two of them", "another number");
	for (int i = 0; list && i < 2 && !r->failed; i++) {
		const struct value *frame = &list->items[i].value;
		uint64_t len;

		memcpy(framed + 2, s[i].msg, SG_NOISE_MSG_MIN);
		expect_hex(r, "handshake_frames", value_text(frame, "hex"), framed, sizeof(framed));
		expect_text(r, "from", value_text(frame, "from"), roles[i]);
		if (value_u64(frame, "len", &len))
			expect_number(r, "len", len, sizeof(framed));
	}
}

/* "who: text", or "who: N bytes 00 01 .. (i mod 256)" for a pattern (free). */
static uint8_t *plaintext_of(const char *line, int *from, size_t *len)
{
	const char *colon = strstr(line, ": "), *text = colon ? colon + 2 : line;
	unsigned long pattern = 0;
	int end = 0;
	uint8_t *out;

	*from = strncmp(line, "responder", 9) == 0;
	if (sscanf(text, "%lu bytes 00 01 .. (i mod 256)%n", &pattern, &end) == 1 && end && !text[end])
		*len = pattern;
	else
		*len = strlen(text);
	out = malloc(*len + 1);
	if (!out)
		abort();
	for (size_t i = 0; i < *len; i++)
		out[i] = end && !text[end] ? (uint8_t)i : (uint8_t)text[i];
	return out;
}

/* One frame: as recorded, and opened by the other end. */
static void data_frame(struct run *r, const struct value *want, struct side s[2], int from, struct sg_view plain)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];
	size_t len, opened;
	uint64_t number;

	memcpy(slot + SG_FRAME_HEAD, plain.p, plain.len);
	len = sg_frame_seal(&s[from].tx, slot, plain.len);
	expect_text(r, "from", value_text(want, "from"), roles[from]);
	expect_hex_of(r, want, "hex", slot, len);
	if (value_text(want, "hex_prefix"))
		expect_hex(r, "hex_prefix", value_text(want, "hex_prefix"), slot,
			SG_MIN(len, strlen(value_text(want, "hex_prefix")) / 2));
	if (value_u64(want, "len", &number))
		expect_number(r, "len", number, len);
	expect_number(r, "bytes read", len,
		(uint64_t)sg_frame_open(&s[!from].rx, (struct sg_view){slot, len}, slot + SG_FRAME_HEAD, &opened));
	expect_bytes(r, "plaintext", plain, (struct sg_view){slot + SG_FRAME_HEAD, opened});
}

static void data_frames(struct run *r, const struct value *v, struct side s[2])
{
	const struct value *texts = value_list(v, "plaintexts_in_order"), *frames = value_list(v, "data_frames");
	size_t next = 0;

	list_begin(r, "data_frames");
	for (size_t t = 0; texts && frames && t < texts->count; t++) {
		size_t len, done = 0;
		int from;
		uint8_t *plain = plaintext_of(texts->items[t].value.text, &from, &len);

		while (done < len) {
			struct sg_view part = {plain + done, SG_MIN(len - done, (size_t)SG_FRAME_PLAIN_MAX)};

			case_begin(r, next, roles[from]);
			expect_true(r, "data_frames", next < frames->count, "a frame for every plaintext", "fewer");
			if (!r->failed)
				data_frame(r, &frames->items[next++].value, s, from, part);
			case_end(r);
			done += part.len;
		}
		free(plain);
	}
	if (frames && next != frames->count) {
		case_begin(r, next, NULL);
		expect_number(r, "data_frames", frames->count, next);
		case_end(r);
	}
	list_end(r);
}

bool is_transport_noise(const struct value *v)
{
	return value_list(v, "handshake_frames") != NULL;
}

void transport_noise_kk(struct run *r, const struct value *v)
{
	static const char *const public_names[2][2] = {
		{"initiator_static_pk", "initiator_ephemeral_pk"}, {"responder_static_pk", "responder_ephemeral_pk"}};
	struct side s[2] = {0};
	bool usable;

	list_begin(r, NULL);
	case_begin(r, 0, NULL);
	if (sides_init(r, v, "static_sk", s)) {
		for (int i = 0; i < 2; i++) {
			expect_hex_of(r, v, public_names[i][0], s[i].pk.b, SG_PK_LEN);
			expect_hex_of(r, v, public_names[i][1], s[i].noise.e_pub.b, SG_PK_LEN);
		}
		handshake_values(r, v, s);
		handshake_frames(r, v, s);
	}
	case_end(r);
	list_end(r);
	usable = s[0].tx.key && s[1].tx.key;
	if (usable)
		data_frames(r, v, s);
	sides_fini(s);
}

/* ---- a whole session ---- */

/* What one side wrote, joined; and what is left of it while it is followed. */
struct stream {
	uint8_t *bytes; /* owned */
	size_t len, at;
};

static void stream_join(
	struct run *r, const struct value *list, const char *field, const char *from, struct stream *out)
{
	*out = (struct stream){0};
	for (size_t i = 0; list && i < list->count && !r->failed; i++) {
		const struct value *item = &list->items[i].value;
		uint64_t told;
		size_t len;
		uint8_t *part;

		if (!value_text(item, "from") || strcmp(value_text(item, "from"), from) != 0)
			continue;
		part = hex_bytes(r, item, field, &len);
		if (value_u64(item, "len", &told))
			expect_number(r, "len", told, len);
		out->bytes = realloc(out->bytes, out->len + len + 1);
		if (!out->bytes)
			abort();
		if (part)
			memcpy(out->bytes + out->len, part, len);
		out->len += len;
		free(part);
	}
}

static struct sg_view rest(const struct stream *s)
{
	return (struct sg_view){s->bytes + s->at, s->len - s->at};
}

/* The next bytes of the stream are these. */
static void expect_next(struct run *r, const char *field, struct stream *s, const void *bytes, size_t len)
{
	struct sg_view left = rest(s);

	expect_bytes(r, field, (struct sg_view){left.p, SG_MIN(left.len, len)}, (struct sg_view){bytes, len});
	s->at += SG_MIN(left.len, len);
}

static void session_clear(struct run *r, struct side s[2], struct stream w[2], uint8_t nonce[SG_STCP_NONCE])
{
	char line[SG_STCP_LINE_MAX];
	struct sg_stcp_f2 f2;
	struct sg_stcp_f3 f3;

	expect_next(r, "f0", &w[0], SG_STCP_F0, SG_STCP_F0_LEN);
	expect_outcome(r, "f1", true, r->failed ? 0 : sg_stcp_f1_decode(rest(&w[1]), nonce));
	if (r->failed)
		return;
	sg_stcp_f1_encode(nonce, line, sizeof(line));
	expect_next(r, "f1", &w[1], line, strlen(line));
	expect_outcome(r, "f2", true, sg_stcp_f2_decode(r->c, rest(&w[0]), &f2));
	if (r->failed)
		return;
	expect_outcome(r, "f2 signature", true, sg_stcp_f2_verify(r->c, &f2, nonce));
	expect_bytes(r, "f2 source", (struct sg_view){s[0].pk.b, SG_PK_LEN}, (struct sg_view){f2.src.b, SG_PK_LEN});
	sg_stcp_f2_format(&f2, line, sizeof(line));
	expect_next(r, "f2", &w[0], line, strlen(line));
	answer_f2(&f2, &f3);
	sg_stcp_f3_encode(&f3, line, sizeof(line));
	expect_next(r, "f3", &w[1], line, strlen(line));
}

static void session_noise(struct run *r, struct side s[2], struct stream w[2])
{
	uint8_t framed[2 + SG_NOISE_MSG_MIN] = {0, SG_NOISE_MSG_MIN};

	for (int i = 0; i < 2 && !r->failed; i++) {
		sides_message(r, s, i);
		memcpy(framed + 2, s[i].msg, SG_NOISE_MSG_MIN);
		expect_next(r, "Noise message", &w[i], framed, sizeof(framed));
	}
	sides_split(r, s);
}

/* Seals one side's plaintexts, a write each, and compares with its bytes on the wire. */
static void session_seal(struct run *r, const struct value *v, struct side *s, int from, struct stream w)
{
	const struct value *list = value_list(v, "noise_plaintexts_in_order");
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];

	for (size_t i = 0; list && i < list->count && !r->failed; i++) {
		const struct value *item = &list->items[i].value;
		size_t len, done = 0;
		uint8_t *plain;

		if (!value_text(item, "from") || strcmp(value_text(item, "from"), roles[from]) != 0)
			continue;
		plain = hex_bytes(r, item, "plaintext_hex", &len);
		while (plain && done < len) {
			size_t n = SG_MIN(len - done, (size_t)SG_FRAME_PLAIN_MAX);

			memcpy(slot + SG_FRAME_HEAD, plain + done, n);
			expect_next(r, "frame", &w, slot, sg_frame_seal(&s->tx, slot, n));
			done += n;
		}
		free(plain);
	}
	expect_number(r, "bytes left on the wire", 0, w.len - w.at);
}

/* Opens everything @from wrote and compares it with its plaintexts joined. */
static void session_open(struct run *r, const struct value *v, struct side *reader, int from, const struct stream *w)
{
	struct stream want;
	size_t at = w->at, len;
	uint8_t plain[SG_FRAME_PLAIN_MAX];

	stream_join(r, value_list(v, "noise_plaintexts_in_order"), "plaintext_hex", roles[from], &want);
	while (at < w->len && !r->failed) {
		int used = sg_frame_open(&reader->rx, (struct sg_view){w->bytes + at, w->len - at}, plain, &len);

		expect_true(r, "frame", used > 0, "a whole frame", used ? sg_errname(used) : "part of one");
		if (used <= 0)
			break;
		at += (size_t)used;
		expect_next(r, "noise_plaintexts_in_order", &want, plain, len);
	}
	expect_number(r, "plaintext not on the wire", 0, want.len - want.at);
	free(want.bytes);
}

/* The dialler's first words are the signed entry, the answer is one byte. */
static void session_settlement(struct run *r, const struct value *v, const struct side s[2])
{
	struct stream say, answer;
	struct sg_signed_entry e;
	char line[SG_SETTLE_LINE_MAX];

	stream_join(r, value_list(v, "noise_plaintexts_in_order"), "plaintext_hex", roles[0], &say);
	stream_join(r, value_list(v, "noise_plaintexts_in_order"), "plaintext_hex", roles[1], &answer);
	expect_outcome(r, "settlement", true, r->failed ? 0 : sg_settle_decode(r->c, rest(&say), &e));
	if (!r->failed) {
		expect_outcome(r, "settlement", true, sg_settle_check(r->c, &e, &s[1].pk, &s[0].pk, e.entry.type));
		sg_settle_encode(&e, true, line, sizeof(line));
		expect_next(r, "settlement line", &say, line, strlen(line));
		expect_next(r, "settlement answer", &answer, &(uint8_t){SG_SETTLE_OK}, 1);
	}
	free(say.bytes);
	free(answer.bytes);
}

/* Both ends as links run them, each against what the other wrote. The type is in the settlement. */
static void session_by_machine(struct run *r, const struct value *v, const struct side s[2], const struct stream w[2],
	const uint8_t nonce[SG_STCP_NONCE])
{
	const struct sg_view all[2] = {{w[0].bytes, w[0].len}, {w[1].bytes, w[1].len}};
	struct sg_signed_entry e;
	struct stream first;

	stream_join(r, value_list(v, "noise_plaintexts_in_order"), "plaintext_hex", roles[0], &first);
	expect_outcome(r, "settlement", true, sg_settle_decode(r->c, rest(&first), &e));
	free(first.bytes);
	if (!r->failed)
		machine_session_responder(r, e.entry.type, &s[1].s, &s[1].pk, &s[1].e, nonce, all[0], all[1]);
	if (!r->failed)
		machine_session_dialler(r, e.entry.type, &s[0].s, &s[0].pk, &s[0].e, &s[1].pk, all[1], all[0]);
}

static void session_case(struct run *r, const struct value *v)
{
	const struct value *writes = value_list(v, "raw_writes_in_order");
	uint8_t nonce[SG_STCP_NONCE] = {0};
	struct side s[2] = {0};
	struct stream w[2];

	for (int i = 0; i < 2; i++)
		stream_join(r, writes, "hex", roles[i], &w[i]);
	if (!r->failed && sides_init(r, v, "sk", s)) {
		expect_hex_of(r, v, "initiator_pk", s[0].pk.b, SG_PK_LEN);
		expect_hex_of(r, v, "responder_pk", s[1].pk.b, SG_PK_LEN);
		expect_hex_of(r, v, "initiator_ephemeral_pk", s[0].noise.e_pub.b, SG_PK_LEN);
		expect_hex_of(r, v, "responder_ephemeral_pk", s[1].noise.e_pub.b, SG_PK_LEN);
		session_clear(r, s, w, nonce);
		session_noise(r, s, w);
		if (!r->failed)
			session_settlement(r, v, s);
		if (!r->failed)
			session_by_machine(r, v, s, w, nonce);
		for (int i = 0; i < 2 && !r->failed; i++) {
			session_seal(r, v, &s[i], i, w[i]);
			session_open(r, v, &s[!i], i, &w[i]);
		}
	}
	sides_fini(s);
	free(w[0].bytes);
	free(w[1].bytes);
}

void transport_session(struct run *r, const struct value *v)
{
	list_begin(r, NULL);
	case_begin(r, 0, NULL);
	session_case(r, v);
	case_end(r);
	list_end(r);
}
