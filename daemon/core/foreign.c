/*
 * Which configured peers are no visors of ours, over a restart of this process: RUN/skygated.foreign, one key a line. Links
 * must not be settled with them right after an older process of ours ended (link/link.h, quiet_ms). It lies with what a
 * boot forgets, and is no more than a hint: where it cannot be read or written, everything else works.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "core/core.h"

#include <fcntl.h>
#include <unistd.h>

SG_LOG_TOPIC("core");

#define KEYS_MAX 256
#define LINE_LEN SG_PK_TEXT /* 66 digits and a newline */

struct foreign {
	int fd;
	size_t n;
	struct sg_pk keys[KEYS_MAX];
};

static size_t place_of(const struct foreign *f, const struct sg_pk *pk)
{
	size_t i = 0;

	while (i < f->n && !sg_pk_equal(&f->keys[i], pk))
		i++;
	return i;
}

static void load(struct foreign *f)
{
	char line[LINE_LEN];
	off_t at = 0;

	while (f->n < KEYS_MAX && pread(f->fd, line, sizeof(line), at) == (ssize_t)sizeof(line)) {
		if (sg_hex_parse(line, sizeof(line) - 1, f->keys[f->n].b, SG_PK_LEN) < 0)
			return;
		f->n++;
		at += (off_t)sizeof(line);
	}
}

static int save(const struct foreign *f)
{
	char line[LINE_LEN];

	for (size_t i = 0; i < f->n; i++) {
		sg_pk_str(&f->keys[i], line);
		line[LINE_LEN - 1] = '\n';
		if (pwrite(f->fd, line, sizeof(line), (off_t)(i * sizeof(line))) != (ssize_t)sizeof(line))
			return -EIO;
	}
	return ftruncate(f->fd, (off_t)(f->n * LINE_LEN)) < 0 ? -errno : 0;
}

struct foreign *foreign_new(const char *run_dir)
{
	struct foreign *f = sg_calloc(1, sizeof(*f));
	char path[4096];

	if (!f)
		return NULL;
	f->fd = snprintf(path, sizeof(path), "%s/skygated.foreign", run_dir) < (int)sizeof(path)
			? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)
			: -1;
	if (f->fd >= 0)
		load(f);
	return f;
}

void foreign_free(struct foreign *f)
{
	if (f && f->fd >= 0)
		close(f->fd);
	sg_free(f);
}

bool foreign_is(const struct foreign *f, const struct sg_pk *pk)
{
	return place_of(f, pk) < f->n;
}

void foreign_set(struct foreign *f, const struct sg_pk *pk, bool foreign)
{
	size_t i = place_of(f, pk);

	if (foreign == (i < f->n) || (foreign && f->n == KEYS_MAX))
		return;
	f->keys[i] = foreign ? *pk : f->keys[f->n - 1];
	f->n = foreign ? f->n + 1 : f->n - 1;
	if (f->fd >= 0 && save(f) < 0)
		log_warn("RUN/skygated.foreign cannot be written");
}
