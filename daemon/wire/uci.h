/*
 * Configuration text in UCI syntax: config TYPE ['NAME'] / option NAME 'VALUE' / list NAME 'VALUE'. One text for Debian
 * and OpenWrt. Every value remembers its line.
 */
#ifndef SG_WIRE_UCI_H
#define SG_WIRE_UCI_H

#include "base/list.h"
#include "base/text.h"
#include <skygate/plugin.h>

struct sg_uci_value {
	struct sg_list node;
	unsigned line;
	char *text;
};

struct sg_uci_option {
	struct sg_list node;
	unsigned line;
	bool is_list;
	char *name;
	struct sg_list values; /* of sg_uci_value; one unless is_list */
};

struct sg_uci_section {
	struct sg_list node;
	unsigned line;
	char *type;
	char *name; /* "" when anonymous */
	struct sg_list options;
};

struct sg_uci {
	char *file; /* as named in messages */
	struct sg_list sections;
};

/* Takes one finding, @message is "FILE:LINE: what is wrong\n  accepted: …". @line 0: the whole file. */
typedef void sg_uci_report_fn(void *arg, unsigned line, const char *message);

SG_BEGIN_DECLS

/** sg_uci_parse - whole text. 0 and *out (free with sg_uci_free), SG_ECONF after at least one report, -ENOMEM. */
int sg_uci_parse(
	const char *text, size_t len, const char *file, sg_uci_report_fn *report, void *arg, struct sg_uci **out);
/** sg_uci_load - reads the file (at most SG_CONF_FILE_MAX bytes) and parses it; also a negative errno, reported. */
int sg_uci_load(const char *path, sg_uci_report_fn *report, void *arg, struct sg_uci **out);
void sg_uci_free(struct sg_uci *doc);

/** sg_uci_next - the first section of @type after @prev (NULL: from the start); NULL when there is none. */
const struct sg_uci_section *sg_uci_next(const struct sg_uci *doc, const char *type, const struct sg_uci_section *prev);
/** sg_uci_find - the section of that type and name, or NULL. */
const struct sg_uci_section *sg_uci_find(const struct sg_uci *doc, const char *type, const char *name);
/** sg_uci_get - the value of an option, or @def. A list's first value. */
const char *sg_uci_get(const struct sg_uci_section *s, const char *option, const char *def);
const struct sg_uci_option *sg_uci_option(const struct sg_uci_section *s, const char *option);
/** sg_uci_bool - of a checked option. */
bool sg_uci_bool(const struct sg_uci_section *s, const char *option, bool def);
uint64_t sg_uci_uint(const struct sg_uci_section *s, const char *option, uint64_t def);
/** sg_uci_digest - a number that differs when the values of one of these options do; their names end with NULL. @s: or NULL. */
uint64_t sg_uci_digest(const struct sg_uci_section *s, const char *const *options);

/**
 * sg_uci_check - the document against @n tables of options (each ended by a NULL section): unknown sections and
 * options (with "did you mean"), missing required ones, types, ranges, references to sections, doubles. Reports every
 * finding in the words of a compiler; returns how many. Whether a key lies on the curve is asked through @pk_ok, which
 * may be NULL: then 66 hex digits are enough.
 */
size_t sg_uci_check(const struct sg_uci *doc, const struct sg_option *const *tables, size_t n,
	bool (*pk_ok)(void *arg, const char *text), sg_uci_report_fn *report, void *arg);
/** sg_uci_check_part - as sg_uci_check for a program that knows only a part: what the tables do not name is left out. */
size_t sg_uci_check_part(const struct sg_uci *doc, const struct sg_option *const *tables, size_t n,
	bool (*pk_ok)(void *arg, const char *text), sg_uci_report_fn *report, void *arg);

#define SG_IFNAME_ACCEPTED "1 to 15 of A-Z a-z 0-9 . _ - @ +"
/** sg_ifname_ok - an interface's name in characters that mean nothing in rulesets and files; the kernel takes more. */
bool sg_ifname_ok(const char *s);
/** sg_carrier_by_key - a carrier that finds visors by key: an address of SG_OPT_URL may be its name alone. */
bool sg_carrier_by_key(const char *name);

SG_END_DECLS
#endif
