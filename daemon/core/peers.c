/* Whom the links keep connected: the peers of the configuration and those that transport.add brought. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "core/core.h"

#define EXTRA_MAX 256

struct peer_extra {
	struct sg_list node;
	struct sg_pk pk;
	char name[24];
	const char *address; /* behind this struct, or NULL */
	char text[];
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
		addresses++;
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
		p->n_addresses = e->address ? 1 : 0;
		if (e->address)
			*address++ = e->address;
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

static struct peer_extra *find_extra(const struct core *core, const struct sg_pk *pk, size_t *n)
{
	struct peer_extra *found = NULL;

	*n = 0;
	sg_list_for (it, &core->extra) {
		struct peer_extra *e = sg_container_of(it, struct peer_extra, node);

		++*n;
		if (sg_pk_equal(&e->pk, pk))
			found = e;
	}
	return found;
}

void peers_each_added(const struct core *core, void (*fn)(void *arg, const struct sg_pk *pk), void *arg)
{
	sg_list_for (it, &core->extra)
		fn(arg, &sg_container_of(it, struct peer_extra, node)->pk);
}

int peers_add(struct core *core, const struct sg_pk *pk, const char *address)
{
	size_t n, len = address ? strlen(address) + 1 : 0;
	char hex[SG_PK_TEXT];
	struct peer_extra *e;
	int err;

	if (find_extra(core, pk, &n) || peers_configured(core, pk))
		return SG_EDUP;
	if (n >= EXTRA_MAX)
		return SG_EFULL;
	e = sg_calloc(1, sizeof(*e) + len);
	if (!e)
		return -ENOMEM;
	e->pk = *pk;
	/* Names of sections hold no '-': these cannot meet one. */
	snprintf(e->name, sizeof(e->name), "added-%.8s", sg_pk_str(pk, hex));
	if (address) {
		memcpy(e->text, address, len);
		e->address = e->text;
	}
	sg_list_add_tail(&core->extra, &e->node);
	err = peers_apply(core, core->conf);
	if (err < 0) {
		sg_list_remove(&e->node);
		sg_free(e);
	}
	return err;
}

int peers_remove(struct core *core, const struct sg_pk *pk)
{
	size_t n;
	struct peer_extra *e = find_extra(core, pk, &n);
	int err;

	if (!e)
		return -ENOENT;
	sg_list_remove(&e->node);
	err = peers_apply(core, core->conf);
	if (err < 0) {
		sg_list_add_tail(&core->extra, &e->node);
		return err;
	}
	sg_free(e);
	return 0;
}

void peers_free(struct core *core)
{
	sg_list_for_safe (it, &core->extra)
		sg_free(sg_container_of(it, struct peer_extra, node));
	sg_list_init(&core->extra);
}
