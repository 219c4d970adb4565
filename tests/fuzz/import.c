/* skywire-config.json of a stranger: whatever is taken from it, what comes out is read as configuration text again. */
#include "base/common.h"
#include "cli/import.h"
#include "fuzz.h"
#include "wire/uci.h"

static void report(void *arg, unsigned line, const char *text)
{
	(void)arg;
	(void)line;
	(void)text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sg_crypto *c;
	struct import im;
	struct sg_uci *doc;
	char why[300];
	int err;

	if (!c)
		c = sg_crypto_new(sg_random_system());
	err = import_convert(c, (struct sg_view){data, size}, "/id.key", &im, why, sizeof(why));
	must(err == 0 || why[0]);
	if (err == 0) {
		must(sg_uci_parse(im.conf.p, im.conf.len, "import", report, NULL, &doc) == 0);
		must(sg_uci_next(doc, "visor", NULL));
		sg_uci_free(doc);
		for (size_t i = 0; i < im.left.len; i++)
			must((unsigned char)im.left.p[i] >= 0x20 || im.left.p[i] == '\n');
	}
	import_fini(&im);
	return 0;
}
