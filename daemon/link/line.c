/* The two things that a link runs over, as one: a socket, and a stream of a carrier that secures it itself. */
#include "link/internal.h"

#include <sys/socket.h>
#include <unistd.h>

/* One send into a stream: its network copies and seals all of it before it looks whether there is room for more. */
#define STREAM_PIECE 16384

void line_watch(struct line *line, bool read, bool write)
{
	if (line->stream)
		line->stream->ops->want(line->stream, read);
	else
		sg_watch_set(line->watch, (read ? SG_READABLE : 0) | (write ? SG_WRITABLE : 0));
}

static ssize_t socket_send(int fd, const struct iovec *iov, int n)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov};
	ssize_t sent;

	msg.msg_iovlen = (size_t)n;
	do {
		sent = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
}

static ssize_t stream_send(struct sg_stream *s, const struct iovec *iov, int n)
{
	size_t sent = 0;

	for (int i = 0; i < n; i++) {
		for (size_t at = 0; at < iov[i].iov_len;) {
			const struct iovec piece = {
				(uint8_t *)iov[i].iov_base + at, SG_MIN(iov[i].iov_len - at, (size_t)STREAM_PIECE)};
			int err = s->ops->send(s, &piece, 1);

			if (err == -EAGAIN)
				return (ssize_t)sent;
			if (err < 0)
				return err;
			at += piece.iov_len;
			sent += piece.iov_len;
		}
	}
	return (ssize_t)sent;
}

ssize_t line_send(struct line *line, const struct iovec *iov, int n)
{
	return line->stream ? stream_send(line->stream, iov, n) : socket_send(line->fd, iov, n);
}

void line_close(struct line *line)
{
	struct sg_stream *s = line->stream;

	sg_watch_free(line->watch);
	if (line->fd >= 0)
		close(line->fd);
	*line = LINE_NONE;
	if (s)
		s->ops->close(s);
}
