/*
 * Sections of the configuration that more than one program reads: core checks the whole file against these tables and its
 * plugins', netd, who knows no plugins, reads its part; what concerns both and stands in no table is checked here.
 */
#ifndef SG_WIRE_SCHEMA_H
#define SG_WIRE_SCHEMA_H

#include "wire/uci.h"

#define SG_LANS_MAX        16 /* interfaces with role 'lan' */
#define SG_ALLOW_NETS_MAX  32 /* of vpn_server */
#define SG_TUN_CLIENT_NAME "sky0"
#define SG_TUN_SERVER_NAME "skyx0"

SG_BEGIN_DECLS

/** sg_schema_common - sections visor, interface, peer and kernel. Ends with a NULL section. Static, any thread. */
const struct sg_option *sg_schema_common(void);
/** sg_schema_check - what is steered and where it leaves, beyond what tables can say. Reports; returns how many findings. */
size_t sg_schema_check(const struct sg_uci *doc, sg_uci_report_fn *report, void *arg);

SG_END_DECLS
#endif
