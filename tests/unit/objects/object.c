/* Plugins that something is wrong with, one per OBJECT_… given by the build; tests/unit/core_plugin.c meets them. */
#include <skygate/plugin.h>

#ifdef OBJECT_PLAIN
int nothing_of_ours(void);
int nothing_of_ours(void)
{
	return 0;
}
#else

#ifdef OBJECT_UNDEFINED
int sg_no_such_function(void);
#endif

static int start(const struct sg_host *host, struct sg_inst *inst, void **ctx, char *why, size_t why_cap)
{
	(void)host;
	(void)why;
	(void)why_cap;
	*ctx = inst;
#ifdef OBJECT_UNDEFINED
	return sg_no_such_function();
#else
	return 0;
#endif
}

static void stop(void *ctx)
{
	(void)ctx;
}

#if defined(OBJECT_CARRIER) || defined(OBJECT_LONG)
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

static const struct sg_carrier_ops ops = {sizeof(ops), 0, dial, cancel};
#ifdef OBJECT_LONG
#define CARRIER_NAME "nightjar"
#else
#define CARRIER_NAME "owl"
#endif
static const struct sg_provide provides[] = {{SG_CARRIER, CARRIER_NAME, &ops}, {SG_PROVIDE_END, 0, 0}};
#elif defined(OBJECT_ODD)
static const struct sg_provide provides[] = {{(enum sg_interface)99, "odd", 0}, {SG_PROVIDE_END, 0, 0}};
#elif defined(OBJECT_HOLLOW)
static const struct sg_provide provides[] = {{SG_CARRIER, "owl", 0}, {SG_PROVIDE_END, 0, 0}};
#elif !defined(OBJECT_PARTIAL)
static const struct sg_provide provides[] = {{SG_APP, "test", 0}, {SG_PROVIDE_END, 0, 0}};
#endif

SG_PLUGIN(object) = {
#ifdef OBJECT_ABI
	.abi_major = SG_ABI_MAJOR + 7,
#else
	.abi_major = SG_ABI_MAJOR,
#endif
	.abi_minor = SG_ABI_MINOR,
#ifdef OBJECT_SIZE
	.size = 16,
#else
	.size = sizeof(struct sg_plugin),
#endif
	.name = OBJECT_NAME,
	.version = "1",
	.summary = "for a test",
#ifndef OBJECT_PARTIAL
	.provides = provides,
#endif
	.start = start,
	.stop = stop,
};
#endif
