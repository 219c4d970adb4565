/*
 * Frames, in place. A frame that fails leaves the reader where the existing implementation leaves it: the counter is
 * remembered before anybody knows whether the frame is genuine. That does no harm, for every error ends the link.
 */
#include "crypto/frame.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"

#define COUNTER_LEN 8
#define OVERHEAD    (COUNTER_LEN + SG_FRAME_TAG) /* of what the prefix counts */
#define PREFIX_LEN  2

int sg_frame_key_init(struct sg_frame_key *k, const struct sg_aead_ops *ops, const uint8_t key[SG_AEAD_KEY_LEN])
{
	*k = (struct sg_frame_key){.ops = ops, .key = ops->new_key(key)};
	return k->key ? 0 : -ENOMEM;
}

void sg_frame_key_fini(struct sg_frame_key *k)
{
	if (k->ops)
		k->ops->free_key(k->key);
	*k = (struct sg_frame_key){0};
}

/* Returns where the plaintext lies. */
static uint8_t *put_head(struct sg_frame_key *tx, uint8_t *slot, size_t len)
{
	tx->counter++;
	sg_put_u16(slot, (uint16_t)(len + OVERHEAD));
	sg_put_u64(slot + PREFIX_LEN, tx->counter);
	return slot + SG_FRAME_HEAD;
}

size_t sg_frame_seal(struct sg_frame_key *tx, uint8_t *slot, size_t len)
{
	uint8_t *body = put_head(tx, slot, len);

	tx->ops->seal(tx->key, tx->counter, (struct sg_view){0}, body, len, body);
	return SG_FRAME_HEAD + len + SG_FRAME_TAG;
}

size_t sg_frame_seal_behind(struct sg_frame_key *tx, uint8_t *slot, size_t len)
{
	uint8_t *body = put_head(tx, slot, len);

	tx->ops->seal_behind(tx->key, tx->counter, (struct sg_view){0}, body, len);
	return SG_FRAME_HEAD + len + SG_FRAME_TAG;
}

int sg_frame_open(struct sg_frame_key *rx, struct sg_view in, uint8_t *out, size_t *out_len)
{
	uint64_t counter;
	size_t len;
	int ret;

	*out_len = 0;
	if (in.len < PREFIX_LEN)
		return 0;
	len = sg_get_u16(in.p);
	if (len > SG_FRAME_PREFIX_MAX)
		return SG_ELONG;
	if (len < OVERHEAD)
		return SG_EMALF;
	if (in.len < PREFIX_LEN + len)
		return 0;
	counter = sg_get_u64(in.p + PREFIX_LEN);
	if (counter <= rx->counter)
		return SG_EREPLAY;
	rx->counter = counter;
	ret = rx->ops->open(rx->key, counter, (struct sg_view){0}, in.p + SG_FRAME_HEAD, len - OVERHEAD, out);
	if (ret < 0)
		return ret;
	*out_len = len - OVERHEAD;
	return (int)(PREFIX_LEN + len);
}
