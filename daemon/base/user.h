/* Users of this machine, as the configuration names them. */
#ifndef SG_BASE_USER_H
#define SG_BASE_USER_H

#include <skygate/types.h>

#include <sys/types.h>

SG_BEGIN_DECLS

/**
 * sg_user_find - by name or number. A number needs no entry; its group is then the same number. 0; -ENOENT: nobody has that
 * name; -EPERM: it is user or group 0. *uid and *gid are set unless -ENOENT.
 */
int sg_user_find(const char *text, uid_t *uid, gid_t *gid);

SG_END_DECLS
#endif
