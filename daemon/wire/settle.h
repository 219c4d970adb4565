/*
 * Settlement: the first thing inside Noise. The dialler sends a signed entry as a JSON line, the other end answers
 * with one byte. Our mark, "skygate":1, is a member that others ignore; it is never registered anywhere.
 */
#ifndef SG_WIRE_SETTLE_H
#define SG_WIRE_SETTLE_H

#include "base/limits.h"
#include "crypto/keys.h"

enum sg_settle_answer { SG_SETTLE_FAIL = 0, SG_SETTLE_OK = 1, SG_SETTLE_SIG = 2, SG_SETTLE_INVALID = 3 };

struct sg_entry {
	struct sg_tpid id;
	struct sg_pk edges[2];
	char type[16];
	char label[24];
};

struct sg_signed_entry {
	struct sg_entry entry;
	struct sg_sig sigs[2];
	bool marked; /* carries our mark */
};

#define SG_ENTRY_BINARY_MAX (SG_TPID_LEN + 2 * SG_PK_LEN + 15)

SG_BEGIN_DECLS

/** sg_entry_make - the entry of a transport of @type between two keys, label "user". SG_ELONG: type too long. */
int sg_entry_make(const struct sg_pk *a, const struct sg_pk *b, const char *type, struct sg_entry *out);
/** sg_entry_binary - the signed bytes: id | edge 0 | edge 1 | type. Returns their length. */
size_t sg_entry_binary(const struct sg_entry *e, uint8_t out[SG_ENTRY_BINARY_MAX]);
/** sg_entry_sign - fills the slot of @sk's key. 0, SG_EKEY or SG_ESIG. For a self transport slot 0. */
int sg_entry_sign(const struct sg_crypto *c, const struct sg_sk *sk, const uint8_t *k, struct sg_signed_entry *e);
/** sg_entry_verify - the signature in the slot of @pk. 0, SG_ESIG or SG_EKEY. */
int sg_entry_verify(const struct sg_crypto *c, const struct sg_signed_entry *e, const struct sg_pk *pk);

/** sg_settle_encode - JSON object without newline (registration) or with (@line: settlement). Length or SG_ELONG. */
int sg_settle_encode(const struct sg_signed_entry *e, bool line, char *out, size_t cap);
/**
 * sg_settle_decode - from the front of a byte run. Bytes used (the newline too when it is there), 0 if more are
 * needed, SG_EMALF, SG_EKEY or SG_ELONG. Unknown members are ignored, a missing signature is null.
 */
int sg_settle_decode(const struct sg_crypto *c, struct sg_view in, struct sg_signed_entry *out);
/** sg_settle_check - id, edges and type as computed from our and their key, their signature valid. 0, SG_EMALF, SG_ESIG. */
int sg_settle_check(const struct sg_crypto *c, const struct sg_signed_entry *e, const struct sg_pk *own,
	const struct sg_pk *remote, const char *type);

/** sg_entry_encode - the bare entry as a JSON object. Length or SG_ELONG. */
int sg_entry_encode(const struct sg_entry *e, char *out, size_t cap);
/**
 * sg_entry_list_decode - an array of bare entries, or null: at most @max of those whose id, edges and type belong together.
 * Their number or SG_EMALF.
 */
int sg_entry_list_decode(const struct sg_crypto *c, struct sg_view in, struct sg_entry *out, size_t max);

SG_END_DECLS
#endif
