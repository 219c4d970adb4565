/*
 * Counted buffers with headroom: one buffer from socket to socket, encapsulation is a push in front, not a copy.
 *
 *	base          data            data+len       base+cap
 *	 | headroom    | len bytes     | tailroom     |
 *
 * The header, the counter and the bytes are one allocation. A buffer belongs to one loop; the count is not atomic.
 */
#ifndef SG_BASE_BUF_H
#define SG_BASE_BUF_H

#include <skygate/types.h>

struct sg_buf {
	uint32_t refs;
	size_t cap;
	uint8_t *data;
	size_t len;
	uint8_t base[];
};

SG_BEGIN_DECLS

/** sg_buf_new - empty buffer: @headroom in front, @room for data behind. NULL when memory is out. Returns new. */
struct sg_buf *sg_buf_new(size_t headroom, size_t room);
struct sg_buf *sg_buf_ref(struct sg_buf *b);
/** sg_buf_unref - frees at zero. Accepts NULL. */
void sg_buf_unref(struct sg_buf *b);

size_t sg_buf_headroom(const struct sg_buf *b);
size_t sg_buf_tailroom(const struct sg_buf *b);
/** sg_buf_push - makes room of @len bytes in front and returns it; NULL when there is no headroom. */
uint8_t *sg_buf_push(struct sg_buf *b, size_t len);
/** sg_buf_pull - drops @len bytes at the front; false when there are fewer. */
bool sg_buf_pull(struct sg_buf *b, size_t len);
/** sg_buf_put - extends by @len bytes at the end and returns them; NULL when there is no tailroom. */
uint8_t *sg_buf_put(struct sg_buf *b, size_t len);
/** sg_buf_append - copies to the end; false when there is no tailroom. */
bool sg_buf_append(struct sg_buf *b, const void *p, size_t len);
/** sg_buf_compact - moves the data to the front of the allocation: all room is then at the end. */
void sg_buf_compact(struct sg_buf *b);
struct sg_view sg_buf_view(const struct sg_buf *b);

SG_END_DECLS
#endif
