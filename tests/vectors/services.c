/* Sections of several files: what directory services are asked and answer. */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "run.h"
#include "wire/http.h"
#include "wire/httpauth.h"
#include "wire/resolver.h"
#include "wire/routefinder.h"
#include "wire/service.h"
#include "wire/servicedisc.h"
#include "wire/settle.h"

#include <stdlib.h>

#define TEXT_MAX 8192

static bool need(struct run *r, const char *what, bool ok)
{
	expect_true(r, what, ok, "readable", "something else");
	return ok;
}

/* ---- signed requests ---- */

static void auth(struct run *r, const char *pk, const char *nonce, const char *sig, struct sg_view body,
	uint64_t number, struct sg_view signed_bytes, const char *sha256)
{
	uint8_t hash[32];
	char digits[24];
	struct sg_pk who;
	uint64_t got;

	expect_outcome(r, "signature", true, sg_httpauth_verify(r->c, pk, nonce, sig, body, &who, &got));
	if (r->failed)
		return;
	expect_number(r, "nonce", number, got);
	snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
	expect_true(r, "signed bytes",
		signed_bytes.len == body.len + strlen(digits) &&
			(!body.len || memcmp(signed_bytes.p, body.p, body.len) == 0) &&
			memcmp(signed_bytes.p + body.len, digits, strlen(digits)) == 0,
		"body and nonce", "other bytes");
	sg_sha256(&signed_bytes, 1, hash);
	expect_hex(r, "sha256", sha256, hash, sizeof(hash));
}

static void httpauth_case(struct run *r, const struct value *item)
{
	const char *body = value_text(item, "body"), *bytes = value_text(item, "signed_bytes");
	uint64_t nonce;

	if (need(r, "body, signed_bytes, nonce", body && bytes && value_u64(item, "nonce", &nonce)))
		auth(r, value_text(item, "SW-Public"), value_text(item, "SW-Nonce"), value_text(item, "SW-Sig"),
			text_view(body), nonce, text_view(bytes), value_text(item, "sha256"));
}

void services_httpauth(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "cases"), "what", httpauth_case);
}

void services_http_auth(struct run *r, const struct value *v)
{
	const char *body = value_text(v, "body");
	struct sg_httpauth again;
	struct sg_sk sk;
	struct sg_pk pk;
	uint64_t nonce;
	char digits[24];
	uint8_t *bytes;
	size_t len;

	list_begin(r, NULL);
	case_begin(r, 0, NULL);
	if (need(r, "body, nonce", body && value_u64(v, "nonce", &nonce)) &&
		hex_fixed(r, v, "secret_key", sk.b, sizeof(sk.b)) &&
		(bytes = hex_bytes(r, v, "signed_bytes_hex", &len))) {
		expect_outcome(r, "secret_key", true, sg_pk_of(r->c, &sk, &pk));
		expect_hex_of(r, v, "public_key", pk.b, sizeof(pk.b));
		snprintf(digits, sizeof(digits), "%llu", (unsigned long long)nonce);
		auth(r, value_text(v, "public_key"), digits, value_text(v, "one_valid_signature"), text_view(body),
			nonce, (struct sg_view){bytes, len}, value_text(v, "sha256"));
		/* Ours is another one, and as good. */
		expect_outcome(
			r, "our signature", true, sg_httpauth_sign(r->c, &pk, &sk, text_view(body), nonce, &again));
		auth(r, again.pk, again.nonce, again.sig, text_view(body), nonce, (struct sg_view){bytes, len},
			value_text(v, "sha256"));
		free(bytes);
	}
	case_end(r);
	list_end(r);
}

/* ---- answers, written again from what was read of them ---- */

static void visor_again(struct run *r, struct sg_view body, struct sg_text *t)
{
	struct sg_visor_data d;

	expect_outcome(r, "visor data", true, sg_visor_data_decode(body, &d));
	if (r->failed)
		return;
	sg_text_addf(t, "{\"remote_addr\":\"%s\",%s\"port\":\"%u\",\"addresses\":[", d.remote,
		d.local ? "\"is_local\":true," : "", d.port);
	for (size_t i = 0; i < d.n; i++)
		sg_text_addf(t, "%s\"%s\"", i ? "," : "", d.addresses[i]);
	sg_text_add(t, "]}");
}

static void entries_again(struct run *r, struct sg_view body, struct sg_text *t)
{
	struct sg_entry list[4];
	char one[1000];
	int n = sg_entry_list_decode(r->c, body, list, SG_ARRAY_LEN(list));

	expect_outcome(r, "entries", true, n);
	sg_text_add(t, n > 0 ? "[" : "null\n");
	for (int i = 0; i < n; i++) {
		expect_outcome(r, "entry", true, sg_entry_encode(&list[i], one, sizeof(one)));
		sg_text_addf(t, "%s%s", i ? "," : "", one);
	}
	sg_text_add(t, n > 0 ? "]\n" : "");
}

static void refusal_again(struct run *r, struct sg_view body, uint64_t status, struct sg_text *t)
{
	char said[200];

	expect_true(
		r, "refused", sg_httpauth_refused((int)status, body) == (status == 401), "as its status says", "not");
	sg_text_addf(t, "{\"error\":{\"message\":\"%s\",\"code\":%u}}\n", sg_service_error(body, said, sizeof(said)),
		(unsigned)status);
}

static void nonce_again(struct run *r, const char *path, struct sg_view body, struct sg_text *t)
{
	const char *pk = path + strlen("/security/nonces/");
	uint64_t nonce = 0;

	expect_outcome(r, "nonce", true, sg_httpauth_nonce(body, &nonce));
	sg_text_addf(t, "{\"edge\":\"%s\",\"next_nonce\":%u}\n", pk, (unsigned)nonce);
}

static void example_case(struct run *r, const struct value *item)
{
	const char *service = value_text(item, "service"), *path = value_text(item, "path");
	const char *body = value_text(item, "body"), *method = value_text(item, "method");
	char again[TEXT_MAX];
	struct sg_text t = sg_text(again, sizeof(again));
	uint64_t status = 0;

	expect_text(r, "method", "GET", method);
	if (!need(r, "service, path, body", service && path && body && value_u64(item, "status", &status)))
		return;
	if (strcmp(service, "any") == 0 && status != 200)
		refusal_again(r, text_view(body), status, &t);
	else if (strcmp(service, "any") == 0)
		nonce_again(r, path, text_view(body), &t);
	else if (strcmp(service, "tpd") == 0)
		entries_again(r, text_view(body), &t);
	else if (strcmp(service, "ar") == 0)
		visor_again(r, text_view(body), &t);
	else
		need(r, "service", false);
	if (strcmp(service, "any") != 0)
		expect_number(r, "status", 200, status);
	expect_text(r, "body", body, again);
}

void services_examples(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "cases"), "path", example_case);
}

/* ---- the address resolver ---- */

static void bind_again(struct run *r, const char *text)
{
	char again[TEXT_MAX];
	struct sg_visor_data d;
	int len;

	/* The same members, so that one reader does for both. */
	expect_outcome(r, "addresses", true, sg_visor_data_decode(text_view(text), &d));
	if (r->failed)
		return;
	len = sg_bind_encode(d.port, d.addresses, d.n, "", again, sizeof(again));
	again[len > 0 ? len - 1 : 0] = '\0'; /* a line when it is sent */
	expect_text(r, "body", text, again);
}

void services_resolver(struct run *r, const struct value *v)
{
	const struct value *cases = value_object(v, "cases");

	list_begin(r, NULL);
	for (size_t i = 0; cases && i < cases->count; i++) {
		const struct member *m = &cases->items[i];
		char again[TEXT_MAX];
		struct sg_text t = sg_text(again, sizeof(again));

		if (strcmp(m->name, "remote_visor_push") == 0) {
			case_skip(r, "sudph");
			continue;
		}
		case_begin(r, i, m->name);
		need(r, "text", m->value.kind == VALUE_STRING);
		if (!r->failed && strcmp(m->name, "local_addresses") == 0) {
			bind_again(r, m->value.text);
		} else if (!r->failed) {
			visor_again(r, text_view(m->value.text), &t);
			expect_text(r, "visor data", m->value.text, again);
		}
		case_end(r);
	}
	list_end(r);
}

/* ---- the service discovery ---- */

static void offer_again(struct run *r, const char *text)
{
	char array[SG_OFFER_JSON_MAX + 4], again[SG_OFFER_JSON_MAX];
	struct sg_offer o;

	snprintf(array, sizeof(array), "[%s]", text);
	expect_number(r, "entries", 1, (uint64_t)sg_offer_list_decode(r->c, text_view(array), &o, 1));
	if (r->failed)
		return;
	expect_outcome(r, "entry", true, sg_offer_encode(&o, again, sizeof(again)));
	expect_text(r, "entry", text, again);
}

void services_discovery(struct run *r, const struct value *v)
{
	const struct value *service = value_object(v, "service");
	const char *wire = value_text(service, "wire"), *array = value_text(service, "array");
	char list[SG_OFFER_JSON_MAX];

	list_begin(r, NULL);
	case_begin(r, 0, "service");
	need(r, "wire, array", wire && array);
	if (!r->failed) {
		offer_again(r, wire);
		snprintf(list, sizeof(list), "[%s]", wire);
		expect_text(r, "array", array, list);
	}
	case_end(r);
	list_end(r);
}

void services_registration(struct run *r, const struct value *v)
{
	const struct value *list = value_list(v, "json");

	list_begin(r, NULL);
	for (size_t i = 0; list && i < list->count; i++) {
		case_begin(r, i, NULL);
		need(r, "text", list->items[i].value.kind == VALUE_STRING);
		if (!r->failed)
			offer_again(r, list->items[i].value.text);
		case_end(r);
	}
	list_end(r);
}

/* ---- the route finder ---- */

static void paths_add(struct sg_text *t, const char *ends, const struct sg_path *list, size_t n)
{
	char id[SG_TPID_TEXT], from[SG_PK_TEXT], to[SG_PK_TEXT];

	sg_text_addf(t, "\"%s\":[", ends);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < list[i].n; k++) {
			const struct sg_hop *h = &list[i].hops[k];

			sg_text_addf(t, "%s{\"TpID\":\"%s\",\"From\":\"%s\",\"To\":\"%s\"}",
				k   ? ","
				: i ? ",["
				    : "[",
				sg_tpid_str(&h->tp, id), sg_pk_str(&h->from, from), sg_pk_str(&h->to, to));
		}
		sg_text_add(t, "]");
	}
	sg_text_add(t, "]");
}

/* Ours asks both directions at once, and reads answers to that. */
static void paths_again(struct run *r, const char *asked, const char *body)
{
	static struct sg_paths paths;
	char again[TEXT_MAX], ends[2][2 * SG_PK_TEXT];
	struct sg_text t = sg_text(again, sizeof(again));
	struct sg_pk src, dst;
	const char *max = strstr(asked, "\"MaxHops\":"), *first = strstr(asked, "[\"");
	bool back_first;

	if (!need(r, "request",
		    max && first && strlen(first) > 137 && sg_pk_parse(r->c, first + 2, 66, &src) == 0 &&
			    sg_pk_parse(r->c, first + 69, 66, &dst) == 0))
		return;
	expect_outcome(r, "request", true,
		sg_routes_ask(&src, &dst, 0, (uint16_t)strtoul(max + 10, NULL, 10), again, sizeof(again)));
	expect_text(r, "request", asked, again);
	expect_outcome(r, "answer", true, sg_routes_answer(r->c, text_view(body), &src, &dst, &paths));
	snprintf(ends[0], sizeof(ends[0]), "%.133s", first + 2);
	snprintf(ends[1], sizeof(ends[1]), "%.66s:%.66s", first + 69, first + 2);
	/* An object's members are sorted there. */
	back_first = strcmp(ends[1], ends[0]) < 0;
	sg_text_add(&t, "{");
	if (back_first)
		paths_add(&t, ends[1], paths.reverse, paths.n_reverse);
	else
		paths_add(&t, ends[0], paths.forward, paths.n_forward);
	if (strcmp(ends[0], ends[1]) != 0) {
		sg_text_add(&t, ",");
		if (back_first)
			paths_add(&t, ends[0], paths.forward, paths.n_forward);
		else
			paths_add(&t, ends[1], paths.reverse, paths.n_reverse);
	}
	sg_text_add(&t, "}");
	expect_text(r, "answer", body, again);
}

static void route_finder_case(struct run *r, const struct value *item)
{
	const char *asked = value_text(item, "request_body"), *body = value_text(item, "response_body");
	char again[TEXT_MAX], said[200];
	uint64_t status = 0;

	need(r, "bodies, status", asked && body && value_u64(item, "status", &status));
	expect_text(r, "method", "POST", value_text(item, "method"));
	expect_text(r, "path", "/routes", value_text(item, "path"));
	if (r->failed)
		return;
	if (status == 200) {
		paths_again(r, asked, body);
		return;
	}
	snprintf(again, sizeof(again), "{\"error\":{\"message\":\"%s\",\"code\":%u}}",
		sg_service_error(text_view(body), said, sizeof(said)), (unsigned)status);
	expect_text(r, "answer", body, again);
}

void services_route_finder(struct run *r, const struct value *v)
{
	each_case(r, value_list(v, "cases"), "name", route_finder_case);
}

/* ---- over dmsg ---- */

void services_dmsghttp(struct run *r, const struct value *v)
{
	const char *text = value_text(v, "stream_plaintext_utf8"), *url = value_text(v, "url"), *why = "";
	struct sg_http *h = sg_http_new(true, 1000);
	char again[600];
	size_t used = 0;

	list_begin(r, NULL);
	case_begin(r, 0, NULL);
	if (need(r, "text, url", text && url && h)) {
		expect_number(r, "read", 1, (uint64_t)sg_http_feed(h, text_view(text), &used, &why));
		expect_number(r, "bytes used", strlen(text), used);
		expect_text(r, "method", "GET", sg_http_method(h));
		snprintf(again, sizeof(again), "dmsg://%s%s", sg_http_header(h, "Host"), sg_http_target(h));
		expect_text(r, "url", url, again);
		expect_text(r, "agent", "Go-http-client/1.1", sg_http_header(h, "User-Agent"));
	}
	case_end(r);
	list_end(r);
	sg_http_free(h);
}
