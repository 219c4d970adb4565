/*
 * Two ends of a stream within one process: what one sends the other gets, in pieces, later, and only while it wants it; each
 * knows the other's key, as if a network had proven it.
 */
#ifndef SG_TESTS_FAKE_PIPE_H
#define SG_TESTS_FAKE_PIPE_H

#include "loop/loop.h"
#include <skygate/plugin.h>

/** pipe_new - end 0 sees @pk[1] as the other one, end 1 sees @pk[0]. The test ends when memory is out. */
void pipe_new(struct sg_loop *loop, const struct sg_pk *const pk[2], struct sg_stream *end[2]);

#endif
