/* Probes of the tunnel. */
#include "probe.h"
#include "base/common.h"
#include "base/cursor.h"

#include <netinet/in.h>

enum { ICMP_ECHO_REQUEST = 8, ICMP_ECHO_REPLY = 0 };

void probe_begin(struct probe *p, uint32_t nonce, uint32_t lease, bool record, int64_t now_ms)
{
	p->nonce = nonce;
	p->number = 0;
	p->lease = lease;
	p->want_record = record;
	p->want_echo = p->n_targets > 0;
	p->got_record = p->got_echo = false;
	p->end_ms = p->path_ms = now_ms;
	p->rtt_ms = -1;
}

void probe_round(struct probe *p, int64_t now_ms, uint8_t body[PROBE_BODY])
{
	p->number++;
	p->sent_ms[p->number % SG_ARRAY_LEN(p->sent_ms)] = now_ms;
	sg_put_u32(body, p->nonce);
	sg_put_u32(body + 4, p->number);
}

static uint16_t csum(const uint8_t *b, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += sg_get_u16(b + i);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

void probe_echo(const struct probe *p, size_t target, uint8_t packet[PROBE_ICMP])
{
	memset(packet, 0, PROBE_ICMP);
	packet[0] = 0x45;
	sg_put_u16(packet + 2, PROBE_ICMP);
	sg_put_u16(packet + 4, (uint16_t)p->number);
	packet[8] = 64;
	packet[9] = IPPROTO_ICMP;
	sg_put_u32(packet + 12, p->lease);
	sg_put_u32(packet + 16, p->targets[target]);
	sg_put_u16(packet + 10, csum(packet, 20));
	packet[20] = ICMP_ECHO_REQUEST;
	sg_put_u16(packet + 24, (uint16_t)(p->nonce >> 16));
	sg_put_u16(packet + 26, (uint16_t)p->number);
	sg_put_u32(packet + 28, p->nonce);
	sg_put_u32(packet + 32, p->number);
	sg_put_u16(packet + 22, csum(packet + 20, PROBE_ICMP - 20));
}

/* Nonce and number of a round that is not long ago. */
static bool body_is_ours(struct probe *p, const uint8_t *body, int64_t now_ms, bool take_rtt)
{
	uint32_t number = sg_get_u32(body + 4);

	if (sg_get_u32(body) != p->nonce || number == 0 || p->number - number >= SG_ARRAY_LEN(p->sent_ms))
		return false;
	if (take_rtt)
		p->rtt_ms = now_ms - p->sent_ms[number % SG_ARRAY_LEN(p->sent_ms)];
	return true;
}

bool probe_answer(struct probe *p, struct sg_view body, int64_t now_ms)
{
	if (body.len != PROBE_BODY || !body_is_ours(p, body.p, now_ms, !p->want_echo))
		return false;
	p->got_record = true;
	p->end_ms = now_ms;
	return true;
}

bool probe_echo_answer(struct probe *p, struct sg_view in, int64_t now_ms)
{
	size_t i, ip_hlen = in.p[0] >> 4 == 4 ? (size_t)(in.p[0] & 15) * 4 : 0;

	if (!ip_hlen || in.len != ip_hlen + PROBE_ICMP - 20 || in.p[9] != IPPROTO_ICMP)
		return false;
	if (in.p[ip_hlen] != ICMP_ECHO_REPLY || sg_get_u32(in.p + 16) != p->lease)
		return false;
	for (i = 0; i < p->n_targets && p->targets[i] != sg_get_u32(in.p + 12);)
		i++;
	if (i == p->n_targets || !body_is_ours(p, in.p + ip_hlen + 8, now_ms, true))
		return false;
	p->got_echo = true;
	p->end_ms = p->path_ms = now_ms;
	return true;
}

void probe_traffic(struct probe *p, struct sg_view packet, int64_t now_ms)
{
	p->end_ms = now_ms;
	/* ICMP may be the exit itself telling that it reaches nothing. */
	if (packet.p[0] >> 4 == 4 && packet.p[9] != IPPROTO_ICMP)
		p->path_ms = now_ms;
}

bool probe_proven(const struct probe *p)
{
	return p->got_record >= p->want_record && p->got_echo >= p->want_echo && (p->want_record || p->want_echo);
}

int64_t probe_alive_ms(const struct probe *p)
{
	return p->want_echo ? p->path_ms : p->end_ms;
}
