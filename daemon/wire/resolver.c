/* The address resolver's JSON. */
#include "wire/resolver.h"
#include "base/common.h"
#include "base/err.h"
#include "wire/json.h"

#include <arpa/inet.h>
#include <netinet/in.h>

int sg_bind_encode(uint16_t port, char (*addresses)[SG_IP_TEXT], size_t n, const char *public_ip, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);
	bool there = !public_ip[0];

	sg_text_addf(&t, "{\"port\":\"%u\",\"addresses\":[", port);
	for (size_t i = 0; i < n; i++) {
		sg_text_addf(&t, "%s\"%s\"", i ? "," : "", addresses[i]);
		there = there || strcmp(addresses[i], public_ip) == 0;
	}
	/* A public address that is not among the others is refused. */
	if (!there)
		sg_text_addf(&t, "%s\"%s\"", n ? "," : "", public_ip);
	sg_text_add(&t, "]");
	if (public_ip[0])
		sg_text_addf(&t, ",\"public_ip\":\"%s\"", public_ip);
	sg_text_add(&t, "}\n");
	return t.err ? SG_ELONG : (int)t.len;
}

static bool is_ip(const char *s)
{
	uint8_t a[16];

	return inet_pton(AF_INET, s, a) == 1 || inet_pton(AF_INET6, s, a) == 1;
}

static int decode(const json_t *root, struct sg_visor_data *out)
{
	const json_t *list, *i;
	uint64_t port;
	char text[24];
	size_t at;

	if (!json_is_object(root) || sg_json_get_string(root, "remote_addr", out->remote, sizeof(out->remote)) < 0 ||
		sg_json_get_string(root, "port", text, sizeof(text)) < 0 ||
		sg_json_get_array(root, "addresses", &list) < 0)
		return SG_EMALF;
	(void)sg_json_get_string(root, "remote_addr_v6", out->remote_v6, sizeof(out->remote_v6)); /* "" will do */
	if (text[0] && sg_parse_u64(text, UINT16_MAX, &port) < 0)
		return SG_EMALF;
	out->port = text[0] ? (uint16_t)port : 0;
	out->local = json_is_true(sg_json_get(root, "is_local"));
	json_array_foreach(list, at, i)
	{
		const char *s = json_string_value(i);

		if (s && out->n < SG_VISOR_ADDRESSES && strlen(s) < SG_IP_TEXT && is_ip(s))
			snprintf(out->addresses[out->n++], SG_IP_TEXT, "%s", s);
	}
	return 0;
}

int sg_visor_data_decode(struct sg_view in, struct sg_visor_data *out)
{
	json_t *root = in.len ? sg_json_parse_peer(in) : NULL;
	int err;

	memset(out, 0, sizeof(*out));
	err = decode(root, out);
	json_decref(root);
	return err;
}

/* Not this machine, not everybody, and not what answers on the line itself (169.254.169.254 is such a one). */
static bool can_be_dialled(const struct sg_addr *a)
{
	if (a->ss.ss_family == AF_INET) {
		uint32_t ip = ntohl(((const struct sockaddr_in *)&a->ss)->sin_addr.s_addr);

		return ip >> 24 != 127 && ip >> 24 != 0 && ip >> 16 != 0xa9fe && ip >> 28 < 14;
	}
	if (a->ss.ss_family == AF_INET6) {
		const struct in6_addr *ip = &((const struct sockaddr_in6 *)&a->ss)->sin6_addr;

		/* IPv4 in the clothes of IPv6 would come past the rules above. */
		return !IN6_IS_ADDR_LOOPBACK(ip) && !IN6_IS_ADDR_UNSPECIFIED(ip) && !IN6_IS_ADDR_MULTICAST(ip) &&
		       !IN6_IS_ADDR_LINKLOCAL(ip) && !IN6_IS_ADDR_V4MAPPED(ip) && !IN6_IS_ADDR_V4COMPAT(ip);
	}
	return false;
}

struct addrs {
	struct sg_addr *out;
	size_t n;
};

/* @text: an address, with a port or without. */
static void add(struct addrs *l, const char *text, uint16_t port)
{
	struct sg_addr a;
	char full[80];
	bool bare = is_ip(text);

	if (bare)
		snprintf(full, sizeof(full), strchr(text, ':') ? "[%s]:%u" : "%s:%u", text, port);
	else
		snprintf(full, sizeof(full), "%s", text);
	if (l->n == SG_VISOR_ADDRS_MAX || !text[0] || sg_addr_parse(full, &a) < 0 || sg_addr_port(&a) == 0 ||
		!can_be_dialled(&a))
		return;
	for (size_t i = 0; i < l->n; i++) {
		if (sg_addr_same_host(&l->out[i], &a) && sg_addr_port(&l->out[i]) == sg_addr_port(&a))
			return;
	}
	l->out[l->n++] = a;
}

size_t sg_visor_addrs(const struct sg_visor_data *v, const char *own_ip, struct sg_addr out[SG_VISOR_ADDRS_MAX])
{
	struct addrs l = {.out = out};
	size_t own = strlen(own_ip);
	bool near = v->local;

	/* One address for both of us: the same translator, which seldom sends our packets back in. */
	if (own && strncmp(v->remote, own_ip, own) == 0 && (v->remote[own] == '\0' || v->remote[own] == ':'))
		near = true;
	for (size_t i = 0; near && i < v->n && l.n < SG_VISOR_ADDRS_MAX - 2; i++)
		add(&l, v->addresses[i], v->port);
	add(&l, v->remote, v->port);
	add(&l, v->remote_v6, v->port);
	return l.n;
}
