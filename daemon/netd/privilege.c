/* Capabilities: what is needed, nothing else. */
#include "netd/netd.h"
#include "base/err.h"

#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const cap_value_t needed[] = {CAP_NET_ADMIN, CAP_SETUID, CAP_SETGID, CAP_KILL};
static const char *const needed_names[] = {"CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"};

int privilege_check(char *why, size_t cap)
{
	cap_t have = cap_get_proc();
	int ret = 0;

	for (size_t i = 0; have && ret == 0 && i < SG_ARRAY_LEN(needed); i++) {
		cap_flag_value_t v = CAP_CLEAR;

		if (cap_get_flag(have, needed[i], CAP_EFFECTIVE, &v) == 0 && v == CAP_SET)
			continue;
		snprintf(why, cap,
			"no privilege: %s is missing. Start it through the system:  systemctl start skygate  "
			"(or as root:  sudo skygate-netd …)",
			needed_names[i]);
		ret = -EPERM;
	}
	if (have)
		cap_free(have);
	return ret;
}

static int set_exactly(const cap_value_t *caps, int n)
{
	cap_t c = cap_init();
	int ret = -ENOMEM;

	if (!c)
		return ret;
	if (n > 0 && (cap_set_flag(c, CAP_PERMITTED, n, caps, CAP_SET) < 0 ||
			     cap_set_flag(c, CAP_EFFECTIVE, n, caps, CAP_SET) < 0))
		ret = -errno;
	else
		ret = cap_set_proc(c) < 0 ? -errno : 0;
	cap_free(c);
	return ret;
}

static bool is_needed(cap_value_t v)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(needed); i++) {
		if (needed[i] == v)
			return true;
	}
	return false;
}

int privilege_reduce(char *why, size_t cap)
{
	int err;

	/* Without CAP_SETPCAP the bounding set stays as init made it. */
	for (cap_value_t v = 0; cap_get_bound(v) >= 0; v++) {
		if (!is_needed(v))
			(void)cap_drop_bound(v);
	}
	(void)cap_reset_ambient();
	err = set_exactly(needed, (int)SG_ARRAY_LEN(needed));
	if (err < 0)
		snprintf(why, cap, "capabilities could not be given up: %s", sg_strerror(err));
	return err;
}

int privilege_follow(const char *run, char *why, size_t cap)
{
	struct stat st;
	int err = 0;

	if (geteuid() != 0 || lstat(run, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid == 0)
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
		err = -errno;
	if (err == 0)
		err = set_exactly(needed, (int)SG_ARRAY_LEN(needed));
	if (err < 0)
		snprintf(why, cap, "%s belongs to user %u, and becoming that user failed: %s", run, (unsigned)st.st_uid,
			sg_strerror(err));
	return err;
}

int privilege_none(void)
{
	(void)cap_reset_ambient();
	return set_exactly(NULL, 0);
}
