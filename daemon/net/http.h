/*
 * HTTP requests to services, one per connection: over TCP for http://HOST, over the network dmsg for dmsg://KEY. Every
 * request ends once, within its time, with an answer or a sentence.
 */
#ifndef SG_NET_HTTP_H
#define SG_NET_HTTP_H

#include "loop/loop.h"
#include "wire/http.h"
#include "crypto/crypto.h"
#include <skygate/plugin.h>

struct sg_http_client;
struct http_call;

/* What came back. Borrowed for the call. */
struct http_answer {
	int err;         /* 0, or a negative code: then only why is of use */
	const char *why; /* a sentence */
	int status;
	struct sg_view body;
	struct sg_http *message; /* whose body it is, for who wants to keep it (sg_http_take_body); NULL on an error */
};

typedef void http_done_fn(void *arg, const struct http_answer *a);

struct http_ask {
	const char *method;                   /* "GET" */
	const char *base;                     /* "http://host:port[/path]", "dmsg://key:port" */
	const char *path;                     /* appended to it: "/entry/…" */
	const struct sg_http_header *headers; /* ends with a NULL name; may be NULL */
	struct sg_view body;
	int64_t timeout_ms;
	size_t body_max; /* of the answer; 0: SG_HTTP_BODY_MAX */
};

/** http_client_new - NULL when memory is out. */
struct sg_http_client *http_client_new(struct sg_loop *loop, const struct sg_crypto *crypto);
/** http_client_free - cancels what is under way; call-backs do not follow. Accepts NULL. */
void http_client_free(struct sg_http_client *hc);
/** http_client_network - how dmsg:// is reached from now on; @ops NULL: not at all. */
void http_client_network(struct sg_http_client *hc, const struct sg_network_ops *ops, void *ctx);
/** http_ask - 0 and *out (for http_cancel; may be NULL), or a negative code: then @done does not follow. */
int http_ask(
	struct sg_http_client *hc, const struct http_ask *ask, http_done_fn *done, void *arg, struct http_call **out);
/** http_cancel - @done does not follow. */
void http_cancel(struct http_call *call);
/** http_url_ok - a URL that http_ask can take. */
bool http_url_ok(const char *url);

#endif
