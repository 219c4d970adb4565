/* Lower-case hexadecimal; either case is read. */
#ifndef SG_BASE_HEX_H
#define SG_BASE_HEX_H

#include <skygate/types.h>

SG_BEGIN_DECLS

/** sg_hex_format - writes 2 * len digits and a NUL to @out (cap 2 * len + 1 at least, else "" ). Returns @out. */
char *sg_hex_format(const void *in, size_t len, char *out, size_t cap);

/** sg_hex_parse - exactly 2 * @len digits from @text (@text_len bytes) to @out. 0 or SG_EMALF. */
int sg_hex_parse(const char *text, size_t text_len, void *out, size_t len);

#define SG_PK_TEXT   (2 * SG_PK_LEN + 1)
#define SG_PK_SHORT  16 /* "02727bc7…ed5f", its ellipsis is three bytes */
#define SG_TPID_TEXT 37

/** sg_pk_str - 66 digits. @buf has SG_PK_TEXT bytes. Returns @buf. */
char *sg_pk_str(const struct sg_pk *pk, char buf[SG_PK_TEXT]);
/** sg_pk_short - 8 + 4 digits, for people. @buf has SG_PK_SHORT bytes. Returns @buf. */
char *sg_pk_short(const struct sg_pk *pk, char buf[SG_PK_SHORT]);
/** sg_tpid_str - 8-4-4-4-12. @buf has SG_TPID_TEXT bytes. Returns @buf. */
char *sg_tpid_str(const struct sg_tpid *id, char buf[SG_TPID_TEXT]);
/** sg_tpid_parse - canonical form only, either case. 0 or SG_EMALF. */
int sg_tpid_parse(const char *text, size_t text_len, struct sg_tpid *out);

bool sg_tpid_equal(const struct sg_tpid *a, const struct sg_tpid *b);
bool sg_pk_equal(const struct sg_pk *a, const struct sg_pk *b);
bool sg_pk_is_null(const struct sg_pk *pk);
/** sg_pk_cmp - order of the keys as big-endian numbers: <0, 0, >0. */
int sg_pk_cmp(const struct sg_pk *a, const struct sg_pk *b);

SG_END_DECLS
#endif
