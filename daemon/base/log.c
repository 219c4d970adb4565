/*
 * The logger. Its state (sink, default level, list of topics) is the one deliberate piece of process-wide state in
 * libskygate: a log line must be possible anywhere, also where nothing is at hand.
 */
#include "base/log.h"
#include "base/clock.h"
#include "base/common.h"
#include "base/err.h"
#include "base/text.h"

#include <pthread.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#define LINE_MAX_LEN   1024
#define LIMIT_EVERY_NS (1 * SG_NS_PER_S)

static struct {
	pthread_mutex_t lock;
	sg_log_sink *sink;
	void *sink_arg;
	int level;
	bool hide_addresses;
	struct sg_log_topic *topics;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = SG_LOG_INFO};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static void to_stderr(enum sg_log_level level, const char *topic, const char *line)
{
	char stamp[32];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	fprintf(stderr, "%s.%03ldZ %-5s %s: %s\n", stamp, ts.tv_nsec / 1000000, level_names[level], topic, line);
}

void sg_log_set_sink(sg_log_sink *sink, void *arg)
{
	state.sink = sink;
	state.sink_arg = arg;
}

int sg_log_set_level(const char *topic, const char *level)
{
	int value = -1, ret = 0;

	for (size_t i = 0; i < SG_ARRAY_LEN(level_names); i++) {
		if (strcasecmp(level, level_names[i]) == 0)
			value = (int)i;
	}
	if (value < 0)
		return SG_EMALF;
	pthread_mutex_lock(&state.lock);
	if (topic)
		ret = -ENOENT;
	else
		state.level = value;
	/* Several files may have one topic. */
	for (struct sg_log_topic *t = state.topics; t && topic; t = t->next) {
		if (strcmp(t->name, topic) == 0) {
			t->level = value;
			ret = 0;
		}
	}
	pthread_mutex_unlock(&state.lock);
	return ret;
}

void sg_log_hide_addresses(bool hide)
{
	state.hide_addresses = hide;
}

const char *sg_log_addr(const char *text)
{
	return state.hide_addresses ? "hidden" : text;
}

void sg_log_topic_add(struct sg_log_topic *t)
{
	pthread_mutex_lock(&state.lock);
	/* A plugin that comes later has its lines as the files that are here already. */
	for (const struct sg_log_topic *other = state.topics; other; other = other->next) {
		if (strcmp(other->name, t->name) == 0)
			t->level = other->level;
	}
	t->next = state.topics;
	state.topics = t;
	pthread_mutex_unlock(&state.lock);
}

static bool is_first(const struct sg_log_topic *t)
{
	for (const struct sg_log_topic *other = t->next; other; other = other->next) {
		if (strcmp(other->name, t->name) == 0)
			return false;
	}
	return true;
}

void sg_log_each_topic(void (*fn)(void *arg, const char *name), void *arg)
{
	const struct sg_log_topic *first;

	/* The list only grows, in front: its tail can be walked without the lock. */
	pthread_mutex_lock(&state.lock);
	first = state.topics;
	pthread_mutex_unlock(&state.lock);
	for (const struct sg_log_topic *t = first; t; t = t->next) {
		if (is_first(t))
			fn(arg, t->name);
	}
}

bool sg_log_on(struct sg_log_topic *t, enum sg_log_level level)
{
	return (int)level <= (t->level >= 0 ? t->level : state.level);
}

bool sg_log_pass(struct sg_log_limit *rl)
{
	int64_t now;

	if (!rl)
		return true;
	now = sg_clock_system()->now(sg_clock_system()).ns;
	if (now < rl->next_ns) {
		rl->suppressed++;
		return false;
	}
	rl->next_ns = now + LIMIT_EVERY_NS;
	return true;
}

void sg_log_line(struct sg_log_topic *t, enum sg_log_level level, struct sg_log_limit *rl, const char *fmt, ...)
{
	char line[LINE_MAX_LEN];
	struct sg_text text = sg_text(line, sizeof(line));
	va_list ap;

	va_start(ap, fmt);
	sg_text_vaddf(&text, fmt, ap);
	va_end(ap);
	if (rl && rl->suppressed) {
		sg_text_addf(&text, " (%u more like this not shown)", rl->suppressed);
		rl->suppressed = 0;
	}
	sg_text_tame(line); /* what strangers put into it may not break it or drive a terminal */
	pthread_mutex_lock(&state.lock);
	if (state.sink)
		state.sink(state.sink_arg, level, t->name, line);
	else
		to_stderr(level, t->name, line);
	pthread_mutex_unlock(&state.lock);
}

void sg_bug(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("bug: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	abort();
}
