/* What every fuzz target has: one function, and checks that end the process. */
#ifndef SG_TESTS_FUZZ_H
#define SG_TESTS_FUZZ_H

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for any input. */
#define must(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			sg_bug("%s:%d: %s", __FILE__, __LINE__, #condition);                                           \
	} while (0)

#endif
