/*
 * Codec of the messages between netd and core, and the datagrams that carry them. Every byte is checked before it is
 * believed: booleans are 0 or 1, counts are bounded, nothing may follow the body.
 */
#include "wire/netd.h"
#include "base/common.h"
#include "base/cursor.h"
#include "base/err.h"

#include <sys/socket.h>
#include <unistd.h>

#define TUN_NAME_LEN 16
#define PASSED_MAX   253 /* SCM_MAX_FD: the kernel sends no more at once */
#define BUSY_MAX     SG_ARRAY_LEN(((struct sg_tun *)0)->busy)

static void write_tun(struct sg_writer *w, const struct sg_tun *t)
{
	char name[TUN_NAME_LEN] = {0};

	snprintf(name, sizeof(name), "%s", t->name);
	sg_write_bytes(w, name, sizeof(name));
	sg_write_u16(w, t->mtu);
	sg_write_u8(w, t->offload);
	sg_write_u8(w, (uint8_t)t->n_busy);
	for (size_t i = 0; i < t->n_busy; i++) {
		sg_write_u32(w, t->busy[i].net);
		sg_write_u8(w, t->busy[i].bits);
	}
}

static bool read_bool(struct sg_reader *r)
{
	uint8_t v = sg_read_u8(r);

	if (v > 1)
		r->err = true;
	return v == 1;
}

static void read_tun(struct sg_reader *r, struct sg_tun *t)
{
	struct sg_view name;

	t->fd = -1;
	name = sg_read_view(r, TUN_NAME_LEN);
	if (name.len && memchr(name.p, '\0', name.len))
		snprintf(t->name, sizeof(t->name), "%s", (const char *)name.p);
	else
		r->err = true;
	t->mtu = sg_read_u16(r);
	t->offload = read_bool(r);
	t->n_busy = sg_read_u8(r);
	if (t->n_busy > BUSY_MAX) {
		r->err = true;
		t->n_busy = 0;
	}
	for (size_t i = 0; i < t->n_busy; i++) {
		t->busy[i].net = sg_read_u32(r);
		t->busy[i].bits = sg_read_u8(r);
		if (t->busy[i].bits > 32)
			r->err = true;
	}
}

static void write_status(struct sg_writer *w, const struct sg_netd_status *s)
{
	sg_write_u8(w, s->mode);
	sg_write_u8(w, s->kill_switch);
	sg_write_u8(w, s->rules_in_place);
	sg_write_u8(w, s->path);
	sg_write_u64(w, s->blocked);
	sg_write_u64(w, s->refused);
	sg_write_u64(w, s->forged);
	sg_write_u32(w, s->restarts);
	sg_write_u64(w, s->memory);
}

static void read_status(struct sg_reader *r, struct sg_netd_status *s)
{
	s->mode = sg_read_u8(r);
	if (s->mode > 2)
		r->err = true;
	s->kill_switch = read_bool(r);
	s->rules_in_place = read_bool(r);
	s->path = sg_read_u8(r);
	if (s->path > SG_PATH_OPEN)
		r->err = true;
	s->blocked = sg_read_u64(r);
	s->refused = sg_read_u64(r);
	s->forged = sg_read_u64(r);
	s->restarts = sg_read_u32(r);
	s->memory = sg_read_u64(r);
}

/* An answer: err, then a sentence when it is one, the result otherwise. */
static void write_answer(struct sg_writer *w, const struct sg_netd_msg *m)
{
	sg_write_u32(w, (uint32_t)m->err);
	if (m->err || m->type == (SG_NETD_APPLY | SG_NETD_ANSWER)) {
		size_t len = strnlen(m->text, SG_NETD_TEXT_MAX - 1);

		sg_write_u16(w, (uint16_t)len);
		sg_write_bytes(w, m->text, len);
	} else if (m->type == (SG_NETD_TUN_OPEN | SG_NETD_ANSWER)) {
		write_tun(w, &m->u.tun);
	} else if (m->type == (SG_NETD_COUNTERS | SG_NETD_ANSWER)) {
		write_status(w, &m->u.status);
	}
}

static void read_answer(struct sg_reader *r, struct sg_netd_msg *m)
{
	m->err = (int32_t)sg_read_u32(r);
	if (m->err > 0)
		r->err = true;
	if (m->err || m->type == (SG_NETD_APPLY | SG_NETD_ANSWER)) {
		size_t len = sg_read_u16(r);

		if (len >= SG_NETD_TEXT_MAX) {
			r->err = true;
			return;
		}
		sg_read_bytes(r, m->text, len);
		if (memchr(m->text, '\0', len))
			r->err = true;
		m->text[len] = '\0';
	} else if (m->type == (SG_NETD_TUN_OPEN | SG_NETD_ANSWER)) {
		read_tun(r, &m->u.tun);
	} else if (m->type == (SG_NETD_COUNTERS | SG_NETD_ANSWER)) {
		read_status(r, &m->u.status);
	}
}

int sg_netd_encode(const struct sg_netd_msg *m, uint8_t *out, size_t cap)
{
	struct sg_writer w = sg_writer(out, cap);

	if (m->type == (SG_NETD_TUN_OPEN | SG_NETD_ANSWER) && !m->err && m->u.tun.n_busy > BUSY_MAX)
		return SG_ELONG;
	sg_write_u8(&w, m->type);
	sg_write_u8(&w, 0);
	sg_write_u16(&w, 0);
	sg_write_u32(&w, m->id);
	if (m->type & SG_NETD_ANSWER)
		write_answer(&w, m);
	else if (m->type == SG_NETD_TUN_OPEN)
		sg_write_u8(&w, m->u.role);
	else if (m->type == SG_NETD_PATH)
		sg_write_u8(&w, m->u.path);
	else if (m->type == SG_NETD_CHANGED)
		sg_write_u8(&w, m->u.what);
	else if (m->type == SG_NETD_LEASE_SET) {
		sg_write_u32(&w, m->u.lease.address);
		sg_write_u32(&w, m->u.lease.gateway);
	}
	return w.err ? SG_ELONG : (int)sg_writer_len(&w);
}

static uint8_t read_up_to(struct sg_reader *r, uint8_t max)
{
	uint8_t v = sg_read_u8(r);

	if (v > max)
		r->err = true;
	return v;
}

/* What core may say. */
static void read_question(struct sg_reader *r, struct sg_netd_msg *m)
{
	switch (m->type) {
	case SG_NETD_HEARTBEAT:
	case SG_NETD_TUNE:
	case SG_NETD_COUNTERS:
	case SG_NETD_APPLY:
		break;
	case SG_NETD_TUN_OPEN:
		m->u.role = read_up_to(r, SG_TUN_SERVER);
		break;
	case SG_NETD_LEASE_SET:
		m->u.lease.address = sg_read_u32(r);
		m->u.lease.gateway = sg_read_u32(r);
		break;
	case SG_NETD_PATH:
		m->u.path = read_up_to(r, SG_PATH_OPEN);
		break;
	default:
		r->err = true;
	}
}

/* What netd may say. */
static void read_reply(struct sg_reader *r, struct sg_netd_msg *m)
{
	uint8_t question = m->type & (uint8_t)~SG_NETD_ANSWER;

	if (m->type == SG_NETD_CHANGED)
		m->u.what = sg_read_u8(r);
	else if ((m->type & SG_NETD_ANSWER) && question >= SG_NETD_TUN_OPEN && question <= SG_NETD_APPLY)
		read_answer(r, m);
	else
		r->err = true;
}

int sg_netd_decode(struct sg_view in, bool from_core, struct sg_netd_msg *out)
{
	struct sg_reader r = sg_reader(in);

	memset(out, 0, sizeof(*out));
	out->type = sg_read_u8(&r);
	if (sg_read_u8(&r) != 0 || sg_read_u16(&r) != 0)
		r.err = true;
	out->id = sg_read_u32(&r);
	if (!r.err && from_core)
		read_question(&r, out);
	else if (!r.err)
		read_reply(&r, out);
	return sg_reader_done(&r) ? 0 : SG_EMALF;
}

/* ---- datagrams ------------------------------------------------------------------------------------------------- */

union pass_room {
	char room[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int sg_netd_send(int fd, const struct sg_netd_msg *m, int pass)
{
	uint8_t bytes[SG_NETD_MSG_MAX];
	union pass_room ctl = {{0}};
	struct iovec iov = {.iov_base = bytes};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	int len = sg_netd_encode(m, bytes, sizeof(bytes));
	ssize_t n;

	if (len < 0)
		return len;
	iov.iov_len = (size_t)len;
	if (pass >= 0) {
		struct cmsghdr *c;

		mh.msg_control = ctl.room;
		mh.msg_controllen = sizeof(ctl.room);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass, sizeof(int));
	}
	do
		n = sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Takes the descriptors of a message: the only one is returned; more than one are all closed. */
static int take_descriptors(struct msghdr *mh, int *pass)
{
	int taken = -1;
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (count++ == 0)
				taken = one;
			else
				close(one);
		}
	}
	if (count > 1) {
		close(taken);
		return SG_EMALF;
	}
	*pass = taken;
	return 0;
}

int sg_netd_recv(int fd, bool from_core, struct sg_netd_msg *out, int *pass)
{
	/* Room for one byte too many, and for all descriptors that one message can carry: each is seen and closed here. */
	uint8_t bytes[SG_NETD_MSG_MAX + 1];
	union {
		char room[CMSG_SPACE(PASSED_MAX * sizeof(int))];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl.room, .msg_controllen = sizeof(ctl.room)};
	ssize_t n;
	int err;

	*pass = -1;
	do
		n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	err = take_descriptors(&mh, pass);
	/* SOCK_SEQPACKET: zero bytes are the end of the connection; nobody sends an empty message on purpose. */
	if (n == 0)
		err = -EPIPE;
	else if (err == 0 && (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		err = SG_EMALF;
	if (err == 0)
		err = sg_netd_decode((struct sg_view){bytes, (size_t)n}, from_core, out);
	if (err < 0 && *pass >= 0) {
		close(*pass);
		*pass = -1;
	}
	return err;
}
