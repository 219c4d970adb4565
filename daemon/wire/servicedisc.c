/* The service discovery's JSON. */
#include "wire/servicedisc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "crypto/keys.h"
#include "wire/json.h"

int sg_offer_encode(const struct sg_offer *o, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);
	char pk[SG_PK_TEXT];

	/* Unknown members are refused there, so there are no others. */
	sg_text_addf(&t, "{\"address\":\"%s:%u\",\"type\":", sg_pk_str(&o->pk, pk), o->port);
	sg_json_text_add(&t, o->type);
	if (o->version[0]) {
		sg_text_add(&t, ",\"version\":");
		sg_json_text_add(&t, o->version);
	}
	for (size_t i = 0; i < o->n_ips; i++) {
		sg_text_add(&t, i ? "," : ",\"local_ips\":[");
		sg_json_text_add(&t, o->ips[i]);
	}
	sg_text_add(&t, o->n_ips ? "]}" : "}");
	return t.err ? SG_ELONG : (int)t.len;
}

/* For people: plain text that fits, or nothing. */
static void plain(const json_t *obj, const char *name, char *out, size_t cap)
{
	struct sg_view v;

	out[0] = '\0';
	if (!json_is_object(obj) || sg_json_get_text(obj, name, &v) < 0 || v.len >= cap)
		return;
	for (size_t i = 0; i < v.len; i++) {
		if (v.p[i] < 0x20 || v.p[i] >= 0x7f)
			return;
	}
	memcpy(out, v.p, v.len);
	out[v.len] = '\0';
}

static int address(const struct sg_crypto *c, const json_t *obj, struct sg_offer *o)
{
	struct sg_view v;
	char port[8];
	uint64_t n;

	if (sg_json_get_text(obj, "address", &v) < 0 || v.len < 2 * SG_PK_LEN + 2 || v.p[2 * SG_PK_LEN] != ':' ||
		v.len - 2 * SG_PK_LEN - 1 >= sizeof(port))
		return SG_EMALF;
	memcpy(port, v.p + 2 * SG_PK_LEN + 1, v.len - 2 * SG_PK_LEN - 1);
	port[v.len - 2 * SG_PK_LEN - 1] = '\0';
	if (sg_pk_parse(c, (const char *)v.p, 2 * SG_PK_LEN, &o->pk) < 0 || sg_parse_u64(port, UINT16_MAX, &n) < 0)
		return SG_EMALF;
	o->port = (uint16_t)n;
	return 0;
}

static int offer_decode(const struct sg_crypto *c, const json_t *obj, struct sg_offer *o)
{
	const json_t *ips, *i;
	size_t at;

	memset(o, 0, sizeof(*o));
	if (!json_is_object(obj) || address(c, obj, o) < 0)
		return SG_EMALF;
	plain(obj, "type", o->type, sizeof(o->type));
	plain(obj, "version", o->version, sizeof(o->version));
	plain(sg_json_get(obj, "geo"), "country", o->country, sizeof(o->country));
	plain(sg_json_get(obj, "geo"), "region", o->region, sizeof(o->region));
	if (sg_json_get_array(obj, "local_ips", &ips) < 0)
		return 0;
	json_array_foreach(ips, at, i)
	{
		const char *s = json_string_value(i);

		if (s && strlen(s) < SG_IP_TEXT && strspn(s, "0123456789abcdefABCDEF.:") == strlen(s) &&
			o->n_ips < SG_ARRAY_LEN(o->ips))
			snprintf(o->ips[o->n_ips++], SG_IP_TEXT, "%s", s);
	}
	return 0;
}

int sg_offer_list_decode(const struct sg_crypto *c, struct sg_view in, struct sg_offer *out, size_t max)
{
	json_t *root = in.len ? sg_json_parse_peer(in) : NULL;
	int ret = json_is_array(root) || json_is_null(root) ? 0 : SG_EMALF;
	const json_t *i;
	size_t at, n = 0;

	json_array_foreach(root, at, i)
	{
		if (n == max)
			break;
		if (offer_decode(c, i, &out[n]) == 0)
			n++;
	}
	json_decref(root);
	return ret < 0 ? ret : (int)n;
}
