/*
 * Hellos of the VPN: what a Go program reads and writes with encoding/json: members in order, '<' '>' '&' escaped; read
 * without regard to case, null leaves a member as it is, unknown ones are ignored.
 */
#include "wire/vpn.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "wire/json.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define HELLO_SENT_MAX 1023 /* a hello of exactly 1,024 bytes blocks a Go reader */
#define GO_READ        1024 /* bytes of one read of the Go reader */
#define OUR_MARK       ",\"skygate\":{\"v\":1,\"rec\":1,\"parts\":1,\"uso\":1}"

static int hello_end(struct sg_text *t)
{
	if (t->err || t->len > HELLO_SENT_MAX)
		return SG_ELONG;
	return (int)t->len;
}

static void ip_add(struct sg_text *t, uint32_t ip)
{
	char buf[SG_IP4_TEXT];

	sg_text_addf(t, "\"%s\"", ip ? sg_ip4_str(ip, buf) : "");
}

int sg_vpn_client_hello_encode(const struct sg_vpn_client_hello *h, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);

	sg_text_add(&t, "{\"unavailable_private_ips\":");
	sg_text_add(&t, h->null_ips ? "null" : "[");
	for (size_t i = 0; i < h->n_ips && !h->null_ips; i++) {
		if (i)
			sg_text_add(&t, ",");
		ip_add(&t, h->ips[i]);
	}
	sg_text_add(&t, h->null_ips ? ",\"passcode\":" : "],\"passcode\":");
	sg_json_text_add(&t, h->passcode);
	sg_text_add(&t, h->rec ? OUR_MARK "}" : "}");
	return hello_end(&t);
}

int sg_vpn_server_hello_encode(const struct sg_vpn_server_hello *h, char *out, size_t cap)
{
	struct sg_text t = sg_text(out, cap);

	sg_text_addf(&t, "{\"status\":%d,\"tun_ip\":", h->status);
	ip_add(&t, h->tun_ip);
	sg_text_add(&t, ",\"tun_gateway\":");
	ip_add(&t, h->tun_gateway);
	sg_text_add(&t, h->rec ? OUR_MARK "}" : "}");
	return hello_end(&t);
}

/* The object at the front as JSON, and its length with the white space behind. */
static int hello_parse(struct sg_view in, json_t **root)
{
	struct sg_json_scan scan = {0};
	int end = sg_json_scan(&scan, in, SG_VPN_HELLO_MAX);

	if (end <= 0)
		return end;
	*root = sg_json_parse_peer((struct sg_view){in.p, (size_t)end});
	if (!*root)
		return SG_EMALF;
	return end + (int)sg_json_space((struct sg_view){in.p + end, SG_MIN(in.len, SG_VPN_HELLO_MAX) - (size_t)end});
}

static void mark_decode(const json_t *root, bool *rec, bool *parts, bool *uso)
{
	const json_t *mark = sg_json_get(root, "skygate");

	*rec = json_is_object(mark) && json_integer_value(sg_json_get(mark, "v")) >= 1 &&
	       json_integer_value(sg_json_get(mark, "rec")) == 1;
	*parts = *rec && json_integer_value(sg_json_get(mark, "parts")) == 1;
	*uso = *rec && json_integer_value(sg_json_get(mark, "uso")) == 1;
}

/*
 * A string as Go's net.IP takes it. 0; SG_EKEY for "" and for IPv6 proper, which decode but are no
 * IPv4 address; SG_EMALF for what is no address at all.
 */
static int go_ip_parse(const char *s, uint32_t *out)
{
	struct in6_addr six;

	if (sg_ip4_parse(s, out) == 0)
		return 0;
	if (!*s)
		return SG_EKEY;
	if (inet_pton(AF_INET6, s, &six) != 1)
		return SG_EMALF;
	if (!IN6_IS_ADDR_V4MAPPED(&six))
		return SG_EKEY;
	*out = sg_get_u32(six.s6_addr + 12);
	return 0;
}

static int ips_decode(const json_t *list, struct sg_vpn_client_hello *out)
{
	out->null_ips = !list || json_is_null(list);
	if (out->null_ips)
		return 0;
	if (!json_is_array(list))
		return SG_EMALF;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		uint32_t ip = 0;
		int err = json_is_null(item) ? SG_EKEY : SG_EMALF;

		if (json_is_string(item))
			err = go_ip_parse(json_string_value(item), &ip);
		if (err == SG_EMALF)
			return err;
		if (err == 0 && out->n_ips == SG_VPN_IPS_MAX)
			return SG_ELONG;
		if (err == 0)
			out->ips[out->n_ips++] = ip;
		else
			out->bad_ip = true;
	}
	return 0;
}

static int passcode_decode(const json_t *text, struct sg_vpn_client_hello *out)
{
	size_t len;

	if (!text || json_is_null(text))
		return 0;
	if (!json_is_string(text))
		return SG_EMALF;
	len = json_string_length(text);
	out->passcode_long = len > SG_VPN_PASSCODE_MAX;
	if (!out->passcode_long)
		memcpy(out->passcode, json_string_value(text), len + 1);
	return 0;
}

int sg_vpn_client_hello_decode(struct sg_view in, struct sg_vpn_client_hello *out)
{
	json_t *root = NULL;
	int used, err;

	memset(out, 0, sizeof(*out));
	used = hello_parse(in, &root);
	if (used <= 0)
		return used;
	err = ips_decode(sg_json_get(root, "unavailable_private_ips"), out);
	if (err == 0)
		err = passcode_decode(sg_json_get(root, "passcode"), out);
	mark_decode(root, &out->rec, &out->parts, &out->uso);
	json_decref(root);
	return err < 0 ? err : used;
}

enum sg_vpn_status sg_vpn_client_hello_status(
	const struct sg_vpn_client_hello *h, const char passcode[SG_VPN_PASSCODE_MAX + 1])
{
	uint8_t diff = h->passcode_long;

	for (size_t i = 0; i < sizeof(h->passcode); i++)
		diff |= (uint8_t)(passcode[i] ^ h->passcode[i]);
	if (passcode[0] && diff)
		return SG_VPN_FORBIDDEN;
	return h->bad_ip ? SG_VPN_BAD_REQUEST : SG_VPN_OK;
}

/* An address of the server hello: absent, null and "" are 0. */
static int tun_ip_decode(const json_t *text, uint32_t *out)
{
	if (!text || json_is_null(text))
		return 0;
	if (!json_is_string(text))
		return SG_EMALF;
	return go_ip_parse(json_string_value(text), out) == SG_EMALF ? SG_EMALF : 0;
}

int sg_vpn_server_hello_decode(struct sg_view in, struct sg_vpn_server_hello *out)
{
	json_t *root = NULL, *status;
	int used, err = 0;

	memset(out, 0, sizeof(*out));
	used = hello_parse(in, &root);
	if (used <= 0)
		return used;
	status = sg_json_get(root, "status");
	if (json_is_integer(status) && json_integer_value(status) >= INT32_MIN &&
		json_integer_value(status) <= INT32_MAX)
		out->status = (int)json_integer_value(status);
	else if (status && !json_is_null(status))
		err = SG_EMALF;
	if (err == 0)
		err = tun_ip_decode(sg_json_get(root, "tun_ip"), &out->tun_ip);
	if (err == 0)
		err = tun_ip_decode(sg_json_get(root, "tun_gateway"), &out->tun_gateway);
	mark_decode(root, &out->rec, &out->parts, &out->uso);
	json_decref(root);
	return err < 0 ? err : used;
}

int sg_vpn_hello_take(struct sg_vpn_hello_in *h, bool records, struct sg_view in, size_t *used)
{
	size_t before = h->len, take = SG_MIN(in.len, sizeof(h->b) - h->len);
	struct sg_view all;
	int end;

	memcpy(h->b + h->len, in.p, take);
	h->len += take;
	*used = take;
	if (records && take < in.len)
		return SG_ELONG;
	if (records && in.len % GO_READ == 0)
		return 0;
	all = (struct sg_view){h->b, h->len};
	end = sg_json_scan(&h->scan, all, SG_VPN_HELLO_MAX);
	if (end < 0)
		return end;
	if (end == 0)
		return records ? SG_EMALF : 0;
	end += (int)sg_json_space((struct sg_view){h->b + end, h->len - (size_t)end});
	if (records)
		return (size_t)end == h->len ? 1 : SG_EMALF;
	*used = (size_t)end - before;
	h->len = (size_t)end;
	return 1;
}
