/* The sections of everybody. */
#include "wire/schema.h"
#include "base/common.h"

static const struct sg_option common[] = {
	{.section = "visor", .flags = SG_OPT_REQUIRED, .help = "begin with:  config visor 'main'"},
	{.section = "visor",
		.name = "identity",
		.type = SG_OPT_PATH,
		.flags = SG_OPT_REQUIRED,
		.help = "the file with this visor's key:  option identity '/var/lib/skygate/identity.key'"},
	{.section = "visor",
		.name = "user",
		.type = SG_OPT_USER,
		.def = "skygate",
		.help = "whom skygated runs as: a name or a number, never root"},
	{.section = "visor",
		.name = "plugin",
		.type = SG_OPT_STRING,
		.flags = SG_OPT_LIST,
		.help = "what to load, in this order"},
	{.section = "visor",
		.name = "log_level",
		.type = SG_OPT_ENUM,
		.accepted = "error warn info debug",
		.def = "info",
		.help = "how much is logged"},
	{.section = "visor",
		.name = "hide_addresses",
		.type = SG_OPT_BOOL,
		.def = "0",
		.help = "log lines without addresses"},
	{.section = "visor",
		.name = "sandbox",
		.type = SG_OPT_BOOL,
		.def = "1",
		.help = "confine skygated once it has started (seccomp, Landlock)"},

	{.section = "interface", .flags = SG_OPT_LIST, .help = "a network of this machine"},
	{.section = "interface",
		.name = "role",
		.type = SG_OPT_ENUM,
		.flags = SG_OPT_REQUIRED,
		.accepted = "lan",
		.help = "what the network is to us:  option role 'lan'"},
	{.section = "interface",
		.name = "device",
		.type = SG_OPT_IFNAME,
		.flags = SG_OPT_LIST | SG_OPT_REQUIRED,
		.help = "its network interfaces:  list device 'br-lan'"},

	{.section = "peer", .flags = SG_OPT_LIST, .help = "another visor, to be kept connected"},
	{.section = "peer",
		.name = "pk",
		.type = SG_OPT_PK,
		.flags = SG_OPT_REQUIRED,
		.help = "its public key, as  skygate status  prints it there"},
	{.section = "peer",
		.name = "address",
		.type = SG_OPT_URL,
		.flags = SG_OPT_LIST,
		.help = "where it listens, tried in this order; without one it has to connect to us"},
	{0},
};

const struct sg_option *sg_schema_common(void)
{
	return common;
}
