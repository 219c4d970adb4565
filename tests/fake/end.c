#include "fake/end.h"
#include "base/common.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct fake_end *fake_end_new(void)
{
	static struct fake_end ends[32];
	static size_t n;
	struct fake_end *e = &ends[n++ % SG_ARRAY_LEN(ends)];

	*e = (struct fake_end){0};
	return e;
}

uint8_t fake_end_pattern(uint64_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) * 13 + (at >> 16) * 5);
}

static void on_data(void *arg, struct sg_view in)
{
	struct fake_end *e = arg;

	for (size_t i = 0; i < in.len; i++)
		e->in_order = e->in_order && in.p[i] == fake_end_pattern(e->got + i);
	e->got += in.len;
	if (e->close_on_data) {
		e->st->ops->close(e->st);
		e->st = NULL;
	} else if (e->echo) {
		assert_int_equal(e->st->ops->send(e->st, &(struct iovec){(void *)in.p, in.len}, 1), 0);
	}
}

static void on_writable(void *arg)
{
	struct fake_end *e = arg;

	e->writable++;
	if (e->greedy)
		fake_end_send(e, UINT64_MAX, 8000);
}

static void on_close(void *arg, int err, const char *why)
{
	struct fake_end *e = arg;

	e->st = NULL;
	e->closed++;
	e->err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
}

static void on_batch_end(void *arg)
{
	((struct fake_end *)arg)->batches++;
}

static const struct sg_stream_user user = {sizeof(user), on_data, on_writable, on_close, on_batch_end};

static int on_stream(void *arg, struct sg_stream *st)
{
	struct fake_end *e = arg;
	struct sg_stream_info info;

	st->ops->info(st, &info, sizeof(info));
	snprintf(e->network, sizeof(e->network), "%s", info.network);
	e->st = st;
	e->in_order = true;
	st->user = &user;
	st->user_arg = e;
	return 0;
}

const struct sg_listener_ops fake_end_listener = {sizeof(fake_end_listener), on_stream};

void fake_end_dialed(void *arg, struct sg_stream *st, int err, const char *why)
{
	struct fake_end *e = arg;

	assert_false(e->dialed);
	e->dialed = true;
	e->dial_err = err;
	snprintf(e->why, sizeof(e->why), "%s", why);
	assert_true((st == NULL) == (err < 0));
	if (st)
		on_stream(e, st);
}

void fake_end_send(struct fake_end *e, uint64_t len, size_t piece)
{
	uint8_t *buf = malloc(piece);

	assert_non_null(buf);
	while (len && e->st) {
		size_t n = SG_MIN(len, (uint64_t)piece);

		for (size_t i = 0; i < n; i++)
			buf[i] = fake_end_pattern(e->sent + i);
		if (e->st->ops->send(e->st, &(struct iovec){buf, n}, 1) < 0)
			break;
		e->sent += n;
		len -= n;
	}
	free(buf);
}
