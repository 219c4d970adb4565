/*
 * skygate import FILE: the configuration of a Go visor becomes one of ours, and its key a key file that only its owner reads.
 * Nothing that exists is overwritten unless --force says so. What was taken and what was not is told line by line.
 */
#include "cli/import.h"
#include "base/alloc.h"
#include "base/common.h"
#include "base/hex.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int SG_PRINTF(1, 2) failed(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("skygate: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return EXIT_FAILED;
}

/* The file whole, from sg_malloc; NULL after it said why. */
static char *read_file(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	ssize_t n = 0;

	*len = 0;
	if (fd < 0 || fstat(fd, &st) < 0) {
		failed("%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_size > IMPORT_FILE_MAX) {
		failed("%s: not a file of at most %d bytes", path, IMPORT_FILE_MAX);
	} else {
		text = sg_malloc((size_t)st.st_size + 1);
		while (text && *len < (size_t)st.st_size && (n = read(fd, text + *len, (size_t)st.st_size - *len)) > 0)
			*len += (size_t)n;
		if (!text || n < 0) {
			failed("%s: %s", path, text ? strerror(errno) : "memory is out");
			sg_free(text);
			text = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	return text;
}

/* The path that the configuration can name. False after it said why. */
static bool absolute(const char *path, char *out, size_t cap)
{
	char here[PATH_MAX] = "";
	bool fits;

	if (path[0] != '/' && !getcwd(here, sizeof(here))) {
		failed("%s: %s", path, strerror(errno));
		return false;
	}
	fits = snprintf(out, cap, "%s%s%s", here, path[0] == '/' ? "" : "/", path) < (int)cap;
	if (!fits)
		failed("%s: the path is too long", path);
	return fits;
}

/* Where the packages' user exists, root gives it what it has to read: the key wholly, the configuration by its group. */
static void give(int fd, bool wholly)
{
	const struct passwd *pw = geteuid() == 0 ? getpwnam("skygate") : NULL;

	if (pw && fchown(fd, wholly ? pw->pw_uid : (uid_t)-1, pw->pw_gid) < 0)
		fprintf(stderr, "skygate: the file cannot be given to user skygate: %s\n", strerror(errno));
}

/* Beside its place first, so that a file there is the old one or the new one. */
static int write_file(const char *path, const char *bytes, size_t len, mode_t mode, bool wholly, bool force)
{
	char fresh[PATH_MAX + 16];
	int fd, err = 0;

	if (!force && access(path, F_OK) == 0)
		return failed(
			"%s exists and is not overwritten\n  move it away, name another one, or say --force", path);
	snprintf(fresh, sizeof(fresh), "%s.import", path);
	unlink(fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0) {
		err = errno;
		failed("%s cannot be made: %s%s", path, strerror(err),
			err == ENOENT ? "\n  make its directory first, or name another one" : "");
		return EXIT_FAILED;
	}
	give(fd, wholly);
	if (write(fd, bytes, len) != (ssize_t)len || fchmod(fd, mode) < 0 || fsync(fd) < 0)
		err = errno ? errno : EIO;
	if (close(fd) < 0 && !err)
		err = errno;
	/* link() does not replace what came meanwhile. */
	if (!err && (force ? rename(fresh, path) : link(fresh, path)) < 0)
		err = errno;
	unlink(fresh);
	return err ? failed("%s cannot be written: %s", path, strerror(err)) : EXIT_DONE;
}

static int write_key(const struct import *im, const char *path, bool force)
{
	char text[2 * SG_SK_LEN + 2];
	int status;

	sg_hex_format(im->sk.b, sizeof(im->sk.b), text, sizeof(text));
	text[2 * SG_SK_LEN] = '\n';
	status = write_file(path, text, 2 * SG_SK_LEN + 1, 0600, true, force);
	sg_wipe(text, sizeof(text));
	return status;
}

/* The key alone would be in the way of the next attempt. */
static int write_conf(const struct import *im, const struct import_paths *p, const char *key)
{
	struct stat a, b;
	int status;

	if (p->force && stat(key, &a) == 0 && stat(p->out, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return failed("%s is the key now\n  name another file for the configuration:  --out FILE", p->out);
	status = write_file(p->out, im->conf.p, im->conf.len, 0640, false, p->force);
	if (status != EXIT_DONE && !p->force)
		unlink(key);
	return status;
}

static void tell(const struct import *im, const struct import_paths *p, const char *key)
{
	printf("%s: taken over\n%s", p->in, im->taken.p);
	if (im->n_left)
		printf("not taken over: %zu\n%s", im->n_left, im->left.p);
	printf("written: %s and the key, %s\n"
	       "  read it, stop the Go visor (two visors with one key disturb each other), then:\n"
	       "  skygated --check --config %s\n",
		p->out, key, p->out);
}

static int convert(const struct sg_crypto *c, const struct import_paths *p, bool json)
{
	char key[PATH_MAX], why[300], hex[SG_PK_TEXT], *text;
	struct import im;
	size_t len;
	int status, err;

	if (!absolute(p->key, key, sizeof(key)))
		return EXIT_FAILED;
	text = read_file(p->in, &len);
	if (!text)
		return EXIT_FAILED;
	err = import_convert(c, (struct sg_view){(const uint8_t *)text, len}, key, &im, why, sizeof(why));
	sg_wipe(text, len);
	sg_free(text);
	status = err < 0 ? failed("%s: %s", p->in, why) : EXIT_DONE;
	/* The configuration is refused before the key is written. */
	if (status == EXIT_DONE && !p->force && access(p->out, F_OK) == 0)
		status = write_file(p->out, "", 0, 0640, false, false);
	if (status == EXIT_DONE)
		status = write_key(&im, key, p->force);
	if (status == EXIT_DONE)
		status = write_conf(&im, p, key);
	if (status == EXIT_DONE && json)
		printf("{\"pk\": \"%s\", \"left\": %zu}\n", sg_pk_str(&im.pk, hex), im.n_left);
	else if (status == EXIT_DONE)
		tell(&im, p, key);
	import_fini(&im);
	return status;
}

int import(const struct import_paths *p, bool json)
{
	struct sg_crypto *c = sg_crypto_new(sg_random_system());
	int status = c ? convert(c, p, json) : failed("memory is out");

	sg_crypto_free(c);
	return status;
}
