/* Heartbeats, pauses, restarts. */
#include "netd/supervisor.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "wire/netd.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

SG_LOG_TOPIC("netd");

#define STOP_MS    5000 /* for core to end by itself */
#define HUNG_UP_MS 1000 /* the same, once it closed its socket */

static void start_again(struct supervisor *s)
{
	/* Without a timer (memory is out) there is no pause; the spawn is the lesser evil. */
	if (sg_timer_start(&s->restart, s->pause_ms) < 0)
		supervisor_start(s);
	s->pause_ms = SG_MIN(2 * s->pause_ms, SG_RESTART_MAX_MS);
}

static void on_beat(void *arg)
{
	struct supervisor *s = arg;
	int64_t silent = sg_mono_ms_since(sg_loop_now(s->loop), s->heard);

	if (s->pid == 0)
		return;
	if (silent > SG_HEARTBEAT_DEAD_MS) {
		log_error(
			"core (process %d) gave no sign of life for %" PRId64 " s: killed", (int)s->pid, silent / 1000);
		s->ops->kill(s->arg, s->pid, SIGKILL);
	}
	(void)sg_timer_start(&s->beat, SG_HEARTBEAT_MS);
}

static void on_deadline(void *arg)
{
	struct supervisor *s = arg;

	if (s->pid == 0)
		return;
	log_warn("core (process %d) %s: killed", (int)s->pid,
		s->stopping ? "did not end when told" : "closed its socket and did not end");
	s->ops->kill(s->arg, s->pid, SIGKILL);
}

static void on_restart(void *arg)
{
	supervisor_start(arg);
}

void supervisor_init(struct supervisor *s, struct sg_loop *loop, const struct supervisor_ops *ops, void *arg)
{
	*s = (struct supervisor){.ops = ops, .arg = arg, .loop = loop, .pause_ms = SG_RESTART_MIN_MS};
	sg_timer_init(&s->beat, loop, on_beat, s);
	sg_timer_init(&s->restart, loop, on_restart, s);
	sg_timer_init(&s->deadline, loop, on_deadline, s);
}

void supervisor_fini(struct supervisor *s)
{
	sg_timer_stop(&s->beat);
	sg_timer_stop(&s->restart);
	sg_timer_stop(&s->deadline);
}

void supervisor_start(struct supervisor *s)
{
	int err;

	if (s->pid != 0 || s->stopping)
		return;
	err = s->ops->spawn(s->arg, &s->pid);
	if (err < 0) {
		s->pid = 0;
		log_error("core could not be started: %s; next try in %" PRId64 ".%01" PRId64 " s", sg_strerror(err),
			s->pause_ms / 1000, s->pause_ms % 1000 / 100);
		start_again(s);
		return;
	}
	s->started = s->heard = sg_loop_now(s->loop);
	s->proven = false;
	(void)sg_timer_start(&s->beat, SG_HEARTBEAT_MS);
}

void supervisor_hurry(struct supervisor *s)
{
	if (s->pid != 0 || s->stopping)
		return;
	sg_timer_stop(&s->restart);
	s->pause_ms = SG_RESTART_MIN_MS;
	supervisor_start(s);
}

void supervisor_heard(struct supervisor *s)
{
	s->heard = sg_loop_now(s->loop);
}

void supervisor_proven(struct supervisor *s)
{
	s->proven = true;
}

void supervisor_ended(struct supervisor *s, int status)
{
	int64_t ran = sg_mono_ms_since(sg_loop_now(s->loop), s->started);
	bool by_signal = WIFSIGNALED(status);
	int number = by_signal ? WTERMSIG(status) : WEXITSTATUS(status);

	s->pid = 0;
	sg_timer_stop(&s->beat);
	sg_timer_stop(&s->deadline);
	s->ops->gone(s->arg);
	if (s->stopping) {
		s->ops->stopped(s->arg);
		return;
	}
	if (ran >= SG_RESTART_RESET_MS)
		s->pause_ms = SG_RESTART_MIN_MS;
	if (s->proven)
		s->pause_ms = SG_MIN(s->pause_ms, SG_RESTART_PROVEN_MAX_MS);
	s->restarts++;
	if (!by_signal && number == SG_CORE_NOT_VALID) {
		log_error("core: the configuration is not valid, see above. Tried again in %d s; at once:  systemctl "
			  "reload skygate",
			SG_RESTART_CONF_MS / 1000);
		if (sg_timer_start(&s->restart, SG_RESTART_CONF_MS) == 0)
			return;
	}
	log_warn("core ended after %" PRId64 " s (%s %d); started again in %" PRId64 ".%01" PRId64 " s", ran / 1000,
		by_signal ? "signal" : "exit status", number, s->pause_ms / 1000, s->pause_ms % 1000 / 100);
	start_again(s);
}

void supervisor_kill(struct supervisor *s, const char *why)
{
	if (s->pid == 0)
		return;
	if (!s->stopping)
		log_warn("core (process %d): %s: killed", (int)s->pid, why);
	s->ops->kill(s->arg, s->pid, SIGKILL);
}

void supervisor_hung_up(struct supervisor *s)
{
	/* As a rule it is ending, and how it ended is what the log shall say: killing it now would hide that. */
	if (s->pid != 0 && !s->stopping && sg_timer_start(&s->deadline, HUNG_UP_MS) < 0)
		s->ops->kill(s->arg, s->pid, SIGKILL);
}

void supervisor_stop(struct supervisor *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	sg_timer_stop(&s->restart);
	if (s->pid == 0) {
		s->ops->stopped(s->arg);
		return;
	}
	s->ops->kill(s->arg, s->pid, SIGTERM);
	if (sg_timer_start(&s->deadline, STOP_MS) < 0)
		s->ops->kill(s->arg, s->pid, SIGKILL);
}
