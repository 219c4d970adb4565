/* The four states; the table is in the header. */
#include "netd/state.h"
#include "base/limits.h"

void netd_state_init(struct netd_state *st, struct sg_mono now, bool rules_found)
{
	*st = (struct netd_state){.path = SG_PATH_UNWANTED, .path_known = rules_found, .started = now};
}

void netd_state_core_gone(struct netd_state *st)
{
	if (st->path == SG_PATH_UP)
		st->path = SG_PATH_DOWN;
}

static enum netd_word word_of(const struct netd_state *st, const struct netd_conf *conf, struct sg_mono now)
{
	bool up = st->path == SG_PATH_UP && st->lease != 0 && !st->stopping;

	if (conf->mode == NETD_OFF || st->disarmed || st->path == SG_PATH_OPEN)
		return NETD_IS_OFF;
	if (up)
		return NETD_IS_CONNECTED;
	if (!conf->kill_switch)
		return NETD_IS_OFF;
	if (conf->mode == NETD_HOST && !st->path_known && !st->stopping &&
		sg_mono_ms_since(now, st->started) < NETD_HOST_WAIT_MS)
		return NETD_IS_OFF;
	return st->path == SG_PATH_UNWANTED ? NETD_IS_ARMED : NETD_IS_BLOCKING;
}

struct netd_gate netd_state_gate(
	struct netd_state *st, const struct netd_conf *conf, struct sg_mono now, int64_t *next_ms)
{
	struct netd_gate gate = {.word = word_of(st, conf, now),
		.server = conf->server && !st->stopping && !st->disarmed,
		.lease = st->stopping || st->disarmed ? 0 : st->lease};
	bool closed = gate.word == NETD_IS_ARMED || gate.word == NETD_IS_BLOCKING;
	int64_t left;

	*next_ms = -1;
	if (closed && !st->closed)
		st->closed_since = now;
	st->closed = closed;
	if (closed) {
		left = SG_VPN_REFUSE_AFTER_MS - sg_mono_ms_since(now, st->closed_since);
		gate.refuse = left <= 0;
		if (left > 0)
			*next_ms = left;
	} else if (conf->mode == NETD_HOST && !st->path_known) {
		left = NETD_HOST_WAIT_MS - sg_mono_ms_since(now, st->started);
		if (left > 0)
			*next_ms = left;
	}
	return gate;
}

const char *netd_word_str(enum netd_word w)
{
	static const char *const words[] = {"off", "armed", "blocking", "connected"};

	return words[w];
}
