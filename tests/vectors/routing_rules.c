/* routing.json: descriptors and rules, there and back; packets at an intermediary; the handshake and frames of a group. */
#include "base/common.h"
#include "base/hex.h"
#include "crypto/frame.h"
#include "crypto/noise.h"
#include "route/rules.h"
#include "run.h"
#include "wire/packet.h"
#include "wire/rule.h"

#include <stdlib.h>

static bool desc_of(struct run *r, const struct value *in, struct sg_route_desc *out)
{
	uint64_t src = 0, dst = 0;

	expect_true(r, "ports",
		value_u64(in, "src_port", &src) && value_u64(in, "dst_port", &dst) && src <= UINT16_MAX &&
			dst <= UINT16_MAX,
		"two of 16 bits", "others");
	out->src_port = (uint16_t)src;
	out->dst_port = (uint16_t)dst;
	return hex_fixed(r, in, "src_pk", out->src.b, SG_PK_LEN) && hex_fixed(r, in, "dst_pk", out->dst.b, SG_PK_LEN) &&
	       !r->failed;
}

void routing_descriptor(struct run *r, const struct value *v)
{
	uint8_t bytes[SG_ROUTE_DESC_LEN];
	struct sg_route_desc d, back;
	uint8_t *recorded;
	size_t len;

	list_begin(r, NULL);
	case_begin(r, 0, "descriptor");
	if (desc_of(r, value_object(v, "in"), &d)) {
		sg_route_desc_encode(&d, bytes);
		expect_hex(r, "hex", value_text(v, "hex"), bytes, sizeof(bytes));
		sg_route_desc_invert(&d, &back);
		sg_route_desc_encode(&back, bytes);
		expect_hex(r, "inverted_hex", value_text(v, "inverted_hex"), bytes, sizeof(bytes));
		recorded = hex_bytes(r, v, "hex", &len);
		if (recorded) {
			expect_outcome(r, "decode", true, sg_route_desc_decode((struct sg_view){recorded, len}, &back));
			expect_true(r, "in", sg_route_desc_equal(&d, &back), "the same", "another");
		}
		free(recorded);
	}
	case_end(r);
	list_end(r);
}

/* What kind of rule it is shows in what it has. */
static bool rule_of(struct run *r, const struct value *in, struct sg_rule *out)
{
	bool has_desc = value_get(in, "src_pk"), has_next = value_get(in, "next_route_id");
	const char *tp = value_text(in, "next_tp_id");
	uint64_t key = 0, next = 0;

	*out = (struct sg_rule){.type = !has_next  ? SG_RULE_REVERSE
					: has_desc ? SG_RULE_FORWARD
						   : SG_RULE_INTERMEDIARY};
	expect_true(r, "keep_alive_ns", value_i64(in, "keep_alive_ns", &out->keep_alive_ns), "a number", "none");
	expect_true(r, "key_route_id", value_u64(in, "key_route_id", &key) && key <= UINT32_MAX, "32 bits", "none");
	out->key = (uint32_t)key;
	if (has_next) {
		expect_true(r, "next_route_id", value_u64(in, "next_route_id", &next) && next <= UINT32_MAX, "32 bits",
			"none");
		expect_true(r, "next_tp_id", tp && sg_tpid_parse(tp, strlen(tp), &out->next_tp) == 0, "an id", "none");
		out->next_id = (uint32_t)next;
	}
	return !r->failed && (!has_desc || desc_of(r, in, &out->desc));
}

static void rule_case(struct run *r, const struct value *item)
{
	uint8_t bytes[SG_RULE_MAX], again[SG_RULE_MAX];
	struct sg_rule rule, back;
	uint8_t *recorded;
	uint64_t number;
	size_t len;

	if (!rule_of(r, value_object(item, "in"), &rule))
		return;
	len = sg_rule_encode(&rule, bytes);
	expect_hex(r, "hex", value_text(item, "hex"), bytes, len);
	if (value_u64(item, "len", &number))
		expect_number(r, "len", number, len);
	recorded = hex_bytes(r, item, "hex", &len);
	if (!recorded)
		return;
	expect_outcome(r, "decode", true, sg_rule_decode((struct sg_view){recorded, len}, &back));
	expect_number(r, "key_route_id", rule.key, back.key);
	expect_number(r, "next_route_id", rule.next_id, back.next_id);
	len = sg_rule_encode(&back, again);
	expect_hex(r, "hex of what was read", value_text(item, "hex"), again, len);
	free(recorded);
}

void routing_rules(struct run *r, const struct value *v)
{
	each_case(r, v, "name", rule_case);
}

/* ---- an intermediary ---- */

#define AT_REST ((struct sg_mono){0})

/* What it sends on for one packet, with the head in front. Length, 0: nothing. */
static size_t pass(struct rules *rules, struct sg_view in, uint8_t *out)
{
	uint8_t scratch[SG_PACKET_PING_LEN];
	struct sg_view payload;
	struct sg_packet p;
	struct rule *rule;

	if (sg_packet_decode(in, &p) <= 0)
		return 0;
	rule = rules_find(rules, p.route_id, AT_REST);
	if (!rule || sg_packet_pass(&p, scratch, &payload) < 0 ||
		sg_packet_head(p.type, rule->r.next_id, payload.len, out) < 0)
		return 0;
	if (payload.len)
		memcpy(out + SG_PACKET_HEAD, payload.p, payload.len);
	if (p.type == SG_PACKET_CLOSE)
		rules_remove(rules, rule);
	return SG_PACKET_HEAD + payload.len;
}

/* What was recorded is a visor of 2024. Those of today want these untouched, and so do we. */
static bool is_of_2024(struct sg_view in, const char *want)
{
	char hex[256];

	return in.len && want != NULL && in.p[0] == SG_PACKET_HANDSHAKE && in.len < sizeof(hex) / 2 &&
	       strcmp(sg_hex_format(in.p, in.len, hex, sizeof(hex)), want) != 0;
}

static void forwarding_case(struct run *r, const struct value *item, struct rules *rules)
{
	const char *want = value_text(item, "out");
	uint8_t *out, *in;
	size_t len, n;

	in = hex_bytes(r, item, "in", &len);
	if (!in)
		return;
	out = malloc(SG_PACKET_HEAD + SG_PACKET_PAYLOAD_MAX);
	if (!out)
		abort();
	n = pass(rules, (struct sg_view){in, len}, out);
	if (want)
		expect_hex(r, "out", want, out, n);
	else
		expect_number(r, "bytes out", 0, n);
	free(out);
	free(in);
}

static bool is_skipped(struct run *r, const struct value *item)
{
	const char *want = value_text(item, "out");
	size_t len;
	uint8_t *in = hex_bytes(r, item, "in", &len);
	bool skipped = in && len >= SG_PACKET_HEAD &&
		       (is_of_2024((struct sg_view){in, len}, want) || (!want && in[0] > SG_PACKET_ERROR));

	free(in);
	return skipped;
}

static void rule_put(struct rules *rules, uint64_t key, uint64_t next)
{
	const struct sg_rule rule = {.type = SG_RULE_INTERMEDIARY, .key = (uint32_t)key, .next_id = (uint32_t)next};
	struct rule *kept;

	if (rules_add(rules, &rule, AT_REST, &kept) < 0)
		abort();
}

void routing_forwarding(struct run *r, const struct value *v)
{
	const struct value *list = value_list(v, "cases"), *given = value_object(v, "rules");
	struct rules rules;
	uint64_t next;

	rules_init(&rules, (const uint8_t[RULES_SECRET]){0});
	rules.n_ids = UINT32_MAX; /* all were reserved */
	for (size_t i = 0; given && i < given->count; i++) {
		if (value_as_u64(&given->items[i].value, &next))
			rule_put(&rules, strtoull(given->items[i].name, NULL, 10), next);
	}
	for (uint32_t key = 1; !given && key <= 2; key++)
		rule_put(&rules, key, key);
	list_begin(r, NULL);
	for (size_t i = 0; list && i < list->count; i++) {
		case_begin(r, i, NULL);
		if (is_skipped(r, &list->items[i].value)) {
			case_skip(r, "what a visor of 2024 cuts or drops goes on untouched");
			continue;
		}
		forwarding_case(r, &list->items[i].value, &rules);
		case_end(r);
	}
	list_end(r);
	rules_fini(&rules);
}

/* ---- a route group: Noise KK and frames; index 0 is the dialler ---- */

struct group_end {
	struct sg_sk sk, ephemeral;
	struct sg_pk pk;
	struct sg_noise noise;
	struct sg_noise_keys keys;
	struct sg_frame_key tx, rx;
};

static bool ends_init(struct run *r, const struct value *v, struct group_end e[2])
{
	static const char *const names[2][2] = {
		{"initiator_static", "initiator_ephemeral_sk"}, {"responder_static", "responder_ephemeral_sk"}};
	const struct value *keys = value_object(r->file, "keys");

	for (int i = 0; i < 2; i++) {
		const char *name = value_text(v, names[i][0]);
		const struct value *key = name ? value_object(keys, name) : NULL;

		if (!hex_fixed(r, key, "sk", e[i].sk.b, SG_SK_LEN) ||
			!hex_fixed(r, v, names[i][1], e[i].ephemeral.b, SG_SK_LEN))
			return false;
		expect_outcome(r, "static key", true, sg_pk_of(r->c, &e[i].sk, &e[i].pk));
	}
	for (int i = 0; i < 2 && !r->failed; i++) {
		fake_random_put(r->random, e[i].ephemeral.b, SG_SK_LEN);
		expect_outcome(r, "init", true, sg_noise_kk_init(&e[i].noise, r->c, i == 0, &e[i].sk, &e[!i].pk));
	}
	return !r->failed;
}

static void ends_message(struct run *r, const struct value *v, const char *field, struct group_end e[2], int from)
{
	uint8_t msg[SG_NOISE_MSG_MIN];
	int len = sg_noise_write(&e[from].noise, (struct sg_view){0}, msg, sizeof(msg));

	expect_number(r, field, sizeof(msg), (uint64_t)len);
	expect_hex(r, field, value_text(v, field), msg, sizeof(msg));
	expect_outcome(r, field, true, sg_noise_read(&e[!from].noise, (struct sg_view){msg, sizeof(msg)}, NULL, 0));
}

/* The pattern goes on from one frame to the next. */
static void frame_case(struct run *r, const struct value *item, struct group_end e[2], size_t *pattern_at)
{
	uint8_t slot[SG_FRAME_HEAD + SG_FRAME_PLAIN_MAX + SG_FRAME_TAG], hash[32];
	const char *dir = value_text(item, "dir");
	int from = dir && strcmp(dir, "B->A") == 0;
	uint64_t number;
	uint8_t *plain;
	size_t len = 0, opened;

	expect_true(r, "dir", dir && (from || strcmp(dir, "A->B") == 0), "A->B or B->A", dir ? dir : "none");
	if (value_text(item, "plaintext")) {
		plain = hex_bytes(r, item, "plaintext", &len);
		if (plain && len <= SG_FRAME_PLAIN_MAX)
			memcpy(slot + SG_FRAME_HEAD, plain, len);
		free(plain);
	} else if (value_u64(item, "frame_len", &number)) {
		expect_true(r, "frame_len", number > SG_FRAME_HEAD + SG_FRAME_TAG && number <= sizeof(slot),
			"a frame's", "another");
		len = r->failed ? 0 : (size_t)number - SG_FRAME_HEAD - SG_FRAME_TAG;
		for (size_t i = 0; i < len; i++)
			slot[SG_FRAME_HEAD + i] = (uint8_t)(*pattern_at + i);
		*pattern_at += len;
	}
	if (r->failed || len == 0 || len > SG_FRAME_PLAIN_MAX)
		return;
	len = sg_frame_seal(&e[from].tx, slot, len);
	if (value_u64(item, "nonce", &number))
		expect_number(r, "nonce", number, e[from].tx.counter);
	expect_hex_of(r, item, "frame", slot, len);
	sg_sha256(&(struct sg_view){slot, len}, 1, hash);
	expect_hex_of(r, item, "frame_sha256", hash, sizeof(hash));
	expect_number(r, "bytes read", len,
		(uint64_t)sg_frame_open(&e[!from].rx, (struct sg_view){slot, len}, slot + SG_FRAME_HEAD, &opened));
}

void routing_group_noise(struct run *r, const struct value *v)
{
	const struct value *frames = value_list(v, "frames");
	struct group_end e[2] = {0};
	size_t pattern_at = 0;

	list_begin(r, NULL);
	case_begin(r, 0, "handshake");
	if (ends_init(r, v, e)) {
		ends_message(r, v, "message1", e, 0);
		ends_message(r, v, "message2", e, 1);
		for (int i = 0; i < 2 && !r->failed; i++) {
			sg_noise_split(&e[i].noise, &e[i].keys);
			expect_hex_of(r, v, "handshake_hash", e[i].noise.h, sizeof(e[i].noise.h));
			expect_hex_of(r, v, "key_initiator_to_responder", i ? e[i].keys.rx : e[i].keys.tx, 32);
			expect_hex_of(r, v, "key_responder_to_initiator", i ? e[i].keys.tx : e[i].keys.rx, 32);
		}
	}
	case_end(r);
	for (int i = 0; i < 2 && !r->failed; i++) {
		if (sg_frame_key_init(&e[i].tx, sg_crypto_aead(r->c), e[i].keys.tx) < 0 ||
			sg_frame_key_init(&e[i].rx, sg_crypto_aead(r->c), e[i].keys.rx) < 0)
			abort();
	}
	for (size_t i = 0; frames && !r->failures && i < frames->count; i++) {
		case_begin(r, i, "frames");
		frame_case(r, &frames->items[i].value, e, &pattern_at);
		case_end(r);
	}
	list_end(r);
	for (int i = 0; i < 2; i++) {
		sg_frame_key_fini(&e[i].tx);
		sg_frame_key_fini(&e[i].rx);
		sg_noise_fini(&e[i].noise);
	}
}
