/*
 * Our own entry in the dmsg discovery, and its upkeep.
 *
 *	servers changed, or 5 minutes passed → GET own → sequence + 1 → sign → POST        failed → later
 *
 * The sequence must only grow: it is read back before each write, and never below what was used before, also before a restart
 * (keep.c). After an error that is not "no such entry" nothing is written.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/text.h"
#include "net/internal.h"
#include "wire/entry.h"

SG_LOG_TOPIC("net");

#define REFRESH_MS    300000 /* today's entries live for an hour (spec) */
#define SETTLE_MS     200    /* several sessions come up together: one write */
#define ENTRY_VERSION "0.0.1"
#define SEQUENCE_MAX  (1ULL << 53) /* of an entry that we believe: every JSON reader takes it (own) */

/* Our entry is to be written, with what is true then. */
static void soon(struct sg_net *n)
{
	if (n->own.call)
		http_cancel(n->own.call);
	n->own.call = NULL;
	backoff_reset(&n->own.backoff);
	sg_timer_start(&n->own.timer, SETTLE_MS);
}

static void later(struct sg_net *n, const char *why)
{
	char text[sizeof(n->own.why)];

	snprintf(text, sizeof(text), "%s", why);
	sg_text_ascii(text); /* a service's words end up in JSON and on a terminal */
	/* Once for each reason, however long it lasts. */
	if (strcmp(n->own.why, text) != 0)
		log_warn("our entry in the dmsg discovery: %s", text);
	memcpy(n->own.why, text, sizeof(text));
	n->own.registered = false;
	sg_timer_start(&n->own.timer, backoff_next(&n->own.backoff, n->conf.crypto));
}

static void on_posted(void *arg, const struct http_answer *a)
{
	struct sg_net *n = arg;
	char why[200];

	n->own.call = NULL;
	disc_heard(n, a);
	if (a->err < 0) {
		later(n, a->why);
		return;
	}
	if (a->status != 200) {
		snprintf(why, sizeof(why), "refused with status %d: %.*s", a->status,
			(int)SG_MIN(a->body.len, (size_t)120), (const char *)a->body.p);
		later(n, why);
		return;
	}
	if (!n->own.registered)
		log_info("registered at the dmsg discovery, %zu server%s", n->own.n, n->own.n == 1 ? "" : "s");
	n->own.registered = true;
	n->own.why[0] = '\0';
	backoff_reset(&n->own.backoff);
	sg_timer_start(&n->own.timer, jitter_ms(n->conf.crypto, REFRESH_MS));
}

static void post(struct sg_net *n, uint64_t sequence)
{
	static const struct sg_http_header headers[] = {{"Content-Type", "application/json"}, {0}};
	struct sg_disc_entry_full e = {.version = ENTRY_VERSION,
		.sequence = sequence,
		.timestamp = sg_wall_ns(),
		.pk = n->conf.pk,
		.is_client = true,
		.n_servers = n->own.n,
		.client_type = "visor"};
	char text[SG_ENTRY_JSON_MAX];
	struct http_ask ask = {.method = "POST",
		.base = n->discovery,
		.path = DISC_PREFIX "/entry/",
		.headers = headers,
		.timeout_ms = DISC_ASK_MS};
	int len;

	memcpy(e.servers, n->own.servers, n->own.n * sizeof(n->own.servers[0]));
	len = sg_disc_entry_sign(n->conf.crypto, &n->conf.sk, &e);
	if (len == 0)
		len = sg_disc_entry_encode(&e, true, text, sizeof(text));
	if (len > 0) {
		ask.body = (struct sg_view){(const uint8_t *)text, (size_t)len};
		n->own.sequence = sequence;
		keep_sequence(n, sequence);
		len = http_ask(n->http, &ask, on_posted, n, &n->own.call);
	}
	if (len < 0)
		later(n, sg_strerror(len));
}

static void on_read(void *arg, const struct http_answer *a)
{
	struct sg_net *n = arg;
	struct sg_disc_entry_full e;
	json_t *json;
	int err;

	n->own.call = NULL;
	disc_heard(n, a);
	if (a->err < 0) {
		later(n, a->why);
		return;
	}
	if (a->status == 404) {
		post(n, n->own.floor);
		return;
	}
	json = a->status == 200 ? sg_json_parse(a->body, NULL) : NULL;
	err = json ? sg_disc_entry_decode(n->conf.crypto, json, &e) : SG_EMALF;
	json_decref(json);
	/* Not even a liar gets our sequence so high that no honest discovery could take another entry of ours. */
	if (err < 0 || !sg_pk_equal(&e.pk, &n->conf.pk) || e.sequence >= SEQUENCE_MAX)
		later(n, "what the discovery has of us cannot be read");
	else
		post(n, SG_MAX(e.sequence + 1, n->own.floor));
}

static void on_timer(void *arg)
{
	struct sg_net *n = arg;
	char path[160], pk[SG_PK_TEXT];
	struct http_ask ask = {.method = "GET", .base = n->discovery, .path = path, .timeout_ms = DISC_ASK_MS};
	int err;

	if (!n->discovery[0] || !n->own.wanted || n->own.call)
		return;
	snprintf(path, sizeof(path), DISC_PREFIX "/entry/%s", sg_pk_str(&n->conf.pk, pk));
	err = http_ask(n->http, &ask, on_read, n, &n->own.call);
	if (err < 0)
		later(n, sg_strerror(err));
}

void net_disc_update(struct sg_net *n, const struct sg_pk *servers, size_t count)
{
	n->own.n = SG_MIN(count, SG_ARRAY_LEN(n->own.servers));
	if (n->own.n)
		memcpy(n->own.servers, servers, n->own.n * sizeof(*servers));
	n->own.wanted = true;
	soon(n);
}

void own_moved(struct sg_net *n)
{
	n->own.registered = false;
	n->own.why[0] = '\0';
	soon(n);
}

void own_init(struct sg_net *n)
{
	n->own.backoff = SERVICE_BACKOFF;
	sg_timer_init(&n->own.timer, n->conf.loop, on_timer, n);
}

void own_fini(struct sg_net *n)
{
	sg_timer_stop(&n->own.timer);
}
