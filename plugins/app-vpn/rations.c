#include "rations.h"
#include "base/common.h"
#include "base/limits.h"

#define TURNS_PER_S 4000 /* at most, for each is a message */
#define RESERVE                                                                                                        \
	((SG_VPN_PACKET_MAX + SHAPER_TURN) / 3 * 4) /* a quarter may be missing: a record goes whole or not at all */
#define OLD_NS     (250 * SG_NS_PER_MS)
#define RTT_US     100000 /* where it is unknown */
#define RTT_MAX_US 1000000
#define WAKE_US    5000 /* later than asked for, and the tick of timers */

void rations_init(struct rations *rs, uint64_t kbit)
{
	shaper_init(&rs->shaper, kbit);
	sg_list_init(&rs->waiting);
	sg_list_init(&rs->due);
}

void ration_init(struct ration *r, int64_t left)
{
	*r = (struct ration){.left = left, .old = left};
	sg_list_init(&r->waits);
	sg_list_init(&r->due);
}

void ration_leave(struct ration *r)
{
	sg_list_remove(&r->waits);
	sg_list_remove(&r->due);
}

/* What was given lately has its place on the line. */
static void take_old(struct rations *rs, struct ration *r, struct sg_mono now, int64_t bytes)
{
	int64_t around = SG_MAX(r->around, (int64_t)0);

	if (now.ns - r->last.ns > OLD_NS && sg_list_empty(&r->waits))
		r->old = r->left;
	if (r->old <= 0)
		return;
	bytes = SG_MIN(bytes, r->old);
	r->old -= bytes;
	r->around -= around;
	shaper_take(&rs->shaper, now, (uint64_t)(bytes + around));
}

static void count(struct ration *r, struct sg_mono now, int64_t bytes)
{
	int64_t rtt = WAKE_US + (r->rtt_us > 0 ? SG_MIN(r->rtt_us, (int64_t)RTT_MAX_US) : RTT_US);
	int64_t took = (now.ns - r->since.ns) / 1000;

	if (took >= rtt) {
		r->before = took < 2 * RTT_MAX_US ? r->bytes * rtt / took : 0;
		r->bytes = 0;
		r->since = now;
	}
	r->bytes += bytes;
}

void ration_came(struct rations *rs, struct ration *r, struct sg_mono now, size_t bytes)
{
	r->around -= (int64_t)bytes;
	take_old(rs, r, now, (int64_t)bytes);
	count(r, now, (int64_t)bytes);
	r->left -= (int64_t)bytes;
	r->last = now;
}

/* As much as in a round trip is under way, and as much again so that it may grow. */
void ration_look(struct rations *rs, struct ration *r)
{
	int64_t all = SG_MIN(2 * SG_MAX(r->bytes, r->before) + RESERVE, (int64_t)SG_VSTREAM_CREDIT_MAX);

	if (sg_list_empty(&r->waits) && r->left <= all - all / 4)
		sg_list_add_tail(&rs->waiting, &r->waits);
}

/* Worth as much of the line for everybody: what came around packets is paid first. */
static void turn(struct rations *rs, struct ration *r, int64_t worth)
{
	int64_t paid = SG_MIN(worth, SG_MAX(r->around, (int64_t)0));

	r->around -= paid;
	r->left += worth - paid;
	r->given += (uint64_t)(worth - paid);
	if (r->given && sg_list_empty(&r->due))
		sg_list_add_tail(&rs->due, &r->due);
}

int64_t rations_give(struct rations *rs, struct sg_mono now)
{
	int64_t worth = SG_MAX(rs->shaper.rate / TURNS_PER_S, (int64_t)SHAPER_TURN);

	while (!sg_list_empty(&rs->waiting)) {
		struct ration *r = sg_container_of(rs->waiting.next, struct ration, waits);
		int64_t wait_ms = shaper_wait_ms(&rs->shaper, now);

		if (wait_ms)
			return wait_ms;
		turn(rs, r, worth);
		shaper_take(&rs->shaper, now, (uint64_t)worth);
		sg_list_remove(&r->waits);
		ration_look(rs, r);
	}
	return 0;
}

struct ration *rations_due(struct rations *rs)
{
	struct ration *r;

	if (sg_list_empty(&rs->due))
		return NULL;
	r = sg_container_of(rs->due.next, struct ration, due);
	sg_list_remove(&r->due);
	return r;
}
