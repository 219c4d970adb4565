/* See impair.h. */
#include "impair.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PPM      1000000u
#define NS_PER_S 1000000000ull
#define ETHERNET 14u
#define VLAN_TAG 4u

const char *const impair_drop_names[IMPAIR_DROPS] = {"loss", "queue", "hole", "memory"};

void impair_init(struct impair *im, const struct impair_options *o, uint64_t (*random)(void *), void *random_arg)
{
	memset(im, 0, sizeof(*im));
	im->o = *o;
	im->random = random;
	im->random_arg = random_arg;
}

void impair_fini(struct impair *im)
{
	for (size_t i = 0; i < im->count; i++)
		free(im->heap[i]);
	free(im->heap);
	im->heap = NULL;
	im->count = im->room = im->bytes = 0;
}

uint64_t impair_splitmix(void *arg)
{
	uint64_t *state = arg;
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* True in ppm of a million cases. The dice are thrown only where asked for, so that a seed repeats one option alone. */
static bool chance(struct impair *im, uint64_t ppm)
{
	return ppm && im->random(im->random_arg) % PPM < ppm;
}

/* Length of the IP packet inside, 0 where there is none. */
static size_t ip_size(const uint8_t *frame, size_t len)
{
	size_t at = ETHERNET;

	if (len < ETHERNET)
		return 0;
	if (frame[12] == 0x81 && frame[13] == 0x00)
		at += VLAN_TAG;
	if (len < at + 6)
		return 0;
	if (frame[at - 2] == 0x08 && frame[at - 1] == 0x00)
		return (size_t)(frame[at + 2] << 8 | frame[at + 3]);
	if (frame[at - 2] == 0x86 && frame[at - 1] == 0xdd)
		return 40 + (size_t)(frame[at + 4] << 8 | frame[at + 5]);
	return 0;
}

/* Bytes that still wait for the line, the one in service counted by what is left of it. */
static uint64_t backlog(const struct impair *im, uint64_t now_ns)
{
	if (im->line_free_ns <= now_ns)
		return 0;
	/* Seconds and rest apart: the product of nanoseconds and bits per second would overflow. */
	uint64_t wait = im->line_free_ns - now_ns;

	return (wait / NS_PER_S * im->o.rate_bps + wait % NS_PER_S * (im->o.rate_bps / 1000) / (NS_PER_S / 1000)) / 8;
}

/* Gives the frame its turn on the line; false: the queue is full. */
static bool take_line(struct impair *im, uint64_t now_ns, size_t len)
{
	if (!im->o.rate_bps) {
		im->line_free_ns = now_ns;
		return true;
	}
	uint64_t waiting = backlog(im, now_ns);

	if (im->o.queue_bytes && waiting + len > im->o.queue_bytes)
		return false;
	if (waiting + len > im->queue_max)
		im->queue_max = waiting + len;
	if (im->line_free_ns < now_ns) {
		im->line_free_ns = now_ns;
		im->line_rest = 0;
	}
	uint64_t work = (uint64_t)len * 8 * NS_PER_S + im->line_rest;

	im->line_free_ns += work / im->o.rate_bps;
	im->line_rest = work % im->o.rate_bps;
	return true;
}

static uint64_t due_time(struct impair *im)
{
	uint64_t due = im->line_free_ns + im->o.delay_ns;

	if (im->o.jitter_ns) {
		uint64_t span = 2 * im->o.jitter_ns + 1, early = im->o.jitter_ns;

		if (early > im->o.delay_ns)
			early = im->o.delay_ns;
		due = due - early + im->random(im->random_arg) % span;
	}
	if (chance(im, im->o.reorder_ppm)) {
		im->reordered++;
		return due + im->o.reorder_ns;
	}
	if (due < im->last_due_ns)
		due = im->last_due_ns;
	im->last_due_ns = due;
	return due;
}

static bool before(const struct impair_frame *a, const struct impair_frame *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void heap_up(struct impair *im, size_t i)
{
	for (; i && before(im->heap[i], im->heap[(i - 1) / 2]); i = (i - 1) / 2) {
		struct impair_frame *f = im->heap[i];

		im->heap[i] = im->heap[(i - 1) / 2];
		im->heap[(i - 1) / 2] = f;
	}
}

static void heap_down(struct impair *im)
{
	for (size_t i = 0;;) {
		size_t least = i;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < im->count; child++)
			if (before(im->heap[child], im->heap[least]))
				least = child;
		if (least == i)
			return;
		struct impair_frame *f = im->heap[i];

		im->heap[i] = im->heap[least];
		im->heap[least] = f;
		i = least;
	}
}

static void keep(struct impair *im, uint64_t due_ns, const uint8_t *frame, size_t len)
{
	struct impair_frame *f = malloc(sizeof(*f) + len);

	if (im->count == im->room) {
		im->room = im->room ? 2 * im->room : 256;
		im->heap = realloc(im->heap, im->room * sizeof(*im->heap));
	}
	if (!f || !im->heap) {
		fprintf(stderr, "wire: out of memory\n");
		exit(1);
	}
	f->due_ns = due_ns;
	f->number = im->number++;
	f->len = len;
	memcpy(f->bytes, frame, len);
	im->bytes += len;
	im->heap[im->count++] = f;
	heap_up(im, im->count - 1);
}

void impair_push(struct impair *im, uint64_t now_ns, const uint8_t *frame, size_t len)
{
	im->in++;
	if (im->o.hole && ip_size(frame, len) > im->o.hole)
		im->dropped[IMPAIR_HOLE]++;
	else if (im->o.memory_bytes && im->bytes + len > im->o.memory_bytes)
		im->dropped[IMPAIR_MEMORY]++;
	else if (!take_line(im, now_ns, len))
		im->dropped[IMPAIR_QUEUE]++;
	else if (chance(im, im->o.loss_ppm))
		im->dropped[IMPAIR_LOSS]++;
	else
		keep(im, due_time(im), frame, len);
}

struct impair_frame *impair_pop(struct impair *im, uint64_t now_ns)
{
	if (!im->count || im->heap[0]->due_ns > now_ns)
		return NULL;
	struct impair_frame *f = im->heap[0];

	im->heap[0] = im->heap[--im->count];
	heap_down(im);
	im->bytes -= f->len;
	im->out++;
	return f;
}

uint64_t impair_next_ns(const struct impair *im)
{
	return im->count ? im->heap[0]->due_ns : UINT64_MAX;
}
