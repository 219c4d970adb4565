/*
 * How much may lie between us and the line. What the socket holds unsent and what lies before it in user space is bounded by
 * time at the rate that was last seen, not by bytes: 128 KiB are nothing at 1 Gbit/s and 50 ms at 20 Mbit/s. And when the line's own
 * queue is found standing (round trips stay longer than the shortest one), the socket is paced a little below what arrives
 * until it has drained. BBR alone does not see that queue while its user sends less than its window: then nothing tells
 * it that its first estimate was too high, and the inner TCP connections fill the line's queue instead of ours, where they
 * would be told to slow down.
 */
#include "link/internal.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define SAMPLE_MIN_NS (25 * SG_NS_PER_MS)
#define SAMPLE_MAX_NS (250 * SG_NS_PER_MS)
#define IDLE_NS       (1000 * SG_NS_PER_MS) /* what was known before is forgotten */
#define QUEUE_US      10000                 /* of the line: so much is left alone, and twice the variation */
#define OWN_MAX_US    15000                 /* a packet at 0.8 Mbit/s; who sends less has not filled the line */
#define DRAIN_US      200000                /* a standing queue is drained in about that time */
#define STANDING      3                     /* samples, so many round trips, of which none was shorter */
#define PATIENCE_NS   (1500 * SG_NS_PER_MS) /* a queue that lasts longer is somebody else's */
#define GIVE_UP_NS    (10000 * SG_NS_PER_MS)
#define CLEAR_MAX     100 /* percent of a sample */
#define DRAINED       3   /* samples; a queue of ours is shorter after so many */
#define FEW           4   /* packets under way: these are no queue */
#define UNSENT_MS     3
#define HELD_MS       2
#define BOUND_MIN     4096

static uint64_t time_bound(uint64_t rate, uint64_t ms, uint64_t most)
{
	return SG_MIN(SG_MAX(rate * ms / 1000, (uint64_t)BOUND_MIN), most);
}

static void pace_reset(struct link_pace *p, const struct pace_sample *s)
{
	*p = (struct link_pace){.at = s->now,
		.delivered = s->delivered,
		.received = p->received,
		.off_until = p->off_until,
		.off_rate = p->off_rate};
	p->held = SG_LINK_TX_HIGH;
	p->unsent = SG_LINK_NOTSENT_LOWAT;
}

/* A queue that stands: less is sent, unless that cannot help. */
static void pace_drain(struct link_pace *p, const struct pace_sample *s, uint64_t rate, int64_t queue)
{
	bool little = !p->cap && s->unacked < FEW;

	p->clear = 0;
	if (p->standing++ == 0 || little)
		p->standing_since = s->now;
	if (p->standing < STANDING)
		return; /* a moment, of the line's or of this machine's */
	if (little) {
		/* While the other end sends much its queue may be what our answers see. */
		p->stuck = s->received < FEW * (uint64_t)s->mss;
		return;
	}
	if (p->drained++ == 0)
		p->drain_rtt_us = s->rtt_us;
	if (p->drained > DRAINED) {
		if (s->rtt_us < p->drain_rtt_us / 4 * 3)
			p->stuck = false;
		else if (queue > s->min_rtt_us && s->rtt_us > p->drain_rtt_us / 8 * 7)
			p->stuck = true;
	}
	if (s->now.ns - p->standing_since.ns > PATIENCE_NS) {
		p->standing = p->drained = 0;
		p->off_until.ns = s->now.ns + GIVE_UP_NS;
		p->off_rate = p->rate;
		p->cap = 0;
		return;
	}
	/* Never below half of what the line took in the last seconds: what it delivered just now may be less than it takes. */
	queue = SG_MIN(queue - QUEUE_US / 2, DRAIN_US / 2);
	p->cap = SG_MAX(rate - rate / 100 * (uint64_t)(queue * 100 / DRAIN_US), p->peak / 2);
	p->cap = SG_MAX(p->cap, (uint64_t)BOUND_MIN);
}

static void pace_queue(struct link_pace *p, const struct pace_sample *s, uint64_t rate)
{
	/* Into a slow line a packet takes long by itself, and the shortest round trip was that of a small one. */
	uint64_t own_us = (uint64_t)s->mss * 1000000 / SG_MAX(p->peak, (uint64_t)1);
	int64_t queue = (int64_t)s->rtt_us - s->min_rtt_us - (int64_t)SG_MIN(own_us, (uint64_t)OWN_MAX_US);
	bool standing = queue > QUEUE_US + 2 * (int64_t)s->rttvar_us;

	if (queue < s->min_rtt_us / 2)
		p->stuck = false;
	/* It was another's while we sent little, answers to a download say, whose queue stands before the other end. */
	if (p->rate > p->off_rate + p->off_rate / 2)
		p->off_until.ns = 0;
	if (!standing || sg_mono_before(s->now, p->off_until)) {
		p->standing = p->drained = 0;
		/*
		 * Ever faster while nothing queues: the round trips of a machine that is busy look like a queue too, and
		 * then what was sent meanwhile says nothing of the line.
		 */
		if (queue > QUEUE_US / 2)
			p->clear = 0;
		p->clear++;
		p->cap += p->cap / 100 * SG_MIN(10 * p->clear, CLEAR_MAX);
		if (p->cap > 4 * p->rate)
			p->cap = 0;
		return;
	}
	pace_drain(p, s, rate, queue);
}

void pace_update(struct link_pace *p, const struct pace_sample *s)
{
	int64_t took = s->now.ns - p->at.ns;
	uint64_t rate;

	if (p->at.ns == 0 || took > IDLE_NS) {
		pace_reset(p, s);
		return;
	}
	rate = (uint64_t)(uint32_t)(s->delivered - p->delivered) * s->mss * 1000 / (uint64_t)SG_MAX(took / 1000000, 1);
	p->at = s->now;
	p->delivered = s->delivered;
	p->rate = SG_MAX(rate, p->rate - p->rate / 32);
	p->peak = SG_MAX(rate, p->peak - p->peak / 256);
	/* At what it may send: bounds at what it did send would make it send less and less. */
	p->unsent = time_bound(SG_MAX(p->rate, s->pacing), UNSENT_MS, SG_LINK_NOTSENT_LOWAT);
	p->held = time_bound(SG_MAX(p->rate, s->pacing), HELD_MS, SG_LINK_TX_HIGH);
	if (s->starting) { /* or it would start for ever, at nearly three times the rate */
		p->unsent = SG_LINK_NOTSENT_LOWAT;
		p->held = SG_LINK_TX_HIGH;
	}
	if (rate && s->min_rtt_us)
		pace_queue(p, s, rate);
}

static bool much_changed(uint64_t now, uint64_t before)
{
	return now > before + before / 8 || now + now / 8 < before;
}

void pace_tick(struct sg_link *l)
{
	struct link_pace *p = &l->pace, before = *p;
	struct sg_mono now = sg_loop_now(l->ls->conf.loop);
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	struct pace_sample s = {.now = now};

	if (l->line.fd < 0)
		return;
	dip_tick(l);
	if (now.ns < p->next.ns)
		return;
	/* A socket of another kind says so now and then; an old kernel, which counts no deliveries, shows 0 of them. */
	p->next.ns = now.ns + SAMPLE_MAX_NS;
	if (getsockopt(l->line.fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 || !info.tcpi_delivered)
		return;
	s.rtt_us = info.tcpi_rtt;
	s.rttvar_us = info.tcpi_rttvar;
	s.min_rtt_us = info.tcpi_min_rtt;
	s.mss = info.tcpi_snd_mss;
	s.delivered = info.tcpi_delivered;
	s.pacing = info.tcpi_pacing_rate;
	s.unacked = info.tcpi_unacked;
	s.received = l->rx_bytes - p->received;
	p->received = l->rx_bytes;
	s.starting = dip_sample(l, s.rtt_us);
	if (trial_tick(l, &(struct trial_look){.now = now,
				  .rtt_us = s.rtt_us,
				  .min_us = s.min_rtt_us,
				  .cwnd = info.tcpi_snd_cwnd,
				  .ssthresh = info.tcpi_snd_ssthresh,
				  .acked = info.tcpi_bytes_acked,
				  .sent = info.tcpi_data_segs_out,
				  .lost = info.tcpi_total_retrans,
				  .rate = p->rate,
				  .backlog = l->tx.blocked || l->tx.refused || info.tcpi_notsent_bytes > 2 * s.mss,
				  .stuck = p->stuck,
				  .bbr = l->dip.min_us != 0}))
		before.unsent = SG_LINK_NOTSENT_LOWAT;
	s.min_rtt_us = trial_floor_us(&l->trial, s.min_rtt_us);
	if (!s.min_rtt_us)
		p->cap = p->standing = p->drained = 0;
	pace_update(p, &s);
	if (trial_drains(&l->trial))
		p->cap = SG_MAX(p->rate / 2, (uint64_t)BOUND_MIN);
	p->next.ns = now.ns + SG_MIN(SG_MAX((int64_t)s.rtt_us * 1000, SAMPLE_MIN_NS), SAMPLE_MAX_NS);
	if (much_changed(p->unsent, before.unsent)) {
		int unsent = (int)p->unsent;

		(void)setsockopt(l->line.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	}
	if (p->cap != before.cap) {
		uint32_t cap = p->cap ? (uint32_t)SG_MIN(p->cap, (uint64_t)UINT32_MAX - 1) : UINT32_MAX;

		(void)setsockopt(l->line.fd, SOL_SOCKET, SO_MAX_PACING_RATE, &cap, sizeof(cap));
	}
}

/* TCP_NOTSENT_LOWAT is looked at per buffer of up to 64 KiB, which on a slow line is ten times what we want there. */
size_t pace_room(const struct sg_link *l)
{
	int waiting = 0;

	if (l->dip.open)
		return 0;
	if (l->line.fd < 0 || l->pace.at.ns == 0 || l->pace.unsent >= SG_LINK_NOTSENT_LOWAT)
		return SIZE_MAX;
	if (ioctl(l->line.fd, SIOCOUTQNSD, &waiting) < 0)
		return SIZE_MAX;
	return (uint64_t)waiting < l->pace.unsent ? (size_t)l->pace.unsent - (size_t)waiting : 0;
}
