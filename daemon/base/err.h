/*
 * Error codes. Actions return 0 or a negative code: errno passes through negated, our own begin at -1000.
 * One list gives enum, name and text.
 */
#ifndef SG_BASE_ERR_H
#define SG_BASE_ERR_H

#include <errno.h>
#include <skygate/types.h>

#define SG_ERR_MAP(X)                                                                                                  \
	X(SG_EMALF, -1000, "malformed")                                                                                \
	X(SG_ELONG, -1001, "longer than allowed")                                                                      \
	X(SG_EKEY, -1002, "not a valid key")                                                                           \
	X(SG_ESIG, -1003, "bad signature")                                                                             \
	X(SG_EAUTH, -1004, "authentication failed")                                                                    \
	X(SG_EREPLAY, -1005, "counter did not increase")                                                               \
	X(SG_EREFUSED, -1006, "refused by the other end")                                                              \
	X(SG_ENOROUTE, -1007, "no route to that key")                                                                  \
	X(SG_ECLOSED, -1008, "closed by the other end")                                                                \
	X(SG_EABI, -1009, "built for another version of the plugin interface")                                         \
	X(SG_ECONF, -1010, "configuration is not valid")                                                               \
	X(SG_EFULL, -1011, "limit reached")                                                                            \
	X(SG_EDUP, -1012, "already there")                                                                             \
	X(SG_ESTATE, -1013, "not possible in this state")                                                              \
	X(SG_EKEYMISMATCH, -1014, "the other end has a different key than expected")

enum sg_err {
#define SG_ERR_ENUM(name, num, text) name = num,
	SG_ERR_MAP(SG_ERR_ENUM)
#undef SG_ERR_ENUM
};

SG_BEGIN_DECLS

/** sg_strerror - text for a negative code of ours or a negated errno; never NULL, static, any thread. */
const char *sg_strerror(int err);

/** sg_errname - "SG_EMALF", "ECONNREFUSED" …; "?" when unknown. Static, any thread. */
const char *sg_errname(int err);

SG_END_DECLS
#endif
