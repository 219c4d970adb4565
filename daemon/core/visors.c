/*
 * Public visors: those that we connect to without being asked to, so that routes have somewhere to go, and ourselves as one
 * of them. The service discovery lists them; they are reached by stcpr and by nothing else.
 *
 *	too few → ask for some → want a link to each that is not linked yet → look again, later and later while nothing helps
 */
#include "base/alloc.h"
#include "base/common.h"
#include "core/core.h"

#include <errno.h>

SG_LOG_TOPIC("core");

#define CARRIER      "stcpr"
#define LOOK_MS      60000 /* whether there are enough */
#define RETRY_MIN_MS 10000
#define RETRY_MAX_MS 600000
#define TRIED_MAX    32
#define OFFERS_MAX   64
#define TRIES        2 /* of one key, until others were tried (spec) */

/* Whom we tried. */
struct tried {
	struct visors *v;
	struct sg_pk pk;
	unsigned failed;
	bool asking;
};

struct visors {
	struct core *core;
	struct sg_timer timer;
	struct net_offers_query *query;
	int64_t pause_ms;
	uint64_t network; /* what the configuration says of it */
	struct tried tried[TRIED_MAX];
	size_t at; /* the next to be forgotten */
};

/* ---- enough? ------------------------------------------------------------------------------------------------------ */

struct count {
	unsigned links;
};

static bool count_link(void *arg, const struct sg_link_info *i)
{
	struct count *c = arg;

	c->links += strcmp(i->label, "automatic") == 0 && strcmp(i->carrier, CARRIER) == 0;
	return true;
}

/* How many more may be made now. */
static unsigned missing(const struct visors *v)
{
	unsigned wanted = (unsigned)sg_uci_uint(v->core->conf->visor, "automatic_transports", 3);
	struct count c = {0};

	links_each(v->core->links, count_link, &c);
	for (size_t i = 0; i < TRIED_MAX; i++)
		c.links += v->tried[i].asking;
	return c.links < wanted ? wanted - c.links : 0;
}

static void look_in(struct visors *v, int64_t ms)
{
	if (sg_timer_start(&v->timer, ms) < 0)
		log_warn("no automatic transports any more: memory is out");
}

static void look_later(struct visors *v)
{
	look_in(v, v->pause_ms);
	v->pause_ms = SG_MIN(2 * v->pause_ms, (int64_t)RETRY_MAX_MS);
}

/* ---- one of them -------------------------------------------------------------------------------------------------- */

static void on_wanted(void *arg, int err, const char *why)
{
	struct tried *t = arg;
	char pk[SG_PK_SHORT];

	t->asking = false;
	if (err < 0) {
		t->failed++;
		log_debug("public visor %s: %s", sg_pk_short(&t->pk, pk), why);
	} else {
		t->failed = 0;
		t->v->pause_ms = RETRY_MIN_MS;
	}
}

static struct tried *tried_of(struct visors *v, const struct sg_pk *pk)
{
	for (size_t i = 0; i < TRIED_MAX; i++) {
		if (sg_pk_equal(&v->tried[i].pk, pk))
			return &v->tried[i];
	}
	for (size_t i = 0; i < TRIED_MAX; i++) {
		struct tried *t = &v->tried[v->at++ % TRIED_MAX];

		if (t->asking)
			continue;
		*t = (struct tried){.v = v, .pk = *pk};
		return t;
	}
	return NULL;
}

/* Whether a link to it is asked for now. */
static bool try_one(struct visors *v, const struct sg_pk *pk)
{
	struct tried *t;

	if (sg_pk_equal(pk, &v->core->pk) || links_find(v->core->links, pk) || peers_configured(v->core, pk))
		return false;
	t = tried_of(v, pk);
	if (!t || t->asking || t->failed >= TRIES)
		return false;
	t->asking = true;
	if (links_want_by(v->core->links, pk, CARRIER, on_wanted, t) < 0)
		t->asking = false;
	return t->asking;
}

static void on_offers(void *arg, int err, const struct sg_offer *offers, size_t n, const char *why)
{
	struct visors *v = arg;
	unsigned left = missing(v);

	v->query = NULL;
	if (err < 0)
		log_debug("no automatic transports: %s", why);
	for (size_t i = 0; i < n && left; i++)
		left -= try_one(v, &offers[i].pk);
	look_later(v);
}

static void on_look(void *arg)
{
	struct visors *v = arg;
	struct net_offers_ask ask = {.type = "visor", .version = "", .country = "", .quantity = missing(v)};

	if (!ask.quantity) {
		v->pause_ms = RETRY_MIN_MS;
		look_in(v, LOOK_MS);
		return;
	}
	ask.quantity *= 2;     /* some of them are linked already, or away */
	ask.most = OFFERS_MAX; /* of a service that does not count */
	if (v->query || net_offers(v->core->net, &ask, on_offers, v, &v->query) < 0)
		look_later(v);
}

/* ---- ourselves ---------------------------------------------------------------------------------------------------- */

static void offer(struct core *core)
{
	const struct sg_uci_section *s = sg_uci_find(core->conf->doc, "carrier", CARRIER);
	const struct sg_uci_option *o = s ? sg_uci_option(s, "listen") : NULL;
	struct sg_addr addr;
	uint16_t port = 0;

	if (o && sg_uci_bool(s, "public", false) &&
		sg_addr_parse(sg_container_of(o->values.next, struct sg_uci_value, node)->text, &addr) == 0)
		port = sg_addr_port(&addr);
	(void)net_offer(core->net, "visor", port);
}

/* ---- another network ----------------------------------------------------------------------------------------------- */

/* By what others are found, and so whom we are linked with unasked. */
static uint64_t network(const struct sg_uci_section *s)
{
	static const char *const options[] = {"source", "part", "dmsg_discovery", "address_resolver",
		"transport_discovery", "service_discovery", NULL};

	return sg_uci_digest(s, options);
}

struct found {
	bool any;
	struct sg_pk pk;
	char carrier[16];
};

static bool find_automatic(void *arg, const struct sg_link_info *i)
{
	struct found *f = arg;

	f->any = i->dialled && strcmp(i->label, "automatic") == 0;
	f->pk = i->remote;
	snprintf(f->carrier, sizeof(f->carrier), "%s", i->carrier);
	return !f->any;
}

/* Nobody of the old network hears of us any more but who is named in the configuration, or calls. */
static void leave(struct visors *v)
{
	struct found f = {0};

	if (v->query)
		net_offers_cancel(v->query);
	v->query = NULL;
	for (size_t i = 0; i < TRIED_MAX; i++)
		links_want_cancel(v->core->links, &v->tried[i]);
	memset(v->tried, 0, sizeof(v->tried));
	do {
		f.any = false;
		links_each(v->core->links, find_automatic, &f);
	} while (f.any && links_close(v->core->links, &f.pk, f.carrier, "another network was configured"));
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

int visors_new(struct core *core, struct visors **out)
{
	struct visors *v = sg_calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->core = core;
	sg_timer_init(&v->timer, core->loop, on_look, v);
	v->network = network(sg_uci_next(core->conf->doc, "deployment", NULL));
	*out = v;
	visors_configure(v);
	return 0;
}

void visors_configure(struct visors *v)
{
	const struct sg_uci_section *s;

	if (!v)
		return;
	s = sg_uci_next(v->core->conf->doc, "deployment", NULL);
	if (network(s) != v->network)
		leave(v);
	v->network = network(s);
	offer(v->core);
	sg_timer_stop(&v->timer);
	v->pause_ms = RETRY_MIN_MS;
	if (s && (sg_uci_get(s, "service_discovery", "")[0] || sg_uci_get(s, "source", "")[0]) &&
		plugin_of_carrier(v->core->conf->plugins, v->core->conf->n_plugins, CARRIER))
		look_in(v, RETRY_MIN_MS / 10); /* peers of the configuration come first */
}

void visors_free(struct visors *v)
{
	if (!v)
		return;
	sg_timer_stop(&v->timer);
	if (v->query)
		net_offers_cancel(v->query);
	for (size_t i = 0; i < TRIED_MAX; i++)
		links_want_cancel(v->core->links, &v->tried[i]);
	sg_free(v);
}
