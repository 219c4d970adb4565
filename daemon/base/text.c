/* Bounded text, strict numbers, numeric addresses. */
#include "base/text.h"
#include "base/common.h"
#include "base/err.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct sg_text sg_text(char *buf, size_t cap)
{
	if (cap)
		buf[0] = '\0';
	return (struct sg_text){.buf = buf, .cap = cap, .err = cap == 0};
}

void sg_text_vaddf(struct sg_text *t, const char *fmt, va_list ap)
{
	size_t room = t->cap - t->len;
	int n;

	if (t->err)
		return;
	n = vsnprintf(t->buf + t->len, room, fmt, ap);
	if (n < 0 || (size_t)n >= room) {
		t->err = true;
		t->len = t->cap - 1;
		t->buf[t->len] = '\0';
		return;
	}
	t->len += (size_t)n;
}

void sg_text_addf(struct sg_text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sg_text_vaddf(t, fmt, ap);
	va_end(ap);
}

void sg_text_add(struct sg_text *t, const char *s)
{
	sg_text_addf(t, "%s", s);
}

size_t sg_utf8_len(const uint8_t *s)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;

	if (s[0] >= 0x80 && (s[0] < 0xc2 || s[0] > 0xf4))
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if (len == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)))
		return 0; /* too long a form; half of a surrogate pair */
	if (len == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)))
		return 0;
	return len;
}

void sg_text_tame(char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s, next = (unsigned char)s[1];

		if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
			s[0] = s[1] = '?';
			s++;
		} else if (c < 0x20 || c == 0x7f) {
			*s = '?';
		}
	}
}

void sg_text_ascii(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			*s = '?';
	}
}

int sg_parse_u64(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (!*s)
		return SG_EMALF;
	for (; *s; s++) {
		unsigned d = (unsigned)(*s - '0');

		if (d > 9)
			return SG_EMALF;
		if (v > (UINT64_MAX - d) / 10)
			return SG_ELONG;
		v = v * 10 + d;
	}
	if (v > max)
		return SG_ELONG;
	*out = v;
	return 0;
}

int sg_addr_parse(const char *s, struct sg_addr *out)
{
	char host[INET6_ADDRSTRLEN];
	const char *colon = strrchr(s, ':');
	bool six = s[0] == '[';
	size_t len;
	uint64_t port;

	memset(out, 0, sizeof(*out));
	if (!colon || sg_parse_u64(colon + 1, UINT16_MAX, &port) < 0)
		return SG_EMALF;
	len = (size_t)(colon - s);
	if (six) {
		if (len < 2 || s[len - 1] != ']')
			return SG_EMALF;
		s++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return SG_EMALF;
	memcpy(host, s, len);
	host[len] = '\0';
	if (six) {
		struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&out->ss;

		if (inet_pton(AF_INET6, host, &sin6->sin6_addr) != 1)
			return SG_EMALF;
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons((uint16_t)port);
		out->len = sizeof(*sin6);
	} else {
		struct sockaddr_in *sin = (struct sockaddr_in *)&out->ss;

		if (inet_pton(AF_INET, host, &sin->sin_addr) != 1)
			return SG_EMALF;
		sin->sin_family = AF_INET;
		sin->sin_port = htons((uint16_t)port);
		out->len = sizeof(*sin);
	}
	return 0;
}

char *sg_addr_str(const struct sg_addr *a, char buf[SG_ADDR_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "";

	if (a->len && a->ss.ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)&a->ss;

		inet_ntop(AF_INET, &sin->sin_addr, host, sizeof(host));
		snprintf(buf, SG_ADDR_TEXT, "%s:%u", host, sg_addr_port(a));
	} else if (a->len && a->ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&a->ss;

		inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof(host));
		snprintf(buf, SG_ADDR_TEXT, "[%s]:%u", host, sg_addr_port(a));
	} else {
		snprintf(buf, SG_ADDR_TEXT, "no address");
	}
	return buf;
}

uint16_t sg_addr_port(const struct sg_addr *a)
{
	if (a->ss.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&a->ss)->sin6_port);
	return ntohs(((const struct sockaddr_in *)&a->ss)->sin_port);
}

void sg_addr_set_port(struct sg_addr *a, uint16_t port)
{
	if (a->ss.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->ss)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&a->ss)->sin_port = htons(port);
}

bool sg_addr_same_host(const struct sg_addr *a, const struct sg_addr *b)
{
	if (a->ss.ss_family != b->ss.ss_family)
		return false;
	if (a->ss.ss_family == AF_INET6)
		return memcmp(&((const struct sockaddr_in6 *)&a->ss)->sin6_addr,
			       &((const struct sockaddr_in6 *)&b->ss)->sin6_addr, 16) == 0;
	return ((const struct sockaddr_in *)&a->ss)->sin_addr.s_addr ==
	       ((const struct sockaddr_in *)&b->ss)->sin_addr.s_addr;
}

int sg_ip4_parse(const char *s, uint32_t *out)
{
	struct in_addr a;

	if (inet_pton(AF_INET, s, &a) != 1)
		return SG_EMALF;
	*out = ntohl(a.s_addr);
	return 0;
}

char *sg_ip4_str(uint32_t host_order, char buf[SG_IP4_TEXT])
{
	snprintf(buf, SG_IP4_TEXT, "%u.%u.%u.%u", host_order >> 24, host_order >> 16 & 255, host_order >> 8 & 255,
		host_order & 255);
	return buf;
}

int sg_prefix4_parse(const char *s, uint32_t *net, unsigned *bits)
{
	char host[SG_IP4_TEXT];
	const char *slash = strchr(s, '/');
	uint64_t n;

	if (!slash || (size_t)(slash - s) >= sizeof(host) || sg_parse_u64(slash + 1, 32, &n) < 0)
		return SG_EMALF;
	memcpy(host, s, (size_t)(slash - s));
	host[slash - s] = '\0';
	if (sg_ip4_parse(host, net) < 0)
		return SG_EMALF;
	if (n < 32 && (*net & (0xffffffffU >> n)) != 0)
		return SG_EMALF;
	*bits = (unsigned)n;
	return 0;
}
