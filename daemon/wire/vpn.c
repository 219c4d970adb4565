/*
 * Hellos and records of the VPN. The hellos are what a Go program reads and writes with
 * encoding/json: members in order, '<' '>' '&' escaped; read without regard to case, null leaves a
 * member as it is, unknown ones are ignored.
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

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * Where the JSON object at the front ends: Jansson alone cannot tell a malformed value from one that is not whole yet.
 * Only braces outside strings count here; whether the rest is JSON is the parser's question. Goes on where @s stands.
 */
static int object_end(struct sg_vpn_scan *s, struct sg_view in)
{
	for (; s->at < in.len && s->at < SG_VPN_HELLO_MAX; s->at++) {
		uint8_t c = in.p[s->at];

		if (s->escaped)
			s->escaped = false;
		else if (s->quoted && c == '\\')
			s->escaped = true;
		else if (s->depth && c == '"')
			s->quoted = !s->quoted;
		else if (!s->quoted && c == '{')
			s->depth++;
		else if (!s->depth && !is_space(c))
			return SG_EMALF;
		else if (!s->quoted && c == '}' && --s->depth == 0)
			return (int)s->at + 1;
	}
	return in.len >= SG_VPN_HELLO_MAX ? SG_ELONG : 0;
}

/* The object at the front as JSON, and its length with the white space behind. */
static int hello_parse(struct sg_view in, json_t **root)
{
	struct sg_vpn_scan scan = {0};
	int end = object_end(&scan, in);

	if (end <= 0)
		return end;
	*root = sg_json_parse_peer((struct sg_view){in.p, (size_t)end});
	if (!*root)
		return SG_EMALF;
	while ((size_t)end < in.len && end < SG_VPN_HELLO_MAX && is_space(in.p[end]))
		end++;
	return end;
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
	end = object_end(&h->scan, all);
	if (end < 0)
		return end;
	if (end == 0)
		return records ? SG_EMALF : 0;
	while ((size_t)end < h->len && is_space(h->b[end]))
		end++;
	if (records)
		return (size_t)end == h->len ? 1 : SG_EMALF;
	*used = (size_t)end - before;
	h->len = (size_t)end;
	return 1;
}

void sg_vpn_record_encode(const struct sg_vpn_record *r, uint8_t out[SG_VPN_RECORD_HEAD])
{
	out[0] = r->kind;
	out[1] = r->flags;
	out[2] = r->gso;
	out[3] = 0;
	sg_put_u32(out + 4, r->len);
	sg_put_u16(out + 8, r->hdr_len);
	sg_put_u16(out + 10, r->gso_size);
	sg_put_u16(out + 12, r->csum_start);
	sg_put_u16(out + 14, r->csum_offset);
}

int sg_vpn_record_decode(const uint8_t in[SG_VPN_RECORD_HEAD], struct sg_vpn_record *out)
{
	uint8_t gso;

	out->kind = in[0];
	out->flags = in[1];
	out->gso = in[2];
	out->len = sg_get_u32(in + 4);
	out->hdr_len = sg_get_u16(in + 8);
	out->gso_size = sg_get_u16(in + 10);
	out->csum_start = sg_get_u16(in + 12);
	out->csum_offset = sg_get_u16(in + 14);
	if (out->len > SG_VPN_PACKET_MAX)
		return SG_ELONG;
	gso = out->gso & (uint8_t)~SG_GSO_ECN;
	if (out->kind > SG_VPN_BYE || (out->flags & ~SG_VPN_F_NEEDS_CSUM) || in[3] != 0)
		return SG_EMALF;
	if (out->gso == SG_GSO_ECN || out->gso == (SG_GSO_UDP | SG_GSO_ECN))
		return SG_EMALF;
	if (gso != SG_GSO_NONE && gso != SG_GSO_TCP4 && gso != SG_GSO_TCP6 && gso != SG_GSO_UDP)
		return SG_EMALF;
	return 0;
}

void sg_vpn_part_encode(const struct sg_vpn_part *p, uint8_t out[SG_VPN_RECORD_HEAD])
{
	sg_put_u32(out, (uint32_t)SG_VPN_PART << 24);
	sg_put_u32(out + 4, p->number);
	sg_put_u32(out + 8, p->total);
	sg_put_u32(out + 12, p->offset);
}

int sg_vpn_part_decode(const uint8_t in[SG_VPN_RECORD_HEAD], size_t len, struct sg_vpn_part *out)
{
	*out = (struct sg_vpn_part){
		.number = sg_get_u32(in + 4), .total = sg_get_u32(in + 8), .offset = sg_get_u32(in + 12)};
	if (sg_get_u32(in) != (uint32_t)SG_VPN_PART << 24 || len == 0)
		return SG_EMALF;
	if (out->total < SG_VPN_RECORD_HEAD || out->total > SG_VPN_RECORD_HEAD + SG_VPN_PACKET_MAX)
		return SG_EMALF;
	return out->offset <= out->total && len <= out->total - out->offset ? 0 : SG_EMALF;
}

static int tcp_check(const struct sg_vpn_record *r, struct sg_view p, size_t ip_hlen)
{
	size_t head;

	if (r->csum_offset != 16 || r->gso_size < SG_VPN_GSO_SIZE_MIN || p.len < ip_hlen + 20)
		return SG_EMALF;
	head = (size_t)(p.p[ip_hlen + 12] >> 4) * 4;
	return head < 20 || p.len < ip_hlen + head ? SG_EMALF : 0;
}

static int udp_check(const struct sg_vpn_record *r, struct sg_view p, size_t ip_hlen)
{
	size_t head = ip_hlen + 8;

	if (r->csum_offset != 6 || r->gso_size == 0 || p.len <= head)
		return SG_EMALF;
	return (p.len - head + r->gso_size - 1) / r->gso_size > SG_VPN_USO_MAX ? SG_EMALF : 0;
}

/* A super-packet: TCP or UDP right behind an IP header without extensions, checksum left to the last one who cuts it. */
static int gso_check(const struct sg_vpn_record *r, struct sg_view p, size_t ip_hlen)
{
	bool six = p.p[0] >> 4 == 6, udp = r->gso == SG_GSO_UDP;

	if (!(r->flags & SG_VPN_F_NEEDS_CSUM) || r->csum_start != ip_hlen || r->hdr_len > p.len)
		return SG_EMALF;
	if (!udp && six != ((r->gso & ~SG_GSO_ECN) == SG_GSO_TCP6))
		return SG_EMALF;
	if (p.p[six ? 6 : 9] != (udp ? IPPROTO_UDP : IPPROTO_TCP))
		return SG_EMALF;
	if (!six && (sg_get_u16(p.p + 6) & 0x3fff) != 0)
		return SG_EMALF; /* a fragment is no whole segment */
	return (udp ? udp_check : tcp_check)(r, p, ip_hlen);
}

int sg_vpn_record_check(const struct sg_vpn_record *r, struct sg_view packet)
{
	size_t ip_hlen;

	if (!packet.len || packet.len != r->len || sg_ip_length(packet) != (int)packet.len)
		return SG_EMALF;
	ip_hlen = packet.p[0] >> 4 == 6 ? 40 : (size_t)(packet.p[0] & 15) * 4;
	if (r->gso != SG_GSO_NONE)
		return gso_check(r, packet, ip_hlen);
	if (r->gso_size || r->hdr_len > packet.len)
		return SG_EMALF;
	if (!(r->flags & SG_VPN_F_NEEDS_CSUM))
		return 0;
	if (r->csum_start < ip_hlen || (size_t)r->csum_start + r->csum_offset + 2 > packet.len)
		return SG_EMALF;
	return 0;
}

int sg_ip_length(struct sg_view in)
{
	size_t len, head;

	if (in.len == 0)
		return 0;
	switch (in.p[0] >> 4) {
	case 4:
		head = (size_t)(in.p[0] & 15) * 4;
		if (head < 20)
			return SG_EMALF;
		if (in.len < 4)
			return 0;
		len = sg_get_u16(in.p + 2);
		return len < head ? SG_EMALF : (int)len;
	case 6:
		if (in.len < 6)
			return 0;
		len = 40 + (size_t)sg_get_u16(in.p + 4);
		return len > SG_VPN_PACKET_MAX ? SG_EMALF : (int)len;
	default:
		return SG_EMALF;
	}
}
