/* HTTP/1.1: the library reads, the rules on top are ours. */
#include "wire/http.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/text.h"

#include <http_parser.h>
#include <strings.h>

/* The head is kept as text: NAME 0 VALUE 0 NAME 0 VALUE 0 …, after the target and its 0. */
struct sg_http {
	http_parser parser;
	size_t body_max;
	const char *why; /* set by a call-back that refuses */
	int err;
	bool begun, whole, in_value;
	bool head_done, line_start, cr; /* of the raw bytes of the head */
	size_t line_len;
	char head[SG_HTTP_HEAD_MAX];
	size_t head_len;
	uint16_t names[SG_HTTP_HEADERS_MAX], values[SG_HTTP_HEADERS_MAX];
	size_t n_headers;
	bool target_open;
	uint8_t *body;
	size_t body_len, body_cap;
};

static int refuse(struct sg_http *h, int err, const char *why)
{
	h->err = err;
	h->why = why;
	return -1;
}

static int head_add(struct sg_http *h, const char *p, size_t len)
{
	if (len > sizeof(h->head) - 1 - h->head_len)
		return refuse(h, SG_ELONG, "its headers are longer than allowed");
	memcpy(h->head + h->head_len, p, len);
	h->head_len += len;
	return 0;
}

static int head_close(struct sg_http *h)
{
	return head_add(h, "", 1);
}

static int on_url(http_parser *p, const char *at, size_t len)
{
	struct sg_http *h = p->data;

	h->target_open = true;
	return head_add(h, at, len);
}

static int on_field(http_parser *p, const char *at, size_t len)
{
	struct sg_http *h = p->data;

	/* The library lets "Name : value" pass; other readers do not see that name. */
	if (memchr(at, ' ', len) || memchr(at, '\t', len))
		return refuse(h, SG_EMALF, "a header's name holds a space");
	if (h->target_open) {
		h->target_open = false;
		if (head_close(h) < 0)
			return -1;
	}
	if (h->in_value || h->n_headers == 0) {
		if (h->in_value && head_close(h) < 0)
			return -1;
		if (h->n_headers == SG_HTTP_HEADERS_MAX)
			return refuse(h, SG_ELONG, "it has more headers than allowed");
		h->in_value = false;
		h->names[h->n_headers] = (uint16_t)h->head_len;
		h->n_headers++;
	}
	return head_add(h, at, len);
}

static int on_value(http_parser *p, const char *at, size_t len)
{
	struct sg_http *h = p->data;

	if (!h->in_value) {
		if (head_close(h) < 0)
			return -1;
		h->in_value = true;
		h->values[h->n_headers - 1] = (uint16_t)h->head_len;
	}
	for (size_t i = 0; i < len; i++) {
		/* A folded line, or bytes that end a string for other readers. */
		if ((at[i] & 0xe0) == 0 && at[i] != '\t')
			return refuse(h, SG_EMALF, "a header holds control bytes");
	}
	return head_add(h, at, len);
}

static size_t count(const struct sg_http *h, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n_headers; i++)
		n += strcasecmp(h->head + h->names[i], name) == 0;
	return n;
}

static int on_headers(http_parser *p)
{
	struct sg_http *h = p->data;
	const char *coding;

	if ((h->target_open || h->in_value) && head_close(h) < 0)
		return -1;
	h->target_open = h->in_value = false;
	coding = sg_http_header(h, "Transfer-Encoding");
	if (p->http_major != 1)
		return refuse(h, SG_EMALF, "it is not HTTP/1");
	/* 1xx would be an interim answer, which nobody asked for. */
	if (p->type == HTTP_RESPONSE && (p->status_code < 200 || p->status_code > 599))
		return refuse(h, SG_EMALF, "its status is no final one");
	if (count(h, "Content-Length") + count(h, "Transfer-Encoding") > 1)
		return refuse(h, SG_EMALF, "it states its length twice");
	if (coding && strcasecmp(coding, "chunked") != 0)
		return refuse(h, SG_EMALF, "its transfer encoding is not 'chunked'");
	if (p->type == HTTP_REQUEST && count(h, "Host") != 1)
		return refuse(h, SG_EMALF, "it has no host, or several");
	if (p->type == HTTP_REQUEST && p->upgrade)
		return refuse(h, SG_EMALF, "it wants another protocol");
	if ((p->flags & F_CONTENTLENGTH) && p->content_length > h->body_max)
		return refuse(h, SG_ELONG, "its body is longer than allowed");
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
	struct sg_http *h = p->data;

	if (len > h->body_max - h->body_len)
		return refuse(h, SG_ELONG, "its body is longer than allowed");
	if (len > h->body_cap - h->body_len) {
		size_t cap = SG_MAX(SG_MIN(2 * h->body_cap, h->body_max), SG_MAX(h->body_len + len, (size_t)512));
		uint8_t *body = sg_realloc(h->body, cap);

		if (!body)
			return refuse(h, -ENOMEM, "out of memory for its body");
		h->body = body;
		h->body_cap = cap;
	}
	memcpy(h->body + h->body_len, at, len);
	h->body_len += len;
	return 0;
}

static int on_complete(http_parser *p)
{
	struct sg_http *h = p->data;

	h->whole = true;
	http_parser_pause(p, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

struct sg_http *sg_http_new(bool request, size_t body_max)
{
	struct sg_http *h = sg_calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	http_parser_init(&h->parser, request ? HTTP_REQUEST : HTTP_RESPONSE);
	h->parser.data = h;
	h->body_max = body_max;
	return h;
}

void sg_http_free(struct sg_http *h)
{
	if (!h)
		return;
	sg_free(h->body);
	sg_free(h);
}

static int verdict(struct sg_http *h, const char **why)
{
	*why = "";
	if (h->whole)
		return 1;
	if (h->err) {
		*why = h->why;
		return h->err;
	}
	if (HTTP_PARSER_ERRNO(&h->parser) != HPE_OK) {
		*why = http_errno_description(HTTP_PARSER_ERRNO(&h->parser));
		return SG_EMALF;
	}
	return 0;
}

/*
 * The lines of the head, which the library is lenient about and other readers are not: each ends with CR LF and nothing
 * else, and none continues the one before it. Its call-backs do not show that, so the raw bytes are looked at.
 */
static const char *head_broken(struct sg_http *h, struct sg_view in)
{
	for (size_t i = 0; i < in.len && !h->head_done; i++) {
		uint8_t c = in.p[i];

		if (h->cr != (c == '\n'))
			return "a line of its head does not end with CR LF";
		if (h->line_start && (c == ' ' || c == '\t'))
			return "a header is folded";
		h->line_start = c == '\n';
		h->cr = c == '\r';
		if (c == '\n') {
			h->head_done = h->line_len == 0 && h->begun;
			h->line_len = 0;
		} else if (c != '\r') {
			h->line_len++;
			h->begun = true;
		}
	}
	return NULL;
}

int sg_http_feed(struct sg_http *h, struct sg_view in, size_t *used, const char **why)
{
	const char *broken = h->whole || h->err ? NULL : head_broken(h, in);

	*used = 0;
	if (broken)
		refuse(h, SG_EMALF, broken);
	if (in.len && !h->whole && !h->err)
		*used = http_parser_execute(&h->parser, &settings, (const char *)in.p, in.len);
	return verdict(h, why);
}

int sg_http_end(struct sg_http *h, const char **why)
{
	int ret;

	if (!h->whole && !h->err)
		http_parser_execute(&h->parser, &settings, NULL, 0);
	ret = verdict(h, why);
	if (ret == 0) {
		*why = "the stream ended within it";
		ret = SG_EMALF;
	}
	return ret;
}

bool sg_http_begun(const struct sg_http *h)
{
	return h->begun;
}

int sg_http_status(const struct sg_http *h)
{
	return (int)h->parser.status_code;
}

const char *sg_http_method(const struct sg_http *h)
{
	return http_method_str((enum http_method)h->parser.method);
}

const char *sg_http_target(const struct sg_http *h)
{
	return h->head;
}

const char *sg_http_header(const struct sg_http *h, const char *name)
{
	for (size_t i = 0; i < h->n_headers; i++) {
		if (strcasecmp(h->head + h->names[i], name) == 0)
			return h->head + h->values[i];
	}
	return NULL;
}

struct sg_view sg_http_body(const struct sg_http *h)
{
	return (struct sg_view){h->body, h->body_len};
}

uint8_t *sg_http_take_body(struct sg_http *h, size_t *len)
{
	uint8_t *body = h->body;

	*len = h->body_len;
	h->body = NULL;
	h->body_len = h->body_cap = 0;
	return body;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static bool one_line(const char *s, bool spaces)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f || (!spaces && *s == ' '))
			return false;
	}
	return true;
}

/* @start ends with its line break. */
static char *compose(
	const char *start, const struct sg_http_header *headers, bool length, struct sg_view body, size_t *len)
{
	char *out = sg_malloc(SG_HTTP_HEAD_MAX + body.len);
	struct sg_text t;

	if (!out)
		return NULL;
	t = sg_text(out, SG_HTTP_HEAD_MAX);
	sg_text_add(&t, start);
	for (; headers && headers->name; headers++) {
		if (!one_line(headers->name, false) || !one_line(headers->value, true))
			t.err = true;
		sg_text_addf(&t, "%s: %s\r\n", headers->name, headers->value);
	}
	if (length)
		sg_text_addf(&t, "Content-Length: %zu\r\n", body.len);
	sg_text_add(&t, "\r\n");
	if (t.err) {
		sg_free(out);
		return NULL;
	}
	if (body.len)
		memcpy(out + t.len, body.p, body.len);
	*len = t.len + body.len;
	return out;
}

char *sg_http_request(const char *method, const char *target, const char *host, const struct sg_http_header *headers,
	struct sg_view body, size_t *len)
{
	char start[1024];
	struct sg_text t = sg_text(start, sizeof(start));
	bool wants = body.len || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;

	sg_text_addf(&t, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, host);
	if (t.err || !one_line(method, false) || !one_line(target, false) || !one_line(host, false))
		return NULL;
	return compose(start, headers, wants, body, len);
}

char *sg_http_response(int status, const struct sg_http_header *headers, struct sg_view body, size_t *len)
{
	char start[64];

	snprintf(start, sizeof(start), "HTTP/1.1 %d %s\r\n", status, http_status_str((enum http_status)status));
	return compose(start, headers, status != 204 && status != 304, body, len);
}
