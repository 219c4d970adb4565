/* Transport ids: a hash over both keys and the type, dressed as a UUID. */
#include "wire/tpid.h"
#include "base/common.h"
#include "base/hex.h"
#include "crypto/crypto.h"

void sg_edges_sort(const struct sg_pk *a, const struct sg_pk *b, struct sg_pk edges[2])
{
	/* @edges may hold one of the arguments. */
	const struct sg_pk first = sg_pk_cmp(a, b) <= 0 ? *a : *b, second = sg_pk_cmp(a, b) <= 0 ? *b : *a;

	edges[0] = first;
	edges[1] = second;
}

void sg_tpid_make(const struct sg_pk *a, const struct sg_pk *b, const char *type, struct sg_tpid *out)
{
	static const uint8_t name_space[16];
	struct sg_pk edges[2];
	uint8_t hash[32];

	sg_edges_sort(a, b, edges);
	sg_sha256((const struct sg_view[]){{name_space, sizeof(name_space)}, {edges[0].b, SG_PK_LEN},
			  {edges[1].b, SG_PK_LEN}, {(const uint8_t *)type, strlen(type)}},
		4, hash);
	memcpy(out->b, hash, SG_TPID_LEN);
	out->b[6] &= 0x0f;                              /* version 0 */
	out->b[8] = (uint8_t)(out->b[8] & 0x3f) | 0x80; /* the RFC 4122 variant */
}
