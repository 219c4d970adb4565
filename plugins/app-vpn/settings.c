/* The sections vpn_client and vpn_server as the two halves want them. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/hex.h"
#include "client.h"
#include "server.h"

void client_exit_bare(struct exit *e, const struct sg_pk *pk)
{
	char text[SG_PK_SHORT];

	*e = (struct exit){.bare = true, .pk = *pk};
	snprintf(e->name, sizeof(e->name), "%s", sg_pk_short(pk, text));
}

static void exit_read(struct exit *e, const char *text)
{
	struct sg_pk pk;

	*e = (struct exit){0};
	/* Names of sections are shorter than keys. */
	if (sg_hex_parse(text, strlen(text), pk.b, sizeof(pk.b)) == 0)
		client_exit_bare(e, &pk);
	else
		snprintf(e->name, sizeof(e->name), "%s", text);
}

int client_conf_read(struct client_conf *conf, const struct sg_uci_section *s, char *why, size_t why_cap)
{
	const struct sg_uci_option *exits = sg_uci_option(s, "exit"), *probes = sg_uci_option(s, "probe");
	const char *mode = sg_uci_get(s, "mode", "off");

	memset(conf, 0, sizeof(*conf));
	conf->mode = strcmp(mode, "vpn") == 0 ? MODE_VPN : strcmp(mode, "host") == 0 ? MODE_HOST : MODE_OFF;
	conf->kill_switch = sg_uci_bool(s, "kill_switch", true);
	conf->min_hops = (unsigned)sg_uci_uint(s, "min_hops", 0);
	if (snprintf(conf->passcode, sizeof(conf->passcode), "%s", sg_uci_get(s, "passcode", "")) >
		SG_VPN_PASSCODE_MAX) {
		snprintf(why, why_cap, "vpn_client '%s': option passcode: at most %d bytes", s->name,
			SG_VPN_PASSCODE_MAX);
		return SG_ECONF;
	}
	if (exits) {
		sg_list_for (it, &exits->values) {
			if (conf->n_exits == EXITS_MAX) {
				snprintf(why, why_cap, "more than %d exits", EXITS_MAX);
				return SG_ECONF;
			}
			exit_read(&conf->exits[conf->n_exits++], sg_container_of(it, struct sg_uci_value, node)->text);
		}
	}
	if (probes) {
		sg_list_for (it, &probes->values) {
			if (conf->n_targets == PROBE_TARGETS_MAX ||
				sg_ip4_parse(sg_container_of(it, struct sg_uci_value, node)->text,
					&conf->targets[conf->n_targets++]) < 0) {
				snprintf(why, why_cap, "probe: at most %d IPv4 addresses", PROBE_TARGETS_MAX);
				return SG_ECONF;
			}
		}
	}
	return 0;
}

bool client_conf_same(const struct client_conf *a, const struct client_conf *b)
{
	if (a->mode != b->mode || a->kill_switch != b->kill_switch || a->n_exits != b->n_exits ||
		a->min_hops != b->min_hops || a->n_targets != b->n_targets || strcmp(a->passcode, b->passcode) != 0 ||
		memcmp(a->targets, b->targets, sizeof(a->targets)) != 0)
		return false;
	for (size_t i = 0; i < a->n_exits; i++) {
		if (strcmp(a->exits[i].name, b->exits[i].name) != 0 || !sg_pk_equal(&a->exits[i].pk, &b->exits[i].pk))
			return false;
	}
	return true;
}

void server_conf_fini(struct server_conf *conf)
{
	sg_wipe(conf->passcode, sizeof(conf->passcode));
	sg_free(conf->allow);
}

int server_conf_read(struct server_conf *conf, const struct sg_uci_section *s, char *why, size_t why_cap)
{
	const struct sg_uci_option *allow = sg_uci_option(s, "allow_pk");
	unsigned bits = 0;
	size_t n = 0;

	memset(conf, 0, sizeof(*conf));
	if (sg_prefix4_parse(sg_uci_get(s, "pool", "172.16.0.0/12"), &conf->pool.net, &bits) < 0 ||
		bits < SG_VPN_POOL_BITS_MIN || bits > SG_VPN_POOL_BITS_MAX) {
		snprintf(why, why_cap, "vpn_server '%s': option pool: a network between /%d and /%d is wanted", s->name,
			SG_VPN_POOL_BITS_MIN, SG_VPN_POOL_BITS_MAX);
		return SG_ECONF;
	}
	conf->pool.bits = (uint8_t)bits;
	conf->announce = sg_uci_bool(s, "announce", true);
	conf->max_clients = (size_t)sg_uci_uint(s, "max_clients", 100);
	conf->upload_kbit = sg_uci_uint(s, "upload_kbit", 0);
	conf->download_kbit = sg_uci_uint(s, "download_kbit", 0);
	if (snprintf(conf->passcode, sizeof(conf->passcode), "%s", sg_uci_get(s, "passcode", "")) >
		SG_VPN_PASSCODE_MAX) {
		snprintf(why, why_cap, "vpn_server '%s': option passcode: at most %d bytes", s->name,
			SG_VPN_PASSCODE_MAX);
		return SG_ECONF;
	}
	if (!allow)
		return 0;
	sg_list_for (it, &allow->values)
		n++;
	conf->allow = sg_calloc(n, sizeof(*conf->allow));
	if (!conf->allow)
		return -ENOMEM;
	sg_list_for (it, &allow->values) {
		const char *text = sg_container_of(it, struct sg_uci_value, node)->text;

		if (sg_hex_parse(text, strlen(text), conf->allow[conf->n_allow++].b, SG_PK_LEN) < 0) {
			snprintf(why, why_cap, "vpn_server '%s': allow_pk: '%s' is no key", s->name, text);
			server_conf_fini(conf);
			return SG_ECONF;
		}
	}
	return 0;
}
