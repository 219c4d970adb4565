/*
 * One end of a stream, as an app has it. What it sends is a pattern by the place of each byte, so that order shows at the
 * other end. It has to outlive its stream, which may end only with the world.
 */
#ifndef SG_TESTS_FAKE_END_H
#define SG_TESTS_FAKE_END_H

#include <skygate/plugin.h>

struct fake_end {
	struct sg_stream *st; /* NULL: not open, or ended */
	uint64_t sent, got;
	bool in_order; /* what came is the pattern so far */
	bool echo, close_on_data;
	bool greedy; /* sends until it is turned away, whenever it may */
	unsigned writable, batches, closed;
	int err; /* of its end */
	bool dialed;
	int dial_err;
	char why[500], network[16];
};

/** fake_end_new - one of 32 that take turns: it outlives the test, for the world ends its stream when it is taken down. */
struct fake_end *fake_end_new(void);
/** fake_end_listener - the next stream becomes that of the end; arg: the end. */
extern const struct sg_listener_ops fake_end_listener;
/** fake_end_dialed - sg_dialed_fn; arg: the end. Ends the test at a second call. */
void fake_end_dialed(void *arg, struct sg_stream *st, int err, const char *why);
/** fake_end_send - as much of @len as is taken, in pieces of @piece. */
void fake_end_send(struct fake_end *e, uint64_t len, size_t piece);
/** fake_end_pattern - the byte at this place. */
uint8_t fake_end_pattern(uint64_t at);

#endif
