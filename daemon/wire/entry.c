/* Discovery entries. */
#include "wire/entry.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"

#include <inttypes.h>

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* Strings of an entry: only what JSON demands is escaped, unlike elsewhere in this network. */
static void text_add(struct sg_text *t, const char *s)
{
	sg_text_add(t, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			sg_text_addf(t, "\\%c", *s);
		else if (*s == '\n')
			sg_text_add(t, "\\n");
		else if (*s == '\r')
			sg_text_add(t, "\\r");
		else if (*s == '\t')
			sg_text_add(t, "\\t");
		else if ((unsigned char)*s < 0x20)
			sg_text_addf(t, "\\u%04x", (unsigned)*s);
		else
			sg_text_addf(t, "%c", *s);
	}
	sg_text_add(t, "\"");
}

static void client_add(struct sg_text *t, const struct sg_disc_entry_full *e)
{
	char pk[SG_PK_TEXT];

	sg_text_add(t, ",\"client\":{\"delegated_servers\":");
	if (e->servers_null && e->n_servers == 0) {
		sg_text_add(t, "null}");
		return;
	}
	sg_text_add(t, "[");
	for (size_t i = 0; i < e->n_servers; i++)
		sg_text_addf(t, "%s\"%s\"", i ? "," : "", sg_pk_str(&e->servers[i], pk));
	sg_text_add(t, "]}");
}

static void server_add(struct sg_text *t, const struct sg_disc_entry_full *e)
{
	sg_text_add(t, ",\"server\":{\"address\":");
	text_add(t, e->address);
	sg_text_addf(t, ",\"availableSessions\":%" PRId64, e->available);
	if (e->server_type[0]) {
		sg_text_add(t, ",\"serverType\":");
		text_add(t, e->server_type);
	}
	sg_text_add(t, "}");
}

int sg_disc_entry_encode(const struct sg_disc_entry_full *e, bool with_sig, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);
	char pk[SG_PK_TEXT], sig[2 * SG_SIG_LEN + 1];

	sg_text_add(&t, "{\"version\":");
	text_add(&t, e->version);
	sg_text_addf(&t, ",\"sequence\":%" PRIu64 ",\"timestamp\":%" PRId64 ",\"static\":\"%s\"", e->sequence,
		e->timestamp, sg_pk_str(&e->pk, pk));
	if (e->is_client)
		client_add(&t, e);
	if (e->client_type[0]) {
		sg_text_add(&t, ",\"client_type\":");
		text_add(&t, e->client_type);
	}
	if (e->is_server)
		server_add(&t, e);
	if (with_sig && e->has_sig)
		sg_text_addf(&t, ",\"signature\":\"%s\"", sg_hex_format(e->sig.b, SG_SIG_LEN, sig, sizeof(sig)));
	sg_text_add(&t, "}");
	return t.err ? SG_ELONG : (int)t.len;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static int int_get(const json_t *obj, const char *name, int64_t *out)
{
	const json_t *v = sg_json_get(obj, name);

	*out = 0;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v))
		return SG_EMALF;
	*out = json_integer_value(v);
	return 0;
}

static int pk_get(const struct sg_crypto *c, const json_t *v, struct sg_pk *out)
{
	if (!json_is_string(v))
		return SG_EMALF;
	return sg_pk_parse_json(c, json_string_value(v), json_string_length(v), out);
}

static int client_get(const struct sg_crypto *c, const json_t *obj, struct sg_disc_entry_full *e)
{
	const json_t *list;
	int err = sg_json_get_array(obj, "delegated_servers", &list);

	e->is_client = true;
	e->servers_null = list == NULL;
	if (json_array_size(list) > SG_ENTRY_SERVERS_MAX)
		return SG_ELONG;
	for (size_t i = 0; err == 0 && i < json_array_size(list); i++)
		err = pk_get(c, json_array_get(list, i), &e->servers[e->n_servers++]);
	return err;
}

static int server_get(const json_t *obj, struct sg_disc_entry_full *e)
{
	int err = sg_json_get_string(obj, "address", e->address, sizeof(e->address));

	e->is_server = true;
	if (err == 0)
		err = int_get(obj, "availableSessions", &e->available);
	return err < 0 ? err : sg_json_get_string(obj, "serverType", e->server_type, sizeof(e->server_type));
}

static int sig_get(const json_t *obj, struct sg_disc_entry_full *e)
{
	struct sg_view v;
	int err = sg_json_get_text(obj, "signature", &v);

	if (err < 0 || v.len == 0)
		return err;
	e->has_sig = true;
	return sg_hex_parse((const char *)v.p, v.len, e->sig.b, SG_SIG_LEN);
}

int sg_disc_entry_decode(const struct sg_crypto *c, const json_t *obj, struct sg_disc_entry_full *out)
{
	const json_t *client = sg_json_get(obj, "client"), *server = sg_json_get(obj, "server");
	const json_t *pk = sg_json_get(obj, "static");
	int err;

	memset(out, 0, sizeof(*out));
	if (!json_is_object(obj))
		return SG_EMALF;
	err = sg_json_get_string(obj, "version", out->version, sizeof(out->version));
	if (err == 0)
		err = sg_json_get_uint(obj, "sequence", UINT64_MAX, &out->sequence);
	if (err == 0)
		err = int_get(obj, "timestamp", &out->timestamp);
	if (err == 0 && pk && !json_is_null(pk))
		err = pk_get(c, pk, &out->pk);
	if (err == 0 && json_is_object(client))
		err = client_get(c, client, out);
	if (err == 0)
		err = sg_json_get_string(obj, "client_type", out->client_type, sizeof(out->client_type));
	if (err == 0 && json_is_object(server))
		err = server_get(server, out);
	return err < 0 ? err : sig_get(obj, out);
}

/* ---- signatures ---------------------------------------------------------------------------------------------------- */

int sg_disc_entry_sign(const struct sg_crypto *c, const struct sg_sk *sk, struct sg_disc_entry_full *e)
{
	char text[SG_ENTRY_JSON_MAX];
	int len = sg_disc_entry_encode(e, false, text, sizeof(text));
	int err = len < 0 ? len : sg_sign(c, sk, (struct sg_view){(const uint8_t *)text, (size_t)len}, NULL, &e->sig);

	e->has_sig = err == 0;
	return err;
}

/* The received text without its signature and one comma beside it. */
static int verify_text(const struct sg_crypto *c, const struct sg_disc_entry_full *e, struct sg_view text)
{
	static const char member[] = "\"signature\":\"";
	const size_t whole = sizeof(member) - 1 + 2 * SG_SIG_LEN + 1;
	char rest[SG_ENTRY_JSON_MAX];
	const uint8_t *at = text.len ? memmem(text.p, text.len, member, sizeof(member) - 1) : NULL;
	size_t before, after;

	if (!at || text.len >= sizeof(rest) || (size_t)(text.p + text.len - at) < whole)
		return SG_ESIG;
	before = (size_t)(at - text.p);
	after = before + whole;
	if (before && text.p[before - 1] == ',')
		before--;
	else if (after < text.len && text.p[after] == ',')
		after++;
	memcpy(rest, text.p, before);
	memcpy(rest + before, text.p + after, text.len - after);
	return sg_verify(c, &e->pk, (struct sg_view){(const uint8_t *)rest, before + text.len - after}, &e->sig);
}

int sg_disc_entry_verify(const struct sg_crypto *c, const struct sg_disc_entry_full *e, struct sg_view text)
{
	char own[SG_ENTRY_JSON_MAX];
	int len = sg_disc_entry_encode(e, false, own, sizeof(own));

	if (!e->has_sig)
		return SG_ESIG;
	if (len >= 0 && sg_verify(c, &e->pk, (struct sg_view){(const uint8_t *)own, (size_t)len}, &e->sig) == 0)
		return 0;
	return verify_text(c, e, text) == 0 ? 0 : SG_ESIG;
}
