/* A text as the view of bytes that decoders read. */
#ifndef SG_TESTS_UNIT_VIEW_H
#define SG_TESTS_UNIT_VIEW_H

#include <skygate/types.h>
#include <string.h>

static inline struct sg_view view(const char *text)
{
	return (struct sg_view){(const uint8_t *)text, strlen(text)};
}

#endif
