/* The uptime tracker, which counts who is there: it hears of us every five minutes. */
#include "base/alloc.h"
#include "base/common.h"
#include "net/internal.h"

#define FIRST_MS  50
#define REPEAT_MS 300000

struct uptime {
	struct sg_net *n;
	struct sg_timer timer;
	struct service_call *call;
};

static void on_counted(void *arg, const struct http_answer *a)
{
	struct uptime *u = arg;

	(void)a; /* service.c tells when it goes away; the next one is soon enough */
	u->call = NULL;
	sg_timer_start(&u->timer, jitter_ms(u->n->conf.crypto, REPEAT_MS));
}

static void on_timer(void *arg)
{
	struct uptime *u = arg;
	struct service_ask ask = {.method = "GET", .path = "/v4/update?version=" NET_VERSION, .sign = true};

	if (!service_known(u->n->ut) || u->call)
		return;
	if (service_ask(u->n->ut, &ask, on_counted, u, &u->call) < 0)
		sg_timer_start(&u->timer, REPEAT_MS);
}

static void stop(struct uptime *u)
{
	if (u->call)
		service_cancel(u->call);
	u->call = NULL;
	sg_timer_stop(&u->timer);
}

void uptime_moved(struct uptime *u)
{
	stop(u);
	if (service_known(u->n->ut))
		sg_timer_start(&u->timer, FIRST_MS);
}

struct uptime *uptime_new(struct sg_net *n)
{
	struct uptime *u = sg_calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->n = n;
	sg_timer_init(&u->timer, n->conf.loop, on_timer, u);
	return u;
}

void uptime_free(struct uptime *u)
{
	if (!u)
		return;
	stop(u);
	sg_free(u);
}
