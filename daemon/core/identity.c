/*
 * The key file: 64 hex digits and a newline, of ours, closed to everybody else. `skygate keygen --out FILE` makes one.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

static int SG_PRINTF(4, 5) refuse(int err, char *why, size_t cap, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, cap, fmt, ap);
	va_end(ap);
	return err;
}

static int check_owner(int fd, const char *path, char *why, size_t cap)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return refuse(SG_EKEY, why, cap, "%s: is not a file", path);
	if (st.st_uid != geteuid())
		return refuse(-EACCES, why, cap, "%s: belongs to user %u, but skygated runs as %u\n  chown %u %s", path,
			(unsigned)st.st_uid, (unsigned)geteuid(), (unsigned)geteuid(), path);
	if (st.st_mode & 077)
		return refuse(-EACCES, why, cap,
			"%s: others can read the key (mode %04o); who has it can be this visor\n"
			"  chmod 600 %s        if a stranger may have seen it, make a new one",
			path, (unsigned)(st.st_mode & 07777), path);
	return 0;
}

int identity_read(const struct sg_crypto *c, const char *path, struct sg_sk *sk, char *why, size_t cap)
{
	char text[2 * SG_SK_LEN + 2] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ssize_t n;
	int err;

	if (fd < 0 && errno == ENOENT)
		return refuse(-ENOENT, why, cap,
			"%s: no such file: this visor has no key yet\n  make one:  skygate keygen --out %s", path,
			path);
	if (fd < 0)
		return refuse(-errno, why, cap, "%s: cannot be read: %s\n  it must belong to user %u:  chown %u %s",
			path, strerror(errno), (unsigned)geteuid(), (unsigned)geteuid(), path);
	err = check_owner(fd, path, why, cap);
	if (err < 0)
		goto out;
	n = read(fd, text, sizeof(text));
	if (n == (ssize_t)sizeof(text) || n < 2 * SG_SK_LEN ||
		(n == 2 * SG_SK_LEN + 1 && text[2 * SG_SK_LEN] != '\n') || sg_sk_parse(c, text, 2 * SG_SK_LEN, sk) < 0)
		err = refuse(SG_EKEY, why, cap,
			"%s: is not a key (64 hex digits of a valid secp256k1 key)\n  make one:  skygate keygen --out "
			"%s",
			path, path);
out:
	sg_wipe(text, sizeof(text));
	close(fd);
	return err;
}
