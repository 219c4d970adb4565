/*
 * app-vpn: the VPN application of Skywire, client and server. This file is its face toward the host: descriptor,
 * options, methods, life. client.c and server.c do the work; see README.md.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/hex.h"
#include "crypto/keys.h"
#include "crypto/crypto.h"
#include "client.h"
#include "vpn.h"

static const struct sg_option options[] = {
	{.section = "vpn_client", .help = "this machine sends its LAN, or itself, through an exit"},
	{.section = "vpn_client",
		.name = "mode",
		.type = SG_OPT_ENUM,
		.accepted = "off vpn host",
		.def = "off",
		.help = "vpn: the LAN interfaces; host: this machine; both start by themselves"},
	{.section = "vpn_client",
		.name = "kill_switch",
		.type = SG_OPT_BOOL,
		.def = "1",
		.help = "nothing leaves unprotected, also while skygated is not running"},
	{.section = "vpn_client",
		.name = "exit",
		.type = SG_OPT_NAME,
		.flags = SG_OPT_LIST | SG_OPT_OR_PK,
		.accepted = "peer",
		.max = EXITS_MAX,
		.help = "peers or keys to leave at, tried in this order"},
	{.section = "vpn_client",
		.name = "probe",
		.type = SG_OPT_IP4,
		.flags = SG_OPT_LIST,
		.max = PROBE_TARGETS_MAX,
		.help = "hosts beyond the exit that answer ping: without an answer the path is not proven"},
	{.section = "vpn_client",
		.name = "min_hops",
		.type = SG_OPT_UINT,
		.def = "0",
		.max = 16,
		.help = "the exit is reached over at least so many transports; visor's min_hops counts, too"},
	{.section = "vpn_client",
		.name = "passcode",
		.type = SG_OPT_STRING,
		.flags = SG_OPT_SECRET,
		.max = SG_VPN_PASSCODE_MAX,
		.help = "for exits of 2024 that ask for one"},
	{.section = "vpn_server", .help = "this machine is an exit for others"},
	{.section = "vpn_server",
		.name = "uplink",
		.type = SG_OPT_IFNAME,
		.flags = SG_OPT_REQUIRED,
		.help = "the interface where clients' packets leave, with its address"},
	{.section = "vpn_server",
		.name = "pool",
		.type = SG_OPT_PREFIX4,
		.def = "172.16.0.0/12",
		.min = SG_VPN_POOL_BITS_MIN,
		.max = SG_VPN_POOL_BITS_MAX,
		.help = "addresses for clients; networks of this machine are left out"},
	{.section = "vpn_server",
		.name = "max_clients",
		.type = SG_OPT_UINT,
		.def = "100",
		.min = 1,
		.max = 8192,
		.help = "at once"},
	{.section = "vpn_server",
		.name = "upload_kbit",
		.type = SG_OPT_UINT,
		.def = "0",
		.max = 100000000,
		.help = "kbit/s that the line toward the clients takes; known, they share it fairly; 0: unknown"},
	{.section = "vpn_server",
		.name = "download_kbit",
		.type = SG_OPT_UINT,
		.def = "0",
		.max = 100000000,
		.help = "kbit/s that the line brings from the clients; known, they share it fairly; 0: unknown"},
	{.section = "vpn_server",
		.name = "allow_pk",
		.type = SG_OPT_PK,
		.flags = SG_OPT_LIST,
		.help = "keys that may connect; none: open to all"},
	{.section = "vpn_server",
		.name = "passcode",
		.type = SG_OPT_STRING,
		.flags = SG_OPT_SECRET,
		.max = SG_VPN_PASSCODE_MAX,
		.help = "clients of 2024 can be asked for one"},
	{.section = "vpn_server",
		.name = "announce",
		.type = SG_OPT_BOOL,
		.def = "1",
		.help = "one that is open to all is listed at the service discovery, if there is one"},
	{.section = "vpn_server",
		.name = "allow_net",
		.type = SG_OPT_PREFIX4,
		.flags = SG_OPT_LIST,
		.help = "private networks that clients may reach; others and this machine's own are closed to them"},
	{0}};

static const struct sg_uci_section *section(struct vpn *v, const char *type)
{
	return sg_uci_next(v->host->conf(v->inst), type, NULL);
}

struct fairq *vpn_queue(struct vpn *v)
{
	const struct sg_uci_section *visor = section(v, "visor");
	bool small = visor && strcmp(sg_uci_get(visor, "memory", "normal"), "small") == 0;
	uint64_t seed;

	sg_random_system()->fill(sg_random_system(), &seed, sizeof(seed));
	return fairq_new(small ? SG_VPN_QUEUE_SMALL : SG_VPN_QUEUE_BYTES, seed, &v->queue_count);
}

static void vpn_free(struct vpn *v)
{
	if (v->client)
		client_free(v->client);
	if (v->server)
		server_free(v->server);
	sg_free(v);
}

void vpn_idle(struct vpn *v)
{
	const struct sg_host *host = v->host;
	struct sg_inst *inst = v->inst;
	bool client = !v->client || client_stop(v->client);
	bool server = !v->server || server_stop(v->server);

	if (!client || !server)
		return;
	vpn_free(v);
	host->stopped(inst);
}

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap)
{
	struct vpn *v = sg_calloc(1, sizeof(*v));
	const struct sg_uci_section *client, *server;
	int err = 0;

	if (!v) {
		snprintf(why, why_cap, "out of memory");
		return -ENOMEM;
	}
	v->host = host;
	v->inst = inst;
	v->loop = host->loop(inst);
	client = section(v, "vpn_client");
	server = section(v, "vpn_server");
	/* The server last: it leaves a listener behind. */
	if (client)
		err = client_start(v, client, why, why_cap);
	if (err == 0 && server)
		err = server_start(v, server, why, why_cap);
	if (err < 0) {
		if (err == -ENOMEM)
			snprintf(why, why_cap, "out of memory");
		vpn_free(v);
		return err;
	}
	*ctx = v;
	return 0;
}

static int reload(void *ctx)
{
	struct vpn *v = ctx;
	const struct sg_uci_section *client = section(v, "vpn_client"), *server = section(v, "vpn_server");
	int err = 0;

	if (!client != !v->client || !server != !v->server)
		return -ENOTSUP;
	if (client)
		err = client_reload(v->client, client);
	if (err == 0 && server)
		err = server_reload(v->server, server);
	return err;
}

static void stop(void *ctx)
{
	struct vpn *v = ctx;

	v->stopping = true;
	vpn_idle(v);
}

static int status(void *ctx, json_t *params, json_t **result, char *why, size_t why_cap)
{
	struct vpn *v = ctx;
	json_t *out = json_pack("{s:s,s:n,s:n}", "state", "off", "exit", "server");
	int err = out ? 0 : -ENOMEM;

	(void)params;
	if (err == 0 && v->client)
		err = client_status(v->client, out);
	if (err == 0 && v->server && json_object_set_new(out, "server", server_status(v->server)) < 0)
		err = -ENOMEM;
	if (err < 0) {
		snprintf(why, why_cap, "out of memory");
		json_decref(out);
		return err;
	}
	*result = out;
	return 0;
}

static int want(struct vpn *v, enum sg_want what, json_t **result, char *why, size_t why_cap)
{
	int err = v->client ? client_want(v->client, what) : SG_ESTATE;

	if (err == SG_ESTATE) {
		snprintf(why, why_cap,
			"there is no VPN client: vpn_client in the configuration needs  option mode 'vpn'\n"
			"  then:  skygate config reload");
		return err;
	}
	if (err < 0) {
		snprintf(why, why_cap, "skygate-netd could not be told: %s", sg_strerror(err));
		return err;
	}
	return status(v, NULL, result, why, why_cap);
}

static int vpn_start(void *ctx, json_t *params, json_t **result, char *why, size_t why_cap)
{
	(void)params;
	return want(ctx, SG_WANT_VPN, result, why, why_cap);
}

static int vpn_stop(void *ctx, json_t *params, json_t **result, char *why, size_t why_cap)
{
	bool open = json_is_true(json_object_get(params, "open"));

	return want(ctx, open ? SG_WANT_OPEN : SG_WANT_NOT, result, why, why_cap);
}

static int exit_use(void *ctx, json_t *params, json_t **result, char *why, size_t why_cap)
{
	const char *text = json_string_value(json_object_get(params, "pk"));
	struct vpn *v = ctx;
	struct sg_pk pk;
	int err;

	if (sg_pk_parse(v->host->identity(v->inst)->crypto, text, strlen(text), &pk) < 0) {
		snprintf(why, why_cap,
			"'%.70s' is not a key, nor the beginning of one that is known\n  see exits with theirs:  "
			"skygate exit ls",
			text);
		return SG_EKEY;
	}
	if (sg_pk_equal(&pk, v->host->own_pk(v->inst))) {
		snprintf(why, why_cap, "that is this visor's own key");
		return SG_EKEY;
	}
	err = v->client ? client_use(v->client, &pk) : SG_ESTATE;
	if (err < 0) {
		snprintf(why, why_cap,
			"there is no VPN client: vpn_client in the configuration needs  option mode 'vpn'\n"
			"  then:  skygate config reload");
		return err;
	}
	return status(v, NULL, result, why, why_cap);
}

static const struct sg_method methods[] = {
	{"vpn.start", vpn_start}, {"vpn.stop", vpn_stop}, {"vpn.status", status}, {"exit.use", exit_use}, {NULL, NULL}};

static const struct sg_counter counters[] = {
#define VPN_COUNTER_ROW(member, name, help) {name, offsetof(struct vpn, count.member), help},
	VPN_COUNTERS(VPN_COUNTER_ROW)
#undef VPN_COUNTER_ROW
#define VPN_QUEUE_ROW(member, name, help) {name, offsetof(struct vpn, queue_count.member), help},
		VPN_QUEUE_COUNTERS(VPN_QUEUE_ROW)
#undef VPN_QUEUE_ROW
			{NULL, 0, NULL}};

static const struct sg_provide provides[] = {{SG_APP, "vpn", NULL}, {SG_PROVIDE_END, NULL, NULL}};

SG_PLUGIN(app_vpn) = {SG_PLUGIN_HEAD, .name = "app-vpn", .version = SG_VERSION,
	.summary = "VPN client and server: a LAN behind an exit", .provides = provides, .options = options,
	.methods = methods, .counters = counters, .start = start, .reload = reload, .stop = stop};
