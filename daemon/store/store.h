/*
 * What outlives a restart: ordered keys and values, for every part of the daemon through this one door. Behind it stands
 * the plugin that provides a store or, without one, memory, which keeps the same contract until the process ends.
 *
 *	user → store.c: name of its space in front of the key, question noted → scan, write of the plugin or of memory.c
 *
 * Contract (include/skygate/plugin.h): every question ends once, never inside the call that asked; in order; a write is
 * done whole or not at all. Everything belongs to the loop.
 */
#ifndef SG_STORE_STORE_H
#define SG_STORE_STORE_H

#include "loop/loop.h"
#include <skygate/plugin.h>

struct store;

/* A user and its keys. Of the caller; must outlive its questions. */
struct store_space {
	struct store *store;
	const void *owner; /* whose questions, for store_cancel */
	const char *name;  /* "net": its keys are "net/…" there; at most 48 bytes */
};

/** store_new - in memory; @wall_s tells seconds since 1970. NULL when memory is out. Free with store_free. */
struct store *store_new(struct sg_loop *loop, int64_t (*wall_s)(void));
/** store_free - call-backs do not follow. Accepts NULL. */
void store_free(struct store *st);
/** store_wall_s - the system's. */
int64_t store_wall_s(void);

/** store_provider - from now on this one, which gets what memory held; @ops NULL: memory, which begins empty. */
void store_provider(struct store *st, const struct sg_store_ops *ops, void *ctx);
/** store_lasts - a restart loses nothing. */
bool store_lasts(const struct store *st);
/** store_done - the end of a question to the provider; unknown ids are nobody's. */
void store_done(struct store *st, uint64_t id, int err, struct sg_store_pair *pairs, size_t n, bool more);
/** store_abandon - the provider ended: what it did not answer fails. Returns how many questions that were. */
size_t store_abandon(struct store *st);

/* Each 0, or a negative code (SG_ELONG: above a limit of plugin.h): then no call-back follows. */
int store_get(const struct store_space *s, struct sg_view key, sg_store_fn *fn, void *arg);
int store_scan(const struct store_space *s, struct sg_view prefix, struct sg_view from, size_t limit, sg_store_fn *fn,
	void *arg);
/** store_scan_on - the next page: what is behind @last, the last pair of the page before. */
int store_scan_on(const struct store_space *s, struct sg_view prefix, const struct sg_store_pair *last, sg_store_fn *fn,
	void *arg);
/** store_write - @done may be NULL. */
int store_write(const struct store_space *s, const struct sg_store_change *changes, size_t n, unsigned flags,
	sg_done_fn *done, void *arg);
/** store_put - one key, without an answer: what is lost with it is worth no more than a log line. */
void store_put(const struct store_space *s, const char *key, struct sg_view value, int64_t ttl_s);
int store_watch(const struct store_space *s, struct sg_view prefix, sg_store_watch_fn *fn, void *arg);
/** store_cancel - @any: all questions and watches of the owner, else those with that @arg. Returns how many. */
size_t store_cancel(const struct store_space *s, bool any, const void *arg);

/** store_text - the bytes of a text, without its end. */
static inline struct sg_view store_text(const char *text)
{
	size_t len = 0;

	while (text[len])
		len++;
	return (struct sg_view){(const uint8_t *)text, len};
}

#endif
