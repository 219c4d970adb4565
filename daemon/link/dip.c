/*
 * Every ten seconds BBR wants to know anew how long the way is without a queue, and holds four packets under way for 200 ms:
 * whatever comes meanwhile, a ping too, waits about so long, and that is its 99th percentile. A connection that was idle
 * when that time was up is spared (Linux: idle_restart), for its first packet measures the same. So a busy one is made idle
 * then: nothing is sent until all has arrived, one round trip, once in ten seconds.
 *
 *	measured ──────── ten seconds ────────┐
 *	      … sending ┤ all under way arrives │ ├ sending …
 *	                at                      until, when nothing is under way
 */
#include "link/internal.h"

#include <linux/inet_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define WINDOW_NS  (10000 * SG_NS_PER_MS) /* BBR believes a measurement for so long */
#define KNOWN_NS   (150 * SG_NS_PER_MS)   /* when it was made is known so well, or it is not known */
#define LEAD_NS    (25 * SG_NS_PER_MS)    /* for what the socket holds unsent */
#define JIFFIES_NS (20 * SG_NS_PER_MS)    /* of its clock */
#define AFTER_NS   (10 * SG_NS_PER_MS)    /* an answer comes so much later than a round trip at most */
#define GIVE_UP_NS (100 * SG_NS_PER_MS)
#define BUSY       16384 /* bytes under way; with fewer BBR's own way costs nothing */
#define BBR_UNIT   256   /* a gain of one */

void dip_learn(struct link_dip *d, const struct dip_look *k)
{
	bool news = k->min_us != d->min_us || (d->probing && !k->probing);

	/* After a dip of ours it is known better than by looking. */
	if (news && d->by.ns <= d->seen.ns) {
		d->from = d->seen;
		d->by.ns = SG_MIN(k->now.ns, k->sent.ns + (int64_t)k->rtt_us * 1000 + AFTER_NS);
	}
	d->min_us = k->min_us;
	d->probing = k->probing;
	d->seen = k->now;
	d->at.ns = d->until.ns = 0;
	if (!d->min_us || !d->from.ns || d->by.ns - d->from.ns > KNOWN_NS)
		return;
	d->at.ns = d->from.ns + WINDOW_NS - LEAD_NS - (int64_t)k->rtt_us * 1000;
	d->until.ns = d->by.ns + WINDOW_NS + JIFFIES_NS - (int64_t)d->min_us * 1000;
}

bool dip_due(const struct link_dip *d, struct sg_mono now)
{
	return d->at.ns && now.ns >= d->at.ns && now.ns < d->from.ns + WINDOW_NS - (int64_t)d->min_us * 1000;
}

bool dip_over(struct link_dip *d, struct sg_mono now, bool empty)
{
	if ((!empty || now.ns < d->until.ns) && now.ns < d->until.ns + GIVE_UP_NS)
		return false;
	d->from.ns = now.ns + (int64_t)d->min_us * 1000;
	d->by.ns = d->from.ns + AFTER_NS;
	d->at.ns = 0;
	return true;
}

/* Bytes that the other end has not said it has. */
static int under_way(const struct sg_link *l)
{
	int bytes = 0;

	return ioctl(l->line.fd, SIOCOUTQ, &bytes) < 0 ? 0 : bytes;
}

static void on_timer(void *arg)
{
	struct sg_link *l = arg;

	if (!dip_over(&l->dip, sg_loop_now(l->ls->conf.loop), under_way(l) == 0) &&
		sg_timer_start(&l->dip.timer, 1) == 0)
		return;
	l->dip.open = false;
	link_writable(l);
}

void dip_init(struct sg_link *l)
{
	sg_timer_init(&l->dip.timer, l->ls->conf.loop, on_timer, l);
}

void dip_fini(struct sg_link *l)
{
	sg_timer_stop(&l->dip.timer);
}

void dip_tick(struct sg_link *l)
{
	struct link_dip *d = &l->dip;
	struct sg_mono now = sg_loop_now(l->ls->conf.loop);

	d->sent_before = d->sent;
	d->sent = now;
	if (!dip_due(d, now))
		return;
	if (under_way(l) < BUSY || sg_timer_start(&d->timer, 1) < 0) {
		d->at.ns = 0;
		return;
	}
	d->open = true;
	l->tx.blocked = true;
	link_watch_update(l);
}

bool dip_sample(struct sg_link *l, uint32_t rtt_us)
{
	struct dip_look look = {.now = sg_loop_now(l->ls->conf.loop), .sent = l->dip.sent_before, .rtt_us = rtt_us};
	union tcp_cc_info cc;
	socklen_t len = sizeof(cc);
	bool starting = false;

	/* Other algorithms say less, or more: BBR's next version measures otherwise. */
	if (getsockopt(l->line.fd, IPPROTO_TCP, TCP_CC_INFO, &cc, &len) == 0 && len == sizeof(cc.bbr)) {
		look.min_us = cc.bbr.bbr_min_rtt;
		look.probing = cc.bbr.bbr_cwnd_gain == BBR_UNIT;
		starting = cc.bbr.bbr_pacing_gain > 2 * BBR_UNIT;
	}
	dip_learn(&l->dip, &look);
	return starting;
}
