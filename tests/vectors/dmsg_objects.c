/* dmsg.json: gob numbers, stream requests and responses, discovery entries. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "run.h"
#include "wire/dmsg.h"
#include "wire/entry.h"
#include "wire/gob.h"

#include <inttypes.h>
#include <stdlib.h>

#define ROOM 8192

/* ---- numbers: whole messages with one value ---- */

static void primitive_item(struct run *r, const struct value *item)
{
	const char *text = value_text(item, "value"), *type = value_text(item, "type");
	bool is_signed = type && type[0] == 'i';
	uint8_t out[32];
	struct sg_writer w = sg_writer(out, sizeof(out));
	struct sg_gob_types types;
	struct sg_gob_value v;
	struct sg_reader rd;
	struct sg_view message;
	struct sg_gob_out o;
	char got[32];
	size_t len;
	uint8_t *bytes = hex_bytes(r, item, "message", &len);

	if (!text)
		expect_true(r, "value", false, "text", "none");
	if (r->failed || !text) {
		free(bytes);
		return;
	}
	sg_gob_types_init(&types);
	expect_true(r, "frame", sg_gob_frame((struct sg_view){bytes, len}, &message) == (int)len, "one message",
		"another length");
	if (!r->failed)
		expect_true(r, "message", sg_gob_message(&types, message, &rd, &v) == 1, "a value", "none");
	if (!r->failed) {
		if (is_signed)
			snprintf(got, sizeof(got), "%" PRId64, sg_gob_int(&v));
		else
			snprintf(got, sizeof(got), "%" PRIu64, sg_gob_uint(&v, UINT64_MAX));
		expect_true(r, "value", sg_reader_done(&rd), "the whole message", "a part of it");
		expect_text(r, "value", text, got);
	}
	o = sg_gob_begin(&w, is_signed ? SG_GOB_INT : SG_GOB_UINT);
	sg_write_u8(&w, 0);
	if (is_signed)
		sg_gob_write_int(&w, strtoll(text, NULL, 10));
	else
		sg_gob_write_uint(&w, strtoull(text, NULL, 10));
	sg_gob_end(&o);
	expect_bytes(r, "message", (struct sg_view){bytes, len}, (struct sg_view){out, sg_writer_len(&w)});
	sg_gob_types_fini(&types);
	free(bytes);
}

void dmsg_gob_primitives(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "value", primitive_item);
}

/* ---- requests and responses ---- */

/* The id that the first definition has: that of the object's own type. */
static int64_t base_of(struct sg_view gob)
{
	struct sg_view message;
	struct sg_reader r;

	if (sg_gob_frame(gob, &message) <= 0)
		return 0;
	r = sg_reader(message);
	return -sg_gob_read_int(&r);
}

static void expect_pk(struct run *r, const struct value *v, const char *field, const struct sg_pk *pk)
{
	expect_hex_of(r, v, field, pk->b, SG_PK_LEN);
}

static void expect_u64(struct run *r, const struct value *v, const char *field, uint64_t got)
{
	uint64_t want;

	if (value_get(v, field)) {
		expect_true(r, field, value_u64(v, field, &want), "a number", "something else");
		if (!r->failed)
			expect_number(r, field, want, got);
	}
}

static void expect_bool(struct run *r, const struct value *v, const char *field, bool got)
{
	if (value_get(v, field))
		expect_text(r, field, value_bool(v, field) ? "true" : "false", got ? "true" : "false");
}

static void request_fields(struct run *r, const struct value *v, const struct sg_dmsg_request *q)
{
	int64_t stamp;

	expect_pk(r, v, "src_pk", &q->src.pk);
	expect_pk(r, v, "dst_pk", &q->dst.pk);
	expect_u64(r, v, "src_port", q->src.port);
	expect_u64(r, v, "dst_port", q->dst.port);
	expect_bool(r, v, "ipinfo", q->ip_info);
	expect_hex_of(r, v, "noise_msg", q->noise.p, q->noise.len);
	if (value_i64(v, "timestamp", &stamp))
		expect_true(r, "timestamp", stamp == q->timestamp, "the given one", "another");
}

static void response_fields(struct run *r, const struct value *v, const struct sg_dmsg_response *a)
{
	expect_hex_of(r, v, "req_hash", a->req_hash, sizeof(a->req_hash));
	expect_bool(r, v, "accepted", a->accepted);
	expect_u64(r, v, "err_code", a->err_code);
	expect_hex_of(r, v, "ip_bytes", a->ip.p, a->ip.len);
	expect_hex_of(r, v, "noise_msg", a->noise.p, a->noise.len);
}

/* Decodes, compares with the fields of @v, encodes again. */
static void request_case(struct run *r, const struct value *v, struct sg_view gob)
{
	struct sg_dmsg_request q;
	uint8_t out[ROOM];
	int len;

	expect_outcome(r, "decode", true, sg_dmsg_request_decode(r->c, gob, &q));
	if (r->failed)
		return;
	request_fields(r, v, &q);
	len = sg_dmsg_request_encode(&q, base_of(gob), out, sizeof(out));
	expect_bytes(r, "gob", gob, (struct sg_view){out, (size_t)SG_MAX(len, 0)});
}

static void response_case(struct run *r, const struct value *v, struct sg_view gob)
{
	struct sg_dmsg_response a;
	uint8_t out[ROOM];
	int len;

	expect_outcome(r, "decode", true, sg_dmsg_response_decode(gob, &a));
	if (r->failed)
		return;
	response_fields(r, v, &a);
	len = sg_dmsg_response_encode(&a, base_of(gob), out, sizeof(out));
	expect_bytes(r, "gob", gob, (struct sg_view){out, (size_t)SG_MAX(len, 0)});
}

/* The signature in front, by whoever the object says sent it. */
static void signed_case(struct run *r, const struct value *v, struct sg_view gob)
{
	struct sg_dmsg_request q;
	struct sg_view rest;
	struct sg_sig sig;
	struct sg_sk sk;
	struct sg_pk pk;
	uint8_t hash[32];
	size_t len;
	uint8_t *object;

	if (!value_text(v, "signed_object"))
		return;
	object = hex_bytes(r, v, "signed_object", &len);
	if (r->failed)
		return;
	sg_sha256(&(struct sg_view){object, len}, 1, hash);
	expect_hex_of(r, v, "sha256_of_signed_object", hash, sizeof(hash));
	expect_outcome(r, "split", true, sg_dmsg_object_split((struct sg_view){object, len}, &sig, &rest));
	if (!r->failed)
		expect_bytes(r, "signed_object", gob, rest);
	if (value_text(v, "signer_sec")) {
		if (hex_fixed(r, v, "signer_sec", sk.b, SG_SK_LEN)) {
			expect_outcome(r, "signer", true, sg_pk_of(r->c, &sk, &pk));
			expect_outcome(
				r, "signature", true, sg_dmsg_object_verify(r->c, &pk, (struct sg_view){object, len}));
		}
	} else if (sg_dmsg_request_decode(r->c, gob, &q) == 0 && !sg_pk_is_null(&q.src.pk)) {
		expect_outcome(
			r, "signature", true, sg_dmsg_object_verify(r->c, &q.src.pk, (struct sg_view){object, len}));
	}
	free(object);
}

static void object_case(struct run *r, const struct value *v, const char *field, const char *name)
{
	size_t len;
	uint8_t *gob = hex_bytes(r, v, field, &len);

	if (!r->failed && strstr(name, "request"))
		request_case(r, v, (struct sg_view){gob, len});
	else if (!r->failed)
		response_case(r, v, (struct sg_view){gob, len});
	if (!r->failed)
		signed_case(r, v, (struct sg_view){gob, len});
	free(gob);
}

/* The definitions in front of each object, which others use as a template. */
static void prefix_case(struct run *r, const struct value *v, const char *field)
{
	const char *ids = strstr(field, "_ids_");
	struct sg_dmsg_request q = {0};
	struct sg_dmsg_response a = {0};
	uint8_t out[ROOM];
	size_t len;
	uint8_t *want = hex_bytes(r, v, field, &len);
	int got = strstr(field, "request") ? sg_dmsg_request_encode(&q, ids ? atoi(ids + 5) : 65, out, sizeof(out))
					   : sg_dmsg_response_encode(&a, ids ? atoi(ids + 5) : 65, out, sizeof(out));

	if (want)
		expect_bytes(r, field, (struct sg_view){want, len},
			(struct sg_view){out, SG_MIN(len, (size_t)SG_MAX(got, 0))});
	free(want);
}

void dmsg_stream_objects(struct run *r, const struct value *v)
{
	const struct value *low = value_object(v, "type_ids_from_64");

	list_begin(r, NULL);
	for (size_t i = 0; i < v->count; i++) {
		const struct member *m = &v->items[i];

		if (m->value.kind == VALUE_STRING && strstr(m->name, "descriptor_prefix")) {
			case_begin(r, i, m->name);
			prefix_case(r, v, m->name);
			case_end(r);
		}
		if (m->value.kind != VALUE_OBJECT || !value_text(&m->value, "gob"))
			continue;
		case_begin(r, i, m->name);
		object_case(r, &m->value, "gob", m->name);
		case_end(r);
	}
	list_end(r);
	if (!low)
		return;
	list_begin(r, "type_ids_from_64");
	for (size_t i = 0; i < low->count; i++) {
		const struct member *m = &low->items[i];

		if (strcmp(m->name, "note") == 0)
			continue;
		case_begin(r, i, m->name);
		object_case(r, low, m->name, m->name);
		case_end(r);
	}
	list_end(r);
}

static void negative_item(struct run *r, const struct value *item)
{
	const char *type = value_text(item, "type");
	const struct value *want = value_object(item, "value");
	bool ok = value_is_null(item, "error") && !value_get(item, "panic");
	struct sg_dmsg_request q;
	struct sg_dmsg_response a;
	size_t len;
	uint8_t *gob = hex_bytes(r, item, "gob", &len);

	expect_true(r, "type", type != NULL, "request or response", "none");
	if (r->failed || !type) {
		free(gob);
		return;
	}
	if (strcmp(type, "request") == 0) {
		expect_outcome(r, "error", ok, sg_dmsg_request_decode(r->c, (struct sg_view){gob, len}, &q));
		if (!r->failed && ok && want)
			request_fields(r, want, &q);
	} else {
		expect_outcome(r, "error", ok, sg_dmsg_response_decode((struct sg_view){gob, len}, &a));
		if (!r->failed && ok && want)
			response_fields(r, want, &a);
	}
	free(gob);
}

void dmsg_stream_object_negative(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", negative_item);
}

/* ---- entries ---- */

static void entry_item(struct run *r, const struct value *item)
{
	const char *full = value_text(item, "full_json"), *want_signed = value_text(item, "signed_json");
	struct sg_disc_entry_full e;
	char out[SG_ENTRY_JSON_MAX];
	struct sg_sk sk;
	struct sg_pk own;
	uint8_t hash[32];
	json_t *json = full ? sg_json_parse(text_view(full), NULL) : NULL;
	int len;

	expect_true(r, "full_json", json != NULL, "JSON", "none");
	if (!r->failed)
		expect_outcome(r, "decode", true, sg_disc_entry_decode(r->c, json, &e));
	if (!r->failed && value_text(item, "seckey") && hex_fixed(r, item, "seckey", sk.b, SG_SK_LEN)) {
		expect_outcome(r, "seckey", true, sg_pk_of(r->c, &sk, &own));
		expect_true(r, "seckey", sg_pk_equal(&own, &e.pk), "that of the entry", "another");
	}
	if (!r->failed) {
		expect_hex_of(r, item, "signature", e.sig.b, SG_SIG_LEN);
		len = sg_disc_entry_encode(&e, false, out, sizeof(out));
		expect_true(r, "signed_json", len >= 0, "text", "too long");
		sg_sha256(&(struct sg_view){(const uint8_t *)out, (size_t)SG_MAX(len, 0)}, 1, hash);
		if (want_signed)
			expect_text(r, "signed_json", want_signed, out);
		expect_hex_of(r, item, "sha256", hash, sizeof(hash));
		expect_outcome(r, "verify_error", value_is_null(item, "verify_error"),
			sg_disc_entry_verify(r->c, &e, text_view(full)));
		len = sg_disc_entry_encode(&e, true, out, sizeof(out));
		if (len >= 0 && (!value_get(item, "canonical") || value_bool(item, "canonical")))
			expect_text(r, "full_json", full, out);
	}
	json_decref(json);
}

void dmsg_entries(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "name", entry_item);
}
