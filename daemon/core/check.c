/*
 * skygated --check: all that is wrong with the configuration, the files that it names and the key. Called by root, as
 * administrators do, it becomes the user that the configuration names before a plugin is loaded, so that plugins never run as
 * root, and so that what that user cannot read is found now.
 */
#include "base/common.h"
#include "base/err.h"
#include "base/user.h"
#include "core/core.h"

#include <grp.h>
#include <unistd.h>

#define NOBODY 65534 /* the kernel's own number for who is nobody here */

static const char *user_named(const struct sg_uci *doc)
{
	const struct sg_uci_section *visor = sg_uci_next(doc, "visor", NULL);

	return visor ? sg_uci_get(visor, "user", "skygate") : "skygate";
}

static int become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

/*
 * Where there is no such user, one who owns nothing, and *doc is the configuration as root read it. 0, SG_ECONF with a finding, or
 * -ENOMEM.
 */
static int user_become(const char *config, struct findings *f, struct sg_uci **doc)
{
	uid_t uid;
	gid_t gid;
	int err = sg_uci_load(config, findings_report, f, doc);

	if (err < 0)
		return err == -ENOMEM ? -ENOMEM : SG_ECONF;
	if (sg_user_find(user_named(*doc), &uid, &gid) == 0) {
		sg_uci_free(*doc);
		*doc = NULL;
	} else {
		uid = gid = NOBODY;
	}
	err = become(uid, gid);
	if (err == 0)
		return 0;
	findings_addf(f, 0, "%s: cannot become user %u: %s", config, (unsigned)uid, sg_strerror(err));
	sg_uci_free(*doc);
	*doc = NULL;
	return SG_ECONF;
}

static void check_user(const struct conf *c, struct findings *f)
{
	const struct sg_uci_option *o = c->visor ? sg_uci_option(c->visor, "user") : NULL;
	unsigned line = o ? o->line : c->visor ? c->visor->line : 0;
	uid_t uid;
	gid_t gid;

	if ((o && findings_has(f, line)) || sg_user_find(user_named(c->doc), &uid, &gid) == 0)
		return;
	findings_addf(f, line,
		"%s:%u: visor: option user: '%.32s' is no ordinary user of this machine\n"
		"  create one:  adduser --system --group --no-create-home skygate      or name a number, never 0",
		c->doc->file, line, user_named(c->doc));
}

/* Whose key it must be is not known where the user is not. */
static void check_identity(struct core *core, struct findings *f)
{
	const struct sg_uci_option *o = core->conf->visor ? sg_uci_option(core->conf->visor, "identity") : NULL;
	char why[CORE_WHY_MAX];

	if (o && !findings_has(f, o->line) && core_identity(core, why, sizeof(why)) < 0)
		findings_addf(f, 0, "%s", why);
}

static int check(struct core *core, struct findings *f)
{
	struct sg_uci *doc = NULL;
	int err = getuid() == 0 || geteuid() == 0 ? user_become(core->opt.config, f, &doc) : 0;
	bool nobody = doc != NULL;

	if (err == 0)
		err = conf_read(core, f, doc, &core->conf);
	if (!core->conf)
		return err;
	check_user(core->conf, f);
	net_check_files(core->crypto, core->conf->doc, findings_report, f);
	if (!nobody)
		check_identity(core, f);
	return 0;
}

int core_check(struct core *core)
{
	struct findings f;
	int err = -ENOMEM;

	findings_init(&f);
	core->crypto = sg_crypto_new(sg_random_system());
	if (core->crypto)
		err = check(core, &f);
	if (err == -ENOMEM)
		fputs("skygated: memory is out\n", stderr);
	else if (f.n)
		findings_print(&f, stderr);
	else
		printf("%s: valid\n", core->opt.config);
	err = err == -ENOMEM || f.n;
	findings_fini(&f);
	return err;
}
