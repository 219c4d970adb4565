/*
 * Every ten seconds BBR wants to know anew how long the way is without a queue, and holds four packets under way for 200 ms:
 * whatever comes meanwhile, a ping too, waits about so long. A socket for which BBR is chosen anew begins with the shortest
 * round trip that TCP itself knows, of five minutes, and with another ten seconds; so that is done before they are over. What
 * it forgets is the rate, and it looks for it at 2.9 times what it has: the rate that link/pace.c knows bounds it meanwhile.
 */
#include "link/internal.h"

#include <linux/inet_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define RENEW_NS (8000 * SG_NS_PER_MS)
#define BUSY     4096 /* bytes under way; fewer are not held up by BBR's four packets */
#define UNIT     256  /* a gain of one */

bool bbr_due(struct link_bbr *b, const struct bbr_look *k)
{
	/* What it measured itself is as good, and in the midst of that its window is next to nothing. */
	if (k->probing || b->since.ns == 0)
		b->since = k->now;
	if (k->now.ns - b->since.ns < RENEW_NS || k->under_way < BUSY)
		return false;
	b->since = k->now;
	return true;
}

bool bbr_look(struct sg_link *l, struct bbr_look *k)
{
	union tcp_cc_info cc;
	socklen_t len = sizeof(cc);
	int under_way = 0;

	/* Other algorithms say less, or more: BBR's next version measures otherwise. */
	if (getsockopt(l->line.fd, IPPROTO_TCP, TCP_CC_INFO, &cc, &len) < 0 || len != sizeof(cc.bbr) ||
		ioctl(l->line.fd, SIOCOUTQ, &under_way) < 0) {
		l->bbr.since.ns = 0; /* whoever chooses it later begins its ten seconds */
		return false;
	}
	*k = (struct bbr_look){.now = sg_loop_now(l->ls->conf.loop),
		.under_way = (size_t)under_way,
		.starting = cc.bbr.bbr_pacing_gain > 2 * UNIT,
		.probing = cc.bbr.bbr_cwnd_gain == UNIT};
	return true;
}

bool link_congestion(const struct sg_link *l, const char *name)
{
	return setsockopt(l->line.fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

void bbr_use(const struct sg_link *l)
{
	const struct sg_links *ls = l->ls;

	if (!link_congestion(l, "bbr") && ls->conf.host->tune)
		(void)ls->conf.host->tune(ls->conf.host_arg, l->line.fd);
}

void bbr_renew(const struct sg_link *l)
{
	/* Choosing what is chosen changes nothing, hence Reno between: that is for everybody. */
	if (link_congestion(l, "reno"))
		bbr_use(l);
}
