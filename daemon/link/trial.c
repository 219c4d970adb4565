/*
 * BBR keeps twice its rate times the *shortest* round trip under way. Where the delay varies (radio) the usual round trip is
 * several times the shortest one: that window is less than the line takes, so the rate that BBR sees falls, so the window
 * does, down to little more than the first one. Reno knows no shortest round trip and does well there, but badly wherever
 * packets are lost. Where pings beside which nothing was under way vary (link/uneven.c) it is chosen at once, before much is sent:
 * afterwards the connections inside have taken those delays for a full line. While data is under way no sample tells such a line
 * from one that is full for sure, hence a trial:
 *
 *	watch ── long round trips that draining did not make shorter, a small window, a backlog ──► fresh ──► try
 *	  ▲                                                                                                  │
 *	  └── back ◄── no more arrives after four round trips ───────────────────────────────────────────────┤
 *	        ▲                                                                                            │
 *	        └───── it does no longer; packets are lost; round trips are short; idle ◄── kept ◄── it does ┘
 *	watch ── pings vary ──► fresh ──► known ── they do no longer; packets are lost; round trips are short ──► back
 *	watch ── BBR is chosen anew (link/bbr.c) ──► back
 *
 * Reno's slow start doubles each round trip what is under way: on an uneven line twice as much arrives, on one that is full
 * the same, later, and for no longer than it takes to see that. fresh: Reno starts slowly only where no ssthresh is set; BBR
 * sets one when its own start is over, and clears it when it begins anew.
 *
 * Reno fills the queue of a line, BBR does not. What is longer than the shortest round trip since the trial (the floor) is
 * therefore drained (link/pace.c), and now and then less is sent, to see whether that floor is a queue too: another's was
 * there when the trial began, and now it is ours alone.
 */
#include "link/internal.h"

SG_LOG_TOPIC("link");

#define WINDOW_MAX   64    /* packets: no more is left of BBR's window there */
#define UNEVEN_US    20000 /* less than that a busy machine makes */
#define BORNE_US     5000  /* and half of the shortest: so much longer BBR bears */
#define TRY_LOOKS    4
#define TRY_NS       (2 * SG_NS_PER_S)
#define BACK_NS      SG_NS_PER_S /* netd has answered by then, or is asked again, ever more rarely */
#define BACK_DOUBLED 6U
#define WINDOW_NS    (5 * SG_NS_PER_S)
#define DRAIN_EVERY  4 /* windows */
#define DRAIN_LOOKS  4
#define IDLE_NS      (10 * SG_NS_PER_S)
#define AGAIN_NS     (60 * SG_NS_PER_S)
#define AGAIN_MAX_NS (600 * SG_NS_PER_S)
#define SSTHRESH_NO  0x7fffffff
#define LOST_MAX     50  /* one in so many: that is BBR's ground */
#define LOST_FEW     200 /* or so many, while that keeps the window small */
#define LOST_MIN     3
#define LOST_WINDOW  32 /* packets */

static bool is_clearly_more(uint64_t rate, uint64_t before)
{
	return rate > before + before / 4;
}

/* Where round trips become longer BBR keeps less under way than the line takes. */
static uint32_t longest_borne_us(const struct trial_look *k)
{
	return k->min_us + k->min_us / 2 + BORNE_US;
}

static uint64_t rate_since(const struct trial_look *k, struct sg_mono since, uint64_t acked)
{
	return (k->acked - acked) * 1000 / (uint64_t)SG_MAX((k->now.ns - since.ns) / SG_NS_PER_MS, (int64_t)1);
}

static void window_begin(struct link_trial *t, const struct trial_look *k)
{
	t->window = *k;
	t->looks = t->busy = 0;
}

static void enter(struct link_trial *t, const struct trial_look *k, enum trial_state state)
{
	t->state = state;
	t->since = k->now;
	t->n_windows = 0;
	t->lossy = false;
	window_begin(t, k);
}

static enum trial_do begin(struct link_trial *t, const struct trial_look *k)
{
	enter(t, k, t->next);
	return TRIAL_DO_RENO;
}

static enum trial_do back(struct link_trial *t, const struct trial_look *k, const char *why)
{
	t->again_ns = SG_MIN(SG_MAX(2 * t->again_ns, AGAIN_NS), AGAIN_MAX_NS);
	t->not_before = (struct sg_mono){k->now.ns + t->again_ns};
	t->why = why;
	enter(t, k, TRIAL_BACK);
	return TRIAL_DO_BBR;
}

/* Nothing speaks against the next time. */
static enum trial_do back_for_now(struct link_trial *t, const struct trial_look *k, const char *why)
{
	enum trial_do what = back(t, k, why);

	t->again_ns = 0;
	t->not_before = k->now;
	return what;
}

static enum trial_do keep(struct link_trial *t, const struct trial_look *k)
{
	t->again_ns = 0;
	enter(t, k, TRIAL_KEPT);
	return TRIAL_DO_NOTHING;
}

static enum trial_do on_watch(struct link_trial *t, const struct trial_look *k)
{
	/* Where packets are lost pings wait for those that are repeated before them. */
	bool lossy = k->lost >= LOST_MIN && (uint64_t)k->lost * LOST_MAX > k->sent;
	bool known = k->bbr && !lossy && k->usual_us > longest_borne_us(k);
	bool suspect = k->bbr && k->backlog && k->stuck && k->cwnd < WINDOW_MAX && k->min_us &&
		       k->rtt_us > 2 * k->min_us + UNEVEN_US;

	if (!(known || suspect) || sg_mono_before(k->now, t->not_before))
		return TRIAL_DO_NOTHING;
	t->next = known ? TRIAL_KNOWN : TRIAL_TRY;
	t->usual_us = k->usual_us;
	t->before = k->rate;
	t->rtt_us = t->floor_us = k->rtt_us;
	if (k->ssthresh >= SSTHRESH_NO)
		return begin(t, k);
	enter(t, k, TRIAL_FRESH);
	return TRIAL_DO_FRESH;
}

static enum trial_do on_fresh(struct link_trial *t, const struct trial_look *k)
{
	if (k->bbr)
		return begin(t, k);
	return k->now.ns - t->since.ns > BACK_NS ? back(t, k, "netd does not answer") : TRIAL_DO_NOTHING;
}

static enum trial_do on_try(struct link_trial *t, const struct trial_look *k)
{
	uint64_t rate = rate_since(k, t->at, t->acked);

	if (k->bbr)
		return back(t, k, "Reno is not allowed here");
	t->floor_us = SG_MIN(t->floor_us, k->rtt_us);
	t->looks++;
	if (!is_clearly_more(rate, t->before) && (t->looks >= TRY_LOOKS || k->rtt_us > t->rtt_us + t->rtt_us / 4))
		return back(t, k, "no more arrives");
	if (t->looks >= TRY_LOOKS - 1 && rate > 2 * t->before)
		return keep(t, k);
	return k->now.ns - t->since.ns > TRY_NS ? keep(t, k) : TRIAL_DO_NOTHING;
}

static enum trial_do on_kept(struct link_trial *t, const struct trial_look *k)
{
	const struct trial_look *w = &t->window;

	t->looks++;
	t->busy += k->backlog;
	t->floor_us = SG_MIN(t->floor_us, k->rtt_us);
	if (k->now.ns - w->now.ns < WINDOW_NS)
		return TRIAL_DO_NOTHING;
	if (t->floor_us < t->rtt_us / 2)
		return back(t, k, "round trips are short");
	/* In the first windows slow start may have lost what the line's queue could not hold. */
	if (t->n_windows >= 2 && (k->lost - w->lost) * LOST_MAX > k->sent - w->sent)
		return back(t, k, "packets are lost");
	if (t->busy > t->looks / 2 && !is_clearly_more(rate_since(k, w->now, w->acked), t->before))
		return back(t, k, "no more arrives than before");
	t->n_windows++;
	window_begin(t, k);
	return TRIAL_DO_NOTHING;
}

/* No trial: it was uneven before anything was sent. */
static enum trial_do on_known(struct link_trial *t, const struct trial_look *k)
{
	const struct trial_look *w = &t->window;
	uint32_t lost = k->lost - w->lost;
	uint32_t sent = k->sent - w->sent;

	if (k->bbr)
		return back(t, k, "Reno is not allowed here");
	if (!k->usual_us)
		return back_for_now(t, k, "round trips vary no longer");
	/* Slow start loses, once, what the line's queue cannot hold; but its window is large by then. */
	if (lost >= LOST_MIN && (k->cwnd < LOST_WINDOW ? lost * LOST_FEW > sent : t->lossy && lost * LOST_MAX > sent))
		return back(t, k, "packets are lost");
	t->usual_us = k->usual_us;
	t->looks++;
	t->busy += k->backlog;
	t->floor_us = t->looks > 1 ? SG_MIN(t->floor_us, k->rtt_us) : k->rtt_us;
	if (k->now.ns - w->now.ns < WINDOW_NS)
		return TRIAL_DO_NOTHING;
	if (t->busy > t->looks / 2 && t->floor_us < longest_borne_us(k) - k->min_us / 4)
		return back(t, k, "round trips are short");
	if (t->n_windows++ > 2)
		t->again_ns = 0;
	t->lossy = lost >= LOST_MIN && lost * LOST_MAX > sent;
	window_begin(t, k);
	return TRIAL_DO_NOTHING;
}

static enum trial_do on_back(struct link_trial *t, const struct trial_look *k)
{
	if (k->bbr) {
		enter(t, k, TRIAL_WATCH);
	} else if (k->now.ns - t->since.ns > BACK_NS << t->n_windows) {
		t->since = k->now;
		t->n_windows = SG_MIN(t->n_windows + 1, BACK_DOUBLED);
		return TRIAL_DO_BBR;
	}
	return TRIAL_DO_NOTHING;
}

enum trial_do trial_look(struct link_trial *t, const struct trial_look *k)
{
	static enum trial_do (*const states[])(struct link_trial *, const struct trial_look *) = {
		[TRIAL_WATCH] = on_watch,
		[TRIAL_FRESH] = on_fresh,
		[TRIAL_TRY] = on_try,
		[TRIAL_KEPT] = on_kept,
		[TRIAL_KNOWN] = on_known,
		[TRIAL_BACK] = on_back,
	};
	enum trial_do what;

	if (t->state != TRIAL_KEPT || k->backlog)
		t->busy_at = k->now;
	if (k->now.ns - t->busy_at.ns > IDLE_NS) {
		what = back_for_now(t, k, "it was idle");
	} else {
		what = states[t->state](t, k);
	}
	t->at = k->now;
	t->acked = k->acked;
	return what;
}

uint32_t trial_floor_us(const struct link_trial *t, uint32_t min_us)
{
	if (t->state == TRIAL_FRESH || t->state == TRIAL_TRY)
		return 0;
	if (t->state == TRIAL_KNOWN)
		return t->usual_us + t->usual_us / 4;
	return t->state == TRIAL_KEPT ? t->floor_us + t->floor_us / 4 : min_us; /* it varies there */
}

bool trial_drains(const struct link_trial *t)
{
	/* Half of what is sent while there is little to send says nothing. */
	return t->state == TRIAL_KEPT && t->n_windows % DRAIN_EVERY == DRAIN_EVERY - 1 && t->looks < DRAIN_LOOKS &&
	       t->busy_at.ns == t->at.ns;
}

static void tell(struct sg_link *l, enum trial_state before)
{
	const struct link_trial *t = &l->trial;

	if (t->state == before)
		return;
	if (t->state == TRIAL_TRY) {
		l->ls->count.trials++;
	} else if (t->state == TRIAL_KEPT) {
		l->ls->count.trials_kept++;
		log_info("%s: %s: Reno instead of BBR: round trips vary, and more arrives so", l->name, l->carrier);
	} else if (t->state == TRIAL_KNOWN) {
		log_info("%s: %s: Reno instead of BBR: round trips vary by themselves", l->name, l->carrier);
	} else if (before == TRIAL_KEPT || before == TRIAL_KNOWN) {
		log_info("%s: %s: BBR again: %s", l->name, l->carrier, t->why);
	}
}

/* A link is never left on Reno: in this state BBR is asked for again until it is seen. */
void trial_renew(struct sg_link *l, const struct trial_look *k)
{
	enter(&l->trial, k, TRIAL_BACK);
	bbr_renew(l);
}

bool trial_tick(struct sg_link *l, const struct trial_look *k)
{
	enum trial_state before = l->trial.state;

	switch (trial_look(&l->trial, k)) {
	case TRIAL_DO_NOTHING:
		break;
	case TRIAL_DO_FRESH:
		bbr_renew(l);
		break;
	case TRIAL_DO_RENO:
		(void)link_congestion(l, "reno");
		break;
	case TRIAL_DO_BBR:
		bbr_use(l);
		break;
	}
	tell(l, before);
	return k->bbr && (before == TRIAL_FRESH || before == TRIAL_BACK);
}
