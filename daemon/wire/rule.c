/*
 * Rules: keep-alive u64 in ns | type u8 | key u32, then by type
 *
 *	reverse       descriptor 70
 *	forward       descriptor 70 | next id u32 | next transport 16 | 17 zeros
 *	intermediary  next id u32 | next transport 16 | 17 zeros
 */
#include "wire/rule.h"
#include "base/clock.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"

#define PAD_LEN 17

static void read_desc(struct sg_reader *r, struct sg_route_desc *d)
{
	sg_read_bytes(r, d->src.b, SG_PK_LEN);
	sg_read_bytes(r, d->dst.b, SG_PK_LEN);
	d->src_port = sg_read_u16(r);
	d->dst_port = sg_read_u16(r);
}

static void write_desc(struct sg_writer *w, const struct sg_route_desc *d)
{
	sg_write_bytes(w, d->src.b, SG_PK_LEN);
	sg_write_bytes(w, d->dst.b, SG_PK_LEN);
	sg_write_u16(w, d->src_port);
	sg_write_u16(w, d->dst_port);
}

int sg_route_desc_decode(struct sg_view in, struct sg_route_desc *out)
{
	struct sg_reader r = sg_reader(in);

	read_desc(&r, out);
	return sg_reader_done(&r) ? 0 : SG_EMALF;
}

void sg_route_desc_encode(const struct sg_route_desc *d, uint8_t out[SG_ROUTE_DESC_LEN])
{
	struct sg_writer w = sg_writer(out, SG_ROUTE_DESC_LEN);

	write_desc(&w, d);
}

void sg_route_desc_invert(const struct sg_route_desc *d, struct sg_route_desc *out)
{
	*out = (struct sg_route_desc){d->dst, d->src, d->dst_port, d->src_port};
}

bool sg_route_desc_equal(const struct sg_route_desc *a, const struct sg_route_desc *b)
{
	return memcmp(a->src.b, b->src.b, SG_PK_LEN) == 0 && memcmp(a->dst.b, b->dst.b, SG_PK_LEN) == 0 &&
	       a->src_port == b->src_port && a->dst_port == b->dst_port;
}

/* ---- rules ---- */

static bool has_desc(const struct sg_rule *rule)
{
	return rule->type != SG_RULE_INTERMEDIARY;
}

static bool has_next(const struct sg_rule *rule)
{
	return rule->type != SG_RULE_REVERSE;
}

int sg_rule_decode(struct sg_view in, struct sg_rule *out)
{
	struct sg_reader r = sg_reader(in);
	uint64_t keep_alive;

	*out = (struct sg_rule){0};
	keep_alive = sg_read_u64(&r);
	out->keep_alive_ns = (int64_t)SG_MIN(keep_alive, (uint64_t)INT64_MAX);
	out->type = sg_read_u8(&r);
	out->key = sg_read_u32(&r);
	if (r.err || out->type > SG_RULE_INTERMEDIARY || out->key == 0)
		return SG_EMALF;
	if (has_desc(out))
		read_desc(&r, &out->desc);
	if (has_next(out)) {
		out->next_id = sg_read_u32(&r);
		sg_read_bytes(&r, out->next_tp.b, SG_TPID_LEN);
	}
	return r.err || (has_next(out) && out->next_id == 0) ? SG_EMALF : 0;
}

size_t sg_rule_encode(const struct sg_rule *rule, uint8_t out[SG_RULE_MAX])
{
	static const uint8_t pad[PAD_LEN];
	struct sg_writer w = sg_writer(out, SG_RULE_MAX);

	sg_write_u64(&w, (uint64_t)SG_MAX(rule->keep_alive_ns, (int64_t)0));
	sg_write_u8(&w, rule->type);
	sg_write_u32(&w, rule->key);
	if (has_desc(rule))
		write_desc(&w, &rule->desc);
	if (has_next(rule)) {
		sg_write_u32(&w, rule->next_id);
		sg_write_bytes(&w, rule->next_tp.b, SG_TPID_LEN);
		sg_write_bytes(&w, pad, sizeof(pad));
	}
	return sg_writer_len(&w);
}

int64_t sg_rule_life_ns(const struct sg_rule *rule)
{
	const int64_t min = SG_RULE_LIFE_MIN_MS * SG_NS_PER_MS, max = SG_RULE_LIFE_MAX_MS * SG_NS_PER_MS;

	return SG_MIN(SG_MAX(rule->keep_alive_ns, min), max);
}
