/* The carrier by somebody else (unix.c) under test: how a stranger calls it. It has nothing besides the contract. */
#include "carrier.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern const struct sg_plugin sg_plugin_unix;

static int call(uint16_t port)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			    (size_t)snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "skygate-test-%u", port));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&un, len) == 0)
		return fd;
	close(fd);
	return -1;
}

const struct carrier carrier_unix = {.name = "unix", .plugin = &sg_plugin_unix, .nowhere = true, .call = call};
