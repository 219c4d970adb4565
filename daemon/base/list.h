/*
 * A small intrusive list. An initialised node that is on no list points at itself, so removing twice is harmless.
 *
 *	struct thing { struct sg_list node; … };
 *	sg_list_for(it, &things) { struct thing *t = sg_container_of(it, struct thing, node); … }
 */
#ifndef SG_BASE_LIST_H
#define SG_BASE_LIST_H

#include "base/common.h"

struct sg_list {
	struct sg_list *next, *prev;
};

static inline void sg_list_init(struct sg_list *l)
{
	l->next = l->prev = l;
}

static inline bool sg_list_empty(const struct sg_list *l)
{
	return l->next == l;
}

static inline void sg_list_add_tail(struct sg_list *head, struct sg_list *node)
{
	node->prev = head->prev;
	node->next = head;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): taken for possible after sg_container_of(head->prev) */
	head->prev->next = node;
	head->prev = node;
}

static inline void sg_list_remove(struct sg_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	sg_list_init(node);
}

#define sg_list_for(it, head) for (struct sg_list *it = (head)->next; it != (head); it = it->next)

/* The current node may be removed inside; no other may. */
#define sg_list_for_safe(it, head)                                                                                     \
	for (struct sg_list *it = (head)->next, *it##_next = it->next; it != (head);                                   \
		it = it##_next, it##_next = it->next)

#endif
