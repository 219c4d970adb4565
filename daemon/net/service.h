/*
 * One directory service, as this visor sees it: its URL, whether it answers, and the nonce of signed requests, which are
 * therefore made one after the other. Every request ends once, within its time, never inside the call that made it.
 */
#ifndef SG_NET_SERVICE_H
#define SG_NET_SERVICE_H

#include "crypto/keys.h"
#include "net/http.h"
#include "wire/jsonout.h"

struct service;
struct service_call;

/* What all services share. Kept; @sk and @http belong to the owner. */
struct service_env {
	struct sg_loop *loop;
	const struct sg_crypto *crypto;
	const struct sg_pk *pk;
	const struct sg_sk *sk;
	struct sg_http_client *http;
	const char *public_ip; /* "" when unknown; told to services that see a dmsg key in place of an address */
};

struct service_ask {
	const char *method, *path;
	const struct sg_http_header *headers; /* ends with a NULL name; may be NULL; copied at once when at most two */
	struct sg_view body;                  /* copied */
	bool sign;
	int64_t timeout_ms; /* 0: 10 s */
	size_t body_max;    /* bytes of the answer; 0: SG_SERVICE_BODY_MAX */
};

/** service_new - @name for people: "address resolver"; static. NULL when memory is out. */
struct service *service_new(const struct service_env *env, const char *name);
/** service_free - call-backs do not follow. Accepts NULL. */
void service_free(struct service *s);
/** service_set_url - "": there is none. Requests under way end as they would. Returns whether it changed. */
bool service_set_url(struct service *s, const char *url);
/** service_known - it has a URL. */
bool service_known(const struct service *s);
const char *service_url(const struct service *s);
const char *service_name(const struct service *s);
/** service_silent - it gave no answer, not even a bad one, when it was asked last. */
bool service_silent(const struct service *s);
/** service_ask - 0 and *out (for service_cancel; may be NULL), or -ENOMEM: then @done does not follow. */
int service_ask(
	struct service *s, const struct service_ask *ask, http_done_fn *done, void *arg, struct service_call **out);
/** service_cancel - @done does not follow. */
void service_cancel(struct service_call *call);
/** service_fail_text - what an answer other than the wanted one says, as a sentence for people. Returns @out. */
char *service_fail_text(const struct service *s, const struct http_answer *a, char *out, size_t cap);
/** service_status - puts {"name", "url", "state", "answer_ms_ago", "reason", "requests"}. */
void service_status(const struct service *s, struct sg_json_out *out);

/* ---- pauses between attempts ---- */

struct backoff {
	int64_t min_ms, max_ms, now_ms;
};

/* Of what a service is told again and again. */
#define SERVICE_BACKOFF ((struct backoff){1000, 60000, 0})

/** backoff_next - the pause before the next attempt: doubled each time, a quarter of it by chance. */
int64_t backoff_next(struct backoff *b, const struct sg_crypto *c);
/** backoff_reset - it worked. */
void backoff_reset(struct backoff *b);
/** jitter_ms - @ms, more or less an eighth. */
int64_t jitter_ms(const struct sg_crypto *c, int64_t ms);

#endif
