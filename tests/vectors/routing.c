/* routing.json: keys, transport ids and packets; rules and groups are in routing_rules.c. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "run.h"
#include "wire/packet.h"
#include "wire/tpid.h"

#include <stdlib.h>

/* ---- packets ---- */

struct built {
	uint8_t *bytes; /* owned */
	size_t len;
	int err;
};

static uint8_t *zeros(size_t len)
{
	uint8_t *p = calloc(len + 1, 1);

	if (!p)
		abort();
	return p;
}

/* A number of 64 bits, signed or not: the same eight bytes. */
static bool value_bits(const struct value *v, const char *name, int64_t *out)
{
	uint64_t u;

	if (value_i64(v, name, out))
		return true;
	if (!value_u64(v, name, &u))
		return false;
	*out = (int64_t)u;
	return true;
}

/* The payload that the fields of @in describe (free). */
static uint8_t *payload_of(struct run *r, const struct value *in, size_t *len)
{
	const struct value *text = value_get(in, "payload_text");
	struct sg_packet_ping ping = {0};
	uint64_t code, size;
	uint8_t *p;

	if (value_get(in, "payload"))
		return hex_bytes(r, in, "payload", len);
	if (text && text->kind == VALUE_STRING) {
		*len = text->len;
		p = zeros(*len);
		memcpy(p, text->text, *len);
	} else if (value_bits(in, "timestamp_ms", &ping.timestamp_ms)) {
		(void)value_bits(in, "throughput", &ping.throughput);
		*len = SG_PACKET_PING_LEN;
		p = zeros(*len);
		sg_packet_ping_encode(&ping, p);
	} else if (value_u64(in, "payload_len", &size)) {
		*len = (size_t)size;
		p = zeros(*len);
	} else if (value_u64(in, "code", &code) || value_get(in, "encrypt")) {
		*len = 1;
		p = zeros(*len);
		p[0] = value_get(in, "code") ? (uint8_t)code : value_bool(in, "encrypt");
	} else {
		*len = 0;
		p = zeros(0);
	}
	return p;
}

static void build(struct run *r, const struct value *in, struct built *out)
{
	uint64_t type = 0, route_id = 0;
	size_t len;
	uint8_t *payload = payload_of(r, in, &len);

	*out = (struct built){0};
	expect_true(r, "type", value_u64(in, "type", &type) && type <= UINT8_MAX, "a byte", "none");
	if (value_get(in, "route_id"))
		expect_true(r, "route_id", value_u64(in, "route_id", &route_id) && route_id <= UINT32_MAX, "32 bits",
			"none");
	if (payload && !r->failed) {
		out->bytes = zeros(SG_PACKET_HEAD + len);
		out->err = sg_packet_head((uint8_t)type, (uint32_t)route_id, len, out->bytes);
		memcpy(out->bytes + SG_PACKET_HEAD, payload, len);
		out->len = SG_PACKET_HEAD + len;
	}
	free(payload);
}

/* What the bytes say must be what the fields said. */
static void read_back(struct run *r, const struct value *in, struct sg_view bytes)
{
	struct sg_packet p;
	struct sg_packet_ping ping;
	uint64_t number;
	int64_t time;
	size_t len;
	uint8_t *payload = payload_of(r, in, &len);

	expect_number(r, "bytes used", bytes.len, (uint64_t)sg_packet_decode(bytes, &p));
	if (value_u64(in, "type", &number))
		expect_number(r, "type", number, p.type);
	if (value_u64(in, "route_id", &number))
		expect_number(r, "route_id", number, p.route_id);
	if (payload)
		expect_bytes(r, "payload", (struct sg_view){payload, len}, p.payload);
	if (!r->failed && value_bits(in, "timestamp_ms", &time)) {
		expect_outcome(r, "ping", true, sg_packet_ping_decode(p.payload, &ping));
		expect_number(r, "timestamp_ms", (uint64_t)time, (uint64_t)ping.timestamp_ms);
		if (value_bits(in, "throughput", &time))
			expect_number(r, "throughput", (uint64_t)time, (uint64_t)ping.throughput);
	}
	free(payload);
}

static void packet_case(struct run *r, const struct value *item)
{
	const struct value *in = value_object(item, "in");
	bool want_ok = value_is_null(item, "error") && !value_get(item, "panic");
	struct built made;
	size_t len;
	uint8_t *recorded;

	build(r, in, &made);
	if (!r->failed)
		expect_outcome(r, "error", want_ok, made.err);
	if (!r->failed && want_ok && !value_get(item, "hex") && value_get(in, "payload_len")) {
		read_back(r, in, (struct sg_view){made.bytes, made.len}); /* too long to be written down */
	} else if (!r->failed && want_ok) {
		expect_hex(r, "hex", value_text(item, "hex"), made.bytes, made.len);
		recorded = hex_bytes(r, item, "hex", &len);
		if (recorded)
			read_back(r, in, (struct sg_view){recorded, len});
		free(recorded);
	}
	free(made.bytes);
}

static void packets(struct run *r, const struct value *v)
{
	each_case(r, v->kind == VALUE_ARRAY ? v : value_list(v, "cases"), "name", packet_case);
}

static void packet_negative_case(struct run *r, const struct value *item)
{
	const struct value *out = value_object(item, "out");
	struct sg_packet p;
	uint64_t number;
	size_t len;
	int used;
	uint8_t *bytes = hex_bytes(r, item, "hex", &len);

	if (!bytes)
		return;
	used = sg_packet_decode((struct sg_view){bytes, len}, &p);
	expect_text(r, "complete", value_bool(item, "complete") ? "true" : "false", used > 0 ? "true" : "false");
	if (used > 0 && out) {
		if (value_u64(out, "type", &number))
			expect_number(r, "type", number, p.type);
		if (value_u64(out, "route_id", &number))
			expect_number(r, "route_id", number, p.route_id);
		if (value_u64(out, "payload_size", &number))
			expect_number(r, "payload_size", number, p.payload.len);
	}
	free(bytes);
}

static void packet_negative(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "cases"), "name", packet_negative_case);
}

/* ---- keys by name, and the transport ids between them ---- */

/* Members that are objects with a pk, and no list of items: keys of this file and of transports.json. */
static bool is_named_keys(const struct value *v)
{
	for (size_t i = 0; v->kind == VALUE_OBJECT && i < v->count; i++) {
		if (value_text(&v->items[i].value, "pk"))
			return true;
	}
	return false;
}

static void named_key(struct run *r, const struct value *key)
{
	const struct value *seed = value_get(key, value_get(key, "seed") ? "seed" : "seed_ascii");
	uint8_t hash[32], seed2[32];
	struct sg_sk sk;
	struct sg_pk pk = {{0}};
	bool has_sk = value_text(key, "sk") != NULL;

	if (has_sk && !hex_fixed(r, key, "sk", sk.b, SG_SK_LEN))
		return;
	if (seed && seed->kind == VALUE_STRING) {
		keys_of_seed(r, (struct sg_view){(const uint8_t *)seed->text, seed->len}, &sk, hash, seed2);
		expect_hex_of(r, key, "sk", sk.b, SG_SK_LEN);
		has_sk = true;
	}
	if (has_sk)
		expect_outcome(r, "sk", true, sg_pk_of(r->c, &sk, &pk));
	else if (hex_fixed(r, key, "pk", pk.b, SG_PK_LEN))
		expect_outcome(r, "pk", true, sg_pk_check(r->c, &pk));
	expect_hex(r, "pk", value_text(key, "pk"), pk.b, SG_PK_LEN);
}

static void named_keys(struct run *r, const struct value *v)
{
	size_t index = 0;

	list_begin(r, NULL);
	for (size_t i = 0; i < v->count; i++) {
		if (v->items[i].value.kind != VALUE_OBJECT)
			continue;
		case_begin(r, index++, v->items[i].name);
		named_key(r, &v->items[i].value);
		case_end(r);
	}
	list_end(r);
}

static bool key_in(const struct value *keys, char letter, struct sg_pk *out)
{
	const char name[] = {letter, '\0'}, *pk = value_text(value_object(keys, name), "pk");

	return pk && sg_hex_parse(pk, strlen(pk), out->b, SG_PK_LEN) == 0;
}

/*
 * The id of "AB_type" for the keys A and B of some section keys. There may be several; that of the same suffix comes
 * first (keys#2 for transport_ids#2), and another counts only when it gives the id that is wanted.
 */
static bool id_of(const struct run *r, const char *name, const char *want, char text[SG_TPID_TEXT])
{
	const char *suffix = strchr(r->section, '#');
	char same[64];
	bool found = false;
	struct sg_pk a, b;
	struct sg_tpid id;

	snprintf(same, sizeof(same), "keys%s", suffix ? suffix : "");
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < r->file->count; i++) {
			const struct member *m = &r->file->items[i];
			char other[SG_TPID_TEXT];

			if (!same_name(m->name, "keys") || (pass == 0) != (strcmp(m->name, same) == 0) ||
				!key_in(&m->value, name[0], &a) || !key_in(&m->value, name[1], &b))
				continue;
			sg_tpid_make(&a, &b, name + 3, &id);
			sg_tpid_str(&id, other);
			if (!found || strcmp(other, want) == 0)
				memcpy(text, other, sizeof(other));
			found = true;
		}
	}
	return found;
}

static bool is_map_of_ids(const struct value *v)
{
	return !value_list(v, "cases") && v->kind == VALUE_OBJECT;
}

static void transport_ids(struct run *r, const struct value *v)
{
	size_t index = 0;

	list_begin(r, NULL);
	for (size_t i = 0; i < v->count; i++) {
		const char *name = v->items[i].name;
		char id_text[SG_TPID_TEXT];

		if (strlen(name) < 4 || name[2] != '_' || v->items[i].value.kind != VALUE_STRING)
			continue;
		if (!id_of(r, name, v->items[i].value.text, id_text)) {
			case_skip(r, "no section keys with those keys");
			continue;
		}
		case_begin(r, index++, name);
		expect_text(r, "id", v->items[i].value.text, id_text);
		case_end(r);
	}
	list_end(r);
}

const struct section routing_sections[] = {
	{"keys", is_named_keys, named_keys, NULL},
	{"transport_ids", is_map_of_ids, transport_ids, NULL},
	{"descriptor", NULL, routing_descriptor, NULL},
	{"packets", NULL, packets, NULL},
	{"packet_negative", NULL, packet_negative, NULL},
	{"rules", NULL, routing_rules, NULL},
	{"forwarding", NULL, routing_forwarding, NULL},
	{"gob_primitives", is_list, routing_gob_primitives, NULL},
	{"rpc", NULL, routing_rpc, NULL},
	{"gob_acceptance", NULL, routing_gob_acceptance, NULL},
	{"route_finder", NULL, services_route_finder, NULL},
	{"route_group_noise", NULL, routing_group_noise, NULL},
	{"traces", NULL, NULL, RECORDING},
	{0},
};
