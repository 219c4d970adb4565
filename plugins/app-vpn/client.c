/*
 * The VPN client: reaches an exit, gets a lease, proves the path, then lets traffic through.
 *
 *	IDLE → TUN → DIAL → HELLO → LEASE → PROVE → UP         off or armed: IDLE
 *	        ↑ WAIT ←───────── any failure ←──────┘         blocking: all between; connected: UP
 *
 * A failure goes on to the next exit of the list; after each round through the list it waits longer. Nothing passes
 * before UP, which a hello alone does not reach: what lies beyond the exit has to answer.
 */
#include "client.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/log.h"
#include "crypto/crypto.h"

SG_LOG_TOPIC("vpn");

#define STEADY_MS    10000 /* a path that was up so long is forgiven its failures */
#define DIAL_MS      (SG_ROUTE_DIAL_MS + SG_GROUP_DIAL_MS + SG_VSTREAM_OPEN_MS) /* the network's own limits, and no more */
#define WAIT_STEP_MS 200 /* while waiting: how soon a link that came up is noticed */

int client_enter(struct client *c, enum phase phase, int64_t ms)
{
	if ((phase == UP) != (c->phase == UP) || (phase == IDLE) != (c->phase == IDLE)) {
		c->changed_ms = client_now_ms(c);
		c->changed_at = time(NULL);
	}
	c->phase = phase;
	if (ms)
		return sg_timer_start(&c->timer, ms);
	sg_timer_stop(&c->timer);
	return 0;
}

static int exit_key(const struct client *c, const struct exit *e, struct sg_pk *out)
{
	*out = e->pk;
	return e->bare ? 0 : c->v->host->peer_find(c->v->inst, e->name, out);
}

static bool is_linked(const struct client *c, const struct exit *e)
{
	const struct sg_host *host = c->v->host;
	struct sg_peer_state peer;
	struct sg_pk pk;

	return exit_key(c, e, &pk) == 0 && host->peer_state(c->v->inst, &pk, &peer, sizeof(peer)) == 0 && peer.linked;
}

/* The next exit of this round: one that is linked, for a dial to another may take seconds. False: all were tried. */
static bool next_exit(struct client *c)
{
	size_t from = c->at;

	for (int linked = 1; linked >= 0; linked--) {
		for (size_t i = 1; i <= c->conf.n_exits; i++) {
			size_t at = (from + i) % c->conf.n_exits;

			if (c->conf.exits[at].tried || (linked && !is_linked(c, &c->conf.exits[at])))
				continue;
			c->at = at;
			return true;
		}
	}
	return false;
}

/* 200 ms, doubled from round to round up to 5 s; up to a quarter less, so that many clients do not return as one. */
static int64_t back_off(uint32_t rounds)
{
	int64_t pause = SG_MIN((int64_t)SG_DIAL_BACKOFF_MIN_MS << SG_MIN(rounds, 8U), SG_DIAL_BACKOFF_MAX_MS);
	uint32_t jitter;

	sg_random_system()->fill(sg_random_system(), &jitter, sizeof(jitter));
	return pause - jitter % (pause / 4);
}

void client_fail(struct client *c, bool bye, const char *fmt, ...)
{
	struct exit *e = &c->conf.exits[c->at];
	int64_t pause = 1;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	log_warn("%s", c->why);
	c->v->count.dial_failed += c->phase != UP;
	c->v->count.lost += c->phase == UP;
	/* A path that breaks again and again is no reason to come back without a pause. */
	if (c->phase == UP && client_now_ms(c) - c->changed_ms >= STEADY_MS)
		c->rounds = 0;
	session_end(c, bye);
	c->attempts++;
	e->was_linked = is_linked(c, e);
	e->tried = true;
	if (!next_exit(c)) {
		pause = back_off(c->rounds++);
		for (size_t i = 0; i < c->conf.n_exits; i++)
			c->conf.exits[i].tried = false;
		next_exit(c);
	}
	c->next_try_ms = client_now_ms(c) + pause;
	client_enter(c, WAIT, SG_MIN(pause, WAIT_STEP_MS));
}

/* ---- what netd is asked for ------------------------------------------------------------------------------------ */

static void on_tun(void *arg, int err, const struct sg_tun *tun, const char *why)
{
	struct client *c = arg;

	c->tun_asked = false;
	if (err == 0)
		err = tun_open(c->v->loop, tun, c->queue, &c->v->count.drop_kernel, &session_tun_user, c, &c->tun);
	if (err == 0)
		c->info = *tun;
	if (c->v->stopping) {
		vpn_idle(c->v);
		return;
	}
	if (c->phase != TUN)
		return;
	if (err < 0)
		client_fail(c, true, "no TUN device: %s", why && *why ? why : sg_strerror(err));
	else
		client_go(c);
}

static int lease_put(struct client *c, uint32_t lease, uint32_t gateway);

static void on_lease_set(void *arg, int err)
{
	struct client *c = arg;

	c->lease_asked = false;
	if (c->v->stopping) {
		vpn_idle(c->v);
		return;
	}
	if (err < 0) {
		/* Perhaps because the device is gone: the next attempt asks for one anew. */
		c->lease_in_place = 0;
		tun_close(c->tun);
		c->tun = NULL;
	}
	if (c->phase == IDLE && c->lease_in_place)
		lease_put(c, 0, 0);
	if (c->phase != LEASE)
		return;
	if (err == SG_EDUP)
		session_avoid(c);
	else if (err < 0)
		client_fail(c, true, "skygate-netd could not use the leased address: %s", sg_strerror(err));
	else
		client_go(c);
}

/* Puts a lease in place, or takes it back with 0. The answer comes to on_lease_set. */
static int lease_put(struct client *c, uint32_t lease, uint32_t gateway)
{
	int err;

	c->lease_asked = true;
	c->lease_in_place = lease;
	err = c->v->host->lease_set(c->v->inst, lease, gateway, on_lease_set, c);
	if (err < 0) {
		c->lease_asked = false;
		c->lease_in_place = 0;
	}
	return err;
}

/* ---- towards an exit ------------------------------------------------------------------------------------------- */

static void on_dialed(void *arg, struct sg_stream *stream, int err, const char *why)
{
	struct client *c = arg;

	c->phase = HELLO; /* no dial is under way any more that could be cancelled */
	if (!stream) {
		client_fail(c, false, "exit %s: %s", client_exit(c), why && *why ? why : sg_strerror(err));
		return;
	}
	session_begin(c, stream);
}

static void begin_dial(struct client *c)
{
	int err;

	c->v->count.dials++;
	if (exit_key(c, &c->conf.exits[c->at], &c->exit_pk) < 0) {
		client_fail(c, false, "exit %s: there is no section  config peer '%s'", client_exit(c), client_exit(c));
		return;
	}
	client_enter(c, DIAL, DIAL_MS);
	err = c->v->host->dial(c->v->inst, &c->exit_pk, SG_VPN_PORT, c->conf.min_hops, on_dialed, c);
	if (err < 0)
		on_dialed(c, NULL, err, NULL);
}

void client_go(struct client *c)
{
	int err;

	if (c->phase == TUN && c->tun) {
		begin_dial(c);
	} else if (c->phase == TUN && !c->tun_asked) {
		c->tun_asked = true;
		err = c->v->host->tun_open(c->v->inst, SG_TUN_CLIENT, on_tun, c);
		if (err < 0) {
			c->tun_asked = false;
			client_fail(c, false, "no TUN device: %s",
				err == -ENOTSUP ? "skygated runs alone. Start skygate-netd, which starts it"
						: sg_strerror(err));
		}
	} else if (c->phase == LEASE && !c->lease_asked && c->lease_in_place == c->lease) {
		session_prove(c);
	} else if (c->phase == LEASE && !c->lease_asked) {
		err = lease_put(c, c->lease, c->gateway);
		if (err < 0)
			client_fail(c, true, "skygate-netd could not be asked to use the leased address: %s",
				sg_strerror(err));
	}
}

/* A link that has come up since its exit failed is tried before the pause is over. */
static bool link_came_up(struct client *c)
{
	for (size_t i = 0; i < c->conf.n_exits; i++) {
		struct exit *e = &c->conf.exits[i];

		if (e->was_linked || !is_linked(c, e))
			continue;
		e->was_linked = true;
		c->at = i;
		return true;
	}
	return false;
}

static void on_timer(void *arg)
{
	struct client *c = arg;
	int64_t left = c->next_try_ms - client_now_ms(c);

	switch (c->phase) {
	case IDLE:
		break;
	case WAIT:
		if (left > 0 && !link_came_up(c)) {
			client_enter(c, WAIT, SG_MIN(left, WAIT_STEP_MS));
			break;
		}
		/* Until client_use: exits that the network lists can only be seen by who runs already. */
		if (!c->conf.n_exits) {
			snprintf(c->why, sizeof(c->why),
				"no exit is named: choose one by  skygate exit ls  and  skygate exit use KEY,  or add  "
				"list exit 'PEER'");
			log_warn("%s", c->why);
			client_enter(c, WAIT, 0);
			break;
		}
		client_enter(c, TUN, NETD_MS);
		client_go(c);
		break;
	case TUN:
	case LEASE:
		client_fail(c, true, "no answer from skygate-netd for %d s", NETD_MS / 1000);
		break;
	case DIAL:
		client_fail(c, false, "exit %s: no answer to the dial for %d s", client_exit(c), DIAL_MS / 1000);
		break;
	case HELLO:
		client_fail(
			c, true, "exit %s: no answer to our hello for %d s", client_exit(c), SG_VPN_HELLO_MS / 1000);
		break;
	case PROVE:
	case UP:
		session_tick(c);
		break;
	}
}

/* ---- the owner --------------------------------------------------------------------------------------------------- */

int client_want(struct client *c, enum sg_want want)
{
	int err;

	if (c->conf.mode == MODE_OFF && want == SG_WANT_VPN)
		return SG_ESTATE;
	if (want == c->want)
		return 0;
	if (c->phase != IDLE) {
		/* Before netd hears of it: for a path that goes down later it would take a VPN that is asked for. */
		session_end(c, true);
		client_enter(c, IDLE, 0);
		if (c->lease_in_place && !c->lease_asked)
			lease_put(c, 0, 0);
	}
	err = c->v->host->want_set(c->v->inst, want);
	if (err == -ENOTSUP)
		err = 0; /* no netd: nothing is blocked, and the first attempt says what is missing */
	if (want == SG_WANT_VPN && err == 0) {
		c->attempts = c->rounds = 0;
		c->next_try_ms = client_now_ms(c);
		err = client_enter(c, WAIT, 1);
		if (err < 0)
			client_enter(c, IDLE, 0);
	}
	if (err < 0 && want == SG_WANT_VPN)
		return err;
	log_info("%s", want == SG_WANT_VPN ? "asked for" : want == SG_WANT_OPEN ? "stopped, left open" : "stopped");
	c->want = want;
	return err;
}

int client_use(struct client *c, const struct sg_pk *pk)
{
	if (c->conf.mode == MODE_OFF)
		return SG_ESTATE;
	c->conf.n_exits = 1;
	c->at = 0;
	client_exit_bare(&c->conf.exits[0], pk);
	log_info("exit %s is used until the next start", client_exit(c));
	if (c->want != SG_WANT_VPN)
		return client_want(c, SG_WANT_VPN);
	session_end(c, true);
	c->attempts = c->rounds = 0;
	c->next_try_ms = client_now_ms(c);
	c->why[0] = '\0';
	return client_enter(c, WAIT, 1);
}

int client_start(struct vpn *v, const struct sg_uci_section *s, char *why, size_t why_cap)
{
	struct client *c = sg_calloc(1, sizeof(*c));
	int err = c ? client_conf_read(&c->conf, s, why, why_cap) : -ENOMEM;

	if (err < 0) {
		sg_free(c);
		return err;
	}
	c->v = v;
	c->queue = vpn_queue(v);
	if (!c->queue) {
		client_free(c);
		return -ENOMEM;
	}
	c->file = c->conf;
	c->probe.rtt_ms = -1;
	sg_timer_init(&c->timer, v->loop, on_timer, c);
	c->changed_ms = client_now_ms(c);
	c->changed_at = time(NULL);
	/* Modes vpn and host start by themselves. */
	if (c->conf.mode != MODE_OFF)
		err = client_want(c, SG_WANT_VPN);
	if (err < 0) {
		snprintf(why, why_cap, "the VPN could not be asked for: %s", sg_strerror(err));
		client_free(c);
		return err;
	}
	v->client = c;
	return 0;
}

int client_reload(struct client *c, const struct sg_uci_section *s)
{
	struct client_conf conf;
	char why[128];

	if (client_conf_read(&conf, s, why, sizeof(why)) < 0)
		return -ENOTSUP; /* the start that follows says it */
	return client_conf_same(&conf, &c->file) ? 0 : -ENOTSUP;
}

bool client_stop(struct client *c)
{
	session_end(c, true);
	client_enter(c, IDLE, 0);
	return !c->tun_asked && !c->lease_asked;
}

void client_free(struct client *c)
{
	sg_timer_stop(&c->timer);
	tun_close(c->tun);
	fairq_free(c->queue);
	sg_wipe(c->conf.passcode, sizeof(c->conf.passcode));
	sg_wipe(c->file.passcode, sizeof(c->file.passcode));
	sg_free(c);
}
