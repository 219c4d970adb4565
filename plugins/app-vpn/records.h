/*
 * The data phase as a byte stream: cuts what arrives into records, or into IP packets toward an end that has no
 * records. A packet that arrived whole is handed on where it lies; one that did not is gathered. A network with records of
 * its own may lose some of them, and with a part its record is lost.
 */
#ifndef VPN_RECORDS_H
#define VPN_RECORDS_H

#include "wire/vpn.h"

struct records_in {
	bool rec;
	bool whole; /* the network keeps records: each call brings one */
	bool skip;  /* the body under way belongs to a bad record */
	uint8_t head[SG_VPN_RECORD_HEAD];
	size_t head_len;         /* of the head under way */
	struct sg_vpn_record r;  /* when head_len is SG_VPN_RECORD_HEAD */
	size_t body_len;         /* gathered in acc, or skipped */
	struct sg_vpn_part part; /* which comes next; total 0: none is under way */
	uint8_t *acc;
	size_t acc_cap;
	uint64_t *bad; /* borrowed counter: records dropped */
};

/*
 * One good record: kind PACKET has been checked against its packet; without records only PACKET comes and all its
 * other fields are 0. @body is borrowed. Not 0: the cutter was freed, feeding ends with that value.
 */
typedef int records_fn(void *arg, const struct sg_vpn_record *r, struct sg_view body);

/**
 * records_feed - 0; SG_EMALF or SG_ELONG when the stream cannot be followed any more; -ENOMEM; or what @fn returned,
 * and then @in is not touched again.
 */
int records_feed(struct records_in *in, struct sg_view data, records_fn *fn, void *arg);
/** records_rest - nothing more arrives for now: gives back a big buffer that holds nothing. */
void records_rest(struct records_in *in);
void records_fini(struct records_in *in);

#endif
