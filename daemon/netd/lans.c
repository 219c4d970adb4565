/* LAN interfaces under another name. */
#include "netd/lans.h"
#include "netd/saved.h"
#include "base/err.h"
#include "base/log.h"
#include "base/text.h"

SG_LOG_TOPIC("netd");

#define FILE_NAME "lans"
#define FILE_ROOM (SG_LANS_MAX * (IFNAMSIZ + 12))

static struct lan_seen *find(struct lans *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->e[i].name, name) == 0)
			return &l->e[i];
	}
	return NULL;
}

static void load(struct lans *l, const struct rundir *run)
{
	char text[FILE_ROOM + 1], *rest = text, *line;

	l->loaded = true;
	if (rundir_read(run, FILE_NAME, text, sizeof(text)) < 0)
		return;
	while ((line = strsep(&rest, "\n")) && l->n < SG_LANS_MAX) {
		struct lan_seen *e = &l->e[l->n];
		char *name = strsep(&line, " ");
		uint64_t index;

		if (!line || !sg_ifname_ok(name) || find(l, name) || sg_parse_u64(line, INT32_MAX, &index) < 0)
			continue;
		snprintf(e->name, sizeof(e->name), "%s", name);
		snprintf(e->now, sizeof(e->now), "%s", name);
		e->index = (uint32_t)index;
		l->n++;
	}
}

static void save(const struct lans *l, const struct rundir *run)
{
	char text[FILE_ROOM + 1];
	struct sg_text t = sg_text(text, sizeof(text));
	int err;

	for (size_t i = 0; i < l->n; i++)
		sg_text_addf(&t, "%s %u\n", l->e[i].name, (unsigned)l->e[i].index);
	err = rundir_write(run, FILE_NAME, text);
	if (err < 0)
		log_warn("%s/" FILE_NAME ": %s: a LAN interface renamed while netd restarts would not be known again",
			run->path, sg_strerror(err));
}

static const struct k_link *by_index(const struct k_view *view, uint32_t index)
{
	for (size_t i = 0; i < view->n_links; i++) {
		if (view->links[i].index == index)
			return &view->links[i];
	}
	return NULL;
}

/* Those that left the configuration are no LANs any more. True when there were any. */
static bool forget(struct lans *l, const struct netd_conf *conf)
{
	size_t kept = 0, had = l->n;

	for (size_t i = 0; i < had; i++) {
		if (netd_conf_is_lan(conf, l->e[i].name))
			l->e[kept++] = l->e[i];
	}
	l->n = kept;
	return kept < had;
}

static void call_it(struct lan_seen *e, const struct rundir *run, const char *name)
{
	int err = saved_renamed(run, e->now, name);

	if (err < 0)
		log_warn("sysctls of %s will not be put back: %s", name, sg_strerror(err));
	snprintf(e->now, sizeof(e->now), "%s", name);
}

/* What is there under the configuration's name is it. True when that was not known. */
static bool meet(struct lans *l, const struct rundir *run, const char *name, uint32_t index)
{
	struct lan_seen *e = find(l, name);
	bool news = !e || e->index != index;

	if (!e) {
		e = &l->e[l->n++];
		snprintf(e->name, sizeof(e->name), "%s", name);
	} else if (!news && strcmp(e->now, name) != 0) {
		call_it(e, run, name);
	}
	snprintf(e->now, sizeof(e->now), "%s", name);
	e->index = index;
	return news;
}

void lans_follow(struct lans *l, const struct rundir *run, const struct k_view *view, struct netd_conf *conf)
{
	const struct netd_conf given = *conf;
	bool news;

	/* Of --disarm, which has no LANs: nothing to learn, nothing to forget. */
	if (conf->n_lans == 0)
		return;
	if (!l->loaded)
		load(l, run);
	news = forget(l, &given);
	for (size_t i = 0; i < given.n_lans; i++) {
		const struct k_link *link = k_view_link(view, given.lan[i]);
		struct lan_seen *e;

		if (link) {
			news |= meet(l, run, link->name, link->index);
			continue;
		}
		e = find(l, given.lan[i]);
		link = e ? by_index(view, e->index) : NULL;
		if (!link || netd_conf_is_lan(conf, link->name))
			continue;
		if (strcmp(e->now, link->name) != 0) {
			log_warn("%s is called %s now and is treated as before. Tell the configuration:  list device "
				 "'%s'",
				e->name, link->name, link->name);
			call_it(e, run, link->name);
		}
		snprintf(conf->lan[i], sizeof(conf->lan[i]), "%s", link->name);
	}
	if (news)
		save(l, run);
}
