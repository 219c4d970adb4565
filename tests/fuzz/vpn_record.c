/*
 * The data phase: the first byte chooses the form and how the rest is cut into pieces. The same records must come out
 * of pieces as out of the whole; the pieces as records of a network harm nobody; a good packet record can be cut into segments and its checksum be finished.
 */
#include "base/common.h"
#include "base/err.h"
#include "fuzz.h"
#include "gso.h"
#include "records.h"

#include <stdlib.h>

struct seen {
	size_t n, bytes, segments;
	uint64_t hash;
	bool work; /* on a copy, as the daemon does */
};

static int on_segment(void *arg, struct sg_view s)
{
	struct seen *seen = arg;

	must(sg_ip_length(s) == (int)s.len);
	seen->segments++;
	return 0;
}

static void work(struct seen *s, const struct sg_vpn_record *r, struct sg_view body)
{
	static uint8_t packet[SG_VPN_PACKET_MAX], scratch[SG_VPN_PACKET_MAX];

	memcpy(packet, body.p, body.len);
	if (r->gso)
		must(gso_cut(r, (struct sg_view){packet, body.len}, 0, scratch, on_segment, s) == 0);
	else if (r->flags)
		gso_csum(r, packet, body.len);
}

static int on_record(void *arg, const struct sg_vpn_record *r, struct sg_view body)
{
	struct seen *s = arg;

	must(body.len == r->len);
	s->n++;
	s->bytes += body.len;
	s->hash = (s->hash ^ r->kind) * 1099511628211U;
	for (size_t i = 0; i < body.len; i++)
		s->hash = (s->hash ^ body.p[i]) * 1099511628211U;
	if (r->kind == SG_VPN_PACKET) {
		must(sg_ip_length(body) == (int)body.len);
		if (s->work)
			work(s, r, body);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {.work = true}, cut = {0}, apart = {0};
	uint64_t bad = 0, bad_pieces = 0, bad_alone = 0;
	struct records_in in = {.bad = &bad}, pieces = {.bad = &bad_pieces}, alone = {.whole = true, .bad = &bad_alone};
	size_t step;
	int err, last = 0;

	if (size < 2)
		return 0;
	in.rec = pieces.rec = alone.rec = data[0] & 1;
	step = 1 + (data[0] >> 1);
	data++;
	size--;
	err = records_feed(&in, (struct sg_view){data, size}, on_record, &whole);
	must(whole.bytes <= size);
	for (size_t at = 0; at < size && last == 0; at += step) {
		size_t n = SG_MIN(step, size - at);
		uint8_t *piece = malloc(n); /* so that a read beyond the piece is seen */

		must(piece != NULL);
		memcpy(piece, data + at, n);
		last = records_feed(&pieces, (struct sg_view){piece, n}, on_record, &cut);
		free(piece);
	}
	for (size_t at = 0; at < size; at += step)
		must(records_feed(&alone, (struct sg_view){data + at, SG_MIN(step, size - at)}, on_record, &apart) ==
			0);
	must(apart.bytes <= size);
	must(last == err && cut.n == whole.n && cut.hash == whole.hash && bad_pieces == bad);
	records_rest(&in);
	records_fini(&in);
	records_fini(&pieces);
	records_fini(&alone);
	return 0;
}
