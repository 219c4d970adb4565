/* What every file of ours may use: small macros, and the calls that must not be used. */
#ifndef SG_BASE_COMMON_H
#define SG_BASE_COMMON_H

#include <skygate/types.h>

#define SG_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define SG_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define SG_MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The object that holds this member. */
#define sg_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Unbounded string calls fail to build. */
#ifndef __cplusplus
#include <stdio.h>
#include <string.h>
#pragma GCC poison strcpy strcat sprintf vsprintf gets strtok
#endif

#endif
