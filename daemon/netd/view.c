/* What was read from the kernel, and prefixes. */
#include "netd/kernel.h"
#include "base/alloc.h"
#include "base/err.h"

#include <arpa/inet.h>

int k_push(void *array, size_t *n, size_t size, const void *item)
{
	unsigned char *p;

	memcpy(&p, array, sizeof(p));
	/* The room is the next power of two, so it need not be remembered. */
	if ((*n & (*n - 1)) == 0) {
		p = sg_realloc(p, (*n ? 2 * *n : 1) * size);
		if (!p)
			return -ENOMEM;
		memcpy(array, &p, sizeof(p));
	}
	memcpy(p + *n * size, item, size);
	(*n)++;
	return 0;
}

void k_view_fini(struct k_view *v)
{
	sg_free(v->links);
	sg_free(v->addrs);
	sg_free(v->rules);
	sg_free(v->routes);
	memset(v, 0, sizeof(*v));
}

const struct k_link *k_view_link(const struct k_view *v, const char *name)
{
	for (size_t i = 0; i < v->n_links; i++) {
		if (strcmp(v->links[i].name, name) == 0)
			return &v->links[i];
	}
	return NULL;
}

struct k_prefix k_prefix_net(const struct k_prefix *p)
{
	struct k_prefix net = *p;

	for (unsigned i = 0; i < sizeof(net.b); i++) {
		if (8 * i >= net.bits)
			net.b[i] = 0;
		else if (8 * (i + 1) > net.bits)
			net.b[i] &= (uint8_t)(0xff << (8 * (i + 1) - net.bits));
	}
	return net;
}

bool k_prefix_equal(const struct k_prefix *a, const struct k_prefix *b)
{
	return a->family == b->family && a->bits == b->bits && memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool k_prefix_has(const struct k_prefix *outer, const struct k_prefix *inner)
{
	struct k_prefix a = k_prefix_net(outer), b = *inner;

	if (outer->family != inner->family || inner->bits < outer->bits)
		return false;
	b.bits = outer->bits;
	b = k_prefix_net(&b);
	return k_prefix_equal(&a, &b);
}

struct k_prefix k_prefix4(uint32_t host_order, unsigned bits)
{
	struct k_prefix p = {.family = AF_INET, .bits = (uint8_t)bits};
	uint32_t be = htonl(host_order);

	memcpy(p.b, &be, sizeof(be));
	return p;
}

char *k_prefix_str(const struct k_prefix *p, char buf[K_PREFIX_TEXT])
{
	char addr[INET6_ADDRSTRLEN] = "?";

	inet_ntop(p->family, p->b, addr, sizeof(addr));
	snprintf(buf, K_PREFIX_TEXT, "%s/%u", addr, p->bits);
	return buf;
}
