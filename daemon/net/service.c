/*
 *	signed:  waits its turn → GET nonce, unless known → request → 200: nonce + 1 · refused: once more from the nonce
 *
 * The server counts only what it answered with 200, so after any other answer the nonce is read again before the next
 * signed request: cheaper than to be refused.
 */
#include "net/service.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "wire/httpauth.h"

SG_LOG_TOPIC("net");

#define ASK_MS     10000
#define CALLS_MAX  256
#define HEADERS    2
#define PATH_BYTES 512

struct service {
	const struct service_env *env;
	const char *name;
	char url[300];
	bool nonce_known;
	uint64_t nonce;
	struct sg_list calls; /* in order */
	size_t n_calls;
	struct service_call *turn; /* the signed one that is under way */
	struct sg_defer next;
	uint64_t requests;
	enum { UNTRIED, UP, DOWN } state;
	bool silent;
	struct sg_mono answered;
	char why[300];
};

struct service_call {
	struct sg_list node;
	struct service *s;
	char method[8], path[PATH_BYTES];
	char names[HEADERS][32], values[HEADERS][96];
	size_t n_headers;
	uint8_t *body;
	size_t body_len;
	bool sign, begun, again;
	int64_t timeout_ms;
	size_t body_max;
	struct http_call *http;
	http_done_fn *done;
	void *arg;
};

/* ---- how it stands ------------------------------------------------------------------------------------------------- */

/* One line when it goes away and one when it is back, however often it is asked. */
static void heard(struct service *s, const struct http_answer *a)
{
	/* Nobody was asked. */
	if (!s->url[0])
		return;
	s->silent = a->err < 0 && a->err != SG_EREFUSED;
	if (a->err == 0 && a->status < 500) {
		if (s->state == DOWN)
			log_info("%s %s answers again", s->name, s->url);
		s->state = UP;
		s->why[0] = '\0';
		s->answered = sg_loop_now(s->env->loop);
		return;
	}
	service_fail_text(s, a, s->why, sizeof(s->why));
	if (s->state != DOWN)
		log_warn("%s: %s", s->name, s->why);
	s->state = DOWN;
}

char *service_fail_text(const struct service *s, const struct http_answer *a, char *out, size_t cap)
{
	if (a->err < 0)
		snprintf(out, cap, "%s", a->why);
	else
		snprintf(out, cap, "%s answers with status %d%s%.*s", s->url, a->status, a->body.len ? ": " : "",
			(int)SG_MIN(a->body.len, (size_t)120), a->body.len ? (const char *)a->body.p : "");
	sg_text_ascii(out); /* a service's words end up in JSON and on a terminal */
	return out;
}

/* ---- one request --------------------------------------------------------------------------------------------------- */

static void call_free(struct service_call *c)
{
	struct service *s = c->s;

	sg_list_remove(&c->node);
	s->n_calls--;
	if (c->http)
		http_cancel(c->http);
	if (s->turn == c) {
		s->turn = NULL;
		s->nonce_known = s->nonce_known && !c->http;
		sg_defer_start(s->env->loop, &s->next);
	}
	sg_free(c->body);
	sg_free(c);
}

void service_cancel(struct service_call *call)
{
	call_free(call);
}

static void finish(struct service_call *c, const struct http_answer *a)
{
	http_done_fn *done = c->done;
	void *arg = c->arg;

	c->http = NULL;
	heard(c->s, a);
	call_free(c);
	done(arg, a);
}

static void finish_err(struct service_call *c, int err)
{
	char why[400], option[32];
	struct http_answer a = {.err = err, .why = why};

	/* Options are called as the services are. */
	snprintf(option, sizeof(option), "%s", c->s->name);
	for (char *space = option; (space = strchr(space, ' '));)
		*space = '_';
	if (!c->s->url[0])
		snprintf(
			why, sizeof(why), "no %s is configured:  option %s  in section deployment", c->s->name, option);
	else if (err == -ENOTSUP)
		snprintf(why, sizeof(why), "%s: dmsg is not there (yet): it needs  list plugin 'transport-dmsg'",
			c->s->url);
	else
		snprintf(why, sizeof(why), "%s: %s", c->s->url, sg_strerror(err));
	finish(c, &a);
}

static int transmit(struct service_call *c, const char *method, const char *path, struct sg_view body, bool sign,
	http_done_fn *done)
{
	struct service *s = c->s;
	struct sg_httpauth auth;
	struct sg_http_header headers[HEADERS + 5] = {{0}};
	size_t n = 0;
	struct http_ask ask = {.method = method,
		.base = s->url,
		.path = path,
		.headers = headers,
		.body = body,
		.timeout_ms = c->timeout_ms,
		.body_max = c->body_max};
	int err = 0;

	if (!s->url[0])
		return SG_ENOROUTE;
	for (size_t i = 0; i < c->n_headers; i++)
		headers[n++] = (struct sg_http_header){c->names[i], c->values[i]};
	if (sign) {
		err = sg_httpauth_sign(s->env->crypto, s->env->pk, s->env->sk, body, s->nonce, &auth);
		headers[n++] = (struct sg_http_header){"SW-Public", auth.pk};
		headers[n++] = (struct sg_http_header){"SW-Nonce", auth.nonce};
		headers[n++] = (struct sg_http_header){"SW-Sig", auth.sig};
		if (strncmp(s->url, "dmsg:", 5) == 0 && s->env->public_ip[0])
			headers[n++] = (struct sg_http_header){"SW-PublicIP", s->env->public_ip};
	}
	headers[n] = (struct sg_http_header){"Connection", "close"};
	s->requests++;
	return err < 0 ? err : http_ask(s->env->http, &ask, done, c, &c->http);
}

static void on_answer(void *arg, const struct http_answer *a);

static void on_nonce(void *arg, const struct http_answer *a)
{
	struct service_call *c = arg;
	char why[400];
	struct http_answer bad = {.err = SG_EMALF, .why = why};
	int err;

	c->http = NULL;
	snprintf(why, sizeof(why), "%s: the nonce that it gives cannot be read", c->s->url);
	if (a->err < 0) {
		finish(c, a);
	} else if (a->status != 200) {
		/* Its status says nothing of what was to be asked: a 404 is none of that. */
		bad.err = SG_EREFUSED;
		service_fail_text(c->s, a, why, sizeof(why));
		finish(c, &bad);
	} else if (sg_httpauth_nonce(a->body, &c->s->nonce) < 0) {
		finish(c, &bad);
	} else {
		c->s->nonce_known = true;
		err = transmit(c, c->method, c->path, (struct sg_view){c->body, c->body_len}, true, on_answer);
		if (err < 0)
			finish_err(c, err);
	}
}

static int send_signed(struct service_call *c)
{
	char path[128], pk[SG_PK_TEXT];

	if (c->s->nonce_known)
		return transmit(c, c->method, c->path, (struct sg_view){c->body, c->body_len}, true, on_answer);
	snprintf(path, sizeof(path), "/security/nonces/%s", sg_pk_str(c->s->env->pk, pk));
	return transmit(c, "GET", path, (struct sg_view){NULL, 0}, false, on_nonce);
}

static void on_answer(void *arg, const struct http_answer *a)
{
	struct service_call *c = arg;
	struct service *s = c->s;
	int err;

	c->http = NULL;
	if (c->sign) {
		s->nonce_known = s->nonce_known && a->err == 0 && a->status == 200;
		s->nonce += s->nonce_known ? 1 : 0;
	}
	if (!c->sign || c->again || a->err < 0 || !sg_httpauth_refused(a->status, a->body)) {
		finish(c, a);
		return;
	}
	c->again = true;
	err = send_signed(c);
	if (err < 0)
		finish_err(c, err);
}

/* Whatever may begin, begins: all unsigned ones, and one signed. A call that cannot begin ends here. */
static void on_next(void *arg)
{
	struct service *s = arg;
	struct service_call *c;
	int err;

	for (;;) {
		c = NULL;
		sg_list_for (it, &s->calls) {
			c = sg_container_of(it, struct service_call, node);
			if (!c->begun && !(c->sign && s->turn))
				break;
			c = NULL;
		}
		if (!c)
			return;
		c->begun = true;
		if (c->sign)
			s->turn = c;
		err = c->sign ? send_signed(c)
			      : transmit(c, c->method, c->path, (struct sg_view){c->body, c->body_len}, false,
					on_answer);
		if (err < 0) {
			/* Its call-back may free this service: nothing after it; others follow in the next round. */
			sg_defer_start(s->env->loop, &s->next);
			finish_err(c, err);
			return;
		}
	}
}

static int copy_headers(struct service_call *c, const struct sg_http_header *h)
{
	for (; h && h->name; h++) {
		if (c->n_headers == HEADERS || strlen(h->name) >= sizeof(c->names[0]) ||
			strlen(h->value) >= sizeof(c->values[0]))
			return SG_ELONG;
		snprintf(c->names[c->n_headers], sizeof(c->names[0]), "%s", h->name);
		snprintf(c->values[c->n_headers++], sizeof(c->values[0]), "%s", h->value);
	}
	return 0;
}

int service_ask(
	struct service *s, const struct service_ask *ask, http_done_fn *done, void *arg, struct service_call **out)
{
	struct service_call *c;
	int err = 0;

	if (s->n_calls >= CALLS_MAX)
		return SG_EFULL;
	if (strlen(ask->path) >= PATH_BYTES || strlen(ask->method) >= sizeof(c->method))
		return SG_ELONG;
	c = sg_calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	snprintf(c->method, sizeof(c->method), "%s", ask->method);
	snprintf(c->path, sizeof(c->path), "%s", ask->path);
	err = copy_headers(c, ask->headers);
	if (err == 0 && ask->body.len) {
		c->body = sg_malloc(ask->body.len);
		err = c->body ? 0 : -ENOMEM;
	}
	if (err < 0) {
		sg_free(c);
		return err;
	}
	if (ask->body.len)
		memcpy(c->body, ask->body.p, ask->body.len);
	c->body_len = ask->body.len;
	c->s = s;
	c->sign = ask->sign;
	c->timeout_ms = ask->timeout_ms ? ask->timeout_ms : ASK_MS;
	c->body_max = ask->body_max ? ask->body_max : SG_SERVICE_BODY_MAX;
	c->done = done;
	c->arg = arg;
	sg_list_add_tail(&s->calls, &c->node);
	s->n_calls++;
	sg_defer_start(s->env->loop, &s->next);
	if (out)
		*out = c;
	return 0;
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

struct service *service_new(const struct service_env *env, const char *name)
{
	struct service *s = sg_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->env = env;
	s->name = name;
	sg_list_init(&s->calls);
	sg_defer_init(&s->next, on_next, s);
	return s;
}

void service_free(struct service *s)
{
	if (!s)
		return;
	while (!sg_list_empty(&s->calls))
		call_free(sg_container_of(s->calls.next, struct service_call, node));
	sg_defer_stop(&s->next);
	sg_free(s);
}

bool service_set_url(struct service *s, const char *url)
{
	if (strcmp(s->url, url) == 0)
		return false;
	snprintf(s->url, sizeof(s->url), "%s", url);
	s->nonce_known = false;
	s->state = UNTRIED;
	s->silent = false;
	s->answered.ns = 0;
	s->why[0] = '\0';
	return true;
}

bool service_known(const struct service *s)
{
	return s->url[0];
}

bool service_silent(const struct service *s)
{
	return s->silent;
}

const char *service_url(const struct service *s)
{
	return s->url;
}

const char *service_name(const struct service *s)
{
	return s->name;
}

void service_status(const struct service *s, struct sg_json_out *out)
{
	static const char *const states[] = {[UNTRIED] = "not asked yet", [UP] = "up", [DOWN] = "down"};
	bool ever = s->answered.ns != 0;

	sg_json_open(out, NULL, '{');
	sg_json_put_text(out, "name", s->name);
	sg_json_put_text(out, "url", s->url);
	sg_json_put_text(out, "state", s->url[0] ? states[s->state] : "none");
	sg_json_put_int(out, "answer_ms_ago", ever ? sg_mono_ms_since(sg_loop_now(s->env->loop), s->answered) : -1);
	sg_json_put_text(out, "reason", s->why);
	sg_json_put_int(out, "requests", (int64_t)s->requests);
	sg_json_close(out, '}');
}

/* ---- pauses --------------------------------------------------------------------------------------------------------- */

static int64_t chance(const struct sg_crypto *c, int64_t below)
{
	uint32_t r;

	sg_crypto_random(c, &r, sizeof(r));
	return below > 0 ? (int64_t)(r % (uint64_t)below) : 0;
}

int64_t backoff_next(struct backoff *b, const struct sg_crypto *c)
{
	int64_t ms = b->now_ms ? b->now_ms : b->min_ms;

	b->now_ms = SG_MIN(2 * ms, b->max_ms);
	return ms - ms / 8 + chance(c, ms / 4);
}

void backoff_reset(struct backoff *b)
{
	b->now_ms = 0;
}

int64_t jitter_ms(const struct sg_crypto *c, int64_t ms)
{
	return ms - ms / 8 + chance(c, ms / 4);
}
