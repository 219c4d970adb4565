/*
 * Log lines by topic. Level and topic are checked before the arguments are evaluated; a line that strangers can
 * trigger goes through a rate limit. No keys, no payloads, at any level.
 *
 *	SG_LOG_TOPIC("route");                                   once per .c file
 *	log_warn("rule %" PRIu32 ": link is down, dropping", rid);
 *	log_debug_rl(&t->rl_unknown, "no rule for route id %" PRIu32, rid);
 */
#ifndef SG_BASE_LOG_H
#define SG_BASE_LOG_H

#include <skygate/types.h>

enum sg_log_level { SG_LOG_ERROR, SG_LOG_WARN, SG_LOG_INFO, SG_LOG_DEBUG };

/* One per .c file, registered before main() or when its plugin is loaded; the level -1 means: as the default. */
struct sg_log_topic {
	const char *name;
	int level;
	struct sg_log_topic *next;
};

/* One line per second; the next line that passes says how many did not. */
struct sg_log_limit {
	int64_t next_ns;
	uint32_t suppressed;
};

/* Receives each line, without a newline at its end. */
typedef void sg_log_sink(void *arg, enum sg_log_level level, const char *topic, const char *line);

#define SG_LOG_TOPIC(topic_name)                                                                                       \
	static struct sg_log_topic sg_log_topic_ = {topic_name, -1, NULL};                                             \
	__attribute__((constructor)) static void sg_log_topic_register_(void)                                          \
	{                                                                                                              \
		sg_log_topic_add(&sg_log_topic_);                                                                      \
	}                                                                                                              \
	struct sg_log_topic

SG_BEGIN_DECLS

/** sg_log_set_sink - NULL: standard error. @arg is kept. Set once, at start. */
void sg_log_set_sink(sg_log_sink *sink, void *arg);
/**
 * sg_log_set_level - of one topic, or of all that have none of their own when @topic is NULL. SG_EMALF: no such level,
 * -ENOENT: no such topic.
 */
int sg_log_set_level(const char *topic, const char *level);
/** sg_log_topic_add - @t is kept for ever. Called by SG_LOG_TOPIC. */
void sg_log_topic_add(struct sg_log_topic *t);
/** sg_log_each_topic - every name once. */
void sg_log_each_topic(void (*fn)(void *arg, const char *name), void *arg);
/** sg_log_hide_addresses - addresses passed through sg_log_addr() are then printed as "hidden". */
void sg_log_hide_addresses(bool hide);
/** sg_log_addr - the text of an address for a log line: as given, or "hidden". */
const char *sg_log_addr(const char *text);

bool sg_log_on(struct sg_log_topic *t, enum sg_log_level level);
/** sg_log_pass - whether the limit lets a line through; NULL: always. */
bool sg_log_pass(struct sg_log_limit *rl);
void sg_log_line(struct sg_log_topic *t, enum sg_log_level level, struct sg_log_limit *rl, const char *fmt, ...)
	SG_PRINTF(4, 5);

/** sg_bug - a broken invariant: logs and aborts. Never for input. */
_Noreturn void sg_bug(const char *fmt, ...) SG_PRINTF(1, 2);

SG_END_DECLS

#define sg_log_at_(level, rl, ...)                                                                                     \
	do {                                                                                                           \
		if (sg_log_on(&sg_log_topic_, (level)) && sg_log_pass(rl))                                             \
			sg_log_line(&sg_log_topic_, (level), (rl), __VA_ARGS__);                                       \
	} while (0)

#define log_error(...)        sg_log_at_(SG_LOG_ERROR, (struct sg_log_limit *)0, __VA_ARGS__)
#define log_warn(...)         sg_log_at_(SG_LOG_WARN, (struct sg_log_limit *)0, __VA_ARGS__)
#define log_info(...)         sg_log_at_(SG_LOG_INFO, (struct sg_log_limit *)0, __VA_ARGS__)
#define log_debug(...)        sg_log_at_(SG_LOG_DEBUG, (struct sg_log_limit *)0, __VA_ARGS__)
#define log_warn_rl(rl, ...)  sg_log_at_(SG_LOG_WARN, (rl), __VA_ARGS__)
#define log_info_rl(rl, ...)  sg_log_at_(SG_LOG_INFO, (rl), __VA_ARGS__)
#define log_debug_rl(rl, ...) sg_log_at_(SG_LOG_DEBUG, (rl), __VA_ARGS__)

#endif
