/* The dmsg discovery: entries of others, and the list of servers. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/text.h"
#include "net/internal.h"
#include "wire/entry.h"
#include "wire/url.h"

#define LIST_MAX (256 * 1024) /* bytes of an answer (own) */

struct query {
	struct sg_list node;
	struct sg_net *n;
	const void *owner;
	bool list; /* of servers; else one entry */
	struct sg_pk pk;
	struct sg_defer local; /* answered from the configuration, in the next round */
	struct http_call *call;
	char name[CACHE_NAME]; /* of the last answer */
	sg_disc_fn *fn;
	void *arg;
};

/* ---- configuration -------------------------------------------------------------------------------------------------- */

int disc_server_parse(const struct sg_crypto *c, const char *text, struct sg_disc_entry *out)
{
	const char *at = strchr(text, '@');
	struct sg_url url;
	char tcp[80];

	memset(out, 0, sizeof(*out));
	if (!at || sg_pk_parse(c, text, (size_t)(at - text), &out->pk) < 0 || strlen(at + 1) >= sizeof(out->address))
		return SG_EMALF;
	snprintf(tcp, sizeof(tcp), "tcp://%s", at + 1);
	if (at[1] != '[' && (sg_url_split(tcp, &url) < 0 || !url.port_given))
		return SG_EMALF;
	out->is_server = true;
	snprintf(out->address, sizeof(out->address), "%s", at + 1);
	return 0;
}

static void key_of(const struct sg_net *n, const char *text, struct sg_pk *out)
{
	struct sg_url url;

	memset(out, 0, sizeof(*out));
	if (sg_url_split(text, &url) == 0 && strcmp(url.scheme, "dmsg") == 0)
		(void)sg_pk_parse(n->conf.crypto, url.host, strlen(url.host), out);
}

void disc_configure(struct sg_net *n, const struct sg_deployment *d)
{
	const char *discovery = d->urls[SG_DEPLOYED_DMSG_DISCOVERY];

	if (strcmp(n->discovery, discovery) != 0) {
		snprintf(n->discovery, sizeof(n->discovery), "%s", discovery);
		n->disc_state = DISC_UNTRIED;
		n->disc_answered.ns = 0;
		n->disc_why[0] = '\0';
		own_moved(n);
	}
	for (size_t k = 0; k < SG_DEPLOYED; k++)
		key_of(n, d->urls[k], &n->service_pks[k]);
	n->n_servers = SG_MIN(d->n_servers, (size_t)NET_SERVERS_MAX);
	for (size_t i = 0; i < n->n_servers; i++) {
		n->servers[i] = (struct sg_disc_entry){.pk = d->servers[i].pk, .is_server = true};
		memcpy(n->servers[i].address, d->servers[i].address, sizeof(n->servers[i].address));
	}
}

/* ---- questions ------------------------------------------------------------------------------------------------------- */

static void query_free(struct query *q)
{
	sg_list_remove(&q->node);
	sg_defer_stop(&q->local);
	if (q->call)
		http_cancel(q->call);
	sg_free(q);
}

static void query_done(struct query *q, int err, const struct sg_disc_entry *entries, size_t count, const char *why)
{
	sg_disc_fn *fn = q->fn;
	void *arg = q->arg;

	q->call = NULL;
	query_free(q);
	fn(arg, err, entries, count, why);
}

/*
 * Services of today's networks are clients of every server and registered nowhere (spec), which one sees by the discovery
 * that is reached over dmsg itself. Those of 2024 are looked up like everybody.
 */
static bool is_service(const struct sg_net *n, const struct sg_pk *pk)
{
	for (size_t k = 0; k < SG_DEPLOYED; k++) {
		if (!sg_pk_is_null(&n->service_pks[k]) && sg_pk_equal(&n->service_pks[k], pk))
			return !sg_pk_is_null(&n->service_pks[SG_DEPLOYED_DMSG_DISCOVERY]);
	}
	return false;
}

/* What the configuration answers by itself: its servers, and services as clients of all of them. */
static bool known(const struct sg_net *n, const struct sg_pk *pk, struct sg_disc_entry *out)
{
	for (size_t i = 0; i < n->n_servers; i++) {
		if (sg_pk_equal(&n->servers[i].pk, pk)) {
			*out = n->servers[i];
			return true;
		}
	}
	if (!is_service(n, pk))
		return false;
	*out = (struct sg_disc_entry){.pk = *pk};
	for (size_t i = 0; i < n->n_servers && out->n_servers < SG_ARRAY_LEN(out->servers); i++)
		out->servers[out->n_servers++] = n->servers[i].pk;
	return true;
}

static void on_local(void *arg)
{
	struct query *q = arg;
	struct sg_disc_entry e;

	if (q->list)
		query_done(q, 0, q->n->servers, q->n->n_servers, "");
	else if (known(q->n, &q->pk, &e))
		query_done(q, 0, &e, 1, "");
	else
		query_done(
			q, SG_ENOROUTE, NULL, 0, "no dmsg discovery is configured:  option dmsg_discovery 'http://…'");
}

static void narrow(const struct sg_disc_entry_full *full, struct sg_disc_entry *out)
{
	*out = (struct sg_disc_entry){.pk = full->pk, .is_server = full->is_server};
	if (full->is_server)
		snprintf(out->address, sizeof(out->address), "%.*s", (int)sizeof(out->address) - 1, full->address);
	for (size_t i = 0; i < full->n_servers && out->n_servers < SG_ARRAY_LEN(out->servers); i++)
		out->servers[out->n_servers++] = full->servers[i];
}

/* Both: @fresh is the answer, to be remembered when it is good, or empty. False: it cannot be read. */

static bool entry_in(struct query *q, const json_t *json, struct sg_view fresh)
{
	struct sg_disc_entry_full full;
	struct sg_disc_entry e;

	if (sg_disc_entry_decode(q->n->conf.crypto, json, &full) < 0 || !sg_pk_equal(&full.pk, &q->pk))
		return false;
	narrow(&full, &e);
	if (fresh.len)
		cache_put(q->n->cache, q->name, fresh);
	query_done(q, 0, &e, 1, "");
	return true;
}

static bool servers_in(struct query *q, const json_t *json, struct sg_view fresh)
{
	size_t want = SG_MIN(json_array_size(json), (size_t)NET_SERVERS_MAX), count = 0;
	struct sg_disc_entry *list;
	struct sg_disc_entry_full full;

	if (!json_is_array(json))
		return false;
	list = sg_calloc(want, sizeof(*list));
	for (size_t i = 0; list && i < want; i++) {
		/* One that cannot be read costs itself only. */
		if (sg_disc_entry_decode(q->n->conf.crypto, json_array_get(json, i), &full) == 0 && full.is_server)
			narrow(&full, &list[count++]);
	}
	if (count && fresh.len)
		cache_put(q->n->cache, q->name, fresh);
	query_done(q, list ? 0 : -ENOMEM, list, count, list ? "" : "out of memory");
	sg_free(list);
	return true;
}

static bool take(struct query *q, struct sg_view body, bool fresh)
{
	json_t *json = sg_json_parse(body, NULL);
	const struct sg_view keep = fresh ? body : (struct sg_view){NULL, 0};
	bool taken = json && (q->list ? servers_in(q, json, keep) : entry_in(q, json, keep));

	json_decref(json);
	return taken;
}

/* It does not answer, has nothing, or something else answers in its place: what it said last is better than nothing. */
static void take_last(struct query *q, int err, const char *why)
{
	struct sg_view last;

	if (!cache_get(q->n->cache, q->name, &last) || !take(q, last, false))
		query_done(q, err, NULL, 0, why);
}

void disc_heard(struct sg_net *n, const struct http_answer *a)
{
	n->disc_why[0] = '\0';
	if (a->err == 0 && a->status < 500) {
		n->disc_state = DISC_UP;
		n->disc_answered = sg_loop_now(n->conf.loop);
		return;
	}
	n->disc_state = DISC_DOWN;
	if (a->err < 0)
		snprintf(n->disc_why, sizeof(n->disc_why), "%s", a->why);
	else
		snprintf(n->disc_why, sizeof(n->disc_why), "%.240s answers with status %d", n->discovery, a->status);
	sg_text_ascii(n->disc_why);
}

static void on_answer(void *arg, const struct http_answer *a)
{
	struct query *q = arg;
	char why[120];

	q->call = NULL;
	disc_heard(q->n, a);
	if (a->err < 0) {
		take_last(q, a->err, a->why);
	} else if (a->status == 404 && q->list) {
		take_last(q, -EAGAIN, "the discovery has no server that is free");
	} else if (a->status == 404) {
		cache_drop(q->n->cache, q->name);
		query_done(q, -ENOENT, NULL, 0, "the discovery does not know that key");
	} else if (a->status != 200) {
		snprintf(why, sizeof(why), "the discovery answers with status %d", a->status);
		take_last(q, SG_EMALF, why);
	} else if (!take(q, a->body, true)) {
		take_last(q, SG_EMALF,
			q->list ? "the discovery's answer is no list of servers"
				: "the discovery's answer is no entry of that key");
	}
}

static int query_new(struct sg_net *n, const void *owner, const struct sg_pk *pk, sg_disc_fn *fn, void *arg)
{
	struct query *q = sg_calloc(1, sizeof(*q));
	struct sg_disc_entry e;
	char path[160], text[SG_PK_TEXT], tag[CACHE_TAG];
	struct http_ask ask = {.method = "GET",
		.base = n->discovery,
		.path = path,
		.timeout_ms = DISC_ASK_MS,
		.body_max = pk ? SG_ENTRY_JSON_MAX * 4 : LIST_MAX};
	int err;

	if (!q)
		return -ENOMEM;
	*q = (struct query){.n = n, .owner = owner, .list = pk == NULL, .fn = fn, .arg = arg};
	sg_defer_init(&q->local, on_local, q);
	sg_list_add_tail(&n->queries, &q->node);
	if (pk)
		q->pk = *pk;
	if (!n->discovery[0] || (pk ? known(n, pk, &e) : n->n_servers > 0)) {
		sg_defer_start(n->conf.loop, &q->local);
		return 0;
	}
	if (pk)
		snprintf(path, sizeof(path), DISC_PREFIX "/entry/%s", sg_pk_str(pk, text));
	else
		snprintf(path, sizeof(path), DISC_PREFIX "/available_servers");
	snprintf(q->name, sizeof(q->name), "disc/%s/%s", cache_tag(n->discovery, tag), pk ? text : "servers");
	err = http_ask(n->http, &ask, on_answer, q, &q->call);
	if (err < 0)
		query_free(q);
	return err;
}

int net_disc_entry(struct sg_net *n, const void *owner, const struct sg_pk *pk, sg_disc_fn *fn, void *arg)
{
	return query_new(n, owner, pk, fn, arg);
}

int net_disc_servers(struct sg_net *n, const void *owner, sg_disc_fn *fn, void *arg)
{
	return query_new(n, owner, NULL, fn, arg);
}

size_t net_disc_cancel(struct sg_net *n, const void *owner, bool any, const void *arg)
{
	size_t count = 0;

	sg_list_for_safe (it, &n->queries) {
		struct query *q = sg_container_of(it, struct query, node);

		if (q->owner == owner && (any || q->arg == arg)) {
			query_free(q);
			count++;
		}
	}
	return count;
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

void disc_init(struct sg_net *n)
{
	sg_list_init(&n->queries);
	own_init(n);
}

void disc_fini(struct sg_net *n)
{
	while (!sg_list_empty(&n->queries))
		query_free(sg_container_of(n->queries.next, struct query, node));
	own_fini(n);
}
