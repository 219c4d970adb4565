/*
 * Plugins of today's and of the next minor version, for versions.c. Built with the next header (next makes it) GUEST_NEXT
 * is defined; GUEST_MODEST says that it runs in hosts of today too, and asks before it uses what they may lack.
 */
#include <skygate/plugin.h>

#ifdef GUEST_NEXT
static int next(void *arg)
{
	(void)arg;
	return 2;
}
#endif

static int dial(void *ctx, const char *carrier, const struct sg_pk *pk, const struct sg_addr *to, struct sg_dial *d)
{
	(void)ctx;
	(void)carrier;
	(void)pk;
	(void)to;
	(void)d;
	return -1;
}

static void cancel(void *ctx, struct sg_dial *d)
{
	(void)ctx;
	(void)d;
}

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap)
{
	(void)why;
	(void)why_cap;
	*ctx = inst;
#ifdef GUEST_NEXT
	if (SG_HAS(host, next))
		return host->next(inst);
#endif
	return host->own_pk(inst) ? 0 : -1;
}

static void stop(void *ctx)
{
	(void)ctx;
}

static const struct sg_carrier_ops ops = {.size = sizeof(ops),
#ifdef GUEST_NEXT
	.next = next,
#endif
	.dial = dial,
	.cancel = cancel};
static const struct sg_provide provides[] = {{SG_CARRIER, GUEST_NAME, &ops}, {SG_PROVIDE_END, 0, 0}};

SG_PLUGIN(guest) = {
	.abi_major = SG_ABI_MAJOR,
#ifdef GUEST_MODEST
	.abi_minor = SG_ABI_MINOR - 1,
#else
	.abi_minor = SG_ABI_MINOR,
#endif
#ifdef GUEST_NEXT
	.next = next,
#endif
	.size = sizeof(struct sg_plugin),
	.name = GUEST_NAME,
	.version = "1",
	.summary = "for a test",
	.provides = provides,
	.start = start,
	.stop = stop,
};
