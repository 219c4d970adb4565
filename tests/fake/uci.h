/* A document of UCI written out again: how tests see what was read. */
#ifndef SG_TESTS_FAKE_UCI_H
#define SG_TESTS_FAKE_UCI_H

#include "wire/uci.h"

/** fake_uci_format - 0 and *out (sg_free), or -ENOMEM. Comments are not kept. */
int fake_uci_format(const struct sg_uci *doc, char **out);

#endif
