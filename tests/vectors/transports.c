/* transports.json: transport ids, entries, the handshake in clear, Noise KK as transports use it, whole sessions. */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "crypto/frame.h"
#include "crypto/noise.h"
#include "run.h"
#include "wire/packet.h"
#include "wire/settle.h"
#include "wire/stcp.h"
#include "wire/tpid.h"

#include <stdlib.h>

static bool has_cases(const struct value *v)
{
	return value_list(v, "cases") != NULL;
}

typedef void item_fn(struct run *r, const struct value *item);

static void each_of(struct run *r, const struct value *list, const char *name, item_fn *fn)
{
	list_begin(r, NULL);
	for (size_t i = 0; list && i < list->count; i++) {
		case_begin(r, i, value_text(&list->items[i].value, name));
		fn(r, &list->items[i].value);
		case_end(r);
	}
	list_end(r);
}

static bool value_pk(struct run *r, const struct value *v, const char *field, struct sg_pk *out)
{
	return hex_fixed(r, v, field, out->b, SG_PK_LEN);
}

/* ---- transport ids ---- */

static void id_case(struct run *r, const struct value *item)
{
	static const uint8_t name_space[16];
	const char *type = value_text(item, "type");
	char text[SG_TPID_TEXT];
	uint8_t preimage[256], hash[32];
	struct sg_writer w = sg_writer(preimage, sizeof(preimage));
	struct sg_pk a, b, edges[2];
	struct sg_tpid id;

	expect_true(r, "type", type != NULL, "text", "nothing");
	if (r->failed || !value_pk(r, item, "key1", &a) || !value_pk(r, item, "key2", &b))
		return;
	sg_edges_sort(&a, &b, edges);
	expect_hex_of(r, item, "edge0", edges[0].b, SG_PK_LEN);
	expect_hex_of(r, item, "edge1", edges[1].b, SG_PK_LEN);
	sg_write_bytes(&w, name_space, sizeof(name_space));
	sg_write_bytes(&w, edges, sizeof(edges));
	sg_write_bytes(&w, type, strlen(type));
	expect_hex_of(r, item, "preimage", preimage, sg_writer_len(&w));
	sg_sha256(&(struct sg_view){preimage, sg_writer_len(&w)}, 1, hash);
	expect_hex_of(r, item, "sha256", hash, sizeof(hash));
	sg_tpid_make(&a, &b, type, &id);
	expect_text(r, "id", value_text(item, "id"), sg_tpid_str(&id, text));
	expect_hex_of(r, item, "id_hex", id.b, SG_TPID_LEN);
}

static void transport_ids(struct run *r, const struct value *v)
{
	each_of(r, value_list(v, "cases"), "type", id_case);
}

/* ---- entries ---- */

static void expect_entry(struct run *r, const struct value *item, const struct sg_signed_entry *e)
{
	uint8_t binary[SG_ENTRY_BINARY_MAX], hash[32];
	size_t len = sg_entry_binary(&e->entry, binary);

	sg_sha256(&(struct sg_view){binary, len}, 1, hash);
	expect_hex_of(r, item, "binary", binary, len);
	expect_hex_of(r, item, "sha256", hash, sizeof(hash));
	if (value_text(item, "type"))
		expect_text(r, "type", value_text(item, "type"), e->entry.type);
}

static bool sig_is_null(const struct sg_sig *sig)
{
	static const struct sg_sig null;

	return memcmp(sig, &null, sizeof(null)) == 0;
}

/* The line that the dialler sends: one slot is filled, by the edge that dialled. */
static void initiator_line(struct run *r, const struct value *item, struct sg_view line)
{
	char again[SG_SETTLE_LINE_MAX];
	struct sg_signed_entry e;
	int len, from;

	expect_number(r, "bytes used of initiator_json_line", line.len, (uint64_t)sg_settle_decode(r->c, line, &e));
	if (r->failed)
		return;
	expect_entry(r, item, &e);
	from = sig_is_null(&e.sigs[0]);
	expect_true(r, "signatures", !sig_is_null(&e.sigs[from]) && sig_is_null(&e.sigs[!from]),
		"one of two slots filled", "both or none");
	expect_outcome(r, "signature", true, sg_entry_verify(r->c, &e, &e.entry.edges[from]));
	expect_outcome(r, "settlement", true,
		sg_settle_check(r->c, &e, &e.entry.edges[!from], &e.entry.edges[from], e.entry.type));
	len = sg_settle_encode(&e, true, again, sizeof(again));
	expect_outcome(r, "encoding", true, len);
	if (!r->failed)
		expect_text(r, "initiator_json_line", (const char *)line.p, again);
}

/* What the responder registers: an array of one entry with both slots filled. */
static void register_body(struct run *r, const struct value *item, struct sg_view body)
{
	char again[SG_SETTLE_LINE_MAX + 4] = "[";
	struct sg_signed_entry e;
	struct sg_view inner;
	int used, len;

	expect_true(r, "register_body", body.len > 2 && body.p[0] == '[', "an array", "something else");
	if (r->failed)
		return;
	inner = (struct sg_view){body.p + 1, body.len - 1};
	used = sg_settle_decode(r->c, inner, &e);
	expect_outcome(r, "register_body", true, used);
	if (r->failed)
		return;
	expect_entry(r, item, &e);
	for (int i = 0; i < 2; i++) {
		expect_hex_of(r, item, i ? "sig_edge1" : "sig_edge0", e.sigs[i].b, SG_SIG_LEN);
		expect_outcome(r, i ? "sig_edge1" : "sig_edge0", true, sg_entry_verify(r->c, &e, &e.entry.edges[i]));
	}
	len = sg_settle_encode(&e, false, again + 1, SG_SETTLE_LINE_MAX);
	expect_outcome(r, "encoding", true, len);
	if (r->failed)
		return;
	/* What follows the object is not the codec's: the array's end, and a newline where there is one. */
	snprintf(again + 1 + len, sizeof(again) - 1 - (size_t)len, "%s", body.p[body.len - 1] == '\n' ? "]\n" : "]");
	expect_text(r, "register_body", (const char *)body.p, again);
}

static void entry_case(struct run *r, const struct value *item)
{
	const char *line = value_text(item, "initiator_json_line"), *body = value_text(item, "register_body");

	expect_true(r, "initiator_json_line or register_body", line || body, "text", "nothing");
	if (line)
		initiator_line(r, item, text_view(line));
	if (body && !r->failed)
		register_body(r, item, text_view(body));
}

static void entries(struct run *r, const struct value *v)
{
	each_of(r, value_list(v, "cases"), "type", entry_case);
}

/* ---- the handshake in clear ---- */

/* A visor listens for transports; address 0 of nobody is how the address resolver is spoken to, which takes it. */
static void answer_f2(const struct sg_stcp_f2 *f2, struct sg_stcp_f3 *f3)
{
	bool to_resolver = f2->dst_port == 0 && sg_pk_is_null(&f2->dst);

	*f3 = (struct sg_stcp_f3){.ok = f2->dst_port == SG_STCP_TP_PORT || to_resolver};
	if (!f3->ok)
		snprintf(f3->err, sizeof(f3->err), "%s", SG_STCP_NOT_LISTENING);
}

static struct sg_view frame_text(const struct value *frames, size_t i)
{
	const struct value *text =
		i < (frames ? frames->count : 0) ? value_get(&frames->items[i].value, "ascii") : NULL;

	return text && text->kind == VALUE_STRING ? (struct sg_view){(const uint8_t *)text->text, text->len}
						  : (struct sg_view){(const uint8_t *)"", 0};
}

static void expect_frame(struct run *r, const struct value *frames, size_t i, const char *got)
{
	static const char *const names[] = {"f0", "f1", "f2", "f3"};
	const struct value *frame = &frames->items[i].value;
	uint64_t len;

	expect_text(r, names[i], value_text(frame, "ascii"), got);
	expect_hex_of(r, frame, "hex", got, strlen(got));
	if (value_u64(frame, "len", &len))
		expect_number(r, "len", len, strlen(got));
}

/* The dialler with the recorded addresses and signature against the recorded frames of the responder. */
static void play_initiator(
	struct run *r, const struct value *v, const struct value *frames, const struct sg_stcp_f2 *f2)
{
	struct sg_stcp_f2 mine = *f2;
	struct sg_stcp_f3 f3 = {0};
	char line[SG_STCP_LINE_MAX];
	uint8_t hash[32];

	memset(mine.nonce, 0, sizeof(mine.nonce));
	expect_frame(r, frames, 0, SG_STCP_F0);
	expect_outcome(r, "f1", true, sg_stcp_f1_decode(frame_text(frames, 1), mine.nonce));
	expect_outcome(r, "signed bytes", true, sg_stcp_f2_signed(&mine, line, sizeof(line)));
	if (value_get(v, "f2_signed_bytes_ascii"))
		expect_text(r, "f2_signed_bytes_ascii", value_text(v, "f2_signed_bytes_ascii"), line);
	sg_sha256(&(struct sg_view){(const uint8_t *)line, strlen(line)}, 1, hash);
	expect_hex_of(r, v, "f2_signed_bytes_sha256", hash, sizeof(hash));
	expect_outcome(r, "f2", true, sg_stcp_f2_format(&mine, line, sizeof(line)));
	expect_frame(r, frames, 2, line);
	expect_outcome(r, "f3", true, sg_stcp_f3_decode(frame_text(frames, 3), &f3));
	if (!r->failed)
		expect_outcome(r, "initiator_err", value_is_null(v, "initiator_err"), f3.ok ? 0 : SG_EREFUSED);
}

/* The responder with the recorded nonce against the recorded frames of the dialler. */
static void play_responder(
	struct run *r, const struct value *v, const struct value *frames, const uint8_t nonce[SG_STCP_NONCE])
{
	struct sg_view f0 = frame_text(frames, 0);
	struct sg_stcp_f2 f2;
	struct sg_stcp_f3 f3;
	char line[SG_STCP_LINE_MAX];

	expect_bytes(r, "f0", text_view(SG_STCP_F0), f0);
	expect_outcome(r, "f1", true, sg_stcp_f1_encode(nonce, line, sizeof(line)));
	expect_frame(r, frames, 1, line);
	expect_outcome(r, "f2", true, sg_stcp_f2_decode(r->c, frame_text(frames, 2), &f2));
	if (r->failed)
		return;
	expect_outcome(r, "f2_sig", true, sg_stcp_f2_verify(r->c, &f2, nonce));
	answer_f2(&f2, &f3);
	expect_outcome(r, "f3", true, sg_stcp_f3_encode(&f3, line, sizeof(line)));
	expect_frame(r, frames, 3, line);
	expect_outcome(r, "responder_err", value_is_null(v, "responder_err"), f3.ok ? 0 : SG_EREFUSED);
}

static void handshake_case(struct run *r, const struct value *v)
{
	const struct value *frames = value_list(v, "frames");
	struct sg_stcp_f2 f2;

	expect_true(r, "frames", frames && frames->count == 4, "four of them", "another number");
	if (r->failed)
		return;
	expect_outcome(r, "f2", true, sg_stcp_f2_decode(r->c, frame_text(frames, 2), &f2));
	if (r->failed)
		return;
	expect_hex_of(r, v, "f2_sig", f2.sig.b, SG_SIG_LEN);
	play_initiator(r, v, frames, &f2);
	if (!r->failed)
		play_responder(r, v, frames, f2.nonce);
}

static void stream_handshake(struct run *r, const struct value *v)
{
	size_t index = 0;

	list_begin(r, NULL);
	for (size_t i = 0; i < v->count; i++) {
		if (!value_list(&v->items[i].value, "frames"))
			continue;
		case_begin(r, index++, v->items[i].name);
		handshake_case(r, &v->items[i].value);
		case_end(r);
	}
	list_end(r);
}

struct writes {
	char text[2][SG_STCP_LINE_MAX];
	size_t count;
};

/* Everything that a responder on port 45 writes to such a dialler. True when it accepted. */
static bool respond(struct run *r, const struct value *item, const uint8_t *f0, size_t f0_len,
	const uint8_t nonce[SG_STCP_NONCE], struct writes *out)
{
	const struct value *text = value_get(item, "f2_ascii");
	struct sg_stcp_f2 f2;
	struct sg_stcp_f3 f3;

	out->count = 0;
	if (f0_len != SG_STCP_F0_LEN || memcmp(f0, SG_STCP_F0, SG_STCP_F0_LEN) != 0)
		return false;
	expect_outcome(r, "f1", true, sg_stcp_f1_encode(nonce, out->text[out->count++], SG_STCP_LINE_MAX));
	if (!text || text->kind != VALUE_STRING ||
		sg_stcp_f2_decode(r->c, (struct sg_view){(const uint8_t *)text->text, text->len}, &f2) <= 0 ||
		sg_stcp_f2_verify(r->c, &f2, nonce) < 0)
		return false;
	answer_f2(&f2, &f3);
	expect_outcome(r, "f3", true, sg_stcp_f3_encode(&f3, out->text[out->count++], SG_STCP_LINE_MAX));
	return f3.ok;
}

static void handshake_negative_case(struct run *r, const struct value *item)
{
	const struct value *want = value_list(item, "responder_writes_ascii");
	uint8_t nonce[SG_STCP_NONCE];
	struct writes got;
	size_t len;
	uint8_t *f0 = hex_bytes(r, item, "f0_hex", &len);

	if (f0 && hex_fixed(r, item, "nonce_hex", nonce, sizeof(nonce))) {
		expect_outcome(r, "responder_err", value_is_null(item, "responder_err"),
			respond(r, item, f0, len, nonce, &got) ? 0 : SG_EREFUSED);
		expect_number(r, "number of writes", want ? want->count : 0, got.count);
		for (size_t i = 0; i < got.count && !r->failed; i++)
			expect_text(r, "responder_writes_ascii", want->items[i].value.text, got.text[i]);
	}
	free(f0);
}

static void stream_handshake_negative(struct run *r, const struct value *v)
{
	each_of(r, value_list(v, "items"), "case", handshake_negative_case);
}

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
	for (int i = 0; i < 2 && !r->failed; i++) {
		memcpy(framed + 2, s[i].msg, SG_NOISE_MSG_MIN);
		expect_hex(r, "handshake_frames", value_text(&list->items[i].value, "hex"), framed, sizeof(framed));
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

static bool is_transport_noise(const struct value *v)
{
	return value_list(v, "handshake_frames") != NULL;
}

static void noise_kk(struct run *r, const struct value *v)
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
		size_t len;
		uint8_t *part;

		if (!value_text(item, "from") || strcmp(value_text(item, "from"), from) != 0)
			continue;
		part = hex_bytes(r, item, field, &len);
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

static void session_clear(struct run *r, struct side s[2], struct stream w[2])
{
	uint8_t nonce[SG_STCP_NONCE];
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

static void session_case(struct run *r, const struct value *v)
{
	const struct value *writes = value_list(v, "raw_writes_in_order");
	struct side s[2] = {0};
	struct stream w[2];

	for (int i = 0; i < 2; i++)
		stream_join(r, writes, "hex", roles[i], &w[i]);
	if (!r->failed && sides_init(r, v, "sk", s)) {
		expect_hex_of(r, v, "initiator_pk", s[0].pk.b, SG_PK_LEN);
		expect_hex_of(r, v, "responder_pk", s[1].pk.b, SG_PK_LEN);
		expect_hex_of(r, v, "initiator_ephemeral_pk", s[0].noise.e_pub.b, SG_PK_LEN);
		expect_hex_of(r, v, "responder_ephemeral_pk", s[1].noise.e_pub.b, SG_PK_LEN);
		session_clear(r, s, w);
		session_noise(r, s, w);
		if (!r->failed)
			session_settlement(r, v, s);
		for (int i = 0; i < 2 && !r->failed; i++) {
			session_seal(r, v, &s[i], i, w[i]);
			session_open(r, v, &s[!i], i, &w[i]);
		}
	}
	sides_fini(s);
	free(w[0].bytes);
	free(w[1].bytes);
}

static void stcpr_session(struct run *r, const struct value *v)
{
	list_begin(r, NULL);
	case_begin(r, 0, NULL);
	session_case(r, v);
	case_end(r);
	list_end(r);
}

/* ---- one packet, its fields in the member's name ---- */

static void routing_packet(struct run *r, const struct value *v)
{
	size_t index = 0;

	list_begin(r, NULL);
	for (size_t i = 0; i < v->count; i++) {
		const char *name = v->items[i].name;
		unsigned long route_id;
		uint8_t bytes[SG_PACKET_HEAD + 256];
		struct sg_packet p;
		int at = 0;
		size_t len;

		if (sscanf(name, "data_packet_route_%lu_payload_%n", &route_id, &at) != 1 || !at)
			continue;
		case_begin(r, index++, name);
		len = strlen(name + at);
		expect_outcome(r, "packet", true, sg_packet_head(SG_PACKET_DATA, (uint32_t)route_id, len, bytes));
		memcpy(bytes + SG_PACKET_HEAD, name + at, SG_MIN(len, sizeof(bytes) - SG_PACKET_HEAD));
		expect_hex(r, "packet", value_text(v, name), bytes, SG_PACKET_HEAD + len);
		expect_number(r, "bytes used", SG_PACKET_HEAD + len,
			(uint64_t)sg_packet_decode((struct sg_view){bytes, SG_PACKET_HEAD + len}, &p));
		expect_number(r, "route", route_id, p.route_id);
		expect_bytes(r, "payload", text_view(name + at), p.payload);
		case_end(r);
	}
	list_end(r);
}

const struct section transports_sections[] = {
	{"transport_ids", has_cases, transport_ids, NULL},
	{"entries", has_cases, entries, NULL},
	{"stream_handshake", NULL, stream_handshake, NULL},
	{"stream_handshake_negative", NULL, stream_handshake_negative, NULL},
	{"noise_kk", is_transport_noise, noise_kk, NULL},
	{"stcpr_session", NULL, stcpr_session, NULL},
	{"routing_packet", NULL, routing_packet, NULL},
	{"sudph_capture", NULL, NULL, NO_CODE},
	{"httpauth", NULL, NULL, NO_CODE},
	{"http_examples", NULL, NULL, NO_CODE},
	{"raw_request_example", NULL, NULL, NO_CODE},
	{"address_resolver_json", NULL, NULL, NO_CODE},
	{"address_resolver_redis", NULL, NULL, RECORDING},
	{"postgres_schema", NULL, NULL, RECORDING},
	{"kcp_reference_library", NULL, NULL, RECORDING},
	{"service_discovery_json", NULL, NULL, NO_CODE},
	{"transport_log", NULL, NULL, NO_CODE},
	{"stun_requests", NULL, NULL, NO_CODE},
	{"transport_setup_rpc", NULL, NULL, NO_CODE},
	{"visor_config_default", NULL, NULL, NO_CODE},
	{0},
};
