/* What directory services answer when they refuse. */
#ifndef SG_WIRE_SERVICE_H
#define SG_WIRE_SERVICE_H

#include <skygate/types.h>

SG_BEGIN_DECLS

/** sg_service_error - the text in {"error":{"message":"…"}} or {"error":"…"}, "" when there is none. Returns @out. */
char *sg_service_error(struct sg_view body, char *out, size_t cap);

SG_END_DECLS
#endif
