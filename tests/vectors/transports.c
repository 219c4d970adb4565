/* transports.json: transport ids, entries, the handshake in clear, Noise KK as transports use it, whole sessions. */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "machine.h"
#include "wire/packet.h"
#include "wire/settle.h"
#include "wire/stcp.h"
#include "wire/tpid.h"

#include <stdlib.h>

static bool has_cases(const struct value *v)
{
	return value_list(v, "cases") != NULL;
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
	if (!type || !value_pk(r, item, "key1", &a) || !value_pk(r, item, "key2", &b))
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
	each_case(r, value_list(v, "cases"), "type", id_case);
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
	each_case(r, value_list(v, "cases"), "type", entry_case);
}

/* ---- the handshake in clear ---- */

/* Port 0 of nobody is how the address resolver is spoken to. */
static bool to_resolver(const struct sg_stcp_f2 *f2)
{
	return f2->dst_port == 0 && sg_pk_is_null(&f2->dst);
}

/* A visor listens for transports; the address resolver takes what is said to it. */
void answer_f2(const struct sg_stcp_f2 *f2, struct sg_stcp_f3 *f3)
{
	*f3 = (struct sg_stcp_f3){.ok = f2->dst_port == SG_STCP_TP_PORT || to_resolver(f2)};
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
	if (value_get(frame, "from"))
		expect_text(r, "from", value_text(frame, "from"), i % 2 ? "responder" : "initiator");
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
	if (frames->count > 3)
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
	if (frames->count == 3) { /* closed without a word */
		expect_outcome(r, "f2_sig", false, sg_stcp_f2_verify(r->c, &f2, nonce));
		return;
	}
	expect_outcome(r, "f2_sig", true, sg_stcp_f2_verify(r->c, &f2, nonce));
	answer_f2(&f2, &f3);
	expect_outcome(r, "f3", true, sg_stcp_f3_encode(&f3, line, sizeof(line)));
	expect_frame(r, frames, 3, line);
	expect_outcome(r, "responder_err", value_is_null(v, "responder_err"), f3.ok ? 0 : SG_EREFUSED);
}

/* What the responder wrote so far. */
struct writes {
	char text[4][SG_STCP_LINE_MAX];
	size_t count;
};

static void wrote(void *arg, struct sg_view bytes)
{
	struct writes *w = arg;

	if (w->count < SG_ARRAY_LEN(w->text))
		snprintf(w->text[w->count++], SG_STCP_LINE_MAX, "%.*s", (int)bytes.len, (const char *)bytes.p);
}

static void handshake_by_machine(struct run *r, const struct value *v, const struct value *frames,
	const struct sg_stcp_f2 *f2, const uint8_t nonce[SG_STCP_NONCE])
{
	struct writes got = {.count = 0};
	bool ok = machine_respond(r, frame_text(frames, 0), frame_text(frames, 2), nonce, wrote, &got);

	expect_outcome(r, "responder_err of the link", value_is_null(v, "responder_err"), ok ? 0 : SG_EREFUSED);
	expect_number(r, "number of writes of the link", frames->count / 2, got.count);
	for (size_t i = 0; i < SG_MIN(got.count, (size_t)2) && !r->failed; i++)
		expect_frame(r, frames, 2 * i + 1, got.text[i]);
	if (!r->failed && frames->count > 3)
		machine_dial(r, f2, frame_text(frames, 0), frame_text(frames, 1), frame_text(frames, 3),
			value_is_null(v, "initiator_err"));
}

static void handshake_case(struct run *r, const struct value *v)
{
	const struct value *frames = value_list(v, "frames");
	uint8_t nonce[SG_STCP_NONCE];
	struct sg_stcp_f2 f2;

	expect_true(r, "frames", frames && (frames->count == 3 || frames->count == 4), "three or four of them",
		"another number");
	if (!frames || r->failed)
		return;
	expect_outcome(r, "f1", true, sg_stcp_f1_decode(frame_text(frames, 1), nonce));
	expect_outcome(r, "f2", true, sg_stcp_f2_decode(r->c, frame_text(frames, 2), &f2));
	if (r->failed)
		return;
	expect_hex_of(r, v, "f2_sig", f2.sig.b, SG_SIG_LEN);
	play_initiator(r, v, frames, &f2);
	if (!r->failed)
		play_responder(r, v, frames, nonce);
	if (!r->failed && !to_resolver(&f2))
		handshake_by_machine(r, v, frames, &f2, nonce);
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

static void handshake_negative_case(struct run *r, const struct value *item)
{
	const struct value *want = value_list(item, "responder_writes_ascii"), *text = value_get(item, "f2_ascii");
	struct sg_view f2 = {(const uint8_t *)"", 0};
	struct writes got = {.count = 0};
	uint8_t nonce[SG_STCP_NONCE];
	size_t len;
	uint8_t *f0 = hex_bytes(r, item, "f0_hex", &len);

	if (text && text->kind == VALUE_STRING)
		f2 = (struct sg_view){(const uint8_t *)text->text, text->len};
	if (f0 && hex_fixed(r, item, "nonce_hex", nonce, sizeof(nonce))) {
		bool ok = machine_respond(r, (struct sg_view){f0, len}, f2, nonce, wrote, &got);

		expect_outcome(r, "responder_err", value_is_null(item, "responder_err"), ok ? 0 : SG_EREFUSED);
		expect_number(r, "number of writes", want ? want->count : 0, got.count);
		for (size_t i = 0; want && i < got.count && !r->failed; i++)
			expect_text(r, "responder_writes_ascii", want->items[i].value.text, got.text[i]);
	}
	free(f0);
}

static void stream_handshake_negative(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "items"), "case", handshake_negative_case);
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
	{"noise_kk", is_transport_noise, transport_noise_kk, NULL},
	{"stcpr_session", NULL, transport_session, NULL},
	{"routing_packet", NULL, routing_packet, NULL},
	{"sudph_capture", NULL, NULL, NO_CODE},
	{"httpauth", NULL, services_httpauth, NULL},
	{"http_examples", NULL, services_examples, NULL},
	{"raw_request_example", NULL, NULL, NO_CODE},
	{"address_resolver_json", NULL, services_resolver, NULL},
	{"address_resolver_redis", NULL, NULL, RECORDING},
	{"postgres_schema", NULL, NULL, RECORDING},
	{"kcp_reference_library", NULL, NULL, RECORDING},
	{"service_discovery_json", NULL, services_discovery, NULL},
	{"transport_log", NULL, NULL, NO_CODE},
	{"stun_requests", NULL, NULL, NO_CODE},
	{"transport_setup_rpc", NULL, NULL, NO_CODE},
	{"visor_config_default", NULL, NULL, NO_CODE},
	{0},
};
