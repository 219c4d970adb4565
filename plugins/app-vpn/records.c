/*
 * Cutting records and bare packets from a stream of bytes. On a network that keeps records of its own none of ours, and no
 * packet, goes on into the next one: a bad one costs itself.
 */
#include "records.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"

#define ACC_SMALL 2048 /* holds an ordinary packet; a client that rests keeps no more than this */

static bool acc_room(struct records_in *in, size_t need)
{
	size_t cap = need <= ACC_SMALL ? ACC_SMALL : SG_VPN_RECORD_HEAD + SG_VPN_PACKET_MAX;
	uint8_t *p;

	if (need <= in->acc_cap)
		return true;
	p = sg_realloc(in->acc, cap);
	if (!p)
		return false;
	in->acc = p;
	in->acc_cap = cap;
	return true;
}

/* Up to @want bytes in all into acc. False: memory is out. */
static bool gather(struct records_in *in, struct sg_view *data, size_t want)
{
	size_t n = SG_MIN(data->len, want - in->body_len);

	if (!acc_room(in, want))
		return false;
	memcpy(in->acc + in->body_len, data->p, n);
	in->body_len += n;
	data->p += n;
	data->len -= n;
	return true;
}

/* The body of the record under way is complete at @body. */
static int record_end(struct records_in *in, struct sg_view body, records_fn *fn, void *arg)
{
	struct sg_vpn_record r = in->r;

	in->head_len = 0;
	in->body_len = 0;
	if (in->skip || (r.kind == SG_VPN_PACKET && sg_vpn_record_check(&r, body) < 0)) {
		(*in->bad)++;
		return 0;
	}
	return fn(arg, &r, body);
}

static int record_head(struct records_in *in, struct sg_view *data)
{
	size_t n = SG_MIN(data->len, SG_VPN_RECORD_HEAD - in->head_len);
	int err;

	memcpy(in->head + in->head_len, data->p, n);
	in->head_len += n;
	data->p += n;
	data->len -= n;
	if (in->head_len < SG_VPN_RECORD_HEAD)
		return 0;
	err = sg_vpn_record_decode(in->head, &in->r);
	in->skip = err < 0;
	return err == SG_ELONG ? err : 0;
}

static int feed_records(struct records_in *in, struct sg_view data, records_fn *fn, void *arg)
{
	int err;

	for (;;) {
		struct sg_view body = data;

		if (in->head_len < SG_VPN_RECORD_HEAD) {
			err = record_head(in, &data);
			if (err < 0)
				return err;
			if (in->head_len < SG_VPN_RECORD_HEAD)
				return 0;
			continue;
		}
		if (in->skip) {
			size_t n = SG_MIN(data.len, in->r.len - in->body_len);

			in->body_len += n;
			data.p += n;
			data.len -= n;
		} else if (in->body_len == 0 && data.len >= in->r.len) {
			body.len = in->r.len;
			data.p += in->r.len;
			data.len -= in->r.len;
			in->body_len = in->r.len;
		} else {
			if (!gather(in, &data, in->r.len))
				return -ENOMEM;
			body = (struct sg_view){in->acc, in->r.len};
		}
		if (in->body_len < in->r.len)
			return 0;
		err = record_end(in, body, fn, arg);
		if (err)
			return err;
		if (!data.len)
			return 0;
	}
}

static int bare_packet(struct sg_view packet, records_fn *fn, void *arg)
{
	struct sg_vpn_record r = {.kind = SG_VPN_PACKET, .len = (uint32_t)packet.len};

	return fn(arg, &r, packet);
}

static int feed_bare(struct records_in *in, struct sg_view data, records_fn *fn, void *arg)
{
	int err;

	while (data.len || in->body_len) {
		struct sg_view front = in->body_len ? (struct sg_view){in->acc, in->body_len} : data;
		int len = sg_ip_length(front);

		if (len < 0)
			return len;
		if (!in->body_len && len && (size_t)len <= data.len) {
			err = bare_packet((struct sg_view){data.p, (size_t)len}, fn, arg);
			data.p += len;
			data.len -= (size_t)len;
		} else if (len && (size_t)len == in->body_len) {
			in->body_len = 0;
			err = bare_packet(front, fn, arg);
		} else if (!data.len) {
			return 0;
		} else {
			/* The length stands within the first six bytes: get so far, then to the end of the packet. */
			err = gather(in, &data, len ? (size_t)len : in->body_len + 1) ? 0 : -ENOMEM;
		}
		if (err)
			return err;
	}
	return 0;
}

static int feed_one(struct records_in *in, struct sg_view data, records_fn *fn, void *arg)
{
	int len = sg_ip_length(data);

	if (len > 0 && (size_t)len <= data.len)
		return bare_packet((struct sg_view){data.p, (size_t)len}, fn, arg);
	(*in->bad)++;
	return 0;
}

/* A record in one piece. */
static int whole_record(struct records_in *in, struct sg_view data, records_fn *fn, void *arg)
{
	if (data.len < SG_VPN_RECORD_HEAD || sg_vpn_record_decode(data.p, &in->r) < 0 ||
		in->r.len != data.len - SG_VPN_RECORD_HEAD) {
		(*in->bad)++;
		return 0;
	}
	return record_end(in, (struct sg_view){data.p + SG_VPN_RECORD_HEAD, in->r.len}, fn, arg);
}

static int feed_part(struct records_in *in, struct sg_view data, records_fn *fn, void *arg)
{
	struct sg_view body = {data.p + SG_VPN_RECORD_HEAD, data.len - SG_VPN_RECORD_HEAD};
	struct sg_vpn_part p, *next = &in->part;
	bool good = sg_vpn_part_decode(data.p, body.len, &p) == 0;

	if (next->total && (!good || p.number != next->number || p.total != next->total || p.offset != next->offset)) {
		next->total = 0;
		(*in->bad)++; /* the rest of it was lost */
	}
	if (!good || (!next->total && p.offset)) {
		(*in->bad)++;
		return 0;
	}
	if (!acc_room(in, p.total))
		return -ENOMEM;
	memcpy(in->acc + p.offset, body.p, body.len);
	*next = p;
	next->offset += (uint32_t)body.len;
	if (next->offset < next->total)
		return 0;
	next->total = 0;
	return whole_record(in, (struct sg_view){in->acc, p.total}, fn, arg);
}

/* One of ours in one of the network's. */
static int feed_whole(struct records_in *in, struct sg_view data, records_fn *fn, void *arg)
{
	if (data.len >= SG_VPN_RECORD_HEAD && data.p[0] == SG_VPN_PART)
		return feed_part(in, data, fn, arg);
	return whole_record(in, data, fn, arg);
}

int records_feed(struct records_in *in, struct sg_view data, records_fn *fn, void *arg)
{
	if (!data.len)
		return 0;
	if (in->whole)
		return (in->rec ? feed_whole : feed_one)(in, data, fn, arg);
	return in->rec ? feed_records(in, data, fn, arg) : feed_bare(in, data, fn, arg);
}

void records_rest(struct records_in *in)
{
	if (in->acc_cap > ACC_SMALL && in->body_len == 0 && !in->part.total)
		records_fini(in);
}

void records_fini(struct records_in *in)
{
	sg_free(in->acc);
	in->acc = NULL;
	in->acc_cap = 0;
}
