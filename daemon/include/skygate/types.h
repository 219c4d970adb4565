/*
 * Values that cross the boundary between the daemon, its libraries and its plugins: keys, ids, instants, byte runs.
 * Every header here compiles alone, in C and in C++.
 */
#ifndef SKYGATE_TYPES_H
#define SKYGATE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* Which argument is the format, and which the first that it formats; as printf's, or 0. */
#define SG_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Bytes. */
#define SG_PK_LEN   33 /* secp256k1 point, compressed */
#define SG_SK_LEN   32 /* its scalar, big endian */
#define SG_SIG_LEN  65 /* R 32 | S 32 | recovery id */
#define SG_TPID_LEN 16

/* A visor's name. */
struct sg_pk {
	uint8_t b[SG_PK_LEN]; /* all zero: absent */
};

/* The secret that belongs to it; wiped by the function that ends its life. */
struct sg_sk {
	uint8_t b[SG_SK_LEN];
};

/* Of a message, by a key. */
struct sg_sig {
	uint8_t b[SG_SIG_LEN];
};

/* A transport's id: both ends make the same of their keys and its type. */
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

/*
 * SG_HAS - whether a table that begins with its size reaches as far as @member: the other side may be older than this
 * header.
 */
#define SG_HAS(table, member) ((table)->size >= offsetof(__typeof__(*(table)), member) + sizeof((table)->member))

/*
 * sg_fill - gives @known bytes of what we know to a caller who knows @size bytes of that struct: a shorter one gets less,
 * the rest of a longer one is zero.
 */
static inline void sg_fill(void *out, size_t size, const void *what, size_t known)
{
	memset(out, 0, size);
	memcpy(out, what, size < known ? size : known);
}

#endif
