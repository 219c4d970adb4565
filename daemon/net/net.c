/* Life and configuration of net/. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"
#include "net/internal.h"

SG_LOG_TOPIC("net");

/* ---- configuration -------------------------------------------------------------------------------------------------- */

#define URL_HELP "http://HOST[:PORT] or dmsg://KEY:80"

static const struct sg_option options[] = {
	{.section = "deployment", .help = "the network's services; without this section the peers named here are all"},
	{.section = "deployment",
		.name = "source",
		.type = SG_OPT_STRING,
		.max = SG_DEPLOYMENT_URL - 1,
		.help = "where its description comes from: public, a file, a URL; what is named here goes first"},
	{.section = "deployment",
		.name = "part",
		.type = SG_OPT_ENUM,
		.accepted = "prod test",
		.def = "prod",
		.help = "which part of a description that has several"},
	{.section = "deployment",
		.name = "dmsg_discovery",
		.type = SG_OPT_STRING,
		.help = "URL of the dmsg discovery: " URL_HELP},
	{.section = "deployment",
		.name = "dmsg_server",
		.type = SG_OPT_STRING,
		.flags = SG_OPT_LIST,
		.help = "KEY@HOST:PORT of a dmsg server, used without asking any discovery"},
	{.section = "deployment",
		.name = "address_resolver",
		.type = SG_OPT_STRING,
		.help = "URL of the address resolver, which stcpr needs: " URL_HELP},
	{.section = "deployment",
		.name = "transport_discovery",
		.type = SG_OPT_STRING,
		.help = "URL of the transport discovery, where transports are registered: " URL_HELP},
	{.section = "deployment",
		.name = "route_finder",
		.type = SG_OPT_STRING,
		.help = "URL of the route finder, for routes over other visors: " URL_HELP},
	{.section = "deployment",
		.name = "service_discovery",
		.type = SG_OPT_STRING,
		.help = "URL of the service discovery, where exits are found and offered: " URL_HELP},
	{.section = "deployment",
		.name = "uptime_tracker",
		.type = SG_OPT_STRING,
		.help = "URL of the uptime tracker; without one nothing is reported: " URL_HELP},
	{.section = "deployment",
		.name = "setup_node",
		.type = SG_OPT_PK,
		.flags = SG_OPT_LIST,
		.help = "key of a node that sets up routes, for us and through us"},
	{.section = "deployment",
		.name = "public_ip",
		.type = SG_OPT_IP4,
		.help = "the address under which others reach this machine, where it cannot be found out"},
	{0}};

const struct sg_option *net_options(void)
{
	return options;
}

static void findf(sg_uci_report_fn *report, void *arg, const struct sg_uci *doc, unsigned line, const char *what,
	const char *value, const char *accepted)
{
	char text[700];

	snprintf(text, sizeof(text), "%s:%u: deployment: option %s: '%s' is not accepted\n  accepted: %s", doc->file,
		line, what, value, accepted);
	report(arg, line, text);
}

size_t net_check(const struct sg_crypto *c, const struct sg_uci *doc, sg_uci_report_fn *report, void *arg)
{
	const struct sg_uci_section *s = sg_uci_next(doc, "deployment", NULL);
	const struct sg_uci_option *servers = s ? sg_uci_option(s, "dmsg_server") : NULL;
	const struct sg_uci_option *source = s ? sg_uci_option(s, "source") : NULL;
	struct sg_disc_entry e;
	size_t found = 0;

	if (source && !deployment_source_ok(sg_uci_get(s, "source", ""))) {
		findf(report, arg, doc, source->line, "source", sg_uci_get(s, "source", ""),
			"public, a file like /etc/skygate/net.json, http://HOST[:PORT][/PATH], dmsg://KEY:80");
		found++;
	}
	for (size_t i = 0; s && i < SG_DEPLOYED; i++) {
		const char *name = sg_deployed_name((enum sg_deployed)i);
		const struct sg_uci_option *o = sg_uci_option(s, name);
		const char *url = sg_uci_get(s, name, "");

		if (!o || (http_url_ok(url) && strlen(url) < NET_URL_MAX))
			continue;
		findf(report, arg, doc, o->line, name, url, "http://HOST[:PORT], dmsg://KEY:80");
		found++;
	}
	if (!servers)
		return found;
	sg_list_for (it, &servers->values) {
		const struct sg_uci_value *v = sg_container_of(it, struct sg_uci_value, node);

		if (disc_server_parse(c, v->text, &e) == 0)
			continue;
		findf(report, arg, doc, v->line, "dmsg_server", v->text, "KEY@HOST:PORT");
		found++;
	}
	return found;
}

size_t net_check_files(const struct sg_crypto *c, const struct sg_uci *doc, sg_uci_report_fn *report, void *arg)
{
	const struct sg_uci_section *s = sg_uci_next(doc, "deployment", NULL);
	const char *source = s ? sg_uci_get(s, "source", "") : "", *why;
	char text[700];

	if (source[0] != '/')
		return 0;
	why = deployment_file_why(c, source, sg_uci_get(s, "part", "prod"));
	if (!why)
		return 0;
	snprintf(text, sizeof(text), "%s:%u: deployment: option source: '%s': %s", doc->file,
		sg_uci_option(s, "source")->line, source, why);
	report(arg, sg_uci_option(s, "source")->line, text);
	return 1;
}

const struct sg_pk *net_setup_nodes(const struct sg_net *n, size_t *count)
{
	*count = n->n_setup_nodes;
	return n->setup_nodes;
}

void net_deployed(struct sg_net *n, const struct sg_deployment *d)
{
	disc_configure(n, d);
	if (service_set_url(n->ar, d->urls[SG_DEPLOYED_ADDRESS_RESOLVER]))
		resolver_moved(n->resolver);
	service_set_url(n->rf, d->urls[SG_DEPLOYED_ROUTE_FINDER]);
	if (service_set_url(n->tpd, d->urls[SG_DEPLOYED_TRANSPORT_DISCOVERY]))
		transports_moved(n->transports);
	if (service_set_url(n->ut, d->urls[SG_DEPLOYED_UPTIME_TRACKER]))
		uptime_moved(n->uptime);
	if (service_set_url(n->sd, d->urls[SG_DEPLOYED_SERVICE_DISCOVERY]))
		offers_moved(n->offers);
	n->n_setup_nodes = SG_MIN(d->n_setup_nodes, SG_ARRAY_LEN(n->setup_nodes));
	memcpy(n->setup_nodes, d->setup_nodes, n->n_setup_nodes * sizeof(n->setup_nodes[0]));
}

/* What is known without asking: an interface with an address that others reach. */
static void look_for_public_ip(struct sg_net *n)
{
	char list[SG_VISOR_ADDRESSES][SG_IP_TEXT];
	size_t count = address_list(list, SG_VISOR_ADDRESSES);

	for (size_t i = 0; i < count && !n->public_ip[0]; i++) {
		if (address_public(list[i]))
			memcpy(n->public_ip, list[i], sizeof(n->public_ip));
	}
}

/* Our address is another one. */
static void moved(struct sg_net *n)
{
	resolver_moved(n->resolver);
	offers_moved(n->offers);
}

void net_configure(struct sg_net *n, const struct sg_uci *doc)
{
	const struct sg_uci_section *s = sg_uci_next(doc, "deployment", NULL);
	const char *ip = s ? sg_uci_get(s, "public_ip", "") : "";

	/* Not given any more: what can be seen, until others say more. */
	if (n->public_ip_given && !ip[0]) {
		n->public_ip[0] = '\0';
		look_for_public_ip(n);
		moved(n);
	}
	n->public_ip_given = ip[0] != '\0';
	if (ip[0] && strcmp(n->public_ip, ip) != 0) {
		snprintf(n->public_ip, sizeof(n->public_ip), "%s", ip);
		moved(n);
	}
	deployment_configure(n->deployment, s);
}

/* ---- our address ---------------------------------------------------------------------------------------------------- */

void net_seen_at(struct sg_net *n, const struct sg_addr *addr)
{
	char text[SG_ADDR_TEXT], *colon;

	sg_addr_str(addr, text);
	colon = strrchr(text, ':');
	if (colon)
		*colon = '\0';
	/* Behind a server of a private network everybody has a private address; that one is none. */
	if (n->public_ip_given || !address_public(text) || strcmp(n->public_ip, text) == 0)
		return;
	log_info("our public address is %s", sg_log_addr(text));
	snprintf(n->public_ip, sizeof(n->public_ip), "%.*s", (int)sizeof(n->public_ip) - 1, text);
	moved(n);
}

/* ---- the end -------------------------------------------------------------------------------------------------------- */

#define LEAVE_MS 2000
#define LOOK_MS  20

static void on_leave(void *arg)
{
	struct sg_net *n = arg;
	bool resolver = resolver_leave(n->resolver), offers = offers_leave(n->offers);
	bool transports = transports_leave(n->transports);
	int64_t ms = (sg_loop_now(n->conf.loop).ns - n->leaving.ns) / SG_NS_PER_MS;

	if ((resolver && offers && transports) || ms >= LEAVE_MS)
		n->left(n->left_arg);
	else
		sg_timer_start(&n->leave, LOOK_MS);
}

void net_leave(struct sg_net *n, void (*done)(void *arg), void *arg)
{
	n->leaving = sg_loop_now(n->conf.loop);
	n->left = done;
	n->left_arg = arg;
	tplog_flush(n->log);
	sg_timer_start(&n->leave, 0);
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

struct sg_net *net_new(const struct sg_net_conf *conf)
{
	struct sg_net *n = sg_calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->conf = *conf;
	disc_init(n);
	sg_list_init(&n->routes);
	look_for_public_ip(n);
	sg_timer_init(&n->leave, conf->loop, on_leave, n);
	n->http = http_client_new(conf->loop, conf->crypto);
	n->log = tplog_new(conf->loop, conf->keys->store, store_wall_s);
	n->serve = n->log ? serve_new(conf->loop, &n->conf.pk, n->log) : NULL;
	n->env = (struct service_env){.loop = conf->loop,
		.crypto = conf->crypto,
		.pk = &n->conf.pk,
		.sk = &n->conf.sk,
		.http = n->http,
		.public_ip = n->public_ip};
	n->ar = service_new(&n->env, "address resolver");
	n->rf = service_new(&n->env, "route finder");
	n->tpd = service_new(&n->env, "transport discovery");
	n->sd = service_new(&n->env, "service discovery");
	n->ut = service_new(&n->env, "uptime tracker");
	n->offers = n->sd ? offers_new(n) : NULL;
	n->uptime = n->ut ? uptime_new(n) : NULL;
	n->cache = cache_new();
	n->transports = n->tpd ? transports_new(n) : NULL;
	n->deployment = deployment_new(n);
	n->resolver = n->ar ? resolver_new(n) : NULL;
	if (!n->http || !n->serve || !n->resolver || !n->deployment || !n->rf || !n->offers || !n->uptime ||
		!n->transports || !n->cache) {
		net_free(n);
		return NULL;
	}
	keep_start(n);
	return n;
}

void net_traffic(struct sg_net *n, const struct sg_tpid *id, uint64_t recv, uint64_t sent, bool ended)
{
	tplog_count(n->log, id, recv, sent, ended);
}

void net_free(struct sg_net *n)
{
	if (!n)
		return;
	keep_stop(n);
	disc_fini(n);
	sg_timer_stop(&n->leave);
	deployment_free(n->deployment);
	routefinder_fini(n);
	transports_free(n->transports);
	offers_free(n->offers);
	uptime_free(n->uptime);
	resolver_free(n->resolver);
	service_free(n->ar);
	service_free(n->rf);
	service_free(n->sd);
	service_free(n->ut);
	service_free(n->tpd);
	cache_free(n->cache);
	serve_free(n->serve);
	tplog_free(n->log);
	http_client_free(n->http);
	sg_wipe(&n->conf.sk, sizeof(n->conf.sk));
	sg_free(n);
}

void net_network_set(struct sg_net *n, const char *name, const struct sg_network_ops *ops, void *ctx)
{
	if (strcmp(name, "dmsg") != 0)
		return;
	http_client_network(n->http, ops, ctx);
	serve_network(n->serve, ops, ctx);
}

/* The dmsg discovery keeps its own account: it is asked without service.c. */
static void disc_service(const struct sg_net *n, struct sg_json_out *out)
{
	static const char *const states[] = {[DISC_UNTRIED] = "not asked yet", [DISC_UP] = "up", [DISC_DOWN] = "down"};
	bool ever = n->disc_answered.ns != 0;

	sg_json_open(out, NULL, '{');
	sg_json_put_text(out, "name", "dmsg discovery");
	sg_json_put_text(out, "url", n->discovery);
	sg_json_put_text(out, "state", n->discovery[0] ? states[n->disc_state] : "none");
	sg_json_put_int(
		out, "answer_ms_ago", ever ? sg_mono_ms_since(sg_loop_now(n->conf.loop), n->disc_answered) : -1);
	sg_json_put_text(out, "reason", n->own.why[0] ? n->own.why : n->disc_why);
	sg_json_close(out, '}');
}

void net_services(const struct sg_net *n, struct sg_json_out *out, const char *name)
{
	const struct service *const all[] = {n->tpd, n->ar, n->rf, n->sd, n->ut};

	sg_json_open(out, name, '[');
	disc_service(n, out);
	for (size_t i = 0; i < SG_ARRAY_LEN(all); i++)
		service_status(all[i], out);
	sg_json_close(out, ']');
}

json_t *net_status(const struct sg_net *n)
{
	return json_pack("{s:{s:s,s:b,s:s,s:I}}", "dmsg_discovery", "url", n->discovery, "registered",
		n->own.registered, "reason", n->own.why, "sequence", (json_int_t)n->own.sequence);
}
