/* Counted buffers with headroom. */
#include "base/buf.h"
#include "base/alloc.h"
#include "base/common.h"

struct sg_buf *sg_buf_new(size_t headroom, size_t room)
{
	struct sg_buf *b;

	if (room > SIZE_MAX / 4 || headroom > SIZE_MAX / 4)
		return NULL;
	b = sg_malloc(sizeof(*b) + headroom + room);
	if (!b)
		return NULL;
	b->refs = 1;
	b->cap = headroom + room;
	b->data = b->base + headroom;
	b->len = 0;
	return b;
}

struct sg_buf *sg_buf_ref(struct sg_buf *b)
{
	b->refs++;
	return b;
}

void sg_buf_unref(struct sg_buf *b)
{
	if (b && --b->refs == 0)
		sg_free(b);
}

size_t sg_buf_headroom(const struct sg_buf *b)
{
	return (size_t)(b->data - b->base);
}

size_t sg_buf_tailroom(const struct sg_buf *b)
{
	return b->cap - sg_buf_headroom(b) - b->len;
}

uint8_t *sg_buf_push(struct sg_buf *b, size_t len)
{
	if (len > sg_buf_headroom(b))
		return NULL;
	b->data -= len;
	b->len += len;
	return b->data;
}

bool sg_buf_pull(struct sg_buf *b, size_t len)
{
	if (len > b->len)
		return false;
	b->data += len;
	b->len -= len;
	return true;
}

uint8_t *sg_buf_put(struct sg_buf *b, size_t len)
{
	uint8_t *p = b->data + b->len;

	if (len > sg_buf_tailroom(b))
		return NULL;
	b->len += len;
	return p;
}

bool sg_buf_append(struct sg_buf *b, const void *p, size_t len)
{
	uint8_t *room = sg_buf_put(b, len);

	if (!room)
		return false;
	if (len)
		memcpy(room, p, len);
	return true;
}

void sg_buf_compact(struct sg_buf *b)
{
	memmove(b->base, b->data, b->len);
	b->data = b->base;
}

struct sg_view sg_buf_view(const struct sg_buf *b)
{
	return (struct sg_view){b->data, b->len};
}
