/* Keys may be shortened to any beginning that fits one only, of what is known here. */
#include "base/common.h"
#include "base/hex.h"
#include "core/core.h"
#include "wire/jsonrpc.h"

struct match {
	const char *prefix;
	size_t len, n;
	struct sg_pk pk;
	char carrier[CORE_CARRIER_MAX]; /* of the transport whose id it is */
};

static void match_key(struct match *m, const struct sg_pk *pk)
{
	char hex[SG_PK_TEXT];

	if (strncasecmp(sg_pk_str(pk, hex), m->prefix, m->len) != 0 || (m->n && sg_pk_equal(&m->pk, pk)))
		return;
	m->pk = *pk;
	m->n++;
}

static bool match_link(void *arg, const struct sg_link_info *i)
{
	struct match *m = arg;
	char id[SG_TPID_TEXT];

	match_key(m, &i->remote);
	if (strncasecmp(sg_tpid_str(&i->id, id), m->prefix, m->len) == 0) {
		m->pk = i->remote;
		snprintf(m->carrier, sizeof(m->carrier), "%s", i->carrier);
		m->n++;
	}
	return true;
}

static void match_extra(void *arg, const struct sg_pk *pk)
{
	match_key(arg, pk);
}

static bool match_remote(void *arg, const struct sg_link_info *i)
{
	match_key(arg, &i->remote);
	return true;
}

/* Peers, and whatever else of the configuration names a visor by its key. */
static void match_section(struct core *core, struct match *m, const struct sg_uci_section *s)
{
	struct sg_pk pk;

	sg_list_for (it, &s->options) {
		sg_list_for (at, &sg_container_of(it, struct sg_uci_option, node)->values) {
			const char *hex = sg_container_of(at, struct sg_uci_value, node)->text;

			if (sg_pk_parse(core->crypto, hex, strlen(hex), &pk) == 0)
				match_key(m, &pk);
		}
	}
}

size_t core_key_find(struct core *core, const char *text, struct sg_pk *out)
{
	struct match m = {.prefix = text, .len = strlen(text)};

	if (sg_pk_parse(core->crypto, text, m.len, out) == 0)
		return 1;
	if (m.len == 0)
		return 0;
	links_each(core->links, match_remote, &m);
	peers_each_added(core, match_extra, &m);
	sg_list_for (it, &core->conf->doc->sections)
		match_section(core, &m, sg_container_of(it, struct sg_uci_section, node));
	net_offers_known(core->net, "vpn", match_extra, &m);
	*out = m.pk;
	return m.n;
}

size_t core_transport_find(struct core *core, const char *text, struct sg_pk *out, char carrier[CORE_CARRIER_MAX])
{
	struct match m = {.prefix = text, .len = strlen(text)};

	carrier[0] = '\0';
	if (m.len) {
		links_each(core->links, match_link, &m);
		peers_each_added(core, match_extra, &m);
	}
	if (m.n == 1) {
		*out = m.pk;
		snprintf(carrier, CORE_CARRIER_MAX, "%s", m.carrier);
	}
	return m.n;
}

bool core_key_read(struct core *core, struct call *call, const char *text, struct sg_pk *out)
{
	size_t n = core_key_find(core, text, out);

	if (n > 1)
		call_fail(call, SG_RPC_PARAMS, "'%.70s' fits %zu keys; give more of it", text, n);
	if (n == 0)
		call_fail(call, SG_RPC_PARAMS,
			"'%.70s' is not a public key\n  accepted: 66 hex digits, or the beginning of a key that is "
			"known here",
			text);
	return n == 1;
}
