/* Rules and descriptors, as setup nodes send them. */
#include "wire/rule.h"
#include "base/clock.h"
#include "base/common.h"
#include "fuzz.h"

static void read_rule(struct sg_view in)
{
	static const size_t need[] = {83, 103, 33};
	uint8_t out[SG_RULE_MAX];
	struct sg_rule rule, again;
	size_t len;

	if (sg_rule_decode(in, &rule) < 0)
		return;
	must(rule.type <= SG_RULE_INTERMEDIARY && in.len >= need[rule.type]);
	must(rule.key != 0 && rule.keep_alive_ns >= 0);
	must(rule.type == SG_RULE_REVERSE || rule.next_id != 0);
	must(sg_rule_life_ns(&rule) >= SG_NS_PER_S && sg_rule_life_ns(&rule) <= 600 * SG_NS_PER_S);
	len = sg_rule_encode(&rule, out);
	must(len <= sizeof(out) && len >= need[rule.type]);
	/* Behind the keep-alive, which was cut to what we count in. */
	must(memcmp(out + 8, in.p + 8, need[rule.type] - 8) == 0);
	must(sg_rule_decode((struct sg_view){out, len}, &again) == 0);
	must(again.key == rule.key && again.next_id == rule.next_id && again.keep_alive_ns == rule.keep_alive_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sg_view in = {data, size};
	struct sg_route_desc d, back;
	uint8_t out[SG_ROUTE_DESC_LEN];

	read_rule(in);
	if (sg_route_desc_decode(in, &d) == 0) {
		must(size == SG_ROUTE_DESC_LEN);
		sg_route_desc_encode(&d, out);
		must(memcmp(out, data, size) == 0);
		sg_route_desc_invert(&d, &back);
		sg_route_desc_invert(&back, &back);
		must(sg_route_desc_equal(&d, &back));
	}
	return 0;
}
