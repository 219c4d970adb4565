/*
 * Sections of the configuration that more than one program reads: core checks the whole file against these and its
 * plugins' tables, netd (who knows no plugins) checks its part.
 */
#ifndef SG_WIRE_SCHEMA_H
#define SG_WIRE_SCHEMA_H

#include <skygate/plugin.h>

SG_BEGIN_DECLS

/** sg_schema_common - sections visor, interface and peer. Ends with a NULL section. Static, any thread. */
const struct sg_option *sg_schema_common(void);

SG_END_DECLS
#endif
