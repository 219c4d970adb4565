/*
 * How much may lie between us and the line. What the socket holds unsent and what lies before it in user space is bounded by
 * time at the rate that was last seen, not by bytes: 128 KiB are nothing at 1 Gbit/s and 50 ms at 20 Mbit/s. And when the line's own
 * queue is found standing (round trips stay longer than the shortest one), the socket is paced a little below what arrives
 * until it has drained. BBR alone does not see that queue while its user sends less than its window: then nothing tells
 * it that its first estimate was too high, and the inner TCP connections fill the line's queue instead of ours, where they
 * would be told to slow down. On an even line (round trips vary little, nothing is sent again) the socket stays paced
 * afterwards, at what the line takes: some 5 ms of a queue are left, and BBR's looks for more rate add nothing.
 *
 * Who rules the socket when: BBR decides what is sent, and on an even line no more than our cap, which is then also
 * what lets BBR be chosen anew every eight seconds (link/bbr.c). From the moment when a trial of Reno asks for
 * anything until BBR is seen there again (link/trial.c), that trial rules: no line is held then, BBR is not renewed,
 * and queues are drained down to the round trip that the trial names.
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
#define WANTED_US     5000                  /* of an even line's queue, and twice the variation: so it is never empty */
#define WANTED_BYTES  2500ULL               /* or so much: on a slow line less is a packet or none */
#define EVEN_US       2000                  /* variation of round trips on such a line */
#define STEADY_US     5000                  /* of lines whose shortest round trip of long ago is one of today */
#define WHOLE         20                    /* samples; on such a line nothing was lost in these */
#define QUEUE_US      10000                 /* of other lines': so much is left alone, and twice the variation */
#define OWN_MAX_US    15000                 /* a packet at 0.8 Mbit/s; who sends less has not filled the line */
#define DRAIN_US      200000                /* a standing queue is drained in about that time */
#define STANDING      3                     /* samples, so many round trips, of which none was shorter */
#define PATIENCE_NS   (1500 * SG_NS_PER_MS) /* a queue that lasts longer is somebody else's */
#define GIVE_UP_NS    (10000 * SG_NS_PER_MS)
#define CLEAR_MAX     100 /* percent of a sample */
#define CLEAR         6   /* samples after which an even line has become faster */
#define CLEAR_ALL     16  /* those after which it is not bounded at all */
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
		.rtt_us = s->rtt_us,
		.delivered = s->delivered,
		.received = p->received,
		.sent_bytes = s->sent_bytes,
		.sent_packets = s->sent_packets,
		.resent = s->resent,
		.off_until = p->off_until,
		.off_rate = p->off_rate};
	p->held = SG_LINK_TX_HIGH;
	p->unsent = SG_LINK_NOTSENT_LOWAT;
}

/* What a sample shows of the line's queue. */
struct queue_seen {
	int64_t us;
	int64_t spare_us; /* that it may be longer, or has to become shorter: negative */
};

/* So much more or less than @rate that a queue is @us longer or shorter when DRAIN_US are over. */
static uint64_t steer(uint64_t rate, int64_t us)
{
	us = SG_MAX(SG_MIN(us, DRAIN_US), -DRAIN_US / 2);
	return rate + (uint64_t)((int64_t)(rate / 1000) * us / (DRAIN_US / 1000));
}

/* Answers and other single packets say nothing of a line. */
static bool is_little(const struct link_pace *p, const struct pace_sample *s)
{
	return !p->cap && s->unacked < FEW;
}

/* It is not ours: we are not slower for its sake. */
static void pace_give_up(struct link_pace *p, struct sg_mono now)
{
	p->standing = p->drained = 0;
	p->off_until.ns = now.ns + GIVE_UP_NS;
	p->off_rate = p->peak; /* the rate is what draining left of it */
	p->cap = 0;
}

/* A queue that stands: less is sent, unless that cannot help. */
static void pace_drain(struct link_pace *p, const struct pace_sample *s, const struct queue_seen *q, uint64_t rate)
{
	bool little = is_little(p, s);

	p->clear = 0;
	if (p->standing++ == 0 || little)
		p->standing_since = s->now;
	if (p->standing < STANDING && !(p->cap && p->even))
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
		else if (q->us > s->min_rtt_us && s->rtt_us > p->drain_rtt_us / 8 * 7)
			p->stuck = true;
	}
	if (s->now.ns - p->standing_since.ns > PATIENCE_NS) {
		pace_give_up(p, s->now);
		return;
	}
	p->line -= (p->line - p->mean) / 8;
	/* Never below half of what the line took in the last seconds: what it delivered just now may be less than it takes. */
	p->cap = SG_MAX(steer(p->even ? p->mean : rate, q->spare_us), p->peak / 2);
	p->cap = SG_MAX(p->cap, (uint64_t)BOUND_MIN);
}

/*
 * An even line without a queue to speak of. The rate that it took before is safe; beyond it we go by a few in a hundred, and
 * ever faster when that shows nothing for a while: the line has become faster, or what was seen was no line's queue.
 */
static void pace_seek(struct link_pace *p, int64_t spare)
{
	bool filled = p->rate > p->cap / 4 * 3;

	p->clear += filled;
	p->cap = steer(SG_MAX(p->mean, p->line), 2 * spare);
	if (filled && p->clear > CLEAR)
		p->cap = SG_MAX(p->cap, steer(p->rate, spare << SG_MIN(p->clear - CLEAR + 1, 8U)));
	if (p->clear > CLEAR_ALL)
		p->cap = 0;
}

/* An even line whose queue is short: it is kept so. */
static void pace_hold(struct link_pace *p, const struct pace_sample *s, const struct queue_seen *q)
{
	/* A way that became a little longer, or a router that keeps others' queue so short, looks like a queue that stays. */
	if (!p->standing || q->spare_us > -WANTED_US / 5)
		p->standing_since = s->now;
	if (q->spare_us >= 0) {
		p->standing = 0;
		if (p->cap)
			pace_seek(p, q->spare_us);
		return;
	}
	if (s->now.ns - p->standing_since.ns > PATIENCE_NS) {
		pace_give_up(p, s->now);
		return;
	}
	p->standing++;
	p->clear = 0;
	/* A moment's low rate is no reason to send much less than before. */
	if (p->cap || (p->standing >= STANDING && !is_little(p, s)))
		p->cap = SG_MAX(SG_MAX(steer(p->mean, q->spare_us), p->line / 16 * 15), (uint64_t)BOUND_MIN);
}

/* Nothing stands on a line that is not even. */
static void pace_loosen(struct link_pace *p, const struct queue_seen *q)
{
	p->standing = 0;
	/*
	 * Ever faster while nothing queues: the round trips of a machine that is busy look like a queue too, and then what was
	 * sent meanwhile says nothing of the line.
	 */
	if (q->us > QUEUE_US / 2)
		p->clear = 0;
	p->clear++;
	p->cap += p->cap / 100 * SG_MIN(10 * p->clear, CLEAR_MAX);
	if (p->cap > 4 * p->rate)
		p->cap = 0;
}

static void pace_queue(struct link_pace *p, const struct pace_sample *s, uint64_t rate)
{
	/* Into a slow line a packet takes long by itself, and the shortest round trip was that of a small one. */
	uint64_t own_us = (uint64_t)s->mss * 1000000 / SG_MAX(p->peak, (uint64_t)1);
	int64_t vary = 2 * (int64_t)s->rttvar_us, allowed = QUEUE_US + vary;
	struct queue_seen q = {
		.us = (int64_t)s->rtt_us - s->min_rtt_us - (int64_t)SG_MIN(own_us, (uint64_t)OWN_MAX_US)};

	p->even = s->hold && s->rttvar_us < EVEN_US && p->whole >= WHOLE;
	q.spare_us = QUEUE_US / 2 - q.us;
	if (p->even) {
		int64_t wanted =
			(int64_t)SG_MAX(WANTED_BYTES * 1000000 / SG_MAX(p->line, (uint64_t)1), (uint64_t)WANTED_US);

		q.spare_us = wanted + vary - q.us;
		allowed = wanted + WANTED_US + vary;
	}
	if (q.us < s->min_rtt_us / 2)
		p->stuck = false;
	/* It was another's while we sent little, answers to a download say, whose queue stands before the other end. */
	if (p->rate > p->off_rate + p->off_rate / 2)
		p->off_until.ns = 0;
	if (sg_mono_before(s->now, p->off_until)) {
		p->drained = 0;
		pace_loosen(p, &q);
	} else if (q.us > allowed) {
		pace_drain(p, s, &q, rate);
	} else {
		p->drained = 0;
		if (p->even)
			pace_hold(p, s, &q);
		else
			pace_loosen(p, &q);
	}
}

/* Of packets sent lately: without a backlog they are not full. */
static uint64_t packet_size(const struct link_pace *p, const struct pace_sample *s)
{
	uint32_t n = s->sent_packets - p->sent_packets;

	return n && s->sent_bytes ? SG_MIN((s->sent_bytes - p->sent_bytes) / n, (uint64_t)s->mss) : s->mss;
}

void pace_update(struct link_pace *p, const struct pace_sample *s)
{
	int64_t took = s->now.ns - p->at.ns;
	uint64_t delivered = (uint32_t)(s->delivered - p->delivered), rate, real;

	if (p->at.ns == 0 || took > IDLE_NS) {
		pace_reset(p, s);
		return;
	}
	real = delivered * packet_size(p, s) * 1000000 / (uint64_t)SG_MAX(took / 1000, 1);
	/* Elsewhere a rate that is too low does more harm than one that is too high: bounds make it lower still. */
	rate = p->even ? real : delivered * s->mss * 1000 / (uint64_t)SG_MAX(took / 1000000, 1);
	p->at = s->now;
	p->rtt_us = s->rtt_us;
	p->delivered = s->delivered;
	p->sent_bytes = s->sent_bytes;
	p->sent_packets = s->sent_packets;
	p->whole = s->resent == p->resent ? p->whole + 1 : 0;
	p->resent = s->resent;
	p->rate = SG_MAX(rate, p->rate - p->rate / 32);
	p->peak = SG_MAX(rate, p->peak - p->peak / 256);
	p->mean = p->mean ? p->mean - p->mean / 4 + real / 4 : real;
	p->line = SG_MAX(p->mean, p->line - (p->mean > p->line / 4 * 3 ? p->line / 1024 : 0));
	/* At what it may send: bounds at what it did send would make it send less and less. */
	p->unsent = time_bound(SG_MAX(p->rate, s->pacing), UNSENT_MS, SG_LINK_NOTSENT_LOWAT);
	p->held = time_bound(SG_MAX(p->rate, s->pacing), HELD_MS, SG_LINK_TX_HIGH);
	/* Or it would start for ever, at nearly three times the rate; where the line was held that is known. */
	if (s->starting && !p->known) {
		p->unsent = SG_LINK_NOTSENT_LOWAT;
		p->held = SG_LINK_TX_HIGH;
	}
	if (rate && s->min_rtt_us)
		pace_queue(p, s, rate);
	p->known = p->cap && (p->known || p->even);
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
	struct trial_look look;
	struct bbr_look bbr;
	bool renew, known;

	if (l->line.fd < 0 || now.ns < p->next.ns)
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
	s.sent_bytes = info.tcpi_bytes_sent;
	s.sent_packets = info.tcpi_data_segs_out;
	s.resent = info.tcpi_total_retrans;
	look = (struct trial_look){.now = now,
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
		.bbr = bbr_look(l, &bbr),
		.usual_us = uneven_usual_us(&l->uneven)};
	known = l->trial.state == TRIAL_KNOWN;
	if (trial_tick(l, &look))
		before.unsent = SG_LINK_NOTSENT_LOWAT;
	s.starting = look.bbr && bbr.starting;
	s.hold = look.bbr && l->trial.state == TRIAL_WATCH;
	s.min_rtt_us = trial_floor_us(&l->trial, s.min_rtt_us);
	if (!s.min_rtt_us || (!known && l->trial.state == TRIAL_KNOWN))
		p->cap = p->standing = p->drained = 0;
	pace_update(p, &s);
	if (trial_drains(&l->trial))
		p->cap = SG_MAX(p->rate / 2, (uint64_t)BOUND_MIN);
	/* Where a queue is another's, or round trips vary, the shortest one of five minutes is too short for BBR's window. */
	renew = s.hold && !p->stuck && s.rttvar_us < STEADY_US && (s.starting || !sg_mono_before(now, p->off_until)) &&
		bbr_due(&l->bbr, &bbr);
	if (renew && !s.starting && !p->cap) /* it will look for the rate, which is known */
		p->cap = p->line;
	if (renew)
		p->known = p->cap != 0;
	p->next.ns = now.ns + SG_MIN(SG_MAX((int64_t)s.rtt_us * 1000, SAMPLE_MIN_NS), SAMPLE_MAX_NS);
	if (much_changed(p->unsent, before.unsent)) {
		int unsent = (int)p->unsent;

		(void)setsockopt(l->line.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	}
	if (p->cap != before.cap) {
		uint32_t cap = p->cap ? (uint32_t)SG_MIN(p->cap, (uint64_t)UINT32_MAX - 1) : UINT32_MAX;

		(void)setsockopt(l->line.fd, SOL_SOCKET, SO_MAX_PACING_RATE, &cap, sizeof(cap));
	}
	if (renew)
		trial_renew(l, &look);
}

/* TCP_NOTSENT_LOWAT is looked at per buffer of up to 64 KiB, which on a slow line is ten times what we want there. */
size_t pace_room(const struct sg_link *l)
{
	int waiting = 0;

	if (l->line.fd < 0 || l->pace.at.ns == 0 || l->pace.unsent >= SG_LINK_NOTSENT_LOWAT)
		return SIZE_MAX;
	if (ioctl(l->line.fd, SIOCOUTQNSD, &waiting) < 0)
		return SIZE_MAX;
	return (uint64_t)waiting < l->pace.unsent ? (size_t)l->pace.unsent - (size_t)waiting : 0;
}
