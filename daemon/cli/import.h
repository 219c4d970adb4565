/*
 * skygate import: the configuration of a Go visor (skywire-config.json) as one of ours. What is read here decides nothing but
 * text; import.c writes it.
 */
#ifndef SG_CLI_IMPORT_H
#define SG_CLI_IMPORT_H

#include "base/text.h"
#include "crypto/keys.h"
#include "wire/json.h"

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

/** import_addf - appends; without memory t->err says so at the end. */
void import_addf(struct import_text *t, const char *fmt, ...) SG_PRINTF(2, 3);
/** import_printable - a name or a value of the file, for a terminal: cut and tamed in @buf. Returns it. */
const char *import_printable(const char *text, char *buf, size_t cap);
/** import_tell_left - each member that is still in the tree: a line of im->left. */
void import_tell_left(struct import *im, const json_t *root);

#endif
