/*
 * Leases over a restart: an address stays with its key for SG_VPN_LEASE_KEEP_MS, also when core ends meanwhile, so that a
 * client that returns keeps its flows. In the store: "lease/KEY" → block u32; while the client is here without an end, from its
 * leaving on for that time.
 */
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/hex.h"
#include "server.h"

SG_LOG_TOPIC("vpn");

#define SPACE    "lease/"
#define KEY_LEN  (sizeof(SPACE) - 1 + 2 * SG_PK_LEN)
#define KEEP_TTL (SG_VPN_LEASE_KEEP_MS / 1000)

static struct sg_view text_view(const char *text)
{
	return (struct sg_view){(const uint8_t *)text, strlen(text)};
}

static void keep(struct server *s, const struct lease *l, int64_t ttl_s)
{
	char key[KEY_LEN + 1] = SPACE;
	uint8_t block[4];
	struct sg_store_change c = {.value = {block, sizeof(block)}, .ttl_s = ttl_s};
	int err;

	sg_put_u32(block, l->block);
	sg_pk_str(&l->pk, key + sizeof(SPACE) - 1);
	c.key = text_view(key);
	err = s->v->host->store_write(s->v->inst, &c, 1, 0, NULL, NULL);
	if (err < 0)
		log_debug("a lease is not kept: %s", sg_strerror(err));
}

void kept_held(struct server *s, const struct lease *l)
{
	keep(s, l, 0);
}

void kept_left(struct server *s, const struct lease *l)
{
	keep(s, l, KEEP_TTL);
}

static void take(struct server *s, const struct sg_store_pair *p)
{
	const size_t skip = sizeof(SPACE) - 1;
	struct lease *l;
	struct sg_pk pk;

	if (p->key.len != KEY_LEN || p->value.len != 4 ||
		sg_hex_parse((const char *)p->key.p + skip, p->key.len - skip, pk.b, sizeof(pk.b)) < 0)
		return;
	l = lease_restore(&s->leases, &pk, sg_get_u32(p->value.p), server_now_ms(s));
	/* Its client is not here now, whatever it was when this was written. */
	if (l)
		kept_left(s, l);
}

static void on_pairs(void *arg, int err, const struct sg_store_pair *pairs, size_t n, bool more)
{
	struct server *s = arg;
	uint8_t from[SG_STORE_KEY_MAX + 1];
	size_t len;

	if (err < 0) {
		log_warn("server: the leases of before cannot be read: %s", sg_strerror(err));
		return;
	}
	if (!s->tun)
		return;
	for (size_t i = 0; i < n; i++)
		take(s, &pairs[i]);
	if (!more)
		return;
	len = pairs[n - 1].key.len;
	memcpy(from, pairs[n - 1].key.p, len);
	from[len] = 0;
	(void)s->v->host->store_scan(
		s->v->inst, text_view(SPACE), (struct sg_view){from, len + 1}, SG_STORE_PAGE_MAX, on_pairs, s);
}

void kept_load(struct server *s)
{
	(void)s->v->host->store_scan(
		s->v->inst, text_view(SPACE), (struct sg_view){NULL, 0}, SG_STORE_PAGE_MAX, on_pairs, s);
}

void kept_stop(struct server *s)
{
	s->v->host->store_cancel(s->v->inst, s);
}
