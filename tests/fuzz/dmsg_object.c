/* Stream requests and responses of dmsg: gob from strangers, both readers; what is read is written and read again. */
#include "base/common.h"
#include "fuzz.h"
#include "wire/dmsg.h"

static const struct sg_crypto *crypto(void)
{
	static struct sg_crypto *c;

	if (!c)
		c = sg_crypto_new(sg_random_system());
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[2 * 8192 + 4096];
	struct sg_view in = {data, size};
	struct sg_dmsg_request q, q2;
	struct sg_dmsg_response a, a2;
	int len;

	if (sg_dmsg_request_decode(crypto(), in, &q) == 0) {
		len = sg_dmsg_request_encode(&q, 65, out, sizeof(out));
		must(len > 0);
		/* Keys that were not sent are null, and null keys are not written. */
		must(sg_dmsg_request_decode(crypto(), (struct sg_view){out, (size_t)len}, &q2) == 0);
		must(q2.timestamp == q.timestamp && q2.src.port == q.src.port && q2.noise.len == q.noise.len);
	}
	if (sg_dmsg_response_decode(in, &a) == 0) {
		len = sg_dmsg_response_encode(&a, 65, out, sizeof(out));
		must(len > 0);
		must(sg_dmsg_response_decode((struct sg_view){out, (size_t)len}, &a2) == 0);
		must(memcmp(a.req_hash, a2.req_hash, sizeof(a.req_hash)) == 0 && a.err_code == a2.err_code);
	}
	return 0;
}
