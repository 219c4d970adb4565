/*
 * Control beside data on one loop. Events of the data path are served as they come; those of control wait until these were, and
 * what they queued has left. Then as many are served as fit into a short time, one at least, and the others after the next look
 * at the descriptors: a packet waits for one of them, not for all who ask at the same moment.
 */
#include "base/common.h"
#include "loop/internal.h"

/*
 * Shorter than what most of them take on a small router, so one a turn there; on a large machine some cheap ones share the look
 * at the descriptors.
 */
#define BUDGET_NS 200000
/*
 * But a fifth of the time at least: where a full round of data takes tens of ms, one call a round would let some strangers a
 * second keep our own dials and the owner waiting.
 */
#define DATA_PER_CONTROL 4

void loop_control_init(struct loop_control *c, void (*fn)(struct loop_control *c))
{
	sg_list_init(&c->node);
	c->fn = fn;
}

void loop_control_start(struct sg_loop *loop, struct loop_control *c)
{
	if (sg_list_empty(&c->node))
		sg_list_add_tail(&loop->control, &c->node);
}

void loop_control_stop(struct loop_control *c)
{
	sg_list_remove(&c->node);
}

static void on_again(uv_idle_t *i)
{
	(void)i; /* that it runs keeps the loop from sleeping */
}

void loop_control_run(struct sg_loop *loop)
{
	int64_t end_ns = 0;

	while (!sg_list_empty(&loop->control)) {
		struct loop_control *c = sg_container_of(loop->control.next, struct loop_control, node);
		int64_t now_ns = loop->clock->now(loop->clock).ns;

		if (!end_ns)
			end_ns = now_ns + SG_MAX((now_ns - loop->turn_at.ns) / DATA_PER_CONTROL, (int64_t)BUDGET_NS);
		else if (now_ns >= end_ns)
			break;
		sg_list_remove(&c->node);
		c->fn(c);
	}
	if (sg_list_empty(&loop->control))
		uv_idle_stop(&loop->again);
	else
		uv_idle_start(&loop->again, on_again);
}
