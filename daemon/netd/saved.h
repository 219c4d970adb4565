/*
 * Sysctls as they were before we came, in RUN/saved: one "key value" a line, written before the first change, so that
 * --disarm can put them back even after netd was killed.
 */
#ifndef SG_NETD_SAVED_H
#define SG_NETD_SAVED_H

#include "netd/rundir.h"
#include "netd/want.h"

#define SAVED_MAX   160 /* keys */
#define SAVED_TEXT  16384
#define SAVED_VALUE 8 /* bytes of a value: small numbers */

struct saved_entry {
	char key[72], value[SAVED_VALUE];
};

struct saved {
	struct saved_entry *e; /* SAVED_MAX of them */
	size_t n;
};

/** saved_parse - the file's text. Lines that we would not write are left out: the file is not trusted blindly. */
void saved_parse(const char *text, struct saved *out);
/** saved_format - the other way round. 0 or -E2BIG. */
int saved_format(const struct saved *s, char *out, size_t cap);

/** saved_renamed - a device has another name: what is remembered of it will be put back there. 0 or a negative errno. */
int saved_renamed(const struct rundir *r, const char *from, const char *to);
/**
 * saved_apply - makes the sysctls as @w wants them, remembering what they were; those remembered and no longer wanted
 * are put back. 0 or the first error; the rest is done all the same.
 */
int saved_apply(struct kernel *k, const struct rundir *r, const struct want *w);

#endif
