/*
 * Whom the links keep connected: the peers of the configuration and those that transport.add brought, until the next start
 * or, kept in the store, until transport.rm.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "core/core.h"

SG_LOG_TOPIC("core");

#define EXTRA_MAX  256
#define KEPT_SPACE "transport/" /* KEY, and behind a slash what was asked for: the value is the address */

/* By what a visor is reached whose key alone is known, in this order. */
static const char *const by_key[] = {"stcpr", "dmsg"};

struct peer_extra {
	struct sg_list node;
	struct sg_pk pk;
	char name[24];
	bool kept;
	char address[]; /* "": whichever way there is */
};

static size_t count_values(const struct sg_uci_option *o)
{
	size_t n = 0;

	if (o) {
		sg_list_for (it, &o->values)
			n++;
	}
	return n;
}

/* Addresses of all peers, as one array that the peers point into. */
struct plan {
	struct sg_peer_conf *peers;
	size_t n;
	const char **addresses;
};

static int plan_new(struct core *core, const struct conf *conf, struct plan *plan)
{
	const struct sg_uci_section *s = NULL;
	size_t peers = 0, addresses = 0;

	while ((s = sg_uci_next(conf->doc, "peer", s))) {
		peers++;
		addresses += count_values(sg_uci_option(s, "address"));
	}
	sg_list_for (it, &core->extra) {
		peers++;
		addresses += SG_ARRAY_LEN(by_key);
	}
	plan->n = 0;
	plan->peers = sg_calloc(peers, sizeof(*plan->peers));
	plan->addresses = sg_calloc(addresses, sizeof(*plan->addresses));
	if (plan->peers && plan->addresses)
		return 0;
	sg_free(plan->peers);
	sg_free(plan->addresses);
	return -ENOMEM;
}

int peers_apply(struct core *core, const struct conf *conf)
{
	const struct sg_uci_section *s = NULL;
	const char **address;
	struct plan plan;
	int err = plan_new(core, conf, &plan);

	if (err < 0)
		return err;
	address = plan.addresses;
	while ((s = sg_uci_next(conf->doc, "peer", s))) {
		const struct sg_uci_option *o = sg_uci_option(s, "address");
		struct sg_peer_conf *p = &plan.peers[plan.n++];
		const char *pk = sg_uci_get(s, "pk", "");

		p->name = s->name;
		p->addresses = address;
		p->n_addresses = count_values(o);
		err = sg_hex_parse(pk, strlen(pk), p->pk.b, sizeof(p->pk.b));
		if (err < 0)
			sg_bug("a key that the check let pass");
		if (o) {
			sg_list_for (it, &o->values)
				*address++ = sg_container_of(it, struct sg_uci_value, node)->text;
		}
	}
	sg_list_for (it, &core->extra) {
		const struct peer_extra *e = sg_container_of(it, struct peer_extra, node);
		struct sg_peer_conf *p = &plan.peers[plan.n++];

		p->name = e->name;
		p->pk = e->pk;
		p->addresses = address;
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): taken for the head of the list */
		p->exact = e->address[0] != '\0';
		for (size_t i = 0; i < SG_ARRAY_LEN(by_key) && !p->exact; i++) {
			if (plugin_of_carrier(conf->plugins, conf->n_plugins, by_key[i]))
				*address++ = by_key[i];
		}
		if (p->exact)
			*address++ = e->address;
		p->n_addresses = (size_t)(address - p->addresses);
	}
	err = links_peers_set(core->links, plan.peers, plan.n);
	sg_free(plan.peers);
	sg_free(plan.addresses);
	return err;
}

const struct sg_uci_section *peers_configured(const struct core *core, const struct sg_pk *pk)
{
	const struct sg_uci_section *s = NULL;

	while ((s = sg_uci_next(core->conf->doc, "peer", s))) {
		const char *text = sg_uci_get(s, "pk", "");
		struct sg_pk other;

		if (sg_hex_parse(text, strlen(text), other.b, sizeof(other.b)) == 0 && sg_pk_equal(pk, &other))
			return s;
	}
	return NULL;
}

/* "stcp" of "stcp://192.0.2.1:7777". */
static size_t carrier_len(const char *address)
{
	return strcspn(address, ":");
}

static bool same_carrier(const char *a, const char *b)
{
	return carrier_len(a) == carrier_len(b) && strncmp(a, b, carrier_len(a)) == 0;
}

bool peers_configured_by(const struct core *core, const struct sg_pk *pk, const char *address)
{
	const struct sg_uci_section *s = peers_configured(core, pk);
	const struct sg_uci_option *o = s ? sg_uci_option(s, "address") : NULL;

	if (!address[0] || !o)
		return s != NULL;
	sg_list_for (it, &o->values) {
		if (same_carrier(sg_container_of(it, struct sg_uci_value, node)->text, address))
			return true;
	}
	return false;
}

/* By the carrier of an address; "" fits any. */
static struct peer_extra *find_extra(const struct core *core, const struct sg_pk *pk, const char *address, size_t *n)
{
	struct peer_extra *found = NULL;

	*n = 0;
	sg_list_for (it, &core->extra) {
		struct peer_extra *e = sg_container_of(it, struct peer_extra, node);

		++*n;
		if (sg_pk_equal(&e->pk, pk) && (!address[0] || same_carrier(e->address, address)))
			found = e;
	}
	return found;
}

void peers_each_added(const struct core *core, void (*fn)(void *arg, const struct sg_pk *pk), void *arg)
{
	sg_list_for (it, &core->extra)
		fn(arg, &sg_container_of(it, struct peer_extra, node)->pk);
}

/* ---- in the store ------------------------------------------------------------------------------------------------- */

static const char *kept_key(const struct peer_extra *e, char buf[SG_STORE_KEY_MAX])
{
	char hex[SG_PK_TEXT];

	snprintf(buf, SG_STORE_KEY_MAX, KEPT_SPACE "%s/%.*s", sg_pk_str(&e->pk, hex), (int)carrier_len(e->address),
		e->address);
	return buf;
}

static void on_written(void *arg, int err)
{
	(void)arg;
	if (err < 0)
		log_warn("a transport could not be written to the store, a restart will not know it: %s",
			sg_strerror(err));
}

static void keep(const struct core *core, const struct peer_extra *e, bool remove)
{
	char key[SG_STORE_KEY_MAX];
	struct sg_store_change change = {
		.key = store_text(kept_key(e, key)), .value = store_text(e->address), .remove = remove};

	if (store_write(&core->keys, &change, 1, SG_STORE_DURABLE, on_written, NULL) < 0)
		log_warn("a transport could not be written to the store");
}

static int extra_add(struct core *core, const struct sg_pk *pk, const char *address, bool kept)
{
	size_t n, len = strlen(address) + 1;
	char hex[SG_PK_TEXT];
	struct peer_extra *e;

	if (find_extra(core, pk, address, &n) || peers_configured_by(core, pk, address))
		return SG_EDUP;
	if (n >= EXTRA_MAX)
		return SG_EFULL;
	e = sg_calloc(1, sizeof(*e) + len);
	if (!e)
		return -ENOMEM;
	e->pk = *pk;
	e->kept = kept;
	/* Names of sections hold no '-': these cannot meet one. */
	snprintf(e->name, sizeof(e->name), "added-%.8s", sg_pk_str(pk, hex));
	memcpy(e->address, address, len);
	sg_list_add_tail(&core->extra, &e->node);
	return 0;
}

/* One that was kept: its key in the store names the visor, its value the address. */
static void take_kept(struct core *core, const struct sg_store_pair *pair)
{
	const size_t skip = strlen(KEPT_SPACE);
	char address[300];
	struct sg_pk pk;

	if (pair->key.len < skip + 2 * SG_PK_LEN || pair->value.len >= sizeof(address) ||
		sg_pk_parse(core->crypto, (const char *)pair->key.p + skip, 2 * SG_PK_LEN, &pk) < 0)
		return;
	memcpy(address, pair->value.p, pair->value.len);
	address[pair->value.len] = '\0';
	if ((address[0] && links_address_ok(address) < 0) || sg_pk_equal(&pk, &core->pk))
		return;
	(void)extra_add(core, &pk, address, true); /* the configuration may name it as well by now */
}

static void on_kept(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more)
{
	struct core *core = arg;

	(void)more; /* as many as may be added fit one answer */
	if (err < 0) {
		log_warn("the transports that were to be kept cannot be read: %s", sg_strerror(err));
		return;
	}
	for (size_t i = 0; i < n; i++)
		take_kept(core, &pairs[i]);
	if (n && peers_apply(core, core->conf) < 0)
		log_warn("the transports that were to be kept are not dialled: memory is out");
}

void peers_start(struct core *core)
{
	if (store_scan(&core->keys, store_text(KEPT_SPACE), store_text(""), SG_STORE_PAGE_MAX, on_kept, core) < 0)
		log_warn("the transports that were to be kept cannot be read");
}

/* ---- at run time -------------------------------------------------------------------------------------------------- */

int peers_add(struct core *core, const struct sg_pk *pk, const char *address, bool kept)
{
	int err = extra_add(core, pk, address, kept);
	struct peer_extra *e;

	if (err < 0)
		return err;
	e = sg_container_of(core->extra.prev, struct peer_extra, node);
	err = peers_apply(core, core->conf);
	if (err < 0) {
		sg_list_remove(&e->node);
		sg_free(e);
	} else if (kept) {
		keep(core, e, false);
	}
	return err;
}

int peers_remove(struct core *core, const struct sg_pk *pk, const char *carrier)
{
	struct sg_list gone;
	int err;

	sg_list_init(&gone);
	sg_list_for_safe (it, &core->extra) {
		struct peer_extra *e = sg_container_of(it, struct peer_extra, node);

		if (!sg_pk_equal(&e->pk, pk) || (carrier[0] && e->address[0] && !same_carrier(e->address, carrier)))
			continue;
		sg_list_remove(it);
		sg_list_add_tail(&gone, it);
	}
	if (sg_list_empty(&gone))
		return -ENOENT;
	err = peers_apply(core, core->conf);
	while (!sg_list_empty(&gone)) {
		struct peer_extra *e = sg_container_of(gone.next, struct peer_extra, node);

		sg_list_remove(&e->node);
		if (err < 0) {
			sg_list_add_tail(&core->extra, &e->node);
			continue;
		}
		if (e->kept)
			keep(core, e, true);
		sg_free(e);
	}
	return err;
}

void peers_free(struct core *core)
{
	sg_list_for_safe (it, &core->extra)
		sg_free(sg_container_of(it, struct peer_extra, node));
	sg_list_init(&core->extra);
}
