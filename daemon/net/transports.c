/*
 * The transport discovery: every transport of ours is there, and none that is not up.
 *
 *	up   → register: today's way (any edge, all at once, again every 90 s) or, when that is not known there, that of 2024
 *	       (who was dialled, with both signatures, once)
 *	down → delete; not there any more is as good
 *
 * Every 5 minutes what is registered is compared with what is up. One request at a time, so that a deletion never overtakes
 * the registration behind it.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/hex.h"
#include "base/limits.h"
#include "base/log.h"
#include "net/internal.h"
#include "wire/service.h"
#include "wire/settle.h"

SG_LOG_TOPIC("net");

#define REFRESH_MS  90000 /* entries of today's live for about 5 minutes (spec) */
#define COMPARE_MS  300000
#define COMPARE2_MS 60000 /* after an error */
#define SETTLE_MS   100   /* several links come up together: one request */
#define BATCH_MAX   64
#define ENTRY_TEXT  640
#define LISTED_MAX  2048

struct transport {
	struct sg_list node;
	struct sg_signed_entry e;
	bool up, dialled;
	bool told;    /* registered, as far as we know; when down: to be deleted */
	bool refused; /* not asked again before the next comparison */
	bool asked;   /* part of the request that is under way */
};

struct transports {
	struct sg_net *n;
	struct sg_list list;
	size_t n_list;
	enum { FORM_UNKNOWN, FORM_TODAY, FORM_2024 } form;
	struct service_call *call, *compare;
	bool paused; /* after a failure */
	bool leaving;
	struct sg_timer work, refresh, again;
	struct backoff backoff;
	struct sg_log_limit rl_full;
};

/* ---- what is to be done ---------------------------------------------------------------------------------------------- */

static void transport_free(struct transports *ts, struct transport *t)
{
	sg_list_remove(&t->node);
	ts->n_list--;
	sg_free(t);
}

static struct transport *find(const struct transports *ts, const struct sg_tpid *id)
{
	sg_list_for (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		if (sg_tpid_equal(&t->e.entry.id, id))
			return t;
	}
	return NULL;
}

static bool is_self(const struct transport *t)
{
	return sg_pk_equal(&t->e.entry.edges[0], &t->e.entry.edges[1]);
}

/* By the way of 2024 only who was dialled registers, for it has both signatures. */
static bool ours_to_register(const struct transports *ts, const struct transport *t)
{
	return t->up && !t->told && !t->refused && (ts->form != FORM_2024 || !t->dialled);
}

static void soon(struct transports *ts)
{
	if (!ts->call && !ts->paused)
		sg_timer_start(&ts->work, SETTLE_MS);
}

/* What was asked is done: @ok, or to be asked again. */
static void settle(struct transports *ts, bool ok)
{
	sg_list_for_safe (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		if (!t->asked)
			continue;
		t->asked = false;
		if (!ok)
			continue;
		t->told = t->up;
	}
}

static void pause_after(struct transports *ts)
{
	ts->paused = true;
	sg_timer_start(&ts->work, backoff_next(&ts->backoff, ts->n->conf.crypto));
}

/* Of a transport that the service does not want: it says why, once. */
static void refuse(struct transports *ts, const struct http_answer *a)
{
	char why[300], id[SG_TPID_TEXT] = "";
	size_t n = 0;

	sg_list_for_safe (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		if (!t->asked)
			continue;
		t->asked = false;
		t->refused = true;
		if (n++ == 0)
			sg_tpid_str(&t->e.entry.id, id);
	}
	service_fail_text(ts->n->tpd, a, why, sizeof(why));
	if (n > 1)
		log_warn("transport %s and %zu more: not registered: %s", id, n - 1, why);
	else
		log_warn("transport %s: not registered: %s", id, why);
}

static bool says_duplicate(const struct http_answer *a)
{
	char said[200];

	return a->status == 409 ||
	       (a->status == 500 && strstr(sg_service_error(a->body, said, sizeof(said)), "duplicate"));
}

static void on_registered(void *arg, const struct http_answer *a)
{
	struct transports *ts = arg;
	bool today = ts->form != FORM_2024;

	ts->call = NULL;
	if (a->err < 0 || a->status == 429 || (a->status >= 500 && !says_duplicate(a))) {
		settle(ts, false);
		pause_after(ts);
		return;
	}
	backoff_reset(&ts->backoff);
	if (today && (a->status == 404 || a->status == 405)) {
		ts->form = FORM_2024;
		settle(ts, false);
	} else if (a->status / 100 == 2 || says_duplicate(a)) {
		if (today && ts->form == FORM_UNKNOWN) {
			ts->form = FORM_TODAY;
			sg_timer_start(&ts->refresh, jitter_ms(ts->n->conf.crypto, REFRESH_MS));
		}
		settle(ts, true);
	} else {
		refuse(ts, a);
	}
	soon(ts);
}

static void on_deleted(void *arg, const struct http_answer *a)
{
	struct transports *ts = arg;

	ts->call = NULL;
	if (a->err < 0 || a->status == 429 || a->status >= 500) {
		settle(ts, false);
		pause_after(ts);
		return;
	}
	backoff_reset(&ts->backoff);
	/* 400 and 404: it is not there, or not ours. Either way there is nothing left to do. */
	sg_list_for_safe (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		if (!t->asked)
			continue;
		t->asked = t->told = false;
		if (!t->up)
			transport_free(ts, t);
	}
	soon(ts);
}

/* ---- doing it -------------------------------------------------------------------------------------------------------- */

static int send_delete(struct transports *ts, struct transport *t)
{
	char path[80], id[SG_TPID_TEXT];
	struct service_ask ask = {.method = "DELETE", .path = path, .sign = true};

	snprintf(path, sizeof(path), "/transports/id:%s", sg_tpid_str(&t->e.entry.id, id));
	t->asked = true;
	return service_ask(ts->n->tpd, &ask, on_deleted, ts, &ts->call);
}

static int post(struct transports *ts, const char *path, const char *text, size_t len)
{
	static const struct sg_http_header headers[] = {{"SW-Visor-Version", NET_VERSION}, {0}};
	struct service_ask ask = {.method = "POST",
		.path = path,
		.headers = ts->form == FORM_2024 ? NULL : headers,
		.body = {(const uint8_t *)text, len},
		.sign = true};

	return service_ask(ts->n->tpd, &ask, on_registered, ts, &ts->call);
}

/* Bare entries, as many as fit. */
static int send_today(struct transports *ts)
{
	size_t cap = BATCH_MAX * (size_t)ENTRY_TEXT, len = 1, count = 0;
	char *text = sg_malloc(cap);
	int ret = text ? 0 : -ENOMEM;

	if (text)
		text[0] = '[';
	sg_list_for (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		if (ret < 0 || count == BATCH_MAX || !ours_to_register(ts, t))
			continue;
		if (count++)
			text[len++] = ',';
		ret = sg_entry_encode(&t->e.entry, text + len, cap - len - 3);
		len += ret > 0 ? (size_t)ret : 0;
		t->asked = true;
	}
	if (ret > 0) {
		text[len++] = ']';
		text[len++] = '\n';
		ret = post(ts, "/v3/transports/", text, len);
	}
	sg_free(text);
	return ret;
}

/* One with both signatures: a list whose third entry is refused would leave the fourth out. */
static int send_2024(struct transports *ts, struct transport *t)
{
	char text[SG_SETTLE_LINE_MAX + 4];
	int len = sg_entry_sign(ts->n->conf.crypto, &ts->n->conf.sk, NULL, &t->e);

	text[0] = '[';
	if (len == 0)
		len = sg_settle_encode(&t->e, false, text + 1, sizeof(text) - 4);
	if (len < 0)
		return len;
	text[1 + len] = ']';
	text[2 + len] = '\n';
	t->asked = true;
	return post(ts, "/transports/", text, (size_t)len + 3);
}

static struct transport *first(struct transports *ts, bool (*fits)(const struct transports *, const struct transport *))
{
	sg_list_for (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		if (fits(ts, t))
			return t;
	}
	return NULL;
}

static bool ours_to_delete(const struct transports *ts, const struct transport *t)
{
	(void)ts;
	return !t->up;
}

static void on_work(void *arg)
{
	struct transports *ts = arg;
	struct transport *t;
	int err = 0;

	ts->paused = false;
	if (ts->call || !service_known(ts->n->tpd))
		return;
	/* What is new first: a thousand deletions, one by one, can wait. */
	if ((t = first(ts, ours_to_register)))
		err = ts->form == FORM_2024 ? send_2024(ts, t) : send_today(ts);
	else if ((t = first(ts, ours_to_delete)))
		err = send_delete(ts, t);
	if (err < 0) {
		settle(ts, false);
		pause_after(ts);
	}
}

static void on_refresh(void *arg)
{
	struct transports *ts = arg;

	if (ts->form != FORM_TODAY)
		return;
	sg_list_for (it, &ts->list)
		sg_container_of(it, struct transport, node)->told = false;
	sg_timer_start(&ts->refresh, jitter_ms(ts->n->conf.crypto, REFRESH_MS));
	soon(ts);
}

/* ---- what others say of it: the comparison ---------------------------------------------------------------------------- */

/* Deletions that a service which is away for long has not heard of: the oldest is given up, its entry there ages anyway. */
static void make_room(struct transports *ts)
{
	sg_list_for_safe (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		if (t->up || t->asked)
			continue;
		transport_free(ts, t);
		return;
	}
}

static struct transport *transport_new(struct transports *ts, const struct sg_entry *e)
{
	struct transport *t;

	if (ts->n_list >= LISTED_MAX)
		make_room(ts);
	t = ts->n_list < LISTED_MAX ? sg_calloc(1, sizeof(*t)) : NULL;
	if (!t)
		return NULL;
	t->e.entry = *e;
	sg_list_add_tail(&ts->list, &t->node);
	ts->n_list++;
	return t;
}

static bool listed(const struct sg_entry *list, int n, const struct sg_tpid *id)
{
	for (int i = 0; i < n; i++) {
		if (sg_tpid_equal(&list[i].id, id))
			return true;
	}
	return false;
}

static void compare_with(struct transports *ts, const struct sg_entry *list, int n)
{
	const struct sg_pk *own = &ts->n->conf.pk;

	sg_list_for (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		t->refused = false;
		if (t->up && !t->asked && !listed(list, n, &t->e.entry.id))
			t->told = false;
	}
	/* Those of a former life, which nobody else would take away. */
	for (int i = 0; i < n; i++) {
		bool edge = sg_pk_equal(&list[i].edges[0], own) || sg_pk_equal(&list[i].edges[1], own);

		if (edge && !sg_pk_equal(&list[i].edges[0], &list[i].edges[1]) && !find(ts, &list[i].id))
			(void)transport_new(ts, &list[i]);
	}
	soon(ts);
}

static void on_compared(void *arg, const struct http_answer *a)
{
	struct transports *ts = arg;
	struct sg_entry *list = NULL;
	int n = 0;

	ts->compare = NULL;
	if (a->err == 0 && a->status == 200) {
		list = sg_calloc(LISTED_MAX, sizeof(*list));
		n = list ? sg_entry_list_decode(ts->n->conf.crypto, a->body, list, LISTED_MAX) : -ENOMEM;
	} else if (a->err < 0 || a->status != 404) {
		n = SG_EMALF;
	}
	if (n >= 0)
		compare_with(ts, list, n);
	sg_free(list);
	sg_timer_start(&ts->again, jitter_ms(ts->n->conf.crypto, n < 0 ? COMPARE2_MS : COMPARE_MS));
}

static void on_again(void *arg)
{
	struct transports *ts = arg;
	char path[120], pk[SG_PK_TEXT];
	struct service_ask ask = {.method = "GET", .path = path, .sign = true, .body_max = SG_SERVICE_LIST_MAX};

	snprintf(path, sizeof(path), "/transports/edge:%s", sg_pk_str(&ts->n->conf.pk, pk));
	if (!service_known(ts->n->tpd) || ts->compare ||
		service_ask(ts->n->tpd, &ask, on_compared, ts, &ts->compare) < 0)
		sg_timer_start(&ts->again, COMPARE2_MS);
}

/* ---- what the links say ------------------------------------------------------------------------------------------------ */

void net_transport_up(struct sg_net *n, const struct net_transport *info)
{
	struct transports *ts = n->transports;
	struct sg_entry e;
	struct transport *t;

	if (n->leaving.ns || sg_entry_make(&n->conf.pk, &info->remote, info->type, &e) < 0)
		return;
	t = find(ts, &e.id);
	if (!t)
		t = transport_new(ts, &e);
	if (!t) {
		log_warn_rl(&ts->rl_full, "more than %d transports, or no memory: one is not registered", LISTED_MAX);
		return;
	}
	if (is_self(t)) {
		transport_free(ts, t);
		return;
	}
	t->up = true;
	t->told = t->refused = false;
	t->dialled = info->dialled;
	t->e.sigs[sg_pk_equal(&e.edges[0], &info->remote) ? 0 : 1] = info->remote_sig;
	soon(ts);
}

void net_transport_down(struct sg_net *n, const struct net_transport *info)
{
	struct transports *ts = n->transports;
	struct sg_entry e;
	struct transport *t = NULL;

	if (sg_entry_make(&n->conf.pk, &info->remote, info->type, &e) == 0)
		t = find(ts, &e.id);
	if (!t)
		return;
	t->up = false;
	if (!service_known(n->tpd))
		transport_free(ts, t);
	soon(ts);
}

/* ---- life --------------------------------------------------------------------------------------------------------------- */

bool transports_leave(struct transports *ts)
{
	sg_list_for_safe (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		t->up = false;
		if (!service_known(ts->n->tpd))
			transport_free(ts, t);
	}
	/* However long the pause was to be: asked at once. */
	if (!ts->leaving) {
		ts->leaving = true;
		ts->paused = false;
		backoff_reset(&ts->backoff);
	}
	if (!ts->call && !ts->paused && !sg_list_empty(&ts->list))
		sg_timer_start(&ts->work, 0);
	return sg_list_empty(&ts->list) || service_silent(ts->n->tpd);
}

void transports_moved(struct transports *ts)
{
	if (ts->call)
		service_cancel(ts->call);
	if (ts->compare)
		service_cancel(ts->compare);
	ts->call = ts->compare = NULL;
	ts->form = FORM_UNKNOWN;
	ts->paused = false;
	backoff_reset(&ts->backoff);
	sg_list_for_safe (it, &ts->list) {
		struct transport *t = sg_container_of(it, struct transport, node);

		t->told = t->refused = t->asked = false;
		if (!t->up)
			transport_free(ts, t);
	}
	sg_timer_stop(&ts->refresh);
	sg_timer_stop(&ts->again);
	if (!service_known(ts->n->tpd))
		return;
	sg_timer_start(&ts->again, jitter_ms(ts->n->conf.crypto, COMPARE_MS));
	soon(ts);
}

struct transports *transports_new(struct sg_net *n)
{
	struct transports *ts = sg_calloc(1, sizeof(*ts));

	if (!ts)
		return NULL;
	ts->n = n;
	ts->backoff = SERVICE_BACKOFF;
	sg_list_init(&ts->list);
	sg_timer_init(&ts->work, n->conf.loop, on_work, ts);
	sg_timer_init(&ts->refresh, n->conf.loop, on_refresh, ts);
	sg_timer_init(&ts->again, n->conf.loop, on_again, ts);
	return ts;
}

void transports_free(struct transports *ts)
{
	if (!ts)
		return;
	if (ts->call)
		service_cancel(ts->call);
	if (ts->compare)
		service_cancel(ts->compare);
	sg_timer_stop(&ts->work);
	sg_timer_stop(&ts->refresh);
	sg_timer_stop(&ts->again);
	while (!sg_list_empty(&ts->list))
		transport_free(ts, sg_container_of(ts->list.next, struct transport, node));
	sg_free(ts);
}
