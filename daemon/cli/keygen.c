/*
 * skygate keygen: a new identity, written so that only its owner can read it; the public key is all that is printed.
 * The one place where the command line uses crypto: the key is made where it is stored, and the daemon that will use it
 * is not running yet.
 */
#include "base/common.h"
#include "base/hex.h"
#include "base/alloc.h"
#include "cli/cli.h"
#include "crypto/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static bool write_key(int fd, const struct sg_sk *sk)
{
	char text[2 * SG_SK_LEN + 2];
	bool ok;

	sg_hex_format(sk->b, sizeof(sk->b), text, sizeof(text));
	text[2 * SG_SK_LEN] = '\n';
	ok = write(fd, text, 2 * SG_SK_LEN + 1) == 2 * SG_SK_LEN + 1 && fsync(fd) == 0;
	sg_wipe(text, sizeof(text));
	return ok;
}

static int make(const struct sg_crypto *c, const char *path, bool json)
{
	char hex[SG_PK_TEXT];
	struct sg_sk sk;
	struct sg_pk pk;
	bool ok;
	/* O_EXCL: a key that exists is never overwritten. */
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && errno == EEXIST) {
		fprintf(stderr,
			"skygate: %s exists; a key is never overwritten\n  move it away first, or choose another "
			"--out\n",
			path);
		return EXIT_FAILED;
	}
	if (fd < 0) {
		int why = errno;

		fprintf(stderr, "skygate: %s cannot be made: %s\n", path, strerror(why));
		if (why == ENOENT || why == ENOTDIR)
			fputs("  make its directory first, or choose another --out\n", stderr);
		return EXIT_FAILED;
	}
	sg_sk_generate(c, &sk);
	ok = sg_pk_of(c, &sk, &pk) == 0 && write_key(fd, &sk);
	sg_wipe(&sk, sizeof(sk));
	if (close(fd) < 0 || !ok) {
		fprintf(stderr, "skygate: %s cannot be written: %s\n", path, strerror(errno));
		unlink(path);
		return EXIT_FAILED;
	}
	printf(json ? "{\"pk\": \"%s\"}\n" : "%s\n", sg_pk_str(&pk, hex));
	return EXIT_DONE;
}

int keygen(const char *path, bool json)
{
	struct sg_crypto *c = sg_crypto_new(sg_random_system());
	int status;

	if (!c) {
		fputs("skygate: memory is out\n", stderr);
		return EXIT_FAILED;
	}
	status = make(c, path, json);
	sg_crypto_free(c);
	return status;
}
