/*
 * HTTP/1.1 messages on byte streams of our own: one request or response at a time, whole. The library http-parser finds
 * its way through the grammar; what it would let pass and two readers could understand differently is refused here: two
 * lengths, a length beside chunks, an encoding other than chunked, folded or repeated headers that decide, control bytes.
 */
#ifndef SG_WIRE_HTTP_H
#define SG_WIRE_HTTP_H

#include <skygate/types.h>

#define SG_HTTP_HEAD_MAX    8192 /* bytes of start line and headers (own) */
#define SG_HTTP_HEADERS_MAX 48
#define SG_HTTP_BODY_MAX    (4 * 1024 * 1024) /* default limit of a body (own) */

struct sg_http_header {
	const char *name, *value;
};

/* A message that is being read. */
struct sg_http;

SG_BEGIN_DECLS

/** sg_http_new - a reader of requests or of responses with bodies of at most @body_max bytes. NULL when memory is out. */
struct sg_http *sg_http_new(bool request, size_t body_max);
void sg_http_free(struct sg_http *h);
/**
 * sg_http_feed - any cut of the bytes. 1: the message is whole, *used bytes belonged to it; 0: more are needed; SG_EMALF,
 * SG_ELONG or -ENOMEM: the connection is of no use any more, *why says why (static).
 */
int sg_http_feed(struct sg_http *h, struct sg_view in, size_t *used, const char **why);
/** sg_http_end - the stream ended: 1 when that ends a response without a length, else SG_EMALF. */
int sg_http_end(struct sg_http *h, const char **why);
/** sg_http_begun - some bytes of a message arrived. */
bool sg_http_begun(const struct sg_http *h);

/* Of a whole message; borrowed from it. */
int sg_http_status(const struct sg_http *h);         /* of a response */
const char *sg_http_method(const struct sg_http *h); /* of a request: "GET" */
const char *sg_http_target(const struct sg_http *h); /* of a request: "/path?query" */
/** sg_http_header - the value of the first header of that name, without regard to case, or NULL. */
const char *sg_http_header(const struct sg_http *h, const char *name);
struct sg_view sg_http_body(const struct sg_http *h);
/** sg_http_take_body - the body, the caller's from now on (sg_free), its length in *len. NULL: it is empty. */
uint8_t *sg_http_take_body(struct sg_http *h, size_t *len);

/**
 * sg_http_request / sg_http_response - a whole message (sg_free), its length in *len. Content-Length is written when there
 * is a body or the method or status wants one; @headers end with a NULL name. NULL: memory is out, or a name, value or
 * target holds bytes that would break the message.
 */
char *sg_http_request(const char *method, const char *target, const char *host, const struct sg_http_header *headers,
	struct sg_view body, size_t *len);
char *sg_http_response(int status, const struct sg_http_header *headers, struct sg_view body, size_t *len);

SG_END_DECLS
#endif
