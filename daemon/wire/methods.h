/*
 * The one table of control methods: name, role, parameters, command line, help. Core checks calls against it, the
 * command line is made from it, the API document and the test that nothing answers without a role too.
 */
#ifndef SG_WIRE_METHODS_H
#define SG_WIRE_METHODS_H

#include <skygate/types.h>

enum sg_role { SG_ROLE_VIEWER = 1, SG_ROLE_ADMIN = 2 };
enum sg_param_type { SG_PARAM_STRING, SG_PARAM_BOOL, SG_PARAM_UINT };

struct sg_param {
	const char *name; /* NULL ends the list */
	enum sg_param_type type;
	bool required;
	const char *cli; /* "--open", or "TOPIC" for a positional one; NULL: not for people */
	const char *help;
};

struct sg_method_row {
	const char *name; /* "vpn.start"; NULL ends the table */
	enum sg_role role;
	const char *noun, *verb;       /* "vpn", "start"; verb may be NULL: skygate status */
	const char *plugin;            /* who answers; NULL: core */
	const struct sg_param *params; /* may be NULL */
	const char *summary;
};

SG_BEGIN_DECLS

/** sg_methods - the table. Static, any thread. */
const struct sg_method_row *sg_methods(void);
const struct sg_method_row *sg_method_find(const char *name);

SG_END_DECLS
#endif
