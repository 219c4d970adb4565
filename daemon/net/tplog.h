/*
 * The transport log: how many bytes of payload each transport carried on each day (UTC), as the existing visors count and show
 * it. Kept in the store for a week, written there every ten minutes and at the end.
 */
#ifndef SG_NET_TPLOG_H
#define SG_NET_TPLOG_H

#include "store/store.h"

#define TPLOG_KEEP_S  (8 * 24 * 3600) /* a week, and the day that is still going (spec: 168 h) */
#define TPLOG_FLUSH_S 600
#define TPLOG_MAX     2048 /* transports of one day; more are not counted (own) */

struct tplog;

/** tplog_new - today's totals come back from @store. NULL when memory is out. */
struct tplog *tplog_new(struct sg_loop *loop, struct store *store, int64_t (*wall_s)(void));
/** tplog_free - call-backs do not follow. Accepts NULL. */
void tplog_free(struct tplog *t);
/**
 * tplog_count - what a connection of the transport @id received and sent since it is up; @ended: it is not any more.
 */
void tplog_count(struct tplog *t, const struct sg_tpid *id, uint64_t recv, uint64_t sent, bool ended);
/** tplog_flush - what changed goes to the store. */
void tplog_flush(struct tplog *t);

/* The file of a day; @csv is borrowed, NULL: there is none. */
typedef void tplog_fn(void *arg, const char *csv, size_t len);
/** tplog_csv - @date: "2026-11-21". Ends in @fn once, never inside the call. 0, SG_EMALF: no date, or -ENOMEM. */
int tplog_csv(struct tplog *t, const char *date, tplog_fn *fn, void *arg);
/** tplog_cancel - the call-backs with that @arg do not follow. */
void tplog_cancel(struct tplog *t, const void *arg);

#endif
