/* Payloads of packet types 16 (virtual stream) and 0xE1 (credit). */
#include "base/common.h"
#include "fuzz.h"
#include "wire/vstream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sg_view in = {data, size};
	uint8_t out[SG_VSTREAM_HEAD];
	struct sg_vstream_msg m;
	struct sg_credit c;

	if (sg_vstream_decode(in, &m) == 0) {
		must(m.data.len == size - SG_VSTREAM_HEAD);
		must(!m.data.len || m.data.p == data + SG_VSTREAM_HEAD);
		sg_vstream_head(m.id, &m.sender, m.flags, out);
		must(memcmp(out, data, SG_VSTREAM_HEAD) == 0);
	} else {
		must(size < SG_VSTREAM_HEAD);
	}
	if (sg_credit_decode(in, &c) == 0) {
		sg_credit_encode(&c, out);
		must(memcmp(out, data, SG_CREDIT_LEN) == 0);
	} else {
		must(size < SG_CREDIT_LEN);
	}
	return 0;
}
