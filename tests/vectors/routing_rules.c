/* routing.json: descriptors and rules, there and back. */
#include "base/common.h"
#include "base/hex.h"
#include "run.h"
#include "wire/rule.h"

#include <stdlib.h>

static bool desc_of(struct run *r, const struct value *in, struct sg_route_desc *out)
{
	uint64_t src = 0, dst = 0;

	expect_true(r, "ports",
		value_u64(in, "src_port", &src) && value_u64(in, "dst_port", &dst) && src <= UINT16_MAX &&
			dst <= UINT16_MAX,
		"two of 16 bits", "others");
	out->src_port = (uint16_t)src;
	out->dst_port = (uint16_t)dst;
	return hex_fixed(r, in, "src_pk", out->src.b, SG_PK_LEN) && hex_fixed(r, in, "dst_pk", out->dst.b, SG_PK_LEN) &&
	       !r->failed;
}

void routing_descriptor(struct run *r, const struct value *v)
{
	uint8_t bytes[SG_ROUTE_DESC_LEN];
	struct sg_route_desc d, back;
	uint8_t *recorded;
	size_t len;

	list_begin(r, NULL);
	case_begin(r, 0, "descriptor");
	if (desc_of(r, value_object(v, "in"), &d)) {
		sg_route_desc_encode(&d, bytes);
		expect_hex(r, "hex", value_text(v, "hex"), bytes, sizeof(bytes));
		sg_route_desc_invert(&d, &back);
		sg_route_desc_encode(&back, bytes);
		expect_hex(r, "inverted_hex", value_text(v, "inverted_hex"), bytes, sizeof(bytes));
		recorded = hex_bytes(r, v, "hex", &len);
		if (recorded) {
			expect_outcome(r, "decode", true, sg_route_desc_decode((struct sg_view){recorded, len}, &back));
			expect_true(r, "in", sg_route_desc_equal(&d, &back), "the same", "another");
		}
		free(recorded);
	}
	case_end(r);
	list_end(r);
}

/* What kind of rule it is shows in what it has. */
static bool rule_of(struct run *r, const struct value *in, struct sg_rule *out)
{
	bool has_desc = value_get(in, "src_pk"), has_next = value_get(in, "next_route_id");
	const char *tp = value_text(in, "next_tp_id");
	uint64_t key = 0, next = 0;

	*out = (struct sg_rule){.type = !has_next  ? SG_RULE_REVERSE
					: has_desc ? SG_RULE_FORWARD
						   : SG_RULE_INTERMEDIARY};
	expect_true(r, "keep_alive_ns", value_i64(in, "keep_alive_ns", &out->keep_alive_ns), "a number", "none");
	expect_true(r, "key_route_id", value_u64(in, "key_route_id", &key) && key <= UINT32_MAX, "32 bits", "none");
	out->key = (uint32_t)key;
	if (has_next) {
		expect_true(r, "next_route_id", value_u64(in, "next_route_id", &next) && next <= UINT32_MAX, "32 bits",
			"none");
		expect_true(r, "next_tp_id", tp && sg_tpid_parse(tp, strlen(tp), &out->next_tp) == 0, "an id", "none");
		out->next_id = (uint32_t)next;
	}
	return !r->failed && (!has_desc || desc_of(r, in, &out->desc));
}

static void rule_case(struct run *r, const struct value *item)
{
	uint8_t bytes[SG_RULE_MAX], again[SG_RULE_MAX];
	struct sg_rule rule, back;
	uint8_t *recorded;
	uint64_t number;
	size_t len;

	if (!rule_of(r, value_object(item, "in"), &rule))
		return;
	len = sg_rule_encode(&rule, bytes);
	expect_hex(r, "hex", value_text(item, "hex"), bytes, len);
	if (value_u64(item, "len", &number))
		expect_number(r, "len", number, len);
	recorded = hex_bytes(r, item, "hex", &len);
	if (!recorded)
		return;
	expect_outcome(r, "decode", true, sg_rule_decode((struct sg_view){recorded, len}, &back));
	expect_number(r, "key_route_id", rule.key, back.key);
	expect_number(r, "next_route_id", rule.next_id, back.next_id);
	len = sg_rule_encode(&back, again);
	expect_hex(r, "hex of what was read", value_text(item, "hex"), again, len);
	free(recorded);
}

void routing_rules(struct run *r, const struct value *v)
{
	each_case(r, v, "name", rule_case);
}
