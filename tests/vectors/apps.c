/* apps.json: the VPN. The other apps wait for their code. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/text.h"
#include "lease.h"
#include "run.h"
#include "wire/vpn.h"

#include <stdlib.h>

/* A server's hello has a status, a client's has not. */
static int hello_again(struct run *r, const struct value *json, char *out, size_t cap)
{
	const struct sg_view in = {(const uint8_t *)json->text, json->len};
	struct sg_vpn_client_hello client;
	struct sg_vpn_server_hello server;
	struct value *parsed = value_parse(json->text, json->len);
	bool from_server = value_get(parsed, "status") != NULL;

	value_free(parsed);
	if (from_server) {
		expect_number(r, "bytes used", in.len, (uint64_t)sg_vpn_server_hello_decode(in, &server));
		return r->failed ? SG_EMALF : sg_vpn_server_hello_encode(&server, out, cap);
	}
	expect_number(r, "bytes used", in.len, (uint64_t)sg_vpn_client_hello_decode(in, &client));
	return r->failed ? SG_EMALF : sg_vpn_client_hello_encode(&client, out, cap);
}

static void vpn_hellos(struct run *r, const char *name, const struct value *list)
{
	list_begin(r, name);
	for (size_t i = 0; i < list->count; i++) {
		const struct value *item = &list->items[i].value, *json = value_get(item, "json");
		char out[SG_VPN_HELLO_MAX];
		int len;

		case_begin(r, i, value_text(item, "name"));
		if (!json || json->kind != VALUE_STRING) {
			expect_true(r, "json", false, "text", "nothing");
			case_end(r);
			continue;
		}
		len = hello_again(r, json, out, sizeof(out));
		expect_outcome(r, "serialise", true, len);
		if (!r->failed)
			expect_hex(r, "hex", value_text(item, "hex"), out, (size_t)len);
		case_end(r);
	}
	list_end(r);
}

/* ---- what a server makes of the frames of a client ---- */

/* Gives each frame to the reader as one record. 1 when a hello is complete, as sg_vpn_hello_take. */
static int take_frames(struct run *r, const struct value *frames, struct sg_vpn_hello_in *in)
{
	int ret = 0;

	for (size_t i = 0; i < frames->count && ret == 0; i++) {
		const struct value *text = &frames->items[i].value;
		size_t len = text->len / 2, used;
		uint8_t *bytes = malloc(len + 1);

		if (!bytes)
			abort();
		if (text->kind != VALUE_STRING || sg_hex_parse(text->text, text->len, bytes, len) < 0)
			expect_true(r, "frames_hex", false, "hexadecimal", text->text ? text->text : "nothing");
		else
			ret = sg_vpn_hello_take(in, true, (struct sg_view){bytes, len}, &used);
		free(bytes);
	}
	return ret;
}

static void read_rule(struct run *r, const struct value *item, const struct value *frames)
{
	const char *code = value_text(item, "server_passcode");
	char passcode[SG_VPN_PASSCODE_MAX + 1] = "";
	struct sg_vpn_hello_in *in = calloc(1, sizeof(*in));
	struct sg_vpn_client_hello hello;
	enum sg_vpn_status status = SG_VPN_OK;
	uint64_t want;
	bool answered;

	if (!in)
		abort();
	snprintf(passcode, sizeof(passcode), "%s", code ? code : "");
	answered = take_frames(r, frames, in) > 0 &&
		   sg_vpn_client_hello_decode((struct sg_view){in->b, in->len}, &hello) > 0;
	if (answered)
		status = sg_vpn_client_hello_status(&hello, passcode);
	expect_text(r, "accepted", value_bool(item, "accepted") ? "true" : "false",
		answered && status == SG_VPN_OK ? "true" : "false");
	if (value_u64(item, "server_status", &want)) {
		expect_true(r, "server_status", answered, "an answer", "none");
		expect_number(r, "server_status", want, status);
	} else if (!value_bool(item, "accepted")) {
		expect_true(r, "server_status", !answered, "no answer", "an answer");
	}
	free(in);
}

static void vpn_read_rules(struct run *r, const char *name, const struct value *list)
{
	list_begin(r, name);
	for (size_t i = 0; i < list->count; i++) {
		const struct value *item = &list->items[i].value, *frames = value_list(item, "frames_hex");

		if (!frames) {
			case_skip(r, "no frames_hex");
			continue;
		}
		case_begin(r, i, value_text(item, "input"));
		read_rule(r, item, frames);
		case_end(r);
	}
	list_end(r);
}

/* ---- who gets which block ---- */

#define RESERVED_MAX 64

static void pool_init(struct leases *ls, size_t clients)
{
	static const struct net4 pool = {0xac100000, 12}; /* 172.16.0.0/12 */

	if (leases_init(ls, pool, NULL, 0, clients ? clients : 1) < 0)
		abort();
}

/* One more client that nobody has seen before. */
static struct lease *next_client(struct run *r, struct leases *ls, const uint32_t *reserved, size_t n)
{
	struct sg_pk pk = {{2, (uint8_t)(ls->n_leased >> 8), (uint8_t)ls->n_leased}};
	struct lease *l = NULL;

	memcpy(pk.b + 8, pk.b + 1, 2);
	expect_outcome(r, "lease", true, lease_get(ls, &pk, reserved, n, 0, &l));
	if (l)
		l->holder = ls;
	return l;
}

static void expect_ip(struct run *r, const struct value *item, const char *field, uint32_t got)
{
	char text[SG_IP4_TEXT];

	if (value_get(item, field))
		expect_text(r, field, value_text(item, field), sg_ip4_str(got, text));
}

static bool seen_before(const struct value *list, size_t i)
{
	const char *block = value_text(&list->items[i].value, "block");

	for (size_t j = 0; j < i && block; j++) {
		if (value_text(&list->items[j].value, "block") &&
			strcmp(value_text(&list->items[j].value, "block"), block) == 0)
			return true;
	}
	return false;
}

static void vpn_fresh(struct run *r, const char *name, const struct value *list)
{
	struct leases ls;
	uint64_t n = 0, want_n;
	size_t i;

	list_begin(r, name);
	pool_init(&ls, 16384);
	for (i = 0; i < list->count && !seen_before(list, i); i++) {
		const struct value *item = &list->items[i].value;
		struct lease *l = NULL;

		case_begin(r, i, value_text(item, "block"));
		if (!value_u64(item, "n", &want_n))
			want_n = n + 1;
		expect_true(r, "n", want_n > n && want_n <= 16384, "a later client", "another");
		while (n < want_n && !r->failed) {
			l = next_client(r, &ls, NULL, 0);
			n++;
		}
		if (l) {
			expect_ip(r, item, "block", l->block);
			expect_ip(r, item, "server_gateway", l->block + 1);
			expect_ip(r, item, "server_ip", l->block + 2);
			expect_ip(r, item, "client_gateway", lease_client_gateway(l));
			expect_ip(r, item, "client_ip", lease_client_ip(l));
		}
		case_end(r);
	}
	for (; i < list->count; i++)
		case_skip(r, "after a block that repeats, which ours never does");
	leases_fini(&ls);
	list_end(r);
}

/* "address,address" */
static size_t reserved_parse(const char *text, uint32_t out[RESERVED_MAX])
{
	size_t n = 0;

	while (*text && n < RESERVED_MAX) {
		size_t len = strcspn(text, ",");
		char one[SG_IP4_TEXT];

		snprintf(one, sizeof(one), "%.*s", (int)len, text);
		if (sg_ip4_parse(one, &out[n]) == 0)
			n++;
		text += len + (text[len] == ',');
	}
	return n;
}

/* True when ours never hands that block out there: it repeats, or holds a reserved address. */
static bool is_defect(const struct value *blocks, size_t i, const uint32_t *reserved, size_t n)
{
	const char *text = blocks->items[i].value.text;
	uint32_t block;

	if (!text || sg_ip4_parse(text, &block) < 0)
		return false;
	for (size_t j = 0; j < n; j++) {
		if ((reserved[j] & ~7U) == block)
			return true;
	}
	for (size_t j = 0; j < i; j++) {
		if (blocks->items[j].value.text && strcmp(blocks->items[j].value.text, text) == 0)
			return true;
	}
	return false;
}

static void vpn_reserved(struct run *r, const char *name, const struct value *map)
{
	list_begin(r, name);
	for (size_t i = 0; i < map->count; i++) {
		const struct value *blocks = &map->items[i].value;
		uint32_t reserved[RESERVED_MAX];
		size_t n = reserved_parse(map->items[i].name, reserved);
		struct leases ls;
		char text[SG_IP4_TEXT];

		if (blocks->kind != VALUE_ARRAY)
			continue;
		case_begin(r, i, map->items[i].name);
		pool_init(&ls, blocks->count);
		for (size_t j = 0; j < blocks->count && !r->failed && !is_defect(blocks, j, reserved, n); j++) {
			struct lease *l = next_client(r, &ls, reserved, n);

			if (l)
				expect_text(r, "block", blocks->items[j].value.text, sg_ip4_str(l->block, text));
		}
		leases_fini(&ls);
		case_end(r);
	}
	list_end(r);
}

static void vpn(struct run *r, const struct value *v)
{
	for (size_t i = 0; i < v->count; i++) {
		const char *name = v->items[i].name;
		const struct value *part = &v->items[i].value;

		if (same_name(name, "hellos") && part->kind == VALUE_ARRAY) {
			vpn_hellos(r, name, part);
		} else if (same_name(name, "read_rules") && part->kind == VALUE_ARRAY) {
			vpn_read_rules(r, name, part);
		} else if (same_name(name, "address_allocation_fresh_server") && part->kind == VALUE_ARRAY) {
			vpn_fresh(r, name, part);
		} else if (same_name(name, "address_allocation_with_reservations") && part->kind == VALUE_OBJECT) {
			vpn_reserved(r, name, part);
		} else if (part->kind == VALUE_ARRAY || part->kind == VALUE_OBJECT) {
			list_begin(r, name);
			case_skip(r, same_name(name, "data_phase_example") ? RECORDING : "unknown section");
			list_end(r);
		}
	}
}

const struct section apps_sections[] = {
	{"vpn", NULL, vpn, NULL},
	{"skysocks", NULL, NULL, NO_CODE},
	{"skychat", NULL, NULL, NO_CODE},
	{"sky_forwarding", NULL, NULL, NO_CODE},
	{"sky_ping", NULL, NULL, NO_CODE},
	{"transport_log", NULL, NULL, NO_CODE},
	{"service_discovery_registration_bodies", NULL, services_registration, NULL},
	{"http_auth", NULL, services_http_auth, NULL},
	{"app_process", NULL, NULL, NO_CODE},
	{"visor_rpc", NULL, NULL, NO_CODE},
	{0},
};
