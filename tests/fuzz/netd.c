/* A datagram between netd and core, as either side takes it: the first byte of the input says who listens. */
#include "base/common.h"
#include "fuzz.h"
#include "wire/netd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[SG_NETD_MSG_MAX], twice[SG_NETD_MSG_MAX];
	struct sg_netd_msg m, again;
	bool from_core;
	int len;

	if (size < 1)
		return 0;
	from_core = data[0] & 1;
	if (sg_netd_decode((struct sg_view){data + 1, size - 1}, from_core, &m) < 0)
		return 0;
	/* What was understood is said again in the same bytes: nothing was skipped or guessed. */
	len = sg_netd_encode(&m, out, sizeof(out));
	must(len >= SG_NETD_HEAD);
	must(sg_netd_decode((struct sg_view){out, (size_t)len}, from_core, &again) == 0);
	must(sg_netd_encode(&again, twice, sizeof(twice)) == len && memcmp(out, twice, (size_t)len) == 0);
	must((size_t)len <= size - 1);
	must(m.u.tun.n_busy <= SG_ARRAY_LEN(m.u.tun.busy) || (m.type & ~SG_NETD_ANSWER) != SG_NETD_TUN_OPEN);
	must(strnlen(m.text, sizeof(m.text)) < sizeof(m.text));
	return 0;
}
