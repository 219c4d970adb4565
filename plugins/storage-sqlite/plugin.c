/*
 * storage-sqlite: what this visor learns outlives a restart, in one file of the state directory. This file is its face toward
 * the host. See README.md.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "queue.h"
#include "wire/json.h"
#include "wire/uci.h"

#define MIB (1024 * 1024)

static const struct sg_option options[] = {{.section = "store", .help = "what outlives a restart"},
	{.section = "store",
		.name = "size_mib",
		.type = SG_OPT_UINT,
		.def = "16",
		.min = 1,
		.max = 1024,
		.help = "the most that is kept, in MiB"},
	{.section = "store",
		.name = "daily_mib",
		.type = SG_OPT_UINT,
		.def = "8",
		.min = 1,
		.max = 100000,
		.help = "MiB that may be written to the disk in a day, for flash wears out; what cannot wait is "
			"written anyway"},
	{0}};

static uint64_t option_mib(const struct sg_host *host, struct sg_inst *inst, const char *name, uint64_t def)
{
	const struct sg_uci_section *s = sg_uci_next(host->conf(inst), "store", NULL);

	return (s ? sg_uci_uint(s, name, def) : def) * MIB;
}

static const struct sg_store_ops ops = {.size = sizeof(ops), .scan = queue_scan, .write = queue_write};
static const struct sg_provide provides[] = {{SG_STORE, "sqlite", &ops}, {0}};

static const struct sg_counter counters[] = {
	{"store.written", offsetof(struct queue, written), "bytes given to the disk"},
	{"store.commits", offsetof(struct queue, commits), "times that something was"},
	{"store.refused", offsetof(struct queue, refused), "writes refused: more than the day's share"},
	{0},
};

static int status(void *ctx, json_t *params, json_t **result, char *why, size_t why_cap)
{
	const struct queue *q = ctx;

	(void)params;
	*result = json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:s}", "file", q->path, "size", (json_int_t)q->stats.size,
		"size_max", (json_int_t)q->max_bytes, "waiting", (json_int_t)q->stats.waiting + (json_int_t)q->queued,
		"written", (json_int_t)q->written, "daily", (json_int_t)q->day_bytes, "uptime_ms",
		(json_int_t)sg_mono_ms_since(sg_loop_now(q->loop), q->opened), "why", q->why);
	if (*result)
		return 0;
	snprintf(why, why_cap, "memory is out");
	return -ENOMEM;
}

static const struct sg_method methods[] = {{"store.status", status}, {0}};

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap)
{
	struct queue *q = sg_calloc(1, sizeof(*q));
	int err;

	if (!q) {
		snprintf(why, why_cap, "memory is out");
		return -ENOMEM;
	}
	q->host = host;
	q->inst = inst;
	q->loop = host->loop(inst);
	q->max_bytes = option_mib(host, inst, "size_mib", 16);
	q->day_bytes = option_mib(host, inst, "daily_mib", 8);
	if (snprintf(q->path, sizeof(q->path), "%s/store.db", host->state_dir(inst)) >= (int)sizeof(q->path)) {
		snprintf(why, why_cap, "the path of the state directory is too long");
		err = SG_ELONG;
	} else {
		err = queue_open(q, why, why_cap);
	}
	if (err < 0) {
		sg_free(q);
		return err;
	}
	*ctx = q;
	return 0;
}

static int reload(void *ctx)
{
	struct queue *q = ctx;

	if (option_mib(q->host, q->inst, "size_mib", 16) != q->max_bytes)
		return -ENOTSUP;
	queue_budget(q, option_mib(q->host, q->inst, "daily_mib", 8));
	return 0;
}

static void on_closed(void *arg)
{
	struct queue *q = arg;
	const struct sg_host *host = q->host;
	struct sg_inst *inst = q->inst;

	sg_free(q);
	host->stopped(inst);
}

static void stop(void *ctx)
{
	queue_close(ctx, on_closed, ctx);
}

SG_PLUGIN(storage_sqlite) = {SG_PLUGIN_HEAD, .name = "storage-sqlite", .version = SG_VERSION,
	.summary = "keeps what this visor learns over a restart, in one SQLite file", .provides = provides,
	.options = options, .methods = methods, .counters = counters, .start = start, .reload = reload, .stop = stop};
