/* See store_back.h. */
#include "store_back.h"
#include "base/alloc.h"
#include "base/common.h"
#include "wire/uci.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

int64_t back_wall_s = 1800000000;
int64_t back_ms;

extern const struct sg_plugin sg_plugin_storage_sqlite;

struct sg_inst {
	struct back pub; /* first */
	struct sg_uci *conf;
	const char *dir;
	void *ctx;
	bool stopped;
};

static int64_t wall_s(void)
{
	return back_wall_s;
}

static struct sg_mono now(struct sg_clock *c)
{
	(void)c;
	return back_ms ? (struct sg_mono){back_ms * SG_NS_PER_MS} : sg_clock_system()->now(sg_clock_system());
}

static struct sg_clock back_clock = {now};

static struct sg_loop *host_loop(struct sg_inst *i)
{
	return i->pub.loop;
}

static const struct sg_uci *host_conf(struct sg_inst *i)
{
	return i->conf;
}

static const char *host_state_dir(struct sg_inst *i)
{
	return i->dir;
}

static void host_store_done(struct sg_inst *i, uint64_t id, int err, struct sg_store_pair *pairs, size_t n, bool more)
{
	store_done(i->pub.store, id, err, pairs, n, more);
}

static void host_stopped(struct sg_inst *i)
{
	i->stopped = true;
}

static const struct sg_host host = {.size = sizeof(host),
	.loop = host_loop,
	.conf = host_conf,
	.state_dir = host_state_dir,
	.store_done = host_store_done,
	.stopped = host_stopped};

static const struct sg_plugin *const plugin = &sg_plugin_storage_sqlite;

static void report(void *arg, unsigned line, const char *text)
{
	(void)arg;
	print_error("line %u: %s\n", line, text);
}

struct back *back_memory(void)
{
	struct sg_inst *i = calloc(1, sizeof(*i));

	assert_non_null(i);
	i->pub.loop = sg_loop_new(&back_clock);
	assert_non_null(i->pub.loop);
	i->pub.store = store_new(i->pub.loop, wall_s);
	assert_non_null(i->pub.store);
	i->pub.space = (struct store_space){i->pub.store, i, "test"};
	return &i->pub;
}

struct back *back_sqlite(const char *dir, const char *conf)
{
	struct back *b = back_memory();
	struct sg_inst *i = (struct sg_inst *)b;

	i->dir = dir;
	assert_int_equal(sg_uci_parse(conf, strlen(conf), "test.conf", report, NULL, &i->conf), 0);
	back_attach(b);
	return b;
}

int back_attach(struct back *b)
{
	struct sg_inst *i = (struct sg_inst *)b;
	int err = plugin->start(&host, i, &i->ctx, b->why, sizeof(b->why));

	if (err < 0)
		i->ctx = NULL;
	else
		store_provider(b->store, plugin->provides[0].ops, i->ctx);
	return err;
}

void back_detach(struct back *b)
{
	struct sg_inst *i = (struct sg_inst *)b;

	if (!i->ctx)
		return;
	i->stopped = false;
	store_provider(b->store, NULL, NULL);
	plugin->stop(i->ctx);
	for (int n = 0; n < 2000 && !i->stopped; n++)
		sg_loop_step(b->loop, 5);
	assert_true(i->stopped);
	i->ctx = NULL;
	assert_int_equal(store_abandon(b->store), 0);
}

int64_t back_status(struct back *b, const char *name)
{
	struct sg_inst *i = (struct sg_inst *)b;
	json_t *result = NULL;
	char why[200];
	int64_t n;

	assert_int_equal(plugin->methods[0].call(i->ctx, NULL, &result, why, sizeof(why)), 0);
	n = (int64_t)json_integer_value(json_object_get(result, name));
	json_decref(result);
	return n;
}

void back_free(struct back *b)
{
	struct sg_inst *i = (struct sg_inst *)b;

	if (!b)
		return;
	back_detach(b);
	store_free(b->store);
	sg_loop_free(b->loop);
	sg_uci_free(i->conf);
	free(i);
}
