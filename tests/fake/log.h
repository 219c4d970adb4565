/* A sink for lines that a test makes by the hundred: they are formatted and go nowhere. */
#ifndef SG_TESTS_FAKE_LOG_H
#define SG_TESTS_FAKE_LOG_H

#include "base/log.h"

static inline void fake_log_quiet(void *arg, enum sg_log_level level, const char *topic, const char *line)
{
	(void)arg;
	(void)level;
	(void)topic;
	(void)line;
}

#endif
