/* The deployment's JSON. */
#include "wire/deployment.h"
#include "base/common.h"
#include "base/err.h"
#include "crypto/keys.h"
#include "wire/json.h"
#include "wire/url.h"

static const char *const names[] = {
	[SG_DEPLOYED_DMSG_DISCOVERY] = "dmsg_discovery",
	[SG_DEPLOYED_TRANSPORT_DISCOVERY] = "transport_discovery",
	[SG_DEPLOYED_ADDRESS_RESOLVER] = "address_resolver",
	[SG_DEPLOYED_ROUTE_FINDER] = "route_finder",
	[SG_DEPLOYED_SERVICE_DISCOVERY] = "service_discovery",
	[SG_DEPLOYED_UPTIME_TRACKER] = "uptime_tracker",
};

const char *sg_deployed_name(enum sg_deployed which)
{
	return names[which];
}

/* An URL that can be asked, or "KEY:80" as the configuration service gives it. */
static bool take_url(const struct sg_crypto *c, const json_t *v, char out[SG_DEPLOYMENT_URL])
{
	const char *text = json_string_value(v);
	struct sg_url url;
	struct sg_pk pk;
	char full[SG_DEPLOYMENT_URL];

	if (!text || !*text || strlen(text) + sizeof("dmsg://") > sizeof(full))
		return false;
	snprintf(full, sizeof(full), "%s%s", strstr(text, "://") ? "" : "dmsg://", text);
	if (sg_url_split(full, &url) < 0)
		return false;
	if (strcmp(url.scheme, "dmsg") == 0 ? sg_pk_parse(c, url.host, strlen(url.host), &pk) < 0
					    : strcmp(url.scheme, "http") != 0)
		return false;
	memcpy(out, full, sizeof(full));
	return true;
}

static void take_server(const struct sg_crypto *c, const json_t *obj, struct sg_deployment *out)
{
	const json_t *server = json_is_object(obj) ? sg_json_get(obj, "server") : NULL;
	struct sg_view pk, address;
	char tcp[80];
	struct sg_url url;

	if (!json_is_object(server) || out->n_servers == SG_DEPLOYMENT_SERVERS_MAX ||
		sg_json_get_text(obj, "static", &pk) < 0 || sg_json_get_text(server, "address", &address) < 0 ||
		address.len >= sizeof(out->servers[0].address) || memchr(address.p, '\0', address.len) ||
		sg_pk_parse(c, (const char *)pk.p, pk.len, &out->servers[out->n_servers].pk) < 0)
		return;
	snprintf(tcp, sizeof(tcp), "tcp://%.*s", (int)address.len, (const char *)address.p);
	if (sg_url_split(tcp, &url) < 0 || !url.port_given)
		return;
	memcpy(out->servers[out->n_servers].address, address.p, address.len);
	out->servers[out->n_servers++].address[address.len] = '\0';
}

static void part_decode(const struct sg_crypto *c, const json_t *part, struct sg_deployment *out)
{
	const json_t *servers, *nodes, *i;
	char by_dmsg[40];
	size_t at;

	for (size_t k = 0; k < SG_DEPLOYED; k++) {
		snprintf(by_dmsg, sizeof(by_dmsg), "%s_dmsg", names[k]);
		if (!take_url(c, sg_json_get(part, by_dmsg), out->urls[k]))
			take_url(c, sg_json_get(part, names[k]), out->urls[k]);
	}
	if (sg_json_get_array(part, "dmsg_servers", &servers) < 0)
		servers = NULL;
	json_array_foreach(servers, at, i) take_server(c, i, out);
	if (sg_json_get_array(part, "route_setup_nodes", &nodes) < 0)
		nodes = NULL;
	json_array_foreach(nodes, at, i)
	{
		const char *text = json_string_value(i);

		if (text && out->n_setup_nodes < SG_DEPLOYMENT_SETUP_MAX &&
			sg_pk_parse(c, text, strlen(text), &out->setup_nodes[out->n_setup_nodes]) == 0)
			out->n_setup_nodes++;
	}
}

int sg_deployment_decode(const struct sg_crypto *c, struct sg_view in, const char *part, struct sg_deployment *out)
{
	json_t *root = in.len ? sg_json_parse_peer(in) : NULL;
	const json_t *whole = json_is_object(root) ? root : NULL;
	const json_t *chosen = whole ? json_object_get(whole, part) : NULL;
	bool known = false;

	memset(out, 0, sizeof(*out));
	if (chosen || (whole && !json_object_get(whole, "prod") && !json_object_get(whole, "test")))
		part_decode(c, chosen ? chosen : whole, out);
	for (size_t k = 0; k < SG_DEPLOYED; k++)
		known = known || out->urls[k][0];
	known = known || out->n_servers;
	json_decref(root);
	if (!whole)
		return SG_EMALF;
	return known ? 0 : -ENOENT;
}
