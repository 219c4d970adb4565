/*
 * The sink of the logger: lines go to standard error, and the last ones stay in a ring for those who follow. A
 * follower holds a number, not a queue: what it was too slow for is counted, not kept.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <pthread.h>
#include <time.h>

#define KEPT       256
#define STAMP_SIZE 32

struct line {
	enum sg_log_level level;
	char topic[24];
	char stamp[STAMP_SIZE];
	char text[];
};

struct logs {
	struct sg_loop *loop;
	logs_wake_fn *wake;
	void *wake_arg;
	pthread_mutex_t lock; /* the sink is called on any thread */
	bool posted;          /* a wake is on its way */
	uint64_t seq;         /* of the newest line; the first is 1 */
	struct line *ring[KEPT];
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static void stamp_now(char out[STAMP_SIZE])
{
	struct timespec ts;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	n = strftime(out, STAMP_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, STAMP_SIZE - n, ".%03ldZ", ts.tv_nsec / 1000000);
}

static void on_wake(void *arg)
{
	struct logs *l = arg;

	pthread_mutex_lock(&l->lock);
	l->posted = false;
	pthread_mutex_unlock(&l->lock);
	l->wake(l->wake_arg);
}

static void sink(void *arg, enum sg_log_level level, const char *topic, const char *text)
{
	struct logs *l = arg;
	char stamp[STAMP_SIZE];
	size_t len = strlen(text) + 1;
	struct line *line = sg_malloc(sizeof(*line) + len);

	stamp_now(stamp);
	fprintf(stderr, "%s %-5s %s: %s\n", stamp, level_names[level], topic, text);
	pthread_mutex_lock(&l->lock);
	if (line) {
		struct line **slot = &l->ring[++l->seq % KEPT];

		line->level = level;
		snprintf(line->topic, sizeof(line->topic), "%s", topic);
		memcpy(line->stamp, stamp, sizeof(stamp));
		memcpy(line->text, text, len);
		sg_free(*slot);
		*slot = line;
		if (!l->posted)
			l->posted = sg_post(l->loop, on_wake, l) == 0;
	}
	pthread_mutex_unlock(&l->lock);
}

int logs_new(struct sg_loop *loop, logs_wake_fn *wake, void *arg, struct logs **out)
{
	struct logs *l = sg_calloc(1, sizeof(*l));

	*out = l;
	if (!l)
		return -ENOMEM;
	l->loop = loop;
	l->wake = wake;
	l->wake_arg = arg;
	pthread_mutex_init(&l->lock, NULL);
	sg_log_set_sink(sink, l);
	return 0;
}

void logs_stop(struct logs *l)
{
	if (l)
		sg_log_set_sink(NULL, NULL);
}

void logs_free(struct logs *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < KEPT; i++)
		sg_free(l->ring[i]);
	pthread_mutex_destroy(&l->lock);
	sg_free(l);
}

uint64_t logs_seq(struct logs *l, uint64_t back)
{
	uint64_t seq;

	pthread_mutex_lock(&l->lock);
	seq = l->seq;
	pthread_mutex_unlock(&l->lock);
	back = SG_MIN(back, (uint64_t)KEPT);
	return seq > back ? seq - back : 0;
}

json_t *logs_next(struct logs *l, uint64_t *seq, uint64_t *lost)
{
	const struct line *line;
	json_t *obj = NULL;

	*lost = 0;
	pthread_mutex_lock(&l->lock);
	if (*seq < l->seq) {
		if (l->seq - *seq > KEPT) {
			*lost = l->seq - KEPT - *seq;
			*seq = l->seq - KEPT;
		}
		line = l->ring[++*seq % KEPT];
		obj = json_pack("{s:s, s:s, s:s, s:o}", "time", line->stamp, "level", level_names[line->level], "topic",
			line->topic, "text", core_text(line->text));
	}
	pthread_mutex_unlock(&l->lock);
	return obj;
}
