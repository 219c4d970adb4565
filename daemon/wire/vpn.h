/*
 * The VPN application: one hello each way as JSON, then IP packets: bare ones cut by their own length, or, when both
 * hellos carry "skygate":{"v":1,"rec":1}, records with 16 bytes in front. On a network whose own records are too narrow for
 * a super-packet, ends that say "parts":1 as well send its record, head and all, in numbered parts. Ends that say "uso":1 take super-packets
 * of UDP besides those of TCP.
 */
#ifndef SG_WIRE_VPN_H
#define SG_WIRE_VPN_H

#include "base/limits.h"
#include "wire/json.h"

enum sg_vpn_status {
	SG_VPN_OK = 0,
	SG_VPN_BAD_REQUEST = 1,
	SG_VPN_NO_FREE_IPS = 2,
	SG_VPN_INTERNAL = 3,
	SG_VPN_FORBIDDEN = 4
};

#define SG_VPN_IPS_MAX      256
#define SG_VPN_PASSCODE_MAX 128

struct sg_vpn_client_hello {
	size_t n_ips;
	uint32_t ips[SG_VPN_IPS_MAX]; /* host order: addresses that the server must not hand out */
	bool null_ips;                /* there is no list: null, which Go writes for an empty one */
	bool bad_ip;                  /* an entry was no IPv4 address: the server answers status 1 */
	bool passcode_long;           /* more than we keep: it equals no passcode of ours */
	char passcode[SG_VPN_PASSCODE_MAX + 1];
	bool rec; /* our records are understood */
	/* Decoded only, for who says rec says these: */
	bool parts; /* records in parts */
	bool uso;   /* super-packets of UDP */
};

struct sg_vpn_server_hello {
	int status;
	uint32_t tun_ip, tun_gateway; /* host order; 0: absent */
	bool rec, parts, uso;
};

/* Gathers a hello from what a stream delivers. All zero bytes is an empty one. */
struct sg_vpn_hello_in {
	size_t len;
	uint8_t b[SG_VPN_HELLO_MAX];
	struct sg_json_scan scan;
};

enum sg_vpn_record_kind { SG_VPN_PACKET = 0, SG_VPN_PROBE = 1, SG_VPN_ANSWER = 2, SG_VPN_BYE = 3, SG_VPN_PART = 4 };
enum { SG_VPN_F_NEEDS_CSUM = 1 };

/* Values of struct virtio_net_hdr that pass between our ends; named here because not every libc ships that header. */
enum { SG_GSO_NONE = 0, SG_GSO_TCP4 = 1, SG_GSO_TCP6 = 4, SG_GSO_UDP = 5, SG_GSO_ECN = 0x80 };

#define SG_VPN_GSO_SIZE_MIN 48  /* bytes of payload in a segment of TCP; Linux never sends less (own) */
#define SG_VPN_USO_MAX      128 /* datagrams of one super-packet, as Linux makes them (own) */

/* gso, hdr_len … csum_offset mean what they mean in virtio_net_hdr. */
struct sg_vpn_record {
	uint8_t kind, flags, gso;
	uint32_t len; /* of the body that follows */
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
};

/* What is in front of a part, as many bytes as in front of a record. */
struct sg_vpn_part {
	uint32_t number; /* of the record */
	uint32_t total;  /* its bytes, with its own head */
	uint32_t offset; /* where this part begins */
};

SG_BEGIN_DECLS

/* Encoders: compact JSON without newline. Length or SG_ELONG (1,024 or more). Members of ours only when rec. */
int sg_vpn_client_hello_encode(const struct sg_vpn_client_hello *h, char *out, size_t cap);
int sg_vpn_server_hello_encode(const struct sg_vpn_server_hello *h, char *out, size_t cap);
/*
 * Decoders: from the front of a byte run. Bytes used, 0 if more are needed, SG_EMALF, SG_ELONG (above
 * SG_VPN_HELLO_MAX). White space behind the value is used too: neither packets nor records begin with it.
 */
int sg_vpn_client_hello_decode(struct sg_view in, struct sg_vpn_client_hello *out);
int sg_vpn_server_hello_decode(struct sg_view in, struct sg_vpn_server_hello *out);

/**
 * sg_vpn_client_hello_status - what a server with that passcode ("": none) answers, before it looks for an address:
 * forbidden, then bad request, as the Go server. Takes as long for a wrong passcode as for the right one.
 */
enum sg_vpn_status sg_vpn_client_hello_status(
	const struct sg_vpn_client_hello *h, const char passcode[SG_VPN_PASSCODE_MAX + 1]);
/**
 * sg_vpn_hello_take - adds one piece that arrived; *used of its bytes belong to the hello.
 * @records: the network keeps records. Then the hello ends, as the Go reader has it, with the first record whose
 * length is no multiple of 1,024, and must fill it; otherwise it ends where its JSON value ends.
 * 1: complete, h->b and h->len are one JSON object; 0: more is needed; SG_EMALF, SG_ELONG.
 */
int sg_vpn_hello_take(struct sg_vpn_hello_in *h, bool records, struct sg_view in, size_t *used);

void sg_vpn_record_encode(const struct sg_vpn_record *r, uint8_t out[SG_VPN_RECORD_HEAD]);
/**
 * sg_vpn_record_decode - the head only. 0; SG_EMALF when kind, flags, gso type or reserved byte are unknown (the body
 * can still be skipped by len); SG_ELONG when len exceeds 65,535 (the stream cannot be followed further).
 */
int sg_vpn_record_decode(const uint8_t in[SG_VPN_RECORD_HEAD], struct sg_vpn_record *out);

void sg_vpn_part_encode(const struct sg_vpn_part *p, uint8_t out[SG_VPN_RECORD_HEAD]);
/** sg_vpn_part_decode - a part of @len bytes behind its head. 0 or SG_EMALF: it is none, or does not lie within its record. */
int sg_vpn_part_decode(const uint8_t in[SG_VPN_RECORD_HEAD], size_t len, struct sg_vpn_part *out);

/** sg_vpn_record_check - every offset of a packet record against the packet itself. 0 or SG_EMALF. */
int sg_vpn_record_check(const struct sg_vpn_record *r, struct sg_view packet);

/** sg_ip_length - total length of the IP packet at the front; 0 if more bytes are needed, SG_EMALF when it is none. */
int sg_ip_length(struct sg_view in);

SG_END_DECLS
#endif
