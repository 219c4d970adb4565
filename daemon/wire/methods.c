/* The table of control methods. */
#include "wire/methods.h"
#include "base/common.h"

/* Long lists come in pages: the answer's "next" is the "from" of the next page. */
static const struct sg_param page[] = {
	{"from", SG_PARAM_UINT, false, NULL, "how many to skip"},
	{0},
};

static const struct sg_param transport_add[] = {
	{"pk", SG_PARAM_STRING, true, "KEY", "the other visor's public key, or the beginning of one that is known"},
	{"address", SG_PARAM_STRING, false, "TYPE|ADDRESS",
		"dmsg or stcpr: found by its key; or where it listens, like stcp://192.0.2.10:7777; without it any way "
		"there is"},
	{"keep", SG_PARAM_BOOL, false, "--keep", "beyond a restart, until transport rm"},
	{0},
};

static const struct sg_param transport_remove[] = {
	{"pk", SG_PARAM_STRING, true, "KEY|ID", "the other visor's key or the transport's id, or the beginning of it"},
	{"carrier", SG_PARAM_STRING, false, "TYPE", "only the transport of that type; without it all to that visor"},
	{0},
};

static const struct sg_param log_level[] = {
	{"level", SG_PARAM_STRING, true, "LEVEL", "error, warn, info or debug"},
	{"topic", SG_PARAM_STRING, false, "TOPIC",
		"only lines of this topic (link, vpn, netd …); without one all others"},
	{0},
};

static const struct sg_param log_follow[] = {
	{"follow", SG_PARAM_BOOL, false, "-f", "go on until interrupted"},
	{0},
};

static const struct sg_param vpn_stop[] = {
	{"open", SG_PARAM_BOOL, false, "--open", "let the LAN out without protection until vpn start"},
	{0},
};

static const struct sg_param exit_list[] = {
	{"country", SG_PARAM_STRING, false, "COUNTRY", "only there, like DE"},
	{"version", SG_PARAM_STRING, false, NULL, "only of this version"},
	{"from", SG_PARAM_UINT, false, NULL, "how many to skip"},
	{0},
};

static const struct sg_param route_find[] = {
	{"pk", SG_PARAM_STRING, true, "KEY", "the other visor's key, or the beginning of it"},
	{"min_hops", SG_PARAM_UINT, false, "HOPS", "only paths over at least so many transports"},
	{0},
};

static const struct sg_param exit_use[] = {
	{"pk", SG_PARAM_STRING, true, "KEY", "the exit's public key, or the beginning of it"},
	{0},
};

static const struct sg_method_row table[] = {
	{"visor.status", SG_ROLE_VIEWER, "status", NULL, NULL, NULL,
		"what this visor does, and whether traffic is safe"},
	{"visor.show", SG_ROLE_VIEWER, "visor", NULL, NULL, NULL,
		"who this visor is, its networks, services and transports"},
	{"vpn.start", SG_ROLE_ADMIN, "vpn", "start", "app-vpn", NULL, "send traffic through the exit"},
	{"vpn.stop", SG_ROLE_ADMIN, "vpn", "stop", "app-vpn", vpn_stop,
		"end the tunnel; the kill switch keeps blocking"},
	{"vpn.status", SG_ROLE_VIEWER, "vpn", "status", "app-vpn", NULL,
		"state of the tunnel, and of the exit for others"},
	{"transport.list", SG_ROLE_VIEWER, "transport", "ls", NULL, page, "connections to other visors"},
	{"transport.add", SG_ROLE_ADMIN, "transport", "add", NULL, transport_add, "keep a connection to a visor"},
	{"transport.rm", SG_ROLE_ADMIN, "transport", "rm", NULL, transport_remove,
		"end a connection, and do not make it again"},
	{"dmsg.status", SG_ROLE_VIEWER, "dmsg", "status", "transport-dmsg", NULL,
		"sessions with dmsg servers, and our entry in the discovery"},
	{"store.status", SG_ROLE_VIEWER, "store", "status", "storage-sqlite", NULL,
		"what is kept over a restart, and what it costs the disk"},
	{"service.list", SG_ROLE_VIEWER, "service", "ls", NULL, NULL,
		"directory services of the network, and whether they answer"},
	{"exit.list", SG_ROLE_VIEWER, "exit", "ls", NULL, exit_list, "exits that the service discovery lists"},
	{"exit.use", SG_ROLE_ADMIN, "exit", "use", "app-vpn", exit_use,
		"send traffic through this exit until the next start"},
	{"stream.list", SG_ROLE_VIEWER, "stream", "ls", NULL, page, "open streams"},
	{"route.list", SG_ROLE_VIEWER, "route", "ls", NULL, page, "routes that end here or pass through"},
	{"route.find", SG_ROLE_ADMIN, "route", "find", NULL, route_find, "the ways to a visor that are known"},
	{"visor.ping", SG_ROLE_ADMIN, "ping", NULL, NULL, route_find,
		"how far a visor is, over a route or the transport to it"},
	{"counter.list", SG_ROLE_VIEWER, "counter", "ls", NULL, NULL,
		"what was counted since the start, drops by reason"},
	{"plugin.list", SG_ROLE_VIEWER, "plugin", "ls", NULL, NULL, "plugins and what they provide"},
	{"log.follow", SG_ROLE_ADMIN, "log", NULL, NULL, log_follow, "the last log lines; with -f the next ones, too"},
	{"log.level", SG_ROLE_ADMIN, "log", "level", NULL, log_level, "log more or less, until the next start"},
	{"config.check", SG_ROLE_ADMIN, "config", "check", NULL, NULL,
		"look at the configuration file; change nothing"},
	{"config.reload", SG_ROLE_ADMIN, "config", "reload", NULL, NULL,
		"take over the configuration file if it is valid"},
	{0},
};

const struct sg_method_row *sg_methods(void)
{
	return table;
}

const struct sg_method_row *sg_method_find(const char *name)
{
	for (const struct sg_method_row *m = table; m->name; m++) {
		if (strcmp(m->name, name) == 0)
			return m;
	}
	return NULL;
}
