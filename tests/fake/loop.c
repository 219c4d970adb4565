#include "fake/loop.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static void nothing(void *arg, int fd, unsigned events)
{
	(void)arg;
	(void)fd;
	(void)events;
}

void fake_loop_widen(struct sg_loop *loop, int fd)
{
	struct sg_watch *watch;
	int pair[2], high;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	high = fcntl(pair[0], F_DUPFD, fd);
	assert_true(high >= fd);
	assert_int_equal(sg_watch_new(loop, high, nothing, NULL, &watch), 0);
	sg_watch_set(watch, SG_READABLE);
	sg_watch_free(watch);
	sg_loop_step(loop, 0);
	close(high);
	close(pair[0]);
	close(pair[1]);
}
