/*
 * Entries of the dmsg discovery: who is a client of which servers, where a server listens. Signed over their own compact
 * JSON without the signature, members in a fixed order. Source: daemon/doc/wire.md, "Discovery entries".
 */
#ifndef SG_WIRE_ENTRY_H
#define SG_WIRE_ENTRY_H

#include "crypto/keys.h"
#include "wire/json.h"

#define SG_ENTRY_SERVERS_MAX 64
#define SG_ENTRY_JSON_MAX    8192

struct sg_disc_entry_full {
	char version[16];
	uint64_t sequence;
	int64_t timestamp; /* Unix nanoseconds */
	struct sg_pk pk;   /* "static" */
	bool is_client, servers_null;
	size_t n_servers;
	struct sg_pk servers[SG_ENTRY_SERVERS_MAX]; /* delegated */
	char client_type[32];
	bool is_server;
	char address[128];
	int64_t available;
	char server_type[128];
	bool has_sig;
	struct sg_sig sig;
};

SG_BEGIN_DECLS

/** sg_disc_entry_decode - one JSON object; unknown members are ignored. 0, SG_EMALF, SG_EKEY, SG_ELONG or -ENOMEM. */
int sg_disc_entry_decode(const struct sg_crypto *c, const json_t *obj, struct sg_disc_entry_full *out);
/** sg_disc_entry_encode - compact JSON, with its signature or without. Length or SG_ELONG. */
int sg_disc_entry_encode(const struct sg_disc_entry_full *e, bool with_sig, char *out, size_t cap);
/** sg_disc_entry_sign - fills the signature. 0, SG_EKEY, SG_ESIG or SG_ELONG. */
int sg_disc_entry_sign(const struct sg_crypto *c, const struct sg_sk *sk, struct sg_disc_entry_full *e);
/**
 * sg_disc_entry_verify - over the canonical form, and if that fails over @text itself (may be empty) with the member
 * "signature" cut out: newer peers sign members that this reader does not know. 0 or SG_ESIG.
 */
int sg_disc_entry_verify(const struct sg_crypto *c, const struct sg_disc_entry_full *e, struct sg_view text);

SG_END_DECLS
#endif
