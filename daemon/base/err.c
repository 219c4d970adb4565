/* Names and texts of error codes, from the one list in err.h. */
#include "base/err.h"
#include "base/common.h"

static const struct {
	int num;
	const char *name, *text;
} own[] = {
#define SG_ERR_ROW(name, num, text) {num, #name, text},
	SG_ERR_MAP(SG_ERR_ROW)
#undef SG_ERR_ROW
};

/* The few errno names that appear in our log lines; glibc's strerrorname_np does not exist on musl. */
/* A table on which clang-format does not come to rest. */
/* clang-format off */
#define ERRNO_MAP(X) \
	X(EACCES) X(EADDRINUSE) X(EADDRNOTAVAIL) X(EAGAIN) X(EBADF) X(EBUSY) \
	X(ECONNABORTED) X(ECONNREFUSED) X(ECONNRESET) X(EEXIST) X(EHOSTUNREACH) X(EINVAL) \
	X(EIO) X(EMFILE) X(ENETDOWN) X(ENETUNREACH) X(ENFILE) X(ENODEV) \
	X(ENOENT) X(ENOMEM) X(ENOSPC) X(ENOTSUP) X(EPERM) X(EPIPE) \
	X(ETIMEDOUT)
/* clang-format on */

static const struct {
	int num;
	const char *name;
} posix[] = {
#define ERRNO_ROW(name) {-(name), #name},
	ERRNO_MAP(ERRNO_ROW)
#undef ERRNO_ROW
};

const char *sg_strerror(int err)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(own); i++) {
		if (own[i].num == err)
			return own[i].text;
	}
	return strerror(-err);
}

const char *sg_errname(int err)
{
	for (size_t i = 0; i < SG_ARRAY_LEN(own); i++) {
		if (own[i].num == err)
			return own[i].name;
	}
	for (size_t i = 0; i < SG_ARRAY_LEN(posix); i++) {
		if (posix[i].num == err)
			return posix[i].name;
	}
	return "?";
}
