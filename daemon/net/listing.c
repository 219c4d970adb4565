/*
 * A port of ours that a service makes known to others, kept so for as long as it is wanted:
 *
 *	wanted → POST → again every 90 s        failed → later        not wanted any more → DELETE, failed → later, some times
 */
#include "base/common.h"
#include "base/err.h"
#include "base/log.h"
#include "net/internal.h"

SG_LOG_TOPIC("net");

#define REPEAT_MS 90000 /* as today's visors; those of 2024 do so every 5 minutes, or once (spec) */
#define SOON_MS   50    /* after a listener opened: a reload moves it within this time */
#define TAKE_BACK 8     /* times asked for it, within two minutes; services forget us after five (spec) */

/* @tell: what it objects to, once. That it is away, service.c says. */
static void later(struct listing *l, bool tell, const char *why)
{
	if (tell && strcmp(l->why, why) != 0)
		log_warn("%s: %s %s at the %s: %s", l->type, l->port ? "not" : "still", l->kind->listed,
			service_name(l->service), why);
	snprintf(l->why, sizeof(l->why), "%s", why);
	sg_timer_start(&l->timer, backoff_next(&l->backoff, l->n->conf.crypto));
}

static void on_answer(void *arg, const struct http_answer *a)
{
	struct listing *l = arg;
	char why[200];

	l->call = NULL;
	/* What was listed before stays so while a repetition fails, and is to be taken back; whoever has nothing says 404. */
	if (!l->asked && a->err == 0 && a->status == 404)
		l->told = 0;
	if (a->err < 0 || a->status != 200) {
		if (l->port || (!l->asked && l->told && ++l->denied < TAKE_BACK))
			later(l, a->err == 0 && a->status < 500, service_fail_text(l->service, a, why, sizeof(why)));
		else if (l->asked && l->told)
			sg_timer_start(&l->timer, SOON_MS);
		return;
	}
	if (l->asked && (!l->told || l->why[0]))
		log_info("%s: others find port %u of %s at the %s", l->type, l->asked, l->kind->whose(l),
			service_name(l->service));
	l->told = l->asked;
	l->why[0] = '\0';
	backoff_reset(&l->backoff);
	sg_timer_stop(&l->timer);
	if (l->told != l->port)
		sg_timer_start(&l->timer, SOON_MS);
	else if (l->told)
		sg_timer_start(&l->timer, jitter_ms(l->n->conf.crypto, REPEAT_MS));
}

static void on_timer(void *arg)
{
	struct listing *l = arg;
	char path[LISTING_PATH_MAX], body[LISTING_BODY_MAX];
	struct service_ask ask = {.method = l->port ? "POST" : "DELETE", .path = path, .sign = true};
	int len;

	if (l->call || !service_known(l->service) || (!l->port && !l->told))
		return;
	len = l->kind->compose(l, path, body);
	if (len >= 0) {
		ask.body = (struct sg_view){(const uint8_t *)body, (size_t)len};
		l->asked = l->port;
		len = service_ask(l->service, &ask, on_answer, l, &l->call);
	}
	if (len < 0)
		later(l, true, sg_strerror(len));
}

void listing_init(
	struct listing *l, struct sg_net *n, struct service *service, const struct listing_kind *kind, const char *type)
{
	*l = (struct listing){.n = n, .service = service, .kind = kind, .type = type, .backoff = SERVICE_BACKOFF};
	sg_timer_init(&l->timer, n->conf.loop, on_timer, l);
}

void listing_fini(struct listing *l)
{
	sg_timer_stop(&l->timer);
	if (l->call)
		service_cancel(l->call);
	l->call = NULL;
}

int listing_set(struct listing *l, uint16_t port)
{
	l->port = port;
	l->denied = 0;
	backoff_reset(&l->backoff);
	return sg_timer_start(&l->timer, port ? SOON_MS : 0);
}

void listing_moved(struct listing *l)
{
	if (l->call)
		service_cancel(l->call);
	l->call = NULL;
	l->told = 0;
	l->why[0] = '\0';
	backoff_reset(&l->backoff);
	if (l->port)
		sg_timer_start(&l->timer, SOON_MS);
}

bool listing_leave(struct listing *l)
{
	/* Even if it was away when it was asked last: it is asked once more. */
	if (!l->leaving && (l->port || l->told))
		(void)listing_set(l, 0);
	l->leaving = true;
	if (l->call)
		return false;
	return !sg_timer_active(&l->timer) || (l->denied && service_silent(l->service));
}
