/*
 * skygate import: the configuration of a Go visor (skywire-config.json) as one of ours. What is read here decides nothing but
 * text; import.c writes it.
 */
#ifndef SG_CLI_IMPORT_H
#define SG_CLI_IMPORT_H

#include "base/text.h"
#include "crypto/keys.h"

#define IMPORT_FILE_MAX (1024 * 1024) /* bytes of the file (own; a real one has about 5,000) */

/* Growing text, from sg_malloc. */
struct import_text {
	char *p; /* NUL at its end; NULL while it is empty */
	size_t len, cap;
	bool err; /* memory was out */
};

struct import {
	struct sg_sk sk;
	struct sg_pk pk;
	struct import_text conf;  /* skygate.conf */
	struct import_text taken; /* a line for each thing that was taken over */
	struct import_text left;  /* a line for each member that was not, and why */
	size_t n_left;
};

/**
 * import_convert - @in: the file. @identity: the path that the configuration names for the key. 0, or a negative code with a
 * sentence in @why. Free with import_fini in either case.
 */
int import_convert(
	const struct sg_crypto *c, struct sg_view in, const char *identity, struct import *out, char *why, size_t cap);
void import_fini(struct import *im);

#endif
