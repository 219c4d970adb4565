/* Files in the run directory. */
#include "netd/rundir.h"
#include "base/err.h"
#include "base/log.h"
#include "base/text.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

SG_LOG_TOPIC("netd");

#define LOCK_TRIES   200
#define LOCK_WAIT_NS 10000000 /* between two tries */

int rundir_open(struct rundir *r, const char *path, gid_t core_gid, char *why, size_t cap)
{
	struct stat st;
	int err;

	*r = (struct rundir){.fd = -1, .lock_fd = -1};
	snprintf(r->path, sizeof(r->path), "%s", path);
	if (mkdir(path, 0755) < 0 && errno != EEXIST) {
		err = -errno;
		snprintf(why, cap, "%s: cannot be created: %s. Name another directory:  --run DIR", path,
			sg_strerror(err));
		return err;
	}
	r->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (r->fd < 0 || fstat(r->fd, &st) < 0) {
		err = -errno;
		snprintf(why, cap, "%s: is not a directory that can be used: %s. Name another one:  --run DIR", path,
			sg_strerror(err));
		return err;
	}
	r->owner = st.st_uid;
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		snprintf(why, cap,
			"%s: belongs to user %u, who could change our files. Start it as that user (systemctl start "
			"skygate), "
			"or with a place of its own:  --run DIR",
			path, (unsigned)st.st_uid);
		rundir_close(r);
		return -EPERM;
	}
	/* Sticky: core may add its socket, and cannot remove or rename what is ours. */
	if (fchown(r->fd, (uid_t)-1, core_gid) == 0 || st.st_gid == core_gid)
		(void)fchmod(r->fd, 01775);
	else
		log_warn("%s: its group could not be set to %u: core cannot make its control socket there", path,
			(unsigned)core_gid);
	return 0;
}

void rundir_close(struct rundir *r)
{
	if (r->lock_fd >= 0)
		close(r->lock_fd);
	if (r->fd >= 0)
		close(r->fd);
	r->fd = r->lock_fd = -1;
}

static bool is_ours(const struct rundir *r, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	       (st.st_uid == 0 || st.st_uid == geteuid() || st.st_uid == r->owner);
}

/* Opens a file of ours; one that somebody else put there under our name makes way. */
static int open_own(const struct rundir *r, const char *name, int flags)
{
	int fd = openat(r->fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd >= 0 && is_ours(r, fd))
		return fd;
	if (fd >= 0 || errno != ENOENT) {
		if (fd >= 0)
			close(fd);
		if (unlinkat(r->fd, name, 0) < 0 && errno != ENOENT)
			return -errno;
		log_warn("%s/%s was not ours and has been removed", r->path, name);
	}
	if ((flags & O_ACCMODE) == O_RDONLY)
		return -ENOENT;
	/* 0600: core must not even lock it. */
	fd = openat(r->fd, name, flags | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

int rundir_lock(struct rundir *r, pid_t *holder)
{
	char pid[16];
	int fd = open_own(r, "netd.lock", O_RDWR), len;

	*holder = 0;
	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		*holder = rundir_holder(r);
		close(fd);
		return -EEXIST;
	}
	len = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
		close(fd);
		return -EIO;
	}
	r->lock_fd = fd;
	return 0;
}

pid_t rundir_holder(struct rundir *r)
{
	char text[16];
	uint64_t pid = 0;
	ssize_t n;
	int fd;

	fd = open_own(r, "netd.lock", O_RDONLY);
	if (fd < 0)
		return 0;
	/* The number counts only while its writer holds the lock. */
	if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		n = pread(fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		if (sg_parse_u64(text, INT32_MAX, &pid) < 0)
			pid = 0;
	}
	close(fd);
	return (pid_t)pid;
}

bool rundir_disarmed(const struct rundir *r)
{
	int fd = open_own(r, "disarmed", O_RDONLY);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int rundir_set_disarmed(struct rundir *r, bool disarmed)
{
	int fd;

	if (!disarmed)
		return rundir_remove(r, "disarmed");
	fd = open_own(r, "disarmed", O_WRONLY);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

#define NEXT_TOO "the next too\n"

int rundir_disarm_next(const struct rundir *r)
{
	return rundir_write(r, "disarmed", NEXT_TOO);
}

/* In one piece: an owner who arms meanwhile is not to find his word taken back. */
int rundir_started(struct rundir *r)
{
	int lock = rundir_apply_lock(r), err;
	char text[sizeof(NEXT_TOO) + 1];

	if (rundir_read(r, "disarmed", text, sizeof(text)) == 0 && strcmp(text, NEXT_TOO) == 0)
		err = rundir_write(r, "disarmed", "");
	else
		err = rundir_set_disarmed(r, false);
	rundir_apply_unlock(lock);
	return err;
}

int rundir_apply_lock(const struct rundir *r)
{
	const struct timespec wait = {.tv_nsec = LOCK_WAIT_NS};
	int fd = open_own(r, "apply.lock", O_RDWR);

	for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		nanosleep(&wait, NULL);
	}
	return fd;
}

void rundir_apply_unlock(int lock)
{
	if (lock >= 0)
		close(lock);
}

int rundir_read(const struct rundir *r, const char *name, char *out, size_t cap)
{
	int fd = open_own(r, name, O_RDONLY), ret = 0;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	while ((n = read(fd, out + len, cap - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		ret = -errno;
	else if (len == cap)
		ret = -E2BIG;
	else
		out[len] = '\0';
	close(fd);
	return ret;
}

int rundir_write(const struct rundir *r, const char *name, const char *text)
{
	size_t len = strlen(text), done = 0;
	char tmp[32];
	int fd, err = 0;

	snprintf(tmp, sizeof(tmp), "%s.new", name);
	if (unlinkat(r->fd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(r->fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	while (done < len && err == 0) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0)
			err = -errno;
		else
			done += (size_t)n;
	}
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	close(fd);
	if (err == 0 && renameat(r->fd, tmp, r->fd, name) < 0)
		err = -errno;
	if (err < 0)
		unlinkat(r->fd, tmp, 0);
	return err;
}

int rundir_remove(const struct rundir *r, const char *name)
{
	return unlinkat(r->fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}
