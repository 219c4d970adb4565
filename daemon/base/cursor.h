/*
 * Byte cursors with a sticky error: a parser reads like the format it parses and checks once, at the end.
 * After the first short read (or write) every further one yields zeros (or does nothing) and err stays set.
 * All integers are big endian; the few little-endian ones of the protocol say _le.
 */
#ifndef SG_BASE_CURSOR_H
#define SG_BASE_CURSOR_H

#include <skygate/types.h>

struct sg_reader {
	const uint8_t *p, *end;
	bool err;
};

struct sg_writer {
	uint8_t *start, *p, *end;
	bool err;
};

SG_BEGIN_DECLS

struct sg_reader sg_reader(struct sg_view in);
size_t sg_reader_left(const struct sg_reader *r);
uint8_t sg_read_u8(struct sg_reader *r);
uint16_t sg_read_u16(struct sg_reader *r);
uint32_t sg_read_u32(struct sg_reader *r);
uint64_t sg_read_u64(struct sg_reader *r);
/** sg_read_view - the next @len bytes, borrowed from the input; {NULL, 0} when they are not there. */
struct sg_view sg_read_view(struct sg_reader *r, size_t len);
/** sg_read_bytes - copies @len bytes to @out; zeros when they are not there. */
void sg_read_bytes(struct sg_reader *r, void *out, size_t len);
/** sg_reader_done - true when nothing failed and nothing is left. */
bool sg_reader_done(const struct sg_reader *r);

struct sg_writer sg_writer(void *out, size_t cap);
void sg_write_u8(struct sg_writer *w, uint8_t v);
void sg_write_u16(struct sg_writer *w, uint16_t v);
void sg_write_u32(struct sg_writer *w, uint32_t v);
void sg_write_u64(struct sg_writer *w, uint64_t v);
void sg_write_bytes(struct sg_writer *w, const void *in, size_t len);
size_t sg_writer_len(const struct sg_writer *w);

/* Fixed places in a buffer whose size the caller has checked. */
uint16_t sg_get_u16(const uint8_t *p);
uint32_t sg_get_u32(const uint8_t *p);
uint64_t sg_get_u64(const uint8_t *p);
void sg_put_u16(uint8_t *p, uint16_t v);
void sg_put_u32(uint8_t *p, uint32_t v);
void sg_put_u64(uint8_t *p, uint64_t v);
void sg_put_u64_le(uint8_t *p, uint64_t v);

SG_END_DECLS
#endif
