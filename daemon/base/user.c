/* Users of this machine. */
#include "base/user.h"
#include "base/common.h"
#include "base/text.h"

#include <errno.h>
#include <pwd.h>

int sg_user_find(const char *text, uid_t *uid, gid_t *gid)
{
	uint64_t number;
	const struct passwd *pw;

	if (sg_parse_u64(text, UINT32_MAX - 1, &number) == 0) {
		pw = getpwuid((uid_t)number);
		*uid = (uid_t)number;
		*gid = pw ? pw->pw_gid : (gid_t)number;
	} else {
		pw = getpwnam(text);
		if (!pw)
			return -ENOENT;
		*uid = pw->pw_uid;
		*gid = pw->pw_gid;
	}
	return *uid == 0 || *gid == 0 ? -EPERM : 0;
}
