/* Messages between loops: a locked list and one wake-up. What crosses carries ids, not pointers
 * into another loop. */
#include "loop/internal.h"
#include "base/alloc.h"
#include "base/err.h"

struct post {
	struct sg_list node;
	void (*fn)(void *arg);
	void *arg;
};

static void on_async(uv_async_t *a)
{
	struct sg_loop *loop = a->data;
	struct sg_list mine;

	loop_turn_begin(loop);
	sg_list_init(&mine);
	pthread_mutex_lock(&loop->post_lock);
	while (!sg_list_empty(&loop->posts)) {
		struct sg_list *first = loop->posts.next;

		sg_list_remove(first);
		sg_list_add_tail(&mine, first);
	}
	pthread_mutex_unlock(&loop->post_lock);
	while (!sg_list_empty(&mine)) {
		struct post *p = sg_container_of(mine.next, struct post, node);

		sg_list_remove(&p->node);
		p->fn(p->arg);
		sg_free(p);
	}
}

int loop_post_init(struct sg_loop *loop)
{
	int err;

	sg_list_init(&loop->posts);
	pthread_mutex_init(&loop->post_lock, NULL);
	err = uv_async_init(&loop->uv, &loop->post_async, on_async);
	if (err == 0)
		loop->post_async.data = loop;
	return err;
}

void loop_post_fini(struct sg_loop *loop)
{
	while (!sg_list_empty(&loop->posts)) {
		struct post *p = sg_container_of(loop->posts.next, struct post, node);

		sg_list_remove(&p->node);
		sg_free(p);
	}
	pthread_mutex_destroy(&loop->post_lock);
}

int sg_post(struct sg_loop *loop, void (*fn)(void *arg), void *arg)
{
	struct post *p = sg_malloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->fn = fn;
	p->arg = arg;
	pthread_mutex_lock(&loop->post_lock);
	sg_list_add_tail(&loop->posts, &p->node);
	pthread_mutex_unlock(&loop->post_lock);
	uv_async_send(&loop->post_async);
	return 0;
}
