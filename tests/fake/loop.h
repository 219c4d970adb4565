/* For tests in which memory runs out: libuv ends the process when its table of descriptors cannot grow. */
#ifndef SG_TESTS_FAKE_LOOP_H
#define SG_TESTS_FAKE_LOOP_H

#include "loop/loop.h"

/** fake_loop_widen - @loop has room for descriptors up to @fd from now on. */
void fake_loop_widen(struct sg_loop *loop, int fd);

#endif
