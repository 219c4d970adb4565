/* Byte cursors: bounds live here and nowhere else. */
#include "base/cursor.h"
#include "base/common.h"

uint16_t sg_get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t sg_get_u32(const uint8_t *p)
{
	return (uint32_t)sg_get_u16(p) << 16 | sg_get_u16(p + 2);
}

uint64_t sg_get_u64(const uint8_t *p)
{
	return (uint64_t)sg_get_u32(p) << 32 | sg_get_u32(p + 4);
}

void sg_put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void sg_put_u32(uint8_t *p, uint32_t v)
{
	sg_put_u16(p, (uint16_t)(v >> 16));
	sg_put_u16(p + 2, (uint16_t)v);
}

void sg_put_u64(uint8_t *p, uint64_t v)
{
	sg_put_u32(p, (uint32_t)(v >> 32));
	sg_put_u32(p + 4, (uint32_t)v);
}

void sg_put_u64_le(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

struct sg_reader sg_reader(struct sg_view in)
{
	return (struct sg_reader){.p = in.p, .end = in.p ? in.p + in.len : in.p};
}

size_t sg_reader_left(const struct sg_reader *r)
{
	return r->err ? 0 : (size_t)(r->end - r->p);
}

static const uint8_t *take(struct sg_reader *r, size_t len)
{
	const uint8_t *p = r->p;

	if (r->err || len > (size_t)(r->end - r->p)) {
		r->err = true;
		return NULL;
	}
	if (len)
		r->p += len;
	return p;
}

uint8_t sg_read_u8(struct sg_reader *r)
{
	const uint8_t *p = take(r, 1);

	return p ? p[0] : 0;
}

uint16_t sg_read_u16(struct sg_reader *r)
{
	const uint8_t *p = take(r, 2);

	return p ? sg_get_u16(p) : 0;
}

uint32_t sg_read_u32(struct sg_reader *r)
{
	const uint8_t *p = take(r, 4);

	return p ? sg_get_u32(p) : 0;
}

uint64_t sg_read_u64(struct sg_reader *r)
{
	const uint8_t *p = take(r, 8);

	return p ? sg_get_u64(p) : 0;
}

struct sg_view sg_read_view(struct sg_reader *r, size_t len)
{
	const uint8_t *p = take(r, len);

	return (struct sg_view){p, p ? len : 0};
}

void sg_read_bytes(struct sg_reader *r, void *out, size_t len)
{
	const uint8_t *p = take(r, len);

	if (!len)
		return;
	if (p)
		memcpy(out, p, len);
	else
		memset(out, 0, len);
}

bool sg_reader_done(const struct sg_reader *r)
{
	return !r->err && r->p == r->end;
}

struct sg_writer sg_writer(void *out, size_t cap)
{
	return (struct sg_writer){.start = out, .p = out, .end = (uint8_t *)out + cap};
}

static uint8_t *place(struct sg_writer *w, size_t len)
{
	uint8_t *p = w->p;

	if (w->err || len > (size_t)(w->end - w->p)) {
		w->err = true;
		return NULL;
	}
	w->p += len;
	return p;
}

void sg_write_u8(struct sg_writer *w, uint8_t v)
{
	uint8_t *p = place(w, 1);

	if (p)
		p[0] = v;
}

void sg_write_u16(struct sg_writer *w, uint16_t v)
{
	uint8_t *p = place(w, 2);

	if (p)
		sg_put_u16(p, v);
}

void sg_write_u32(struct sg_writer *w, uint32_t v)
{
	uint8_t *p = place(w, 4);

	if (p)
		sg_put_u32(p, v);
}

void sg_write_u64(struct sg_writer *w, uint64_t v)
{
	uint8_t *p = place(w, 8);

	if (p)
		sg_put_u64(p, v);
}

void sg_write_bytes(struct sg_writer *w, const void *in, size_t len)
{
	uint8_t *p = place(w, len);

	if (p && len)
		memcpy(p, in, len);
}

size_t sg_writer_len(const struct sg_writer *w)
{
	return (size_t)(w->p - w->start);
}
