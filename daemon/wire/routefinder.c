/* The route finder's JSON. */
#include "wire/routefinder.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/text.h"
#include "crypto/keys.h"
#include "wire/json.h"

#define EDGE_TEXT (2 * SG_PK_TEXT)

static char *edge(const struct sg_pk *a, const struct sg_pk *b, char out[EDGE_TEXT])
{
	char x[SG_PK_TEXT], y[SG_PK_TEXT];

	snprintf(out, EDGE_TEXT, "%s:%s", sg_pk_str(a, x), sg_pk_str(b, y));
	return out;
}

int sg_routes_ask(
	const struct sg_pk *src, const struct sg_pk *dst, uint16_t min_hops, uint16_t max_hops, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);
	char forward[EDGE_TEXT], reverse[EDGE_TEXT];

	sg_text_addf(&t, "{\"Edges\":[\"%s\",\"%s\"],\"Opts\":{\"MinHops\":%u,\"MaxHops\":%u}}",
		edge(src, dst, forward), edge(dst, src, reverse), min_hops, max_hops);
	return t.err ? SG_ELONG : (int)t.len;
}

static int hop_key(const struct sg_crypto *c, const json_t *obj, const char *name, struct sg_pk *out)
{
	struct sg_view v;

	if (sg_json_get_text(obj, name, &v) < 0)
		return SG_EMALF;
	return sg_pk_parse(c, (const char *)v.p, v.len, out);
}

/* A path that can be walked. A route to oneself comes back to where it began, and nowhere else. */
static int path_decode(const struct sg_crypto *c, const json_t *list, const struct sg_pk *from, const struct sg_pk *to,
	struct sg_path *out)
{
	const struct sg_pk *at = from;
	const json_t *i;
	size_t k;

	memset(out, 0, sizeof(*out));
	if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > SG_PATH_HOPS_MAX)
		return SG_EMALF;
	json_array_foreach(list, k, i)
	{
		struct sg_hop *h = &out->hops[k];
		struct sg_view id;

		if (!json_is_object(i) || sg_json_get_text(i, "TpID", &id) < 0 ||
			sg_tpid_parse((const char *)id.p, id.len, &h->tp) < 0 || hop_key(c, i, "From", &h->from) < 0 ||
			hop_key(c, i, "To", &h->to) < 0 || !sg_pk_equal(at, &h->from))
			return SG_EMALF;
		for (size_t j = 0; j <= k; j++) {
			bool home = j == 0 && k + 1 == json_array_size(list) && k > 0 && sg_pk_equal(from, to);

			if (sg_pk_equal(&out->hops[j].from, &h->to) && !home)
				return SG_EMALF;
		}
		at = &h->to;
	}
	out->n = json_array_size(list);
	return sg_pk_equal(at, to) ? 0 : SG_EMALF;
}

static size_t paths_decode(const struct sg_crypto *c, const json_t *list, const struct sg_pk *from,
	const struct sg_pk *to, struct sg_path out[SG_PATHS_MAX])
{
	const json_t *i;
	size_t n = 0, at;

	json_array_foreach(list, at, i)
	{
		if (n < SG_PATHS_MAX && path_decode(c, i, from, to, &out[n]) == 0)
			n++;
	}
	return n;
}

int sg_routes_answer(const struct sg_crypto *c, struct sg_view body, const struct sg_pk *src, const struct sg_pk *dst,
	struct sg_paths *out)
{
	json_t *root = body.len ? sg_json_parse_peer(body) : NULL;
	char text[EDGE_TEXT];

	memset(out, 0, sizeof(*out));
	if (!json_is_object(root)) {
		json_decref(root);
		return SG_EMALF;
	}
	out->n_forward = paths_decode(c, json_object_get(root, edge(src, dst, text)), src, dst, out->forward);
	out->n_reverse = paths_decode(c, json_object_get(root, edge(dst, src, text)), dst, src, out->reverse);
	json_decref(root);
	return 0;
}
