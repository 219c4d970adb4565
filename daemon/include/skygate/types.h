/*
 * Values that cross the boundary between the daemon, its libraries and its plugins: keys, ids, instants, byte runs.
 * Every header here compiles alone, in C and in C++.
 */
#ifndef SKYGATE_TYPES_H
#define SKYGATE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Public headers stand between these two: C names, exported in spite of -fvisibility=hidden. */
#ifdef __cplusplus
#define SG_BEGIN_DECLS                                                                                                 \
	extern "C" {                                                                                                   \
	_Pragma("GCC visibility push(default)")
#define SG_END_DECLS                                                                                                   \
	_Pragma("GCC visibility pop")                                                                                  \
	}
#else
#define SG_BEGIN_DECLS _Pragma("GCC visibility push(default)")
#define SG_END_DECLS   _Pragma("GCC visibility pop")
#endif

#define SG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define SG_PK_LEN   33 /* secp256k1 point, compressed */
#define SG_SK_LEN   32
#define SG_SIG_LEN  65 /* R 32 | S 32 | recovery id */
#define SG_TPID_LEN 16

struct sg_pk {
	uint8_t b[SG_PK_LEN]; /* all zero: absent */
};

struct sg_sk {
	uint8_t b[SG_SK_LEN];
};

struct sg_sig {
	uint8_t b[SG_SIG_LEN];
};

struct sg_tpid {
	uint8_t b[SG_TPID_LEN];
};

/* A borrowed run of bytes; never owns. */
struct sg_view {
	const uint8_t *p;
	size_t len;
};

/* An instant on the monotonic clock. A struct, so that it cannot be added to a number by accident. */
struct sg_mono {
	int64_t ns;
};

#endif
