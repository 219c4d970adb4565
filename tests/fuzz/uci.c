/* Configuration text: parsed, checked against a table with every type of option, written anew and read again. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/limits.h"
#include "fake/uci.h"
#include "fuzz.h"
#include "wire/schema.h"
#include "wire/uci.h"

static const struct sg_option all_types[] = {
	{"t", NULL, SG_OPT_STRING, SG_OPT_LIST | SG_OPT_REQUIRED, NULL, NULL, 0, 0, "every type"},
	{"t", "string", SG_OPT_STRING, 0, NULL, NULL, 0, 9, ""},
	{"t", "bool", SG_OPT_BOOL, 0, NULL, NULL, 0, 0, ""},
	{"t", "uint", SG_OPT_UINT, SG_OPT_LIST, NULL, NULL, 3, 70000, ""},
	{"t", "enum", SG_OPT_ENUM, 0, "off vpn host", NULL, 0, 0, ""},
	{"t", "pk", SG_OPT_PK, SG_OPT_LIST, NULL, NULL, 0, 0, ""},
	{"t", "ip", SG_OPT_IP4, SG_OPT_LIST, NULL, NULL, 0, 0, ""},
	{"t", "prefix", SG_OPT_PREFIX4, SG_OPT_LIST, NULL, NULL, 0, 0, ""},
	{"t", "addr", SG_OPT_ADDR, SG_OPT_LIST, NULL, NULL, 0, 0, ""},
	{"t", "url", SG_OPT_URL, SG_OPT_LIST, NULL, NULL, 0, 0, ""},
	{"t", "ifname", SG_OPT_IFNAME, SG_OPT_LIST, NULL, NULL, 0, 0, ""},
	{"t", "path", SG_OPT_PATH, 0, NULL, NULL, 0, 0, ""},
	{"t", "user", SG_OPT_USER, 0, NULL, NULL, 0, 0, ""},
	{"t", "name", SG_OPT_NAME, SG_OPT_LIST, "peer", NULL, 0, 0, ""},
	{"t", "secret", SG_OPT_UINT, SG_OPT_SECRET, NULL, NULL, 0, 0, ""},
	{0},
};

static void count(void *arg, unsigned line, const char *message)
{
	(void)line;
	must(strlen(message) > 3);
	++*(size_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sg_option *tables[] = {sg_schema_common(), all_types};
	struct sg_uci *doc, *again;
	char *text, *twice;
	size_t n = 0, told;

	if (sg_uci_parse((const char *)data, size, "f", count, &n, &doc) < 0) {
		must(!doc && n > 0 && n <= SG_CONF_FINDINGS + 1);
		return 0;
	}
	must(n == 0);
	told = sg_uci_check(doc, tables, 2, NULL, count, &n);
	must(told == n);
	must(sg_uci_check_part(doc, tables, 2, NULL, count, &n) <= told);
	must(fake_uci_format(doc, &text) == 0);
	n = 0;
	must(sg_uci_parse(text, strlen(text), "g", count, &n, &again) == 0 && n == 0);
	must(fake_uci_format(again, &twice) == 0);
	must(strcmp(text, twice) == 0);
	sg_free(text);
	sg_free(twice);
	sg_uci_free(doc);
	sg_uci_free(again);
	return 0;
}
