/*
 * From skywire-config.json to skygate.conf. What is taken is removed from the tree; import_left.c tells what is then left in
 * it. Names and meanings: the existing implementation's visor configuration.
 */
#include "cli/import.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "wire/json.h"

#define PEERS_MAX 256

/* ---- the tree ----------------------------------------------------------------------------------------------------- */

struct work {
	const struct sg_crypto *c;
	struct import *im;
	json_t *root;
	size_t n_peers;
	struct peer {
		struct sg_pk pk;
		char stcp[300];
		bool dmsg, stcpr, wanted;
	} peers[PEERS_MAX];
};

/* Takes a text member; "" when there is none, or when it is no text, which then stays in the tree. */
static const char *take_text(json_t *object, const char *name, char *buf, size_t cap)
{
	const char *text = json_string_value(json_object_get(object, name));

	buf[0] = '\0';
	if (!text || strlen(text) >= cap)
		return buf;
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return buf;
	}
	snprintf(buf, cap, "%s", text);
	json_object_del(object, name);
	return buf;
}

static void taken(struct work *w, const char *what, const char *value)
{
	char text[200];

	import_addf(&w->im->taken, "  %-22s %s\n", what, import_printable(value, text, sizeof(text)));
}

/* 'it'\''s', as libuci writes it. */
static void quoted(struct import_text *t, const char *value)
{
	import_addf(t, "'");
	for (; *value; value++) {
		if (*value == '\'')
			import_addf(t, "'\\''");
		else
			import_addf(t, "%c", *value);
	}
	import_addf(t, "'\n");
}

static void option(struct work *w, const char *kind, const char *name, const char *value)
{
	import_addf(&w->im->conf, "\t%s %s ", kind, name);
	quoted(&w->im->conf, value);
}

static bool key_parse(const struct work *w, const char *text, struct sg_pk *out)
{
	return text && sg_pk_parse(w->c, text, strlen(text), out) == 0;
}

/* Calls @fn with each valid key of a list and takes those; the others stay. */
static size_t take_keys(struct work *w, json_t *object, const char *name, void (*fn)(struct work *w, const char *key))
{
	json_t *list = json_object_get(object, name);
	size_t n = 0;
	struct sg_pk pk;
	char hex[SG_PK_TEXT];

	for (size_t i = 0; i < json_array_size(list);) {
		if (!key_parse(w, json_string_value(json_array_get(list, i)), &pk)) {
			i++;
			continue;
		}
		fn(w, sg_pk_str(&pk, hex));
		json_array_remove(list, i);
		n++;
	}
	if (json_is_null(list) || (json_is_array(list) && json_array_size(list) == 0))
		json_object_del(object, name);
	return n;
}

/* ---- identity ----------------------------------------------------------------------------------------------------- */

static int take_identity(struct work *w, char *why, size_t cap)
{
	char sk[80], pk[SG_PK_TEXT + 8], hex[SG_PK_TEXT];
	struct sg_pk said;
	int err = 0;

	if (json_object_get(w->root, "public_key") && json_object_get(w->root, "secret_key")) {
		snprintf(why, cap, "this is the configuration of a setup node, not of a visor");
		return SG_EMALF;
	}
	take_text(w->root, "sk", sk, sizeof(sk));
	take_text(w->root, "pk", pk, sizeof(pk));
	if (!sk[0]) {
		snprintf(why, cap, "it has no member \"sk\": no visor's configuration, or one without its key");
		err = SG_EMALF;
	} else if (sg_sk_parse(w->c, sk, strlen(sk), &w->im->sk) < 0 || sg_pk_of(w->c, &w->im->sk, &w->im->pk) < 0) {
		snprintf(why, cap, "member \"sk\" is not a valid key (64 hex digits)");
		err = SG_EKEY;
	} else if (pk[0] && (!key_parse(w, pk, &said) || !sg_pk_equal(&said, &w->im->pk))) {
		snprintf(why, cap, "members \"pk\" and \"sk\" do not belong together: the key of \"sk\" is %s",
			sg_pk_str(&w->im->pk, hex));
		err = SG_EKEY;
	}
	sg_wipe(sk, sizeof(sk));
	return err;
}

/* ---- peers -------------------------------------------------------------------------------------------------------- */

static struct peer *peer_of(struct work *w, const struct sg_pk *pk)
{
	for (size_t i = 0; i < w->n_peers; i++) {
		if (sg_pk_equal(&w->peers[i].pk, pk))
			return &w->peers[i];
	}
	if (w->n_peers == PEERS_MAX || sg_pk_equal(pk, &w->im->pk))
		return NULL;
	w->peers[w->n_peers] = (struct peer){.pk = *pk};
	return &w->peers[w->n_peers++];
}

/* HOST:PORT of a kind that our configuration takes. */
static bool address_ok(const char *text)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	if (!colon || colon == text || strlen(text) >= 256 || sg_parse_u64(colon + 1, 65535, &port) < 0 || port == 0)
		return false;
	for (const char *p = text; p < colon; p++) {
		if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_[]:", *p))
			return false;
	}
	return text[0] == '[' || !memchr(text, ':', (size_t)(colon - text));
}

static void take_table(struct work *w)
{
	json_t *stcp = json_object_get(w->root, "skywire-tcp"), *table = json_object_get(stcp, "pk_table"), *value;
	const char *name;
	void *next;

	json_object_foreach_safe(table, next, name, value)
	{
		const char *address = json_string_value(value);
		struct sg_pk pk;
		struct peer *p = address && address_ok(address) && key_parse(w, name, &pk) ? peer_of(w, &pk) : NULL;

		if (!p)
			continue;
		snprintf(p->stcp, sizeof(p->stcp), "%s", address);
		json_object_del(table, name);
	}
	if (json_is_null(table) || (json_is_object(table) && json_object_size(table) == 0))
		json_object_del(stcp, "pk_table");
}

static void take_persistent(struct work *w)
{
	json_t *list = json_object_get(w->root, "persistent_transports");

	for (size_t i = 0; i < json_array_size(list);) {
		const json_t *t = json_array_get(list, i);
		const char *type = json_string_value(json_object_get(t, "type"));
		struct sg_pk pk;
		struct peer *p =
			type && key_parse(w, json_string_value(json_object_get(t, "pk")), &pk) ? peer_of(w, &pk) : NULL;

		if (p && strcmp(type, "dmsg") == 0)
			p->dmsg = true;
		else if (p && strcmp(type, "stcpr") == 0)
			p->stcpr = true;
		else if (!p || strcmp(type, "stcp") != 0 || !p->stcp[0]) {
			i++;
			continue;
		}
		p->wanted = true;
		json_array_remove(list, i);
	}
	if (json_is_null(list) || (json_is_array(list) && json_array_size(list) == 0))
		json_object_del(w->root, "persistent_transports");
}

static void write_peers(struct work *w)
{
	char hex[SG_PK_TEXT], name[32], address[320];
	size_t n = 0;

	for (size_t i = 0; i < w->n_peers; i++) {
		const struct peer *p = &w->peers[i];

		/* One that was only named for a transport that we cannot make is none. */
		if (!p->stcp[0] && !p->wanted)
			continue;
		snprintf(name, sizeof(name), "peer%zu", ++n);
		import_addf(&w->im->conf, "\nconfig peer '%s'\n", name);
		option(w, "option", "pk", sg_pk_str(&p->pk, hex));
		if (p->stcp[0]) {
			snprintf(address, sizeof(address), "stcp://%s", p->stcp);
			option(w, "list", "address", address);
		}
		if (p->stcpr)
			option(w, "list", "address", "stcpr");
		if (p->dmsg)
			option(w, "list", "address", "dmsg");
		taken(w, p->wanted ? "persistent transport" : "address of a visor", hex);
	}
}

/* ---- services ----------------------------------------------------------------------------------------------------- */

static const struct {
	const char *object, *member, *option;
} services[] = {
	{"dmsg", "discovery", "dmsg_discovery"},
	{"transport", "address_resolver", "address_resolver"},
	{"transport", "discovery", "transport_discovery"},
	{"routing", "route_finder", "route_finder"},
	{"launcher", "service_discovery", "service_discovery"},
	{"uptime_tracker", "addr", "uptime_tracker"},
};

static bool url_ok(const struct work *w, const char *url)
{
	struct sg_pk pk;

	if (strncmp(url, "dmsg://", 7) == 0)
		return sg_pk_parse(w->c, url + 7, SG_MIN(strlen(url + 7), (size_t)2 * SG_PK_LEN), &pk) == 0 &&
		       strcmp(url + 7 + 2 * SG_PK_LEN, ":80") == 0;
	return strncmp(url, "http://", 7) == 0 && url[7] &&
	       strspn(url + 7, "0123456789abcdefghijklmnopqrstuvwxyz"
			       "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:[]") == strlen(url + 7);
}

static void add_setup_node(struct work *w, const char *key)
{
	option(w, "list", "setup_node", key);
}

static void take_dmsg_servers(struct work *w)
{
	json_t *dmsg = json_object_get(w->root, "dmsg"), *list = json_object_get(dmsg, "servers");
	char text[400], hex[SG_PK_TEXT];
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(list);) {
		const json_t *e = json_array_get(list, i);
		const char *address = json_string_value(json_object_get(json_object_get(e, "server"), "address"));
		struct sg_pk pk;

		if (!address || !address_ok(address) || strlen(address) >= 64 ||
			!key_parse(w, json_string_value(json_object_get(e, "static")), &pk)) {
			i++;
			continue;
		}
		snprintf(text, sizeof(text), "%s@%s", sg_pk_str(&pk, hex), address);
		option(w, "list", "dmsg_server", text);
		json_array_remove(list, i);
		n++;
	}
	if (json_is_null(list) || (json_is_array(list) && json_array_size(list) == 0))
		json_object_del(dmsg, "servers");
	snprintf(text, sizeof(text), "%zu", n);
	if (n)
		taken(w, "dmsg servers", text);
}

static void take_services(struct work *w)
{
	char url[300], count[24];
	size_t n;

	import_addf(&w->im->conf, "\nconfig deployment 'net'\n");
	for (size_t i = 0; i < SG_ARRAY_LEN(services); i++) {
		json_t *o = json_object_get(w->root, services[i].object);
		const char *text = json_string_value(json_object_get(o, services[i].member));

		if (!text || strlen(text) >= sizeof(url) || !url_ok(w, text))
			continue;
		take_text(o, services[i].member, url, sizeof(url));
		option(w, "option", services[i].option, url);
		taken(w, services[i].option, url);
	}
	take_dmsg_servers(w);
	n = take_keys(w, json_object_get(w->root, "routing"), "route_setup_nodes", add_setup_node);
	snprintf(count, sizeof(count), "%zu", n);
	if (n)
		taken(w, "setup nodes", count);
}

static void take_dmsg_sessions(struct work *w)
{
	json_t *dmsg = json_object_get(w->root, "dmsg"), *count = json_object_get(dmsg, "sessions_count");
	json_int_t n = json_integer_value(count);
	char text[24];

	if (!json_is_integer(count) || n < 1 || n > 8)
		return;
	snprintf(text, sizeof(text), "%d", (int)n);
	import_addf(&w->im->conf, "\nconfig dmsg 'dmsg'\n");
	option(w, "option", "sessions", text);
	taken(w, "dmsg sessions", text);
	json_object_del(dmsg, "sessions_count");
}

/* ":7777" is every address of the machine. */
static void take_listener(struct work *w)
{
	json_t *stcp = json_object_get(w->root, "skywire-tcp");
	const char *text = json_string_value(json_object_get(stcp, "listening_address"));
	char address[80];
	struct sg_addr parsed;

	if (!text)
		return;
	if (snprintf(address, sizeof(address), "%s%s", text[0] == ':' ? "0.0.0.0" : "", text) >= (int)sizeof(address) ||
		sg_addr_parse(address, &parsed) < 0)
		return;
	import_addf(&w->im->conf, "\nconfig carrier 'stcp'\n");
	option(w, "list", "listen", address);
	taken(w, "stcp, listening at", address);
	json_object_del(stcp, "listening_address");
}

static void take_stcpr_port(struct work *w)
{
	json_t *transport = json_object_get(w->root, "transport"), *value = json_object_get(transport, "stcpr_port");
	json_int_t port = json_integer_value(value);
	char address[32];

	if (!json_is_integer(value) || port < 1 || port > 65535)
		return;
	snprintf(address, sizeof(address), "0.0.0.0:%d", (int)port);
	import_addf(&w->im->conf, "\nconfig carrier 'stcpr'\n");
	option(w, "list", "listen", address);
	taken(w, "stcpr, listening at", address);
	if (json_is_true(json_object_get(w->root, "is_public"))) {
		option(w, "option", "public", "1");
		taken(w, "public visor", "by stcpr");
	}
	json_object_del(w->root, "is_public");
	json_object_del(transport, "stcpr_port");
}

/* ---- the VPN ------------------------------------------------------------------------------------------------------ */

static json_t *app_of(struct work *w, const char *name)
{
	json_t *apps = json_object_get(json_object_get(w->root, "launcher"), "apps"), *app;
	size_t i;

	json_array_foreach(apps, i, app)
	{
		const char *n = json_string_value(json_object_get(app, "name"));

		if (n && strcmp(n, name) == 0)
			return app;
	}
	return NULL;
}

/* Takes "--flag VALUE" or "--flag=VALUE" from the arguments; one '-' is as good as two. False: it is not there. */
static bool take_flag(json_t *args, const char *flag, char *value, size_t cap)
{
	size_t len = strlen(flag);

	value[0] = '\0';
	for (size_t i = 0; i < json_array_size(args); i++) {
		const char *a = json_string_value(json_array_get(args, i)), *v;

		if (!a || a[0] != '-')
			continue;
		a += 1 + (a[1] == '-');
		if (strncmp(a, flag, len) != 0 || (a[len] && a[len] != '='))
			continue;
		v = a[len] ? a + len + 1 : json_string_value(json_array_get(args, i + 1));
		if (!v || strlen(v) >= cap)
			return false;
		snprintf(value, cap, "%s", v);
		if (!a[len])
			json_array_remove(args, i + 1);
		json_array_remove(args, i);
		return true;
	}
	return false;
}

static bool is_plain(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

/* What is the same in every visor: how the program is called. */
static void drop_call(json_t *app, json_t *args)
{
	for (size_t i = 0; i < 2 && json_array_size(args); i++) {
		const char *a = json_string_value(json_array_get(args, 0));

		if (a && a[0] != '-')
			json_array_remove(args, 0);
	}
	if (json_array_size(args) == 0)
		json_object_del(app, "args");
	json_object_del(app, "binary");
	json_object_del(app, "port");
}

static void take_vpn_client(struct work *w)
{
	json_t *app = app_of(w, "vpn-client"), *args = json_object_get(app, "args");
	char server[SG_PK_TEXT + 8], passcode[128], text[16], hex[SG_PK_TEXT];
	bool starts = json_is_true(json_object_get(app, "auto_start")), kill;
	struct sg_pk pk;

	if (!app || !take_flag(args, "srv", server, sizeof(server)) || !key_parse(w, server, &pk))
		return;
	kill = take_flag(args, "killswitch", text, sizeof(text)) && strcmp(text, "false") != 0;
	import_addf(&w->im->conf,
		"\n# As it was there, where the VPN is this machine's own. For a LAN: mode 'vpn' and a "
		"section interface.\n"
		"config vpn_client 'vpn'\n");
	option(w, "option", "mode", starts ? "host" : "off");
	option(w, "option", "kill_switch", kill ? "1" : "0");
	option(w, "list", "exit", sg_pk_str(&pk, hex));
	if (take_flag(args, "passcode", passcode, sizeof(passcode)) && passcode[0] && is_plain(passcode))
		option(w, "option", "passcode", passcode);
	sg_wipe(passcode, sizeof(passcode));
	taken(w, "VPN server", hex);
	json_object_del(app, "auto_start");
	drop_call(app, args);
}

static void take_vpn_server(struct work *w)
{
	json_t *app = app_of(w, "vpn-server"), *args = json_object_get(app, "args");
	char uplink[16], passcode[128];

	if (!app || !json_is_true(json_object_get(app, "auto_start")) ||
		!take_flag(args, "netifc", uplink, sizeof(uplink)) || !uplink[0] ||
		strspn(uplink, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_@") != strlen(uplink))
		return;
	import_addf(&w->im->conf, "\nconfig vpn_server 'exit'\n");
	option(w, "option", "uplink", uplink);
	if (take_flag(args, "passcode", passcode, sizeof(passcode)) && passcode[0] && is_plain(passcode))
		option(w, "option", "passcode", passcode);
	sg_wipe(passcode, sizeof(passcode));
	taken(w, "exit, leaving at", uplink);
	json_object_del(app, "auto_start");
	drop_call(app, args);
}

/* ---- the rest ----------------------------------------------------------------------------------------------------- */

static void add_hypervisor(struct work *w, const char *key)
{
	import_addf(&w->im->conf, "# hypervisor %s\n", key);
	taken(w, "hypervisor, a comment", key);
}

static const char *log_level(const char *theirs)
{
	static const char *const words[][2] = {{"debug", "debug"}, {"trace", "debug"}, {"info", "info"},
		{"warn", "warn"}, {"warning", "warn"}, {"error", "error"}, {"fatal", "error"}, {"panic", "error"}};

	for (size_t i = 0; i < SG_ARRAY_LEN(words); i++) {
		if (strcmp(words[i][0], theirs) == 0)
			return words[i][1];
	}
	return NULL;
}

static void take_min_hops(struct work *w)
{
	json_t *routing = json_object_get(w->root, "routing"), *value = json_object_get(routing, "min_hops");
	json_int_t n = json_integer_value(value);
	char text[24];

	if (!json_is_integer(value) || n < 0 || n > 16)
		return;
	snprintf(text, sizeof(text), "%d", (int)n);
	if (n)
		option(w, "option", "min_hops", text);
	taken(w, "min_hops", text);
	json_object_del(routing, "min_hops");
}

static void take_autoconnect(struct work *w)
{
	json_t *transport = json_object_get(w->root, "transport");
	const json_t *value = json_object_get(transport, "public_autoconnect");

	if (!json_is_boolean(value))
		return;
	if (!json_is_true(value))
		option(w, "option", "automatic_transports", "0");
	taken(w, "public autoconnect", json_is_true(value) ? "on" : "off");
	json_object_del(transport, "public_autoconnect");
}

static void write_visor(struct work *w, const char *identity)
{
	static const char *const plugins[] = {"transport-tcp", "transport-dmsg", "app-vpn", "storage-sqlite"};
	const char *level = log_level(json_string_value(json_object_get(w->root, "log_level"))
					      ? json_string_value(json_object_get(w->root, "log_level"))
					      : "");
	char hex[SG_PK_TEXT];

	import_addf(&w->im->conf, "# The visor %s, made by  skygate import  from the configuration of a Go visor.\n",
		sg_pk_str(&w->im->pk, hex));
	import_addf(&w->im->conf, "config visor 'main'\n");
	option(w, "option", "identity", identity);
	option(w, "option", "user", "skygate");
	for (size_t i = 0; i < SG_ARRAY_LEN(plugins); i++)
		option(w, "list", "plugin", plugins[i]);
	taken(w, "identity", hex);
	if (json_is_false(json_object_get(w->root, "is_public"))) {
		taken(w, "public visor", "no");
		json_object_del(w->root, "is_public");
	}
	take_min_hops(w);
	take_autoconnect(w);
	if (!level)
		return;
	option(w, "option", "log_level", level);
	taken(w, "log level", level);
	json_object_del(w->root, "log_level");
}

static int convert(struct work *w, const char *identity)
{
	write_visor(w, identity);
	take_services(w);
	take_dmsg_sessions(w);
	take_listener(w);
	take_stcpr_port(w);
	take_table(w);
	take_persistent(w);
	write_peers(w);
	take_vpn_client(w);
	take_vpn_server(w);
	if (json_array_size(json_object_get(w->root, "hypervisors"))) {
		import_addf(&w->im->conf,
			"\n# Who managed the visor; for the day when this one can be managed from elsewhere:\n");
		take_keys(w, w->root, "hypervisors", add_hypervisor);
	}
	import_tell_left(w->im, w->root);
	return w->im->conf.err || w->im->taken.err || w->im->left.err ? -ENOMEM : 0;
}

int import_convert(
	const struct sg_crypto *c, struct sg_view in, const char *identity, struct import *out, char *why, size_t cap)
{
	struct work *w = sg_calloc(1, sizeof(*w));
	int err = -ENOMEM;

	memset(out, 0, sizeof(*out));
	why[0] = '\0';
	if (!w)
		goto out;
	w->c = c;
	w->im = out;
	w->root = sg_json_parse(in, NULL);
	if (!json_is_object(w->root)) {
		snprintf(why, cap, "it is no JSON object");
		err = SG_EMALF;
		goto out;
	}
	err = take_identity(w, why, cap);
	if (err == 0)
		err = convert(w, identity);
out:
	if (w)
		json_decref(w->root);
	sg_free(w);
	if (err == -ENOMEM)
		snprintf(why, cap, "memory is out");
	return err;
}
