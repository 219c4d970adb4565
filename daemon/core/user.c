/*
 * `skygated --check` called by root, as administrators do: it becomes the user that the configuration names before a
 * plugin is loaded, so that plugins never run as root, and so that what that user cannot read is found now.
 */
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

static void first_only(void *arg, unsigned line, const char *text)
{
	bool *said = arg;

	(void)line;
	if (!*said)
		fprintf(stderr, "%s\n", text);
	*said = true;
}

static int become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

int user_of_configuration(const char *config)
{
	const struct sg_uci_section *visor;
	const struct passwd *pw;
	struct sg_uci *doc;
	const char *name;
	bool said = false;
	uint64_t number;
	uid_t uid;
	gid_t gid;
	int err = sg_uci_load(config, first_only, &said, &doc);

	if (err < 0)
		return err;
	visor = sg_uci_next(doc, "visor", NULL);
	name = visor ? sg_uci_get(visor, "user", "skygate") : "skygate";
	if (sg_parse_u64(name, UINT32_MAX - 1, &number) == 0) {
		pw = getpwuid((uid_t)number);
		uid = (uid_t)number;
		gid = pw ? pw->pw_gid : (gid_t)number;
	} else {
		pw = getpwnam(name);
		uid = pw ? pw->pw_uid : 0;
		gid = pw ? pw->pw_gid : 0;
	}
	if (uid == 0 || gid == 0) {
		fprintf(stderr,
			"%s: visor: option user: '%.32s' is no ordinary user of this machine\n"
			"  create one:  adduser --system --group --no-create-home skygate      or name a number, never "
			"0\n",
			config, name);
		err = -EINVAL;
	} else {
		err = become(uid, gid);
		if (err < 0)
			fprintf(stderr, "skygated: cannot become user %u: %s\n", (unsigned)uid, sg_strerror(err));
	}
	sg_uci_free(doc);
	return err;
}
