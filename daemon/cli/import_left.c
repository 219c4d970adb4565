/* What of a Go visor's configuration was not taken over: member by member, with the reason. */
#include "base/common.h"
#include "cli/import.h"

#define PATH_LEN 160

/* Why a member stays behind, by the longest beginning of its path. An empty or absent value needs no reason. */
static const struct {
	const char *path, *why;
} reasons[] = {
	{"cli_addr", "skygate talks to skygated over its own socket"},
	{"dmsg.servers", "not KEY and HOST:PORT of a server"},
	{"dmsg.servers_type", "servers of every kind are used"},
	{"dmsg.sessions_count", "1 to 8 sessions are held"},
	{"dmsg.discovery", "not a URL that can be asked: http://HOST[:PORT] or dmsg://KEY:80"},
	{"dmsghttp_server_path", "no files are served over dmsg"},
	{"dmsgpty", "no terminal is offered over the network"},
	{"hypervisor", "this visor manages no others yet"},
	{"hypervisors", "not a key"},
	{"is_public", "a public visor wants  option public  where stcpr listens, at a fixed port"},
	{"launcher.apps", "skygate has no such app yet"},
	{"launcher.apps.vpn-client", "without --srv KEY there is no exit to name"},
	{"launcher.apps.vpn-client.args", "the tunnel's own settings decide this"},
	{"launcher.apps.vpn-server",
		"it does not start by itself there, or names no --netifc: an exit wants  option uplink"},
	{"launcher.apps.vpn-server.args", "what clients may reach is said by  list allow_net"},
	{"launcher", "apps are plugins here"},
	{"launcher.service_discovery", "not a URL that can be asked: http://HOST[:PORT] or dmsg://KEY:80"},
	{"local_path", "what is kept lies in the state directory"},
	{"log_level", "error, warn, info or debug"},
	{"persistent_transports", "not dmsg or stcpr, and stcp without an address in pk_table"},
	{"routing.min_hops", "0 to 16"},
	{"routing.route_finder_timeout", "time-outs are fixed"},
	{"routing.route_finder", "not a URL that can be asked: http://HOST[:PORT] or dmsg://KEY:80"},
	{"routing.route_setup_nodes", "not a key"},
	{"shutdown_timeout", "time-outs are fixed"},
	{"skywire-tcp.listening_address", "not ADDRESS:PORT"},
	{"skywire-tcp.pk_table", "not KEY and HOST:PORT, or this visor's own key"},
	{"stun_servers", "they are for sudph, which is not there yet"},
	{"survey_whitelist", "no survey is made: nobody can ask for one"},
	{"transport.address_resolver", "not a URL that can be asked: http://HOST[:PORT] or dmsg://KEY:80"},
	{"transport.discovery", "not a URL that can be asked: http://HOST[:PORT] or dmsg://KEY:80"},
	{"transport.log_store", "the transport log is kept in the store"},
	{"transport.public_autoconnect", "true or false"},
	{"transport.stcpr_port", "no fixed port: without  list listen  this visor dials by stcpr and is not dialled"},
	{"transport.sudph_port", "sudph is not there yet"},
	{"transport.transport_setup", "nobody makes transports of this visor from outside"},
	{"uptime_tracker.addr", "not a URL that can be asked: http://HOST[:PORT] or dmsg://KEY:80"},
	{"version", "of the program that wrote the file"},
};

static const char *reason_for(const char *path, bool *exact)
{
	const char *why = "not a member that this version knows";
	size_t best = 0;

	*exact = false;
	for (size_t i = 0; i < SG_ARRAY_LEN(reasons); i++) {
		size_t len = strlen(reasons[i].path);

		if (strncmp(path, reasons[i].path, len) != 0 || (path[len] && path[len] != '.') || len < best)
			continue;
		best = len;
		why = reasons[i].why;
		*exact = path[len] == '\0';
	}
	return why;
}

static bool is_empty(const json_t *v)
{
	return json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0) ||
	       (json_is_object(v) && json_object_size(v) == 0) || (json_is_string(v) && json_string_length(v) == 0);
}

static void tell_left(struct import *im, const json_t *value, const char *path, unsigned depth);

static void tell_member(struct import *im, const char *path, const char *name, const json_t *value, unsigned depth)
{
	char below[PATH_LEN], clean[64];

	snprintf(
		below, sizeof(below), "%s%s%s", path, path[0] ? "." : "", import_printable(name, clean, sizeof(clean)));
	tell_left(im, value, below, depth + 1);
}

/* Of an app that was taken its arguments are left, if anything. */
static void tell_app(struct import *im, const char *name, const json_t *app)
{
	char path[PATH_LEN];
	const json_t *args = json_object_get(app, "args");
	char clean[64];
	bool exact;

	snprintf(path, sizeof(path), "launcher.apps.%s%s", import_printable(name, clean, sizeof(clean)),
		json_object_get(app, "auto_start") ? "" : ".args");
	if (!json_object_get(app, "auto_start") && is_empty(args))
		return;
	import_addf(&im->left, "  %-32s %s\n", path, reason_for(path, &exact));
	im->n_left++;
}

static void tell_left(struct import *im, const json_t *value, const char *path, unsigned depth)
{
	const char *name, *app;
	const json_t *v;
	bool exact;
	const char *why = reason_for(path, &exact);
	size_t i;

	if (is_empty(value))
		return;
	/* What has one reason as a whole is one line; the apps are told by their names. */
	if (json_is_object(value) && depth < 8 && (!exact || strcmp(path, "launcher") == 0 || !path[0])) {
		json_object_foreach((json_t *)value, name, v) tell_member(im, path, name, v, depth);
		return;
	}
	if (json_is_array(value) && strcmp(path, "launcher.apps") == 0) {
		json_array_foreach(value, i, v)
		{
			app = json_string_value(json_object_get(v, "name"));
			tell_app(im, app ? app : "?", v);
		}
		return;
	}
	import_addf(&im->left, "  %-32s %s\n", path, why);
	im->n_left++;
}

void import_tell_left(struct import *im, const json_t *root)
{
	tell_left(im, root, "", 0);
}
