/* Bodies of directory services and the headers of signed requests. */
#include "base/common.h"
#include "fuzz.h"
#include "wire/deployment.h"
#include "wire/httpauth.h"
#include "wire/resolver.h"
#include "wire/routefinder.h"
#include "wire/service.h"
#include "wire/servicedisc.h"
#include "wire/settle.h"

static void auth(const struct sg_crypto *c, struct sg_view in)
{
	char text[3][200] = {{0}};
	struct sg_pk who;
	uint64_t nonce;
	size_t at = 0;

	/* Three lines are three headers, what follows is the body. */
	for (size_t i = 0; i < 3; i++) {
		const uint8_t *end = memchr(in.p + at, '\n', in.len - at);
		size_t len = end ? (size_t)(end - in.p) - at : in.len - at;

		memcpy(text[i], in.p + at, SG_MIN(len, sizeof(text[i]) - 1));
		at += end ? len + 1 : len;
	}
	(void)sg_httpauth_verify(c, text[0], text[1], text[2], (struct sg_view){in.p + at, in.len - at}, &who, &nonce);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sg_crypto *c;
	struct sg_view in = {data, size};
	struct sg_addr addrs[SG_VISOR_ADDRS_MAX];
	static struct sg_paths paths;
	static struct sg_deployment deployment;
	struct sg_entry entries[4];
	struct sg_offer offers[4];
	char text[SG_OFFER_JSON_MAX];
	int n;
	struct sg_visor_data visor;
	struct sg_pk ends[2];
	char said[100];
	uint64_t nonce;

	if (!c)
		c = sg_crypto_new(sg_random_system());
	if (!size)
		return 0;
	auth(c, in);
	if (sg_httpauth_nonce(in, &nonce) == 0)
		must(nonce <= INT64_MAX);
	(void)sg_httpauth_refused(500, in);
	must(strlen(sg_service_error(in, said, sizeof(said))) < sizeof(said));
	/* The ends stand in the answer's first name. */
	if (size > 135 && sg_pk_parse(c, (const char *)data + 2, 66, &ends[0]) == 0 &&
		sg_pk_parse(c, (const char *)data + 69, 66, &ends[1]) == 0 &&
		sg_routes_answer(c, in, &ends[0], &ends[1], &paths) == 0)
		must(paths.n_forward <= SG_PATHS_MAX && paths.n_reverse <= SG_PATHS_MAX);
	must(sg_entry_list_decode(c, in, entries, SG_ARRAY_LEN(entries)) <= (int)SG_ARRAY_LEN(entries));
	if (sg_deployment_decode(c, in, "prod", &deployment) == 0)
		must(deployment.n_servers <= SG_DEPLOYMENT_SERVERS_MAX);
	n = sg_offer_list_decode(c, in, offers, SG_ARRAY_LEN(offers));
	for (int i = 0; i < n; i++)
		must(sg_offer_encode(&offers[i], text, sizeof(text)) > 0);
	if (sg_visor_data_decode(in, &visor) == 0)
		must(visor.n <= SG_VISOR_ADDRESSES &&
			sg_visor_addrs(&visor, "203.0.113.7", addrs) <= SG_VISOR_ADDRS_MAX);
	return 0;
}
