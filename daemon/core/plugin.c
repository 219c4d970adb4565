/*
 * The loader. A plugin is trusted code with all rights of the daemon, so the file and its directory must belong to
 * root or to us and be closed to writing by others. Every refusal has its own sentence and names the cure.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "base/suggest.h"
#include "core/core.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_LEN 48
/* A description as 1.0 has it, the oldest that we understand, ends behind this member. */
#define DESC_SIZE_MIN (offsetof(struct sg_plugin, stop) + sizeof(((struct sg_plugin *)0)->stop))

struct load {
	const char *name, *dir;
	char path[PATH_MAX];
	char *why;
	size_t cap;
};

static int SG_PRINTF(3, 4) refuse(const struct load *l, int err, const char *fmt, ...)
{
	struct sg_text t = sg_text(l->why, l->cap);
	va_list ap;

	va_start(ap, fmt);
	sg_text_vaddf(&t, fmt, ap);
	va_end(ap);
	return err;
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= NAME_MAX_LEN && islower((unsigned char)name[0]) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* What the directory offers, and the nearest to what was asked for. */
static int refuse_missing(const struct load *l)
{
	char list[256], best[NAME_MAX_LEN + 1] = "";
	struct sg_text t = sg_text(list, sizeof(list));
	struct sg_suggest near = sg_suggest(l->name);
	DIR *dir = opendir(l->dir);
	struct dirent *e;

	if (!dir)
		return refuse(l, -ENOENT,
			"'%s': the directory of plugins %s cannot be read: %s\n  another one:  --plugins DIR", l->name,
			l->dir, strerror(errno));
	while ((e = readdir(dir))) {
		size_t len = strlen(e->d_name);
		char stem[NAME_MAX_LEN + 1];
		const char *before = near.best;

		if (len <= 3 || len - 3 > NAME_MAX_LEN || strcmp(e->d_name + len - 3, ".so") != 0)
			continue;
		snprintf(stem, sizeof(stem), "%.*s", (int)(len - 3), e->d_name);
		if (!t.err)
			sg_text_addf(&t, "%s%s", t.len ? ", " : "", stem);
		sg_suggest_try(&near, stem);
		if (near.best != before) {
			memcpy(best, stem, sizeof(best));
			near.best = best;
		}
	}
	closedir(dir);
	return refuse(l, -ENOENT, "'%s': there is no %s.so in %s\n  there: %s%s%s%s", l->name, l->name, l->dir,
		t.len ? list : "no plugin at all", near.best ? "        did you mean '" : "",
		near.best ? near.best : "", near.best ? "'?" : "");
}

/* @what: a sentence's subject, the file or its directory. */
static int check_owner(const struct load *l, const struct stat *st, const char *what)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return refuse(l, -EPERM,
			"'%s': %s belongs to user %u, who could make it do anything in our name\n  chown root %s",
			l->name, what, (unsigned)st->st_uid, what);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return refuse(l, -EPERM, "'%s': %s is writable by others (mode %04o)\n  chmod go-w %s", l->name, what,
			(unsigned)(st->st_mode & 07777), what);
	return 0;
}

static int check_file(struct load *l)
{
	struct stat st;
	int err;

	if (snprintf(l->path, sizeof(l->path), "%s/%s.so", l->dir, l->name) >= (int)sizeof(l->path))
		return refuse(l, SG_ELONG, "the path of the plugin directory is too long: %s", l->dir);
	if (stat(l->path, &st) < 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return refuse_missing(l);
		return refuse(l, -errno, "'%s': %s: %s", l->name, l->path, strerror(errno));
	}
	if (!S_ISREG(st.st_mode))
		return refuse(l, -EINVAL, "'%s': %s is not a file", l->name, l->path);
	err = check_owner(l, &st, l->path);
	if (err < 0)
		return err;
	if (stat(l->dir, &st) < 0)
		return refuse(l, -errno, "'%s': %s: %s", l->name, l->dir, strerror(errno));
	return check_owner(l, &st, l->dir);
}

static int check_desc(const struct load *l, const struct sg_plugin *d)
{
	if (d->abi_major != SG_ABI_MAJOR)
		return refuse(l, SG_EABI,
			"'%s' was built for version %u of the plugin interface, this skygated has %d\n"
			"  install the plugin that belongs to version " SG_VERSION,
			l->name, (unsigned)d->abi_major, SG_ABI_MAJOR);
	if (d->abi_minor > SG_ABI_MINOR)
		return refuse(l, SG_EABI,
			"'%s' needs version %d.%u of the plugin interface, this skygated has %d.%d\n"
			"  install a newer Skygate, or the plugin that belongs to version " SG_VERSION,
			l->name, SG_ABI_MAJOR, (unsigned)d->abi_minor, SG_ABI_MAJOR, SG_ABI_MINOR);
	if (d->size < DESC_SIZE_MIN || d->size > 4096)
		return refuse(l, SG_EABI, "'%s' says that its description has %u bytes; %zu to 4096 make sense",
			l->name, (unsigned)d->size, DESC_SIZE_MIN);
	if (!d->name || !d->version || !d->summary || !d->provides || !d->start || !d->stop)
		return refuse(l, SG_EABI,
			"'%s' leaves out a part of its description (name, version, summary, provides, start, stop)",
			l->name);
	if (strcmp(d->name, l->name) != 0)
		return refuse(l, SG_EABI, "'%s': the file holds the plugin '%.48s'; was it renamed?", l->name, d->name);
	return 0;
}

static int open_object(struct load *l, const struct sg_plugin **out)
{
	const struct sg_plugin *desc;
	void *handle;
	int err = check_file(l);

	if (err < 0)
		return err;
	handle = dlopen(l->path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		const char *text = dlerror();

		return refuse(l, -EINVAL, "'%s' cannot be loaded: %s", l->name, text ? text : l->path);
	}
	desc = dlsym(handle, "sg_plugin_desc");
	if (!desc)
		err = refuse(l, SG_EABI,
			"'%s': %s is a library, but no plugin of Skygate (it has no symbol sg_plugin_desc)", l->name,
			l->path);
	else
		err = check_desc(l, desc);
	if (err < 0) {
		dlclose(handle);
		return err;
	}
	*out = desc;
	return 0;
}

static const struct sg_plugin *find_builtin(const struct core *core, const char *name)
{
	for (const struct sg_plugin *const *b = core->opt.builtin; b && *b; b++) {
		if (strcmp((*b)->name, name) == 0)
			return *b;
	}
	return NULL;
}

/*
 * Tables of calls are to be as long as those of 1.0, whose last members these are: what was added since, an older plugin
 * lacks.
 */
static int check_store(const struct core *core, const struct load *l, const struct sg_provide *v)
{
	const struct sg_store_ops *ops = v->ops;

	if (!v->name || !ops || !SG_HAS(ops, write))
		return refuse(l, SG_EABI, "'%s' provides a store without saying how", l->name);
	sg_list_for (it, &core->plugins) {
		const struct plugin *p = sg_container_of(it, struct plugin, node);

		if (plugin_store_ops(p))
			return refuse(l, SG_EDUP, "'%s' provides a store, and so does '%s'\n  keep one of the two",
				l->name, p->desc->name);
	}
	return 0;
}

static int check_network(const struct load *l, const struct sg_provide *v)
{
	const struct sg_network_ops *ops = v->ops;

	if (!v->name || !ops || !SG_HAS(ops, unlisten))
		return refuse(l, SG_EABI, "'%s' provides a network without saying how", l->name);
	return 0;
}

/* Two plugins may not claim one carrier: it would depend on their order who dials. */
static int check_carrier(const struct core *core, const struct load *l, const struct sg_provide *v)
{
	const struct sg_carrier_ops *ops = v->ops;

	if (!v->name || !ops || !SG_HAS(ops, cancel))
		return refuse(l, SG_EABI, "'%s' provides a carrier without saying how", l->name);
	if (strlen(v->name) > SG_CARRIER_NAME_MAX)
		return refuse(l, SG_EABI, "'%s' provides the carrier %.48s; a name has at most %d characters", l->name,
			v->name, SG_CARRIER_NAME_MAX);
	sg_list_for (it, &core->plugins) {
		const struct plugin *p = sg_container_of(it, struct plugin, node);

		if (plugin_carrier_ops(p, v->name))
			return refuse(l, SG_EDUP,
				"'%s' provides the carrier %s, and so does '%s'\n  keep one of the two", l->name,
				v->name, p->desc->name);
	}
	return 0;
}

static int check_provides(const struct core *core, const struct load *l, const struct sg_plugin *d)
{
	int err = 0;

	for (const struct sg_provide *v = d->provides; v->kind != SG_PROVIDE_END && err == 0; v++) {
		if (v->kind == SG_CARRIER)
			err = check_carrier(core, l, v);
		else if (v->kind == SG_NETWORK)
			err = check_network(l, v);
		else if (v->kind == SG_STORE)
			err = check_store(core, l, v);
		else if (v->kind != SG_APP)
			err = refuse(l, SG_EABI, "'%s' provides what this skygated does not know: interface %d",
				l->name, (int)v->kind);
	}
	return err;
}

static struct plugin *find_loaded(const struct core *core, const char *name)
{
	sg_list_for (it, &core->plugins) {
		struct plugin *p = sg_container_of(it, struct plugin, node);

		if (strcmp(p->desc->name, name) == 0)
			return p;
	}
	return NULL;
}

int plugin_load(struct core *core, const char *name, struct plugin **out, char *why, size_t cap)
{
	struct load l = {.name = name, .dir = core->opt.plugin_dir, .why = why, .cap = cap};
	const struct sg_plugin *desc;
	struct plugin *p = find_loaded(core, name);
	int err = 0;

	*out = p;
	if (p)
		return 0;
	if (!name_ok(name))
		return refuse(&l, SG_EMALF,
			"'%.64s' cannot be the name of a plugin\n  accepted: small letters, digits and '-'", name);
	desc = find_builtin(core, name);
	err = desc ? check_desc(&l, desc) : open_object(&l, &desc);
	if (err == 0)
		err = check_provides(core, &l, desc);
	if (err < 0)
		return err;
	p = sg_calloc(1, sizeof(*p));
	if (!p)
		return refuse(&l, -ENOMEM, "'%s': memory is out", name);
	p->desc = desc;
	p->inst.core = core;
	p->inst.plugin = p;
	p->inst.keys = (struct store_space){core->store, &p->inst, desc->name};
	sg_list_init(&p->inst.listens);
	sg_list_init(&p->inst.dials);
	sg_list_add_tail(&core->plugins, &p->node);
	*out = p;
	return 0;
}

void plugins_free(struct core *core)
{
	sg_list_for_safe (it, &core->plugins)
		sg_free(sg_container_of(it, struct plugin, node));
	sg_list_init(&core->plugins);
}

const struct sg_carrier_ops *plugin_carrier_ops(const struct plugin *p, const char *carrier)
{
	for (const struct sg_provide *v = p->desc->provides; v->kind != SG_PROVIDE_END; v++) {
		if (v->kind == SG_CARRIER && strcmp(v->name, carrier) == 0)
			return v->ops;
	}
	return NULL;
}

const struct sg_store_ops *plugin_store_ops(const struct plugin *p)
{
	for (const struct sg_provide *v = p->desc->provides; v->kind != SG_PROVIDE_END; v++) {
		if (v->kind == SG_STORE)
			return v->ops;
	}
	return NULL;
}

void plugin_networks(struct plugin *p, bool there)
{
	for (const struct sg_provide *v = p->desc->provides; v->kind != SG_PROVIDE_END; v++) {
		if (v->kind != SG_NETWORK)
			continue;
		net_network_set(p->inst.core->net, v->name, there ? v->ops : NULL, p->inst.ctx);
		routing_network(p->inst.core->routing, v->name, there ? v->ops : NULL, p->inst.ctx);
	}
}

struct plugin *plugin_of_carrier(struct plugin *const *plugins, size_t n, const char *carrier)
{
	for (size_t i = 0; i < n; i++) {
		if (plugin_carrier_ops(plugins[i], carrier))
			return plugins[i];
	}
	return NULL;
}

const char *plugin_to_load(const char *carrier)
{
	static const char *const ours[][2] = {
		{"stcp", "transport-tcp"}, {"stcpr", "transport-tcp"}, {"dmsg", "transport-dmsg"}};

	for (size_t i = 0; i < SG_ARRAY_LEN(ours); i++) {
		if (strcmp(ours[i][0], carrier) == 0)
			return ours[i][1];
	}
	return NULL;
}
