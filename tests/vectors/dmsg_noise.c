/* dmsg.json: Noise KK and XK in both roles, and the frames behind them. */
#include "base/common.h"
#include "base/err.h"
#include "crypto/frame.h"
#include "crypto/noise.h"
#include "run.h"

#include <stdlib.h>

/* ---- both ends at once, index 0 the initiator ---- */

#define MESSAGE_MAX 128

struct pair {
	int messages; /* of the handshake, written in turn */
	struct sg_sk s[2], e[2];
	struct sg_noise end[2];
	struct sg_noise_keys keys[2];
};

static const char *const roles[] = {"initiator", "responder"};

static int role_of(const char *name)
{
	return name && strcmp(name, "responder") == 0;
}

static bool pair_init(struct run *r, const struct value *v, struct pair *p)
{
	bool xk = same_name(r->section, "noise_xk");
	struct sg_pk pk[2];

	p->messages = xk ? 3 : 2;
	if (!hex_fixed(r, v, "initiator_static_sec", p->s[0].b, SG_SK_LEN) ||
		!hex_fixed(r, v, "responder_static_sec", p->s[1].b, SG_SK_LEN) ||
		!hex_fixed(r, v, "initiator_ephemeral_sec", p->e[0].b, SG_SK_LEN) ||
		!hex_fixed(r, v, "responder_ephemeral_sec", p->e[1].b, SG_SK_LEN))
		return false;
	for (int i = 0; i < 2; i++)
		expect_outcome(r, "static key", true, sg_pk_of(r->c, &p->s[i], &pk[i]));
	for (int i = 0; i < 2 && !r->failed; i++) {
		fake_random_put(r->random, p->e[i].b, SG_SK_LEN);
		expect_outcome(r, "init", true,
			xk ? sg_noise_xk_init(&p->end[i], r->c, i == 0, &p->s[i], &pk[!i])
			   : sg_noise_kk_init(&p->end[i], r->c, i == 0, &p->s[i], &pk[!i]));
	}
	return !r->failed;
}

/* The message that @from writes and the other end reads. Its bytes in @msg, their number returned. */
static int pair_message(struct run *r, struct pair *p, int from, uint8_t *msg, size_t cap)
{
	int len = sg_noise_write(&p->end[from], (struct sg_view){0}, msg, cap);

	expect_outcome(r, "message written", true, len);
	if (!r->failed)
		expect_outcome(r, "message read", true,
			sg_noise_read(&p->end[!from], (struct sg_view){msg, (size_t)len}, NULL, 0));
	return len;
}

static bool pair_handshake(struct run *r, struct pair *p)
{
	uint8_t msg[MESSAGE_MAX];

	for (int i = 0; i < p->messages && !r->failed; i++)
		pair_message(r, p, i % 2, msg, sizeof(msg));
	for (int i = 0; i < 2 && !r->failed; i++)
		sg_noise_split(&p->end[i], &p->keys[i]);
	return !r->failed;
}

static void expect_state(struct run *r, const struct value *want, const struct sg_noise *n)
{
	uint64_t count;

	expect_hex_of(r, want, "ck", n->ck, sizeof(n->ck));
	expect_hex_of(r, want, "h", n->h, sizeof(n->h));
	if (value_get(want, "has_k"))
		expect_text(r, "has_k", value_bool(want, "has_k") ? "true" : "false", n->has_k ? "true" : "false");
	if (n->has_k)
		expect_hex_of(r, want, "k", n->k, sizeof(n->k));
	if (value_u64(want, "n", &count))
		expect_number(r, "n", count, n->n);
}

/* Two bytes of length, big endian, in front. */
static void expect_framed(struct run *r, const struct value *v, const char *field, const uint8_t *msg, size_t len)
{
	uint8_t framed[2 + MESSAGE_MAX];

	if (!value_get(v, field))
		return;
	framed[0] = (uint8_t)(len >> 8);
	framed[1] = (uint8_t)len;
	memcpy(framed + 2, msg, len);
	expect_hex(r, field, value_text(v, field), framed, 2 + len);
}

static void begin_state_case(struct run *r, const struct value *v, struct pair *p)
{
	static const char *const public_names[2][2] = {{"initiator_static_pub", "initiator_ephemeral_pub"},
		{"responder_static_pub", "responder_ephemeral_pub"}};

	if (!pair_init(r, v, p))
		return;
	for (int i = 0; i < 2; i++) {
		expect_hex_of(r, v, public_names[i][0], p->end[i].s_pub.b, SG_PK_LEN);
		expect_hex_of(r, v, public_names[i][1], p->end[i].e_pub.b, SG_PK_LEN);
		expect_state(r, value_object(v, "initial_state"), &p->end[i]);
	}
}

static void pair_messages(struct run *r, const struct value *v, struct pair *p)
{
	const struct value *list = value_list(v, "messages");

	list_begin(r, "messages");
	for (size_t i = 0; list && i < list->count; i++) {
		const struct value *want = &list->items[i].value;
		int from = role_of(value_text(want, "writer")), len;
		uint8_t msg[MESSAGE_MAX] = {0};
		uint64_t length = 0;

		case_begin(r, i, value_text(want, "writer"));
		len = pair_message(r, p, from, msg, sizeof(msg));
		if (!r->failed) {
			expect_hex(r, "message", value_text(want, "message"), msg, (size_t)len);
			expect_framed(r, want, "framed", msg, (size_t)len);
			if (value_u64(want, "length", &length))
				expect_number(r, "length", length, (uint64_t)len);
			expect_state(r, value_object(want, "state_after"), &p->end[from]);
			expect_state(r, value_object(want, "state_after"), &p->end[!from]);
		}
		case_end(r);
	}
	list_end(r);
}

static void split_case(struct run *r, const struct value *v, struct pair *p)
{
	static const char *const names[2][2] = {
		{"initiator_encrypt_key", "initiator_decrypt_key"}, {"responder_encrypt_key", "responder_decrypt_key"}};

	for (int i = 0; i < 2 && !r->failed; i++) {
		expect_true(r, roles[i], sg_noise_done(&p->end[i]), "a finished handshake", "an unfinished one");
		sg_noise_split(&p->end[i], &p->keys[i]);
		expect_hex(r, names[i][0], value_text(v, names[i][0]), p->keys[i].tx, SG_AEAD_KEY_LEN);
		expect_hex(r, names[i][1], value_text(v, names[i][1]), p->keys[i].rx, SG_AEAD_KEY_LEN);
	}
}

/* Seals the plaintext with the sender's key at the recorded counter, and opens what came out with the receiver's. */
static void frame_case(struct run *r, const struct value *want, const struct pair *p, const struct sg_aead_ops *ops)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG];
	int from = role_of(value_text(want, "sender"));
	struct sg_frame_key tx, rx;
	uint64_t nonce = 0;
	size_t len, sealed, opened;
	uint8_t *plain = hex_bytes(r, want, "plaintext", &len);

	expect_true(r, "nonce", value_u64(want, "nonce", &nonce), "a number", "none");
	expect_true(r, "plaintext", len <= SG_FRAME_PLAIN_MAX, "at most 4070 bytes", "more");
	if (r->failed) {
		free(plain);
		return;
	}
	if (sg_frame_key_init(&tx, ops, p->keys[from].tx) < 0 || sg_frame_key_init(&rx, ops, p->keys[!from].rx) < 0)
		abort();
	tx.counter = rx.counter = nonce - 1;
	memcpy(slot + SG_FRAME_HEAD, plain, len);
	sealed = sg_frame_seal(&tx, slot, len);
	expect_hex_of(r, want, "ciphertext_with_nonce", slot + 2, sealed - 2);
	expect_hex_of(r, want, "frame", slot, sealed);
	expect_number(r, "bytes read", sealed,
		(uint64_t)sg_frame_open(&rx, (struct sg_view){slot, sealed}, slot + SG_FRAME_HEAD, &opened));
	expect_bytes(r, "plaintext", (struct sg_view){plain, len}, (struct sg_view){slot + SG_FRAME_HEAD, opened});
	sg_frame_key_fini(&tx);
	sg_frame_key_fini(&rx);
	free(plain);
}

static void pair_frames(struct run *r, const struct value *v, const struct pair *p)
{
	const struct value *list = value_list(v, "transport_frames");

	list_begin(r, "transport_frames");
	for (size_t i = 0; list && i < list->count; i++) {
		case_begin(r, i, value_text(&list->items[i].value, "sender"));
		for (const struct sg_aead_ops *const *ops = sg_aead_providers(); *ops; ops++)
			frame_case(r, &list->items[i].value, p, *ops);
		case_end(r);
	}
	list_end(r);
}

bool is_dmsg_noise(const struct value *v)
{
	return value_list(v, "messages") != NULL;
}

void dmsg_noise_pair(struct run *r, const struct value *v)
{
	struct pair p = {0}, again = {0};
	bool usable;

	list_begin(r, NULL);
	case_begin(r, 0, NULL);
	begin_state_case(r, v, &p);
	if (!r->failed && pair_handshake(r, &p))
		split_case(r, v, &p);
	usable = !r->failed && pair_init(r, v, &again);
	case_end(r);
	list_end(r);
	if (usable) {
		pair_messages(r, v, &again);
		pair_frames(r, v, &p);
	}
	for (int i = 0; i < 2; i++) {
		sg_noise_fini(&p.end[i]);
		sg_noise_fini(&again.end[i]);
	}
}

/* ---- long writes ---- */

/* Cuts @len pattern bytes into frames behind one another (free). */
static uint8_t *write_pattern(struct sg_frame_key *tx, size_t len, size_t *wire_len)
{
	size_t frames = len / SG_FRAME_PLAIN_MAX + 1, done = 0;
	uint8_t *wire = malloc(len + frames * (SG_FRAME_HEAD + SG_FRAME_TAG)), *p = wire;

	if (!wire)
		abort();
	while (done < len) {
		size_t n = SG_MIN(len - done, (size_t)SG_FRAME_PLAIN_MAX);

		for (size_t i = 0; i < n; i++)
			p[SG_FRAME_HEAD + i] = (uint8_t)(done + i);
		p += sg_frame_seal(tx, p, n);
		done += n;
	}
	*wire_len = (size_t)(p - wire);
	return wire;
}

static void expect_listed(struct run *r, const struct value *v, const char *field, size_t i, uint64_t got)
{
	const struct value *list = value_list(v, field);
	uint64_t want = 0;

	if (!list)
		return;
	expect_true(r, field, i < list->count && value_as_u64(&list->items[i].value, &want),
		"another length of the list", "more frames than listed");
	if (!r->failed)
		expect_number(r, field, want, got);
}

static void expect_count(struct run *r, const struct value *v, const char *field, size_t got)
{
	const struct value *list = value_list(v, field);

	if (list)
		expect_number(r, field, list->count, got);
}

static void expect_first_64(struct run *r, const struct value *v, const char *field, const uint8_t *p, size_t len)
{
	if (value_get(v, field))
		expect_hex(r, field, value_text(v, field), p, SG_MIN(len, (size_t)64));
}

/* Reads the wire as the other end does and compares what each frame is. */
static void read_frames(struct run *r, const struct value *v, struct sg_frame_key *rx, struct sg_view wire)
{
	uint8_t plain[SG_FRAME_PLAIN_MAX];
	size_t at = 0, frames = 0, total = 0, second = 0;

	while (at < wire.len && !r->failed) {
		size_t len;
		int used = sg_frame_open(rx, (struct sg_view){wire.p + at, wire.len - at}, plain, &len);

		expect_true(r, "frame", used > 0, "a whole frame", used ? sg_errname(used) : "part of one");
		if (r->failed)
			return;
		expect_listed(r, v, "frame_prefixes", frames, (uint64_t)wire.p[at] << 8 | wire.p[at + 1]);
		expect_listed(r, v, "frame_nonces", frames, rx->counter);
		expect_listed(r, v, "read_sizes_with_8192_buffer", frames, len);
		for (size_t i = 0; i < len; i++)
			expect_true(r, "plaintext", plain[i] == (uint8_t)(total + i), "the pattern", "other bytes");
		at += (size_t)used;
		total += len;
		if (++frames == 1)
			second = at;
	}
	expect_count(r, v, "frame_prefixes", frames);
	expect_count(r, v, "frame_nonces", frames);
	expect_count(r, v, "read_sizes_with_8192_buffer", frames);
	expect_first_64(r, v, "second_frame_first_64", wire.p + second, frames > 1 ? wire.len - second : 0);
}

static void fragmentation_case(struct run *r, const struct value *v, const struct value *secrets)
{
	struct sg_frame_key tx, rx;
	struct pair p = {0};
	uint8_t hash[32], *wire;
	uint64_t len = 0, want;
	size_t wire_len;

	expect_true(r, "plaintext_len", value_u64(v, "plaintext_len", &len), "a number", "none");
	if (r->failed || !pair_init(r, secrets, &p) || !pair_handshake(r, &p))
		return;
	if (value_u64(v, "handshake_bytes_written_by_initiator", &want))
		expect_number(r, "handshake_bytes_written_by_initiator", want, 2 + SG_NOISE_MSG_MIN);
	if (sg_frame_key_init(&tx, sg_crypto_aead(r->c), p.keys[0].tx) < 0 ||
		sg_frame_key_init(&rx, sg_crypto_aead(r->c), p.keys[1].rx) < 0)
		abort();
	wire = write_pattern(&tx, (size_t)len, &wire_len);
	sg_sha256(&(struct sg_view){wire, wire_len}, 1, hash);
	if (value_u64(v, "wire_len", &want))
		expect_number(r, "wire_len", want, wire_len);
	expect_hex_of(r, v, "wire_sha256", hash, sizeof(hash));
	expect_first_64(r, v, "wire_first_64", wire, wire_len);
	read_frames(r, v, &rx, (struct sg_view){wire, wire_len});
	sg_frame_key_fini(&tx);
	sg_frame_key_fini(&rx);
	free(wire);
}

/*
 * The secrets are those of a section noise_kk; which one, where there are several, the case does not say. Tried are
 * noise_kk#2 for fragmentation#2, then the others in the order of the file.
 */
static const struct value *secrets_for(const struct run *r, size_t attempt)
{
	const char *suffix = strchr(r->section, '#');
	char name[64];

	snprintf(name, sizeof(name), "noise_kk%s", suffix ? suffix : "");
	if (attempt == 0)
		return value_object(r->file, name);
	for (size_t i = 0; i < r->file->count; i++) {
		const struct value *v = &r->file->items[i].value;

		if (same_name(r->file->items[i].name, "noise_kk") && is_dmsg_noise(v) && --attempt == 0)
			return v;
	}
	return NULL;
}

static void fragmentation_any(struct run *r, const struct value *v)
{
	const struct value *secrets = secrets_for(r, 0), *first = secrets;

	if (!secrets)
		first = secrets = secrets_for(r, 1);
	r->quiet = true;
	for (size_t attempt = 1; secrets; attempt++) {
		r->failed = false;
		fragmentation_case(r, v, secrets);
		if (!r->failed)
			break;
		secrets = secrets_for(r, attempt);
	}
	r->quiet = false;
	if (r->failed && first) {
		r->failed = false;
		fragmentation_case(r, v, first);
	}
}

void dmsg_fragmentation(struct run *r, const struct value *v)
{
	const struct value *list = value_list(v, "items");

	if (secrets_for(r, 0) || secrets_for(r, 1)) {
		if (list) {
			each_case(r, list, "case", fragmentation_any);
			return;
		}
		list_begin(r, NULL);
		case_begin(r, 0, NULL);
		fragmentation_any(r, v);
		case_end(r);
	} else {
		list_begin(r, NULL);
		case_skip(r, "no section noise_kk with the secrets");
	}
	list_end(r);
}

/* ---- frames that end the connection ---- */

static void feed_frames(struct run *r, const struct value *item, struct sg_frame_key *rx, struct sg_view wire)
{
	const struct value *want = value_list(item, "plaintexts");
	size_t delivered = 0, at = 0, len;
	bool failed = false;

	for (;;) {
		uint8_t plain[SG_FRAME_PLAIN_MAX];
		int used = sg_frame_open(rx, (struct sg_view){wire.p + at, wire.len - at}, plain, &len);

		failed = used < 0;
		if (used <= 0)
			break;
		at += (size_t)used;
		if (len == 0)
			continue;
		if (!want || delivered >= want->count) {
			expect_true(r, "plaintexts", false, "no more of them", "another");
			return;
		}
		expect_hex(r, "plaintexts", want->items[delivered].value.text, plain, len);
		delivered++;
	}
	expect_number(r, "number of plaintexts", want ? want->count : 0, delivered);
	/* The end of the stream is an error to the reader too; without one it would have waited. */
	expect_true(
		r, "error", !value_is_null(item, "error") || value_get(item, "panic") || !failed, "none", "an error");
}

static void frame_negative_item(struct run *r, const struct value *item)
{
	uint8_t key[SG_AEAD_KEY_LEN];
	size_t len;
	uint8_t *wire = hex_bytes(r, item, "wire", &len);

	if (wire && hex_fixed(r, item, "receive_key", key, sizeof(key))) {
		for (const struct sg_aead_ops *const *ops = sg_aead_providers(); *ops; ops++) {
			struct sg_frame_key rx;

			if (sg_frame_key_init(&rx, *ops, key) < 0)
				abort();
			feed_frames(r, item, &rx, (struct sg_view){wire, len});
			sg_frame_key_fini(&rx);
		}
	}
	free(wire);
}

void dmsg_noise_frame_negative(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", frame_negative_item);
}
