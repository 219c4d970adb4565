/* Text: a bounded string builder, strict numbers, addresses. Nothing here allocates. */
#ifndef SG_BASE_TEXT_H
#define SG_BASE_TEXT_H

#include <skygate/types.h>
#include <stdarg.h>
#include <sys/socket.h>

/* Appends into the caller's array; what does not fit is cut, and err says so. Always NUL-terminated. */
struct sg_text {
	char *buf;
	size_t cap, len;
	bool err;
};

/* An IPv4 or IPv6 address with a port, as sockets take it. */
struct sg_addr {
	socklen_t len; /* 0: absent */
	struct sockaddr_storage ss;
};

#define SG_ADDR_TEXT 64

SG_BEGIN_DECLS

struct sg_text sg_text(char *buf, size_t cap);
void sg_text_add(struct sg_text *t, const char *s);
void sg_text_addf(struct sg_text *t, const char *fmt, ...) SG_PRINTF(2, 3);
void sg_text_vaddf(struct sg_text *t, const char *fmt, va_list ap) SG_PRINTF(2, 0);

/** sg_utf8_len - bytes of the UTF-8 sequence at the front of @s, 0 when it is none. A zero byte ends what is looked at. */
size_t sg_utf8_len(const uint8_t *s);
/** sg_text_tame - control characters become '?', those of UTF-8 (U+0080 to U+009F) too: one line, and no terminal obeys it. */
void sg_text_tame(char *s);
/** sg_text_ascii - whatever is no printable ASCII becomes '?', so that a cut anywhere leaves a text. */
void sg_text_ascii(char *s);

/** sg_parse_u64 - decimal digits only, no sign, no space, at most @max. 0, SG_EMALF or SG_ELONG. */
int sg_parse_u64(const char *s, uint64_t max, uint64_t *out);

/** sg_addr_parse - "192.0.2.1:7777" or "[2001:db8::1]:7777", numeric only. 0 or SG_EMALF. */
int sg_addr_parse(const char *s, struct sg_addr *out);
/** sg_addr_str - the same form. @buf has SG_ADDR_TEXT bytes. Returns @buf. */
char *sg_addr_str(const struct sg_addr *a, char buf[SG_ADDR_TEXT]);
uint16_t sg_addr_port(const struct sg_addr *a);
void sg_addr_set_port(struct sg_addr *a, uint16_t port);
/** sg_addr_same_host - equal family and address; ports are not compared. */
bool sg_addr_same_host(const struct sg_addr *a, const struct sg_addr *b);

/** sg_ip4_parse - dotted quad, host order out. 0 or SG_EMALF. */
int sg_ip4_parse(const char *s, uint32_t *out);
#define SG_IP4_TEXT 16
char *sg_ip4_str(uint32_t host_order, char buf[SG_IP4_TEXT]);
/** sg_prefix4_parse - "172.16.0.0/12"; bits behind the length must be zero. 0 or SG_EMALF. */
int sg_prefix4_parse(const char *s, uint32_t *net, unsigned *bits);

SG_END_DECLS
#endif
