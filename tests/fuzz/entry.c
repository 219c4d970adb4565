/* Entries of a discovery, and URLs: what is read is written, and reads the same again. */
#include "base/common.h"
#include "fuzz.h"
#include "wire/entry.h"
#include "wire/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sg_crypto *c;
	static char text[2][SG_ENTRY_JSON_MAX], url[600];
	struct sg_disc_entry_full e, again;
	struct sg_url u;
	json_t *json;
	int len;

	if (!c)
		c = sg_crypto_new(sg_random_system());
	snprintf(url, sizeof(url), "%.*s", (int)SG_MIN(size, sizeof(url) - 1), (const char *)data);
	if (sg_url_split(url, &u) == 0)
		must(u.port && u.host[0] && u.scheme[0]);
	json = sg_json_parse((struct sg_view){data, size}, NULL);
	if (json && sg_disc_entry_decode(c, json, &e) == 0) {
		len = sg_disc_entry_encode(&e, true, text[0], sizeof(text[0]));
		(void)sg_disc_entry_verify(c, &e, (struct sg_view){data, size});
		json_decref(json);
		json = len > 0 ? sg_json_parse((struct sg_view){(const uint8_t *)text[0], (size_t)len}, NULL) : NULL;
		if (len > 0) {
			must(json && sg_disc_entry_decode(c, json, &again) == 0);
			must(sg_disc_entry_encode(&again, true, text[1], sizeof(text[1])) == len);
			must(memcmp(text[0], text[1], (size_t)len) == 0);
		}
	}
	json_decref(json);
	return 0;
}
