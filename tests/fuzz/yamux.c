/* A multiplexer fed by a stranger; its owner takes, refuses, answers and ends streams as the bytes say. */
#include "base/common.h"
#include "fuzz.h"
#include "wire/yamux.h"

struct owner {
	struct sg_yamux *y;
	uint8_t mood; /* of the byte that is next */
	size_t sent;
	struct sg_yamux_stream *last;
};

static void on_send(void *arg, struct sg_view head, struct sg_view body)
{
	struct owner *o = arg;

	must(head.len == SG_YAMUX_HEAD);
	o->sent += head.len + body.len;
}

static int on_stream(void *arg, struct sg_yamux_stream *s)
{
	struct owner *o = arg;

	if (o->mood & 1)
		return -1;
	s->user = o;
	o->last = s;
	return 0;
}

static void on_data(void *arg, struct sg_yamux_stream *s, struct sg_view data)
{
	struct owner *o = arg;
	uint8_t mood = o->mood;

	must(data.len <= SG_YAMUX_WINDOW);
	if (mood & 2)
		sg_yamux_consumed(s, (uint32_t)data.len);
	if (mood & 4)
		sg_yamux_send(s, data);
	if (mood & 8) {
		if (o->last == s)
			o->last = NULL;
		if (mood & 16)
			sg_yamux_reset(s);
		else
			sg_yamux_close(s, (struct sg_mono){0});
	}
}

static void on_writable(void *arg, struct sg_yamux_stream *s)
{
	(void)arg;
	must(s->user != NULL);
}

static void on_end(void *arg, struct sg_yamux_stream *s, int err)
{
	struct owner *o = arg;

	must(s->user == o);
	if (o->last == s)
		o->last = NULL;
	if (err == 0)
		sg_yamux_close(s, (struct sg_mono){0});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sg_yamux_ops ops = {on_send, on_stream, on_data, on_writable, on_end};
	struct owner o = {0};
	const char *why;
	int64_t now = 0;

	if (size < 2)
		return 0;
	o.y = sg_yamux_new(data[0] & 1, &ops, &o, (struct sg_mono){0});
	must(o.y != NULL);
	for (size_t at = 1; at < size;) {
		size_t n = SG_MIN((size_t)(data[at] % 40) + 1, size - at);

		o.mood = data[at];
		if (sg_yamux_feed(o.y, (struct sg_view){data + at, n}, &why) < 0) {
			must(why[0] != '\0');
			break;
		}
		at += n;
		now += o.mood & 0x80 ? 20 * SG_NS_PER_S : SG_NS_PER_MS;
		if (sg_yamux_tick(o.y, (struct sg_mono){now}, &why) < 0)
			break;
		must(sg_yamux_streams(o.y) <= SG_YAMUX_STREAMS_MAX);
	}
	sg_yamux_free(o.y);
	return 0;
}
