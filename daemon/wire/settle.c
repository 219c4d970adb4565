/*
 * Entries and settlement. The signature covers id, edges and type only; label and our mark are outside of it. A signature
 * sits in the slot of its edge; where both edges are one key, only slot 0 is ever used.
 */
#include "wire/settle.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "wire/json.h"
#include "wire/tpid.h"

#define TYPE_LEN_MAX (sizeof(((struct sg_entry *)0)->type) - 1)
_Static_assert(SG_ENTRY_BINARY_MAX == SG_TPID_LEN + 2 * SG_PK_LEN + TYPE_LEN_MAX, "the type's room");

int sg_entry_make(const struct sg_pk *a, const struct sg_pk *b, const char *type, struct sg_entry *out)
{
	struct sg_entry e = {.label = "user"};

	if (strlen(type) > TYPE_LEN_MAX)
		return SG_ELONG;
	snprintf(e.type, sizeof(e.type), "%s", type);
	sg_edges_sort(a, b, e.edges);
	sg_tpid_make(a, b, type, &e.id);
	*out = e;
	return 0;
}

size_t sg_entry_binary(const struct sg_entry *e, uint8_t out[SG_ENTRY_BINARY_MAX])
{
	size_t type_len = strlen(e->type);

	memcpy(out, e->id.b, SG_TPID_LEN);
	memcpy(out + SG_TPID_LEN, e->edges[0].b, SG_PK_LEN);
	memcpy(out + SG_TPID_LEN + SG_PK_LEN, e->edges[1].b, SG_PK_LEN);
	memcpy(out + SG_TPID_LEN + 2 * SG_PK_LEN, e->type, type_len);
	return SG_TPID_LEN + 2 * SG_PK_LEN + type_len;
}

/* The slot of @pk, or SG_EKEY when it is no edge. */
static int slot_of(const struct sg_entry *e, const struct sg_pk *pk)
{
	if (sg_pk_equal(&e->edges[0], pk))
		return 0;
	return sg_pk_equal(&e->edges[1], pk) ? 1 : SG_EKEY;
}

int sg_entry_sign(const struct sg_crypto *c, const struct sg_sk *sk, const uint8_t *k, struct sg_signed_entry *e)
{
	uint8_t bytes[SG_ENTRY_BINARY_MAX];
	struct sg_view payload = {bytes, sg_entry_binary(&e->entry, bytes)};
	struct sg_pk pk;
	int slot, ret = sg_pk_of(c, sk, &pk);

	if (ret < 0)
		return ret;
	slot = slot_of(&e->entry, &pk);
	return slot < 0 ? slot : sg_sign(c, sk, payload, k, &e->sigs[slot]);
}

int sg_entry_verify(const struct sg_crypto *c, const struct sg_signed_entry *e, const struct sg_pk *pk)
{
	uint8_t bytes[SG_ENTRY_BINARY_MAX];
	struct sg_view payload = {bytes, sg_entry_binary(&e->entry, bytes)};
	int slot = slot_of(&e->entry, pk);

	return slot < 0 ? slot : sg_verify(c, pk, payload, &e->sigs[slot]);
}

static void entry_add(struct sg_text *t, const struct sg_entry *e)
{
	char id[SG_TPID_TEXT], edge[2][SG_PK_TEXT];

	sg_text_addf(t, "{\"t_id\":\"%s\",\"edges\":[\"%s\",\"%s\"],\"type\":", sg_tpid_str(&e->id, id),
		sg_pk_str(&e->edges[0], edge[0]), sg_pk_str(&e->edges[1], edge[1]));
	sg_json_text_add(t, e->type);
	sg_text_add(t, ",\"label\":");
	sg_json_text_add(t, e->label);
	sg_text_add(t, "}");
}

int sg_entry_encode(const struct sg_entry *e, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);

	entry_add(&t, e);
	return t.err ? SG_ELONG : (int)t.len;
}

int sg_settle_encode(const struct sg_signed_entry *e, bool line, char *out, size_t cap)
{
	char sig[2][2 * SG_SIG_LEN + 1];
	struct sg_text t = sg_text(out, cap);

	for (int i = 0; i < 2; i++)
		sg_hex_format(e->sigs[i].b, SG_SIG_LEN, sig[i], sizeof(sig[i]));
	sg_text_add(&t, "{\"entry\":");
	entry_add(&t, &e->entry);
	sg_text_addf(&t, ",\"signatures\":[\"%s\",\"%s\"]", sig[0], sig[1]);
	if (line && e->marked)
		sg_text_add(&t, ",\"skygate\":1");
	sg_text_add(&t, line ? "}\n" : "}");
	return t.err ? SG_ELONG : (int)t.len;
}

/* Up to two strings of an array; a missing one, or null, stays as it is. */
static int pair_decode(const json_t *obj, const char *name, struct sg_view out[2])
{
	const json_t *list;

	if (sg_json_get_array(obj, name, &list) < 0)
		return SG_EMALF;
	for (size_t i = 0; list && i < SG_MIN(json_array_size(list), (size_t)2); i++) {
		const json_t *v = json_array_get(list, i);

		if (json_is_null(v))
			continue;
		if (!json_is_string(v))
			return SG_EMALF;
		out[i] = (struct sg_view){(const uint8_t *)json_string_value(v), json_string_length(v)};
	}
	return 0;
}

static int entry_read(const struct sg_crypto *c, const json_t *obj, struct sg_entry *e)
{
	struct sg_view id, type, label, edges[2] = {{0}};

	if (!json_is_object(obj) || sg_json_get_text(obj, "t_id", &id) < 0 || pair_decode(obj, "edges", edges) < 0 ||
		sg_json_get_text(obj, "type", &type) < 0 || sg_json_get_text(obj, "label", &label) < 0)
		return SG_EMALF;
	if (id.len && sg_tpid_parse((const char *)id.p, id.len, &e->id) < 0)
		return SG_EMALF;
	if (type.len > TYPE_LEN_MAX)
		return SG_EMALF;
	for (int i = 0; i < 2; i++) {
		if (sg_pk_parse_json(c, (const char *)edges[i].p, edges[i].len, &e->edges[i]) < 0)
			return SG_EKEY;
	}
	snprintf(e->type, sizeof(e->type), "%s", (const char *)type.p);
	snprintf(e->label, sizeof(e->label), "%s", (const char *)label.p); /* not signed; cut when longer */
	return 0;
}

static int signed_entry_read(const struct sg_crypto *c, const json_t *root, struct sg_signed_entry *out)
{
	const json_t *mark = sg_json_get(root, "skygate");
	struct sg_view sigs[2] = {{0}};
	int ret = entry_read(c, sg_json_get(root, "entry"), &out->entry);

	if (ret < 0)
		return ret;
	if (pair_decode(root, "signatures", sigs) < 0)
		return SG_EMALF;
	for (int i = 0; i < 2; i++) {
		if (sigs[i].len && sg_hex_parse((const char *)sigs[i].p, sigs[i].len, out->sigs[i].b, SG_SIG_LEN) < 0)
			return SG_EMALF;
	}
	out->marked = json_is_integer(mark) && json_integer_value(mark) >= 1;
	return 0;
}

int sg_settle_decode(const struct sg_crypto *c, struct sg_view in, struct sg_signed_entry *out)
{
	json_t *root = NULL;
	int used = sg_json_object(in, SG_SETTLE_LINE_MAX, &root);

	memset(out, 0, sizeof(*out));
	if (used > 0) {
		int ret = signed_entry_read(c, root, out);

		if (ret < 0)
			used = ret;
	}
	json_decref(root);
	return used;
}

int sg_settle_check(const struct sg_crypto *c, const struct sg_signed_entry *e, const struct sg_pk *own,
	const struct sg_pk *remote, const char *type)
{
	struct sg_entry want;

	if (sg_entry_make(own, remote, type, &want) < 0 || strcmp(e->entry.type, type) != 0 ||
		!sg_tpid_equal(&e->entry.id, &want.id) || !sg_pk_equal(&e->entry.edges[0], &want.edges[0]) ||
		!sg_pk_equal(&e->entry.edges[1], &want.edges[1]))
		return SG_EMALF;
	return sg_entry_verify(c, e, remote) < 0 ? SG_ESIG : 0;
}

/* Ids can be computed, so an entry that lies about its own is told from one that does not. */
static bool entry_fits(const struct sg_entry *e)
{
	struct sg_entry want;

	return sg_entry_make(&e->edges[0], &e->edges[1], e->type, &want) == 0 && sg_tpid_equal(&e->id, &want.id) &&
	       sg_pk_equal(&e->edges[0], &want.edges[0]) && !sg_pk_is_null(&e->edges[0]);
}

int sg_entry_list_decode(const struct sg_crypto *c, struct sg_view in, struct sg_entry *out, size_t max)
{
	json_t *root = in.len ? sg_json_parse_peer(in) : NULL;
	const json_t *i;
	size_t at, n = 0;
	int ret = json_is_array(root) || json_is_null(root) ? 0 : SG_EMALF;

	json_array_foreach(root, at, i)
	{
		if (n == max)
			break;
		memset(&out[n], 0, sizeof(out[n]));
		if (entry_read(c, i, &out[n]) == 0 && entry_fits(&out[n]))
			n++;
	}
	json_decref(root);
	return ret < 0 ? ret : (int)n;
}
